"""Partitions at a batch that no client can read: reported, and passed when an operator says so."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from radar.consumer.context import Context
from radar.consumer.delivery_gaps import UNREADABLE, recorded
from radar.consumer.offsets import Offsets
from radar.consumer.partition import AssignedPartition
from radar.consumer.reporting import ALARM_INTERVAL_S
from radar.consumer.silence import SILENT_S
from radar.errors import BrokerUnavailable, CommitRejected, QueryFailed, StoreUnavailable
from radar.kafka import Unreadable
from radar.telemetry import metrics
from radar.text import printable

SILENCE_LOOK_S = 0.5
ORDER_LOOK_S = 2.0

_log = structlog.get_logger()


@dataclass
class _Standing:
    """One partition at an unreadable batch."""

    offset: int
    look_at_s: float = 0.0
    alarm_at_s: float = 0.0


class UnreadableBatches:
    """The unreadable batches at which the partitions of one worker stand."""

    def __init__(self, context: Context, topic_id: str) -> None:
        self._context = context
        self._dataset = context.dataset
        self._reader = context.reader
        self._health = context.health
        self._topic_id = topic_id
        self._standing: dict[int, _Standing] = {}
        self._looked_at_s = 0.0
        metrics.UNREADABLE.labels(context.dataset.name).set(0)

    def follow(self, topic_id: str) -> None:
        """Look for orders about the topic with this ID from now on."""
        self._topic_id = topic_id

    def check(self, partitions: Mapping[int, AssignedPartition]) -> None:
        """Report partitions that bring no message although their log goes on.

        Call it after a poll without a message; it asks Kafka about silent partitions.
        """
        now_s = time.monotonic()
        if now_s < self._looked_at_s + SILENCE_LOOK_S:
            return
        self._looked_at_s = now_s
        for partition, state in partitions.items():
            end = None if state.paused else self._reader.known_end_offset(partition)
            waits = end is not None and end > state.next_offset and not state.review
            if not state.silence.check(now_s, waits=waits) or partition in self._reader.unreadable:
                continue
            self._context.expect_kafka()
            try:
                # A broker that does not answer is silent as well; its own check reports it.
                waits = self._reader.end_offset(partition) > state.next_offset
            except BrokerUnavailable:
                waits = False
            if waits:
                reason = f"no message came in {SILENT_S:.0f} s, although the log goes on"
                batch = Unreadable(partition, state.next_offset, reason)
                self._reader.unreadable[partition] = batch
            else:
                state.silence.end()

    def pass_ordered(self, partitions: Mapping[int, AssignedPartition], offsets: Offsets) -> None:
        """Pass unreadable batches that an operator has ordered to skip; blocks.

        The worker stores everything before such a batch first. A plan that reaches into the batch
        can never be met: its messages are planned again, and only missing rows are inserted. The
        worker that made the plan may have read the batch and inserted the whole block.
        """
        if self._reader.unreadable:
            self._context.expect_store()
        ordered = self._observe(
            {partition: state.next_offset for partition, state in partitions.items()}
        )
        for partition, offset in ordered.items():
            state = partitions[partition]
            if state.block is not None or state.rest or state.review:
                continue
            state.forget_plan()
            if state.batch.size:
                continue
            self._context.expect_kafka()
            try:
                offsets.commit(state, offset)
                self._reader.seek(partition, offset)
            except (CommitRejected, BrokerUnavailable) as error:
                _log.warning("cannot skip yet", partition=partition, error=str(error))
                continue
            _log.warning(
                "skipped unreadable offsets",
                dataset=self._dataset.name,
                partition=partition,
                first=state.next_offset,
                last=offset - 1,
            )
            state.next_offset = offsets.next_offsets[partition] = offset
            state.silence.end()

    def _observe(self, next_offsets: Mapping[int, int]) -> dict[int, int]:
        """Report the partitions that stand, and look for orders to pass; blocks for one query.

        Args:
            next_offsets: The next offset to be consumed, by partition that the worker owns.

        Returns:
            The offset at which to go on, by partition that an operator ordered to pass. The same
            offset is returned every ORDER_LOOK_S while the partition stands.
        """
        unreadable = self._reader.unreadable
        if not (unreadable or self._standing):
            return {}
        for partition in self._standing.keys() - (unreadable.keys() & next_offsets.keys()):
            del self._standing[partition]
            self._health.clear(_condition(partition))
        now_s = time.monotonic()
        due = []
        for partition in unreadable.keys() & next_offsets.keys():
            batch = unreadable[partition]
            # Kafka reports a batch by its first offset, even if the worker needs a later one.
            offset = max(batch.offset, next_offsets[partition])
            standing = self._standing.get(partition)
            if standing is None or standing.offset != offset:
                standing = self._standing[partition] = _Standing(offset)
            if now_s >= standing.alarm_at_s:
                standing.alarm_at_s = now_s + ALARM_INTERVAL_S
                self._alarm(partition, offset, batch.reason)
            if now_s >= standing.look_at_s:
                standing.look_at_s = now_s + ORDER_LOOK_S
                due.append(partition)
        metrics.UNREADABLE.labels(self._dataset.name).set(len(self._standing))
        return self._ordered(due) if due else {}

    def _ordered(self, partitions: list[int]) -> dict[int, int]:
        try:
            gaps = recorded(self._context.store, self._dataset.topic, self._topic_id)
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
