"""Records a simulated or replayed exchange, and keeps the messages as rows of a database."""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np

from producing import Topic, producing
from radar.codec.batch_decoder import Column
from radar.datasets import BOOK_UPDATES, DEPTH, FRAMES, TRADES, Dataset
from radar.replay.pace import FASTEST
from radar.replay.player import Player
from radar.replay.records import Period
from radar.replay.run import ReplayOptions, Running, run
from radar.settings import Settings
from radar.store.client import Store
from radar.store.migrate import migrate

Message = dict[str, Any]
FASTER: dict[str, Any] = {
    "symbols_per_connection": 5,
    "reconnect_max_seconds": 0.5,
    "connection_overlap_seconds": 0.5,
    "depth_interval_seconds": 0.0,
    "repair_requests_per_second": 50.0,
}


def options(settings: Settings, exchange: str, rest_url: str, **changes: Any) -> Settings:
    """Return options that lead a producer to a server of this machine."""
    socket = rest_url.replace("http", "ws") + ("/ws" if exchange == "wallex" else "")
    own = {f"{exchange}_ws_url": socket, f"{exchange}_rest_url": rest_url}
    update = {"exchanges": (exchange,), **own, **FASTER, **changes}
    return settings.model_copy(update=update).of_exchange(exchange)


class Replaying(NamedTuple):
    """A running replay."""

    rest_url: str
    player: Player


class Recording:
    """The messages of one run of the producers of an exchange, from when it is made."""

    def __init__(self, topics: dict[str, Topic]) -> None:
        self._topics = topics
        # Partitions come in any order: those of the run before are all read before this one begins.
        self.read_to_end()
        self._begun = {name: len(topic.messages) for name, topic in topics.items()}

    def messages(self, dataset: Dataset) -> list[Message]:
        """Return the messages of this run."""
        return self._topics[dataset.name].messages[self._begun[dataset.name] :]

    async def until_count(self, counts: dict[str, int], timeout_s: float = 60) -> None:
        """Wait until there are so many messages of each dataset."""
        deadline = time.monotonic() + timeout_s
        for name, topic in self._topics.items():
            while len(topic.messages) - self._begun[name] < counts.get(name, 0):
                assert time.monotonic() < deadline, f"{name}: {self.counts()} of {counts}"
                await asyncio.to_thread(topic.read)

    async def until(self, condition: Callable[[], bool], timeout_s: float = 60) -> None:
        """Wait for messages that fulfil a condition."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"{self.counts()}"
            for topic in self._topics.values():
                await asyncio.to_thread(topic.read)

    def read_to_end(self) -> None:
        """Read all that the topics have by now."""
        for topic in self._topics.values():
            topic.read_to_end()

    def counts(self) -> dict[str, int]:
        """Return the number of messages of each dataset."""
        return {
            name: len(topic.messages) - self._begun[name] for name, topic in self._topics.items()
        }


@contextlib.asynccontextmanager
async def recording(
    settings: Settings,
    *,
    frames: bool = False,
    updates: bool = False,
) -> AsyncIterator[Recording]:
    """Run the producers of trades and depth of an exchange.

    Args:
        settings: Their options.
        frames: Also record frames.
        updates: Also record the updates of books.
    """
    datasets = [TRADES, DEPTH, *([FRAMES] if frames else []), *([BOOK_UPDATES] if updates else [])]
    settings = settings.model_copy(
        update={"record_frames": "all" if frames else "none", "book_updates": updates}
    )
    topics = {each.name: Topic(settings, each) for each in datasets}
    try:
        recorded = await asyncio.to_thread(Recording, topics)
        async with producing(settings, TRADES), producing(settings, DEPTH):
            yield recorded
        await asyncio.to_thread(recorded.read_to_end)
    finally:
        for topic in topics.values():
            topic.close()


def keep(store: Store, dataset: Dataset, messages: Iterable[Message]) -> None:
    """Store messages as a worker does."""
    values = [msgspec.json.encode(message) for message in messages]
    if not values:
        return
    columns = [
        *dataset.read_columns(values),
        Column("kafka_partition", "UInt16", np.zeros(len(values), np.uint16)),
        Column("kafka_offset", "UInt64", np.arange(len(values), dtype=np.uint64)),
    ]
    store.insert(dataset.table, [(len(values), columns)], f"{dataset.name} {time.monotonic_ns()}")


def trade_rows(store: Store, since_us: int = 0) -> list[tuple[Any, ...]]:
    """Return the trades received since a time, without the time of receipt."""
    columns = (
        "symbol, event_time_us, trade_id, native_id, native_sequence, event_time, source, base,"
        " quote, toString(side), toString(price), toString(base_amount)"
    )
    return store.rows(
        f"SELECT {columns} FROM trades WHERE toUnixTimestamp64Micro(received_at) >= {since_us}"
        " ORDER BY ALL"
    )


def book_rows(store: Store) -> dict[tuple[str, str], list[tuple[Any, ...]]]:
    """Return the states of each side of each book without the time of receipt, in their order."""
    columns = "symbol, toString(side), event_time, sequence, verified, prices, quantities"
    found: dict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for row in store.rows(f"SELECT {columns} FROM orderbook_depth FINAL ORDER BY received_at"):
        found[row[:2]].append(row[2:])
    return dict(found)


def update_rows(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Return the updates of each book without the time of receipt, in their order."""
    columns = (
        "symbol, is_snapshot, sequence, bid_prices, bid_quantities, ask_prices, ask_quantities"
    )
    found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    query = f"SELECT {columns} FROM book_updates FINAL ORDER BY received_at, place"
    for symbol, is_snapshot, sequence, *levels in store.rows(query):
        bids, asks = (sorted(zip(*levels[n : n + 2], strict=True)) for n in (0, 2))
        found[symbol].append((is_snapshot, sequence, bids, asks))
    return dict(found)


@contextlib.contextmanager
def another(settings: Settings, name: str) -> Iterator[Store]:
    """Provide another migrated database."""
    made = settings.model_copy(update={"clickhouse_db": f"{settings.clickhouse_db}_{name}"})
    store = Store(made)
    migrate(store, made.retention_days)
    try:
        yield store
    finally:
        store.command(f"DROP DATABASE IF EXISTS {store.database}")
        store.close()


@contextlib.asynccontextmanager
async def replaying(
    settings: Settings, period: Period, speed: float = FASTEST, *, wait_s: float = 0.0
) -> AsyncIterator[Replaying]:
    """Replay a period of the database, paused at first."""
    ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    options = ReplayOptions("127.0.0.1", 0, speed, wait_s, is_paused=True, ends=False)
    task = asyncio.create_task(
        run(settings, period, options, ready.set_result, lambda _: None, stop)
    )
    task.add_done_callback(lambda _: ready.done() or ready.cancel())
    try:
        running = await ready
    except asyncio.CancelledError:
        await task  # raises its error
        raise
    try:
        yield Replaying(f"http://127.0.0.1:{running.port}", running.player)
    finally:
        stop.set()
        await task
