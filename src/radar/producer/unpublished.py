"""Collects the messages that Kafka refused for good, so that each lies inside a gap. Pure."""

import math
from collections import deque

from radar.codec.message_format import MAX_GAP_SYMBOLS
from radar.producer.gaps import EVENT_TIME_MARGIN_US, Uncovered
from radar.records import GapCause

# Messages that are given up within this time share a gap.
COLLECT_S = 5.0
# How many messages are remembered, to be published again from REST.
REMEMBERED_VALUES = 100_000


class Unpublished:
    """The messages that were given up since the last gap. Times of `now_s` are monotonic."""

    def __init__(self) -> None:
        self._first_us: dict[str, int] = {}
        self._last_us: dict[str, int] = {}
        self._began_s = math.inf
        self.values: deque[bytes] = deque(maxlen=REMEMBERED_VALUES)  # newest, of all gaps
        self.symbols: set[str] = set()  # of all gaps, until they are fetched again

    def add(self, symbol: str, received_at_us: int, value: bytes, now_s: float) -> None:
        """Add a refused message of a market."""
        self._began_s = min(self._began_s, now_s)
        first_us = self._first_us.setdefault(symbol, received_at_us)
        self._first_us[symbol] = min(first_us, received_at_us)
        self._last_us[symbol] = max(self._last_us.get(symbol, 0), received_at_us)
        self.values.append(value)
        self.symbols.add(symbol)

    def gaps(self, now_s: float, *, finally_: bool = False) -> list[Uncovered]:
        """Return the gaps to record now.

        A gap begins before the first refused message: a trade's time is its whole second, which
        began before the receipt. It ends at the last one, for every market that lost one.
        """
        if not self._first_us or (not finally_ and now_s < self._began_s + COLLECT_S):
            return []
        symbols = sorted(self._first_us)
        gaps = []
        for start in range(0, len(symbols), MAX_GAP_SYMBOLS):
            part = tuple(symbols[start : start + MAX_GAP_SYMBOLS])
            began_us = min(self._first_us[each] for each in part) - EVENT_TIME_MARGIN_US
            ended_us = max(self._last_us[each] for each in part)
            gaps.append(Uncovered(began_us, ended_us, GapCause.REFUSED_BY_KAFKA, part))
        self._first_us.clear()
        self._last_us.clear()
        self._began_s = math.inf
        return gaps
