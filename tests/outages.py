"""Servers of their own process that tests stop, freeze and let come back with their data."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from radar.addresses import answers
from support import Process, eventually, radar


class Service:
    """A server on a fixed port of this machine; it runs from the beginning."""

    def __init__(self, command: list[str], port: int, log: Path, **environment: str) -> None:
        self.port = port
        self.log = log
        self._command, self._environment = command, environment
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.thaw()
        self.stop()

    def start(self) -> None:
        self.process = Process(self._command, self.log, **self._environment)
        eventually(lambda: answers("127.0.0.1", self.port), f"{self._command} answers")

    def stop(self) -> None:
        self.process.end()

    def freeze(self) -> None:
        """Answer nobody any more, without a word."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        if self.process.lives:
            os.kill(self.process.pid, signal.SIGCONT)


def kafka(directory: Path, port: int) -> Service:
    """Run an embedded broker."""
    return Service(broker_command(directory, port), port, directory / "kafka.log")


def broker_command(directory: Path, port: int) -> list[str]:
    """Return the command line of an embedded broker with its data in `directory/kafka`."""
    command = [sys.executable, "-m", "radar.local.broker"]
    return [*command, str(directory / "kafka"), "127.0.0.1", str(port)]


def clickhouse(
    directory: Path, port: int, arguments: Sequence[str] = (), **environment: str
) -> Service:
    """Run an embedded ClickHouse."""
    command = [sys.executable, "-m", "radar.local.clickhouse", "--no-password", *arguments]
    place = ["--path", str(directory / "clickhouse"), "--port", str(port)]
    return Service([*command, *place], port, directory / "clickhouse.log", **environment)


def exchange(directory: Path, port: int, *arguments: str, **environment: str) -> Service:
    """Run a simulated exchange."""
    command = radar("simulate", "--port", str(port), *arguments)
    return Service(command, port, directory / "exchange.log", **environment)
