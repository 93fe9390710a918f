"""The records of a period as events, in the order in which the exchange showed them; blocks.

Books appear when they arrived. A trade appears when it arrived as well, unless it was fetched
later: then it appears at the exchange's own time. Trades of one market keep the exchange's order.
"""

import heapq
import json
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from radar.exchanges import load
from radar.exchanges.base import Fetch
from radar.reading.query import Ask
from radar.records import FrameKind
from radar.replay.frames import BooksSoFar, Connection, Entry, FrameReader
from radar.replay.updates import Chain, Update, UpdateReader
from radar.store.queries import replay as queries
from radar_simulator.listings import MarketListing
from radar_simulator.recorded import (
    RecordedBook,
    RecordedChange,
    RecordedEvent,
    RecordedFrame,
    RecordedRequest,
    RecordedState,
    RecordedTrade,
    recorded_listing,
)

DELAY_US = 5_000_000
"""A trade that arrived later than this after the exchange's time was fetched."""

STATE_TRADES = 1_000
"""Trades of each market from before a moment, for REST."""

LOOK_AHEAD_US, LOOK_AHEAD_EVENTS = 60_000_000, 20_000
"""So far the first frames are read before the begin: for the books and numbers that they have."""

UPDATES_BEFORE_US = 600_000_000
"""Updates of books are read from so long before: a whole book is among them sooner or later."""

LOOK_BACK_US = 3_600_000_000
"""A book that is older at the begin of the period counts as unknown."""

ROWS_PER_QUERY = 20_000
SHORTEST_QUERY_US, LONGEST_QUERY_US = 10_000_000, 3_600_000_000

_FORMAT = "JSONCompactEachRow"
_rows = msgspec.json.Decoder(list[Any])

Moment = tuple[int, RecordedEvent]
"""When an event appears, Unix time in microseconds, and the event."""


class _Named(Protocol):
    @property
    def symbol(self) -> str:
        """The market."""


_OfMarket = TypeVar("_OfMarket", bound=_Named)


