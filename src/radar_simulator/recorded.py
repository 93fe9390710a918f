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


RecordedEvent: TypeAlias = RecordedTrade | RecordedBook


class RecordedState(NamedTuple):
    """The markets at a moment.

    Attributes:
        trades: The newest trades before it, oldest first.
        books: The books at the moment.
        ahead: Books that were recorded after it only: a client sees them from the beginning, and
            the same events follow.
    """

    trades: Sequence[RecordedTrade] = ()
    books: Sequence[RecordedBook] = ()
    ahead: Sequence[RecordedBook] = ()


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
            made.append(Level(ticks, lots))
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
