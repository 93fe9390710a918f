"""The frames and REST bodies of the simulated exchange, in Wallex's format, as pure functions.

The shapes come from the exchange's documentation and from a capture of July 2026. Prices and
quantities are whole ticks and lots. They become decimals by moving the point, never through float.
"""

import struct
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from radar_simulator.listings import MarketListing
from radar_simulator.market import Level, MarketState, Side, SimulatedCandle, SimulatedTrade

WIRE_DECIMALS = 16
"""Decimals of a number that the exchange sends as a string."""

PRICE_CHANNEL = "all@price"

_HEADER_16 = struct.Struct("!BBH")
_HEADER_64 = struct.Struct("!BBQ")

RESOLUTION_MINUTES = {
    "1": 1, "5": 5, "15": 15, "60": 60, "180": 180, "360": 360, "720": 720, "D": 1440,
}  # fmt: skip
"""Minutes of the resolutions of the format UDF."""

DAY_MINUTES = 1440

TEHRAN_MINUTES = 210
"""Tehran's time before UTC, all year since 2022."""


def number(units: int, decimals: int) -> str:
    """Write `units * 10**-decimals` as the exchange writes a JSON number: no trailing zeros."""
    if decimals == 0:
        return str(units)
    digits = str(units).rjust(decimals + 1, "0")
    fraction = digits[-decimals:].rstrip("0")
    return f"{digits[:-decimals]}.{fraction}" if fraction else digits[:-decimals]


def decimal(units: int, decimals: int) -> str:
    """Write `units * 10**-decimals` with 16 decimals, as the exchange's decimal strings are."""
    digits = str(units).rjust(decimals + 1, "0")
    whole = digits[: len(digits) - decimals]
    fraction = digits[len(whole) :].rstrip("0")
    return f"{whole}.{fraction.ljust(WIRE_DECIMALS, '0')}"


@lru_cache(maxsize=64)
def timestamp(second: int) -> str:
    """Write a Unix second as the exchange does: `2022-06-26T11:14:09Z`."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def trade_channel(symbol: str) -> str:
    """Name the trade channel of a market."""
    return f"{symbol}@trade"


def depth_channel(symbol: str, side: Side) -> str:
    """Name the depth channel of one side of a market."""
    return f"{symbol}@{side.value}"


def framed(payload: str | bytes) -> bytes:
    """Wrap a payload into one WebSocket frame: text for str, binary for bytes.

    A server's frames are not masked (RFC 6455, 5.1), so one frame serves all connections.
    """
    opcode, data = (0x81, payload.encode()) if isinstance(payload, str) else (0x82, payload)
    length = len(data)
    if length < 126:
        return bytes((opcode, length)) + data
    if length < 65_536:
        return _HEADER_16.pack(opcode, 126, length) + data
    return _HEADER_64.pack(opcode, 127, length) + data


def hello_frame(connection_id: str, ping_interval_s: float) -> str:
    """Write the object sent once after connecting (keys seen in clients only)."""
    return f'{{"sid":"{connection_id}","pingInterval":{int(ping_interval_s * 1000)}}}'


def ping_frame(ping_id: str) -> str:
    """Write the exchange's own ping, a text frame besides the protocol's ping."""
    return f'{{"ping":"{ping_id}"}}'


def trade_price(trade: SimulatedTrade) -> str:
    """Write a trade's price."""
    return decimal(trade.ticks, trade.listing.tick_places)


def trade_quantity(trade: SimulatedTrade) -> str:
    """Write a trade's quantity."""
    return decimal(trade.lots, trade.listing.lot_places)


def trade_frame(trade: SimulatedTrade) -> str:
    """Write a trade frame; it carries no ID and only the second."""
    return (
        f'["{trade.listing.symbol}@trade",{{"isBuyOrder":{"true" if trade.is_buy else "false"},'
        f'"quantity":"{trade_quantity(trade)}","price":"{trade_price(trade)}",'
        f'"timestamp":"{timestamp(trade.second)}"}}]'
    )


def depth_frame(market: MarketState, side: Side) -> str:
    """Write a snapshot of one side, best level first."""
    listing = market.listing
    levels = ",".join([level.text or _write(level, listing) for level in market.side(side)])
    return f'["{listing.symbol}@{side.value}",[{levels}]]'


