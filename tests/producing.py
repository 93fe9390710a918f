"""Producers in the test's own event loop against the simulated exchange, and what they publish."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from prometheus_client import REGISTRY

from radar.codec.message_format import as_json
from radar.datasets import Dataset
from radar.decimals import canonical
from radar.kafka import Cluster, client_config
from radar.producer.producer import run
from radar.settings import Settings
from radar.telemetry.health import Health
from radar_simulator import LedgerTrade, Simulator

# Listed by the simulated exchange, but not for spot trading.
OTHER_MARKETS = {"GOLD18TMN", "SILVERTMN"}

UNTIL_S = 60.0
EPOCH, MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)


def consumer_of(settings: Settings, dataset: Dataset) -> Consumer:
    """Return a consumer that is at the beginning of a topic, which is created if need be."""
    Cluster(settings).create_topics([dataset.topic])
    # Not a member of a group: those take their time to join, and to leave.
    consumer = Consumer(client_config(settings) | {"group.id": "test", "enable.auto.commit": False})
    partitions = range(settings.kafka_num_partitions)
    consumer.assign([TopicPartition(dataset.topic, each, OFFSET_BEGINNING) for each in partitions])
    return consumer


class Topic:
    """All messages of a topic, read as they come."""

    def __init__(self, settings: Settings, dataset: Dataset) -> None:
        self.messages: list[dict[str, Any]] = []
        self._consumer = consumer_of(settings, dataset)
        self._next: Counter[int] = Counter()  # the next offset of each partition

    def read(self) -> None:
        for message in self._consumer.consume(10_000, 0.1):
            if message.error() is None:
                self.messages.append(msgspec.json.decode(as_json(message.value() or b"")))
                self._next[message.partition() or 0] = (message.offset() or 0) + 1

    def read_to_end(self) -> None:
        """Read all messages that all partitions have by now."""
        ends = {
            each.partition: self._consumer.get_watermark_offsets(each, timeout=UNTIL_S)[1]
            for each in self._consumer.assignment()
        }
        deadline = time.monotonic() + UNTIL_S
        while any(self._next[partition] < end for partition, end in ends.items()):
            if time.monotonic() > deadline:
                pytest.fail(f"not within {UNTIL_S} s: offsets {ends}; read up to {self._next}")
            self.read()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + UNTIL_S
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"not within {UNTIL_S} s: {what}; {len(self.messages)} messages")
            await asyncio.to_thread(self.read)

    def trades(self) -> Counter[tuple[str, ...]]:
        """Count the stored trades by content: what is delivered again has the same identity."""
        stored = {each["trade_id"]: each for each in self.messages}
        return Counter(
            (each["symbol"], str(each["event_time_ms"]), each["price"], each["base_amount"],
             each["side"])
            for each in stored.values()
        )  # fmt: skip

    def close(self) -> None:
        self._consumer.close()


def sent(trades: list[LedgerTrade]) -> Counter[tuple[str, ...]]:
    """Count the trades of the ledger in the same way; only spot markets are recorded."""
    return Counter(
        (each.symbol, f"{int(datetime.fromisoformat(each.timestamp).timestamp())}000",
         canonical(each.price), canonical(each.quantity), each.side)
        for each in trades
        if each.symbol not in OTHER_MARKETS
    )  # fmt: skip


def happened(trades: list[LedgerTrade]) -> Counter[tuple[str, ...]]:
    """Count the trades of the ledger by their content, in the unit of the records."""
    return Counter(
        (each.symbol, str((datetime.fromisoformat(each.timestamp) - EPOCH) // MILLISECOND),
         canonical(each.price), canonical(each.quantity), each.side)
        for each in trades
    )  # fmt: skip


@contextlib.asynccontextmanager
async def producing(
    settings: Settings, dataset: Dataset, health: Health | None = None
) -> AsyncIterator[asyncio.Task[None]]:
    """Run a producer; its own errors come out at the end."""
    stop = asyncio.Event()
    task = asyncio.create_task(run(settings, dataset, stop, health))
    try:
        yield task
    finally:
        stop.set()
        await task


def options(settings: Settings, sim: Simulator, **changes: Any) -> Settings:
    return settings.model_copy(
        update={
            "exchange_ws_url": sim.ws_url,
            "exchange_rest_url": sim.rest_url,
            "symbols_per_connection": 5,
            "reconnect_max_seconds": 0.5,
            "repair_requests_per_second": 200.0,
        }
        | changes
    )


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def until(condition: Callable[[], bool], timeout_s: float = UNTIL_S) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the simulator announces nothing
            await asyncio.sleep(0.01)
