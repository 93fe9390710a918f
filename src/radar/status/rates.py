"""How fast numbers change over a window, from repeated observations."""

from collections import deque
from collections.abc import Hashable, Mapping
from typing import Any

WINDOW_S = 15.0  # longer than the interval of depth snapshots, which come in bursts


class Window:
    """The observations of some numbers in the last `WINDOW_S`. For one thread."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._moments: deque[tuple[float, Mapping[Any, float]]] = deque()

    def add(self, at_s: float, values: Mapping[Any, float]) -> None:
        """Add the numbers at a time, in seconds of any clock that does not jump."""
        self._moments.append((at_s, values))
        # The observation before the window stays, so that rates span all of it.
        while len(self._moments) > 2 and self._moments[1][0] <= at_s - self._window_s:
            self._moments.popleft()

    @property
    def span_s(self) -> float:
        """The age of the first observation; 0.0 when there is only one."""
        return self._moments[-1][0] - self._moments[0][0] if self._moments else 0.0

    def rate(self, key: Hashable) -> float | None:
        """Return the change of a number per second; None until it was observed twice.

        It counts from the first observation of the number: earlier counts of the process belong to
        an unknown time.
        """
        if not self._moments or key not in (last := self._moments[-1])[1]:
            return None
        first = next(moment for moment in self._moments if key in moment[1])
        if last[0] <= first[0]:
            return None
        return (last[1][key] - first[1][key]) / (last[0] - first[0])
