"""`radar monitor` in a terminal of its own, and without one."""

import os
import pty
import re
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from ports import free_port
from support import eventually, radar, run_command


class Terminal:
    """`radar monitor` in a terminal of 24 rows and 80 columns."""

    def __init__(self, **environment: str) -> None:
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        self._process = subprocess.Popen(
            radar("monitor"),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=os.environ | environment | {"TERM": "xterm"},
        )
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self._shown = b""

    def shows(self, text: str) -> bool:
        """Tell whether a text was shown, wherever and in whichever colours."""
        try:
            while chunk := os.read(self._ours, 65536):
                self._shown += chunk
        except OSError:
            pass  # nothing more yet, or it has ended
        return text in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._shown.decode(errors="replace"))

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def ended(self) -> bool:
        self.shows("")  # who does not read lets it wait
        return self._process.poll() is not None

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    nowhere = f"127.0.0.1:{free_port()}"
    made = Terminal(
        RADAR_DATA_DIR=str(tmp_path / "data"),
        KAFKA_BROKER=nowhere,
        CLICKHOUSE_PORT=str(free_port()),
        MONITOR_PROCESSES=f"trades-consumer-1={nowhere}",
    )
    yield made
    made.end()


@pytest.mark.parametrize("key", ["q", "\x03"])
def test_monitor_of_what_is_not_there_says_so_and_quits(terminal: Terminal, key: str) -> None:
    eventually(lambda: terminal.shows("STUCK AT PARTITIONS: Kafka does not answer"), "Kafka", 60)
    terminal.press("2")
    eventually(lambda: terminal.shows("✖ trades-consumer-1"), "the worker", 60)
    terminal.press("?")
    eventually(lambda: terminal.shows("Data flows from left to right"), "the help", 60)
    terminal.press("?")
    terminal.press(key)
    eventually(terminal.ended, "it ends", 60)
    assert terminal.exit_code == 0


def test_monitor_without_a_terminal_names_what_to_use() -> None:
    done = run_command("monitor")
    assert done.returncode == 2
    assert done.stderr == "radar: monitor needs a terminal: use radar status elsewhere\n"
