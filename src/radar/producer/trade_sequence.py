"""Holes in the consecutive numbers that an exchange gives its trades: each proves a loss.

Numbers count over all connections and REST reads of a producer, so two connections that each miss
another trade leave no hole. Pure; times are arguments, Unix time in microseconds.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable

# Another connection may bring the missing trade at once: before this, a hole is not reported.
GRACE_US = 1_000_000
# An exchange that leaves out every second number would open a hole with each trade. So the open
# holes have bounds: of one market, and of all.
MAX_OPEN = 100
MAX_OPEN_IN_ALL = 10_000
# A hole whose trades come in another order than by number falls into parts: of one, and of all.
MAX_PARTS = 1_000
MAX_PARTS_IN_ALL = 200_000
# Markets that no longer exist whose newest numbers are kept.
MAX_VANISHED = 2_000


class Hole:
    """Missing numbers of one market.

    Attributes:
        symbol: The market.
        first_id: The first number that was missing.
        last_id: The last one.
        reported: How many trades were missing when the hole was found.
        began_at_us: When the newest trade before arrived.
        ended_at_us: When the trade behind it arrived.
        seen_at_us: When its first part was found.
        is_given_up: Its trades are no longer awaited: it stays reported as it was.
    """

    def __init__(
        self, symbol: str, first_id: int, last_id: int, began_at_us: int, ended_at_us: int
    ) -> None:
        self.symbol = symbol
        self.first_id = first_id
        self.last_id = last_id
        # A published trade, or one from before the clock was set back, may carry a later time.
        self.began_at_us = min(began_at_us, ended_at_us)
        self.ended_at_us = self.seen_at_us = ended_at_us
        self.is_given_up = False
        # First and last missing numbers of each part, rising.
        self._parts = [(first_id, last_id)]
        self.reported = self.missing

    @property
    def is_filled(self) -> bool:
        """Whether every missing trade has come after all."""
        return not self._parts

    @property
    def missing(self) -> int:
        """How many trades are still missing."""
        return sum(last - first + 1 for first, last in self._parts)

    @property
    def parts(self) -> int:
        """How many parts it has."""
        return len(self._parts)

    def settle(self) -> None:
        """Leave out the trades that have come since the hole began, before it is reported."""
        self.first_id, self.last_id = self._parts[0][0], self._parts[-1][1]
        self.reported = self.missing

    def extend(self, first_id: int, last_id: int, ended_at_us: int, *, may_grow: bool) -> None:
        """Take the next missing numbers.

        Args:
            first_id: The first one, behind all others.
            last_id: The last one.
            ended_at_us: When the trade behind them arrived.
            may_grow: Whether there may be one part more. If not, the numbers between this part and
                the last one count as missing as well.
        """
        if may_grow and len(self._parts) < MAX_PARTS:
            self._parts.append((first_id, last_id))
        else:
            self._parts[-1] = (self._parts[-1][0], last_id)
        self.last_id = last_id
        self.ended_at_us = max(self.ended_at_us, ended_at_us)

    def fill(self, number: int, *, may_grow: bool = True) -> None:
        """Take a trade that came after all.

        A trade that would divide a part counts as missing on if there may not be one part more.
        """
        place = bisect_right(self._parts, number, key=_first) - 1
        if place < 0 or number > self._parts[place][1]:
            return
        first, last = self._parts[place]
        left = [each for each in ((first, number - 1), (number + 1, last)) if each[0] <= each[1]]
        if len(left) < 2 or (may_grow and len(self._parts) < MAX_PARTS):
            self._parts[place : place + 1] = left


def _first(part: tuple[int, int]) -> int:
    return part[0]


def _first_id(hole: Hole) -> int:
    return hole.first_id


class TradeSequences:
    """Follows the numbers of all markets of a producer.

    A market with too many open holes gets no further ones: its newest hole, if it is not reported
    yet, takes the next missing numbers as well, and otherwise its oldest hole is given up. So every
    missing number is reported, and a given-up hole stays reported as missing.
    """

    def __init__(self) -> None:
        self._newest: dict[str, tuple[int, int]] = {}  # number, and when it arrived
        self._vanished: dict[str, tuple[int, int]] = {}  # the same of markets that are gone
        self._young: dict[Hole, None] = {}  # not reported yet
        # By market, rising by number.
        self._open: defaultdict[str, list[Hole]] = defaultdict(list)
        self._open_count = self._parts = 0
        self._filled: list[Hole] = []  # after they were reported
        self._filled_young: dict[str, Hole] = {}  # of each market the one that began first
        self._given_up: list[Hole] = []

    def begin(self, symbol: str, number: int, received_at_us: int) -> None:
        """Go on from the newest trade that an earlier process has published."""
        if number > self._known(symbol)[0]:
            self._newest[symbol] = (number, received_at_us)

    def take(self, symbol: str, number: int, received_at_us: int) -> None:
        """Take the number of a trade of any connection or REST read."""
        newest, newest_us = self._newest.get(symbol) or self._known(symbol)
        if number > newest:
            if newest and number > newest + 1:
                self._miss(symbol, newest + 1, number - 1, newest_us, received_at_us)
            self._newest[symbol] = (number, received_at_us)
        elif self._open.get(symbol):
            self._fill(symbol, number)

    def expect(self, symbol: str, number: int, now_us: int) -> None:
        """Take from the exchange that a trade of this number has happened."""
        newest, newest_us = self._known(symbol)
        if number <= newest:
            return
        if newest:
            self._miss(symbol, newest + 1, number, newest_us, now_us)
        self._newest[symbol] = (number, now_us)

    def found(self, now_us: int) -> list[Hole]:
        """Return the holes that no connection has filled within GRACE_US, each once."""
        # A clock that was set back must not delay a report.
        found = [hole for hole in self._young if not 0 <= now_us - hole.seen_at_us < GRACE_US]
        for hole in found:
            del self._young[hole]
            hole.settle()
            if hole.is_given_up:
                self._given_up.append(hole)
        return found

    def filled(self) -> list[Hole]:
        """Return the holes that were filled since the last call.

        Of those that were not reported, it returns the one of each market that began first.
        """
        filled = [*self._filled_young.values(), *self._filled]
        self._filled_young, self._filled = {}, []
        return filled

    def given_up(self) -> list[Hole]:
        """Return the reported holes that were given up since the last call."""
        given_up, self._given_up = self._given_up, []
        return given_up

    def open_until_us(self, symbol: str) -> int:
        """Return when the newest open hole of a market ended; 0 if it has none."""
        return max((hole.ended_at_us for hole in self._open.get(symbol, ())), default=0)

    def forget(self, symbols: Iterable[str]) -> None:
        """Drop the open holes of markets that no longer exist.

        Their newest numbers stay, up to a number of markets: a market may come back after a pause,
        and its trades of the pause are then a hole, as after a restart of the producer.
        """
        for symbol in symbols:
            for hole in self._open.pop(symbol, ()):
                self._give_up(hole)
            if (newest := self._newest.pop(symbol, None)) is not None:
                self._vanished[symbol] = newest
        while len(self._vanished) > MAX_VANISHED:
            del self._vanished[next(iter(self._vanished))]

    def _known(self, symbol: str) -> tuple[int, int]:
        """Return the newest number of a market, and when it arrived; zeros if it has none."""
        if (newest := self._newest.get(symbol)) is not None:
            return newest
        if (newest := self._vanished.pop(symbol, None)) is None:
            return 0, 0
        self._newest[symbol] = newest
        return newest

    def _miss(
        self, symbol: str, first_id: int, last_id: int, began_at_us: int, ended_at_us: int
    ) -> None:
        holes = self._open[symbol]
        if len(holes) >= (MAX_OPEN if self._open_count < MAX_OPEN_IN_ALL else 1):
            newest = holes[-1]
            if newest in self._young:
                before = newest.parts
                may_grow = self._parts < MAX_PARTS_IN_ALL
                newest.extend(first_id, last_id, ended_at_us, may_grow=may_grow)
                self._parts += newest.parts - before
                return
            self._give_up(holes.pop(0))
        hole = Hole(symbol, first_id, last_id, began_at_us, ended_at_us)
        self._young[hole] = None
        holes.append(hole)
        self._open_count += 1
        self._parts += 1

    def _fill(self, symbol: str, number: int) -> None:
        holes = self._open[symbol]
        place = bisect_right(holes, number, key=_first_id) - 1
        if place < 0:
            return
        hole = holes[place]
        before = hole.parts
        hole.fill(number, may_grow=self._parts < MAX_PARTS_IN_ALL)
        self._parts += hole.parts - before
        if not hole.is_filled:
            return
        del holes[place]
        self._open_count -= 1
        if hole in self._young:
            del self._young[hole]
            first = self._filled_young.setdefault(symbol, hole)
            if hole.began_at_us < first.began_at_us:
                self._filled_young[symbol] = hole
        else:
            self._filled.append(hole)

    def _give_up(self, hole: Hole) -> None:
        """Stop following a hole that is no longer among those of its market."""
        self._open_count -= 1
        self._parts -= hole.parts
        hole.is_given_up = True
        if hole not in self._young:  # else it is still to be reported
            self._given_up.append(hole)
