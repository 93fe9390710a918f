"""Queries of the exchanges' volumes of 24 hours, compared with the recorded trades."""

_MICRO = "fromUnixTimestamp64Micro({{{name}:Int64}}, 'UTC')"
_COLUMNS = (
    "symbol, toUnixTimestamp64Micro(asked_at), toUnixTimestamp64Micro(inner_begin),"
    " toUnixTimestamp64Micro(inner_end), toUnixTimestamp64Micro(outer_begin),"
    " toUnixTimestamp64Micro(outer_end), claimed, places, inner_volume, outer_volume,"
    " result, reason"
)
_OF_SOURCE = f"SELECT {_COLUMNS} FROM exchange_day_volumes FINAL WHERE source = {{source:String}}"

# Answers that are not compared yet.
WAITING = (
    f"{_OF_SOURCE} AND reason = 'waiting' AND asked_at > {_MICRO.format(name='since')}"
    f" AND asked_at <= {_MICRO.format(name='until')} ORDER BY asked_at, symbol"
)
NEWEST_ASKED = (
    "SELECT toUnixTimestamp64Micro(max(asked_at)) FROM exchange_day_volumes"
    " WHERE source = {source:String}"
)
# Comparisons that prove something about a period.
PROVING = (
    "SELECT symbol, toUnixTimestamp64Micro(inner_begin), toUnixTimestamp64Micro(inner_end), result"
    " FROM exchange_day_volumes FINAL WHERE source = {source:String} AND reason = ''"
    f" AND inner_begin < {_MICRO.format(name='end')} AND inner_end > {_MICRO.format(name='begin')}"
    " ORDER BY symbol, asked_at"
)
# The newest finished comparison of each market whose 24 hours touch a period.
NEWEST = (
    f"{_OF_SOURCE} AND reason != 'waiting' AND inner_begin < {_MICRO.format(name='end')}"
    f" AND inner_end > {_MICRO.format(name='begin')}"
    " ORDER BY symbol, asked_at DESC LIMIT 1 BY symbol"
)


def _within(begin: str, end: str) -> str:
    return f"event_time >= {_MICRO.format(name=begin)} AND event_time < {_MICRO.format(name=end)}"


# The volume of each market in the windows that lie in one another.
VOLUMES = (
    "SELECT symbol,"
    f" sumIf(base_amount, {_within('narrowest_begin', 'narrowest_end')}),"
    f" sumIf(base_amount, {_within('inner_begin', 'inner_end')}),"
    f" sumIf(base_amount, {_within('outer_begin', 'outer_end')}),"
    " sum(base_amount), count()"
    " FROM trades_master FINAL WHERE source = {source:String}"
    f" AND {_within('widest_begin', 'widest_end')} GROUP BY symbol"
)
# The stored proofs of the trades of a period.
PROOFS = (
    "SELECT symbol, toInt64(toUnixTimestamp(hour)), begins, ends, states, causes, evidence, missing"
    " FROM proofs FINAL WHERE source = {source:String} AND record_kind = 'trades'"
    " AND hour >= toDateTime({first_s:UInt32}, 'UTC') AND hour < toDateTime({end_s:UInt32}, 'UTC')"
    " AND symbol IN {symbols:Array(String)} ORDER BY symbol, hour"
)
