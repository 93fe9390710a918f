"""The calm view of `radar up` where there is no terminal: one line now and then."""

import asyncio
import time
from collections.abc import Sequence

from rich.console import Console

from radar.monitor.cells import cell
from radar.monitor.figures import clock, uptime
from radar.monitor.watch import Watch
from radar.observe.overview import Flow, Problem

LINE_EVERY_S = 5.0


async def show(console: Console, addresses: Sequence[tuple[str, str]], watch: Watch) -> None:
    """Print until cancelled."""
    started_s = time.monotonic()
    for name, where in addresses:
        console.print(cell(f"{name}: {where}"), highlight=False, soft_wrap=True)
    printed: Problem | None = None
    while True:
        await asyncio.sleep(LINE_EVERY_S)
        passed = uptime(time.monotonic() - started_s)
        if watch.newest is None:
            console.print(cell(f"{passed} starting"), highlight=False)
            continue
        newest = watch.newest.problems[-1] if watch.newest.problems else None
        if newest is not None and newest != printed:
            line = f"{clock(newest.at_s)} {newest.process}: {newest.text}"
            console.print(cell(line), highlight=False, soft_wrap=True)
            printed = newest
        line = " | ".join(f"{flow.kind}: {_line(flow)}" for flow in watch.newest.flows)
        console.print(cell(f"{passed} {line}"), highlight=False, soft_wrap=True)


def _line(flow: Flow) -> str:
    waiting = "?" if flow.lag is None else f"{flow.lag:,}"
    return (
        f"{flow.frames_per_s:,.0f} frames/s, published {flow.published:,},"
        f" waiting {waiting}, stored {flow.stored:,}"
    )
