"""Whether a partition is silent although its log goes on: pure, the time is an argument.

librdkafka does not report every unreadable batch as an error. The other evidence: the log holds
messages, the worker has asked for them and polls, and none comes.
"""

from dataclasses import dataclass

# A partition is silent after the worker has polled it in vain for this long.
SILENT_S = 5.0
# At most this much counts between two looks: a worker that was busy elsewhere has not polled.
LONGEST_LOOK_S = 1.0


@dataclass
class PartitionSilence:
    """How long one partition has been silent; times are in seconds of one monotonic clock."""

    _watched_s: float = 0.0
    _looked_at_s: float | None = None

    def end(self) -> None:
        """Start anew: messages came, the position changed, or the evidence is void."""
        self._watched_s, self._looked_at_s = 0.0, None

    def check(self, now_s: float, *, waits: bool) -> bool:
        """Record a poll without a message; return whether the partition is silent.

        Args:
            now_s: The time.
            waits: Whether the log holds messages that the worker asked for and did not get.
        """
        if not waits:
            self.end()
            return False
        if self._looked_at_s is not None:
            self._watched_s += min(now_s - self._looked_at_s, LONGEST_LOOK_S)
        self._looked_at_s = now_s
        return self._watched_s >= SILENT_S
