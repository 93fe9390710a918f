"""Queries of the dashboard's pages. Times are Unix times, in seconds where no unit is named."""


def numbers(*columns: str) -> str:
    """Return the SQL that selects decimals as the nearest floats; a plain cast may miss them."""
    return ", ".join(f"toFloat64(toString({column}))" for column in columns)


MARKET_COLUMNS = f"""source, symbol, base, quote, {numbers("last_price")},
    toUnixTimestamp64Milli(last_trade_at) / 1000, change_24h,
    {numbers("high_24h", "low_24h", "volume_24h", "quote_volume_24h")}, trades_24h,
    best_bid, best_ask, spread_bps, toUnixTimestamp64Micro(book_received_at) / 1e6"""

MARKETS = f"""
SELECT {MARKET_COLUMNS}
FROM markets
"""

_CANDLE = (
    "toUnixTimestamp(open_time),"
    f" {numbers('open', 'high', 'low', 'close', 'volume', 'quote_volume', 'vwap')}, trades"
)


def candles(*, is_local: bool, is_long: bool) -> str:
    """Return the query of the newest candles of a market that begin in a time.

    Args:
        is_local: Of the days of `time_zone`, else of every `interval_s`.
        is_long: The time is long: read the sums of past weeks, which a short time would not repay.
    """
    view = ("summed_" if is_long else "") + (
        "market_daily_candles" if is_local else "market_candles"
    )
    step = "time_zone = {time_zone:String}" if is_local else "interval_s = {interval_s:UInt32}"
    return f"""
SELECT {_CANDLE}
FROM {view}(source = {{source:String}}, symbol = {{symbol:String}}, {step},
    start = fromUnixTimestamp64Milli({{start_ms:Int64}}, 'UTC'),
    end = fromUnixTimestamp64Milli({{end_ms:Int64}}, 'UTC'))
ORDER BY open_time DESC LIMIT {{count:UInt32}}
"""


# The begin of the oldest wanted interval with trades, before the window.
CANDLES_BEGIN = """
SELECT toInt64(min(beginning)) * 1000
FROM
(
    SELECT DISTINCT %s AS beginning
    FROM trades_master
    WHERE source = {source:String} AND symbol = {symbol:String}
        AND event_time < fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')
    ORDER BY beginning DESC LIMIT {count:UInt32}
)
"""

# Intervals of the rows that were inserted since a time, and the time now, by ClickHouse's clock.
CHANGED = """
SELECT toUnixTimestamp64Milli(now64(3)), groupUniqArray(500)(toInt64(%s))
FROM trades_master
WHERE source = {source:String} AND symbol = {symbol:String}
    AND inserted_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
"""

# Deliveries, not trades, in the order of the table's key: so ClickHouse reads very few rows.
TRADES_BEGIN = """
SELECT count(), toUnixTimestamp64Milli(min(event_time))
FROM
(
    SELECT event_time FROM trades_master
    WHERE source = {source:String} AND symbol = {symbol:String}
    ORDER BY event_time DESC LIMIT {deliveries:UInt64}
)
"""

TRADES = """
SELECT toString(trade_id), toUnixTimestamp64Milli(event_time) / 1000,
    toUnixTimestamp64Micro(received_at) / 1e6, toString(side), toString(price),
    toString(base_amount)
FROM trades
WHERE source = {source:String} AND symbol = {symbol:String}
    AND event_time >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
ORDER BY event_time DESC, monotonic_at DESC, trade_id DESC LIMIT {count:UInt32}
"""

BOOK = """
SELECT toUnixTimestamp64Micro(bid_received_at) / 1e6,
    toUnixTimestamp64Micro(ask_received_at) / 1e6, bid_prices, bid_quantities, ask_prices,
    ask_quantities, mid, spread, spread_bps
FROM order_book_at(symbol = {symbol:String}, at = fromUnixTimestamp64Micro({at_us:Int64}, 'UTC'))
WHERE source = {source:String}
"""

BOOK_VERSION = """
SELECT max(received_at) FROM orderbook_depth
WHERE source = {source:String} AND symbol = {symbol:String} AND received_at > now() - 3600
GROUP BY side ORDER BY side
"""

EXISTS = """
SELECT count() FROM
(
    SELECT 1 FROM trades_master
    WHERE source = {source:String} AND symbol = {symbol:String} LIMIT 1
    UNION ALL
    SELECT 1 FROM orderbook_depth
    WHERE source = {source:String} AND symbol = {symbol:String} LIMIT 1
)
"""

NOW_MS = "SELECT toUnixTimestamp64Milli(now64(3))"

# How often each side of a book is recorded at most, by the depth sessions of the last day.
BOOK_INTERVAL = (
    "SELECT if(count() = 0, NULL, max(interval_ms) / 1000) FROM watches"
    " WHERE record_kind = 'depth' AND ended_at > now() - INTERVAL 1 DAY"
)
FIRST_RECORDED_DAY = "SELECT if(count() = 0, NULL, toDate(min(began_at))) FROM watches"

GAPS = """
SELECT record_kind, arraySort(groupUniqArray(
        if((SELECT uniqExact(source) FROM watches) > 1, concat(source, ':', symbol), symbol)
    )) AS markets,
    toUnixTimestamp64Micro(began_at) / 1e6, toUnixTimestamp64Micro(ended_at) / 1e6, cause, repaired
FROM symbol_gaps
WHERE ({source:String} = '' OR source = {source:String}) AND ended_at >= {since:Date}
GROUP BY record_kind, source, began_at, ended_at, cause, repaired
HAVING {symbol:String} = '' OR has(groupUniqArray(symbol), {symbol:String})
ORDER BY began_at DESC, record_kind, markets LIMIT {count:UInt32}
"""
