"""Offsets that an operator gave up because no client can read them: table `delivery_gaps`.

A row is an order and its record at once: `radar skip` writes it, and the worker that stands at such
an offset passes it. So no offset is passed without a record.
"""

from typing import NamedTuple

from radar.kafka import OffsetRange
from radar.store.client import Store

TABLE = "delivery_gaps"
MAX_REASON_CHARACTERS = 500
UNREADABLE = "unreadable"  # the only cause so far


class DeliveryGap(NamedTuple):
    """Skipped offsets of one partition, both ends included."""

    partition: int
    first: int
    last: int
    reason: str

    def holds(self, partition: int, offset: int) -> bool:
        """Tell whether an offset is skipped."""
        return partition == self.partition and self.first <= offset <= self.last


def record(
    store: Store,
    topic: str,
    topic_id: str,
    lost: OffsetRange,
    explanation: str,
    recorded_by: str = "radar skip",
) -> None:
    """Record skipped offsets; again does no harm; blocks.

    Args:
        store: Where to.
        topic: The Kafka topic.
        topic_id: The broker's identity of it.
        lost: The offsets, and why they cannot be read.
        explanation: Why the operator gives them up.
        recorded_by: The command.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: ClickHouse refuses, because the table or the right to insert is missing.
    """
    store.command(
        f"INSERT INTO {TABLE} (topic, topic_id, partition, first_offset, last_offset, cause,"
        " reason, explanation, recorded_by)"
        " SELECT {topic:String}, {topic_id:String}, {partition:UInt16}, {first:UInt64},"
        " {last:UInt64}, {cause:String}, {reason:String}, {explanation:String},"
        " {recorded_by:String}",
        {
            "topic": topic,
            "topic_id": topic_id,
            "partition": lost.partition,
            "first": lost.first,
            "last": lost.last,
            "cause": UNREADABLE,
            "reason": lost.reason[:MAX_REASON_CHARACTERS],
            "explanation": explanation[:MAX_REASON_CHARACTERS],
            "recorded_by": recorded_by,
        },
    )


def recorded(store: Store, topic: str, topic_id: str) -> list[DeliveryGap]:
    """Return the skipped offsets of a topic; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: ClickHouse refuses, because the table is missing.
    """
    rows = store.rows(
        f"SELECT partition, first_offset, last_offset, reason FROM {TABLE} FINAL"
        " WHERE topic = {topic:String} AND topic_id = {topic_id:String}"
        " ORDER BY partition, first_offset",
        {"topic": topic, "topic_id": topic_id},
    )
    return [DeliveryGap(int(row[0]), int(row[1]), int(row[2]), str(row[3])) for row in rows]
