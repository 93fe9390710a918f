"""Passes connections to a simulated exchange on, and notes the frames that the exchange sends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

_END_OF_HEAD = b"\r\n\r\n"
_TEXT, _BINARY, _CONTINUED = 1, 2, 0


def messages(data: bytes) -> list[bytes]:
    """Return the messages of a WebSocket's bytes after the handshake, as a server sends them."""
    found: list[bytes] = []
    parts: list[bytes] = []
    at = 0
    while at + 2 <= len(data):
        first, length = data[at], data[at + 1]
        assert not first & 0x70, "no extension was agreed"
        assert not length & 0x80, "a server masks nothing"
        at += 2
        if length in (126, 127):
            size = 2 if length == 126 else 8
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        payload = data[at : at + length]
        if len(payload) < length:
            break
        at += length
        if first & 0x0F in (_TEXT, _BINARY, _CONTINUED):
            parts.append(payload)
            if first & 0x80:
                found.append(b"".join(parts))
                parts = []
    return found


class FrameTap:
    """A port before a server.

    Attributes:
        port: Where clients connect, on 127.0.0.1.
    """

    def __init__(self) -> None:
        self.port = 0
        self._answers: list[bytearray] = []

    def connections(self) -> list[list[bytes]]:
        """Return the messages of each WebSocket so far."""
        found = []
        for answer in map(bytes, self._answers):
            head, _, rest = answer.partition(_END_OF_HEAD)
            if head.startswith(b"HTTP/1.1 101"):
                found.append(messages(rest))
        return found

    async def serve(self, address: str) -> asyncio.Server:
        server = urlsplit(address)

        async def accept(client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
            upstream, requests = await asyncio.open_connection(server.hostname, server.port)
            noted = bytearray()
            self._answers.append(noted)
            with contextlib.suppress(OSError):
                await asyncio.gather(_pass(client, requests), _pass(upstream, answers, noted))

        listener = await asyncio.start_server(accept, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        return listener


async def _pass(
    source: asyncio.StreamReader, to: asyncio.StreamWriter, noted: bytearray | None = None
) -> None:
    try:
        while data := await source.read(65_536):
            if noted is not None:
                noted += data
            to.write(data)
            await to.drain()
    finally:
        to.close()


@contextlib.asynccontextmanager
async def tapped(address: str) -> AsyncIterator[FrameTap]:
    """Open a port before the server at an address."""
    tap = FrameTap()
    listener = await tap.serve(address)
    try:
        yield tap
    finally:
        listener.close()
