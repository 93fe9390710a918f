r"""Kafka message values: records as versioned JSON, and back into rows.

A value begins with a flat JSON object whose first members are the version `v` and the `kind`, so
that it explains itself in any Kafka tool:

    {"v":1,"kind":"trade","trade_id":"0f4c…","source":"wallex","symbol":"USDTTMN",
     "base":"USDT","quote":"TMN","side":"sell","price":"31704","base_amount":"705",
     "event_time_ms":1656242049000,"received_at_us":1656242049120345,
     "native_id":"","sequence":0,"event_time_us":1656242049000000,"set_back_us":0}

    {"v":2,"kind":"depth","source":"wallex","symbol":"BTCUSDT","base":"BTC","quote":"USDT",
     "side":"bid","verified":false}

    {"v":1,"kind":"book_update","source":"kraken","symbol":"BTC/USD","base":"BTC","quote":"USD",
     "chain":"9f2c…","place":17,"is_snapshot":false,"bid_prices":[62525.04],
     "bid_quantities":[0],"ask_prices":[],"ask_quantities":[],"received_at_us":1656242049120345,
     "event_time_us":1656242049000000,"sequence":0,"verified":true,"set_back_us":0}

    {"v":1,"kind":"candle","source":"wallex","symbol":"USDTTMN","base":"USDT","quote":"TMN",
     "interval_s":86400,"resolution":"D","time_zone":"Asia/Tehran","opened_at_us":1656189000000000,
     "open":"31650","high":"31900","low":"31610","close":"31704","volume":"70512.5",
     "received_at_us":1656242049120345}

    {"v":1,"kind":"gap","source":"wallex","record_kind":"trades","cause":"disconnected",
     "symbols":["BTCUSDT","USDTTMN"],"began_at_us":1656242049120345,
     "ended_at_us":1656242050480112,"repaired":true,"received_at_us":1656242053731002,
     "first_id":0,"last_id":0,"missing":0}

    {"v":1,"kind":"watch","source":"wallex","record_kind":"trades","connection":"5b1f…",
     "symbols":["BTCUSDT","USDTTMN"],"began_at_us":1656242049120345,
     "ended_at_us":1656242079480112,"end_reason":"open","interval_ms":0,
     "received_at_us":1656242079731002}

    {"v":1,"kind":"frame","source":"wallex","record_kind":"trades","producer":"77ab…",
     "connection":"5b1f…","place":17,"part":0,"parts":1,"what":"received","symbols":[],"path":"",
     "fetch_symbol":"","fetch_tag":0,"received_at_us":1656242079480112,
     "received_at_ns":1656242079480112345,"monotonic_ns":86400123456789,
     "frame":"[\"USDTTMN@trade\",…]","is_base64":false}

A snapshot has a hundred numbers, and text would cost most of a worker's time. So behind its object
follow a line break and its numbers, little-endian, 8 bytes each: `received_at_us`, `event_time_us`,
`sequence` and `set_back_us` as integers, then all prices and all quantities as IEEE doubles. Older
producers write snapshots as one object of version 1, with the same members. `as_json` returns that
object.

Decoding is strict and depends only on the value. The same message always yields the same row, so
a planned block can be repeated. This module decodes one message and reports its fault;
`batch_decoder.py` decodes many at once.

Messages evolve. Producers and workers of two releases may share a topic:

- A decoder ignores fields that it does not know.
- A new field has a default, so the message of an older producer decodes.
- The version `v` says which rules apply. It changes only when a known field changes its meaning or
  its type, or when a field is removed. A decoder refuses a version that it does not know.

`check_trade` and `check_depth` are the rules that a record and its message must keep. Workers
apply them when they decode, and producers before they publish. Otherwise a producer could fill the
dead letters and halt partitions.
"""

import base64
import binascii
import re
import struct
from collections.abc import Callable
from decimal import Context, Decimal
from functools import lru_cache
from math import isfinite
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from radar.decimals import CANONICAL_PATTERN, MAX_INTEGER_DIGITS
from radar.errors import InvalidMessage
from radar.records import (
    BookSide,
    BookUpdate,
    DepthSnapshot,
    ExchangeCandle,
    Frame,
    FrameKind,
    Gap,
    GapCause,
    SessionReport,
    Trade,
    TradeSide,
)

