"""The processes of a run, the links between them, and the harm that is done to them."""

import asyncio
import contextlib
import dataclasses
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import clickhouse_connect
import httpx
from confluent_kafka import Producer as KafkaProducer
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from chaos.leaders import move_leaders
from chaos.schedule import Fault, Setup, harmed
from link import Link
from ports import free_port
from radar.addresses import answers
from radar.datasets import DEPTH, TRADES, Dataset
from radar.errors import BrokerUnavailable
from radar.kafka import Cluster
from radar.local.apache_kafka import Listener, Node, prepare
from radar.settings import Settings, load
from radar.store.client import Store
from radar.store.migrate import migrate
from support import Process, radar, run_command

SESSION_TIMEOUT_S = 6
INSERT_TIMEOUT_S = 5
SETTLE_TIMEOUT_S = 300
ACTION_TIMEOUT_S = 180  # with a store that is down, on a busy machine
DISK_BYTES = 768 * 1024 * 1024
FILL_BYTES, FILL_S = 16 * 1024 * 1024, 0.05
LOG_END_BYTES = 1024 * 1024
TESTS = Path(__file__).parents[1]
CRASHING_WORKER = str(TESTS / "crashing_worker.py")
CRASH_WHILE = "CRASH_WHILE_FILE"
DATASETS = {"trades": TRADES, "depth": DEPTH}
BAD_MESSAGES = (
    b"",
    b"{",
    b"\xff\xfe",
    b'{"v":99}',
    b"[" * 500,
    b'{"price":NaN}',
    b"null",
    b"x" * 9,
)
# Background merges would hide rows that were inserted twice.
WITHOUT_MERGES = (
    "max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1,"
    " parts_to_delay_insert = 1000000, parts_to_throw_insert = 1000000"
)


class Part:
    """A process of the run: kept running, until it is told to stop."""

    def __init__(
        self, name: str, command: list[str], log: Path, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.command = command
        self.log = log
        self.environment = environment
        self.next_command: list[str] | None = None  # for the next start only
        self.deaths: Counter[int] = Counter()  # by exit code, if nobody told it to end
        self.process: Process | None = None
        self._told = False
        self._down_until_s = 0.0
        self._keeper: asyncio.Task[None] | None = None
        self.usual = True  # it was started with its own command

    def start(self) -> None:
        """Start, and start again whenever it ends by itself."""
        self._spawn()
        self._keeper = asyncio.create_task(self._keep())

    @property
    def lives(self) -> bool:
        return self.process is not None and self.process.lives

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.lives:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def stay_down(self, seconds: float) -> None:
        """Do not start it again before so many seconds are over."""
        self._down_until_s = time.monotonic() + seconds

    async def kill(self, down_s: float) -> None:
        self._told = True
        self.stay_down(down_s)
        self.signal(signal.SIGKILL)
        await self._until_down()

    async def restart(self, down_s: float) -> None:
        self._told = True
        self.stay_down(down_s + 60)
        self.signal(signal.SIGTERM)
        await self._until_down()
        self.stay_down(down_s)

    async def stop_and_continue(self, seconds: float) -> None:
        self.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.signal(signal.SIGCONT)

    async def end(self, timeout_s: float) -> int:
        """Tell it to end and return its exit code; the run must not need it any more."""
        if self._keeper is not None:
            self._keeper.cancel()
        self.signal(signal.SIGCONT)
        if self.process is None:
            return 0
        self.signal(signal.SIGTERM)
        try:
            return await asyncio.to_thread(self.process.wait, timeout_s)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGABRT)
            await asyncio.to_thread(self.process.wait, 10)
            return -signal.SIGABRT

    async def _until_down(self) -> None:
        if self.process is None:
            return
        try:
            await asyncio.to_thread(self.process.wait, 60)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGABRT)  # it writes to its log where it hangs
            raise

    def _spawn(self) -> None:
        self.usual = self.next_command is None
        command, self.next_command = self.next_command or self.command, None
        self.process = Process(command, self.log, **self.environment)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            if self.process is None or self.process.lives:
                continue
            if not self._told:
                self.deaths[self.process.wait()] += 1
                self._told = True  # that it has ended is counted once
            if time.monotonic() < self._down_until_s:
                continue
            self._told = False
            # A part that cannot start (its disk is full, its port is not free yet) is given time.
            self.stay_down(1.0)
            self._spawn()


