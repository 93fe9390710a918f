"""The views of the market, against what plain Python makes of the same trades and snapshots."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Context, Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition

from market_data import MONDAY, insert, side, trade, us
from producing import OTHER_MARKETS, Topic, options, producing, sent
from radar.codec import message_format
from radar.datasets import DEPTH, TRADES, Dataset
from radar.errors import QueryFailed
from radar.kafka import client_config
from radar.records import BookSide
from radar.settings import Settings, load
from radar.store.client import Store
from radar_simulator import SimulatorOptions, simulator
from support import Process, eventually, radar
from workers import create_topics, publish, stored, waiting

EXACT = Context(prec=60, rounding=ROUND_DOWN)
PLACES = Decimal(1).scaleb(-18)


@dataclass(frozen=True)
class Traded:
    """What a candle is made of, in the order of trading."""

    symbol: str
    at_ms: int
    price: Decimal
    amount: Decimal


Candle = tuple[Any, ...]


def candles(trades: Iterable[Traded], interval_s: int) -> list[Candle]:
    """Make candles, by market and time, of trades that stand in their order."""
    found: dict[tuple[str, int], list[Traded]] = defaultdict(list)
    for each in trades:
        found[each.symbol, each.at_ms // (interval_s * 1000) * interval_s].append(each)
    return [
        _candle(symbol, open_time_s, some) for (symbol, open_time_s), some in sorted(found.items())
    ]


def _candle(symbol: str, open_time_s: int, trades: Sequence[Traded]) -> Candle:
    prices = [each.price for each in trades]
    volume = sum(each.amount for each in trades)
    quote_volume = sum(
        EXACT.multiply(each.price, each.amount).quantize(PLACES, context=EXACT) for each in trades
    )
    vwap = EXACT.divide(quote_volume, volume).quantize(PLACES, context=EXACT)
    return (
        *(symbol, datetime.fromtimestamp(open_time_s, UTC)),
        *(prices[0], max(prices), min(prices), prices[-1]),
        *(volume, quote_volume, vwap, len(trades)),
    )


def stored_candles(store: Store, interval_s: int, start: datetime, end: datetime) -> list[Candle]:
    rows = store.rows(
        "SELECT symbol, open_time, open, high, low, close, volume, quote_volume, vwap, trades"
        f" FROM candles(interval_s = {interval_s}, start = {_text(start)}, end = {_text(end)})"
        " ORDER BY symbol, open_time"
    )
    return [(row[0], row[1].replace(tzinfo=UTC), *row[2:]) for row in rows]


def _text(at: datetime) -> str:
    return f"'{at:%Y-%m-%d %H:%M:%S.%f}'"


@pytest.fixture
def settings(kafka_settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.3")
    settings = load()
    create_topics(settings)
    # What is delivered again stays beside what was there.
    for dataset in (TRADES, DEPTH):
        store.command(f"SYSTEM STOP MERGES {dataset.table}")
    return settings


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start workers; they are ended with the test."""
    processes: list[Process] = []

    def run(dataset: str, **environment: str) -> Process:
        log = tmp_path / f"worker-{len(processes)}.log"
        processes.append(Process(radar("consume", dataset), log, **environment))
        return processes[-1]

    yield run
    for process in processes:
        process.end()


def rewind(settings: Settings, dataset: Dataset) -> None:
    """Let a group without members begin again at the start of its topic."""
    consumer = Consumer(client_config(settings) | {"group.id": dataset.group})
    start = [TopicPartition(dataset.topic, n, 0) for n in range(settings.kafka_num_partitions)]
    consumer.commit(offsets=start, asynchronous=False)
    consumer.close()


@dataclass(frozen=True)
class Recorded:
    """What the ledger tells, in the order of trading, and all messages as they were published."""

    since_s: int  # Unix time since which all of it came over a connection
    traded: list[Traded]
    messages: list[dict[str, Any]]