Version = Literal[1]
VERSION: Version = 1
# Of snapshots: the object holds what few messages differ in, and the numbers follow it.
PackedVersion = Literal[2]
PACKED_VERSION: PackedVersion = 2

# Marks the message of a record that was fetched as history: it is not the newest of its market.
HISTORY_HEADER = "radar-history"

MAX_LEVELS = 1000
MAX_UPDATE_LEVELS = 10_000  # of a side
MAX_GAP_SYMBOLS = 1000
# A larger frame is divided. As Base64 a part is a third longer, below Kafka's largest message.
FRAME_PART_BYTES = 2 * 1024 * 1024
MAX_FRAME_PARTS = 1024
MESSAGE_SPARE_BYTES = 256 * 1024  # for the other fields, and the headers of a dead letter
MAX_PATH_CHARACTERS = 4096
MAX_CANDLE_S = 366 * 24 * 60 * 60
# The database computes price x base_amount into a Decimal(38, 18).
QUOTE_AMOUNT_LIMIT = Decimal(10) ** MAX_INTEGER_DIGITS
# The clocks of the exchange and of the receiver may differ by a day: such a trade is stored with
# both times, and the producer warns. A trade that is further ahead is invalid. A trade may be any
# time behind: REST reports the last trades of a quiet market, which can be weeks old, and no
# message shows whether its trade is history or its receiver's clock is wrong.
MAX_EVENT_AHEAD_MS = 24 * 60 * 60 * 1000
# 2015-01-01 to 2100-01-01: no exchange traded before, and the columns hold no later time.
MIN_TIME_MS = 1_420_070_400_000
MAX_TIME_MS = 4_102_444_800_000
_FIRST_US, _END_US = MIN_TIME_MS * 1000, MAX_TIME_MS * 1000

# Numbers of the exchange: IDs of trades and states of books.
MAX_NUMBER = (1 << 63) - 1

NATIVE_ID_PATTERN = r"^[A-Za-z0-9_.:-]{0,64}\Z"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,31}\Z"
_AMOUNT_PATTERN = CANONICAL_PATTERN[:-1] + r"\Z"

_Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
_Amount = Annotated[str, Meta(pattern=_AMOUNT_PATTERN, max_length=39)]
_TimeMs = Annotated[int, Meta(ge=MIN_TIME_MS, lt=MAX_TIME_MS)]
_TimeUs = Annotated[int, Meta(ge=MIN_TIME_MS * 1000, lt=MAX_TIME_MS * 1000)]
# Zero: the exchange sends no such time.
_TimeUsOrNone = Annotated[int, Meta(ge=0, lt=MAX_TIME_MS * 1000)]
_Number = Annotated[int, Meta(ge=0, le=MAX_NUMBER)]
_RandomName = Annotated[str, Meta(pattern=r"^[0-9a-f]{1,32}\Z")]
_RecordKind = Annotated[str, Meta(pattern=r"^(trades|depth)\Z")]
_Symbols = Annotated[list[_Name], Meta(min_length=1, max_length=MAX_GAP_SYMBOLS)]
_Levels = Annotated[list[float], Meta(max_length=MAX_LEVELS)]
_Changes = Annotated[list[float], Meta(max_length=MAX_UPDATE_LEVELS)]


class MessageValue(msgspec.Struct, frozen=True):
    """The value of a message; the struct of each dataset extends it.

    Attributes:
        v: The version, which decides on the rules.
    """

    v: Version

    def check(self) -> None:
        """Apply the rules that the types of the fields do not express.

        Raises:
            InvalidMessage: The message breaks a rule.
        """

    def value_of(self, field: str) -> Any:
        """Return the value for the column of a field; bytes that are no UTF-8 as surrogates."""
        return getattr(self, field)


