"""Requests to the brokers beside the data path: topics, offsets, lag, and reads of whole topics."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import NewPartitions, NewTopic

from radar.errors import BrokerUnavailable, ConfigurationError
from radar.kafka.client import (
    ASK_AGAIN_S,
    NO_ENDS,
    REQUEST_TIMEOUT_S,
    answer,
    client_config,
    committed_offsets,
    consumer_config,
    has_no_leader,
    insist,
)
from radar.kafka.messages import MAX_MESSAGE_BYTES, StoredMessage
from radar.kafka.unreadable import OffsetProbe, OffsetRange, Unreadable, unreadable
from radar.settings import Settings

# Only for requests: it never joins or commits.
INSPECTION_GROUP = "radar-inspection"
# Of a whole topic that is read: the client's largest buffer, and one fetch.
READ_BYTES = 8 * 1024 * 1024
READ_MESSAGES = 1000
# Of a topic of which only some messages are wanted: one fetch.
SKIPPING_READ_BYTES = 64 * 1024
READ_TURN_S = 0.05  # how long librdkafka waits to fill one batch of messages
SILENT_S = 30.0
# Brokers make the new partitions within a second, but a busy one was seen to take more than ten.
GROWN_WITHIN_S = 60.0
CHECK_READ_S = 3.0

_EARLIEST = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_SESSION_OPTION = "consumer.session.timeout.ms"  # of a group, KIP-848
_NOT_OFFERED = {
    KafkaError.INVALID_REQUEST,
    KafkaError.UNSUPPORTED_VERSION,
    KafkaError._UNSUPPORTED_FEATURE,  # noqa: SLF001
}


class Lag(NamedTuple):
    """How far a group is behind on one partition."""

    partition: int
    start: int  # oldest offset in the log
    end: int  # the next offset that will be written
    committed: int | None

    @property
    def messages(self) -> int:
        """Messages that are not committed yet."""
        return self.end - max(self.start, self.committed if self.committed is not None else 0)


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
    """The setup of a topic.

    Attributes:
        name: Its name.
        partitions: How many.
        replicas: Of the partition with the fewest.
        out_of_sync: How many replicas are behind or gone, over all partitions.
        options: Its configuration by name; empty if the brokers do not return it.
    """

    name: str
    partitions: int
    replicas: int
    out_of_sync: int
    options: dict[str, str]


class TopicDescription(NamedTuple):
    """The identity of a topic and the state of its replicas.

    Attributes:
        topic_id: Changes when the topic is recreated.
        partitions: How many.
        out_of_sync: How many replicas are behind or gone, over all partitions.
        leaderless: How many partitions have no leader.
    """

    topic_id: str
    partitions: int
    out_of_sync: int
    leaderless: int


class Broker(NamedTuple):
    """A broker as the metadata names it: the address for clients."""

    id: int
    host: str
    port: int


def least_in_sync(replicas: int) -> int:
    """Return how many replicas must have a message before Kafka acknowledges it: more than half.

    One replica is enough where there are fewer than three: with two, the loss of one broker would
    stop every producer.
    """
    return replicas // 2 + 1 if replicas > 2 else 1


def _least_in_sync(replicas: int) -> dict[str, str]:
    least = least_in_sync(replicas)
    return {"min.insync.replicas": str(least)} if least > 1 else {}


class Cluster:
    """Sends requests to the brokers beside the data path."""

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

    def brokers(self) -> list[Broker]:
        """Return all brokers that the metadata names; blocks.

        Raises:
            BrokerUnavailable: No broker answered.
        """
        try:
            found = self._admin.list_topics(timeout=REQUEST_TIMEOUT_S).brokers
        except KafkaException as error:
            raise self._unavailable(error) from error
        return sorted(Broker(each.id, str(each.host), each.port) for each in found.values())

    def create_topics(self, names: Iterable[str]) -> list[str]:
        """Create the missing topics and return their names; blocks.

        Raises:
            BrokerUnavailable: The broker did not answer or refused.
        """
        retention_ms = int(self._settings.kafka_retention_hours * 3_600_000)
        replicas = self._settings.kafka_replication_factor
        known = self._topics()
        return self._create(
            NewTopic(
                name,
                num_partitions=self._settings.kafka_num_partitions,
                replication_factor=replicas,
                config={
                    "retention.ms": str(retention_ms),
                    "max.message.bytes": str(MAX_MESSAGE_BYTES),
                    **_least_in_sync(replicas),
                },
            )
            for name in names
            if name not in known
        )

    def create_lasting_topic(self, name: str) -> None:
        """Create a topic of one partition whose messages Kafka never deletes, if missing; blocks.

        Raises:
            BrokerUnavailable: The broker did not answer or refused.
        """
        if self.has_topic(name):
            return
        replicas = self._settings.kafka_replication_factor
        config = {"retention.ms": "-1", **_least_in_sync(replicas)}
        self._create([NewTopic(name, 1, replicas, config=config)])

    def has_topic(self, name: str) -> bool:
        """Return whether a topic exists; blocks.

        Raises:
            BrokerUnavailable: The broker did not answer.
        """
        return name in self._topics()

    def _create(self, topics: Iterable[NewTopic]) -> list[str]:
        wanted = list(topics)
        created = []
        for name, future in self._admin.create_topics(wanted).items() if wanted else ():
            try:
                answer(future)
            except KafkaException as error:
                # Several processes may create the same topic at once.
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise self._unavailable(error) from error
            else:
                created.append(name)
        return created

    def grow_topics(self, names: Iterable[str]) -> list[Growth]:
        """Add partitions to topics that have fewer than the options require; blocks.

        On return the leaders of all partitions answer.

        Returns:
            The changed topics; topics with enough partitions stay as they are.

        Raises:
            BrokerUnavailable: The broker did not answer or refused, or not all partitions can be
                read within GROWN_WITHIN_S.
        """
        after = self._settings.kafka_num_partitions
        known = self._topics()
        grown = [
            Growth(name, known[name], after) for name in names if known.get(name, after) < after
        ]
        wanted = [NewPartitions(each.topic, after) for each in grown]
        try:
            for future in self._admin.create_partitions(wanted).values() if wanted else ():
                answer(future)
        except KafkaException as error:
            raise self._unavailable(error) from error
        self._wait_until_grown(grown)
        return grown

    def _wait_until_grown(self, grown: Iterable[Growth]) -> None:
        # The controller answers before the brokers know, and they know one after the other.
        deadline_s = time.monotonic() + GROWN_WITHIN_S
        waits = list(grown)
        while waits := [each for each in waits if not self._has_grown(each)]:
            if time.monotonic() > deadline_s:
                raise BrokerUnavailable(
                    f"Kafka at {self._settings.kafka_broker} took the new partitions of"
                    f" {waits[0].topic}, but not all can be read yet: run radar topics again"
                )
            time.sleep(ASK_AGAIN_S)

    def _has_grown(self, growth: Growth) -> bool:
        try:
            return len(self.end_offsets(growth.topic, REQUEST_TIMEOUT_S)) >= growth.after
        except BrokerUnavailable:
            return False

    def topic_id(self, topic: str) -> str:
        """Return the ID of a topic; see `description`."""
        return self.description(topic).topic_id

    def description(self, topic: str) -> TopicDescription:
        """Return the ID of a topic and the state of its replicas; blocks.

        The ID changes when the topic is recreated. The embedded broker gives every topic the same.

        Raises:
            BrokerUnavailable: The broker did not answer.
        """
        try:
            described = self._admin.describe_topics(
                TopicCollection([topic]), request_timeout=REQUEST_TIMEOUT_S
            )
            found = answer(described[topic])
        except KafkaException as error:
            raise self._unavailable(error) from error
        return TopicDescription(
            str(found.topic_id),
            len(found.partitions),
            sum(max(0, len(each.replicas) - len(each.isr)) for each in found.partitions),
            sum(each.leader is None for each in found.partitions),
        )

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
            timeout_ms = answer(described[resource]).get(_SESSION_OPTION)
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
        """Describe those of the named topics that exist; blocks.

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
        """Return the setup of those named topics that exist; blocks.

        Raises:
            BrokerUnavailable: The broker did not answer.
        """
        try:
            known = self._admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
            found = [(name, known[name]) for name in names if name in known]
            wanted = [ConfigResource(ConfigResource.Type.TOPIC, name) for name, _ in found]
            asked = self._admin.describe_configs(wanted) if wanted else {}
            options = {resource.name: answer(asked[resource]) for resource in wanted}
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
        """Return how far a group is behind on one topic, by partition; see `lags`; blocks.

        Raises:
            BrokerUnavailable: The broker did not answer.
        """
        return self.lags({topic: group})[topic]

    def lags(self, groups: Mapping[str, str]) -> dict[str, list[Lag]]:
        """Return how far groups are behind, by topic and partition; blocks.

        Args:
            groups: The group of each topic. A topic that does not exist has no partitions.

        Raises:
            BrokerUnavailable: The broker did not answer.
        """
        return insist(lambda: self._lags(groups), NO_ENDS, has_no_leader)

    def end_offsets(self, topic: str, timeout_s: float) -> dict[int, int]:
        """Return the next offset that will be written, by partition.

        Blocks up to `timeout_s` for each of two requests.

        Raises:
            BrokerUnavailable: The leader of a partition did not answer, or there is no such topic.
        """
        count = self._topics(timeout_s).get(topic, 0)
        if not count:
            raise BrokerUnavailable(f"Kafka at {self._settings.kafka_broker}: no topic {topic}")
        places = [TopicPartition(topic, number) for number in range(count)]
        try:
            ends = self._log_offsets(places, _LATEST, timeout_s)
        except KafkaException as error:
            raise self._unavailable(error) from error
        return {partition: end for (_, partition), end in ends.items()}

    def messages(
        self,
        topic: str,
        before: Mapping[int, int] | None = None,
        partition: int | None = None,
        on_unreadable: Callable[[OffsetRange], None] | None = None,
        newest: int | None = None,
    ) -> Iterator[StoredMessage]:
        """Yield the present messages of a topic, in order within each partition; blocks.

        They are streamed: the client holds READ_BYTES at most. A topic that does not exist is
        empty. Unreadable batches are skipped.

        Args:
            topic: The topic.
            before: The offset at which to end, by partition; otherwise the present end of the log.
            partition: Only this one.
            on_unreadable: Called with the offsets of each batch that cannot be read.
            newest: Only the messages at so many last offsets of each partition.

        Raises:
            BrokerUnavailable: The broker did not answer, or no message came for SILENT_S.
        """
        left: dict[int, int] = {}
        begins: dict[int, int] = {}
        for lag in self.lag(topic, INSPECTION_GROUP):
            end = min(lag.end, (before or {}).get(lag.partition, lag.end))
            if lag.start < end and partition in (None, lag.partition):
                left[lag.partition] = end
                # A number: librdkafka waits half a second before it asks for the oldest offset.
                begins[lag.partition] = (
                    lag.start if newest is None else max(lag.start, end - newest)
                )
        if not left:
            return
        consumer = Consumer(
            consumer_config(self._settings, INSPECTION_GROUP)
            | {
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "queued.min.messages": 10 * READ_MESSAGES,
                "queued.max.messages.kbytes": READ_BYTES // 1024,
                "fetch.message.max.bytes": MAX_MESSAGE_BYTES,
            }
        )
        try:
            consumer.assign([TopicPartition(topic, *position) for position in begins.items()])
            yield from self._until(consumer, topic, left, on_unreadable or (lambda _: None))
        finally:
            consumer.close()

    def messages_at(
        self, topic: str, partition: int, offsets: Iterable[int]
    ) -> Iterator[StoredMessage]:
        """Yield the messages of a partition at some offsets, rising; blocks.

        The messages between them are skipped, so distant offsets cost little.

        Raises:
            BrokerUnavailable: The broker did not answer, or no message came for SILENT_S.
        """
        ends = {lag.partition: (lag.start, lag.end) for lag in self.lag(topic, INSPECTION_GROUP)}
        start, end = ends.get(partition, (0, 0))
        wanted = deque(sorted({offset for offset in offsets if start <= offset < end}))
        if not wanted:
            return
        consumer = Consumer(
            consumer_config(self._settings, INSPECTION_GROUP)
            | {
                "auto.offset.reset": "latest",
                "enable.partition.eof": True,
                "queued.min.messages": 1,
                "fetch.message.max.bytes": SKIPPING_READ_BYTES,
            }
        )
        try:
            consumer.assign([TopicPartition(topic, partition, wanted[0])])
            yield from self._skipping(consumer, topic, partition, wanted)
        finally:
            consumer.close()

    def _skipping(
        self, consumer: Consumer, topic: str, partition: int, wanted: deque[int]
    ) -> Iterator[StoredMessage]:
        heard_at_s = time.monotonic()
        while wanted:
            found = consumer.consume(READ_MESSAGES, READ_TURN_S)
            position = wanted[0]
            for message in found:
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                        return
                    raise BrokerUnavailable(
                        f"Kafka at {self._settings.kafka_broker}: {error.str()}"
                    )
                position = cast("int", message.offset())
                while wanted and wanted[0] < position:
                    wanted.popleft()  # the log has none there
                if wanted and wanted[0] == position:
                    wanted.popleft()
                    yield cast("StoredMessage", message)
            if wanted and wanted[0] - position > READ_MESSAGES:
                consumer.seek(TopicPartition(topic, partition, wanted[0]))
            if found:
                heard_at_s = time.monotonic()
            elif time.monotonic() > heard_at_s + SILENT_S:
                raise BrokerUnavailable(
                    f"Kafka at {self._settings.kafka_broker}: no answer for {SILENT_S:g} s"
                )

    def _until(
        self,
        consumer: Consumer,
        topic: str,
        left: dict[int, int],
        on_unreadable: Callable[[OffsetRange], None],
    ) -> Iterator[StoredMessage]:
        heard_at_s = time.monotonic()
        while left:
            found = consumer.consume(READ_MESSAGES, READ_TURN_S)
            for message in found:
                number = cast("int", message.partition())
                if message.error() is None:
                    offset = cast("int", message.offset())
                    if offset < left.get(number, 0):
                        yield cast("StoredMessage", message)
                    goes_on = offset + 1 < left.get(number, 0)
                else:
                    goes_on = self._goes_on(consumer, topic, message, left, on_unreadable)
                if not goes_on:
                    left.pop(number, None)
            if found:
                heard_at_s = time.monotonic()
            elif time.monotonic() > heard_at_s + SILENT_S:
                raise BrokerUnavailable(
                    f"Kafka at {self._settings.kafka_broker}: no answer for {SILENT_S:g} s"
                )

    def _goes_on(
        self,
        consumer: Consumer,
        topic: str,
        message: Any,
        left: Mapping[int, int],
        on_unreadable: Callable[[OffsetRange], None],
    ) -> bool:
        """Handle an event that is no message; return False if its partition is done."""
        if (bad := unreadable(message)) is not None:
            return self._pass(consumer, topic, bad, left, on_unreadable)
        error = message.error()
        if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
            raise BrokerUnavailable(f"Kafka at {self._settings.kafka_broker}: {error.str()}")
        return False

    def _pass(
        self,
        consumer: Consumer,
        topic: str,
        bad: Unreadable,
        left: Mapping[int, int],
        on_unreadable: Callable[[OffsetRange], None],
    ) -> bool:
        """Continue a partition behind an unreadable batch; return False if no message follows."""
        end = left.get(bad.partition, 0)
        if bad.offset >= end:
            return False
        with OffsetProbe(self._settings, topic) as probe:
            found = probe.range_at(bad.partition, bad.offset, end)
        lost = found or OffsetRange(bad.partition, bad.offset, bad.offset, bad.reason)
        on_unreadable(lost)
        if lost.last + 1 >= end:
            return False
        try:
            consumer.seek(TopicPartition(topic, bad.partition, lost.last + 1))
        except KafkaException as error:
            raise self._unavailable(error) from error
        return True

    def unreadable(self, topic: str, positions: Mapping[int, int]) -> list[Unreadable]:
        """Return the unreadable ones of some offsets, by partition; blocks for a moment.

        A partition that does not answer within CHECK_READ_S counts as readable.
        """
        if not positions:
            return []
        with OffsetProbe(self._settings, topic) as probe:
            found = probe.probe(positions, CHECK_READ_S)
        return [bad for _, bad in sorted(found.items()) if bad is not None]

    def unreadable_range(
        self, topic: str, partition: int, first: int, end: int
    ) -> OffsetRange | None:
        """Return the unreadable offsets from `first` on; None if `first` is readable; blocks.

        Raises:
            BrokerUnavailable: Kafka does not answer, or the next readable offset is not found.
        """
        with OffsetProbe(self._settings, topic) as probe:
            return probe.range_at(partition, first, end)

    def delete_records_before(self, topic: str, offsets: dict[int, int]) -> None:
        """Delete the records before an offset, by partition; blocks.

        Raises:
            BrokerUnavailable: The broker did not answer or refused.
        """
        positions = [TopicPartition(topic, *position) for position in offsets.items()]
        try:
            for future in self._admin.delete_records(positions).values():
                answer(future)
        except KafkaException as error:
            raise self._unavailable(error) from error

    def _lags(self, groups: Mapping[str, str]) -> dict[str, list[Lag]]:
        try:
            known = self._topics()
            places = {
                topic: [TopicPartition(topic, number) for number in range(known.get(topic, 0))]
                for topic in groups
            }
            # First: what is committed later may lie behind the end that was read before.
            committed = {
                topic: self._committed(groups[topic], found) for topic, found in places.items()
            }
            every = [place for found in places.values() for place in found]
            starts = self._log_offsets(every, _EARLIEST)
            ends = self._log_offsets(every, _LATEST)
        except KafkaException as error:
            if has_no_leader(error.args[0]):
                # A client that had asked for a partition without a leader answered for minutes that
                # the partition does not exist, although it had a leader again.
                self._admin = AdminClient(client_config(self._settings))
            raise
        return {
            topic: [
                Lag(each.partition, starts[topic, each.partition], ends[topic, each.partition], at)
                for each, at in zip(found, committed[topic], strict=True)
            ]
            for topic, found in places.items()
        }

    def _log_offsets(
        self,
        places: Sequence[TopicPartition],
        which: OffsetSpec,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> dict[tuple[str, int], int]:
        """Return an offset of each log, by topic and partition; blocks up to `timeout_s`.

        Raises:
            KafkaException: A leader refused.
            BrokerUnavailable: A leader did not answer.
        """
        asked = self._admin.list_offsets(
            dict.fromkeys(places, which),
            request_timeout=timeout_s,
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
        )
        found = {(each.topic, each.partition): answer(asked[each]).offset for each in places}
        if min(found.values(), default=0) < 0:
            raise BrokerUnavailable(
                f"Kafka at {self._settings.kafka_broker}: no answer within {timeout_s:g} s"
            )
        return found

    def _committed(self, group: str, places: list[TopicPartition]) -> list[int | None]:
        """Return the committed offset of each place; None where none was committed."""
        if not places or group == INSPECTION_GROUP:
            return [None] * len(places)
        # The library's AdminClient crashes the process if the asked broker is not the coordinator
        # of the group (confluent-kafka-python issue 1982). A consumer that never subscribes only
        # sends requests; it does not join the group.
        consumer = Consumer(consumer_config(self._settings, group))
        try:
            return [each.offset for each in committed_offsets(consumer, places)]
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
