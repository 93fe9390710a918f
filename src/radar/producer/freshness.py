"""Freshness: evidence, younger than a stated deadline, that the records of each market arrive.

A connection can be healthy and bring no record of one of its markets, because the exchange has lost
that subscription. Silence of a market does not prove that the market is quiet. So:

- A trade that a connection brings is evidence for its market.
- A market without such evidence is compared with REST, well before the deadline. An answer whose
  trades are all published already is evidence as well.
- If an answer has trades that no connection brings within SETTLE_S, the market is mute since its
  last evidence.
- Without an answer there is no evidence: the market counts as not verified.

REST cannot prove an order book in this way. If a book is silent for far longer than usual while its
connection lives, the feed subscribes to it again once. If the new subscription brings another book
at once, the old one was mute. If it brings no record, the book counts as not verified.

Everything here is pure: times are arguments, monotonic seconds and Unix time in microseconds.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from radar.exchanges.base import RecentTrades
from radar.producer.conflation import Snapshot, read
from radar.producer.trade_ids import content_of
from radar.records import Trade

# REST and a connection may be apart by this much, in either direction.
SETTLE_S = 3.0
# A market is compared after this part of the deadline, so that there is time for the answer.
CHECK_PART = 0.6
# Or after this many of its usual intervals: REST returns only the last trades of a busy market.
USUAL_INTERVALS = 10
LEAST_QUIET_S = 5.0
# Markets that bring trades are compared as well, because a connection may omit some of them.
AUDIT_DEADLINES = 10
# The longest wait before the connection of a market that stays mute is replaced again.
LONGEST_RETRY_S = 1800.0


@dataclass
class _Evidence:
    at: float  # of the newest evidence, monotonic
    at_us: int  # the same, Unix time
    began: float
    heard_us: int = 0  # receipt of the newest record that a connection brought
    changes: int = 0  # looks that found a newer one
    read: float = 0.0  # when REST was compared last
    asked: float = float("-inf")  # when that comparison was requested
    newest_ms: int | None = None  # exchange time of the newest trade of the last comparison
    tail: dict[str, int] = field(default_factory=dict)  # the trades of that time

    def usual_s(self, now: float) -> float | None:
        """Return the usual time between two records; None if too few came."""
        return (now - self.began) / self.changes if self.changes > USUAL_INTERVALS else None

    def hear(self, heard_us: int, now: float) -> bool:
        if heard_us == self.heard_us:
            return False
        self.heard_us = self.at_us = heard_us
        self.at = now
        self.changes += 1
        return True


class UnpublishedTrades(Protocol):
    """The knowledge of published trades; see `radar.producer.recorders.TradeRecorder`."""

    def unpublished(self, trades: list[Trade]) -> list[tuple[Trade, int]]:
        """Return the trades that no connection has brought, each with its occurrence."""

    def is_unpublished(self, trade: Trade, n: int) -> bool:
        """Return whether still no connection has brought such a trade."""


class _Suspect(NamedTuple):
    due: float
    started_us: int
    recent: RecentTrades
    missing: list[tuple[Trade, int]]


class Mute(NamedTuple):
    """A market that REST proves to be mute."""

    symbol: str
    since_us: int  # its last evidence
    recent: RecentTrades  # the answer of REST; to be published


class Retries:
    """When a market's connection may be replaced again: the wait grows each time."""

    def __init__(self, first_s: float) -> None:
        self._first_s = first_s
        self._next: dict[str, tuple[float, float]] = {}  # the earliest time, and the wait after it

    def may(self, symbol: str, now: float) -> bool:
        """Return whether it is time; if so, the next wait begins."""
        not_before, wait_s = self._next.get(symbol, (now, self._first_s))
        if now < not_before:
            return False
        self._next[symbol] = (now + wait_s, min(2 * wait_s, LONGEST_RETRY_S))
        return True

    def forget(self, symbol: str) -> None:
        """Start over: the market brings records."""
        self._next.pop(symbol, None)


