"""Decodes many message values at once into the columns of an insert.

It returns the same rows as `message_format`, message by message, but is an order of magnitude
faster. The parser checks only types, and the rules are checked column by column. If a value
deviates in any way, bad or only unusual, the slow way decides. So there is one definition of a
valid message. Pure, like decoding.
"""

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from radar.codec import byte_grid, message_format
from radar.codec.byte_grid import StringColumn, Unusual
from radar.decimals import MAX_INTEGER_DIGITS
from radar.errors import InvalidMessage
from radar.records import BookSide

_Key = TypeVar("_Key", bound=Hashable)
_Head = TypeVar("_Head")


class DictionaryColumn(NamedTuple):
    """Strings with few different values: the different ones, and the index of each row."""

    texts: Sequence[str]
    codes: NDArray[np.uint32]


class ListColumn(NamedTuple):
    """The lists of all rows, one behind the other."""

    lengths: NDArray[np.int64]
    values: NDArray[np.float64] | Sequence[str]


Data: TypeAlias = NDArray[Any] | Sequence[str] | StringColumn | DictionaryColumn | ListColumn


class Column(NamedTuple):
    """A column of some rows.

    Attributes:
        name: In the table.
        type: The ClickHouse type of the data; the server converts it to the table's type.
        data: Strings, or numbers of the type's width.
    """

    name: str
    type: str
    data: Data


Columns = list[Column]

_REMEMBERED_HEADS = 10_000
_MAX_HEAD_BYTES = 1024  # a longer one is decoded each time

# A trade as radar writes it: its begin, the name between its amounts, what stands between its
# amounts and the exchange's ID, its end (zeros stand for digits), and the numbers of the quotes
# that open the amounts and the ID.
_TRADE_START = b'{"v":1,"kind":"trade","trade_id":"'
_ID_END = len(_TRADE_START) + 32
_AMOUNT_NAME = b'","base_amount":"'
_TRADE_TIMES = re.split(
    rb"(0+)",
    b'","event_time_ms":0000000000000,"received_at_us":0000000000000000,"native_id":"',
)
_TRADE_TIMES_BYTES = sum(map(len, _TRADE_TIMES))
_SEQUENCE_NAME = b'","sequence":'
_TRADE_END = re.split(rb"(0+)", b',"event_time_us":0000000000000000,"set_back_us":')
_TRADE_END_BYTES = sum(map(len, _TRADE_END))
_TRADE_QUOTES, _PRICE_QUOTE, _AMOUNT_QUOTE, _NATIVE_QUOTE = 52, 32, 36, 44
_MAX_NATIVE_BYTES = 64
_IN_NATIVE_IDS = np.zeros(256, np.bool_)
_IN_NATIVE_IDS[
    np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_.:-", np.uint8)
] = True


class _Market(NamedTuple):
    """The fields that many messages have in common."""

    source: str
    symbol: str
    base: str
    quote: str
    side: str


class _Trades(NamedTuple):
    """Trades, column by column."""

    ids: NDArray[np.uint64]
    markets: Sequence[_Market]
    market_codes: NDArray[np.uint32]
    prices: StringColumn | Sequence[str]
    amounts: StringColumn | Sequence[str]
    event_times_ms: NDArray[np.int64]
    received_us: NDArray[np.int64]
    native_ids: StringColumn | Sequence[str]
    sequences: NDArray[np.int64]
    event_times_us: NDArray[np.int64]
    set_back_us: NDArray[np.int64]


