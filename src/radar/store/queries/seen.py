"""Queries of the records of a market in a time, for the files that the dashboard offers."""

_MARKET = "source = {source:String} AND symbol = {symbol:String}"


def _between(time: str) -> str:
    return (
        f"{time} >= fromUnixTimestamp64Milli({{start_ms:Int64}}, 'UTC')"
        f" AND {time} < fromUnixTimestamp64Milli({{end_ms:Int64}}, 'UTC')"
    )


TRADES = f"""
SELECT exchange, symbol, toString(trade_id) AS trade_id, native_id, toString(side) AS side, price,
    base_amount, quote_amount, event_time_us, received_at
FROM trades
WHERE {_MARKET} AND {_between("event_time")}
ORDER BY event_time, monotonic_at, trades.trade_id LIMIT {{most:UInt64}}
"""

BOOKS = f"""
SELECT exchange, symbol, toString(side) AS side, prices, quantities, received_at, verified
FROM orderbook_depth
WHERE {_MARKET} AND {_between("received_at")}
ORDER BY received_at, orderbook_depth.side LIMIT {{most:UInt64}}
"""

# As the chart draws them: of whole intervals.
CANDLES = """
SELECT {source:String} AS exchange, {symbol:String} AS symbol, *
FROM market_candles(source = {source:String}, symbol = {symbol:String},
    interval_s = {interval_s:UInt32},
    start = fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC'),
    end = fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC'))
ORDER BY open_time LIMIT {most:UInt64}
"""

DAILY_CANDLES = """
SELECT {source:String} AS exchange, {symbol:String} AS symbol, *
FROM market_daily_candles(source = {source:String}, symbol = {symbol:String},
    time_zone = {time_zone:String},
    start = fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC'),
    end = fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC'))
ORDER BY open_time LIMIT {most:UInt64}
"""

# How many rows a file would have, at most `beyond`: more need not be counted.
COUNT = {
    "trades": f"SELECT count() FROM (SELECT 1 FROM trades_master FINAL WHERE {_MARKET}"
    f" AND {_between('event_time')} LIMIT {{beyond:UInt64}})",
    "books": f"SELECT count() FROM (SELECT 1 FROM orderbook_depth WHERE {_MARKET}"
    f" AND {_between('received_at')} LIMIT {{beyond:UInt64}})",
}
