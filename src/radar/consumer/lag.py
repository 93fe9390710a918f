"""How far the partitions of a worker are behind, shown in the metrics."""

import time
from collections import deque
from collections.abc import Callable, Mapping

from radar.datasets import Dataset
from radar.telemetry import metrics

# Older sightings are thinned out, which keeps the age of the oldest message.
MAX_SIGHTINGS = 512


class Backlog:
    """Finds the age of the oldest message of a partition that is not stored: pure.

    An age counts from when the end of the log was first seen behind the message, so it is known
    to the interval of the looks, and never too high.
    """

    def __init__(self) -> None:
        self._sightings: deque[tuple[float, int]] = deque()  # when which end was first seen

    def age_s(self, now_s: float, end: int, next_offset: int) -> float:
        """Return the age at this look; 0 if every message is stored."""
        seen = self._sightings
        if seen and seen[-1][1] > end:
            seen.clear()  # the log went back, or is another one
        if not seen or seen[-1][1] < end:
            seen.append((now_s, end))
        while seen and seen[0][1] <= next_offset:
            seen.popleft()
        if len(seen) > MAX_SIGHTINGS:
            self._sightings = deque(list(seen)[::2])
        return now_s - seen[0][0] if seen else 0.0


class LagGauge:
    """Shows the lag of the partitions that a worker owns, and of no others. For one thread."""

    def __init__(self, dataset: Dataset, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without partitions; `clock` returns seconds."""
        self._dataset = dataset.name
        self._clock = clock
        self._backlogs: dict[int, Backlog] = {}

    def show(self, ends: Mapping[int, int], next_offsets: Mapping[int, int]) -> None:
        """Show the newest numbers.

        Args:
            ends: The next offset that will be written, by partition.
            next_offsets: The next offset to be stored, by partition that the worker owns.
        """
        for partition in self._backlogs.keys() - next_offsets.keys():
            metrics.LAG.remove(self._dataset, str(partition))
            metrics.LAG_SECONDS.remove(self._dataset, str(partition))
            del self._backlogs[partition]
        for partition, next_offset in next_offsets.items():
            labels = (self._dataset, str(partition))
            end = max(ends.get(partition, next_offset), next_offset)
            backlog = self._backlogs.setdefault(partition, Backlog())
            metrics.LAG.labels(*labels).set(end - next_offset)
            metrics.LAG_SECONDS.labels(*labels).set(backlog.age_s(self._clock(), end, next_offset))