class TradeMessage(MessageValue, frozen=True, gc=False):
    """The value of a message of the topic `radar_trades`."""

    kind: Literal["trade"]
    trade_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    source: _Name
    symbol: _Name
    base: _Name
    quote: _Name
    side: TradeSide
    price: _Amount
    base_amount: _Amount
    event_time_ms: _TimeMs
    received_at_us: _TimeUs
    native_id: Annotated[str, Meta(pattern=NATIVE_ID_PATTERN)] = ""
    sequence: _Number = 0
    event_time_us: _TimeUsOrNone = 0
    set_back_us: _TimeUsOrNone = 0

    def check(self) -> None:
        """Apply the rules of a trade."""
        check_trade(self)

    @property
    def exact_event_time_us(self) -> int:
        """The exchange's clock as finely as it is known, Unix time."""
        return self.event_time_us or self.event_time_ms * 1000


class DepthMessage(MessageValue, frozen=True):
    """The value of a message of the topic `radar_depths`."""

    kind: Literal["depth"]
    source: _Name
    symbol: _Name
    base: _Name
    quote: _Name
    side: BookSide
    prices: _Levels
    quantities: _Levels
    received_at_us: _TimeUs
    event_time_us: _TimeUsOrNone = 0
    sequence: _Number = 0
    verified: bool = False
    set_back_us: _TimeUsOrNone = 0

    def check(self) -> None:
        """Apply the rules of a depth snapshot."""
        check_depth(self)


class DepthHead(msgspec.Struct, frozen=True):
    """The object at the beginning of a packed snapshot."""

    v: PackedVersion
    kind: Literal["depth"]
    source: _Name
    symbol: _Name
    base: _Name
    quote: _Name
    side: BookSide
    verified: bool = False


class BookUpdateMessage(MessageValue, frozen=True):
    """The value of a message of the topic `radar_book_updates`."""

    kind: Literal["book_update"]
    source: _Name
    symbol: _Name
    base: _Name
    quote: _Name
    chain: Annotated[str, Meta(pattern=r"^[0-9a-f]{1,32}\Z")]
    place: _Number
    is_snapshot: bool
    bid_prices: _Changes
    bid_quantities: _Changes
    ask_prices: _Changes
    ask_quantities: _Changes
    received_at_us: _TimeUs
    event_time_us: _TimeUsOrNone = 0
    sequence: _Number = 0
    verified: bool = False
    set_back_us: _TimeUsOrNone = 0

    def check(self) -> None:
        """Check that each price is positive and has a quantity, and that all are finite."""
        _check_receipt(self)
        for prices, quantities in (
            (self.bid_prices, self.bid_quantities),
            (self.ask_prices, self.ask_quantities),
        ):
            if len(prices) != len(quantities):
                raise InvalidMessage(
                    "levels", f"{len(prices)} prices, {len(quantities)} quantities"
                )
            if not all(map(isfinite, (*prices, *quantities))):
                raise InvalidMessage("amount", "prices and quantities must be finite")
            if min(prices, default=1.0) <= 0 or min(quantities, default=0.0) < 0:
                raise InvalidMessage("amount", "prices must be positive, quantities not negative")


class CandleMessage(MessageValue, frozen=True, gc=False):
    """The value of a message of the topic `radar_exchange_candles`."""

    kind: Literal["candle"]
    source: _Name
    symbol: _Name
    base: _Name
    quote: _Name
    interval_s: Annotated[int, Meta(ge=1, le=MAX_CANDLE_S)]
    resolution: Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{1,16}\Z")]
    time_zone: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_/+-]{0,32}\Z")]
    opened_at_us: _TimeUs
    open: _Amount
    high: _Amount
    low: _Amount
    close: _Amount
    volume: _Amount
    received_at_us: _TimeUs

    def check(self) -> None:
        """Apply the rules of a finished candle.

        Raises:
            InvalidMessage: It had not ended when it was received, or a price is not positive or
                beyond the highest or the lowest one.
        """
        if self.opened_at_us + self.interval_s * 1_000_000 > self.received_at_us:
            raise InvalidMessage("time", "the candle had not ended when it was received")
        low, high = Decimal(self.low), Decimal(self.high)
        if low <= 0:
            raise InvalidMessage("amount", "prices must be positive")
        if not all(low <= Decimal(each) <= high for each in (self.open, self.close)):
            raise InvalidMessage("amount", "a price is beyond the highest or the lowest one")


