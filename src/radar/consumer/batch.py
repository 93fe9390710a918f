"""From messages to blocks: pure, the time is an argument."""

import math
import re
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import xxhash

from radar.kafka import Message

# One block's messages, together with the dead letters among them, must fit into memory.
BLOCK_BYTES = 16 * 1024 * 1024

_PLAN = re.compile(r"P\|(?a:\d{1,19})\|(?a:\d{1,19})")


class Limits(NamedTuple):
    """What makes a block due, and what it holds at most.

    Attributes:
        size: A block is due at this many messages.
        max_size: It takes along what waits beyond that, up to this many, and up to `BLOCK_BYTES`,
            which its last message may exceed.
        timeout_s: Or it is due at this age of its oldest message.
        interval_s: Or this long after the block before it, whichever of the three comes first.
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
        """Return the commit metadata that stands for this plan."""
        return f"P|{self.lo}|{self.hi}"

    @classmethod
    def parse(cls, metadata: str) -> "Plan | None":
        """Read commit metadata; anything that is not a plan is None."""
        if not _PLAN.fullmatch(metadata):
            return None
        _, lo, hi = metadata.split("|")
        return cls(int(lo), int(hi)) if int(lo) <= int(hi) else None


class Block(NamedTuple):
    """Messages that are inserted together and committed together."""

    plan: Plan
    messages: Sequence[Message]

    @property
    def size_bytes(self) -> int:
        """Bytes of the messages' values."""
        return sum(map(len, self.messages))

    @property
    def offsets(self) -> list[int]:
        """The messages' offsets."""
        return [message.offset() for message in self.messages]

    def fingerprint(self) -> str:
        """Identify the content, so that equal offsets with other messages are another block.

        Offsets repeat with other content when a topic is recreated, or when a broker that does
        not replicate loses the end of its log.
        """
        digest = xxhash.xxh3_128(array("q", self.offsets))
        digest.update(array("q", map(len, self.messages)))
        digest.update(b"".join([message.value() or b"" for message in self.messages]))
        return digest.hexdigest()


class Batch:
    """The messages of one partition that are not planned yet, in order."""

    def __init__(self, limits: Limits, planned: Plan | None = None) -> None:
        """Start empty.

        Args:
            limits: What makes a block due, and what it holds at most.
            planned: A block that another worker planned; it is rebuilt exactly, first.
        """
        self._limits = limits
        self._messages: list[Message] = []
        self._bytes = 0
        self._opened_at_s = 0.0
        self._taken_at_s = -math.inf
        self.planned = planned

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def is_full(self) -> bool:
        """Whether the next block cannot grow any more; a plan may need more than its size."""
        return self.planned is None and (
            len(self._messages) >= self._limits.max_size or self._bytes >= BLOCK_BYTES
        )

    def add(self, messages: Sequence[Message], now_s: float) -> None:
        """Take the next messages."""
        if not self._messages:
            self._opened_at_s = now_s
        self._messages.extend(messages)
        self._bytes += sum(map(len, messages))

    def age_s(self, now_s: float) -> float:
        """Return how long the oldest message has been here, or since the newest block if longer."""
        return now_s - self._opened_at_s

    def due_in_s(self, now_s: float) -> float | None:
        """Return how long until a block is due; 0 is now, None is not before a message."""
        if not self._messages:
            return None
        if self.planned is not None:
            return 0.0 if self._messages[-1].offset() >= self.planned.hi else None
        if len(self._messages) >= self._limits.size or self.is_full:
            return 0.0
        due_at_s = min(
            self._opened_at_s + self._limits.timeout_s, self._taken_at_s + self._limits.interval_s
        )
        return max(0.0, due_at_s - now_s)

    def take(self, now_s: float) -> Block | None:
        """Remove and return the next block; None when what was planned is not there any more.

        The messages that stay behind start a new age.
        """
        plan, self.planned = self.planned, None
        count = self._next_count() if plan is None else self._count_up_to(plan.hi)
        messages, self._messages = self._messages[:count], self._messages[count:]
        self._bytes -= sum(map(len, messages))
        self._opened_at_s = self._taken_at_s = now_s
        if not messages:
            return None
        return Block(plan or Plan(messages[0].offset(), messages[-1].offset()), messages)

    def _next_count(self) -> int:
        count = min(len(self._messages), self._limits.max_size)
        if self._bytes <= BLOCK_BYTES:
            return count
        totals = accumulate(map(len, self._messages[:count]))
        return next((n for n, total in enumerate(totals, 1) if total >= BLOCK_BYTES), count)

    def _count_up_to(self, offset: int) -> int:
        return bisect_right(self._messages, offset, key=lambda message: message.offset())
