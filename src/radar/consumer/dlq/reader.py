"""Dead letters in their topic, and the state of each.

A dead letter's identity is its origin (topic, partition, offset) and its payload. So a dead letter
that was sent twice counts once, and one of a recreated topic is another. A later marker in the same
topic records its state: a message without a value whose headers name the identity. So the topic
itself shows every reader which dead letters are open, for as long as Kafka keeps it.

Any client of Kafka can write into the topic. Only `parse` decides whether a message there is a dead
letter or a marker as radar writes them. Every other message is foreign: radar counts, lists and
purges it, and never replays it.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from radar.clock import utc_text
from radar.consumer.dlq.publisher import (
    ACKNOWLEDGE_TIMEOUT_S,
    MAX_DETAIL_BYTES,
    MAX_KEY_BYTES,
    MAX_PAYLOAD_BYTES,
    origin,
)
from radar.datasets import Dataset
from radar.errors import BrokerUnavailable, BufferFull
from radar.kafka import Cluster, OffsetRange, Publisher, StoredMessage
from radar.settings import Settings

IDENTITY_BYTES = 16
MAX_PARTITION = 65_535  # the largest that the tables' column holds
MAX_OFFSET = 2**63 - 1
# Of the original message; Kafka's own limit is far below.
MAX_VALUE_BYTES = 2**31 - 1
MAX_HEADERS = 16
MAX_HEADER_BYTES = max(MAX_DETAIL_BYTES, MAX_KEY_BYTES)
# The year 9999: a later time has no date.
MAX_TIME_MS = 253_402_300_799_999
SHOWN_FOREIGN = 20
_DIGITS = re.compile(rb"0|[1-9][0-9]{0,18}")
_REASON = re.compile(rb"[a-z][a-z_]{0,31}")
_IDENTITY = re.compile(rb"[0-9a-f]{%d}" % (2 * IDENTITY_BYTES))


class DeadLetterState(StrEnum):
    """The state of a dead letter."""

    OPEN = "open"
    REPLAYED = "replayed"  # it is a row now
    PURGED = "purged"  # an operator deleted it


class DeadLetter(NamedTuple):
    """A message that could not become a row.

    Attributes:
        name: Its origin, `topic:partition:offset`.
        topic: The topic of the message.
        partition: The partition there.
        offset: The offset there.
        key: The message's key.
        payload: The message's value, cut if it was too large.
        payload_bytes: The size of the uncut value.
        reason: One word.
        detail: The exact defect.
        sent_at_ms: When the dead letter was written, Unix time.
        place: Partition and offset of the dead letter in the dead-letter topic.
    """

    name: str
    topic: str
    partition: int
    offset: int
    key: bytes
    payload: bytes
    payload_bytes: int
    reason: str
    detail: str
    sent_at_ms: int
    place: tuple[int, int]

    @property
    def identity(self) -> bytes:
        """Identify the dead letter by origin and payload."""
        return identity(self.topic, self.partition, self.offset, self.payload)

    @property
    def is_cut(self) -> bool:
        """Whether the end of the payload is missing."""
        return len(self.payload) < self.payload_bytes

    @property
    def sent_at(self) -> str:
        """When the dead letter was written, as text in UTC."""
        return utc_text(self.sent_at_ms / 1000)


class Selection(NamedTuple):
    """Selects dead letters.

    Attributes:
        reason: Those with this reason; empty means all.
        since_ms: Those that were written since, Unix time.
        names: Those with these names; empty means all.
    """

    reason: str = ""
    since_ms: int = 0
    names: frozenset[str] = frozenset()

    def holds(self, letter: DeadLetter) -> bool:
        """Return whether a dead letter is selected."""
        return (
            (not self.reason or letter.reason == self.reason)
            and letter.sent_at_ms >= self.since_ms
            and (not self.names or letter.name in self.names)
        )


EVERY_LETTER = Selection()


class Foreign(NamedTuple):
    """A message of a dead-letter topic that radar has not written.

    Attributes:
        place: Its partition and offset there.
        why: The feature that shows it.
    """

    place: tuple[int, int]
    why: str


class DeadLetterReader:
    """The dead letters of a dataset at one moment.

    Memory grows with their number by about a hundred bytes each; payloads are streamed.

    Attributes:
        ends: The offsets at which reading ends, by partition of the dead-letter topic.
        foreign: The first SHOWN_FOREIGN messages there that radar has not written.
        foreign_count: How many there are, unreadable ones included.
    """

    def __init__(self, cluster: Cluster, dataset: Dataset) -> None:
        """Read the markers; blocks.

        Raises:
            BrokerUnavailable: Kafka does not answer.
        """
        self._cluster = cluster
        self._dataset = dataset
        lags = cluster.lag(dataset.dead_letter_topic, dataset.group)
        self.ends = {lag.partition: lag.end for lag in lags}
        self.foreign: list[Foreign] = []
        self.foreign_count = 0
        self._states: dict[bytes, DeadLetterState] = {}
        for message in self._messages(self._note_unreadable):
            found = parse(dataset, message)
            if isinstance(found, Marker):
                self._states[found.identity] = found.state
            elif isinstance(found, Foreign):
                self._note(found, 1)

    def __iter__(self) -> Iterator[tuple[DeadLetter, DeadLetterState]]:
        """Yield each dead letter once, with its state; blocks.

        Raises:
            BrokerUnavailable: Kafka does not answer.
        """
        seen: set[bytes] = set()
        for message in self._messages():
            letter = parse(self._dataset, message)
            if not isinstance(letter, DeadLetter):
                continue
            identity = letter.identity
            if identity not in seen:
                seen.add(identity)
                yield letter, self._states.get(identity, DeadLetterState.OPEN)

    def open(self, selection: Selection = EVERY_LETTER) -> Iterator[DeadLetter]:
        """Yield the selected dead letters that are still open; blocks."""
        for letter, state in self:
            if state is DeadLetterState.OPEN and selection.holds(letter):
                yield letter

    def identities(self) -> set[bytes]:
        """Return the identities of all dead letters, purged ones included; blocks."""
        return {letter.identity for letter, _ in self} | self._states.keys()

    def markers(self) -> Iterator["Marker"]:
        """Yield the markers; blocks."""
        for message in self._messages():
            if isinstance(found := parse(self._dataset, message), Marker):
                yield found

    def _note(self, foreign: Foreign, count: int) -> None:
        self.foreign_count += count
        if len(self.foreign) < SHOWN_FOREIGN:
            self.foreign.append(foreign)

    def _note_unreadable(self, lost: OffsetRange) -> None:
        self._note(Foreign((lost.partition, lost.first), "no client can read it"), lost.offsets)

    def _messages(
        self, on_unreadable: Callable[[OffsetRange], None] | None = None
    ) -> Iterator[StoredMessage]:
        topic = self._dataset.dead_letter_topic
        return self._cluster.messages(topic, self.ends, on_unreadable=on_unreadable)


class Marker(NamedTuple):
    """The recorded state of a dead letter."""

    name: str
    identity: bytes
    state: DeadLetterState

    @property
    def partition(self) -> int:
        """The partition of the original."""
        return int(self.name.split(":")[1])

    @property
    def offset(self) -> int:
        """The offset of the original."""
        return int(self.name.split(":")[2])


class Markers:
    """Writes markers into the dead-letter topic of one dataset."""

    def __init__(self, settings: Settings, dataset: Dataset) -> None:
        self._publisher = Publisher(settings, dataset.dead_letter_topic, linger_ms=0)

    def write(self, markers: Sequence[Marker]) -> None:
        """Write markers and wait until Kafka has them; blocks.

        Raises:
            BrokerUnavailable: Not all were acknowledged; writing all again does no harm.
        """
        for marker in markers:
            self._publish(marker)
        if self._publisher.flush(ACKNOWLEDGE_TIMEOUT_S) or self._publisher.failed:
            raise BrokerUnavailable("Kafka did not acknowledge the new state of the dead letters")

    def _publish(self, marker: Marker) -> None:
        headers: dict[str, str | bytes] = {
            "marker": marker.state.value,
            "letter": marker.identity.hex(),
        }
        try:
            self._publisher.publish(marker.name.encode(), b"", headers=headers)
        except BufferFull as error:
            raise BrokerUnavailable(f"dead letters: {error}") from error


def identity(topic: str, partition: int, offset: int, value: bytes) -> bytes:
    """Return the identity of a message's dead letter: its origin and a hash of its value."""
    digest = hashlib.sha256(f"{origin(topic, partition, offset)}\n".encode())
    digest.update(value[:MAX_PAYLOAD_BYTES])
    return digest.digest()[:IDENTITY_BYTES]