def _write(level: Level, listing: MarketListing) -> str:
    price, quantity, total = _level_numbers(level, listing)
    level.text = f'{{"price":{price},"quantity":{quantity},"sum":{total}}}'
    return level.text


def _level_numbers(level: Level, listing: MarketListing) -> tuple[str, str, str]:
    return (
        number(level.ticks, listing.tick_places),
        number(level.lots, listing.lot_places),
        # Price times quantity of this level alone, not cumulative (capture).
        number(level.ticks * level.lots, listing.product_places),
    )


def price_frame(market: MarketState) -> str:
    """Write a market's newest price for `all@price` (keys seen in clients only)."""
    price = decimal(market.last_ticks(), market.listing.tick_places)
    return (
        f'["{PRICE_CHANNEL}",{{"symbol":"{market.listing.symbol}","price":"{price}",'
        f'"24h_ch":{_change_percent(market)}}}]'
    )


def _change_percent(market: MarketState) -> float:
    if not market.candles:
        return 0.0
    return round(100.0 * (market.last_ticks() / market.candles[0].open - 1.0), 2)


def subscription(message: str | bytes) -> tuple[str, str] | None:
    """Read `["subscribe",{"channel":"USDTTMN@trade"}]`, or the same with `unsubscribe`.

    Returns:
        The verb and the channel, or None for anything else.
    """
    try:
        parts = msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    match parts:
        case [("subscribe" | "unsubscribe") as verb, {"channel": str(channel)}]:
            return str(verb), channel
        case _:
            return None


def pong_id(message: str | bytes) -> str | None:
    """Read `{"pong":"<id>"}`; None for anything else."""
    try:
        body = msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    match body:
        case {"pong": str(answered)}:
            return answered
        case _:
            return None


def markets_body(markets: Iterable[MarketState]) -> bytes:
    """Write the answer to `GET /hector/web/v1/markets`."""
    return _answer({"markets": [_market(market) for market in markets]}, message="ok")


def _market(market: MarketState) -> dict[str, Any]:
    listing = market.listing
    volume = sum(candle.volume for candle in market.candles)
    turnover = sum(candle.volume * candle.close for candle in market.candles)
    scale = listing.product_places
    return {
        "symbol": listing.symbol,
        "base_asset": listing.base,
        "quote_asset": listing.quote,
        "fa_base_asset": listing.fa_base,
        "price": decimal(market.last_ticks(), listing.tick_places),
        "change_24h": _change_percent(market),
        "volume_24h": volume / 10**listing.lot_places,
        "quote_volume_24h": turnover / 10**scale,
        "is_spot": listing.is_spot,
        "is_otc": True,
        "is_tmn_based": listing.quote == "TMN",
        "is_usdt_based": listing.quote == "USDT",
        "is_zero_fee": False,
        "amount_precision": listing.amount_precision,
        "price_precision": listing.price_precision,
        "created_at": "2021-01-01T00:00:00Z",
        "flags": [],
    }


def day_lots(market: MarketState, now_s: float) -> int:
    """Return the volume of the last 24 hours, which begin with a whole minute, in lots."""
    first = int(now_s) // 60 - DAY_MINUTES
    return sum(candle.volume for candle in market.candles if candle.minute >= first)


def statistics_body(markets: Iterable[MarketState], now_s: float) -> bytes:
    """Write the answer to `GET /v1/markets`: the keys that a capture shows, without names."""
    symbols = {}
    for market in markets:
        listing = market.listing
        price = decimal(market.last_ticks(), listing.tick_places)
        volume = decimal(day_lots(market, now_s), listing.lot_places)
        symbols[listing.symbol] = {
            "symbol": listing.symbol,
            "baseAsset": listing.base,
            "quoteAsset": listing.quote,
            "stats": {"lastPrice": price, "24h_volume": volume},
        }
    return _answer({"symbols": symbols}, message="ok")


def trades_body(market: MarketState) -> bytes:
    """Write the answer to `GET /v1/trades`: the newest trades, newest first."""
    scale = market.listing.product_places
    latest = [
        {
            "symbol": trade.listing.symbol,
            "quantity": trade_quantity(trade),
            "price": trade_price(trade),
            "sum": _shortened(trade.ticks * trade.lots, scale),
            "isBuyOrder": trade.is_buy,
            "timestamp": timestamp(trade.second),
        }
        for trade in reversed(market.recent)
    ]
    return _answer({"latestTrades": latest})