class Rig:
    """Everything that a run is made of.

    Attributes:
        parts: The processes by name.
        done: Faults that were done, by name.
        bad: Keys of the bad messages that were published, by dataset.
        small_disk: Whether ClickHouse's data is on a small disk.
        crash_file: While it exists, workers with a broken rule kill themselves now and then.
    """

    def __init__(
        self,
        setup: Setup,
        directory: Path,
        kafka_home: Path | None,
        broken_rule: str = "",
        *,
        forks: bool = False,
    ) -> None:
        """Prepare a run.

        Args:
            setup: What it is made of.
            directory: For its data and logs.
            kafka_home: Where Apache Kafka's jars are; not needed for the embedded broker.
            broken_rule: The trades' producers and workers break this rule (see `mutants`).
            forks: Producers and workers are forked, not started: many of them start fast. One that
                hangs writes no traceback.
        """
        self.setup = setup
        self.directory = directory
        self.parts: dict[str, Part] = {}
        self.done: Counter[str] = Counter()
        self.bad: dict[str, list[bytes]] = {dataset: [] for dataset in DATASETS}
        self.small_disk = False
        self.ledger_path = directory / "ledger.ndjson"
        self.crash_file = directory / "crash"
        self._kafka_home = kafka_home
        self._broken_rule = broken_rule
        self._forks = forks
        self._chance = random.Random(f"rig {setup.seed}")
        self._links: dict[str, Link] = {}
        self._busy: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._stack = contextlib.AsyncExitStack()
        self._exchange_port = free_port()
        self._clickhouse_port = free_port()
        self._brokers = ""
        self._http = httpx.AsyncClient(timeout=30, trust_env=False)

    async def __aenter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            await self._start()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        dataset: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for part in self.parts.values():
            if part.lives:
                await part.end(20)
        await self._stack.aclose()
        await self._http.aclose()
        if self.small_disk:
            subprocess.run(["umount", "--lazy", str(self.directory / "disk")], check=False)

    async def _start(self) -> None:
        setup = self.setup
        self._start_exchange()
        await self._start_clickhouse()
        await (self._start_apache_kafka() if setup.kafka_nodes else self._start_embedded_kafka())
        settings = self.settings()
        cluster = Cluster(settings)
        await asyncio.to_thread(cluster.wait_until_up, 60)
        topics = [
            topic
            for dataset in DATASETS.values()
            for topic in (dataset.topic, dataset.dead_letter_topic)
        ]
        await self.persist(lambda: cluster.create_topics(topics))
        await asyncio.to_thread(self._prepare_tables, settings)
        self._start_workers()
        for dataset in DATASETS:
            for name in setup.names(f"{dataset}-producer"):
                link = await self._link(name, "127.0.0.1", self._exchange_port)
                address = f"127.0.0.1:{link.port}"
                own = setup.exchange.upper()
                variables = {
                    "EXCHANGES": setup.exchange,
                    f"{own}_WS_URL": f"ws://{address}",
                    f"{own}_REST_URL": f"http://{address}",
                }
                self._start_role(name, self._command("produce", dataset), variables)

    def _start_workers(self) -> None:
        """Start those workers of the setup that do not run yet."""
        for dataset in DATASETS:
            for name in self.setup.names(f"{dataset}-worker"):
                if name not in self.parts:
                    variables = {"WORKER_ID": name} if self.setup.static_members else {}
                    self._start_role(name, self._command("consume", dataset), variables)

    async def grow(self, *, partitions: int, workers: int) -> str:
        """Add partitions as an operator does, then workers of trades; return what radar said."""
        self.setup = dataclasses.replace(self.setup, partitions=partitions, workers=workers)

        def command() -> str:
            return run_command(
                "topics", "--grow", check=True, environment=self.environment()
            ).stdout

        # It may be given again: brokers that are busy or moving may not answer in time.
        said: str = await self.persist(command)
        self._start_workers()
        return said

    def environment(self) -> dict[str, str]:
        """Return the options of commands that lead to the stores without a link."""
        return {
            "KAFKA_BROKER": self._brokers,
            "KAFKA_NUM_PARTITIONS": str(self.setup.partitions),
            "KAFKA_REPLICATION_FACTOR": str(max(1, self.setup.kafka_nodes)),
            "CLICKHOUSE_PORT": str(self._clickhouse_port),
        }

    def _command(self, role: str, dataset: str) -> list[str]:
        if self._broken_rule and dataset == "trades":
            return [sys.executable, "-m", "chaos.mutants", self._broken_rule, role, dataset]
        return radar(role, dataset)

    def settings(self) -> Settings:
        """Return options that lead to the stores without a link."""
        return load(
            kafka_broker=self._brokers,
            clickhouse_port=self._clickhouse_port,
            kafka_num_partitions=self.setup.partitions,
            kafka_replication_factor=max(1, self.setup.kafka_nodes),
        )

    async def persist(self, action: Callable[[], Any], timeout_s: float = ACTION_TIMEOUT_S) -> Any:
        """Repeat what only works when a store is well."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                return await asyncio.to_thread(action)
            except Exception:
                if time.monotonic() > deadline_s:
                    raise
                await asyncio.sleep(0.2)

    def _add(self, name: str, command: list[str], variables: Mapping[str, str]) -> Part:
        part = self.parts[name] = Part(name, command, self.directory / f"{name}.log", variables)
        part.start()
        return part

    def _start_role(self, name: str, command: list[str], variables: Mapping[str, str]) -> None:
        setup = self.setup
        self._add(
            name,
            command,
            {
                "KAFKA_BROKER": self._linked_brokers,
                "KAFKA_SESSION_TIMEOUT_SECONDS": str(SESSION_TIMEOUT_S),
                "KAFKA_GROUP_PROTOCOL": setup.group_protocol,
                "KAFKA_JOIN_TIMEOUT_SECONDS": "10",
                "KAFKA_REPLICATION_FACTOR": str(max(1, setup.kafka_nodes)),
                "KAFKA_NUM_PARTITIONS": str(setup.partitions),
                "CLICKHOUSE_PORT": str(self._links["clickhouse link"].port),
                "INSERT_TIMEOUT_SECONDS": str(INSERT_TIMEOUT_S),
                "BATCH_SIZE": str(setup.batch_size),
                "BATCH_TIMEOUT_SECONDS": str(setup.batch_timeout_s),
                "OFFSET_CHECK_SECONDS": "1",
                "DEPTH_INTERVAL_SECONDS": str(setup.depth_interval_s),
                "REDUNDANT_CONNECTIONS": str(setup.redundant_connections),
                "RECONNECT_MAX_SECONDS": "1",
                "SILENCE_TIMEOUT_SECONDS": str(setup.silence_timeout_s),
                "CONNECTION_MAX_AGE_SECONDS": "45",
                "CONNECTION_OVERLAP_SECONDS": "1",
                "REPAIR_REQUESTS_PER_SECOND": "100",
                "LOG_FORMAT": "json",
                **({} if self._forks else self._interpreter()),
                CRASH_WHILE: str(self.crash_file),
                **variables,
            },
        )

    @staticmethod
    def _interpreter() -> dict[str, str]:
        path = os.pathsep.join((str(TESTS), os.environ.get("PYTHONPATH", "")))
        return {"PYTHONFAULTHANDLER": "1", "PYTHONPATH": path}

    async def _link(self, name: str, host: str, port: int) -> Link:
        link = self._links[name] = await self._stack.enter_async_context(Link(host, port))
        return link

    def _start_exchange(self) -> None:
        setup = self.setup
        self._add(
            "exchange",
            [
                *radar("simulate", "--port", str(self._exchange_port)),
                *("--exchange", setup.exchange),
                *("--seed", str(setup.seed), "--symbols", str(setup.symbols)),
                *("--trades-per-second", str(setup.trades_per_s)),
                *("--depth-per-second", str(setup.depth_per_s)),
                *("--twin-share", "0.1", "--skew", "0.1"),
                *("--recent-trades", str(setup.recent_trades)),
                *("--ledger", str(self.ledger_path)),
            ],
            {},
        )

    async def _start_clickhouse(self) -> None:
        disk = self.directory / "disk"
        disk.mkdir(exist_ok=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)]
        self.small_disk = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        command = [sys.executable, "-m", "radar.local.clickhouse", "--no-password"]
        path = ["--path", str(disk / "clickhouse"), "--port", str(self._clickhouse_port)]
        self._add("clickhouse", [*command, *path], {})
        await self._link("clickhouse link", "127.0.0.1", self._clickhouse_port)
        await self._until_answers(self._clickhouse_port)

    async def _start_embedded_kafka(self) -> None:
        port = free_port()
        command = [sys.executable, "-m", "radar.local.broker", str(self.directory / "kafka")]
        self._add("kafka-1", [*command, "127.0.0.1", str(port)], {})
        self._brokers = self._linked_brokers = f"127.0.0.1:{port}"
        await self._until_answers(port)

    async def _start_apache_kafka(self) -> None:
        assert self._kafka_home is not None
        names = self.setup.names("kafka")
        voters = {number: free_port() for number in range(1, len(names) + 1)}
        direct, linked = [], []
        for number, name in enumerate(names, start=1):
            port = free_port()
            link = await self._link(name, "127.0.0.1", port)
            straight = free_port()
            node = Node(
                data_dir=self.directory / name,
                host="127.0.0.1",
                listeners=(
                    Listener("CLIENTS", port, link.port),
                    Listener("DIRECT", straight, straight),
                ),
                internal_port=free_port(),
                voters=voters,
                node_id=number,
                options={
                    "group.consumer.min.session.timeout.ms": "1000",
                    "group.consumer.session.timeout.ms": str(SESSION_TIMEOUT_S * 1000),
                    "group.consumer.min.heartbeat.interval.ms": "500",
                    "group.consumer.heartbeat.interval.ms": "1000",
                    # A killed node is found missing sooner than after nine seconds.
                    "broker.session.timeout.ms": "3000",
                    "broker.heartbeat.interval.ms": "500",
                },
            )
            command = await asyncio.to_thread(prepare, self._kafka_home, node)
            self._add(name, command, {})
            direct.append(f"127.0.0.1:{straight}")
            linked.append(f"127.0.0.1:{link.port}")
        self._brokers, self._linked_brokers = ",".join(direct), ",".join(linked)

    async def _until_answers(self, port: int) -> None:
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(answers, "127.0.0.1", port):
                await asyncio.sleep(0.05)

    def _prepare_tables(self, settings: Settings) -> None:
        store = Store(settings)
        migrate(store, settings.retention_days)
        for dataset in DATASETS.values():
            store.command(f"ALTER TABLE {dataset.table} MODIFY SETTING {WITHOUT_MERGES}")
        store.close()

    async def run(self, faults: list[Fault]) -> None:
        """Do every fault at its time, and wait until all are over."""
        started_s = time.monotonic()
        running: list[asyncio.Task[None]] = []
        for fault in faults:
            await asyncio.sleep(max(0.0, started_s + fault.at_s - time.monotonic()))
            running.append(asyncio.create_task(self.harm(fault)))
        await asyncio.gather(*running)

    async def harm(self, fault: Fault) -> None:
        """Do one fault and wait until it is over.

        Two never meet on a target, also not when the one before takes longer than planned.
        """
        async with contextlib.AsyncExitStack() as stack:
            for target in sorted(harmed(fault.target, self.setup)):
                await stack.enter_async_context(self._busy[target])
            with (self.directory / "faults.log").open("a") as log:
                print(f"{time.time():.3f}", *fault, file=log)
            await self._actions()[fault.name](fault)
            self.done[fault.name] += 1

    def _actions(self) -> dict[str, Callable[[Fault], Awaitable[None]]]:
        def on_part(method: str) -> Callable[[Fault], Awaitable[None]]:
            return lambda fault: getattr(self.parts[fault.target], method)(fault.seconds)

        actions: dict[str, Callable[[Fault], Awaitable[None]]] = {
            f"{harm} {what}": on_part(method)
            for what in ("worker", "producer", "clickhouse", "kafka")
            for harm, method in (
                ("kill", "kill"),
                ("restart", "restart"),
                ("stop and continue", "stop_and_continue"),
            )
        }
        return actions | {
            "crash worker": self._crash_worker,
            "kill all of kafka": self._kill_all_of_kafka,
            "cut exchange link": self._cut_link,
            "cut kafka link": self._cut_link,
            "delay exchange link": self._delay_link,
            "delay kafka link": self._delay_link,
            "delay clickhouse link": self._delay_link,
            "clickhouse refuses": self._cut_link,
            "clickhouse hangs": self._hold_link,
            "kafka hangs": self._hold_link,
            "clickhouse breaks off an insert": self._break_insert,
            "clickhouse's answer is lost": self._lose_answer,
            "table is missing": self._hide_table,
            "clickhouse's disk is full": self._fill_disk,
            "bad messages": self._publish_bad_messages,
            "move leaders": self._move_leaders,
            "exchange kick": self._kick,
            "exchange stall": lambda f: self.exchange("stall", seconds=f.seconds),
            "exchange half-open": lambda f: self.exchange("half_open", count=1, seconds=f.seconds),
            "exchange garbage": lambda f: self.exchange("garbage", repeat=3),
            "exchange resend": self._resend,
            "exchange refuse": lambda f: self.exchange("refuse", seconds=f.seconds),
            "exchange rest error": lambda f: self.exchange("rest_error", seconds=f.seconds),
        }

    async def _crash_worker(self, fault: Fault) -> None:
        """Let a worker start that will kill itself at a crash point, soon."""
        part = self.parts[fault.target]
        dataset, seed = fault.target.split("-")[0], str(self._chance.random())
        part.next_command = [sys.executable, CRASHING_WORKER, dataset, fault.detail, "0.2", seed]
        await part.kill(0.1)
        await asyncio.sleep(fault.seconds)

    async def _kill_all_of_kafka(self, fault: Fault) -> None:
        names = self.setup.names("kafka")
        await asyncio.gather(*(self.parts[name].kill(fault.seconds) for name in names))

    async def _cut_link(self, fault: Fault) -> None:
        link = self._links[fault.target]
        link.refusing = True
        link.cut()
        await asyncio.sleep(fault.seconds)
        link.heal()

    async def _hold_link(self, fault: Fault) -> None:
        link = self._links[fault.target]
        link.hold()
        await asyncio.sleep(fault.seconds)
        link.heal()

    async def _delay_link(self, fault: Fault) -> None:
        link = self._links[fault.target]
        link.delay_s = float(fault.detail)
        await asyncio.sleep(fault.seconds)
        link.heal()

    async def _break_insert(self, fault: Fault) -> None:
        link = self._links[fault.target]
        link.break_request(self._chance.randrange(1, 60_000))
        await asyncio.sleep(fault.seconds)
        link.heal()

    async def _lose_answer(self, fault: Fault) -> None:
        link = self._links[fault.target]
        link.lose_answer()
        await asyncio.sleep(fault.seconds)
        link.heal()

    async def _hide_table(self, fault: Fault) -> None:
        table = DATASETS[fault.target.split()[0]].table
        await self.persist(lambda: self._rename(table, f"{table}_away"))
        await asyncio.sleep(fault.seconds)
        await self.persist(lambda: self._rename(f"{table}_away", table))

    def _rename(self, old: str, new: str) -> None:
        # An answer that was lost to a kill is found out by looking.
        store = Store(self.settings())
        try:
            names = {row[0] for row in store.rows("SHOW TABLES")}
            if old in names:
                store.command(f"RENAME TABLE {old} TO {new}")
        finally:
            store.close()

    async def _fill_disk(self, fault: Fault) -> None:
        # In a thread: it takes seconds in which the links would pass nothing on.
        ballast = self.directory / "disk" / "ballast"
        await asyncio.to_thread(_fill, ballast)
        await asyncio.sleep(fault.seconds)
        await asyncio.to_thread(ballast.unlink)

    async def _publish_bad_messages(self, fault: Fault) -> None:
        """Publish up to three messages that are none; more in a row would halt the worker."""
        keys = [f"bad-{fault.at_s:.3f}-{n}".encode() for n in range(self._chance.randint(1, 3))]
        values = [self._chance.choice(BAD_MESSAGES) for _ in keys]
        topic = DATASETS[fault.target].topic
        await asyncio.to_thread(self._publish, topic, list(zip(keys, values, strict=True)))
        self.bad[fault.target] += keys

    def _publish(self, topic: str, messages: list[tuple[bytes, bytes]]) -> None:
        producer = KafkaProducer(
            {
                "bootstrap.servers": self._brokers,
                "enable.idempotence": True,
                "message.timeout.ms": 0,
                "logger": _SILENT,
            }
        )
        for key, value in messages:
            producer.produce(topic, key=key, value=value)
        if producer.flush(ACTION_TIMEOUT_S):
            raise AssertionError("Kafka did not take the bad messages")

    async def _move_leaders(self, fault: Fault) -> None:
        """Let another replica lead each partition."""
        admin = AdminClient({"bootstrap.servers": self._brokers, "logger": _SILENT})
        topics = [dataset.topic for dataset in DATASETS.values()]
        brokers = self._brokers.split(",")
        await self.persist(lambda: move_leaders(admin, self._chance.choice(brokers), topics))

    async def _kick(self, fault: Fault) -> None:
        await self.exchange(
            "kick",
            close_frame=str(fault.detail == "goodbye").lower(),
            count=1 if fault.detail == "cut one" else 0,
        )

    async def _resend(self, fault: Fault) -> None:
        if self.setup.exchange != "wallex":
            # Exir's repetition would look like other trades of the same content.
            if self.setup.exchange != "exir":
                await self.exchange("repeat", count=20)
            return
        await self.exchange("resend", count=20)
        await asyncio.sleep(fault.seconds)
        await self.exchange("resend", count=0)

    async def exchange(self, fault: str, **parameters: object) -> None:
        """Ask the simulated exchange for a fault."""
        query = {"fault": fault, **{name: str(value) for name, value in parameters.items()}}
        (await self.ask_exchange("faults", query)).raise_for_status()

    async def ask_exchange(
        self, question: str, query: dict[str, str] | None = None
    ) -> httpx.Response:
        """Ask the simulated exchange's control interface."""
        url = f"http://127.0.0.1:{self._exchange_port}/simulator/{question}"
        return await self._http.get(url, params=query)

    async def settle(self) -> list[str]:
        """Heal everything, let the exchange fall silent and everything drain; return problems."""
        for link in self._links.values():
            link.heal()
        await self.exchange("clear")
        problems: list[str] = []
        for part in self.parts.values():
            if not part.usual:
                await part.restart(0)  # one that crashes on purpose may not have done so yet
        await self._until(lambda: all(part.lives for part in self.parts.values()), "all live")
        opened = self.setup.producers * self.setup.redundant_connections
        await self._until_connected(2 * opened)
        await self.ask_exchange("quiesce")
        for name in self.setup.names("trades-producer"):
            await self._until(partial(self._has_backfilled, name), f"{name} has backfilled")
        await self._until_stored("nothing waits in Kafka")
        for role in ("producer", "worker"):
            names = [n for k in DATASETS for n in self.setup.names(f"{k}-{role}")]
            codes = await asyncio.gather(*(self.parts[name].end(60) for name in names))
            for name, code in zip(names, codes, strict=True):
                if code:
                    problems.append(f"{name} ended with {code}")
            if role == "producer":
                await self._until_stored("nothing waits in Kafka after the producers' end")
        await self.parts["exchange"].end(30)
        return problems

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + SETTLE_TIMEOUT_S
        while not await asyncio.to_thread(condition):
            if time.monotonic() > deadline_s:
                raise AssertionError(f"not within {SETTLE_TIMEOUT_S} s: {what}")
            await asyncio.sleep(0.2)

    def _has_backfilled(self, name: str) -> bool:
        """Tell whether a producer has read again what all its connections may have missed.

        It says so when no market waits to be read, which takes a while when much is to be read.
        """
        with self.parts[name].log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_END_BYTES))
            end = log.read()
        return end.rfind(b'"event": "backfilled"') > end.rfind(b'"event": "connection opened"')

    async def _until_connected(self, at_least: int) -> None:
        deadline_s = time.monotonic() + 60
        while (await self.ask_exchange("ledger")).json()["connections_open"] < at_least:
            if time.monotonic() > deadline_s:
                raise AssertionError("the producers do not connect")
            await asyncio.sleep(0.2)

    async def _until_stored(self, what: str) -> None:
        """Wait until the ends of the log stand still and everything before them is committed."""
        seen: list[tuple[int, int]] = []

        def quiet() -> bool:
            cluster = Cluster(self.settings())
            try:
                lags = [
                    lag
                    for dataset in DATASETS.values()
                    for lag in cluster.lag(dataset.topic, dataset.group)
                ]
            except BrokerUnavailable:
                return False
            seen.append((sum(lag.end for lag in lags), sum(lag.messages for lag in lags)))
            # Three looks, each some 0.3 s after the other.
            return len(seen) > 3 and len(set(seen[-4:])) == 1 and seen[-1][1] == 0

        await self._until(quiet, what)

    def client(self) -> Any:
        """Return a client of the database, without a link."""
        return clickhouse_connect.get_client(
            host="127.0.0.1", port=self._clickhouse_port, database="radar"
        )

    def log(self, dataset: Dataset, *, dead_letters: bool = False) -> dict[tuple[int, int], Any]:
        """Read a topic from its beginning to its end; the messages by partition and offset."""
        from confluent_kafka import OFFSET_BEGINNING, Consumer

        topic = dataset.dead_letter_topic if dead_letters else dataset.topic
        consumer = Consumer(
            {
                "bootstrap.servers": self._brokers,
                "group.id": "radar-chaos",
                "enable.auto.commit": False,
                "fetch.queue.backoff.ms": 2,
                "logger": _SILENT,
            }
        )
        found: dict[tuple[int, int], Any] = {}
        try:
            count = len(consumer.list_topics(topic, timeout=20).topics[topic].partitions)
            ends = {
                partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), 20)[1]
                for partition in range(count)
            }
            consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in ends if ends[p]])
            left = sum(ends.values())
            deadline_s = time.monotonic() + 120
            while left > 0 and time.monotonic() < deadline_s:
                for message in consumer.consume(10_000, 1.0):
                    if message.error() is None:
                        found[message.partition() or 0, message.offset() or 0] = message
                left = sum(ends.values()) - len(found)
        finally:
            consumer.close()
        if left:
            raise AssertionError(f"{topic}: {left} messages cannot be read")
        return found


def _fill(ballast: Path) -> None:
    """Take what is free on a disk, as fast as a disk is, while others write to it."""
    with ballast.open("wb") as file:
        for start in itertools.count(step=FILL_BYTES):
            try:
                os.posix_fallocate(file.fileno(), start, FILL_BYTES)
            except OSError:
                return
            time.sleep(FILL_S)


def _silent() -> Any:
    import logging

    logger = logging.getLogger("radar.chaos.kafka")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


_SILENT = _silent()