def parse(dataset: Dataset, message: StoredMessage) -> DeadLetter | Marker | Foreign:
    """Read a message of a dead-letter topic; pure.

    It accepts only messages as radar writes them: each header once, numbers in their ranges, the
    dataset's own topic, and a key that names the origin.
    """
    try:
        headers = _headers(message)
        return (_marker if "marker" in headers else _letter)(dataset, message, headers)
    except KeyError as error:
        why = f"the header {error} is missing"
    except _NotOurs as error:
        why = str(error)
    return Foreign((message.partition(), message.offset()), why)


class _NotOurs(Exception):
    """Radar has not written this message."""


def _letter(dataset: Dataset, message: StoredMessage, headers: dict[str, bytes]) -> DeadLetter:
    payload = message.value() or b""
    partition = _number(headers, "partition", MAX_PARTITION)
    offset = _number(headers, "offset", MAX_OFFSET)
    payload_bytes = _number(headers, "bytes", MAX_VALUE_BYTES)
    name = origin(dataset.topic, partition, offset)
    for is_wrong, what in (
        (headers["topic"] != dataset.topic.encode(), "the topic"),
        (message.key() != name.encode(), "the key"),
        (not _REASON.fullmatch(headers["reason"]), "the reason"),
        (len(payload) != min(payload_bytes, MAX_PAYLOAD_BYTES), "the size"),
    ):
        if is_wrong:
            raise _NotOurs(f"{what} is none that radar writes")
    return DeadLetter(
        name=name,
        topic=dataset.topic,
        partition=partition,
        offset=offset,
        key=headers["key"],
        payload=payload,
        payload_bytes=payload_bytes,
        reason=headers["reason"].decode(),
        detail=headers["detail"].decode(errors="replace"),
        sent_at_ms=min(max(0, message.timestamp()[1]), MAX_TIME_MS),
        place=(message.partition(), message.offset()),
    )


