"""Order books that are kept from a snapshot and updates. Pure.

Prices are compared as exact decimals, and the texts of the exchange stay, because a checksum is
computed over them. `Change`s are parsed before the book changes, so a frame with a malformed level
leaves it as it was.

    OrderBook     the levels of both sides
    KeptBook      a book of one market, and whether it can be trusted
    BookKeeper    the books of a connection whose exchange answers a subscription with a snapshot
"""

import zlib
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

from radar.clock import received_after
from radar.exchanges.base import Event, Lost, Refused, Send, Subscribed
from radar.exchanges.common.literals import plain
from radar.records import BookSide, BookUpdate, DepthSnapshot, GapCause, Market

MAX_PUBLISHED = 50
CHECKSUM_LEVELS = 10
# A side with more levels forgets all but the best half of these.
MAX_KEPT = 5_000
# A book that is lost so often without a steady time between is refused.
MAX_LOSSES = 5
STEADY_UPDATES = 200
SNAPSHOT_WITHIN_US = 30_000_000
# After so many recorded updates the whole book is recorded again.
UPDATES_PER_SNAPSHOT = 1_000

# Price and quantity for records, then both as the exchange wrote them.
Level = tuple[float, float, str, str]
# The price, and its level; None removes it.
Change = tuple[Decimal, Level | None]


def changes(levels: Iterable[tuple[str, str]]) -> list[Change]:
    """Parse levels of the exchange: price and absolute quantity, 0 removes.

    Raises:
        ValueError: A text is no decimal, or a price is zero.
    """
    parsed: list[Change] = []
    for price_text, quantity_text in levels:
        price_text, quantity_text = plain(price_text), plain(quantity_text)
        price, quantity = Decimal(price_text), float(quantity_text)
        if not price:
            raise ValueError("a level has the price 0")
        level = (float(price_text), quantity, price_text, quantity_text) if quantity else None
        parsed.append((price, level))
    return parsed


