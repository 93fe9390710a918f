"""What only Apache Kafka does: dead members expire, KIP-848, replicas, leaders that move."""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from confluent_kafka import ElectionType

import apache_kafka
from apache_kafka import Brokers
from ports import free_port
from radar.codec import message_format
from radar.datasets import TRADES
from radar.errors import BrokerUnavailable
from radar.kafka import Cluster, GroupReader, Publisher
from radar.kafka import client as kafka_client
from radar.settings import Settings, load
from radar.store.client import Store
from support import Process, eventually, radar
from workers import create_topics, publish_trades, stored, trade_value, waiting

# Three nodes, which start and stop, need their time on a busy machine.
pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).parents[2]
Start = Callable[[str], Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start trades workers; they are ended with the test."""
    processes: list[Process] = []

    def run(worker_id: str) -> Process:
        log = tmp_path / f"worker-{len(processes)}.log"
        processes.append(Process(radar("consume", "trades"), log, WORKER_ID=worker_id))
        return processes[-1]

    yield run
    for process in processes:
        process.end()


@pytest.fixture
def settings(
    apache_broker: str, kafka_settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    monkeypatch.setenv("BATCH_SIZE", "50")
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.2")
    settings = load()
    create_topics(settings)
    return settings


@pytest.fixture
def cluster_settings(
    kafka_cluster: Brokers, store: Store, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    apache_kafka.clean(kafka_cluster.address)
    monkeypatch.setenv("KAFKA_BROKER", kafka_cluster.address)
    monkeypatch.setenv("KAFKA_REPLICATION_FACTOR", "3")
    monkeypatch.setenv("KAFKA_SESSION_TIMEOUT_SECONDS", str(apache_kafka.SESSION_TIMEOUT_S))
    monkeypatch.setenv("BATCH_SIZE", "50")
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.2")
    settings = load()
    create_topics(settings)
    return settings


class Stream:
    """Publishes trades without a pause, as a producer does, until it is ended."""

    def __init__(self, settings: Settings) -> None:
        self.published = 0
        self._publisher = Publisher(settings, TRADES.topic)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            for _ in range(3):
                symbol = f"S{self.published % 20}TMN"
                value = trade_value(self.published, symbol)
                self._publisher.publish(message_format.message_key("wallex", symbol), value)
                self.published += 1
            self._publisher.poll()

    def end(self) -> None:
        """Stop, and wait until Kafka has acknowledged everything."""
        self._stop.set()
        self._thread.join()
        assert self._publisher.flush(60) == 0
        assert (self._publisher.acknowledged, self._publisher.failed) == (self.published, 0)


@pytest.fixture
def stream(cluster_settings: Settings) -> Iterator[Stream]:
    stream = Stream(cluster_settings)
    yield stream
    stream._stop.set()
    stream._thread.join()


def grows(store: Store) -> None:
    before = stored(store)
    eventually(lambda: stored(store) > before + 100, "rows are stored", 60, every_s=0.1)


def assert_all_is_stored_once(settings: Settings, store: Store, published: int) -> None:
    eventually(lambda: waiting(settings) == 0, "everything is committed", 60, every_s=0.2)
    # Physically, not only through the view.
    rows = store.rows("SELECT count(), uniqExact(trade_id) FROM trades_master")
    assert rows == [(published, published)]


@pytest.mark.parametrize("names", [("one", "two"), ("", "")], ids=["static", "dynamic"])
@pytest.mark.group_protocols
def test_worker_killed_is_replaced_by_the_other_once_its_session_is_over(
    settings: Settings,
    store: Store,
    start: Start,
    names: tuple[str, str],
    record_property: Callable[[str, object], None],
) -> None:
    victim, heir = start(names[0]), start(names[1])
    for worker in (victim, heir):
        eventually(lambda w=worker: '"assigned"' in w.log.read_text(), "both have partitions", 60)  # type: ignore[misc]
    publish_trades(settings, range(2000))
    eventually(lambda: stored(store) >= 100, "they are in the middle", 60, every_s=0.01)
    victim.kill()
    killed_at_s = time.monotonic()
    publish_trades(settings, range(2000, 3000))
    assert_all_is_stored_once(settings, store, 3000)
    record_property("takeover_s", round(time.monotonic() - killed_at_s, 2))
    assert heir.lives


def test_session_timeout_of_a_consumer_group_is_that_of_the_brokers(settings: Settings) -> None:
    wanted = settings.model_copy(
        update={"kafka_group_protocol": "consumer", "kafka_session_timeout_seconds": 99}
    )
    reader = GroupReader(
        wanted, TRADES.topic, "g", on_assign=lambda _: None, on_revoke=lambda _: None
    )
    assert reader.session_timeout_s == apache_kafka.SESSION_TIMEOUT_S
    reader.close()


def compose_check(port: int, timeout_s: float = 5) -> int:
    """Run the check of the compose file's broker against a port of this machine."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    kind, *command = services["kafka"]["healthcheck"]["test"]
    assert (kind, command[0]) == ("CMD", "timeout")
    command[1] = str(timeout_s)
    command[-1] = command[-1].replace("/dev/tcp/kafka/29092", f"/dev/tcp/127.0.0.1/{port}")
    command[-1] = command[-1].replace("$$", "$")  # as compose does
    return subprocess.run(command, capture_output=True, check=False).returncode


def test_health_check_of_the_compose_file_asks_the_broker(apache_broker: str) -> None:
    assert compose_check(int(apache_broker.rpartition(":")[2])) == 0
    assert compose_check(free_port()) != 0
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert compose_check(silent.getsockname()[1], 0.5) != 0
    with socket.create_server(("127.0.0.1", 0)) as foreign:

        def reply() -> None:
            connection, _ = foreign.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        with ThreadPoolExecutor() as pool:
            replied = pool.submit(reply)
            assert compose_check(foreign.getsockname()[1]) != 0
            replied.result()


def test_create_topics_gives_them_replicas(
    cluster_settings: Settings, kafka_cluster: Brokers
) -> None:
    assert Cluster(cluster_settings).create_topics([TRADES.topic]) == []
    topic = kafka_cluster.admin.list_topics(timeout=10).topics[TRADES.topic]
    assert [len(partition.replicas) for partition in topic.partitions.values()] == [3, 3, 3]
    (found,) = Cluster(cluster_settings).topic_settings([TRADES.topic])
    assert found.options["min.insync.replicas"] == "2"


def test_topic_with_a_partition_without_a_leader_is_described_once_it_has_one(
    cluster_settings: Settings, kafka_cluster: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a moment after `radar topics --grow`, only for longer."""
    cluster = Cluster(cluster_settings.model_copy(update={"kafka_replication_factor": 1}))
    cluster.create_topics(["alone"])
    eventually(
        lambda: set(kafka_cluster.leaders("alone").values()) == {1, 2, 3}, "a partition on each"
    )
    broker = kafka_cluster.by_id[kafka_cluster.leaders("alone")[0]]
    broker.kill()
    eventually(lambda: kafka_cluster.leaders("alone").get(0) == -1, "the leader is missed", 60)
    with pytest.raises(BrokerUnavailable, match="ends of a partition"):
        cluster.topics(["alone"])
    assert cluster.description("alone").leaderless == 1
    replicated = cluster.description(TRADES.topic)
    assert (replicated.partitions, replicated.out_of_sync, replicated.leaderless) == (3, 3, 0)
    monkeypatch.setattr(kafka_client, "REQUEST_TIMEOUT_S", 60.0)
    with ThreadPoolExecutor() as pool:
        described = pool.submit(cluster.topics, ["alone"])
        broker.start()
        assert [topic.partitions for topic in described.result()] == [3]
    kafka_cluster.admin.delete_topics(["alone"])["alone"].result(20)
    eventually(kafka_cluster.in_sync, "the node follows", 60, every_s=0.2)


def test_leader_killed_while_all_work_loses_and_doubles_nothing(
    kafka_cluster: Brokers,
    cluster_settings: Settings,
    store: Store,
    stream: Stream,
    start: Start,
) -> None:
    worker = start("one")
    grows(store)
    leader = kafka_cluster.leaders(TRADES.topic)[0]
    kafka_cluster.by_id[leader].kill()
    grows(store)
    assert kafka_cluster.leaders(TRADES.topic)[0] not in (leader, -1)
    kafka_cluster.by_id[leader].start()
    eventually(kafka_cluster.in_sync, "the node follows", 60, every_s=0.2)
    grows(store)
    stream.end()
    assert_all_is_stored_once(cluster_settings, store, stream.published)
    assert worker.lives


# A minute of CPU time. The death of a leader, above, is tested each time.
@pytest.mark.slow("src/radar/kafka", "src/radar/consumer", "src/radar/producer")
def test_rolling_restart_with_leaders_moved_back_loses_and_doubles_nothing(
    kafka_cluster: Brokers,
    cluster_settings: Settings,
    store: Store,
    stream: Stream,
    start: Start,
) -> None:
    workers = [start("one"), start("two")]
    grows(store)
    for node_id, broker in kafka_cluster.by_id.items():
        broker.stop()
        assert node_id not in kafka_cluster.leaders(TRADES.topic).values()
        grows(store)
        broker.start()
        eventually(kafka_cluster.in_sync, "the node follows", 60, every_s=0.2)
        moved = kafka_cluster.admin.elect_leaders(ElectionType.PREFERRED).result(30)
        assert moved is None or all(error is None for error in moved.values())
        eventually(
            lambda: set(kafka_cluster.leaders(TRADES.topic).values()) == {1, 2, 3},
            "each node leads again",
        )
        grows(store)
    stream.end()
    assert_all_is_stored_once(cluster_settings, store, stream.published)
    assert all(worker.lives for worker in workers)
