"""Trade IDs: which deliveries are the same trade.

Wallex gives its trades no ID, and times of one second. Identical trades are legitimate. New
connections, overlapping connections and REST deliver the same trade again.

So a trade's ID is derived from its content and `n`: the trade is the n-th with that content on
one connection. A REST answer counts as a connection of its own. Deliveries of one trade on several
connections get one ID; equal trades on one connection get several. A connection that missed an
equal trade counts too low. That never doubles a trade, and any connection that saw all of them
corrects it: the overlapping one, or the REST answer.

Everything here is pure; times are arguments.
"""

from hashlib import sha256

from radar.codec.message_format import TradeMessage
from radar.records import Trade

ID_DIGITS = 32

# Equal trades arrive on one connection within seconds of each other.
REMEMBER_US = 10_000_000
# Connections are many, so each remembers few. The published trades are remembered once, for longer:
# REST and later connections deliver them again.
REMEMBER_OF_A_CONNECTION = 10_000
REMEMBER_PUBLISHED = 100_000


def content_of(trade: Trade | TradeMessage) -> str:
    """Return the content that identifies a trade: the exchange's ID, if it gives one.

    Otherwise it is everything but the time of receipt.
    """
    if trade.native_id:
        return f"{trade.source}|{trade.symbol}|{trade.native_id}"
    return (
        f"{trade.source}|{trade.symbol}|{trade.event_time_ms}|{trade.price}"
        f"|{trade.base_amount}|{trade.side}"
    )


def trade_id(content: str, n: int) -> str:
    """Return the ID of the n-th trade with a content, 32 hexadecimal digits.

    Args:
        content: As returned by `content_of`.
        n: The occurrence on one connection; the first is 1.
    """
    return sha256(f"{content}|{n}".encode()).hexdigest()[:ID_DIGITS]


class Memory:
    """A number for each trade content, of bounded size; it forgets contents that are not set again.

    There are two generations. When the current one is full and old enough, it becomes the previous
    one, and the previous one is dropped. So a content is remembered for at least `min_age_us` and
    for at least `min_contents` others after it was last set, whatever its exchange's clock
    says.
    """

    def __init__(self, min_contents: int, min_age_us: int = REMEMBER_US) -> None:
        self._min_age_us = min_age_us
        self._min_contents = min_contents
        self._current: dict[str, int] = {}
        self._previous: dict[str, int] = {}
        self._since_us = self._complete_since_us = 0

    @property
    def complete_since_us(self) -> int:
        """Return since when the memory is complete, by the clock of `set`."""
        return self._complete_since_us

    def __len__(self) -> int:
        return len(self._current) + len(self._previous)

    def get(self, content: str) -> int:
        """Return the number of a content; 0 if it is not remembered."""
        return self._current.get(content) or self._previous.get(content, 0)

    def set(self, content: str, number: int, now_us: int) -> None:
        """Remember the number of a content.

        Args:
            content: As returned by `content_of`.
            number: Above 0.
            now_us: A clock in microseconds that does not have to be exact.
        """
        if (
            len(self._current) >= self._min_contents
            # A clock that was set back must not keep a generation for ever.
            and not 0 <= now_us - self._since_us < self._min_age_us
        ):
            if self._previous:
                self._complete_since_us = self._since_us
            self._previous = self._current
            self._current = {}
            self._since_us = now_us
        elif not self._current:
            self._since_us = now_us
        self._current[content] = number

    def forget(self, content: str) -> None:
        """Forget a content."""
        self._current.pop(content, None)
        self._previous.pop(content, None)


class Occurrences:
    """Counts the trades of each content on one connection."""

    def __init__(self) -> None:
        self._counted = Memory(REMEMBER_OF_A_CONNECTION)

    def of(self, trade: Trade, content: str) -> int:
        """Return the occurrence of this trade; 1 for every trade with an ID of the exchange."""
        return 1 if trade.native_id else self.count(content, trade.received_at_us)

    def count(self, content: str, now_us: int) -> int:
        """Return the occurrence of this content; the first is 1."""
        n = self._counted.get(content) + 1
        self._counted.set(content, n, now_us)
        return n


class Published:
    """Remembers the trades that this process has published, over all its connections.

    It only saves work: a trade that is published again has the same ID, and ClickHouse merges it.
    Every connection counts from 1, so the greatest published `n` is enough.
    """

    def __init__(self) -> None:
        self._greatest = Memory(REMEMBER_PUBLISHED)

    @property
    def complete_since_us(self) -> int:
        """Return since when the memory of published trades is complete."""
        return self._greatest.complete_since_us

    def is_published(self, content: str, n: int) -> bool:
        """Return whether the n-th trade with a content is known to be published."""
        return n <= self._greatest.get(content)

    def is_new(self, content: str, n: int, now_us: int) -> bool:
        """Return whether the n-th trade with a content is new, and mark it as published."""
        if n <= self._greatest.get(content):
            return False
        self._greatest.set(content, n, now_us)
        return True

    def forget(self, content: str) -> None:
        """Forget a trade that was not published; its equals may be published again."""
        self._greatest.forget(content)
