"""Dead letters as they lie in their topic, and what became of them.

A letter's identity is its origin (topic, partition, offset) and its payload, so that one which was
sent twice is one letter, and one of a topic that was made anew is another. What became of it is
told by a marker behind it in the same topic: a message without a value whose headers name the
identity. So the topic itself says which letters are open, to everybody, for as long as it is kept.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from radar.consumer.dead_letters import ACKNOWLEDGE_TIMEOUT_S, MAX_PAYLOAD_BYTES, origin
from radar.errors import BrokerUnavailable, BufferFull
from radar.kafka import Cluster, Publisher, StoredMessage
from radar.kinds import Kind
from radar.settings import Settings

IDENTITY_BYTES = 16
_NAME = re.compile(r"[^:]+:(?a:\d{1,10}):(?a:\d{1,19})")


class LetterState(StrEnum):
    """What became of a letter."""

    OPEN = "open"
    REPLAYED = "replayed"  # it is a row now
    PURGED = "purged"  # it was deleted on purpose


class DeadLetter(NamedTuple):
    """A message that could not become a row.

    Attributes:
        name: Its origin, `topic:partition:offset`.
        topic: Where the message stood.
        partition: The partition there.
        offset: The offset there.
        key: The message's key.
        payload: The message's value, cut if it was too large.
        payload_bytes: The value's size before that.
        reason: One word.
        detail: What exactly is wrong.
        sent_at_ms: When the letter was written, Unix time.
        place: Partition and offset of the letter in the dead-letter topic.
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
        """What tells it from every other letter."""
        return identity(self.topic, self.partition, self.offset, self.payload)

    @property
    def is_cut(self) -> bool:
        """Whether a part of the payload is missing."""
        return len(self.payload) < self.payload_bytes

    @property
    def sent_at(self) -> str:
        """When the letter was written, as text in UTC."""
        return f"{datetime.fromtimestamp(self.sent_at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


class Selection(NamedTuple):
    """Which letters are meant.

    Attributes:
        reason: Those with this reason; empty means all.
        since_ms: Those that were written since, Unix time.
        names: Those with these names; empty means all.
    """

    reason: str = ""
    since_ms: int = 0
    names: frozenset[str] = frozenset()

    def holds(self, letter: DeadLetter) -> bool:
        """Tell whether a letter is meant."""
        return (
            (not self.reason or letter.reason == self.reason)
            and letter.sent_at_ms >= self.since_ms
            and (not self.names or letter.name in self.names)
        )


EVERY_LETTER = Selection()


class Letters:
    """The dead letters of a kind at one moment.

    Memory grows with their number by about a hundred bytes each; payloads are streamed.

    Attributes:
        ends: The offsets that end what is looked at, by partition of the dead-letter topic.
    """

    def __init__(self, cluster: Cluster, kind: Kind) -> None:
        """Read the markers; blocks.

        Raises:
            BrokerUnavailable: Kafka does not answer.
        """
        self._cluster = cluster
        self._kind = kind
        lags = cluster.lag(kind.dead_letter_topic, kind.group)
        self.ends = {lag.partition: lag.end for lag in lags}
        self._states: dict[bytes, LetterState] = {}
        for message in self._messages():
            if (marker := _marker(message)) is not None:
                self._states[marker.identity] = marker.state

    def __iter__(self) -> Iterator[tuple[DeadLetter, LetterState]]:
        """Yield each letter once, with what became of it; blocks.

        Raises:
            BrokerUnavailable: Kafka does not answer.
        """
        seen: set[bytes] = set()
        for message in self._messages():
            if (letter := parse(message)) is None:
                continue
            identity = letter.identity
            if identity not in seen:
                seen.add(identity)
                yield letter, self._states.get(identity, LetterState.OPEN)

    def open(self, selection: Selection = EVERY_LETTER) -> Iterator[DeadLetter]:
        """Yield the letters that still ask for something to be done; blocks."""
        for letter, state in self:
            if state is LetterState.OPEN and selection.holds(letter):
                yield letter

    def identities(self) -> set[bytes]:
        """Return what is or was a letter, also of those that were purged; blocks."""
        return {letter.identity for letter, _ in self} | self._states.keys()

    def markers(self) -> Iterator["Marker"]:
        """Yield the markers; blocks."""
        for message in self._messages():
            if (marker := _marker(message)) is not None:
                yield marker

    def _messages(self) -> Iterator[StoredMessage]:
        return self._cluster.messages(self._kind.dead_letter_topic, self.ends)


class Marker(NamedTuple):
    """What became of a letter."""

    name: str
    identity: bytes
    state: LetterState

    @property
    def partition(self) -> int:
        """The partition in which the original stood."""
        return int(self.name.split(":")[1])

    @property
    def offset(self) -> int:
        """The offset there."""
        return int(self.name.split(":")[2])


class Markers:
    """Writes markers into the dead-letter topic of one kind."""

    def __init__(self, settings: Settings, kind: Kind) -> None:
        self._publisher = Publisher(settings, kind.dead_letter_topic, linger_ms=0)

    def write(self, markers: Sequence[Marker]) -> None:
        """Write markers and wait until Kafka has them; blocks.

        Raises:
            BrokerUnavailable: Not all were acknowledged; writing all again does no harm.
        """
        for marker in markers:
            self._publish(marker)
        if self._publisher.flush(ACKNOWLEDGE_TIMEOUT_S) or self._publisher.failed:
            raise BrokerUnavailable("Kafka did not acknowledge what became of the dead letters")

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
    """Return what tells the letter of a message from every other letter."""
    digest = hashlib.sha256(f"{origin(topic, partition, offset)}\n".encode())
    digest.update(value[:MAX_PAYLOAD_BYTES])
    return digest.digest()[:IDENTITY_BYTES]


def parse(message: StoredMessage) -> DeadLetter | None:
    """Read a message of a dead-letter topic; None if it is no letter."""
    headers = _headers(message)
    try:
        topic, partition, offset = headers["topic"], headers["partition"], headers["offset"]
        return DeadLetter(
            name=origin(topic.decode(), int(partition), int(offset)),
            topic=topic.decode(),
            partition=int(partition),
            offset=int(offset),
            key=headers["key"],
            payload=message.value() or b"",
            payload_bytes=int(headers["bytes"]),
            reason=headers["reason"].decode(),
            detail=headers["detail"].decode(errors="replace"),
            sent_at_ms=message.timestamp()[1],
            place=(message.partition(), message.offset()),
        )
    except (KeyError, ValueError):
        return None


def _marker(message: StoredMessage) -> Marker | None:
    headers = _headers(message)
    try:
        state = LetterState(headers["marker"].decode())
        letter = bytes.fromhex(headers["letter"].decode())
        name = (message.key() or b"").decode()
    except (KeyError, ValueError):
        return None
    return Marker(name, letter, state) if _NAME.fullmatch(name) else None


def _headers(message: StoredMessage) -> dict[str, bytes]:
    return {name: value or b"" for name, value in message.headers() or ()}
