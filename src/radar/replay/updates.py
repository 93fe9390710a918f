"""Which recorded updates of books are shown. Pure.

Several connections may record the updates of one book, each in a chain of its own. One chain is
shown until it ends, then the next; a chain with a hole is not known until its next whole book.
"""

from collections.abc import Iterable
from typing import NamedTuple

from radar_simulator.recorded import RecordedChange


class Update(NamedTuple):
    """An update of a book, and its place in its chain."""

    chain: str
    place: int
    received_us: int
    change: RecordedChange


class Chain(NamedTuple):
    """The updates of one chain of a period, and when the last one arrived."""

    symbol: str
    name: str
    ended_us: int


class _Known:
    """The book of a chain."""

    def __init__(self) -> None:
        self.next_place = -1
        self.is_known = False
        self._bids: dict[float, float] = {}
        self._asks: dict[float, float] = {}

    def take(self, update: Update) -> None:
        change = update.change
        self.is_known = change.is_whole or (self.is_known and update.place == self.next_place)
        self.next_place = update.place + 1
        for known, levels in ((self._bids, change.bids), (self._asks, change.asks)):
            if change.is_whole:
                known.clear()
            known.update(levels)

    def whole(self, change: RecordedChange) -> RecordedChange:
        """Return the whole book after a change."""
        bids, asks = (
            tuple(level for level in known.items() if level[1])
            for known in (self._bids, self._asks)
        )
        return change._replace(is_whole=True, bids=bids, asks=asks)


class UpdateReader:
    """Reads the updates of all chains in the order in which they arrived."""

    def __init__(self, chains: Iterable[Chain]) -> None:
        self._ends = {(each.symbol, each.name): each.ended_us for each in chains}
        self._known: dict[tuple[str, str], _Known] = {}
        self._shown: dict[str, str] = {}  # of each market the chain that is shown

    def books(self) -> set[str]:
        """Return the markets whose book updates have shown so far."""
        return set(self._shown)

    def covers_book(self, symbol: str, at_us: int) -> bool:
        """Return whether updates show a book at a moment."""
        chain = self._shown.get(symbol)
        return chain is not None and at_us <= self._ends.get((symbol, chain), 0)

    def take(self, update: Update) -> RecordedChange | None:
        """Take the next update; return the change to show, if its chain is the shown one."""
        symbol = update.change.symbol
        key = symbol, update.chain
        known = self._known.setdefault(key, _Known())
        known.take(update)
        shown = self._shown.get(symbol)
        if shown == update.chain:
            if known.is_known:
                return update.change
            del self._shown[symbol]  # it has a hole
            return None
        if not known.is_known or (
            shown is not None and self.covers_book(symbol, update.received_us)
        ):
            return None
        self._shown[symbol] = update.chain
        return known.whole(update.change)
