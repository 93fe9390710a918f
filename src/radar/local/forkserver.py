"""The forkserver: it starts radar's own processes by forking one that has imported their modules.

A pipeline is ten processes that import the same libraries. Each needs more than half a second for
that; on two cores this takes longer than all other work of a start. So one process imports them
once. Every child, also a restarted one, begins at once as a copy of it and shares its memory. From
then on a child is a process like any other, with its own session, log and name.

`ForkServer` is the supervisor's side, `main` the process that forks. They exchange lines of JSON
over a socket.
"""

import asyncio
import contextlib
import gc
import importlib
import json
import os
import select
import shlex
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import setproctitle

from radar.errors import RadarError
from radar.process import SUPERVISOR_VARIABLE, follow_supervisor

# The imports of producers, workers and the simulated exchange. An import must start no thread,
# because only a single-threaded process may be forked. (numpy's linear algebra would start threads;
# radar does not use it.)
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
PRELOADED = (
    "radar_simulator",
    "radar.producer.producer",
    "radar.consumer.worker",
    "radar.consumer.lag",
    "radar.store.migrate",
    "radar.telemetry.logs",
    "radar.telemetry.checks",
    "radar.telemetry.endpoints",
    "radar.processes",
    "radar.cli.main",
    "uvloop",
)


# Each child runs this command line; a name, because the supervisor must not import it.
COMMAND = "radar.cli.main"


class Forked:
    """A process that the forkserver started; used like an `asyncio.subprocess.Process`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()

    async def wait(self) -> int:
        """Return the exit code once it has ended; negative is the signal that killed it."""
        await self._ended.wait()
        return self.returncode or 0

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal.

        Raises:
            ProcessLookupError: It has ended.
        """
        os.kill(self.pid, number)

    def ended(self, code: int) -> None:
        """Record its end."""
        self.returncode = code
        self._ended.set()


class ForkServerEnded(RadarError):
    """The process that forks was killed; it is started again with the next child."""

    def __init__(self) -> None:
        super().__init__("the process that starts the others has ended")


class ForkServer:
    """Starts processes. The forking process starts with the first one, and again after a kill."""

    def __init__(self, log_path: Path, inherited: tuple[int, ...] = ()) -> None:
        """Prepare.

        Args:
            log_path: The log of the forking process itself.
            inherited: Open files that every child inherits.
        """
        self._log_path = log_path
        self._inherited = inherited
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._children: dict[int, Forked] = {}
        self._births: list[asyncio.Future[Forked]] = []
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Start the forking process if it does not run; it imports while other processes start."""
        async with self._opening:
            if self._writer is not None:
                return
            ours, theirs = socket.socketpair()
            with theirs, self._log_path.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "radar.local.forkserver", str(theirs.fileno())),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=os.environ | ONE_THREAD | {SUPERVISOR_VARIABLE: str(os.getpid())},
                    pass_fds=(theirs.fileno(), *self._inherited),
                    start_new_session=True,
                )
            reader, self._writer = await asyncio.open_connection(sock=ours)
            self._listening = asyncio.create_task(self._listen(reader, self._writer))

    async def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], log_path: str
    ) -> Forked:
        """Start `radar ARGUMENTS` with additional variables.

        Raises:
            ForkServerEnded: The forking process was killed meanwhile.
        """
        await self.open()
        if self._writer is None:
            raise ForkServerEnded
        birth: asyncio.Future[Forked] = asyncio.get_running_loop().create_future()
        self._births.append(birth)
        request = {"arguments": arguments, "environment": environment, "log": log_path}
        self._writer.write(json.dumps(request).encode() + b"\n")
        return await birth

    async def close(self) -> None:
        """End the forking process, and with it the remaining children."""
        if self._writer is not None:
            self._writer.close()
        if self._process is not None:
            await self._process.wait()
        if self._listening is not None:
            await self._listening

    def kill(self) -> None:
        """End the forking process at once, and with it its children."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                self._take(json.loads(line))
        writer.close()
        self._writer = None
        # Its end also ended its children, by the signal that each had requested.
        for child in self._children.values():
            child.ended(-signal.SIGKILL)
        self._children.clear()
        for birth in self._births:
            if not birth.done():
                birth.set_exception(ForkServerEnded())
        self._births.clear()

    def _take(self, event: dict[str, int]) -> None:
        pid = event["pid"]
        if "exit" in event:
            self._children.pop(pid).ended(event["exit"])
            return
        child = self._children[pid] = Forked(pid)
        birth = self._births.pop(0)  # answers come in the order of the requests
        if birth.done():  # the caller was stopped meanwhile
            child.send_signal(signal.SIGKILL)
        else:
            birth.set_result(child)


def main(descriptor: int) -> None:
    """Fork a child for each request until the supervisor ends; in a child, run the command."""
    # The library looks for the title beside the environment, which any change of it moves.
    setproctitle.getproctitle()
    follow_supervisor(signal.SIGKILL)
    with socket.socket(fileno=descriptor) as channel:
        for module in PRELOADED:
            importlib.import_module(module)
        # A collection would write to every shared page, and so copy it.
        gc.collect()
        gc.freeze()
        request = _serve(channel)
    if request is None:
        return
    _settle(request)
    importlib.import_module(COMMAND).main()


def _serve(channel: socket.socket) -> dict[str, Any] | None:
    """Fork for each request; return it in the child, and None after the supervisor's end."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    pending = b""
    while True:
        ready, _, _ = select.select([channel.fileno(), woken], (), ())
        if woken in ready:
            os.read(woken, 4096)
            for pid, code in _ended():
                _report(channel, {"pid": pid, "exit": code})
        if channel.fileno() not in ready:
            continue
        if not (received := channel.recv(65536)):
            return None
        *lines, pending = (pending + received).split(b"\n")
        for line in lines:
            if pid := os.fork():
                _report(channel, {"pid": pid})
            else:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.close(woken)
                os.close(wake)
                request: dict[str, Any] = json.loads(line)
                return request


def _ended() -> Iterator[tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def _report(channel: socket.socket, event: dict[str, int]) -> None:
    # The next read finds that the supervisor has ended.
    with contextlib.suppress(OSError):
        channel.sendall(json.dumps(event).encode() + b"\n")


def _settle(request: dict[str, Any]) -> None:
    """Make the copy a process of its own."""
    # Ctrl-C in the terminal must reach the supervisor only, which stops in order.
    os.setsid()
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    os.close(log)
    os.environ.update(request["environment"])
    os.environ[SUPERVISOR_VARIABLE] = str(os.getppid())
    sys.argv = ["radar", *request["arguments"]]
    # Tools like `ps` show this title.
    setproctitle.setproctitle(shlex.join([sys.executable, "-m", *sys.argv]))


if __name__ == "__main__":
    main(int(sys.argv[1]))
