"""Which messages the embedded broker may delete; pure, the time is an argument.

The broker writes its whole log to its file every second, so the log has to be short. But a power
cut may take the rows of the last half minute from ClickHouse, which leaves the writing to the
operating system. The workers then store them again from Kafka. So a message is kept for KEPT_S
after every worker has committed it.
"""

from collections import deque
from collections.abc import Mapping

from radar.kafka import Lag

KEPT_S = 60.0
KEPT_RECORDS = 20_000  # of a partition at most, which bounds memory and file at high rates

_Committed = Mapping[tuple[str, int], int]


class Trimming:
    """Remembers what was committed in the last KEPT_S."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, _Committed]] = deque()

    def deletable(self, lags: Mapping[str, list[Lag]], now_s: float) -> dict[str, dict[int, int]]:
        """Return the offsets before which messages may be deleted, by topic and partition.

        Args:
            lags: By topic, as of now.
            now_s: By a clock that does not go back.
        """
        committed = {
            (topic, lag.partition): lag.committed
            for topic, found in lags.items()
            for lag in found
            if lag.committed is not None
        }
        self._seen.append((now_s, committed))
        while len(self._seen) > 1 and self._seen[1][0] <= now_s - KEPT_S:
            self._seen.popleft()
        at_s, before = self._seen[0]
        old = before if at_s <= now_s - KEPT_S else {}
        result: dict[str, dict[int, int]] = {}
        for topic, found in lags.items():
            for lag in found:
                place = topic, lag.partition
                if lag.committed is None:
                    continue
                # Offsets that were set back protect what is behind them again.
                end = max(min(old.get(place, 0), lag.committed), lag.committed - KEPT_RECORDS)
                if end > lag.start:
                    result.setdefault(topic, {})[lag.partition] = end
        return result
