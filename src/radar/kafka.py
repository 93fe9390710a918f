"""Kafka: the only module that imports the client library.

A `Publisher` for producers and dead letters, a `GroupReader` for workers, and what the
command line needs to know about topics and lag. Library errors leave as `radar.errors`.
"""

import functools
import logging
import math
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import methodcaller
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, cast

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
    libversion,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import NewPartitions, NewTopic

from radar.errors import (
    BrokerUnavailable,
    BufferFull,
    ClientHangs,
    CommitRejected,
    ConfigurationError,
    WorkerFenced,
)
from radar.settings import Settings

if TYPE_CHECKING:
    from concurrent.futures import Future

# A depth frame may be as large as MAX_FRAME_BYTES; its message must fit as well.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
REQUEST_TIMEOUT_S = 10.0
# Asks, and never joins or commits.
INSPECTION_GROUP = "radar-inspection"
# Of a topic that is looked through: what the client holds at most, and hands over at once.
READ_BYTES = 8 * 1024 * 1024
READ_MESSAGES = 1000
READ_TURN_S = 0.05  # the library waits for so long to fill what it hands over
SILENT_S = 30.0

_REJECTED_COMMITS = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.STALE_MEMBER_EPOCH,
    KafkaError.FENCED_MEMBER_EPOCH,
    KafkaError._STATE,  # noqa: SLF001 - the library's public name of "not in the group"
    KafkaError._ASSIGNMENT_LOST,  # noqa: SLF001
}

# How messages come back from a producer that cannot go on.
_UNUSABLE = {
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    KafkaError.UNKNOWN_PRODUCER_ID,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError._FATAL,  # noqa: SLF001
    KafkaError._GAPLESS_GUARANTEE,  # noqa: SLF001
    KafkaError._PURGE_QUEUE,  # noqa: SLF001
    KafkaError._PURGE_INFLIGHT,  # noqa: SLF001
}
_ERROR = methodcaller("error")
REPLACE_INTERVAL_S = 1.0
FLUSH_TURN_S = 0.2
ASK_AGAIN_S = 0.2

_NO_ENDS = "cannot read the ends of a partition"
_SESSION_OPTION = "consumer.session.timeout.ms"  # of a group, KIP-848
_NOT_OFFERED = {
    KafkaError.INVALID_REQUEST,
    KafkaError.UNSUPPORTED_VERSION,
    KafkaError._UNSUPPORTED_FEATURE,  # noqa: SLF001
}
FENCED_AGAIN_S = 60.0
# A request that is lost with its connection is given up after so long, by default 60 s.
SOCKET_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 10.0

_Result = TypeVar("_Result")

_log = logging.getLogger("confluent")


class Message(Protocol):
    """What radar uses of a consumed message (its methods, as the library has them)."""

    def __len__(self) -> int:
        """Return the size of the value in bytes."""

    def partition(self) -> int:
        """Return the partition."""

    def offset(self) -> int:
        """Return the offset."""

    def key(self) -> bytes | None:
        """Return the key."""

    def value(self) -> bytes | None:
        """Return the value; None is a tombstone."""


class StoredMessage(Message, Protocol):
    """What radar uses of a message that it looks at in a topic."""

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        """Return the headers."""

    def timestamp(self) -> tuple[int, int]:
        """Return which time it is, and the time itself in Unix milliseconds."""


class _Outgoing(NamedTuple):
    """A message on its way to Kafka."""

    key: bytes
    value: bytes
    headers: dict[str, str | bytes] | None


class Committed(NamedTuple):
    """A partition's committed offset and the metadata stored beside it."""

    partition: int
    offset: int | None  # None: nothing was committed yet
    metadata: str


class Lag(NamedTuple):
    """How far a group is behind on one partition."""

    partition: int
    start: int  # oldest offset that is still there
    end: int  # the next offset that will be written
    committed: int | None

    @property
    def messages(self) -> int:
        """Messages that are not committed yet."""
        return self.end - max(self.start, self.committed if self.committed is not None else 0)


