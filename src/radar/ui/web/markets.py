"""Queries about markets, and their answers in the pages' form.

Times are Unix times in seconds. Prices and amounts of trades are exact texts; numbers for charts
are floats. Every function blocks until ClickHouse has answered and raises StoreUnavailable or
QueryFailed if it does not.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from radar.errors import InvalidRequest, RadarError, UnknownMarket
from radar.reading.recorded import find_market
from radar.store.client import Store
from radar.store.queries import dashboard as queries

INTERVALS_S = (1, 5, 15, 60, 300, 900, 1800, 3600, 14400, 86400, 604800)
MAX_CANDLES = 2000
MAX_TRADES = 500
DAY_S = 86400
# Weeks begin on Mondays, as in the views: the first one of 1970 is the origin of all intervals.
_ORIGIN_S = 4 * 86400
# The exchange's days, and UTC's.
TIME_ZONES = ("Asia/Tehran", "UTC")
# Midnight of any usual time zone is a multiple of this; queries for days start at such a time.
_MIDNIGHTS_S = 1800
# Changed candles are read in ranges; a distance of this many intervals starts another range.
_FAR_INTERVALS = 30
# Intervals that are read for each wanted candle: short intervals may have no trades. Long ones
# almost always have some, and so many that the number of read rows matters.
_WINDOW, _LONG_S = 1.5, 3600
# Over so long a time, reading the sums of past weeks takes less time than the longer plan of the
# query. The sums are of quarters of an hour.
_REPAYS_SUMS_S, SUMMED_S = 10 * DAY_S, 900
_FIRST_MS = 4 * 86_400_000  # the first Monday of 1970; the view refuses ranges that begin earlier
BOOK_BPS = 100.0  # quantities this near the middle make the imbalance

# Only SELECT; a query may bring its own settings, as clients do.
READ_ONLY = {"readonly": "2"}


class NoSuchMarket(RadarError):
    """A market has no records."""


class MarketTicker(NamedTuple):
    """A market: its exchange and the exchange's name for it."""

    source: str
    symbol: str


