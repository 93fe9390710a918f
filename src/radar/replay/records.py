"""The records of a period as events, in the order in which the exchange showed them; blocks.

Books appear when they arrived. A trade appears when it arrived as well, unless it was fetched
later: then it appears at the exchange's own time. Trades of one market keep the exchange's order.
"""

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from radar.reading.query import Ask
from radar.store.queries import replay as queries
from radar_simulator.listings import MarketListing
from radar_simulator.recorded import (
    RecordedBook,
    RecordedEvent,
    RecordedState,
    RecordedTrade,
    recorded_listing,
)

DELAY_US = 5_000_000
"""A trade that arrived later than this after the exchange's time was fetched."""

STATE_TRADES = 1_000
"""Trades of each market from before a moment, for REST."""

LOOK_BACK_US = 3_600_000_000
"""A book that is older at the begin of the period counts as unknown."""

ROWS_PER_QUERY = 20_000
SHORTEST_QUERY_US, LONGEST_QUERY_US = 10_000_000, 3_600_000_000

_FORMAT = "JSONCompactEachRow"
_rows = msgspec.json.Decoder(list[Any])

Moment = tuple[int, RecordedEvent]
"""When an event appears, Unix time in microseconds, and the event."""


class Market(NamedTuple):
    """A market of the period."""

    listing: MarketListing
    trades: int
    snapshots: int


class Period(NamedTuple):
    """The recorded time of one exchange that is replayed.

    Attributes:
        exchange: Its name.
        symbols: Its markets; empty: all that were recorded.
        begin_us: The begin, Unix time in microseconds.
        end_us: The end, not included.
    """

    exchange: str
    symbols: tuple[str, ...]
    begin_us: int
    end_us: int


class Records:
    """The records of a period in the database."""

    def __init__(self, ask: Ask, period: Period) -> None:
        self._ask = ask
        self.period = period
        self.markets = [_market(row) for row in self._rows(queries.MARKETS, *period[2:])]

    def state(self, at_us: int) -> RecordedState:
        """Return the markets as they were at a moment.

        Trades are those of the period only. A book that was recorded later only is ahead.
        """
        begin_us, end_us = self.period.begin_us, self.period.end_us
        newest = self._rows(queries.NEWEST_TRADES, begin_us, at_us, count=STATE_TRADES)
        trades = [_trade(row)[2] for row in reversed(list(newest))]
        newest_books = self._rows(queries.NEWEST_BOOKS, at_us - LOOK_BACK_US, at_us)
        books = [book for _, book in _books(newest_books)]
        first = [book for _, book in _books(self._rows(queries.FIRST_BOOKS, at_us, end_us))]
        known = {(book.symbol, side) for book in books for side in _sides(book)}
        ahead = [
            book for book in first if known.isdisjoint((book.symbol, side) for side in _sides(book))
        ]
        return RecordedState(trades, books, ahead)

    def events(self, at_us: int) -> Iterator[Moment]:
        """Yield the events from a moment to the end of the period, in the order of appearance."""
        trades = chain.from_iterable(self._windows(queries.TRADES, at_us, self._trades()))
        books = chain.from_iterable(self._windows(queries.BOOKS, at_us, self._snapshots()))
        return heapq.merge(in_order(map(_trade, trades)), _books(books), key=_moment)

    def _trades(self) -> int:
        return sum(market.trades for market in self.markets)

    def _snapshots(self) -> int:
        return sum(market.snapshots for market in self.markets)

    def _windows(self, sql: str, at_us: int, count: int) -> Iterator[Iterator[Any]]:
        """Yield the rows of one short time after the other, so that none needs much memory."""
        period_us = self.period.end_us - self.period.begin_us
        step_us = ROWS_PER_QUERY * period_us // max(1, count)
        step_us = max(SHORTEST_QUERY_US, min(LONGEST_QUERY_US, step_us)) // 1_000_000 * 1_000_000
        while at_us < self.period.end_us:
            until_us = min(at_us + step_us, self.period.end_us)
            yield self._rows(sql, at_us, until_us)
            at_us = until_us

    def _rows(self, sql: str, begin_us: int, end_us: int, **more: int) -> Iterator[Any]:
        parameters = {
            "exchange": self.period.exchange,
            "symbols": json.dumps(self.period.symbols),
            "begin": str(begin_us),
            "end": str(end_us),
            **{name: str(value) for name, value in more.items()},
        }
        rest = b""
        for chunk in self._ask(sql, _FORMAT, parameters):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from map(_rows.decode, lines)
        if rest:
            yield _rows.decode(rest)


def in_order(
    trades: Iterable[tuple[int, int, RecordedTrade]],
) -> Iterator[tuple[int, RecordedTrade]]:
    """Give trades, in the exchange's order, the moments at which they appear.

    Args:
        trades: The exchange's time, the time of receipt, and the trade; by the exchange's time.

    Yields:
        The same trades by their moments; those of one market stay in their order.
    """
    newest: dict[str, int] = {}
    waiting: list[tuple[int, int, RecordedTrade]] = []
    for place, (event_us, received_us, trade) in enumerate(trades):
        arrived = event_us <= received_us <= event_us + DELAY_US
        moment = max(received_us if arrived else event_us, newest.get(trade.symbol, 0))
        newest[trade.symbol] = moment
        # No later one appears before its own time of the exchange.
        while waiting and waiting[0][0] <= event_us:
            appeared, _, known = heapq.heappop(waiting)
            yield appeared, known
        heapq.heappush(waiting, (moment, place, trade))
    while waiting:
        appeared, _, known = heapq.heappop(waiting)
        yield appeared, known


def _moment(event: Moment) -> int:
    return event[0]


def _market(row: Sequence[Any]) -> Market:
    symbol, base, quote, price_places, amount_places, trades, snapshots = row
    listing = recorded_listing(symbol, base, quote, int(price_places), int(amount_places))
    return Market(listing, int(trades), int(snapshots))


def _trade(row: Sequence[Any]) -> tuple[int, int, RecordedTrade]:
    symbol, event_us, received_us, price, amount, is_buy, native_id = row
    trade = RecordedTrade(symbol, int(event_us), price, amount, bool(is_buy), native_id)
    return int(event_us), int(received_us), trade


def _books(rows: Iterable[Sequence[Any]]) -> Iterator[tuple[int, RecordedBook]]:
    """Join both sides of a book that arrived at once."""
    before: tuple[int, RecordedBook] | None = None
    for symbol, is_bid, received_us, event_us, sequence, prices, quantities in rows:
        at_us, levels = int(received_us), tuple(zip(prices, quantities, strict=True))
        book = RecordedBook(
            symbol,
            int(event_us) or at_us,
            int(sequence),
            levels if is_bid else None,
            None if is_bid else levels,
        )
        if before is not None:
            if joined := _joined(before, (at_us, book)):
                yield joined
                before = None
                continue
            yield before
        before = at_us, book
    if before is not None:
        yield before


def _joined(
    first: tuple[int, RecordedBook], second: tuple[int, RecordedBook]
) -> tuple[int, RecordedBook] | None:
    """Return one state of the two sides of one frame; None if they are not of one."""
    (one_us, one), (other_us, other) = first, second
    if one_us != other_us or one[:3] != other[:3] or _sides(one) == _sides(other):
        return None
    bids, asks = (one.bids, other.asks) if one.bids is not None else (other.bids, one.asks)
    return one_us, one._replace(bids=bids, asks=asks)


def _sides(book: RecordedBook) -> list[str]:
    return [name for name in ("bids", "asks") if getattr(book, name) is not None]