class Side:
    """The known levels of one side, best first.

    Attributes:
        changed: Price and quantity of the levels that have changed, 0 for one that is gone, until
            the owner clears it; None: not kept.
    """

    def __init__(self, side: BookSide, *, keeps_changes: bool = False) -> None:
        self._is_bid = side is BookSide.BID
        self._keys: list[Decimal] = []  # bids are negated, so the best is always the first
        self._levels: dict[Decimal, Level] = {}
        self._bound: Decimal | None = None  # levels behind it are unknown
        self.changed: dict[Decimal, tuple[float, float]] | None = {} if keeps_changes else None

    def __len__(self) -> int:
        """Return how many levels are known."""
        return len(self._keys)

    @property
    def is_whole(self) -> bool:
        """Whether no level is unknown."""
        return self._bound is None

    def replace(self, levels: Iterable[Change], full: int = 0) -> None:
        """Take a snapshot.

        Args:
            levels: Its levels.
            full: A snapshot with so many levels may have been cut, so levels behind its last one
                are unknown; 0: it never is.
        """
        known: dict[Decimal, Level] = {}
        for price, level in levels:
            key = self._key(price)
            if level is None:
                known.pop(key, None)
            else:
                known[key] = level
        # Sorted once: to insert each level in its place takes a time that grows with the square.
        self._keys, self._levels, self._bound = sorted(known), known, None
        if full and len(known) >= full:
            self._bound = self._keys[-1]
        if self.changed is not None:
            self.changed = {key: level[:2] for key, level in known.items()}
        self._bound_size()

    def apply(self, levels: Iterable[Change]) -> None:
        """Take changes in their order; changes of unknown levels are left out."""
        keys, known, bound = self._keys, self._levels, self._bound
        for price, level in levels:
            key = self._key(price)
            if bound is not None and key > bound:
                continue
            if level is None:
                if (gone := known.pop(key, None)) is not None:
                    del keys[bisect_left(keys, key)]
                    if self.changed is not None:
                        self.changed[key] = (gone[0], 0.0)
                continue
            is_new = key not in known
            known[key] = level
            if self.changed is not None:
                self.changed[key] = level[:2]
            if is_new:
                insort(keys, key)
                # At once: a frame may hold far more levels than are kept.
                if len(keys) > MAX_KEPT:
                    self._bound_size()
                    bound = self._bound

    def _key(self, price: Decimal) -> Decimal:
        # `copy_negate`, because the minus sign would round to the digits of the context.
        return price.copy_negate() if self._is_bid else price

    def _bound_size(self) -> None:
        """Forget the worst half of a side with more levels than are kept."""
        if len(self._keys) > MAX_KEPT:
            self.cut(MAX_KEPT // 2)
            self._bound = self._keys[-1]

    def cut(self, depth: int) -> None:
        """Forget the levels behind the best ones."""
        for key in self._keys[depth:]:
            gone = self._levels.pop(key)
            if self.changed is not None:
                self.changed[key] = (gone[0], 0.0)
        del self._keys[depth:]

    def best(self, count: int) -> list[Level]:
        """Return the best levels, best first."""
        known = self._levels
        return [known[key] for key in self._keys[:count]]


class OrderBook:
    """Both sides of a book.

    Args:
        depth: The exchange sends so many levels a side and does not remove those behind them;
            0: it sends all.
        keeps_changes: Both sides keep their changes.
    """

    def __init__(self, depth: int = 0, *, keeps_changes: bool = False) -> None:
        self.bids = Side(BookSide.BID, keeps_changes=keeps_changes)
        self.asks = Side(BookSide.ASK, keeps_changes=keeps_changes)
        self._depth = depth

    def replace(self, bids: Sequence[Change], asks: Sequence[Change], full: int = 0) -> None:
        """Take a snapshot; see `Side.replace`."""
        self.bids.replace(bids, full)
        self.asks.replace(asks, full)
        self._cut()

    def apply(self, bids: Sequence[Change], asks: Sequence[Change]) -> None:
        """Take an update."""
        self.bids.apply(bids)
        self.asks.apply(asks)
        self._cut()

    def _cut(self) -> None:
        if self._depth:
            self.bids.cut(self._depth)
            self.asks.cut(self._depth)

    def checksum(self) -> int:
        """Return Kraken's CRC32 of the ten best levels: asks, then bids, prices, then quantities.

        Of each text the point and all leading zeros are left out.
        """
        levels = (*self.asks.best(CHECKSUM_LEVELS), *self.bids.best(CHECKSUM_LEVELS))
        digits = [text.replace(".", "").lstrip("0") for level in levels for text in level[2:]]
        return zlib.crc32("".join(digits).encode())


def continues(first: int, last: int, known: int) -> bool:
    """Return whether an update of the numbers `first` to `last` follows the known state."""
    return first <= known + 1 <= last


class KeptBook:
    """A book of one market on one connection.

    Attributes:
        market: The market.
        book: Its levels.
        is_known: Whether the levels are those of the exchange, as far as its numbers show.
        is_lost: Whether a loss was reported that no snapshot has ended yet.
        number: The exchange's number of the state.
        good_us: When the newest good state arrived, or the acknowledgement, Unix time.
    """

    def __init__(self, market: Market, depth: int = 0, *, updates: bool = False) -> None:
        """Start with an unknown book.

        Args:
            market: The market.
            depth: See `OrderBook`.
            updates: Good states also yield a `BookUpdate`.
        """
        self.market = market
        self.book = OrderBook(depth, keeps_changes=updates)
        self._yields_updates = updates
        self._begins = True  # a chain of updates
        self._since_snapshot = 0  # updates
        self.is_known = False
        self.is_lost = False
        self.number = 0
        self.good_us = 0
        self.losses = 0  # without a steady time between
        self.updates = 0  # good ones since the last loss
        self.asked_us = 0  # when the snapshot was asked for

    def lose(
        self, cause: GapCause, received_at_us: int, first_id: int = 0, last_id: int = 0
    ) -> list[Event]:
        """Trust the book no more; report a loss once."""
        was_lost, self.is_lost, self.is_known = self.is_lost, True, False
        self._begins = True
        self.losses = 1 if self.updates >= STEADY_UPDATES else self.losses + 1
        self.updates = 0
        if was_lost:
            return []
        since_us = self.good_us or received_at_us
        return [Lost(self.market.symbol, cause, since_us, first_id, last_id)]

    def miss(self, now_us: int) -> list[Event]:
        """Report that no state has come since the acknowledgement; once, and not after a loss."""
        return [] if self.is_lost else self.lose(GapCause.MUTE, now_us)

    def good(
        self, source: str, received_at_us: int, event_time_us: int, *, verified: bool
    ) -> list[Event]:
        """Trust the book from now on; return its sides, and that the exchange delivers again."""
        again: list[Event] = [Subscribed((self.market.symbol,))] if self.is_lost else []
        received_at_us = received_after(received_at_us, self.good_us)
        if received_at_us < self.good_us:
            # The clock was set back: readers find no earlier update by time.
            self._since_snapshot = UPDATES_PER_SNAPSHOT
        self.is_known, self.is_lost = True, False
        self.good_us = received_at_us
        self.updates += 1
        events = [*again, *self.snapshots(source, received_at_us, event_time_us, verified=verified)]
        if self._yields_updates:
            events.append(self._update(source, received_at_us, event_time_us, verified=verified))
        return events

    def replace(self, bids: Sequence[Change], asks: Sequence[Change], full: int = 0) -> None:
        """Take a snapshot of the exchange, which begins a chain; see `Side.replace`."""
        self.book.replace(bids, asks, full)
        self._begins = True

    def _update(
        self, source: str, received_at_us: int, event_time_us: int, *, verified: bool
    ) -> BookUpdate:
        """Return the changes since the last good state, or the whole book."""
        begins = self._begins
        is_snapshot = begins or self._since_snapshot >= UPDATES_PER_SNAPSHOT
        self._begins = False
        self._since_snapshot = 0 if is_snapshot else self._since_snapshot + 1
        bids, asks = (_levels(side, whole=is_snapshot) for side in (self.book.bids, self.book.asks))
        return BookUpdate(
            source=source,
            symbol=self.market.symbol,
            base=self.market.base,
            quote=self.market.quote,
            begins=begins,
            is_snapshot=is_snapshot,
            bids=bids,
            asks=asks,
            received_at_us=received_at_us,
            event_time_us=event_time_us,
            sequence=self.number,
            verified=verified,
        )

    def snapshots(
        self, source: str, received_at_us: int, event_time_us: int, *, verified: bool
    ) -> list[DepthSnapshot]:
        """Return the best levels of both sides.

        A side whose known levels are all gone is left out: there may be unknown ones.
        """
        sides = ((BookSide.BID, self.book.bids), (BookSide.ASK, self.book.asks))
        return [
            snapshot(
                source,
                self.market,
                name,
                side.best(MAX_PUBLISHED),
                received_at_us,
                event_time_us,
                self.number,
                verified=verified,
            )
            for name, side in sides
            if side.is_whole or len(side)
        ]


def _levels(side: Side, *, whole: bool) -> tuple[tuple[float, float], ...]:
    """Return all levels or the changed ones, and forget the changes."""
    changed = side.changed or {}
    levels = (level[:2] for level in side.best(len(side))) if whole else changed.values()
    found = tuple(levels)
    changed.clear()
    return found


def snapshot(
    source: str,
    market: Market,
    side: BookSide,
    levels: Sequence[Level],
    received_at_us: int,
    event_time_us: int,
    sequence: int,
    *,
    verified: bool,
) -> DepthSnapshot:
    """Return the record of one side; its levels are best first."""
    return DepthSnapshot(
        source=source,
        symbol=market.symbol,
        base=market.base,
        quote=market.quote,
        side=side,
        prices=tuple([level[0] for level in levels]),
        quantities=tuple([level[1] for level in levels]),
        received_at_us=received_at_us,
        event_time_us=event_time_us,
        sequence=sequence,
        verified=verified,
    )


def whole_sides(
    source: str,
    market: Market,
    bids: Sequence[Change],
    asks: Sequence[Change],
    received_at_us: int,
    event_time_us: int,
    sequence: int,
) -> list[DepthSnapshot]:
    """Return both sides of a frame that holds a whole book; nothing proves it."""
    kept = KeptBook(market)
    kept.book.replace(bids, asks)
    kept.number = sequence
    return kept.snapshots(source, received_at_us, event_time_us, verified=False)


class BookKeeper:
    """The books of a connection whose exchange answers a subscription with a snapshot.

    Args:
        source: Name of the exchange.
        markets: The markets of the connection.
        depth: See `OrderBook`.
        subscribe: Returns the frames that subscribe to one book.
        unsubscribe: Returns the frames that end it.
        updates: See `KeptBook`.
    """

    def __init__(
        self,
        source: str,
        markets: Mapping[str, Market],
        depth: int,
        subscribe: Callable[[str], list[Send]],
        unsubscribe: Callable[[str], list[Send]],
        *,
        updates: bool = False,
    ) -> None:
        self._source = source
        self._kept = {
            symbol: KeptBook(market, depth, updates=updates) for symbol, market in markets.items()
        }
        self._subscribe, self._unsubscribe = subscribe, unsubscribe

    def acknowledged(self, symbol: str, received_at_us: int) -> None:
        """Remember when the exchange acknowledged the subscription to a book."""
        kept = self._kept[symbol]
        kept.good_us = kept.good_us or received_at_us
        kept.asked_us = kept.asked_us or received_at_us

    def __getitem__(self, symbol: str) -> KeptBook:
        """Return the book of a market."""
        return self._kept[symbol]

    def good(
        self, kept: KeptBook, received_at_us: int, event_time_us: int, *, verified: bool
    ) -> list[Event]:
        """Return the events of a good state."""
        return kept.good(self._source, received_at_us, event_time_us, verified=verified)

    def lose(self, kept: KeptBook, cause: GapCause, received_at_us: int) -> list[Event]:
        """Return the loss of a book, and the frames for a new snapshot.

        A book that is lost again and again is refused, so that it cannot fill the connection with
        subscriptions.
        """
        symbol = kept.market.symbol
        events = [*kept.lose(cause, received_at_us), *self._unsubscribe(symbol)]
        kept.asked_us = received_at_us
        if kept.losses > MAX_LOSSES:
            kept.asked_us = 0
            return [*events, Refused((symbol,), f"its book is lost repeatedly: {cause.value}")]
        return [*events, *self._subscribe(symbol)]

    def overdue(self, now_us: int) -> list[Event]:
        """Return the frames for snapshots that were asked for and did not come, and the losses."""
        events: list[Event] = []
        for symbol, kept in self._kept.items():
            is_asked = kept.asked_us and not kept.is_known
            if is_asked and now_us - kept.asked_us > SNAPSHOT_WITHIN_US:
                kept.asked_us = now_us
                events += kept.miss(now_us)
                events += [*self._unsubscribe(symbol), *self._subscribe(symbol)]
        return events
