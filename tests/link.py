"""A TCP link in front of a server of this machine, which tests cut, hold, slow and break."""

import asyncio
import contextlib
import re
from types import TracebackType

CHUNK_BYTES = 65_536
_END_OF_HEAD = b"\r\n\r\n"
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Link:
    """Passes bytes on, both ways, until told otherwise. Lives in the event loop that opens it.

    Attributes:
        port: Where clients connect, on 127.0.0.1.
        refusing: New connections are ended at once.
        delay_s: How long every piece of data waits before it is passed on.
        passed_bytes: What went through, both ways.
    """

    def __init__(self, host: str, server_port: int, port: int = 0) -> None:
        """Prepare a link to a server; port 0 picks a free one."""
        self.port = port
        self.refusing = False
        self.delay_s = 0.0
        self.passed_bytes = 0
        self._server_address = (host, server_port)
        self._open: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._passable = asyncio.Event()
        self._passable.set()
        self._break_request_after: int | None = None
        self._lose_answer = False
        self._largest_body_bytes: int | None = None

    async def __aenter__(self) -> "Link":
        """Listen."""
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        dataset: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening and end every connection; none is left when this returns."""
        self._listener.close()
        self.cut()
        await asyncio.gather(*self._open, return_exceptions=True)

    def cut(self) -> None:
        """End all connections without a goodbye."""
        for writer in self._writers:
            writer.transport.abort()
        for connection in self._open:
            connection.cancel()

    def hold(self) -> None:
        """Keep the connections, but let nothing through until `heal`."""
        self._passable.clear()

    def break_request(self, after_bytes: int) -> None:
        """Cut all connections in the middle of what a client sends next."""
        self._break_request_after = after_bytes

    def lose_answer(self) -> None:
        """Cut all connections instead of passing on the next answer."""
        self._lose_answer = True

    def refuse_bodies_over(self, limit_bytes: int) -> None:
        """Answer HTTP requests with a larger body with 413, as a proxy with a limit does."""
        self._largest_body_bytes = limit_bytes

    def heal(self) -> None:
        """Pass everything on again."""
        self._largest_body_bytes = None
        self.refusing, self.delay_s = False, 0.0
        self._break_request_after, self._lose_answer = None, False
        self._passable.set()

    def _accept(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        # At once, not when the task first runs: `cut` must find every connection there is.
        self._writers.add(to_client)
        connection = asyncio.create_task(self._serve(client, to_client))
        self._open.add(connection)
        connection.add_done_callback(self._open.discard)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        writers = [to_client]
        try:
            if not self.refusing:
                server, to_server = await asyncio.open_connection(*self._server_address)
                writers.append(to_server)
                self._writers.add(to_server)
                pumps = [
                    asyncio.create_task(
                        self._pass_on(client, to_server, request=True, to_client=to_client)
                    ),
                    asyncio.create_task(self._pass_on(server, to_client, request=False)),
                ]
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            to_client.transport.abort()
        finally:
            for writer in writers:
                writer.close()
            self._writers.difference_update(writers)
            for writer in writers:
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    def _too_large(self, data: bytes) -> int:
        """Return the size of a request with its head, if its body is over the limit, else 0."""
        head, _, _ = data.partition(_END_OF_HEAD)
        found = _CONTENT_LENGTH.search(head) if data.startswith(b"POST ") else None
        if self._largest_body_bytes is None or found is None:
            return 0
        body_bytes = int(found[1])
        return len(head) + 4 + body_bytes if body_bytes > self._largest_body_bytes else 0

    async def _pass_on(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        *,
        request: bool,
        to_client: asyncio.StreamWriter | None = None,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK_BYTES):
                if to_client is not None and (size := self._too_large(data)):
                    await _refuse(source, to_client, size - len(data))
                    return
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await self._passable.wait()
                if request and self._break_request_after is not None:
                    data, self._break_request_after = data[: self._break_request_after], None
                    sink.write(data)
                    await sink.drain()
                    self.cut()
                elif not request and self._lose_answer:
                    self._lose_answer = False
                    self.cut()
                else:
                    self.passed_bytes += len(data)
                    sink.write(data)
                    await sink.drain()


async def _refuse(
    source: asyncio.StreamReader, to_client: asyncio.StreamWriter, left_bytes: int
) -> None:
    """Read the rest of a request, so that the client reads the answer, and refuse it."""
    while left_bytes > 0 and (data := await source.read(min(CHUNK_BYTES, left_bytes))):
        left_bytes -= len(data)
    to_client.write(_TOO_LARGE)
    await to_client.drain()
