"""Statements of workers about offsets: progress, orders to store again, gaps, stored offsets."""

from collections.abc import Iterable

PROGRESS = "delivery_progress"
_ORDERS = "restore_orders"
_GAPS = "delivery_gaps"

ORDERS = (
    f"SELECT partition, first_offset, last_offset, ordered_at_us FROM {_ORDERS}"
    " WHERE topic = {topic:String} AND topic_id = {topic_id:String} ORDER BY ordered_at_us"
)
INSERT_ORDER = (
    f"INSERT INTO {_ORDERS} (topic, topic_id, partition, first_offset, last_offset)"
    " SELECT {topic:String}, {topic_id:String}, {partition:UInt16}, {first:UInt64},"
    " {last:UInt64}"
)
INSERT_DELIVERY_GAP = (
    f"INSERT INTO {_GAPS} (topic, topic_id, partition, first_offset, last_offset, cause,"
    " reason, explanation, recorded_by, state, extent)"
    " SELECT {topic:String}, {topic_id:String}, {partition:UInt16}, {first:UInt64},"
    " {last:UInt64}, {cause:String}, {reason:String}, {explanation:String},"
    " {recorded_by:String}, {state:String}, {extent:String}"
)


def progress(table: str) -> str:
    """Return the query of the records of progress in a table expression, the newest ID last."""
    return (
        "SELECT topic_id, partition, next_offset, generation, orders_to_us, version"
        f" FROM {table} FINAL WHERE topic = {{topic:String}} ORDER BY recorded_at"
    )


def insert_progress(rows: Iterable[tuple[int, int, int, int, int]]) -> str:
    """Return the statement that records how far partitions are accounted for.

    A server that was restarted records nothing: it may hold an older copy of the data. Another
    server than the one whose uptime is known holds what its replicas hold.
    """
    values = ", ".join(f"({', '.join(map(str, row))})" for row in rows)
    return (
        f"INSERT INTO {PROGRESS} (topic, topic_id, partition, next_offset, generation,"
        " orders_to_us, version, recorded_by) SELECT {topic:String}, {topic_id:String}, each.1,"
        " each.2, each.3, each.4, each.5, {recorded_by:String}"
        f" FROM (SELECT arrayJoin([{values}]) AS each)"
        " WHERE uptime() >= {least_s:UInt32}"
        " OR ({server:String} != '' AND hostName() != {server:String})"
    )


def delivery_gaps(*, of_one_id: bool) -> str:
    """Return the query of the delivery gaps of a topic, of one topic ID or of all."""
    return (
        "SELECT partition, first_offset, last_offset, reason, cause, topic_id, state, extent,"
        f" explanation FROM {_GAPS} FINAL WHERE topic = {{topic:String}}"
        + (" AND topic_id = {topic_id:String}" if of_one_id else "")
        + " ORDER BY topic_id, partition, first_offset"
    )


def places(table: str) -> str:
    """Return the query of the offsets and times of receipt of the rows in a range of offsets."""
    return (
        f"SELECT DISTINCT kafka_offset, toUnixTimestamp64Micro(received_at) FROM {table}"
        " WHERE kafka_partition = {partition:UInt16}"
        " AND kafka_offset BETWEEN {first:UInt64} AND {last:UInt64}"
    )


def last_offset(table: str) -> str:
    """Return the query of the number of rows in a range of offsets, and of the largest offset."""
    return (
        f"SELECT count(), max(kafka_offset) FROM {table} WHERE kafka_partition ="
        " {partition:UInt16} AND kafka_offset >= {first:UInt64} AND kafka_offset < {end:UInt64}"
    )


def offsets_without_hole(table: str) -> str:
    """Return the query of how many offsets from the first of a range on are rows without a hole."""
    # Offsets without a hole all differ from their row numbers by the same amount.
    return (
        "SELECT countIf(kafka_offset = {first:UInt64} + number) FROM"
        " (SELECT kafka_offset, row_number() OVER (ORDER BY kafka_offset) - 1 AS number FROM"
        f" (SELECT DISTINCT kafka_offset FROM {table} WHERE kafka_partition ="
        " {partition:UInt16} AND kafka_offset >= {first:UInt64} AND kafka_offset < {end:UInt64}))"
    )


def stored_offsets(table: str) -> str:
    """Return the query of the offsets that are rows, of some offsets of a partition."""
    return (
        f"SELECT DISTINCT kafka_offset FROM {table} WHERE kafka_partition ="
        " {partition:UInt16} AND kafka_offset IN {offsets:Array(UInt64)}"
    )
