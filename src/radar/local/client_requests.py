"""The requests of the fetch proxy's clients while they arrive: bounded in time and memory.

A client could begin many large requests and never end them. So a request that has begun is complete
within COMPLETE_WITHIN_S. What has arrived of all large requests is at most UNFINISHED_BYTES. Above
it, the request that began first fails: a client of radar sends its request at once, so it is the
last that could become the oldest.
"""

import asyncio
from collections.abc import Callable, Collection

from radar.local import kafka_requests
from radar.local.kafka_requests import MEBIBYTE, RequestRefused

COMPLETE_WITHIN_S = 10.0
UNFINISHED_BYTES = 128 * MEBIBYTE
# Up to this size a request is read in one step, and the stream's own buffer bounds it.
SMALL_BYTES = 64 * 1024
PIECE_BYTES = 1 * MEBIBYTE
CHECK_INTERVAL_S = 1.0


class Client:
    """The connection of a client.

    Attributes:
        reader: Its requests.
        writer: For the answers.
        is_sending: Whether a request has begun and its rest is missing.
        since_s: When that was so first, by the clock of the event loop.
    """

    __slots__ = ("is_sending", "reader", "since_s", "writer")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.is_sending, self.since_s = False, 0.0


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
        """Close connections whose requests are not complete in time; until cancelled.

        One task for all of them: a timer for each request would cost more than its check.
        """
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            begun_before_s = self._now_s() - COMPLETE_WITHIN_S
            for client in clients:
                if client.is_sending and client.since_s < begun_before_s:
                    self._close(client, f"it was not complete after {COMPLETE_WITHIN_S:g} s")

    async def _large(self, client: Client, head: bytes, missing: int) -> bytes:
        frame = bytearray(head)
        self._arrived[client] = 0
        try:
            while missing and client in self._arrived:
                piece = await client.reader.read(min(missing, PIECE_BYTES))
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
