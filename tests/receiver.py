"""A local HTTP server in the place of a service that delivers alerts."""

import http.server
import json
import threading
from typing import Any


class Receiver:
    """Takes the messages of apprise's `json://`, or refuses them.

    Attributes:
        messages: Those that it took.
        status: Its answer.
        url: The URL for ALERT_URLS, with a password.
    """

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.status = 200
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                if receiver.status == 200:
                    receiver.messages.append(json.loads(content))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://user:secret-word@127.0.0.1:{self._server.server_port}/path"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def titles(self) -> list[str]:
        return [each["title"].partition(": ")[2] for each in self.messages]

    @property
    def text(self) -> str:
        return "\n\n".join(each["message"] for each in self.messages)
