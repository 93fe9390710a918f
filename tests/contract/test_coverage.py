"""Coverage: what the view makes of watches and gaps, and what the command says."""

import json
import subprocess
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from radar import wire
from radar.consumer.content import read
from radar.consumer.run import Run
from radar.kinds import GAPS, WATCHES, Kind
from radar.quality.coverage import Covered, coverage, symbol_gaps
from radar.records import OPEN, Gap, GapCause, Watch
from radar.store.client import Store
from support import Consumed, radar

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
    return wire.encode_watch(
        Watch(source="wallex", began_at_us=us(begins), ended_at_us=us(ends), **(facts | changes))
    )


def gap(begins: float, ends: float, *, repaired: bool, cause: GapCause = GapCause.SILENT) -> bytes:
    return wire.encode_gap(
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


def insert(store: Store, kind: Kind, *values: bytes) -> None:
    messages = [Consumed(at, value) for at, value in enumerate(values)]
    content = read(kind, 0, Run.of(messages))
    assert not content.letters
    rows = [(len(part.run), part.columns) for part in content.parts]
    store.insert(kind.table, rows, repr(values))


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
    assert first.elapsed_s == 24 * HOUR_S
    assert first.watched_s == (3 + 8) * HOUR_S
    assert first.watched_share == pytest.approx(11 / 24)
    assert (first.gaps, first.gaps_s) == (2, 1.5 * HOUR_S)
    assert (first.repaired_gaps, first.repaired_s) == (1, HOUR_S)
    assert first.complete_share == pytest.approx(12 / 24)
    second = day(rows, "A", 1)
    assert (second.watched_s, second.gaps) == (2 * HOUR_S, 0)
    # Nobody watched B then, and nobody anything today.
    assert (day(rows, "B", 0).watched_s, day(rows, "B", 1).watched_s) == (3 * HOUR_S, 0)
    today = day(rows, "B", 2)
    assert today.day == TODAY
    midnight = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC)
    assert 0 <= today.elapsed_s - (NOW - midnight).total_seconds() < HOUR_S
    assert today.watched_share == 0
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
    assert mute.complete_share == pytest.approx((8 - 3) / 24)
    assert day(rows, "B", 0).watched_s == 8 * HOUR_S


def test_coverage_watch_that_grows_is_one_row_and_its_end_counts(store: Store) -> None:
    insert(store, WATCHES, watch(0, 1, end_reason=OPEN), watch(0, 2, end_reason=OPEN))
    insert(store, WATCHES, watch(0, 2, end_reason="rotated"))
    # Delivered again, late.
    insert(store, WATCHES, watch(0, 1, end_reason=OPEN), watch(5, 5, end_reason=OPEN))
    ends = store.rows("SELECT end_reason, ended_at - began_at FROM watches FINAL ORDER BY 1")
    assert [end for end, _ in ends] == ["open", "rotated"]
    assert day(coverage(store, date(2000, 1, 1)), "A", 0).watched_s == 2 * HOUR_S


def test_coverage_command_tells_days_and_gaps_of_the_chosen(store: Store) -> None:
    insert(store, WATCHES, watch(0, 3))
    insert(store, GAPS, gap(3, 4, repaired=True))
    assert len(symbol_gaps(store, NOON.date(), ["A"], "trades")) == 1
    assert symbol_gaps(store, NOON.date(), ["B"]) == []
    assert coverage(store, NOON.date(), record_kind="depth") == []
    done = subprocess.run(
        radar("coverage", "A", "--since", "3d"), capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 1 + 3 + 1
    assert "12.500 %   16.666 %  1 (3,600 s), 1 repaired" in lines[3]
    assert lines[4].endswith("3,600.0 s, silent, repaired")
    done = subprocess.run(
        radar("coverage", "--since", "3d", "--json"), capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert {each["symbol"] for each in found["days"]} == {"A", "B"}
    assert found["gaps"][0]["cause"] == "silent"
    assert found["days"][-1]["day"] == NOON.date().isoformat()
