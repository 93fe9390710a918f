"""From the message values of a block to the columns of an insert, many at a time.

It yields what `wire.decode_…` would, message by message, but an order of magnitude faster: the
parser only checks types, and what makes a value plausible is checked for a whole column at once.
Where anything deviates, be it bad or only unusual, the slow way decides, so that there is one
definition of what is valid. Pure, like decoding.
"""

import re
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np
import simdjson
from numpy.typing import NDArray

from radar import wire
from radar.decimals import CANONICAL_PATTERN, MAX_INTEGER_DIGITS
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
_AMOUNT = f"(?>{CANONICAL_PATTERN[1:-1]})"
_AMOUNTS = re.compile(f"{_AMOUNT}(?>\n{_AMOUNT})*+")
_HEX = re.compile(r"[0-9a-f]*")
_REMEMBERED_HEADS = 10_000

# A trade as radar writes it, from both ends: what is the same in all, and digits.
_TRADE_START = b'{"v":1,"kind":"trade","trade_id":"'
_ID_END = len(_TRADE_START) + 32
_PRICE_NAME, _AMOUNT_NAME = b'","price":"', b'","base_amount":"'
_TRADE_END = re.split(
    rb"(0+)", b'","event_time_ms":0000000000000,"received_at_us":0000000000000000}'
)
_TRADE_END_BYTES = sum(map(len, _TRADE_END))

# A snapshot as radar writes it.
_PRICES_NAME, _QUANTITIES_NAME = b'"prices":[', b'],"quantities":['
_DEPTH_END = re.split(rb"(0+)", b'],"received_at_us":0000000000000000}')
_DEPTH_END_BYTES = sum(map(len, _DEPTH_END))


class _Unusual(Exception):
    """Not all messages are as radar writes them; perhaps one is bad."""


class _Market(NamedTuple):
    """What many messages say in the same words."""

    source: str
    symbol: str
    base: str
    quote: str
    side: str


class _Trades(NamedTuple):
    """Trades, column by column."""

    ids: str  # digits, without anything between them
    markets: Sequence[_Market]
    market_codes: NDArray[np.uint32]
    prices: Sequence[str]
    amounts: Sequence[str]
    event_times_ms: NDArray[np.int64]
    received_us: NDArray[np.int64]


class _Heads:
    """Reads what messages begin with; remembers what it has read."""

    def __init__(
        self,
        decode: Callable[[bytes], wire.TradeMessage | wire.DepthMessage],
        head_of: Callable[[bytes], bytes],
    ) -> None:
        self._decode = decode
        self._head_of = head_of
        self._markets: dict[bytes, _Market] = {}

    def read(
        self, heads: Sequence[bytes], values: Sequence[bytes]
    ) -> tuple[list[_Market], NDArray[np.uint32]]:
        """Return the different markets of some messages, and for each message which it is."""
        coded: _Codes[bytes] = _Codes(heads)
        markets = [
            self._markets.get(head)
            or self._learn(head, values[int(np.argmax(coded.codes == code))])
            for code, head in enumerate(coded.keys)
        ]
        return markets, coded.codes

    def _learn(self, head: bytes, value: bytes) -> _Market:
        try:
            message = self._decode(value)
        except InvalidMessage as error:
            raise _Unusual from error
        if self._head_of(msgspec.json.encode(message)) != head:
            raise _Unusual
        if len(self._markets) >= _REMEMBERED_HEADS:
            self._markets.clear()
        market = self._markets[head] = _market(message)
        return market


