"""Which trades and candles of a period are stored: the progress of a backfill of history."""

from typing import NamedTuple

from radar.store.client import Store
from radar.store.queries import history as queries


class Numbers(NamedTuple):
    """Consecutive numbers of a market's trades, and the time in which they happened.

    Attributes:
        source: The exchange.
        symbol: The market.
        first: The first number.
        last: The last number; before the first: there is none.
        begin_us: The beginning of the time, Unix time.
        end_us: Its end, not included.
    """

    source: str
    symbol: str
    first: int
    last: int
    begin_us: int
    end_us: int


class MissingNumbers(NamedTuple):
    """A range of numbers without rows.

    Attributes:
        first: The first number.
        last: The last number.
        since_us: When the stored trade before happened, or the time begins (Unix time).
    """

    first: int
    last: int
    since_us: int


def missing_numbers(store: Store, numbers: Numbers, limit: int) -> list[MissingNumbers]:
    """Return the lowest ranges of these numbers that are not stored; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses the query.
    """
    rows = store.rows(queries.MISSING_NUMBERS, _parameters(numbers) | {"limit": limit})
    return [
        MissingNumbers(int(first), int(last), int(time_us) or numbers.begin_us)
        for first, last, time_us in rows
    ]


def stored_numbers(store: Store, numbers: Numbers) -> tuple[int, int]:
    """Return how many of these numbers are stored, and the smallest of them (0: none); blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses the query.
    """
    ((count, smallest),) = store.rows(queries.STORED_NUMBERS, _parameters(numbers))
    return int(count), int(smallest)


def stored_candles(
    store: Store, source: str, symbol: str, interval_s: int, begin_us: int, end_us: int
) -> set[int]:
    """Return when the stored candles of a time begin, Unix time in microseconds; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses the query.
    """
    rows = store.rows(
        queries.STORED_CANDLES,
        {
            "source": source,
            "symbol": symbol,
            "interval_s": interval_s,
            "begin": begin_us,
            "end": end_us,
        },
    )
    return {int(opened_us) for (opened_us,) in rows}


def _parameters(numbers: Numbers) -> dict[str, str | int]:
    return {
        "source": numbers.source,
        "symbol": numbers.symbol,
        "first": numbers.first,
        "last": numbers.last,
        "begin": numbers.begin_us,
        "end": numbers.end_us,
    }