def depth_body(market: MarketState) -> bytes:
    """Write the answer to `GET /v1/depth`: numbers, except `sum`, which is a string here."""
    sides = {"ask": _rest_levels(market.asks, market), "bid": _rest_levels(market.bids, market)}
    return _answer(sides)


def _rest_levels(levels: Iterable[Level], market: MarketState) -> list[dict[str, Any]]:
    written = (_level_numbers(level, market.listing) for level in levels)
    return [
        {
            "price": msgspec.Raw(price.encode()),
            "quantity": msgspec.Raw(quantity.encode()),
            "sum": total,
        }
        for price, quantity, total in written
    ]


def history_body(market: MarketState, resolution: str, from_s: int, to_s: int) -> bytes:
    """Write the answer to `GET /v1/udf/history`: candles made of the trades so far.

    Args:
        market: The market.
        resolution: 1, 5, 15, 60, 180, 360, 720 minutes, or D, which begins at Tehran's midnight.
        from_s: First candle's opening time, Unix seconds.
        to_s: Last candle's opening time, Unix seconds.

    Returns:
        The body; its `s` is `no_data` if there are none.

    Raises:
        KeyError: If the resolution is unknown.
    """
    minutes = RESOLUTION_MINUTES[resolution]
    buckets = candle_groups(market, minutes, from_s, to_s, TEHRAN_MINUTES)
    price, amount = market.listing.tick_places, market.listing.lot_places
    candles = joined(buckets)
    return msgspec.json.encode(
        {
            "s": "ok" if candles else "no_data",
            "t": [each.opened_s for each in candles],
            "o": [decimal(each.open, price) for each in candles],
            "h": [decimal(each.high, price) for each in candles],
            "l": [decimal(each.low, price) for each in candles],
            "c": [decimal(each.close, price) for each in candles],
            "v": [decimal(each.volume, amount) for each in candles],
        }
    )


def candle_groups(
    market: MarketState, minutes: int, from_s: int, to_s: int, day_shift: int = 0
) -> dict[int, list[SimulatedCandle]]:
    """Group the candles of minutes into longer ones, by their opening time in Unix seconds.

    Args:
        market: The market.
        minutes: The length of a candle.
        from_s: First candle's opening time, Unix seconds.
        to_s: Last candle's opening time, Unix seconds.
        day_shift: Days begin so many minutes before those of UTC.
    """
    shift = day_shift if minutes % DAY_MINUTES == 0 else 0
    groups: dict[int, list[SimulatedCandle]] = {}
    for candle in market.candles:
        opened_s = ((candle.minute + shift) // minutes * minutes - shift) * 60
        if from_s <= opened_s <= to_s:
            groups.setdefault(opened_s, []).append(candle)
    return groups


class CandleTicks(NamedTuple):
    """A candle of several minutes; prices in ticks, volume in lots."""

    opened_s: int
    open: int
    high: int
    low: int
    close: int
    volume: int


def joined(groups: Mapping[int, list[SimulatedCandle]]) -> list[CandleTicks]:
    """Return the candles of groups, oldest first."""
    return [
        CandleTicks(
            opened_s,
            group[0].open,
            max(each.high for each in group),
            min(each.low for each in group),
            group[-1].close,
            sum(each.volume for each in group),
        )
        for opened_s, group in groups.items()
    ]


def error_body(message: str) -> bytes:
    """Write a REST answer that reports an error."""
    return msgspec.json.encode({"success": False, "message": message, "result": {}})


def _answer(result: dict[str, Any], message: str | None = None) -> bytes:
    body: dict[str, Any] = {"success": True}
    if message is not None:
        body["message"] = message
    return msgspec.json.encode({**body, "result": result})


def _shortened(units: int, decimals: int) -> str:
    """Write a product with 16 decimals; cut further digits."""
    if decimals > WIRE_DECIMALS:
        return decimal(units // 10 ** (decimals - WIRE_DECIMALS), WIRE_DECIMALS)
    return decimal(units, decimals)
