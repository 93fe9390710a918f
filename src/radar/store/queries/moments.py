"""Queries of a market's past: at a moment, and step by step through a stretch of the recording.

A stretch begins after `from_us` and has steps of `step_us`. Each step has a number, from 0; what
happened until `from_us` has the step -1. Times are Unix times, in seconds where no unit is named.
"""

from radar.store.queries.dashboard import MARKET_COLUMNS, numbers

MARKET_AT = f"""
SELECT {MARKET_COLUMNS}
FROM markets_at(at = fromUnixTimestamp64Micro({{at_us:Int64}}, 'UTC'))
WHERE source = {{source:String}} AND symbol = {{symbol:String}}
"""

# The newest trades until a moment: deliveries first, as in TRADES_BEGIN of the dashboard.
TRADES_BEGIN_AT = """
SELECT count(), toUnixTimestamp64Milli(min(event_time))
FROM
(
    SELECT event_time FROM trades_master
    WHERE source = {source:String} AND symbol = {symbol:String}
        AND event_time <= fromUnixTimestamp64Micro({at_us:Int64}, 'UTC')
    ORDER BY event_time DESC LIMIT {deliveries:UInt64}
)
"""

_TRADE = """toString(trade_id), toUnixTimestamp64Milli(event_time) / 1000,
    toUnixTimestamp64Micro(received_at) / 1e6, toString(side), toString(price),
    toString(base_amount)"""

TRADES_AT = f"""
SELECT {_TRADE}
FROM trades
WHERE source = {{source:String}} AND symbol = {{symbol:String}}
    AND event_time >= fromUnixTimestamp64Milli({{since_ms:Int64}}, 'UTC')
    AND event_time <= fromUnixTimestamp64Micro({{at_us:Int64}}, 'UTC')
ORDER BY event_time DESC, monotonic_at DESC, trade_id DESC LIMIT {{count:UInt32}}
"""

BEGIN_OF_DAY = """
SELECT toInt64(toUnixTimestamp(toStartOfDay(
    fromUnixTimestamp64Micro({at_us:Int64}, 'UTC'), {time_zone:String})))
"""

_STEP = """toInt64(greatest(-1, intDiv(
    toUnixTimestamp64Milli(event_time) * 1000 - {from_us:Int64} + {step_us:Int64} - 1,
    {step_us:Int64}) - 1))"""


def candles_by_step(beginning: str) -> str:
    """Return the query of the candles as they are after each step that changed them.

    Args:
        beginning: SQL of the Unix time at which the interval of a trade begins.

    The query reads trades from `since_ms`, the beginning of the interval of `from_us`.
    """
    return f"""
SELECT step, toInt64(beginning), {numbers("opened", "highest", "lowest", "last", "base", "quoted")},
    toFloat64(toString(toDecimal128(toDecimal256(quoted, 18) / toDecimal256(base, 18), 18))), n
FROM
(
    SELECT
        step, beginning, close AS last,
        first_value(open) OVER growing AS opened,
        max(high) OVER growing AS highest,
        min(low) OVER growing AS lowest,
        sum(volume) OVER growing AS base,
        sum(quote_volume) OVER growing AS quoted,
        sum(trades) OVER growing AS n
    FROM
    (
        SELECT
            {_STEP} AS step,
            {beginning} AS beginning,
            argMin(price, sequence) AS open,
            max(price) AS high,
            min(price) AS low,
            argMax(price, sequence) AS close,
            sum(base_amount) AS volume,
            sum(quote_amount) AS quote_volume,
            count() AS trades
        FROM trades_master FINAL
        WHERE source = {{source:String}} AND symbol = {{symbol:String}}
            AND event_time >= fromUnixTimestamp64Milli({{since_ms:Int64}}, 'UTC')
            AND event_time <= fromUnixTimestamp64Micro({{to_us:Int64}}, 'UTC')
        GROUP BY step, beginning
    )
    WINDOW growing AS
        (PARTITION BY beginning ORDER BY step ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
WHERE step >= {{first_step:Int64}}
ORDER BY beginning, step
"""


# The newest trades of each step, the newest first.
TRADES_BY_STEP = f"""
SELECT {_STEP} AS step, {_TRADE}
FROM trades
WHERE source = {{source:String}} AND symbol = {{symbol:String}}
    AND event_time > fromUnixTimestamp64Micro({{from_us:Int64}}, 'UTC')
    AND event_time <= fromUnixTimestamp64Micro({{to_us:Int64}}, 'UTC')
ORDER BY step DESC, event_time DESC, monotonic_at DESC, trade_id DESC
LIMIT {{count:UInt32}} BY step
"""

# The last snapshot of each side in each step.
BOOKS_BY_STEP = """
SELECT
    toInt64(intDiv(toUnixTimestamp64Micro(received_at) - {from_us:Int64} + {step_us:Int64} - 1,
        {step_us:Int64}) - 1) AS step,
    toString(side),
    toUnixTimestamp64Micro(argMax(received_at, monotonic_at)) / 1e6,
    arraySlice(argMax(prices, monotonic_at), 1, {levels:UInt32}),
    arraySlice(argMax(quantities, monotonic_at), 1, {levels:UInt32})
FROM orderbook_depth
WHERE source = {source:String} AND symbol = {symbol:String}
    AND received_at > fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')
    AND received_at <= fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
GROUP BY step, side
ORDER BY step
"""

# Gaps of one market that touch a time, the newest first.
GAPS_BETWEEN = """
SELECT DISTINCT record_kind, toUnixTimestamp64Micro(began_at) / 1e6 AS began_s,
    toUnixTimestamp64Micro(ended_at) / 1e6 AS ended_s, cause, repaired
FROM symbol_gaps
WHERE source = {source:String} AND symbol = {symbol:String}
    AND ended_at >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')
    AND began_at <= fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
ORDER BY began_s DESC, record_kind, cause LIMIT {count:UInt32}
"""

# When the recording of trades of each market began that has not been recorded for so long.
RECORDED_LESS = """
SELECT source, symbol, first_us / 1e6
FROM recorded_markets
WHERE record_kind = 'trades' AND first_us > toUnixTimestamp64Micro(now64(6)) - {within_us:Int64}
"""

# When the recording of a market began: its first session.
RECORDED_SINCE = """
SELECT record_kind, first_us / 1e6
FROM recorded_markets
WHERE source = {source:String} AND symbol = {symbol:String}
"""