class _Heads(Generic[_Head]):
    """Decodes the beginnings of messages, and remembers decoded ones."""

    def __init__(self, decode: Callable[[bytes, bytes], _Head]) -> None:
        """Prepare to decode.

        Args:
            decode: Decodes a beginning, with the help of the whole value; it raises InvalidMessage
                or Unusual. The result must follow from the beginning alone.
        """
        self._decode = decode
        self._known: dict[bytes, _Head] = {}

    def read(
        self, heads: Sequence[bytes], values: Sequence[bytes]
    ) -> tuple[list[_Head], NDArray[np.uint32]]:
        """Return the different beginnings of some messages, and each message's index of its own."""
        indexed: _Codes[bytes] = _Codes(heads)
        found = [
            self._known.get(head)
            or self._learn(head, values[int(np.argmax(indexed.codes == code))])
            for code, head in enumerate(indexed.keys)
        ]
        return found, indexed.codes

    def _learn(self, head: bytes, value: bytes) -> _Head:
        if len(head) > _MAX_HEAD_BYTES:
            raise Unusual
        try:
            decoded = self._decode(head, value)
        except InvalidMessage as error:
            raise Unusual from error
        if len(self._known) >= _REMEMBERED_HEADS:
            self._known.clear()
        self._known[head] = decoded
        return decoded


