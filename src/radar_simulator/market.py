"""The market model: order books that move and trades that hit them.

Pure: no socket, no clock, chance only from one seeded generator. The same seed and the same
sequence of times give the same events. Prices are whole ticks and quantities whole lots, so no
number is ever rounded; `wire` turns them into decimals.
"""

from bisect import bisect
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from itertools import accumulate
from math import exp
from random import Random
from types import MappingProxyType
from typing import NamedTuple, Protocol

from radar_simulator.listings import TOMAN_PER_USDT, MarketListing, listings

LEVELS = 50
"""Levels of a depth frame (capture of July 2026)."""

RECENT_TRADES = 200
"""Trades kept per market for REST and for resending, by default."""

CANDLE_MINUTES = 1_500
"""One-minute candles kept per market, a little more than a day."""

DEPTH_REFRESH_S = 1.0
"""Each side of each market is published about this often, quiet ones too, if the rate allows."""

MAX_CATCH_UP_S = 0.25
"""A longer pause between two steps is not made up for: no burst after a suspended process."""

MAX_SWEEP = 3
"""The most levels that one order consumes."""

LEVEL_VALUE_USDT = 400.0
"""Median value of a book's level."""

TRADE_VALUE_USDT = 60.0
"""Median value of a trade."""

_GAP = 0.0003  # mean distance of two levels, as a share of the price
_REFRESH_SHARE = 0.7  # of the depth rate at most; the rest goes to the busy markets


class Side(Enum):
    """Side of a book; the value is the channel's suffix on the wire."""

    BID = "buyDepth"
    ASK = "sellDepth"


class Level:
    """A price level.

    Attributes:
        ticks: Price in ticks.
        lots: Quantity in lots.
        text: The level's JSON, filled by `wire` on first use. Most levels stay the same from one
            snapshot to the next, and writing 50 levels anew is the main cost of a snapshot.
    """

    __slots__ = ("lots", "text", "ticks")

    def __init__(self, ticks: int, lots: int) -> None:
        self.ticks = ticks
        self.lots = lots
        self.text = ""


class SimulatedTrade(NamedTuple):
    """A trade that has happened.

    Attributes:
        number: Position among all trades of this run, from 1. The wire does not carry it.
        listing: The market.
        second: Unix time in whole seconds, the exchange's resolution.
        ticks: Price in ticks.
        lots: Quantity in lots.
        is_buy: True if the taker bought.
    """

    number: int
    listing: MarketListing
    second: int
    ticks: int
    lots: int
    is_buy: bool


class DepthDue(NamedTuple):
    """One side of a market is to be published as it is now."""

    market: "MarketState"
    side: Side


class SimulatedCandle:
    """One minute of trades; prices in ticks, volume in lots."""

    __slots__ = ("close", "high", "low", "minute", "open", "volume")

    def __init__(self, minute: int, ticks: int) -> None:
        self.minute = minute
        self.open = self.high = self.low = self.close = ticks
        self.volume = 0


class MarketState:
    """One market: its book, its newest trades and its candles.

    Attributes:
        listing: Names and precisions.
        bids: Levels, best (highest) first.
        asks: Levels, best (lowest) first.
        recent: The newest trades, oldest first.
        candles: One-minute candles, oldest first.
    """

    def __init__(self, listing: MarketListing, recent_trades: int) -> None:
        self.listing = listing
        self.bids: list[Level] = []
        self.asks: list[Level] = []
        self.recent: deque[SimulatedTrade] = deque(maxlen=recent_trades)
        self.candles: deque[SimulatedCandle] = deque(maxlen=CANDLE_MINUTES)

    def side(self, side: Side) -> list[Level]:
        """Return the levels of one side, best first."""
        return self.bids if side is Side.BID else self.asks

    def last_ticks(self) -> int:
        """Return the price of the newest trade, or the best bid before the first; 0 if none."""
        if self.recent:
            return self.recent[-1].ticks
        return self.bids[0].ticks if self.bids else 0

    def record(self, trade: SimulatedTrade) -> None:
        """Keep a trade among the newest ones and in its candle."""
        self.recent.append(trade)
        minute = trade.second // 60
        if not self.candles or self.candles[-1].minute < minute:
            self.candles.append(SimulatedCandle(minute, trade.ticks))
        candle = self.candles[-1]
        candle.high = max(candle.high, trade.ticks)
        candle.low = min(candle.low, trade.ticks)
        candle.close = trade.ticks
        candle.volume += trade.lots

    def stir(self, side: Side) -> None:
        """Let makers act on one side; nobody does unless a subclass lets them."""


