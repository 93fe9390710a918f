"""Comparing derived records with the rows of a time of receipt; pure.

Only rows that came from a recorded frame are judged. A row came from a frame if it counts as
received with it: the records of a frame have its time, or count up from it by a microsecond each.
Rows of REST backfill, and rows of times without recorded frames, stay as they are.
"""

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import msgspec

from radar.codec import message_format
from radar.codec.message_format import DepthMessage
from radar.records import BookSide, DepthSnapshot, Trade
from radar.reparse.derive import Delivered

# A frame has at most one record in so many bytes.
RECORD_BYTES = 64


class Kind(StrEnum):
    """How a row has changed."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Change(NamedTuple):
    """A corrected row.

    Attributes:
        kind: How it has changed.
        symbol: Its market.
        row_key: The values of its row key, with | between.
        received_at_us: Its time of receipt, Unix time.
        deleted: Names the deliveries to delete, see `queries.reparse.DELETE`; empty: none.
        message: The corrected row as a message value; None: it is removed.
    """

    kind: Kind
    symbol: str
    row_key: str
    received_at_us: int
    deleted: str = ""
    message: bytes | None = None


class Origins:
    """The times at which records of recorded frames count as received."""

    def __init__(self) -> None:
        self._begins: list[int] = []
        self._lengths: dict[int, int] = {}

    def add(self, received_at_us: int, size_bytes: int) -> None:
        """Add a frame."""
        known = self._lengths.get(received_at_us)
        if known is None:
            insort(self._begins, received_at_us)
        self._lengths[received_at_us] = max(known or 0, size_bytes // RECORD_BYTES)

    def forget_before(self, time_us: int) -> None:
        """Forget the frames before a time."""
        for begin_us in self._begins[: bisect_right(self._begins, time_us - 1)]:
            del self._lengths[begin_us]
        self._begins = self._begins[bisect_right(self._begins, time_us - 1) :]

    def __contains__(self, received_at_us: int) -> bool:
        """Return whether a row of this time of receipt came from one of the frames."""
        place = bisect_right(self._begins, received_at_us)
        if not place:
            return False
        begin_us = self._begins[place - 1]
        return received_at_us - begin_us <= self._lengths[begin_us]


class SetBack:
    """By how much the producer's clock had been set back, as stored rows show.

    Frames do not carry it. It changes only when the clock is set, so the row before says it.
    """

    def __init__(self) -> None:
        self._times: list[int] = []
        self._values: dict[int, int] = {}

    def note(self, received_at_us: int, set_back_us: int) -> None:
        """Take it from a row."""
        if received_at_us not in self._values:
            insort(self._times, received_at_us)
        self._values[received_at_us] = set_back_us

    def at(self, received_at_us: int) -> int:
        """Return it for a time of receipt, Unix time; 0 if no row is known."""
        if not self._times:
            return 0
        place = max(0, bisect_right(self._times, received_at_us) - 1)
        return self._values[self._times[place]]


class TradeRow(NamedTuple):
    """A stored delivery of a trade; the fields are `queries.reparse.TRADE_FIELDS`."""

    trade_id: str
    symbol: str
    received_at_us: int
    event_time: int
    base: str
    quote: str
    side: str
    price: str
    base_amount: str
    native_id: str
    sequence: int
    event_time_us: int
    set_back_us: int = 0

    @property
    def content(self) -> tuple[object, ...]:
        """Everything but the ID, the time of receipt and the state of the clock."""
        return (self.symbol, *self[3:-1])


def content_of_trade(trade: Trade) -> tuple[object, ...]:
    """Return the content that the row of a trade has."""
    event_time = trade.event_time_ms * 1000
    return (
        trade.symbol,
        event_time,
        trade.base,
        trade.quote,
        str(trade.side),
        trade.price,
        trade.base_amount,
        trade.native_id,
        trade.sequence,
        trade.event_time_us or event_time,
    )


def wrong_trades(
    derived: Mapping[str, Delivered], rows: Iterable[TradeRow], origins: Origins
) -> list[TradeRow]:
    """Return the rows of a time that came from its frames, but do not follow from them."""

    def follows(row: TradeRow) -> bool:
        delivered = derived.get(row.trade_id)
        return (
            delivered is not None
            and row.received_at_us in delivered.times_us
            and row.content == content_of_trade(delivered.first)
        )

    return [row for row in rows if row.received_at_us in origins and not follows(row)]


def unstored(derived: Mapping[str, Delivered], rows: Iterable[TradeRow]) -> dict[str, Trade]:
    """Return the trades that no row shows as received so early."""
    first_us: dict[str, int] = {}
    for row in rows:
        delivered = derived.get(row.trade_id)
        if delivered is not None and row.content == content_of_trade(delivered.first):
            known_us = first_us.get(row.trade_id, row.received_at_us)
            first_us[row.trade_id] = min(known_us, row.received_at_us)
    return {
        name: trade
        for name, (trade, _) in derived.items()
        if name not in first_us or first_us[name] > trade.received_at_us
    }


def changes_of_trades(
    derived: Mapping[str, Delivered],
    wrong: Iterable[TradeRow],
    missing: Mapping[str, Trade],
    others: Iterable[TradeRow],
    set_back: SetBack | None = None,
) -> list[Change]:
    """Return the changes that correct the trades of a time.

    Args:
        derived: The trades of the time.
        wrong: The rows that do not follow from the frames.
        missing: Those of them that no row of the time shows.
        others: All rows of these trades, of any time.
        set_back: The state of the producer's clock; None: it was never set back.
    """
    wrong = list(wrong)
    wrong_rows = set(wrong)
    right: dict[str, list[TradeRow]] = defaultdict(list)
    for row in others:
        if row not in wrong_rows:
            right[row.trade_id].append(row)
    found: list[Change] = []
    replaced = {row.trade_id for row in wrong}
    for name, trade in missing.items():
        rows = right.get(name, [])
        if any(
            row.content != content_of_trade(trade) or row.received_at_us <= trade.received_at_us
            for row in rows
        ):
            continue  # it is stored; or a row of another origin says otherwise and stays
        kind = Kind.CHANGED if name in replaced or rows else Kind.ADDED
        if set_back is not None:
            by_us = set_back.at(trade.received_at_us)
            trade = msgspec.structs.replace(trade, set_back_us=by_us)
        value = message_format.encode_trade(trade, name)
        key = str(UUID(name))
        found.append(Change(kind, trade.symbol, key, trade.received_at_us, "", value))
    for row in wrong:
        kind = Kind.CHANGED if row.trade_id in derived else Kind.REMOVED
        deleted = f"{row.trade_id}|{row.symbol}|{row.received_at_us}|{row.event_time}"
        key = str(UUID(row.trade_id))
        found.append(Change(kind, row.symbol, key, row.received_at_us, deleted))
    return found


Book = tuple[str, str]  # market and side
BookKey = tuple[str, str, int]  # and time of receipt


class DepthRow(NamedTuple):
    """A stored snapshot; the fields are `queries.reparse.DEPTH_FIELDS`."""

    symbol: str
    side: str
    received_at_us: int
    base: str
    quote: str
    prices: tuple[float, ...]
    quantities: tuple[float, ...]
    event_time_us: int
    sequence: int
    verified: bool
    set_back_us: int = 0

    @property
    def key(self) -> BookKey:
        """Market, side and time of receipt."""
        return self[:3]

    def message(self, source: str) -> bytes:
        """Return the row as a message value."""
        return message_format.encode_depth(
            DepthSnapshot(
                source=source,
                symbol=self.symbol,
                base=self.base,
                quote=self.quote,
                side=BookSide(self.side),
                prices=self.prices,
                quantities=self.quantities,
                received_at_us=self.received_at_us,
                event_time_us=self.event_time_us,
                sequence=self.sequence,
                verified=self.verified,
                set_back_us=self.set_back_us,
            )
        )


def row_of_snapshot(snapshot: DepthSnapshot | DepthMessage) -> DepthRow:
    """Return the row that a snapshot becomes."""
    return DepthRow(
        snapshot.symbol,
        str(snapshot.side),
        snapshot.received_at_us,
        snapshot.base,
        snapshot.quote,
        tuple(snapshot.prices),
        tuple(snapshot.quantities),
        snapshot.event_time_us,
        snapshot.sequence,
        snapshot.verified,
    )


class Snapshots:
    """The derived and the stored snapshots of a time that moves on.

    A stored snapshot stays if the frames have it: which one of an interval was published depends on
    the moment at which the producer looked. One that is due by conflation is added only where no
    stored snapshot of its book is within an interval of it.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._stored: dict[BookKey, DepthRow] = {}
        self._kept: dict[BookKey, DepthRow] = {}
        self._kept_us: dict[Book, list[int]] = defaultdict(list)
        self._due: dict[BookKey, DepthRow] = {}

    def take_stored(self, rows: Iterable[DepthRow]) -> None:
        """Take the stored snapshots of the next time; before the derived ones."""
        self._stored |= {row.key: row for row in rows}

    def take_derived(self, seen: Iterable[DepthSnapshot], due: Iterable[DepthMessage]) -> None:
        """Take derived snapshots.

        Args:
            seen: All of them.
            due: Those that are due by conflation.
        """
        for snapshot in seen:
            key = (snapshot.symbol, str(snapshot.side), snapshot.received_at_us)
            if key in self._stored and key not in self._kept:
                self._kept[key] = row_of_snapshot(snapshot)
                insort(self._kept_us[key[:2]], snapshot.received_at_us)
        for message in due:
            row = row_of_snapshot(message)
            self._due[row.key] = row

    def changes(self, end_us: int, interval_us: int, origins: Origins) -> list[Change]:
        """Return the changes of the time before `end_us`, and forget it.

        Derived snapshots must have been taken for an interval longer.
        """
        found = []
        set_back = SetBack()
        for key, stored in [each for each in self._stored.items() if each[0][2] < end_us]:
            row = self._kept.pop(key, None)
            set_back.note(key[2], stored.set_back_us)
            if row is not None:
                row = row._replace(set_back_us=stored.set_back_us)
            if row is not None and row != stored:
                found.append(self._change(Kind.CHANGED, key, row, is_stored=True))
            elif row is None and stored.received_at_us in origins:
                found.append(self._change(Kind.REMOVED, key, None, is_stored=True))
            del self._stored[key]
        for key, row in [each for each in self._due.items() if each[0][2] < end_us]:
            del self._due[key]
            near = self._kept_us[key[:2]]
            place = bisect_right(near, key[2] - max(1, interval_us))
            if place == len(near) or near[place] >= key[2] + max(1, interval_us):
                row = row._replace(set_back_us=set_back.at(key[2]))
                found.append(self._change(Kind.ADDED, key, row, is_stored=False))
        for times in self._kept_us.values():
            del times[: bisect_right(times, end_us - interval_us - 1)]
        return found

    def _change(self, kind: Kind, key: BookKey, row: DepthRow | None, *, is_stored: bool) -> Change:
        symbol, side, at_us = key
        return Change(
            kind,
            symbol,
            f"{self._source}|{symbol}|{side}|{at_us}",
            at_us,
            f"{symbol}|{side}|{at_us}" if is_stored else "",
            row.message(self._source) if row is not None else None,
        )