class TradeColumns:
    """Decodes trades; remembers the beginnings of messages."""

    def __init__(self) -> None:
        self._heads = _Heads(_trade_market)

    def __call__(self, values: Sequence[bytes]) -> Columns:
        """Return the columns of `trades_master`, without the columns of the place in Kafka.

        Raises:
            InvalidMessage: A value is not a valid trade; `message_format` finds which.
        """
        try:
            trades = self._plausible(values)
        except Unusual:
            trades = _decoded_trades(values)
        return [
            Column("trade_id", "UUID", trades.ids),
            *_market_columns(trades.markets, trades.market_codes),
            Column("price", "String", trades.prices),
            Column("base_amount", "String", trades.amounts),
            Column("event_time", "DateTime64(3, 'UTC')", trades.event_times_ms),
            Column("received_at", "DateTime64(6, 'UTC')", trades.received_us),
            Column("native_id", "String", trades.native_ids),
            Column("native_sequence", "UInt64", trades.sequences.astype(np.uint64)),
            Column("event_time_us", "DateTime64(6, 'UTC')", trades.event_times_us),
            _set_back_column(trades.set_back_us),
        ]

    def _plausible(self, values: Sequence[bytes]) -> _Trades:
        grid = byte_grid.ByteGrid(values)
        start = grid.rows(grid.starts, _ID_END)
        byte_grid.check(start[:, : len(_TRADE_START)], _TRADE_START)
        quotes = grid.places(b'"', _TRADE_QUOTES)
        # Only digits follow the last quote, as the reading of `set_back_us` checks.
        set_back_at = quotes[:, -1] + 2
        ends = set_back_at - _TRADE_END_BYTES
        price_opens, price_closes = quotes[:, _PRICE_QUOTE], quotes[:, _PRICE_QUOTE + 1]
        amount_opens, amount_closes = quotes[:, _AMOUNT_QUOTE], quotes[:, _AMOUNT_QUOTE + 1]
        native_opens, native_closes = quotes[:, _NATIVE_QUOTE], quotes[:, _NATIVE_QUOTE + 1]
        # The last quotes stand where they belong, so all rows are of one message each.
        if (native_opens != amount_closes + _TRADE_TIMES_BYTES - 1).any() or (
            amount_opens != price_closes + len(_AMOUNT_NAME) - 1
        ).any():
            raise Unusual
        grid.check(price_closes, _AMOUNT_NAME)
        event_times, received = byte_grid.numbers(
            grid.rows(amount_closes, _TRADE_TIMES_BYTES), _TRADE_TIMES
        )
        grid.check(native_closes, _SEQUENCE_NAME)
        sequences = grid.integers(native_closes + len(_SEQUENCE_NAME), ends)
        (event_times_us,) = byte_grid.numbers(grid.rows(ends, _TRADE_END_BYTES), _TRADE_END)
        set_back_us = _set_back(grid, set_back_at, received)
        native_ids = grid.texts(native_opens + 1, native_closes)
        if (
            native_ids.lengths.max() > _MAX_NATIVE_BYTES
            or not _IN_NATIVE_IDS[native_ids.characters].all()
            or (event_times_us // 1000 != event_times).any()
        ):
            raise Unusual
        prices = grid.texts(price_opens + 1, price_closes)
        amounts = grid.texts(amount_opens + 1, amount_closes)
        # The product of numbers of so many digits fits.
        digits = byte_grid.integer_digits(prices) + byte_grid.integer_digits(amounts)
        if (
            digits.max() > MAX_INTEGER_DIGITS
            or not _within(event_times, message_format.MIN_TIME_MS, message_format.MAX_TIME_MS)
            or not _within(
                received, message_format.MIN_TIME_MS * 1000, message_format.MAX_TIME_MS * 1000
            )
            or (event_times - received // 1000).max() > message_format.MAX_EVENT_AHEAD_MS
        ):
            raise Unusual
        head_ends = (price_opens + 1 - grid.starts).tolist()
        heads = [value[_ID_END:end] for value, end in zip(values, head_ends, strict=True)]
        markets, codes = self._heads.read(heads, values)
        ids = byte_grid.uuids(start[:, len(_TRADE_START) :])
        return _Trades(
            ids,
            markets,
            codes,
            prices,
            amounts,
            event_times,
            received,
            native_ids,
            sequences,
            event_times_us,
            set_back_us,
        )


def _trade_market(head: bytes, value: bytes) -> _Market:
    """Return the market that stands between the trade ID and the price."""
    message = message_format.decode_trade(value)
    name = b'"price":"'
    written = msgspec.json.encode(message)
    if written[_ID_END : written.index(name) + len(name)] != head:
        raise Unusual
    return _market(message)


def _decoded_trades(values: Sequence[bytes]) -> _Trades:
    messages = [message_format.decode_trade(value) for value in values]
    ids = "".join([message.trade_id for message in messages])
    markets: _Codes[_Market] = _Codes(map(_market, messages))
    return _Trades(
        byte_grid.uuids(np.frombuffer(ids.encode(), np.uint8).reshape(-1, 32)),
        markets.keys,
        markets.codes,
        [message.price for message in messages],
        [message.base_amount for message in messages],
        _integers([message.event_time_ms for message in messages]),
        _integers([message.received_at_us for message in messages]),
        [message.native_id for message in messages],
        _integers([message.sequence for message in messages]),
        _integers([message.exact_event_time_us for message in messages]),
        _integers([message.set_back_us for message in messages]),
    )


def _market(
    message: message_format.TradeMessage | message_format.DepthMessage | message_format.DepthHead,
) -> _Market:
    return _Market(message.source, message.symbol, message.base, message.quote, message.side.value)


class _Snapshots(NamedTuple):
    """Snapshots, column by column."""

    markets: Sequence[_Market]
    market_codes: NDArray[np.uint32]
    verified: NDArray[np.bool_]
    lengths: NDArray[np.int64]  # how many levels each has
    prices: NDArray[np.float64]
    quantities: NDArray[np.float64]
    received_us: NDArray[np.int64]
    event_times_us: NDArray[np.int64]
    sequences: NDArray[np.int64]
    set_back_us: NDArray[np.int64]


class DepthColumns:
    """Decodes depth snapshots; remembers the beginnings of messages."""

    def __init__(self) -> None:
        self._heads = _Heads(lambda head, _: message_format.decode_depth_head(head))

    def __call__(self, values: Sequence[bytes]) -> Columns:
        """Return the columns of `orderbook_depth`, without the columns of the place in Kafka.

        Raises:
            InvalidMessage: A value is not a valid snapshot; `message_format` finds which.
        """
        try:
            snapshots = self._packed(values)
        except Unusual:
            snapshots = _decoded_snapshots(values)
        lengths = snapshots.lengths
        return [
            *_market_columns(snapshots.markets, snapshots.market_codes),
            Column("prices", "Array(Float64)", ListColumn(lengths, snapshots.prices)),
            Column("quantities", "Array(Float64)", ListColumn(lengths, snapshots.quantities)),
            Column("received_at", "DateTime64(6, 'UTC')", snapshots.received_us),
            Column("event_time", "DateTime64(6, 'UTC')", snapshots.event_times_us),
            Column("sequence", "UInt64", snapshots.sequences.astype(np.uint64)),
            Column("verified", "Bool", snapshots.verified),
            _set_back_column(snapshots.set_back_us),
        ]

    def _packed(self, values: Sequence[bytes]) -> _Snapshots:
        ends = [value.find(message_format.END_OF_HEAD) + 1 for value in values]
        found, codes = self._heads.read(
            [value[:end] for value, end in zip(values, ends, strict=True)], values
        )
        joined = b"".join([value[end:] for value, end in zip(values, ends, strict=True)])
        sizes = np.fromiter(map(len, values), np.int64, len(values)) - ends
        lengths, rest = np.divmod(
            sizes - message_format.PACKED_INTEGERS * message_format.NUMBER_BYTES,
            2 * message_format.NUMBER_BYTES,
        )
        if lengths.min() < 0 or lengths.max() > message_format.MAX_LEVELS or rest.any():
            raise Unusual
        # Which of the numbers is an integer, a price or a quantity.
        counts = np.full((len(values), 3), message_format.PACKED_INTEGERS)
        counts[:, 1] = counts[:, 2] = lengths
        kinds = np.repeat(np.tile(np.arange(3, dtype=np.int8), len(values)), counts.ravel())
        integers = np.frombuffer(joined, "<i8")[kinds == 0]
        doubles = np.frombuffer(joined, "<f8")
        received, event_times, sequences, set_back = (
            np.ascontiguousarray(column)
            for column in integers.reshape(-1, message_format.PACKED_INTEGERS).T
        )
        snapshots = _Snapshots(
            [_market(head) for head in found],
            codes,
            np.array([head.verified for head in found], np.bool_)[codes],
            lengths,
            doubles[kinds == 1],
            doubles[kinds == 2],
            received,
            event_times,
            sequences,
            set_back,
        )
        _check_times(snapshots)
        _check_levels(snapshots)
        return snapshots


def _check_times(snapshots: _Snapshots) -> None:
    first_us, end_us = message_format.MIN_TIME_MS * 1000, message_format.MAX_TIME_MS * 1000
    known = snapshots.event_times_us[snapshots.event_times_us != 0]
    if (
        not _within(snapshots.received_us, first_us, end_us)
        or not _within(snapshots.set_back_us, 0, end_us)
        or (snapshots.received_us + snapshots.set_back_us).max() >= end_us
        or (known.size and not _within(known, first_us, end_us))
        or snapshots.sequences.min() < 0
    ):
        raise Unusual


def _check_levels(snapshots: _Snapshots) -> None:
    prices, lengths = snapshots.prices, snapshots.lengths
    if not prices.size:
        return
    for amounts in (prices, snapshots.quantities):
        if not (amounts.min() > 0 and amounts.max() < np.inf):  # nor NaN
            raise Unusual
    # From one level to the next of the same snapshot a price may only get worse. Arrays of
    # truths are small; those of numbers would cost more memory traffic than the comparison.
    bids = np.array([each.side == BookSide.BID for each in snapshots.markets])
    is_bid = np.repeat(bids[snapshots.market_codes], lengths)[1:]
    better = np.where(is_bid, prices[1:] > prices[:-1], prices[1:] < prices[:-1])
    ends = np.cumsum(lengths)[:-1] - 1
    better[ends[(ends >= 0) & (ends < better.size)]] = False
    if better.any():
        raise Unusual


def _decoded_snapshots(values: Sequence[bytes]) -> _Snapshots:
    messages = [message_format.decode_depth(value) for value in values]
    markets: _Codes[_Market] = _Codes(map(_market, messages))
    return _Snapshots(
        markets.keys,
        markets.codes,
        np.array([message.verified for message in messages], np.bool_),
        np.array([len(message.prices) for message in messages], np.int64),
        np.array([price for message in messages for price in message.prices], np.float64),
        np.array([each for message in messages for each in message.quantities], np.float64),
        _integers([message.received_at_us for message in messages]),
        _integers([message.event_time_us for message in messages]),
        _integers([message.sequence for message in messages]),
        _integers([message.set_back_us for message in messages]),
    )


def _set_back(
    grid: byte_grid.ByteGrid, starts: NDArray[np.int64], received: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Read the last member of each value, `set_back_us`."""
    ends = grid.ends - 1
    grid.check(ends, b"}")
    found = grid.integers(starts, ends)
    if (received + found).max() >= message_format.MAX_TIME_MS * 1000:
        raise Unusual
    return found


def _set_back_column(set_back_us: NDArray[np.int64]) -> Column:
    return Column("set_back_us", "UInt64", set_back_us.astype(np.uint64))


class ColumnOfField(Protocol):
    """A column of an insert, and the field of the message that it holds."""

    @property
    def name(self) -> str: ...  # noqa: D102 - above

    @property
    def type(self) -> str: ...  # noqa: D102

    @property
    def field(self) -> str: ...  # noqa: D102


class MessageColumns:
    """Decodes the messages of any dataset one by one, so slower than `FAST`."""

    def __init__(self, decode: Callable[[bytes], Any], columns: Sequence[ColumnOfField]) -> None:
        """Prepare to decode.

        Args:
            decode: Decodes one message; it raises InvalidMessage.
            columns: The columns of the insert.
        """
        self._decode = decode
        self._columns = columns

    def __call__(self, values: Sequence[bytes]) -> Columns:
        """Return the columns, without the place in Kafka.

        Raises:
            InvalidMessage: A value is not valid.
        """
        messages = [self._decode(value) for value in values]
        return [
            Column(
                column.name,
                column.type,
                _data_of_type(column.type, [each.value_of(column.field) for each in messages]),
            )
            for column in self._columns
        ]


def _data_of_type(column_type: str, values: Sequence[Any]) -> Data:
    if column_type.startswith("Array("):
        lengths = np.array([len(value) for value in values], np.int64)
        items = [item for value in values for item in value]
        return ListColumn(
            lengths, items if "String" in column_type else np.array(items, np.float64)
        )
    if column_type == "UUID":
        return byte_grid.uuids(np.frombuffer("".join(values).encode(), np.uint8).reshape(-1, 32))
    if column_type == "LowCardinality(String)":
        codes: _Codes[str] = _Codes(map(str, values))
        return DictionaryColumn(codes.keys, codes.codes)
    if column_type == "String":
        return [str(value) for value in values]
    number = next(
        number_type for name, number_type in _NUMBERS.items() if column_type.startswith(name)
    )
    return np.array(values, number)


_NUMBERS: Mapping[str, type[np.generic]] = {
    "DateTime64(": np.int64,
    "Bool": np.bool_,
    "UInt32": np.uint32,
    "UInt64": np.uint64,
    "Int64": np.int64,
    "Float64": np.float64,
}


class _Codes(Generic[_Key]):
    """The different ones of many keys, and each key's index among them."""

    def __init__(self, keys: Any) -> None:
        number: dict[_Key, int] = {}
        codes = [number.setdefault(key, len(number)) for key in keys]
        self.keys = list(number)
        self.codes = np.array(codes, np.uint32)


def _market_columns(markets: Sequence[_Market], codes: NDArray[np.uint32]) -> Columns:
    return [
        Column(name, "LowCardinality(String)", DictionaryColumn(texts, codes))
        for name, texts in zip(_Market._fields, zip(*markets, strict=True), strict=True)
    ]


def _integers(numbers: Sequence[int]) -> NDArray[np.int64]:
    try:
        return np.array(numbers, np.int64)
    except OverflowError as error:
        raise Unusual from error


def _within(numbers: NDArray[np.int64], low: int, below: int) -> bool:
    return bool(low <= numbers.min() and numbers.max() < below)


# Reads message values of one dataset.
ReadColumns = Callable[[Sequence[bytes]], Columns]
trade_columns: ReadColumns = TradeColumns()
depth_columns: ReadColumns = DepthColumns()
# The messages that are read many at a time; `MessageColumns` reads all others.
FAST: Mapping[type[message_format.MessageValue], ReadColumns] = {
    message_format.TradeMessage: trade_columns,
    message_format.DepthMessage: depth_columns,
}
