"""The worker: consume, batch, plan, insert, commit; per partition, never mixing partitions.

The order of the steps is the whole guarantee (docs/delivery.md):

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

import enum
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from operator import methodcaller
from typing import NamedTuple, Protocol

import numpy as np
import structlog

from radar.consumer.accounting import CommitMetadata, Decision, Situation, decide
from radar.consumer.batch import BLOCK_BYTES, Batch, InsertBlock, Limits, Plan
from radar.consumer.bisection import halves
from radar.consumer.block_limit import BlockLimit
from radar.consumer.breaker import Bad, Breaker
from radar.consumer.chunk import BadMessage, ColumnBlock, read, rows
from radar.consumer.delivery_gaps import (
    CAUSES,
    OPEN,
    REPAIRED,
    DeliveryGap,
    recorded,
    write,
    write_new,
)
from radar.consumer.dlq.publisher import DeadLetters
from radar.consumer.origin import SameOrigin
from radar.consumer.progress import (
    UNRECORDED,
    Known,
    Order,
    Progress,
    pending,
    read_orders,
    read_progress,
    write_progress,
)
from radar.consumer.run import Fingerprint, MessageRun
from radar.consumer.stall_detector import SILENT_S, StallDetector
from radar.consumer.standstill import Standstills
from radar.consumer.topic_watch import TopicIdPoller
from radar.datasets import Dataset
from radar.errors import (
    BlockTooLarge,
    BrokerUnavailable,
    CommitRejected,
    InsertCutOff,
    InvalidMessage,
    QueryFailed,
    StoreNeedsRepair,
    StoreRejected,
    StoreUnavailable,
    TooManyInvalid,
    WorkerFenced,
)
from radar.kafka import Cluster, Committed, GroupReader, Message, Unreadable
from radar.settings import Settings
from radar.store.client import CONNECT_TIMEOUT_S, Store
from radar.telemetry import metrics
from radar.telemetry.health import Health
from radar.text import printable

POLL_S = 0.1
RETRY_FIRST_S = 0.2
RETRY_MAX_S = 10.0
# Over half a minute of rejected commits: no rebalance takes so long, so the membership is broken.
MAX_REJECTED_COMMITS = 8
# A person has to do something first; a fast retry would only fill the logs.
REPAIR_RETRY_S = 5.0
# So often in a row the connection broke during an insert, while the server answered otherwise:
# then the block may be too large for something before it. Smaller blocks are not suspected.
MAX_CUT_OFF = 2
LEAST_SUSPECT_BYTES = 64 * 1024
DRAIN_TIMEOUT_S = 20.0
# After so long a worker polls Kafka again, whatever else there is to do: one that does not poll
# for minutes loses its membership.
TURN_S = 10.0
ALARM_INTERVAL_S = 60.0
# The library gives up a request to Kafka after so long, and a commit without a coordinator after
# the session timeout; a busy machine needs some time on top.
KAFKA_PATIENCE_S = 60.0
SPARE_S = 10.0
SILENCE_LOOK_S = 0.5
ACCOUNT_AGAIN_S = 0.5
# Messages are read while they are in the processor's cache.
TAKEN_AT_ONCE = 2048

_log = structlog.get_logger()


class StopSignal(Protocol):
    """What tells the worker to stop: a `threading.Event` or anything with `is_set`."""

    def is_set(self) -> bool:
        """Tell whether to stop."""


class Step(enum.IntEnum):
    """What a block needs next."""

    DEAD_LETTERS = 1
    PLAN = 2
    INSERT = 3
    COMMIT = 4
    DONE = 5


class CrashPoint(enum.Enum):
    """Places on a block's way where a worker may die; tests let it die there.

    Each is passed again when a step is repeated.
    """

    AFTER_POLL = enum.auto()  # messages were taken
    AFTER_DEAD_LETTERS = enum.auto()  # Kafka has the block's bad messages; nothing is planned
    AFTER_PLAN = enum.auto()
    DURING_INSERT = enum.auto()  # immediately before the request, also before that of each half
    AFTER_INSERT = enum.auto()  # ClickHouse has the block; nothing is committed
    AFTER_COMMIT = enum.auto()


class InsertRequest(NamedTuple):
    """Rows that are inserted with one request, and the name of that insert."""

    parts: list[ColumnBlock]
    name: str

    @property
    def run(self) -> MessageRun:
        """The messages that the rows come from."""
        return MessageRun.joined([part.run for part in self.parts])


@dataclass
class PartitionWork:
    """One assigned partition."""

    partition: int
    batch: Batch
    breaker: Breaker
    next_offset: int  # everything before it was consumed
    committed: int | None  # as Kafka has it
    mark: CommitMetadata | None  # beside it
    topic_id: str  # of the topic to which the offsets belong
    # Why the offsets must be accounted for before more is read; empty: they are.
    review: str = "assigned"
    review_at_s: float = 0.0
    progress: Progress = UNRECORDED  # as this worker recorded it last
    read_from: int | None = None  # everything from here to the position was read by this worker
    seen_end: int | None = None  # of the log, at the last check of offsets
    check_next: bool = True  # whether the next block is looked for after its insert
    generation: int = 0
    block: InsertBlock | None = None
    rest: deque[InsertBlock] = field(default_factory=deque)  # behind the block, which was divided
    taken_over: bool = False  # the block was planned before the partition came here
    repeated: bool = False  # inserting the block was tried before, by whomever
    check: bool = False  # whether its rows are looked for after the insert, although it is new
    # Offsets up to here may be rows already, under the name of a plan that cannot be met any more;
    # committed with the position, because it decides under which name a block is inserted.
    maybe_stored_to: int = -1
    silence: StallDetector = field(default_factory=StallDetector)
    step: Step = Step.DEAD_LETTERS
    pieces: list[InsertRequest] = field(
        default_factory=list
    )  # still to be inserted, the next one last
    rejected: list[BadMessage] = field(default_factory=list)  # by the server
    planned_at_s: float = 0.0
    inserted_at_s: float = 0.0  # Unix time
    attempts: int = 0
    cut_off: int = 0  # how often the connection broke during an insert of the block
    rejected_commits: int = 0
    retry_at_s: float = 0.0
    served_at_s: float = 0.0
    paused: bool = False
    halted: bool = False
    flood_alarm_at_s: float | None = None  # when the next one is due, while there is a flood
    plan_checked_at_s: float = field(default_factory=time.monotonic)


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
        self._store = store
        self._limits = Limits(
            size=settings.batch_size,
            max_size=max(settings.batch_size, settings.batch_max_size),
            timeout_s=settings.batch_timeout_seconds,
            interval_s=settings.insert_interval_seconds,
        )
        self._block_limit = BlockLimit()
        self._work: dict[int, PartitionWork] = {}
        self.positions: dict[int, int] = {}
        self._turn_ends_s = 0.0
        self._silence_looked_at_s = 0.0
        self._offsets_checked_at_s = 0.0
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
        self._standstills = Standstills(dataset, topic_id, store, self._health)
        self._kafka_within_s = max(KAFKA_PATIENCE_S, self._reader.session_timeout_s) + SPARE_S
        # The library may send a request a second time, on a new connection.
        store_s = CONNECT_TIMEOUT_S + settings.insert_timeout_seconds
        self._store_within_s = 2 * store_s + SPARE_S
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
        self._health.beat(self._kafka_within_s)
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
        self._check_offsets()
        self._account_for_positions()
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
            self._health.beat(self._kafka_within_s)
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
            self._health.beat(self._store_within_s)
        for partition, offset in self._standstills.observe(
            self._reader.unreadable, positions
        ).items():
            work = self._work[partition]
            if work.block is not None or work.rest or work.review:
                continue
            if (plan := work.batch.planned) is not None:
                work.maybe_stored_to = max(work.maybe_stored_to, plan.hi)
                work.batch.forget_plan()
            if work.batch.size:
                continue
            self._health.beat(self._kafka_within_s)
            try:
                self._commit(work, offset)
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
        work.batch = self._new_batch(work.partition, None)

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
            self._drop_impossible_plan(work, now_s)
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
        work.block, work.step = block, step
        work.attempts, work.rejected_commits, work.retry_at_s, work.cut_off = 0, 0, 0.0, 0
        self._insert_from_the_beginning(work, block)

    def _drop_impossible_plan(self, work: PartitionWork, now_s: float) -> None:
        """Forget a plan beyond the end of the log.

        It can only be met when a broker lost acknowledged messages; waiting for offsets that
        may never come would hold back those that are there.
        """
        plan = work.batch.planned
        if plan is None or now_s < work.plan_checked_at_s + self._settings.batch_timeout_seconds:
            return
        work.plan_checked_at_s = now_s
        try:
            end = self._reader.end_offset(work.partition)
        except BrokerUnavailable:
            return
        if end <= plan.hi:
            _log.error("plan beyond the end of the log", partition=work.partition, plan=str(plan))
            work.batch.forget_plan()

    def _finish_block(self, work: PartitionWork) -> None:
        """Take a block through its steps; it is still there if the turn was over before."""
        block = work.block
        assert block is not None  # noqa: S101 - tells the type checker what callers ensured
        self._health.beat(self._kafka_within_s)
        if work.step <= Step.PLAN:
            self._same_origin.check()
        if work.step is Step.DEAD_LETTERS:
            # A plan has to be finished, whoever made it; what he let through is not judged again.
            if not work.taken_over:
                self._judge(work, block)
            self._dead_letters.send(work.partition, block.letters)
            work.step = Step.PLAN
            self._reached(CrashPoint.AFTER_DEAD_LETTERS)
        while work.step in (Step.PLAN, Step.INSERT):
            if work.step is Step.PLAN:
                block = self._fitting(work, block)
                self._plan(work, block.plan)
                work.step = Step.INSERT
                self._reached(CrashPoint.AFTER_PLAN)
            try:
                if not self._insert_pieces(work, block):
                    return
            except (BlockTooLarge, InsertCutOff) as error:
                block = self._divide_refused(work, block, error)
                continue
            work.inserted_at_s = time.time()
            self._dead_letters.send(work.partition, work.rejected)
            work.step = Step.COMMIT
            self._reached(CrashPoint.AFTER_INSERT)
        if work.step is Step.COMMIT:
            self._health.beat(self._kafka_within_s)
            self._commit(work, block.plan.hi + 1)
            self.positions[work.partition] = block.plan.hi + 1
            work.step = Step.DONE
            self._reached(CrashPoint.AFTER_COMMIT)
        self._record(work, block)
        work.block = None
        work.pieces = []

    def _fitting(self, work: PartitionWork, block: InsertBlock) -> InsertBlock:
        """Divide a block that is larger than what was refused lately."""
        self._block_limit.look(BLOCK_BYTES, time.monotonic())
        limit_bytes = self._block_limit.limit_bytes
        while (
            limit_bytes is not None
            and block.parts
            and block.size > 1
            and block.size_bytes > limit_bytes
        ):
            block = self._divide(work, block)
        return block

    def _divide_refused(
        self, work: PartitionWork, block: InsertBlock, error: BlockTooLarge | InsertCutOff
    ) -> InsertBlock:
        """Divide a block that is too large; its first half has to be planned next.

        Raises:
            StoreUnavailable: It cannot be divided, or it is not known to be too large.
        """
        if isinstance(error, InsertCutOff):
            work.cut_off += 1
            if work.cut_off < MAX_CUT_OFF or block.size_bytes < LEAST_SUSPECT_BYTES:
                raise error
            self._health.beat(self._store_within_s)
            self._store.ping()  # a server that does not answer at all is another matter
        if block.size == 1:
            raise error
        # The halves have other names than what an earlier attempt, whose outcome is not known, or a
        # piece of the block may have been stored under.
        in_pieces = work.pieces[-1].name.endswith(("<", ">"))
        if work.repeated or in_pieces or isinstance(error, InsertCutOff) or error.is_stored_in_part:
            work.maybe_stored_to = max(work.maybe_stored_to, block.plan.hi)
        self._block_limit.refused(block.size_bytes, time.monotonic())
        _log.warning(
            "a block is too large and is divided",
            dataset=self._dataset.name,
            partition=work.partition,
            plan=str(block.plan),
            messages=block.size,
            bytes=block.size_bytes,
            error=str(error),
        )
        return self._divide(work, block)

    def _divide(self, work: PartitionWork, block: InsertBlock) -> InsertBlock:
        """Make two blocks of one, each with a plan of its own; return the first.

        The committed plan is replaced by that of the first half before anything of it is
        inserted. Whoever takes the partition over rebuilds a half like any block.
        """
        if work.taken_over:
            # Whoever planned the whole may have inserted it.
            work.maybe_stored_to = max(work.maybe_stored_to, block.plan.hi)
        first, second = halves(self._dataset, work.partition, block)
        work.rest.appendleft(second)
        attempts = work.attempts
        self._begin(work, first, Step.PLAN)
        work.attempts = attempts
        return first

    def _plan(self, work: PartitionWork, plan: Plan) -> None:
        self._health.beat(self._kafka_within_s)
        self._commit(work, plan.lo, plan)
        work.planned_at_s = time.monotonic()

    def _commit(self, work: PartitionWork, offset: int, plan: Plan | None = None) -> None:
        """Commit an offset with the topic that it belongs to; blocks. See `GroupReader.commit`."""
        stored_to = work.maybe_stored_to if work.maybe_stored_to >= offset else -1
        mark = CommitMetadata(work.topic_id, work.generation, plan, stored_to)
        self._reader.commit(work.partition, offset, str(mark))
        work.committed, work.mark = offset, mark

    def _insert_from_the_beginning(self, work: PartitionWork, block: InsertBlock) -> None:
        name = ":".join(
            (
                self._dataset.topic,
                work.topic_id,
                f"{work.partition}:{block.plan.lo}:{block.plan.hi}",
                block.fingerprint,
            )
        ) + _generation(work)
        work.pieces = [InsertRequest(block.parts, name)] if block.parts else []
        work.rejected = []

    def _insert_pieces(self, work: PartitionWork, block: InsertBlock) -> bool:
        """Insert what is left of a block; False if the turn is over before all is inserted.

        A piece that the server refuses is halved until the bad rows stand alone. Each half has a
        name of its own that follows from the block's, so that it is repeatable.
        """
        while work.pieces:
            # An old plan is renewed: an accepted commit proves that the partition is still ours.
            if time.monotonic() > work.planned_at_s + self._reader.session_timeout_s / 2:
                self._plan(work, block.plan)
            piece = work.pieces[-1]
            try:
                self._insert(work, piece)
            except StoreRejected as error:
                run = piece.run
                if len(run) == 1:
                    reason = InvalidMessage("rejected", str(error))
                    letter = BadMessage(run.offsets[0], run.keys[0], run.values[0], reason)
                    work.rejected.append(letter)
                    self._judge(work, block)
                    work.pieces.pop()
                else:
                    middle = len(run) // 2
                    work.pieces[-1:] = [
                        self._piece(work, run[middle:], f"{piece.name}>"),
                        self._piece(work, run[:middle], f"{piece.name}<"),
                    ]
            else:
                work.pieces.pop()
            if work.pieces and time.monotonic() > self._turn_ends_s:
                return False
        return True

    def _piece(self, work: PartitionWork, run: MessageRun, name: str) -> InsertRequest:
        return InsertRequest(read(self._dataset, work.partition, run).parts, name)

    def _insert(self, work: PartitionWork, piece: InsertRequest) -> None:
        started_s = time.monotonic()
        self._health.beat(self._store_within_s)
        self._reached(CrashPoint.DURING_INSERT)
        maybe_stored = work.block is not None and work.block.plan.lo <= work.maybe_stored_to
        if not maybe_stored:
            self._store.insert(self._dataset.table, rows(piece.parts), piece.name)
        if work.repeated or work.check or maybe_stored:
            self._insert_missing(work, piece)
        metrics.INSERT_SECONDS.labels(self._dataset.name).observe(time.monotonic() - started_s)

    def _insert_missing(self, work: PartitionWork, piece: InsertRequest) -> None:
        """Insert those messages of a repeated piece that are no rows.

        Some versions of ClickHouse note a block's name before they store it: one that was killed
        in between takes the block for stored, and it never was. A message is also no row if
        another of the same key has replaced it; then its row is replaced once more.

        ClickHouse also knows the names of blocks whose rows somebody has deleted since, and takes
        such an insert for a repetition without a word. So rows that are still missing afterwards
        are inserted under names of the next generation.
        """
        missing = self._missing(work, piece)
        if not len(missing):
            return
        _log.info(
            "inserting what is missing",
            name=piece.name,
            rows=len(piece.run),
            missing=len(missing),
        )
        rest = self._piece(work, missing, f"{piece.name}+{Fingerprint.of(missing)}")
        self._health.beat(self._store_within_s)
        self._store.insert(self._dataset.table, rows(rest.parts), rest.name)
        if len(self._missing(work, rest)) < len(missing):
            return
        work.generation += 1
        self._record_progress([work])
        _log.warning(
            "the database knows the name of a block whose rows are not there; inserting them under"
            " a new one",
            name=rest.name,
            rows=len(missing),
            generation=work.generation,
        )
        self._health.beat(self._store_within_s)
        self._store.insert(self._dataset.table, rows(rest.parts), rest.name + _generation(work))

    def _missing(self, work: PartitionWork, piece: InsertRequest) -> MessageRun:
        run = piece.run
        self._health.beat(self._store_within_s)
        stored = self._store.places(
            self._dataset.table, work.partition, run.offsets[0], run.offsets[-1]
        )
        found = {place[0] for place in _places(piece.parts) if place in stored}
        # Later blocks may be rows too: the mark of what was stored is some seconds old.
        if work.maybe_stored_to >= 0 and run.offsets[-1] in found:
            work.maybe_stored_to = max(work.maybe_stored_to, run.offsets[-1] + 1)
        return run.where(lambda offset: offset not in found)

    def _judge(self, work: PartitionWork, block: InsertBlock) -> None:
        try:
            work.breaker.check(block.size, _bad(work, block))
        except TooManyInvalid as error:
            last = max((*block.letters, *work.rejected), key=lambda letter: letter.offset)
            raise TooManyInvalid(
                f"{error}; the one at offset {last.offset}: {printable(str(last.reason))}"
            ) from error

    def _halt(self, work: PartitionWork, error: TooManyInvalid) -> None:
        """Leave a block as it is, raise the alarm, and look again later.

        Messages stay as bad as they are. But rows that the server refuses may be accepted once
        somebody has repaired the table, so a planned block is inserted from the beginning.
        """
        block = work.block
        assert block is not None  # noqa: S101
        if work.step is Step.INSERT:
            self._insert_from_the_beginning(work, block)
        work.halted = True
        work.retry_at_s = time.monotonic() + ALARM_INTERVAL_S
        self._count_halted()
        self._health.set(
            _condition(work.partition), f"partition {work.partition} is halted: {error}"
        )
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
        work.attempts += 1
        work.repeated = work.repeated or work.step is Step.INSERT
        ceiling_s = min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** min(work.attempts, 10))
        if isinstance(error, StoreNeedsRepair):
            ceiling_s = REPAIR_RETRY_S
        work.retry_at_s = time.monotonic() + random.uniform(ceiling_s / 2, ceiling_s)  # noqa: S311
        if isinstance(error, CommitRejected):
            work.rejected_commits += 1
            if work.rejected_commits >= MAX_REJECTED_COMMITS:
                raise WorkerFenced(
                    f"Kafka keeps rejecting this worker's commits: {error}"
                ) from error
        if isinstance(error, StoreUnavailable):
            metrics.INSERT_RETRIES.labels(self._dataset.name).inc()
        self._health.set(
            _condition(work.partition),
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
        bad = _bad(work, block)
        work.breaker.record(block.size, bad)
        self._tell_flood(work)
        good = block.size - len(bad)
        self._health.clear(_condition(work.partition))
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
            self._record_progress(list(self._work.values()))

    def _on_assign(self, committed: Sequence[Committed]) -> None:
        for each in committed:
            mark = CommitMetadata.parse(each.metadata)
            self._work[each.partition] = PartitionWork(
                partition=each.partition,
                batch=self._new_batch(each.partition, None),
                breaker=self._new_breaker(),
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

    def _check_offsets(self) -> None:
        """Compare what the database accounts for with what this worker knows, now and then.

        Something is to be accounted for anew if the topic was recreated, if Kafka refuses a
        position, if the database does not have this worker's newest record (it was restored from an
        older copy), or if an operator ordered to store offsets again.
        """
        for partition in self._reader.invalid:
            self._review(self._work.get(partition), "position")
        topic_id = self._watch.topic_id
        for work in self._work.values():
            if work.topic_id != topic_id:
                self._review(work, "topic")
        now_s = time.monotonic()
        settled = [each for each in self._work.values() if not each.review and not each.attempts]
        if now_s < self._offsets_checked_at_s + self._settings.offset_check_seconds or not settled:
            return
        self._offsets_checked_at_s = now_s
        self._health.beat(self._store_within_s)
        try:
            known = read_progress(self._store, self._dataset.topic, topic_id)
            orders = read_orders(self._store, self._dataset.topic, topic_id)
            gaps = recorded(self._store, self._dataset.topic)
            for work in settled:
                work.seen_end = self._reader.known_end_offset(work.partition)
                found = known.progress.get(work.partition, UNRECORDED)
                if found.version < work.progress.version:
                    self._review(work, "database")
                elif pending(orders, work.partition, work.progress.orders_to_us):
                    self._review(work, "order")
            self._close_repaired(gaps)
            self._record_progress([each for each in settled if not each.review])
        except (StoreUnavailable, QueryFailed) as error:
            _log.warning("cannot check offsets", dataset=self._dataset.name, error=str(error))

    def _close_repaired(self, gaps: Sequence[DeliveryGap]) -> None:
        """Close gaps whose offsets were stored afterwards, and show how many stay open."""
        counts = dict.fromkeys(CAUSES, 0)
        for gap in gaps:
            work = self._work.get(gap.partition)
            if gap.state != OPEN or work is None:
                continue
            is_read = (
                gap.topic_id == work.topic_id
                and work.read_from is not None
                and work.read_from <= gap.first
                and self.positions[gap.partition] > gap.last
            )
            if is_read:
                repaired = gap._replace(state=REPAIRED)
                write(self._store, self._dataset.topic, repaired, "worker")
                _log.info("delivery gap repaired", partition=gap.partition, first=gap.first)
            else:
                counts[gap.cause] = counts.get(gap.cause, 0) + gap.offsets
        for cause, count in counts.items():
            metrics.DELIVERY_GAP_OFFSETS.labels(self._dataset.name, cause).set(count)

    def _review(self, work: PartitionWork | None, reason: str) -> None:
        """Account for the offsets of a partition anew, once what it holds is stored."""
        if work is None or work.review:
            return
        _log.info("offsets are checked", partition=work.partition, reason=reason)
        work.review, work.review_at_s = reason, 0.0
        if work.batch.planned is not None:
            work.maybe_stored_to = max(work.maybe_stored_to, work.batch.planned.hi)
            work.batch.forget_plan()

    def _account_for_positions(self) -> None:
        now_s = time.monotonic()
        for work in list(self._work.values()):
            holds = work.block is not None or work.rest or work.batch.size
            if not work.review or holds or now_s < work.review_at_s:
                continue
            try:
                self._account_for(work)
            except (BrokerUnavailable, CommitRejected, StoreUnavailable, QueryFailed) as error:
                work.review_at_s = time.monotonic() + ACCOUNT_AGAIN_S
                self._health.set(
                    _condition(work.partition),
                    f"partition {work.partition}: cannot account for its offsets: {error}",
                )
                _log.warning(
                    "cannot account for offsets",
                    dataset=self._dataset.name,
                    partition=work.partition,
                    error=str(error),
                )

    def _account_for(self, work: PartitionWork) -> None:
        """Decide where a partition goes on, and record what differs before it does."""
        self._health.beat(self._kafka_within_s + self._store_within_s)
        # The topic or the database may be another one by now.
        self._same_origin.check(again=True)
        topic, partition, topic_id = self._dataset.topic, work.partition, self._watch.ask_now()
        known = read_progress(self._store, topic, topic_id)
        orders = pending(
            read_orders(self._store, topic, topic_id), partition, _taken_to_us(known, partition)
        )
        low, high = self._reader.ends(partition)
        course = decide(
            Situation(
                partition,
                topic_id,
                low,
                high,
                work.committed,
                _mark(work, topic_id),
                self._known_progress(work, known),
                known.former.get(partition),
                work.seen_end,
                _joined(orders),
                partition in self._reader.invalid,
            ),
            _Rows(self._store, self._dataset.table, partition),
        )
        write_new(self._store, topic, course.gaps, "worker")
        work.topic_id, work.generation = topic_id, course.generation
        work.maybe_stored_to = course.maybe_stored_to
        self._standstills.follow(topic_id)
        # The position and its mark come first: whoever dies in between finds the same differences
        # again, and knows which rows may be there already.
        marked_to = work.mark.maybe_stored_to if work.mark else -1
        is_new = course.start != (work.committed or 0) or marked_to < course.maybe_stored_to
        if course.notice or is_new:
            self._commit(work, course.start, course.plan)
        found = known.progress.get(partition, UNRECORDED)
        progress = Progress(
            course.start,
            course.generation,
            max([found.orders_to_us, *(order.ordered_at_us for order in orders)]),
            max(found.version, work.progress.version) + 1,
        )
        write_progress(
            self._store, topic, topic_id, {partition: progress}, self._settings.worker_id
        )
        work.progress = progress
        is_refused = self._reader.invalid.pop(partition, None) is not None
        if (
            course.start != work.next_offset
            or is_refused
            or work.review != "assigned"
            or course.notice
        ):
            self._reader.seek(partition, course.start)
        self._go_on(work, course)

    def _go_on(self, work: PartitionWork, course: Decision) -> None:
        _tell(self._dataset, work, course)
        work.batch = self._new_batch(work.partition, course.plan)
        work.next_offset = work.read_from = self.positions[work.partition] = course.start
        work.maybe_stored_to = course.maybe_stored_to
        work.check_next = True
        work.review = ""
        work.silence.end()
        self._health.clear(_condition(work.partition))

    def _known_progress(self, work: PartitionWork, known: Known) -> Progress | None:
        """Return what is accounted for; this worker's own knowledge is newer than its record."""
        found = known.progress.get(work.partition)
        is_ours = work.progress.version and work.topic_id == self._watch.topic_id
        if found is None or not is_ours or found.version < work.progress.version:
            return found
        return found._replace(next_offset=max(found.next_offset, work.committed or 0))

    def _record_progress(self, works: Sequence[PartitionWork]) -> None:
        """Record how far partitions are accounted for, where that has changed; blocks.

        Raises:
            StoreUnavailable: The server does not answer, or not to this.
        """
        changed: dict[int, Progress] = {}
        for work in works:
            if not work.progress.version or work.topic_id != self._watch.topic_id:
                continue
            newest = work.progress._replace(
                next_offset=max(work.progress.next_offset, self.positions[work.partition]),
                generation=work.generation,
            )
            if newest != work.progress:
                changed[work.partition] = newest._replace(version=newest.version + 1)
        self._health.beat(self._store_within_s)
        try:
            write_progress(
                self._store,
                self._dataset.topic,
                self._watch.topic_id,
                changed,
                self._settings.worker_id,
            )
        except QueryFailed as error:
            raise StoreUnavailable(str(error)) from error
        for work in works:
            work.progress = changed.get(work.partition, work.progress)

    def _new_batch(self, partition: int, planned: Plan | None) -> Batch:
        return Batch(self._limits, partial(read, self._dataset, partition), planned)

    def _new_breaker(self) -> Breaker:
        return Breaker(self._settings.max_bad_share, self._settings.max_consecutive_bad)

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
                    self._record_progress([work])
            self._health.clear(_condition(partition))
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


