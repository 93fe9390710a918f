"""Consumed messages of one partition: pure."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import xxhash

from radar.kafka import Message


class Messages:
    """Messages of one partition, in their order; librdkafka's own message objects are released.

    Attributes:
        offsets: Of each.
        keys: Of each.
        values: Of each; None is a tombstone.
        size_bytes: Of all values.
    """

    __slots__ = ("keys", "offsets", "size_bytes", "values")

    def __init__(
        self, offsets: list[int], keys: list[bytes | None], values: list[bytes | None]
    ) -> None:
        self.offsets = offsets
        self.keys = keys
        self.values = values
        self.size_bytes = sum(map(len, filter(None, values)))

    @classmethod
    def of(cls, messages: Iterable[Message]) -> "Messages":
        """Copy offset, key and value out of consumed messages."""
        known: dict[bytes | None, bytes | None] = {}  # few keys are different: share their bytes
        return cls(
            [message.offset() for message in messages],
            [known.setdefault(key, key) for key in [message.key() for message in messages]],
            [message.value() for message in messages],
        )

    @classmethod
    def joined(cls, several: Sequence["Messages"]) -> "Messages":
        """Join the messages of several objects, one after the other."""
        return cls(
            [offset for each in several for offset in each.offsets],
            [key for each in several for key in each.keys],
            [value for each in several for value in each.values],
        )

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, part: slice) -> "Messages":
        if part.indices(len(self)) == (0, len(self), 1):
            return self  # as nearly always
        return Messages(self.offsets[part], self.keys[part], self.values[part])

    def where(self, wanted: Callable[[int], bool]) -> "Messages":
        """Return the messages whose offset is wanted."""
        chosen = [n for n, offset in enumerate(self.offsets) if wanted(offset)]
        return Messages(
            [self.offsets[n] for n in chosen],
            [self.keys[n] for n in chosen],
            [self.values[n] for n in chosen],
        )

    def rising(self) -> "Iterator[Messages]":
        """Divide them where the log went back; usually that is nowhere."""
        offsets = self.offsets
        backward: list[int] = []
        if offsets[-1] - offsets[0] != len(offsets) - 1 or offsets != sorted(offsets):
            backward = [n for n in range(1, len(offsets)) if offsets[n] <= offsets[n - 1]]
        for start, end in pairwise([0, *backward, len(offsets)]):
            yield self[start:end]


class Fingerprint:
    """Identifies messages: a block of the same offsets and other messages has another fingerprint.

    Offsets repeat with other messages when a topic is recreated, or when a broker that does not
    replicate loses the end of its log.
    """

    def __init__(self) -> None:
        self._offsets, self._lengths, self._values = (xxhash.xxh3_128() for _ in range(3))

    def update(self, messages: Messages) -> None:
        """Go on with the messages that follow."""
        values = [value or b"" for value in messages.values]
        self._offsets.update(array("q", messages.offsets))
        self._lengths.update(array("q", map(len, values)))
        self._values.update(b"".join(values))

    @classmethod
    def of(cls, messages: Messages) -> str:
        """Return the fingerprint of some messages alone."""
        fingerprint = cls()
        fingerprint.update(messages)
        return fingerprint.text

    @property
    def text(self) -> str:
        """The fingerprint; it does not depend on how the messages were divided."""
        digests = (self._offsets, self._lengths, self._values)
        return xxhash.xxh3_128_hexdigest(b"".join(each.digest() for each in digests))
