"""`radar up`: the whole pipeline as separate processes, started, watched and stopped in order."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import msgspec
import structlog
from pydantic import SecretStr

from radar import addresses, secret_file
from radar.addresses import Address, free_port
from radar.checks.reconciliation import (
    DepthReconciliation,
    TradesReconciliation,
    reconcile_depth,
    reconcile_trades,
)
from radar.consumer.dlq.reader import DeadLetterReader
from radar.daemon_threads import aside
from radar.datasets import DATASETS, DEPTH, RECORDED, TRADES, groups, quiet
from radar.errors import (
    BrokerUnavailable,
    ConfigurationError,
    QueryFailed,
    RadarError,
    StoreUnavailable,
)
from radar.exchanges import load
from radar.kafka import Cluster
from radar.kafka import origin as kafka_origin
from radar.local import apache_kafka, data_directory
from radar.local.joining import Joining, data_in_clickhouse, data_in_kafka, deployment_id
from radar.local.log_files import LogFiles
from radar.local.stopping import Left, Stop
from radar.local.supervisor import Child, ChildSpec, Supervisor
from radar.local.trimming import Trimming
from radar.origin import Origin, OriginMark, refuse_other
from radar.process import Orphans, handled
from radar.producer.origin import exchange_origin
from radar.settings import Settings, backup_folder, clickhouse_password_file
from radar.status.collect import Observer
from radar.status.deployment import Deployment, Served
from radar.status.scrape import fetch
from radar.status.state import start_ticks
from radar.store import origin as store_origin
from radar.store.client import Store
from radar.store.client import check_answer as check_store
from radar.store.migrate import migrate_as_configured
from radar.text import host_port
from radar.ui.terminal.watch import LiveOverview
from radar_simulator import LedgerSummary

START_TIMEOUT_S = 60.0
DATA_LEFT_WITHIN_S = 20.0
START_ALONE_S = 5.0
ANSWER_TIMEOUT_S = 15.0  # of a store that radar does not start
COUNT_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 30.0
SILENT_TIMEOUT_S = 5.0  # for a process that waits for a silent store, or for the store itself
TRIM_EVERY_S = 5.0
ROTATE_EVERY_S = 2.0
EXAMINER = "reconcile"  # the process that proves what was recorded
ALERTS = "alerts"

_log = structlog.get_logger()


@dataclass(frozen=True)
class Simulation:
    """The simulated exchange of `radar up --simulate`."""

    seed: int
    symbols: int
    trades_per_s: float
    depth_per_s: float


@dataclass(frozen=True)
class SimulatorProcess:
    """The process of one simulated exchange.

    Attributes:
        exchange: Name of the exchange that it imitates.
        process: Name of its process.
        port: Its port on 127.0.0.1.
        ledger_path: The file of everything that it sends.
    """

    exchange: str
    process: str
    port: int
    ledger_path: Path


@dataclass(frozen=True)
class RunSummary:
    """The result of a run."""

    duration_s: float
    left: Left  # messages in Kafka that are not stored
    dead_letters: int | None  # None: Kafka did not answer
    invalid_frames: int  # of the exchange, which are not published
    restarts: dict[str, int]
    trades: TradesReconciliation | None  # None with a real exchange, which keeps no ledger
    depth: DepthReconciliation | None
    notes: list[str]  # failures during the stop, one sentence each

    @property
    def complete(self) -> bool:
        """Return whether all produced messages are stored."""
        exact = self.trades is None or not (self.trades.lost or self.trades.unexpected)
        books = self.depth is None or self.depth.books == self.depth.books_stored
        stored = self.left.messages == 0 and self.dead_letters == 0
        return stored and exact and books and not self.notes


class Pipeline:
    """One run of the embedded pipeline. Use `open_pipeline`."""

    def __init__(
        self,
        settings: Settings,
        data_dir: Path,
        broker: Address,
        database: Address,
        simulation: Simulation | None,
        inherited: tuple[int, ...] = (),
        *,
        join: bool = False,
    ) -> None:
        self.data_dir = data_dir
        self._joining = Joining(data_dir, wanted=join)
        self.broker = broker
        self.database = database
        self.simulation = simulation
        self.dashboard = addresses.dashboard(settings)
        self.settings = settings
        self.simulated = self._simulated_exchanges() if simulation else []
        self.supervisor = Supervisor(data_dir / "logs", inherited)
        self.started_at_s = time.time()
        # The starting processes have the stores to themselves.
        observer = Observer(settings, self.deployment, stores_after_s=START_ALONE_S)
        self.watch = LiveOverview(observer)
        self._letters_before: dict[str, dict[int, int]] = {}  # ends of the topics, by partition
        self._background: list[asyncio.Task[None]] = []

    @property
    def producers(self) -> list[str]:
        """Names of the producers."""
        return [name for name, _, _ in self._producers()]

    def _producers(self) -> list[tuple[str, str, str]]:
        """Return the name, the exchange and the dataset of each producer."""
        return [
            (f"{exchange}-{dataset}", exchange, dataset)
            for exchange in self.settings.exchanges
            for dataset in RECORDED
        ]

    def _simulated_exchanges(self) -> list[SimulatorProcess]:
        names = self.settings.exchanges
        return [
            SimulatorProcess(
                name,
                "exchange" if len(names) == 1 else f"{name}-exchange",
                free_port(),
                self.data_dir / ("ledger.ndjson" if len(names) == 1 else f"ledger-{name}.ndjson"),
            )
            for name in names
        ]

    @property
    def workers(self) -> dict[str, tuple[str, ...]]:
        """Names of the worker processes, and the datasets that each stores."""
        counts = {
            **{dataset.name: dataset.workers for dataset in DATASETS.values()},
            TRADES.name: self.settings.trades_workers,
            DEPTH.name: self.settings.depth_workers,
        }
        found = {
            f"{dataset}-consumer-{n + 1}": (dataset,)
            for dataset, count in counts.items()
            for n in range(count)
        }
        return found | {"quiet-consumer-1": tuple(dataset.name for dataset in quiet())}

    @property
    def processes(self) -> dict[str, Child]:
        """All processes by name, in the order of the data's way."""
        children = self.supervisor.children
        exchanges = (each.process for each in self.simulated)
        order = (
            "kafka",
            "clickhouse",
            *exchanges,
            *self.workers,
            *self.producers,
            EXAMINER,
            ALERTS,
            "dashboard",
        )
        return {name: children[name] for name in order if name in children}

    def deployment(self) -> Deployment:
        """Return the present processes and addresses."""
        processes = [
            Served(name, "127.0.0.1", child.metrics_port, child.state, child.pid, child.restarts)
            for name, child in self.processes.items()
            # It ends first, on purpose, so its end explains nothing.
            if (name, child.state) != (ALERTS, "stopped")
        ]
        return Deployment(
            processes, self.simulation is not None, self.started_at_s, self.data_dir / "logs"
        )

    async def start(self) -> None:
        """Start all processes, independent ones at once; returns when all run.

        Raises:
            RadarError: A store or the exchange did not come up; its log has the reason.
        """
        self.started_at_s = time.time()
        self._background.append(asyncio.create_task(self._keep_logs_small()))
        # The longest first: ClickHouse needs a second of work, then come the processes' imports.
        if self.database.embedded:
            await self._start_store("clickhouse", self._database_command())
        await self.supervisor.prepare()
        if self.broker.embedded:
            await self._start_store("kafka", self._broker_command())
        try:
            async with asyncio.TaskGroup() as group:
                tables = group.create_task(self._until_done(self._migrate, "clickhouse"))
                exchange = group.create_task(self._start_exchanges())
                topics = group.create_task(self._prepare_topics())
                cluster = await topics
                await exchange
                for name, exchange_name, dataset in self._producers():
                    command = ("produce", dataset, "--exchange", exchange_name)
                    await self._start_role(name, command, {})
                await tables
                for name, datasets in self.workers.items():
                    await self._start_role(name, ("consume", *datasets), self._named(name))
        except* RadarError as errors:
            raise errors.exceptions[0] from None
        await self._start_role(EXAMINER, ("reconcile", "--follow"), {})
        await self._start_dashboard()
        if self.settings.alert_urls.get_secret_value():
            await self._start_role(ALERTS, ("alerts", "run"), {})
        self._write_state()
        self._background += [
            asyncio.create_task(self.watch.keep_up()),
            asyncio.create_task(self._keep_state()),
        ]
        if self.broker.embedded and not self._runs_apache_kafka:
            self._background.append(asyncio.create_task(self._keep_trimmed(cluster)))

    async def stop(self) -> RunSummary:
        """Stop in order: exchange quiet, producers, workers drained, stores; sum up.

        The summary names each silent store or process.
        """
        ended_at_s = time.time()
        stop = Stop(self.settings, self.supervisor, self.watch)
        notes: list[str] = []
        # From now on the end of a process is no alert.
        await stop.end((ALERTS,), SILENT_TIMEOUT_S, "alerts end")
        books = await self._quiesce(stop, notes) if self.simulation else {}
        timeout_s = min(STOP_TIMEOUT_S, stop.left_s)
        await stop.end(self.producers, timeout_s, "producers publish their received records")
        notes += self._failed_producers()
        left = await stop.stored()
        stored = left.messages == 0
        timeout_s = min(STOP_TIMEOUT_S if stored else SILENT_TIMEOUT_S, stop.left_s)
        exchanges = (each.process for each in self.simulated)
        others = (*self.workers, *exchanges, EXAMINER, "dashboard")
        ending = asyncio.create_task(stop.end(others, timeout_s, "processes end"))
        try:
            if not stored:
                # Workers may store more while they end.
                await ending
                stop.say("the run is summed up")
            summary = await aside(lambda: self._sum_up(ended_at_s, left, books, notes), "sum up")
            await ending
            return summary
        finally:
            await asyncio.gather(ending, return_exceptions=True)
            for task in self._background:
                task.cancel()
            await asyncio.gather(*self._background, return_exceptions=True)
            newest = self.watch.newest
            silent = left.waiting is None or (newest is not None and newest.clickhouse_error)
            timeout_s = SILENT_TIMEOUT_S if silent else STOP_TIMEOUT_S
            await stop.end(("clickhouse", "kafka"), timeout_s, "the stores end")
            await self.supervisor.close()
            (self.data_dir / "run" / "state.json").unlink(missing_ok=True)

    def _failed_producers(self) -> list[str]:
        """Name the producers that ended before Kafka had taken all their messages."""
        children = [
            child
            for name in self.producers
            if (child := self.supervisor.children.get(name)) and child.last_exit
        ]
        return [
            f"{child.spec.name} ended before Kafka had taken everything (log: {child.log_path})"
            for child in children
        ]

    def kill(self) -> None:
        """Kill every process at once."""
        self.supervisor.kill()
        (self.data_dir / "run" / "state.json").unlink(missing_ok=True)

    @property
    def _runs_apache_kafka(self) -> bool:
        return self.broker.embedded and bool(self.settings.kafka_home)

    def _broker_command(self) -> tuple[str, ...]:
        if self._runs_apache_kafka:
            home, data_dir = Path(self.settings.kafka_home), self.data_dir / "kafka-apache"
            paths = str(home.absolute()), str(data_dir)
            return (*_python("radar.local.apache_kafka"), *paths, *_text(self.broker))
        data_dir = self.data_dir / "kafka"
        return (*_python("radar.local.broker"), str(data_dir), *_text(self.broker))

    def _database_command(self) -> tuple[str, ...]:
        data_dir = self.data_dir / "clickhouse"
        host, port = _text(self.database)
        return (
            *_python("radar.local.clickhouse"),
            *("--path", str(data_dir), "--host", host, "--port", port),
            # A program that reads data at rest leaves them seconds after its last question.
            *("--wait-seconds", str(DATA_LEFT_WITHIN_S)),
            *("--user", self.settings.clickhouse_user),
            # Simulated data is not worth a backup, and must not be between those of real data.
            *(() if self.simulation else ("--backups", str(backup_folder(self.settings)))),
        )

    def _simulator_command(
        self, simulation: Simulation, simulated: SimulatorProcess
    ) -> tuple[str, ...]:
        return (
            *("simulate", "--exchange", simulated.exchange),
            *("--port", str(simulated.port), "--seed", str(simulation.seed)),
            *("--symbols", str(simulation.symbols)),
            *("--trades-per-second", str(simulation.trades_per_s)),
            *("--depth-per-second", str(simulation.depth_per_s)),
            *("--ledger", str(simulated.ledger_path)),
        )

    def _environment(self) -> dict[str, str]:
        password = self.settings.clickhouse_password.get_secret_value()
        variables = {"LOG_FORMAT": "json", "CLICKHOUSE_PASSWORD": password}
        if self.broker.embedded and not self._runs_apache_kafka:
            # Members that join it within the same second may wait for each other for ever.
            variables["KAFKA_JOIN_TIMEOUT_SECONDS"] = "5"
        if self.simulation:
            variables["EXCHANGE_PROXY"] = ""
            for each in self.simulated:
                name, host = each.exchange.upper(), f"127.0.0.1:{each.port}"
                variables[f"{name}_WS_URL"] = f"ws://{host}"
                variables[f"{name}_REST_URL"] = f"http://{host}"
        return variables

    def _named(self, worker: str) -> dict[str, str]:
        """Return the option that names a worker in its group, the same after each restart.

        In a shared broker, another deployment has workers of the same names.
        """
        shared = not self.broker.embedded
        name = f"{worker}-{deployment_id(self.data_dir)}" if shared else worker
        return {"WORKER_ID": name}

    async def _start_store(self, name: str, command: tuple[str, ...]) -> None:
        await self.supervisor.start(ChildSpec(name, command, self._environment()))

    async def _start_exchanges(self) -> None:
        if self.simulation is None:
            return
        for old in self.data_dir.glob(data_directory.LEDGERS):
            old.unlink()
        for each in self.simulated:
            command = self._simulator_command(self.simulation, each)
            await self.supervisor.start(
                ChildSpec(
                    each.process, command, self._environment(), forked=True, serves_metrics=True
                )
            )
        for each in self.simulated:
            await self._answers(each.process, Address("127.0.0.1", each.port, embedded=True))

    async def _start_dashboard(self) -> None:
        if self.dashboard is None:
            return
        host, port = _text(self.dashboard)
        command = ("dashboard", "--host", host, "--port", port)
        await self.supervisor.start(
            ChildSpec("dashboard", command, self._environment(), serves_metrics=True, forked=True)
        )

    async def _prepare_topics(self) -> Cluster:
        # A client without a broker waits longer and longer before it tries again.
        await self._answers("kafka", self.broker)
        cluster = Cluster(self.settings)
        await self._until_done(lambda: cluster.wait_until_up(5.0), "kafka")
        if self.settings.kafka_group_protocol == "consumer":
            group = next(iter(DATASETS.values())).group
            await asyncio.to_thread(cluster.session_timeout_s, group)
        await asyncio.to_thread(self._create_topics, cluster)
        self._letters_before = await asyncio.to_thread(_ends_of_dead_letters, cluster)
        return cluster

    def _create_topics(self, cluster: Cluster) -> None:
        topics = [
            name
            for dataset in DATASETS.values()
            for name in (dataset.topic, dataset.dead_letter_topic)
        ]
        address = host_port(self.broker.host, self.broker.port)
        if not self.broker.embedded:
            self._joining.check("KAFKA_BROKER", address, data_in_kafka(cluster))
        self._refuse_other(kafka_origin.read(cluster), f"Kafka at {address}", "KAFKA_BROKER")
        cluster.create_topics(topics)
        if not self.broker.embedded:
            self._joining.remember(address, data_in_kafka(cluster))

    def _refuse_other(self, mark: OriginMark | None, store: str, option: str) -> None:
        """Refuse a store of the other origin before the start of processes that would refuse it.

        Raises:
            ConfigurationError: The store holds data of the other origin.
        """
        simulated = self.simulation is not None
        for name in self.settings.exchanges:
            origin = Origin.SIMULATED if simulated else exchange_origin(self.settings, load(name))
            refuse_other(mark, origin, store, "the exchange of this `radar up`", option)

    async def _answers(self, name: str, address: Address) -> None:
        def is_up() -> None:
            if not addresses.answers(address.host, address.port):
                raise StoreUnavailable(
                    f"no server answers at {host_port(address.host, address.port)}"
                )

        await self._until_done(is_up, name)

    async def _start_role(
        self, name: str, command: tuple[str, ...], variables: dict[str, str]
    ) -> None:
        environment = self._environment() | variables
        await self.supervisor.start(
            ChildSpec(name, command, environment, serves_metrics=True, forked=True)
        )

    async def _until_done(self, action: Callable[[], object], name: str) -> None:
        child = self.supervisor.children.get(name)
        deadline_s = time.monotonic() + (START_TIMEOUT_S if child else ANSWER_TIMEOUT_S)
        while True:
            try:
                await asyncio.to_thread(action)
            except (BrokerUnavailable, StoreUnavailable) as error:
                gave_up = child is not None and child.restarts >= 2
                if gave_up or time.monotonic() > deadline_s:
                    failed = "did not start" if child else "does not answer"
                    raise RadarError(f"{name} {failed}: {self._why(name, error)}") from error
                await asyncio.sleep(0.05)
            else:
                return

    def _why(self, name: str, error: Exception) -> str:
        child = self.supervisor.children.get(name)
        if child is None:
            return str(error)
        lines = child.log_path.read_text(errors="replace").strip().splitlines()
        return f"{lines[-1] if lines else error} (log: {child.log_path})"

    def _migrate(self) -> None:
        if not addresses.answers(self.database.host, self.database.port):
            raise StoreUnavailable(
                f"no server answers at {host_port(self.database.host, self.database.port)}"
            )
        store = Store(self.settings)
        address = host_port(self.database.host, self.database.port)
        try:
            if not self.database.embedded:
                self._joining.check("CLICKHOUSE_PORT", address, data_in_clickhouse(store))
            migrate_as_configured(store, self.settings)
            database = f"database {store.database} at {address}"
            self._refuse_other(store_origin.read(store), database, "CLICKHOUSE_DB")
            if not self.database.embedded:
                self._joining.remember(address, data_in_clickhouse(store))
        finally:
            store.close()

    def _count_dead_letters(self, cluster: Cluster) -> int:
        """Count the dead letters that were written since the start and not replayed."""
        now = _ends_of_dead_letters(cluster)
        return sum(
            letter.place[1] >= before.get(letter.place[0], 0)
            for dataset in DATASETS.values()
            if now[dataset.name] != (before := self._letters_before[dataset.name])
            for letter in DeadLetterReader(cluster, dataset).open()
        )

    async def _quiesce(self, stop: Stop, notes: list[str]) -> dict[str, int]:
        """Make the exchanges quiet; return the number of books of each.

        The producers take their last frames before they close their connections. Invalid frames are
        counted before: a process that has ended cannot answer.
        """
        stop.say("the exchange's last frames arrive")
        books: dict[str, int] = {}

        async def quiesce(each: SimulatorProcess) -> None:
            try:
                summary = await aside(lambda: self._ask_exchange(each, "quiesce"), "quiesce")
                books[each.exchange] = len(summary.depth_frames_by_channel)
            except RadarError as error:
                notes.append(str(error))

        await asyncio.gather(*map(quiesce, self.simulated))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.watch.refresh(), COUNT_TIMEOUT_S)
        return books

    def _ask_exchange(self, simulated: SimulatorProcess, path: str) -> LedgerSummary:
        try:
            content = fetch("127.0.0.1", simulated.port, f"/simulator/{path}", 10.0)
        except (OSError, HTTPException) as error:
            name = f"the simulated exchange {simulated.exchange}"
            raise RadarError(f"{name} does not answer: {error}") from error
        return msgspec.json.decode(content, type=LedgerSummary)

    def _sum_up(
        self, ended_at_s: float, left: Left, books: dict[str, int], notes: list[str]
    ) -> RunSummary:
        since_us = int(self.started_at_s * 1_000_000)
        trades = depth = dead_letters = None
        notes = [*notes]
        if self.simulation:
            try:
                check_store(self.settings)
                store = Store(self.settings)
                try:
                    for each in self.simulated:
                        name = each.exchange
                        found = reconcile_trades(store, each.ledger_path, since_us, exchange=name)
                        trades = trades + found if trades else found
                        stored = reconcile_depth(store, since_us, books.get(name, 0), exchange=name)
                        depth = depth + stored if depth else stored
                finally:
                    store.close()
            except QueryFailed:
                notes.append(
                    "the stored trades were not compared with the sent ones: ClickHouse refused"
                    " the query; `radar doctor` names missing tables"
                )
            except (RadarError, OSError) as error:
                notes.append(f"the stored trades were not compared with the sent ones: {error}")
        if left.waiting is not None:
            try:
                dead_letters = self._count_dead_letters(Cluster(self.settings))
            except BrokerUnavailable as error:
                notes.append(str(error))
        return RunSummary(
            duration_s=ended_at_s - self.started_at_s,
            left=left,
            dead_letters=dead_letters,
            invalid_frames=self.watch.frames_refused,
            restarts={
                name: child.restarts
                for name, child in self.supervisor.children.items()
                if child.restarts
            },
            trades=trades,
            depth=depth,
            notes=notes,
        )

    async def _keep_trimmed(self, cluster: Cluster) -> None:
        trimming = Trimming()
        while True:
            await asyncio.sleep(TRIM_EVERY_S)
            try:
                await asyncio.to_thread(_trim, cluster, trimming)
            except BrokerUnavailable as error:
                _log.warning("cannot trim the embedded broker", error=str(error))

    async def _keep_logs_small(self) -> None:
        files = LogFiles(self.data_dir / "logs", self.settings.log_file_bytes)
        while True:
            await asyncio.to_thread(files.rotate)
            await asyncio.sleep(ROTATE_EVERY_S)

    async def _keep_state(self) -> None:
        orphans = Orphans()
        failed = False
        while True:
            await asyncio.sleep(1)
            orphans.reap()
            try:
                self._write_state()
                failed = False
            except OSError as error:
                # A full disk must not end this task: other commands would always see old processes.
                if not failed:
                    _log.error("cannot write the state", error=error.strerror)
                failed = True

    def _write_state(self) -> None:
        """Write the state file, which shows other commands (`radar status`) the processes."""
        state = {
            "pid": os.getpid(),
            "pid_start_ticks": start_ticks(os.getpid()),
            "started_at": self.started_at_s,
            "simulated": self.simulation is not None,
            "kafka_broker": host_port(self.broker.host, self.broker.port),
            "clickhouse": host_port(self.database.host, self.database.port),
            "dashboard": addresses.url(self.dashboard.host, self.dashboard.port)
            if self.dashboard
            else "",
            "processes": [
                {
                    "name": name,
                    "state": child.state,
                    "pid": child.pid,
                    "restarts": child.restarts,
                    "metrics_port": child.metrics_port,
                }
                for name, child in self.processes.items()
            ],
        }
        path = self.data_dir / "run" / "state.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(state, indent=1))
        fresh.replace(path)


