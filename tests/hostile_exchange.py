"""An exchange that keeps to no rule: a raw server whose connections are scripted byte by byte."""

import asyncio
import base64
import contextlib
import hashlib
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

TEXT, CONTINUATION, BINARY, CLOSE, PING, PONG = 1, 0, 2, 8, 9, 10
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MARKETS = (
    b'{"success":true,"result":{"markets":[{"symbol":"USDTTMN","base_asset":"USDT",'
    b'"quote_asset":"TMN","is_spot":true}]}}'
)
NO_TRADES = b'{"success":true,"result":{"latestTrades":[]}}'

# What a connection does: gets the stream to write to and the headers of the request.
Script = Callable[["Peer"], Awaitable[None]]
# How REST answers: gets the stream to write to and the request's path.
Answer = Callable[["Peer", str], Awaitable[None]]


def frame(
    payload: bytes = b"",
    opcode: int = TEXT,
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = False,
    length: int | None = None,
) -> bytes:
    """Return a WebSocket frame as told, whether it is allowed or not.

    Args:
        payload: The content.
        opcode: 0 to 15.
        fin: Whether the message ends here.
        reserved: The three reserved bits; 4 says that the content is compressed.
        masked: Mask the content, which a server must not.
        length: A length to claim; the content's own without it.
    """
    length = len(payload) if length is None else length
    first = (fin << 7) | (reserved << 4) | opcode
    mask = masked << 7
    if length < 126:
        head = struct.pack("!BB", first, mask | length)
    elif length < 65536:
        head = struct.pack("!BBH", first, mask | 126, length)
    else:
        head = struct.pack("!BBQ", first, mask | 127, length)
    # A mask of zeros leaves the content as it is.
    return head + (bytes(4) if masked else b"") + payload


def deflated_zeros(inflated_bytes: int) -> bytes:
    """Return that many zeros (whole chunks of 8 MiB, or less than one), as deflate has them."""
    chunk = 8 << 20
    compressor = zlib.compressobj(9, wbits=-15)
    if inflated_bytes < chunk:
        # Without the marker at the end, as WebSocket messages have it.
        data = compressor.compress(bytes(inflated_bytes)) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return data[:-4]
    one = compressor.compress(bytes(chunk)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return one * (inflated_bytes // chunk)


class Peer:
    """The client at the other end of a connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: bytes
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.key = key

    async def send(self, data: bytes) -> None:
        """Send bytes; waits while the client does not take them."""
        self.writer.write(data)
        await self.writer.drain()

    async def flood(self, data: bytes) -> None:
        """Send the same bytes, about a megabyte at a time, until the client is gone."""
        many = data * max(1, (1 << 20) // len(data))
        while True:
            await self.send(many)
            # The client's own socket must get its turn, whatever the buffers take.
            await asyncio.sleep(0)

    async def upgrade(self, *, compressed: bool = False) -> None:
        """Accept the WebSocket as the protocol says."""
        accept = base64.b64encode(hashlib.sha1(self.key + _MAGIC).digest())
        extension = b"Sec-WebSocket-Extensions: permessage-deflate\r\n" if compressed else b""
        await self.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n" + extension + b"\r\n"
        )

    async def answer(self, body: bytes, *headers: str, status: str = "200 OK") -> None:
        """Send an HTTP answer with its length, and further headers as told."""
        lines = ["HTTP/1.1 " + status, "Connection: close", f"Content-Length: {len(body)}"]
        await self.send("\r\n".join([*lines, *headers, "", ""]).encode("latin-1") + body)

    def reset(self) -> None:
        """Cut the connection by a reset, with which the client's next write fails."""
        used = self.writer.get_extra_info("socket")
        used.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def until_gone(self) -> None:
        """Take what the client sends until it has closed the connection."""
        while await self.reader.read(65536):
            pass


async def friendly_rest(peer: Peer, path: str) -> None:
    """Answer as an exchange with one market and without trades."""
    await peer.answer(MARKETS if "/markets" in path else NO_TRADES)


class HostileExchange:
    """Listens on a free port of this machine; WebSockets and REST follow scripts.

    Attributes:
        port: Where it listens.
        asked: The paths that were requested, in order.
        heads: The first lines and headers of the requests, in order.
        open: WebSocket connections that are open now.
    """

    def __init__(self, scripts: Iterator[Script], rest: Answer) -> None:
        self._scripts = scripts
        self._rest = rest
        self.asked: list[str] = []
        self.heads: list[bytes] = []
        self.open = 0
        self._server: asyncio.Server | None = None
        self._peers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.port = 0

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # At once, not when the task first runs: `stop` must find every connection there is.
        task = asyncio.create_task(self._serve(reader, writer))
        self._peers[task] = writer
        task.add_done_callback(self._peers.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Cancelled is how `stop` ends it.
            with contextlib.suppress(
                ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError
            ):
                await self._answer(reader, writer)
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        path = request.split(b" ")[1].decode("latin-1")
        self.asked.append(path)
        self.heads.append(request)
        if b"upgrade: websocket" in request.lower():
            key = request.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
            self.open += 1
            try:
                await next(self._scripts)(Peer(reader, writer, key))
            finally:
                self.open -= 1
            return
        await self._rest(Peer(reader, writer, b""), path)
        # Sends the rest of the answer first; to abort would lose it.
        writer.close()
        await writer.wait_closed()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cut all connections."""
        assert self._server
        self._server.close()
        for task, writer in list(self._peers.items()):
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*self._peers, return_exceptions=True)


@contextlib.asynccontextmanager
async def hostile_exchange(
    scripts: Iterator[Script], rest: Answer = friendly_rest
) -> AsyncIterator[HostileExchange]:
    """Run an exchange whose WebSocket connections follow one script after the other."""
    exchange = HostileExchange(scripts, rest)
    await exchange.start()
    try:
        yield exchange
    finally:
        await exchange.stop()