def client_config(settings: Settings) -> dict[str, Any]:
    """Return what every client needs to reach the brokers."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_broker,
        "security.protocol": settings.kafka_security_protocol,
        "client.id": settings.worker_id or "radar",
        "reconnect.backoff.max.ms": 2000,
        "logger": _log,
    }
    if settings.kafka_sasl_mechanism:
        config["sasl.mechanism"] = settings.kafka_sasl_mechanism
        config["sasl.username"] = settings.kafka_sasl_username
        config["sasl.password"] = settings.kafka_sasl_password.get_secret_value()
    if settings.kafka_ssl_ca_file:
        config["ssl.ca.location"] = settings.kafka_ssl_ca_file
    if settings.kafka_ssl_certificate_file:
        config["ssl.certificate.location"] = settings.kafka_ssl_certificate_file
        config["ssl.key.location"] = settings.kafka_ssl_key_file
        config["ssl.key.password"] = settings.kafka_ssl_key_password.get_secret_value()
    return config


class Publisher:
    """Publishes to one topic: idempotent, acknowledged by all replicas, bounded.

    The library retries forever, so a message that was taken is either acknowledged or still
    queued; it can only fail for good when the broker refuses it (too large, not allowed), which
    is counted and reported. A client that has become unusable, because the broker lost or forgot
    what it had acknowledged, is replaced; what it had not delivered is sent again, perhaps a
    second time, which the identity of what radar publishes absorbs.
    """

    def __init__(self, settings: Settings, topic: str, *, linger_ms: int | None = None) -> None:
        self.topic = topic
        self.acknowledged = 0
        self.failed = 0
        self._unusable: str | None = None
        self._replaced_at_s = -math.inf
        self._returned: deque[_Outgoing] = deque()  # by a client that became unusable, in order
        self._config = client_config(settings) | {
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": settings.kafka_compression,
            "linger.ms": settings.kafka_linger_ms if linger_ms is None else linger_ms,
            "queue.buffering.max.kbytes": settings.kafka_buffer_bytes // 1024,
            "queue.buffering.max.messages": 1_000_000,
            "message.timeout.ms": 0,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "error_cb": self._on_error,
        }
        self._producer = Producer(self._config)

    @property
    def queued(self) -> int:
        """Messages that were taken and are not acknowledged yet."""
        return len(self._producer) + len(self._returned)

    def publish(
        self,
        key: bytes,
        value: bytes,
        *,
        headers: dict[str, str | bytes] | None = None,
    ) -> None:
        """Take one message; does not block.

        Args:
            key: Messages of one key stay in order.
            value: The message value.
            headers: Message headers.

        Raises:
            BufferFull: There is no room; call `poll` and try again.
            BrokerUnavailable: Kafka does not take it, the topic is gone for example.
        """
        self._recover()
        if self._returned:
            raise BufferFull(f"{self.queued} messages wait for Kafka")
        self._send(_Outgoing(key, value, headers))

    def poll(self, timeout_s: float = 0) -> None:
        """Serve acknowledgements; blocks up to `timeout_s` for the first one."""
        self._serve(lambda: self._producer.poll(timeout_s))
        self._recover()

    def flush(self, timeout_s: float) -> int:
        """Wait until everything is acknowledged; return how many messages are not."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            self._recover()
            left_s = max(0.0, deadline_s - time.monotonic())
            # Not all at once: what a client returns meanwhile is sent by the next one.
            turn_s = min(left_s, FLUSH_TURN_S)
            self._serve(functools.partial(self._producer.flush, turn_s))
            if self.queued == 0 or left_s == 0:
                return self.queued

    def _send(self, message: "_Outgoing") -> None:
        def delivered(error: KafkaError | None, _message: Any) -> None:
            if error is None:
                self.acknowledged += 1
            elif error.retriable() or self._unusable or error.code() in _UNUSABLE:
                self._returned.append(message)
            else:
                self._refused(message.key, error)

        try:
            self._producer.produce(
                self.topic,
                key=message.key,
                value=message.value,
                headers=message.headers,  # type: ignore[arg-type]
                on_delivery=delivered,
            )
        except BufferError as error:
            raise BufferFull(f"{self.queued} messages wait for Kafka") from error
        except KafkaException as error:
            reason = error.args[0]
            if reason.code() in _UNUSABLE:
                self._unusable = reason.str()
                raise BufferFull(f"the Kafka producer is replaced: {reason.str()}") from error
            if reason.code() != KafkaError.MSG_SIZE_TOO_LARGE:
                raise BrokerUnavailable(f"cannot publish: {reason.str()}") from error
            self._refused(message.key, reason)

    def _recover(self) -> None:
        """Replace a client that has become unusable, and send again what came back."""
        if self._unusable is not None:
            self._producer.purge()
            self._serve(lambda: self._producer.poll(0))
            # Only once everything has come back.
            if len(self._producer) or time.monotonic() < self._replaced_at_s + REPLACE_INTERVAL_S:
                return
            _log.error("replacing the Kafka producer: %s", self._unusable)
            self._producer = Producer(self._config)
            self._unusable, self._replaced_at_s = None, time.monotonic()
        while self._returned:
            try:
                self._send(self._returned[0])
            except (BufferFull, BrokerUnavailable):
                return
            self._returned.popleft()

    def _serve(self, action: Callable[[], object]) -> None:
        """Let the library call back; it also raises what made it unusable, at any later call."""
        try:
            action()
        except KafkaException as error:
            self._unusable = error.args[0].str()

    def _refused(self, key: bytes, error: KafkaError) -> None:
        self.failed += 1
        _log.error("delivery failed: %s: key %r", error.str(), key)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._unusable = error.str()


