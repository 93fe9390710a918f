"""Recorded markets: what happened on an exchange, to be shown again. Pure.

A caller that has records makes `RecordedEvent`s of them; `RecordedMarkets` takes the place of the
market model. Prices and quantities are exact: a tick is the smallest decimal that a record holds.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from radar_simulator.listings import MarketListing
from radar_simulator.market import DepthDue, Level, MarketState, Side, SimulatedTrade

PLACES = 18
"""Decimals of a tick and of a lot: those of the amounts of records."""

_KNOWN_UNITS = 50_000
"""Numbers whose ticks are remembered; most levels stay the same from one book to the next."""

SideLevels: TypeAlias = tuple[tuple[float, float], ...]
"""Price and quantity of each level, best first."""


class RecordedTrade(NamedTuple):
    """A trade.

    Attributes:
        symbol: The market.
        time_us: The exchange's time, Unix time in microseconds.
        price: Decimal text, in Toman where the wire has Rial.
        quantity: Decimal text.
        is_buy: True if the taker bought.
        native_id: The exchange's ID; empty if it gives none.
    """

    symbol: str
    time_us: int
    price: str
    quantity: str
    is_buy: bool
    native_id: str = ""


class RecordedBook(NamedTuple):
    """The state of a book, or of one side of it.

    Attributes:
        symbol: The market.
        time_us: The exchange's time, else that of the receipt, Unix time in microseconds.
        number: The exchange's number of this state; 0 if it gives none.
        bids: Best first; None: as before.
        asks: Best first; None: as before.
    """

    symbol: str
    time_us: int
    number: int
    bids: SideLevels | None
    asks: SideLevels | None


class RecordedChange(NamedTuple):
    """A change of a book at the depth that the exchange sends.

    Attributes:
        symbol: The market.
        time_us: The exchange's time, else that of the receipt, Unix time in microseconds.
        number: The exchange's number of the state after it; 0 if it gives none.
        is_whole: The levels are the whole book; else the quantity 0 removes a level.
        bids: Changed levels, in any order.
        asks: The same.
    """

    symbol: str
    time_us: int
    number: int
    is_whole: bool
    bids: SideLevels
    asks: SideLevels


class RecordedRequest(NamedTuple):
    """A message of the client of a recorded connection: it decides on the form of the frames.

    Attributes:
        connection: Name of the connection.
        path: Path of the request that opened it.
        query: Parameters of that request.
        text: The message; empty: the connection has opened.
    """

    connection: str
    path: str
    query: tuple[tuple[str, str], ...]
    text: str


class RecordedFrame(NamedTuple):
    """A frame of data as the exchange sent it, and its meaning.

    Attributes:
        connection: Name of the connection that brought it.
        payload: The frame, byte for byte.
        trades: The trades in it that are new.
        books: The books in it.
    """

    connection: str
    payload: str | bytes
    trades: tuple[RecordedTrade, ...]
    books: tuple[RecordedBook | RecordedChange, ...]


RecordedEvent: TypeAlias = (
    RecordedTrade | RecordedBook | RecordedChange | RecordedRequest | RecordedFrame
)


class RecordedState(NamedTuple):
    """The markets at a moment.

    Attributes:
        trades: The newest trades before it, oldest first.
        books: The books at the moment.
        ahead: Books that were recorded after it only: a client sees them from the beginning, and
            the same events follow.
        requests: The messages of recorded connections that were open at the moment.
        frames: The first frames after it: their numbers follow those at the moment.
    """

    trades: Sequence[RecordedTrade] = ()
    books: Sequence[RecordedBook | RecordedChange] = ()
    ahead: Sequence[RecordedBook | RecordedChange] = ()
    requests: Sequence[RecordedRequest] = ()
    frames: Sequence[RecordedFrame] = ()


def recorded_listing(
    symbol: str, base: str, quote: str, price_precision: int, amount_precision: int
) -> MarketListing:
    """Return the listing of a market that was recorded."""
    return MarketListing(
        symbol=symbol,
        base=base,
        quote=quote,
        fa_base=base,
        price=0.0,
        price_precision=price_precision,
        amount_precision=amount_precision,
        tick_places=PLACES,
        lot_places=PLACES,
    )


class RecordedMarkets:
    """The markets of a recording; see `market.MarketSource`. They never move by themselves.

    Attributes:
        markets: The markets by symbol.
    """

    def __init__(self, listings: Iterable[MarketListing], recent_trades: int) -> None:
        self.markets: Mapping[str, MarketState] = {
            listing.symbol: MarketState(listing, recent_trades) for listing in listings
        }
        self._units: dict[float, int] = {}
        self._trades = 0
        self._whole: dict[str, tuple[dict[float, float], dict[float, float]]] = {}
        self._changed: dict[str, RecordedChange] = {}

    def advance(self, now_s: float) -> Iterator[SimulatedTrade | DepthDue]:
        """Yield no event: the caller knows the events."""
        return iter(())

    def trade(
        self, now_s: float, count: int, symbol: str | None = None
    ) -> Iterator[SimulatedTrade]:
        """Yield no trade: only recorded ones happen."""
        return iter(())

    def clear(self) -> None:
        """Forget all trades and books."""
        for market in self.markets.values():
            market.bids, market.asks = [], []
            market.recent.clear()
            market.candles.clear()
        self._whole.clear()
        self._changed.clear()

    def take_trade(self, trade: RecordedTrade) -> SimulatedTrade:
        """Let a trade happen."""
        self._trades += 1
        market = self.markets[trade.symbol]
        happened = SimulatedTrade(
            self._trades,
            market.listing,
            trade.time_us // 1_000_000,
            units(trade.price),
            units(trade.quantity),
            trade.is_buy,
        )
        market.record(happened)
        return happened

    def change_book(self, change: RecordedChange) -> None:
        """Change a book; `settle` makes its levels of it."""
        bids, asks = self._whole.setdefault(change.symbol, ({}, {}))
        for known, levels in ((bids, change.bids), (asks, change.asks)):
            if change.is_whole:
                known.clear()
            for price, quantity in levels:
                if quantity:
                    known[price] = quantity
                else:
                    known.pop(price, None)
        self._changed[change.symbol] = change

    def settle(self, symbol: str) -> RecordedBook | None:
        """Make the levels of a changed book; None if it has not changed since the last call."""
        if (change := self._changed.pop(symbol, None)) is None:
            return None
        bids, asks = self._whole[symbol]
        book = RecordedBook(
            symbol,
            change.time_us,
            change.number,
            tuple(sorted(bids.items(), reverse=True)),
            tuple(sorted(asks.items())),
        )
        self.take_book(book)
        return book

    def changed(self) -> list[str]:
        """Return the markets whose book has changed since it was settled."""
        return list(self._changed)

    def take_book(self, book: RecordedBook) -> list[DepthDue]:
        """Let a book have a state; return the sides that it is about."""
        market = self.markets[book.symbol]
        due = []
        if book.bids is not None:
            market.bids = self._levels(book.bids)
            due.append(DepthDue(market, Side.BID))
        if book.asks is not None:
            market.asks = self._levels(book.asks)
            due.append(DepthDue(market, Side.ASK))
        return due

    def _levels(self, levels: SideLevels) -> list[Level]:
        return [Level(ticks, lots) for ticks, lots in self.levels(levels)]

    def levels(self, levels: SideLevels) -> list[tuple[int, int]]:
        """Return levels in ticks and lots."""
        known = self._units
        if len(known) > _KNOWN_UNITS:
            known.clear()
        made = []
        for price, quantity in levels:
            ticks = known.get(price)
            if ticks is None:
                ticks = known[price] = units(repr(price))
            lots = known.get(quantity)
            if lots is None:
                lots = known[quantity] = units(repr(quantity))
            made.append((ticks, lots))
        return made


def units(text: str) -> int:
    """Return a decimal in units of `10 ** -PLACES`; further digits are cut off.

    Raises:
        ValueError: It is no decimal of at least 0.
    """
    digits, _, exponent = text.lower().partition("e")
    whole, _, fraction = digits.partition(".")
    shift = PLACES - len(fraction) + (int(exponent) if exponent else 0)
    value = int(whole + fraction)
    if value < 0:
        raise ValueError(f"a negative number: {text[:50]!r}")
    return int(value * 10**shift) if shift >= 0 else value // 10**-shift
