"""A real producer process whose Kafka goes away: it stops reading, waits, and goes on."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

import outages
from outages import Service
from ports import free_port
from producing import Topic, sent
from radar.datasets import GAPS, TRADES
from radar.kafka import Cluster
from radar.settings import Settings, load
from radar.status.scrape import scrape
from radar_simulator import Simulator, SimulatorOptions, simulator
from support import Process, eventually, radar

# Enough of them for the smallest buffer to be full within two seconds or so; and so few in each
# market that REST tells all that happened meanwhile.
RATE = 2000
SIMULATED = SimulatorOptions(
    symbols=8, trades_per_s=RATE, depth_per_s=0, twin_share=0.2, skew=0, recent_trades=6000
)
GROWTH_BYTES = 16 * 1024 * 1024


class Producer:
    """A producer of trades with a small buffer, the smallest there is if nothing else is said."""

    def __init__(self, sim: Simulator, directory: Path, buffer_mib: int = 1) -> None:
        self._port = free_port()
        self.log = directory / "producer.log"
        self._process = Process(
            radar("produce", "trades"),
            self.log,
            EXCHANGE_WS_URL=sim.ws_url,
            EXCHANGE_REST_URL=sim.rest_url,
            KAFKA_BUFFER_BYTES=str(buffer_mib * 1024 * 1024),
            METRICS_PORT=str(self._port),
            LOG_FORMAT="json",
        )
        self.terminate, self.end = self._process.terminate, self._process.end
        self.signal_stop = self._process._popen.terminate
        self.wait = self._process.wait

    def metric(self, name: str, dataset: str = "trades") -> float:
        return scrape(self._port).get((name, dataset), 0.0)

    def resident_bytes(self) -> int:
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Service]:
    with outages.kafka(tmp_path, free_port()) as broker:
        yield broker


@pytest.fixture
def settings(broker: Service, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("KAFKA_BROKER", f"127.0.0.1:{broker.port}")
    monkeypatch.setenv("KAFKA_JOIN_TIMEOUT_SECONDS", "5")
    settings = load()
    Cluster(settings).wait_until_up(10)
    return settings


async def until_full(sim: Simulator, producer: Producer) -> None:
    """Wait until the producer does not read any more although the exchange sends."""

    def stands_still() -> bool:
        frames, happened = producer.metric("radar_frames_total"), len(sim.ledger.trades())
        eventually(lambda: len(sim.ledger.trades()) > happened + RATE, "the market goes on")
        return 0 < frames == producer.metric("radar_frames_total")

    await asyncio.to_thread(eventually, stands_still, "the producer stops reading")


@pytest.mark.kafka_decides
def test_trades_producer_without_kafka_stops_reading_and_loses_nothing(
    broker: Service, settings: Settings, tmp_path: Path
) -> None:
    async def record() -> None:
        async with simulator(SIMULATED) as sim:
            producer = Producer(sim, tmp_path)
            try:
                topic, gaps = Topic(settings, TRADES), Topic(settings, GAPS)
                await topic.until(lambda: len(topic.messages) > RATE, "the first trades")
                topic.close()
                gaps.close()
                await asyncio.to_thread(broker.stop)
                await until_full(sim, producer)
                assert producer.metric("radar_backpressure_seconds_total") > 0
                full_bytes, happened = producer.resident_bytes(), len(sim.ledger.trades())
                await asyncio.to_thread(
                    eventually,
                    lambda: len(sim.ledger.trades()) > happened + 4 * RATE,
                    "much more happens",
                )
                assert producer.resident_bytes() < full_bytes + GROWTH_BYTES
                await asyncio.to_thread(broker.start)
                topic, gaps = Topic(settings, TRADES), Topic(settings, GAPS)
                await gaps.until(lambda: len(gaps.messages) > 0, "the gap")
                assert await sim.quiesce()
                everything = sent([each for each in sim.ledger.trades() if each.sent])
                await topic.until(lambda: everything <= topic.trades(), "all trades")
                assert await asyncio.to_thread(producer.terminate) == 0
                await asyncio.to_thread(topic.read)
                possible = sent([each for each in sim.ledger.trades() if each.possible])
                assert everything <= topic.trades() <= possible
                assert sum(topic.trades().values()) == len(topic.messages), "published twice"
                assert {each["cause"] for each in gaps.messages} == {"backpressure"}
                assert all(each["repaired"] for each in gaps.messages), gaps.messages
                assert "restart" not in producer.log.read_text()
                topic.close()
                gaps.close()
            finally:
                producer.end()

    asyncio.run(record())


def test_trades_producer_stopped_without_kafka_delivers_if_it_returns_in_time(
    broker: Service, settings: Settings, tmp_path: Path
) -> None:
    async def record() -> None:
        async with simulator(SIMULATED) as sim:
            # What waits in the sockets when it is full must not fill it once more.
            producer = Producer(sim, tmp_path, buffer_mib=4)
            try:
                topic = Topic(settings, TRADES)
                await topic.until(lambda: len(topic.messages) > RATE, "the first trades")
                topic.close()
                broker.freeze()
                await until_full(sim, producer)
                await sim.quiesce()  # the rest waits in the sockets, here or there
                producer.signal_stop()
                broker.thaw()
                assert await asyncio.to_thread(producer.wait) == 0
                topic, gaps = Topic(settings, TRADES), Topic(settings, GAPS)
                everything = sent([each for each in sim.ledger.trades() if each.sent])
                await topic.until(lambda: everything <= topic.trades(), "all trades")
                await gaps.until(lambda: len(gaps.messages) > 0, "the gap")
                assert [each["repaired"] for each in gaps.messages] == [False]
                topic.close()
                gaps.close()
            finally:
                broker.thaw()
                producer.end()

    asyncio.run(record())


@pytest.mark.slow
def test_trades_producer_stopped_without_kafka_ends_and_says_what_it_leaves(
    broker: Service, settings: Settings, tmp_path: Path
) -> None:
    async def record() -> None:
        async with simulator(SIMULATED) as sim:
            producer = Producer(sim, tmp_path)
            try:
                topic = Topic(settings, TRADES)
                await topic.until(lambda: len(topic.messages) > RATE, "the first trades")
                topic.close()
                await asyncio.to_thread(broker.stop)
                await until_full(sim, producer)
                assert await asyncio.to_thread(producer.terminate, 60) == 1
                last = producer.log.read_text().splitlines()[-1]
                assert last.startswith("radar: Kafka has not taken everything: ")
                assert '"event": "gap"' in producer.log.read_text()
            finally:
                producer.end()

    asyncio.run(record())
