"""The clients of the fetch proxy, and their requests while they arrive: bounded in time and memory.

A client could begin many large requests and never end them. So a request that has begun is complete
within COMPLETE_WITHIN_S. What has arrived of all large requests is at most UNFINISHED_BYTES. Above
it, the request that began first fails: a client of radar sends its request at once, so it is the
last that could become the oldest. Answers that clients do not read have a bound as well.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from operator import attrgetter
from typing import NamedTuple

from radar.local import kafka_requests
from radar.local.kafka_requests import MEBIBYTE, RequestRefused

COMPLETE_WITHIN_S = 10.0
UNFINISHED_BYTES = 128 * MEBIBYTE
# A worker behind a backlog gets 64 MiB at once, and reads them within a second.
UNREAD_BYTES, UNREAD_S = 512 * MEBIBYTE, 5.0
# Up to this size a request is read in one step, and the stream's own buffer bounds it.
SMALL_BYTES = 64 * 1024
CHECK_INTERVAL_S = 1.0
# A client that is idle for longer may lose its connection to another; librdkafka connects again.
IDLE_S = 10.0


class Asked(NamedTuple):
    """A request that is not answered yet.

    Attributes:
        api_key: Its API.
        version: Its version.
        number: Tells it from all other requests.
        group: The group of a member that joins or asks for its share, otherwise empty.
        places: The partitions of a Produce or Fetch; None means any.
        published: Of a Fetch: set when a message was published in one of its partitions since.
    """

    api_key: int
    version: int
    number: int
    group: bytes
    places: frozenset[bytes] | None
    published: asyncio.Event | None


class Client:
    """The connection of a client.

    Attributes:
        reader: Its requests.
        writer: For the answers.
        unanswered: Its requests that the broker has not answered, in order.
        is_sending: Whether a request has begun and its rest is missing.
        since_s: When the last request began, by the clock of the event loop; first, when the client
            connected.
    """

    __slots__ = ("is_sending", "reader", "since_s", "unanswered", "writer")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.unanswered: deque[Asked] = deque()
        self.is_sending, self.since_s = False, asyncio.get_running_loop().time()


class ClientRequests:
    """Reads the requests of all clients. Only one event loop uses it."""

    def __init__(self, report: Callable[[RequestRefused], None]) -> None:
        """Begin; `report` gets the reason for each connection that is closed."""
        self._report = report
        self._now_s = asyncio.get_running_loop().time
        # The bytes of large requests that have arrived, in the order of their begin.
        self._arrived: dict[Client, int] = {}

    async def read(self, client: Client) -> bytes:
        """Return the next request, with the four bytes of its length; waits for it.

        Raises:
            RequestRefused: Its API or size is not allowed.
            IncompleteReadError: The client closed the connection, or its request took too much time
                or memory.
        """
        reader = client.reader
        head = await reader.readexactly(4)
        client.is_sending, client.since_s = True, self._now_s()
        length = int.from_bytes(head, "big", signed=True)
        kafka_requests.check_length(length)
        head += await reader.readexactly(2)
        kafka_requests.check_length(length, int.from_bytes(head[4:], "big"))
        if length <= SMALL_BYTES:
            frame = head + await reader.readexactly(length - 2)
        else:
            frame = await self._large(client, head, length - 2)
        client.is_sending = False
        return frame

    async def check(self, clients: Collection[Client]) -> None:
        """Bound requests in time and unread answers in memory; until cancelled.

        One task for all of them: a timer for each request would cost more than its check.
        """
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            self.check_now(clients)

    def check_now(self, clients: Collection[Client]) -> None:
        """Close connections with a late request, and those with the oldest unread answers."""
        now_s = self._now_s()
        for client in clients:
            if client.is_sending and client.since_s < now_s - COMPLETE_WITHIN_S:
                self._close(client, f"it was not complete after {COMPLETE_WITHIN_S:g} s")
        unread = {each: each.writer.transport.get_write_buffer_size() for each in clients}
        held = sum(unread.values())
        for client in sorted(filter(unread.get, unread), key=attrgetter("since_s")):
            if held <= UNREAD_BYTES or client.since_s > now_s - UNREAD_S:
                break
            held -= unread[client]
            self._close(client, f"more than {UNREAD_BYTES // MEBIBYTE} MiB of answers are not read")

    def close_longest_idle(self, clients: Collection[Client]) -> Client | None:
        """Close the connection that is idle longest and return it; None if all were just used."""
        idle = [client for client in clients if not client.is_sending and not client.unanswered]
        longest = min(idle, key=attrgetter("since_s"), default=None)
        if longest is None or longest.since_s > self._now_s() - IDLE_S:
            return None
        self._close(longest, f"{len(clients)} connections are open, and it was idle longest")
        return longest

    async def _large(self, client: Client, head: bytes, missing: int) -> bytes:
        frame = bytearray(head)
        self._arrived[client] = 0
        try:
            while missing and client in self._arrived:
                piece = await client.reader.read(missing)
                if not piece:
                    break
                frame += piece
                missing -= len(piece)
                self._bound(client, len(piece))
            if missing:
                raise asyncio.IncompleteReadError(b"", missing)
            return bytes(frame)
        finally:
            self._arrived.pop(client, None)

    def _bound(self, client: Client, size: int) -> None:
        if client in self._arrived:
            self._arrived[client] += size
        while sum(self._arrived.values()) > UNFINISHED_BYTES:
            oldest = next(iter(self._arrived))
            del self._arrived[oldest]
            mebibytes = UNFINISHED_BYTES // MEBIBYTE
            self._close(oldest, f"more than {mebibytes} MiB of large requests are not complete")

    def _close(self, client: Client, reason: str) -> None:
        client.is_sending = False
        self._report(RequestRefused(reason))
        client.writer.transport.abort()
