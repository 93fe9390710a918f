"""Bounds for HTTP connections that uvicorn leaves to a proxy: the size and the time of a head."""

import asyncio
from collections import OrderedDict

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 1 << 20  # the URL included, which may hold a query; ClickHouse allows as much
MAX_HEADERS = 200
HEAD_TIMEOUT_S = 10.0
MAX_HALF_OPEN = 200

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)
# Connections whose request has not arrived yet, the oldest first. When there are too many, the
# oldest is closed: a client with many open ones cannot keep others away.
_half_open: "OrderedDict[BoundedHttp, None]" = OrderedDict()


class BoundedHttp(HttpToolsProtocol):
    """A connection that must send the head of each request in time, and within a size.

    The methods are those of `asyncio.Protocol` and the callbacks of httptools.
    """

    _awaits_head = True
    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit of a new connection."""
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass the bytes on, unless the head is too large."""
        if self._awaits_head:
            if self._timer is None:
                self._begin_head()
            if self._head_bytes > MAX_HEAD_BYTES:
                self.transport.write(_TOO_LARGE)
                self.transport.close()
                return
            self._head_bytes += len(data)
        super().data_received(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header.

        Raises:
            ValueError: There are too many; uvicorn then answers that the request is invalid.
        """
        if len(self.headers) >= MAX_HEADERS:
            raise ValueError("too many headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the request begin."""
        self._awaits_head = False
        self._end_head()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect another request."""
        super().on_message_complete()
        self._awaits_head = True
        self._head_bytes = 0

    def _begin_head(self) -> None:
        self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)
        _half_open[self] = None
        if len(_half_open) > MAX_HALF_OPEN:
            oldest, _ = _half_open.popitem(last=False)
            oldest.transport.abort()

    def _end_head(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        _half_open.pop(self, None)
