"""A recording that is replayed and recorded again has the same rows, in every protocol."""

import asyncio
import json
import time
from collections import Counter
from typing import NamedTuple

import pytest
from websockets.asyncio.client import connect

import replaying
from cases import exchange_cases, of_exchange
from producing import until
from radar import exchanges
from radar.datasets import BOOK_UPDATES, DATASETS, DEPTH, FRAMES, TRADES
from radar.exchanges.base import Fetch
from radar.records import FrameKind
from radar.replay.frames import Connection, Entry, FrameReader
from radar.replay.pace import FASTEST
from radar.replay.records import Period
from radar.settings import Settings
from radar.store.client import Store
from radar_simulator import SimulatorOptions, simulator
from radar_simulator.dialects import NAMES, load
from radar_simulator.recorded import RecordedFrame

MARKETS = 3
# Subscriptions of both producers: trades and books, at Wallex each side of a book.
SUBSCRIPTIONS = {"wallex": 3 * MARKETS}
GREETING = {"wallex", *(each for each in NAMES if load(each).greets_with_book)}
TWINS = SimulatorOptions(symbols=MARKETS, twin_share=0.4, trades_per_s=30, depth_per_s=60)


async def record_simulated(
    exchange: str,
    settings: Settings,
    store: Store,
    *,
    frames: bool = False,
    updates: bool = False,
) -> tuple[replaying.Recording, Period]:
    """Record some seconds of a simulated exchange into a database."""
    began_us = time.time_ns() // 1000
    simulated = SimulatorOptions(
        exchange=exchange,
        symbols=TWINS.symbols,
        twin_share=TWINS.twin_share,
        trades_per_s=TWINS.trades_per_s,
        depth_per_s=TWINS.depth_per_s,
    )
    async with simulator(simulated) as sim:
        own = replaying.options(settings, exchange, sim.rest_url)
        async with replaying.recording(own, frames=frames, updates=updates) as recorded:
            await recorded.until_count({"trades": 60, "depth": 40})
            assert await sim.quiesce()
    for name in recorded.counts():
        replaying.keep(store, DATASETS[name], recorded.messages(DATASETS[name]))
    # The exchange's times may be whole seconds.
    begin_us = began_us // 1_000_000 * 1_000_000
    return recorded, Period(exchange, (), begin_us, time.time_ns() // 1000)


class Again(NamedTuple):
    """What is recorded again.

    Attributes:
        exchange: The exchange.
        settings: Options of the producers.
        stores: Options of the database that has the recording.
        period: The time of the recording.
        first: The recording.
    """

    exchange: str
    settings: Settings
    stores: Settings
    period: Period
    first: replaying.Recording

    async def record(
        self, speed: float, *, frames: bool = False, updates: bool = False
    ) -> replaying.Recording:
        """Record a replay, into the topics of the first recording."""
        async with replaying.replaying(self.stores, self.period, speed) as replay:
            own = replaying.options(self.settings, self.exchange, replay.rest_url)
            player = replay.player
            kinds = {"frames": frames, "updates": updates}
            async with replaying.recording(own, **kinds) as again:
                wanted = SUBSCRIPTIONS.get(self.exchange, 2 * MARKETS)
                await until(lambda: player.position.subscriptions >= wanted)
                # Where a subscription begins with the book, Binance's over REST.
                if self.exchange in GREETING and (self.exchange == "binance" or not frames):
                    await again.until_count({"depth": 2 * MARKETS})
                began = time.monotonic()
                player.resume()
                await player.ended.wait()
                took_s = time.monotonic() - began
                counts = self.first.counts()
                await again.until_count({name: counts[name] for name in ("trades", "depth")})
        length_s = (self.period.end_us - self.period.begin_us) / 1e6
        assert took_s > 0.9 * length_s / speed - 2, "faster than the speed allows"
        return again


def assert_equal_rows(
    again: replaying.Recording, store: Store, stores: Settings, name: str
) -> None:
    with replaying.another(stores, name) as other:
        for dataset in (TRADES, DEPTH):
            replaying.keep(other, dataset, again.messages(dataset))
        assert replaying.trade_rows(other) == replaying.trade_rows(store)
        assert replaying.book_rows(other) == replaying.book_rows(store)


@pytest.mark.parametrize(
    ("exchange", "speeds"),
    [
        ("wallex", (FASTEST, 10.0, 1.0)),
        *(
            pytest.param(name, (FASTEST, 10.0, 1.0), marks=of_exchange(name))
            for name in exchanges.names()
            if name != "wallex"
        ),
    ],
)
def test_a_replay_that_is_recorded_has_the_rows_of_the_recording_at_any_speed(
    exchange: str,
    speeds: tuple[float, ...],
    kafka_settings: Settings,
    store: Store,
    store_settings: Settings,
) -> None:
    async def record_and_replay() -> None:
        first, period = await record_simulated(exchange, kafka_settings, store)
        trades = replaying.trade_rows(store)
        # Twins: equal but for the ID, and for the exchange's own one if it has one.
        assert max(Counter((row[0], row[1], *row[5:]) for row in trades).values()) > 1
        replay = Again(exchange, kafka_settings, store_settings, period, first)
        for speed in speeds:
            again = await replay.record(speed)
            assert_equal_rows(again, store, store_settings, f"at_{speed:.0f}")

    asyncio.run(record_and_replay())


@pytest.mark.parametrize("exchange", exchange_cases(exchanges.names()))
def test_recorded_frames_are_replayed_byte_for_byte(
    exchange: str, kafka_settings: Settings, store: Store, store_settings: Settings
) -> None:
    async def record_and_replay() -> None:
        first, period = await record_simulated(exchange, kafka_settings, store, frames=True)
        replay = Again(exchange, kafka_settings, store_settings, period, first)
        again = await replay.record(FASTEST, frames=True)
        assert_equal_rows(again, store, store_settings, "frames")
        shown = Counter(each["frame"] for each in again.messages(FRAMES))
        sent = data_frames(exchange, first.messages(FRAMES))
        assert sent.total() > 20
        assert not sent - shown

    asyncio.run(record_and_replay())


@pytest.mark.parametrize("exchange", exchange_cases(["binance", "kraken", "okx"]))
def test_recorded_updates_of_books_are_replayed_with_all_their_levels(
    exchange: str, kafka_settings: Settings, store: Store, store_settings: Settings
) -> None:
    async def record_and_replay() -> None:
        first, period = await record_simulated(exchange, kafka_settings, store, updates=True)
        # Without its snapshots the book comes from the updates alone.
        store.command("TRUNCATE TABLE orderbook_depth")
        replay = Again(exchange, kafka_settings, store_settings, period, first)
        again = await replay.record(FASTEST, updates=True)
        replaying.keep(store, DEPTH, first.messages(DEPTH))
        assert_equal_rows(again, store, store_settings, "updates")
        with replaying.another(store_settings, "books") as other:
            replaying.keep(other, BOOK_UPDATES, again.messages(BOOK_UPDATES))
            assert replaying.update_rows(other) == replaying.update_rows(store)

    asyncio.run(record_and_replay())


@pytest.mark.parametrize(
    "exchange", exchange_cases(["binance", "bitpin", "kraken", "okx", "wallex"])
)
def test_a_seek_into_a_recorded_connection_goes_on_with_its_markets(
    exchange: str, kafka_settings: Settings, store: Store, store_settings: Settings
) -> None:
    async def record_and_seek() -> None:
        first, period = await record_simulated(exchange, kafka_settings, store, frames=True)
        books = replaying.book_rows(store)
        times_us = sorted(each["received_at_us"] for each in first.messages(DEPTH))
        middle_us = times_us[len(times_us) // 2]
        snapshots = sum(at_us >= middle_us for at_us in times_us)
        later = {row[2].hex for row in replaying.trade_rows(store, middle_us)}
        async with replaying.replaying(store_settings, period) as replay:
            player = replay.player
            await player.ready.wait()
            player.seek(middle_us)
            await player.ready.wait()
            own = replaying.options(kafka_settings, exchange, replay.rest_url)
            async with replaying.recording(own) as again:
                wanted = SUBSCRIPTIONS.get(exchange, 2 * MARKETS)
                await until(lambda: player.position.subscriptions >= wanted)
                greetings = 2 * MARKETS * (exchange in GREETING)
                await again.until_count({"depth": greetings})
                player.resume()
                await player.ended.wait()
                topic = again.messages
                await again.until(lambda: later <= {e["trade_id"] for e in topic(TRADES)})
                await again.until_count({"depth": greetings + snapshots})
        with replaying.another(store_settings, "seek") as other:
            for dataset in (TRADES, DEPTH):
                replaying.keep(other, dataset, again.messages(dataset))
            assert set(replaying.trade_rows(other)) <= set(replaying.trade_rows(store))
            shown = replaying.book_rows(other)
            assert shown.keys() == books.keys()
            for key, states in shown.items():
                # Of the book at a subscription neither time nor proof are those of an update.
                levels = [state[-2:] for state in states]
                assert levels == [state[-2:] for state in books[key]][-len(levels) :]

    asyncio.run(record_and_seek())


def test_a_client_in_another_form_gets_the_same_trades_rebuilt(
    kafka_settings: Settings, store: Store, store_settings: Settings
) -> None:
    async def look() -> None:
        first, period = await record_simulated("binance", kafka_settings, store, frames=True)
        async with replaying.replaying(store_settings, period) as replay:
            await replay.player.ready.wait()
            address = replay.rest_url.replace("http", "ws")
            async with connect(f"{address}/ws/btcusdt@trade") as socket:
                assert socket.response is not None
                assert socket.response.headers["X-Radar-Replayed"] == "frames"
                replay.player.resume()
                wanted = {
                    each["sequence"]
                    for each in first.messages(TRADES)
                    if each["symbol"] == "BTCUSDT"
                }
                found: set[int] = set()
                while found < wanted:
                    frame = json.loads(await asyncio.wait_for(socket.recv(), 30))
                    assert "stream" not in frame
                    assert frame["T"] < 10**13, "milliseconds, as this client wants them"
                    found.add(frame["t"])

    asyncio.run(look())


def data_frames(exchange: str, messages: list[replaying.Message]) -> Counter[str]:
    """Count the recorded frames with trades or books, as the driver reads them."""
    connections = [
        Connection(each["connection"], each["record_kind"], 0, 1 << 60, 0)
        for each in messages
        if each["what"] == "opened"
    ]
    markets = {symbol for each in messages for symbol in each["symbols"]}
    reader = FrameReader(exchanges.load(exchange), connections, markets)
    found: Counter[str] = Counter()
    for each in messages:
        entry = Entry(
            each["connection"],
            FrameKind(each["what"]),
            each["received_at_us"],
            Fetch(each["path"], each["fetch_symbol"], each["fetch_tag"]),
            each["frame"].encode(),
        )
        for event in reader.take(entry):
            if isinstance(event, RecordedFrame) and (event.trades or event.books):
                found[str(event.payload)] += 1
    return found