class GapMessage(MessageValue, frozen=True):
    """The value of a message of the topic `radar_gaps`."""

    kind: Literal["gap"]
    source: _Name
    record_kind: _RecordKind
    cause: GapCause
    symbols: _Symbols
    began_at_us: _TimeUs
    ended_at_us: _TimeUs
    repaired: bool
    received_at_us: _TimeUs
    first_id: _Number = 0
    last_id: _Number = 0
    missing: _Number = 0

    def check(self) -> None:
        """Check that the gap ends after it begins."""
        if self.ended_at_us < self.began_at_us:
            raise InvalidMessage("time", "the gap ends before it begins")


class SessionMessage(MessageValue, frozen=True):
    """The value of a message of the topic `radar_watches`."""

    kind: Literal["watch"]
    source: _Name
    record_kind: _RecordKind
    connection: Annotated[str, Meta(pattern=r"^[0-9a-f]{1,32}\Z")]
    symbols: _Symbols
    began_at_us: _TimeUs
    ended_at_us: _TimeUs
    end_reason: Annotated[str, Meta(pattern=r"^[a-z]{1,32}\Z")]
    interval_ms: Annotated[int, Meta(ge=0, le=86_400_000)]
    received_at_us: _TimeUs
    both: Annotated[int, Meta(ge=0, lt=1 << 62)] = 0
    alone: Annotated[int, Meta(ge=0, lt=1 << 62)] = 0

    def check(self) -> None:
        """Check that the session ends after it begins."""
        if self.ended_at_us < self.began_at_us:
            raise InvalidMessage("time", "the session ends before it begins")