class Grid(NamedTuple):
    """The begin of candles: every `interval_s` seconds, or at midnight of a time zone."""

    interval_s: int
    time_zone: str = "UTC"

    @property
    def is_local(self) -> bool:
        """Whether these are the days of another time zone than UTC."""
        return self.interval_s == DAY_S and self.time_zone != "UTC"

    def ceil(self, at_s: float) -> float:
        """Return a time, at or after `at_s`, before which the same candles begin."""
        step_s = _MIDNIGHTS_S if self.is_local else self.interval_s
        return float(-int((_ORIGIN_S - at_s) // step_s) * step_s + _ORIGIN_S)

    def floor(self, at_s: float) -> int:
        """Return the beginning of the interval of a time; not for the days of a time zone."""
        return int((at_s - _ORIGIN_S) // self.interval_s) * self.interval_s + _ORIGIN_S

    @property
    def beginning(self) -> str:
        """SQL of the Unix time at which the interval of a trade begins."""
        if self.is_local:
            return "toUnixTimestamp(toStartOfDay(event_time, {time_zone:String}))"
        # No trade is older than the origin, so the division cuts as it should.
        return (
            f"intDiv(toUnixTimestamp(event_time) - {_ORIGIN_S}, {{interval_s:UInt32}})"
            f" * {{interval_s:UInt32}} + {_ORIGIN_S}"
        )

    def candles(self, period_s: float) -> str:
        """Return the SQL of the candles of a period of this length, the newest first."""
        is_long = self.interval_s % SUMMED_S == 0 and period_s >= _REPAYS_SUMS_S
        return queries.candles(is_local=self.is_local, is_long=is_long)


class MarketRow(Struct, frozen=True):
    """A market in the list of markets."""

    market: str  # its name in addresses: with the exchange, if several are recorded
    source: str
    symbol: str
    base: str
    quote: str
    last_price: float | None
    last_trade_at_s: float | None
    change_24h: float | None
    high_24h: float | None
    low_24h: float | None
    volume_24h: float | None
    quote_volume_24h: float | None
    trades_24h: int
    best_bid: float | None
    best_ask: float | None
    spread_bps: float | None
    book_at_s: float | None


class CandleRow(Struct, frozen=True):
    """The trades of one interval."""

    time: int  # the interval's beginning
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float
    vwap: float
    trades: int


class TradeRow(Struct, frozen=True):
    """A trade."""

    id: str
    at_s: float
    received_at_s: float
    side: Literal["buy", "sell"]
    price: str
    amount: str


class BookState(Struct, frozen=True):
    """The newest snapshot of each side of a book, best level first, as [price, quantity]."""

    symbol: str
    bid_at_s: float | None
    ask_at_s: float | None
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
    mid: float | None
    spread: float | None
    spread_bps: float | None
    imbalance: float | None  # of the quantities within BOOK_BPS of the middle, from -1 to 1


def markets(store: Store) -> list[MarketRow]:
    """Return all markets of the last 24 hours, the one with the greatest volume first."""
    rows = store.rows(queries.MARKETS, settings=READ_ONLY)
    several = len({row[0] for row in rows}) > 1
    return by_volume([MarketRow(name_of(row[0], row[1], several), *row) for row in rows])


def name_of(source: str, symbol: str, several: bool) -> str:
    """Return the name of a market: with its exchange, if several exchanges are recorded."""
    return f"{source}:{symbol}" if several else symbol


def market_row(store: Store, market: MarketTicker) -> MarketRow | None:
    """Return one market's row of the list of markets; None if it is not there."""
    sql = f"{queries.MARKETS} WHERE source = {{source:String}} AND symbol = {{symbol:String}}"
    rows = store.rows(sql, market._asdict(), READ_ONLY)
    return MarketRow(f"{market.source}:{market.symbol}", *rows[0]) if rows else None


def find(store: Store, name: str) -> MarketTicker:
    """Return the market of a symbol that only one exchange has.

    Raises:
        NoSuchMarket: No exchange has it, or several; the message names them.
    """
    try:
        return MarketTicker(
            *find_market(lambda sql, values: store.rows(sql, values, READ_ONLY), name)
        )
    except UnknownMarket as error:
        raise NoSuchMarket(str(error)) from error


def by_volume(rows: list[MarketRow]) -> list[MarketRow]:
    """Order markets by the traded volume of 24 hours, in Toman where its price is known."""
    toman = {row.base: row.last_price or 0 for row in rows if row.quote == "TMN"} | {"TMN": 1}

    def volume(row: MarketRow) -> tuple[bool, float, str]:
        known = row.quote in toman
        return not known, -(row.quote_volume_24h or 0) * toman.get(row.quote, 1), row.symbol

    return sorted(rows, key=volume)


def candles(
    store: Store, market: MarketTicker, grid: Grid, before_s: float, count: int
) -> list[CandleRow]:
    """Return the newest candles that begin before a time, oldest first.

    Intervals without trades have no candle and do not count.

    Raises:
        NoSuchMarket: The market has no records.
        InvalidRequest: There are no such candles.
    """
    check_grid(grid)
    # Candles are whole, so the last one must not begin at `before_s` or later.
    end_ms = int(grid.ceil(before_s)) * 1000
    interval_s = grid.interval_s
    intervals = count if interval_s >= _LONG_S else int(count * _WINDOW)
    start_ms = max(_FIRST_MS, end_ms - intervals * interval_s * 1000)
    asked = market._asdict() | grid._asdict() | {"count": count}
    if start_ms >= end_ms:
        must_exist(store, market)
        return []
    found = _candles(store, grid, asked, start_ms, end_ms)
    if missing := count - len(found):
        older = asked | {"start_ms": start_ms, "count": missing}
        ((begin_ms,),) = store.rows(queries.CANDLES_BEGIN % grid.beginning, older, READ_ONLY)
        if begin_ms and start_ms > _FIRST_MS:
            found = _joined(_candles(store, grid, older, max(_FIRST_MS, begin_ms), start_ms), found)
    if not found:
        must_exist(store, market)
    return found


def check_grid(grid: Grid) -> None:
    """Return if there are such candles.

    Raises:
        InvalidRequest: There are none.
    """
    if grid.interval_s not in INTERVALS_S:
        raise InvalidRequest(f"interval_s must be one of {', '.join(map(str, INTERVALS_S))}")
    if grid.time_zone not in TIME_ZONES:
        raise InvalidRequest(f"time_zone must be one of {', '.join(TIME_ZONES)}")


def last_candles(store: Store, market: MarketTicker, grid: Grid) -> list[CandleRow]:
    """Return the candle of the newest trade and the one before, if its interval has one."""
    ((there, newest_ms),) = store.rows(
        queries.TRADES_BEGIN, market._asdict() | {"deliveries": 1}, READ_ONLY
    )
    if not there:
        return []
    asked = market._asdict() | grid._asdict() | {"count": 2}
    return _candles(store, grid, asked, newest_ms - grid.interval_s * 1000, newest_ms + 1)


def now_ms(store: Store) -> int:
    """Return the time by ClickHouse's clock, which also dates insertions."""
    ((found,),) = store.rows(queries.NOW_MS, settings=READ_ONLY)
    return int(found)


def changed_candles(
    store: Store, market: MarketTicker, grid: Grid, since_ms: int
) -> tuple[int, list[CandleRow]]:
    """Return the candles of the rows that were inserted since a time, oldest first.

    The age of a trade does not matter: a trade of last week that is stored now changes last week's
    candle.

    Args:
        store: The database.
        market: The market.
        grid: The begin of the candles.
        since_ms: Time by the clock of ClickHouse, in milliseconds.

    Returns:
        The time by that clock before the query, and the candles.
    """
    asked = market._asdict() | grid._asdict() | {"count": MAX_CANDLES}
    ((now_ms, beginnings),) = store.rows(
        queries.CHANGED % grid.beginning, asked | {"since_ms": since_ms}, READ_ONLY
    )
    found: list[CandleRow] = []
    for first_s, last_s in ranges(beginnings, grid.interval_s * _FAR_INTERVALS):
        end_ms = (last_s + grid.interval_s) * 1000
        found += _candles(store, grid, asked, first_s * 1000, end_ms)
    changed = set(beginnings)
    return now_ms, [candle for candle in found if candle.time in changed]


def ranges(numbers: Sequence[int], far: int) -> list[tuple[int, int]]:
    """Return the first and last number of each group of numbers that are not far apart."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and number - found[-1][1] <= far:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return found


def _joined(older: list[CandleRow], newer: list[CandleRow]) -> list[CandleRow]:
    """Put candles behind older ones; the day in which both windows meet may be in both."""
    known = {candle.time for candle in newer}
    return [candle for candle in older if candle.time not in known] + newer


def _candles(
    store: Store, grid: Grid, asked: dict[str, Any], start_ms: int, end_ms: int
) -> list[CandleRow]:
    window = {"start_ms": start_ms, "end_ms": end_ms}
    sql = grid.candles((end_ms - start_ms) / 1000)
    return [CandleRow(*row) for row in reversed(store.rows(sql, asked | window, READ_ONLY))]


def trades(store: Store, market: MarketTicker, count: int) -> list[TradeRow]:
    """Return the newest trades, newest first; of trades at the same moment the last received.

    Raises:
        NoSuchMarket: The market has no records.
    """
    deliveries = 2 * count
    while True:
        asked = market._asdict() | {"deliveries": deliveries}
        ((there, since_ms),) = store.rows(queries.TRADES_BEGIN, asked, READ_ONLY)
        found = trades_since(store, market, since_ms / 1000, count)
        if len(found) == count or there < deliveries:
            break
        deliveries *= 8  # each trade was delivered many times
    if not found:
        must_exist(store, market)
    return found


def trades_since(store: Store, market: MarketTicker, since_s: float, count: int) -> list[TradeRow]:
    """Return the newest of the trades that happened at a time or later, newest first."""
    asked = market._asdict() | {"since_ms": round(since_s * 1000), "count": count}
    return [TradeRow(*row) for row in store.rows(queries.TRADES, asked, READ_ONLY)]


def book(store: Store, market: MarketTicker, at_s: float) -> BookState:
    """Return the book as it was known at a time.

    Raises:
        NoSuchMarket: The market has no records.
    """
    asked = market._asdict() | {"at_us": int(at_s * 1_000_000)}
    for row in store.rows(queries.BOOK, asked, READ_ONLY):
        bid_at_s, ask_at_s, bid_prices, bid_quantities, ask_prices, ask_quantities, *middle = row
        bids = levels(bid_prices, bid_quantities)
        asks = levels(ask_prices, ask_quantities)
        mid, spread, spread_bps = middle
        return BookState(
            symbol=market.symbol,
            bid_at_s=bid_at_s or None,
            ask_at_s=ask_at_s or None,
            bids=bids,
            asks=asks,
            mid=mid,
            spread=spread,
            spread_bps=spread_bps,
            imbalance=None if mid is None else imbalance(bids, asks, mid),
        )
    must_exist(store, market)
    return BookState(market.symbol, None, None, [], [], None, None, None, None)


def levels(prices: Sequence[float], quantities: Sequence[float]) -> list[tuple[float, float]]:
    """Return the levels of a side as pairs of price and quantity."""
    return list(zip(prices, quantities, strict=True))


def imbalance(
    bids: list[tuple[float, float]], asks: list[tuple[float, float]], mid: float
) -> float | None:
    """Return (bids - asks) / (bids + asks) of the quantities near the middle.

    None if there are none.
    """
    lowest, highest = mid * (10_000 - BOOK_BPS) / 10_000, mid * (10_000 + BOOK_BPS) / 10_000
    bid = sum(quantity for price, quantity in bids if price >= lowest)
    ask = sum(quantity for price, quantity in asks if price <= highest)
    return (bid - ask) / (bid + ask) if bid + ask else None


def book_version(store: Store, market: MarketTicker) -> tuple[Any, ...]:
    """Return values that change with every new snapshot of the market; cheap."""
    return tuple(store.rows(queries.BOOK_VERSION, market._asdict(), READ_ONLY))


def must_exist(store: Store, market: MarketTicker) -> None:
    """Return if a market has records.

    Raises:
        NoSuchMarket: It has none.
    """
    ((found,),) = store.rows(queries.EXISTS, market._asdict(), READ_ONLY)
    if not found:
        raise NoSuchMarket(f"there are no records of a market {market.symbol!r}")
