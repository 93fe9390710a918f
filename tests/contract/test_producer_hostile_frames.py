"""Producers and their connections against an exchange that keeps to no rule."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from hostile_exchange import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Peer,
    Script,
    deflated_zeros,
    frame,
    hostile_exchange,
)
from radar.datasets import TRADES
from radar.errors import FeedLost
from radar.kafka import Cluster
from radar.producer import connection
from radar.producer.connection import Connection
from radar.settings import Settings
from support import Process, eventually, peak_bytes, radar, reset_peak_bytes

MEGABYTE = 1 << 20
MAX_FRAME_BYTES = MEGABYTE
TIMEOUT_S = 60.0
COMPRESSED = 4  # among the reserved bits
TRADE = (
    '["USDTTMN@trade",{"isBuyOrder":true,"quantity":"1","price":"%d",'
    '"timestamp":"2026-06-26T11:14:09Z"}]'
)


def says(*data: bytes, flood: bytes = b"", compressed: bool = False) -> Script:
    """Return a script that sends bytes over a WebSocket, and then others for ever."""

    async def script(peer: Peer) -> None:
        await peer.upgrade(compressed=compressed)
        for each in data:
            await peer.send(each)
        if flood:
            await peer.flood(flood)
        await peer.until_gone()

    return script


def answers(head: bytes, flood: bytes = b"") -> Script:
    """Return a script that answers the request for a WebSocket with something else."""

    async def script(peer: Peer) -> None:
        await peer.send(head)
        if flood:
            await peer.flood(flood)
        await peer.until_gone()

    return script


class Attack(NamedTuple):
    """What an exchange does, and the reason for which the connection ends."""

    script: Script
    reason: str
    growth_bytes: int = 16 * MEGABYTE  # that the producer's memory may show


_HALF = b"a" * (MAX_FRAME_BYTES * 2 // 3)
_BOMB = deflated_zeros(1 << 30)
assert len(_BOMB) < MAX_FRAME_BYTES
_ALLOWED_BOMB = frame(deflated_zeros(MAX_FRAME_BYTES - 1), reserved=COMPRESSED)
_BOMB_PART = deflated_zeros(8 * MEGABYTE)

# The floods never end by themselves, and nobody answers the close frame.
ATTACKS = {
    # Too large
    "large frame": Attack(says(frame(b"a" * (MAX_FRAME_BYTES + 1))), "overflow"),
    "length without content": Attack(says(frame(length=1 << 40)), "overflow"),
    "endless content": Attack(says(frame(length=(1 << 63) - 1), flood=b"a"), "overflow"),
    "large message of parts": Attack(
        says(frame(_HALF, fin=False), frame(_HALF, CONTINUATION)), "overflow"
    ),
    # Compression
    "bomb": Attack(says(frame(_BOMB, reserved=COMPRESSED), compressed=True), "overflow"),
    "binary bomb": Attack(
        says(frame(_BOMB, BINARY, reserved=COMPRESSED), compressed=True), "overflow"
    ),
    "bomb of parts": Attack(
        says(
            frame(_BOMB_PART, fin=False, reserved=COMPRESSED),
            flood=frame(_BOMB_PART, CONTINUATION, fin=False),
            compressed=True,
        ),
        "overflow",
    ),
    "bombs of the largest size": Attack(
        says(flood=_ALLOWED_BOMB, compressed=True), "overflow", 128 * MEGABYTE
    ),
    "broken compression": Attack(
        says(frame(b"\xff" * 9, reserved=COMPRESSED), compressed=True), "closed"
    ),
    "compression not agreed on": Attack(
        says(frame(deflated_zeros(100), reserved=COMPRESSED)), "closed"
    ),
    # Parts
    "empty parts": Attack(
        says(frame(fin=False), flood=frame(b"", CONTINUATION, fin=False)),
        "overflow", 64 * MEGABYTE,
    ),
    "tiny parts": Attack(
        says(frame(b"[", fin=False), flood=frame(b" ", CONTINUATION, fin=False)),
        "overflow", 64 * MEGABYTE,
    ),
    "empty compressed parts": Attack(
        says(
            frame(b"\0", fin=False, reserved=COMPRESSED),
            flood=frame(b"", CONTINUATION, fin=False),
            compressed=True,
        ),
        "overflow", 64 * MEGABYTE,
    ),
    "part of nothing": Attack(says(frame(b"{}", CONTINUATION)), "closed"),
    "message within a message": Attack(
        says(frame(b"{", fin=False), frame(b"{}")), "closed"
    ),
    # Not too many for one read of the socket, but for one message.
    "many parts": Attack(
        says(frame(b"[", fin=False), *[frame(b" ", CONTINUATION, fin=False)] * 3000), "overflow"
    ),
    # Control frames
    "pings whose answers are not read": Attack(
        says(flood=frame(b"a" * 125, PING)), "overflow"
    ),
    "empty pings": Attack(says(flood=frame(b"", PING)), "overflow", 64 * MEGABYTE),
    "empty pongs": Attack(says(flood=frame(b"", PONG)), "overflow", 64 * MEGABYTE),
    "empty messages": Attack(says(flood=frame(b"", TEXT)), "overflow", 64 * MEGABYTE),
    "long ping": Attack(says(frame(b"a" * 126, PING)), "closed"),
    "ping of parts": Attack(says(frame(b"a", PING, fin=False)), "closed"),
    "close with half a code": Attack(says(frame(b"\x03", CLOSE)), "closed"),
    "close with a reserved code": Attack(says(frame(b"\x03\xed", CLOSE)), "closed"),
    "close with no text": Attack(says(frame(b"\x03\xe8\xff\xfe", CLOSE)), "closed"),
    "close that is never followed": Attack(says(frame(b"\x03\xe8", CLOSE)), "closed"),
    # Frames that do not exist
    **{f"opcode {n}": Attack(says(frame(b"", n)), "closed") for n in (3, 7, 11, 15)},
    **{f"reserved bits {n}": Attack(says(frame(b"{}", reserved=n)), "closed") for n in (1, 2, 7)},
    "masked": Attack(says(frame(b"{}", masked=True)), "closed"),
    "flood of noise": Attack(says(flood=bytes(range(256))), "closed"),
    # No WebSocket
    "silence": Attack(answers(b""), "refused"),
    "endless header": Attack(answers(b"HTTP/1.1 101 X\r\nA: ", b"a"), "refused"),
    "endless headers": Attack(answers(b"HTTP/1.1 101 X\r\n", b"A: b\r\n"), "refused"),
    "endless line": Attack(answers(b"", b"a"), "refused"),
    "endless body": Attack(answers(b"HTTP/1.1 403 X\r\n\r\n", b"b"), "refused"),
    "large body": Attack(
        answers(b"HTTP/1.1 502 X\r\nContent-Length: 1000000000000\r\n\r\n", b"b"), "refused"
    ),
    "another protocol": Attack(answers(b"SSH-2.0-OpenSSH_9.9\r\n"), "refused"),
    "no acceptance": Attack(
        answers(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"), "refused"
    ),
    "wrong acceptance": Attack(
        answers(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"), "refused"
    ),
    "page": Attack(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), "refused"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_connection_under_attack_ends_with_its_reason(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack = ATTACKS[name]
    if attack.reason == "refused":
        monkeypatch.setattr(connection, "OPEN_TIMEOUT_S", 1.0)
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT_S", 0.3)
    # The library's own ping would end it as well, if much later.
    monkeypatch.setattr(connection, "PING_INTERVAL_S", 2 * TIMEOUT_S)

    async def suffer() -> str:
        async with hostile_exchange(itertools.repeat(attack.script)) as exchange:
            opened = None
            try:
                opened = await Connection.open(
                    f"ws://127.0.0.1:{exchange.port}", proxy="", max_frame_bytes=MAX_FRAME_BYTES
                )
                while True:
                    await opened.receive()
            except FeedLost as lost:
                return lost.reason
            finally:
                if opened is not None:
                    opened.abort()
                    await opened.close()

    async def in_time() -> str:
        async with asyncio.timeout(TIMEOUT_S):
            return await suffer()

    assert asyncio.run(in_time()) == attack.reason


# One of each sort; what is not read is also not answered.
SURVIVED = [
    "length without content", "bomb", "bomb of parts", "bombs of the largest size", "empty parts",
    "pings whose answers are not read", "empty pings", "masked", "another protocol",
]  # fmt: skip


def test_producer_survives_every_sort_of_attack_and_goes_on(
    kafka_settings: Settings, tmp_path: Path
) -> None:
    cluster = Cluster(kafka_settings)
    cluster.create_topics([TRADES.topic])
    log = tmp_path / "producer.log"

    async def suffer() -> None:
        go_on = asyncio.Event()

        def scripts() -> Iterator[Script]:
            for number in itertools.count():
                yield friendly(number, go_on)
                yield ATTACKS[SURVIVED[number]].script

        async with hostile_exchange(scripts()) as exchange:
            process = Process(
                radar("produce", "trades"),
                log,
                EXCHANGE_WS_URL=f"ws://127.0.0.1:{exchange.port}",
                EXCHANGE_REST_URL=f"http://127.0.0.1:{exchange.port}",
                RECONNECT_MAX_SECONDS="0.1",
                LOG_FORMAT="json",
            )
            try:
                await until_stored(1)
                for number, name in enumerate(SURVIVED):
                    before = reset_peak_bytes(process.pid)
                    go_on.set()
                    await until_stored(number + 2)
                    growth = peak_bytes(process.pid) - before
                    assert growth < ATTACKS[name].growth_bytes, f"{name}: {growth} bytes"
                    assert process.lives
            finally:
                await asyncio.to_thread(process.end)

    async def until_stored(trades: int) -> None:
        def stored() -> bool:
            return cluster.topics([TRADES.topic])[0].end >= trades

        await asyncio.to_thread(eventually, stored, f"{trades} trades are stored")

    asyncio.run(suffer())
    ends = [
        # An attack that is faster than our subscriptions is not yet a connection.
        event.get("reason") or event["detail"].partition(":")[0]
        for event in map(json.loads, log.read_text().splitlines())
        if event["event"] in {"connection ended", "cannot connect"}
    ]
    expected = [ATTACKS[name].reason for name in SURVIVED]
    assert ends == [*(each for reason in expected for each in ("closed", reason)), "stopped"]


def friendly(number: int, go_on: asyncio.Event) -> Script:
    """Return a script that sends one trade and closes when told to."""

    async def script(peer: Peer) -> None:
        await peer.upgrade()
        await peer.send(frame((TRADE % (number + 1)).encode()))
        await go_on.wait()
        go_on.clear()

    return script


def test_producer_whose_answer_to_a_ping_comes_too_late_keeps_what_came_behind_the_ping(
    kafka_settings: Settings, tmp_path: Path
) -> None:
    cluster = Cluster(kafka_settings)
    cluster.create_topics([TRADES.topic])
    trades = [frame((TRADE % price).encode()) for price in range(1, 101)]
    # All of it is there before the first of it is looked at, so the connection is closed by then.
    all_at_once = [*trades[:50], frame(b'{"ping":"1"}'), *trades[50:], frame(opcode=CLOSE)]

    async def after_the_subscription(peer: Peer) -> None:
        await peer.upgrade()
        await peer.reader.read(1)
        await peer.send(b"".join(all_at_once))
        await peer.until_gone()

    async def suffer() -> None:
        scripts = itertools.chain([after_the_subscription], itertools.repeat(says()))
        async with hostile_exchange(scripts) as exchange:
            process = Process(
                radar("produce", "trades"),
                tmp_path / "producer.log",
                EXCHANGE_WS_URL=f"ws://127.0.0.1:{exchange.port}",
                EXCHANGE_REST_URL=f"http://127.0.0.1:{exchange.port}",
                RECONNECT_MAX_SECONDS="0.1",
            )
            try:
                await asyncio.to_thread(
                    eventually,
                    lambda: cluster.topics([TRADES.topic])[0].end >= len(trades),
                    f"{len(trades)} trades are stored",
                )
            finally:
                await asyncio.to_thread(process.end)

    asyncio.run(suffer())
