"""The same facts lead to the same judgement in every view, and without evidence to "unknown"."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from msgspec.structs import replace

from observed import flow, overview, partition, probe, producer, worker
from radar.status import judgement, render
from radar.status.model import Overview, ProcessState
from radar.ui.terminal.flow import verdict
from radar.ui.terminal.marks import StatusMark
from radar.ui.terminal.sections import SECTIONS

ROOT = Path(__file__).resolve().parents[2]
RULES = (ROOT / "deploy/prometheus/rules.yml").read_text()
MARKS = {
    "stuck": StatusMark.STUCK,
    "unknown": StatusMark.UNKNOWN,
    "warns": StatusMark.PASSES,
    "passes": StatusMark.PASSES,
    "idle": StatusMark.IDLE,
    "flows": StatusMark.FLOWS,
}


class Case(NamedTuple):
    """Facts and the one verdict that follows."""

    name: str
    verdict: str
    facts: dict[str, Any]


def process(name: str, **changes: Any) -> ProcessState:
    made = ProcessState(name, "running", 7, 0, "127.0.0.1:9100", True, True, [])
    return replace(made, **changes)


def one_of_trades(**changes: Any) -> list[Any]:
    return [partition("trades", 0, **changes)]


def silent_connections() -> list[Any]:
    made = producer("trades")
    old = [replace(each, last_frame_age_s=judgement.SILENT_S + 1) for each in made.connections]
    return [replace(made, connections=old), producer("depth")]


def unanswered(subject: Any, **changes: Any) -> list[Any]:
    others = [each for each in overview().probes if each.subject != subject]
    return [*others, probe(subject, holds=False, **changes)]


CASES = [
    Case("all is well", "flows", {}),
    Case("nothing is known to run", "idle", {"producers": [], "workers": [], "processes": []}),
    Case("a lag of one block", "flows", {"partitions": one_of_trades(lag=judgement.FEW_MESSAGES)}),
    Case(
        "a backlog",
        "stuck",
        {"partitions": one_of_trades(lag=judgement.FEW_MESSAGES + 1, published_per_s=1.0)},
    ),
    Case(
        "a backlog that shrinks",
        "passes",
        {"partitions": one_of_trades(lag=900, lag_per_s=-9.0, published_per_s=8.0)},
    ),
    Case("Kafka is away", "stuck", {"kafka_error": "refused", "partitions": []}),
    Case("the disk is full", "stuck", {"disk_error": "disk full: /data has 0 KiB left"}),
    Case("ClickHouse is away", "stuck", {"clickhouse_error": "refused"}),
    Case("Kafka is frozen", "unknown", {"probes": unanswered("kafka", age_s=40.0)}),
    Case("ClickHouse is frozen", "unknown", {"probes": unanswered("clickhouse", age_s=40.0)}),
    Case("a table is missing", "unknown", {"probes": unanswered("tables", error="no table x")}),
    Case(
        "nobody has told of dead letters", "unknown", {"probes": unanswered("letters", age_s=None)}
    ),
    Case(
        "the first second",
        "passes",
        {"probes": unanswered("markets", age_s=None, starting=True)},
    ),
    Case("dead letters", "warns", {"flows": [flow("trades", open_letters=3), flow("depth")]}),
    Case("connections without frames", "warns", {"producers": silent_connections()}),
    Case(
        "a worker that is not ready",
        "stuck",
        {"workers": [worker("trades", 0, ready=False, reasons=["disk full", "is stopping"])]},
    ),
    Case(
        "a producer that warns",
        "warns",
        {"processes": [process("wallex-trades", warnings=["2 markets are set aside"])]},
    ),
    Case(
        "a process that no stage knows",
        "stuck",
        {"processes": [process("archiver", ready=False, reasons=["disk full"])]},
    ),
    Case(
        "a process that does not answer",
        "stuck",
        {"processes": [process("archiver", alive=False, ready=False, reasons=["no answer"])]},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_view_has_the_same_verdict_of_the_same_facts(case: Case) -> None:
    facts = overview(**case.facts)
    assert facts.verdict == case.verdict
    mark, text = verdict(facts)
    assert mark is MARKS[case.verdict]
    assert ("EVERYTHING FLOWS" in text.plain) == (case.verdict == "flows")
    said = render.describe(facts)
    assert said.endswith("everything flows") == (case.verdict == "flows")
    # `radar status` ends with exit code 1 if there is one.
    assert bool(render.problems(facts)) == (case.verdict in ("stuck", "unknown", "idle"))
    assert render.facts(facts, None)["verdict"] == case.verdict
    page = json.loads(msgspec.json.encode(facts))
    assert (page["verdict"], page["holds_s"]) == (case.verdict, judgement.OVERVIEW_HOLDS_S)
    for each in facts.obstacles:
        assert each.text in said


def test_condition_of_a_process_is_shown_whole_by_every_view() -> None:
    reasons = ["Kafka refuses every message", "2 markets have no connection to the exchange"]
    facts = overview(
        producers=[producer("trades", ready=False, reasons=reasons)],
        processes=[process("wallex-trades", ready=False, reasons=reasons, warnings=["disk fills"])],
    )
    for text in (*reasons, "disk fills"):
        assert text in render.describe(facts)
        assert any(text in each.text for each in facts.obstacles)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_facts_that_are_too_old_say_nothing(case: Case) -> None:
    facts = overview(**case.facts)
    now_s = facts.at_s + judgement.OVERVIEW_HOLDS_S + 1
    assert judgement.verdict(facts, now_s) == "unknown"
    mark, text = verdict(facts, now_s=now_s)
    assert mark is StatusMark.UNKNOWN
    assert "FLOWS" not in text.plain


def test_status_before_it_knows_writes_no_zero() -> None:
    facts: Overview = overview(
        partitions=[],
        tables=[],
        flows=[flow("trades", heard=False, connections=0, frames_per_s=0.0, lag=None)],
        probes=unanswered("kafka", age_s=None),
    )
    said = render.describe(facts)
    assert "trades: – connections, – frames/s" in said
    assert "kafka 127.0.0.1:9092: not known" in said


def test_sections_without_an_answer_do_not_say_that_there_is_nothing() -> None:
    sections = {section.name: section for section in SECTIONS}
    for name, subject in (("gaps", "markets"), ("letters", "letters")):
        section = sections[name]
        assert section.nothing(overview()).startswith("none: ")
        silent = overview(probes=unanswered(subject, age_s=None))
        assert section.nothing(silent).startswith("not known")


def test_rates_of_a_moment_between_two_snapshots_are_not_zero() -> None:
    quiet = flow("depth", frames_per_s=0.0, published_per_s=0.0, last_frame_age_s=4.0)
    said = render.describe(overview(flows=[flow("trades"), quiet], rates_over_s=1.5))
    assert "– frames/s, – published/s" in said
    assert "newest frame 4.0 s ago" in said
    later = overview(flows=[flow("trades"), quiet], rates_over_s=15.0)
    assert "depth: 3 connections, 0.0 frames/s" in render.describe(later)


def test_alerts_judge_by_the_thresholds_of_the_views() -> None:
    def expression(alert: str) -> str:
        rule = RULES.partition(f"- alert: {alert}\n")[2].partition("- alert:")[0]
        found = re.search(r"expr:(.*?)\n\s+(?:for|labels):", rule, re.DOTALL)
        assert found is not None
        return found[1]

    assert f"> {judgement.SILENT_S:g}" in expression("RadarNoData")
    assert f"> {judgement.SLOW_S:g}" in expression("RadarSlow")
    skew = expression("RadarClockSkew")
    assert f"> {judgement.MOST_SKEW_S:g}" in skew
    assert f"< {judgement.LEAST_SKEW_S:g}" in skew
    assert f"> {judgement.MOST_OFFSET_S:g}" in expression("RadarClockOffset")


@pytest.mark.parametrize(
    ("offset_s", "uncertainty_s", "said", "differs"),
    [
        (-0.21, 0.05, "-0.21 s ± 0.05 s", False),
        (1.4, 0.5, "+1.40 s ± 0.50 s", False),  # it may be less than a second
        (-3.25, 0.5, "-3.25 s ± 0.50 s", True),
        (None, None, "unknown", None),
    ],
)
def test_clock_of_an_exchange_differs_only_for_sure(
    offset_s: float | None, uncertainty_s: float | None, said: str, differs: bool | None
) -> None:
    clock = {"clock_offset_s": offset_s, "clock_uncertainty_s": uncertainty_s}
    seen = overview(producers=[producer("trades", **clock)])
    assert f"clock of wallex-trades, minus the exchange's: {said}" in render.describe(seen)
    facts = render.facts(judgement.marked(seen), None)["overview"]["producers"][0]
    assert {name: facts[name] for name in clock} == clock
    assert facts["clock_differs"] is differs


def test_coverage_of_pages_is_judged_by_the_server() -> None:
    assert [judgement.coverage_level(share) for share in (0.5, 0.9, 0.99, 0.999, 1.0)] == [
        0, 1, 2, 3, 4,
    ]  # fmt: skip
    assert not judgement.is_covered(0.98)
    assert not judgement.is_covered(None)
    assert judgement.is_covered(0.99)


def test_pages_have_no_thresholds_of_their_own() -> None:
    pages = ROOT / "src/radar/ui/web/static/js/pages"
    for page in ("pipeline.js", "quality.js"):
        text = (pages / page).read_text()
        assert not re.findall(
            r"(?:lag|latency_s|last_frame_age_s|_share)\b[^=;]{0,9}[<>] ?[A-Z0-9]", text
        )
