"""The markets behind a dialect: trades with consecutive IDs and books that change by updates.

Pure, like the model. Prices are whole ticks, quantities whole lots.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from math import floor, log10
from typing import NamedTuple, TypeAlias

from radar_simulator import wire
from radar_simulator.listings import (
    MAX_SYMBOLS,
    SIGNIFICANT_DIGITS,
    TOMAN_PER_USDT,
    MarketListing,
    listings,
)
from radar_simulator.market import MarketState, Side, SimulatedTrade

KEPT_TRADES = 20_000
"""Trades of a market that REST can return by ID."""

KEPT_PUBLICATIONS = 100
"""Publications of a market's trades that can be recovered."""

Levels: TypeAlias = list[tuple[int, int]]  # ticks and lots, best first


class Trade(NamedTuple):
    """A trade.

    Attributes:
        number: Position among all trades of the run, from 1.
        market: The market.
        id: Consecutive number in its market.
        order: Number of the taker's order, growing.
        time_us: Unix time in microseconds, of the exchange's resolution.
        ticks: Price in ticks.
        lots: Quantity in lots.
        is_buy: True if the taker bought.
        native: The exchange's ID of a recorded trade, where the protocol has no plain numbers.
    """

    number: int
    market: "Market"
    id: int
    order: int
    time_us: int
    ticks: int
    lots: int
    is_buy: bool
    native: str = ""

    @property
    def side(self) -> str:
        """The taker's side."""
        return "buy" if self.is_buy else "sell"

    @property
    def price(self) -> str:
        """The price as on the wire, without zeros at the end."""
        return self.market.price(self.ticks)

    @property
    def quantity(self) -> str:
        """The quantity without zeros at the end."""
        return self.market.quantity(self.lots)


class BookUpdate(NamedTuple):
    """A change of a market's book.

    Attributes:
        market: The market; its `book` is the state after the change.
        first_id: Number of the first change.
        last_id: Number of the last change.
        previous_id: `last_id` of the update before.
        bids: Changed levels, 0 lots removes.
        asks: The same.
        time_us: Unix time in microseconds.
    """

    market: "Market"
    first_id: int
    last_id: int
    previous_id: int
    bids: Levels
    asks: Levels
    time_us: int


