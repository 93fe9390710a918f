"""The pipeline's last hours, sampled as long as the process runs."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

import structlog

from radar.errors import RadarError, StoreUnavailable
from radar.status.judgement import OVERVIEW_HOLDS_S
from radar.status.model import Flow, Overview

PERIOD_S = 5.0
LOOKED_AT_PERIOD_S = 1.0
KEPT_MINUTES = 360
POINTS = 720  # the most points of each curve in one answer
_LOOKS_FOR_S = 3.0  # a viewer counts for this long after its last request

_log = structlog.get_logger()


class Sample(NamedTuple):
    """One dataset at one moment; None: not known."""

    frames_per_s: float | None
    published_per_s: float | None
    stored_per_s: float | None
    lag: float | None
    latency_s: float | None


_UNKNOWN = Sample(None, None, None, None, None)


class History:
    """The newest samples of all datasets; memory is bounded (about 4 MB)."""

    def __init__(self, kept: int = int(KEPT_MINUTES * 60 / PERIOD_S)) -> None:
        """Keep this many samples."""
        self._samples: deque[tuple[float, dict[str, Sample]]] = deque(maxlen=kept)

    def add(self, at_s: float, flows: Iterable[Flow]) -> None:
        """Add a sample, unless the previous one is of the same period."""
        if self._samples and at_s - self._samples[-1][0] < PERIOD_S * 0.9:
            return
        self._samples.append((at_s, {flow.dataset: _sample(flow) for flow in flows}))

    def since(self, at_s: float) -> dict[str, Any]:
        """Return the curves since a time, in the page's form.

        Over a long time, one point combines several samples: the mean of rates, the worst of lag
        and latency.
        """
        chosen = [each for each in self._samples if each[0] >= at_s]
        step = max(1, math.ceil(len(chosen) / POINTS))
        groups = [chosen[n : n + step] for n in range(0, len(chosen), step)]
        datasets = list(dict.fromkeys(dataset for _, samples in chosen for dataset in samples))
        return {
            "period_s": PERIOD_S * step,
            "at_s": [group[-1][0] for group in groups],
            "datasets": {
                dataset: _curves(
                    [[each.get(dataset, _UNKNOWN) for _, each in group] for group in groups]
                )
                for dataset in datasets
            },
        }


def _sample(flow: Flow) -> Sample:
    lag = None if flow.lag is None else float(flow.lag)
    return Sample(flow.frames_per_s, flow.published_per_s, flow.stored_per_s, lag, flow.latency_s)


def _curves(groups: list[list[Sample]]) -> dict[str, list[float | None]]:
    def curve(name: str, of: Callable[[list[float]], float]) -> list[float | None]:
        known = (
            [v for each in group if (v := getattr(each, name)) is not None] for group in groups
        )
        return [of(values) if values else None for values in known]

    worst = ("lag", "latency_s")
    return {name: curve(name, max if name in worst else _mean) for name in Sample._fields}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


class Sampler:
    """Observes the pipeline: every second while a page is open, else every five."""

    def __init__(self, observe: Callable[[], Awaitable[Overview]]) -> None:
        """Prepare.

        Args:
            observe: Returns the present overview; raises a RadarError if no fact is known.
        """
        self.history = History()
        self._observe = observe
        self._latest: Overview | None = None
        self._observed_at_s = -math.inf
        self._problem = "the pipeline has not been looked at yet"
        self._rounds = 0
        self._looked_at_s = -math.inf
        self._looking = asyncio.Event()
        self._sampled = asyncio.Condition()

    async def run(self) -> None:
        """Observe until cancelled."""
        while True:
            try:
                self._latest, self._problem = await self._observe(), ""
                self._observed_at_s = time.monotonic()
                self.history.add(self._latest.at_s, self._latest.flows)
            except RadarError as error:
                self._latest, self._problem = None, str(error)
            except Exception:  # noqa: BLE001 - the next round may do better
                _log.exception("cannot observe the pipeline")
                self._latest, self._problem = None, "the dashboard itself has failed"
            self._rounds += 1
            async with self._sampled:
                self._sampled.notify_all()
            await self._rest()

    async def latest(self) -> Overview:
        """Return the newest overview, at most a few seconds old.

        Raises:
            StoreUnavailable: There is no recent overview.
        """
        self._look()
        if not self._rounds:
            return await self.next()
        return self._found()

    async def next(self) -> Overview:
        """Wait for the next overview and return it.

        Raises:
            StoreUnavailable: There is no recent overview.
        """
        self._look()
        rounds = self._rounds
        async with self._sampled:
            await self._sampled.wait_for(lambda: self._rounds > rounds)
        self._look()
        return self._found()

    def _found(self) -> Overview:
        if self._latest is None:
            raise StoreUnavailable(self._problem)
        if (old_s := time.monotonic() - self._observed_at_s) > OVERVIEW_HOLDS_S:
            raise StoreUnavailable(f"the pipeline has not been observed for {old_s:.0f} s")
        return self._latest

    def _look(self) -> None:
        self._looked_at_s = time.monotonic()
        self._looking.set()

    async def _rest(self) -> None:
        await asyncio.sleep(LOOKED_AT_PERIOD_S)
        if time.monotonic() - self._looked_at_s > _LOOKS_FOR_S:
            self._looking.clear()
            try:
                async with asyncio.timeout(PERIOD_S - LOOKED_AT_PERIOD_S):
                    await self._looking.wait()
            except TimeoutError:
                pass