@contextlib.asynccontextmanager
async def open_pipeline(
    settings: Settings, simulation: Simulation | None, *, join: bool = False
) -> AsyncIterator[Pipeline]:
    """Decide on addresses, lock the data directory and provide a pipeline.

    Simulated data has a directory of its own, so that it never mixes with recorded data.

    Args:
        settings: The options.
        simulation: The simulated exchange; None is the real one.
        join: Record into stores that hold the data of another deployment.

    Raises:
        ConfigurationError: An address is taken, the dashboard needs a token, another `radar up`
            uses the data, or the embedded ClickHouse cannot do what an option wants.
    """
    if settings.dashboard_port:
        addresses.check_dashboard(settings)
    data_dir = data_directory.prepare(settings, simulated=simulation is not None)
    with data_directory.locked(data_dir) as children:
        broker, database = _broker(settings), addresses.clickhouse(settings)
        if database.embedded:
            if settings.cold_after_days:
                raise ConfigurationError(
                    "COLD_AFTER_DAYS needs a ClickHouse server: the embedded one reaches no other"
                    " machine. Set it to 0, and export old days with `radar export`"
                )
            settings = _with_password(settings)
        inherited = (children.fileno(),)
        pipeline = Pipeline(settings, data_dir, broker, database, simulation, inherited, join=join)
        try:
            yield pipeline
        finally:
            pipeline.kill()


