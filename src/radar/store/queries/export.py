"""Queries of `radar export`: which days have records, and the rows of one day."""

from collections.abc import Sequence

CLOCK = "SELECT toUnixTimestamp64Milli(now64(3))"


def days(table: str, time: str, *, symbols: bool, first: bool, last: bool) -> str:
    """Return the query of market, day and newest insertion.

    Args:
        table: The table of a dataset.
        time: The column that decides on the day of a row, in the parameter `time_zone`.
        symbols: Whether the parameter `symbols` bounds the markets: a JSON list.
        first: Whether the parameter `first` bounds the days.
        last: Whether the parameter `last` does.
    """
    conditions = ["1"]
    if symbols:
        conditions.append(
            "hasAny(JSONExtract({symbols:String}, 'Array(String)'),"
            " [symbol, concat(source, ':', symbol)])"
        )
    if first:
        conditions.append(f"{time} >= toDateTime64({{first:Date}}, 6, {{time_zone:String}})")
    if last:
        conditions.append(f"{time} < toDateTime64({{last:Date}} + 1, 6, {{time_zone:String}})")
    return (
        f"SELECT source, symbol, toString(toDate({time}, {{time_zone:String}})) AS day,"
        f" toUnixTimestamp64Milli(max(inserted_at)) FROM {table}"
        f" WHERE {' AND '.join(conditions)} GROUP BY source, symbol, day ORDER BY ALL"
    )


def rows(columns: str, view: str, time: str, order: str) -> str:
    """Return the query of the rows of one market and day."""
    return (
        f"SELECT {columns} FROM {view} WHERE source = {{source:String}}"
        f" AND symbol = {{symbol:String}} AND {_on_day(time)} ORDER BY {order}"
    )


def facts(view: str, time: str) -> str:
    """Return the query of the rows of one market and day: their count, first and last time."""
    return (
        f"SELECT count(), toUnixTimestamp64Micro(toDateTime64(min({time}), 6, 'UTC')),"
        f" toUnixTimestamp64Micro(toDateTime64(max({time}), 6, 'UTC'))"
        f" FROM {view} WHERE source = {{source:String}} AND symbol = {{symbol:String}}"
        f" AND {_on_day(time)}"
    )


_BEGIN = "toDateTime64({day:Date}, 6, {time_zone:String})"
_END = "toDateTime64({day:Date} + 1, 6, {time_zone:String})"


def _on_day(time: str) -> str:
    return f"{time} >= {_BEGIN} AND {time} < {_END}"


def candles(*, daily: bool) -> str:
    """Return the query of the candles of one market that begin on one day.

    Args:
        daily: Whether the candle of the whole day is wanted, else those of `interval_s`.
    """
    # A view reads the text of its argument as UTC, so the times are written in UTC.
    begin, end = (f"toTimeZone({each}, 'UTC')" for each in (_BEGIN, _END))
    period = f"source = {{source:String}}, symbol = {{symbol:String}}, start = {begin}, end = {end}"
    view = (
        f"market_daily_candles({period}, time_zone = {{time_zone:String}})"
        if daily
        else f"market_candles({period}, interval_s = {{interval_s:UInt32}})"
    )
    return (
        "SELECT {source:String} AS source, {symbol:String} AS symbol, open_time, open, high, low,"
        f" close, volume, quote_volume, vwap, trades FROM {view} WHERE {_on_day('open_time')}"
        " ORDER BY open_time"
    )


def facts_of(rows: str, time: str) -> str:
    """Return the query of the rows of another query: their count, first and last time."""
    return (
        f"SELECT count(), toUnixTimestamp64Micro(toDateTime64(min({time}), 6, 'UTC')),"
        f" toUnixTimestamp64Micro(toDateTime64(max({time}), 6, 'UTC')) FROM ({rows})"
    )


def with_floats(rows: str, decimals: Sequence[str]) -> str:
    """Return a query whose exact decimals are the nearest doubles.

    ClickHouse's own conversion of a decimal of 38 digits is off by a digit: 100000 becomes
    99999.99999999999. That of a text is not.
    """
    replaced = ", ".join(f"toFloat64(toString({name})) AS {name}" for name in decimals)
    return f"SELECT * REPLACE({replaced}) FROM ({rows})"


def with_levels(rows: str, lists: Sequence[str]) -> str:
    """Return a query whose lists have at most `levels` items, the best levels."""
    replaced = ", ".join(f"arraySlice({name}, 1, {{levels:UInt16}}) AS {name}" for name in lists)
    return f"SELECT * REPLACE({replaced}) FROM ({rows})"


def without_market(rows: str) -> str:
    """Return a query without the columns that folders of partitions hold."""
    return f"SELECT * EXCEPT (source, symbol) FROM ({rows})"


# The markets are a JSON list of exchange and symbol.
_CHOSEN = (
    "has(JSONExtract({markets:String}, 'Array(Tuple(String, String))'),"
    " (toString(source), toString(symbol)))"
)
COVERAGE_FIELDS = (
    "elapsed_s",
    "watched_s",
    "watched_share",
    "gaps",
    "gaps_s",
    "repaired_gaps",
    "repaired_s",
    "complete_share",
    "in_progress",
)
COVERAGE = (
    f"SELECT record_kind, source, symbol, toString(day), {', '.join(COVERAGE_FIELDS)}"
    f" FROM coverage WHERE day >= {{first:Date}} AND day <= {{last:Date}} AND {_CHOSEN}"
    " ORDER BY ALL"
)
GAPS = (
    "SELECT record_kind, source, symbol, toUnixTimestamp64Micro(began_at),"
    " toUnixTimestamp64Micro(ended_at), cause, repaired FROM symbol_gaps"
    " WHERE ended_at > toDateTime64({first:Date}, 6, 'UTC')"
    f" AND began_at < toDateTime64({{last:Date}} + 1, 6, 'UTC') AND {_CHOSEN}"
    " ORDER BY began_at, ended_at, record_kind, source, symbol, cause"
)
