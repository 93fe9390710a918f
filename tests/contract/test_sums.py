"""Candles that are read from the sums of past weeks are those of the trades, at any moment."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from radar.checks.following import Follower
from radar.settings import Settings
from radar.store import sums
from radar.store.client import Store
from radar.telemetry.health import Health
from support import eventually

WEEKS = 3
TRADES = 4_000  # of each week
INTERVALS_S = (900, 1800, 3600, 14_400, 86_400, 604_800)
MARKETS = ("BUSY", "CALM")
READS = 40  # beside inserts

INSERT = """
INSERT INTO trades_master (trade_id, source, symbol, base, quote, side, price, base_amount,
    event_time, received_at, native_id, native_sequence, event_time_us, set_back_us,
    kafka_partition, kafka_offset)
WITH toUnixTimestamp({monday:Date}) * 1000 + toInt64(cityHash64(number, {seed:UInt32}) % 604800000)
    AS at_ms
SELECT reinterpretAsUUID(sipHash128(number, {seed:UInt32})), 'wallex',
    if(number % 5 = 0, 'CALM', 'BUSY'), 'BUSY', 'TMN', if(number % 2 = 0, 'buy', 'sell'),
    toDecimal128(1 + cityHash64(number, {seed:UInt32}, 1) % 900, 18) / 7,
    toDecimal128(1 + cityHash64(number, {seed:UInt32}, 2) % 90, 18) / 13,
    fromUnixTimestamp64Milli(at_ms, 'UTC'),
    fromUnixTimestamp64Micro(at_ms * 1000 + {later_us:UInt32}, 'UTC'), '', 0,
    fromUnixTimestamp64Milli(at_ms, 'UTC'), 0, 0, number
