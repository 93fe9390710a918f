"""Coverage: what the view makes of watches and gaps, and what the command says."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from radar.checks.coverage import Covered, coverage, symbol_gaps
from radar.codec import message_format
from radar.consumer.chunk import decode_chunk
from radar.consumer.messages import Messages
from radar.datasets import GAPS, WATCHES, Dataset
from radar.records import OPEN, Gap, GapCause, SessionReport
from radar.store.client import Store
from support import Consumed, run_command

NOW = datetime.now(UTC)
TODAY = NOW.date()
# Two days before today at noon, so that a day follows that is over as well.
NOON = datetime(TODAY.year, TODAY.month, TODAY.day, 12, tzinfo=UTC) - timedelta(days=2)
HOUR_S = 3600


def us(hours: float) -> int:
    """Return the time so long after that noon."""
    return int((NOON.timestamp() + hours * HOUR_S) * 1e6)


def watch(begins: float, ends: float, **changes: Any) -> bytes:
    facts: dict[str, Any] = {
        "connection": "0a", "symbols": ("A", "B"), "end_reason": "closed", "record_kind": "trades",
        "interval_ms": 0, "received_at_us": us(ends),
    }  # fmt: skip
    return message_format.encode_session(
        SessionReport(
            source="wallex", began_at_us=us(begins), ended_at_us=us(ends), **(facts | changes)
        )
    )


def gap(begins: float, ends: float, *, repaired: bool, cause: GapCause = GapCause.SILENT) -> bytes:
    return message_format.encode_gap(
        Gap(
            source="wallex",
            record_kind="trades",
            cause=cause,
            symbols=("A",),
            began_at_us=us(begins),
            ended_at_us=us(ends),
            repaired=repaired,
            received_at_us=us(ends),
        )
    )


def insert(store: Store, dataset: Dataset, *values: bytes) -> None:
    messages = [Consumed(at, value) for at, value in enumerate(values)]
    chunk = decode_chunk(dataset, 0, Messages.of(messages))
    assert not chunk.bad_messages
    rows = [(len(part.messages), part.columns) for part in chunk.parts]
    store.insert(dataset.table, rows, repr(values))


def day(rows: list[Covered], symbol: str, days: int) -> Covered:
    (row,) = [
        each
        for each in rows
        if each.symbol == symbol and each.day == NOON.date() + timedelta(days=days)
    ]
    return row


def test_coverage_counts_overlaps_once_and_divides_days(store: Store) -> None:
    insert(
        store,
        WATCHES,
        watch(0, 2),
        watch(1, 3, connection="0b"),  # rotated: both at once for an hour
        watch(4, 14, connection="0c", symbols=("A",)),  # over midnight
    )
    insert(store, GAPS, gap(3, 4, repaired=True), gap(3.5, 4.5, repaired=False))
    rows = coverage(store, date(2000, 1, 1))
    first = day(rows, "A", 0)
    assert first.elapsed_s == 12 * HOUR_S, "recording began at noon"
    assert first.watched_s == (3 + 8) * HOUR_S
    assert first.watched_share == pytest.approx(11 / 12)
    assert (first.gaps, first.gaps_s) == (2, 1.5 * HOUR_S)
    assert (first.repaired_gaps, first.repaired_s) == (1, HOUR_S)
    assert first.complete_share == 1
    second = day(rows, "A", 1)
    assert (second.elapsed_s, second.watched_s) == (24 * HOUR_S, 2 * HOUR_S)
    # Nothing was recorded after two o'clock.
    assert (second.gaps, second.gaps_s, second.in_progress) == (1, 22 * HOUR_S, False)
    # Nobody watched B then, and nobody anything today.
    assert (day(rows, "B", 0).watched_s, day(rows, "B", 1).watched_s) == (3 * HOUR_S, 0)
    today = day(rows, "B", 2)
    assert today.day == TODAY
    midnight = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC)
    assert 0 <= today.elapsed_s - (NOW - midnight).total_seconds() < HOUR_S
    assert (today.watched_share, today.in_progress) == (0, True)
    assert len(rows) == 6


def test_coverage_time_in_which_a_market_was_mute_was_not_watched(store: Store) -> None:
    insert(store, WATCHES, watch(0, 8))
    insert(
        store,
        GAPS,
        gap(1, 2, repaired=True, cause=GapCause.MUTE),
        gap(4, 7, repaired=False, cause=GapCause.MUTE),
    )
    rows = coverage(store, date(2000, 1, 1))
    mute = day(rows, "A", 0)
    assert mute.watched_s == (8 - 1 - 3) * HOUR_S
    assert mute.complete_share == pytest.approx((8 - 3) / 12)
    assert day(rows, "B", 0).watched_s == 8 * HOUR_S


def test_coverage_watch_that_grows_is_one_row_and_its_end_counts(store: Store) -> None:
    insert(store, WATCHES, watch(0, 1, end_reason=OPEN), watch(0, 2, end_reason=OPEN))
    insert(store, WATCHES, watch(0, 2, end_reason="rotated"))
    # Delivered again, late.
    insert(store, WATCHES, watch(0, 1, end_reason=OPEN), watch(5, 5, end_reason=OPEN))
    ends = store.rows("SELECT end_reason, ended_at - began_at FROM watches FINAL ORDER BY 1")
    assert [end for end, _ in ends] == ["open", "rotated"]
    assert day(coverage(store, date(2000, 1, 1)), "A", 0).watched_s == 2 * HOUR_S


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a"], "no market 'a' is recorded: use A"),
        (["A", "NONSENSE"], "no market 'NONSENSE' is recorded: use one of A, B"),
        (["A,NONSENSE,wallex:B"], "no market 'NONSENSE' is recorded: use one of A, B"),
        (["--since", "2999-01-01", "--to", "2999-01-02"], "is in the future"),
        (["--from", "2999-01-01"], "--from 2999-01-01T00:00:00Z is in the future"),
    ],
)
def test_coverage_command_refuses_what_cannot_be_recorded(
    store: Store, arguments: list[str], words: str
) -> None:
    insert(store, WATCHES, watch(0, 3))
    done = run_command("coverage", *arguments, "--json")
    assert done.returncode == 2
    assert words in done.stderr
    assert words in json.loads(done.stdout)["error"]


def test_coverage_command_tells_days_and_gaps_of_the_chosen(store: Store) -> None:
    insert(store, WATCHES, watch(0, 3))
    insert(store, GAPS, gap(3, 4, repaired=True))
    assert [each.cause for each in symbol_gaps(store, NOON.date(), ["A"], "trades")] == [
        "not_recording",
        "silent",
    ]
    assert [each.cause for each in symbol_gaps(store, NOON.date(), ["B"])] == ["not_recording"]
    assert coverage(store, NOON.date(), record_kind="depth") == []
    done = run_command("coverage", "A", "--since", "3d", check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 1 + 3 + 2
    assert lines[1].endswith("(day in progress)")
    assert "25.000 %   33.333 %  2 (32,400 s), 1 repaired" in lines[3]
    assert lines[4].endswith("s, no producer ran (not_recording), not repaired")
    assert lines[5].endswith("3,600.0 s, silent, repaired")
    done = run_command("coverage", "--since", "3d", "--json", check=True)
    found = json.loads(done.stdout)
    assert (found["version"], found["error"]) == (1, None)
    assert {each["symbol"] for each in found["days"]} == {"A", "B"}
    assert {each["cause"] for each in found["gaps"]} == {"silent", "not_recording"}
    assert found["days"][-1]["day"] == NOON.date().isoformat()


def now_h() -> float:
    """Return the hours since that noon."""
    return (datetime.now(UTC) - NOON).total_seconds() / HOUR_S


def gaps_of(store: Store, symbol: str) -> list[tuple[str, float, float]]:
    """Return cause, beginning and end (hours since that noon) of a market's gaps."""
    return sorted(
        (
            each.cause,
            round((each.began_at - NOON).total_seconds() / HOUR_S, 3),
            round((each.ended_at - NOON).total_seconds() / HOUR_S, 3),
        )
        for each in symbol_gaps(store, date(2000, 1, 1), [symbol])
    )


