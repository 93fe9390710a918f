"""The worker: consume, batch, plan, insert, commit; per partition, never mixing partitions.

The order of the steps is the whole guarantee (docs/design.md, "Delivery"):

1. dead letters of the block are acknowledged by Kafka,
2. the plan is committed: offset `lo` with the plan in the metadata,
3. the block is inserted under a name that follows from the plan and the content,
4. offset `hi + 1` is committed, without a plan.

Before all that, the offsets of a partition are accounted for (`accounting.py`): where the worker
goes on, and which offsets are lost; again whenever the log, the topic or the database has changed.

A worker that dies after step 2 leaves a plan behind; whoever gets the partition rebuilds
exactly that block, and ClickHouse recognises its name if it was already inserted.

A partition with too many bad messages is halted before its block is planned (`breaker.py`). One at
a batch that no client can read stands, until an operator orders to skip it (`standstill.py`).
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from operator import methodcaller
from typing import Protocol

import numpy as np
import structlog

from radar.consumer.accounting import CommitMetadata
from radar.consumer.batch import BLOCK_BYTES, Batch, InsertBlock, Limits
from radar.consumer.breaker import Breaker
from radar.consumer.chunk import ColumnBlock, read
from radar.consumer.context import Context
from radar.consumer.delivery_gaps import CAUSES
from radar.consumer.dlq.publisher import DeadLetters
from radar.consumer.insert import Inserter
from radar.consumer.origin import SameOrigin
from radar.consumer.partition import CrashPoint, PartitionWork, Step
from radar.consumer.positions import Positions
from radar.consumer.run import MessageRun
from radar.consumer.stall_detector import SILENT_S
from radar.consumer.standstill import Standstills
from radar.consumer.topic_watch import TopicIdPoller
from radar.datasets import Dataset
from radar.errors import (
    BlockTooLarge,
    BrokerUnavailable,
    CommitRejected,
    InsertCutOff,
    StoreUnavailable,
    TooManyInvalid,
    WorkerFenced,
)
from radar.kafka import Cluster, Committed, GroupReader, Message, Unreadable
from radar.settings import Settings
from radar.store.client import Store
from radar.telemetry import metrics
from radar.telemetry.health import Health
from radar.text import printable

POLL_S = 0.1
# Over half a minute of rejected commits: no rebalance takes so long, so the membership is broken.
MAX_REJECTED_COMMITS = 8
DRAIN_TIMEOUT_S = 20.0
# After so long a worker polls Kafka again, whatever else there is to do: one that does not poll
# for minutes loses its membership.
TURN_S = 10.0
ALARM_INTERVAL_S = 60.0
SILENCE_LOOK_S = 0.5
# Messages are read while they are in the processor's cache.
TAKEN_AT_ONCE = 2048

_log = structlog.get_logger()


class StopSignal(Protocol):
    """Stops the worker: a `threading.Event` or any object with `is_set`."""

    def is_set(self) -> bool:
        """Return whether to stop."""


class Worker:
    """Stores one dataset; single-threaded, as many processes as there are partitions.

    Attributes:
        positions: The next offset to be stored, by assigned partition. Other threads may read it.
    """

    def __init__(
        self,
        settings: Settings,
        dataset: Dataset,
        store: Store,
        topic_id: str,
        *,
        health: Health | None = None,
        reached: Callable[[CrashPoint], None] | None = None,
    ) -> None:
        """Join the group of a dataset.

        Args:
            settings: The options.
            dataset: What to store.
            store: Where to store it.
            topic_id: The broker's identity of the dataset's topic.
            health: Where to tell how it goes.
            reached: Called at each crash point; for tests.
        """
        self._reached = reached or (lambda _: None)
        self._health = health or Health()
        self._settings = settings
        self._dataset = dataset
        self._limits = Limits(
            size=settings.batch_size,
            max_size=max(settings.batch_size, settings.batch_max_size),
            timeout_s=settings.batch_timeout_seconds,
            interval_s=settings.insert_interval_seconds,
        )
        self._work: dict[int, PartitionWork] = {}
        self._turn_ends_s = 0.0
        self._silence_looked_at_s = 0.0
        cluster = Cluster(settings)
        self._watch = TopicIdPoller(
            lambda: cluster.topic_id(dataset.topic), topic_id, settings.offset_check_seconds / 2
        )
        self._same_origin = SameOrigin(settings, cluster, store)
        self._dead_letters = DeadLetters(settings, dataset)
        self._reader = GroupReader(
            settings,
            dataset.topic,
            dataset.group,
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            starts_paused=True,
        )
        self._context = Context(settings, dataset, store, self._reader, self._health, self._reached)
        self._standstills = Standstills(dataset, topic_id, store, self._health)
        self._positions = Positions(
            self._context, self._watch, self._same_origin, self._standstills
        )
        self.positions = self._positions.next_offsets
        self._inserter = Inserter(self._context, self._positions)
        self._tell_membership()
        # Counters that alerts look at are there before they count.
        metrics.INSERT_RETRIES.labels(dataset.name)

    def run(self, stop: StopSignal) -> None:
        """Work until `stop` is set, then drain, commit and leave the group; blocks.

        Raises:
            WorkerFenced: Another worker took this one's place; nothing more may be inserted.
            ConfigurationError: Kafka and ClickHouse hold data of different origins.
            BrokerUnavailable: Kafka did not tell the committed offsets on assignment.
            ClientHangs: The Kafka library does not come back from a commit.
        """
        try:
            with self._watch:
                while not stop.is_set():
                    self._turn()
                self._health.set("stopping", "is stopping")
                self._drain()
        finally:
            self._reader.close()
            _log.info("left the group", dataset=self._dataset.name)

    def _turn(self) -> None:
        self._context.expect_kafka()
        # The first message ends the wait of an idle worker; later ones until a batch is due.
        idle = not any(work.batch.size for work in self._work.values())
        wanted, wait_s = 1 if idle else TAKEN_AT_ONCE, self._wait_s()
        while True:
            messages = self._reader.consume(wanted, wait_s)
            self._tell_membership()
            self._take(messages)
            if len(messages) < wanted:
                self._look_for_silence()
                break
            if (room := self._room) <= 0:
                break
            wanted, wait_s = min(TAKEN_AT_ONCE, room), 0.0
        self._turn_ends_s = time.monotonic() + TURN_S
        # Who was served longest ago is first, so that a slow database starves no partition.
        for work in sorted(self._work.values(), key=lambda work: work.served_at_s):
            if not self._advance(work):
                break
        self._positions.check(self._work)
        self._positions.account(list(self._work.values()))
        for work in self._work.values():
            self._hold_back(work)
        self._pass_unreadable()

    def _look_for_silence(self) -> None:
        """Name partitions that bring nothing although their log goes on.

        Called after a poll that left nothing behind.
        """
        now_s = time.monotonic()
        if now_s < self._silence_looked_at_s + SILENCE_LOOK_S:
            return
        self._silence_looked_at_s = now_s
        for partition, work in list(self._work.items()):
            end = None if work.paused else self._reader.known_end_offset(partition)
            waits = end is not None and end > work.next_offset and not work.review
            if not work.silence.look(now_s, waits=waits) or partition in self._reader.unreadable:
                continue
            self._context.expect_kafka()
            try:
                # A broker that does not answer is silent as well, and its check says so.
                waits = self._reader.end_offset(partition) > work.next_offset
            except BrokerUnavailable:
                waits = False
            if waits:
                reason = f"no message came in {SILENT_S:.0f} s, although the log goes on"
                batch = Unreadable(partition, work.next_offset, reason)
                self._reader.unreadable[partition] = batch
            else:
                work.silence.end()

    def _pass_unreadable(self) -> None:
        """Pass batches that cannot be read and that an operator has ordered to skip.

        Everything before such a batch is stored first. A plan that reaches into it can never be
        met: its messages are planned again, and only those are inserted that are no rows, because
        whoever made the plan could read the batch and may have inserted the whole block.
        """
        positions = {partition: work.next_offset for partition, work in self._work.items()}
        if self._reader.unreadable:
            self._context.expect_store()
        for partition, offset in self._standstills.observe(
            self._reader.unreadable, positions
        ).items():
            work = self._work[partition]
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
                dataset=self._dataset.name,
                partition=partition,
                first=work.next_offset,
                last=offset - 1,
            )
            work.next_offset = self.positions[partition] = offset
            work.silence.end()

    def _tell_membership(self) -> None:
        if self._reader.joined:
            self._health.clear("group")
        else:
            self._health.set("group", f"{self._dataset.group}: waits to be told its partitions")

    def _wait_s(self) -> float:
        now_s = time.monotonic()
        waits = [POLL_S]
        for work in self._work.values():
            if work.block is not None:
                waits.append(max(0.0, work.retry_at_s - now_s))
            elif work.rest:
                waits.append(0.0)
            elif (due_in_s := work.batch.due_in_s(now_s)) is not None:
                waits.append(due_in_s)
        return min(waits)

    def _take(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        self._reached(CrashPoint.AFTER_POLL)
        now_s = time.monotonic()
        for partition, group in groupby(messages, methodcaller("partition")):
            work = self._work.get(partition)
            if work is None or work.review:
                continue
            work.silence.end()
            for run in MessageRun.of(list(group)).rising():
                if run.offsets[0] < work.next_offset:
                    self._start_again(work, run.offsets[0])
                work.next_offset = run.offsets[-1] + 1
                work.batch.add(run, now_s)
        metrics.CONSUMED.labels(self._dataset.name).inc(len(messages))

    @property
    def _room(self) -> int:
        """How many messages more may be held, of however many partitions; so memory is bounded."""
        held = held_bytes = 0
        for work in self._work.values():
            for each in (work.batch, work.block, *work.rest):
                if each is not None:
                    held += each.size
                    held_bytes += each.size_bytes
        return self._limits.max_size - held if held_bytes < BLOCK_BYTES else 0

    def _start_again(self, work: PartitionWork, offset: int) -> None:
        """Follow a log that went back behind what was consumed.

        Kafka does that only after it lost acknowledged messages (the embedded broker after a
        kill); the offsets that come again may hold other messages.
        """
        _log.error("offsets went back", partition=work.partition, at=work.next_offset, to=offset)
        work.batch = work.batch.anew(None)

    def _advance(self, work: PartitionWork) -> bool:
        """Bring a partition's blocks as far as possible; False if it is time to poll again."""
        while True:
            now_s = time.monotonic()
            if work.block is None and not self._open_block(work, now_s):
                return True
            if now_s < work.retry_at_s:
                return True
            work.served_at_s = now_s
            try:
                self._finish_block(work)
            except TooManyInvalid as error:
                self._halt(work, error)
                return True
            except (CommitRejected, BrokerUnavailable, StoreUnavailable) as error:
                # The attempt may have taken long.
                self._retry_later(work, error)
                return False
            if time.monotonic() > self._turn_ends_s:
                return False

    def _open_block(self, work: PartitionWork, now_s: float) -> bool:
        if not work.rest and not self._is_due(work, now_s):
            self._positions.drop_impossible_plan(work, now_s)
            return False
        return self._take_block(work, now_s)

    def _is_due(self, work: PartitionWork, now_s: float) -> bool:
        if work.batch.due_in_s(now_s) == 0.0 or (work.review and work.batch.size):
            return True
        # Nothing more can be taken until a block is stored: the largest does not wait any longer.
        if self._room > 0 or work.batch.planned is not None:
            return False
        return work.batch.size == max(each.batch.size for each in self._work.values()) > 0

    def _take_block(self, work: PartitionWork, now_s: float) -> bool:
        if work.rest:
            # Its dead letters were sent, and its messages judged, with the block that it is of.
            work.repeated = work.taken_over
            self._begin(work, work.rest.popleft(), Step.PLAN)
            return True
        taken_over = work.batch.planned is not None
        age_s = work.batch.age_s(now_s)
        block = work.batch.take(now_s)
        if block is None:
            return False
        metrics.BATCH_AGE_SECONDS.labels(self._dataset.name).observe(age_s)
        work.taken_over = work.repeated = taken_over
        work.check, work.check_next = work.check_next, False
        self._begin(work, block, Step.DEAD_LETTERS)
        return True

    def _begin(self, work: PartitionWork, block: InsertBlock, step: Step) -> None:
        self.positions[work.partition] = block.plan.lo
        self._inserter.begin(work, block, step)

    def _finish_block(self, work: PartitionWork) -> None:
        """Take a block through its steps; it is still there if the turn was over before."""
        block = work.block
        assert block is not None  # noqa: S101 - tells the type checker what callers ensured
        self._context.expect_kafka()
        if work.step <= Step.PLAN:
            self._same_origin.check()
        if work.step is Step.DEAD_LETTERS:
            # A plan has to be finished, whoever made it; what he let through is not judged again.
            if not work.taken_over:
                work.judge(block)
            self._dead_letters.send(work.partition, block.letters)
            work.step = Step.PLAN
            self._reached(CrashPoint.AFTER_DEAD_LETTERS)
        while work.step in (Step.PLAN, Step.INSERT):
            if work.step is Step.PLAN:
                block = self._inserter.fitting(work, block)
                self._positions.plan(work, block.plan)
                work.step = Step.INSERT
                self._reached(CrashPoint.AFTER_PLAN)
            try:
                if not self._inserter.insert(work, block, self._turn_ends_s):
                    return
            except (BlockTooLarge, InsertCutOff) as error:
                block = self._inserter.divide_refused(work, block, error)
                continue
            work.inserted_at_s = time.time()
            self._dead_letters.send(work.partition, work.rejected)
            work.step = Step.COMMIT
            self._reached(CrashPoint.AFTER_INSERT)
        if work.step is Step.COMMIT:
            self._context.expect_kafka()
            self._positions.commit(work, block.plan.hi + 1)
            self.positions[work.partition] = block.plan.hi + 1
            work.step = Step.DONE
            self._reached(CrashPoint.AFTER_COMMIT)
        self._record(work, block)
        work.block = None
        work.requests = []

    def _halt(self, work: PartitionWork, error: TooManyInvalid) -> None:
        """Leave a block as it is, raise the alarm, and look again later.

        Messages stay as bad as they are. But rows that the server refuses may be accepted once
        somebody has repaired the table, so a planned block is inserted from the beginning.
        """
        block = work.block
        assert block is not None  # noqa: S101
        if work.step is Step.INSERT:
            self._inserter.start_over(work, block)
        work.halted = True
        work.retry_at_s = time.monotonic() + ALARM_INTERVAL_S
        self._count_halted()
        self._health.set(work.condition, f"partition {work.partition} is halted: {error}")
        _log.error(
            "partition halted",
            dataset=self._dataset.name,
            partition=work.partition,
            offset=block.plan.lo,
            error=str(error),
            remedy="repair what sends or stores them; or restart with MAX_BAD_SHARE=1 and"
            " MAX_CONSECUTIVE_BAD=0 to send them to the dead letters",
        )

    def _tell_flood(self, work: PartitionWork) -> None:
        """Raise the alarm about one market whose messages are bad; its partition goes on."""
        flood = work.breaker.flood
        now_s = time.monotonic()
        if flood is None:
            work.flood_alarm_at_s = None
        elif work.flood_alarm_at_s is None or now_s >= work.flood_alarm_at_s:
            work.flood_alarm_at_s = now_s + ALARM_INTERVAL_S
            _log.error(
                "one market sends too many bad messages",
                dataset=self._dataset.name,
                partition=work.partition,
                market=printable(flood.market.decode(errors="backslashreplace")),
                bad=flood.bad,
                messages=flood.messages,
                remedy="they go to the dead letters, and the other markets are stored:"
                " look at them with radar dlq list, and repair what sends them",
            )
        self._count_floods()

    def _count_floods(self) -> None:
        floods = sum(work.breaker.flood is not None for work in self._work.values())
        metrics.FLOODING.labels(self._dataset.name).set(floods)

    def _retry_later(self, work: PartitionWork, error: Exception) -> None:
        work.retry_later(error)
        if work.rejected_commits >= MAX_REJECTED_COMMITS and isinstance(error, CommitRejected):
            raise WorkerFenced(f"Kafka keeps rejecting this worker's commits: {error}") from error
        if isinstance(error, StoreUnavailable):
            metrics.INSERT_RETRIES.labels(self._dataset.name).inc()
        self._health.set(
            work.condition,
            f"partition {work.partition}: attempt {work.attempts} to store a block failed: {error}",
        )
        _log.warning(
            "block waits",
            dataset=self._dataset.name,
            partition=work.partition,
            step=work.step.name.lower(),
            attempts=work.attempts,
            error=str(error),
        )

    def _hold_back(self, work: PartitionWork) -> None:
        """Fetch a partition's messages only while they can be worked on; so memory is bounded."""
        full = work.batch.is_full or (self._room <= 0 and work.batch.planned is None)
        stands = work.block is not None or bool(work.rest) or bool(work.review)
        paused = stands or full
        if paused and not work.paused:
            self._reader.pause(work.partition)
        elif work.paused and not paused:
            self._reader.resume(work.partition)
        work.paused = paused

    def _record(self, work: PartitionWork, block: InsertBlock) -> None:
        bad = work.bad_messages(block)
        work.breaker.record(block.size, bad)
        self._tell_flood(work)
        good = block.size - len(bad)
        self._health.clear(work.condition)
        if work.halted:
            work.halted = False
            self._count_halted()
        dataset = self._dataset.name
        metrics.BLOCKS.labels(dataset).inc()
        metrics.ROWS.labels(dataset).inc(good)
        metrics.BLOCK_ROWS.labels(dataset).observe(good)
        latency_s = 0.0
        if block.parts:
            latency_s = max(0.0, work.inserted_at_s - _oldest_us(block.parts) / 1e6)
            metrics.LATENCY_SECONDS.labels(dataset).observe(latency_s)
        _log.info(
            "block stored",
            dataset=dataset,
            partition=work.partition,
            lo=block.plan.lo,
            hi=block.plan.hi,
            rows=good,
            dead_letters=len(bad),
            latency_s=round(latency_s, 3),
            commit_s=round(time.time() - work.inserted_at_s, 4),
        )

    def _drain(self) -> None:
        """Finish what was consumed; what cannot be finished in time stays planned for the next."""
        self._turn_ends_s = time.monotonic() + DRAIN_TIMEOUT_S
        for work in self._work.values():
            while time.monotonic() < self._turn_ends_s:
                if work.block is None and (
                    (not work.rest and work.batch.planned is not None)
                    or not self._take_block(work, time.monotonic())
                ):
                    break
                try:
                    self._finish_block(work)
                except (
                    CommitRejected,
                    BrokerUnavailable,
                    StoreUnavailable,
                    TooManyInvalid,
                ) as error:
                    _log.warning(
                        "cannot finish a block", partition=work.partition, error=str(error)
                    )
                    break
        with suppress(StoreUnavailable):
            self._positions.record(self._work.values())

    def _on_assign(self, committed: Sequence[Committed]) -> None:
        for each in committed:
            mark = CommitMetadata.parse(each.metadata)
            self._work[each.partition] = PartitionWork(
                partition=each.partition,
                batch=Batch(self._limits, partial(read, self._dataset, each.partition)),
                breaker=Breaker(self._settings.max_bad_share, self._settings.max_consecutive_bad),
                next_offset=each.offset or 0,
                committed=each.offset,
                mark=mark,
                topic_id=self._watch.topic_id,
                paused=True,
            )
            self.positions[each.partition] = each.offset or 0
            _log.info(
                "assigned",
                dataset=self._dataset.name,
                partition=each.partition,
                offset=each.offset,
                plan=str(mark.plan) if mark and mark.plan else None,
            )
        self._count_assigned()

    def _on_revoke(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            work = self._work.pop(partition, None)
            if work is not None and work.step is Step.COMMIT and work.block is not None:
                try:
                    self._finish_block(work)
                except (CommitRejected, BrokerUnavailable) as error:
                    _log.info("stored block stays planned", partition=partition, error=str(error))
            if work is not None and not work.attempts:
                with suppress(StoreUnavailable):
                    self._positions.record([work])
            self._health.clear(f"partition {partition}")
            self.positions.pop(partition, None)
        _log.info("revoked", dataset=self._dataset.name, partitions=list(partitions))
        self._count_assigned()

    def _count_assigned(self) -> None:
        metrics.REBALANCES.labels(self._dataset.name).inc()
        metrics.ASSIGNED.labels(self._dataset.name).set(len(self._work))
        self._count_halted()
        self._count_floods()
        if not self._work:
            for cause in CAUSES:
                metrics.DELIVERY_GAP_OFFSETS.labels(self._dataset.name, cause).set(0)

    def _count_halted(self) -> None:
        halted = sum(work.halted for work in self._work.values())
        metrics.HALTED.labels(self._dataset.name).set(halted)


def _oldest_us(parts: Sequence[ColumnBlock]) -> int:
    """Return when the first of some records was received, Unix time."""
    columns = (column for part in parts for column in part.columns)
    return min(int(np.min(c.data)) for c in columns if c.name == "received_at")  # type: ignore[arg-type]