class GroupReader:
    """A member of a consumer group on one topic; every offset is committed by hand.

    Rebalancing is cooperative. `on_assign` gets each new partition's committed offset and
    metadata and returns the offset to start from; `on_revoke` gets the partitions that are
    taken away. Both run inside `consume` and `close`, in the calling thread.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        group: str,
        *,
        on_assign: Callable[[Sequence[Committed]], None],
        on_revoke: Callable[[Sequence[int]], None],
    ) -> None:
        """Join a group.

        Raises:
            ConfigurationError: The brokers do not offer the group protocol of the options.
            BrokerUnavailable: They did not answer when asked for it.
        """
        self._topic = topic
        self._on_assign = on_assign
        self._on_revoke = on_revoke
        self.session_timeout_s = settings.kafka_session_timeout_seconds
        if settings.kafka_group_protocol == "consumer":
            self.session_timeout_s = Cluster(settings).session_timeout_s(group)
        session_ms = int(self.session_timeout_s * 1000)
        insert_ms = int(settings.insert_timeout_seconds * 1000)
        config = client_config(settings) | {
            "group.id": group,
            "group.protocol": settings.kafka_group_protocol,
            # Between two polls a worker waits for several inserts at most.
            "max.poll.interval.ms": max(300_000, session_ms, min(3 * insert_ms, 86_400_000)),
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            # The default of one second is how long a fetcher sleeps when its queue is full.
            "fetch.queue.backoff.ms": 2,
            "socket.timeout.ms": int(SOCKET_TIMEOUT_S * 1000),
            "queued.min.messages": 10_000,
            "queued.max.messages.kbytes": 4_096,
            # Of each partition; a message that is larger comes alone.
            "fetch.message.max.bytes": 524_288,
            "fetch.wait.max.ms": 100,
        }
        if settings.kafka_group_protocol == "consumer":
            # Without a name: one that died keeps its name until its session is over, and Kafka
            # 4.1.1 was seen to keep the names of dead members for ever once it was killed itself.
            config["group.remote.assignor"] = "uniform"
        else:
            config |= {
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": session_ms,
                "heartbeat.interval.ms": min(3000, session_ms // 3),
            }
            if settings.worker_id:
                config["group.instance.id"] = settings.worker_id
        self._config = config
        self._join_timeout_s = settings.kafka_join_timeout_seconds
        self._owned: set[int] = set()
        self._may_commit = True
        self._fenced: str | None = None
        self._fenced_at_s = -math.inf
        self._join()

    def _join(self) -> None:
        self._consumer = Consumer(self._config)
        self._consumer.subscribe(
            [self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
        )
        # Spread, so that members that wait for each other do not start again together.
        wait_s = self._join_timeout_s * random.uniform(1, 2)  # noqa: S311
        self._join_deadline_s: float | None = time.monotonic() + wait_s

    def _join_again(self) -> None:
        # A member that was fenced is not told by the library what it has lost.
        self._lose(self._owned, while_owned=False)
        self.close()
        self._fenced = None
        self._join()

    def _join_again_once(self, reason: str) -> None:
        """Answer to being fenced, which is not always another's doing.

        A static member that has not heard of its coordinator for a session's time, because that
        died, joins as if it were new and is fenced by itself (librdkafka issue 3437).
        """
        now_s = time.monotonic()
        if now_s < self._fenced_at_s + FENCED_AGAIN_S:
            raise WorkerFenced(f"{reason}; is another worker running with the same WORKER_ID?")
        self._fenced_at_s = now_s
        _log.warning("kafka: %s; joining the group again", reason)
        self._join_again()

    @property
    def joined(self) -> bool:
        """Whether the group has told this member its partitions, none perhaps."""
        return self._join_deadline_s is None

    def consume(self, max_messages: int, timeout_s: float) -> list[Message]:
        """Return up to `max_messages` messages; blocks up to `timeout_s` for the last one.

        A member that is fenced joins again; one that is fenced again within a minute gives up.

        Raises:
            WorkerFenced: Another member took this one's place for good.
            BrokerUnavailable: Offsets could not be read on assignment.
        """
        if self._fenced is not None:
            self._join_again_once(self._fenced)
        if self._join_deadline_s is not None and time.monotonic() > self._join_deadline_s:
            _log.warning("no assignment came; joining the group again")
            self._join_timeout_s *= 2
            self._join_again()
        found = self._consumer.consume(max_messages, timeout_s)
        if not any(map(_ERROR, found)):
            return cast("list[Message]", found)
        messages: list[Message] = []
        for message in found:
            error = message.error()
            if error is None:
                messages.append(cast("Message", message))
            elif _is_final(error):
                self._fenced = error.str()
                return messages
            else:
                _log.warning("kafka: %s", error.str())
        return messages

    def commit(self, partition: int, offset: int, metadata: str = "") -> None:
        """Commit one partition's offset with metadata; blocks until Kafka has answered.

        The library waits for a coordinator as long as a session, and then for an answer; it was
        seen to wait for minutes after connections were cut, and has no option against that.

        Raises:
            CommitRejected: This worker does not own the partition now, or a rebalance runs.
            BrokerUnavailable: Kafka did not answer; whether the commit counts is unknown.
            ClientHangs: Neither did the library.
        """
        if not self._may_commit:
            # The library would not return: it waits for a membership that waits for us.
            raise CommitRejected("this member has lost its partitions")
        position = TopicPartition(self._topic, partition, offset, metadata)

        def commit() -> list[TopicPartition]:
            return self._consumer.commit(offsets=[position], asynchronous=False) or []

        try:
            answers = _within(self.session_timeout_s + 2 * SOCKET_TIMEOUT_S, commit, "commit")
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
        """Fetch one partition again, from where it was paused."""
        self._consumer.resume([TopicPartition(self._topic, partition)])

    def seek(self, partition: int, offset: int | None) -> None:
        """Continue one partition at an offset; None is the oldest there is."""
        try:
            self._consumer.seek(TopicPartition(self._topic, partition, _start(offset)))
        except KafkaException as error:
            raise BrokerUnavailable(f"cannot seek: {error}") from error

    def end_offset(self, partition: int) -> int:
        """Ask the broker for the next offset that will be written; blocks.

        Raises:
            BrokerUnavailable: The broker did not answer in time, or the partition has no leader.
        """
        try:
            return _watermarks(self._consumer, TopicPartition(self._topic, partition))[1]
        except KafkaException as error:
            raise BrokerUnavailable(f"{_NO_ENDS}: {error}") from error

    def close(self) -> None:
        """Leave the group (a static member keeps its place until the session times out).

        Blocks for CLOSE_TIMEOUT_S at most; then it is left to the end of the process.
        """
        try:
            _within(CLOSE_TIMEOUT_S, self._consumer.close, "close")
        except ClientHangs as error:
            _log.error("%s; leaving without it", error)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Also a member that gets no partition is told so.
        self._join_deadline_s = None
        committed = _committed(consumer, partitions)
        self._on_assign(committed)
        consumer.incremental_assign(
            [TopicPartition(self._topic, each.partition, _start(each.offset)) for each in committed]
        )
        # The library remembers a pause over the loss of a partition.
        consumer.resume(partitions)
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
        self._may_commit = while_owned
        if lost:
            self._on_revoke(lost)
        self._may_commit = True


@dataclass(frozen=True)
class TopicState:
    """A topic as the broker has it."""

    name: str
    partitions: int
    start: int  # sum of the partitions' oldest offsets
    end: int  # sum of the partitions' end offsets


class Growth(NamedTuple):
    """A topic that got more partitions."""

    topic: str
    before: int
    after: int


class TopicSettings(NamedTuple):
    """How a topic is set up.

    Attributes:
        name: Its name.
        partitions: How many.
        replicas: Of the partition with the fewest.
        out_of_sync: How many replicas are behind or gone, over all partitions.
        options: Its configuration by name; empty if the brokers do not tell.
    """

    name: str
    partitions: int
    replicas: int
    out_of_sync: int
    options: dict[str, str]


def library_version() -> str:
    """Return the version of the client library's core."""
    return str(libversion()[0])