def _broker(settings: Settings) -> Address:
    """Decide on the broker; check that this machine has all that it needs."""
    address = addresses.kafka(settings)
    if address.embedded and settings.kafka_home:
        apache_kafka.java(Path(settings.kafka_home))
    return address


def _with_password(settings: Settings) -> Settings:
    """Give the embedded ClickHouse a random password, unless the options set one."""
    if settings.clickhouse_password.get_secret_value():
        return settings
    password = SecretStr(secret_file.read_or_create(clickhouse_password_file(settings)))
    return settings.model_copy(update={"clickhouse_password": password})


async def run(
    settings: Settings,
    simulation: Simulation | None,
    duration_s: float | None,
    show: Callable[[Pipeline], Awaitable[None]],
    *,
    join: bool = False,
) -> RunSummary:
    """Run the pipeline until Ctrl-C, SIGTERM or the end of `duration_s`; a second Ctrl-C forces.

    Args:
        settings: The options.
        simulation: The simulated exchange; None is the real one.
        duration_s: Stop after this long.
        show: Shows the pipeline to the user until it is cancelled.
        join: Record into stores that hold the data of another deployment.

    Raises:
        ConfigurationError: An address is taken, or another `radar up` uses the data.
        RadarError: A part did not start. A forced stop ends the process.
    """
    stop = asyncio.Event()
    forced = asyncio.Event()

    def on_signal() -> None:
        (forced if stop.is_set() else stop).set()

    async with open_pipeline(settings, simulation, join=join) as pipeline:
        # Not before: no process is started yet, and opening may wait long. SIGHUP: the terminal was
        # closed.
        for number in handled(signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, on_signal)
        work = asyncio.create_task(_run(pipeline, stop, duration_s, show))
        force = asyncio.create_task(forced.wait())
        await asyncio.wait({work, force}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            pipeline.kill()
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError, RadarError):
                await work
            # Threads may wait for answers of the killed stores, and Python would wait for them.
            sys.stderr.write("radar: stopped by force; unstored messages are still in Kafka\n")
            sys.stderr.flush()
            os._exit(1)
        force.cancel()
        return work.result()


