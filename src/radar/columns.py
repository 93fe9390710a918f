"""From the message values of a block to the columns of an insert, many at a time.

It yields what `wire.decode_…` would, message by message, but an order of magnitude faster: the
parser only checks types, and what makes a value plausible is checked for a whole column at once.
Where anything deviates, be it bad or only unusual, the slow way decides, so that there is one
definition of what is valid. Pure, like decoding.
"""

import re
from array import array
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import msgspec
import numpy as np
import simdjson
from numpy.typing import NDArray

from radar import wire
from radar.decimals import CANONICAL_PATTERN
from radar.errors import InvalidMessage
from radar.records import BookSide

_Key = TypeVar("_Key", bound=Hashable)


class Coded(NamedTuple):
    """Texts of which few are different: the different ones, and for each row which one it is."""

    texts: Sequence[str]
    codes: NDArray[np.uint32]


class Lists(NamedTuple):
    """A list of each row, one behind the other."""

    lengths: NDArray[np.int64]
    values: NDArray[np.float64] | Sequence[str]


class Column(NamedTuple):
    """A column of some rows.

    Attributes:
        name: In the table.
        type: Of ClickHouse, in which the data is given; the server converts it to the table's.
        data: Texts, or numbers of the type's width.
    """

    name: str
    type: str
    data: NDArray[Any] | Sequence[str] | Coded | Lists


Columns = list[Column]

# `wire` checks each message; these are its bounds for all of them together.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,31}")
_POSITIVE_AMOUNT = re.compile(f"(?!0$){CANONICAL_PATTERN[1:-1]}")
_HEX = re.compile(r"[0-9a-f]*")
_ID_DIGITS = 32
_QUOTES_OF_TRADE = 42  # 12 names and 9 texts
_QUOTES_OF_DEPTH = 32  # 10 names and 6 texts
_DEPTH_BEGINNING = b'{"v":1,"kind":"depth",'
_PRICES = b'"prices":['
_REMEMBERED_HEADS = 10_000


