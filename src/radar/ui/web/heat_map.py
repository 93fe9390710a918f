"""The depth of a market's book over time: how much was offered at each price, in columns of time.

Times are Unix times in seconds. `heat_map` blocks until ClickHouse has answered and raises
StoreUnavailable or QueryFailed if it does not; the rest is pure.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import zip_longest
from typing import Literal

from msgspec import Struct

from radar.errors import InvalidRequest
from radar.status.judgement import SILENT_S
from radar.store.client import Store
from radar.store.queries import heat_map as queries
from radar.ui.web import markets
from radar.ui.web.markets import DAY_S, READ_ONLY, MarketTicker
from radar.ui.web.studies import price_step

MAX_COLUMNS = 480
MAX_ROWS = 200
MAX_TIME_S = 31 * DAY_S  # of one map: there are many snapshots
MAX_GAPS = 2000
_US = 1_000_000
_COLUMNS_S = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600),
    *(2 * 3600, 4 * 3600, 6 * 3600, 12 * 3600, DAY_S, 2 * DAY_S, 5 * DAY_S),
)

Side = Literal["bid", "ask"]
_SIDES: tuple[Side, Side] = ("bid", "ask")
Span = tuple[float, float]
"""A time: from and until."""


class Strip(Struct, frozen=True):
    """One side of the book in one column: its last snapshot there."""

    side: Side
    spans: list[Span]  # the times for which it is known, without gaps
    rows: list[int]  # of prices: a row begins at its number times the price step
    quantities: list[float]  # in each of these rows, in the base


class HeatMap(Struct, frozen=True):
    """The depth of a book over time, the oldest column first."""

    from_s: float
    to_s: float
    column_s: int
    price_step: float | None  # None: no book is recorded in this time
    strips: list[Strip]


def heat_map(
    store: Store,
    market: MarketTicker,
    window: Span,
    columns: int,
    rows: int,
    prices: tuple[Decimal, Decimal] | None,
) -> HeatMap:
    """Return the depth between two times; a column shows the last snapshots in it.

    Args:
        store: The database.
        market: The market.
        window: The time; of a longer one than MAX_TIME_S only its end.
        columns: At most so many columns, of a round length.
        rows: About so many rows of prices at most, of a round step.
        prices: The lowest and the highest price of interest; None: all prices.

    Raises:
        NoSuchMarket: The market has no records.
        InvalidRequest: The time or the prices are empty.
    """
    from_s, to_s = max(window[0], window[1] - MAX_TIME_S, 0.0), window[1]
    if from_s >= to_s:
        raise InvalidRequest("from_s must be before to_s")
    if prices is not None and prices[0] >= prices[1]:
        raise InvalidRequest("low must be below high")
    column_s = column_length_s(to_s - from_s, columns)
    hold_s = max(SILENT_S, column_s)
    asked = market._asdict() | {
        "from_us": round(from_s * _US), "to_us": round(to_s * _US), "column_us": column_s * _US,
        "hold_us": round(hold_s * _US),
    }  # fmt: skip
    runs = store.rows(queries.RUNS, asked, READ_ONLY)
    if not runs:
        markets.must_exist(store, market)
        return HeatMap(from_s, to_s, column_s, None, [])
    if prices is None:
        ((lowest, highest),) = store.rows(queries.PRICES, asked, READ_ONLY)
        prices = Decimal(repr(lowest)), Decimal(repr(highest))
    if not prices[1]:
        return HeatMap(from_s, to_s, column_s, None, [])  # these books are empty
    step = price_step(*prices, rows)
    asked |= {
        "price_step": float(step), "first_row": int(prices[0] // step),
        "last_row": int(prices[1] // step),
    }  # fmt: skip
    books = {
        (side, column): (price_rows, quantities)
        for side, column, price_rows, quantities in store.rows(queries.BOOKS, asked, READ_ONLY)
    }
    gaps = [
        (began_s, ended_s)
        for began_s, ended_s in store.rows(queries.GAPS, asked | {"gaps": MAX_GAPS}, READ_ONLY)
    ]
    numbers = store.rows(queries.COLUMNS, asked, READ_ONLY)
    strips: list[Strip] = []
    for side in _SIDES:
        held = [
            (first_us / _US, min(last_us / _US + hold_s, to_s))
            for of_side, first_us, last_us in runs
            if of_side == side
        ]
        columns_with_book = sorted(number for of_side, number in numbers if of_side == side)
        for number, spans in spans_of(columns_with_book, column_s, without(held, gaps)):
            if spans and (book := books.get((side, number))):
                strips.append(Strip(side, spans, *book))
    strips.sort(key=lambda strip: strip.spans[0])
    return HeatMap(from_s, to_s, column_s, float(step), strips)


def column_length_s(time_s: float, columns: int) -> int:
    """Return the shortest round length with which so many columns cover a time."""
    return next((each for each in _COLUMNS_S if each * columns >= time_s), _COLUMNS_S[-1])


def spans_of(
    columns: Sequence[int], column_s: int, known: Sequence[Span]
) -> Iterator[tuple[int, list[Span]]]:
    """Yield each column's number and the known times until the next column.

    Args:
        columns: The numbers of the columns with a book, in order.
        column_s: The length of a column.
        known: The times for which a book is known, in order.
    """
    for number, following in zip_longest(columns, columns[1:]):
        begin_s = number * column_s
        end_s = math.inf if following is None else following * column_s
        cut = ((max(begin, begin_s), min(end, end_s)) for begin, end in known)
        yield number, [span for span in cut if span[0] < span[1]]


def without(spans: Sequence[Span], gaps: Iterable[Span]) -> list[Span]:
    """Return the parts of times that lie in no gap."""
    found = []
    ordered = sorted(gaps)
    for begin, end in spans:
        since = begin
        for gap_begin, gap_end in ordered:
            if gap_end > since and gap_begin < end:
                if gap_begin > since:
                    found.append((since, gap_begin))
                since = gap_end
        if since < end:
            found.append((since, end))
    return found
