"""Holes in the consecutive numbers that an exchange gives its trades: each proves a loss.

Numbers count over all connections and REST reads of a producer, so two connections that each miss
another trade leave no hole. Pure; times are arguments, Unix time in microseconds.
"""

from collections import defaultdict
from collections.abc import Iterable

# Another connection may bring the missing trade at once: before this, a hole is not reported.
GRACE_US = 1_000_000


class Hole:
    """Missing numbers of one market.

    Attributes:
        symbol: The market.
        first_id: The first number that was missing.
        last_id: The last one.
        reported: How many trades were missing when the hole was found.
        began_at_us: When the newest trade before arrived.
        ended_at_us: When the trade behind it arrived.
    """

    def __init__(
        self, symbol: str, first_id: int, last_id: int, began_at_us: int, ended_at_us: int
    ) -> None:
        self.symbol = symbol
        self.first_id = first_id
        self.last_id = last_id
        # A published trade, or one from before the clock was set back, may carry a later time.
        self.began_at_us = min(began_at_us, ended_at_us)
        self.ended_at_us = ended_at_us
        self._ranges = [(first_id, last_id)]
        self.reported = self.missing

    @property
    def is_filled(self) -> bool:
        """Whether every missing trade has come after all."""
        return not self._ranges

    @property
    def missing(self) -> int:
        """How many trades are still missing."""
        return sum(last - first + 1 for first, last in self._ranges)

    def settle(self) -> None:
        """Leave out the trades that have come since the hole began, before it is reported."""
        self.first_id, self.last_id = self._ranges[0][0], self._ranges[-1][1]
        self.reported = self.missing

    def fill(self, number: int) -> None:
        """Take a trade that came after all."""
        for place, (first, last) in enumerate(self._ranges):
            if first <= number <= last:
                left = ((first, number - 1), (number + 1, last))
                self._ranges[place : place + 1] = [each for each in left if each[0] <= each[1]]
                return


class TradeSequences:
    """Follows the numbers of all markets of a producer."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[int, int]] = {}  # number, and when it arrived
        self._young: list[Hole] = []
        self._open: defaultdict[str, list[Hole]] = defaultdict(list)
        self._filled: list[Hole] = []

    def begin(self, symbol: str, number: int, received_at_us: int) -> None:
        """Go on from the newest trade that an earlier process has published."""
        if number > self._newest.get(symbol, (0, 0))[0]:
            self._newest[symbol] = (number, received_at_us)

    def take(self, symbol: str, number: int, received_at_us: int) -> None:
        """Take the number of a trade of any connection or REST read."""
        newest, newest_us = self._newest.get(symbol, (0, 0))
        if number > newest:
            if newest and number > newest + 1:
                hole = Hole(symbol, newest + 1, number - 1, newest_us, received_at_us)
                self._young.append(hole)
                self._open[symbol].append(hole)
            self._newest[symbol] = (number, received_at_us)
        elif self._open.get(symbol):
            self._fill(symbol, number)

    def expect(self, symbol: str, number: int, now_us: int) -> None:
        """Take from the exchange that a trade of this number has happened."""
        newest, newest_us = self._newest.get(symbol, (0, 0))
        if number <= newest:
            return
        if newest:
            hole = Hole(symbol, newest + 1, number, newest_us, now_us)
            self._young.append(hole)
            self._open[symbol].append(hole)
        self._newest[symbol] = (number, now_us)

    def found(self, now_us: int) -> list[Hole]:
        """Return the holes that no connection has filled within GRACE_US, each once."""
        old = [hole for hole in self._young if now_us - hole.ended_at_us >= GRACE_US]
        self._young = [hole for hole in self._young if now_us - hole.ended_at_us < GRACE_US]
        found = [hole for hole in old if not hole.is_filled]
        for hole in found:
            hole.settle()
        return found

    def filled(self) -> list[Hole]:
        """Return the holes that were filled since the last call."""
        filled, self._filled = self._filled, []
        return filled

    def open_until_us(self, symbol: str) -> int:
        """Return when the newest open hole of a market ended; 0 if it has none."""
        return max((hole.ended_at_us for hole in self._open.get(symbol, ())), default=0)

    def forget(self, symbols: Iterable[str]) -> None:
        """Drop the open holes of markets that no longer exist.

        Their newest numbers stay: a market may come back after a pause, and its trades of the pause
        are then a hole, as after a restart of the producer.
        """
        for symbol in symbols:
            self._open.pop(symbol, None)

    def _fill(self, symbol: str, number: int) -> None:
        for hole in self._open[symbol]:
            hole.fill(number)
            if hole.is_filled:
                self._filled.append(hole)
        self._open[symbol] = [hole for hole in self._open[symbol] if not hole.is_filled]
