"""A market in the past: at a moment, and step by step through a stretch of the recording.

Times are Unix times in seconds. Every function blocks until ClickHouse has answered and raises
StoreUnavailable or QueryFailed if it does not.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from radar.status.judgement import SILENT_S
from radar.store.client import Store
from radar.store.queries import moments as queries
from radar.ui.web import markets
from radar.ui.web.markets import (
    READ_ONLY,
    BookState,
    CandleRow,
    Grid,
    MarketRow,
    MarketTicker,
    TradeRow,
)
from radar.ui.web.quality import CoveredDay, covered_day

MAX_STEPS = 400  # of a stretch
MAX_STEP_MS = 60_000
LEVELS = 100  # of each side of a book in a stretch
TRADES_OF_A_STEP = 50
MAX_GAPS = 500
_US = 1_000_000


class Moment(Struct, frozen=True):
    """A market as it was known at a moment."""

    moment_s: float
    market: MarketRow | None
    book: BookState
    trades: list[TradeRow]  # newest first


class Frame(Struct, frozen=True):
    """The news of one step: the market afterwards is the one before with these changes."""

    at_s: float  # the end of the step
    book: BookState | None  # None: unchanged
    trades: list[TradeRow]  # the newest of the step, newest first
    candles: list[CandleRow]  # those that changed, as they are then


class Stretch(Struct, frozen=True):
    """A stretch of the recording; steps without news have no frame."""

    from_s: float
    to_s: float
    frames: list[Frame]


def moment(store: Store, market: MarketTicker, at_s: float, count: int) -> Moment:
    """Return a market at a moment with its newest trades until then.

    Raises:
        NoSuchMarket: The market has no records.
    """
    asked = market._asdict() | {"at_us": _us(at_s)}
    rows = store.rows(queries.MARKET_AT, asked, READ_ONLY)
    row = MarketRow(f"{market.source}:{market.symbol}", *rows[0]) if rows else None
    return Moment(
        at_s, row, markets.book(store, market, at_s), trades_at(store, market, at_s, count)
    )


def trades_at(store: Store, market: MarketTicker, at_s: float, count: int) -> list[TradeRow]:
    """Return the newest trades that happened at a moment or before, newest first.

    Raises:
        NoSuchMarket: The market has no records.
    """
    deliveries = 2 * count
    while True:
        asked: dict[str, Any] = market._asdict() | {"at_us": _us(at_s), "deliveries": deliveries}
        ((there, since_ms),) = store.rows(queries.TRADES_BEGIN_AT, asked, READ_ONLY)
        asked |= {"since_ms": since_ms, "count": count}
        rows = store.rows(queries.TRADES_AT, asked, READ_ONLY) if there else []
        if len(rows) == count or there < deliveries:
            break
        deliveries *= 8  # each trade was delivered many times
    if not rows:
        markets.must_exist(store, market)
    return [TradeRow(*row) for row in rows]


def candles_at(
    store: Store, market: MarketTicker, grid: Grid, at_s: float, count: int
) -> list[CandleRow]:
    """Return the candles as they were at a moment, oldest first; the last one may still grow.

    Raises:
        NoSuchMarket: The market has no records.
        InvalidRequest: There are no such candles.
    """
    markets.check_grid(grid)
    begin_s = interval_begin_s(store, grid, at_s)
    growing = _grown(store, market, grid, at_s, at_s, _US, first_step=-1)
    left = count - len(growing)
    whole = _whole_before(store, market, grid, begin_s, left) if left else []
    return [*whole, *(candle for _, candle in growing)]


def stretch(
    store: Store, market: MarketTicker, grid: Grid, from_s: float, step_ms: int, steps: int
) -> Stretch:
    """Return what happened after `from_s` in so many steps of so many milliseconds.

    Raises:
        NoSuchMarket: The market has no records.
        InvalidRequest: There are no such candles.
    """
    markets.check_grid(grid)
    from_us, step_us = _us(from_s), step_ms * 1000
    to_us = from_us + steps * step_us
    asked = market._asdict() | {"from_us": from_us, "to_us": to_us, "step_us": step_us}
    trades: dict[int, list[TradeRow]] = {}
    for step, *row in store.rows(
        queries.TRADES_BY_STEP, asked | {"count": TRADES_OF_A_STEP}, READ_ONLY
    ):
        trades.setdefault(step, []).append(TradeRow(*row))
    candles: dict[int, list[CandleRow]] = {}
    for step, candle in _grown(store, market, grid, from_us / _US, to_us / _US, step_us, 0):
        candles.setdefault(step, []).append(candle)
    sides = store.rows(queries.BOOKS_BY_STEP, asked | {"levels": LEVELS}, READ_ONLY)
    books = books_by_step(markets.book(store, market, from_s), sides)
    frames = [
        Frame(
            (from_us + (step + 1) * step_us) / _US,
            books.get(step),
            trades.get(step, []),
            candles.get(step, []),
        )
        for step in sorted(trades.keys() | candles.keys() | books.keys())
    ]
    return Stretch(from_us / _US, to_us / _US, frames)


def books_by_step(before: BookState, sides: Iterable[Sequence[Any]]) -> dict[int, BookState]:
    """Return the whole book after each step that changed a side.

    Args:
        before: The book before the first step.
        sides: Step, side, time of receipt, prices and quantities, in the order of steps.
    """
    found: dict[int, BookState] = {}
    bids, asks = before.bids, before.asks
    bid_at_s, ask_at_s = before.bid_at_s, before.ask_at_s
    for step, side, at_s, prices, quantities in sides:
        if side == "bid":
            bids, bid_at_s = markets.levels(prices, quantities), at_s
        else:
            asks, ask_at_s = markets.levels(prices, quantities), at_s
        mid = (bids[0][0] + asks[0][0]) / 2 if bids and asks else None
        spread = asks[0][0] - bids[0][0] if bids and asks else None
        found[step] = BookState(
            symbol=before.symbol,
            bid_at_s=bid_at_s,
            ask_at_s=ask_at_s,
            bids=bids,
            asks=asks,
            mid=mid,
            spread=spread,
            spread_bps=None if mid is None or spread is None else spread / mid * 10_000,
            imbalance=None if mid is None else markets.imbalance(bids, asks, mid),
        )
    return found


def _grown(
    store: Store,
    market: MarketTicker,
    grid: Grid,
    from_s: float,
    to_s: float,
    step_us: int,
    first_step: int,
) -> list[tuple[int, CandleRow]]:
    """Return steps from `first_step` on, and a candle that each changed, as it was then."""
    asked = (
        market._asdict()
        | grid._asdict()
        | {
            "from_us": _us(from_s),
            "to_us": _us(to_s),
            "step_us": step_us,
            "since_ms": interval_begin_s(store, grid, from_s) * 1000,
            "first_step": first_step,
        }
    )
    rows = store.rows(queries.candles_by_step(grid.beginning), asked, READ_ONLY)
    return [(step, CandleRow(*row)) for step, *row in rows]


def _whole_before(
    store: Store, market: MarketTicker, grid: Grid, begin_s: int, count: int
) -> list[CandleRow]:
    """Return the whole candles before an interval, oldest first."""
    found = markets.candles(store, market, grid, begin_s, count)
    return [candle for candle in found if candle.time < begin_s]


def interval_begin_s(store: Store, grid: Grid, at_s: float) -> int:
    """Return the beginning of the interval of a time."""
    if not grid.is_local:
        return grid.floor(at_s)
    asked = {"at_us": _us(at_s), "time_zone": grid.time_zone}
    ((begin_s,),) = store.rows(queries.BEGIN_OF_DAY, asked, READ_ONLY)
    return int(begin_s)


def _us(seconds: float) -> int:
    return round(seconds * _US)


class MarketGap(Struct, frozen=True):
    """A time in which one market was not recorded."""

    dataset: str
    began_at_s: float
    ended_at_s: float
    cause: str
    repaired: bool


def younger_markets(store: Store) -> dict[str, float]:
    """Return when the recording of trades began, by EXCHANGE:SYMBOL, if less than 24 hours ago."""
    asked = {"within_us": markets.DAY_S * _US}
    rows = store.rows(queries.RECORDED_LESS, asked, READ_ONLY)
    return {f"{source}:{symbol}": float(first_s) for source, symbol, first_s in rows}


class Recorded(Struct, frozen=True):
    """How completely a market was recorded."""

    since_s: dict[str, float]  # by dataset: when its recording began
    gaps: list[MarketGap]  # newest first
    more: bool  # there are more gaps than these
    day: dict[str, CoveredDay]  # by dataset: the coverage of one day
    silent_s: float  # a book without a snapshot for so long is old


def recorded(
    store: Store, market: MarketTicker, from_s: float, to_s: float, at_s: float
) -> Recorded:
    """Return the gaps of a market that touch a time, and its coverage of the day of a moment."""
    asked = market._asdict() | {
        "from_us": _us(from_s), "to_us": _us(to_s), "count": MAX_GAPS + 1,
    }  # fmt: skip
    rows = store.rows(queries.GAPS_BETWEEN, asked, READ_ONLY)
    since = store.rows(queries.RECORDED_SINCE, market._asdict(), READ_ONLY)
    return Recorded(
        {str(dataset): float(first_s) for dataset, first_s in since},
        [MarketGap(*row) for row in rows[:MAX_GAPS]],
        len(rows) > MAX_GAPS,
        covered_day(store, market, at_s),
        SILENT_S,
    )
