"""Records a simulated or replayed exchange, and keeps the messages as rows of a database."""

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec
import numpy as np

from producing import Topic, producing
from radar.codec.batch_decoder import Column
from radar.datasets import BOOK_UPDATES, DEPTH, TRADES, Dataset
from radar.settings import Settings
from radar.store.client import Store

Message = dict[str, Any]
# Radar's own place of a record: its time of receipt, and the chain of updates.
OWN = ("received_at_us", "chain", "place")
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


class Recording:
    """The messages of one run of the producers of an exchange."""

    def __init__(self, topics: dict[str, Topic], before: "Recording | None") -> None:
        self._topics = topics
        self._begun = {name: before.end(name) if before else 0 for name in topics}

    def end(self, name: str) -> int:
        """Return where the messages of the next run begin in a dataset's topic."""
        return len(self._topics[name].messages)

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

    async def rest(self) -> None:
        """Read until no message comes any more for a second."""
        for topic in self._topics.values():
            quiet_since, count = time.monotonic(), len(topic.messages)
            while time.monotonic() - quiet_since < 1:
                await asyncio.to_thread(topic.read)
                if len(topic.messages) > count:
                    quiet_since, count = time.monotonic(), len(topic.messages)

    def counts(self) -> dict[str, int]:
        """Return the number of messages of each dataset."""
        return {
            name: len(topic.messages) - self._begun[name] for name, topic in self._topics.items()
        }


@contextlib.asynccontextmanager
async def recording(
    settings: Settings, before: Recording | None = None, *, updates: bool = False
) -> AsyncIterator[Recording]:
    """Run the producers of trades and depth of an exchange.

    Args:
        settings: Their options.
        before: The run before, whose messages are in the same topics.
        updates: Also return the updates of books.
    """
    datasets = [TRADES, DEPTH, *([BOOK_UPDATES] if updates else [])]
    topics = {each.name: Topic(settings, each) for each in datasets}
    recorded = Recording(topics, before)
    try:
        async with producing(settings, TRADES), producing(settings, DEPTH):
            yield recorded
        await recorded.rest()
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


def trades(messages: Iterable[Message]) -> Counter[str]:
    """Count trades by everything but the time of receipt."""
    return Counter(_text(message) for message in messages)


def books(messages: Iterable[Message]) -> dict[tuple[str, str], list[str]]:
    """Return the states of each side of each book, in their order."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for message in messages:
        found[message["symbol"], message["side"]].append(_text(message))
    return dict(found)


def _text(message: Message) -> str:
    shown = {name: value for name, value in message.items() if name not in OWN}
    return msgspec.json.encode(shown).decode()