async def record(settings: Settings, dataset: Dataset, simulated: SimulatorOptions) -> Recorded:
    """Record from the simulated exchange for some seconds, the last of which is over."""
    async with simulator(simulated) as sim:
        topic = Topic(settings, dataset)
        async with producing(options(settings, sim), dataset):
            await topic.until(lambda: len(topic.messages) > 100, "the connection is up")
            began = time.time()
            await topic.until(lambda: time.time() > began + 5, "some seconds")
            assert await sim.quiesce()
            if dataset is TRADES:
                await topic.until(lambda: sent(sim.ledger.trades()) <= topic.trades(), "the rest")
        await asyncio.to_thread(topic.read)
        topic.close()
    traded = [
        Traded(each.symbol, us(datetime.fromisoformat(each.timestamp)) // 1000,
               Decimal(each.price), Decimal(each.quantity))
        for each in sim.ledger.trades()
        if each.symbol not in OTHER_MARKETS
    ]  # fmt: skip
    # What happened before the first connection came over REST, all at once.
    return Recorded(int(began) + 1, traded, topic.messages)


def test_candles_equal_those_of_the_ledger_however_often_it_is_delivered(
    settings: Settings, store: Store, start: Callable[..., Process]
) -> None:
    # However long it takes until the producer is up, REST tells all that happened before.
    simulated = SimulatorOptions(
        symbols=6, trades_per_s=200, depth_per_s=0, twin_share=0.3, recent_trades=20_000
    )
    recorded = asyncio.run(record(settings, TRADES, simulated))
    since = datetime.fromtimestamp(recorded.since_s, UTC)
    until = since + timedelta(hours=1)
    traded = [each for each in recorded.traded if each.at_ms >= recorded.since_s * 1000]
    expected = {n: candles(traded, n) for n in (1, 2)}
    start_of = {n: since + timedelta(seconds=recorded.since_s % n) for n in (1, 2)}
    expected[2] = [each for each in expected[2] if each[1] >= start_of[2]]

    def compare(what: str) -> None:
        for interval_s, wanted in expected.items():
            found = stored_candles(store, interval_s, start_of[interval_s], until)
            assert found == wanted, f"{what}, {interval_s} s"

    worker = start("trades")
    eventually(lambda: stored(store) == len(recorded.messages), "everything is stored")
    assert worker.terminate() == 0
    assert len(expected[1]) > 12
    assert sum(each[-1] for each in expected[1]) > 400
    compare("at first")

    # The same messages again: a worker stores no row that is there already.
    rewind(settings, TRADES)
    worker = start("trades", BATCH_SIZE="70", BATCH_MAX_SIZE="70")
    eventually(lambda: waiting(settings) == 0, "everything is committed")
    assert stored(store) == len(recorded.messages)
    compare("delivered twice")

    # And published once more, so that each has another place in Kafka.
    values = [_value(each) for each in recorded.messages]
    random.Random(1).shuffle(values)
    publish(settings, values, TRADES)
    eventually(lambda: stored(store) == 2 * len(recorded.messages), "stored a second time")
    assert worker.terminate() == 0
    compare("published twice")
    store.command("SYSTEM START MERGES trades_master")
    store.command("OPTIMIZE TABLE trades_master FINAL")
    assert stored(store) == len(recorded.messages)
    compare("merged")


def _value(message: dict[str, Any]) -> bytes:
    return msgspec.json.encode(message)


