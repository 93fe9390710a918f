"""Recorded gaps: what no connection covered comes out of Kafka, and into its table."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cases import others_nightly
from producing import Topic, metric, options, producing, sent, until
from radar.datasets import DEPTH, GAPS, TRADES, Dataset
from radar.settings import Settings
from radar.store.client import Store
from radar_simulator import Simulator, SimulatorOptions, simulator
from support import Process, eventually, radar

SYMBOLS = {"USDTTMN", "BTCTMN", "BTCUSDT"}
Fault = Callable[[Simulator], object]


def refuse(sim: Simulator) -> None:
    sim.fault("refuse", seconds=1.5)
    sim.fault("kick")


FAULTS: dict[str, Fault] = {
    "disconnected": lambda sim: sim.fault("kick"),
    "silent": lambda sim: sim.fault("half_open", seconds=60),
    "refused": refuse,
}


@pytest.mark.parametrize(
    "dataset", others_nightly([TRADES, DEPTH]), ids=lambda dataset: dataset.name
)
@pytest.mark.parametrize("cause", FAULTS)
def test_producer_that_loses_its_connection_records_the_gap(
    cause: str, dataset: Dataset, kafka_settings: Settings
) -> None:
    async def record() -> dict[str, Any]:
        # REST tells all that happened meanwhile, however long that took.
        simulated = SimulatorOptions(symbols=3, trades_per_s=50, recent_trades=6000)
        async with simulator(simulated) as sim:
            settings = options(
                kafka_settings, sim, silence_timeout_seconds=1.0, depth_interval_seconds=0.1
            )
            topic, gaps = Topic(settings, dataset), Topic(settings, GAPS)
            labels = {"dataset": dataset.name, "cause": cause}
            before = metric("radar_gaps_total", **labels)
            async with producing(settings, dataset):
                # REST has to reach back to some seconds before the gap.
                await topic.until(lambda: len(topic.messages) > 250, "the first messages")
                lost_us = time.time_ns() // 1000
                FAULTS[cause](sim)
                await until(lambda: sim.ledger.summary().connections_opened == 2)
                opened_us = time.time_ns() // 1000
                await gaps.until(lambda: len(gaps.messages) > 0, "the gap")
            await asyncio.to_thread(gaps.read)
            (gap,) = gaps.messages
            assert metric("radar_gaps_total", **labels) == before + 1
            assert set(gap.pop("symbols")) == set(sim.market.markets) - {"GOLD18TMN", "SILVERTMN"}
            # From the last frame before the fault, to the subscription after the connection.
            assert lost_us - 2_000_000 < gap.pop("began_at_us") <= lost_us + 100_000
            assert opened_us - 2_000_000 < gap["ended_at_us"] < gap["received_at_us"]
            topic.close()
            gaps.close()
            return gap

    gap = asyncio.run(record())
    assert gap["ended_at_us"] <= gap["received_at_us"]
    del gap["ended_at_us"], gap["received_at_us"]
    assert gap == {
        "v": 1,
        "kind": "gap",
        "source": "wallex",
        "record_kind": dataset.name,
        "cause": cause,
        "repaired": dataset is TRADES,
        "first_id": 0,
        "last_id": 0,
        "missing": 0,
    }


def test_trades_producer_whose_gap_rest_does_not_reach_says_so(kafka_settings: Settings) -> None:
    async def record() -> None:
        simulated = SimulatorOptions(symbols=3, trades_per_s=50, depth_per_s=0)
        async with simulator(simulated) as sim:
            settings = options(kafka_settings, sim)
            topic, gaps = Topic(settings, TRADES), Topic(settings, GAPS)
            async with producing(settings, TRADES):
                await topic.until(lambda: len(topic.messages) > 20, "the first messages")
                sim.fault("refuse", seconds=0.5)
                sim.fault("kick")
                missed = sim.trade(1000, "USDTTMN")
                await gaps.until(lambda: len(gaps.messages) > 0, "the gap")
            await asyncio.to_thread(topic.read)
            (gap,) = gaps.messages
            assert not gap["repaired"]
            assert not sent(missed) <= topic.trades()
            topic.close()
            gaps.close()

    asyncio.run(record())


def test_producer_stopped_in_a_gap_records_it_up_to_then(
    kafka_settings: Settings, store: Store, tmp_path: Path
) -> None:
    async def record() -> None:
        simulated = SimulatorOptions(symbols=3, trades_per_s=50, depth_per_s=0)
        async with simulator(simulated) as sim:
            settings = options(kafka_settings, sim)
            topic = Topic(settings, TRADES)
            async with producing(settings, TRADES):
                await topic.until(lambda: len(topic.messages) > 20, "the first messages")
                sim.fault("refuse", seconds=60)
                sim.fault("kick")
                await until(lambda: metric("radar_reconnects_total", **refused) > before)
            topic.close()

    refused = {"exchange": "wallex", "dataset": "trades", "reason": "refused"}
    before = metric("radar_reconnects_total", **refused)
    asyncio.run(record())
    stopped_s = time.time()
    worker = Process(
        radar("consume", "gaps"),
        tmp_path / "worker.log",
        WORKER_ID="gaps-1",
        BATCH_TIMEOUT_SECONDS="0.1",
    )
    try:
        columns = "source, toString(record_kind), toString(cause), length(symbols), repaired"
        times = "toFloat64(began_at), toFloat64(ended_at), toFloat64(received_at)"
        query = f"SELECT {columns}, {times} FROM gaps FINAL"
        eventually(lambda: len(store.rows(query)) == 1, "the gap is stored")
        (row,) = store.rows(query)
        assert row[:5] == ("wallex", "trades", "refused", 3, False)
        assert row[5] < row[6] <= row[7] <= stopped_s
        assert row[6] > stopped_s - 60
    finally:
        worker.end()