class _Trade(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """`wire.TradeMessage`, checked for its types only."""

    v: Literal[1]
    kind: Literal["trade"]
    trade_id: str
    source: str
    symbol: str
    base: str
    quote: str
    side: Literal["buy", "sell"]
    price: str
    base_amount: str
    event_time_ms: int
    received_at_us: int


class _Unusual(Exception):
    """Not all messages are as radar writes them; perhaps one is bad."""


_decode_trade = msgspec.json.Decoder(_Trade).decode


def trade_columns(values: Sequence[bytes]) -> Columns:
    """Return the columns of `trades_master`, but for those that tell the place in Kafka.

    Raises:
        InvalidMessage: A value is not a valid trade; `wire.decode_trade` tells which.
    """
    try:
        trades: Sequence[_Trade | wire.TradeMessage] = _plausible_trades(values)
    except _Unusual:
        trades = [wire.decode_trade(value) for value in values]
    (_, _, ids, sources, symbols, bases, quotes, sides, prices, amounts, event_times, received) = (
        zip(*map(msgspec.structs.astuple, trades), strict=True)
    )
    markets: _Codes[_Market] = _Codes(zip(sources, symbols, bases, quotes, sides, strict=True))
    return [
        Column("trade_id", "UUID", _uuids("".join(ids))),
        *_market_columns(markets),
        Column("price", "String", prices),
        Column("base_amount", "String", amounts),
        Column("event_time", "DateTime64(3, 'UTC')", _integers(event_times)),
        Column("received_at", "DateTime64(6, 'UTC')", _integers(received)),
    ]


def _plausible_trades(values: Sequence[bytes]) -> list[_Trade]:
    try:
        trades = list(map(_decode_trade, values))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _Unusual from error
    # Each has all members, so that one with a member twice has more quotes than the others.
    if b"".join(values).count(b'"') != _QUOTES_OF_TRADE * len(values):
        raise _Unusual
    ids = [trade.trade_id for trade in trades]
    if set(map(len, ids)) != {_ID_DIGITS} or not _HEX.fullmatch("".join(ids)):
        raise _Unusual
    names = {(trade.source, trade.symbol, trade.base, trade.quote) for trade in trades}
    if not all(_NAME.fullmatch(name) for market in names for name in market):
        raise _Unusual
    prices = {trade.price for trade in trades}
    amounts = {trade.base_amount for trade in trades}
    matches = _POSITIVE_AMOUNT.fullmatch
    if not (all(map(matches, prices)) and all(map(matches, amounts))):
        raise _Unusual
    # With room for the error of doubles.
    if max(map(float, prices)) * max(map(float, amounts)) >= 0.99 * float(wire.QUOTE_AMOUNT_LIMIT):
        raise _Unusual
    event_times = _integers([trade.event_time_ms for trade in trades])
    received = _integers([trade.received_at_us for trade in trades])
    if (
        not _within(event_times, wire.MIN_TIME_MS, wire.MAX_TIME_MS)
        or not _within(received, wire.MIN_TIME_MS * 1000, wire.MAX_TIME_MS * 1000)
        or (event_times - received // 1000).max() > wire.MAX_EVENT_AHEAD_MS
    ):
        raise _Unusual
    return trades


_Market = tuple[str, str, str, str, str]  # source, symbol, base, quote, side


class _Head(NamedTuple):
    """What a snapshot says before its levels."""

    source: str
    symbol: str
    base: str
    quote: str
    side: str


class _Snapshots(NamedTuple):
    """Snapshots, their levels as bytes of doubles."""

    heads: list[_Head]
    prices: list[bytes]
    quantities: list[bytes]
    received: list[int]


class DepthColumns:
    """Reads depth snapshots; remembers the beginnings of messages that it has seen."""

    def __init__(self) -> None:
        self._heads: dict[bytes, _Head] = {}
        self._parser = simdjson.Parser()

    def __call__(self, values: Sequence[bytes]) -> Columns:
        """Return the columns of `orderbook_depth`, but for those that tell the place in Kafka.

        Raises:
            InvalidMessage: A value is not a valid snapshot; `wire.decode_depth` tells which.
        """
        try:
            snapshots = self._parsed(values)
            lengths, prices, quantities = _plausible_levels(snapshots)
        except _Unusual:
            snapshots = _decoded_snapshots(values)
            lengths, prices, quantities = _levels(snapshots)
        received = _integers(snapshots.received)
        markets: _Codes[_Market] = _Codes(snapshots.heads)
        return [
            *_market_columns(markets),
            Column("prices", "Array(Float64)", Lists(lengths, prices)),
            Column("quantities", "Array(Float64)", Lists(lengths, quantities)),
            Column("received_at", "DateTime64(6, 'UTC')", received),
        ]

    def _parsed(self, values: Sequence[bytes]) -> _Snapshots:
        snapshots = _Snapshots([], [], [], [])
        heads, parse = self._heads, self._parser.parse
        add_head, add_prices = snapshots.heads.append, snapshots.prices.append
        add_quantities, add_received = snapshots.quantities.append, snapshots.received.append
        try:
            for value in values:
                beginning = value[: value.find(_PRICES)]
                add_head(heads.get(beginning) or self._learn(value, beginning))
                message: Any = parse(value)
                add_prices(bytes(message["prices"].as_buffer(of_type="d")))
                add_quantities(bytes(message["quantities"].as_buffer(of_type="d")))
                add_received(message["received_at_us"])
                # The parser refuses to go on while somebody holds what it returned.
                del message
        except (ValueError, TypeError, AttributeError, KeyError, RuntimeError) as error:
            self._parser = simdjson.Parser()
            raise _Unusual from error
        # The heads are known, and the other three members are there, so that one with another
        # member has more quotes; a list in a list would have been made flat.
        everything = b"".join(values)
        if (
            everything.count(b'"') != _QUOTES_OF_DEPTH * len(values)
            or everything.count(b"[") != 2 * len(values)
            or set(map(type, snapshots.received)) != {int}
        ):
            raise _Unusual
        return snapshots

    def _learn(self, value: bytes, beginning: bytes) -> _Head:
        """Remember the beginning of a message of a book that was not met yet."""
        try:
            message = wire.decode_depth(value)
        except InvalidMessage as error:
            raise _Unusual from error
        written = msgspec.json.encode(message)
        if beginning != written[: written.find(_PRICES)]:
            raise _Unusual
        if len(self._heads) >= _REMEMBERED_HEADS:
            self._heads.clear()
        head = self._heads[beginning] = _head(message)
        return head


def _decoded_snapshots(values: Sequence[bytes]) -> _Snapshots:
    messages = [wire.decode_depth(value) for value in values]
    return _Snapshots(
        [_head(message) for message in messages],
        [array("d", message.prices).tobytes() for message in messages],
        [array("d", message.quantities).tobytes() for message in messages],
        [message.received_at_us for message in messages],
    )


def _head(message: wire.DepthMessage) -> _Head:
    return _Head(message.source, message.symbol, message.base, message.quote, message.side.value)


_Levels = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]


def _levels(snapshots: _Snapshots) -> _Levels:
    """Return how many levels each snapshot has, and all prices and quantities."""
    return (
        np.fromiter(map(len, snapshots.prices), np.int64, len(snapshots.prices)) // 8,
        np.frombuffer(b"".join(snapshots.prices), np.float64),
        np.frombuffer(b"".join(snapshots.quantities), np.float64),
    )


def _plausible_levels(snapshots: _Snapshots) -> _Levels:
    lengths, prices, quantities = _levels(snapshots)
    if list(map(len, snapshots.prices)) != list(map(len, snapshots.quantities)):
        raise _Unusual
    received = _integers(snapshots.received)
    if (
        not _within(received, wire.MIN_TIME_MS * 1000, wire.MAX_TIME_MS * 1000)
        or lengths.max() > wire.MAX_LEVELS
        or not (np.isfinite(prices).all() and np.isfinite(quantities).all())
        or (prices.size and min(prices.min(), quantities.min()) <= 0)
    ):
        raise _Unusual
    # From one level to the next of the same snapshot a price may only get worse.
    signs = np.array([1.0 if head.side == BookSide.BID else -1.0 for head in snapshots.heads])
    better = np.diff(prices) * np.repeat(signs, lengths)[1:] > 0
    ends = np.cumsum(lengths)[:-1] - 1
    better[ends[(ends >= 0) & (ends < better.size)]] = False
    if better.any():
        raise _Unusual
    return lengths, prices, quantities


def gap_columns(values: Sequence[bytes]) -> Columns:
    """Return the columns of `gaps`, but for those that tell the place in Kafka.

    Raises:
        InvalidMessage: A value is not a valid gap; `wire.decode_gap` tells which.
    """
    gaps = [wire.decode_gap(value) for value in values]
    symbols = [symbol for gap in gaps for symbol in gap.symbols]
    lengths = np.array([len(gap.symbols) for gap in gaps])
    time = "DateTime64(6, 'UTC')"
    return [
        Column("source", "String", [gap.source for gap in gaps]),
        Column("record_kind", "String", [gap.record_kind for gap in gaps]),
        Column("cause", "String", [gap.cause.value for gap in gaps]),
        Column("symbols", "Array(String)", Lists(lengths, symbols)),
        Column("began_at", time, _integers([gap.began_at_us for gap in gaps])),
        Column("ended_at", time, _integers([gap.ended_at_us for gap in gaps])),
        Column("repaired", "Bool", np.array([gap.repaired for gap in gaps])),
        Column("received_at", time, _integers([gap.received_at_us for gap in gaps])),
    ]


class _Codes(Generic[_Key]):
    """The different ones of many keys, and for each of the many which one it is."""

    def __init__(self, keys: Any) -> None:
        number: dict[_Key, int] = {}
        codes = [number.setdefault(key, len(number)) for key in keys]
        self.keys = list(number)
        self.codes = np.array(codes, np.uint32)


def _market_columns(markets: _Codes[_Market]) -> Columns:
    columns = zip(*markets.keys, strict=True)
    names = ("source", "symbol", "base", "quote", "side")
    return [
        Column(name, "LowCardinality(String)", Coded(texts, markets.codes))
        for name, texts in zip(names, columns, strict=True)
    ]


def _uuids(digits: str) -> NDArray[np.uint64]:
    # ClickHouse keeps a UUID as two integers.
    return np.frombuffer(bytes.fromhex(digits), ">u8").astype("<u8")


def _integers(numbers: Sequence[int]) -> NDArray[np.int64]:
    try:
        return np.array(numbers, np.int64)
    except OverflowError as error:
        raise _Unusual from error


def _within(numbers: NDArray[np.int64], low: int, below: int) -> bool:
    return bool(low <= numbers.min() and numbers.max() < below)


# Reads values of one kind.
ReadColumns = Callable[[Sequence[bytes]], Columns]
depth_columns: ReadColumns = DepthColumns()
