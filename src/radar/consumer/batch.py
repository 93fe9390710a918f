"""From messages to blocks: pure, the time is an argument."""

import hashlib
import re
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from radar.errors import InvalidMessage
from radar.wire import Row

_PLAN = re.compile(r"P\|(?a:\d{1,19})\|(?a:\d{1,19})")
_encoder = msgspec.json.Encoder()


class Plan(NamedTuple):
    """Which messages of a partition form a block: all from `lo` to `hi`, both included."""

    lo: int
    hi: int

    def __str__(self) -> str:
        """Return the commit metadata that stands for this plan."""
        return f"P|{self.lo}|{self.hi}"

    @classmethod
    def parse(cls, metadata: str) -> "Plan | None":
        """Read commit metadata; anything that is not a plan is None."""
        if not _PLAN.fullmatch(metadata):
            return None
        _, lo, hi = metadata.split("|")
        return cls(int(lo), int(hi)) if int(lo) <= int(hi) else None


class Entry(NamedTuple):
    """One consumed message and what it decoded to."""

    offset: int
    key: bytes | None
    value: bytes | None
    content: Row | InvalidMessage


class Block(NamedTuple):
    """Messages that are inserted together and committed together."""

    plan: Plan
    entries: list[Entry]

    @property
    def valid(self) -> list[tuple[Entry, Row]]:
        """The messages that become rows, each with its row."""
        return [(e, e.content) for e in self.entries if not isinstance(e.content, InvalidMessage)]

    @property
    def invalid(self) -> list[tuple[Entry, InvalidMessage]]:
        """The messages that go to the dead letters."""
        return [(e, e.content) for e in self.entries if isinstance(e.content, InvalidMessage)]

    def fingerprint(self) -> str:
        """Identify the content, so that equal offsets with other messages are another block.

        Offsets repeat with other content when a topic is recreated, or when a broker that does
        not replicate loses the end of its log.
        """
        digest = hashlib.blake2b(digest_size=8)
        for entry in self.entries:
            digest.update(b"%d:%d:" % (entry.offset, len(entry.value or b"")))
            digest.update(entry.value or b"")
        return digest.hexdigest()


def encode_rows(rows: Iterable[Row]) -> bytes:
    """Write rows as JSONEachRow."""
    return b"\n".join(_encoder.encode(row) for row in rows)


class Batch:
    """The messages of one partition that are not planned yet, in order."""

    def __init__(self, size: int, timeout_s: float, planned: Plan | None = None) -> None:
        """Start empty.

        Args:
            size: A block is due at this many messages, and holds no more.
            timeout_s: Or at this age of its oldest message.
            planned: A block that another worker planned; it is rebuilt exactly, first.
        """
        self._size = size
        self._timeout_s = timeout_s
        self._entries: deque[Entry] = deque()
        self._opened_at_s = 0.0
        self.planned = planned

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry, now_s: float) -> None:
        """Take the next message."""
        if not self._entries:
            self._opened_at_s = now_s
        self._entries.append(entry)

    def due_in_s(self, now_s: float) -> float | None:
        """Return how long until a block is due; 0 is now, None is not before a message."""
        if not self._entries:
            return None
        if self.planned is not None:
            return 0.0 if self._entries[-1].offset >= self.planned.hi else None
        if len(self._entries) >= self._size:
            return 0.0
        return max(0.0, self._opened_at_s + self._timeout_s - now_s)

    def take(self, now_s: float) -> Block | None:
        """Remove and return the next block; None when what was planned is not there any more.

        The messages that stay behind start a new age.
        """
        if self.planned is not None:
            plan, self.planned = self.planned, None
            entries = []
            while self._entries and self._entries[0].offset <= plan.hi:
                entries.append(self._entries.popleft())
        else:
            count = min(self._size, len(self._entries))
            entries = [self._entries.popleft() for _ in range(count)]
            plan = Plan(entries[0].offset, entries[-1].offset) if entries else Plan(0, 0)
        self._opened_at_s = now_s
        return Block(plan, entries) if entries else None