class Book:
    """The book as the exchange has published it.

    Attributes:
        bids: Best first.
        asks: Best first.
        id: Number of the newest published change.
        time_us: Time of the newest update.
    """

    def __init__(self, market: MarketState, first_id: int, now_us: int) -> None:
        self._market = market
        self.bids, self.asks = _levels(market)
        self.id = first_id
        self.time_us = now_us
        self._ahead: set[tuple[bool, int]] = set()  # changes that a snapshot has shown already
        self._ahead_id = first_id

    def advance(self, owner: "Market", now_us: int) -> BookUpdate | None:
        """Publish the model's state; None if it is the published one."""
        bids, asks = self.levels()
        changed_bids, changed_asks = self.changes(bids, asks)
        if not changed_bids and not changed_asks:
            return None
        previous = self.id
        self.id = max(previous + len(changed_bids) + len(changed_asks), self._ahead_id)
        self.bids, self.asks = bids, asks
        self.time_us = now_us
        self._ahead.clear()
        return BookUpdate(
            owner, previous + 1, self.id, previous, changed_bids, changed_asks, now_us
        )

    def levels(self) -> tuple[Levels, Levels]:
        """Return bids and asks of the model."""
        return _levels(self._market)

    def changes(self, bids: Levels, asks: Levels) -> tuple[Levels, Levels]:
        """Return the differences of a state to the published one."""
        return (
            _changes(self.bids, bids, {t for is_bid, t in self._ahead if is_bid}),
            _changes(self.asks, asks, {t for is_bid, t in self._ahead if not is_bid}),
        )

    def inside(self) -> tuple[int, Levels, Levels]:
        """Return a state in the middle of the next update, and its number.

        Makers move first, so that there is a next update. It repeats the changes that this
        state has, as real exchanges do.
        """
        self._market.stir(Side.BID)
        self._market.stir(Side.ASK)
        bids, asks = self.levels()
        changes = [(True, *level) for level in _changes(self.bids, bids, set())]
        changes += [(False, *level) for level in _changes(self.asks, asks, set())]
        half = changes[: (len(changes) + 1) // 2]
        shown_bids, shown_asks = dict(self.bids), dict(self.asks)
        for is_bid, ticks, lots in half:
            side = shown_bids if is_bid else shown_asks
            side[ticks] = lots
            if not lots:
                del side[ticks]
            self._ahead.add((is_bid, ticks))
        shown = self.id + len(half)
        self._ahead_id = max(self._ahead_id, shown)
        return shown, sorted(shown_bids.items(), reverse=True), sorted(shown_asks.items())


class Market:
    """One market of a dialect.

    Attributes:
        symbol: As the exchange writes it.
        number: Position among the markets, from 1.
        listing: Names and precisions.
        model: The market in the model.
        book: The published book.
        trades: The newest trades, oldest first, by rising IDs.
        first_id: ID of the first trade of the run.
        publications: The newest publications of trades: number and trades.
        trade_pubs: Number of publications of trades.
        book_pubs: Number of publications of the book.
        factor: Multiplies prices and sums: 10 if the exchange sends Rial, else 1.
    """

    def __init__(
        self, number: int, model: MarketState, first_id: int, now_us: int, *, rial: bool
    ) -> None:
        self.symbol = model.listing.symbol
        self.number = number
        self.listing = model.listing
        self.model = model
        self.first_id = first_id
        self.book = Book(model, first_id, now_us)
        self.trades: deque[Trade] = deque(maxlen=KEPT_TRADES)
        self.publications: deque[tuple[int, list[Trade]]] = deque(maxlen=KEPT_PUBLICATIONS)
        self.trade_pubs = self.book_pubs = 0
        self.factor = 10 if rial and model.listing.quote == "TMN" else 1

    @property
    def next_id(self) -> int:
        """ID of the next trade."""
        return self.trades[-1].id + 1 if self.trades else self.first_id

    def price(self, ticks: int) -> str:
        """Write a price in the unit of the wire, without zeros at the end."""
        return wire.number(ticks * self.factor, self.listing.tick_places)

    def quantity(self, lots: int) -> str:
        """Write a quantity without zeros at the end."""
        return wire.number(lots, self.listing.lot_places)

    def padded_price(self, ticks: int, places: int) -> str:
        """Write a price with so many decimals."""
        listing = self.listing
        least = max(places, listing.price_precision)
        return padded(ticks * self.factor, listing.tick_places, least)

    def padded_quantity(self, lots: int, places: int) -> str:
        """Write a quantity with so many decimals."""
        listing = self.listing
        return padded(lots, listing.lot_places, max(places, listing.amount_precision))

    def add(self, trade: SimulatedTrade, order: int, time_us: int) -> Trade:
        """Give a trade of the model its ID and keep it."""
        made = Trade(
            trade.number, self, self.next_id, order, time_us, trade.ticks, trade.lots, trade.is_buy
        )
        self.trades.append(made)
        return made

    def day_volume(self, now_us: int) -> str:
        """Write the volume of the last 24 hours without zeros at the end."""
        return self.quantity(wire.day_lots(self.model, now_us / 1e6))

    def newest(self, count: int) -> list[Trade]:
        """Return the newest trades, oldest first."""
        size = len(self.trades)
        return [self.trades[i] for i in range(max(0, size - count), size)]

    def from_id(self, first: int, count: int) -> list[Trade]:
        """Return trades from an ID on, oldest first."""
        if not self.trades:
            return []
        start = bisect_left(self.trades, first, key=_id)
        return [self.trades[i] for i in range(start, min(len(self.trades), start + count))]

    def before_id(self, last: int, count: int) -> list[Trade]:
        """Return the trades below an ID, oldest first."""
        if not self.trades:
            return []
        stop = bisect_left(self.trades, last, key=_id)
        return [self.trades[i] for i in range(max(0, stop - count), stop)]


def _id(trade: Trade) -> int:
    return trade.id


def list_markets(
    bases: Iterable[str], quotes: Sequence[tuple[str, str]], spelling: str, places: int, count: int
) -> list[MarketListing]:
    """List a dialect's markets, busiest first and quotes alternating.

    Args:
        bases: Base assets as the simulator names them.
        quotes: Names of the quotes: the simulator's and the exchange's.
        spelling: How a symbol is made of base and quote.
        places: The most decimals of a price.
        count: The most markets.

    Returns:
        Listings whose quotes are the simulator's.
    """
    known = {each.base: each for each in listings(MAX_SYMBOLS) if each.quote == "USDT"}
    found = []
    for base in ("USDT", *bases):
        for quote, name in quotes:
            if base == "USDT" and quote == "USDT":
                continue
            rate = TOMAN_PER_USDT if quote == "TMN" else 1.0
            usdt = 1.0 if base == "USDT" else known[base].price
            found.append(
                MarketListing(
                    symbol=spelling.format(base=base, quote=name, lower=base.lower()),
                    base=base,
                    quote=quote,
                    fa_base=base,
                    price=usdt * rate,
                    price_precision=min(places, _precision(usdt * rate, quote)),
                    amount_precision=2 if base == "USDT" else known[base].amount_precision,
                )
            )
    return found[:count]


def padded(units: int, decimals: int, places: int) -> str:
    """Write `units * 10**-decimals` with so many decimals, or with more that are not 0."""
    digits = str(units).rjust(decimals + 1, "0")
    whole = digits[: len(digits) - decimals]
    fraction = digits[len(whole) :].rstrip("0").ljust(places, "0")
    return f"{whole}.{fraction}" if fraction else whole


def iso(time_us: int, places: int) -> str:
    """Write a time in UTC with so many decimals of the second: `2026-07-01T10:00:00.123Z`."""
    second, fraction = divmod(time_us, 1_000_000)
    text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{fraction:06}"[: 20 + places] + "Z" if places else f"{text}Z"


def _precision(price: float, quote: str) -> int:
    return max(0, SIGNIFICANT_DIGITS[quote] - 1 - floor(log10(price)))


def _levels(market: MarketState) -> tuple[Levels, Levels]:
    return (
        [(level.ticks, level.lots) for level in market.bids],
        [(level.ticks, level.lots) for level in market.asks],
    )


def _changes(before: Levels, after: Levels, also: set[int]) -> Levels:
    """Return the changed levels, with 0 for removed ones, and those of `also` in any case."""
    old, new = dict(before), dict(after)
    changed = [(ticks, lots) for ticks, lots in after if old.get(ticks) != lots or ticks in also]
    changed += [(ticks, 0) for ticks, _ in before if ticks not in new]
    changed += [(ticks, 0) for ticks in also if ticks not in new and ticks not in old]
    return changed
