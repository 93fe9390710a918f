"""A recording that is replayed and recorded again has the same rows, in every protocol."""

import asyncio
import time
from collections import Counter

import pytest

import replaying
from producing import until
from radar import exchanges
from radar.datasets import DEPTH, TRADES
from radar.replay.pace import FASTEST
from radar.replay.records import Period
from radar.settings import Settings
from radar.store.client import Store
from radar_simulator import SimulatorOptions, simulator
from radar_simulator.dialects import NAMES, load

MARKETS = 3
# Subscriptions of both producers: trades and books, at Wallex each side of a book.
SUBSCRIPTIONS = {"wallex": 3 * MARKETS}
GREETING = {"wallex", *(each for each in NAMES if load(each).greets_with_book)}
TWINS = SimulatorOptions(symbols=MARKETS, twin_share=0.4, trades_per_s=30, depth_per_s=60)


async def record_simulated(
    exchange: str, settings: Settings, store: Store
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
        async with replaying.recording(own) as recorded:
            await recorded.until_count({"trades": 60, "depth": 40})
            assert await sim.quiesce()
    for dataset in (TRADES, DEPTH):
        replaying.keep(store, dataset, recorded.messages(dataset))
    # The exchange's times may be whole seconds.
    begin_us = began_us // 1_000_000 * 1_000_000
    return recorded, Period(exchange, (), begin_us, time.time_ns() // 1000)


@pytest.mark.parametrize("exchange", exchanges.names())
def test_a_replay_that_is_recorded_has_the_rows_of_the_recording_at_any_speed(
    exchange: str, kafka_settings: Settings, store: Store, store_settings: Settings
) -> None:
    async def record_and_replay() -> None:
        first, period = await record_simulated(exchange, kafka_settings, store)
        trades, books = replaying.trade_rows(store), replaying.book_rows(store)
        # Twins: equal but for the ID, and for the exchange's own one if it has one.
        assert max(Counter((row[0], row[1], *row[5:]) for row in trades).values()) > 1
        before = first
        for speed in (FASTEST, 10.0, 1.0):
            async with replaying.replaying(store_settings, period, speed) as replay:
                own = replaying.options(kafka_settings, exchange, replay.rest_url)
                player = replay.player
                async with replaying.recording(own, before) as again:
                    wanted = SUBSCRIPTIONS.get(exchange, 2 * MARKETS)
                    await until(lambda: player.position.subscriptions >= wanted)  # noqa: B023
                    # Where a subscription begins with the book, Binance's over REST.
                    await again.until_count({"depth": 2 * MARKETS * (exchange in GREETING)})
                    began = time.monotonic()
                    player.resume()
                    await player.ended.wait()
                    took_s = time.monotonic() - began
                    await again.until_count(first.counts())
            length_s = (period.end_us - period.begin_us) / 1e6
            assert took_s > 0.9 * length_s / speed - 2, "faster than the speed allows"
            with replaying.another(store_settings, f"at_{speed:.0f}") as other:
                for dataset in (TRADES, DEPTH):
                    replaying.keep(other, dataset, again.messages(dataset))
                assert replaying.trade_rows(other) == trades
                assert replaying.book_rows(other) == books
            before = again

    asyncio.run(record_and_replay())
