"""Simulated data never mixes with real data: the marks of Kafka and ClickHouse, and who refuses."""

import asyncio
import contextlib
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from producing import options, producing, until
from radar.checks.doctor import examine
from radar.checks.findings import State
from radar.consumer.dlq.replay import replay
from radar.consumer.origin import SameOrigin
from radar.datasets import TRADES
from radar.errors import ConfigurationError
from radar.kafka import Cluster
from radar.kafka import origin as kafka_origin
from radar.origin import Origin
from radar.settings import Settings, load
from radar.status.collect import Observer
from radar.status.render import describe
from radar.store import origin as store_origin
from radar.store.client import Store
from radar_simulator import SimulatorOptions, simulator
from support import Process, eventually, radar
from workers import publish_trades

REAL = "https://api.wallex.ir"
SIMULATED = "http://127.0.0.1:5000"
ADDRESS = {Origin.REAL: REAL, Origin.SIMULATED: SIMULATED}
BOTH_DIRECTIONS = pytest.mark.parametrize(
    ("held", "offered"),
    [(Origin.REAL, Origin.SIMULATED), (Origin.SIMULATED, Origin.REAL)],
    ids=["simulated beside real", "real beside simulated"],
)

Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    processes: list[Process] = []

    def run(*arguments: str, **environment: str) -> Process:
        log = tmp_path / f"{len(processes)}.log"
        processes.append(Process(radar(*arguments), log, **environment))
        return processes[-1]

    yield run
    for process in processes:
        process.end()


def output(process: Process) -> str:
    return process.log.read_text(errors="replace")


@pytest.mark.kafka_decides
def test_first_producer_marks_the_topics_and_the_first_worker_the_database(
    kafka_settings: Settings, store: Store, start: Start
) -> None:
    cluster = Cluster(kafka_settings)
    assert kafka_origin.read(cluster) is None
    assert store_origin.read(store) is None
    start("consume", "trades", BATCH_TIMEOUT_SECONDS="0.1")
    eventually(lambda: cluster.has_topic(TRADES.topic), "the worker has made its topic")
    begun_s = time.time()
    kafka_origin.claim(kafka_settings, Origin.SIMULATED, SIMULATED)
    publish_trades(kafka_settings, range(10))
    eventually(lambda: store.rows("SELECT count() FROM trades") == [(10,)], "rows")
    for mark in (kafka_origin.read(cluster), store_origin.read(store)):
        assert mark is not None
        assert mark[:2] == (Origin.SIMULATED, SIMULATED)
        assert abs(mark.since_s - begun_s) < 60


def test_topics_and_database_without_a_mark_are_used(
    kafka_settings: Settings, store: Store, start: Start
) -> None:
    Cluster(kafka_settings).create_topics([TRADES.topic])
    publish_trades(kafka_settings, range(10))
    start("consume", "trades", BATCH_TIMEOUT_SECONDS="0.1")
    eventually(lambda: store.rows("SELECT count() FROM trades") == [(10,)], "rows")
    assert store_origin.read(store) is None
    # The producer of this version sets the mark; what it publishes is stored beside the old rows.
    kafka_origin.claim(kafka_settings, Origin.REAL, REAL)
    publish_trades(kafka_settings, range(10, 20))
    eventually(lambda: store.rows("SELECT count() FROM trades") == [(20,)], "more rows")
    mark = store_origin.read(store)
    assert mark is not None
    assert mark.origin is Origin.REAL


@pytest.mark.fault(
    "Simulated messages would be stored beside real rows, or real ones beside simulated",
    report="the worker ends with exit code 2; the stores keep what they hold",
    place="log of the worker, status, doctor",
    within_s=30,
)
@BOTH_DIRECTIONS
def test_worker_refuses_messages_of_the_other_origin(
    kafka_settings: Settings,
    store: Store,
    start: Start,
    held: Origin,
    offered: Origin,
    within_s: float,
) -> None:
    store_origin.claim(store, held, ADDRESS[held])
    # The topics are not marked yet when the worker starts.
    worker = start("consume", "trades", BATCH_TIMEOUT_SECONDS="0.1")
    eventually(lambda: "assigned" in output(worker), "the worker waits for messages")
    kafka_origin.claim(kafka_settings, offered, ADDRESS[offered])
    publish_trades(kafka_settings, range(10))
    assert worker.wait(within_s) == 2
    last = output(worker).strip().splitlines()[-1]
    assert last.startswith(f"radar: database {store.database} at 127.0.0.1:")
    assert f"holds {held} data ({ADDRESS[held]}, since " in last
    assert f"is {offered}: set another CLICKHOUSE_DB or KAFKA_BROKER" in last
    assert store.rows("SELECT count() FROM trades") == [(0,)]
    again = start("consume", "trades")
    assert again.wait(within_s) == 2


@BOTH_DIRECTIONS
def test_dead_letters_of_the_other_origin_are_not_replayed(
    kafka_settings: Settings, store: Store, held: Origin, offered: Origin
) -> None:
    store_origin.claim(store, held, ADDRESS[held])
    kafka_origin.claim(kafka_settings, offered, ADDRESS[offered])
    with pytest.raises(ConfigurationError, match=f"holds {held} data .* is {offered}"):
        list(replay(kafka_settings, TRADES, store))


