"""Observes a pipeline repeatedly, beside the other tasks of an event loop."""

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog

from radar.daemon_threads import aside
from radar.status.collect import Observer

if TYPE_CHECKING:
    from radar.status.model import Overview

PERIOD_S = 1.0
LOOK_EVERY_S = 0.02  # after an observation that a caller waits for

_log = structlog.get_logger()


class LiveOverview:
    """Observes regularly.

    Attributes:
        period_s: The time between two observations.
        newest: The newest observation; None before the first.
        stopping: The step for which a stop waits; empty while the pipeline is not stopping.
    """

    def __init__(self, observer: Observer) -> None:
        self.period_s = PERIOD_S
        self.newest: Overview | None = None
        self._begun = self._heard = 0  # observations; the newest with an answer of each producer
        self.stopping = ""
        self._wanted = asyncio.Event()
        self._observer = observer

    @property
    def frames_refused(self) -> int:
        """Invalid frames so far, of all datasets."""
        return self._observer.frames_refused

    async def keep_up(self) -> None:
        """Observe until cancelled."""
        while True:
            self._wanted.clear()
            self._begun += 1
            try:
                self.newest = await aside(self._observer.observe, "observe")
                if self._observer.heard_producers:
                    self._heard = self._begun
            except Exception:  # noqa: BLE001 - an observer must not end the pipeline
                _log.exception("cannot observe")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), self.period_s)

    async def refresh(self) -> None:
        """Observe at once; return when every producer has answered a probe that began after now."""
        wanted = self._begun + 1
        while self._heard < wanted:
            self._wanted.set()
            await asyncio.sleep(LOOK_EVERY_S)