@pytest.mark.fault(
    "radar was stopped, or its producer was killed, and started again",
    report="a gap of each market with the cause not_recording, from the last report to the start",
    place="radar coverage, /api/gaps, data quality page, views symbol_gaps and coverage",
    within_s=90,
)
def test_time_without_a_producer_is_a_gap(store: Store, within_s: float) -> None:
    s = 1 / HOUR_S
    now = now_h()
    insert(
        store,
        WATCHES,
        watch(0, 1, end_reason="stopped", connection="01"),
        watch(2, 3, end_reason=OPEN, connection="02"),  # killed
        watch(4, now - (within_s + 5) * s, end_reason=OPEN, connection="03"),  # killed lately
    )
    first, second, third = gaps_of(store, "A")
    assert (first, second) == (("not_recording", 1, 2), ("not_recording", 3, 4))
    assert third[:2] == ("not_recording", round(now - (within_s + 5) * s, 3))
    assert third[2] == pytest.approx(now_h(), abs=10 * s)
    # It goes on.
    insert(store, WATCHES, watch(now - 2 * s, now, end_reason=OPEN, connection="04"))
    assert [each[1] for each in gaps_of(store, "A")] == [1, 3, third[1]]
    (today,) = [each for each in coverage(store, TODAY) if each.symbol == "A"]
    assert today.gaps == 1
    assert 0 < 1 - today.watched_share < (within_s + 30) / today.elapsed_s


