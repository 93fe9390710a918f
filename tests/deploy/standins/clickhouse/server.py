"""The embedded ClickHouse on 8124, and on 8123 a door that knows the users of the configuration.

Unlike the real server it knows no grants: a writer or reader may simply not begin a statement with
what changes tables, a reader not with INSERT.
"""

import base64
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit
from xml.etree import ElementTree

USERS = "/etc/clickhouse-server/users.d/radar.xml"
CHANGES = re.compile(rb"\s*(CREATE|ALTER|DROP|TRUNCATE|RENAME|GRANT|SYSTEM)\b", re.IGNORECASE)
MORE_CHANGES = re.compile(CHANGES.pattern.replace(b"SYSTEM", b"SYSTEM|INSERT"), re.IGNORECASE)


def passwords() -> dict[str, str]:
    """Return the password of each user of the configuration that has one."""
    return {
        user.tag: os.environ[password.attrib["from_env"]]
        for user in ElementTree.parse(USERS).iterfind("users/*")
        if (password := user.find("password")) is not None
    }


class Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        parameters = dict(parse_qsl(url.query, keep_blank_values=True))
        if url.path == "/ping":
            self.pass_on(self.path, b"")
            return
        user, password = self.credentials(parameters)
        body = self.body()
        statement = parameters.get("query", "").encode() or body
        refused = None
        changes = CHANGES if user == "radar_writer" else MORE_CHANGES
        if PASSWORDS.get(user) != password:
            refused = 516, f"{user}: Authentication failed"
        elif user != "radar_migrator" and changes.match(statement):
            refused = 497, f"{user}: Not enough privileges"
        if refused:
            text = f"Code: {refused[0]}. DB::Exception: {refused[1]}. (ACCESS)\n".encode()
            self.send_response(403)
            self.send_header("X-ClickHouse-Exception-Code", str(refused[0]))
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
            return
        self.pass_on(f"{url.path}?{urlencode(parameters)}", body)

    do_GET = do_POST  # noqa: N815 - the library's name

    def credentials(self, parameters: dict[str, str]) -> tuple[str, str]:
        user, password = parameters.pop("user", None), parameters.pop("password", "")
        if user is None and "X-ClickHouse-User" in self.headers:
            user = self.headers["X-ClickHouse-User"]
            password = self.headers.get("X-ClickHouse-Key", "")
        if user is None and self.headers.get("Authorization", "").startswith("Basic "):
            given = base64.b64decode(self.headers["Authorization"][6:]).decode()
            user, _, password = given.partition(":")
        return user or "default", password

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def pass_on(self, path: str, body: bytes) -> None:
        kept = {"content-encoding", "accept-encoding", "content-type", "user-agent"}
        headers = {name: value for name, value in self.headers.items() if name.lower() in kept}
        beyond = http.client.HTTPConnection("127.0.0.1", 8124, timeout=300)
        try:
            beyond.request(self.command, path, body, headers)
            answer = beyond.getresponse()
            content = answer.read()
        except OSError as error:
            self.send_error(503, str(error))
            return
        finally:
            beyond.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "content-length", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        pass


def main() -> int:
    os.environ["HOME"] = "/tmp"
    command = [sys.executable, "-m", "radar.local.clickhouse", "--no-password"]
    command += ["--path", "/var/lib/clickhouse/data"]
    engine = subprocess.Popen([*command, "--port", "8124", "--memory-limit", "2048"])
    signal.signal(signal.SIGTERM, lambda *_: engine.terminate())
    door = ThreadingHTTPServer(("0.0.0.0", 8123), Door)
    threading.Thread(target=door.serve_forever, daemon=True).start()
    return engine.wait()


PASSWORDS = passwords() if __name__ == "__main__" else {}

if __name__ == "__main__":
    sys.exit(main())
