"""Offsets that are no rows and will not become any by themselves: table `delivery_gaps`.

Each row names its cause. For an unreadable batch, one row is both the order to skip and the record:
`radar skip` writes it, and the worker that stands at this batch passes it. A worker records every
other gap before it goes on. So no offset is passed without a record.
"""

from collections.abc import Sequence
from typing import NamedTuple

from radar.kafka import OffsetRange
from radar.store.client import Store
from radar.store.queries import worker as queries

MAX_REASON_CHARACTERS = 500

UNREADABLE = "unreadable"
DELETED = "deleted_by_kafka"
RECREATED = "topic_recreated"
TRUNCATED = "log_truncated"
MOVED = "group_moved"
RESTORED = "restored_database"
CAUSES = (UNREADABLE, DELETED, RECREATED, TRUNCATED, MOVED, RESTORED)

OPEN = "open"
ACKNOWLEDGED = "acknowledged"
REPAIRED = "repaired"
EXACT = "exact"
UNKNOWN = "unknown"


class DeliveryGap(NamedTuple):
    """Offsets of one partition that are no rows, both ends included.

    Attributes:
        partition: The partition of the offsets.
        first: The first of them.
        last: The last of them.
        reason: The observation, in one sentence.
        cause: One of CAUSES.
        topic_id: Of the topic that held them.
        state: OPEN, ACKNOWLEDGED or REPAIRED.
        extent: EXACT, or UNKNOWN if more offsets than these may be missing.
        explanation: The operator's words.
    """

    partition: int
    first: int
    last: int
    reason: str
    cause: str = UNREADABLE
    topic_id: str = ""
    state: str = ACKNOWLEDGED
    extent: str = EXACT
    explanation: str = ""

    def holds(self, partition: int, offset: int) -> bool:
        """Return whether an offset lies inside."""
        return partition == self.partition and self.first <= offset <= self.last

    @property
    def offsets(self) -> int:
        """How many offsets these are."""
        return self.last - self.first + 1


def record(
    store: Store,
    topic: str,
    topic_id: str,
    lost: OffsetRange,
    explanation: str,
    recorded_by: str = "radar skip",
) -> None:
    """Record skipped offsets; blocks. To repeat it does no harm.

    Args:
        store: The database.
        topic: The Kafka topic.
        topic_id: The ID that Kafka gave the topic.
        lost: The offsets, and why they cannot be read.
        explanation: Why the operator gives them up.
        recorded_by: The command.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: ClickHouse refuses, because the table or the right to insert is missing.
    """
    gap = DeliveryGap(
        lost.partition,
        lost.first,
        lost.last,
        lost.reason,
        topic_id=topic_id,
        explanation=explanation,
    )
    write(store, topic, gap, recorded_by)


def write(store: Store, topic: str, gap: DeliveryGap, recorded_by: str) -> None:
    """Record a gap, or its new state; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: ClickHouse refuses, because the table or the right to insert is missing.
    """
    store.command(
        queries.INSERT_DELIVERY_GAP,
        {
            "topic": topic,
            "topic_id": gap.topic_id,
            "partition": gap.partition,
            "first": gap.first,
            "last": gap.last,
            "cause": gap.cause,
            "reason": gap.reason[:MAX_REASON_CHARACTERS],
            "explanation": gap.explanation[:MAX_REASON_CHARACTERS],
            "recorded_by": recorded_by,
            "state": gap.state,
            "extent": gap.extent,
        },
    )


def write_new(store: Store, topic: str, gaps: Sequence[DeliveryGap], recorded_by: str) -> None:
    """Record those gaps that are not recorded yet; blocks.

    A gap that is recorded already keeps its state.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: ClickHouse refuses, because the table or the right to insert is missing.
    """
    if not gaps:
        return
    known = {(gap.topic_id, *gap[:3]) for gap in recorded(store, topic)}
    for gap in gaps:
        if (gap.topic_id, gap.partition, gap.first, gap.last) not in known:
            write(store, topic, gap, recorded_by)


def recorded(store: Store, topic: str, topic_id: str | None = None) -> list[DeliveryGap]:
    """Return the gaps of a topic, of one ID or of all that it ever had; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: ClickHouse refuses, because the table is missing.
    """
    rows = store.rows(
        queries.delivery_gaps(of_one_id=topic_id is not None),
        {"topic": topic} | ({"topic_id": topic_id} if topic_id is not None else {}),
    )
    return [
        DeliveryGap(int(row[0]), int(row[1]), int(row[2]), *(str(each) for each in row[3:]))
        for row in rows
    ]
