"""Connections whose exchange does not answer pings in time."""

import asyncio
import contextlib
import itertools

import pytest
import uvloop

from hostile_exchange import TEXT, Peer, Script, frame, hostile_exchange
from radar.errors import FeedLost
from radar.producer import connection
from radar.producer.connection import Connection

TIMEOUT_S = 60.0
PING_S = 0.1
MESSAGE = frame(b"x" * 1000, opcode=TEXT)


async def silent(peer: Peer) -> None:
    await peer.upgrade()
    await peer.until_gone()


async def talking(peer: Peer) -> None:
    await peer.upgrade()
    for _ in range(50):
        await peer.send(MESSAGE)
        await asyncio.sleep(PING_S / 2)
    await peer.until_gone()


async def sending_much(peer: Peer) -> None:
    await peer.upgrade()
    await peer.send(MESSAGE * 8000)
    await peer.until_gone()


async def cutting(peer: Peer) -> None:
    await peer.upgrade()
    await peer.send(MESSAGE * 400)
    await asyncio.sleep(5 * PING_S)  # until the other end's kernel has it all
    peer.reset()


def received(script: Script, messages: int, monkeypatch: pytest.MonkeyPatch, wait_s: float) -> int:
    """Receive so many messages, after a while in which nothing is read; return how many came."""
    monkeypatch.setattr(connection, "PING_INTERVAL_S", PING_S)
    monkeypatch.setattr(connection, "PING_TIMEOUT_S", PING_S)

    async def receive() -> int:
        async with asyncio.timeout(TIMEOUT_S), hostile_exchange(itertools.repeat(script)) as peer:
            opened = await Connection.open(
                f"ws://127.0.0.1:{peer.port}", proxy="", max_frame_bytes=1 << 20
            )
            count = 0
            try:
                await asyncio.sleep(wait_s)
                with contextlib.suppress(FeedLost):
                    while count < messages:
                        await opened.receive()
                        count += 1
            finally:
                opened.abort()
                await opened.close()
            return count

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as producers run
        return runner.run(receive())


def test_connection_from_which_nothing_comes_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    assert received(silent, 1, monkeypatch, 0) == 0


def test_connection_that_brings_messages_instead_of_pongs_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert received(talking, 50, monkeypatch, 0) == 50


def test_connection_that_is_not_read_for_long_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert received(sending_much, 8000, monkeypatch, 10 * PING_S) == 8000


def test_connection_that_is_cut_before_it_is_read_loses_nothing_by_its_own_ping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert received(cutting, 400, monkeypatch, 10 * PING_S) == 400
