"""When bad messages are too many to be accidents: pure.

One market never halts a partition; damage of several markets does. So the breaker counts the bad
messages without those of the most affected market. A message's key is its market. A bad message
without a usable key belongs to no market, so it always counts.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from radar.errors import TooManyInvalid

RECENT_MESSAGES = 10_000
# Fewer messages than this count as this many: one bad message of three proves little.
FEWEST_MESSAGES = 100
# An exchange and a symbol are far shorter; longer keys are not remembered.
MAX_MARKET_BYTES = 128
NO_MARKET = b""


class Bad(NamedTuple):
    """One bad message of a block.

    Attributes:
        position: Its index among the block's messages, from zero.
        key: Its key; any client of Kafka may have written it.
    """

    position: int
    key: bytes | None


class Flood(NamedTuple):
    """One market that sends too many bad messages, which does not halt its partition."""

    market: bytes
    bad: int
    messages: int


class Breaker:
    """Judges the blocks of one partition by the share of bad messages and by runs of them.

    The share counts over the block in question and the newest blocks before it that hold up to
    `RECENT_MESSAGES`. A restart forgets these blocks. But a new breaker judges the first block by
    itself, before the worker dead-letters or inserts any of it. So the block that tripped the
    breaker is refused again after a restart.

    Memory is bounded by the bad messages of those blocks, `MAX_MARKET_BYTES` for each.

    Attributes:
        flood: The market that sends too many bad messages now, if there is one.
    """

    def __init__(self, max_share: float, max_consecutive: int) -> None:
        """Begin without a past.

        Args:
            max_share: The greatest share of bad messages that is let through; 1 switches it off.
            max_consecutive: This many bad messages in a row are too many; 0 switches it off.
        """
        self._max_share = max_share
        self._max_consecutive = max_consecutive
        self._blocks: deque[tuple[int, Counter[bytes]]] = deque()  # messages, bad ones by market
        self._messages = 0
        self._bad: Counter[bytes] = Counter()
        self._run: Counter[bytes] = Counter()  # bad messages at the end of the newest block
        self.flood: Flood | None = None

    def check(self, size: int, bad: Sequence[Bad]) -> None:
        """Judge a block; one without a bad message always passes.

        Args:
            size: How many messages it has.
            bad: The bad ones, in their order.

        Raises:
            TooManyInvalid: The partition shall be halted.
        """
        if not bad:
            return
        messages, found = self._messages + size, self._bad + _by_market(bad)
        count = _damage(found)
        if self._is_too_much(count, messages):
            raise TooManyInvalid(
                f"{count} of the newest {messages} messages are bad without those of the most"
                f" affected market, more than MAX_BAD_SHARE={self._max_share:g} allows"
            )
        longest = self._longest_damage(bad)
        if self._max_consecutive and longest >= self._max_consecutive:
            raise TooManyInvalid(
                f"{longest} bad messages in a row without those of the most affected market,"
                f" as many as MAX_CONSECUTIVE_BAD={self._max_consecutive} or more"
            )

    def record(self, size: int, bad: Sequence[Bad]) -> None:
        """Remember a block that was let through."""
        counts = _by_market(bad)
        self._blocks.append((size, counts))
        self._messages += size
        self._bad += counts
        while self._messages > RECENT_MESSAGES and len(self._blocks) > 1:
            messages, old = self._blocks.popleft()
            self._messages -= messages
            self._bad -= old
        *_, (last, self._run) = self._runs(bad)
        if last != size - 1 or not self._max_consecutive:
            self._run = Counter()
        self.flood = self._flood()

    def _is_too_much(self, count: int, messages: int) -> bool:
        return count > self._max_share * max(messages, FEWEST_MESSAGES) + 1e-9

    def _flood(self) -> Flood | None:
        market, count = _worst(self._bad)
        in_a_row = _worst(self._run)[1]
        too_long = self._max_consecutive and in_a_row >= self._max_consecutive
        if market and (too_long or self._is_too_much(count, self._messages)):
            return Flood(market, count, self._messages)
        return None

    def _longest_damage(self, bad: Sequence[Bad]) -> int:
        return max(_damage(run) for _, run in self._runs(bad))

    def _runs(self, bad: Sequence[Bad]) -> Iterable[tuple[int, Counter[bytes]]]:
        """Yield the runs of bad messages, each with its last position, the one before first."""
        last, run = -1, Counter(self._run)
        for position, key in bad:
            if position != last + 1:
                yield last, run
                run = Counter()
            run[_market(key)] += 1
            last = position
        yield last, run


def _market(key: bytes | None) -> bytes:
    return key if key is not None and len(key) <= MAX_MARKET_BYTES else NO_MARKET


def _by_market(bad: Iterable[Bad]) -> Counter[bytes]:
    return Counter(_market(each.key) for each in bad)


def _worst(counts: Counter[bytes]) -> tuple[bytes, int]:
    """Return the market with the most bad messages, and how many these are."""
    return max(
        ((market, count) for market, count in counts.items() if market != NO_MARKET),
        key=lambda each: each[1],
        default=(NO_MARKET, 0),
    )


def _damage(counts: Counter[bytes]) -> int:
    """Return how many messages are bad without those of the most affected market."""
    return counts.total() - _worst(counts)[1]
