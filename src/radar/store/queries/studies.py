"""Queries of the figures beside a market's candles.

Times are Unix times in seconds where no unit is named.
"""

from radar.store.queries.dashboard import numbers


def flow(beginning: str) -> str:
    """Return the query of moving averages of closes and of the volume delta, oldest interval first.

    Args:
        beginning: SQL of the Unix time at which the interval of a trade begins.

    The query reads trades from `since_ms` until `to_us` and returns intervals from `from_s` on. An
    average is NULL where fewer candles than its period were read. The cumulative delta begins at
    `from_s`.
    """
    return f"""
SELECT toInt64(beginning), fast_average, slow_average, {numbers("delta", "cumulative_delta")}
FROM
(
    SELECT
        beginning,
        delta,
        if(count() OVER fast_candles = {{fast:UInt32}}, avg(close) OVER fast_candles, NULL)
            AS fast_average,
        if(count() OVER slow_candles = {{slow:UInt32}}, avg(close) OVER slow_candles, NULL)
            AS slow_average,
        sumIf(delta, beginning >= {{from_s:Int64}}) OVER so_far AS cumulative_delta
    FROM
    (
        SELECT
            {beginning} AS beginning,
            toFloat64(toString(argMax(price, sequence))) AS close,
            sumIf(base_amount, side = 'buy') - sumIf(base_amount, side = 'sell') AS delta
        FROM trades_master FINAL
        WHERE source = {{source:String}} AND symbol = {{symbol:String}}
            AND event_time >= fromUnixTimestamp64Milli({{since_ms:Int64}}, 'UTC')
            AND event_time <= fromUnixTimestamp64Micro({{to_us:Int64}}, 'UTC')
        GROUP BY beginning
    )
    WINDOW
        fast_candles AS
            (ORDER BY beginning ROWS BETWEEN {{fast_before:UInt32}} PRECEDING AND CURRENT ROW),
        slow_candles AS
            (ORDER BY beginning ROWS BETWEEN {{slow_before:UInt32}} PRECEDING AND CURRENT ROW),
        so_far AS (ORDER BY beginning ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
WHERE beginning >= {{from_s:Int64}}
ORDER BY beginning
"""


# The spread and the imbalance of the best levels at the end of each interval, oldest first.
SPREADS = """
SELECT toInt64(toUnixTimestamp(open_time)), spread_bps, imbalance
FROM spreads(interval_s = {interval_s:UInt32},
    start = fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC'),
    end = fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC'))
WHERE source = {source:String} AND symbol = {symbol:String}
ORDER BY open_time
"""

# The same at the end of each day of a time zone, from shorter intervals that no midnight cuts.
DAILY_SPREADS = """
SELECT toInt64(toUnixTimestamp(toStartOfDay(open_time, {time_zone:String}))) AS day,
    argMax(spread_bps, open_time), argMax(imbalance, open_time)
FROM spreads(interval_s = {interval_s:UInt32},
    start = fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC'),
    end = fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC'))
WHERE source = {source:String} AND symbol = {symbol:String}
GROUP BY day ORDER BY day
"""

_TRADED = """trades_master FINAL
WHERE source = {source:String} AND symbol = {symbol:String}
    AND event_time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')
    AND event_time < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')"""

PRICE_RANGE = f"SELECT count(), toString(min(price)), toString(max(price)) FROM {_TRADED}"

PROFILE = f"""
SELECT {numbers("price", "buy_volume", "sell_volume")}
FROM volume_profile(price_step = {{price_step:Decimal(38, 18)}},
    start = fromUnixTimestamp64Milli({{start_ms:Int64}}, 'UTC'),
    end = fromUnixTimestamp64Milli({{end_ms:Int64}}, 'UTC'))
WHERE source = {{source:String}} AND symbol = {{symbol:String}}
ORDER BY volume_profile.price
"""

# Amounts of trades of a time, and the one that only a share of them reaches.
TRADE_SIZES = f"""
SELECT count(), quantileExact(0.99)(toFloat64(toString(base_amount))) FROM {_TRADED}
"""
