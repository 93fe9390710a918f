"""Writes what runs came to as a document: `python -m chaos.report RESULTS... > docs/chaos.md`.

RESULTS are files that `python -m chaos --results` wrote. The exit code is 1 if a run in them
failed; the document then says so.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from chaos.silent_report import HEADING, silent_report
from chaos.tables import Run, cores, days, failure, number, table, total

TITLE = """\
# Chaos

`make chaos` runs the whole pipeline as processes of its own (simulated exchange, producers, Kafka,
workers, ClickHouse), does harm to all of them for a minute or more, then heals everything, lets it
drain, and compares, message for message. A seed draws what a run is made of and what goes wrong
when (`tests/chaos/schedule.py`). This page is written by `make chaos-report` from the results of
the runs below.
"""

COMPARED = """\
## What is compared

1. **The exchange's ledger with the view `trades`**, as multisets of market, time, price, amount
   and side, twins counted. The simulated exchange notes each trade and what became of its frame on
   every connection. A frame counts as *sent* once the producer's kernel has acknowledged it; each
   of these trades must be stored (`trades lost`). A trade may be there only as often as the
   exchange told it in any way, also over REST or to a connection that then broke
   (`trades unexpected`).
2. **Kafka's log with what readers see.** The topics are read from the first to the last offset.
   Every good message must be visible, a trade under its identity, a snapshot of a book with its
   market, side, time and every price and quantity (`messages lost`); nothing else may be visible
   (`phantom rows`), and nothing twice (`visible duplicates`).
3. **Kafka's log with the dead letters**: exactly the bad messages that the run has published, each
   with its origin (`dead letters wrong`).
4. **The rows as they were inserted.** Merges are off during a run, so that nothing collapses in
   the background. No message may have more than one row, not even one that readers do not see
   (`physical duplicates`).
5. **The ends.** After the harm every producer and worker is told to stop, and must do so with exit
   code 0.

*Events* are the trades of 1 that had to be there plus the visible snapshots of 2. Trades that only
REST told are compared as well, but not counted.

### When a message could have two rows

Readers never see a message twice: the table's key absorbs it. Physically, the name of an insert is
what ClickHouse recognises, and it has two limits, both outside these runs: it remembers the last
100,000 blocks of a table (`non_replicated_deduplication_window`), so a block that comes back later
than that is inserted again; and a block whose rows belong to several weeks is several parts, so a
ClickHouse that is killed between two of them has one part and repeats the insert. Within these
limits a second row would be an error, and fails the run.
"""

AGAIN = """\
## Run a seed again

    {again}

A seed repeats the make-up of a run and its faults, not how processes interleave. `make kafka`
brings Apache Kafka, without which the embedded broker is used and is not harmed: what it loses
when it is killed is stated in the [README](../README.md). `CHAOS="--help"` lists the options.
"""

NOTE_ON_DEATHS = """\
Processes end by themselves when a worker kills itself at a crash point (killed), or when one gives
up and is started again (exit code)."""

NOTE_ON_RUNS = """\
Producers are whole producers of each dataset; connections are redundant ones in each; workers are
those of trades. Rates are the exchange's. Seconds are those in which faults happen. Deaths are
processes that ended without being told to."""

DOCUMENT = Path(__file__).parents[2] / "docs" / "chaos.md"

MUST_BE_ZERO = {
    "trades_lost": "trades lost",
    "trades_unexpected": "trades unexpected",
    "messages_lost": "messages lost",
    "phantom_rows": "phantom rows",
    "visible_duplicates": "visible duplicates",
    "physical_duplicates": "physical duplicates",
    "dead_letters_wrong": "dead letters wrong",
}


FAILED_BEFORE = """\
### Run again