FROM numbers({count:UInt32})
"""


def mondays() -> list[date]:
    """Return the Mondays of the newest weeks that are over, the oldest first."""
    today = datetime.now(UTC).date()
    this = today - timedelta(days=today.weekday())
    return [this - timedelta(weeks=n) for n in range(WEEKS, 0, -1)]


def insert(store: Store, monday: date, seed: int, count: int = TRADES, later_us: int = 0) -> None:
    """Store trades of a week; the same seed makes the same trades, delivered later."""
    store.command(
        INSERT,
        {"monday": monday.isoformat(), "seed": seed, "count": count, "later_us": later_us},
    )


def merge(store: Store) -> None:
    """Make each week one part, as ClickHouse does a day after its end."""
    store.command("OPTIMIZE TABLE trades_master FINAL")


def candles(store: Store, view: str, market: str, step: str) -> list[tuple[Any, ...]]:
    first, last = mondays()[0] - timedelta(days=1), datetime.now(UTC).date() + timedelta(days=1)
    return store.rows(
        f"SELECT * FROM {view}(source = 'wallex', symbol = '{market}', {step},"
        f" start = '{first}', end = '{last}') ORDER BY open_time"
    )


def check_candles(store: Store) -> None:
    """Check that the candles of the sums are those of the trades, in all intervals."""
    for market in MARKETS:
        for interval_s in INTERVALS_S:
            step = f"interval_s = {interval_s}"
            expected = candles(store, "market_candles", market, step)
            assert len(expected) >= WEEKS
            assert candles(store, "summed_market_candles", market, step) == expected
        for zone in ("Asia/Tehran", "Asia/Kathmandu", "America/New_York", "UTC"):
            step = f"time_zone = '{zone}'"
            expected = candles(store, "market_daily_candles", market, step)
            assert candles(store, "summed_market_daily_candles", market, step) == expected


def trades_in(store: Store, view: str = "summed_market_candles") -> int:
    return sum(row[-1] for row in candles(store, view, "BUSY", "interval_s = 604800"))


def sum_all(store: Store) -> None:
    for week in sums.due(store):
        assert sums.add(store, week)


@pytest.fixture
def weeks(store: Store) -> list[date]:
    """Store trades of past weeks and of the present one; deliver some twice."""
    found = mondays()
    for seed, monday in enumerate(found):
        insert(store, monday, seed)
        insert(store, monday, seed, count=700, later_us=5)
    now = datetime.now(UTC).date()
    insert(store, now - timedelta(days=now.weekday()), seed=99)
    merge(store)
    return found


def test_candles_of_sums_are_those_of_the_trades(store: Store, weeks: list[date]) -> None:
    check_candles(store)
    assert [week.monday for week in sums.due(store)] == sorted(weeks, reverse=True)
    sum_all(store)
    assert sums.due(store) == []
    check_candles(store)


def test_sums_count_only_while_the_trades_of_their_week_are_the_same(
    store: Store, weeks: list[date]
) -> None:
    sum_all(store)
    true = trades_in(store)
    # A false row shows that the sums are read.
    store.command(
        "INSERT INTO trade_sums SELECT * REPLACE(trades + 1000000 AS trades)"
        f" FROM trade_sums WHERE week = '{weeks[0]}' AND symbol = 'BUSY' ORDER BY open_time LIMIT 1"
    )
    assert trades_in(store) > true + 1_000_000
    insert(store, weeks[0], seed=50, count=10)
    late = trades_in(store)
    assert true < late <= true + 10
    check_candles(store)
    merge(store)
    check_candles(store)
    assert [week.monday for week in sums.due(store)] == [weeks[0]]
    sum_all(store)
    assert trades_in(store) == late
    check_candles(store)


def test_old_sums_do_not_count(store: Store, weeks: list[date]) -> None:
    sum_all(store)
    store.command("TRUNCATE TABLE trade_sums")
    assert trades_in(store) < trades_in(store, "market_candles"), "the sums are read"
    store.command(
        "INSERT INTO summed_weeks SELECT week, contents, attempt, now() - toIntervalDay(7) FROM"
        " summed_weeks"
    )
    store.command("DELETE FROM summed_weeks WHERE summed_at > now() - toIntervalDay(1)")
    assert [week.monday for week in sums.due(store)] == sorted(weeks, reverse=True)
    check_candles(store)


@pytest.fixture
def interrupted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[str], None]], None]:
    """Let something happen after each statement."""
    command = store.command

    def install(after: Callable[[str], None]) -> None:
        def run(sql: str, parameters: Any = None) -> None:
            command(sql, parameters)
            monkeypatch.setattr(store, "command", command)
            after(sql)
            monkeypatch.setattr(store, "command", run)

        monkeypatch.setattr(store, "command", run)

    return install


def test_week_that_changes_while_it_is_summed_does_not_count(
    store: Store, weeks: list[date], interrupted: Callable[[Callable[[str], None]], None]
) -> None:
    interrupted(lambda _: insert(store, weeks[1], seed=60, count=3))
    (week,) = (each for each in sums.due(store) if each.monday == weeks[1])
    assert not sums.add(store, week)
    check_candles(store)


def test_sums_that_were_written_twice_do_not_count(
    store: Store, weeks: list[date], interrupted: Callable[[Callable[[str], None]], None]
) -> None:
    interrupted(lambda _: store.command("INSERT INTO trade_sums SELECT * FROM trade_sums"))
    (week,) = (each for each in sums.due(store) if each.monday == weeks[1])
    assert not sums.add(store, week)
    check_candles(store)


def test_week_of_several_parts_is_not_summed(store: Store) -> None:
    monday = mondays()[-1]
    store.command("SYSTEM STOP MERGES trades_master")
    try:
        insert(store, monday, seed=1)
        insert(store, monday, seed=2)
        assert sums.due(store) == []
    finally:
        store.command("SYSTEM START MERGES trades_master")


class Late(NamedTuple):
    """Trades of BUSY: how many there were, and how many inserts of four have begun and ended."""

    before: int
    began: list[int]
    ended: list[int]


@pytest.fixture
def late_trades(store_settings: Settings, store: Store, weeks: list[date]) -> Iterator[Late]:
    """Insert late trades of past weeks, merge and sum, while the test runs."""
    late = Late(trades_in(store, "market_candles"), [0], [0])
    stop = threading.Event()
    failures: list[BaseException] = []

    def inserting() -> None:
        with closing(Store(store_settings)) as own:
            while not stop.wait(0.05):
                late.began[0] += 1
                seed = 1000 + late.began[0]
                # Of five trades, the first is one of CALM.
                insert(own, weeks[seed % WEEKS], seed, count=5)
                late.ended[0] += 1

    def summing() -> None:
        with closing(Store(store_settings)) as own:
            while not stop.is_set():
                merge(own)
                for week in sums.due(own):
                    sums.add(own, week)

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in (inserting, summing)]
    for thread in threads:
        thread.start()
    yield late
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_candles_beside_late_trades_merges_and_sums_show_every_trade_once(
    store: Store, late_trades: Late
) -> None:
    for _ in range(READS):
        ended = late_trades.ended[0]
        found = trades_in(store)
        began = late_trades.began[0]
        assert 4 * ended <= found - late_trades.before <= 4 * began
    assert store.rows("SELECT 1 FROM summed_weeks LIMIT 1"), "a week was summed meanwhile"


@pytest.mark.usefixtures("weeks")
def test_reconcile_sums_past_weeks(store_settings: Settings, store: Store) -> None:
    async def follow() -> None:
        following = asyncio.create_task(Follower(store_settings, store, Health()).run())
        try:
            async with asyncio.timeout(30):
                while not await asyncio.to_thread(_is_summed, store_settings):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following

    asyncio.run(follow())
    eventually(lambda: sums.due(store) == [], "all past weeks are summed")
    check_candles(store)


def _is_summed(settings: Settings) -> bool:
    with closing(Store(settings)) as own:
        ((weeks,),) = own.rows("SELECT uniqExact(week) FROM summed_weeks")
        return bool(weeks == WEEKS)