class _Row(NamedTuple):
    """A row of the table of trades, and its ID there."""

    name: str
    trade: RecordedTrade

    @property
    def symbol(self) -> str:
        return self.trade.symbol


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
    """The records of a period in the database.

    Attributes:
        period: The period.
        markets: The markets that have records in it.
        connections: Recorded connections that are shown byte for byte.
    """

    def __init__(self, ask: Ask, period: Period) -> None:
        self._ask = ask
        self.period = period
        bounds = period.begin_us, period.end_us
        self.markets = [_market(row) for row in self._rows(queries.MARKETS, *bounds)]
        rows = self._rows(queries.CONNECTIONS, *bounds)
        # Without its begin a connection cannot be understood.
        self.connections = [_connection(row) for row in rows if int(row[2]) == 0]
        chains = list(self._rows(queries.CHAINS, period.begin_us - UPDATES_BEFORE_US, bounds[1]))
        self._chains = [Chain(symbol, name, int(ended_us)) for symbol, name, ended_us, _ in chains]
        self._updates = sum(int(count) for *_, count in chains)

    def begin(self, at_us: int) -> tuple[RecordedState, Iterator[Moment]]:
        """Return the markets as they were at a moment, and what follows until the period's end.

        Trades are those of the period only. A book that was recorded later only is ahead.
        """
        newest = self._rows(queries.NEWEST_TRADES, self.period.begin_us, at_us, count=STATE_TRADES)
        trades = [
            row.trade
            for event_us, received_us, row in map(_trade, reversed(list(newest)))
            if _appears_us(event_us, received_us) < at_us
        ]
        newest_books = self._rows(queries.NEWEST_BOOKS, at_us - LOOK_BACK_US, at_us)
        books = [book for _, book in _books(newest_books)]
        rows = self._rows(queries.FIRST_BOOKS, at_us, self.period.end_us)
        first = [book for _, book in _books(rows)]
        known = {(book.symbol, side) for book in books for side in _sides(book)}
        ahead = [
            book for book in first if known.isdisjoint((book.symbol, side) for side in _sides(book))
        ]
        if not self.connections and not self._chains:
            return RecordedState(trades, books, ahead), self._events(at_us, None, None)
        return self._begin_with_past(at_us, trades, books, ahead)

    def _begin_with_past(
        self,
        at_us: int,
        trades: list[RecordedTrade],
        books: list[RecordedBook],
        ahead: list[RecordedBook],
    ) -> tuple[RecordedState, Iterator[Moment]]:
        """Read frames and updates from before the moment, which lead to the state at it."""
        reader = FrameReader(
            load(self.period.exchange),
            self.connections,
            [market.listing.symbol for market in self.markets],
        )
        updates = UpdateReader(self._chains)
        events = self._events(at_us, reader, updates)
        requests: list[RecordedRequest] = []
        first: list[Moment] = []
        known = BooksSoFar()
        for moment, event in events:
            if moment < at_us:
                if isinstance(event, RecordedRequest):
                    requests.append(event)
                else:
                    known.take(event)
                continue
            first.append((moment, event))
            if moment > at_us + LOOK_AHEAD_US or len(first) >= LOOK_AHEAD_EVENTS:
                break
        framed = reader.books() | updates.books()
        kept = [book for book in books if book.symbol not in framed]
        later: dict[str, RecordedChange] = {}
        for _, event in first:
            if isinstance(event, RecordedChange) and event.is_whole:
                later.setdefault(event.symbol, event)
        state = RecordedState(
            trades,
            [*kept, *known.books()],
            [
                *(book for book in ahead if book.symbol not in framed),
                *(later[symbol] for symbol in later if symbol not in known),
            ],
            requests,
            [event for _, event in first if isinstance(event, RecordedFrame)],
        )
        return state, chain(first, events)

    def _events(
        self, at_us: int, reader: FrameReader | None, updates: UpdateReader | None
    ) -> Iterator[Moment]:
        """Yield the events from a moment on, those of connections from their begin on."""
        since_us = max(self.period.begin_us, at_us - DELAY_US)
        rows = chain.from_iterable(self._windows(queries.TRADES, since_us, self._trades()))
        trades = (each for each in map(_trade, rows) if _appears_us(each[0], each[1]) >= at_us)
        books = chain.from_iterable(self._windows(queries.BOOKS, at_us, self._snapshots()))
        streams: list[Iterator[tuple[int, _Row | Update | RecordedEvent]]] = [
            in_order(trades),
            _books(books),
        ]
        if updates is not None and self._chains:
            since_us = max(self.period.begin_us, at_us) - UPDATES_BEFORE_US
            changes = self._windows(queries.UPDATES, since_us, self._updates)
            streams.insert(0, map(_update, chain.from_iterable(changes)))
        if reader is not None:
            streams.insert(0, self._frames(at_us, reader))
        for moment, event in heapq.merge(*streams, key=_moment):
            if isinstance(event, _Row):
                # A trade without a frame was fetched over REST.
                if reader is None or not reader.shows(event.name):
                    yield moment, event.trade
            elif isinstance(event, Update):
                change = updates.take(event) if updates is not None else None
                if change and not (reader and reader.covers_book(change.symbol, moment)):
                    yield moment, change
            elif not isinstance(event, RecordedBook) or not any(
                each.covers_book(event.symbol, moment) for each in (reader, updates) if each
            ):
                yield moment, event

    def _frames(self, at_us: int, reader: FrameReader) -> Iterator[Moment]:
        alive = [each for each in self.connections if each.ended_us >= at_us]
        began_us = min((each.began_us for each in alive), default=at_us)
        names = json.dumps([each.name for each in alive])
        count = sum(each.frames for each in alive)
        windows = self._windows(queries.FRAMES, min(began_us, at_us), count, connections=names)
        for entry in whole_entries(chain.from_iterable(windows)):
            for event in reader.take(entry):
                yield entry.received_us, event

    def _trades(self) -> int:
        return sum(market.trades for market in self.markets)

    def _snapshots(self) -> int:
        return sum(market.snapshots for market in self.markets)

    def _windows(
        self, sql: str, at_us: int, count: int, **more: int | str
    ) -> Iterator[Iterator[Any]]:
        """Yield the rows of one short time after the other, so that none needs much memory."""
        period_us = self.period.end_us - self.period.begin_us
        step_us = ROWS_PER_QUERY * period_us // max(1, count)
        step_us = max(SHORTEST_QUERY_US, min(LONGEST_QUERY_US, step_us)) // 1_000_000 * 1_000_000
        while at_us < self.period.end_us:
            until_us = min(at_us + step_us, self.period.end_us)
            yield self._rows(sql, at_us, until_us, **more)
            at_us = until_us

    def _rows(self, sql: str, begin_us: int, end_us: int, **more: int | str) -> Iterator[Any]:
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


