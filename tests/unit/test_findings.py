"""What the doctor makes of what it sees."""

from typing import Any

import pytest

from radar.checks import findings, kernel_clock
from radar.checks.doctor import describe, worst
from radar.checks.findings import Finding, State, TopicFacts, TopicRequirements
from radar.kafka import least_in_sync

GIBIBYTE = 1024**3
WANTED = TopicRequirements(
    partitions=3, replicas=2, retention_ms=7 * 86_400_000, message_bytes=4_194_304
)
GOOD = TopicFacts(
    partitions=3,
    replicas=2,
    out_of_sync=0,
    options={
        "cleanup.policy": "delete",
        "max.message.bytes": "4194304",
        "retention.ms": "604800000",
    },
)
TABLE = (
    "CREATE TABLE radar.t (a UInt8) ENGINE = ReplacingMergeTree(version) ORDER BY a"
    " TTL toDateTime(received_at) + toIntervalDay(90)"
    " SETTINGS non_replicated_deduplication_window = 100000, index_granularity = 8192"
)


@pytest.mark.parametrize(
    ("replicas", "in_sync", "words"),
    [
        (3, "2", ""),
        (3, None, ""),  # the brokers do not say
        (1, "1", ""),
        (3, "1", "min.insync.replicas is 1: Kafka may acknowledge a message that only one broker"),
        (3, "3", "min.insync.replicas is 3 of 3 replicas: the loss of one broker stops"),
    ],
)
def test_topic_needs_its_messages_on_more_than_one_broker_and_not_on_all(
    replicas: int, in_sync: str | None, words: str
) -> None:
    wanted = WANTED._replace(replicas=replicas, in_sync=least_in_sync(replicas))
    options = dict(GOOD.options) | ({"min.insync.replicas": in_sync} if in_sync else {})
    facts = GOOD._replace(replicas=replicas, options=options)
    found = [each for each in findings.topics({"t": facts}, ["t"], wanted) if each.remedy]
    if not words:
        assert found == []
        return
    (finding,) = found
    assert finding.state is State.WARNING
    assert words in finding.detail
    assert "--add-config min.insync.replicas=2" in finding.remedy


@pytest.mark.parametrize(("replicas", "least"), [(1, 1), (2, 1), (3, 2), (4, 3), (5, 3)])
def test_message_is_acknowledged_when_more_than_half_of_the_replicas_have_it(
    replicas: int, least: int
) -> None:
    assert least_in_sync(replicas) == least


@pytest.mark.parametrize(
    ("free_bytes", "state"),
    [(100 * GIBIBYTE, State.OK), (GIBIBYTE, State.WARNING), (GIBIBYTE // 10, State.PROBLEM)],
)
def test_disk_is_judged_by_its_free_room(free_bytes: int, state: State) -> None:
    assert findings.disk("disk", free_bytes, 200 * GIBIBYTE, "/data").state is state


@pytest.mark.parametrize(
    ("ahead_s", "state"),
    [(0.4, State.OK), (-4.9, State.OK), (6, State.PROBLEM), (-6, State.PROBLEM)],
)
def test_clock_is_judged_in_both_directions(ahead_s: float, state: State) -> None:
    finding = findings.clock("clock", ahead_s, "the exchange's")
    assert finding.state is state
    assert ("ahead" if ahead_s > 0 else "behind") in finding.detail


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (kernel_clock.judged(0, 0, 1_500), State.OK),
        (kernel_clock.judged(0, 0, 2_000_000), State.WARNING),  # the time service stays away
        (kernel_clock.judged(5, 0x0040, 16_000_000), State.WARNING),
        (kernel_clock.judged(0, 0x0040, 0), State.WARNING),
        (kernel_clock.judged(5, 0, 0), State.WARNING),
        (kernel_clock.KernelClock(None, why_unknown="adjtimex: not permitted"), State.UNKNOWN),
    ],
)
def test_synchronisation_is_judged_by_the_kernel(
    answer: kernel_clock.KernelClock, state: State
) -> None:
    finding = findings.synchronisation(*answer)
    assert finding.state is state
    assert bool(finding.remedy) is (state is not State.OK)


def test_kernel_answers_or_says_why_not() -> None:
    answer = kernel_clock.read()
    assert bool(answer.why_unknown) is (answer.is_synchronised is None)
    assert answer.max_error_s >= 0


def test_kernel_that_refuses_leaves_the_clock_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Any:
        raise OSError("no library")

    monkeypatch.setattr("ctypes.CDLL", refuse)
    assert kernel_clock.read() == (None, 0.0, "no adjtimex: no library")
    monkeypatch.setattr("sys.platform", "darwin")
    assert kernel_clock.read() == (None, 0.0, "darwin has no adjtimex")


@pytest.mark.parametrize(
    ("offset_s", "uncertainty_s", "state"),
    [
        (0.4, 0.5, State.OK),
        (1.4, 0.5, State.OK),  # it may be less than a second
        (-1.6, 0.5, State.WARNING),
        (5.4, 0.5, State.WARNING),
        (5.6, 0.5, State.PROBLEM),
        (-86_400.0, 0.5, State.PROBLEM),
        (None, 0.0, State.UNKNOWN),
    ],
)
def test_clock_of_an_exchange_is_judged_by_what_is_sure(
    offset_s: float | None, uncertainty_s: float, state: State
) -> None:
    assert findings.exchange_clock("exchange clock", offset_s, uncertainty_s).state is state


