"""Version 1 of the messages, frozen: bytes as they stand in topics, and a copy of the rules.

Never change an entry; add those of a new dataset. They stand for messages that were published and
for workers that run. When a message grows a field, they show that older workers go on.
"""

import base64
import re
from decimal import Decimal
from math import isfinite
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

MESSAGES: dict[str, list[bytes]] = {
    "trades": [
        (
            b'{"v":1,"kind":"trade","trade_id":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","source":"wallex",'
            b'"symbol":"USDTTMN","base":"USDT","quote":"TMN","side":"sell","price":"31704.5",'
            b'"base_amount":"705","event_time_ms":1784000000000,"received_at_us":1784000000120345}'
        ),
        (
            b'{"v":1,"kind":"trade","trade_id":"1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e","source":"wallex",'
            b'"symbol":"BTCUSDT","base":"BTC","quote":"USDT","side":"buy","price":"62525.04",'
            b'"base_amount":"0.000451","event_time_ms":1783999999000,'
            b'"received_at_us":1784000000120346}'
        ),
    ],
    "depth": [
        (
            b'{"v":1,"kind":"depth","source":"wallex","symbol":"BTCUSDT","base":"BTC","quote":"USDT",'
            b'"side":"bid","prices":[62525.04,62424.28],"quantities":[0.000451,0.02624],'
            b'"received_at_us":1784000000120345}'
        ),
        (
            b'{"v":1,"kind":"depth","source":"wallex","symbol":"BTCUSDT","base":"BTC","quote":"USDT",'
            b'"side":"ask","prices":[],"quantities":[],"received_at_us":1784000000120346}'
        ),
    ],
    "book_updates": [
        (
            b'{"v":1,"kind":"book_update","source":"wallex","symbol":"BTCUSDT","base":"BTC",'
            b'"quote":"USDT","chain":"9f2c00aa","place":0,"is_snapshot":true,'
            b'"bid_prices":[62525.04,62424.28],"bid_quantities":[0.000451,0.02624],'
            b'"ask_prices":[62530.0],"ask_quantities":[1.5],"received_at_us":1784000000120345}'
        ),
        (
            b'{"v":1,"kind":"book_update","source":"wallex","symbol":"BTCUSDT","base":"BTC",'
            b'"quote":"USDT","chain":"9f2c00aa","place":1,"is_snapshot":false,'
            b'"bid_prices":[62424.28],"bid_quantities":[0.0],"ask_prices":[],"ask_quantities":[],'
            b'"received_at_us":1784000000120346}'
        ),
    ],
    "exchange_candles": [
        (
            b'{"v":1,"kind":"candle","source":"wallex","symbol":"USDTTMN","base":"USDT","quote":"TMN",'
            b'"interval_s":86400,"resolution":"D","time_zone":"Asia/Tehran",'
            b'"opened_at_us":1783801800000000,"open":"31650","high":"31900.5","low":"31610",'
            b'"close":"31704.5","volume":"70512.25","received_at_us":1784000000120345}'
        ),
        (
            b'{"v":1,"kind":"candle","source":"wallex","symbol":"BTCUSDT","base":"BTC","quote":"USDT",'
            b'"interval_s":60,"resolution":"1","time_zone":"","opened_at_us":1783999860000000,'
            b'"open":"62525.04","high":"62525.04","low":"62525.04","close":"62525.04","volume":"0",'
            b'"received_at_us":1784000000120346}'
        ),
    ],
    "frames": [
        (
            b'{"v":1,"kind":"frame","source":"wallex","record_kind":"trades","producer":"77ab00aa",'
            b'"connection":"5b1f00aa","place":17,"part":0,"parts":1,"what":"received","symbols":[],'
            b'"path":"","fetch_symbol":"","fetch_tag":0,"received_at_us":1784000000120345,'
            b'"received_at_ns":1784000000120345678,"monotonic_ns":86400123456789,'
            b'"frame":"[\\"USDTTMN@trade\\",{}]"}'
        ),
        (
            b'{"v":1,"kind":"frame","source":"wallex","record_kind":"depth","producer":"77ab00aa",'
            b'"connection":"5b1f00ab","place":0,"part":1,"parts":2,"what":"opened",'
            b'"symbols":["BTCUSDT"],"path":"","fetch_symbol":"","fetch_tag":0,'
            b'"received_at_us":1784000000120345,"received_at_ns":1784000000120345999,'
            b'"monotonic_ns":86400123456790,"frame":"/wD+","is_base64":true}'
        ),
    ],
    "gaps": [
        (
            b'{"v":1,"kind":"gap","source":"wallex","record_kind":"trades","cause":"disconnected",'
            b'"symbols":["BTCUSDT","USDTTMN"],"began_at_us":1784000000120345,'
            b'"ended_at_us":1784000001480112,"repaired":true,"received_at_us":1784000004731002}'
        ),
    ],
    "watches": [
        (
            b'{"v":1,"kind":"watch","source":"wallex","record_kind":"trades","connection":"5b1f00aa",'
            b'"symbols":["BTCUSDT","USDTTMN"],"began_at_us":1784000000120345,'
            b'"ended_at_us":1784000030480112,"end_reason":"open","interval_ms":0,'
            b'"received_at_us":1784000031731002}'
        ),
    ],
}

