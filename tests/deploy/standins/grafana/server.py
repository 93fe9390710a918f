"""Starts only where Grafana could: it may read what it provisions and write its volume.

What the provisioning files name in `$VARIABLES` must be in the environment. To whoever asks for the
health of a data source, it asks the store with that.
"""

import base64
import json
import os
import re
import signal
import sys
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DATA = Path("/var/lib/grafana")
PROVISIONING = Path("/etc/grafana/provisioning")


def complaints() -> list[str]:
    found = []
    files = [*PROVISIONING.glob("datasources/*.yml"), *PROVISIONING.glob("dashboards/*.yml")]
    folders = []
    for path in files:
        text = path.read_text()
        folders += re.findall(r"^ +path: (\S+)$", text, re.MULTILINE)
        wanted = set(re.findall(r"\$(GRAFANA_\w+)", text))
        found += [f"{path}: no {name}" for name in sorted(wanted - set(os.environ))]
    dashboards = [path for folder in folders for path in Path(folder).glob("*.json")]
    for path in dashboards:
        json.loads(path.read_text())
    if len(files) < 2 or not dashboards:
        found.append(f"provisioned: {files}, {dashboards}")
    (DATA / "grafana.db").write_text("")
    return found


def ask(uid: str) -> str:
    """Ask a store; return what it says that is wrong."""
    if uid == "prometheus":
        request = urllib.request.Request("http://prometheus:9090/-/ready")
    else:
        database = urllib.parse.quote(os.environ["GRAFANA_CLICKHOUSE_DB"])
        request = urllib.request.Request(
            f"http://clickhouse:8123/?database={database}", b"SELECT 1"
        )
        request.add_header("X-ClickHouse-User", os.environ["GRAFANA_CLICKHOUSE_USER"])
        request.add_header("X-ClickHouse-Key", os.environ["GRAFANA_CLICKHOUSE_PASSWORD"])
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError as error:
        return str(error)
    return ""


class Door(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        password = os.environ.get("GF_SECURITY_ADMIN_PASSWORD") or (
            Path(os.environ["GF_SECURITY_ADMIN_PASSWORD__FILE"]).read_text().strip()
        )
        admin = "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()
        source = re.fullmatch(r"/api/datasources/uid/(prometheus|clickhouse)/health", self.path)
        if self.path == "/api/health":
            self.answer(200, {"database": "ok"})
        elif source is None:
            self.answer(404, {"message": "not Grafana"})
        elif self.headers.get("Authorization") != admin:
            self.answer(401, {"message": "Unauthorized"})
        elif wrong := ask(source[1]):
            self.answer(400, {"message": wrong, "status": "ERROR"})
        else:
            self.answer(200, {"message": "", "status": "OK"})

    def answer(self, status: int, told: dict[str, str]) -> None:
        content = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        pass


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if problems := complaints():
        sys.exit("\n".join(problems))
    ThreadingHTTPServer(("0.0.0.0", 3000), Door).serve_forever()
