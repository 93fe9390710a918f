"""The view of `radar up` without a terminal: one line at intervals."""

import asyncio
import time
from collections.abc import Sequence

from rich.console import Console

from radar.datasets import RECORDED
from radar.status.model import Flow, Problem
from radar.ui.terminal.cells import cell
from radar.ui.terminal.figures import clock, uptime
from radar.ui.terminal.watch import LiveOverview

LINE_EVERY_S = 5.0
OBSERVE_EVERY_S = LINE_EVERY_S / 2  # an observation asks Kafka and ClickHouse
LOOK_EVERY_S = 0.2
STOPPING_EVERY_S = 1.0


async def show(console: Console, addresses: Sequence[tuple[str, str]], watch: LiveOverview) -> None:
    """Print until cancelled."""
    watch.period_s = OBSERVE_EVERY_S
    started_s = time.monotonic()
    for name, where in addresses:
        console.print(cell(f"{name}: {where}"), highlight=False, soft_wrap=True)
    printed: Problem | None = None
    while True:
        if await _until_due(watch):
            await _show_stop(console, watch)
        passed = uptime(time.monotonic() - started_s)
        if watch.newest is None:
            console.print(cell(f"{passed} starting"), highlight=False)
            continue
        newest = watch.newest.problems[-1] if watch.newest.problems else None
        if newest is not None and newest != printed:
            line = f"{clock(newest.at_s)} {newest.process}: {newest.text}"
            console.print(cell(line), highlight=False, soft_wrap=True)
            printed = newest
        shown = (flow for flow in watch.newest.flows if flow.dataset in RECORDED or flow.is_used)
        line = " | ".join(f"{flow.dataset}: {_line(flow)}" for flow in shown)
        console.print(cell(f"{passed} {line}"), highlight=False, soft_wrap=True)


async def _until_due(watch: LiveOverview) -> bool:
    """Wait until a line is due; return whether a stop has begun."""
    due_s = time.monotonic() + LINE_EVERY_S
    while not watch.stopping and time.monotonic() < due_s:  # noqa: ASYNC110 - also a deadline
        await asyncio.sleep(LOOK_EVERY_S)
    return bool(watch.stopping)


async def _show_stop(console: Console, watch: LiveOverview) -> None:
    """Print the step for which the stop waits, until cancelled."""
    console.print(cell("stopping (Ctrl-C again ends at once)"), highlight=False, soft_wrap=True)
    while True:
        await asyncio.sleep(STOPPING_EVERY_S)
        console.print(cell(f"stopping: {watch.stopping}"), highlight=False, soft_wrap=True)


def _line(flow: Flow) -> str:
    frames = f"{flow.frames_per_s:,.0f} frames/s, " if flow.dataset in RECORDED else ""
    waiting = "?" if flow.lag is None else f"{flow.lag:,}"
    return f"{frames}published {flow.published:,}, waiting {waiting}, stored {flow.stored:,}"