_FIRST_MS, _AFTER_MS = 1_420_070_400_000, 4_102_444_800_000

_Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,31}\Z")]
_Amount = Annotated[
    str, Meta(pattern=r"^(?:0|[1-9][0-9]{0,19})(?:\.[0-9]{0,17}[1-9])?\Z", max_length=39)
]
_TimeMs = Annotated[int, Meta(ge=_FIRST_MS, lt=_AFTER_MS)]
_TimeUs = Annotated[int, Meta(ge=_FIRST_MS * 1000, lt=_AFTER_MS * 1000)]
_RecordKind = Literal["trades", "depth"]
_Symbols = Annotated[list[_Name], Meta(min_length=1, max_length=1000)]
_Levels = Annotated[list[float], Meta(max_length=1000)]
_Changes = Annotated[list[float], Meta(max_length=10_000)]


class _Trade(msgspec.Struct):
    v: Literal[1]
    kind: Literal["trade"]
    trade_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    source: _Name
    symbol: _Name
    base: _Name
    quote: _Name
    side: Literal["buy", "sell"]
    price: _Amount
    base_amount: _Amount
    event_time_ms: _TimeMs
    received_at_us: _TimeUs


class _Depth(msgspec.Struct):
    v: Literal[1]
    kind: Literal["depth"]
    source: _Name
    symbol: _Name
    base: _Name
    quote: _Name
    side: Literal["bid", "ask"]
    prices: _Levels
    quantities: _Levels
    received_at_us: _TimeUs


class _BookUpdate(msgspec.Struct):
    v: Literal[1]
    kind: Literal["book_update"]
    source: _Name
    symbol: _Name
    base: _Name
    quote: _Name
    chain: Annotated[str, Meta(pattern=r"^[0-9a-f]{1,32}\Z")]
    place: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
    is_snapshot: bool
    bid_prices: _Changes
    bid_quantities: _Changes
    ask_prices: _Changes
    ask_quantities: _Changes
    received_at_us: _TimeUs


class _Candle(msgspec.Struct):
    v: Literal[1]
    kind: Literal["candle"]
    source: _Name
    symbol: _Name
    base: _Name
    quote: _Name
    interval_s: Annotated[int, Meta(ge=1, le=31_622_400)]
    resolution: Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{1,16}\Z")]
    time_zone: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_/+-]{0,32}\Z")]
    opened_at_us: _TimeUs
    open: _Amount
    high: _Amount
    low: _Amount
    close: _Amount
    volume: _Amount
    received_at_us: _TimeUs


class _Frame(msgspec.Struct):
    v: Literal[1]
    kind: Literal["frame"]
    source: _Name
    record_kind: _RecordKind
    producer: Annotated[str, Meta(pattern=r"^[0-9a-f]{1,32}\Z")]
    connection: Annotated[str, Meta(pattern=r"^[0-9a-f]{1,32}\Z")]
    place: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
    part: Annotated[int, Meta(ge=0, lt=1024)]
    parts: Annotated[int, Meta(ge=1, le=1024)]
    what: Literal["opened", "received", "sent", "fetched"]
    symbols: Annotated[list[_Name], Meta(max_length=1000)]
    path: Annotated[str, Meta(max_length=4096)]
    fetch_symbol: Annotated[str, Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.:/-]{0,31})?\Z")]
    fetch_tag: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
    received_at_us: _TimeUs
    received_at_ns: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
    monotonic_ns: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
    frame: str
    is_base64: bool = False


