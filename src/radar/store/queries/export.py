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
        " AND symbol = {symbol:String}"
        f" AND {time} >= toDateTime64({{day:Date}}, 6, 'UTC')"
        f" AND {time} < toDateTime64({{day:Date}} + 1, 6, 'UTC')"
        f" ORDER BY {order}"
    )