class _Rows:
    """The rows of one partition; for `decide`."""

    def __init__(self, store: Store, table: str, partition: int) -> None:
        self._place = (table, partition)
        self._store = store

    def last(self, first: int, end: int) -> int | None:
        """Return the largest offset from `first` on and before `end` that is a row; blocks."""
        return self._store.last_offset(*self._place, first, end)

    def first_missing(self, first: int, end: int) -> int:
        """Return the smallest offset from `first` on that is no row, `end` if none; blocks."""
        return self._store.first_missing_offset(*self._place, first, end)


def _tell(dataset: Dataset, work: PartitionWork, course: Decision) -> None:
    if course.notice:
        _log.warning(
            "offsets differ",
            dataset=dataset.name,
            partition=work.partition,
            reason=course.notice,
            position=work.committed,
            goes_on_at=course.start,
            generation=course.generation,
        )
    for gap in course.gaps:
        _log.error(
            "delivery gap",
            dataset=dataset.name,
            partition=gap.partition,
            first=gap.first,
            last=gap.last,
            cause=gap.cause,
            extent=gap.extent,
            reason=gap.reason,
            remedy="see what is lost with radar verify",
        )


def _joined(orders: Sequence[Order]) -> Order | None:
    """Return one order for the range that holds all."""
    if not orders:
        return None
    newest = orders[-1]
    return newest._replace(
        first=min(each.first for each in orders), last=max(each.last for each in orders)
    )


