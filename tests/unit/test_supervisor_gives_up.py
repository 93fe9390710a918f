"""A child whose options are wrong is not started for ever."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from radar.local import supervisor
from radar.local.supervisor import MAX_MISCONFIGURED, Child, ChildSpec, Supervisor


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "BACKOFF_FIRST_S", 0.01)
    monkeypatch.setattr(supervisor, "BACKOFF_MAX_S", 0.01)


def watch(directory: Path, program: str, until: Callable[[Child], bool]) -> Child:
    """Keep a program running until a condition holds."""

    async def run() -> Child:
        keeper = Supervisor(directory / "logs")
        child = await keeper.start(ChildSpec("worker", (sys.executable, "-c", program)))
        try:
            async with asyncio.timeout(30):
                while not until(child):  # noqa: ASYNC110 - nothing announces it
                    await asyncio.sleep(0.01)
        finally:
            failed = child.state
            await keeper.stop(["worker"], 5)
        child.state = failed
        return child

    return asyncio.run(run())


def test_child_that_ends_for_its_options_three_times_is_not_started_again(tmp_path: Path) -> None:
    program = "import sys; print('radar: set another WORKER_ID'); sys.exit(2)"
    child = watch(tmp_path, program, lambda child: child.state == "failed")
    assert child.restarts == MAX_MISCONFIGURED - 1
    assert child.log_path.read_text().count("WORKER_ID") == MAX_MISCONFIGURED


def test_child_that_ends_for_another_reason_is_started_again(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    program = f"""
import pathlib, sys, time
runs = pathlib.Path({str(runs)!r})
runs.open("a").write("x")
if len(runs.read_text()) <= {MAX_MISCONFIGURED + 1}:
    sys.exit(1)
time.sleep(60)
"""
    begun = MAX_MISCONFIGURED + 2
    child = watch(tmp_path, program, lambda _: runs.exists() and len(runs.read_text()) == begun)
    assert child.restarts == begun - 1
    assert child.state == "running"
