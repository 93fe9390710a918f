"""Bounds for the connections of an HTTP server that uvicorn serves.

uvicorn leaves these bounds to a proxy. The times of a connection:

    opened ── head_timeout_s ──▶ head ── body_timeout_s ──▶ request complete ──▶ answer ─┐
       ▲                                                                                 │
       └──── idle: timeout_keep_alive of uvicorn ◀── the client took it: take_timeout_s ──┘

An answer before the end of its request closes the connection, because the rest may never come.
"""

import asyncio
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bounded_http.bounds import Bounds, ConnectionRegister

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvicorn.server import ServerState

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)
_ADMIT = "bounded_http.admit"
_registers: "WeakKeyDictionary[ServerState, ConnectionRegister]" = WeakKeyDictionary()


def admit(scope: Any) -> None:
    """Note that the client of an ASGI request has proved who it is.

    Its connection is then admitted, so new connections cannot end it.
    """
    if note := scope.get("extensions", {}).get(_ADMIT):
        note["connection"]()


class BoundedHttp(HttpToolsProtocol):
    """A connection with bounds; a server sets its own in a subclass.

    The methods are those of `asyncio.Protocol` and the callbacks of httptools.
    """

    bounds = Bounds()

    _register: ConnectionRegister
    _timer: asyncio.TimerHandle | None = None  # of the head or the body
    _take_timer: asyncio.TimerHandle | None = None
    _in_body = False
    # Received since the parser last passed on a head, a part of a body or a chunk's length.
    _undelivered_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit of a new connection."""
        super().connection_made(
            cast("asyncio.Transport", _Transport(transport, self._await_taking))
        )
        self._register = _registers.setdefault(self.server_state, ConnectionRegister(self.bounds))
        self._register.add(self, transport.abort)
        self._expect(self.bounds.head_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        # First: it closes the transport, which starts the timer of a client that takes its bytes.
        super().connection_lost(exc)
        self._register.remove(self)
        self._expect_no_more()
        self._taken()

    def data_received(self, data: bytes) -> None:
        """Pass the bytes on, unless there are too many that belong to no body."""
        if self.transport.is_closing():
            return
        if self._timer is None and not self._in_body:
            self._expect(self.bounds.head_timeout_s)
        if self._undelivered_bytes > self.bounds.head_bytes:
            self.transport.write(_TOO_LARGE)
            self.transport.close()
            return
        self._undelivered_bytes += len(data)
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["extensions"] = {_ADMIT: {"connection": self._admit}}

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header; drop one that follows a body.

        Raises:
            ValueError: There are too many; uvicorn then answers that the request is invalid.
        """
        if self._in_body:
            return
        if len(self.headers) >= self.bounds.headers:
            raise ValueError("too many headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the request begin.

        Raises:
            ValueError: It names another server, or waits behind too many others.
        """
        if not self.url.startswith(b"/"):
            raise ValueError("the target is no path")
        if len(self.pipeline) >= self.bounds.pipelined:
            raise ValueError("too many requests before the first answer")
        self._undelivered_bytes = 0
        self._in_body = True
        self._expect(self.bounds.body_timeout_s)
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """Take the length of a chunk."""
        self._undelivered_bytes = 0

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._undelivered_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect another request."""
        super().on_message_complete()
        self._in_body = False
        self._undelivered_bytes = 0
        self._expect_no_more()

    def on_response_complete(self) -> None:
        """Keep the connection for another request, unless this one has not arrived whole."""
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body:
            self.transport.close()

    def pause_writing(self) -> None:
        """Start the time limit of a client that takes no more bytes."""
        super().pause_writing()
        self._await_taking()

    def resume_writing(self) -> None:
        """Go on writing."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._taken()

    def _admit(self) -> None:
        self._register.admit(self)

    def _expect(self, timeout_s: float) -> None:
        self._expect_no_more()
        self._timer = self.loop.call_later(timeout_s, self.transport.close)

    def _expect_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _await_taking(self) -> None:
        if self._take_timer is None:
            self._take_timer = self.loop.call_later(
                self.bounds.take_timeout_s, self.transport.abort
            )

    def _taken(self) -> None:
        if self._take_timer is not None:
            self._take_timer.cancel()
            self._take_timer = None


class _Transport:
    """A transport whose `close` calls back: it waits for ever for a client that reads no byte."""

    def __init__(self, transport: asyncio.Transport, closes: "Callable[[], None]") -> None:
        self._transport = transport
        self._closes = closes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        self._closes()
        self._transport.close()
