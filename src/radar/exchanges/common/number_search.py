"""Search for the first trade of a time among consecutive numbers. Pure."""

from collections.abc import Callable

from radar.errors import ExchangeUnavailable
from radar.exchanges.base import RecentTrades
from radar.records import Trade

# Each step at least halves what is left of two neighbours, and numbers have 63 bits.
MAX_STEPS = 150


def time_of_us(trade: Trade) -> int:
    """Return the exchange's time of a trade, as finely as it is known."""
    return trade.event_time_us or trade.event_time_ms * 1000


class NumberSearch:
    """Narrows a range of numbers by pages of trades; see `TradeSearch`.

    The first request reads the newest trades, the second one the oldest. Steps by the distance in
    time and steps to the middle then take turns: the former are usually quick, the latter always.
    """

    def __init__(
        self,
        time_us: int,
        newest_path: str,
        path_from: Callable[[int], str],
        parse: Callable[[bytes, int], RecentTrades],
        page: int,
        cost_s: float = 0.0,
    ) -> None:
        """Begin with the newest trades.

        Args:
            time_us: The time, Unix time.
            newest_path: Path and query of the newest trades.
            path_from: Returns path and query of a page whose first trade has a number.
            parse: Reads a page that was received at a Unix time.
            page: How many trades a page has.
            cost_s: As in `Fetch`.
        """
        self.found: int | None = None
        self.cost_s = cost_s
        self._time_us = time_us
        self._newest_path, self._path_from, self._parse = newest_path, path_from, parse
        self._page = page
        # No wanted trade has this number or a smaller one; the time of its trade, 0: not known.
        self._low, self._low_us = 0, 0
        self._high, self._high_us = 0, 0  # the oldest known trade after it; 0: none
        self._probe = 0
        self._steps = 0

    @property
    def path(self) -> str:
        """Path and query of the next page."""
        return self._path_from(self._probe) if self._probe else self._newest_path

    def take(self, body: bytes, received_at_us: int) -> None:
        """Take a page; see `TradeSearch`."""
        trades = [each for each in self._parse(body, received_at_us).trades if each.sequence]
        self._steps += 1
        if not trades and not self._probe:
            self.found = 1
            return
        if self._steps > MAX_STEPS:
            raise ExchangeUnavailable(f"no trade of the number {self._probe} or of a later one")
        if not trades:
            # Numbers may begin later than 1.
            self._low, self._low_us = max(self._low, self._probe + self._page - 1), 0
        place = next(
            (n for n, each in enumerate(trades) if time_of_us(each) >= self._time_us), len(trades)
        )
        if place:
            self._take_low(trades[place - 1])
        if place < len(trades):
            self._take_high(trades[place])
        elif not self._probe and trades:
            self.found = trades[-1].sequence + 1
            return
        # Numbers between two trades of a page, and before its first one, belong to no trade.
        is_inside = 0 < place < len(trades)
        is_first = bool(trades) and not place and 0 < self._probe <= self._low + 1
        if is_inside or is_first or self._low + 1 >= self._high:
            self.found = trades[place].sequence if is_inside else self._high
            return
        self._probe = self._next()

    def _take_low(self, trade: Trade) -> None:
        if trade.sequence > self._low:
            self._low, self._low_us = trade.sequence, time_of_us(trade)

    def _take_high(self, trade: Trade) -> None:
        if not self._high or trade.sequence < self._high:
            self._high, self._high_us = trade.sequence, time_of_us(trade)

    def _next(self) -> int:
        left = self._high - self._low
        if not self._low or left <= self._page:
            return self._low + 1
        if self._steps % 2 and self._high_us > self._low_us > 0:
            share = (self._time_us - self._low_us) / (self._high_us - self._low_us)
            wanted = self._low + int(left * share) - self._page // 2
        else:
            wanted = self._low + left // 2
        return max(self._low + 1, min(self._high - 1, wanted))
