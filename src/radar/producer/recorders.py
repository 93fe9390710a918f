"""From records to messages: the rules of each dataset."""

from collections.abc import Callable, Collection, Iterable, Iterator
from time import monotonic
from typing import Protocol

import msgspec

from radar.clock import received_after, unix_us
from radar.codec import message_format
from radar.producer.conflation import Conflation, UnreadSnapshot
from radar.producer.redundancy import Deliveries, Redundancy
from radar.producer.trade_ids import Occurrences, Published, content_of, trade_id
from radar.producer.trade_sequence import TradeSequences
from radar.records import BookSide, DepthSnapshot, Trade
from radar.telemetry import metrics

KeyValue = tuple[bytes, bytes]  # key and value
Record = Trade | DepthSnapshot
SKEW_WINDOW_US = 10_000_000
# A trade carries its second only; the exchange's clock may differ by another one.
SECOND_MS = 2_000

# Takes a record of one connection or REST answer; returns the message to publish now, if any. Does
# not block. Raises InvalidMessage for a record that workers would refuse, and does not remember it.
Take = Callable[[Record], KeyValue | None]


class Recorder(Protocol):
    """Makes messages of the records of all connections of a producer."""

    clock_skew_s: float | None  # receipt minus exchange time, as live records show; None: unknown
    clock_skew_at_s: float  # when it was found, by `time.monotonic`

    def taker(self, *, history: bool = False, deliveries: Deliveries | None = None) -> Take:
        """Return a function that takes the records of one more connection, or of one REST answer.

        `history` marks a REST answer; `deliveries` counts the trades of a connection.
        """

    def wait(self, snapshot: UnreadSnapshot) -> bool:
        """Take a snapshot that is not parsed yet; False if it is due, so it must be parsed now."""

    def release(self) -> Iterator[KeyValue]:
        """Return the messages that have become due by the passing of time."""

    def next_due(self) -> float | None:
        """Return when `release` will have a message, by `time.monotonic`; None: not known."""

    def drain(self) -> Iterator[KeyValue]:
        """Return the messages that still wait, at the end."""

    def forget(self, symbols: Collection[str]) -> Iterator[KeyValue]:
        """Forget markets that no longer exist; return their messages that still wait."""

    def expect(self, symbol: str, number: int) -> None:
        """Take from the exchange that a record of this consecutive number exists."""

    def not_published(self, value: bytes) -> None:
        """Take back a message that was not published after all; the same record may come again."""


