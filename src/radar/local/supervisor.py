"""Keeps child processes running: start, watch, restart with backoff, stop in order."""

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import structlog

from radar.addresses import free_port
from radar.local.forkserver import ForkServer, ForkServerEnded
from radar.process import SUPERVISOR_VARIABLE
from radar.text import printable

BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 10.0
# A child that ends this often in a row because of its configuration would do so for ever. For
# example, two workers of one name end each other.
MISCONFIGURED_EXIT = 2
MAX_MISCONFIGURED = 3
HEALTHY_AFTER_S = 30.0  # a child that lived this long starts with the shortest backoff again

_log = structlog.get_logger()

State = Literal["starting", "running", "restarting", "failed", "stopped"]
"""Failed: it ended and is not started again."""


@dataclass(frozen=True)
class ChildSpec:
    """How to start one child."""

    name: str
    command: tuple[str, ...]  # a program and its arguments, or those of `radar` if `forked`
    environment: Mapping[str, str] = field(default_factory=dict)
    forked: bool = False
    serves_metrics: bool = False


class Process(Protocol):
    """The part of a process that the supervisor uses, however it was started."""

    @property
    def pid(self) -> int:
        """The process id."""

    @property
    def returncode(self) -> int | None:
        """The exit code; None while it runs."""

    async def wait(self) -> int:
        """Wait for the end; return the exit code."""

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal."""


class Child:
    """One child process; restarted when it ends by itself, unless its options are wrong."""

    def __init__(
        self,
        spec: ChildSpec,
        log_dir: Path,
        forkserver: ForkServer,
        inherited: tuple[int, ...] = (),
    ) -> None:
        self.spec = spec
        self._forkserver = forkserver
        self.state: State = "starting"
        self.pid: int | None = None
        self.metrics_port = 0
        self.restarts = 0
        self.started_at_s = 0.0
        self.last_exit: int | None = None
        self.log_path = log_dir / f"{spec.name}.log"
        self._inherited = inherited
        self._stopping = asyncio.Event()
        self._process: Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process and a task that keeps it running."""
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.spec.name}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it lives."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, timeout_s: float) -> None:
        """End the process with SIGTERM, and with SIGKILL after `timeout_s`."""
        self._stopping.set()
        self.signal(signal.SIGTERM)
        if self._process is not None:
            try:
                await asyncio.wait_for(self._process.wait(), timeout_s)
            except TimeoutError:
                _log.error("child did not stop in time", child=self.spec.name)
                self.signal(signal.SIGKILL)
                await self._process.wait()
            self.last_exit = self._process.returncode
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        self.state, self.pid = "stopped", None

    def kill(self) -> None:
        """End the process at once, for good."""
        self._stopping.set()
        self.signal(signal.SIGKILL)

    async def _spawn(self) -> None:
        environment = os.environ | self.spec.environment | {SUPERVISOR_VARIABLE: str(os.getpid())}
        if self.spec.serves_metrics:
            # Another port each time: a program may have taken the last one while no child listened.
            self.metrics_port = free_port()
            environment["METRICS_PORT"] = str(self.metrics_port)
            environment["METRICS_HOST"] = "127.0.0.1"
        command = self.spec.command
        if self.spec.forked and sys.platform.startswith("linux"):
            # On other systems, system libraries do not survive a fork.
            self._process = await self._forkserver.start(command, environment, str(self.log_path))
        else:
            if self.spec.forked:
                command = (sys.executable, "-m", "radar", *command)
            self._process = await self._execute(command, environment)
        self.pid, self.state, self.started_at_s = self._process.pid, "running", time.monotonic()

    async def _execute(
        self, command: tuple[str, ...], environment: Mapping[str, str]
    ) -> asyncio.subprocess.Process:
        with self.log_path.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=self._inherited,
                # Ctrl-C in the terminal must reach the supervisor only, which stops in order.
                start_new_session=True,
            )

    async def _keep(self) -> None:
        backoff_s = BACKOFF_FIRST_S
        misconfigured = 0
        while self._process is not None:
            self.last_exit = await self._process.wait()
            if self._stopping.is_set():
                return
            lived_s = time.monotonic() - self.started_at_s
            self.state, self.pid = "restarting", None
            if lived_s > HEALTHY_AFTER_S:
                backoff_s = BACKOFF_FIRST_S
            misconfigured = misconfigured + 1 if self.last_exit == MISCONFIGURED_EXIT else 0
            if misconfigured >= MAX_MISCONFIGURED:
                self.state = "failed"
                _log.error(
                    "child is not started again",
                    child=self.spec.name,
                    exit=self.last_exit,
                    reason=self._last_line(),
                )
                return
            _log.warning("child ended", child=self.spec.name, exit=self.last_exit)
            await asyncio.sleep(random.uniform(backoff_s / 2, backoff_s))  # noqa: S311
            if self._stopping.is_set():
                return
            backoff_s = min(BACKOFF_MAX_S, backoff_s * 2)
            self.restarts += 1
            try:
                await self._spawn()
            except (ForkServerEnded, OSError) as error:
                # Try again: the forkserver ended with it, or the machine lacks a resource.
                _log.warning("cannot start a child", child=self.spec.name, error=str(error))

    def _last_line(self) -> str:
        lines = self.log_path.read_text(errors="replace").strip().splitlines()
        return printable(lines[-1]) if lines else ""


class Supervisor:
    """Children by name, in the order in which they were started."""

    def __init__(self, log_dir: Path, inherited: tuple[int, ...] = ()) -> None:
        """Prepare; children inherit the open files `inherited`."""
        log_dir.mkdir(parents=True, exist_ok=True)
        self._log_dir = log_dir
        self._inherited = inherited
        self._forkserver = ForkServer(log_dir / "forkserver.log", inherited)
        self.children: dict[str, Child] = {}

    async def prepare(self) -> None:
        """Start the imports for forked children; they then start sooner."""
        if sys.platform.startswith("linux"):
            await self._forkserver.open()

    async def start(self, spec: ChildSpec) -> Child:
        """Start a child and keep it running."""
        child = self.children[spec.name] = Child(
            spec, self._log_dir, self._forkserver, self._inherited
        )
        await child.start()
        return child

    async def stop(self, names: Iterable[str], timeout_s: float) -> None:
        """Stop some children at once and wait for them."""
        chosen = [self.children[name] for name in names if name in self.children]
        await asyncio.gather(*(child.stop(timeout_s) for child in chosen))

    def kill(self) -> None:
        """End every child at once."""
        for child in self.children.values():
            child.kill()
        self._forkserver.kill()

    async def close(self) -> None:
        """End the forkserver, after the children have been stopped."""
        await self._forkserver.close()
