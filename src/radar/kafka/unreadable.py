"""Record batches that no client can read, and where the next readable one begins.

A batch is unreadable if it is damaged, or if its decompressed size is above the client's limit. It
stops its partition: librdkafka fetches it again and again, and reports the offset of its first
message.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from radar.errors import BrokerUnavailable, OffsetSilent
from radar.kafka.client import consumer_config
from radar.settings import Settings

LOOK_TIMEOUT_S = 10.0
LOOK_TURN_S = 0.1
FIND_TIMEOUT_S = 120.0
_LOOKING_GROUP = "radar-inspection"

_CODES = {
    KafkaError._BAD_COMPRESSION,  # noqa: SLF001 - the library's public names
    KafkaError._BAD_MSG,  # noqa: SLF001
    KafkaError._UNDERFLOW,  # noqa: SLF001
    KafkaError._NOT_IMPLEMENTED,  # noqa: SLF001
    KafkaError.INVALID_MSG,
    KafkaError.INVALID_MSG_SIZE,
    KafkaError.MSG_SIZE_TOO_LARGE,
}


class Unreadable(NamedTuple):
    """A batch that cannot be read.

    Attributes:
        partition: Its partition.
        offset: Its first offset, as far as the library knows.
        reason: The library's error text.
    """

    partition: int
    offset: int
    reason: str


class OffsetRange(NamedTuple):
    """Offsets of one partition that cannot be read, both ends included."""

    partition: int
    first: int
    last: int
    reason: str

    @property
    def offsets(self) -> int:
        """How many offsets these are."""
        return self.last - self.first + 1


def unreadable(message: Any) -> Unreadable | None:
    """Return the batch that a consumed error reports; None if it reports something else."""
    error, partition = message.error(), message.partition()
    if error is None or error.code() not in _CODES or partition is None or partition < 0:
        return None
    return Unreadable(partition, max(0, message.offset() or 0), " ".join(error.str().split()))


class OffsetProbe:
    """Reads at single offsets of a topic, without joining a group. Use it as a context."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._topic = topic
        self._address = settings.kafka_broker
        self._consumer = Consumer(
            consumer_config(settings, _LOOKING_GROUP)
            | {
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "queued.min.messages": 1,
                "fetch.message.max.bytes": 65_536,  # a larger batch comes alone
                "fetch.wait.max.ms": 50,
            }
        )

    def __enter__(self) -> "OffsetProbe":
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connections; blocks for a moment."""
        self._consumer.close()

    def probe(
        self, positions: Mapping[int, int], timeout_s: float = LOOK_TIMEOUT_S
    ) -> dict[int, Unreadable | None]:
        """Return the unreadable batch at each offset, by partition; blocks.

        None stands for a readable message or the end of the log. A partition that did not answer
        within `timeout_s` is omitted.
        """
        wanted = [TopicPartition(self._topic, *position) for position in positions.items()]
        self._consumer.assign(wanted)
        # The library keeps a partition paused even after its loss.
        self._consumer.resume(wanted)
        found: dict[int, Unreadable | None] = {}
        deadline_s = time.monotonic() + timeout_s
        while len(found) < len(positions) and time.monotonic() < deadline_s:
            for message in self._consumer.consume(1, LOOK_TURN_S):
                self._note(message, found)
        return found

    def _note(self, message: Any, found: dict[int, Unreadable | None]) -> None:
        number, error = message.partition(), message.error()
        bad = unreadable(message)
        ended = error is not None and error.code() == KafkaError._PARTITION_EOF  # noqa: SLF001
        if number in found or not (bad or error is None or ended):
            return
        found[number] = bad
        try:
            self._consumer.pause([TopicPartition(self._topic, number)])
        except KafkaException:
            return  # the pause only saves work

    def range_at(self, partition: int, first: int, end: int) -> OffsetRange | None:
        """Return the unreadable offsets from `first` on; None if `first` is readable; blocks.

        Args:
            partition: The partition.
            first: The first offset to read.
            end: The end of the log.

        Raises:
            OffsetSilent: Kafka sends neither a message nor an error within LOOK_TIMEOUT_S.
            BrokerUnavailable: There are too many unreadable batches to find the end in
                FIND_TIMEOUT_S.
        """
        deadline_s = time.monotonic() + FIND_TIMEOUT_S

        def at(offset: int) -> Unreadable | None:
            if time.monotonic() > deadline_s:
                raise BrokerUnavailable(
                    f"{self._topic}[{partition}]: the next readable offset was not found within"
                    f" {FIND_TIMEOUT_S:g} s; offset {offset} cannot be read either"
                )
            found = self.probe({partition: offset})
            if partition not in found:
                raise OffsetSilent(
                    f"Kafka at {self._address}: no answer about {self._topic}[{partition}],"
                    f" offset {offset}"
                )
            return found[partition]

        bad = at(first)
        if bad is None:
            return None
        reason, last = bad.reason, first
        while bad is not None:
            last = last_of(at, last, bad, end)
            bad = at(last + 1) if last + 1 < end else None
            last += bad is not None
        return OffsetRange(partition, first, last, reason)


def last_of(at: Callable[[int], Unreadable | None], first: int, bad: Unreadable, end: int) -> int:
    """Return the last offset of the batch in which `first` stands; pure apart from `at`.

    The library reports every offset of a batch with the batch's first one. So no readable message
    between two such batches is skipped.
    """

    def is_same(offset: int) -> bool:
        found = at(offset)
        return found is not None and found.offset == bad.offset

    low, step = first, 1
    while low + step < end and is_same(low + step):
        low, step = low + step, 2 * step
    high = min(low + step, end)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_same(middle) else (low, middle)
    return low