def _taken_to_us(known: Known, partition: int) -> int:
    found = known.progress.get(partition)
    return found.orders_to_us if found else 0


def _mark(work: PartitionWork, topic_id: str) -> CommitMetadata | None:
    """Return what is committed beside the position, with what is known since."""
    if work.mark is None or work.topic_id != topic_id:
        return work.mark
    stored_to = max(work.mark.maybe_stored_to, work.maybe_stored_to)
    return work.mark._replace(maybe_stored_to=stored_to)


def _generation(work: PartitionWork) -> str:
    return f"@{work.generation}" if work.generation else ""


def _places(parts: Sequence[ColumnBlock]) -> Iterator[tuple[int, int]]:
    """Yield offset and time of receipt (Unix time, microseconds) of messages."""
    for part in parts:
        (received,) = (column for column in part.columns if column.name == "received_at")
        yield from zip(part.run.offsets, np.asarray(received.data).tolist(), strict=True)


def _condition(partition: int) -> str:
    return f"partition {partition}"


def _bad(work: PartitionWork, block: InsertBlock) -> list[Bad]:
    """Return the messages of a block that go to the dead letters, as far as is known."""
    keys = {letter.offset: letter.key for letter in (*block.letters, *work.rejected)}
    if not keys:
        return []
    # A rejected message is in a part as well.
    offsets = sorted(set(keys).union(*(part.run.offsets for part in block.parts)))
    return [Bad(n, keys[offset]) for n, offset in enumerate(offsets) if offset in keys]


def _oldest_us(parts: Sequence[ColumnBlock]) -> int:
    """Return when the first of some records was received, Unix time."""
    columns = (column for part in parts for column in part.columns)
    return min(int(np.min(c.data)) for c in columns if c.name == "received_at")  # type: ignore[arg-type]
