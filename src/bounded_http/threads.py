"""A WSGI server with bounds, for processes without an event loop: a thread for each connection.

A connection carries one request. Its body is not read.
"""

import io
import socket
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from bounded_http.bounds import Bounds, ConnectionRegister

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication, WSGIEnvironment

HOSTS = "bounded_http.hosts"
"""Key of a request's environment: every header `Host`, where WSGI's own key joins them."""


class BoundedThreads(ThreadingMixIn, WSGIServer):
    """Serves a WSGI application; a subclass sets its own bounds."""

    bounds = Bounds(head_bytes=16 * 1024, take_timeout_s=10.0, unadmitted=50, connections=50)
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, application: "WSGIApplication") -> None:
        """Listen.

        Raises:
            OSError: The address is in use, or is not of this machine.
        """
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._register = ConnectionRegister(self.bounds)
        self._entering = threading.Lock()
        super().__init__((host, port), _Handler)
        self.set_app(application)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread of its own."""
        with self._entering:
            self._register.add(request, lambda: _cut(request))
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # the system has no further thread
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._entering:
            self._register.remove(request)
        super().shutdown_request(request)


def _cut(request: socket.socket) -> None:
    # Its thread, which waits for bytes, closes it.
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(WSGIRequestHandler):
    server: BoundedThreads

    def setup(self) -> None:
        """Prepare to read a head within its bounds, and to write within a time."""
        super().setup()
        bounds = self.server.bounds
        self.connection.settimeout(bounds.take_timeout_s)
        self.rfile.close()
        self.rfile = io.BufferedReader(_Head(self.connection, bounds))
        self.wfile = _Answer(self.connection)

    def handle(self) -> None:
        """Answer one request; leave a client that is too slow, or has left."""
        with suppress(OSError):
            super().handle()

    def parse_request(self) -> bool:
        """Read the head of a request; return whether it is one that is answered."""
        if not super().parse_request():
            return False
        if len(self.headers) > self.server.bounds.headers:
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return False
        if not self.path.startswith("/"):
            self.send_error(HTTPStatus.BAD_REQUEST, "The target is no path")
            return False
        self.rfile = io.BytesIO()  # the body stays unread
        return True

    def get_environ(self) -> "WSGIEnvironment":
        """Return the request, with every header `Host`."""
        return super().get_environ() | {HOSTS: self.headers.get_all("Host", [])}

    def log_message(self, *_: object) -> None:
        """Log no requests: one every few seconds is no news."""


class _Answer(io.BufferedIOBase):
    """Takes the bytes of an answer; a client that does not read them in time has left."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Send bytes, within the time of the connection for all of them.

        Raises:
            ConnectionAbortedError: The client has not taken them. WSGI's server logs no other
                error of a connection in silence.
        """
        try:
            self._connection.sendall(data)
        except TimeoutError:
            raise ConnectionAbortedError("the client takes no answer") from None
        return len(data)


class _Head(io.RawIOBase):
    """The bytes of a head, as long as there are few and they come in time."""

    def __init__(self, connection: socket.socket, bounds: Bounds) -> None:
        self._connection = connection
        self._left_bytes = bounds.head_bytes
        self._take_timeout_s = bounds.take_timeout_s
        self._deadline_s = time.monotonic() + bounds.head_timeout_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Receive some bytes.

        Raises:
            OSError: There are too many, they are too late, or the client has left.
        """
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the head did not come in time")
        self._connection.settimeout(left_s)
        try:
            received = self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(self._take_timeout_s)
        self._left_bytes -= received
        if self._left_bytes < 0 or not received:
            raise ConnectionError("the head is too large, or has no end")
        return received
