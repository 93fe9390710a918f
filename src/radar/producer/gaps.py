"""Gaps: when no connection brought anything of a market, and whether REST has made it good.

Everything here is pure; times are arguments, Unix time in microseconds.

A market is covered while at least one connection is subscribed to it and read. That a connection
covers its markets is known only afterwards, since it may turn out to have been dead since its
last frame. So a connection covers from its subscription to its last frame once it has ended, and
until further notice as long as it lives.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from radar.codec.message_format import MAX_GAP_SYMBOLS
from radar.records import GapCause

# A read ends a repair once the second of the exchange in which the gap ended is over, with some
# time for a subscription to take effect and for an answer that is not the newest.
SETTLE_US = 3_000_000
# A trade carries its second only, and the exchange's clock may be ahead of ours by another one.
EVENT_TIME_MARGIN_US = 2_000_000
# A gap that lasts is returned in parts, so that it is known before it ends.
FIRST_PART_US = 60_000_000
NEXT_PARTS_US = 600_000_000

# After the clock was set back, connections begin again within this time.
REBASE_US = 10_000


class Uncovered(NamedTuple):
    """A time in which nothing covered some markets."""

    began_at_us: int
    ended_at_us: int
    cause: GapCause
    symbols: tuple[str, ...]


class _Span(NamedTuple):
    """What a connection that has ended covered."""

    start_us: int
    end_us: int
    cause: GapCause  # of its end


@dataclass
class _Market:
    until_us: int  # everything before is covered or has been told
    cause: GapCause = GapCause.DISCONNECTED  # why it is not covered since then, if it is not
    live: dict[Hashable, int] = field(default_factory=dict)  # subscribed since
    spans: list[_Span] = field(default_factory=list)  # that end after `until_us`
    in_parts: bool = False  # the gap that lasts has been returned in part

    def advance(self, to_us: int) -> list[tuple[int, int, GapCause]]:
        """Settle the time up to `to_us`; return what of it nothing covered."""
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
    """Knows which connections cover which markets, and tells what none has covered."""

    def __init__(self) -> None:
        self._markets: dict[str, _Market] = {}

    def begin(self, connection: Hashable, symbols: Iterable[str], now_us: int) -> list[Uncovered]:
        """Note that a connection has subscribed, or is read again; return the gaps that end."""
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
        """Note that a connection brings nothing any more, since its last frame.

        Returns the gaps that have turned out by that and have ended; one that lasts is returned
        by `begin` or `stop`. Doing it again changes nothing.
        """
        found = []
        for symbol in symbols:
            market = self._markets.get(symbol)
            if market is None or (start_us := market.live.pop(connection, None)) is None:
                continue
            market.spans.append(_Span(start_us, max(start_us, last_us), cause))
            if market.live:
                settled_us = min(market.live.values())
            else:
                settled_us = max(span.end_us for span in market.spans)
            found += [(gap, symbol) for gap in market.advance(settled_us)]
        return _grouped(found)

    def rebase(self, now_us: int) -> None:
        """Let no time be later than now, after the clock was set back."""
        for market in self._markets.values():
            # Until its connections begin again, which they do at once.
            market.until_us = min(market.until_us, now_us + REBASE_US)
            market.spans = [span for span in market.spans if span.end_us <= now_us]
            market.live = {name: min(start, now_us) for name, start in market.live.items()}

    def refuse(self, symbols: Iterable[str]) -> None:
        """Note that the exchange did not take a connection for these markets."""
        for symbol in symbols:
            if (market := self._markets.get(symbol)) is not None and not market.live:
                market.cause = GapCause.REFUSED

    def mute(self, symbol: str, since_us: int) -> None:
        """Note that no connection has brought a market since then, although they live.

        It is covered again by the next connection, or by one that begins again.
        """
        if (market := self._markets.get(symbol)) is not None:
            market.live.clear()
            market.spans.clear()
            market.until_us, market.cause = since_us, GapCause.MUTE

    def expect(self, symbols: Iterable[str], now_us: int) -> None:
        """Note markets that should be recorded and that the exchange does not offer."""
        for symbol in symbols:
            self._markets.setdefault(symbol, _Market(now_us, GapCause.REFUSED))

    def is_covered(self, symbol: str) -> bool:
        """Tell whether a connection that lives covers a market."""
        return (market := self._markets.get(symbol)) is not None and bool(market.live)

    def lasting(self, now_us: int) -> list[Uncovered]:
        """Return the next parts of gaps that last for long."""
        found = []
        for symbol, market in self._markets.items():
            part_us = NEXT_PARTS_US if market.in_parts else FIRST_PART_US
            if not market.live and now_us - market.until_us >= part_us:
                market.in_parts = True
                found += [(gap, symbol) for gap in market.advance(now_us)]
        return _grouped(found)

    def forget(self, symbols: Iterable[str]) -> None:
        """Note that markets do not exist any more: no gap of them is found from now on."""
        for symbol in symbols:
            self._markets.pop(symbol, None)

    def stop(self, now_us: int) -> list[Uncovered]:
        """Return the gaps that last; they end here because nothing is recorded any more."""
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
    """Divide markets: one message holds so many."""
    for start in range(0, len(symbols), MAX_GAP_SYMBOLS):
        yield symbols[start : start + MAX_GAP_SYMBOLS]


class Read(NamedTuple):
    """A REST read of the newest trades of one market.

    Attributes:
        symbol: The market.
        started_us: When it was asked for.
        oldest_us: Time of the oldest trade that it told; 0 if it told all that there are.
    """

    symbol: str
    started_us: int
    oldest_us: int

    def reaches(self, time_us: int) -> bool:
        """Tell whether nothing since then is missing in the answer."""
        return self.oldest_us == 0 or self.oldest_us + EVENT_TIME_MARGIN_US <= time_us


@dataclass
class _Awaited:
    gap: Uncovered
    deadline_us: int
    left: set[str]  # markets without a read that ends their repair
    reached: dict[str, bool] = field(default_factory=dict)  # whether back to the beginning
    whole: bool = True  # so far


class AwaitedBackfills:
    """Gaps of trades that wait for their repair.

    A gap is repaired when a read after it reaches back to its beginning, and the first one after
    the second of its end is over (which counts that second's twins right, see `repair`) reaches
    back to its end.
    """

    def __init__(self, patience_us: int) -> None:
        """Start empty; a gap that was not repaired for so long is told as it is."""
        self._patience_us = patience_us
        self._waiting: list[_Awaited] = []

    def add(self, gap: Uncovered, now_us: int) -> None:
        """Let a gap wait for reads of its markets."""
        self._waiting.append(_Awaited(gap, now_us + self._patience_us, set(gap.symbols)))

    def read(self, read: Read) -> list[tuple[Uncovered, bool]]:
        """Note what REST told; return the gaps whose repair is over, and whether it is whole."""
        for each in self._waiting:
            gap = each.gap
            if read.symbol not in each.left or read.started_us < gap.ended_at_us:
                continue
            reached = each.reached.get(read.symbol, False) or read.reaches(gap.began_at_us)
            each.reached[read.symbol] = reached
            if read.started_us >= gap.ended_at_us + SETTLE_US:
                each.left.discard(read.symbol)
                each.whole &= reached and read.reaches(gap.ended_at_us)
        return self._take(lambda each: not each.left)

    def rebase(self, now_us: int) -> None:
        """Let no gap end later than now, after the clock was set back: no read would end it."""
        for each in self._waiting:
            ended_us = min(each.gap.ended_at_us, now_us)
            began_us = min(each.gap.began_at_us, ended_us)
            each.gap = each.gap._replace(began_at_us=began_us, ended_at_us=ended_us)

    def forget(self, symbols: Iterable[str]) -> list[tuple[Uncovered, bool]]:
        """Leave out markets that do not exist any more; return the gaps that end by that."""
        gone = frozenset(symbols)
        for each in self._waiting:
            left = tuple(symbol for symbol in each.gap.symbols if symbol not in gone)
            each.gap = each.gap._replace(symbols=left)
            each.left -= gone
        self._waiting = [each for each in self._waiting if each.gap.symbols]
        return self._take(lambda each: not each.left)

    def expire(self, now_us: int) -> list[tuple[Uncovered, bool]]:
        """Return the gaps that have waited for too long; they count as not repaired."""
        return self._take(lambda each: now_us >= each.deadline_us)

    def stop(self) -> list[tuple[Uncovered, bool]]:
        """Return all gaps that wait, as not repaired."""
        return self._take(lambda _: True)

    def _take(self, is_over: Callable[[_Awaited], bool]) -> list[tuple[Uncovered, bool]]:
        over = [each for each in self._waiting if is_over(each)]
        self._waiting = [each for each in self._waiting if not is_over(each)]
        return [(each.gap, each.whole and not each.left) for each in over]
