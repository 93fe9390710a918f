"""How a child process of the supervisor lives and ends: signals, open files, orphans."""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_GET_CHILD_SUBREAPER = 37
LEAST_OPEN_FILES = 1024
MOST_OPEN_FILES = 1_048_576  # some programs iterate over every number that they may use
SUPERVISOR_VARIABLE = "RADAR_SUPERVISOR_PID"


def follow_supervisor(number: signal.Signals) -> None:
    """Request a signal from Linux for the supervisor's death, however it dies.

    Stores want SIGTERM, to save their data. Producers and workers want SIGKILL: without their
    stores they could only wait, and the kill loses no message.

    Without a supervisor, or on another system, it has no effect. It survives exec.
    """
    supervisor = os.environ.get(SUPERVISOR_VARIABLE)
    if not supervisor or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
    # The supervisor may have died before the call.
    if os.getppid() != int(supervisor):
        os.kill(os.getpid(), number)


def raise_open_files() -> int:
    """Raise the limit of open files for this process and its children; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return MOST_OPEN_FILES if soft == resource.RLIM_INFINITY else soft


def warn_of_few_files(allowed: int) -> None:
    """Write one line if a process may run out of files; its supervisor does it for a child."""
    if allowed < LEAST_OPEN_FILES and SUPERVISOR_VARIABLE not in os.environ:
        sys.stderr.write(
            f"radar: warning: a process may open {allowed} files only, which may be too few for its"
            f" connections: raise the hard limit (`ulimit -Hn {LEAST_OPEN_FILES}`)\n"
        )


def handled(*numbers: signal.Signals) -> list[signal.Signals]:
    """Return the signals that this process may handle: a signal ignored at the start stays ignored.

    A supervised process handles SIGTERM in any case, because the supervisor stops it so.
    """
    supervised = SUPERVISOR_VARIABLE in os.environ
    return [
        number
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN
        or (supervised and number is signal.SIGTERM)
    ]


class Orphans:
    """Reaps processes that Linux gave to this one when their parents ended.

    Only process 1 or a subreaper gets any. No other process waits for them, so each would stay as a
    zombie and keep its number.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._adopts = sys.platform.startswith("linux") and (os.getpid() == 1 or _is_subreaper())

    def reap(self) -> None:
        """Reap orphans that ended before the previous call; call it regularly.

        The second look spares this process's own children, which their watchers reap at once.
        """
        if not self._adopts:
            return
        ended = set(_zombies())
        for pid in ended & self._seen:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._seen = ended


def _is_subreaper() -> bool:
    answer = ctypes.c_int(0)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(answer))
    return bool(answer.value)


def _zombies() -> Iterator[int]:
    for children in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            for pid in children.read_text().split():
                with suppress(OSError):
                    status = Path(f"/proc/{pid}/stat").read_text()
                    if status.rpartition(")")[2].split()[0] == "Z":
                        yield int(pid)