def test_book_as_of_a_time_equals_a_replay_of_the_snapshots(
    settings: Settings, store: Store, start: Callable[..., Process]
) -> None:
    simulated = SimulatorOptions(symbols=3, trades_per_s=0, depth_per_s=100)
    changed = settings.model_copy(update={"depth_interval_seconds": 0.2})
    recorded = asyncio.run(record(changed, DEPTH, simulated))
    worker = start("depth")
    eventually(lambda: stored(store, DEPTH) == len(recorded.messages), "everything is stored")
    assert worker.terminate() == 0
    publish(settings, [_value(each) for each in recorded.messages], DEPTH)
    start("depth", BATCH_SIZE="7", BATCH_MAX_SIZE="7")
    twice = 2 * len(recorded.messages)
    eventually(lambda: stored(store, DEPTH) == twice, "everything is stored again")
    ordered = sorted(recorded.messages, key=lambda each: int(each["received_at_us"]))
    symbol = str(ordered[len(ordered) // 2]["symbol"])
    moments = [int(each["received_at_us"]) for each in ordered[:: len(ordered) // 20]]
    for at_us in (moments[0] - 1, *moments, moments[-1] + 3600 * 1_000_000):
        sides: dict[str, tuple[Any, ...]] = {}
        for each in ordered:
            if each["symbol"] == symbol and each["received_at_us"] <= at_us:
                sides[each["side"]] = (each["prices"], each["quantities"], each["received_at_us"])
        rows = store.rows(
            "SELECT bid_prices, bid_quantities, toUnixTimestamp64Micro(bid_received_at),"
            " ask_prices, ask_quantities, toUnixTimestamp64Micro(ask_received_at)"
            f" FROM order_book_at(symbol = '{symbol}', at = fromUnixTimestamp64Micro({at_us}))"
        )
        nothing: tuple[Any, ...] = ([], [], None)  # not recorded before that time
        wanted = [(*sides.get("bid", nothing), *sides.get("ask", nothing))] if sides else []
        assert rows == wanted, at_us


def test_candle_of_trades_in_the_same_moment_is_the_same_in_any_order(store: Store) -> None:
    at_ms = us(MONDAY) // 1000
    # Same second; received at two moments; identities decide what is left, by their first 34 bits.
    trades = [
        (trade(at_ms, at_ms * 1000 + n % 2, str(100 + n)), f"{(1000 - n) << 2:09x}".ljust(32, "7"))
        for n in range(16)
    ]
    in_order = sorted(trades, key=lambda each: (each[0].received_at_us, each[1]))
    values = [message_format.encode_trade(*each) for each in trades]
    store.command("SYSTEM STOP MERGES trades_master")
    for n in range(6):
        random.Random(n).shuffle(values)
        insert(store, TRADES, values, f"delivery {n}")
        ((opened, closed, count),) = store.rows(
            f"SELECT open, close, trades FROM candles(interval_s = 60, start = {_text(MONDAY)},"
            f" end = {_text(MONDAY + timedelta(seconds=1))})"
        )
        assert [opened, closed] == [Decimal(in_order[n][0].price) for n in (0, -1)]
        assert count == 16


@pytest.mark.parametrize(
    ("interval_s", "start", "end", "open_times"),
    [
        # Intervals that overlap are whole.
        (3600, timedelta(minutes=90), timedelta(minutes=121), [1, 2]),
        # The end is not included.
        (3600, timedelta(hours=1), timedelta(hours=2), [1]),
        (86400, timedelta(0), timedelta(hours=1), [0]),
        # A week begins on Monday.
        (604800, timedelta(hours=5), timedelta(hours=6), [0]),
    ],
)
def test_candles_of_a_window_are_whole_intervals(
    store: Store, interval_s: int, start: timedelta, end: timedelta, open_times: list[int]
) -> None:
    hours = {n: MONDAY + timedelta(hours=n) for n in range(-1, 48)}
    values = [
        message_format.encode_trade(trade(us(at) // 1000, us(at) + 1, "5"), f"{n + 1:032x}")
        for n, at in hours.items()
    ]
    insert(store, TRADES, values, "all")
    found = stored_candles(store, interval_s, MONDAY + start, MONDAY + end)
    assert [each[1] for each in found] == [hours[n] for n in open_times]
    per_candle = {3600: 1, 86400: 24, 604800: 48}[interval_s]
    assert {each[-1] for each in found} == {per_candle}


def test_reference_price_and_vwap_are_by_volume(store: Store) -> None:
    at_ms = us(MONDAY) // 1000
    big = trade(at_ms, at_ms * 1000, "100")
    small = trade(at_ms + 1000, at_ms * 1000, "200")
    other = trade(at_ms, at_ms * 1000, "7", "BTC_USDT")
    values = [
        message_format.encode_trade(each, f"{n:032x}") for n, each in enumerate((big, small, other))
    ]
    insert(store, TRADES, values, "all")
    window = f"start = {_text(MONDAY)}, end = {_text(MONDAY + timedelta(minutes=1))}"
    assert store.rows(f"SELECT price, close, volume FROM usdt_tmn(interval_s = 60, {window})") == [
        (Decimal(150), Decimal(200), Decimal("0.6"))
    ]
    assert store.rows(f"SELECT symbol, vwap, trades FROM vwap({window}) ORDER BY symbol") == [
        ("BTC_USDT", Decimal(7), 1),
        ("USDTTMN", Decimal(150), 2),
    ]


@pytest.fixture
def book(store: Store) -> Store:
    """Provide books around 100 at MONDAY, the second one of which has no asks."""
    at_us = us(MONDAY)
    snapshots = [
        side(BookSide.BID, [99.5, 99.0, 98.0], at_us),
        side(BookSide.ASK, [100.5, 101.0, 102.0], at_us - 10),
        side(BookSide.BID, [5.0], at_us, "ETH_USDT"),
        side(BookSide.ASK, [], at_us, "ETH_USDT"),
    ]
    for name in ("first", "again"):
        insert(store, DEPTH, [message_format.encode_depth(each) for each in snapshots], name)
    return store


def test_book_depth_counts_what_lies_within_the_basis_points(book: Store) -> None:
    def within(bps: float, symbol: str = "USDTTMN") -> list[tuple[Any, ...]]:
        return book.rows(
            "SELECT mid, spread_bps, bid_volume, ask_volume, bid_quote_volume, ask_quote_volume,"
            f" imbalance FROM book_depth_at(symbol = '{symbol}', at = {_text(MONDAY)}, bps = {bps})"
        )

    assert within(50) == [(100, 100, 1, 1, 99.5, 100.5, 0)]
    assert within(100) == [(100, 100, 3, 3, 99.5 + 2 * 99, 100.5 + 2 * 101, 0)]
    assert within(10_000) == [(100, 100, 6, 6, 99.5 + 198 + 294, 100.5 + 202 + 306, 0)]
    # Without one side there is no middle, so nothing lies near it.
    assert within(50, "ETH_USDT") == [(None,) * 7]
    assert within(50, "NOTHING") == []


def test_spreads_are_those_at_the_end_of_each_interval(book: Store) -> None:
    later = side(BookSide.BID, [99.9], us(MONDAY) + 1_000_000)
    insert(book, DEPTH, [message_format.encode_depth(later)], "later")
    minute = timedelta(minutes=1)
    window = f"start = {_text(MONDAY - minute)}, end = {_text(MONDAY + minute)}"
    rows = book.rows(
        "SELECT symbol, toUnixTimestamp(open_time) - toUnixTimestamp({monday:DateTime}), best_bid,"
        " best_ask, mid, round(spread, 9), bid_quantity, ask_quantity, imbalance"
        f" FROM spreads(interval_s = 60, {window}) ORDER BY symbol, open_time",
        {"monday": f"{MONDAY:%Y-%m-%d %H:%M:%S}"},
    )
    assert rows == [
        ("ETH_USDT", 0, 5.0, None, None, None, 1, None, None),
        ("USDTTMN", -60, None, 100.5, None, None, None, 1, None),
        ("USDTTMN", 0, 99.9, None, None, None, 1, None, None),
    ]
    day_before = f"start = {_text(MONDAY - minute)}, end = {_text(MONDAY)}"
    assert book.rows(
        f"SELECT best_bid, best_ask FROM spreads(interval_s = 86400, {day_before})"
    ) == [(None, 100.5)]
    insert(
        book, DEPTH, [message_format.encode_depth(side(BookSide.ASK, [100.1], us(MONDAY)))], "both"
    )
    hour = f"start = {_text(MONDAY)}, end = {_text(MONDAY + minute)}"
    assert book.rows(
        "SELECT best_bid, best_ask, mid, round(spread, 9), round(spread_bps, 9), imbalance"
        f" FROM spreads(interval_s = 3600, {hour}) WHERE symbol = 'USDTTMN'"
    ) == [(99.9, 100.1, 100, 0.2, 20, 0)]


def test_markets_show_the_last_day_and_the_newest_book(book: Store) -> None:
    hour_ms = 3_600_000
    at_ms = us(MONDAY) // 1000
    traded = [
        trade(at_ms - 25 * hour_ms, at_ms * 1000, "1"),
        trade(at_ms - 23 * hour_ms, at_ms * 1000, "80"),
        trade(at_ms - 2 * hour_ms, at_ms * 1000, "120"),
        trade(at_ms - 1000, at_ms * 1000, "100"),
        trade(at_ms + 1000, at_ms * 1000, "999"),
        trade(at_ms - hour_ms, at_ms * 1000, "7", "QUIETTMN"),
    ]
    values = [message_format.encode_trade(each, f"{n:032x}") for n, each in enumerate(traded)]
    for name in ("first", "again"):
        insert(book, TRADES, values, name)
    rows = book.rows(
        "SELECT symbol, base, last_price, change_24h, high_24h, low_24h, volume_24h,"
        " quote_volume_24h, trades_24h, best_bid, best_ask, mid, spread_bps, trade_age_s,"
        " book_age_s"
        f" FROM markets_at(at = {_text(MONDAY)}) ORDER BY symbol"
    )
    assert rows == [
        ("ETH_USDT", "ETH_", None, None, None, None, 0, 0, 0, 5.0, None, None, None, None, 0),
        ("QUIETTMN", "QUIE", 7, 0, 7, 7, Decimal("0.3"), Decimal("2.1"), 1,
         None, None, None, None, 3600, None),
        ("USDTTMN", "USDT", 100, 0.25, 120, 80, Decimal("0.9"), 90, 3,
         99.5, 100.5, 100, 100, 1, 0),
    ]  # fmt: skip


def test_markets_asked_for_one_read_no_other(book: Store) -> None:
    now_us = time.time_ns() // 1000
    insert(
        book,
        TRADES,
        [message_format.encode_trade(trade(now_us // 1000, now_us, "7"), f"{1:032x}")],
        "now",
    )
    plan = book.rows(
        "EXPLAIN indexes = 1 SELECT * FROM markets WHERE source = 'wallex' AND symbol = 'USDTTMN'"
    )
    # Of the trades, and of the snapshots: the tables' order by market is used.
    narrowed = [line for (line,) in plan if "(symbol in ['USDTTMN', 'USDTTMN'])" in line]
    assert len(narrowed) == 2


def test_markets_of_now_are_those_of_this_moment(store: Store) -> None:
    now_us = time.time_ns() // 1000
    value = message_format.encode_trade(trade(now_us // 1000 - 2000, now_us, "7"), f"{1:032x}")
    insert(store, TRADES, [value], "now")
    ((symbol, age_s),) = store.rows("SELECT symbol, trade_age_s FROM markets")
    assert symbol == "USDTTMN"
    assert 2 <= age_s < 60


def test_view_without_its_parameters_says_which_is_missing(store: Store) -> None:
    with pytest.raises(QueryFailed, match="interval_s"):
        store.rows("SELECT * FROM candles(start = '2026-01-01', end = '2026-01-02')")
