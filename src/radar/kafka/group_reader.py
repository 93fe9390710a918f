"""Reading a topic as a member of a consumer group."""

import faulthandler
import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import methodcaller
from typing import Any, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from radar.errors import BrokerUnavailable, ClientHangs, CommitRejected, NameTaken
from radar.kafka.client import (
    NO_ENDS,
    Committed,
    committed_offsets,
    consumer_config,
    log,
    watermarks,
    within,
)
from radar.kafka.cluster import Cluster
from radar.kafka.messages import Message
from radar.kafka.unowned_partitions import UnownedPartitions
from radar.kafka.unreadable import Unreadable, unreadable
from radar.settings import Settings

FENCED_AGAIN_S = 60.0
# A request that is lost with its connection is given up after this time; the default is 60 s.
SOCKET_TIMEOUT_S = 10.0
# Only with the answer to a heartbeat a member learns that another wants to join, so each of the two
# rounds of joining takes up to this time; the default is 3 s.
HEARTBEAT_MS = 500
CLOSE_TIMEOUT_S = 10.0
WAKE_TIMEOUT_S = 1.0
METADATA_TIMEOUT_S = 1.0
# The library was seen to wait for itself in `close` while it held the interpreter's lock. Then no
# Python code runs any more, and only the watchdog in C can end the process.
FROZEN_AFTER_S = CLOSE_TIMEOUT_S + 5.0

_REJECTED_COMMITS = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.STALE_MEMBER_EPOCH,
    KafkaError.FENCED_MEMBER_EPOCH,
    KafkaError._STATE,  # noqa: SLF001 - the library's public name of "not in the group"
    KafkaError._ASSIGNMENT_LOST,  # noqa: SLF001
}

_INVALID_POSITION = KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001 - the library's public name

_NOT_FETCHED = KafkaError._STATE  # noqa: SLF001

_ERROR = methodcaller("error")


