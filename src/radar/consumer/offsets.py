"""The offsets of a worker's partitions: committed, recorded in the database, accounted for.

`accounting.py` decides. This module reads the facts from Kafka and the database, and carries out
the decision.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence

import structlog

from radar.consumer.accounting import Decision, Situation, decide
from radar.consumer.batch import Plan
from radar.consumer.context import Context
from radar.consumer.delivery_gaps import (
    CAUSES,
    OPEN,
    REPAIRED,
    DeliveryGap,
    recorded,
    write,
    write_new,
)
from radar.consumer.origin import SameOrigin
from radar.consumer.partition import AssignedPartition
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
from radar.consumer.topic_id_poller import TopicIdPoller
from radar.datasets import Dataset
from radar.errors import BrokerUnavailable, CommitRejected, QueryFailed, StoreUnavailable
from radar.store.client import Store
from radar.store.uptime import ServerUptime
from radar.telemetry import metrics

ACCOUNT_AGAIN_S = 0.5

_log = structlog.get_logger()


class Offsets:
    """The offsets of one worker's partitions.

    Attributes:
        next_offsets: The next offset to be stored, by assigned partition. Other threads may read
            this mapping.
    """

    def __init__(
        self,
        context: Context,
        topic_ids: TopicIdPoller,
        same_origin: SameOrigin,
        on_topic: Callable[[str], None],
    ) -> None:
        """Start without offsets.

        Args:
            context: The options and connections of the worker.
            topic_ids: Polls the ID of the topic.
            same_origin: Refuses a database of another origin.
            on_topic: Called with the ID of the topic when a partition is accounted for.
        """
        self._context = context
        self._dataset = context.dataset
        self._store = context.store
        self._reader = context.reader
        self._health = context.health
        self._settings = context.settings
        self._topic_ids = topic_ids
        self._same_origin = same_origin
        self._on_topic = on_topic
        self._checked_at_s = 0.0
        self._uptime = ServerUptime(context.store)
        self.next_offsets: dict[int, int] = {}

    def plan(self, state: AssignedPartition, plan: Plan) -> None:
        """Commit the plan of a block; blocks. See `GroupReader.commit`."""
        self._context.expect_kafka()
        self.commit(state, plan.lo, plan)
        state.planned_at_s = time.monotonic()

    def commit(self, state: AssignedPartition, offset: int, plan: Plan | None = None) -> None:
        """Commit an offset with the topic that it belongs to; blocks. See `GroupReader.commit`."""
        commit_metadata = state.metadata(offset, plan)
        self._reader.commit(state.partition, offset, str(commit_metadata))
        state.committed, state.commit_metadata = offset, commit_metadata

    def drop_impossible_plan(self, state: AssignedPartition, now_s: float) -> None:
        """Forget a plan beyond the end of the log.

        Only a broker that lost acknowledged messages leaves such a plan. Its offsets may never come
        again, and to wait for them would hold back the messages that are there.
        """
        plan = state.batch.planned
        if plan is None or now_s < state.plan_checked_at_s + self._settings.batch_timeout_seconds:
            return
        state.plan_checked_at_s = now_s
        try:
            end = self._reader.end_offset(state.partition)
        except BrokerUnavailable:
            return
        if end <= plan.hi:
            _log.error("plan beyond the end of the log", partition=state.partition, plan=str(plan))
            state.batch.forget_plan()

    def record(self, partitions: Collection[AssignedPartition]) -> None:
        """Record how far partitions are accounted for, where that has changed; blocks.

        Raises:
            StoreUnavailable: The server does not answer, or refuses this insert.
        """
        changed: dict[int, Progress] = {}
        for state in partitions:
            # The next owner of a partition under review starts from the older record.
            is_settled = state.progress.version and not state.review
            if not is_settled or state.topic_id != self._topic_ids.topic_id:
                continue
            newest = state.progress._replace(
                next_offset=max(state.progress.next_offset, self.next_offsets[state.partition]),
                generation=state.generation,
            )
            if newest != state.progress:
                changed[state.partition] = newest._replace(version=newest.version + 1)
        self._context.expect_store()
        try:
            write_progress(
                self._store,
                self._dataset.topic,
                self._topic_ids.topic_id,
                changed,
                self._settings.worker_id,
                self._uptime,
            )
        except QueryFailed as error:
            raise StoreUnavailable(str(error)) from error
        for state in partitions:
            state.progress = changed.get(state.partition, state.progress)

    def check(self, partitions: Mapping[int, AssignedPartition]) -> None:
        """Compare the database's accounts with the worker's own, at intervals.

        A partition is accounted for anew in four cases: the topic was recreated, Kafka refuses a
        position, or an operator ordered to store offsets again. The fourth is a database that may
        have been restored from an older copy: its server was restarted, or it lacks this worker's
        newest record.
        """
        for partition in self._reader.invalid:
            if (state := partitions.get(partition)) is not None:
                _review(state, "position")
        topic_id = self._topic_ids.topic_id
        for state in partitions.values():
            if state.topic_id != topic_id:
                _review(state, "topic")
        now_s = time.monotonic()
        settled = [each for each in partitions.values() if not each.review and not each.attempts]
        if now_s < self._checked_at_s + self._settings.offset_check_seconds or not settled:
            return
        self._checked_at_s = now_s
        self._context.expect_store()
        try:
            self._notice_restart(partitions.values())
            known = read_progress(self._store, self._dataset.topic, topic_id)
            orders = read_orders(self._store, self._dataset.topic, topic_id)
            gaps = recorded(self._store, self._dataset.topic)
            for state in settled:
                state.seen_end = self._reader.known_end_offset(state.partition)
                found = known.progress.get(state.partition, UNRECORDED)
                if found.version < state.progress.version:
                    _review(state, "database")
                elif pending(orders, state.partition, state.progress.orders_to_us):
                    _review(state, "order")
            self._close_repaired(gaps, partitions)
            self.record([each for each in settled if not each.review])
        except (StoreUnavailable, QueryFailed) as error:
            _log.warning("cannot check offsets", dataset=self._dataset.name, error=str(error))

    def _notice_restart(self, partitions: Collection[AssignedPartition]) -> None:
        """Account anew for every partition if the server was restarted since the last look.

        Records are some seconds apart. A copy that is restored from between two of them has the
        newest record, and lacks the rows since.
        """
        if not self._uptime.was_restarted():
            return
        for state in partitions:
            if state.progress.version:
                state.progress = state.progress._replace(version=state.progress.version + 1)
                _review(state, "database")

    def _close_repaired(
        self, gaps: Sequence[DeliveryGap], partitions: Mapping[int, AssignedPartition]
    ) -> None:
        """Close gaps whose offsets were stored afterwards, and show how many stay open."""
        counts = dict.fromkeys(CAUSES, 0)
        for gap in gaps:
            state = partitions.get(gap.partition)
            if gap.state != OPEN or state is None:
                continue
            is_read = (
                gap.topic_id == state.topic_id
                and state.read_from is not None
                and state.read_from <= gap.first
                and self.next_offsets[gap.partition] > gap.last
            )
            if is_read:
                repaired = gap._replace(state=REPAIRED)
                write(self._store, self._dataset.topic, repaired, "worker")
                _log.info("delivery gap repaired", partition=gap.partition, first=gap.first)
            else:
                counts[gap.cause] = counts.get(gap.cause, 0) + gap.offsets
        for cause, count in counts.items():
            metrics.DELIVERY_GAP_OFFSETS.labels(self._dataset.name, cause).set(count)

    def account(self, partitions: Collection[AssignedPartition]) -> None:
        """Account for the offsets of partitions that need it and hold no message; blocks."""
        now_s = time.monotonic()
        for state in partitions:
            if not state.review or not state.is_empty or now_s < state.review_at_s:
                continue
            try:
                self._notice_restart(partitions)
                self._account_for(state)
            except (BrokerUnavailable, CommitRejected, StoreUnavailable, QueryFailed) as error:
                state.review_at_s = time.monotonic() + ACCOUNT_AGAIN_S
                self._health.set(
                    state.condition,
                    f"partition {state.partition}: cannot account for its offsets: {error}",
                )
                _log.warning(
                    "cannot account for offsets",
                    dataset=self._dataset.name,
                    partition=state.partition,
                    error=str(error),
                )

    def _account_for(self, state: AssignedPartition) -> None:
        """Decide where a partition goes on, and record each difference before it does."""
        self._context.expect_both()
        # The topic or the database may be another one by now.
        self._same_origin.check(again=True)
        topic, partition, topic_id = self._dataset.topic, state.partition, self._topic_ids.ask_now()
        known = read_progress(self._store, topic, topic_id)
        found = known.progress.get(partition, UNRECORDED)
        orders = pending(read_orders(self._store, topic, topic_id), partition, found.orders_to_us)
        low, high = self._reader.ends(partition)
        decision = decide(
            Situation(
                partition,
                topic_id,
                low,
                high,
                state.committed,
                state.known_metadata(topic_id),
                self._known_progress(state, known),
                known.former.get(partition),
                state.seen_end,
                _joined(orders),
                partition in self._reader.invalid,
            ),
            _Rows(self._store, self._dataset.table, partition),
        )
        write_new(self._store, topic, decision.gaps, "worker")
        state.topic_id, state.generation = topic_id, decision.generation
        state.maybe_stored_to = decision.maybe_stored_to
        self._on_topic(topic_id)
        # Commit the offset and its metadata first. A worker that dies in between leaves the same
        # differences behind, and the metadata name the rows that may already exist.
        noted_to = state.commit_metadata.maybe_stored_to if state.commit_metadata else -1
        is_new = decision.start != (state.committed or 0) or noted_to < decision.maybe_stored_to
        if decision.notice or is_new:
            self.commit(state, decision.start, decision.plan)
        progress = Progress(
            decision.start,
            decision.generation,
            max([found.orders_to_us, *(order.ordered_at_us for order in orders)]),
            max(found.version, state.progress.version) + 1,
        )
        write_progress(
            self._store,
            topic,
            topic_id,
            {partition: progress},
            self._settings.worker_id,
            self._uptime,
        )
        state.progress = progress
        is_refused = self._reader.invalid.pop(partition, None) is not None
        if (
            decision.start != state.next_offset
            or is_refused
            or state.review != "assigned"
            or decision.notice
        ):
            self._reader.seek(partition, decision.start)
        self._go_on(state, decision)

    def _go_on(self, state: AssignedPartition, decision: Decision) -> None:
        _log_decision(self._dataset, state, decision)
        state.batch = state.batch.anew(decision.plan)
        state.next_offset = state.read_from = self.next_offsets[state.partition] = decision.start
        state.check_next = True
        state.review = ""
        state.silence.end()
        self._health.clear(state.condition)

    def _known_progress(self, state: AssignedPartition, known: Known) -> Progress | None:
        """Return the recorded progress, or this worker's own if that is newer."""
        found = known.progress.get(state.partition)
        is_ours = state.progress.version and state.topic_id == self._topic_ids.topic_id
        if found is None or not is_ours or found.version < state.progress.version:
            return found
        return found._replace(next_offset=max(found.next_offset, state.committed or 0))


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


def _review(state: AssignedPartition, reason: str) -> None:
    """Account for the offsets of a partition anew, once its messages are stored."""
    if state.review:
        return
    _log.info("offsets are checked", partition=state.partition, reason=reason)
    state.review, state.review_at_s = reason, 0.0
    state.forget_plan()


def _log_decision(dataset: Dataset, state: AssignedPartition, decision: Decision) -> None:
    if decision.notice:
        _log.warning(
            "offsets differ",
            dataset=dataset.name,
            partition=state.partition,
            reason=decision.notice,
            position=state.committed,
            goes_on_at=decision.start,
            generation=decision.generation,
        )
    for gap in decision.gaps:
        _log.error(
            "delivery gap",
            dataset=dataset.name,
            partition=gap.partition,
            first=gap.first,
            last=gap.last,
            cause=gap.cause,
            extent=gap.extent,
            reason=gap.reason,
            remedy="run radar verify to see the lost offsets",
        )


def _joined(orders: Sequence[Order]) -> Order | None:
    """Return one order for the range that holds all."""
    if not orders:
        return None
    newest = orders[-1]
    return newest._replace(
        first=min(each.first for each in orders), last=max(each.last for each in orders)
    )