def _marker(dataset: Dataset, message: StoredMessage, headers: dict[str, bytes]) -> Marker:
    if message.value():
        raise _NotOurs("a marker has no value")
    state = {state.value.encode(): state for state in DeadLetterState}.get(headers["marker"])
    if state in (None, DeadLetterState.OPEN) or not _IDENTITY.fullmatch(headers["letter"]):
        raise _NotOurs("the marker is none that radar writes")
    name = (message.key() or b"").decode(errors="replace")
    topic, _, place = name.partition(":")
    partition, _, offset = place.partition(":")
    numbers = {"partition": partition.encode(), "offset": offset.encode()}
    if topic != dataset.topic or name != origin(
        topic,
        _number(numbers, "partition", MAX_PARTITION),
        _number(numbers, "offset", MAX_OFFSET),
    ):
        raise _NotOurs("the key is none that radar writes")
    return Marker(name, bytes.fromhex(headers["letter"].decode()), DeadLetterState(state))


def _number(headers: dict[str, bytes], name: str, highest: int) -> int:
    text = headers[name]
    if not _DIGITS.fullmatch(text) or int(text) > highest:
        raise _NotOurs(f"the {name} is no number from 0 to {highest}")
    return int(text)


def _headers(message: StoredMessage) -> dict[str, bytes]:
    given = message.headers() or []
    headers = {name: value or b"" for name, value in given}
    if len(given) > MAX_HEADERS or len(headers) != len(given):
        raise _NotOurs("it has too many headers, or one of them twice")
    if any(len(value) > MAX_HEADER_BYTES for value in headers.values()):
        raise _NotOurs("a header is too large")
    return headers
