"""From messages to blocks: pure, the time is an argument.

Messages are decoded as they arrive, some thousands at a time, while they are in the processor's
cache. A batch keeps their columns, and their bytes one behind the other.
"""

import math
import re
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple

from radar.consumer.chunk import BadMessage, Chunk, ColumnBlock
from radar.consumer.messages import Fingerprint, Messages

# One block's messages, together with the dead letters among them, must fit into memory.
BLOCK_BYTES = 8 * 1024 * 1024
# An insert of any size costs ClickHouse ten milliseconds of processor time. So a block of fewer
# messages waits for twice the interval.
SMALL_BLOCK = 100

_PLAN = re.compile(r"P\|(?a:\d{1,19})\|(?a:\d{1,19})")


class BatchLimits(NamedTuple):
    """When a block is due, and how large it may be.

    Attributes:
        size: A block is due at this many messages.
        max_size: A due block also takes waiting messages, up to this many, and up to `BLOCK_BYTES`,
            which its last message may exceed.
        timeout_s: A block is also due at this age of its oldest message.
        interval_s: And this long after the previous block, whichever of the three comes first;
            twice as long if it has fewer messages than SMALL_BLOCK.
    """

    size: int
    max_size: int
    timeout_s: float
    interval_s: float


class Plan(NamedTuple):
    """Which messages of a partition form a block: all from `lo` to `hi`, both included."""

    lo: int
    hi: int

    def __str__(self) -> str:
        """Return this plan as commit metadata."""
        return f"P|{self.lo}|{self.hi}"

    @classmethod
    def parse(cls, metadata: str) -> "Plan | None":
        """Read commit metadata; None for any text that is not a plan."""
        if not _PLAN.fullmatch(metadata):
            return None
        _, lo, hi = metadata.split("|")
        return cls(int(lo), int(hi)) if int(lo) <= int(hi) else None


class InsertBlock(NamedTuple):
    """Messages that are inserted together and committed together.

    Attributes:
        plan: The offsets of the messages.
        size: How many messages there are.
        size_bytes: Bytes of their values.
        parts: The messages that become rows, chunk by chunk.
        bad_messages: The others; each becomes a dead letter.
        fingerprint: Of all of them.
    """

    plan: Plan
    size: int
    size_bytes: int
    parts: list[ColumnBlock]
    bad_messages: list[BadMessage]
    fingerprint: str


class _OpenBlock:
    """A block that is not complete, or not due."""

    def __init__(self, planned: Plan | None) -> None:
        self.planned = planned
        self.count = 0
        self.size_bytes = 0
        self._first = self._last = 0
        self._chunks: list[Chunk] = []
        self._fingerprint = Fingerprint()

    def room(self, messages: Messages, max_size: int) -> int:
        """Return how many of the next messages belong to this block."""
        if self.planned is not None:
            return bisect_right(messages.offsets, self.planned.hi)
        if self.is_full(max_size):
            return 0
        count = min(len(messages), max_size - self.count)
        if self.size_bytes + messages.size_bytes <= BLOCK_BYTES:
            return count
        totals = accumulate(
            (len(value or b"") for value in messages.values[:count]), initial=self.size_bytes
        )
        return next((n for n, total in enumerate(totals) if total >= BLOCK_BYTES), count)

    def is_full(self, max_size: int) -> bool:
        """Return whether it can no longer grow; a plan may need more than its size."""
        return self.planned is None and (self.count >= max_size or self.size_bytes >= BLOCK_BYTES)

    def add(self, messages: Messages, decode: Callable[[Messages], Chunk]) -> None:
        """Take messages that belong to this block."""
        if not self.count:
            self._first = messages.offsets[0]
        self._last = messages.offsets[-1]
        self.count += len(messages)
        self.size_bytes += messages.size_bytes
        self._fingerprint.update(messages)
        self._chunks.append(decode(messages))

    def done(self) -> InsertBlock | None:
        """Return it as it is; None if it is empty."""
        if not self.count:
            return None
        return InsertBlock(
            plan=self.planned or Plan(self._first, self._last),
            size=self.count,
            size_bytes=self.size_bytes,
            parts=[part for chunk in self._chunks for part in chunk.parts],
            bad_messages=[bad for chunk in self._chunks for bad in chunk.bad_messages],
            fingerprint=self._fingerprint.text,
        )


class Batch:
    """The messages of one partition that are not planned yet, in order."""

    def __init__(
        self, limits: BatchLimits, decode: Callable[[Messages], Chunk], planned: Plan | None = None
    ) -> None:
        """Start empty.

        Args:
            limits: When a block is due, and how large it may be.
            decode: Decodes messages into a chunk.
            planned: A block that another worker planned; it is rebuilt exactly, first.
        """
        self._limits = limits
        self._decode = decode
        self._blocks = deque([_OpenBlock(planned)])  # never empty; only the last one grows
        self._last_offset = -1
        self._opened_at_s = 0.0
        self._taken_at_s = -math.inf

    def anew(self, planned: Plan | None) -> "Batch":
        """Return an empty one with the same limits."""
        return Batch(self._limits, self._decode, planned)

    @property
    def size(self) -> int:
        """How many messages there are."""
        return sum(block.count for block in self._blocks)

    @property
    def size_bytes(self) -> int:
        """Bytes of the messages' values."""
        return sum(block.size_bytes for block in self._blocks)

    @property
    def planned(self) -> Plan | None:
        """The plan of the next block, if another worker made it."""
        return self._blocks[0].planned

    def forget_plan(self) -> None:
        """Do not wait for another worker's plan: the next messages form the next block."""
        self._blocks[0].planned = None

    @property
    def is_full(self) -> bool:
        """Whether the next block can no longer grow; a plan may need more than its size."""
        return self.planned is None and (
            len(self._blocks) > 1 or self._blocks[0].is_full(self._limits.max_size)
        )

    def add(self, messages: Messages, now_s: float) -> None:
        """Take the next messages and decode them."""
        if not self.size:
            self._opened_at_s = now_s
        self._last_offset = messages.offsets[-1]
        while len(messages):
            count = self._blocks[-1].room(messages, self._limits.max_size)
            if count:
                self._blocks[-1].add(messages[:count], self._decode)
                messages = messages[count:]
            if len(messages):
                self._blocks.append(_OpenBlock(None))

    def age_s(self, now_s: float) -> float:
        """Return the age of the oldest message, or the time since the newest block if shorter."""
        return now_s - self._opened_at_s

    def due_in_s(self, now_s: float) -> float | None:
        """Return how long until a block is due; 0 is now, None is an empty batch without a plan."""
        if not self.size:
            return None
        if self.planned is not None:
            return 0.0 if self._last_offset >= self.planned.hi else None
        if self._blocks[0].count >= self._limits.size or self.is_full:
            return 0.0
        intervals = 1 if self._blocks[0].count >= SMALL_BLOCK else 2
        due_at_s = min(
            self._opened_at_s + self._limits.timeout_s,
            self._taken_at_s + intervals * self._limits.interval_s,
        )
        return max(0.0, due_at_s - now_s)

    def take(self, now_s: float) -> InsertBlock | None:
        """Remove and return the next block; None if the planned messages no longer exist.

        The messages that stay behind start a new age.
        """
        taken = self._blocks.popleft()
        if not self._blocks:
            self._blocks.append(_OpenBlock(None))
        self._opened_at_s = self._taken_at_s = now_s
        return taken.done()