def in_order(trades: Iterable[tuple[int, int, _OfMarket]]) -> Iterator[tuple[int, _OfMarket]]:
    """Give trades, in the exchange's order, the moments at which they appear.

    Args:
        trades: The exchange's time, the time of receipt, and the trade; by the exchange's time.

    Yields:
        The same trades by their moments; those of one market stay in their order.
    """
    newest: dict[str, int] = {}
    waiting: list[tuple[int, int, _OfMarket]] = []
    for place, (event_us, received_us, trade) in enumerate(trades):
        moment = max(_appears_us(event_us, received_us), newest.get(trade.symbol, 0))
        newest[trade.symbol] = moment
        # No later one appears before its own time of the exchange.
        while waiting and waiting[0][0] <= event_us:
            appeared, _, known = heapq.heappop(waiting)
            yield appeared, known
        heapq.heappush(waiting, (moment, place, trade))
    while waiting:
        appeared, _, known = heapq.heappop(waiting)
        yield appeared, known


def _appears_us(event_us: int, received_us: int) -> int:
    """Return when a trade arrived, or the exchange's time if it was fetched later."""
    return received_us if event_us <= received_us <= event_us + DELAY_US else event_us


def _moment(event: tuple[int, object]) -> int:
    return event[0]


def _market(row: Sequence[Any]) -> Market:
    symbol, base, quote, price_places, amount_places, trades, snapshots = row
    listing = recorded_listing(symbol, base, quote, int(price_places), int(amount_places))
    return Market(listing, int(trades), int(snapshots))


def _trade(row: Sequence[Any]) -> tuple[int, int, _Row]:
    name, symbol, event_us, received_us, price, amount, is_buy, native_id = row
    trade = RecordedTrade(symbol, int(event_us), price, amount, bool(is_buy), native_id)
    return int(event_us), int(received_us), _Row(name, trade)


def _update(row: Sequence[Any]) -> tuple[int, Update]:
    symbol, name, place, is_snapshot, received_us, event_us, sequence, *levels = row
    bids, asks = (tuple(zip(*levels[n : n + 2], strict=True)) for n in (0, 2))
    at_us = int(received_us)
    change = RecordedChange(
        symbol, int(event_us) or at_us, int(sequence), bool(is_snapshot), bids, asks
    )
    return at_us, Update(name, int(place), at_us, change)


def _connection(row: Sequence[Any]) -> Connection:
    name, kind, _, began_us, ended_us, count = row
    return Connection(name, kind, int(began_us), int(ended_us), int(count))


def whole_entries(rows: Iterable[Sequence[Any]]) -> Iterator[Entry]:
    """Join the parts of large frames; one with a missing part is left out."""
    parts: list[bytes] = []
    last: tuple[object, ...] = ()
    for name, place, part, count, what, symbol, tag, path, received_us, content in rows:
        if (name, place) != last:
            parts, last = [], (name, place)
        if int(part) == len(parts):
            parts.append(b64decode(content))
        if len(parts) == int(count) == int(part) + 1:
            fetch = Fetch(path, symbol, int(tag))
            yield Entry(name, FrameKind(what), int(received_us), fetch, b"".join(parts))


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
