"""Two whole producers on one exchange and one Kafka, each dying in turn, into ClickHouse."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from producing import until
from radar.checks.reconciliation import compare_trades, stored_trades
from radar.datasets import TRADES
from radar.kafka import Cluster
from radar.settings import Settings
from radar.store.client import Store
from radar_simulator import Simulator, SimulatorOptions, simulator
from support import Process, eventually, radar

pytestmark = pytest.mark.kafka_decides

ROUNDS = 3


class Twins:
    """Two producers of trades, and a worker."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: dict[str, Process] = {}

    def start(self, name: str, *arguments: str, **environment: str) -> None:
        log = self._directory / f"{name}.log"
        self._processes[name] = Process(radar(*arguments), log, **environment)

    def produce(self, name: str, sim: Simulator) -> None:
        self.start(
            name,
            *("produce", "trades"),
            EXCHANGE_WS_URL=sim.ws_url,
            EXCHANGE_REST_URL=sim.rest_url,
        )

    def kill(self, name: str) -> None:
        self._processes[name].kill()

    def terminate(self, name: str) -> None:
        assert self._processes[name].terminate() == 0

    def end(self) -> None:
        for process in self._processes.values():
            process.end()


@pytest.fixture
def twins(tmp_path: Path) -> Iterator[Twins]:
    twins = Twins(tmp_path)
    yield twins
    twins.end()


def test_trades_of_two_producers_that_die_in_turn_are_stored_once_twin_for_twin(
    kafka_settings: Settings, store: Store, twins: Twins
) -> None:
    cluster = Cluster(kafka_settings)

    async def record() -> None:
        simulated = SimulatorOptions(symbols=6, trades_per_s=300, depth_per_s=0, twin_share=0.4)
        async with simulator(simulated) as sim:

            async def connected(count: int) -> None:
                await until(lambda: sim.ledger.summary().connections_open == count)

            async def happens(trades: int) -> None:
                since = len(sim.ledger.trades())
                await until(lambda: len(sim.ledger.trades()) >= since + trades)

            twins.start(
                "worker",
                *("consume", "trades"),
                WORKER_ID="worker-1",
                BATCH_SIZE="100",
                BATCH_TIMEOUT_SECONDS="0.2",
            )
            for name in ("one", "other"):
                twins.produce(name, sim)
            await connected(2)
            await happens(500)
            for _ in range(ROUNDS):
                for name in ("one", "other"):
                    twins.kill(name)
                    await connected(1)
                    await happens(100)
                    twins.produce(name, sim)
                    await connected(2)
                    await happens(500)
            assert await sim.quiesce()
            for name in ("one", "other"):
                await asyncio.to_thread(twins.terminate, name)
            await asyncio.to_thread(
                eventually,
                lambda: sum(each.messages for each in cluster.lag(TRADES.topic, TRADES.group)) == 0,
                "everything is stored",
            )
            verdict = compare_trades(sim.ledger.trades(), stored_trades(store, 0))
            assert verdict.sent > 2000
            assert (verdict.lost, verdict.unexpected) == (0, 0)
            assert sim.ledger.summary().twins > 100

    asyncio.run(record())
