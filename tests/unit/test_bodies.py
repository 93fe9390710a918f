"""Received bodies of the embedded ClickHouse server, and their budget."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from chdb_server import bodies, protocol
from chdb_server.bodies import Bodies
from chdb_server.errors import Rejected


class Source:
    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.finished = not pieces

    async def next(self) -> bytes:
        piece = self._pieces.pop(0)
        self.finished = not self._pieces
        return piece


@pytest.mark.parametrize("in_memory_bytes", [1000, 25, 0])
def test_body_is_whole_in_memory_and_on_the_disk(in_memory_bytes: int) -> None:
    async def received() -> bytes:
        async with Bodies(in_memory_bytes).receive(Source(*[b"0123456789"] * 7, b"", b"x")) as got:
            return b"".join(got)

    assert asyncio.run(received()) == b"0123456789" * 7 + b"x"


def test_small_pieces_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "PIECE_BYTES", 4)

    async def received() -> list[bytes]:
        async with Bodies().receive(Source(*[b"ab"] * 5)) as got:
            return list(got)

    assert asyncio.run(received()) == [b"abab", b"abab", b"ab"]


def test_bodies_beyond_the_budget_are_refused_until_others_have_ended() -> None:
    async def run() -> None:
        budget = Bodies(in_memory_bytes=10, all_bytes=100)
        async with AsyncExitStack() as opened:
            for _ in range(3):
                await opened.enter_async_context(budget.receive(Source(b"a" * 30)))
            with pytest.raises(Rejected) as caught:
                await opened.enter_async_context(budget.receive(Source(b"a" * 11)))
            assert protocol.status_of(caught.value.code) == 503
            await opened.enter_async_context(budget.receive(Source(b"a" * 10)))
        async with budget.receive(Source(b"a" * 100)) as got:
            assert b"".join(got) == b"a" * 100

    asyncio.run(run())


def test_one_body_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_BODY_BYTES", 100)

    async def run() -> None:
        async with Bodies().receive(Source(b"a" * 60, b"a" * 60)):
            pass

    with pytest.raises(Rejected, match="more than 100 bytes"):
        asyncio.run(run())
