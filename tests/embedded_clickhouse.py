"""Starts the embedded ClickHouse as its own process, for the tests beside this file."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import clickhouse_connect
import httpx
from clickhouse_connect.driver.client import Client

STOP_SECONDS = 30
# Its own packages, and the modules of radar that start it as a process of radar.
SOURCES = (
    "src/bounded_http",
    "src/chdb_server",
    "src/radar/errors.py",
    "src/radar/local/clickhouse.py",
    "src/radar/process.py",
    "src/radar/secret_file.py",
)


class Server:
    """A running server."""

    def __init__(self, path: Path, *arguments: str, password: str = "") -> None:
        self.path = path
        command = [sys.executable, "-m", "radar.local.clickhouse", "--path", str(path)]
        command += [] if password else ["--no-password"]
        self.process = subprocess.Popen(
            [*command, "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"CLICKHOUSE_PASSWORD": password},
        )
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            _, errors = self.process.communicate()
            raise AssertionError(f"the server did not start: {errors}")
        self.url = line.removeprefix("listening on ").strip()
        self.port = int(self.url.rpartition(":")[2])

    def client(self, **options: Any) -> Client:
        """Return a clickhouse-connect client."""
        return clickhouse_connect.get_client(host="127.0.0.1", port=self.port, **options)

    def http(self) -> httpx.Client:
        """Return a plain HTTP client with the server's address, which asks for plain answers."""
        return httpx.Client(
            base_url=self.url,
            trust_env=False,
            timeout=30,
            headers={"Accept-Encoding": "identity"},
        )

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal and wait; return the exit code and what was written to stderr."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=STOP_SECONDS)
        return self.process.returncode, errors


@contextmanager
def running(path: Path, *arguments: str, password: str = "") -> Iterator[Server]:
    """Run a server for the time of a block."""
    server = Server(path, *arguments, password=password)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.end(signal.SIGKILL)
        for stream in (server.process.stdout, server.process.stderr):
            if stream:
                stream.close()