class TradeColumns:
    """Reads trades; remembers the beginnings of messages that it has seen."""

    def __init__(self) -> None:
        self._heads = _Heads(wire.decode_trade, lambda v: v[_ID_END:].partition(_PRICE_NAME)[0])

    def __call__(self, values: Sequence[bytes]) -> Columns:
        """Return the columns of `trades_master`, but for those that tell the place in Kafka.

        Raises:
            InvalidMessage: A value is not a valid trade; `wire.decode_trade` tells which.
        """
        try:
            trades = self._plausible(values)
        except _Unusual:
            trades = _decoded_trades(values)
        return [
            Column("trade_id", "UUID", _uuids(trades.ids)),
            *_market_columns(trades.markets, trades.market_codes),
            Column("price", "String", trades.prices),
            Column("base_amount", "String", trades.amounts),
            Column("event_time", "DateTime64(3, 'UTC')", trades.event_times_ms),
            Column("received_at", "DateTime64(6, 'UTC')", trades.received_us),
        ]

    def _plausible(self, values: Sequence[bytes]) -> _Trades:
        starts = _table([value[:_ID_END] for value in values], _ID_END)
        if (starts[:, : len(_TRADE_START)] != np.frombuffer(_TRADE_START, np.uint8)).any():
            raise _Unusual
        ids = starts[:, len(_TRADE_START) :].tobytes().decode("latin-1")
        ends = [value[-_TRADE_END_BYTES:] for value in values]
        event_times, received = _times(ends, _TRADE_END)
        middles = [value[_ID_END:-_TRADE_END_BYTES].partition(_PRICE_NAME) for value in values]
        amounts = [middle[2].partition(_AMOUNT_NAME) for middle in middles]
        prices = _texts([each[0] for each in amounts])
        quantities = _texts([each[2] for each in amounts])
        if not _HEX.fullmatch(ids):
            raise _Unusual
        if "0" in prices or "0" in quantities or not _fit(prices, quantities):
            raise _Unusual
        if (
            not _within(event_times, wire.MIN_TIME_MS, wire.MAX_TIME_MS)
            or not _within(received, wire.MIN_TIME_MS * 1000, wire.MAX_TIME_MS * 1000)
            or (event_times - received // 1000).max() > wire.MAX_EVENT_AHEAD_MS
        ):
            raise _Unusual
        markets, codes = self._heads.read([middle[0] for middle in middles], values)
        return _Trades(ids, markets, codes, prices, quantities, event_times, received)


def _decoded_trades(values: Sequence[bytes]) -> _Trades:
    messages = [wire.decode_trade(value) for value in values]
    markets: _Codes[_Market] = _Codes(map(_market, messages))
    return _Trades(
        "".join([message.trade_id for message in messages]),
        markets.keys,
        markets.codes,
        [message.price for message in messages],
        [message.base_amount for message in messages],
        _integers([message.event_time_ms for message in messages]),
        _integers([message.received_at_us for message in messages]),
    )


def _market(message: wire.TradeMessage | wire.DepthMessage) -> _Market:
    return _Market(message.source, message.symbol, message.base, message.quote, message.side.value)


def _table(rows: Sequence[bytes], width: int) -> NDArray[np.uint8]:
    """Lay texts, none of which is longer than that, one below the other."""
    try:
        return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), width)
    except ValueError as error:
        raise _Unusual from error


def _texts(amounts: Sequence[bytes]) -> list[str]:
    """Return amounts as texts if each is one in its canonical form."""
    joined = b"\n".join(amounts).decode("latin-1")
    texts = joined.split("\n")
    if len(texts) != len(amounts) or not _AMOUNTS.fullmatch(joined):
        raise _Unusual
    return texts


def _fit(prices: Sequence[str], amounts: Sequence[str]) -> bool:
    """Tell whether the product of any two of these fits; no may mean perhaps."""
    if max(map(len, prices)) + max(map(len, amounts)) <= MAX_INTEGER_DIGITS:
        return True
    # With room for the error of doubles.
    limit = 0.99 * float(wire.QUOTE_AMOUNT_LIMIT)
    return max(map(float, prices)) * max(map(float, amounts)) < limit


def _times(ends: Sequence[bytes], pattern: Sequence[bytes]) -> list[NDArray[np.int64]]:
    """Return the numbers in texts of a pattern, in which zeros stand for digits."""
    table, at = _table(ends, sum(map(len, pattern))), 0
    numbers: list[NDArray[np.int64]] = []
    for part in pattern:
        columns = table[:, at : at + len(part)]
        at += len(part)
        if part.isdigit():
            digits = columns - ord("0")  # what is below wraps around
            if digits.max() > 9:
                raise _Unusual
            powers = np.array([10**n for n in reversed(range(len(part)))], np.int64)
            numbers.append(digits.astype(np.int64) @ powers)
        elif (columns != np.frombuffer(part, np.uint8)).any():
            raise _Unusual
    return numbers


