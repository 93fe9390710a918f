"""Recorded frames and their meaning, read by the drivers of the exchanges. Pure.

Frames are shown byte for byte. The driver's stream reads each of them as a producer did, so that
REST, new subscriptions and other clients see the same markets.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import msgspec

from radar.datasets import DATASETS, TRADES
from radar.errors import ExchangeUnavailable, InvalidFrame
from radar.exchanges.base import Event, Exchange, Fetch, Stream
from radar.producer.trade_ids import Occurrences, content_of, trade_id
from radar.records import BookSide, BookUpdate, DepthSnapshot, FrameKind, Opening, Trade, TradeSide
from radar_simulator.recorded import (
    RecordedBook,
    RecordedChange,
    RecordedEvent,
    RecordedFrame,
    RecordedRequest,
    RecordedTrade,
)

SHOWN_TRADES = 200_000
"""Trades that are remembered, so that another connection or the table shows none twice."""


class Entry(NamedTuple):
    """An entry of the table `frames`, whole.

    Attributes:
        connection: Random name of the connection.
        what: The kind of the entry.
        received_us: When it arrived, Unix time.
        fetch: Of an answer of REST, its request.
        content: The bytes.
    """

    connection: str
    what: FrameKind
    received_us: int
    fetch: Fetch
    content: bytes


class Connection(NamedTuple):
    """A recorded connection.

    Attributes:
        name: Its random name.
        kind: Its dataset: trades or depth.
        began_us: When its first frame arrived, Unix time.
        ended_us: When its last frame arrived.
        frames: How many frames it has.
    """

    name: str
    kind: str
    began_us: int
    ended_us: int
    frames: int


class _Open:
    """A connection that was read from its begin on."""

    def __init__(self, stream: Stream, opening: Opening, recorded: Connection) -> None:
        self.stream = stream
        self.recorded = recorded
        self.occurrences = Occurrences()
        self.symbols = {market.symbol for market in opening.markets}
        address = urlsplit(opening.url)
        self.path = address.path or "/"
        self.query = tuple(parse_qsl(address.query))


class FrameReader:
    """Reads the frames of all connections of an exchange, in the order in which they arrived.

    Attributes:
        shown: IDs of the trades that frames have shown, the oldest first.
    """

    def __init__(
        self, exchange: Exchange, connections: Iterable[Connection], symbols: Iterable[str]
    ) -> None:
        """Begin before the first frame.

        Args:
            exchange: The driver.
            connections: Those that have a begin.
            symbols: The replayed markets.
        """
        self._exchange = exchange
        self._connections = {each.name: each for each in connections}
        self._symbols = frozenset(symbols)
        self._memory: dict[str, dict[str, object]] = {}
        self._open: dict[str, _Open] = {}
        self._leading: dict[str, _Open] = {}  # of each book the connection that shows it
        self.shown: dict[str, None] = {}

    def books(self) -> set[str]:
        """Return the markets whose book frames have shown so far."""
        return set(self._leading)

    def covers_book(self, symbol: str, at_us: int) -> bool:
        """Return whether frames show a book at a moment."""
        leading = self._leading.get(symbol)
        return leading is not None and at_us <= leading.recorded.ended_us

    def shows(self, name: str) -> bool:
        """Return whether a trade was shown already; if not, count it as shown now."""
        if name in self.shown:
            return True
        self.shown[name] = None
        if len(self.shown) > SHOWN_TRADES:
            del self.shown[next(iter(self.shown))]
        return False

    def take(self, entry: Entry) -> Iterator[RecordedEvent]:
        """Yield the events of the next entry; a frame that the driver refuses has no meaning."""
        if entry.what is FrameKind.OPENED:
            yield from self._opened(entry)
            return
        connection = self._open.get(entry.connection)
        if connection is None:
            return
        if entry.what is FrameKind.SENT:
            yield _request(entry.connection, connection, entry.content.decode(errors="replace"))
            return
        found: list[Event] = []
        with contextlib.suppress(InvalidFrame, ExchangeUnavailable):
            if entry.what is FrameKind.RECEIVED:
                # Events before the fault of a frame count.
                found.extend(connection.stream.receive(entry.content, entry.received_us))
            else:
                found += connection.stream.fetched(entry.fetch, entry.content, entry.received_us)
        if entry.what is FrameKind.RECEIVED:
            yield from self._frame(entry, connection, found)
        elif connection.recorded.kind != TRADES.name:
            # Trades that REST brought are rows without a frame.
            yield from self._books(connection, found, entry.received_us)

    def _opened(self, entry: Entry) -> Iterator[RecordedEvent]:
        recorded = self._connections.get(entry.connection)
        try:
            opening = msgspec.json.decode(entry.content, type=Opening)
        except msgspec.DecodeError:
            return
        if recorded is None or recorded.kind not in DATASETS:
            return
        stream = self._exchange.stream(
            DATASETS[recorded.kind],
            opening.markets,
            whole_books=opening.whole_books,
            memory=self._memory.setdefault(recorded.kind, {}),
            updates=True,
        )
        list(stream.opened())
        opened = self._open[entry.connection] = _Open(stream, opening, recorded)
        if recorded.kind != TRADES.name:
            for symbol in opened.symbols & self._symbols:
                if not self.covers_book(symbol, entry.received_us):
                    self._leading[symbol] = opened
        yield _request(entry.connection, opened, "")

    def _frame(
        self, entry: Entry, connection: _Open, found: list[Event]
    ) -> Iterator[RecordedEvent]:
        listed = [event for event in found if isinstance(event, Trade)]
        new = [trade for trade in listed if self._is_new(connection, trade)]
        books = tuple(self._books(connection, found, entry.received_us))
        if listed and not new:
            return  # another connection has brought them
        if not listed and not books and any(isinstance(e, DepthSnapshot) for e in found):
            return  # another connection shows this book
        trades = tuple(recorded_trade(trade) for trade in new)
        yield RecordedFrame(entry.connection, _payload(entry.content), trades, books)

    def _is_new(self, connection: _Open, trade: Trade) -> bool:
        content = content_of(trade)
        name = trade_id(content, connection.occurrences.of(trade, content))
        return not self.shows(name) and trade.symbol in self._symbols

    def _books(
        self, connection: _Open, found: list[Event], received_us: int
    ) -> Iterator[RecordedBook | RecordedChange]:
        """Yield the books that the connection leads: changes, or else whole sides."""
        changes = [event for event in found if isinstance(event, BookUpdate)]
        changed = {change.symbol for change in changes}
        sides: dict[str, dict[BookSide, DepthSnapshot]] = {}
        for event in found:
            if isinstance(event, DepthSnapshot) and event.symbol not in changed:
                sides.setdefault(event.symbol, {})[event.side] = event
        for change in changes:
            if self._leads(connection, change.symbol, received_us):
                yield RecordedChange(
                    change.symbol,
                    change.event_time_us or received_us,
                    change.sequence,
                    change.is_snapshot,
                    change.bids,
                    change.asks,
                )
        for symbol, both in sides.items():
            if self._leads(connection, symbol, received_us):
                one = next(iter(both.values()))
                yield RecordedBook(
                    symbol,
                    one.event_time_us or received_us,
                    one.sequence,
                    _levels(both.get(BookSide.BID)),
                    _levels(both.get(BookSide.ASK)),
                )

    def _leads(self, connection: _Open, symbol: str, received_us: int) -> bool:
        if symbol not in self._symbols:
            return False
        if not self.covers_book(symbol, received_us):
            self._leading[symbol] = connection
        return self._leading[symbol] is connection


class BooksSoFar:
    """The books of the events that were taken."""

    def __init__(self) -> None:
        self._changes: dict[str, RecordedChange] = {}
        self._levels: dict[str, tuple[dict[float, float], dict[float, float]]] = {}
        self._sides: dict[str, RecordedBook] = {}

    def __contains__(self, symbol: object) -> bool:
        """Whether a book is known."""
        return symbol in self._changes or symbol in self._sides

    def take(self, event: RecordedEvent) -> None:
        """Take the books of an event."""
        if isinstance(event, RecordedFrame):
            for book in event.books:
                self.take(book)
        elif isinstance(event, RecordedChange):
            bids, asks = self._levels.setdefault(event.symbol, ({}, {}))
            for known, levels in ((bids, event.bids), (asks, event.asks)):
                if event.is_whole:
                    known.clear()
                known.update(levels)
            self._changes[event.symbol] = event
        elif isinstance(event, RecordedBook):
            before = self._sides.get(event.symbol, event)
            self._sides[event.symbol] = event._replace(
                bids=before.bids if event.bids is None else event.bids,
                asks=before.asks if event.asks is None else event.asks,
            )

    def books(self) -> list[RecordedBook | RecordedChange]:
        """Return the whole books."""
        changed = [
            change._replace(
                is_whole=True,
                bids=tuple(level for level in self._levels[symbol][0].items() if level[1]),
                asks=tuple(level for level in self._levels[symbol][1].items() if level[1]),
            )
            for symbol, change in self._changes.items()
        ]
        return [*changed, *self._sides.values()]


def recorded_trade(trade: Trade) -> RecordedTrade:
    """Return a trade as the exchange of a replay needs it."""
    return RecordedTrade(
        trade.symbol,
        trade.event_time_us or trade.event_time_ms * 1000,
        trade.price,
        trade.base_amount,
        trade.side is TradeSide.BUY,
        trade.native_id,
    )


def _request(name: str, connection: _Open, text: str) -> RecordedRequest:
    return RecordedRequest(name, connection.path, connection.query, text)


def _levels(side: DepthSnapshot | None) -> tuple[tuple[float, float], ...] | None:
    return None if side is None else tuple(zip(side.prices, side.quantities, strict=True))


def _payload(content: bytes) -> str | bytes:
    """Return the payload of a text frame, or of a binary one if it is no text."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content