These runs failed. What they had found was mended, or is not promised, and the seeds were run again;
only the second run is counted.
"""


def read(paths: Iterable[Path]) -> tuple[list[Run], list[Run]]:
    """Read results.

    Returns:
        Of a seed that was run again in the same make-up the newest result, for each seed; and the
        older ones that failed.
    """
    newest: dict[str, Run] = {}
    failed_before: list[Run] = []
    for path in paths:
        for line in path.read_text().splitlines():
            result = json.loads(line)
            setup = json.dumps((result.get("family"), result["setup"]), sort_keys=True)
            if setup in newest and not newest[setup]["passed"]:
                failed_before.append(newest[setup])
            newest[setup] = result
    return sorted(newest.values(), key=lambda result: int(result["seed"])), failed_before


def report(runs: Sequence[Run], failed_before: Sequence[Run]) -> str:
    """Return the document."""
    parts = [
        TITLE,
        _summary(runs),
        _failed_before(failed_before),
        _faults(runs),
        COMPARED,
        _table_of_runs(runs),
        AGAIN.format(again=runs[0]["again"]),
    ]
    return "\n".join(parts)


def _summary(runs: Sequence[Run]) -> str:
    failed = [run for run in runs if not run["passed"]]
    hours = sum(run.get("took_s", 0) for run in runs) / 3600
    faults = sum(total(run.get("faults", {})) for run in runs)
    deaths = sum((_deaths(run) for run in runs), Counter[str]())
    told = sum(
        number
        for run in runs
        for name, number in run.get("faults", {}).items()
        if name.split()[0] in ("kill", "restart", "crash")
    )
    lines = [
        "## Result",
        "",
        *table(
            ("", ""),
            [
                ("runs passed", f"{len(runs) - len(failed)} of {len(runs)}"),
                ("events verified", number(sum(run.get("events", 0) for run in runs))),
                ("trades sent, each stored", number(_sum(runs, "trades_sent"))),
                ("trades stored, with what only REST told", number(_sum(runs, "trades_stored"))),
                ("snapshots of books", number(_sum(runs, "depth_stored"))),
                ("bad messages in the dead letters", number(_sum(runs, "bad_messages"))),
                *((title, number(_sum(runs, name))) for name, title in MUST_BE_ZERO.items()),
                ("faults", number(faults)),
                ("processes killed or restarted", number(told)),
                ("processes that ended by themselves", _described(deaths)),
                ("duration of all runs", f"{hours:.1f} hours"),
                ("when, on", f"{days(runs)}, {cores(runs)} cores"),
            ],
        ),
        "",
        NOTE_ON_DEATHS,
    ]
    if failed:
        lines += ["", "**Failed**", ""]
        for run in failed:
            lines += [f"- seed {run['seed']}: {failure(run, MUST_BE_ZERO)}: `{run['again']}`"]
    return "\n".join([*lines, ""])


def _failed_before(runs: Sequence[Run]) -> str:
    if not runs:
        return ""
    lines = [
        f"- seed {run['seed']}, {run['at'][:16]}: {failure(run, MUST_BE_ZERO)}" for run in runs
    ]
    return "\n".join([FAILED_BEFORE, *lines, ""])


def _faults(runs: Sequence[Run]) -> str:
    faults: Counter[str] = Counter()
    for run in runs:
        faults.update(run.get("faults", {}))
    rows = [(name, number(times)) for name, times in faults.most_common()]
    return "\n".join(["## Faults", "", *table(("fault", "times"), rows), ""])


def _table_of_runs(runs: Sequence[Run]) -> str:
    heads = (
        *("seed", "exchange", "Kafka", "group", "members", "producers", "connections", "workers"),
        *("partitions", "markets", "trades/s", "books/s", "batch", "seconds", "faults"),
        *("deaths", "trades sent", "trades stored", "snapshots", "bad", "result"),
    )
    return "\n".join(
        ["## Runs", "", NOTE_ON_RUNS, "", *table(heads, [_row(run) for run in runs]), ""]
    )


def _row(run: Run) -> tuple[str, ...]:
    setup, verdict = run["setup"], run.get("verdict", {})
    nodes = setup["kafka_nodes"]
    return (
        str(run["seed"]),
        setup.get("exchange", "wallex"),
        ("embedded", "one node", "", "three nodes")[nodes],
        "KIP-848" if setup["group_protocol"] == "consumer" else "classic",
        "static" if setup["static_members"] else "dynamic",
        str(setup["producers"]),
        str(setup["redundant_connections"]),
        str(setup["workers"]),
        str(setup["partitions"]),
        str(setup["symbols"]),
        number(round(setup["trades_per_s"])),
        number(round(setup["depth_per_s"])),
        f"{number(setup['batch_size'])} or {setup['batch_timeout_s']:g} s",
        f"{setup['duration_s']:g}",
        number(total(run.get("faults", {}))),
        number(_deaths(run).total()),
        *(
            number(verdict.get(name, 0))
            for name in ("trades_sent", "trades_stored", "depth_stored")
        ),
        number(verdict.get("bad_messages", 0)),
        "exact" if run["passed"] else f"**{failure(run, MUST_BE_ZERO)}**",
    )


def _deaths(run: Run) -> Counter[str]:
    deaths: Counter[str] = Counter()
    for codes in run.get("deaths", {}).values():
        for code, times in codes.items():
            deaths["killed" if code == "-9" else f"exit code {code}"] += times
    return deaths


def _described(numbers: Counter[str]) -> str:
    each = ", ".join(f"{number(times)} {name}" for name, times in numbers.most_common())
    return f"{number(numbers.total())} ({each})" if each else "0"


def _sum(runs: Iterable[Run], name: str) -> int:
    return sum(int(run.get("verdict", {}).get(name, 0)) for run in runs)


def document(paths: Iterable[Path], present: str) -> tuple[str, bool]:
    """Return the document and whether all runs passed.

    A family of faults without a result keeps its part of the present document.
    """
    runs, failed_before = read(paths)
    loud, silent = _of_family(runs, "loud"), _of_family(runs, "silent")
    parts = list(present.partition(HEADING))
    if loud:
        parts[0] = report(loud, _of_family(failed_before, "loud")) + "\n"
    if silent:
        parts[1:] = [silent_report(silent, _of_family(failed_before, "silent"))]
    return "".join(parts), all(run["passed"] for run in runs)


def _of_family(runs: Iterable[Run], family: str) -> list[Run]:
    return [run for run in runs if run.get("family", "loud") == family]


def main() -> None:
    """Write the document of the results that the command line names."""
    if not sys.argv[1:]:
        sys.exit("no results: python -m chaos.report RESULTS...")
    text, passed = document(map(Path, sys.argv[1:]), DOCUMENT.read_text())
    print(text, end="")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