class TradeRecorder:
    """Every trade becomes a message at once, under its ID.

    Attributes:
        sequences: The holes in the exchange's numbers; None: it gives no consecutive ones.
        clock_skew_s: Of the newest complete window: the receive-minus-exchange time nearest to
            zero. None: no window is complete.
        clock_skew_at_s: When it was complete, by `time.monotonic`.
    """

    def __init__(
        self, exchange: str, *, proves_trades: bool = False, redundancy: Redundancy | None = None
    ) -> None:
        self._redundancy = redundancy
        self.sequences = TradeSequences() if proves_trades else None
        self._published = Published()
        self._repeated = metrics.REPEATED_TRADES.labels(exchange)
        self._clock_skew = metrics.CLOCK_SKEW_SECONDS.labels(exchange)
        self._delay_us = 0  # the delay nearest to zero of the new trades of this window
        self._window_began_us = 0
        self.clock_skew_s: float | None = None
        self.clock_skew_at_s = 0.0

    def taker(self, *, history: bool = False, deliveries: Deliveries | None = None) -> Take:
        """Return a function that takes the trades of one connection and counts equal ones.

        Args:
            history: Whether the trades may be of any age; then they show no clock skew.
            deliveries: The counts of the connection, if it has redundant ones.
        """
        occurrences = Occurrences()
        redundancy = self._redundancy

        def take(trade: Record) -> KeyValue | None:
            if not isinstance(trade, Trade):
                return None
            if not history:
                # Also of a refused trade: a wrong clock may be the reason for the refusal.
                self._note_delay(trade)
            message_format.check_trade(trade)
            content = content_of(trade)
            n = occurrences.of(trade, content)
            if trade.sequence and self.sequences is not None:
                self.sequences.take(trade.symbol, trade.sequence, trade.received_at_us)
            if redundancy is not None and deliveries is not None:
                redundancy.take(f"{content}|{n}", trade.symbol, deliveries, trade.received_at_us)
            if not self._published.is_new(content, n, trade.received_at_us):
                self._repeated.inc()
                return None
            return (
                message_format.message_key(trade.source, trade.symbol),
                message_format.encode_trade(trade, trade_id(content, n)),
            )

        return take

    def wait(self, snapshot: UnreadSnapshot) -> bool:
        """Return False: it is no trade."""
        return False

    def release(self) -> Iterator[KeyValue]:
        """Yield no message: trades do not wait."""
        return iter(())

    def next_due(self) -> float | None:
        """Return None: trades do not wait."""
        return None

    def drain(self) -> Iterator[KeyValue]:
        """Yield no message: trades do not wait."""
        return iter(())

    def forget(self, symbols: Collection[str]) -> Iterator[KeyValue]:
        """Yield no message: trades do not wait, and the memory of them is bounded."""
        if self.sequences is not None:
            self.sequences.forget(symbols)
        return iter(())

    def expect(self, symbol: str, number: int) -> None:
        """Look for a trade of this number, unless it comes soon."""
        if self.sequences is not None:
            self.sequences.expect(symbol, number, unix_us())

    def unpublished(self, trades: Iterable[Trade]) -> list[tuple[Trade, int]]:
        """Return the trades of one answer that no connection has brought, each with its occurrence.

        They are not remembered. Trades that are too old for the memory count as brought.
        """
        occurrences = Occurrences()
        found = []
        since_ms = self._published.complete_since_us // 1000
        if since_ms:
            since_ms += SECOND_MS
        for trade in trades:
            content = content_of(trade)
            n = occurrences.of(trade, content)
            if trade.event_time_ms >= since_ms and not self._published.is_published(content, n):
                found.append((trade, n))
        return found

    def is_unpublished(self, trade: Trade, n: int) -> bool:
        """Return whether still no connection has brought a trade that `unpublished` returned."""
        return not self._published.is_published(content_of(trade), n)

    def not_published(self, value: bytes) -> None:
        """Forget a trade that was not published after all; the same trade may come again."""
        self._published.forget(content_of(message_format.decode_trade(value)))

    def _note_delay(self, trade: Trade) -> None:
        """Keep the delay nearest to zero: one absurd or late trade does not prove a wrong clock."""
        delay_us = trade.received_at_us - trade.event_time_ms * 1000
        if 0 <= trade.received_at_us - self._window_began_us < SKEW_WINDOW_US:
            self._delay_us = min(self._delay_us, delay_us, key=abs)
            return
        if self._window_began_us:
            self.clock_skew_s, self.clock_skew_at_s = self._delay_us / 1e6, monotonic()
            self._clock_skew.set(self.clock_skew_s)
        self._delay_us = delay_us
        self._window_began_us = trade.received_at_us


