"""What tests of workers share: messages, and what became of them."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import confluent_kafka

from radar.codec import message_format
from radar.datasets import DEPTH, TRADES, Dataset
from radar.kafka import Cluster, Publisher
from radar.records import BookSide, DepthSnapshot, Trade, TradeSide
from radar.settings import Settings
from radar.store.client import Store
from support import Process, radar

Start = Callable[..., Process]


def trade_value(n: int, symbol: str = "USDTTMN") -> bytes:
    """Return a trade that differs from those of other numbers."""
    now_us = time.time_ns() // 1000
    trade = Trade(
        source="wallex",
        symbol=symbol,
        base="USDT",
        quote="TMN",
        side=TradeSide.SELL,
        price="31704.5",
        base_amount=str(n + 1),
        event_time_ms=now_us // 1_000_000 * 1000,
        received_at_us=now_us,
    )
    return message_format.encode_trade(trade, f"{n:032x}")


def depth_value(n: int, levels: int = 2) -> bytes:
    """Return a snapshot that differs from those of other numbers."""
    snapshot = DepthSnapshot(
        source="wallex",
        symbol="BTCUSDT",
        base="BTC",
        quote="USDT",
        side=BookSide.BID if n % 2 else BookSide.ASK,
        prices=tuple(100.5 - k / 4 if n % 2 else 101.0 + k for k in range(levels)),
        quantities=tuple(1.0 + k for k in range(levels)),
        received_at_us=time.time_ns() // 1000 + n,
    )
    return message_format.encode_depth(snapshot)


def publish_trades(settings: Settings, numbers: Iterable[int], symbols: int = 20) -> None:
    """Publish trades of several markets, so over several partitions."""
    publisher = Publisher(settings, TRADES.topic)
    for n in numbers:
        symbol = f"S{n % symbols}TMN"
        publisher.publish(message_format.message_key("wallex", symbol), trade_value(n, symbol))
    assert publisher.flush(20) == 0


def publish(
    settings: Settings, values: Iterable[bytes], dataset: Dataset = TRADES, key: bytes = b"key"
) -> None:
    """Publish messages under one key, so in order into one partition."""
    publisher = Publisher(settings, dataset.topic)
    for value in values:
        publisher.publish(key, value)
        publisher.poll()
    assert publisher.flush(60) == 0


def publish_to(
    settings: Settings,
    partition: int,
    messages: Iterable[tuple[bytes | None, bytes | None]],
    dataset: Dataset = TRADES,
    headers: list[tuple[str, str | bytes | None]] | None = None,
) -> None:
    """Publish messages with any keys, sizes and headers into one partition."""
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": settings.kafka_broker, "message.max.bytes": 100_000_000}
    )
    failed: list[object] = []
    for key, value in messages:
        producer.produce(
            dataset.topic,
            value,
            key,
            partition,
            headers=headers or [],
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
    assert producer.flush(60) == 0
    assert not failed


def publish_numbered(settings: Settings, *numbers: int, partition: int = 0) -> None:
    """Publish trades of one market into one partition."""
    messages = [(b"wallex:USDTTMN", trade_value(n)) for n in numbers]
    publish_to(settings, partition, messages)


def create_topics(settings: Settings) -> None:
    """Create the topics of all datasets."""
    names = [
        name for dataset in (TRADES, DEPTH) for name in (dataset.topic, dataset.dead_letter_topic)
    ]
    Cluster(settings).create_topics(names)


def starting(directory: Path, **environment: str) -> Iterator[Start]:
    """Provide a function that starts workers of trades, each with its own log; end them then."""
    processes: list[Process] = []

    def start(command: list[str] | None = None, **more: str) -> Process:
        log = directory / f"worker-{len(processes)}.log"
        process = Process(command or radar("consume", "trades"), log, **(environment | more))
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.end()


def waiting(settings: Settings, dataset: Dataset = TRADES) -> int:
    """Return how many messages are not committed."""
    return sum(lag.messages for lag in Cluster(settings).lag(dataset.topic, dataset.group))


def stored(store: Store, dataset: Dataset = TRADES) -> int:
    """Return how many rows there are, physically."""
    return int(store.rows(f"SELECT count() FROM {dataset.table}")[0][0])


def letters(settings: Settings, dataset: Dataset = TRADES) -> int:
    """Return how many dead letters there are."""
    return Cluster(settings).topics([dataset.dead_letter_topic])[0].end