@contextlib.contextmanager
def without_header(rest_url: str) -> Iterator[str]:
    """Serve a simulated exchange's market list without the header that names it simulated."""
    body = urllib.request.urlopen(f"{rest_url}/hector/web/v1/markets").read()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.fault(
    "A producer of the simulated exchange is pointed at real topics, or the other way round",
    report="the producer publishes nothing and ends with exit code 2",
    place="log of the producer, status, doctor",
    within_s=30,
)
@BOTH_DIRECTIONS
def test_producer_refuses_topics_of_the_other_origin(
    kafka_settings: Settings, start: Start, held: Origin, offered: Origin, within_s: float
) -> None:
    async def record() -> tuple[int, str]:
        async with simulator(SimulatorOptions(symbols=2, trades_per_s=50)) as sim:
            urls = sim.rest_url, sim.ws_url
            return await asyncio.to_thread(_produce, start, urls, offered, within_s)

    kafka_origin.claim(kafka_settings, held, ADDRESS[held])
    exit_code, last = asyncio.run(record())
    assert exit_code == 2
    assert last.startswith(f"radar: Kafka at {kafka_settings.kafka_broker} holds {held} data")
    assert f"is {offered}: set another KAFKA_BROKER" in last
    topics = Cluster(kafka_settings).topics([TRADES.topic, "radar_watches", "radar_gaps"])
    assert [topic.end for topic in topics] == [0, 0, 0]


def _produce(
    start: Start, urls: tuple[str, str], origin: Origin, within_s: float
) -> tuple[int, str]:
    """Run a producer until it ends; return its exit code and last line."""
    rest_url, ws_url = urls
    with without_header(rest_url) as unnamed:
        producer = start(
            *("produce", "trades"),
            EXCHANGE_REST_URL=rest_url if origin is Origin.SIMULATED else unnamed,
            EXCHANGE_WS_URL=ws_url,
            # Real addresses are not reached from a test.
            EXCHANGE_ORIGIN="real" if origin is Origin.REAL else "",
        )
        return producer.wait(within_s), output(producer).strip().splitlines()[-1]


def test_exchange_that_says_it_is_simulated_is_never_real(kafka_settings: Settings) -> None:
    async def record() -> None:
        async with simulator(SimulatorOptions(symbols=2)) as sim:
            declared = options(kafka_settings, sim, exchange_origin="real")
            async with producing(declared, TRADES) as task:
                await task

    with pytest.raises(ConfigurationError, match="EXCHANGE_ORIGIN=real, but the exchange says"):
        asyncio.run(record())
    assert kafka_origin.read(Cluster(kafka_settings)) is None


def test_producer_of_the_simulated_exchange_marks_the_topics(kafka_settings: Settings) -> None:
    async def record() -> str:
        async with (
            simulator(SimulatorOptions(symbols=2, trades_per_s=50)) as sim,
            producing(options(kafka_settings, sim), TRADES),
        ):
            await until(lambda: sim.ledger.summary().connections_open == 1)
            return sim.rest_url

    rest_url = asyncio.run(record())
    mark = kafka_origin.read(Cluster(kafka_settings))
    assert mark is not None
    assert mark[:2] == (Origin.SIMULATED, rest_url)


@pytest.mark.kafka_decides
def test_of_two_first_producers_one_wins(kafka_settings: Settings) -> None:
    def claim(origin: Origin) -> Origin:
        return kafka_origin.claim(kafka_settings, origin, ADDRESS[origin]).origin

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(claim, [Origin.REAL, Origin.SIMULATED] * 2))
    assert len(found) == 1


def test_of_two_first_workers_one_wins(store_settings: Settings, store: Store) -> None:
    together = threading.Barrier(4)

    def claim(origin: Origin) -> Origin:
        own = Store(store_settings)
        try:
            own.ping()
            together.wait()
            return store_origin.claim(own, origin, ADDRESS[origin]).origin
        finally:
            own.close()

    for _ in range(5):
        with ThreadPoolExecutor(4) as pool:
            found = set(pool.map(claim, [Origin.REAL, Origin.SIMULATED] * 2))
        assert len(found) == 1
        assert store.rows("SELECT count() FROM store_origin") == [(1,)]
        # The documented way to give an empty database another origin.
        store.command("TRUNCATE TABLE store_origin")


def test_stores_are_compared_again_when_they_may_be_others(
    kafka_settings: Settings, store: Store
) -> None:
    same = SameOrigin(kafka_settings, Cluster(kafka_settings), store)
    kafka_origin.claim(kafka_settings, Origin.REAL, REAL)
    same.check()
    store.command("TRUNCATE TABLE store_origin")
    store_origin.claim(store, Origin.SIMULATED, SIMULATED)
    same.check()
    with pytest.raises(ConfigurationError, match="holds simulated data"):
        same.check(again=True)


def test_doctor_and_status_name_what_the_stores_hold(
    kafka_settings: Settings, store: Store
) -> None:
    kafka_origin.claim(kafka_settings, Origin.SIMULATED, SIMULATED)
    store_origin.claim(store, Origin.REAL, REAL)
    settings = load()
    found = {each.check: each for each in examine(settings) if each.check.endswith(" holds")}
    assert found["Kafka holds"].state is State.OK
    assert found["Kafka holds"].detail.startswith(f"simulated data ({SIMULATED}, since ")
    assert found["ClickHouse holds"].state is State.PROBLEM
    assert "holds real data" in found["ClickHouse holds"].detail
    observer = Observer(settings)
    try:
        eventually(
            lambda: (
                "Kafka holds simulated data and ClickHouse real data"
                in describe(observer.observe())
            ),
            "status",
        )
        text = describe(observer.observe())
    finally:
        observer.close()
    assert f"kafka {kafka_settings.kafka_broker} (simulated data):" in text
    assert "(real data):" in text
