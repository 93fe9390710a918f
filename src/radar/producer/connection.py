"""A WebSocket connection to an exchange: the only module here that imports `websockets`."""

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from typing import cast
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)
from websockets.frames import CTRL_OPCODES, CloseCode, Frame
from websockets.http11 import Response
from websockets.protocol import State

from radar import tls
from radar.errors import ConfigurationError, FeedLost
from radar.exchanges.base import brief
from radar.producer.rate_limit import RateLimitGate
from radar.text import without_password

OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
# An exchange that takes no byte of a frame for so long counts as gone.
SEND_TIMEOUT_S = 10.0
# A socket whose other end vanished silently is found after at most the sum of both.
PING_INTERVAL_S = 20.0
PING_TIMEOUT_S = 20.0
# Frames that wait for the reader; beyond that, TCP makes the exchange wait. This and the largest
# frame bound the memory; the content of one read of the socket is on top.
MAX_QUEUE = 32
# The most that one read of the socket may become. 256 KiB can inflate to a thousand times as much,
# or be empty frames that take a second to process.
MAX_BURST_BYTES = 32 * 1024 * 1024
MAX_BURST_FRAMES = 50_000
# Fragments of one message. This is below the limit of `websockets`, at which it would close and
# wait for the answer without reading it.
MAX_PARTS = 2048
# Unsent answers to pings, if the exchange does not read.
MAX_UNSENT_BYTES = 1024 * 1024
SLICE_BYTES = 16 * 1024
SWITCHING_PROTOCOLS = 101
TCP_CLOSE = 7  # the first byte of Linux's tcp_info, as netinet/tcp.h numbers states


class _Socket(ClientConnection):
    """The library's connection, with limits where the library trusts the other end."""

    flooded = False
    leaving = False  # after our close frame: frames before the exchange's answer still count
    _burst_bytes = _burst_frames = _parts = _reads = 0
    _ending = False

    def data_received(self, data: bytes) -> None:
        """Take the bytes of one read of the socket in slices, so that a flood is noticed."""
        self._reads += 1
        self._burst_bytes = self._burst_frames = 0
        for start in range(0, len(data), SLICE_BYTES):
            super().data_received(data[start : start + SLICE_BYTES])
            if (
                self._burst_bytes > MAX_BURST_BYTES
                or self._burst_frames > MAX_BURST_FRAMES
                or self._parts > MAX_PARTS
                or self.transport.get_write_buffer_size() > MAX_UNSENT_BYTES
            ):
                self.flooded = True
                self.transport.abort()
                return
        if (
            self.protocol.close_expected()
            and not self._ending
            and (not self.leaving or self.protocol.close_rcvd is not None)
        ):
            # The library leaves the end to the exchange, or to the next ping.
            self._ending = True
            self.loop.call_later(CLOSE_TIMEOUT_S, self.transport.abort)

    def send_data(self) -> None:
        """Write outgoing data, but none to an exchange that has cut the connection.

        The write would fail, and the socket would drop the bytes that the exchange sent before the
        cut. The reader finds the cut behind those bytes.
        """
        # The library calls this after each read, when there is nearly always nothing to send.
        if not self.protocol.writes:
            return
        if self._is_cut():
            self.protocol.data_to_send()
        else:
            super().send_data()

    def _is_cut(self) -> bool:
        used = self.transport.get_extra_info("socket")
        if used is None or not hasattr(socket, "TCP_INFO"):  # Linux has it
            return False
        with contextlib.suppress(OSError):
            state: bytes = used.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
            return state[0] == TCP_CLOSE
        return False

    async def keepalive(self) -> None:
        """Ping at intervals; end a connection that no longer brings any byte.

        The library would end a connection whose pong is late. But the pong comes behind all bytes
        that wait in the socket. These are many while this machine is too slow, or while the
        producer waits for Kafka and does not read. An end would then lose data that the exchange
        has sent.
        """
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(PING_INTERVAL_S)
                # Reading stops only after a read. So a connection that reads now and has read no
                # byte since was not paused by us meanwhile.
                reads, reading = self._reads, self.transport.is_reading()
                await self.ping()
                await asyncio.sleep(PING_TIMEOUT_S)
                if reading and self._reads == reads:
                    self.transport.abort()

    def process_event(self, event: Frame | Response) -> None:  # type: ignore[override]
        """Take an event that the library made of the bytes."""
        if isinstance(event, Frame):
            self._burst_bytes += len(event.data)
            self._burst_frames += 1
            if event.opcode not in CTRL_OPCODES:
                self._parts = 0 if event.fin else self._parts + 1
        super().process_event(event)


class _Connect(connect):
    """The library's `connect` without redirects: it would follow them to any host."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return the error of a redirect, which names its target."""
        if not isinstance(exc, InvalidStatus) or exc.response.status_code // 100 != 3:
            return exc
        targets = exc.response.headers.get_all("Location") or ["nowhere"]
        return _Redirected(
            f"redirected to {brief(', '.join(targets))}, which is not followed; if the exchange"
            " has moved, set EXCHANGE_WS_URL"
        )


class _Redirected(WebSocketException):
    """The exchange redirects to another address."""


