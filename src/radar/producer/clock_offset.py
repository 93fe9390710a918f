"""How far this machine's clock is ahead of an exchange's, as its answers bound it: pure.

An answer carries the exchange's time, often in whole seconds. The exchange wrote it between our
request and our receipt, so each answer bounds the offset from both sides. The bounds of several
answers together are closer than those of one. Records bound it from one side only: a record cannot
arrive before it happens, and its delay is unknown.

Times are in microseconds of Unix time, except where a name says monotonic.
"""

from collections import deque
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from radar.codec.message_format import MAX_TIME_MS, MIN_TIME_MS

# Bounds of this age are evidence no more. A producer reads the market list every ten minutes.
EVIDENCE_S = 1_800.0
# The answers of this time count together.
PART_S = 120.0
# The header `Date` has whole seconds.
SECOND_US = 1_000_000
MAX_DATE_CHARACTERS = 64


class Offset(NamedTuple):
    """This machine's clock minus the exchange's.

    Attributes:
        seconds: The middle of the bounds; positive: this machine's clock is ahead.
        uncertainty_s: The bounds are so far from the middle.
    """

    seconds: float
    uncertainty_s: float

    @property
    def least_s(self) -> float:
        """The least difference of the clocks that the bounds leave, without its sign."""
        return max(0.0, abs(self.seconds) - self.uncertainty_s)


class _Bounds(NamedTuple):
    low_us: int
    high_us: int

    def within(self, other: "_Bounds") -> "_Bounds | None":
        """Return the bounds that both leave; None if they contradict each other."""
        both = _Bounds(max(self.low_us, other.low_us), min(self.high_us, other.high_us))
        return both if both.low_us <= both.high_us else None


class ClockOffset:
    """Bounds the offset of one exchange; remembers at most EVIDENCE_S / PART_S bounds."""

    def __init__(self) -> None:
        self._parts: deque[tuple[float, _Bounds]] = deque(maxlen=int(EVIDENCE_S / PART_S))
        self._least_delay: tuple[float, int] | None = None
        self._since_s = 0.0

    def answered(
        self, sent_us: int, received_us: int, told_us: int, resolution_us: int, monotonic_s: float
    ) -> None:
        """Take an answer.

        Args:
            sent_us: When the request left.
            received_us: When the answer arrived.
            told_us: The exchange's time in it. A time of another century is ignored.
            resolution_us: The exchange's clock was less than so much later.
            monotonic_s: Now.
        """
        if not MIN_TIME_MS * 1000 <= told_us < MAX_TIME_MS * 1000 or received_us < sent_us:
            return
        bounds = _Bounds(sent_us - told_us - resolution_us, received_us - told_us)
        if self._parts and monotonic_s < self._parts[-1][0] + PART_S:
            began_s, known = self._parts.pop()
            # A clock was set, or the servers of the exchange differ: the newest answer counts.
            self._parts.append((began_s, known.within(bounds) or bounds))
        else:
            self._parts.append((monotonic_s, bounds))

    def dated(self, sent_us: int, received_us: int, date: str, monotonic_s: float) -> None:
        """Take the header `Date` of an answer; one that is no date is ignored."""
        if (told_us := date_us(date)) is not None:
            self.answered(sent_us, received_us, told_us, SECOND_US, monotonic_s)

    def delayed(self, delay_us: int, monotonic_s: float) -> None:
        """Take the receive-minus-exchange time of records; it bounds the offset from above."""
        # The records of a window, so it must have begun after the clock was set.
        if monotonic_s > self._since_s + PART_S:
            self._least_delay = (monotonic_s, delay_us)

    def clear(self, monotonic_s: float) -> None:
        """Forget all bounds: this machine's clock was set."""
        self._parts.clear()
        self._least_delay = None
        self._since_s = monotonic_s

    def estimate(self, monotonic_s: float) -> Offset | None:
        """Return the offset; None without an answer that is younger than EVIDENCE_S."""
        young = [part for at_s, part in self._parts if monotonic_s - at_s <= EVIDENCE_S]
        if not young:
            return None
        bounds = young[-1]
        for older in reversed(young[:-1]):
            if (both := bounds.within(older)) is None:
                break
            bounds = both
        if self._least_delay is not None and monotonic_s - self._least_delay[0] <= PART_S:
            # A record that arrived before it happened contradicts the answers; they count.
            limit = _Bounds(bounds.low_us, self._least_delay[1])
            bounds = bounds.within(limit) or bounds
        low_us, high_us = bounds
        return Offset((low_us + high_us) / 2e6, (high_us - low_us) / 2e6)


def date_us(date: str) -> int | None:
    """Return the time of a header `Date`; None if it is no date."""
    try:
        return int(parsedate_to_datetime(date[:MAX_DATE_CHARACTERS]).timestamp()) * 1_000_000
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
