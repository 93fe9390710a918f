"""Queries of the Python client, the shell and the completion of market names."""

TRADES = """
SELECT toString(trade_id) AS trade_id, source, symbol, base, quote, toString(side) AS side, price,
    base_amount, quote_amount, event_time, received_at
FROM trades
WHERE symbol = {symbol:String}
    AND event_time >= {start:DateTime64(6, 'UTC')} AND event_time < {end:DateTime64(6, 'UTC')}
ORDER BY event_time, received_at, trade_id
"""

CANDLES = """
SELECT source, symbol, toDateTime64(open_time, 3, 'UTC') AS open_time, open, high, low, close,
    volume, quote_volume, vwap, trades
FROM candles(interval_s = {interval_s:UInt32}, start = {start:DateTime64(3, 'UTC')},
    end = {end:DateTime64(3, 'UTC')})
WHERE symbol = {symbol:String}
ORDER BY source, open_time
"""

_BOOK_SIDE = """
SELECT source, symbol, '{side}' AS side, toUInt16(level) AS level, price, quantity,
    {side}_received_at AS received_at
FROM order_book_at(symbol = {{symbol:String}}, at = {{at:DateTime64(6, 'UTC')}})
ARRAY JOIN {side}_prices AS price, {side}_quantities AS quantity,
    arrayEnumerate({side}_prices) AS level
"""
ORDER_BOOK = (
    f"SELECT * FROM ({_BOOK_SIDE.format(side='bid')} UNION ALL {_BOOK_SIDE.format(side='ask')})"
    " ORDER BY source, side DESC, level"
)

_GIVEN = "arrayJoin(JSONExtract({symbols:String}, 'Array(String)'))"
# Sessions name their markets in few rows; only if they lack one the large tables are read.
UNWATCHED = (
    f"SELECT DISTINCT symbol FROM (SELECT {_GIVEN} AS symbol)"
    " WHERE symbol NOT IN (SELECT arrayJoin(symbols) FROM watches)"
)
RECORDED = (
    "SELECT DISTINCT symbol FROM (SELECT arrayJoin(symbols) AS symbol FROM watches"
    " UNION ALL SELECT arrayJoin(symbols) AS symbol FROM gaps"
    " UNION ALL SELECT DISTINCT symbol FROM trades_master"
    " UNION ALL SELECT DISTINCT symbol FROM orderbook_depth) ORDER BY symbol"
)
NEWEST = (
    "SELECT greatest((SELECT toUnixTimestamp64Milli(max(event_time)) FROM trades_master),"
    " (SELECT intDiv(toUnixTimestamp64Micro(max(received_at)), 1000) FROM orderbook_depth))"
)

MARKET_NAMES = "SELECT DISTINCT arrayJoin(symbols) AS symbol FROM watches ORDER BY symbol"
ANSWER = "SELECT 1"

# The most common words come first.
WORD_ORDER = ("table", "column", "keyword", "function", "table function", "format", "data type")
WORDS = (
    "SELECT word, context, belongs FROM system.completions WHERE context IN"
    f" {WORD_ORDER} AND (context != 'table' OR belongs IN ('system', currentDatabase()))"
)