class TradeFreshness:
    """Decides which markets to compare with REST, which are mute and which are not verified."""

    def __init__(self, deadline_s: float, published: UnpublishedTrades) -> None:
        """Start without a market.

        Args:
            deadline_s: Evidence must be younger.
            published: The knowledge of published trades.
        """
        self._deadline_s = deadline_s
        self._published = published
        self._markets: dict[str, _Evidence] = {}
        self._suspects: dict[str, _Suspect] = {}

    def check(
        self, heard: Mapping[str, int], symbols: Collection[str], now: float, now_us: int
    ) -> list[str]:
        """Take the newest receipts; return the markets to compare, the oldest first.

        Args:
            heard: Receipt of the newest trade by market, Unix time in microseconds.
            symbols: The recorded markets.
            now: Monotonic seconds.
            now_us: Unix time.
        """
        for symbol in self._markets.keys() - set(symbols):
            del self._markets[symbol]
            self._suspects.pop(symbol, None)
        due = []
        for symbol in symbols:
            evidence = self._markets.get(symbol)
            if evidence is None:
                evidence = self._markets[symbol] = _Evidence(now, now_us, now, read=now)
            evidence.hear(heard.get(symbol, 0), now)
            if symbol not in self._suspects and self._is_due(evidence, now):
                evidence.asked = now
                due.append((evidence.at, symbol))
        return [symbol for _, symbol in sorted(due)]

    def read(self, symbol: str, started_us: int, recent: RecentTrades, now: float) -> None:
        """Take an answer of REST, whose trades may be unpublished."""
        if symbol in self._suspects:
            return
        evidence = self._markets.setdefault(symbol, _Evidence(now, started_us, now))
        evidence.read = now
        missing = [
            (trade, n)
            for trade, n in self._published.unpublished(recent.trades)
            if _is_newer(evidence, trade, n)
        ]
        if missing:
            self._suspects[symbol] = _Suspect(now + SETTLE_S, started_us, recent, missing)
        else:
            self._verify(evidence, started_us, recent, now)

    def settle(self, now: float) -> list[Mute]:
        """Return the mute markets, now that their connections had time to bring more."""
        due = [symbol for symbol, suspect in self._suspects.items() if now >= suspect.due]
        found = []
        for symbol in due:
            suspect, evidence = self._suspects.pop(symbol), self._markets[symbol]
            missing = [
                trade for trade, n in suspect.missing if self._published.is_unpublished(trade, n)
            ]
            if missing:
                earliest_us = min(trade.event_time_ms for trade in missing) * 1000
                since_us = min(evidence.at_us, earliest_us)
                found.append(Mute(symbol, since_us, suspect.recent))
            self._verify(evidence, suspect.started_us, suspect.recent, now - SETTLE_S)
        return found

    def postpone(self, now: float) -> None:
        """Give suspects more time: their connections are not read at the moment."""
        for symbol, suspect in self._suspects.items():
            self._suspects[symbol] = suspect._replace(due=now + SETTLE_S)

    def unverified(self, now: float) -> list[str]:
        """Return the markets whose evidence is too old, the oldest first."""
        late = [
            (evidence.at, symbol)
            for symbol, evidence in self._markets.items()
            if now - evidence.at > self._deadline_s
        ]
        return [symbol for _, symbol in sorted(late)]

    def _is_due(self, evidence: _Evidence, now: float) -> bool:
        if now - evidence.asked < min(LEAST_QUIET_S, self._deadline_s / 5):
            return False  # a comparison is under way
        quiet_s = CHECK_PART * self._deadline_s
        if (usual_s := evidence.usual_s(now)) is not None:
            quiet_s = min(quiet_s, max(LEAST_QUIET_S, USUAL_INTERVALS * usual_s))
        return (
            now - evidence.at >= quiet_s
            or now - evidence.read >= AUDIT_DEADLINES * self._deadline_s
        )

    def _verify(
        self, evidence: _Evidence, started_us: int, recent: RecentTrades, now: float
    ) -> None:
        evidence.at = max(evidence.at, now)
        evidence.at_us = max(evidence.at_us, started_us - int(SETTLE_S * 1e6))
        if recent.trades:
            evidence.newest_ms = max(trade.event_time_ms for trade in recent.trades)
            evidence.tail = {}
            for trade in recent.trades:
                if trade.event_time_ms == evidence.newest_ms:
                    content = content_of(trade)
                    evidence.tail[content] = evidence.tail.get(content, 0) + 1
        elif evidence.newest_ms is None:
            evidence.newest_ms = 0


