"""Bounds on the clients of the fetch proxy."""

import asyncio
from typing import Any

import pytest

from radar.local import client_requests
from radar.local.client_requests import (
    IDLE_S,
    UNREAD_BYTES,
    UNREAD_S,
    Asked,
    Client,
    ClientRequests,
)


class Writer:
    """A connection's writer and transport with so many unread bytes."""

    def __init__(self, unread: int) -> None:
        self.transport = self
        self._unread = unread
        self.is_open = True

    def get_write_buffer_size(self) -> int:
        return self._unread

    def abort(self) -> None:
        self.is_open = False


class Door:
    """Clients at one moment of the loop's clock."""

    def __init__(self) -> None:
        self.reports: list[str] = []
        self.requests = ClientRequests(lambda error: self.reports.append(str(error)))
        self.now_s = asyncio.get_running_loop().time()
        self.clients: list[Client] = []

    def add(self, age_s: float, unread: int = 0) -> Writer:
        writer: Any = Writer(unread)
        client = Client(asyncio.StreamReader(), writer)
        client.since_s = self.now_s - age_s
        self.clients.append(client)
        found: Writer = writer
        return found


def test_oldest_unread_answers_go_until_the_others_fit() -> None:
    async def check() -> None:
        door = Door()
        part = UNREAD_BYTES // 3 + 1
        young = door.add(UNREAD_S - 4, part)
        oldest = door.add(UNREAD_S + 9, part)
        old = door.add(UNREAD_S + 1, part)
        read = door.add(UNREAD_S + 20)
        door.requests.check_now(door.clients)
        assert [each.is_open for each in (young, oldest, old, read)] == [True, False, True, True]
        (reason,) = door.reports
        assert "not read" in reason

    asyncio.run(check())


def test_answers_that_were_just_asked_for_are_never_too_many() -> None:
    async def check() -> None:
        door = Door()
        writers = [door.add(UNREAD_S - 1, UNREAD_BYTES) for _ in range(5)]
        door.requests.check_now(door.clients)
        assert all(each.is_open for each in writers)

    asyncio.run(check())


def test_only_a_client_that_is_long_idle_and_waits_for_no_answer_makes_room() -> None:
    async def check() -> None:
        door = Door()
        waits, sends, used, idle, idler = (
            door.add(age_s)
            for age_s in (IDLE_S + 9, IDLE_S + 8, IDLE_S - 5, IDLE_S + 1, IDLE_S + 2)
        )
        door.clients[0].unanswered.append(Asked(11, 5, 0, b"group", None, None))
        door.clients[1].is_sending = True
        closed = [door.requests.close_longest_idle(door.clients) for _ in range(1)]
        assert closed == [door.clients[4]]
        assert not idler.is_open
        del door.clients[4]
        assert door.requests.close_longest_idle(door.clients) is door.clients[3]
        del door.clients[3]
        assert door.requests.close_longest_idle(door.clients) is None
        assert [each.is_open for each in (waits, sends, used, idle)] == [True] * 3 + [False]

    asyncio.run(check())


def test_oldest_large_request_fails_when_all_hold_too_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_requests, "UNFINISHED_BYTES", 300_000)
    half = (200_000).to_bytes(4, "big") + b"\0\0\0\7" + bytes(150_000)

    async def check() -> None:
        door = Door()
        first, second = door.add(0), door.add(0)
        reading = [asyncio.ensure_future(door.requests.read(each)) for each in door.clients]
        for client in door.clients:
            client.reader.feed_data(half)
            await asyncio.sleep(0.01)
        assert (first.is_open, second.is_open) == (False, True)
        door.clients[0].reader.feed_eof()
        door.clients[1].reader.feed_data(bytes(200_000 - 150_002))
        assert len(await reading[1]) == 200_004
        with pytest.raises(asyncio.IncompleteReadError):
            await reading[0]

    asyncio.run(check())
