"""Processes that are forked: they run commands, tell their end and die with what forked them."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from radar.local.forkserver import Forked, ForkServer
from support import eventually

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks on Linux only")
ENDLESS = ("simulate", "--port", "0", "--symbols", "2")


async def until(condition: Callable[[], bool], meaning: str) -> None:
    await asyncio.to_thread(eventually, condition, meaning)


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[ForkServer]:
    forkserver = ForkServer(directory / "forkserver.log")
    try:
        yield forkserver
    finally:
        await forkserver.close()


async def started(forkserver: ForkServer, directory: Path, *arguments: str) -> Forked:
    return await forkserver.start(arguments, {"LOG_LEVEL": "INFO"}, str(directory / "child.log"))


def test_forkserver_asked_for_a_command_runs_it_and_tells_its_exit_code(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as forkserver:
            assert await (await started(forkserver, tmp_path, "version")).wait() == 0
            assert (tmp_path / "child.log").read_text().startswith("radar ")
            assert await (await started(forkserver, tmp_path, "nonsense")).wait() == 2
            # A copy of a process has only the thread that copied it.
            assert forkserver._process is not None
            assert threads(forkserver._process.pid) == 1

    asyncio.run(scenario())


def test_forkserver_child_that_is_killed_tells_the_signal_and_bears_its_name(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as forkserver:
            child = await started(forkserver, tmp_path, *ENDLESS)
            name = Path(f"/proc/{child.pid}/cmdline")
            await until(lambda: b"simulate" in name.read_bytes(), "it bears its name")
            child.send_signal(signal.SIGKILL)
            assert await child.wait() == -signal.SIGKILL

    asyncio.run(scenario())


def test_forkserver_that_is_killed_takes_its_children_along_and_starts_again(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as forkserver:
            child = await started(forkserver, tmp_path, *ENDLESS)
            log = tmp_path / "child.log"
            await until(lambda: log.exists() and "EXCHANGE_" in log.read_text(), "it runs")
            forkserver.kill()
            assert await child.wait() == -signal.SIGKILL
            await until(lambda: not lives(child.pid), "it ends")
            assert await (await started(forkserver, tmp_path, "version")).wait() == 0

    asyncio.run(scenario())


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
