"""How fast numbers change: over a window, from what was seen of them."""

from collections import deque
from collections.abc import Hashable, Mapping
from typing import Any

WINDOW_S = 15.0  # longer than the interval of depth snapshots, which come in bursts


class Window:
    """What was seen of some numbers in the last `WINDOW_S`. For one thread."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._moments: deque[tuple[float, Mapping[Any, float]]] = deque()

    def add(self, at_s: float, values: Mapping[Any, float]) -> None:
        """Take what the numbers are at a time, in seconds of any clock that does not jump."""
        self._moments.append((at_s, values))
        # The one that began the window stays, so that rates span all of it.
        while len(self._moments) > 2 and self._moments[1][0] <= at_s - self._window_s:
            self._moments.popleft()

    @property
    def span_s(self) -> float:
        """How long ago the first of what was seen is; 0.0 when there is only one."""
        return self._moments[-1][0] - self._moments[0][0] if self._moments else 0.0

    def rate(self, key: Hashable) -> float | None:
        """Return the change of a number a second; None until it was seen twice.

        It counts from when the number was seen first: what a process had counted before anybody
        looked did not happen now.
        """
        if not self._moments or key not in (last := self._moments[-1])[1]:
            return None
        first = next(moment for moment in self._moments if key in moment[1])
        if last[0] <= first[0]:
            return None
        return (last[1][key] - first[1][key]) / (last[0] - first[0])
