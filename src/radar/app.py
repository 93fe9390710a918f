"""Puts the parts together: what each process of radar is made of."""

import asyncio
import gc
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

import structlog

from radar.errors import BrokerUnavailable, StoreUnavailable
from radar.kafka import Cluster
from radar.kinds import Kind
from radar.settings import Settings

if TYPE_CHECKING:
    from radar.consumer.worker import Worker
    from radar.store.client import Store

_Result = TypeVar("_Result")
RETRY_S = 1.0
GC_THRESHOLD = 200_000

_log = structlog.get_logger()


def produce(settings: Settings, kind: Kind) -> None:
    """Record one kind from the exchange into Kafka until SIGTERM or SIGINT; blocks.

    Raises:
        ConfigurationError: The exchange does not know a market of SYMBOLS.
        BrokerUnavailable: Messages that were taken could not be delivered.
    """
    import uvloop

    from radar.observe import metrics
    from radar.producer.run import run

    metrics.serve(settings.metrics_port)

    async def until_stopped() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await run(settings, kind, stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(until_stopped())


class MakeWorker(Protocol):
    """What makes a worker: the class itself, or a variation of it."""

    def __call__(self, settings: Settings, kind: Kind, store: "Store", topic_id: str) -> "Worker":
        """Return a worker that has joined its group."""


def consume(settings: Settings, kind: Kind, make_worker: MakeWorker | None = None) -> None:
    """Store one kind from Kafka into ClickHouse until SIGTERM or SIGINT; blocks.

    Args:
        settings: The options.
        kind: What to store.
        make_worker: Tests run a worker that dies at a crash point, or a deliberately wrong one.

    Raises:
        WorkerFenced: Another worker with the same WORKER_ID took this one's place.
        BrokerUnavailable: Kafka did not tell the committed offsets.
        ClientHangs: The Kafka library does not come back; the process must end.
        ConfigurationError: The database was made by another version of radar.
    """
    from radar.consumer.worker import Worker
    from radar.observe import metrics
    from radar.store.client import Store
    from radar.store.migrate import migrate

    metrics.serve(settings.metrics_port)
    stopping = _stop_on_signals()
    topics = [kind.topic, kind.dead_letter_topic]
    _persist(lambda: Cluster(settings).create_topics(topics), stopping)
    store = Store(settings)
    try:
        _persist(lambda: migrate(store, settings.retention_days), stopping)

        def join() -> Worker:
            topic_id = Cluster(settings).topic_id(kind.topic)
            return (make_worker or Worker)(settings, kind, store, topic_id)

        if (worker := _persist(join, stopping)) is not None:
            # The default looks through everything again and again while blocks are read, which
            # doubles their cost; what they are made of holds no cycles.
            gc.freeze()
            gc.set_threshold(GC_THRESHOLD)
            worker.run(stopping)
    finally:
        store.close()


def _persist(action: Callable[[], _Result], stopping: threading.Event) -> _Result | None:
    """Repeat an action until its server answers; None if told to stop before."""
    while not stopping.is_set():
        try:
            return action()
        except (BrokerUnavailable, StoreUnavailable) as error:
            _log.warning("waiting", error=str(error))
            stopping.wait(RETRY_S)
    return None


def _stop_on_signals() -> threading.Event:
    stopping = threading.Event()

    def stop(_number: int, _frame: object) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return stopping
