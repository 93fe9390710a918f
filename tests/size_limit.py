"""An HTTP proxy before ClickHouse that refuses large requests, as nginx does by default."""

import contextlib
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class SizeLimit:
    """Refuses inserts whose body is larger than `limit_bytes`; tests may change it.

    Attributes:
        breaks: Close the connection instead of answering 413.
        refused: How many inserts were refused.
        sizes: Of the bodies of the inserts that were let through.
    """

    def __init__(self, clickhouse_port: int, limit_bytes: int) -> None:
        self.limit_bytes, self.breaks = limit_bytes, False
        self.refused = 0
        self.sizes: list[int] = []
        limit = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Write nothing."""

            def forward(self) -> None:
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if "insert_deduplication_token" in self.path:
                    if len(data) > limit.limit_bytes:
                        limit.refused += 1
                        if limit.breaks:
                            self.close_connection = True
                        else:
                            self.answer(413, b"<html>413 Request Entity Too Large</html>", {})
                        return
                    limit.sizes.append(len(data))
                there = http.client.HTTPConnection("127.0.0.1", clickhouse_port, timeout=60)
                kept = {"content-length", "transfer-encoding", "host", "connection"}
                headers = {k: v for k, v in self.headers.items() if k.lower() not in kept}
                there.request(self.command, self.path, data, headers)
                answer = there.getresponse()
                body = answer.read()
                found = {k: v for k, v in answer.getheaders() if k.lower() not in kept}
                self.answer(answer.status, body, found)
                there.close()

            def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = forward  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])

    @contextlib.contextmanager
    def serving(self) -> Iterator["SizeLimit"]:
        """Serve until the block is left."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
