"""Real processes whose dependencies go away: /readyz tells it with the reason, and comes back."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import outages
from outages import Service
from ports import free_port
from radar.consumer.partition import CrashPoint
from radar.consumer.worker import Worker
from radar.datasets import TRADES
from radar.kafka import Cluster
from radar.settings import Settings, load
from radar.status.health_probe import ask
from radar.status.scrape import scrape
from radar.store.client import Store
from radar.telemetry.endpoints import serve
from radar.telemetry.health import Health
from support import Process, eventually, radar
from workers import create_topics, publish_trades

NOTICED_WITHIN_S = 10.0
# A busy machine: connections are opened again with backoff, a group is joined again.
BACK_WITHIN_S = 60.0


class Radar(Process):
    """A process of radar that serves its health."""

    def __init__(self, directory: Path, *arguments: str, **environment: str) -> None:
        self.port = free_port()
        log = directory / f"{'-'.join(arguments)}.log"
        super().__init__(radar(*arguments), log, METRICS_PORT=str(self.port), **environment)

    def until_ready(self) -> None:
        def ready() -> bool:
            return ask("127.0.0.1", self.port).ready

        eventually(ready, "ready", BACK_WITHIN_S)

    def until_not_ready(self, *words: str) -> None:
        """Wait until it is not ready for a reason with one of these words; it must be alive."""

        def not_ready() -> bool:
            report = ask("127.0.0.1", self.port)
            assert report.alive, report
            return any(word in reason for reason in report.reasons for word in words)

        eventually(not_ready, f"not ready because of {words}", NOTICED_WITHIN_S)

    def metric(self, name: str, dataset: str = "trades") -> float:
        return scrape(self.port).get((name, dataset), 0.0)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def kafka(stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    port = free_port()
    monkeypatch.setenv("KAFKA_BROKER", f"127.0.0.1:{port}")
    monkeypatch.setenv("KAFKA_JOIN_TIMEOUT_SECONDS", "5")
    return stack.enter_context(outages.kafka(tmp_path, port))


@pytest.mark.slow("src/radar/telemetry")
@pytest.mark.embedded_kafka("stops the broker")
def test_producer_without_exchange_or_kafka_is_not_ready_until_it_is_back(
    stack: ExitStack, kafka: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = stack.enter_context(outages.exchange(tmp_path, free_port()))
    monkeypatch.setenv("EXCHANGE_WS_URL", f"ws://127.0.0.1:{exchange.port}/ws")
    monkeypatch.setenv("EXCHANGE_REST_URL", f"http://127.0.0.1:{exchange.port}")
    monkeypatch.setenv("RECONNECT_MAX_SECONDS", "1")
    producer = Radar(tmp_path, "produce", "trades")
    stack.callback(producer.end)
    producer.until_ready()
    eventually(lambda: producer.metric("radar_connection_age_seconds") > 0, "a connection's age")

    exchange.freeze()
    producer.until_not_ready("no frame has come from the exchange for")
    exchange.thaw()
    producer.until_ready()
    exchange.stop()
    producer.until_not_ready("markets have no connection to the exchange")
    assert producer.metric("radar_connection_age_seconds") == 0
    exchange.start()
    producer.until_ready()

    kafka.freeze()
    producer.until_not_ready("Kafka has acknowledged no message")
    kafka.thaw()
    producer.until_ready()
    kafka.stop()
    producer.until_not_ready(f"Kafka at 127.0.0.1:{kafka.port}")
    kafka.start()
    producer.until_ready()
    assert producer.terminate() == 0


@pytest.mark.slow("src/radar/telemetry")
@pytest.mark.embedded_kafka("stops the broker")
def test_worker_without_kafka_or_clickhouse_is_not_ready_until_it_is_back(
    stack: ExitStack, kafka: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clickhouse = stack.enter_context(outages.clickhouse(tmp_path, free_port()))
    monkeypatch.setenv("CLICKHOUSE_PORT", str(clickhouse.port))
    monkeypatch.setenv("INSERT_TIMEOUT_SECONDS", "2")
    monkeypatch.setenv("KAFKA_SESSION_TIMEOUT_SECONDS", "6")
    worker = Radar(tmp_path, "consume", "trades", WORKER_ID="worker-1")
    stack.callback(worker.end)
    worker.until_ready()

    # Idle, it does not find out by an insert.
    clickhouse.freeze()
    worker.until_not_ready(f"ClickHouse at 127.0.0.1:{clickhouse.port}")
    clickhouse.thaw()
    worker.until_ready()
    clickhouse.stop()
    worker.until_not_ready(f"ClickHouse at 127.0.0.1:{clickhouse.port}")
    publish_trades(load(), range(60))
    worker.until_not_ready("to store a block failed")
    # The partitions are not fetched meanwhile, but how much waits is known.
    publish_trades(load(), range(60, 100))
    eventually(lambda: worker.metric("radar_lag_messages") == 100, "the lag")
    eventually(lambda: worker.metric("radar_lag_seconds") > 1, "the age of the lag")
    clickhouse.start()
    worker.until_ready()
    eventually(lambda: worker.metric("radar_lag_messages") == 0, "no lag")
    assert worker.metric("radar_lag_seconds") == 0

    kafka.freeze()
    worker.until_not_ready(f"Kafka at 127.0.0.1:{kafka.port}")
    kafka.thaw()
    worker.until_ready()
    kafka.stop()
    worker.until_not_ready(f"Kafka at 127.0.0.1:{kafka.port}")
    kafka.start()
    worker.until_ready()
    assert worker.terminate() == 0


@pytest.mark.kafka_decides
def test_worker_without_a_partition_is_ready_once_it_is_a_member(
    stack: ExitStack, kafka_settings: Settings, store: Store, tmp_path: Path
) -> None:
    create_topics(kafka_settings)
    partitions = kafka_settings.kafka_num_partitions
    workers = []
    for number in range(partitions + 1):
        (tmp_path / str(number)).mkdir()
        worker = Radar(tmp_path / str(number), "consume", "trades", WORKER_ID=f"worker-{number}")
        stack.callback(worker.end)
        workers.append(worker)

    def shared_out() -> bool:
        shares = [int(worker.metric("radar_assigned_partitions")) for worker in workers]
        known = {int(worker.metric("radar_topic_partitions")) for worker in workers}
        assert known <= {0, partitions}
        return sorted(shares) == [0] + [1] * partitions

    eventually(shared_out, "one worker has no partition", BACK_WITHIN_S)
    eventually(
        lambda: all(worker.metric("radar_topic_partitions") == partitions for worker in workers),
        "each worker knows the partitions of the topic",
    )
    for worker in workers:
        worker.until_ready()


def test_worker_whose_thread_hangs_in_an_insert_is_not_alive(
    kafka_settings: Settings, store: Store
) -> None:
    settings = load(insert_timeout_seconds=1, batch_timeout_seconds=0.1)
    create_topics(settings)
    late_s = 0.0
    health, port = Health(lambda: time.monotonic() + late_s), free_port()
    serve("127.0.0.1", port, health)
    inserting, go_on, stop = threading.Event(), threading.Event(), threading.Event()

    def hang(point: CrashPoint) -> None:
        if point is CrashPoint.DURING_INSERT:
            inserting.set()
            go_on.wait()

    topic_id = Cluster(settings).topic_id(TRADES.topic)
    worker = Worker(settings, TRADES, store, topic_id, health=health, reached=hang)
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        publish_trades(settings, range(10))
        assert inserting.wait(60)
        assert ask("127.0.0.1", port).alive
        late_s = 30.0  # more than two attempts of an insert may take
        report = ask("127.0.0.1", port)
        assert thread.is_alive()
        assert (report.alive, report.ready) == (False, False)
        assert "the main loop has not turned for 3" in report.reasons[0]
        go_on.set()
        eventually(lambda: ask("127.0.0.1", port).ready, "it goes on")
    finally:
        go_on.set()
        stop.set()
        thread.join(30)


def test_health_command_tells_each_state_by_its_exit_code(stack: ExitStack, tmp_path: Path) -> None:
    process = Radar(tmp_path, "simulate", "--port", "0")
    stack.callback(process.end)
    process.until_ready()

    def health(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = ["env", *(f"{key}={value}" for key, value in environment.items())]
        return subprocess.run(
            [*command, *radar("health", *arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    found = health("--port", str(process.port))
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == f"127.0.0.1:{process.port}: alive, ready\n"
    # As the health check of a container.
    found = health(METRICS_PORT=str(process.port), METRICS_HOST="0.0.0.0")
    assert (found.returncode, found.stdout) == (0, f"127.0.0.1:{process.port}: alive, ready\n")
    found = health(f"127.0.0.1:{process.port}", "--json", "--alive")
    assert found.returncode == 0
    assert json.loads(found.stdout) == {
        "version": 1,
        "error": None,
        "processes": [
            {
                "name": f"127.0.0.1:{process.port}",
                "alive": True,
                "ready": True,
                "reasons": [],
                "warnings": [],
            }
        ],
    }
    process.send(signal.SIGSTOP)
    found = health("--port", str(process.port))
    process.send(signal.SIGCONT)
    assert found.returncode == 1
    assert found.stdout.endswith("NOT alive, NOT ready; no answer within 2 s\n")
    found = health()
    assert (found.returncode, found.stdout) == (1, "")
    assert "name a process" in found.stderr
