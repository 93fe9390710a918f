"""A backfill that is stopped while Kafka is away: what it took in hand still gets there."""

import asyncio

import pytest

from link import Link
from ports import free_port
from producing import options
from radar.datasets import TRADES
from radar.exchanges import load
from radar.kafka import Cluster, Publisher
from radar.producer.backfill import Backfill
from radar.producer.markets import read_markets
from radar.producer.pacing import Pace
from radar.producer.publish import BufferedPublisher
from radar.producer.recorders import TradeRecorder
from radar.producer.rest import Rest
from radar.settings import Settings
from radar_simulator import Simulator, SimulatorOptions, simulator

pytestmark = pytest.mark.kafka_decides

# More than fit into the smallest buffer.
TRADES_OF_MARKET = 8000
SYMBOL = "USDTTMN"
SIMULATED = SimulatorOptions(
    symbols=1, trades_per_s=0, depth_per_s=0, recent_trades=TRADES_OF_MARKET
)


async def stopped_backfill(
    sim: Simulator, settings: Settings
) -> tuple[Backfill, BufferedPublisher, Publisher]:
    """Let a backfill read a market while Kafka is away, and cancel it while it waits."""
    sim.trade(TRADES_OF_MARKET, SYMBOL)
    exchange = load(settings.own_exchange)
    rest = Rest(sim.rest_url, proxy="")
    listed = await read_markets(exchange, rest, max_wait_s=1)
    publisher = Publisher(settings, TRADES.topic)
    buffer = BufferedPublisher(publisher, TRADES.name)
    backfill = Backfill(
        exchange,
        rest,
        {market.symbol: market for market in listed.markets},
        TradeRecorder(exchange.name),
        buffer,
        pace=Pace(100),
        max_wait_s=1,
        on_read=lambda _read: None,
        on_check=lambda _symbol, _started_us, _recent: None,
    )
    reader = asyncio.create_task(backfill.run())
    backfill.request([SYMBOL])
    async with asyncio.timeout(30):
        while not buffer.waiting:  # noqa: ASYNC110 - the buffer announces nothing
            await asyncio.sleep(0.01)
    reader.cancel()
    await asyncio.wait([reader])
    await rest.close()
    return backfill, buffer, publisher


def test_backfill_stopped_while_kafka_is_away_publishes_what_it_had_read(
    kafka_settings: Settings,
) -> None:
    Cluster(kafka_settings).create_topics([TRADES.topic])
    host, broker_port = kafka_settings.kafka_broker.split(":")

    async def record() -> None:
        async with simulator(SIMULATED) as sim:
            settings = options(
                kafka_settings,
                sim,
                kafka_broker=f"127.0.0.1:{free_port()}",
                kafka_buffer_bytes=1_048_576,
            )
            backfill, buffer, publisher = await stopped_backfill(sim, settings)
            finishing = asyncio.create_task(backfill.finish(60))
            # Kafka comes back.
            async with Link(host, int(broker_port), int(settings.kafka_broker.split(":")[1])):
                await finishing
                assert await asyncio.to_thread(publisher.flush, 30) == 0
            assert (publisher.acknowledged, buffer.abandoned) == (TRADES_OF_MARKET, 0)

    asyncio.run(record())


def test_backfill_stopped_while_kafka_stays_away_says_what_it_leaves(
    kafka_settings: Settings,
) -> None:
    async def record() -> None:
        async with simulator(SIMULATED) as sim:
            settings = options(
                kafka_settings,
                sim,
                kafka_broker=f"127.0.0.1:{free_port()}",
                kafka_buffer_bytes=1_048_576,
            )
            backfill, buffer, _ = await stopped_backfill(sim, settings)
            await backfill.finish(0)
            assert (buffer.waiting, buffer.abandoned) == (0, 1)

    asyncio.run(record())
