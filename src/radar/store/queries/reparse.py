"""Queries of `radar reparse`: recorded frames, and the rows that they became.

The placeholders are `source`, `kind` (trades or depth), and `begin` and `end` of a time of receipt,
Unix time in microseconds, the end not included.
"""

from collections.abc import Iterable
from uuid import UUID

# Rows that a run has inserted stand in no partition of Kafka; their offset is the run.
REPARSED_PARTITION = 65_535

_AT = (
    "fromUnixTimestamp64Micro({begin:Int64}, 'UTC')",
    "fromUnixTimestamp64Micro({end:Int64}, 'UTC')",
)
_RECEIVED = f"received_at >= {_AT[0]} AND received_at < {_AT[1]}"
_OF_KIND = "source = {source:String} AND record_kind = {kind:String}"

# Exchanges with frames of a period.
RECORDED_EXCHANGES = f"SELECT DISTINCT source FROM frames WHERE {_RECEIVED} ORDER BY source"

# The connections with frames of a period, and their first frames.
CONNECTIONS = (
    "SELECT connection, any(producer), min(place), toUnixTimestamp64Micro(min(received_at))"
    f" FROM frames WHERE {_OF_KIND} AND received_at < {_AT[1]} AND connection IN ("
    f"SELECT connection FROM frames WHERE {_OF_KIND} AND {_RECEIVED})"
    " GROUP BY connection"
)

# When the first recorded frame of some producers arrived.
PRODUCERS = (
    "SELECT producer, toUnixTimestamp64Micro(min(received_at)) FROM frames"
    f" WHERE {_OF_KIND} AND producer IN {{producers:Array(String)}} GROUP BY producer"
)

# The frames of some producers, part by part, in their order.
FRAMES = (
    "SELECT producer, connection, place, part, parts, what, fetch_symbol, fetch_tag, path,"
    " received_at_ns, monotonic_ns, set_back_us, base64Encode(frame)"
    f" FROM frames WHERE {_OF_KIND} AND {_RECEIVED}"
    " AND producer IN {producers:Array(String)}"
    " ORDER BY producer, monotonic_ns, connection, place, part"
    " LIMIT 1 BY connection, place, part"
)

_MICRO = "toUnixTimestamp64Micro"
TRADE_FIELDS = (
    "replaceAll(toString(trade_id), '-', '')", "symbol", f"{_MICRO}(received_at)",
    f"{_MICRO}(event_time)", "base", "quote", "toString(side)", "toString(price)",
    "toString(base_amount)", "native_id", "native_sequence", f"{_MICRO}(event_time_us)",
    "set_back_us",
)  # fmt: skip
DEPTH_FIELDS = (
    "symbol", "toString(side)", f"{_MICRO}(received_at)", "base", "quote", "prices", "quantities",
    f"{_MICRO}(event_time)", "sequence", "verified", "set_back_us",
)  # fmt: skip

# Every stored delivery of the trades of a time of receipt.
TRADES = (
    f"SELECT DISTINCT {', '.join(TRADE_FIELDS)} FROM trades_master"
    f" WHERE source = {{source:String}} AND {_RECEIVED}"
)
DEPTH = (
    f"SELECT {', '.join(DEPTH_FIELDS)} FROM orderbook_depth FINAL"
    f" WHERE source = {{source:String}} AND {_RECEIVED}"
)

_OTHERS = (
    f"source = {{source:String}} AND {_RECEIVED}"
    f" AND NOT (kafka_partition = {REPARSED_PARTITION} AND kafka_offset = {{run:UInt64}})"
)
_DELETED = (
    f"(SELECT deleted FROM reparse_changes WHERE {_OF_KIND} AND run = {{run:UInt64}}"
    " AND notEmpty(deleted))"
)
# Delete the deliveries that the changes of a run name: ID, market, times of receipt and of the
# exchange; or market, side and time of receipt.
DELETE = {
    "trades": f"DELETE FROM trades_master WHERE {_OTHERS} AND concat("
    f"replaceAll(toString(trade_id), '-', ''), '|', symbol, '|', toString({_MICRO}(received_at)),"
    f" '|', toString({_MICRO}(event_time))) IN {_DELETED}",
    "depth": f"DELETE FROM orderbook_depth WHERE {_OTHERS} AND concat("
    f"symbol, '|', toString(side), '|', toString({_MICRO}(received_at))) IN {_DELETED}",
}


def trades_with(ids: Iterable[str]) -> str:
    """Return the query of every stored delivery of some trades.

    The IDs are part of the text, because parameters must fit into an address.
    """
    values = ", ".join(f"toUUID('{UUID(each)}')" for each in ids)
    return (
        f"SELECT DISTINCT {', '.join(TRADE_FIELDS)} FROM trades_master"
        f" WHERE source = {{source:String}} AND trade_id IN ({values})"
    )