class SimulatedMarket(MarketState):
    """A market that moves by chance; both sides have 50 levels."""

    def __init__(self, listing: MarketListing, rng: Random, recent_trades: int) -> None:
        super().__init__(listing, recent_trades)
        self._rng = rng
        tick = 10.0**-listing.tick_places
        lot = 10.0**-listing.lot_places
        self._anchor = max(1, round(listing.price / tick))
        quote_rate = TOMAN_PER_USDT if listing.quote == "TMN" else 1.0
        self._lots_per_usdt = quote_rate / listing.price / lot
        self.bids = [Level(self._anchor, self._level_lots())]
        self.asks = [Level(self._anchor + self._gap(), self._level_lots())]
        self._fill(self.bids, -1)
        self._fill(self.asks, +1)

    def match(self, budget: int) -> Iterator[tuple[int, int, bool]]:
        """Let one taker order hit the book: one trade per level that it consumes.

        Args:
            budget: The most trades to make, at least 1.

        Yields:
            Ticks, lots and whether the taker bought.
        """
        is_buy = self._rng.random() < 0.5 - self._stretch()
        levels, outward = (self.asks, +1) if is_buy else (self.bids, -1)
        wanted = self._trade_lots()
        for _ in range(min(budget, MAX_SWEEP)):
            best = levels[0]
            taken = min(wanted, best.lots)
            yield best.ticks, taken, is_buy
            self._take(levels, outward, taken)
            wanted -= taken
            if wanted <= 0:
                return

    def match_twins(self) -> tuple[int, int, bool]:
        """Let two takers trade the same quantity at the same level; both trades look alike.

        Returns:
            Ticks, lots of each of the two trades, and whether the takers bought.
        """
        is_buy = self._rng.random() < 0.5 - self._stretch()
        levels, outward = (self.asks, +1) if is_buy else (self.bids, -1)
        best = levels[0]
        if best.lots < 2:
            best = levels[0] = Level(best.ticks, 2 + self._level_lots())
        lots = min(self._trade_lots(), best.lots // 2)
        self._take(levels, outward, 2 * lots)
        return best.ticks, lots, is_buy

    def stir(self, side: Side) -> None:
        """Let makers place, change and cancel a few orders of one side."""
        levels, outward = (self.bids, -1) if side is Side.BID else (self.asks, +1)
        rng = self._rng
        for _ in range(1 + int(rng.random() * 3)):
            what = rng.random()
            index = int(rng.random() ** 2 * LEVELS)  # the top of the book is the busiest
            if what < 0.2:
                self._move_best(levels, outward)
            elif what < 0.35:
                del levels[index]
                self._fill(levels, outward)
            elif what < 0.5 and index + 1 < LEVELS:
                inner, outer = levels[index].ticks, levels[index + 1].ticks
                room = abs(outer - inner) - 1
                if room > 0:
                    ticks = inner + outward * (1 + int(rng.random() * room))
                    levels.insert(index + 1, Level(ticks, self._level_lots()))
                    levels.pop()
            else:
                levels[index] = Level(levels[index].ticks, self._level_lots())

    def _move_best(self, levels: list[Level], outward: int) -> None:
        """Better the best price inside the spread, or withdraw it; drifts towards the anchor."""
        spread = self.asks[0].ticks - self.bids[0].ticks
        # A bid is bettered more often below the anchor, an ask above it; and a wide spread draws
        # orders into it.
        better = 0.5 + outward * self._stretch() + 0.4 * self._is_wide()
        if self._rng.random() >= better:
            del levels[0]
            self._fill(levels, outward)
        elif spread > 1:
            step = 1 + int(self._rng.random() * (spread - 1))
            levels.insert(0, Level(levels[0].ticks - outward * step, self._level_lots()))
            levels.pop()

    def _take(self, levels: list[Level], outward: int, lots: int) -> None:
        best = levels[0]
        if best.lots > lots:
            levels[0] = Level(best.ticks, best.lots - lots)
        elif self._is_wide():
            # Another maker takes the place: however many takers come, the sides do not drift apart.
            levels[0] = Level(best.ticks, self._level_lots())
        else:
            del levels[0]
            self._fill(levels, outward)

    def _fill(self, levels: list[Level], outward: int) -> None:
        while len(levels) < LEVELS:
            levels.append(Level(levels[-1].ticks + outward * self._gap(), self._level_lots()))

    def _is_wide(self) -> bool:
        return self.asks[0].ticks - self.bids[0].ticks > 4 * _GAP * self._anchor

    def _stretch(self) -> float:
        """How far the price is above (positive) or below its anchor, -0.45 to 0.45."""
        return max(-0.45, min(0.45, 2.0 * (self.bids[0].ticks / self._anchor - 1.0)))

    def _gap(self) -> int:
        return 1 + int(self._rng.expovariate(1.0) * _GAP * self._anchor)

    def _level_lots(self) -> int:
        return self._lots(LEVEL_VALUE_USDT)

    def _trade_lots(self) -> int:
        return self._lots(TRADE_VALUE_USDT)

    def _lots(self, median_value_usdt: float) -> int:
        value = median_value_usdt * exp(self._rng.gauss(0.0, 1.2))
        lots = max(1, int(value * self._lots_per_usdt))
        if self._rng.random() < 0.2:  # traders like round amounts
            unit = 10 ** (len(str(lots)) - 1)
            lots = lots // unit * unit
        return lots


class MarketSource(Protocol):
    """All markets of an exchange, and what moves them."""

    @property
    def markets(self) -> Mapping[str, MarketState]:
        """The markets by symbol."""

    def advance(self, now_s: float) -> Iterator[SimulatedTrade | DepthDue]:
        """Let the markets move up to a time; see `MarketModel.advance`."""

    def trade(
        self, now_s: float, count: int, symbol: str | None = None
    ) -> Iterator[SimulatedTrade]:
        """Make trades besides the regular ones; see `MarketModel.trade`."""


class MarketModel:
    """All markets of the exchange; the caller advances them to a time."""

    def __init__(
        self,
        *,
        seed: int,
        symbols: int,
        trades_per_s: float,
        depth_per_s: float,
        twin_share: float,
        recent_trades: int = RECENT_TRADES,
        skew: float = 1.0,
        listed: Sequence[MarketListing] | None = None,
    ) -> None:
        """Build the books.

        Args:
            seed: Seed of all chance.
            symbols: Number of spot markets, 1 to 400; two that are not spot come on top.
            trades_per_s: Trades a second over all markets.
            depth_per_s: Depth snapshots a second over all markets and sides.
            twin_share: About the share of trades that repeat the one before exactly, 0 to 0.5.
            recent_trades: Trades kept per market for REST and for resending.
            skew: How unequal the markets are: 0 all trade alike, 1 is Zipf's law.
            listed: The markets, busiest first, in place of those that `symbols` counts.

        Raises:
            ValueError: If `symbols` is out of range.
        """
        self._rng = Random(seed)  # noqa: S311 - a simulation, not a secret
        self._trades_per_s = trades_per_s
        self._depth_per_s = depth_per_s
        # A pair adds one repeat: a chance p of pairs makes a share of p / (1 + p).
        self._pair_chance = min(1.0, twin_share / (1.0 - twin_share)) if twin_share < 1 else 1.0
        self._all = [
            SimulatedMarket(listing, self._rng, recent_trades)
            for listing in (listings(symbols) if listed is None else listed)
        ]
        self.markets: Mapping[str, SimulatedMarket] = MappingProxyType(
            {market.listing.symbol: market for market in self._all}
        )
        # Zipf: the r-th busiest market trades 1/r**skew as often as the busiest.
        ranks = range(1, len(self._all) + 1)
        self._weights = list(accumulate(1.0 / rank**skew for rank in ranks))
        self._round = [DepthDue(market, side) for market in self._all for side in Side]
        self._round_at = 0
        self._now_s: float | None = None
        self._trades_owed = self._refresh_owed = self._depth_owed = 0.0
        self._trades = 0

    def advance(self, now_s: float) -> Iterator[SimulatedTrade | DepthDue]:
        """Let the markets move up to a time.

        The events are lazy: a book has the state of an event only until the next event is taken. So
        encode it before you take the next. Take all of them.

        Args:
            now_s: Unix time in seconds. The first call, and a time before the last one, change no
                market.

        Yields:
            Trades, then the sides to publish.
        """
        if self._now_s is None:
            self._now_s = now_s
        elapsed_s = min(MAX_CATCH_UP_S, max(0.0, now_s - self._now_s))
        self._now_s = max(self._now_s, now_s)
        self._trades_owed += elapsed_s * self._trades_per_s
        while self._trades_owed >= 1.0:
            # An order may make more trades than the rate allows; the next ones come later then.
            for trade in self._order(self._draw(), MAX_SWEEP, int(self._now_s)):
                self._trades_owed -= 1.0
                yield trade

        refresh_per_s = min(self._depth_per_s * _REFRESH_SHARE, len(self._round) / DEPTH_REFRESH_S)
        self._refresh_owed += elapsed_s * refresh_per_s
        while self._refresh_owed >= 1.0:
            self._refresh_owed -= 1.0
            due = self._round[self._round_at]
            self._round_at = (self._round_at + 1) % len(self._round)
            due.market.stir(due.side)
            yield due
        self._depth_owed += elapsed_s * (self._depth_per_s - refresh_per_s)
        while self._depth_owed >= 1.0:
            self._depth_owed -= 1.0
            market = self._draw()
            side = Side.BID if self._rng.random() < 0.5 else Side.ASK
            market.stir(side)
            yield DepthDue(market, side)

    def trade(
        self, now_s: float, count: int, symbol: str | None = None
    ) -> Iterator[SimulatedTrade]:
        """Make trades besides the regular ones.

        Args:
            now_s: Unix time in seconds.
            count: Number of trades.
            symbol: The market; None draws one for each order, the busy ones more often.

        Yields:
            The trades.

        Raises:
            KeyError: If there is no such market.
        """
        # Never before the last time: timestamps do not go back.
        self._now_s = now_s if self._now_s is None else max(self._now_s, now_s)
        while count > 0:
            market = self.markets[symbol] if symbol is not None else self._draw()
            for trade in self._order(market, count, int(self._now_s)):
                count -= 1
                yield trade

    def _order(self, market: SimulatedMarket, budget: int, second: int) -> Iterator[SimulatedTrade]:
        """Let one order, or two that look alike, trade on a market."""
        if budget >= 2 and self._rng.random() < self._pair_chance:
            twin = market.match_twins()
            fills = [twin, twin]
        else:
            fills = list(market.match(budget))
        for ticks, lots, is_buy in fills:
            self._trades += 1
            trade = SimulatedTrade(self._trades, market.listing, second, ticks, lots, is_buy)
            market.record(trade)
            yield trade

    def _draw(self) -> SimulatedMarket:
        at = bisect(self._weights, self._rng.random() * self._weights[-1])
        return self._all[at]
