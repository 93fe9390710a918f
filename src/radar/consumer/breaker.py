"""When bad messages are too many to be accidents: pure."""

from collections import deque
from collections.abc import Sequence
from itertools import groupby

from radar.errors import TooManyInvalid

RECENT_MESSAGES = 10_000
# Fewer messages than this count as so many: one bad message of three tells nothing.
FEWEST_MESSAGES = 100


class Breaker:
    """Judges the blocks of one partition by the share of bad messages and by runs of them.

    The share counts over the block in question and the newest blocks before it that hold up to
    `RECENT_MESSAGES`. A new breaker has seen nothing, so a restart forgets; but it judges the
    first block by itself, before anything is done with it, and a block as bad as the one that
    tripped does not get through either.
    """

    def __init__(self, max_share: float, max_consecutive: int) -> None:
        """Begin without a past.

        Args:
            max_share: The greatest share of bad messages that is let through; 1 switches it off.
            max_consecutive: So many bad messages in a row are too many; 0 switches it off.
        """
        self._max_share = max_share
        self._max_consecutive = max_consecutive
        self._blocks: deque[tuple[int, int]] = deque()  # messages, bad ones
        self._messages = 0
        self._bad = 0
        self._run = 0  # bad messages at the end of the newest block

    def check(self, bad: Sequence[bool]) -> None:
        """Judge a block, given message by message; a block without a bad one always passes.

        Raises:
            TooManyInvalid: The partition shall be halted.
        """
        if not any(bad):
            return
        messages, count = self._messages + len(bad), self._bad + sum(bad)
        if count > self._max_share * max(messages, FEWEST_MESSAGES) + 1e-9:
            raise TooManyInvalid(
                f"{count} of the newest {messages} messages are bad,"
                f" more than MAX_BAD_SHARE={self._max_share:g} allows"
            )
        if self._max_consecutive and self._longest_run(bad) >= self._max_consecutive:
            raise TooManyInvalid(
                f"{self._longest_run(bad)} bad messages in a row,"
                f" as many as MAX_CONSECUTIVE_BAD={self._max_consecutive} or more"
            )

    def record(self, bad: Sequence[bool]) -> None:
        """Remember a block that was let through."""
        self._blocks.append((len(bad), sum(bad)))
        self._messages += len(bad)
        self._bad += sum(bad)
        while self._messages > RECENT_MESSAGES and len(self._blocks) > 1:
            messages, count = self._blocks.popleft()
            self._messages -= messages
            self._bad -= count
        trailing = next((n for n, is_bad in enumerate(reversed(bad)) if not is_bad), None)
        self._run = self._run + len(bad) if trailing is None else trailing

    def _longest_run(self, bad: Sequence[bool]) -> int:
        before = [True] * self._run
        return max(
            (sum(1 for _ in run) for is_bad, run in groupby([*before, *bad]) if is_bad), default=0
        )