class GroupReader:
    """A member of a consumer group on one topic; every offset is committed explicitly.

    Rebalancing is cooperative. `on_assign` gets each new partition's committed offset and
    metadata. `on_revoke` gets the partitions that are taken away. Both run inside `consume` and
    `close`, in the calling thread.

    Attributes:
        session_timeout_s: The group gives a silent member's partitions away after this time.
        unreadable: The unreadable batches at which owned partitions stand.
        invalid: Why Kafka refuses the positions of owned partitions, by partition; `seek` ends it.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        group: str,
        *,
        on_assign: Callable[[Sequence[Committed]], None],
        on_revoke: Callable[[Sequence[int]], None],
        starts_paused: bool = False,
    ) -> None:
        """Join a group.

        Args:
            settings: The options.
            topic: The topic to read.
            group: The group to join.
            on_assign: Called with the committed offsets of new partitions.
            on_revoke: Called with the partitions that are taken away.
            starts_paused: New partitions are fetched only once `resume` is called.

        Raises:
            ConfigurationError: The brokers do not offer the configured group protocol.
            BrokerUnavailable: The brokers did not answer whether they offer it.
        """
        self._topic = topic
        self._on_assign = on_assign
        self._on_revoke = on_revoke
        self._starts_paused = starts_paused
        self.session_timeout_s = settings.kafka_session_timeout_seconds
        if settings.kafka_group_protocol == "consumer":
            self.session_timeout_s = Cluster(settings).session_timeout_s(group)
        session_ms = int(self.session_timeout_s * 1000)
        insert_ms = int(settings.insert_timeout_seconds * 1000)
        config = consumer_config(settings, group) | {
            "group.protocol": settings.kafka_group_protocol,
            # Between two polls a worker waits for several inserts at most.
            "max.poll.interval.ms": max(300_000, session_ms, min(3 * insert_ms, 86_400_000)),
            "enable.auto.offset.store": False,
            # The library must not choose a position by itself: it would silently skip offsets.
            "auto.offset.reset": "error",
            # A fetcher with a full queue sleeps this long; the default is one second.
            "fetch.queue.backoff.ms": 2,
            "socket.timeout.ms": int(SOCKET_TIMEOUT_S * 1000),
            "queued.min.messages": 10_000,
            "queued.max.messages.kbytes": 4_096,
            # Of each partition; a larger message comes alone.
            "fetch.message.max.bytes": 524_288,
            "fetch.wait.max.ms": 100,
        }
        if settings.kafka_group_protocol == "consumer":
            # Without an instance ID: a dead member keeps it until its session ends. A killed Kafka
            # 4.1.1 was seen to keep the IDs of dead members for ever.
            config["group.remote.assignor"] = "uniform"
        else:
            config |= {
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": session_ms,
                "heartbeat.interval.ms": min(HEARTBEAT_MS, session_ms // 3),
            }
            if settings.worker_id:
                config["group.instance.id"] = settings.worker_id
        self._config = config
        self._join_timeout_s = settings.kafka_join_timeout_seconds
        self._owned: set[int] = set()
        self.unreadable: dict[int, Unreadable] = {}
        self.invalid: dict[int, str] = {}
        self._may_commit = True
        self._fenced: str | None = None
        self._fenced_at_s = -math.inf
        # With the other protocol the coordinator itself gives each partition an owner.
        is_classic = settings.kafka_group_protocol == "classic"
        self._unowned = UnownedPartitions(settings, topic, group) if is_classic else None
        self._join()

    def _join(self) -> None:
        self._consumer = Consumer(self._config)
        self._subscribe()

    def _subscribe(self) -> None:
        self._consumer.subscribe(
            [self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
        )
        # Random, so that members that wait for each other do not start again together.
        wait_s = self._join_timeout_s * random.uniform(1, 2)  # noqa: S311
        self._join_deadline_s: float | None = time.monotonic() + wait_s

    def _join_again(self) -> None:
        # The library does not report to a fenced member which partitions it has lost. And it does
        # not join again after `unsubscribe` and `subscribe` while a request to join is on its way.
        self._lose(self._owned, while_owned=False)
        self._leave()
        self._fenced = None
        self._join()

    def _leave_and_join(self) -> None:
        """Give up all partitions, so that the whole group is assigned anew.

        A static member leaves the group only by the end of its subscription.

        Raises:
            ClientHangs: The library does not give the partitions up. To go on would skip what is
                read here and thrown away.
        """
        log.warning("partitions have no owner; joining the group again")
        self._consumer.unsubscribe()
        deadline_s = time.monotonic() + CLOSE_TIMEOUT_S
        while self._owned:
            if time.monotonic() > deadline_s:
                raise ClientHangs(
                    f"unsubscribe: the Kafka library kept partitions for {CLOSE_TIMEOUT_S:g} s"
                )
            # The next owner reads again what comes now.
            self._consumer.consume(1, 0.1)
        self._subscribe()

    def _join_again_once(self, reason: str) -> None:
        """React to being fenced, which another member does not always cause.

        If the coordinator dies, a static member may not hear from it for a session's time. Then it
        joins as a new member and is fenced by itself (librdkafka issue 3437).
        """
        now_s = time.monotonic()
        if now_s < self._fenced_at_s + FENCED_AGAIN_S:
            raise NameTaken(
                "another worker running with the same WORKER_ID"
                f" {self._config.get('group.instance.id', '')} took this one's place in the group"
                f" {self._config['group.id']}: set another WORKER_ID for one of them"
            )
        self._fenced_at_s = now_s
        log.warning("kafka: %s; joining the group again", reason)
        self._join_again()

    @property
    def joined(self) -> bool:
        """Whether the group has assigned this member its partitions, which may be none."""
        return self._join_deadline_s is None

    def consume(self, max_messages: int, timeout_s: float) -> list[Message]:
        """Return up to `max_messages` messages; blocks up to `timeout_s` for the last one.

        A member that is fenced joins again; one that is fenced again within a minute gives up.

        Raises:
            NameTaken: Another member took this one's place for good.
            BrokerUnavailable: Offsets could not be read on assignment.
            ClientHangs: The client of a member that has to join again does not give up its
                partitions, or does not close.
        """
        if self._fenced is not None:
            self._join_again_once(self._fenced)
        if self._unowned is not None and self.joined and self._has_unowned(self._unowned):
            self._leave_and_join()
        found = self._consumer.consume(max_messages, timeout_s)
        # Only now: an assignment may have waited since the call before, however long ago.
        if self._join_deadline_s is not None and time.monotonic() > self._join_deadline_s:
            log.warning("no assignment came; joining the group again")
            self._join_timeout_s *= 2
            self._join_again()
        if not any(map(_ERROR, found)):
            messages = cast("list[Message]", found)
            if self.unreadable:
                for message in messages:
                    self.unreadable.pop(message.partition(), None)
            return messages
        return self._without_errors(found)

    def _has_unowned(self, unowned: UnownedPartitions) -> bool:
        def count() -> int:
            try:
                topics = self._consumer.list_topics(self._topic, timeout=METADATA_TIMEOUT_S).topics
            except KafkaException:
                return 0
            return len(topics[self._topic].partitions)

        return unowned.check(self._consumer.memberid() or "", self._owned, count)

    def _without_errors(self, found: Sequence[Any]) -> list[Message]:
        messages: list[Message] = []
        for message in found:
            error = message.error()
            if error is None:
                messages.append(cast("Message", message))
                self.unreadable.pop(message.partition(), None)
            elif (batch := unreadable(message)) is not None:
                # The library reports the batch each time that it has fetched it.
                if self.unreadable.get(batch.partition) != batch and batch.partition in self._owned:
                    log.warning("kafka: %s", error.str())
                    self.unreadable[batch.partition] = batch
            elif error.code() == _INVALID_POSITION:
                if message.partition() in self._owned:
                    log.warning("kafka: %s", error.str())
                    self.invalid[message.partition()] = error.str()
            elif _is_final(error):
                self._fenced = error.str()
                return messages
            else:
                log.warning("kafka: %s", error.str())
        return messages

    def commit(self, partition: int, offset: int, metadata: str = "") -> None:
        """Commit one partition's offset with metadata; blocks until Kafka has answered.

        librdkafka waits for a coordinator for the length of a session, and then for an answer.
        After cut connections it was seen to wait for minutes, and it has no option against that.

        Raises:
            CommitRejected: This worker does not own the partition now, or a rebalance runs.
            BrokerUnavailable: Kafka did not answer; whether the commit counts is unknown.
            ClientHangs: The library did not return.
        """
        if not self._may_commit:
            # The library would not return: it waits for a membership, which waits for this thread.
            raise CommitRejected("this member has lost its partitions")
        position = TopicPartition(self._topic, partition, offset, metadata)

        def commit() -> list[TopicPartition]:
            return self._consumer.commit(offsets=[position], asynchronous=False) or []

        # In a second thread: this one must go on, and end the process, if the library hangs.
        try:
            answers = within(self.session_timeout_s + 2 * SOCKET_TIMEOUT_S, commit, "commit")
        except KafkaException as error:
            raise self._commit_error(error.args[0]) from error
        for answer in answers:
            if answer.error is not None:
                raise self._commit_error(answer.error)

    def _commit_error(self, error: KafkaError) -> Exception:
        if _is_final(error):
            self._fenced = error.str()
        elif error.code() not in _REJECTED_COMMITS:
            return BrokerUnavailable(f"cannot commit: {error.str()}")
        return CommitRejected(error.str())

    def pause(self, partition: int) -> None:
        """Stop fetching one partition; the worker stays in the group."""
        self._consumer.pause([TopicPartition(self._topic, partition)])

    def resume(self, partition: int) -> None:
        """Fetch one partition again, from where it was paused; blocks up to WAKE_TIMEOUT_S."""
        position = TopicPartition(self._topic, partition)
        self._consumer.resume([position])
        # An idle thread of librdkafka notices only after a second, or with the next request to the
        # partition's leader.
        with suppress(KafkaException):
            self._consumer.get_watermark_offsets(position, timeout=WAKE_TIMEOUT_S, cached=False)

    def seek(self, partition: int, offset: int | None) -> None:
        """Continue one partition at an offset; None is the oldest in the log."""
        position = TopicPartition(self._topic, partition, _start(offset))
        try:
            try:
                self._consumer.seek(position)
            except KafkaException as error:
                if error.args[0].code() != _NOT_FETCHED or partition not in self._owned:
                    raise
                # The library stops fetching a partition whose position Kafka has refused.
                self._consumer.incremental_unassign([position])
                self._consumer.incremental_assign([position])
        except KafkaException as error:
            raise BrokerUnavailable(f"cannot seek: {error}") from error
        self.unreadable.pop(partition, None)
        self.invalid.pop(partition, None)

    def known_end_offset(self, partition: int) -> int | None:
        """Return the end of a partition's log as of the newest fetch; does not block."""
        try:
            ends = self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, partition), cached=True
            )
        except KafkaException:
            return None
        return ends[1] if ends is not None and ends[1] >= 0 else None

    def end_offset(self, partition: int) -> int:
        """Read from the broker the next offset that will be written; blocks.

        Raises:
            BrokerUnavailable: The broker did not answer in time, or the partition has no leader.
        """
        return self.ends(partition)[1]

    def ends(self, partition: int) -> tuple[int, int]:
        """Read from the broker the oldest offset and the next that will be written; blocks.

        Raises:
            BrokerUnavailable: The broker did not answer in time, or the partition has no leader.
        """
        try:
            return watermarks(self._consumer, TopicPartition(self._topic, partition))
        except KafkaException as error:
            raise BrokerUnavailable(f"{NO_ENDS}: {error}") from error

    def close(self) -> None:
        """Leave the group (a static member keeps its place until the session times out).

        Blocks for CLOSE_TIMEOUT_S at most. After that the end of the process closes the client; it
        has to come within FROZEN_AFTER_S.
        """
        if self._unowned is not None:
            self._unowned.close()
        try:
            self._leave()
        except ClientHangs as error:
            log.error("%s; leaving without it", error)

    def _leave(self) -> None:
        faulthandler.dump_traceback_later(FROZEN_AFTER_S, exit=True)
        # If the client hangs, the watchdog stays: the process has to end.
        within(CLOSE_TIMEOUT_S, self._consumer.close, "close")
        faulthandler.cancel_dump_traceback_later()

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # The library calls this also for a member that gets no partition.
        self._join_deadline_s = None
        committed = committed_offsets(consumer, partitions)
        self._on_assign(committed)
        consumer.incremental_assign(
            [TopicPartition(self._topic, each.partition, _start(each.offset)) for each in committed]
        )
        # The library keeps a partition paused even after its loss.
        (consumer.pause if self._starts_paused else consumer.resume)(partitions)
        self._owned |= {each.partition for each in partitions}

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._lose({each.partition for each in partitions}, while_owned=True)
        consumer.incremental_unassign(partitions)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._lose({each.partition for each in partitions}, while_owned=False)
        consumer.incremental_unassign(partitions)

    def _lose(self, partitions: set[int], *, while_owned: bool) -> None:
        lost = sorted(partitions & self._owned)
        self._owned -= partitions
        for partition in partitions:
            self.unreadable.pop(partition, None)
            self.invalid.pop(partition, None)
        self._may_commit = while_owned
        if lost:
            self._on_revoke(lost)
        self._may_commit = True


def _start(offset: int | None) -> int:
    return OFFSET_BEGINNING if offset is None else offset


def _is_final(error: KafkaError) -> bool:
    # The library delivers a fatal error to `consume` under this code, without its flag.
    fatal = KafkaError._FATAL  # noqa: SLF001 - the library's public name
    return error.fatal() or error.code() in (fatal, KafkaError.FENCED_INSTANCE_ID)