async def _run(
    pipeline: Pipeline,
    stop: asyncio.Event,
    duration_s: float | None,
    show: Callable[[Pipeline], Awaitable[None]],
) -> RunSummary:
    shown = asyncio.ensure_future(show(pipeline))
    try:
        starting = asyncio.create_task(pipeline.start())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            raise RadarError("stopped while starting")
        starting.result()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(stopped), duration_s)
        stopped.cancel()
        stop.set()
        return await pipeline.stop()
    finally:
        shown.cancel()
        await asyncio.gather(shown, return_exceptions=True)


def _ends_of_dead_letters(cluster: Cluster) -> dict[str, dict[int, int]]:
    found = cluster.lags(
        {dataset.dead_letter_topic: dataset.group for dataset in DATASETS.values()}
    )
    return {
        dataset.name: {lag.partition: lag.end for lag in found[dataset.dead_letter_topic]}
        for dataset in DATASETS.values()
    }


def _trim(cluster: Cluster, trimming: Trimming) -> None:
    """Delete the messages that every worker has committed, except for the newest ones."""
    deletable = trimming.deletable(cluster.lags(groups()), time.monotonic())
    for topic, offsets in deletable.items():
        cluster.delete_records_before(topic, offsets)


def _python(module: str) -> tuple[str, ...]:
    return sys.executable, "-m", module


def _text(address: Address) -> tuple[str, str]:
    return address.host, str(address.port)