class Connection:
    """An open connection."""

    def __init__(self, socket: _Socket) -> None:
        self._socket = socket

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        proxy: str,
        max_frame_bytes: int,
        headers: Mapping[str, str] | None = None,
        gate: RateLimitGate | None = None,
    ) -> "Connection":
        """Connect; waits up to OPEN_TIMEOUT_S.

        Before that it waits for as long as the exchange wants no requests.

        Args:
            url: Address, ws:// or wss://.
            proxy: Address of an HTTP or SOCKS proxy; empty means none, and the environment's proxy
                is ignored.
            max_frame_bytes: A larger message ends the connection.
            headers: More headers of the handshake.
            gate: Closed while the exchange wants no requests.

        Raises:
            FeedLost: The exchange does not answer, or refuses ("refused").
            ConfigurationError: An address is not usable.
        """
        gate = gate or RateLimitGate()
        await gate.passed()
        try:
            socket = await _Connect(
                url,
                proxy=proxy or None,
                ssl=tls.context() if url.startswith("wss:") else None,
                open_timeout=OPEN_TIMEOUT_S,
                close_timeout=None,  # see `close`
                ping_interval=PING_INTERVAL_S,
                ping_timeout=None,  # see `keepalive`
                max_size=max_frame_bytes,
                max_queue=MAX_QUEUE,
                create_connection=_Socket,
                additional_headers=dict(headers or {}),
            )
        except (InvalidURI, InvalidProxy) as error:  # of the options: no redirect is followed
            raise ConfigurationError(
                without_password(f"cannot connect to {url}: {error}")
            ) from error
        except (OSError, TimeoutError, EOFError, WebSocketException) as error:
            text = str(error) or type(error).__name__
            reason = text if isinstance(error, _Redirected) else brief(text)
            detail = without_password(f"{url}: {reason}")
            if isinstance(error, InvalidStatus):
                gate.note_answer(error.response.status_code, _first_values(error.response))
            raise FeedLost("refused", detail) from error
        gate.note_answer(SWITCHING_PROTOCOLS, {})
        return cls(cast("_Socket", socket))

    async def receive(self) -> bytes:
        """Wait for the next message and return it, text as UTF-8.

        Messages that arrived before the connection ended are still returned.

        Raises:
            FeedLost: The connection has ended ("closed"), or it exceeded a limit ("overflow"): a
                message too large or in too many fragments, or a flood.
        """
        try:
            return await self._socket.recv(decode=False)
        except ConnectionClosed as closed:
            raise self._lost(str(closed)) from closed

    async def send(self, text: str) -> None:
        """Send a text message; waits up to SEND_TIMEOUT_S while the socket's buffer is full.

        Raises:
            FeedLost: The connection has ended or is being closed, or the exchange takes no data.
        """
        if self._socket.state is not State.OPEN:
            # The library would wait for the end, and the end may need a reader first.
            raise self._lost("it is being closed")
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._socket.send(text)
        except ConnectionClosed as closed:
            raise self._lost(str(closed)) from closed
        except TimeoutError as error:
            self.abort()
            raise FeedLost(
                "closed", f"the exchange accepts no data for {SEND_TIMEOUT_S:.0f} s"
            ) from error

    async def close(self) -> None:
        """Send a close frame and wait for the answer, which comes behind all earlier frames.

        Another task must call `receive` meanwhile, and `abort` when no answer comes. A second call
        has no effect.
        """
        self._socket.leaving = True
        await self._socket.close()

    def abort(self) -> None:
        """Cut the connection without a close frame: the other end is gone."""
        self._socket.transport.abort()

    def _lost(self, detail: str) -> FeedLost:
        if self._socket.flooded:
            return FeedLost("overflow", "the exchange floods the connection")
        sent = self._socket.protocol.close_sent
        too_big = sent is not None and sent.code == CloseCode.MESSAGE_TOO_BIG
        return FeedLost("overflow" if too_big else "closed", brief(detail))


class NoConnection:
    """Stands for the connection of a stream that lives of its REST requests."""

    def __init__(self) -> None:
        self._ended = asyncio.Event()

    async def receive(self) -> bytes:
        """Wait until the end.

        Raises:
            FeedLost: It was closed.
        """
        await self._ended.wait()
        raise FeedLost("closed", "closed by radar")

    async def send(self, text: str) -> None:
        """Refuse: there is no socket."""
        raise FeedLost("closed", f"no socket for {brief(text)}")

    async def close(self) -> None:
        """End it."""
        self._ended.set()

    def abort(self) -> None:
        """End it."""
        self._ended.set()


def stream_url(override: str, exchange_url: str, url: str) -> str:
    """Return the address of a connection.

    Args:
        override: The address of the options, or empty. Without a path it is a server with the
            exchange's paths.
        exchange_url: The exchange's main address.
        url: The address that the stream wants, which may differ in its last segment.
    """
    if not override:
        return url
    given, wanted = urlsplit(override), urlsplit(url)
    if given.path in ("", "/"):
        return urlunsplit((given.scheme, given.netloc, wanted.path, wanted.query, ""))
    if url == exchange_url:
        return override
    parent = given.path.rstrip("/").rpartition("/")[0]
    path = f"{parent}/{wanted.path.rstrip('/').rpartition('/')[2]}"
    return urlunsplit((given.scheme, given.netloc, path, wanted.query, ""))


def _first_values(response: Response) -> dict[str, str]:
    names = ("Retry-After", "Date")
    return {name: values[0] for name in names if (values := response.headers.get_all(name))}