def test_time_that_a_living_producer_will_report_is_no_gap_of_its_own(store: Store) -> None:
    s, now = 1 / HOUR_S, now_h()
    insert(
        store,
        WATCHES,
        watch(now - 600 * s, now - 60 * s, end_reason="closed", connection="01"),
        watch(now - 58 * s, now - 10 * s, end_reason=OPEN, connection="02"),
    )
    assert gaps_of(store, "A") == [], "its repair is awaited"
    # A successor that has just begun, while the old connection was reported half a minute ago.
    insert(store, WATCHES, watch(now - 1 * s, now - 1 * s, end_reason=OPEN, connection="03"))
    assert gaps_of(store, "A") == []


def test_gap_that_its_producer_never_reported_is_listed(store: Store) -> None:
    """The producer was killed before it could report the gap."""
    insert(
        store,
        WATCHES,
        watch(0, 1, end_reason="closed", connection="01"),
        watch(2, 3, end_reason="stopped", connection="02"),
    )
    insert(store, GAPS, gap(3, 3.5, repaired=False))
    causes = gaps_of(store, "A")
    assert causes[:2] == [("not_recording", 1, 2), ("not_recording", 3.5, causes[1][2])]
    assert causes[2:] == [("silent", 3, 3.5)]


def test_market_that_ended_while_others_go_on_has_no_gap_since(store: Store) -> None:
    s, now = 1 / HOUR_S, now_h()
    insert(
        store,
        WATCHES,
        watch(0, 1, end_reason="rotated", connection="01"),
        watch(1, now - 5 * s, end_reason=OPEN, connection="02", symbols=("B",)),
    )
    assert gaps_of(store, "A") == []
    (only,) = [each for each in coverage(store, date(2000, 1, 1)) if each.symbol == "A"]
    assert (only.elapsed_s, only.watched_share) == (HOUR_S, 1)
    # One whose connection is lost has one.
    insert(
        store,
        WATCHES,
        watch(0, 1, end_reason="closed", connection="03", symbols=("C",)),
    )
    ((cause, began, _),) = gaps_of(store, "C")
    assert (cause, began) == ("disconnected", 1)


def test_first_minutes_without_a_fault_are_complete(store: Store) -> None:
    s, now = 1 / HOUR_S, now_h()
    insert(
        store,
        WATCHES,
        watch(now - 660 * s, now - 300 * s, end_reason="rotated", connection="01"),
        watch(now - 310 * s, now - 35 * s, end_reason=OPEN, connection="02"),
    )
    rows = [each for each in coverage(store, date(2000, 1, 1)) if each.symbol == "A"]
    assert {(each.watched_share, each.complete_share, each.gaps) for each in rows} == {(1, 1, 0)}
    assert sum(each.elapsed_s for each in rows) == pytest.approx(625, abs=1)
    done = run_command("coverage", "A", check=True)
    assert done.stdout.count("100.000 %") == 2 * len(rows)


def test_messages_that_kafka_refused_were_not_recorded_although_watched(store: Store) -> None:
    insert(store, WATCHES, watch(0, 8))
    insert(store, GAPS, gap(4, 7, repaired=False, cause=GapCause.REFUSED_BY_KAFKA))
    refused = day(coverage(store, date(2000, 1, 1)), "A", 0)
    assert refused.watched_s == 5 * HOUR_S
    assert refused.complete_share == pytest.approx(5 / 12)
