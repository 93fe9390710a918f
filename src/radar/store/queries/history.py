"""Queries of `radar backfill`: which trades and candles of a period are stored."""

# The exchange's clock and its numbers need not agree to the second at the ends of a period.
_NUMBERS = (
    "FROM trades_master WHERE source = {source:String} AND symbol = {symbol:String}"
    " AND event_time >= fromUnixTimestamp64Micro({begin:Int64}, 'UTC') - toIntervalHour(1)"
    " AND event_time < fromUnixTimestamp64Micro({end:Int64}, 'UTC') + toIntervalHour(1)"
    " AND native_sequence BETWEEN {first:UInt64} AND {last:UInt64}"
)

# How many numbers of a range are stored, and the smallest of them.
STORED_NUMBERS = f"SELECT uniqExact(native_sequence), min(native_sequence) {_NUMBERS}"

# Ranges of numbers that are not stored, lowest first, and the time of the trade before; 0: none.
MISSING_NUMBERS = (
    "SELECT previous + 1, number - 1, previous_us FROM ("
    "SELECT number,"
    " lagInFrame(number, 1, toUInt64({first:UInt64} - 1)) OVER places AS previous,"
    " lagInFrame(time_us, 1, toInt64(0)) OVER places AS previous_us FROM ("
    "SELECT native_sequence AS number, max(toUnixTimestamp64Micro(event_time_us)) AS time_us"
    f" {_NUMBERS} GROUP BY number"
    " UNION ALL SELECT toUInt64({last:UInt64} + 1), toInt64(0))"
    " WINDOW places AS (ORDER BY number ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW))"
    " WHERE number > previous + 1 ORDER BY number LIMIT {limit:UInt32}"
)

# When the stored candles of a period begin, Unix time in microseconds.
STORED_CANDLES = (
    "SELECT DISTINCT toUnixTimestamp64Micro(open_time) FROM exchange_candles"
    " WHERE source = {source:String} AND symbol = {symbol:String}"
    " AND interval_s = {interval_s:UInt32}"
    " AND open_time >= fromUnixTimestamp64Micro({begin:Int64}, 'UTC')"
    " AND open_time < fromUnixTimestamp64Micro({end:Int64}, 'UTC')"
)
