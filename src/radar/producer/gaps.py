"""Gaps: when no connection covered a market, and whether REST has filled the gap.

Everything here is pure; times are arguments, Unix time in microseconds.

A market is covered while at least one connection has subscribed to it and is read. A connection may
turn out to have been dead since its last frame. So an ended connection covered its markets from its
subscription to its last frame. A live connection covers them until further notice.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from radar.codec.message_format import MAX_GAP_SYMBOLS
from radar.records import GapCause

# A read ends a backfill after the exchange's second in which the gap ended. The margin allows for
# a subscription that takes effect late and for an answer that is not the newest.
SETTLE_US = 3_000_000
# A trade carries its second only, and the exchange's clock may be ahead of ours by another one.
EVENT_TIME_MARGIN_US = 2_000_000
# A gap that lasts is returned in parts, so that readers see it before it ends.
FIRST_PART_US = 60_000_000
NEXT_PARTS_US = 600_000_000

# Gaps that wait for a backfill: of one market, and in all. A further one counts as not backfilled.
MAX_WAITING = 100
MAX_WAITING_IN_ALL = 10_000
# Spans of ended connections that a market keeps while another connection lives on. Without the
# oldest one, more time counts as not covered if that connection turns out to have been dead.
MAX_SPANS = 1_000

# After the clock was set back, connections begin again within this time.
REBASE_US = 10_000


class Uncovered(NamedTuple):
    """A time in which no connection covered some markets."""

    began_at_us: int
    ended_at_us: int
    cause: GapCause
    symbols: tuple[str, ...]
    numbers: tuple[int, int] | None = None  # the first and the last missing number, where known
    missing: int = 0  # how many of these numbers are missing; 0: all

    @property
    def missing_count(self) -> int:
        """How many numbers are missing; 0 if no number is known."""
        if self.missing or self.numbers is None:
            return self.missing
        return self.numbers[1] - self.numbers[0] + 1


class _Span(NamedTuple):
    """The time that an ended connection covered."""

    start_us: int
    end_us: int
    cause: GapCause  # of its end


@dataclass
class _Market:
    until_us: int  # everything before is covered or was returned as a gap
    cause: GapCause = GapCause.DISCONNECTED  # why it is not covered since then, if it is not
    live: dict[Hashable, int] = field(default_factory=dict)  # the connections: subscribed since
    spans: list[_Span] = field(default_factory=list)  # of ended connections, after `until_us`
    in_parts: bool = False  # the gap that lasts has been returned in part

    def advance(self, to_us: int) -> list[tuple[int, int, GapCause]]:
        """Settle the time up to `to_us`; return its uncovered parts."""
        found = []
        for span in sorted(self.spans):
            if span.start_us > to_us:
                break
            if span.start_us > self.until_us:
                found.append((self.until_us, span.start_us, self.cause))
            if span.end_us >= self.until_us:
                self.until_us, self.cause = span.end_us, span.cause
        if to_us > self.until_us:
            found.append((self.until_us, to_us, self.cause))
            self.until_us = to_us
        self.spans = [span for span in self.spans if span.end_us > self.until_us]
        return found


class Coverage:
    """Holds which connections cover which markets, and returns the uncovered times."""

    def __init__(self) -> None:
        self._markets: dict[str, _Market] = {}

    def begin(self, connection: Hashable, symbols: Iterable[str], now_us: int) -> list[Uncovered]:
        """Add a connection that has subscribed, or is read again; return the gaps that end."""
        found = []
        for symbol in symbols:
            market = self._markets.setdefault(symbol, _Market(now_us))
            if not market.live:
                found += [(gap, symbol) for gap in market.advance(now_us)]
            market.live[connection] = now_us
            market.in_parts = False
        return _grouped(found)

    def end(
        self, connection: Hashable, symbols: Iterable[str], last_us: int, cause: GapCause
    ) -> list[Uncovered]:
        """End a connection that brings no more records since its last frame.

        It returns the gaps that this reveals and that have ended; `begin` or `stop` returns one
        that lasts. A second call changes no state.
        """
        found = []
        for symbol in symbols:
            market = self._markets.get(symbol)
            if market is None or (start_us := market.live.pop(connection, None)) is None:
                continue
            market.spans.append(_Span(start_us, max(start_us, last_us), cause))
            del market.spans[:-MAX_SPANS]
            if market.live:
                settled_us = min(market.live.values())
            else:
                settled_us = max(span.end_us for span in market.spans)
            found += [(gap, symbol) for gap in market.advance(settled_us)]
        return _grouped(found)

    def rebase(self, now_us: int) -> None:
        """Move later times to now, after the clock was set back."""
        for market in self._markets.values():
            # Until its connections begin again, which they do at once.
            market.until_us = min(market.until_us, now_us + REBASE_US)
            market.spans = [span for span in market.spans if span.end_us <= now_us]
            market.live = {name: min(start, now_us) for name, start in market.live.items()}

    def refuse(self, symbols: Iterable[str]) -> None:
        """Record that the exchange refused a connection for these markets."""
        for symbol in symbols:
            if (market := self._markets.get(symbol)) is not None and not market.live:
                market.cause = GapCause.REFUSED

    def mute(self, symbol: str, since_us: int) -> None:
        """Record that no connection has brought a market since then, although they live.

        The next connection covers it again, or one that begins again.
        """
        if (market := self._markets.get(symbol)) is not None:
            market.live.clear()
            market.spans.clear()
            market.until_us, market.cause = since_us, GapCause.MUTE

    def expect(self, symbols: Iterable[str], now_us: int) -> None:
        """Add wanted markets that the exchange does not offer."""
        for symbol in symbols:
            self._markets.setdefault(symbol, _Market(now_us, GapCause.REFUSED))

    def is_covered(self, symbol: str) -> bool:
        """Return whether a live connection covers a market."""
        return (market := self._markets.get(symbol)) is not None and bool(market.live)

    def connections(self, symbol: str) -> int:
        """Return how many live connections cover a market."""
        return len(market.live) if (market := self._markets.get(symbol)) is not None else 0

    def lasting(self, now_us: int) -> list[Uncovered]:
        """Return the next parts of gaps that last long."""
        found = []
        for symbol, market in self._markets.items():
            part_us = NEXT_PARTS_US if market.in_parts else FIRST_PART_US
            if not market.live and now_us - market.until_us >= part_us:
                market.in_parts = True
                found += [(gap, symbol) for gap in market.advance(now_us)]
        return _grouped(found)

    def forget(self, symbols: Iterable[str]) -> None:
        """Drop markets that no longer exist: no gap of them is found from now on."""
        for symbol in symbols:
            self._markets.pop(symbol, None)

    def stop(self, now_us: int) -> list[Uncovered]:
        """Return the gaps that last; they end here because recording ends."""
        return _grouped(
            (gap, symbol)
            for symbol, market in self._markets.items()
            if not market.live
            for gap in market.advance(now_us)
        )


def _grouped(found: Iterable[tuple[tuple[int, int, GapCause], str]]) -> list[Uncovered]:
    symbols: defaultdict[tuple[int, int, GapCause], list[str]] = defaultdict(list)
    for gap, symbol in found:
        symbols[gap].append(symbol)
    return [
        Uncovered(*gap, tuple(part)) for gap in sorted(symbols) for part in _parts(symbols[gap])
    ]


def _parts(symbols: list[str]) -> Iterator[list[str]]:
    """Divide markets: one message holds a limited number."""
    for start in range(0, len(symbols), MAX_GAP_SYMBOLS):
        yield symbols[start : start + MAX_GAP_SYMBOLS]


class Read(NamedTuple):
    """A REST read of the newest trades of one market.

    Attributes:
        symbol: The market.
        started_us: When the request was sent.
        oldest_us: Time of its oldest trade; 0 if it holds all trades of the market.
    """

    symbol: str
    started_us: int
    oldest_us: int

    def reaches(self, time_us: int) -> bool:
        """Return whether the answer is complete since that time."""
        return self.oldest_us == 0 or self.oldest_us + EVENT_TIME_MARGIN_US <= time_us


@dataclass(eq=False)
class _Awaited:
    gap: Uncovered
    deadline_us: int
    left: set[str]  # markets without a read that ends their backfill
    reached: dict[str, bool] = field(default_factory=dict)  # whether back to the beginning
    whole: bool = True  # so far


class AwaitedBackfills:
    """Gaps of trades that wait for their backfill.

    A backfill fills a gap under two conditions. A read after the gap reaches back to its beginning.
    And the first read after the second in which the gap ended reaches back to its end: this read
    counts equal trades of that second right (see `backfill`).
    """

    def __init__(self, timeout_us: int) -> None:
        """Start empty; after this time a gap is returned as not backfilled."""
        self._timeout_us = timeout_us
        self._waiting: dict[_Awaited, None] = {}  # in the order of their deadlines
        self._of: defaultdict[str, dict[_Awaited, None]] = defaultdict(dict)  # by market left

    def add(self, gap: Uncovered, now_us: int) -> bool:
        """Let a gap wait for reads of its markets; return whether there was room for it."""
        if len(self._waiting) >= MAX_WAITING_IN_ALL or any(
            len(self._of.get(symbol, ())) >= MAX_WAITING for symbol in gap.symbols
        ):
            return False
        awaited = _Awaited(gap, now_us + self._timeout_us, set(gap.symbols))
        self._waiting[awaited] = None
        for symbol in awaited.left:
            self._of[symbol][awaited] = None
        return True

    def join(self, gap: Uncovered) -> bool:
        """Add a loss of one market to the loss right before it; return whether that waits."""
        (symbol,) = gap.symbols
        last = next(reversed(self._of.get(symbol, {})), None)
        if last is None or last.reached:
            return False
        before = last.gap
        if (
            (before.symbols, before.cause) != (gap.symbols, gap.cause)
            or (before.numbers is None) != (gap.numbers is None)
            or not before.began_at_us <= gap.began_at_us <= before.ended_at_us
        ):
            return False
        numbers, missing = None, 0
        if before.numbers is not None and gap.numbers is not None:
            numbers = (min(before.numbers[0], gap.numbers[0]), max(*before.numbers, *gap.numbers))
            missing = min(before.missing_count + gap.missing_count, numbers[1] - numbers[0] + 1)
        ended_us = max(before.ended_at_us, gap.ended_at_us)
        last.gap = before._replace(ended_at_us=ended_us, numbers=numbers, missing=missing)
        return True

    def read(self, read: Read, hole_ended_us: int = 0) -> list[tuple[Uncovered, bool]]:
        """Take a read; return the gaps whose backfill is over, and whether each is filled.

        Args:
            read: The read.
            hole_ended_us: When the newest open hole of its market ended, Unix time; 0: none. The
                backfill of such a hole reaches farther back than the newest trades.
        """
        over: list[_Awaited] = []
        for each in [*self._of.get(read.symbol, ())]:
            gap = each.gap
            if read.started_us < gap.ended_at_us:
                continue
            reached = each.reached.get(read.symbol, False) or read.reaches(gap.began_at_us)
            each.reached[read.symbol] = reached
            if not reached and hole_ended_us > gap.began_at_us:
                continue
            if read.started_us >= gap.ended_at_us + SETTLE_US:
                self._leave(each, (read.symbol,))
                each.whole &= reached and read.reaches(gap.ended_at_us)
                over += [each] if not each.left else []
        return self._end(over)

    def rebase(self, now_us: int) -> None:
        """Move later ends of gaps to now, after the clock was set back: no read would end them."""
        for each in self._waiting:
            ended_us = min(each.gap.ended_at_us, now_us)
            began_us = min(each.gap.began_at_us, ended_us)
            each.gap = each.gap._replace(began_at_us=began_us, ended_at_us=ended_us)

    def forget(self, symbols: Iterable[str]) -> list[tuple[Uncovered, bool]]:
        """Drop markets that no longer exist; return the gaps that end with them."""
        gone = frozenset(symbols)
        for each in self._waiting:
            left = tuple(symbol for symbol in each.gap.symbols if symbol not in gone)
            each.gap = each.gap._replace(symbols=left)
            self._leave(each, gone & each.left)
        ended = self._end([each for each in self._waiting if not each.left])
        return [(gap, is_filled) for gap, is_filled in ended if gap.symbols]

    def expire(self, now_us: int) -> list[tuple[Uncovered, bool]]:
        """Return the gaps that have waited for too long; they count as not backfilled."""
        over: list[_Awaited] = []
        for each in self._waiting:
            if now_us < each.deadline_us:
                break
            over.append(each)
        return self._end(over)

    def stop(self) -> list[tuple[Uncovered, bool]]:
        """Return all gaps that wait, as not backfilled."""
        return self._end([*self._waiting])

    def _end(self, over: Iterable[_Awaited]) -> list[tuple[Uncovered, bool]]:
        ended = []
        for each in over:
            del self._waiting[each]
            is_filled = each.whole and not each.left
            self._leave(each, [*each.left])
            ended.append((each.gap, is_filled))
        return ended

    def _leave(self, awaited: _Awaited, symbols: Iterable[str]) -> None:
        for symbol in symbols:
            awaited.left.discard(symbol)
            del self._of[symbol][awaited]
            if not self._of[symbol]:
                del self._of[symbol]
