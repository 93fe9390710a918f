"""Messages as producers send them: markets of the simulator's model, encoded by radar itself."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from confluent_kafka import Producer

from radar.codec import message_format
from radar.datasets import DEPTH, Dataset
from radar.decimals import canonical
from radar.producer.trade_ids import Occurrences, content_of, trade_id
from radar.records import BookSide, DepthSnapshot, Trade, TradeSide
from radar_simulator import market as model
from radar_simulator import wire as exchange

SOURCE = "wallex"
PARTITIONS = 3
SYMBOLS = 60
SEED = 20260701
TWIN_SHARE = 0.05
STEP_S = 0.2
RATE_PER_S = 1000.0  # of the model's clock: how densely the messages lie in time


def json_topic(dataset: Dataset) -> str:
    """Return the topic that holds a dataset's messages as JSON; radar packs snapshots."""
    return f"{dataset.topic}_json" if dataset is DEPTH else dataset.topic


@dataclass(frozen=True)
class Message:
    """A message with its key."""

    key: bytes
    value: bytes


def messages(dataset: Dataset, symbols: int = SYMBOLS) -> Iterator[Message]:
    """Yield messages without end, as far apart in time as at a thousand a second.

    Times begin an hour ago, so nothing is expired and every run has the same distances.
    """
    trades = dataset.name == "trades"
    markets = model.MarketModel(
        seed=SEED,
        symbols=symbols,
        trades_per_s=RATE_PER_S if trades else 20.0,
        depth_per_s=0.0 if trades else RATE_PER_S,
        twin_share=TWIN_SHARE,
    )
    began_s = now_s = time.time() - 3600
    to_message = _trade_messages() if trades else _depth_messages()
    number = 0
    markets.advance(now_s)
    while True:
        now_s += STEP_S
        for event in markets.advance(now_s):
            if isinstance(event, model.SimulatedTrade) is trades:
                number += 1
                yield to_message(event, int((began_s + number / RATE_PER_S) * 1_000_000))


def preload(
    broker: str,
    dataset: Dataset,
    per_partition: int,
    symbols: int = SYMBOLS,
    partitions: int = PARTITIONS,
) -> float:
    """Fill a topic with as many messages in every partition; return their mean size in bytes.

    A market stays in one partition, as its key would have it, until that one is full.
    """
    source = islice(messages(dataset, symbols), per_partition * partitions)
    return publish(broker, dataset, source, per_partition, partitions)


def publish(
    broker: str, dataset: Dataset, source: Iterable[Message], per_partition: int, partitions: int
) -> float:
    """Publish messages, as many to each partition; return their mean size in bytes.

    Those that radar packs are also published as JSON, to a topic of their own.
    """
    as_json = json_topic(dataset)
    producer = Producer(
        {
            "bootstrap.servers": broker,
            "compression.type": "lz4",
            "linger.ms": 20,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 1_048_576,
            "acks": "all",
        }
    )
    partition_of: dict[bytes, int] = {}
    left = [per_partition] * partitions
    size = 0
    for message in source:
        partition = partition_of.setdefault(message.key, len(partition_of) % partitions)
        if not left[partition]:
            partition = partition_of[message.key] = left.index(max(left))
        left[partition] -= 1
        size += len(message.value)
        producer.produce(dataset.topic, message.value, message.key, partition)
        if as_json != dataset.topic:
            value = message_format.as_json(message.value)
            producer.produce(as_json, value, message.key, partition)
        producer.poll(0)
    if unsent := producer.flush(60):
        raise RuntimeError(f"{unsent} messages were not acknowledged")
    return size / (per_partition * partitions)


_ToMessage = Callable[[model.SimulatedTrade | model.DepthDue, int], Message]


def _trade_messages() -> _ToMessage:
    occurrences = Occurrences()

    def to_message(event: model.SimulatedTrade | model.DepthDue, received_at_us: int) -> Message:
        assert isinstance(event, model.SimulatedTrade)
        listing = event.listing
        trade = Trade(
            source=SOURCE,
            symbol=listing.symbol,
            base=listing.base,
            quote=listing.quote,
            side=TradeSide.BUY if event.is_buy else TradeSide.SELL,
            price=canonical(exchange.trade_price(event)),
            base_amount=canonical(exchange.trade_quantity(event)),
            event_time_ms=event.second * 1000,
            received_at_us=received_at_us,
        )
        content = content_of(trade)
        n = occurrences.count(content, received_at_us)
        value = message_format.encode_trade(trade, trade_id(content, n))
        return Message(message_format.message_key(SOURCE, listing.symbol), value)

    return to_message


def _depth_messages() -> _ToMessage:
    def to_message(event: model.SimulatedTrade | model.DepthDue, received_at_us: int) -> Message:
        assert isinstance(event, model.DepthDue)
        listing = event.market.listing
        levels = event.market.side(event.side)
        ticks, lots = 10**listing.price_precision, 10**listing.amount_precision
        snapshot = DepthSnapshot(
            source=SOURCE,
            symbol=listing.symbol,
            base=listing.base,
            quote=listing.quote,
            side=BookSide.BID if event.side is model.Side.BID else BookSide.ASK,
            prices=tuple(level.ticks / ticks for level in levels),
            quantities=tuple(level.lots / lots for level in levels),
            received_at_us=received_at_us,
        )
        return Message(
            message_format.message_key(SOURCE, listing.symbol),
            message_format.encode_depth(snapshot),
        )

    return to_message
