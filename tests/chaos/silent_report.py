"""The part of docs/chaos.md about silent faults. Pure."""

from collections import Counter
from collections.abc import Sequence

from chaos.tables import Run, cores, days, failure, number, table, total

HEADING = "# Silent faults"

TEXT = """\
`make chaos CHAOS="--silent"` runs the pipeline with faults that make no noise
(`tests/chaos/silent.py`). They happen one after the other. A run passes if all of this holds:

1. **Every trade is accounted for.** Each trade that happened on the exchange, also one that no
   connection was sent, is stored or lies inside a recorded gap of its market, or its message lies
   inside a recorded delivery gap (`trades unrecorded`). A reader of its own, beside radar,
   remembers where each message stood in Kafka.
2. **No view claims too much.** `radar status` runs again and again. Whenever it says that all is
   well, every trade that is older than 30 seconds must be accounted for at that moment
   (`fine without evidence`).
3. Nothing is stored that did not happen (`trades unexpected`), and no message becomes a dead letter
   (`dead letters`).
"""

MUST_BE_ZERO = {
    "trades_unrecorded": "trades unrecorded",
    "trades_unexpected": "trades unexpected",
    "dead_letters": "dead letters",
    "fine_without_evidence": "fine without evidence",
}


def silent_report(runs: Sequence[Run], failed_before: Sequence[Run]) -> str:
    """Return the part of the document."""
    faults: Counter[str] = Counter()
    for run in runs:
        faults.update(run.get("faults", {}))
    passed = sum(run["passed"] for run in runs)
    lines = [
        *(HEADING, "", TEXT),
        f"{passed} of {len(runs)} runs passed, {days(runs)}, on {cores(runs)} cores.",
        *("", *table(("fault", "times"), [(n, number(k)) for n, k in faults.most_common()]), ""),
        *table(_HEADS, map(_row, runs)),
        "",
    ]
    if failed_before:
        lines += [
            "These runs failed. What they found was mended, and the seeds were run again:",
            "",
        ]
        lines += [f"- seed {run['seed']}: {_failure(run)}" for run in failed_before]
        lines += [""]
    return "\n".join(lines)


_HEADS = (
    *("seed", "Kafka", "group", "markets", "trades/s", "faults", "trades happened"),
    *("stored", "in gaps", "in delivery gaps", "status fine", "not fine", "result"),
)


def _row(run: Run) -> tuple[str, ...]:
    setup, verdict = run["setup"], run.get("verdict", {})
    figures = (
        *("trades_sent", "trades_stored", "trades_in_gaps", "trades_in_delivery_gaps"),
        *("status_fine", "status_not_fine"),
    )
    return (
        str(run["seed"]),
        ("embedded", "one node", "", "three nodes")[setup["kafka_nodes"]],
        "KIP-848" if setup["group_protocol"] == "consumer" else "classic",
        str(setup["symbols"]),
        number(round(setup["trades_per_s"])),
        number(total(run.get("faults", {}))),
        *(number(verdict.get(name, 0)) for name in figures),
        "exact" if run["passed"] else f"**{_failure(run)}**",
    )


def _failure(run: Run) -> str:
    return failure(run, MUST_BE_ZERO)
