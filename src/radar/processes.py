"""Assembles each process of radar from its parts."""

import asyncio
import gc
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import structlog

from radar.datasets import Dataset
from radar.early_signals import SIGNAL_EXIT
from radar.errors import BrokerUnavailable, ConfigurationError, StoreUnavailable
from radar.kafka import Cluster
from radar.process import handled
from radar.settings import Settings
from radar.telemetry.health import Health

if TYPE_CHECKING:
    from radar.consumer.worker import Worker
    from radar.store.client import Store
    from radar.telemetry.checks import Check
    from radar.telemetry.connections import Connections
    from radar_simulator import SimulatorOptions

_Result = TypeVar("_Result")
RETRY_S = 1.0
LEAVE_START_S = 5.0
GC_THRESHOLD = 200_000
EXAMINE_AFTER_S = 20.0
EXAMINE_WITHIN_S = 300.0  # a query of a busy day, which holds up the loop
START_WITHIN_S = 120.0  # several queries to a slow store, one after the other

_log = structlog.get_logger()


def produce(settings: Settings, dataset: Dataset) -> None:
    """Record one dataset from the exchange into Kafka until SIGTERM or SIGINT; blocks.

    Raises:
        ConfigurationError: The exchange does not know a market of SYMBOLS.
        BrokerUnavailable: Accepted messages could not be delivered.
    """
    import uvloop

    from radar.producer.producer import run
    from radar.telemetry.connections import Connections

    connections = Connections()
    health = _serve_health(settings, connections)
    cluster = Cluster(settings)
    checks = {"kafka": lambda: _ask_kafka(cluster, dataset)}

    async def until_stopped() -> None:
        stop = _stop_event()
        beating = asyncio.create_task(health.keep_beating())
        try:
            await run(settings, dataset, stop, health, connections)
        finally:
            beating.cancel()

    with (
        _checking(settings, health, checks),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(until_stopped())


class MakeWorker(Protocol):
    """Creates a worker: the class itself, or a variation of it."""

    def __call__(
        self, settings: Settings, dataset: Dataset, store: "Store", topic_id: str, *, health: Health
    ) -> "Worker":
        """Return a worker that has joined its group."""


def consume(
    settings: Settings, datasets: Sequence[Dataset], make_worker: MakeWorker | None = None
) -> None:
    """Store datasets from Kafka into ClickHouse until SIGTERM or SIGINT; blocks.

    Args:
        settings: The options.
        datasets: The datasets to store. Several take turns, so only quiet ones may be together.
        make_worker: Tests run a worker that dies at a crash point, or a deliberately wrong one.

    Raises:
        WorkerFenced: Another worker with the same WORKER_ID took this one's place.
        BrokerUnavailable: Kafka did not return the committed offsets.
        ClientHangs: The Kafka library does not come back; the process must end.
        ConfigurationError: The database was made by another version of radar.
    """
    from radar.consumer.lag import LagGauge
    from radar.consumer.worker import Worker, take_turns
    from radar.store.client import Store
    from radar.store.migrate import migrate_as_configured
    from radar.telemetry.checks import CHECK_TIMEOUT_S

    health = _serve_health(settings)
    starting = threading.Event()
    starting.set()
    stopping = _stop_on_signals(starting)
    cluster = Cluster(settings)
    topics = [name for each in datasets for name in (each.topic, each.dead_letter_topic)]
    _persist(lambda: cluster.create_topics(topics), stopping, health)
    # The readiness check uses a store of its own, in another thread.
    store, checked_store = Store(settings), Store(settings, timeout_s=CHECK_TIMEOUT_S)
    try:
        _persist(lambda: migrate_as_configured(store, settings), stopping, health)

        def join(dataset: Dataset) -> Worker:
            topic_id = cluster.topic_id(dataset.topic)
            own = health if len(datasets) == 1 else health.part(dataset.name)
            return (make_worker or Worker)(settings, dataset, store, topic_id, health=own)

        joined = [_persist(partial(join, dataset), stopping, health) for dataset in datasets]
        workers = [worker for worker in joined if worker is not None]
        if len(workers) == len(datasets):
            # By default Python walks all objects again and again while blocks are decoded, which
            # doubles their cost. The blocks hold no cycles.
            gc.freeze()
            gc.set_threshold(GC_THRESHOLD)
            gauges = [LagGauge(dataset) for dataset in datasets]

            def check_kafka() -> None:
                for dataset, worker, gauge in zip(datasets, workers, gauges, strict=True):
                    gauge.show(_ask_kafka(cluster, dataset), worker.next_offsets.copy())

            with _checking(settings, health, {"kafka": check_kafka, "store": checked_store.ping}):
                health.clear("start")
                starting.clear()
                take_turns(workers, stopping)
    finally:
        store.close()


def simulate(options: "SimulatorOptions", settings: Settings, show: Callable[..., None]) -> None:
    """Run the simulated exchange until SIGTERM or SIGINT; blocks.

    Args:
        options: How it behaves.
        settings: The options of radar, which name the port for its health.
        show: Called with host and port once connections are accepted.

    Raises:
        ConfigurationError: A port is taken or the ledger's file cannot be opened.
        OSError: The ledger's disk failed.
    """
    from radar_simulator import SimulatorError, main

    health = _serve_health(settings)
    beating: list[asyncio.Task[None]] = []

    def ready(host: str, port: int) -> None:
        beating.append(asyncio.get_running_loop().create_task(health.keep_beating()))
        health.clear("start")
        show(host, port)

    try:
        main(options, ready, handled(signal.SIGTERM, signal.SIGINT))
    except SimulatorError as error:
        raise ConfigurationError(str(error)) from error


def dashboard(settings: Settings, show: Callable[[str], object]) -> None:
    """Serve the dashboard until SIGTERM or SIGINT; blocks.

    Args:
        settings: The options.
        show: Called with its URL once it answers.

    Raises:
        ConfigurationError: The address is taken, or is reached by others and has no token.
    """
    from radar.status import deployment
    from radar.status.collect import Observer
    from radar.store.client import Store
    from radar.telemetry.checks import CHECK_TIMEOUT_S
    from radar.ui.web.app import serve

    settings = deployment.find(settings).reach(settings)
    # Kafka's client logs a missing broker several times a second; the overview shows it once.
    logging.getLogger("confluent").setLevel(logging.CRITICAL)
    health = _serve_health(settings)
    asked_store = Store(settings, timeout_s=CHECK_TIMEOUT_S)
    beating: list[asyncio.Task[None]] = []

    def ready(url: str) -> None:
        beating.append(asyncio.get_running_loop().create_task(health.keep_beating()))
        health.clear("start")
        show(url)

    with _checking(settings, health, {"store": asked_store.ping}):
        serve(settings, Observer(settings).observe, ready)


def examine(settings: Settings) -> None:
    """Examine the recording again and again until SIGTERM or SIGINT; blocks.

    Raises:
        ConfigurationError: The port of the health is taken.
    """
    from radar.store.client import Store
    from radar.telemetry.checks import CHECK_TIMEOUT_S

    health = _serve_health(settings)
    store, asked_store = Store(settings), Store(settings, timeout_s=CHECK_TIMEOUT_S)

    async def follow() -> None:
        # The starting pipeline has the machine to itself; its drivers take long to import.
        await asyncio.sleep(EXAMINE_AFTER_S)
        from radar.checks.following import Follower

        await Follower(settings, store, health).run()

    async def until_stopped() -> None:
        stop = _stop_event()
        health.clear("start")
        works = (stop.wait(), follow(), health.keep_beating(EXAMINE_WITHIN_S))
        tasks = [asyncio.create_task(each) for each in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            for each in tasks:
                each.cancel()

    try:
        with _checking(settings, health, {"store": asked_store.ping}):
            asyncio.run(until_stopped())
    finally:
        store.close()


def back_up(settings: Settings) -> None:
    """Make backups regularly until SIGTERM or SIGINT; blocks.

    Raises:
        ConfigurationError: The port of the health is taken.
    """
    from radar.backup.run import follow
    from radar.status import deployment

    settings = deployment.find(settings).reach(settings)
    health = _serve_health(settings)
    starting = threading.Event()
    with _checking(settings, health, {}):
        follow(settings, health, _stop_on_signals(starting))


def send_alerts(settings: Settings) -> None:
    """Observe the pipeline and send alerts until SIGTERM or SIGINT; blocks.

    Raises:
        ConfigurationError: ALERT_URLS is empty or wrong, or the port of the health is taken.
    """
    from radar.alerts.run import follow
    from radar.alerts.services import configured

    services = configured(settings)
    # Kafka's client logs a missing broker several times a second; one alert is enough.
    logging.getLogger("confluent").setLevel(logging.CRITICAL)
    health = _serve_health(settings)
    with _checking(settings, health, {}):
        follow(settings, services, health, _stop_on_signals(threading.Event()))


def _stop_event() -> asyncio.Event:
    """Return an event of the running loop that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in handled(signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def _serve_health(settings: Settings, connections: "Connections | None" = None) -> Health:
    """Return the health of the process, and serve it with the metrics if wanted."""
    health = Health()
    health.set("start", "is starting")
    if settings.metrics_port:
        from radar.telemetry.endpoints import serve

        names = (settings.metrics_host, *settings.metrics_hosts)
        serve(settings.metrics_host, settings.metrics_port, health, connections, names)
    return health


def _checking(
    settings: Settings, health: Health, checks: "Mapping[str, Check]"
) -> AbstractContextManager[None]:
    """Run the checks if the health is served."""
    from radar.telemetry.checks import checking

    return checking(health, checks) if settings.metrics_port else nullcontext()


def _ask_kafka(cluster: Cluster, dataset: Dataset) -> dict[int, int]:
    from radar.telemetry.checks import CHECK_TIMEOUT_S

    return cluster.end_offsets(dataset.topic, CHECK_TIMEOUT_S)


def _persist(
    action: Callable[[], _Result], stopping: threading.Event, health: Health
) -> _Result | None:
    """Repeat an action until its server answers; None if a stop comes first."""
    while not stopping.is_set():
        health.beat(START_WITHIN_S)
        try:
            return action()
        except (BrokerUnavailable, StoreUnavailable) as error:
            health.set("start", f"waits: {error}")
            _log.warning("waiting", error=str(error))
            stopping.wait(RETRY_S)
    return None


def _stop_on_signals(starting: threading.Event) -> threading.Event:
    """Return the event that a signal sets.

    While `starting` is set, the process has taken no message yet and may wait for a server that
    does not answer. Then it ends by itself after LEAVE_START_S.
    """
    stopping = threading.Event()

    def stop(number: int, _frame: object) -> None:
        stopping.set()
        if starting.is_set():
            timer = threading.Timer(LEAVE_START_S, leave_start, (number,))
            timer.daemon = True
            timer.start()

    def leave_start(number: int) -> None:
        if starting.is_set():
            _log.warning("stopped while starting")
            os._exit(SIGNAL_EXIT + number)

    for number in handled(signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopping
