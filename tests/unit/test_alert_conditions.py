"""Facts lead to the conditions that alert a person; without evidence a condition does not end."""

from typing import Any

import pytest
from msgspec.structs import replace

from observed import NOW_S, flow, overview, partition, probe, producer, worker
from radar.alerts import kinds
from radar.alerts.conditions import EVERY, LASTING_GAP_S, Judged, Key, Retries, judge, nothing_known
from radar.alerts.kinds import KINDS, Kind
from radar.status import judgement
from radar.status.model import (
    DiskState,
    Overview,
    ProcessState,
    RecentGap,
    SkippedOffsets,
    Subject,
)

ROOMY = DiskState("/data", 500 << 30, 1000 << 30)


def process(name: str, **changes: Any) -> ProcessState:
    made = ProcessState(name, "running", 7, 0, "127.0.0.1:9100", True, True, [])
    return replace(made, **changes)


def facts(**changes: Any) -> Overview:
    return overview(**({"disks": [ROOMY]} | changes))


def unanswered(subject: Subject, **changes: Any) -> list[Any]:
    others = [each for each in overview().probes if each.subject != subject]
    return [*others, probe(subject, holds=False, **changes)]


def gap(ended_s_ago: float, *symbols: str, **changes: Any) -> RecentGap:
    ended_at_s = NOW_S - ended_s_ago
    made = RecentGap("trades", "disconnected", list(symbols), ended_at_s - 9.0, ended_at_s, False)
    return replace(made, **changes)


def found(seen: Overview) -> dict[tuple[Kind, str], str]:
    return {tuple(each.key): each.text for each in judge(seen, Retries()).conditions}  # type: ignore[misc]


def silent(age_s: float) -> list[Any]:
    return [replace(producer("trades"), last_frame_age_s=age_s), producer("depth")]


CASES: list[tuple[str, dict[str, Any], Kind, str, str]] = [
    ("Kafka", {"kafka_error": "refused"}, kinds.KAFKA, "kafka", "Kafka does not answer"),
    ("ClickHouse", {"clickhouse_error": "no"}, kinds.CLICKHOUSE, "clickhouse", "no row is stored"),
    (
        "a stalled feed",
        {"producers": silent(judgement.SILENT_S + 1)},
        kinds.STALL,
        "wallex-trades",
        "wallex-trades has received no frame of trades for 61 s",
    ),
    (
        "a gap",
        {"gaps": [gap(5, "BTCTMN", "ETHTMN", "USDTTMN", "XRPTMN")]},
        kinds.GAP,
        "trades disconnected",
        "in trades (disconnected): BTCTMN, ETHTMN, USDTTMN and 1 more, at most 9.0 s long",
    ),
    (
        "a lag that does not shrink",
        {"partitions": [partition("trades", 0, lag=9000, lag_per_s=0.0)]},
        kinds.LAG,
        "trades",
        "messages of trades wait, and do not get fewer",
    ),
    (
        "an old lag",
        {"workers": [worker("trades", 0, lag_age_s=judgement.OLD_LAG_S + 1)]},
        kinds.OLD_LAG,
        "trades",
        "a message of trades has waited for 5 min to be stored",
    ),
    (
        "dead letters",
        {"flows": [flow("trades", open_letters=1), flow("depth")]},
        kinds.DEAD_LETTERS,
        "trades",
        "1 message of trades could not become rows",
    ),
    (
        "lost offsets",
        {"delivery_gaps": [SkippedOffsets("radar_trades", 0, 5, 7, "x", "y", 1.0, is_open=True)]},
        kinds.OFFSETS_LOST,
        "radar_trades",
        "3 offsets of radar_trades got lost before a worker stored them",
    ),
    (
        "a disk that fills",
        {"disks": [DiskState("/data", 14 << 30, 100 << 30)]},
        kinds.DISK_FILLS,
        "/data",
        "14.0 GiB (14%) are free: /data",
    ),
    (
        "a disk that is nearly full",
        {"disks": [DiskState("/data", (1 << 30) - 1, 2 << 30)]},
        kinds.DISK_FULL,
        "/data",
        "1.0 GiB (50%) are free: /data",
    ),
    (
        "a process that does not answer",
        {"processes": [process("quiet-1", alive=False, ready=False, reasons=["no answer"])]},
        kinds.PROCESS_DOWN,
        "quiet-1",
        "quiet-1 is down: no answer",
    ),
    (
        "a process that is not ready",
        {"processes": [process("quiet-1", ready=False, reasons=["is halted"])]},
        kinds.NOT_READY,
        "quiet-1",
        "quiet-1 is not ready: is halted",
    ),
    (
        "a process that warns",
        {"processes": [process("quiet-1", warnings=["a market is set aside"])]},
        kinds.WARNS,
        "quiet-1",
        "quiet-1 warns: a market is set aside",
    ),
    (
        "no process is known",
        {"processes": [], "producers": [], "workers": []},
        kinds.UNKNOWN,
        "processes",
        "whether radar records",
    ),
    (
        "gaps that are not known",
        {"probes": unanswered("markets", age_s=40.0)},
        kinds.UNKNOWN,
        "markets",
        "it is not known which gaps there are",
    ),
    (
        "disks that are not known",
        {"disks": [], "disks_error": "not enough privileges"},
        kinds.UNKNOWN,
        "disks",
        "not enough privileges",
    ),
]


