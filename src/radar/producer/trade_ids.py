"""Trade identity: which deliveries are the same trade.

Wallex gives trades no id and one-second timestamps; identical trades are legitimate; new
connections, overlapping ones and REST deliver the same trade again. So a trade is named by its
content and by `n`, the how-many-eth of that content it is within one source, a source being one
connection or one REST read. Deliveries of one trade by several sources get one name, and twins
within a source get several. A source that missed a twin counts too low, which never doubles
anything and is made good by any source that saw all twins: the overlap, or the REST read.

Everything here is pure; times are arguments.
"""

from hashlib import sha256

from radar.codec.message_format import TradeMessage
from radar.records import Trade

ID_DIGITS = 32

# The twins of a trade reach one source within seconds of each other.
REMEMBER_US = 10_000_000
# There are many sources; what was published is remembered once, for longer: REST and connections
# that come later tell it again.
REMEMBER_OF_A_SOURCE = 10_000
REMEMBER_PUBLISHED = 100_000


def combination(trade: Trade | TradeMessage) -> str:
    """Return the content by which trades are told apart: all but the time of receipt."""
    return (
        f"{trade.source}|{trade.symbol}|{trade.event_time_ms}|{trade.price}"
        f"|{trade.base_amount}|{trade.side}"
    )


def trade_id(combination: str, n: int) -> str:
    """Return the identity of the n-th trade of a combination, 32 hexadecimal digits.

    Args:
        combination: As returned by `combination`.
        n: The occurrence within one source; the first is 1.
    """
    return sha256(f"{combination}|{n}".encode()).hexdigest()[:ID_DIGITS]


class Memory:
    """A number for each combination, of bounded size; what was not touched for long is forgotten.

    Two generations: when the current one is full and old enough it becomes the previous one,
    and the previous one is dropped. So a combination is remembered for at least `min_age_us` and
    at least `min_combinations` others after it was last set, whatever its exchange's clock says.
    """

    def __init__(self, min_combinations: int, min_age_us: int = REMEMBER_US) -> None:
        self._min_age_us = min_age_us
        self._min_combinations = min_combinations
        self._current: dict[str, int] = {}
        self._previous: dict[str, int] = {}
        self._since_us = self._complete_since_us = 0

    @property
    def complete_since_us(self) -> int:
        """Return since when everything is remembered that was set, by the clock of `set`."""
        return self._complete_since_us

    def __len__(self) -> int:
        return len(self._current) + len(self._previous)

    def get(self, combination: str) -> int:
        """Return the number of a combination; 0 if it is not remembered."""
        return self._current.get(combination) or self._previous.get(combination, 0)

    def set(self, combination: str, number: int, now_us: int) -> None:
        """Remember the number of a combination.

        Args:
            combination: As returned by `combination`.
            number: Above 0.
            now_us: A clock in microseconds that does not have to be exact.
        """
        if (
            len(self._current) >= self._min_combinations
            # A clock that was set back must not keep a generation for ever.
            and not 0 <= now_us - self._since_us < self._min_age_us
        ):
            if self._previous:
                self._complete_since_us = self._since_us
            self._previous = self._current
            self._current = {}
            self._since_us = now_us
        elif not self._current:
            self._since_us = now_us
        self._current[combination] = number

    def forget(self, combination: str) -> None:
        """Remember nothing of a combination."""
        self._current.pop(combination, None)
        self._previous.pop(combination, None)


class Occurrences:
    """Counts the trades of each combination within one source."""

    def __init__(self) -> None:
        self._counted = Memory(REMEMBER_OF_A_SOURCE)

    def count(self, combination: str, now_us: int) -> int:
        """Return which occurrence of the combination this one is; the first is 1."""
        n = self._counted.get(combination) + 1
        self._counted.set(combination, n, now_us)
        return n


class Published:
    """Remembers what this process has published, over all its sources.

    It only saves work: a trade that is published again has the same identity and collapses.
    Every source counts from 1, so the greatest published `n` says it all.
    """

    def __init__(self) -> None:
        self._greatest = Memory(REMEMBER_PUBLISHED)

    @property
    def complete_since_us(self) -> int:
        """Return since when everything is remembered that was published."""
        return self._greatest.complete_since_us

    def is_published(self, combination: str, n: int) -> bool:
        """Tell whether the n-th of a combination is known to be published."""
        return n <= self._greatest.get(combination)

    def is_new(self, combination: str, n: int, now_us: int) -> bool:
        """Tell whether the n-th of a combination was not published yet, and note that it is."""
        if n <= self._greatest.get(combination):
            return False
        self._greatest.set(combination, n, now_us)
        return True

    def forget(self, combination: str) -> None:
        """Note that a trade was not published; to publish its twins again is harmless."""
        self._greatest.forget(combination)