def _is_newer(evidence: _Evidence, trade: Trade, n: int) -> bool:
    """Return whether a trade was not in the answer of the last comparison."""
    if evidence.newest_ms is None:
        return False  # the first answer: its trades were before the subscription
    if trade.event_time_ms == evidence.newest_ms:
        return n > evidence.tail.get(content_of(trade), 0)
    return trade.event_time_ms > evidence.newest_ms


class MarketBook(NamedTuple):
    """The newest snapshots of both sides of a book."""

    bid: Snapshot | None
    ask: Snapshot | None

    @property
    def heard_us(self) -> int:
        """When the newer snapshot arrived, Unix time; 0 if there is none."""
        return max((side.received_at_us for side in self if side is not None), default=0)

    def differs(self, other: "MarketBook") -> bool:
        """Return whether a side that both books have differs."""
        return any(
            old is not None
            and new is not None
            and (old.prices, old.quantities) != (new.prices, new.quantities)
            for old, new in zip(map(read, self), map(read, other), strict=True)
        )


class _Again(NamedTuple):
    asked: float
    before: MarketBook


class BookFreshness:
    """Decides which books to subscribe to again, which were mute and which are not verified."""

    def __init__(self, deadline_s: float) -> None:
        """Start without a market; a book is quiet for at least `deadline_s`."""
        self._deadline_s = deadline_s
        self._markets: dict[str, _Evidence] = {}
        self._again: dict[str, _Again] = {}

    def check(
        self, books: Mapping[str, MarketBook], alive: Collection[str], now: float, now_us: int
    ) -> list[str]:
        """Take the newest snapshots; return the markets to subscribe to again.

        Args:
            books: The newest snapshots of all recorded markets.
            alive: Markets whose connection has just brought records of other markets.
            now: Monotonic seconds.
            now_us: Unix time.
        """
        for symbol in self._markets.keys() - books.keys():
            del self._markets[symbol]
            self._again.pop(symbol, None)
        due = []
        for symbol, book in books.items():
            evidence = self._markets.get(symbol)
            if evidence is None:
                evidence = self._markets[symbol] = _Evidence(now, now_us, now)
            evidence.hear(book.heard_us, now)
            is_quiet = now - evidence.at > self._quiet_s(evidence, now)
            if is_quiet and symbol in alive and symbol not in self._again:
                self._again[symbol] = _Again(now, book)
                due.append(symbol)
        return due

    def settle(
        self, books: Mapping[str, MarketBook], subscribed_us: Mapping[str, int]
    ) -> list[tuple[str, int, int]]:
        """Return the markets that were mute, from when to when (Unix time).

        Args:
            books: As in `check`.
            subscribed_us: When the newest connection of a market had subscribed, Unix time.
        """
        found = []
        for symbol, again in list(self._again.items()):
            book, before_us = books[symbol], again.before.heard_us
            if book.heard_us <= before_us:
                continue
            del self._again[symbol]
            began_us = subscribed_us.get(symbol, 0)
            at_once = 0 <= book.heard_us - began_us <= SETTLE_S * 1e6
            if before_us and at_once and again.before.differs(book):
                found.append((symbol, before_us, began_us))
        return found

    def unverified(self, now: float) -> list[str]:
        """Return the markets that bring no record after the second subscription."""
        return [
            symbol
            for symbol, again in self._again.items()
            if now - again.asked > SETTLE_S + self._deadline_s / 2
        ]

    def _quiet_s(self, evidence: _Evidence, now: float) -> float:
        usual_s = evidence.usual_s(now)
        return max(self._deadline_s, USUAL_INTERVALS * usual_s if usual_s is not None else 0.0)
