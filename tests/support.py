"""What tests share: processes of their own, and waiting for conditions."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import pytest

from forked import Forked


class Process:
    """A process of this test run, ended by its id."""

    def __init__(self, command: list[str], log: Path, **environment: str) -> None:
        self.log = log
        log.touch()
        self._popen = _start(command, log, os.environ | environment)
        self.pid = self._popen.pid

    @property
    def lives(self) -> bool:
        return self._popen.poll() is None

    def wait(self, timeout_s: float = 30) -> int:
        return self._popen.wait(timeout_s)

    def terminate(self, timeout_s: float = 30) -> int:
        self._popen.terminate()
        return self.wait(timeout_s)

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait(10)

    def end(self) -> None:
        if self.lives:
            self._popen.terminate()
            try:
                self._popen.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()


def _start(
    command: list[str],
    output: Path,
    environment: dict[str, str],
    errors: Path | None = None,
    entered: Path = Path(os.devnull),
) -> "subprocess.Popen[bytes] | Forked":
    if _can_be_forked(command, environment):
        return Forked(command[len(radar()) :], environment, output, errors, entered)
    with output.open("ab") as out, (errors or output).open("ab") as err, entered.open("rb") as keys:
        return subprocess.Popen(command, stdin=keys, stdout=out, stderr=err, env=environment)


def _can_be_forked(command: list[str], environment: dict[str, str]) -> bool:
    """Whether a copy of a running interpreter can be this command; `radar up` forks by itself."""
    own = radar()
    is_role = command[: len(own)] == own and command[len(own) : len(own) + 1] != ["up"]
    decisive = ("LD_", "PYTHON")
    return is_role and all(
        environment.get(name) == os.environ.get(name)
        for name in {*environment, *os.environ}
        if name.startswith(decisive)
    )


LONGEST_PAUSE_S = 0.5


def eventually(
    condition: Callable[[], bool], what: str, timeout_s: float = 30, every_s: float = 0.02
) -> None:
    """Wait until a condition holds, or fail saying what was awaited.

    A condition that takes long is asked less often: asking takes a tenth of the time at most.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        began_s = time.monotonic()
        if condition():
            return
        ended_s = time.monotonic()
        if ended_s > deadline_s:
            pytest.fail(f"not within {timeout_s} s: {what}")
        time.sleep(max(every_s, min(LONGEST_PAUSE_S, 9 * (ended_s - began_s))))


def is_open(connection: socket.socket) -> bool:
    """Return whether the peer keeps a connection open; take the bytes that have arrived."""
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return True
    except ConnectionError:
        pass
    return False


def lives(pid: int) -> bool:
    """Return whether a process runs; one that has ended and is not reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def radar(*arguments: str) -> list[str]:
    """Return the command line of a radar process."""
    return [sys.executable, "-m", "radar", *arguments]


def run_radar(*arguments: str, code: int = 0) -> str:
    """Run a command of radar to its end, which has this exit code; return what it printed."""
    done = run_command(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def run_command(
    *arguments: str,
    entered: str = "",
    timeout_s: float = 120,
    check: bool = False,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[str]:
    """Run a command of radar to its end; return what it printed.

    Args:
        arguments: The command and its arguments.
        entered: What it reads from its standard input, which is no terminal.
        timeout_s: How long it may take.
        check: Whether it must succeed.
        environment: Variables besides those of this process.
    """
    command = radar(*arguments)
    with TemporaryDirectory() as folder:
        files = {name: Path(folder, name) for name in ("output", "errors", "entered")}
        files["entered"].write_text(entered)
        process = _start(
            command,
            files["output"],
            {**os.environ, **environment},
            files["errors"],
            files["entered"],
        )
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
            raise
        output, errors = (files[name].read_text() for name in ("output", "errors"))
    done = subprocess.CompletedProcess(command, code, output, errors)
    assert not check or code == 0, output + errors
    return done


def reset_peak_bytes(pid: int) -> int:
    """Let the peak of a process's memory start anew; return what it has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak_bytes(pid)


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (each for each in lines if each.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


@dataclass(frozen=True)
class Consumed:
    """A message as the Kafka client hands it over."""

    at: int
    content: bytes | None = b"value"
    of: int = 0

    def __len__(self) -> int:
        return len(self.content or b"")

    def partition(self) -> int:
        return self.of

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes | None:
        return b"key"

    def value(self) -> bytes | None:
        return self.content
