"""Queries that look for markets, of rebuilt books, of the shell and of completion.

Here a market is named by `exchange:symbol`, or by its symbol alone: `USDTTMN`.
"""

NAME = "concat(source, ':', symbol)"
REBUILT_BOOK = """
SELECT exchange AS source, symbol, side,
    toUInt32(row_number() OVER (PARTITION BY side ORDER BY if(side = 'bid', -price, price)))
        AS level,
    price, quantity, received_at, is_complete
FROM book_at(exchange = {source:String}, symbol = {symbol:String},
    at = {at:DateTime64(6, 'UTC')})
ORDER BY side DESC, level
"""

_GIVEN = "arrayJoin(JSONExtract({symbols:String}, 'Array(String)'))"
# Sessions name their markets in few rows; only if they lack one the large tables are read.
_WATCHED = "SELECT DISTINCT source, arrayJoin(symbols) AS symbol FROM watches"
UNWATCHED = (
    f"SELECT DISTINCT name FROM (SELECT {_GIVEN} AS name)"
    f" WHERE name NOT IN (SELECT arrayJoin([symbol, {NAME}]) FROM ({_WATCHED}))"
)
RECORDED = (
    f"SELECT DISTINCT source, symbol FROM ({_WATCHED}"
    " UNION ALL SELECT source, arrayJoin(symbols) AS symbol FROM gaps"
    " UNION ALL SELECT DISTINCT source, symbol FROM trades_master"
    " UNION ALL SELECT DISTINCT source, symbol FROM orderbook_depth) ORDER BY source, symbol"
)
# The exchanges that list a market; only if no session names it the large tables are read.
LISTING = f"SELECT DISTINCT source FROM ({_WATCHED}) WHERE symbol = {{symbol:String}}"
RECORDING = f"SELECT DISTINCT source FROM ({RECORDED}) WHERE symbol = {{symbol:String}}"
NEWEST = (
    "SELECT greatest((SELECT toUnixTimestamp64Milli(max(event_time)) FROM trades_master),"
    " (SELECT intDiv(toUnixTimestamp64Micro(max(received_at)), 1000) FROM orderbook_depth))"
)

MARKET_NAMES = (
    "SELECT DISTINCT if(exchanges > 1, concat(source, ':', symbol), symbol) AS name FROM"
    f" (SELECT *, uniqExact(source) OVER () AS exchanges FROM ({_WATCHED})) ORDER BY name"
)
ANSWER = "SELECT 1"

RELATIONS = (
    "SELECT name, if(endsWith(engine, 'View'), 'view', 'table') FROM system.tables"
    " WHERE database = currentDatabase() ORDER BY name"
)


def columns(relation: str) -> str:
    """Return the query of the columns of a table or of a view with arguments: names and types."""
    return f"DESCRIBE (SELECT * FROM {relation})"


def table_columns(table: str) -> str:
    """Return the query of all columns of a table, also of those that `SELECT *` leaves out."""
    return f"DESCRIBE TABLE {table}"


# The most common words come first.
WORD_ORDER = ("table", "column", "keyword", "function", "table function", "format", "data type")
WORDS = (
    "SELECT word, context, belongs FROM system.completions WHERE context IN"
    f" {WORD_ORDER} AND (context != 'table' OR belongs IN ('system', currentDatabase()))"
)

# Shown to people as a first query of their own.
EXAMPLE = "SELECT * FROM trades ORDER BY event_time DESC LIMIT 10"
