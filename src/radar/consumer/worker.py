"""The worker: consume, decode, batch, plan, insert, commit; per partition, never mixing partitions.

One turn of the loop consumes messages. The worker decodes them in chunks (`chunk.py`) and collects
them in one batch per partition (`batch.py`). A batch that is due gives an insert block. The block
goes through these steps, and their order is the whole guarantee (docs/delivery.md):

1. Kafka acknowledges the block's dead letters (`dlq/publisher.py`).
2. The worker commits the plan: offset `lo` with the plan in the metadata (`offsets.py`).
3. It inserts the block under a name that follows from the plan and the messages (`insert.py`).
4. It commits offset `hi + 1`, without a plan.

Before all that, the worker accounts for the offsets of a partition (`accounting.py`): where it goes
on, and which offsets are lost. It does so again when log, topic or database have changed.

A worker that dies after step 2 leaves a plan behind. The next owner of the partition rebuilds
exactly that block, and ClickHouse recognises its name if it was already inserted.

The worker halts a partition with too many bad messages before it plans the block (`breaker.py`). A
partition stands at a batch that no client can read until an operator skips it (`unreadable.py`).
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from itertools import groupby
from operator import methodcaller
from typing import Protocol, Self

import structlog

from radar.consumer.accounting import CommitMetadata
from radar.consumer.batch import BLOCK_BYTES, Batch, BatchLimits
from radar.consumer.breaker import Breaker
from radar.consumer.chunk import decode_chunk
from radar.consumer.context import Context
from radar.consumer.dlq.publisher import DeadLetterPublisher
from radar.consumer.insert import Inserter
from radar.consumer.messages import Messages
from radar.consumer.offsets import Offsets
from radar.consumer.origin import SameOrigin
from radar.consumer.partition import AssignedPartition, CrashPoint, Step
from radar.consumer.reporting import ALARM_INTERVAL_S, WorkerReporter
from radar.consumer.topic_id_poller import TopicIdPoller
from radar.consumer.unreadable import UnreadableBatches
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
from radar.kafka import Cluster, Committed, GroupReader, Message
from radar.settings import Settings
from radar.store.client import Store
from radar.telemetry import metrics
from radar.telemetry.health import Health

POLL_S = 0.1
# Over half a minute of rejected commits: no rebalance takes so long, so the membership is broken.
MAX_REJECTED_COMMITS = 8
DRAIN_TIMEOUT_S = 20.0
# The worker polls Kafka at least this often, even if blocks wait: Kafka ends the membership of a
# worker that does not poll for minutes.
TURN_S = 10.0
# Messages are decoded while they are in the processor's cache.
TAKEN_AT_ONCE = 2048

_log = structlog.get_logger()


class StopSignal(Protocol):
    """Stops the worker: a `threading.Event` or any object with `is_set`."""

    def is_set(self) -> bool:
        """Return whether to stop."""


class Worker:
    """Stores the messages of one dataset from its partitions of the topic; single-threaded.

    Attributes:
        next_offsets: The next offset to be stored, by assigned partition. Other threads may read
            this mapping.
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
            dataset: The dataset to store.
            store: The database.
            topic_id: The ID that Kafka gave the dataset's topic.
            health: The health of the process.
            reached: Called at each crash point; for tests.
        """
        self._health = health or Health()
        self._settings = settings
        self._dataset = dataset
        self._limits = BatchLimits(
            size=settings.batch_size,
            max_size=max(settings.batch_size, settings.batch_max_size),
            timeout_s=settings.batch_timeout_seconds,
            interval_s=settings.insert_interval_seconds,
        )
        self._partitions: dict[int, AssignedPartition] = {}
        self._turn_ends_s = 0.0
        cluster = Cluster(settings)
        self._topic_ids = TopicIdPoller(
            lambda: self._ask_topic(cluster), topic_id, settings.offset_check_seconds / 2
        )
        self._same_origin = SameOrigin(settings, cluster, store)
        self._dead_letters = DeadLetterPublisher(settings, dataset)
        self._reader = GroupReader(
            settings,
            dataset.topic,
            dataset.group,
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            starts_paused=True,
        )
        self._context = Context(
            settings, dataset, store, self._reader, self._health, reached or (lambda _: None)
        )
        self._unreadable = UnreadableBatches(self._context, topic_id)
        self._offsets = Offsets(
            self._context, self._topic_ids, self._same_origin, self._unreadable.follow
        )
        self.next_offsets = self._offsets.next_offsets
        self._inserter = Inserter(self._context, self._offsets)
        self._reporter = WorkerReporter(dataset, self._health, self._partitions)
        self._reporter.membership(joined=self._reader.joined)

    def run(self, stop: StopSignal) -> None:
        """Work until `stop` is set, then drain, commit and leave the group; see `take_turns`."""
        take_turns([self], stop)

    def __enter__(self) -> Self:
        """Watch the ID of the topic."""
        self._topic_ids.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        """Leave the group; messages that are not stored stay for its next member."""
        self._topic_ids.__exit__(*exception)
        self._reader.close()
        _log.info("left the group", dataset=self._dataset.name)

    def _ask_topic(self, cluster: Cluster) -> str:
        """Show the state of the topic, and return its ID; blocks; in a thread of its own."""
        found = cluster.description(self._dataset.topic)
        self._reporter.topic(found)
        return found.topic_id

    def turn(self) -> None:
        """Consume messages and bring blocks as far as possible; blocks for TURN_S at most.

        Raises: see `take_turns`.
        """
        self._context.expect_kafka()
        # The first message ends the wait of an idle worker; later ones until a batch is due.
        idle = not any(state.batch.size for state in self._partitions.values())
        wanted, wait_s = 1 if idle else TAKEN_AT_ONCE, self._wait_s()
        while True:
            messages = self._reader.consume(wanted, wait_s)
            self._reporter.membership(joined=self._reader.joined)
            self._take(messages)
            if len(messages) < wanted:
                self._unreadable.check(self._partitions)
                break
            if (room := self._room) <= 0:
                break
            wanted, wait_s = min(TAKEN_AT_ONCE, room), 0.0
        self._turn_ends_s = time.monotonic() + TURN_S
        # The partition served longest ago is first, so that a slow database starves none.
        for state in sorted(self._partitions.values(), key=lambda state: state.served_at_s):
            if not self._advance(state):
                break
        self._offsets.check(self._partitions)
        self._offsets.account(self._partitions.values())
        room = self._room
        for state in self._partitions.values():
            self._hold_back(state, room)
        self._unreadable.pass_ordered(self._partitions, self._offsets)

    def _wait_s(self) -> float:
        now_s = time.monotonic()
        waits = [POLL_S]
        for state in self._partitions.values():
            if state.block is not None:
                waits.append(max(0.0, state.retry_at_s - now_s))
            elif state.rest:
                waits.append(0.0)
            elif (due_in_s := state.batch.due_in_s(now_s)) is not None:
                waits.append(due_in_s)
        return min(waits)

    def _take(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        self._context.reached(CrashPoint.AFTER_POLL)
        now_s = time.monotonic()
        for partition, group in groupby(messages, methodcaller("partition")):
            state = self._partitions.get(partition)
            if state is None or state.review:
                continue
            state.silence.end()
            for some in Messages.of(list(group)).rising():
                if some.offsets[0] < state.next_offset:
                    self._start_again(state, some.offsets[0])
                state.next_offset = some.offsets[-1] + 1
                state.batch.add(some, now_s)
        metrics.CONSUMED.labels(self._dataset.name).inc(len(messages))

    @property
    def _room(self) -> int:
        """How many more messages the worker may hold, over all partitions; it bounds the memory."""
        held = held_bytes = 0
        for state in self._partitions.values():
            for each in (state.batch, state.block, *state.rest):
                if each is not None:
                    held += each.size
                    held_bytes += each.size_bytes
        return self._limits.max_size - held if held_bytes < BLOCK_BYTES else 0

    def _start_again(self, state: AssignedPartition, offset: int) -> None:
        """Follow a log that went back behind the consumed offsets.

        Kafka does that only after it lost acknowledged messages (the embedded broker after a
        kill); the offsets that come again may hold other messages.
        """
        _log.error("offsets went back", partition=state.partition, at=state.next_offset, to=offset)
        state.batch = state.batch.anew(None)

    def _advance(self, state: AssignedPartition) -> bool:
        """Bring a partition's blocks as far as possible; False if it is time to poll again."""
        while True:
            now_s = time.monotonic()
            if state.block is None and not self._open_block(state, now_s):
                return True
            if now_s < state.retry_at_s:
                return True
            state.served_at_s = now_s
            try:
                self._finish_block(state)
            except TooManyInvalid as error:
                self._halt(state, error)
                return True
            except (CommitRejected, BrokerUnavailable, StoreUnavailable) as error:
                # The attempt may have taken long.
                self._retry_later(state, error)
                return False
            if time.monotonic() > self._turn_ends_s:
                return False

    def _open_block(self, state: AssignedPartition, now_s: float) -> bool:
        if not state.rest and not self._is_due(state, now_s):
            self._offsets.drop_impossible_plan(state, now_s)
            return False
        return self._take_block(state, now_s)

    def _is_due(self, state: AssignedPartition, now_s: float) -> bool:
        if state.batch.due_in_s(now_s) == 0.0 or (state.review and state.batch.size):
            return True
        # The worker has no room until a block is stored, so the largest batch waits no longer.
        if self._room > 0 or state.batch.planned is not None:
            return False
        return state.batch.size == max(each.batch.size for each in self._partitions.values()) > 0

    def _take_block(self, state: AssignedPartition, now_s: float) -> bool:
        if state.rest:
            # Its dead letters were sent, and its messages judged, with the undivided block.
            block, step = state.rest.popleft(), Step.PLAN
            state.repeated = state.taken_over
        else:
            taken_over = state.batch.planned is not None
            age_s = state.batch.age_s(now_s)
            taken = state.batch.take(now_s)
            if taken is None:
                return False
            metrics.BATCH_AGE_SECONDS.labels(self._dataset.name).observe(age_s)
            block, step = taken, Step.DEAD_LETTERS
            state.taken_over = state.repeated = taken_over
            state.check, state.check_next = state.check_next, False
        self.next_offsets[state.partition] = block.plan.lo
        self._inserter.begin(state, block, step)
        return True

    def _finish_block(self, state: AssignedPartition) -> None:
        """Take a block through its steps; it stays open if the turn ends before the last one."""
        block = state.block
        assert block is not None  # noqa: S101 - for the type checker; callers ensure it
        self._context.expect_kafka()
        if state.step <= Step.PLAN:
            self._same_origin.check()
        if state.step is Step.DEAD_LETTERS:
            # A plan must be finished: the worker that made it has judged the block.
            if not state.taken_over:
                state.judge(block)
            self._dead_letters.send(state.partition, block.bad_messages)
            state.step = Step.PLAN
            self._context.reached(CrashPoint.AFTER_DEAD_LETTERS)
        while state.step in (Step.PLAN, Step.INSERT):
            if state.step is Step.PLAN:
                block = self._inserter.fitting(state, block)
                self._offsets.plan(state, block.plan)
                state.step = Step.INSERT
                self._context.reached(CrashPoint.AFTER_PLAN)
            try:
                if not self._inserter.insert(state, block, self._turn_ends_s):
                    return
            except (BlockTooLarge, InsertCutOff) as error:
                block = self._inserter.divide_refused(state, block, error)
                continue
            state.inserted_at_s = time.time()
            self._dead_letters.send(state.partition, state.rejected)
            state.step = Step.COMMIT
            self._context.reached(CrashPoint.AFTER_INSERT)
        if state.step is Step.COMMIT:
            self._context.expect_kafka()
            self._offsets.commit(state, block.plan.hi + 1)
            self.next_offsets[state.partition] = block.plan.hi + 1
            state.step = Step.DONE
            self._context.reached(CrashPoint.AFTER_COMMIT)
        bad = state.bad_messages(block)
        state.breaker.record(block.size, bad)
        state.halted = False
        self._reporter.stored(state, block, len(bad))
        state.block = None
        state.requests = []
        state.attempts = 0

    def _halt(self, state: AssignedPartition, error: TooManyInvalid) -> None:
        """Leave a block as it is, raise the alarm, and look again later.

        Messages stay as bad as they are. But the server may accept refused rows once an operator
        has repaired the table, so a planned block is inserted again from the beginning.
        """
        block = state.block
        assert block is not None  # noqa: S101
        if state.step is Step.INSERT:
            self._inserter.start_over(state, block)
        state.halted = True
        state.retry_at_s = time.monotonic() + ALARM_INTERVAL_S
        self._reporter.halted(state, block, error)

    def _retry_later(self, state: AssignedPartition, error: Exception) -> None:
        state.retry_later(error)
        if state.rejected_commits >= MAX_REJECTED_COMMITS and isinstance(error, CommitRejected):
            raise WorkerFenced(f"Kafka keeps rejecting this worker's commits: {error}") from error
        self._reporter.waits(state, error)

    def _hold_back(self, state: AssignedPartition, room: int) -> None:
        """Fetch a partition's messages only while there is room for them; it bounds the memory."""
        full = state.batch.is_full or (room <= 0 and state.batch.planned is None)
        stands = state.block is not None or bool(state.rest) or bool(state.review)
        paused = stands or full
        if paused and not state.paused:
            self._reader.pause(state.partition)
        elif state.paused and not paused:
            self._reader.resume(state.partition)
        state.paused = paused

    def drain(self) -> None:
        """Store the consumed messages; a block that takes too long stays planned."""
        self._health.set("stopping", "is stopping")
        self._turn_ends_s = time.monotonic() + DRAIN_TIMEOUT_S
        for state in self._partitions.values():
            while time.monotonic() < self._turn_ends_s:
                if state.block is None and (
                    (not state.rest and state.batch.planned is not None)
                    or not self._take_block(state, time.monotonic())
                ):
                    break
                try:
                    self._finish_block(state)
                except (
                    CommitRejected,
                    BrokerUnavailable,
                    StoreUnavailable,
                    TooManyInvalid,
                ) as error:
                    _log.warning(
                        "cannot finish a block", partition=state.partition, error=str(error)
                    )
                    break
        with suppress(StoreUnavailable):
            self._offsets.record(self._partitions.values())

    def _on_assign(self, committed: Sequence[Committed]) -> None:
        for each in committed:
            state = AssignedPartition(
                partition=each.partition,
                batch=Batch(self._limits, partial(decode_chunk, self._dataset, each.partition)),
                breaker=Breaker(self._settings.max_bad_share, self._settings.max_consecutive_bad),
                next_offset=each.offset or 0,
                committed=each.offset,
                commit_metadata=CommitMetadata.parse(each.metadata),
                topic_id=self._topic_ids.topic_id,
                paused=True,
            )
            self._partitions[each.partition] = state
            self.next_offsets[each.partition] = state.next_offset
            self._reporter.assigned(state)
        self._reporter.rebalanced()

    def _on_revoke(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            state = self._partitions.pop(partition, None)
            if state is not None and state.step is Step.COMMIT and state.block is not None:
                try:
                    self._finish_block(state)
                except (CommitRejected, BrokerUnavailable) as error:
                    _log.info("stored block stays planned", partition=partition, error=str(error))
            if state is not None and not state.attempts:
                with suppress(StoreUnavailable):
                    self._offsets.record([state])
            self.next_offsets.pop(partition, None)
        self._reporter.revoked(partitions)
        self._reporter.rebalanced()


def take_turns(workers: Sequence[Worker], stop: StopSignal) -> None:
    """Let workers of different datasets take turns until `stop` is set, then drain them; blocks.

    One process can serve several datasets of few messages.

    Raises:
        WorkerFenced: Another worker took the place of one, which may insert no more.
        ConfigurationError: Kafka and ClickHouse hold data of different origins.
        BrokerUnavailable: Kafka did not return the committed offsets on assignment.
        ClientHangs: The Kafka library does not come back from a commit.
    """
    with ExitStack() as entered:
        for worker in workers:
            entered.enter_context(worker)
        while not stop.is_set():
            for worker in workers:
                worker.turn()
        for worker in workers:
            worker.drain()