class Cluster:
    """Questions and orders to the brokers that are not part of the data's way."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin = AdminClient(client_config(settings))

    def wait_until_up(self, timeout_s: float) -> None:
        """Block until a broker answers.

        Raises:
            BrokerUnavailable: None did within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._admin.list_topics(timeout=min(2.0, timeout_s))
            except KafkaException as error:
                if time.monotonic() >= deadline:
                    raise self._unavailable(error) from error
            else:
                return

    def create_topics(self, names: Iterable[str]) -> list[str]:
        """Create the topics that are missing and return their names; blocks.

        Raises:
            BrokerUnavailable: The broker did not answer or refused.
        """
        retention_ms = int(self._settings.kafka_retention_hours * 3_600_000)
        wanted = [
            NewTopic(
                name,
                num_partitions=self._settings.kafka_num_partitions,
                replication_factor=self._settings.kafka_replication_factor,
                config={
                    "retention.ms": str(retention_ms),
                    "max.message.bytes": str(MAX_MESSAGE_BYTES),
                },
            )
            for name in names
            if name not in self._topics()
        ]
        created = []
        for name, future in self._admin.create_topics(wanted).items() if wanted else ():
            try:
                _answer(future)
            except KafkaException as error:
                # Several processes may create the same topic at once.
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise self._unavailable(error) from error
            else:
                created.append(name)
        return created

    def grow_topics(self, names: Iterable[str]) -> list[Growth]:
        """Give topics that have fewer partitions than the options say so many; blocks.

        Returns:
            What was grown; topics with as many partitions or more stay as they are.

        Raises:
            BrokerUnavailable: The broker did not answer or refused.
        """
        after = self._settings.kafka_num_partitions
        known = self._topics()
        grown = [
            Growth(name, known[name], after) for name in names if known.get(name, after) < after
        ]
        wanted = [NewPartitions(each.topic, after) for each in grown]
        try:
            for future in self._admin.create_partitions(wanted).values() if wanted else ():
                _answer(future)
        except KafkaException as error:
            raise self._unavailable(error) from error
        return grown

    def topic_id(self, topic: str) -> str:
        """Return the broker's identity of a topic, which changes when it is recreated.

        Blocks. The embedded broker gives every topic the same one.

        Raises:
            BrokerUnavailable: The broker did not answer.
        """
        try:
            described = self._admin.describe_topics(
                TopicCollection([topic]), request_timeout=REQUEST_TIMEOUT_S
            )
            return str(_answer(described[topic]).topic_id)
        except KafkaException as error:
            raise self._unavailable(error) from error

    def session_timeout_s(self, group: str) -> float:
        """Return the session timeout that the brokers give a group of KIP-848; blocks.

        Raises:
            ConfigurationError: The brokers do not offer such groups.
            BrokerUnavailable: The broker did not answer.
        """
        # A client that joins such a group on other brokers would wait for ever, silently.
        resource = ConfigResource(ConfigResource.Type.GROUP, group)
        described = self._admin.describe_configs([resource], request_timeout=REQUEST_TIMEOUT_S)
        try:
            timeout_ms = _answer(described[resource]).get(_SESSION_OPTION)
        except KafkaException as error:
            if error.args[0].code() not in _NOT_OFFERED:
                raise self._unavailable(error) from error
            timeout_ms = None
        if timeout_ms is None:
            raise ConfigurationError(
                f"Kafka at {self._settings.kafka_broker} does not offer"
                " KAFKA_GROUP_PROTOCOL=consumer (KIP-848, Apache Kafka 4): use classic"
            )
        return float(timeout_ms.value) / 1000

    def topics(self, names: Iterable[str]) -> list[TopicState]:
        """Describe those of the topics that exist; blocks.

        Raises:
            BrokerUnavailable: The broker did not answer.
        """
        known = self._topics()
        states = []
        for name in names:
            if name not in known:
                continue
            lags = self.lag(name, INSPECTION_GROUP)
            start, end = sum(lag.start for lag in lags), sum(lag.end for lag in lags)
            states.append(TopicState(name, known[name], start, end))
        return states

    def topic_settings(self, names: Iterable[str]) -> list[TopicSettings]:
        """Return how those of the topics that exist are set up; blocks.

        Raises:
            BrokerUnavailable: The broker did not answer.
        """
        try:
            known = self._admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
            found = [(name, known[name]) for name in names if name in known]
            wanted = [ConfigResource(ConfigResource.Type.TOPIC, name) for name, _ in found]
            asked = self._admin.describe_configs(wanted) if wanted else {}
            options = {resource.name: _answer(asked[resource]) for resource in wanted}
        except KafkaException as error:
            raise self._unavailable(error) from error
        return [
            TopicSettings(
                name,
                len(topic.partitions),
                min(len(each.replicas) for each in topic.partitions.values()),
                sum(len(each.replicas) - len(each.isrs) for each in topic.partitions.values()),
                {key: entry.value for key, entry in options[name].items() if entry.value},
            )
            for name, topic in found
        ]

    def lag(self, topic: str, group: str) -> list[Lag]:
        """Return how far a group is behind, by partition; blocks.

        Raises:
            BrokerUnavailable: The broker did not answer.
        """
        # With a new client each time: one that asked for a partition without a leader was seen to
        # answer for minutes that there is no such partition, although it had a leader again.
        return _insist(lambda: self._lag(topic, group), _NO_ENDS, _has_no_leader)

    def end_offsets(self, topic: str, timeout_s: float) -> dict[int, int]:
        """Return the next offset that will be written, by partition.

        Blocks up to `timeout_s` for each of two questions.

        Raises:
            BrokerUnavailable: The leader of a partition did not answer, or there is no such topic.
        """
        count = self._topics(timeout_s).get(topic, 0)
        if not count:
            raise BrokerUnavailable(f"Kafka at {self._settings.kafka_broker}: no topic {topic}")
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        positions = {TopicPartition(topic, number): latest for number in range(count)}
        try:
            asked = self._admin.list_offsets(positions, request_timeout=timeout_s)
            ends = {each.partition: _answer(asked[each]).offset for each in asked}
        except KafkaException as error:
            raise self._unavailable(error) from error
        if min(ends.values()) < 0:
            raise BrokerUnavailable(
                f"Kafka at {self._settings.kafka_broker}: no answer within {timeout_s:g} s"
            )
        return ends

    def messages(
        self,
        topic: str,
        before: Mapping[int, int] | None = None,
        partition: int | None = None,
    ) -> Iterator[StoredMessage]:
        """Yield what a topic holds now, in order within each partition; blocks.

        It is streamed: the client holds READ_BYTES at most. A topic that does not exist is empty.

        Args:
            topic: The topic.
            before: The offset at which to end, by partition; otherwise where the log ends now.
            partition: Only this one.

        Raises:
            BrokerUnavailable: The broker did not answer, or nothing came for SILENT_S.
        """
        left: dict[int, int] = {}
        for lag in self.lag(topic, INSPECTION_GROUP):
            end = min(lag.end, (before or {}).get(lag.partition, lag.end))
            if lag.start < end and partition in (None, lag.partition):
                left[lag.partition] = end
        if not left:
            return
        consumer = Consumer(
            client_config(self._settings)
            | {
                "group.id": INSPECTION_GROUP,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "queued.min.messages": 10 * READ_MESSAGES,
                "queued.max.messages.kbytes": READ_BYTES // 1024,
                "fetch.message.max.bytes": MAX_MESSAGE_BYTES,
            }
        )
        try:
            consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in left])
            yield from self._until(consumer, left)
        finally:
            consumer.close()

    def _until(self, consumer: Consumer, left: dict[int, int]) -> Iterator[StoredMessage]:
        heard_at_s = time.monotonic()
        while left:
            found = consumer.consume(READ_MESSAGES, READ_TURN_S)
            for message in found:
                number = message.partition()
                error = message.error()
                if error is None:
                    offset = cast("int", message.offset())
                    if offset < left.get(number, 0):  # type: ignore[arg-type]
                        yield cast("StoredMessage", message)
                    if offset + 1 < left.get(number, 0):  # type: ignore[arg-type]
                        continue
                elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                    raise BrokerUnavailable(
                        f"Kafka at {self._settings.kafka_broker}: {error.str()}"
                    )
                left.pop(number, None)  # type: ignore[arg-type]
            if found:
                heard_at_s = time.monotonic()
            elif time.monotonic() > heard_at_s + SILENT_S:
                raise BrokerUnavailable(
                    f"Kafka at {self._settings.kafka_broker}: nothing came for {SILENT_S:g} s"
                )

    def delete_records_before(self, topic: str, offsets: dict[int, int]) -> None:
        """Delete the records before an offset, by partition; blocks.

        Raises:
            BrokerUnavailable: The broker did not answer or refused.
        """
        positions = [TopicPartition(topic, *position) for position in offsets.items()]
        try:
            for future in self._admin.delete_records(positions).values():
                _answer(future)
        except KafkaException as error:
            raise self._unavailable(error) from error

    def _lag(self, topic: str, group: str) -> list[Lag]:
        # A consumer that never subscribes only asks; it does not join the group.
        consumer = Consumer(
            client_config(self._settings) | {"group.id": group, "enable.auto.commit": False}
        )
        try:
            count = self._topics().get(topic, 0)
            partitions = [TopicPartition(topic, partition) for partition in range(count)]
            return [
                Lag(each.partition, *_watermarks(consumer, position), each.offset)
                for position, each in zip(partitions, _committed(consumer, partitions), strict=True)
            ]
        finally:
            consumer.close()

    def _topics(self, timeout_s: float = REQUEST_TIMEOUT_S) -> dict[str, int]:
        try:
            metadata = self._admin.list_topics(timeout=timeout_s)
        except KafkaException as error:
            raise self._unavailable(error) from error
        return {name: len(topic.partitions) for name, topic in metadata.topics.items()}

    def _unavailable(self, error: KafkaException) -> BrokerUnavailable:
        reason = error.args[0].str() if isinstance(error.args[0], KafkaError) else str(error)
        return BrokerUnavailable(f"Kafka at {self._settings.kafka_broker}: {reason}")


