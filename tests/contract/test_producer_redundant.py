"""Redundant connections: what one loses the other has, so that REST is not needed."""

import asyncio
import contextlib
from itertools import cycle, islice
from typing import Any

import pytest

from producing import Topic, metric, options, producing, sent, until
from radar.datasets import DEPTH, TRADES
from radar.settings import Settings
from radar_simulator import Simulator, SimulatorOptions, simulator

CAUSES = ("disconnected", "silent", "refused", "backpressure")
FAULTS: list[dict[str, Any]] = [
    {"name": "kick"},
    {"name": "stall", "seconds": 60},
    {"name": "kick", "close_frame": False},
    {"name": "half_open", "seconds": 60},
]


def gaps(dataset: str) -> float:
    return sum(metric("radar_gaps_total", dataset=dataset, cause=cause) for cause in CAUSES)


def connections(dataset: str) -> float:
    return metric("radar_connections", exchange="wallex", dataset=dataset)


def ends() -> float:
    """Count the connections that ended, but for those that were replaced in time."""
    labels = {"exchange": "wallex", "dataset": "trades"}
    return sum(
        metric("radar_reconnects_total", reason=reason, **labels) for reason in ("closed", "silent")
    )


async def end_one(sim: Simulator, fault: dict[str, Any]) -> None:
    """End the oldest connection, the one that the fault before has spared."""
    ended = ends()
    while ends() == ended:
        sim.fault(**fault, count=1)
        # One that was just being replaced does not count.
        with contextlib.suppress(TimeoutError):
            await until(lambda: ends() > ended, 5)


async def whole_second(sim: Simulator, topic: Topic) -> None:
    """Wait until a second has passed from its beginning to its end, and its trades were read."""

    def newest() -> int:
        return max((each["event_time_ms"] for each in topic.messages), default=0)

    since = newest()
    await topic.until(lambda: newest() >= since + 3000, "two more seconds of trades")


@pytest.mark.slow("src/radar/producer")
def test_trades_producer_with_two_connections_loses_nothing_when_one_fails_all_the_time(
    kafka_settings: Settings,
) -> None:
    async def record() -> None:
        simulated = SimulatorOptions(symbols=5, trades_per_s=200, depth_per_s=0, twin_share=0.4)
        async with simulator(simulated) as sim:
            settings = options(
                kafka_settings,
                sim,
                redundant_connections=2,
                silence_timeout_seconds=1.0,
                connection_max_age_seconds=4.0,
                connection_overlap_seconds=1.5,
            )
            topic = Topic(settings, TRADES)
            before = gaps("trades")
            async with producing(settings, TRADES):
                await until(lambda: connections("trades") == 2)
                # What happened before the first subscriptions were whole is read over REST.
                await topic.until(lambda: len(topic.messages) > 50, "the first trades")
                await whole_second(sim, topic)
                await whole_second(sim, topic)
                sim.fault("rest_error", seconds=600)
                for applied in islice(cycle(FAULTS), 5):
                    await end_one(sim, applied)
                    await until(lambda: connections("trades") >= 2)
                    await whole_second(sim, topic)
                assert await sim.quiesce()
                everything = sent([each for each in sim.ledger.trades() if each.sent])
                await topic.until(lambda: everything <= topic.trades(), "the rest")
            await asyncio.to_thread(topic.read)
            assert max(everything.values()) > 1, "the market had twins"
            possible = sent([each for each in sim.ledger.trades() if each.possible])
            assert everything <= topic.trades() <= possible
            assert sum(topic.trades().values()) == len(topic.messages), "a trade published twice"
            assert gaps("trades") == before, "the other connection covered"
            topic.close()

    asyncio.run(record())


def test_depth_producer_without_an_interval_publishes_a_snapshot_of_two_connections_once(
    kafka_settings: Settings,
) -> None:
    async def record() -> None:
        async with simulator(SimulatorOptions(symbols=3, depth_per_s=100)) as sim:
            settings = options(
                kafka_settings, sim, redundant_connections=2, depth_interval_seconds=0
            )
            topic = Topic(settings, DEPTH)
            async with producing(settings, DEPTH):
                await until(lambda: connections("depth") == 2)
                await topic.until(lambda: len(topic.messages) > 200, "snapshots")
                assert await sim.quiesce()
            await asyncio.to_thread(topic.read)
            frames = sim.ledger.summary().depth_frames_sent
            # A few come in an order in which the connections' states alternate.
            assert frames / 2 <= len(topic.messages) < frames * 0.75
            topic.close()

    asyncio.run(record())


def test_producer_with_redundant_connections_gives_each_the_same_new_markets(
    kafka_settings: Settings,
) -> None:
    async def record() -> None:
        async with simulator(SimulatorOptions(symbols=7, trades_per_s=50, depth_per_s=0)) as sim:
            settings = options(kafka_settings, sim, redundant_connections=3)
            async with producing(settings, TRADES):
                # 7 markets, 5 to a connection: two shards.
                await until(lambda: connections("trades") == 6)
                await until(lambda: sim.ledger.summary().connections_open == 6)
                trade = sim.trade(1, "USDTTMN")[0]
                assert trade.sent_to == 3

    asyncio.run(record())