class FrameMessage(MessageValue, frozen=True, gc=False):
    """The value of a message of the topic `radar_frames`: a frame, or a part of a large one."""

    kind: Literal["frame"]
    source: _Name
    record_kind: _RecordKind
    producer: _RandomName
    connection: _RandomName
    place: _Number
    part: Annotated[int, Meta(ge=0, lt=MAX_FRAME_PARTS)]
    parts: Annotated[int, Meta(ge=1, le=MAX_FRAME_PARTS)]
    what: FrameKind
    symbols: Annotated[list[_Name], Meta(max_length=MAX_GAP_SYMBOLS)]
    path: Annotated[str, Meta(max_length=MAX_PATH_CHARACTERS)]
    fetch_symbol: Annotated[str, Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.:/-]{0,31})?\Z")]
    fetch_tag: _Number
    received_at_us: _TimeUs
    received_at_ns: _Number
    monotonic_ns: _Number
    frame: str
    is_base64: bool = False
    set_back_us: _TimeUsOrNone = 0

    def check(self) -> None:
        """Check the part, the times and the encoding."""
        _check_receipt(self)
        if self.part >= self.parts:
            raise InvalidMessage("schema", "the part is behind the last one")
        if self.received_at_ns // 1000 != self.received_at_us:
            raise InvalidMessage("time", "the times of receipt differ")
        if self.is_base64:
            self.content()

    def value_of(self, field: str) -> Any:
        """Return the value for the column of a field: of `frame` the bytes, not their encoding."""
        if field == "frame" and self.is_base64:
            return self.content().decode(errors="surrogateescape")
        return super().value_of(field)

    def content(self) -> bytes:
        """Return the bytes.

        Raises:
            InvalidMessage: They are no Base64.
        """
        if not self.is_base64:
            return self.frame.encode()
        try:
            return base64.b64decode(self.frame, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidMessage("schema", f"the frame is no Base64: {error}") from error


_Received = Trade | DepthSnapshot | TradeMessage | DepthMessage | BookUpdateMessage | FrameMessage


class _AnyVersion(msgspec.Struct):
    v: int


_Message = TypeVar("_Message", bound=MessageValue)
_Object = TypeVar("_Object", bound=msgspec.Struct)

PACKED_START = b'{"v":%d,' % PACKED_VERSION
END_OF_HEAD = b"\n"
PACKED_INTEGERS = 4  # received_at_us, event_time_us, sequence, set_back_us
NUMBER_BYTES = 8

_find_name = re.compile(NAME_PATTERN).match
_find_native_id = re.compile(NATIVE_ID_PATTERN).match
_find_amount = re.compile(_AMOUNT_PATTERN).match
_exact = Context(prec=80)  # digits of a product of two amounts, at least
_encoder = msgspec.json.Encoder()
_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_version_decoder = msgspec.json.Decoder(_AnyVersion)


def message_key(source: str, symbol: str) -> bytes:
    """Return the key that keeps all messages of one market in one partition, in order."""
    return f"{source}:{symbol}".encode()


@lru_cache(maxsize=10_000)
def are_names(*names: str) -> bool:
    """Return whether a message may carry all of these names."""
    return all(map(_find_name, names))


def check_trade(trade: Trade | TradeMessage) -> None:
    """Apply the rules of a trade: names, amounts and times are plausible.

    Raises:
        InvalidMessage: The trade breaks a rule.
    """
    if not are_names(trade.source, trade.symbol, trade.base, trade.quote):
        raise InvalidMessage("schema", "a name has other characters or too many")
    price, amount = trade.price, trade.base_amount
    if not (_find_amount(price) and _find_amount(amount)):
        raise InvalidMessage("schema", "an amount is not canonical or does not fit")
    if price == "0" or amount == "0":
        raise InvalidMessage("amount", "price and base_amount must be positive")
    # Numbers of so few digits before their points have a product that fits.
    if (
        len(price) + len(amount) > MAX_INTEGER_DIGITS
        and _integer_digits(price) + _integer_digits(amount) > MAX_INTEGER_DIGITS
        and _exact.multiply(Decimal(price), Decimal(amount)) >= QUOTE_AMOUNT_LIMIT
    ):
        raise InvalidMessage("amount", "price x base_amount does not fit into Decimal(38, 18)")
    if not (_find_native_id(trade.native_id) and 0 <= trade.sequence <= MAX_NUMBER):
        raise InvalidMessage("schema", "the exchange's ID has other characters or too many")
    _check_receipt(trade)
    event_time_ms, received_at_ms = trade.event_time_ms, trade.received_at_us // 1000
    if trade.event_time_us and trade.event_time_us // 1000 != event_time_ms:
        raise InvalidMessage("time", "the times of the exchange differ")
    if not MIN_TIME_MS <= event_time_ms < MAX_TIME_MS:
        raise InvalidMessage("time", "the trade is not of this century")
    if event_time_ms > received_at_ms + MAX_EVENT_AHEAD_MS:
        raise InvalidMessage("time", "the trade is more than a day in the future of its receiver")


def _check_receipt(record: _Received) -> None:
    """Check the time of receipt, also by the clock that never goes back (`monotonic_at`).

    Raises:
        InvalidMessage: One of them is not of this century.
    """
    at_us = record.received_at_us
    if not _FIRST_US <= at_us <= at_us + record.set_back_us < _END_US:
        raise InvalidMessage("time", "the receiver's clock is not of this century")


def check_depth(snapshot: DepthSnapshot | DepthMessage) -> None:
    """Apply the rules of a depth snapshot: names, time and levels are plausible.

    Raises:
        InvalidMessage: The snapshot breaks a rule: there are too many levels, its arrays differ
            in length, a number is not positive and finite, or the best level is not first.
    """
    if not are_names(snapshot.source, snapshot.symbol, snapshot.base, snapshot.quote):
        raise InvalidMessage("schema", "a name has other characters or too many")
    _check_receipt(snapshot)
    _check_state(snapshot)
    prices, quantities = snapshot.prices, snapshot.quantities
    if len(prices) != len(quantities):
        raise InvalidMessage("levels", f"{len(prices)} prices, {len(quantities)} quantities")
    if not prices:
        return
    if len(prices) > MAX_LEVELS:
        raise InvalidMessage("levels", f"{len(prices)} levels are more than {MAX_LEVELS}")
    # A sum is finite only if its parts are; but finite parts may have a sum that is not.
    if not isfinite(sum(prices) + sum(quantities)) and not all(
        map(isfinite, (*prices, *quantities))
    ):
        raise InvalidMessage("amount", "prices and quantities must be finite")
    if min(prices) <= 0 or min(quantities) <= 0:
        raise InvalidMessage("amount", "prices and quantities must be positive")
    if [*prices] != sorted(prices, reverse=snapshot.side is BookSide.BID):
        raise InvalidMessage("levels", "the best level must be first")


def _check_state(snapshot: DepthSnapshot | DepthMessage) -> None:
    """Apply the rules of the exchange's own number and time of a book."""
    if not 0 <= snapshot.sequence <= MAX_NUMBER:
        raise InvalidMessage("schema", "the number of the book does not fit")
    if snapshot.event_time_us and not MIN_TIME_MS <= snapshot.event_time_us // 1000 < MAX_TIME_MS:
        raise InvalidMessage("time", "the exchange's clock is not of this century")


def _integer_digits(amount: str) -> int:
    return len(amount.partition(".")[0])


def encode_trade(trade: Trade, trade_id: str) -> bytes:
    """Encode a trade with its trade ID (32 hexadecimal digits) as a message value."""
    return _encoder.encode(
        # Python calls with more than 15 keywords by way of a dict, which takes three times as long.
        TradeMessage(
            VERSION,
            "trade",
            trade_id=trade_id,
            source=trade.source,
            symbol=trade.symbol,
            base=trade.base,
            quote=trade.quote,
            side=trade.side,
            price=trade.price,
            base_amount=trade.base_amount,
            event_time_ms=trade.event_time_ms,
            received_at_us=trade.received_at_us,
            native_id=trade.native_id,
            sequence=trade.sequence,
            event_time_us=trade.event_time_us or trade.event_time_ms * 1000,
            set_back_us=trade.set_back_us,
        )
    )


def encode_depth(snapshot: DepthSnapshot) -> bytes:
    """Encode one side of an order book as a packed message value.

    Raises:
        InvalidMessage: It has not one quantity for each price.
    """
    levels = len(snapshot.prices)
    if len(snapshot.quantities) != levels:
        raise InvalidMessage("levels", f"{levels} prices, {len(snapshot.quantities)} quantities")
    head = _depth_head(
        snapshot.source,
        snapshot.symbol,
        snapshot.base,
        snapshot.quote,
        snapshot.side,
        snapshot.verified,
    )
    return head + struct.pack(
        f"<{PACKED_INTEGERS}q{2 * levels}d",
        snapshot.received_at_us,
        snapshot.event_time_us,
        snapshot.sequence,
        snapshot.set_back_us,
        *snapshot.prices,
        *snapshot.quantities,
    )


@lru_cache(maxsize=10_000)
def _depth_head(
    source: str, symbol: str, base: str, quote: str, side: BookSide, verified: bool
) -> bytes:
    head = DepthHead(PACKED_VERSION, "depth", source, symbol, base, quote, side, verified)
    return _encoder.encode(head) + END_OF_HEAD


def book_update(update: BookUpdate, chain: str, place: int) -> BookUpdateMessage:
    """Return the message of an update.

    Args:
        update: The update.
        chain: A random name, hexadecimal digits: its updates go on from one another.
        place: Its place in the chain; the first has 0.
    """
    return BookUpdateMessage(
        v=VERSION,
        kind="book_update",
        source=update.source,
        symbol=update.symbol,
        base=update.base,
        quote=update.quote,
        chain=chain,
        place=place,
        is_snapshot=update.is_snapshot,
        bid_prices=[price for price, _ in update.bids],
        bid_quantities=[quantity for _, quantity in update.bids],
        ask_prices=[price for price, _ in update.asks],
        ask_quantities=[quantity for _, quantity in update.asks],
        received_at_us=update.received_at_us,
        event_time_us=update.event_time_us,
        sequence=update.sequence,
        verified=update.verified,
        set_back_us=update.set_back_us,
    )


def encode_book_update(message: BookUpdateMessage) -> bytes:
    """Encode a checked update as a message value.

    Raises:
        InvalidMessage: It breaks a rule.
    """
    if not are_names(message.source, message.symbol, message.base, message.quote):
        raise InvalidMessage("schema", "a name has other characters or too many")
    if max(len(message.bid_prices), len(message.ask_prices)) > MAX_UPDATE_LEVELS:
        raise InvalidMessage("levels", f"more than {MAX_UPDATE_LEVELS} levels")
    message.check()
    return _encoder.encode(message)


def encode_candle(candle: ExchangeCandle) -> bytes:
    """Encode a candle of an exchange as a message value.

    Raises:
        InvalidMessage: It breaks a rule.
    """
    if not are_names(candle.source, candle.symbol, candle.base, candle.quote):
        raise InvalidMessage("schema", "a name has other characters or too many")
    for time_us in (candle.opened_at_us, candle.received_at_us):
        if not MIN_TIME_MS <= time_us // 1000 < MAX_TIME_MS:
            raise InvalidMessage("time", "a time is not of this century")
    message = CandleMessage(
        v=VERSION,
        kind="candle",
        source=candle.source,
        symbol=candle.symbol,
        base=candle.base,
        quote=candle.quote,
        interval_s=candle.interval_s,
        resolution=candle.resolution,
        time_zone=candle.time_zone,
        opened_at_us=candle.opened_at_us,
        open=candle.open,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        volume=candle.volume,
        received_at_us=candle.received_at_us,
    )
    message.check()
    return _encoder.encode(message)


def encode_gap(gap: Gap) -> bytes:
    """Encode a gap as a message value."""
    return _encoder.encode(
        GapMessage(
            v=VERSION,
            kind="gap",
            source=gap.source,
            record_kind=gap.record_kind,
            cause=gap.cause,
            symbols=list(gap.symbols),
            began_at_us=gap.began_at_us,
            ended_at_us=gap.ended_at_us,
            repaired=gap.repaired,
            received_at_us=gap.received_at_us,
            first_id=gap.first_id,
            last_id=gap.last_id,
            missing=gap.missing,
        )
    )


def encode_session(session: SessionReport) -> bytes:
    """Encode a session as a message value."""
    return _encoder.encode(
        SessionMessage(
            v=VERSION,
            kind="watch",
            source=session.source,
            record_kind=session.record_kind,
            connection=session.connection,
            symbols=list(session.symbols),
            began_at_us=session.began_at_us,
            ended_at_us=session.ended_at_us,
            end_reason=session.end_reason,
            interval_ms=session.interval_ms,
            received_at_us=session.received_at_us,
            both=session.both,
            alone=session.alone,
        )
    )


def encode_frame(frame: Frame) -> list[bytes]:
    """Encode a frame as message values, one for each part of it.

    The bytes are text where they are UTF-8, and Base64 where that is shorter or needed.
    """
    content = frame.content
    starts = range(0, max(1, len(content)), FRAME_PART_BYTES)
    return [
        _encode_frame_part(frame, content[start : start + FRAME_PART_BYTES], number, len(starts))
        for number, start in enumerate(starts)
    ]


def _encode_frame_part(frame: Frame, content: bytes, part: int, parts: int) -> bytes:
    try:
        text, is_base64 = content.decode(), False
    except UnicodeDecodeError:
        text, is_base64 = base64.b64encode(content).decode(), True
    message = FrameMessage(
        v=VERSION,
        kind="frame",
        source=frame.source,
        record_kind=frame.record_kind,
        producer=frame.producer,
        connection=frame.connection,
        place=frame.place,
        part=part,
        parts=parts,
        what=frame.what,
        symbols=list(frame.symbols),
        path=frame.path,
        fetch_symbol=frame.fetch_symbol,
        fetch_tag=frame.fetch_tag,
        received_at_us=frame.received_at_ns // 1000,
        received_at_ns=frame.received_at_ns,
        monotonic_ns=frame.monotonic_ns,
        frame=text,
        is_base64=is_base64,
        set_back_us=frame.set_back_us,
    )
    value = _encoder.encode(message)
    # JSON writes a control character with six bytes.
    if not is_base64 and len(value) > 2 * FRAME_PART_BYTES - MESSAGE_SPARE_BYTES:
        encoded = base64.b64encode(content).decode()
        value = _encoder.encode(msgspec.structs.replace(message, frame=encoded, is_base64=True))
    return value


class MessageDecoder(Generic[_Message]):
    """Decodes the message values of one dataset, strictly."""

    version: int = VERSION  # the newest that it knows

    def __init__(self, message: type[_Message]) -> None:
        self._decoder = msgspec.json.Decoder(message)

    def __call__(self, value: bytes) -> _Message:
        """Return the message of a value.

        Raises:
            InvalidMessage: The value is no JSON, has a version that is not known, lacks a field
                without a default, has a known field of another type, or breaks a rule.
        """
        message = _read(self._decoder, value, self.version)
        message.check()
        return message


class _DepthDecoder(MessageDecoder[DepthMessage]):
    """Also decodes packed snapshots, into the same message."""

    version: int = PACKED_VERSION

    def __call__(self, value: bytes) -> DepthMessage:
        """Return the message of a value; see `MessageDecoder`."""
        if not value.startswith(PACKED_START):
            return super().__call__(value)
        head, _, numbers = value.partition(END_OF_HEAD)
        message = _unpacked(decode_depth_head(head), numbers)
        message.check()
        return message


def decoder_of(message: type[_Message]) -> Callable[[bytes], Any]:
    """Return the decoder of a dataset's message values."""
    return decode_depth if message is DepthMessage else MessageDecoder(message)


def decode_depth_head(head: bytes) -> DepthHead:
    """Decode the object of a packed snapshot.

    Raises:
        InvalidMessage: See `MessageDecoder`.
    """
    return _read(_head_decoder, head, PACKED_VERSION)


def as_json(value: bytes) -> bytes:
    """Return a message value as one JSON object: of a packed one that of version 1, else itself.

    Raises:
        InvalidMessage: It is no packed message, although it begins like one.
    """
    if not value.startswith(PACKED_START):
        return value
    head, _, numbers = value.partition(END_OF_HEAD)
    return _encoder.encode(_unpacked(decode_depth_head(head), numbers))


def _unpacked(head: DepthHead, numbers: bytes) -> DepthMessage:
    levels, rest = divmod(len(numbers) - PACKED_INTEGERS * NUMBER_BYTES, 2 * NUMBER_BYTES)
    if levels < 0 or rest:
        raise InvalidMessage("schema", f"{len(numbers)} bytes of numbers are not whole levels")
    received_at_us, event_time_us, sequence, set_back_us, *amounts = struct.unpack(
        f"<{PACKED_INTEGERS}q{2 * levels}d", numbers
    )
    return DepthMessage(
        v=VERSION,
        kind="depth",
        source=head.source,
        symbol=head.symbol,
        base=head.base,
        quote=head.quote,
        side=head.side,
        prices=amounts[:levels],
        quantities=amounts[levels:],
        received_at_us=received_at_us,
        event_time_us=event_time_us,
        sequence=sequence,
        verified=head.verified,
        set_back_us=set_back_us,
    )


def _read(decoder: msgspec.json.Decoder[_Object], value: bytes, version: int) -> _Object:
    """Decode an object strictly.

    Raises:
        InvalidMessage: See `MessageDecoder`.
    """
    try:
        found = decoder.decode(value)
        # The parser takes the last of two members of one name; another reader may take the first.
        # A message as radar writes it has no member twice.
        if _encoder.encode(found) != value and _has_repeated_members(value):
            raise InvalidMessage("json", "a member appears twice")
    except msgspec.ValidationError as error:
        raise InvalidMessage("schema", _newer_version(value, version) or str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMessage("json", str(error)) from error
    return found


def _has_repeated_members(value: bytes) -> bool:
    # Without the repetitions fewer quotes are left: each name has two.
    members = _members_decoder.decode(value)
    return value.count(b'"') != _encoder.encode(members).count(b'"')


def _newer_version(value: bytes, known: int) -> str | None:
    for text in (value, value.partition(END_OF_HEAD)[0]):
        try:
            version = _version_decoder.decode(text).v
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        if version > known:
            return (
                f"version {version} is newer than this decoder's version {known}: upgrade the"
                " workers, then run radar dlq replay"
            )
    return None


_head_decoder = msgspec.json.Decoder(DepthHead)
decode_trade = MessageDecoder(TradeMessage)
decode_depth = _DepthDecoder(DepthMessage)
decode_gap = MessageDecoder(GapMessage)
decode_session = MessageDecoder(SessionMessage)
decode_frame = MessageDecoder(FrameMessage)
