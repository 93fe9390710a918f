"""Partitions at a batch that no client can read: reported, and passed when an operator says so."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from radar.consumer.delivery_gaps import UNREADABLE, recorded
from radar.datasets import Dataset
from radar.errors import QueryFailed, StoreUnavailable
from radar.kafka import Unreadable
from radar.store.client import Store
from radar.telemetry import metrics
from radar.telemetry.health import Health
from radar.text import printable

LOOK_INTERVAL_S = 2.0
ALARM_INTERVAL_S = 60.0

_log = structlog.get_logger()


@dataclass
class _Standing:
    """One partition at an unreadable batch."""

    offset: int
    look_at_s: float = 0.0
    alarm_at_s: float = 0.0


class Standstills:
    """The partitions of one worker that stand at an unreadable batch."""

    def __init__(self, dataset: Dataset, topic_id: str, store: Store, health: Health) -> None:
        self._dataset = dataset
        self._topic_id = topic_id
        self._store = store
        self._health = health
        self._standing: dict[int, _Standing] = {}
        metrics.UNREADABLE.labels(dataset.name).set(0)

    def follow(self, topic_id: str) -> None:
        """Look for orders about the topic with this ID from now on."""
        self._topic_id = topic_id

    def observe(
        self, unreadable: Mapping[int, Unreadable], positions: Mapping[int, int]
    ) -> dict[int, int]:
        """Report the partitions that stand, and look for orders to pass; blocks for one query.

        Args:
            unreadable: The batches that cannot be read, by partition.
            positions: The next offset to be consumed, by partition that the worker owns.

        Returns:
            The offset at which to go on, by partition that an operator ordered to pass. The same
            offset is returned every LOOK_INTERVAL_S while the partition stands.
        """
        if not (unreadable or self._standing):
            return {}
        for partition in self._standing.keys() - (unreadable.keys() & positions.keys()):
            del self._standing[partition]
            self._health.clear(_condition(partition))
        now_s = time.monotonic()
        due = []
        for partition in unreadable.keys() & positions.keys():
            batch = unreadable[partition]
            # Kafka reports a batch by its first offset, even if the worker needs a later one.
            offset = max(batch.offset, positions[partition])
            standing = self._standing.get(partition)
            if standing is None or standing.offset != offset:
                standing = self._standing[partition] = _Standing(offset)
            if now_s >= standing.alarm_at_s:
                standing.alarm_at_s = now_s + ALARM_INTERVAL_S
                self._alarm(partition, offset, batch.reason)
            if now_s >= standing.look_at_s:
                standing.look_at_s = now_s + LOOK_INTERVAL_S
                due.append(partition)
        metrics.UNREADABLE.labels(self._dataset.name).set(len(self._standing))
        return self._ordered(due) if due else {}

    def _ordered(self, partitions: list[int]) -> dict[int, int]:
        try:
            gaps = recorded(self._store, self._dataset.topic, self._topic_id)
        except (StoreUnavailable, QueryFailed) as error:
            _log.warning("cannot look for orders to skip", error=str(error))
            return {}
        return {
            partition: 1 + max(gap.last for gap in found)
            for partition in partitions
            if (
                found := [
                    gap
                    for gap in gaps
                    if gap.cause == UNREADABLE
                    and gap.holds(partition, self._standing[partition].offset)
                ]
            )
        }

    def _alarm(self, partition: int, offset: int, reason: str) -> None:
        remedy = f"radar skip {self._dataset.name} {partition} {offset} --reason TEXT"
        self._health.set(
            _condition(partition),
            f"partition {partition} of {self._dataset.topic} stands at offset {offset}: the batch"
            f" there cannot be read ({printable(reason)}); skip it with: {remedy}",
        )
        _log.error(
            "partition stands at an unreadable batch",
            dataset=self._dataset.name,
            partition=partition,
            offset=offset,
            error=reason,
            remedy=remedy,
        )


def _condition(partition: int) -> str:
    return f"unreadable {partition}"
