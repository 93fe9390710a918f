"""The broker and the databases of a run: processes of their own, in a folder of their own."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from benchmarks.data import PARTITIONS, json_topic
from radar import settings as radar_settings
from radar.addresses import answers, free_port
from radar.datasets import DATASETS, Dataset
from radar.errors import BrokerUnavailable
from radar.kafka import Cluster
from radar.settings import Settings
from radar.store.client import Store
from radar.store.migrate import migrate

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[1]
# Of the programs of the benchmarks, and of radar in this folder.
PYTHONPATH = os.pathsep.join((str(ROOT), str(ROOT / "src")))
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0


class Process:
    """A process of this run with a log, ended by its id."""

    def __init__(
        self, name: str, command: list[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.log_path = folder / f"{name}.log"
        self.started_at_s = time.time()
        with self.log_path.open("ab") as log:
            self._popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=os.environ | environment, cwd=folder,
            )  # fmt: skip
        self.pid = self._popen.pid

    @property
    def lives(self) -> bool:
        """Tell whether it runs."""
        return self._popen.poll() is None

    def last_lines(self) -> str:
        """Return the end of its log."""
        return "\n".join(self.log_path.read_text(errors="replace").strip().splitlines()[-5:])

    def end(self, *, at_once: bool = False) -> None:
        """Ask it to end, and see to it that it does."""
        if self.lives and not at_once:
            self._popen.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(STOP_TIMEOUT_S)
        if self.lives:
            self._popen.kill()
        self._popen.wait()


@contextlib.contextmanager
def broker(
    folder: Path, kafka_home: Path | None = None, partitions: int = PARTITIONS
) -> Iterator[str]:
    """Run a broker with radar's topics; provide its address."""
    port = free_port()
    data_dir = folder / "kafka"
    shutil.rmtree(data_dir, ignore_errors=True)
    if kafka_home:
        command = ["radar.local.apache_kafka", str(kafka_home.absolute()), str(data_dir)]
    else:
        command = ["radar.local.broker", str(data_dir)]
    process = Process(
        "kafka", [sys.executable, "-m", *command, HOST, str(port)], folder, {"LOG_FORMAT": "json"}
    )
    address = f"{HOST}:{port}"
    try:
        await_port(process, port)
        options = radar_settings.load(kafka_broker=address, kafka_num_partitions=partitions)
        cluster = Cluster(options)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                cluster.wait_until_up(5)
                break
            except BrokerUnavailable:
                if time.monotonic() > deadline_s:
                    raise
        cluster.create_topics(
            [
                name
                for dataset in DATASETS.values()
                for name in {dataset.topic, dataset.dead_letter_topic, json_topic(dataset)}
            ]
        )
        yield address
    finally:
        process.end()


class Database:
    """An embedded ClickHouse in a new folder, with radar's tables."""

    def __init__(self, folder: Path, broker_address: str) -> None:
        self.folder = folder / "clickhouse"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.port = free_port()
        command = [sys.executable, "-m", "benchmarks.clickhouse", "--no-password"]
        command += ["--path", str(self.folder)]
        self.process = Process(
            "clickhouse",
            [*command, "--port", str(self.port)],
            folder,
            {"PYTHONPATH": PYTHONPATH},
        )
        await_port(self.process, self.port)
        self.settings = settings(broker_address, self.port)
        self.store = Store(self.settings)
        migrate(self.store, self.settings.retention_days)

    def close(self) -> None:
        """End it and delete its data; nothing in there is wanted, so it need not tidy up."""
        self.store.close()
        self.process.end(at_once=True)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def database(folder: Path, broker_address: str) -> Iterator[Database]:
    """Run a new database."""
    opened = Database(folder, broker_address)
    try:
        yield opened
    finally:
        opened.close()


def settings(broker_address: str, clickhouse_port: int) -> Settings:
    """Return radar's options for a run's stores."""
    return radar_settings.load(kafka_broker=broker_address, clickhouse_port=clickhouse_port)


def environment(of: Settings) -> dict[str, str]:
    """Return the same options for a process."""
    return {
        "KAFKA_BROKER": of.kafka_broker,
        "CLICKHOUSE_HOST": of.clickhouse_host,
        "CLICKHOUSE_PORT": str(of.clickhouse_port),
        "CLICKHOUSE_DB": of.clickhouse_db,
        # Two members that join the embedded broker within a second may wait for each other.
        "KAFKA_JOIN_TIMEOUT_SECONDS": "2",
        "LOG_FORMAT": "json",
    }


def rewind(broker_address: str, dataset: Dataset, *, to_end: bool = False) -> None:
    """Let a group without members begin at the start (or the end) of its topic, without a plan."""
    consumer = Consumer({"bootstrap.servers": broker_address, "group.id": dataset.group})
    try:
        positions = []
        for each in consumer.list_topics(dataset.topic, 10).topics[dataset.topic].partitions:
            first, end = consumer.get_watermark_offsets(TopicPartition(dataset.topic, each), 10)
            positions.append(TopicPartition(dataset.topic, each, end if to_end else first, ""))
        consumer.commit(offsets=positions, asynchronous=False)
    finally:
        consumer.close()


def await_port(process: Process, port: int) -> None:
    """Wait until a process listens.

    Raises:
        RuntimeError: It does not.
    """
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not answers(HOST, port):
        if not process.lives or time.monotonic() > deadline_s:
            raise RuntimeError(f"{process.log_path.stem} did not start: {process.last_lines()}")
        time.sleep(0.02)
