"""From messages to blocks: pure, the time is an argument."""

import hashlib
import re
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from radar.errors import InvalidMessage
from radar.wire import Row

# One block's messages, together with the dead letters among them, must fit into memory.
BLOCK_BYTES = 32 * 1024 * 1024

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

    @property
    def size_bytes(self) -> int:
        """Bytes of the message's value."""
        return len(self.value or b"")


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
            digest.update(b"%d:%d:" % (entry.offset, entry.size_bytes))
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
            size: A block is due at this many messages, and holds no more; it is also due at
                `BLOCK_BYTES`, which its last message may exceed.
            timeout_s: Or at this age of its oldest message.
            planned: A block that another worker planned; it is rebuilt exactly, first.
        """
        self._size = size
        self._timeout_s = timeout_s
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._opened_at_s = 0.0
        self.planned = planned

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def is_full(self) -> bool:
        """Whether the next block cannot grow any more; a plan may need more than its size."""
        return self.planned is None and (
            len(self._entries) >= self._size or self._bytes >= BLOCK_BYTES
        )

    def add(self, entry: Entry, now_s: float) -> None:
        """Take the next message."""
        if not self._entries:
            self._opened_at_s = now_s
        self._entries.append(entry)
        self._bytes += entry.size_bytes

    def due_in_s(self, now_s: float) -> float | None:
        """Return how long until a block is due; 0 is now, None is not before a message."""
        if not self._entries:
            return None
        if self.planned is not None:
            return 0.0 if self._entries[-1].offset >= self.planned.hi else None
        if self.is_full:
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
            entries = self._next_entries()
            plan = Plan(entries[0].offset, entries[-1].offset) if entries else Plan(0, 0)
        self._bytes -= sum(entry.size_bytes for entry in entries)
        self._opened_at_s = now_s
        return Block(plan, entries) if entries else None

    def _next_entries(self) -> list[Entry]:
        entries: list[Entry] = []
        taken_bytes = 0
        while self._entries and len(entries) < self._size and taken_bytes < BLOCK_BYTES:
            entries.append(self._entries.popleft())
            taken_bytes += entries[-1].size_bytes
        return entries