def _answer(request: "Future[Any]") -> Any:
    """Wait for the answer to a request; blocks.

    Raises:
        KafkaException: It failed, or nobody answered. The library says so itself after the same
            time, but sometimes later than we are willing to wait.
    """
    try:
        return request.result(REQUEST_TIMEOUT_S)
    except TimeoutError as error:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from error  # noqa: SLF001


def _within(timeout_s: float, action: Callable[[], _Result], name: str) -> _Result:
    """Wait for an action that may hang, which goes on in a thread of its own then.

    Raises:
        ClientHangs: It was not done in time.
    """
    ended: queue.SimpleQueue[tuple[_Result | None, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            ended.put((action(), None))
        except Exception as error:  # noqa: BLE001 - raised again by whoever waits
            ended.put((None, error))

    threading.Thread(target=run, name=name, daemon=True).start()
    try:
        result, error = ended.get(timeout=timeout_s)
    except queue.Empty:
        raise ClientHangs(
            f"{name}: the Kafka library did not return within {timeout_s:g} s"
        ) from None
    if error is not None:
        raise error
    return cast("_Result", result)


def _start(offset: int | None) -> int:
    return OFFSET_BEGINNING if offset is None else offset


def _committed(consumer: Consumer, partitions: list[TopicPartition]) -> list[Committed]:
    if not partitions:
        return []
    # A group's coordinator that has just started or moved answers at once that it is none.
    answers = _insist(
        lambda: consumer.committed(partitions, timeout=REQUEST_TIMEOUT_S),
        "cannot read committed offsets",
    )
    return [
        Committed(
            answer.partition, answer.offset if answer.offset >= 0 else None, answer.metadata or ""
        )
        for answer in answers
    ]


def _watermarks(consumer: Consumer, position: TopicPartition) -> tuple[int, int]:
    return consumer.get_watermark_offsets(position, timeout=REQUEST_TIMEOUT_S, cached=False)


def _has_no_leader(error: KafkaError) -> bool:
    # As a partition that was just made, moved or left by its node, for a moment.
    return error.code() in (
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - what the library calls it
    )


def _insist(
    ask: Callable[[], _Result],
    failure: str,
    passes: Callable[[KafkaError], bool] = lambda _: True,
) -> _Result:
    """Ask again, for REQUEST_TIMEOUT_S, what is refused for a reason that passes.

    Raises:
        BrokerUnavailable: It did not pass.
    """
    deadline_s = time.monotonic() + REQUEST_TIMEOUT_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            if not passes(error.args[0]) or time.monotonic() > deadline_s:
                raise BrokerUnavailable(f"{failure}: {error}") from error
            time.sleep(ASK_AGAIN_S)


def _is_final(error: KafkaError) -> bool:
    # The library delivers a fatal error to `consume` under this code, without its flag.
    fatal = KafkaError._FATAL  # noqa: SLF001 - the library's public name
    return error.fatal() or error.code() in (fatal, KafkaError.FENCED_INSTANCE_ID)
