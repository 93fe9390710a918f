"""Figures beside a market's candles: averages, volume delta, spreads, and the volume at each price.

Times are Unix times in seconds. Every function blocks until ClickHouse has answered and raises
StoreUnavailable or QueryFailed if it does not.
"""

from decimal import Decimal

from msgspec import Struct

from radar.store.client import Store
from radar.store.queries import studies as queries
from radar.ui.web import markets
from radar.ui.web.markets import DAY_S, READ_ONLY, Grid, MarketTicker
from radar.ui.web.moments import interval_begin_s

MAX_PERIOD = 400  # candles of a moving average
MAX_INTERVALS = 30_000  # of one answer, as of a chart: a longer time is cut at its begin
MAX_BOOKS_S = 31 * DAY_S  # of spreads: there are many snapshots
MAX_ROWS = 200  # of a volume profile
# Candles are looked for in so many times the period before the begin: some intervals have none.
_LOOK_BACK = 3
_MIDNIGHTS_S = 1800  # no midnight of UTC or Tehran cuts such an interval
_LEAST_TRADES = 100  # fewer do not show which amount is large


class Flow(Struct, frozen=True):
    """An interval with trades: averages of closes until its end, and its volume delta."""

    time: int  # the interval's beginning
    fast: float | None
    slow: float | None
    delta: float  # bought minus sold by takers, in the base
    cumulative_delta: float  # since the first interval of the answer


class SpreadRow(Struct, frozen=True):
    """The best levels of a book at the end of an interval."""

    time: int  # the interval's beginning
    spread_bps: float | None
    imbalance: float | None  # of the best levels, from -1 to 1


class ProfileRow(Struct, frozen=True):
    """What was traded at the prices of one step."""

    price: float  # the lower end
    buy: float
    sell: float


class Profile(Struct, frozen=True):
    """The volume at each price in a time, lowest price first."""

    price_step: float | None  # None: nothing was traded
    rows: list[ProfileRow]


class TradeSizes(Struct, frozen=True):
    """Which amounts are large among the trades of 24 hours."""

    trades: int
    large_amount: float | None  # one trade of a hundred reaches it; None: there are too few


def flow(
    store: Store,
    market: MarketTicker,
    grid: Grid,
    from_s: float,
    to_s: float,
    periods: tuple[int, int],
) -> list[Flow]:
    """Return averages and volume delta of the intervals with trades, oldest first.

    Args:
        store: The database.
        market: The market.
        grid: The begin of the intervals.
        from_s: In the first interval.
        to_s: The moment until which trades count, so the last interval may still grow.
        periods: Candles of the fast and of the slow average.

    Raises:
        NoSuchMarket: The market has no records.
    """
    fast, slow = periods
    first_s = interval_begin_s(store, grid, max(from_s, to_s - MAX_INTERVALS * grid.interval_s, 0))
    since_s = max(0, first_s - _LOOK_BACK * max(periods) * grid.interval_s)
    asked = market._asdict() | grid._asdict() | {
        "from_s": first_s, "since_ms": since_s * 1000, "to_us": round(to_s * 1_000_000),
        "fast": fast, "slow": slow, "fast_before": fast - 1, "slow_before": slow - 1,
    }  # fmt: skip
    found = [Flow(*row) for row in store.rows(queries.flow(grid.beginning), asked, READ_ONLY)]
    if not found:
        markets.must_exist(store, market)
    return found


def spreads(
    store: Store, market: MarketTicker, grid: Grid, from_s: float, to_s: float, *, whole: bool
) -> list[SpreadRow]:
    """Return the best levels at the end of each interval in which a book was recorded.

    Args:
        store: The database.
        market: The market.
        grid: The begin of the intervals.
        from_s: In the first interval; at most MAX_BOOKS_S before `to_s` count.
        to_s: In the last interval.
        whole: Only intervals that have ended at `to_s`, so nothing later shows.
    """
    grid_s = _MIDNIGHTS_S if grid.is_local else grid.interval_s
    least_s = max(from_s, to_s - MAX_INTERVALS * grid.interval_s, to_s - MAX_BOOKS_S, 0)
    first_s = interval_begin_s(store, grid, least_s)
    end_s = interval_begin_s(store, grid, to_s) if whole else to_s
    if end_s <= first_s:
        return []
    asked = market._asdict() | {
        "start_ms": first_s * 1000, "end_ms": round(end_s * 1000), "interval_s": grid_s,
        "time_zone": grid.time_zone,
    }  # fmt: skip
    sql = queries.DAILY_SPREADS if grid.is_local else queries.SPREADS
    return [SpreadRow(*row) for row in store.rows(sql, asked, READ_ONLY)]


def profile(store: Store, market: MarketTicker, from_s: float, to_s: float, rows: int) -> Profile:
    """Return the volume at each price, in steps that make at most about `rows` of them."""
    window = {"start_ms": round(from_s * 1000), "end_ms": round(to_s * 1000)}
    asked = market._asdict() | window
    ((trades, lowest, highest),) = store.rows(queries.PRICE_RANGE, asked, READ_ONLY)
    if not trades:
        return Profile(None, [])
    step = price_step(Decimal(lowest), Decimal(highest), rows)
    found = store.rows(queries.PROFILE, asked | {"price_step": f"{step:f}"}, READ_ONLY)
    return Profile(float(step), [ProfileRow(*row) for row in found])


def price_step(lowest: Decimal, highest: Decimal, rows: int) -> Decimal:
    """Return a round step, e.g. 0.05, that divides a range into at most `rows`."""
    least = max((highest - lowest) / rows, highest / 100_000, Decimal("1e-18"))
    place = Decimal(1).scaleb(least.adjusted())
    return next(each * place for each in (1, 2, 5, 10) if each * place >= least)


def trade_sizes(store: Store, market: MarketTicker, to_s: float) -> TradeSizes:
    """Return which amounts are large among the trades of the 24 hours until a moment."""
    window = {"start_ms": round((to_s - DAY_S) * 1000), "end_ms": round(to_s * 1000)}
    ((trades, large),) = store.rows(queries.TRADE_SIZES, market._asdict() | window, READ_ONLY)
    return TradeSizes(trades, large if trades >= _LEAST_TRADES else None)
