"""The rig of silent faults: it also records gaps, and watches what `radar status` says."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it names no exports
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

import shifted_clocks
from chaos.rig import _SILENT, ACTION_TIMEOUT_S, TESTS, Rig
from chaos.schedule import Fault, Setup
from chaos.silent import PAUSE_S
from chaos.silent_verdict import Place, Sample, Witnessed, look
from ports import free_port
from radar.datasets import DATASETS, GAPS, TRADES, WATCHES
from radar.errors import BrokerUnavailable
from radar.kafka import Cluster
from support import radar

CLOCKED = str(TESTS / "shifted_clocks.py")
FRESHNESS_S = 8
STATUS_TIMEOUT_S = 60.0
KEPT_MESSAGES = 20  # of a partition whose offsets are deleted
LAG_MESSAGES = 30


class Topic(NamedTuple):
    """One life of a topic."""

    topic_id: str
    partitions: int


class Witness:
    """Reads the topic of trades beside radar, and remembers where each message stood."""

    def __init__(self, brokers: str) -> None:
        self.seen: dict[Place, bytes] = {}
        self._brokers = brokers
        self._topic: Topic | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self, topic: Topic) -> None:
        """Read a topic from its beginning, instead of the one before; blocks."""
        self.stop()
        self._topic = topic
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(topic, self._stop), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Read no more; blocks."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(20)
            self._thread = None

    def ends(self, topic: Topic) -> dict[int, int]:
        """Return the next offset to be read of each partition."""
        ends = dict.fromkeys(range(topic.partitions), 0)
        for place in list(self.seen):
            if place.topic_id == topic.topic_id:
                ends[place.partition] = max(ends[place.partition], place.offset + 1)
        return ends

    def _read(self, topic: Topic, stop: threading.Event) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._brokers,
                "group.id": "radar-chaos-witness",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.queue.backoff.ms": 2,
                "logger": _SILENT,
            }
        )
        try:
            consumer.assign(
                [TopicPartition(TRADES.topic, p, OFFSET_BEGINNING) for p in range(topic.partitions)]
            )
            while not stop.is_set():
                for message in consumer.consume(1000, 0.1):
                    if message.error() is None:
                        place = Place(
                            topic.topic_id, message.partition() or 0, message.offset() or 0
                        )
                        self.seen[place] = message.value() or b""
        finally:
            consumer.close()


class SilentRig(Rig):
    """A rig whose faults happen one after the other.

    Attributes:
        samples: What `radar status` said, and what was missing then.
        witness: Every message of trades that Kafka has had.
        began_s: Unix time from which on every trade counts.
    """

    def __init__(self, setup: Setup, directory: Path, kafka_home: Path | None) -> None:
        super().__init__(setup, directory, kafka_home)
        self.samples: list[Sample] = []
        self.began_s = 0.0
        self.clocks = directory / "clocks"
        self._ports: dict[str, int] = {}
        self._status_log = directory / "status.log"

    async def _start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        shifted_clocks.write(self.clocks, 0, 0)
        await super()._start()
        cluster = Cluster(self.settings())
        await self.persist(
            lambda: cluster.create_topics(
                [
                    name
                    for dataset in DATASETS.values()
                    for name in (dataset.topic, dataset.dead_letter_topic)
                ]
            )
        )
        for dataset in (GAPS, WATCHES):
            self._start_role(f"{dataset.name}-worker-1", radar("consume", dataset.name), {})
        self.witness = Witness(self._brokers)
        await asyncio.to_thread(self.witness.follow, await asyncio.to_thread(self._topic))

    def _command(self, role: str, dataset: str) -> list[str]:
        if role == "produce":
            return [sys.executable, CLOCKED, str(self.clocks), role, dataset]
        return super()._command(role, dataset)

    def _start_role(self, name: str, command: list[str], variables: Mapping[str, str]) -> None:
        port = self._ports[name] = free_port()
        more = {"METRICS_PORT": str(port), "FRESHNESS_SECONDS": str(FRESHNESS_S)}
        super()._start_role(name, command, {**variables, **more})

    def _topic(self) -> Topic:
        cluster = Cluster(self.settings())
        # The partitions are those of this run, also right after the topic was created again.
        return Topic(cluster.topic_id(TRADES.topic), self.setup.partitions)

    async def run(self, faults: list[Fault]) -> None:
        """Do the faults one after the other, and ask for the status all the time."""
        await self._until_connected(2 * self.setup.redundant_connections)
        await self._until(lambda: self._stored() > 0, "the first trade is stored")
        self.began_s = time.time()
        asking = asyncio.create_task(self._ask_status())
        try:
            for fault in faults:
                await asyncio.sleep(PAUSE_S)
                await self.harm(fault)
            await asyncio.sleep(PAUSE_S)
        finally:
            asking.cancel()
            await asyncio.wait([asking])
        if not asking.cancelled():
            asking.result()

    def _stored(self) -> int:
        client = self.client()
        try:
            return int(client.command("SELECT count() FROM trades"))
        finally:
            client.close()

    async def _ask_status(self) -> None:
        """Ask `radar status` again and again; when it says that all is well, look whether it is."""
        processes = ",".join(f"{name}=127.0.0.1:{port}" for name, port in self._ports.items())
        environment = os.environ | {
            "KAFKA_BROKER": self._brokers,
            "CLICKHOUSE_PORT": str(self._clickhouse_port),
            "MONITOR_PROCESSES": processes,
            "RADAR_DATA_DIR": str(self.directory / "nothing"),
            "FRESHNESS_SECONDS": str(FRESHNESS_S),
        }
        while True:
            asked_s = time.time()
            process = await asyncio.create_subprocess_exec(
                *radar("status"),
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            try:
                async with asyncio.timeout(STATUS_TIMEOUT_S):
                    output, _ = await process.communicate()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            text = output.decode(errors="replace")
            with self._status_log.open("a") as log:
                print(f"{asked_s:.3f} exit {process.returncode}\n{text}", file=log)
            fine = process.returncode == 0
            missing = 0
            if fine:
                missing = await asyncio.to_thread(self._missing, asked_s)
            self.samples.append(Sample(asked_s, fine=fine, missing=missing))

    def _missing(self, asked_s: float) -> int:
        try:
            found = look(self, until_s=asked_s)
        except Exception as error:  # noqa: BLE001 - no view can say that all is well then
            with self._status_log.open("a") as log:
                print(f"cannot look: {error}", file=log)
            return 0
        with self._status_log.open("a") as log:
            print(f"missing without a record: {found.unrecorded[:5]}", file=log)
        return len(found.unrecorded)

    def _actions(self) -> dict[str, Callable[[Fault], Awaitable[None]]]:
        return super()._actions() | {
            "market falls silent": self._mute,
            "answers never end": self._hang,
            "clock steps": self._step_clock,
            "machine is suspended": self._suspend,
            "offsets are deleted": self._delete_offsets,
            "database is restored": self._restore_database,
            "view fails": self._break_view,
            "blocks are too large": self._refuse_large,
            "topic is recreated": self._recreate_topic,
            "messages are refused": self._refuse_messages,
        }

    async def _mute(self, fault: Fault) -> None:
        symbols = (await self.ask_exchange("ledger/trades")).text.splitlines()[-200:]
        names = sorted({line.partition('"symbol":"')[2].partition('"')[0] for line in symbols})
        symbol = self._chance.choice(names)
        await self.exchange("mute", symbol=symbol, seconds=600)
        await asyncio.sleep(fault.seconds)
        await self.exchange("clear")

    async def _hang(self, fault: Fault) -> None:
        await self.exchange("rest_hang", seconds=fault.seconds)
        await self.exchange("kick")
        await asyncio.sleep(fault.seconds)

    async def _step_clock(self, fault: Fault) -> None:
        shifted_clocks.write(self.clocks, float(fault.detail), 0)
        await asyncio.sleep(fault.seconds)
        shifted_clocks.write(self.clocks, 0, 0)

    def _producers(self) -> list[str]:
        return [
            n for dataset in ("trades", "depth") for n in self.setup.names(f"{dataset}-producer")
        ]

    async def _suspend(self, fault: Fault) -> None:
        """Stop the producers; for them the wall clock has jumped, and the exchange cut them off."""
        parts = [self.parts[name] for name in self._producers()]
        for part in parts:
            part.signal(signal.SIGSTOP)
        try:
            await self.exchange("kick", close_frame="false")
            await asyncio.sleep(fault.seconds)
            # What has passed meanwhile, the monotonic clock of a suspended machine does not know.
            shifted_clocks.write(self.clocks, 0, -fault.seconds)
        finally:
            for part in parts:
                part.signal(signal.SIGCONT)

    async def _while_workers_stand(self, action: Callable[[], Awaitable[None]]) -> None:
        """Stop the workers of trades until some messages wait, act, and let them go on."""
        parts = [self.parts[name] for name in self.setup.names("trades-worker")]
        for part in parts:
            part.signal(signal.SIGSTOP)
        try:
            await action()
        finally:
            for part in parts:
                part.signal(signal.SIGCONT)

    async def _delete_offsets(self, fault: Fault) -> None:
        async def delete() -> None:
            await asyncio.sleep(fault.seconds)
            topic = await asyncio.to_thread(self._topic)
            cluster = Cluster(self.settings())
            ends = await self.persist(lambda: cluster.end_offsets(TRADES.topic, 10))
            await self._until_witnessed(topic, ends)
            cut = {p: max(0, end - KEPT_MESSAGES) for p, end in ends.items()}
            await self.persist(lambda: cluster.delete_records_before(TRADES.topic, cut))

        await self._while_workers_stand(delete)

    async def _until_witnessed(self, topic: Topic, ends: Mapping[int, int]) -> None:
        await self._until(
            lambda: all(self.witness.ends(topic)[p] >= end for p, end in ends.items()),
            "the witness has read everything",
        )

    async def _recreate_topic(self, fault: Fault) -> None:
        """Delete the topic of trades and create it again, with or without unread messages."""

        async def recreate() -> None:
            if fault.detail == "unread":
                await asyncio.sleep(fault.seconds)
            producers = [self.parts[name] for name in self.setup.names("trades-producer")]
            for part in producers:
                part.signal(signal.SIGSTOP)
            try:
                old = await asyncio.to_thread(self._topic)
                cluster = Cluster(self.settings())
                await asyncio.sleep(0.5)  # what is under way to the broker arrives
                ends = await self.persist(lambda: cluster.end_offsets(TRADES.topic, 10))
                await self._until_witnessed(old, ends)
                await asyncio.to_thread(self.witness.stop)
                admin = AdminClient({"bootstrap.servers": self._brokers, "logger": _SILENT})
                await self.persist(lambda: _delete(admin, TRADES.topic))
                await self.persist(lambda: _create(admin, TRADES.topic, old.partitions, self.setup))
                new = await asyncio.to_thread(self._topic)
                await asyncio.to_thread(self.witness.follow, new)
            finally:
                for part in producers:
                    part.signal(signal.SIGCONT)

        if fault.detail == "unread":
            await self._while_workers_stand(recreate)
        else:
            await recreate()
        await asyncio.sleep(fault.seconds)

    async def _refuse_messages(self, fault: Fault) -> None:
        """Let the brokers refuse every message of trades for its size."""
        admin = AdminClient({"bootstrap.servers": self._brokers, "logger": _SILENT})
        await self.persist(lambda: _limit_messages(admin, TRADES.topic, "10"))
        await asyncio.sleep(fault.seconds)
        await self.persist(lambda: _limit_messages(admin, TRADES.topic, "1048588"))

    async def _restore_database(self, fault: Fault) -> None:
        data = self.directory / "disk" / "clickhouse"
        copy = self.directory / "copy"

        def save() -> None:
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(data, copy, symlinks=True)

        def put_back() -> None:
            shutil.rmtree(data)
            shutil.copytree(copy, data, symlinks=True)

        await self._while_clickhouse_is_down(save)
        await self._until_answers(self._clickhouse_port)
        await asyncio.sleep(fault.seconds)
        await self._while_clickhouse_is_down(put_back)
        await self._until_answers(self._clickhouse_port)

    async def _while_clickhouse_is_down(self, action: Callable[[], None]) -> None:
        part = self.parts["clickhouse"]
        await part.restart(ACTION_TIMEOUT_S)
        await asyncio.to_thread(action)
        part.stay_down(0)

    async def _break_view(self, fault: Fault) -> None:
        def command(*statements: str) -> None:
            client = self.client()
            try:
                for sql in statements:
                    client.command(sql)
            finally:
                client.close()

        await self.persist(
            lambda: command(
                "CREATE TABLE IF NOT EXISTS levels (level UInt8) ENGINE = MergeTree ORDER BY level",
                "CREATE MATERIALIZED VIEW IF NOT EXISTS to_levels TO levels AS"
                " SELECT toUInt8(concat(toString(price), 'x')) AS level FROM trades_master",
            )
        )
        await asyncio.sleep(fault.seconds)
        await self.persist(lambda: command("DROP VIEW IF EXISTS to_levels"))

    async def _refuse_large(self, fault: Fault) -> None:
        link = self._links["clickhouse link"]
        link.refuse_bodies_over(int(fault.detail))
        await asyncio.sleep(fault.seconds)
        link.heal()

    async def settle(self) -> list[str]:
        problems = await super().settle()
        for dataset in (GAPS, WATCHES):
            code = await self.parts[f"{dataset.name}-worker-1"].end(60)
            if code:
                problems.append(f"{dataset.name}-worker-1 ended with {code}")
        await asyncio.to_thread(self.witness.stop)
        return problems

    async def _until_stored(self, what: str) -> None:
        """Wait until all is stored that Kafka has now, and the number of trades stands still.

        A silent exchange makes producers connect again and again, so books, gaps and sessions go
        on: of those only the present ones are awaited.
        """
        seen: list[tuple[int, int]] = []
        ends: dict[tuple[str, int], int] = {}

        def quiet() -> bool:
            cluster = Cluster(self.settings())
            waiting = 0
            try:
                for dataset in DATASETS.values():
                    for lag in cluster.lag(dataset.topic, dataset.group):
                        end = ends.setdefault((dataset.name, lag.partition), lag.end)
                        committed = lag.end - lag.messages
                        waiting += max(0, (lag.end if dataset is TRADES else end) - committed)
            except BrokerUnavailable:
                return False
            seen.append((waiting, self._stored()))
            return len(seen) > 8 and len(set(seen[-8:])) == 1 and waiting == 0

        await self._until(quiet, what)

    def witnessed(self) -> list[Witnessed]:
        """Return every message of trades that Kafka has had."""
        return [Witnessed.of(place, value) for place, value in list(self.witness.seen.items())]


def _delete(admin: AdminClient, topic: str) -> None:
    if topic in admin.list_topics(timeout=10).topics:
        admin.delete_topics([topic], operation_timeout=30)[topic].result(30)
    while topic in admin.list_topics(timeout=10).topics:
        time.sleep(0.05)


def _create(admin: AdminClient, topic: str, partitions: int, setup: Setup) -> None:
    if topic not in admin.list_topics(timeout=10).topics:
        new = NewTopic(topic, partitions, max(1, setup.kafka_nodes))
        admin.create_topics([new], operation_timeout=30)[topic].result(30)
    if topic not in admin.list_topics(timeout=10).topics:
        raise BrokerUnavailable("the topic is not there yet")


def _limit_messages(admin: AdminClient, topic: str, limit_bytes: str) -> None:
    entry = ConfigEntry(
        "max.message.bytes", limit_bytes, incremental_operation=AlterConfigOpType.SET
    )
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)