class _Snapshots(NamedTuple):
    """Snapshots, column by column."""

    markets: Sequence[_Market]
    market_codes: NDArray[np.uint32]
    lengths: NDArray[np.int64]  # how many levels each has
    prices: NDArray[np.float64]
    quantities: NDArray[np.float64]
    received_us: NDArray[np.int64]


class DepthColumns:
    """Reads depth snapshots; remembers the beginnings of messages that it has seen."""

    def __init__(self) -> None:
        self._heads = _Heads(wire.decode_depth, lambda v: v.partition(_PRICES_NAME)[0])

    def __call__(self, values: Sequence[bytes]) -> Columns:
        """Return the columns of `orderbook_depth`, but for those that tell the place in Kafka.

        Raises:
            InvalidMessage: A value is not a valid snapshot; `wire.decode_depth` tells which.
        """
        try:
            snapshots = self._plausible(values)
        except _Unusual:
            snapshots = _decoded_snapshots(values)
        lengths = snapshots.lengths
        return [
            *_market_columns(snapshots.markets, snapshots.market_codes),
            Column("prices", "Array(Float64)", Lists(lengths, snapshots.prices)),
            Column("quantities", "Array(Float64)", Lists(lengths, snapshots.quantities)),
            Column("received_at", "DateTime64(6, 'UTC')", snapshots.received_us),
        ]

    def _plausible(self, values: Sequence[bytes]) -> _Snapshots:
        halves = [value.partition(_PRICES_NAME) for value in values]
        levels = [half[2].partition(_QUANTITIES_NAME) for half in halves]
        (received,) = _times([each[2][-_DEPTH_END_BYTES:] for each in levels], _DEPTH_END)
        if not _within(received, wire.MIN_TIME_MS * 1000, wire.MAX_TIME_MS * 1000):
            raise _Unusual
        lengths, prices = _numbers([each[0] for each in levels])
        lengths_too, quantities = _numbers([each[2][:-_DEPTH_END_BYTES] for each in levels])
        if (lengths != lengths_too).any() or lengths.max() > wire.MAX_LEVELS:
            raise _Unusual
        if not (np.isfinite(prices).all() and np.isfinite(quantities).all()):
            raise _Unusual
        if prices.size and min(prices.min(), quantities.min()) <= 0:
            raise _Unusual
        markets, codes = self._heads.read([half[0] for half in halves], values)
        # From one level to the next of the same snapshot a price may only get worse.
        signs = np.array([1.0 if market.side == BookSide.BID else -1.0 for market in markets])
        better = np.diff(prices) * np.repeat(signs[codes], lengths)[1:] > 0
        ends = np.cumsum(lengths)[:-1] - 1
        better[ends[(ends >= 0) & (ends < better.size)]] = False
        if better.any():
            raise _Unusual
        return _Snapshots(markets, codes, lengths, prices, quantities, received)


def _decoded_snapshots(values: Sequence[bytes]) -> _Snapshots:
    messages = [wire.decode_depth(value) for value in values]
    markets: _Codes[_Market] = _Codes(map(_market, messages))
    return _Snapshots(
        markets.keys,
        markets.codes,
        np.array([len(message.prices) for message in messages], np.int64),
        np.array([price for message in messages for price in message.prices], np.float64),
        np.array([each for message in messages for each in message.quantities], np.float64),
        _integers([message.received_at_us for message in messages]),
    )


def _numbers(lists: Sequence[bytes]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return how many numbers each list has, which lacks its brackets, and all numbers."""
    lengths = np.array([each.count(b",") + 1 if each else 0 for each in lists], np.int64)
    joined = b"[%b]" % b",".join(filter(None, lists))
    # A list in a list would be made flat.
    if joined.count(b"[") != 1:
        raise _Unusual
    try:
        array: Any = simdjson.Parser().parse(joined)
        numbers = np.frombuffer(array.as_buffer(of_type="d"), np.float64)
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise _Unusual from error
    if len(numbers) != lengths.sum():
        raise _Unusual
    return lengths, numbers


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


def _market_columns(markets: Sequence[_Market], codes: NDArray[np.uint32]) -> Columns:
    return [
        Column(name, "LowCardinality(String)", Coded(texts, codes))
        for name, texts in zip(_Market._fields, zip(*markets, strict=True), strict=True)
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
trade_columns: ReadColumns = TradeColumns()
depth_columns: ReadColumns = DepthColumns()
