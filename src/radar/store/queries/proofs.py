"""Queries of `radar reconcile`: the evidence of a period, and the stored proofs."""

_PERIOD = (
    " AND {time} >= fromUnixTimestamp64Micro({{begin:Int64}}, 'UTC')"
    " AND {time} < fromUnixTimestamp64Micro({{end:Int64}}, 'UTC')"
)
_EVENTS = _PERIOD.format(time="event_time")
_RECEIVED = _PERIOD.format(time="received_at")

# The markets of an exchange, and the time for which each is judged (Unix time in microseconds).
MARKETS = (
    "SELECT record_kind, symbol, toInt64(first_us),"
    " if(is_over, toInt64(until_us), toUnixTimestamp64Micro(now64(6, 'UTC'))) AS end_us"
    " FROM recorded_markets"
    " WHERE source = {source:String} AND first_us < {end:Int64} AND end_us > {begin:Int64}"
    " ORDER BY record_kind, symbol"
)
EXCHANGES = "SELECT DISTINCT source FROM watches ORDER BY source"
SESSIONS = (
    "SELECT record_kind, symbol, toInt64(began_us), toInt64(ended_us) FROM recording_spans"
    " WHERE what = 'watch' AND source = {source:String}"
    " AND began_us < {end:Int64} AND ended_us > {begin:Int64}"
    " ORDER BY record_kind, symbol, began_us"
)
GAPS = (
    "SELECT toString(record_kind), arrayJoin(symbols), toUnixTimestamp64Micro(began_at),"
    " toUnixTimestamp64Micro(ended_at), toString(cause), repaired, missing FROM gaps FINAL"
    " WHERE source = {source:String}"
    " AND began_at < fromUnixTimestamp64Micro({end:Int64}, 'UTC')"
    " AND ended_at > fromUnixTimestamp64Micro({begin:Int64}, 'UTC')"
    " ORDER BY began_at"
)

# A quiet market's neighbours are searched for so long before and after the period.
_DAY_BEFORE = (
    " AND event_time < fromUnixTimestamp64Micro({begin:Int64}, 'UTC')"
    " AND event_time >= fromUnixTimestamp64Micro({begin:Int64}, 'UTC') - toIntervalDay(1)"
)
_DAY_AFTER = (
    " AND event_time >= fromUnixTimestamp64Micro({end:Int64}, 'UTC')"
    " AND event_time < fromUnixTimestamp64Micro({end:Int64}, 'UTC') + toIntervalDay(1)"
)
_NUMBERED = "FROM trades_master WHERE source = {source:String} AND native_sequence > 0"
_PLACES = (
    "SELECT symbol, number, prior, time_us, prior_us FROM ("
    "SELECT symbol, number, time_us, lagInFrame(number, 1, toUInt64(0)) OVER places AS prior,"
    " lagInFrame(time_us, 1, toInt64(0)) OVER places AS prior_us FROM ("
    "SELECT symbol, native_sequence AS number,"
    f" min(toUnixTimestamp64Micro(event_time_us)) AS time_us {_NUMBERED}{_EVENTS}"
    " GROUP BY symbol, number"
    " UNION ALL SELECT symbol, max(native_sequence),"
    f" toUnixTimestamp64Micro(argMax(event_time_us, native_sequence)) {_NUMBERED}{_DAY_BEFORE}"
    " GROUP BY symbol"
    " UNION ALL SELECT symbol, min(native_sequence),"
    f" toUnixTimestamp64Micro(argMin(event_time_us, native_sequence)) {_NUMBERED}{_DAY_AFTER}"
    " GROUP BY symbol)"
    " WINDOW places AS (PARTITION BY symbol ORDER BY number"
    " ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW))"
)
# From when to when consecutive numbers are known: the first and the last trade of each market.
CHAINS = f"SELECT symbol, min(time_us), max(time_us) FROM ({_PLACES}) GROUP BY symbol"
# Where numbers are missing: how many, and the times of the trades before and behind them.
HOLES = (
    "SELECT symbol, least(prior_us, time_us), greatest(prior_us, time_us),"
    f" toUInt64(number - prior - 1) FROM ({_PLACES}) WHERE prior > 0 AND number > prior + 1"
    " ORDER BY symbol, number LIMIT {limit:UInt32}"
)

# The trades of each minute, to compare with the candles of the exchange.
MINUTES = (
    "SELECT symbol, toInt64(toUnixTimestamp(toStartOfMinute(event_time))) * 1000000 AS minute_us,"
    " sum(base_amount), max(price), min(price) FROM trades_master FINAL"
    f" WHERE source = {{source:String}}{_EVENTS} GROUP BY symbol, minute_us"
)

# Trades that came long after they had happened, compared with the quickest one of their market:
# from REST, after a connection had missed them.
LATE = (
    "SELECT symbol, minute_us, min(time_us), max(time_us) FROM ("
    "SELECT symbol, toUnixTimestamp64Micro(event_time_us) AS time_us,"
    " toInt64(toUnixTimestamp(toStartOfMinute(event_time))) * 1000000 AS minute_us,"
    " toUnixTimestamp64Micro(received_at) - time_us AS delay_us,"
    " min(delay_us) OVER (PARTITION BY symbol) AS least_us"
    f" FROM trades_master FINAL WHERE source = {{source:String}}{_EVENTS})"
    " WHERE delay_us > least_us + {late:Int64} GROUP BY symbol, minute_us"
)

# Where proven and unproven snapshots follow each other: a snapshot says whether the book was proven
# since the one before. The end of a market is its last snapshot.
BOOKS = (
    "SELECT symbol, prior_us, verified, last_us FROM ("
    "SELECT symbol, verified, lagInFrame(time_us, 1, toInt64(0)) OVER places AS prior_us,"
    " lagInFrame(toUInt8(verified), 1, toUInt8(2)) OVER places AS before,"
    " max(time_us) OVER (PARTITION BY symbol) AS last_us FROM ("
    "SELECT symbol, toUnixTimestamp64Micro(received_at) AS time_us, min(verified) AS verified"
    f" FROM orderbook_depth WHERE source = {{source:String}}{_RECEIVED}"
    " GROUP BY symbol, time_us)"
    " WINDOW places AS (PARTITION BY symbol ORDER BY time_us"
    " ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW))"
    " WHERE verified != before ORDER BY symbol, prior_us LIMIT {limit:UInt32}"
)

# Trades that redundant connections brought, in sessions of a period; as in the view redundancy.
REDUNDANCY = (
    "SELECT intDiv(sum(both), 2), sum(alone) FROM watches FINAL"
    " WHERE source = {source:String} AND record_kind = 'trades'"
    " AND began_at < fromUnixTimestamp64Micro({end:Int64}, 'UTC')"
    " AND ended_at > fromUnixTimestamp64Micro({begin:Int64}, 'UTC')"
)

# The newest examined hour of each exchange, and when it was examined.
EXAMINED = "SELECT source, toUnixTimestamp(max(hour)) FROM proofs GROUP BY source"
COMPLETENESS = (
    "SELECT exchange, dataset, symbol, day, verified_s, repaired_s, unverifiable_s, missing_s,"
    " own_s, missing FROM completeness WHERE day BETWEEN {since:Date} AND {until:Date}"
    " AND (empty({symbols:Array(String)})"
    " OR hasAny({symbols:Array(String)}, [symbol, concat(exchange, ':', symbol)]))"
    " AND ({dataset:String} = '' OR dataset = {dataset:String})"
    " ORDER BY day DESC, dataset, symbol, exchange"
)
