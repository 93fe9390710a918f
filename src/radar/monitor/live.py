"""The calm view of `radar up`: one screen in a terminal, one line now and then elsewhere."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from radar.monitor.watch import Watch
from radar.observe.overview import Flow, Overview, Problem

REFRESH_S = 0.5
LINE_EVERY_S = 5.0
WIDE = 100
ONLY_WIDE = ("connec-\ntions", "latency\n")

_DOTS = {
    "running": ("●", "green"),
    "starting": ("◌", "yellow"),
    "restarting": ("◌", "red"),
    "stopped": ("○", "dim"),
}


class ProcessState(Protocol):
    """What is shown of a process."""

    @property
    def state(self) -> str:
        """Starting, running, restarting or stopped."""

    @property
    def pid(self) -> int | None:
        """The process id, while it lives."""

    @property
    def restarts(self) -> int:
        """How often it was started again."""


def screen(
    title: str,
    addresses: Sequence[tuple[str, str]],
    watch: Watch,
    processes: Mapping[str, ProcessState],
    uptime_s: float,
    width: int,
) -> RenderableType:
    """Draw the whole view, `width` columns wide."""
    state = "stopping: waiting until everything is stored" if watch.stopping else "Ctrl-C stops"
    parts: list[RenderableType] = [
        *(
            [_flows({each.kind: each for each in watch.newest.flows}, width)]
            if watch.newest
            else []
        ),
        Text(),
        _processes(processes, width),
        Text(),
        _addresses(addresses),
    ]
    if watch.newest and watch.newest.problems:
        parts += [Text(), _problems(watch.newest)]
    return Panel(
        Group(*parts),
        title=Text(f" radar · {title} · {_clock(uptime_s)} ", style="bold"),
        subtitle=Text(f" {state} ", style="dim"),
        padding=(1, 2),
    )


async def show(
    console: Console,
    title: str,
    addresses: Sequence[tuple[str, str]],
    watch: Watch,
    processes: Callable[[], Mapping[str, ProcessState]],
) -> None:
    """Show the pipeline until cancelled; asks for its processes again and again."""
    started_s = time.monotonic()

    def draw() -> RenderableType:
        uptime_s = time.monotonic() - started_s
        return screen(title, addresses, watch, processes(), uptime_s, console.width)

    if console.is_terminal:
        with Live(draw(), console=console, screen=True, auto_refresh=False) as live:
            while True:
                await asyncio.sleep(REFRESH_S)
                live.update(draw(), refresh=True)
    for name, where in addresses:
        console.print(f"{name}: {where}", highlight=False, soft_wrap=True)
    printed: Problem | None = None
    while True:
        await asyncio.sleep(LINE_EVERY_S)
        if watch.newest is None:
            continue
        newest = watch.newest.problems[-1] if watch.newest.problems else None
        if newest is not None and newest != printed:
            line = f"{_time(newest)} {newest.process}: {newest.text}"
            console.print(line, highlight=False, soft_wrap=True, markup=False)
            printed = newest
        line = " | ".join(f"{flow.kind}: {_line(flow)}" for flow in watch.newest.flows)
        clock = _clock(time.monotonic() - started_s)
        console.print(f"{clock} {line}", highlight=False, soft_wrap=True)


def _line(flow: Flow) -> str:
    waiting = "?" if flow.lag is None else f"{flow.lag:,}"
    return (
        f"{flow.frames_per_s:,.0f} frames/s, published {flow.published:,},"
        f" waiting {waiting}, stored {flow.stored:,}"
    )


def _flows(flows: Mapping[str, Flow], width: int) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim", expand=True)
    table.add_column("", no_wrap=True, min_width=6)
    rows = {kind: _cells(flow) for kind, flow in flows.items()}
    names = next(iter(rows.values()))
    headings = [name for name in names if width >= WIDE or name not in ONLY_WIDE]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for kind, cells in rows.items():
        table.add_row(Text(kind, style="bold"), *(cells[name] for name in headings))
    return table


def _cells(flow: Flow) -> dict[str, str | Text]:
    return {
        "connec-\ntions": str(flow.connections),
        "frames\n/s": f"{flow.frames_per_s:,.0f}",
        "published\n/s": f"{flow.published_per_s:,.1f}",
        "waiting\n": "…" if flow.lag is None else f"{flow.lag:,}",
        "stored\n/s": f"{flow.stored_per_s:,.1f}",
        "stored\n": f"{flow.stored:,}",
        "latency\n": "–" if flow.latency_s is None else f"{flow.latency_s:.1f} s",
        "bad\nframes": _count(flow.invalid_frames, "yellow"),
        "dead\nletters": _count(flow.dead_letters, "red"),
    }


def _count(count: int, style: str) -> Text:
    return Text(f"{count:,}", style=style if count else "dim")


def _processes(processes: Mapping[str, ProcessState], width: int) -> Table:
    table = Table(box=None, padding=(0, 2), show_header=False)
    cells: list[Text] = []
    for name, process in processes.items():
        dot, colour = _DOTS[process.state]
        cell = Text.assemble((dot, colour), f" {name}", (f"  {process.pid or ''}", "dim"))
        if process.restarts:
            cell.append(f"  ↻ {process.restarts}", style="yellow")
        cells.append(cell)
    columns = 2 if width < WIDE else 3
    for start in range(0, len(cells), columns):
        table.add_row(*cells[start : start + columns])
    return table


def _addresses(addresses: Sequence[tuple[str, str]]) -> Table:
    table = Table(box=None, padding=(0, 2), show_header=False)
    for name, where in addresses:
        table.add_row(Text(name, style="dim"), where)
    return table


def _problems(overview: Overview) -> Table:
    table = Table(box=None, padding=(0, 2), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    for problem in overview.problems[-8:]:
        table.add_row(
            Text(_time(problem), style="dim"), Text(problem.process, style="yellow"), problem.text
        )
    return table


def _time(problem: Problem) -> str:
    return f"{datetime.fromtimestamp(problem.at_s, UTC):%H:%M:%S}"


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}"
