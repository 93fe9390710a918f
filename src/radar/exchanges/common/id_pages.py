"""Pages of trades with consecutive IDs, as backfills of proven holes read them. Pure."""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Raw, structs

from radar.exchanges.base import Outcome, RecentTrades
from radar.exchanges.common.literals import NOT_DECODABLE
from radar.records import Trade


def read_rows(
    rows: Sequence[Raw], parse: Callable[[Raw, int], Trade], received_at_us: int
) -> RecentTrades:
    """Parse rows of trades; return them by ID, each received 1 µs later than the one before."""
    trades: list[Trade] = []
    for row in rows:
        try:
            trades.append(parse(row, received_at_us))
        except NOT_DECODABLE:
            continue
    trades.sort(key=lambda trade: trade.sequence)
    timed = [
        structs.replace(trade, received_at_us=received_at_us + place)
        for place, trade in enumerate(trades)
    ]
    return RecentTrades(timed, invalid=len(rows) - len(timed))


class Wanted:
    """The IDs of a hole, and which of them have come.

    Attributes:
        first_id: The first missing ID.
        last_id: The last missing ID.
    """

    def __init__(self, first_id: int, last_id: int) -> None:
        self.first_id, self.last_id = first_id, last_id
        # Pages come in one direction, so the IDs that have come lie between these.
        self._low, self._high = last_id + 1, first_id - 1
        self._left = last_id - first_id + 1

    def take(self, trades: Iterable[Trade]) -> list[Trade]:
        """Return the missing trades among these, each once."""
        found = {
            trade.sequence: trade
            for trade in trades
            if self.first_id <= trade.sequence <= self.last_id
            and not self._low <= trade.sequence <= self._high
        }
        if found:
            self._low = min(self._low, *found)
            self._high = max(self._high, *found)
            self._left -= len(found)
        return list(found.values())

    def ended(self) -> Outcome:
        """Return the outcome of a backfill that reads no further page."""
        return Outcome.PARTIAL if self._left else Outcome.COMPLETE


class DownwardPages:
    """Reads a hole downward: a page holds the trades below an ID, newest first.

    See `BackfillPages`.
    """

    def __init__(
        self,
        first_id: int,
        last_id: int,
        path_below: Callable[[int], str],
        parse: Callable[[bytes, int], RecentTrades],
        cost_s: float = 0.0,
    ) -> None:
        """Begin at the end of the hole.

        Args:
            first_id: The first missing ID.
            last_id: The last missing ID.
            path_below: Returns path and query of the page below an ID.
            parse: Reads a page that was received at a Unix time; its trades are oldest first.
            cost_s: As in `Fetch`.
        """
        self._wanted = Wanted(first_id, last_id)
        self._path_below, self._parse = path_below, parse
        self._below = last_id + 1
        self.cost_s = cost_s
        self.outcome: Outcome = Outcome.RUNNING

    @property
    def path(self) -> str:
        """Path and query of the next page."""
        return self._path_below(self._below)

    def take(self, body: bytes, received_at_us: int) -> RecentTrades:
        """Take a page; one that leads no further down is the last."""
        page = self._parse(body, received_at_us)
        found = self._wanted.take(page.trades)
        oldest = page.trades[0].sequence if page.trades else self._below
        if oldest <= self._wanted.first_id or oldest >= self._below:
            self.outcome = self._wanted.ended()
        else:
            self._below = oldest
        return RecentTrades(found, page.invalid)
