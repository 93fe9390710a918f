"""Whether a partition is silent although its log goes on: pure, the time is an argument.

Not every batch that cannot be read is reported as an error. The other evidence is that no message
comes while the worker polls, has asked for messages, and the log holds some.
"""

from dataclasses import dataclass

# So long a worker must have polled such a partition in vain.
SILENT_S = 5.0
# No more than this counts between two looks: a worker that was busy elsewhere has seen nothing.
LONGEST_LOOK_S = 1.0


@dataclass
class StallDetector:
    """How long one partition has been silent; times are in seconds of one monotonic clock."""

    _watched_s: float = 0.0
    _looked_at_s: float | None = None

    def end(self) -> None:
        """Note that messages came, that the position changed, or that the evidence is void."""
        self._watched_s, self._looked_at_s = 0.0, None

    def look(self, now_s: float, *, waits: bool) -> bool:
        """Note a poll that left nothing behind; return whether the partition is silent.

        Args:
            now_s: The time.
            waits: Whether messages were asked for, and the log holds some that did not come.
        """
        if not waits:
            self.end()
            return False
        if self._looked_at_s is not None:
            self._watched_s += min(now_s - self._looked_at_s, LONGEST_LOOK_S)
        self._looked_at_s = now_s
        return self._watched_s >= SILENT_S
