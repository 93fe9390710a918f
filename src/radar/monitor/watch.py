"""Keeps observing a pipeline, beside everything else that an event loop does."""

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

import structlog

from radar.observe.observer import Observer

if TYPE_CHECKING:
    from radar.observe.overview import Overview

PERIOD_S = 1.0

_log = structlog.get_logger()


class Watch:
    """Observes regularly.

    Attributes:
        period_s: The time between two observations.
        newest: What was observed last; None before the first.
        rounds: How often it was observed with an answer of every producer.
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

    @property
    def frames_refused(self) -> int:
        """Invalid ones among them."""
        return self._observer.frames_refused

    async def keep_up(self) -> None:
        """Observe until cancelled."""
        while True:
            try:
                self.newest = await self._observe()
                self.rounds += self._observer.heard_producers
            except Exception:  # noqa: BLE001 - who only looks on must not end what goes on
                _log.exception("cannot observe")
            await asyncio.sleep(self.period_s)

    async def _observe(self) -> "Overview":
        # Not in a thread of the loop's own, for which the end of the process would wait.
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Overview] = loop.create_future()

        def tell(overview: "Overview | None", error: Exception | None) -> None:
            if ended.done():
                return  # nobody waits any more
            if error is not None:
                ended.set_exception(error)
            elif overview is not None:
                ended.set_result(overview)

        def run() -> None:
            overview = error = None
            try:
                overview = self._observer.observe()
            except Exception as failure:  # noqa: BLE001 - raised again by whoever waits
                error = failure
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(tell, overview, error)

        threading.Thread(target=run, name="observe", daemon=True).start()
        return await ended
