"""Queries of `radar export`: which days have records, and the rows of one day."""

CLOCK = "SELECT toUnixTimestamp64Milli(now64(3))"


def days(table: str, time: str, *, symbols: bool, first: bool, last: bool) -> str:
    """Return the query of market, day and newest insertion.

    Args:
        table: The table of a dataset.
        time: The column that decides on the UTC day of a row.
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
        conditions.append(f"{time} >= toDateTime64({{first:Date}}, 6, 'UTC')")
    if last:
        conditions.append(f"{time} < toDateTime64({{last:Date}} + 1, 6, 'UTC')")
    return (
        f"SELECT source, symbol, toString(toDate({time}, 'UTC')) AS day,"
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


def _on_day(time: str) -> str:
    return (
        f"{time} >= toDateTime64({{day:Date}}, 6, 'UTC')"
        f" AND {time} < toDateTime64({{day:Date}} + 1, 6, 'UTC')"
    )


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
