"""Runs the view: over a pipeline of other processes, or as the screen of `radar up`."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import structlog
from rich.console import Console
from rich.live import Live
from rich.text import Text

from radar.settings import Settings
from radar.status import deployment
from radar.status.collect import Observer
from radar.ui.terminal import lines
from radar.ui.terminal.watch import LiveOverview

if TYPE_CHECKING:
    from radar.ui.terminal.app import Monitor

# The screen's library is imported when rows are stored, or this long after the start at the latest:
# until then the starting processes have the machine to themselves.
SCREEN_AFTER_S = 6.0
LOOK_EVERY_S = 0.1
EXIT_TIMEOUT_S = 3.0
_WORDS = {"starting": "◌", "running": "●", "restarting": "↻", "failed": "✗", "stopped": "○"}

_log = structlog.get_logger()


class Started(Protocol):
    """The shown state of a process while it starts."""

    @property
    def state(self) -> str:
        """Starting, running, restarting, failed or stopped."""


def monitor(settings: Settings, addresses: Sequence[tuple[str, str]] = ()) -> None:
    """Show the running pipeline until the user quits; blocks. It changes and stops no process.

    Args:
        settings: The options.
        addresses: The addresses of the services, by name.
    """
    from radar.ui.terminal.app import Monitor

    watch = LiveOverview(Observer(settings))
    found = deployment.find(settings)
    name = "simulated exchange" if found.simulated else ", ".join(settings.exchanges)

    async def show() -> None:
        observing = asyncio.create_task(watch.keep_up())
        try:
            await Monitor(name, lambda: watch.newest, addresses=addresses).run_async()
        finally:
            observing.cancel()

    asyncio.run(show())


def has_terminal() -> bool:
    """Return whether there is a terminal: the screen reads standard input and writes the error."""
    return all(
        stream is not None and stream.isatty()
        for stream in (sys.__stdin__, sys.__stdout__, sys.__stderr__)
    )


async def show_up(
    console: Console,
    name: str,
    addresses: Sequence[tuple[str, str]],
    watch: LiveOverview,
    processes: Callable[[], Mapping[str, Started]],
) -> None:
    """Show the pipeline of `radar up` until cancelled; leaves the terminal as it was.

    Args:
        console: The console to print on.
        name: The recorded exchange.
        addresses: The addresses of the services, by name.
        watch: The observations.
        processes: Returns the processes by name.
    """
    if not (console.is_terminal and has_terminal()):
        await lines.show(console, addresses, watch)
        return
    await _until_stored(console, name, watch, processes)
    from radar.ui.terminal.app import Monitor

    app = Monitor(
        name,
        lambda: watch.newest,
        addresses=addresses,
        stopping=lambda: watch.stopping,
        interrupt=lambda: os.kill(os.getpid(), signal.SIGINT),
    )
    showing = asyncio.create_task(app.run_async())
    try:
        await asyncio.shield(showing)
    except asyncio.CancelledError:
        await _end(app, showing)
        raise
    except Exception:  # noqa: BLE001 - the pipeline goes on without it
        _log.exception("the view failed")
    await lines.show(console, addresses, watch)


async def _end(app: "Monitor", showing: "asyncio.Task[None]") -> None:
    """Restore the terminal."""
    app.exit()
    with contextlib.suppress(Exception, asyncio.CancelledError):
        await asyncio.wait_for(showing, EXIT_TIMEOUT_S)


async def _until_stored(
    console: Console, name: str, watch: LiveOverview, processes: Callable[[], Mapping[str, Started]]
) -> None:
    began_s = time.monotonic()
    started_s: float | None = None
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            shown = processes()
            text = Text.assemble((f"radar · {name} · starting ", "bold"))
            text.append(f"{time.monotonic() - began_s:.1f} s\n", style="dim")
            for process, each in shown.items():
                text.append(f"  {_WORDS[each.state]} {process}", style="dim")
            live.update(text, refresh=True)
            newest = watch.newest
            if newest is not None and started_s is None:
                started_s = time.monotonic()
            if started_s is not None and newest is not None:
                stored = any(flow.stored for flow in newest.flows)
                if stored or time.monotonic() > started_s + SCREEN_AFTER_S:
                    return
            await asyncio.sleep(LOOK_EVERY_S)