class _Gap(msgspec.Struct):
    v: Literal[1]
    kind: Literal["gap"]
    source: _Name
    record_kind: _RecordKind
    cause: Literal[
        "disconnected",
        "silent",
        "refused",
        "backpressure",
        "mute",
        "refused_by_kafka",
        "suspended",
        "clock",
    ]
    symbols: _Symbols
    began_at_us: _TimeUs
    ended_at_us: _TimeUs
    repaired: bool
    received_at_us: _TimeUs


class _Watch(msgspec.Struct):
    v: Literal[1]
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


STRUCTS: dict[str, type[msgspec.Struct]] = {
    "trades": _Trade,
    "depth": _Depth,
    "book_updates": _BookUpdate,
    "exchange_candles": _Candle,
    "frames": _Frame,
    "gaps": _Gap,
    "watches": _Watch,
}


def decode(dataset: str, value: bytes) -> dict[str, Any]:
    """Return the fields that a worker of version 1 takes from a message.

    Raises:
        ValueError: It makes a dead letter of the message.
    """
    message: Any = msgspec.json.decode(value, type=STRUCTS[dataset])
    members = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    if value.count(b'"') != msgspec.json.encode(members).count(b'"'):
        raise ValueError("a member appears twice")
    if isinstance(message, _Trade):
        _check_trade(message)
    elif isinstance(message, _Depth):
        _check_depth(message)
    elif isinstance(message, _BookUpdate):
        _check_book_update(message)
    elif isinstance(message, _Candle):
        _check_candle(message)
    elif isinstance(message, _Frame):
        _check_frame(message)
    elif message.ended_at_us < message.began_at_us:
        raise ValueError("it ends before it begins")
    return msgspec.structs.asdict(message)


def _check_trade(trade: _Trade) -> None:
    if "0" in (trade.price, trade.base_amount):
        raise ValueError("an amount is zero")
    whole = re.sub(r"\..*", "", trade.price) + re.sub(r"\..*", "", trade.base_amount)
    if len(whole) > 20 and Decimal(trade.price) * Decimal(trade.base_amount) >= Decimal(10) ** 20:
        raise ValueError("the total does not fit")
    if trade.event_time_ms > trade.received_at_us // 1000 + 86_400_000:
        raise ValueError("the trade is more than a day in the future")


def _check_depth(snapshot: _Depth) -> None:
    prices, quantities = snapshot.prices, snapshot.quantities
    if len(prices) != len(quantities):
        raise ValueError("the arrays differ in length")
    if not all(isfinite(each) and each > 0 for each in (*prices, *quantities)):
        raise ValueError("a number is not positive and finite")
    if prices != sorted(prices, reverse=snapshot.side == "bid"):
        raise ValueError("the best level is not first")


def _check_book_update(update: _BookUpdate) -> None:
    for prices, quantities in (
        (update.bid_prices, update.bid_quantities),
        (update.ask_prices, update.ask_quantities),
    ):
        if len(prices) != len(quantities):
            raise ValueError("the arrays differ in length")
        if not all(isfinite(each) and each > 0 for each in prices):
            raise ValueError("a price is not positive and finite")
        if not all(isfinite(each) and each >= 0 for each in quantities):
            raise ValueError("a quantity is negative or not finite")


def _check_frame(frame: _Frame) -> None:
    if frame.part >= frame.parts or frame.received_at_ns // 1000 != frame.received_at_us:
        raise ValueError("the part or the time is wrong")
    if frame.is_base64:
        base64.b64decode(frame.frame, validate=True)


def _check_candle(candle: _Candle) -> None:
    if candle.opened_at_us + candle.interval_s * 1_000_000 > candle.received_at_us:
        raise ValueError("it had not ended")
    low, high = Decimal(candle.low), Decimal(candle.high)
    if low <= 0 or not all(low <= Decimal(each) <= high for each in (candle.open, candle.close)):
        raise ValueError("a price is not positive, or beyond the highest or the lowest one")
