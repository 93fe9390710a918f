"""Keeps observing a pipeline, beside everything else that an event loop does."""

import asyncio
from typing import TYPE_CHECKING

from radar.observe.observer import Observer

if TYPE_CHECKING:
    from radar.observe.overview import Overview

PERIOD_S = 1.0


class Watch:
    """Observes regularly.

    Attributes:
        period_s: The time between two observations.
        newest: What was observed last; None before the first.
        rounds: How often it was observed.
        stopping: Whether the pipeline is being stopped, for who shows it.
    """

    def __init__(self, observer: Observer) -> None:
        self.period_s = PERIOD_S
        self.newest: Overview | None = None
        self.rounds = 0
        self.stopping = False
        self._observer = observer

    @property
    def frames_received(self) -> int:
        """Frames received so far, of all kinds."""
        return self._observer.frames_received

    async def keep_up(self) -> None:
        """Observe until cancelled."""
        while True:
            self.newest = await asyncio.to_thread(self._observer.observe)
            self.rounds += 1
            await asyncio.sleep(self.period_s)
