"""Candles of exchanges: amounts, and the format of TradingView's data feed (UDF). Pure."""

from collections.abc import Iterable, Mapping
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from typing import Annotated
from urllib.parse import urlencode

import msgspec
from msgspec import Meta, Raw, Struct

from radar.decimals import MAX_FRACTION_DIGITS, canonical
from radar.errors import ExchangeUnavailable
from radar.exchanges.base import Candles, RawCandle, Resolution, brief
from radar.exchanges.common.entries import MAX_TRADE_COMMAS, check_commas
from radar.exchanges.common.literals import NOT_DECODABLE, text_of
from radar.records import ExchangeCandle, Market

DAY_S = 86_400
MAX_CANDLES = 20_000
UDF_RESOLUTIONS: Mapping[str, Resolution] = {
    "1m": Resolution("1", 60),
    "5m": Resolution("5", 300),
    "15m": Resolution("15", 900),
    "1h": Resolution("60", 3_600),
    "3h": Resolution("180", 10_800),
    "6h": Resolution("360", 21_600),
    "12h": Resolution("720", 43_200),
    "1d": Resolution("D", DAY_S),
}
_LAST_PLACE = Decimal(1).scaleb(-MAX_FRACTION_DIGITS)

_Column = Annotated[list[Raw], Meta(max_length=MAX_CANDLES)]


class _Udf(Struct):
    """An answer: parallel columns, oldest first, or a status without them."""

    s: str
    t: _Column = []
    o: _Column = []
    h: _Column = []
    low: _Column = msgspec.field(name="l", default_factory=list)
    c: _Column = []
    v: _Column = []
    errmsg: str = ""


_udf_decoder = msgspec.json.Decoder(_Udf)


def candle_amount(literal: Raw) -> str:
    """Return the canonical text of an amount; digits after the 18th place are cut.

    Trades have no such digits. Exchanges add volumes up as doubles, which may have them.

    Raises:
        ValueError: It is no decimal, or has too many digits before the point.
    """
    text = text_of(literal)
    try:
        return canonical(text)
    except ValueError:
        if len(text) > 60 or not text.isascii() or "_" in text:
            raise
        try:
            cut = Decimal(text).quantize(_LAST_PLACE, ROUND_DOWN)
        except InvalidOperation as error:
            raise ValueError(f"not a decimal: {text[:50]!r}") from error
        return canonical(format(cut, "f"))


def read_candles(
    rows: Iterable[RawCandle | None],
    source: str,
    market: Market,
    resolution: Resolution,
    day_zone: str,
    received_at_us: int,
) -> Candles:
    """Return the candles of an answer, oldest first; a malformed row does not harm the others.

    Args:
        rows: The rows; None for one that is none.
        source: The exchange.
        market: The market.
        resolution: The interval.
        day_zone: As in `CandleHistory`.
        received_at_us: When the answer arrived, Unix time.
    """
    candles: list[ExchangeCandle] = []
    invalid = 0
    for row in rows:
        try:
            if row is None:
                raise ValueError("no candle")
            candles.append(
                ExchangeCandle(
                    source=source,
                    symbol=market.symbol,
                    base=market.base,
                    quote=market.quote,
                    interval_s=resolution.interval_s,
                    resolution=resolution.code,
                    time_zone=day_zone if resolution.interval_s >= DAY_S else "",
                    opened_at_us=row.opened_at_us,
                    open=candle_amount(row.open),
                    high=candle_amount(row.high),
                    low=candle_amount(row.low),
                    close=candle_amount(row.close),
                    volume=candle_amount(row.volume),
                    received_at_us=received_at_us,
                )
            )
        except NOT_DECODABLE:
            invalid += 1
    candles.sort(key=lambda candle: candle.opened_at_us)
    return Candles(candles, invalid)


def check_candles(body: bytes, market: Market) -> None:
    """Refuse an answer with far more candles than were asked for, before it is decoded.

    Raises:
        ExchangeUnavailable: It has too many entries.
    """
    check_commas(body, MAX_TRADE_COMMAS, f"the candles of {market.symbol} are")


def udf_query(market: Market, resolution: Resolution, first_us: int, end_us: int) -> str:
    """Return the query of an UDF history: the candles that begin from one second to another.

    Both ends are included, in whole seconds.
    """
    query = {
        "symbol": market.symbol,
        "resolution": resolution.code,
        "from": -(-first_us // 1_000_000),
        "to": -(-end_us // 1_000_000) - 1,
    }
    return urlencode(query)


def read_udf(body: bytes, market: Market) -> list[RawCandle]:
    """Return the rows of an UDF answer.

    {"s":"ok","t":[1733425200],"o":["7286137604.0000000000000000"],"h":[…],"l":[…],"c":[…],
     "v":["0.2544820000000000"]}, or {"s":"no_data"}, or {"s":"error","errmsg":"…"}

    Raises:
        ExchangeUnavailable: It reports an error, or its columns differ in length.
    """
    what = f"the candles of {market.symbol}"
    check_candles(body, market)
    try:
        answer = _udf_decoder.decode(body)
        columns = (answer.t, answer.o, answer.h, answer.low, answer.c, answer.v)
        if answer.s == "no_data":
            return []
        if answer.s != "ok":
            raise ExchangeUnavailable(f"{what}: {brief(answer.errmsg or answer.s)}")
        return [RawCandle(_seconds_us(each[0]), *each[1:]) for each in zip(*columns, strict=True)]
    except NOT_DECODABLE as error:
        raise ExchangeUnavailable(f"{what}: malformed: {brief(str(error))}") from error


def _seconds_us(literal: Raw) -> int:
    """Return the microseconds of a Unix time in whole seconds, maybe written with a point.

    Raises:
        ValueError: It is none.
    """
    whole = canonical(text_of(literal))
    if not whole.isdigit() or len(whole) > 11:
        raise ValueError("a time that is none")
    return int(whole) * 1_000_000
