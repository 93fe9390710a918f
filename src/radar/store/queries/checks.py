"""Queries of verify, coverage, doctor, disk and the reconciliation at the end of `radar up`."""

import re
from collections.abc import Iterable, Sequence

_ROW_KEY = re.compile(r"[A-Za-z0-9_.:/|-]{0,200}")

VERSION_AND_TIME = "SELECT version(), toFloat64(now64(3))"
APPLIED = "SELECT version FROM schema_migrations FINAL"
DEFINITIONS = (
    "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()"
)
# Object storage names no bound.
DISKS = "SELECT name, free_space, total_space FROM system.disks WHERE NOT is_remote"
FIRST_EXPIRY = (
    "SELECT toUnixTimestamp(min(delete_ttl_info_min)) FROM system.parts WHERE active"
    " AND database = currentDatabase() AND toUnixTimestamp(delete_ttl_info_min) > 0"
)
# How old the newest snapshot of the older side was when a trade arrived, in the last ten minutes.
BOOK_AGES = """
WITH sides AS
(
    SELECT source, symbol, toString(side) AS book_side, received_at AS book_at
    FROM orderbook_depth
    WHERE received_at > now64(6, 'UTC') - INTERVAL 20 MINUTE
),
arrived AS
(
    SELECT source, symbol, received_at AS at, 'bid' AS bid, 'ask' AS ask
    FROM trades_master
    WHERE received_at > now64(6, 'UTC') - INTERVAL 10 MINUTE
        AND event_time > now64(3, 'UTC') - INTERVAL 11 MINUTE
)
SELECT count(), quantile(0.5)(age_s), quantile(0.99)(age_s)
FROM
(
    SELECT dateDiff('microsecond', least(bids.book_at, asks.book_at), arrived.at) / 1e6 AS age_s
    FROM arrived
    ASOF JOIN sides AS bids
        ON arrived.source = bids.source AND arrived.symbol = bids.symbol
        AND arrived.bid = bids.book_side AND arrived.at >= bids.book_at
    ASOF JOIN sides AS asks
        ON arrived.source = asks.source AND arrived.symbol = asks.symbol
        AND arrived.ask = asks.book_side AND arrived.at >= asks.book_at
)
SETTINGS max_execution_time = 10
"""
TABLE_IDENTITY = (
    "SELECT toString(uuid) FROM system.tables"
    " WHERE database = currentDatabase() AND name = {table:String}"
)
TABLE_SIZES = (
    "SELECT table, sum(rows), sum(bytes_on_disk) AS size FROM system.parts"
    " WHERE active AND database = currentDatabase() GROUP BY table ORDER BY size DESC, table"
)

# The frames of the last day: their number, and the seconds from the first to the last. Of all
# frames: their number, their bytes, and those of the table on the disk.
FRAME_SIZES = (
    "SELECT count(), if(count() = 0, 0,"
    " dateDiff('millisecond', min(received_at), max(received_at)) / 1000),"
    " (SELECT sum(rows) FROM system.parts WHERE active"
    " AND database = currentDatabase() AND table = {table:String}),"
    " (SELECT sum(data_uncompressed_bytes) FROM system.columns"
    " WHERE database = currentDatabase() AND table = {table:String} AND name = 'frame'),"
    " (SELECT sum(bytes_on_disk) FROM system.parts WHERE active"
    " AND database = currentDatabase() AND table = {table:String})"
    " FROM frames WHERE received_at > now() - toIntervalDay(1)"
)

STORED_TRADES = (
    "SELECT symbol, formatDateTime(event_time_us, '%Y-%m-%dT%H:%i:%S.%f', 'UTC'), price,"
    " base_amount, toString(side), count() FROM trades"
    " WHERE source = {exchange:String}"
    " AND received_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')"
    " AND event_time >= fromUnixTimestamp64Milli({begins:Int64}, 'UTC')"
    " AND event_time < fromUnixTimestamp64Milli({ends:Int64}, 'UTC')"
    " GROUP BY ALL"
)
STORED_BOOKS = (
    "SELECT count(), sum(n), max(longest) FROM (SELECT count() AS n,"
    " arrayMax(arrayPushFront(arrayDifference(arraySort(groupArray("
    "toUnixTimestamp64Micro(received_at)))), 0)) AS longest FROM orderbook_depth FINAL"
    " WHERE source = {exchange:String}"
    " AND received_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')"
    " GROUP BY symbol, side)"
)

_CHOSEN = (
    " AND (empty({symbols:Array(String)})"
    " OR hasAny({symbols:Array(String)}, [symbol, concat(source, ':', symbol)]))"
    " AND ({dataset:String} = '' OR record_kind = {dataset:String})"
)


def coverage(columns: Sequence[str]) -> str:
    """Return the query of the coverage of markets on some days, the newest day first."""
    return (
        f"SELECT {', '.join(columns)} FROM coverage WHERE day >= {{since:Date}}"
        " AND day <= {until:Date}"
        f"{_CHOSEN} ORDER BY day DESC, record_kind, symbol, source"
    )


def symbol_gaps(columns: Sequence[str]) -> str:
    """Return the query of the gaps of markets on some days, the newest first."""
    return (
        f"SELECT {', '.join(columns)} FROM symbol_gaps WHERE ended_at >= {{since:Date}}"
        " AND began_at < toDateTime64({until:Date}, 6, 'UTC') + INTERVAL 1 DAY"
        f"{_CHOSEN} ORDER BY began_at DESC, record_kind, symbol"
    )


def market_sizes(table: str, weight: str) -> str:
    """Return the query of the rows of each market, with the sum of an expression over them."""
    return f"SELECT source, symbol, count(), sum({weight}) FROM {table} GROUP BY source, symbol"


def insert_no_rows(table: str) -> str:
    """Return a statement that inserts no row, and fails without the right to insert."""
    return f"INSERT INTO {table} SELECT * FROM {table} WHERE 0"


def rows_at(table: str, identity: Sequence[str]) -> str:
    """Return the query of the rows of a range of Kafka offsets."""
    return (
        f"SELECT kafka_offset, {', '.join(identity)} FROM {table} WHERE kafka_partition ="
        " {partition:UInt16} AND kafka_offset BETWEEN {first:UInt64} AND {last:UInt64}"
    )


def rows_with(table: str, identity: Sequence[str], expression: str, type_name: str) -> str:
    """Return the query of the rows whose expression has one of the given values."""
    return (
        f"SELECT {', '.join(identity)} FROM {table}"
        f" WHERE {expression} IN {{values:Array({type_name})}}"
    )


def removed(row_keys: Iterable[str]) -> str:
    """Return the query of the row keys that `radar reparse` has removed.

    The keys are part of the text, because parameters must fit into an address. `radar reparse`
    writes no key with other characters than these.
    """
    values = ", ".join(f"'{key}'" for key in ("", *row_keys) if _ROW_KEY.fullmatch(key))
    return (
        "SELECT DISTINCT row_key FROM reparse_changes WHERE record_kind = {kind:String}"
        f" AND change = 'removed' AND row_key IN ({values})"
    )


def surplus_rows(visible: str, symbol: str, identity: Sequence[str]) -> str:
    """Return the query of the surplus rows of each market that readers see."""
    return (
        f"SELECT s, sum(n - 1) FROM (SELECT {symbol} AS s, count() AS n FROM {visible}"
        " WHERE received_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')"
        f" GROUP BY s, {', '.join(identity)} HAVING n > 1) GROUP BY s"
        " SETTINGS max_bytes_before_external_group_by = 1000000000"
    )
