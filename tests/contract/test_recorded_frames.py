"""Recorded frames are what the exchange sent, byte for byte, over restarts of the producer."""

import asyncio
from collections import defaultdict
from typing import Any

import msgspec
import pytest

from cases import others_nightly
from frame_tap import tapped
from market_data import insert
from producing import Topic, producing
from radar.codec import message_format
from radar.datasets import DEPTH, FRAMES, TRADES, Dataset
from radar.records import Frame, FrameKind, Opening
from radar.reparse.frames import frames
from radar.settings import Settings
from radar.store.client import Store
from radar.store.migrate import migrate
from radar.store.retention import retention_days
from radar_simulator import SimulatorOptions, simulator

FAR_US = 1 << 52


def options(name: str, settings: Settings, port: int, **changes: Any) -> Settings:
    return settings.model_copy(
        update={
            "exchanges": (name,),
            f"{name}_ws_url": f"ws://127.0.0.1:{port}",
            f"{name}_rest_url": f"http://127.0.0.1:{port}",
            "reconnect_max_seconds": 0.5,
            "symbols_per_connection": 3,
            "depth_interval_seconds": 0.0,
            "record_frames": "all",
            "max_frame_bytes": 8 * 1024 * 1024,  # the bad frames are above the usual limit
        }
        | changes
    ).of_exchange(name)


async def record(
    name: str, settings: Settings, dataset: Dataset
) -> tuple[list[list[bytes]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Record twice, with a bad frame; return what was sent, frames and records."""
    simulated = SimulatorOptions(exchange=name, symbols=5, trades_per_s=40, depth_per_s=40)
    async with simulator(simulated) as sim, tapped(sim.rest_url) as tap:
        own = options(name, settings, tap.port)
        topic, recorded = Topic(own, FRAMES), Topic(own, dataset)
        for _ in range(2):
            async with producing(own, dataset):
                seen = len(topic.messages)
                await topic.until(lambda seen=seen: len(topic.messages) > seen + 60, "frames")  # type: ignore[misc]
                sim.fault("garbage")
                seen = len(topic.messages)
                await topic.until(lambda seen=seen: len(topic.messages) > seen + 60, "more")  # type: ignore[misc]
        sent = tap.connections()
        topic.read()
        recorded.read()
        topic.close()
        recorded.close()
    return sent, topic.messages, recorded.messages


def encoded(messages: list[dict[str, Any]]) -> list[bytes]:
    return [msgspec.json.encode(each) for each in messages]


@pytest.mark.parametrize(
    ("name", "dataset"),
    others_nightly(
        [("wallex", TRADES), ("nobitex", TRADES), ("kraken", DEPTH), ("binance", DEPTH)]
    ),
)
def test_recorded_frames_are_what_the_exchange_sent(
    name: str, dataset: Dataset, kafka_settings: Settings, store: Store
) -> None:
    sent, messages, records = asyncio.run(record(name, kafka_settings, dataset))
    assert messages
    # The order of delivery does not matter, nor that something comes twice.
    insert(store, FRAMES, encoded(messages[::-1]), "frames")
    insert(store, FRAMES, encoded(messages[: len(messages) // 2]), "again")
    producers = {each["producer"] for each in messages}
    assert len(producers) == 2
    stored = list(frames(store, name, dataset, producers, 0, FAR_US))
    received: dict[str, list[bytes]] = defaultdict(list)
    places: dict[str, list[int]] = defaultdict(list)
    for frame in stored:
        places[frame.connection].append(frame.place)
        if frame.what is FrameKind.RECEIVED:
            received[frame.connection].append(frame.content)
        if frame.what is FrameKind.OPENED:
            opening = msgspec.json.decode(frame.content, type=Opening)
            assert frame.place == 0
            assert opening.markets
    assert all(each == list(range(len(each))) for each in places.values())
    assert sorted(received.values()) == sorted(each for each in sent if each)
    times = {frame.received_at_us for frame in stored}
    assert len(times & {each["received_at_us"] for each in records}) > 20
    assert all(each.received_at_ns > 1e18 and each.monotonic_ns > 0 for each in stored)


def test_frames_that_are_no_text_and_large_ones_are_stored_byte_for_byte(store: Store) -> None:
    size = message_format.FRAME_PART_BYTES
    contents = [
        b"",
        bytes(range(256)) * 40,
        '{"quotes":"\\"", "fa":"تتر"}'.encode(),
        b"\x00\x01" * size,  # six bytes of JSON for each byte
        "\U0001f680".encode() * (size // 4 + 1) + b"!",
        b"\xff" * (2 * size + 1),
        b'"' * size,
    ]
    values = [
        value
        for place, content in enumerate(contents)
        for value in message_format.encode_frame(
            Frame(
                source="wallex",
                record_kind="trades",
                producer="aa",
                connection="bb",
                place=place,
                what=FrameKind.RECEIVED,
                content=content,
                received_at_ns=2_051_222_400_000_000_000 + place,
                monotonic_ns=place,
            )
        )
    ]
    assert max(map(len, values)) < 4 * 1024 * 1024 - 65_536
    for n, value in enumerate(values):
        insert(store, FRAMES, [value], f"frames-{n}")
    stored = list(frames(store, "wallex", TRADES, ["aa"], 0, FAR_US))
    assert [each.content for each in stored] == contents


def test_frames_expire_by_an_option_of_their_own(store: Store) -> None:
    migrate(store, 90, 3)
    assert [retention_days(store, table) for table in ("frames", "trades_master")] == [3, 90]
    migrate(store, 30)
    assert [retention_days(store, table) for table in ("frames", "trades_master")] == [3, 30]


def test_no_frame_is_recorded_without_the_option(kafka_settings: Settings) -> None:
    async def run() -> int:
        async with simulator(SimulatorOptions(symbols=3, trades_per_s=50)) as sim:
            own = options("wallex", kafka_settings, 0).model_copy(
                update={
                    "exchange_ws_url": sim.ws_url,
                    "exchange_rest_url": sim.rest_url,
                    "wallex_ws_url": sim.ws_url,
                    "wallex_rest_url": sim.rest_url,
                    "record_frames": "trades",
                }
            )
            topic, books = Topic(own, FRAMES), Topic(own, DEPTH)
            async with producing(own, DEPTH):
                await books.until(lambda: len(books.messages) > 50, "snapshots")
            topic.read()
            topic.close()
            books.close()
            return len(topic.messages)

    assert asyncio.run(run()) == 0
