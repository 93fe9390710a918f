"""Processes whose output nobody takes, and to which signals come at any moment."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cases import others_nightly
from ports import free_port
from radar.addresses import answers
from support import eventually, radar

Start = Callable[..., "subprocess.Popen[bytes]"]
IGNORED_SIGNALS = (signal.SIGHUP, signal.SIGINT)


@pytest.fixture
def start() -> Iterator[Start]:
    """Provide what starts a process; ends it with the test."""
    with contextlib.ExitStack() as stack:

        def run(command: list[str], **options: object) -> "subprocess.Popen[bytes]":
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
            stack.callback(process.wait, 30)
            stack.callback(process.kill)
            return process  # type: ignore[no-any-return]

        yield run


def exchange(port: int) -> list[str]:
    return radar("simulate", "--port", str(port), "--trades-per-second", "1")


def handles(pid: int, number: signal.Signals) -> bool:
    """Tell whether a process has a handler of its own for a signal."""
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)


def closed_pipe() -> int:
    read, write = os.pipe()
    os.close(read)
    return write


def test_process_outlives_the_reader_of_its_output(start: Start, tmp_path: Path) -> None:
    """As in `radar simulate | head -1`: it runs on, and says so once on standard error."""
    port, errors = free_port(), tmp_path / "errors"
    with errors.open("wb") as written:
        process = start(exchange(port), stdout=closed_pipe(), stderr=written)
    eventually(lambda: answers("127.0.0.1", port), "the exchange answers")
    process.terminate()
    assert process.wait(30) == 0
    told = [line for line in errors.read_text().splitlines() if line.startswith("radar:")]
    assert told == ["radar: standard output ended (Broken pipe); the command runs on"]


@pytest.mark.parametrize("which", ["stdout", "stderr", "both"])
def test_process_outlives_a_full_disk_below_its_output(start: Start, which: str) -> None:
    port = free_port()
    with Path("/dev/full").open("wb") as full:
        options = {
            "stdout": subprocess.DEVNULL if which == "stderr" else full,
            "stderr": subprocess.DEVNULL if which == "stdout" else full,
        }
        process = start(exchange(port), env=os.environ | {"LOG_LEVEL": "DEBUG"}, **options)
    eventually(lambda: answers("127.0.0.1", port), "the exchange answers")
    process.terminate()
    assert process.wait(30) == 0


def test_process_runs_with_closed_descriptors(start: Start) -> None:
    """No file that it opens later takes the numbers of standard output and error."""
    port = free_port()
    words = " ".join([*exchange(port), "<&- >&- 2>&-"])
    process = start(["sh", "-c", f"exec {words}"])
    eventually(lambda: answers("127.0.0.1", port), "the exchange answers")
    standard = {str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in range(3)}
    assert standard == {os.devnull}
    process.terminate()
    assert process.wait(30) == 0


def test_ignored_signals_stay_ignored(start: Start) -> None:
    """`nohup` ignores SIGHUP, and a shell SIGINT for what it runs in the background."""

    def ignore() -> None:
        for number in IGNORED_SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    port = free_port()
    process = start(exchange(port), stdout=subprocess.DEVNULL, preexec_fn=ignore)
    eventually(lambda: answers("127.0.0.1", port), "the exchange answers")
    for number in IGNORED_SIGNALS:
        assert not handles(process.pid, number)
        process.send_signal(number)
    process.terminate()
    assert process.wait(30) == 0  # by SIGTERM: what it was sent before did nothing


@pytest.mark.parametrize("number", others_nightly([signal.SIGTERM, signal.SIGINT]))
@pytest.mark.parametrize("command", [["consume", "trades"], ["migrate"], ["produce", "trades"]])
def test_signal_at_any_moment_of_a_start_ends_without_a_traceback(
    command: list[str], number: signal.Signals, start: Start, tmp_path: Path
) -> None:
    """From the first import on, and while no server answers."""
    for after_s in (0.0, 0.1, 0.3, 0.8):
        errors = tmp_path / f"errors-{after_s}"
        with errors.open("wb") as written:
            process = start(
                radar(*command),
                stdout=written,
                stderr=written,
                env=os.environ | {"KAFKA_BROKER": "127.0.0.1:1", "CLICKHOUSE_PORT": "1"},
            )
        eventually(
            lambda process=process: (
                process.poll() is not None  # type: ignore[misc]
                or handles(process.pid, signal.SIGTERM)
            ),
            "it handles signals",
        )
        time.sleep(after_s)  # the moment is what is tested
        process.send_signal(number)
        assert process.wait(20) is not None
        assert "Traceback" not in errors.read_text()


@pytest.mark.parametrize("after_s", [0.0, 1.0])
def test_process_1_ends_by_sigterm(after_s: float, start: Start, tmp_path: Path) -> None:
    """Linux gives process 1 of a container no default action."""
    unshare = [shutil.which("unshare") or "", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a namespace of processes")
    variables = {"KAFKA_BROKER": "127.0.0.1:1", "CLICKHOUSE_PORT": "1"}
    process = start([*unshare, *radar("consume", "trades")], env=os.environ | variables)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    eventually(lambda: bool(children.read_text().split()), "process 1 runs")
    first = int(children.read_text().split()[0])
    eventually(lambda: handles(first, signal.SIGTERM), "it handles signals")
    time.sleep(after_s)
    os.kill(first, signal.SIGTERM)
    assert process.wait(20) in (0, 128 + signal.SIGTERM)


ADOPT = """
import ctypes, os, subprocess, sys, time
from pathlib import Path
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
from radar.process import Orphans
own = subprocess.Popen(["sleep", "60"])
orphan = int(subprocess.check_output(["sh", "-c", "sleep 0.01 >/dev/null & echo $!"]))
orphans, deadline_s = Orphans(), time.monotonic() + 20
while Path(f"/proc/{orphan}").exists():
    assert time.monotonic() < deadline_s, "the orphan was not reaped"
    orphans.reap()
    time.sleep(0.01)
own.kill()
assert own.wait() == -9
"""


def test_orphans_are_reaped_and_own_children_are_not() -> None:
    """Process 1 gets every process whose parent ended; each would stay as a zombie."""
    subprocess.run([sys.executable, "-c", ADOPT], check=True, timeout=60)