class DepthRecorder:
    """Snapshots are conflated over all connections.

    Without an interval, every snapshot is published once. A snapshot from another connection that
    equals the last published one of its book is left out. A connection that lags behind may bring
    back an older state until it has caught up: the exchange sends no numbers that would show the
    order.

    With an interval, the newest snapshot is always published: an unchanged book is a fact, too.
    """

    def __init__(
        self, exchange: str, interval_s: float, clock: Callable[[], float] = monotonic
    ) -> None:
        """Start without a snapshot.

        Args:
            exchange: Name of the exchange.
            interval_s: At most one snapshot of each side of a book in this time; 0: every one.
            clock: Returns the time in seconds, and never goes back.
        """
        self._clock = clock
        self._conflation = Conflation(interval_s)
        self._replaced = metrics.CONFLATED_SNAPSHOTS.labels(exchange)
        self._counted = 0
        self._every = interval_s == 0
        self._last: dict[tuple[str, BookSide], tuple[Take, DepthSnapshot]] = {}
        self._newest_us: dict[tuple[str, BookSide], int] = {}  # when one counts as received
        self.clock_skew_s: float | None = None  # snapshots carry no time of the exchange
        self.clock_skew_at_s = 0.0

    def taker(self, *, history: bool = False, deliveries: Deliveries | None = None) -> Take:
        """Return a function that takes the snapshots of one more connection."""

        def take(snapshot: Record) -> KeyValue | None:
            if not isinstance(snapshot, DepthSnapshot):
                return None
            message_format.check_depth(snapshot)
            snapshot = self._timed(snapshot)
            if self._every and self._is_repeated(snapshot, take):
                self._replaced.inc()
                return None
            due = self._conflation.offer(snapshot, self._clock())
            return _depth_message(due) if due is not None else None

        return take

    def wait(self, snapshot: UnreadSnapshot) -> bool:
        """Take a snapshot that is not parsed yet; False if it is due, so it must be parsed now.

        Without an interval each one is due.
        """
        if not self._conflation.waits(snapshot.symbol, snapshot.side, self._clock()):
            return False
        snapshot.received_at_us = self._next_us(
            snapshot.symbol, snapshot.side, snapshot.received_at_us
        )
        self._conflation.wait(snapshot)
        return True

    def release(self) -> Iterator[KeyValue]:
        """Return the messages of the snapshots whose interval is over."""
        self._count()
        return map(_depth_message, self._conflation.release(self._clock()))

    def next_due(self) -> float | None:
        """Return when the next interval of a waiting snapshot is over."""
        return self._conflation.next_due()

    def drain(self) -> Iterator[KeyValue]:
        """Return the messages of all waiting snapshots."""
        self._count()
        return map(_depth_message, self._conflation.drain())

    def forget(self, symbols: Collection[str]) -> Iterator[KeyValue]:
        """Forget the books of markets; return the messages of their waiting snapshots."""
        for symbol in symbols:
            for side in BookSide:
                self._last.pop((symbol, side), None)
                self._newest_us.pop((symbol, side), None)
        return map(_depth_message, self._conflation.forget(symbols))

    def expect(self, symbol: str, number: int) -> None:
        """Do nothing: snapshots have no consecutive numbers."""

    def not_published(self, value: bytes) -> None:
        """Forget a snapshot that was not published after all; the same book may come again."""
        snapshot = message_format.decode_depth(value)
        self._last.pop((snapshot.symbol, snapshot.side), None)

    def _timed(self, snapshot: DepthSnapshot) -> DepthSnapshot:
        """Let no two snapshots of a side count as received at once."""
        at_us = self._next_us(snapshot.symbol, snapshot.side, snapshot.received_at_us)
        if at_us == snapshot.received_at_us:
            return snapshot
        return msgspec.structs.replace(snapshot, received_at_us=at_us)

    def _next_us(self, symbol: str, side: BookSide, received_at_us: int) -> int:
        key = (symbol, side)
        at_us = self._newest_us[key] = received_after(received_at_us, self._newest_us.get(key, 0))
        return at_us

    def _is_repeated(self, snapshot: DepthSnapshot, take: Take) -> bool:
        key = (snapshot.symbol, snapshot.side)
        if (found := self._last.get(key)) is not None:
            other, last = found
            if (
                other is not take
                and snapshot.prices == last.prices
                and snapshot.quantities == last.quantities
            ):
                return True
        self._last[key] = (take, snapshot)
        return False

    def _count(self) -> None:
        self._replaced.inc(self._conflation.replaced - self._counted)
        self._counted = self._conflation.replaced


def _depth_message(snapshot: DepthSnapshot) -> KeyValue:
    return message_format.message_key(
        snapshot.source, snapshot.symbol
    ), message_format.encode_depth(snapshot)