def test_open_files_that_are_few_are_a_warning() -> None:
    assert findings.open_files(1024, 4096).state is State.OK
    few = findings.open_files(256, 4096)
    assert (few.state, few.remedy) == (State.WARNING, "`ulimit -n 4096` before radar starts")


def test_topics_as_they_should_be_are_one_finding() -> None:
    (finding,) = findings.topics({"a": GOOD, "b": GOOD}, ["a", "b"], WANTED)
    assert finding.state is State.OK
    # What brokers do not tell is not judged.
    (finding,) = findings.topics({"a": GOOD._replace(options={})}, ["a"], WANTED)
    assert finding.state is State.OK


@pytest.mark.parametrize(
    ("change", "state", "remedy"),
    [
        ({"partitions": 2}, State.WARNING, "radar topics --grow"),
        ({"replicas": 1}, State.WARNING, "kafka-reassign-partitions"),
        ({"out_of_sync": 1}, State.WARNING, "brokers"),
        ({"options": {"cleanup.policy": "compact"}}, State.PROBLEM, "cleanup.policy=delete"),
        ({"options": {"max.message.bytes": "9"}}, State.PROBLEM, "max.message.bytes=4194304"),
        ({"options": {"retention.ms": "3600000"}}, State.WARNING, "retention.ms=604800000"),
    ],
)
def test_topic_that_differs_is_found_with_its_remedy(
    change: dict[str, Any], state: State, remedy: str
) -> None:
    found = findings.topics({"a": GOOD, "b": GOOD._replace(**change)}, ["a", "b"], WANTED)
    (finding,) = found
    assert (finding.check, finding.state) == ("topic b", state)
    assert remedy in finding.remedy


def test_topic_that_keeps_messages_for_ever_is_fine() -> None:
    facts = GOOD._replace(options={"retention.ms": "-1"})
    assert findings.topics({"a": facts}, ["a"], WANTED)[0].state is State.OK


def test_topics_that_are_missing_are_named() -> None:
    (finding,) = findings.topics({"a": GOOD}, ["a", "b", "c"], WANTED)
    assert (finding.state, finding.detail) == (State.WARNING, "missing: b, c")


def test_messages_deleted_before_they_were_stored_are_a_problem() -> None:
    assert findings.unstored({"a": 0}).state is State.OK
    finding = findings.unstored({"a": 0, "b": 1200})
    assert finding.state is State.PROBLEM
    assert finding.detail.endswith("stored: b 1,200")


def test_dead_letters_are_a_warning() -> None:
    assert findings.dead_letters({"trades": 0}, {"trades": 0}).state is State.OK
    assert findings.dead_letters({"trades": 2}, {}).state is State.WARNING
    assert "not written" in findings.dead_letters({"trades": 2}, {"trades": 1}).detail


@pytest.mark.parametrize(
    ("version", "state"),
    [("26.8.15.10", State.OK), ("24.3.1.1", State.OK), ("23.8.1", State.PROBLEM)],
)
def test_clickhouse_version_is_judged(version: str, state: State) -> None:
    assert findings.clickhouse_version(version).state is state


def test_schema_is_judged_by_what_was_applied() -> None:
    assert findings.schema([], []).state is State.OK
    assert findings.schema([3, 4], []).state is State.WARNING
    assert findings.schema([3], [99]).state is State.PROBLEM


@pytest.mark.parametrize(
    ("old", "new", "state"),
    [
        ("ReplacingMergeTree", "MergeTree", State.PROBLEM),
        ("window = 100000", "window = 0", State.PROBLEM),
        ("toIntervalDay(90)", "toIntervalDay(30)", State.WARNING),
        (" TTL toDateTime(received_at) + toIntervalDay(90)", "", State.WARNING),
    ],
)
def test_table_that_differs_is_found(old: str, new: str, state: State) -> None:
    assert findings.table("t", TABLE, 90) == []
    (finding,) = findings.table("t", TABLE.replace(old, new), 90)
    assert finding.state is state
    assert finding.remedy


def test_table_that_is_replicated_has_its_own_window() -> None:
    text = TABLE.replace("Replacing", "ReplicatedReplacing").replace("window = 100000", "x = 1")
    assert findings.table("t", text, 90) == []


def test_worst_of_findings_and_their_lines() -> None:
    good, bad = findings.ok("a", "fine"), findings.problem("b", "broken", "mend it")
    middle = Finding("c", State.WARNING, "odd", "look")
    assert worst([good]) is State.OK
    assert worst([good, middle]) is State.WARNING
    assert worst([good, bad, middle]) is State.PROBLEM
    assert describe(good) == "ok       a: fine"
    assert describe(bad) == "problem  b: broken → mend it"


def test_unreadable_names_the_place_the_reason_and_the_command() -> None:
    assert findings.unreadable([]).state is State.OK
    stuck = [("depth", "radar_depths", n, 40 + n, "bad \x1b[2J") for n in range(7)]
    found = findings.unreadable(stuck)
    assert found.state is State.PROBLEM
    assert "partition 0 of radar_depths stands at offset 40" in found.detail
    assert "\x1b" not in found.detail
    assert "and 2 more" in found.detail
    assert found.remedy.endswith("radar skip depth 0 40 --reason TEXT")