@pytest.mark.parametrize(
    ("changes", "kind", "subject", "text"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_fact_is_one_condition(
    changes: dict[str, Any], kind: Kind, subject: str, text: str
) -> None:
    conditions = found(facts(**changes))
    assert list(conditions) == [(kind, subject)]
    assert text in conditions[kind, subject]


def test_every_kind_is_the_condition_of_some_fact() -> None:
    # Failing inserts follow from two observations: see below.
    assert {case[2] for case in CASES} | {kinds.INSERTS} == set(KINDS)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"producers": silent(judgement.SILENT_S - 1)},
        {"gaps": [gap(judgement.RECENT_GAP_S + 1, "BTCTMN")]},
        {"gaps": [gap(5, "BTCTMN", repaired=True)]},
        {"gaps": [gap(LASTING_GAP_S - 1, "BTCTMN", cause="not_recording")]},
        {"partitions": [partition("trades", 0, lag=9000, lag_per_s=-400.0)]},
        {"workers": [worker("trades", 0, lag_age_s=judgement.OLD_LAG_S)]},
        {"disks": [DiskState("/data", 16 << 30, 100 << 30)]},
        {"processes": [process("wallex-trades", state="stopped", alive=False, ready=False)]},
        {"probes": unanswered("markets", age_s=None, starting=True)},
    ],
)
def test_fact_below_its_threshold_is_no_condition(changes: dict[str, Any]) -> None:
    assert found(facts(**changes)) == {}


def test_inserts_fail_while_they_were_repeated_within_two_minutes() -> None:
    retries = Retries()

    def seen(count: int, after_s: float) -> list[Key]:
        workers = [worker("trades", 0, insert_retries=count)]
        judged = judge(facts(workers=workers, at_s=NOW_S + after_s), retries)
        return [each.key for each in judged.conditions]

    assert seen(7, 0) == []  # counted before the first observation
    assert seen(8, 5) == [Key(kinds.INSERTS, "trades")]
    assert seen(8, 5 + judgement.RETRIES_S) == [Key(kinds.INSERTS, "trades")]
    assert seen(8, 6 + judgement.RETRIES_S) == []


def unproven(**changes: Any) -> Judged:
    return judge(facts(**changes), Retries())


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"probes": unanswered("kafka", age_s=40.0)}, kinds.LAG),
        ({"probes": unanswered("tables", age_s=40.0)}, kinds.OFFSETS_LOST),
        ({"probes": unanswered("markets", age_s=40.0)}, kinds.GAP),
        ({"probes": unanswered("letters", age_s=40.0)}, kinds.DEAD_LETTERS),
        ({"disks": []}, kinds.DISK_FULL),
        ({"clickhouse_error": "refused"}, kinds.INSERTS),
        ({"kafka_error": "refused"}, kinds.OLD_LAG),
    ],
)
def test_kind_without_evidence_is_not_judged(changes: dict[str, Any], kind: Kind) -> None:
    assert unproven(**changes).is_unproven(Key(kind, "any"))
    assert not unproven().is_unproven(Key(kind, "any"))


def test_silent_process_proves_nothing_about_its_feed() -> None:
    gone = {"alive": False, "ready": False, "reasons": ["no answer"]}
    judged = unproven(
        producers=[replace(each, **gone) for each in silent(999.0)],
        processes=[process("wallex-trades", **gone)],
    )
    assert [each.key.kind for each in judged.conditions] == [kinds.PROCESS_DOWN]
    assert judged.is_unproven(Key(kinds.STALL, "wallex-trades"))
    assert not judged.is_unproven(Key(kinds.STALL, "wallex-depth"))


def test_store_that_does_not_answer_is_one_condition_and_not_its_consequences() -> None:
    judged = unproven(
        clickhouse_error="refused",
        probes=[probe(each.subject, holds=False) for each in overview().probes],
        workers=[worker("trades", 0, ready=False, lag_age_s=999.0, reasons=["ClickHouse"])],
        processes=[process("trades-consumer-1", ready=False, reasons=["ClickHouse"])],
        disks=[],
    )
    kafka = {"kafka", "letters"}  # frozen as well, which is another cause
    assert {each.key for each in judged.conditions} == {
        Key(kinds.CLICKHOUSE, "clickhouse"),
        *(Key(kinds.UNKNOWN, each) for each in kafka),
    }


def test_without_an_observation_nothing_else_is_judged() -> None:
    judged = nothing_known("it fails")
    assert [each.key.kind for each in judged.conditions] == [kinds.UNKNOWN]
    assert all(judged.is_unproven(Key(kind, "x")) for kind in KINDS if kind is not kinds.UNKNOWN)
    assert Key(kinds.GAP, EVERY) in judged.unproven
