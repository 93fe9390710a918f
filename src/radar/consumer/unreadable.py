"""Unreadable batches: a worker reports them, and passes those that an operator skips."""

import time
from collections.abc import Mapping

import structlog

from radar.consumer.context import Context
from radar.consumer.partition import PartitionWork
from radar.consumer.positions import Positions
from radar.consumer.silence import SILENT_S
from radar.consumer.standstill import Standstills
from radar.errors import BrokerUnavailable, CommitRejected
from radar.kafka import Unreadable

SILENCE_LOOK_S = 0.5

_log = structlog.get_logger()


class UnreadableBatches:
    """The unreadable batches at which the partitions of one worker stand."""

    def __init__(self, context: Context, positions: Positions, standstills: Standstills) -> None:
        self._context = context
        self._reader = context.reader
        self._positions = positions
        self._standstills = standstills
        self._looked_at_s = 0.0

    def look(self, works: Mapping[int, PartitionWork]) -> None:
        """Report partitions that bring no message although their log goes on.

        Call it after a poll without a message; it asks Kafka about silent partitions.
        """
        now_s = time.monotonic()
        if now_s < self._looked_at_s + SILENCE_LOOK_S:
            return
        self._looked_at_s = now_s
        for partition, work in works.items():
            end = None if work.paused else self._reader.known_end_offset(partition)
            waits = end is not None and end > work.next_offset and not work.review
            if not work.silence.look(now_s, waits=waits) or partition in self._reader.unreadable:
                continue
            self._context.expect_kafka()
            try:
                # A broker that does not answer is silent as well; its own check reports it.
                waits = self._reader.end_offset(partition) > work.next_offset
            except BrokerUnavailable:
                waits = False
            if waits:
                reason = f"no message came in {SILENT_S:.0f} s, although the log goes on"
                batch = Unreadable(partition, work.next_offset, reason)
                self._reader.unreadable[partition] = batch
            else:
                work.silence.end()

    def pass_ordered(self, works: Mapping[int, PartitionWork]) -> None:
        """Pass unreadable batches that an operator has ordered to skip; blocks.

        The worker stores everything before such a batch first. A plan that reaches into the batch
        can never be met: its messages are planned again, and only missing rows are inserted. The
        worker that made the plan may have read the batch and inserted the whole block.
        """
        positions = {partition: work.next_offset for partition, work in works.items()}
        if self._reader.unreadable:
            self._context.expect_store()
        ordered = self._standstills.observe(self._reader.unreadable, positions)
        for partition, offset in ordered.items():
            work = works[partition]
            if work.block is not None or work.rest or work.review:
                continue
            work.forget_plan()
            if work.batch.size:
                continue
            self._context.expect_kafka()
            try:
                self._positions.commit(work, offset)
                self._reader.seek(partition, offset)
            except (CommitRejected, BrokerUnavailable) as error:
                _log.warning("cannot skip yet", partition=partition, error=str(error))
                continue
            _log.warning(
                "skipped unreadable offsets",
                dataset=self._context.dataset.name,
                partition=partition,
                first=work.next_offset,
                last=offset - 1,
            )
            work.next_offset = self._positions.next_offsets[partition] = offset
            work.silence.end()
