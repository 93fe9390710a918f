"""Producers whose topics hold messages that no producer of radar has written."""

import asyncio
import itertools
import json
import time
from collections.abc import Iterable
from typing import Any

from hostile_exchange import Peer, hostile_exchange
from hostile_numbers import options, rest, subscribed, trades
from producing import Topic, producing
from radar.datasets import GAPS, TRADES
from radar.kafka import Cluster, Publisher
from radar.kafka import origin as kafka_origin
from radar.origin import Origin
from radar.settings import Settings


def message(**changes: Any) -> bytes:
    now_us = time.time_ns() // 1000
    written = {
        "v": 1, "kind": "trade", "trade_id": "0" * 32, "source": "binance", "symbol": "AUSDT",
        "base": "A", "quote": "USDT", "side": "buy", "price": "1", "base_amount": "1",
        "event_time_ms": now_us // 1000, "received_at_us": now_us, "native_id": "5",
        "sequence": 5, "event_time_us": now_us // 1000 * 1000,
    }  # fmt: skip
    return json.dumps(written | changes, separators=(",", ":")).encode()


FORGED = (
    b'{"source":"\xff","symbol":"AUSDT","received_at_us":1,"sequence":6}',
    b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    message(received_at_us=10**30, sequence=6),
    message(sequence=1 << 63),
    b'{"source":"binance","symbol":"AUSDT","received_at_us":1,"sequence":100}',
    b"[",
    b"",
)


def forge(settings: Settings, topic: str, values: Iterable[bytes]) -> None:
    publisher = Publisher(settings, topic)
    for value in values:
        publisher.publish(b"key", value)
    assert publisher.flush(10) == 0


def test_forged_messages_neither_end_a_producer_nor_hide_a_hole(kafka_settings: Settings) -> None:
    async def send(peer: Peer) -> None:
        await peer.send(trades("AUSDT", [8]))

    async def record() -> None:
        async with hostile_exchange(itertools.repeat(subscribed(send)), rest()) as served:
            settings = options(kafka_settings, served.port)
            gaps = Topic(settings, GAPS)
            # The newest true message says 5, so the trade 8 proves that 6 and 7 are missing.
            Cluster(settings).create_topics([TRADES.topic])
            forge(settings, TRADES.topic, [message(), *FORGED])
            async with producing(settings, TRADES):
                await gaps.until(lambda: bool(gaps.messages), "the hole")
            (gap,) = gaps.messages
            assert (gap["first_id"], gap["last_id"], gap["missing"]) == (6, 7, 2)
            gaps.close()

    asyncio.run(record())


def test_a_published_time_in_the_future_leaves_a_gap_that_workers_accept(
    kafka_settings: Settings,
) -> None:
    async def send(peer: Peer) -> None:
        await peer.send(trades("AUSDT", [8]))

    async def record() -> None:
        async with hostile_exchange(itertools.repeat(subscribed(send)), rest()) as served:
            settings = options(kafka_settings, served.port)
            gaps = Topic(settings, GAPS)
            Cluster(settings).create_topics([TRADES.topic])
            forge(settings, TRADES.topic, [message(received_at_us=4_000_000_000_000_000)])
            async with producing(settings, TRADES):
                await gaps.until(lambda: bool(gaps.messages), "the hole")
            (gap,) = gaps.messages
            GAPS.decode(json.dumps(gap, separators=(",", ":")).encode())
            gaps.close()

    asyncio.run(record())


def test_forged_marks_of_origin_are_passed_over(kafka_settings: Settings) -> None:
    cluster = Cluster(kafka_settings)
    cluster.create_lasting_topic(kafka_origin.TOPIC)
    forge(
        kafka_settings,
        kafka_origin.TOPIC,
        [b"[" * 100_000, b'"\xff"', b'["real","x",1e17]', b'["real","x",Infinity]'],
    )
    assert kafka_origin.read(cluster) is None
    address = "https://api.binance.com"
    mark = kafka_origin.claim(kafka_settings, Origin.REAL, address)
    assert mark[:2] == ("real", address)
    assert mark == kafka_origin.read(cluster)
