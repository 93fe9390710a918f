"""Wallex: spot markets quoted in Toman (TMN) and Tether (USDT).

Each fact is marked with its source: [doc] the exchange's documentation, [cap] a capture of real
traffic (July 2026), [code] seen in public clients only, [?] reported once. The code depends on no
fact that is only [code] or [?].

All prices of this exchange are in Toman, never in Rial [doc].
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Generic, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Meta, Raw, Struct

from radar import datasets
from radar.codec.message_format import MAX_LEVELS
from radar.datasets import Dataset
from radar.errors import InvalidFrame
from radar.exchanges.base import (
    CandleHistory,
    Event,
    Exchange,
    Hello,
    Limits,
    MarketList,
    RawCandle,
    RawDayVolume,
    RecentTrades,
    Resolution,
    Send,
    Stream,
    StreamRequest,
    Subscribed,
    brief,
)
from radar.exchanges.common.candles import UDF_RESOLUTIONS, read_udf, udf_query
from radar.exchanges.common.day_volumes import volume_rows
from radar.exchanges.common.entries import (
    decoded_markets,
    decoded_trades,
    decoded_volumes,
    read_markets,
)
from radar.exchanges.common.literals import NOT_DECODABLE, amount
from radar.records import BookSide, DepthSnapshot, Market, Trade, TradeSide

NAME = "wallex"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MAX_PING_ID_BYTES = 256
MAX_SHOWN_NAME = 40
# An answer has about 200 trades [doc], and a trade has some commas.
MAX_RECENT_TRADES = 100_000
_MAX_COMMAS = 10 * MAX_RECENT_TRADES

_CHANNELS = {
    datasets.TRADES.name: ("trade",),
    datasets.DEPTH.name: ("buyDepth", "sellDepth"),
}  # [doc]
_LONGEST_CHANNEL = 64  # the bytes of a depth frame in which its channel ends
_DEPTH_SIDES = {"buyDepth": BookSide.BID, "sellDepth": BookSide.ASK}


class _Control(Struct):
    """Frames that are objects: the greeting [code] and the exchange's own ping [?]."""

    sid: Raw = Raw(b"")
    ping: Raw = Raw(b"")


class _Trade(Struct, gc=False):
    """A trade, in a frame [doc] and in the REST answer [doc]; other keys are ignored."""

    is_buy_order: bool = msgspec.field(name="isBuyOrder")  # the taker bought
    quantity: Raw  # a decimal as a string with 16 decimals, maybe a number
    price: Raw
    timestamp: Annotated[datetime, Meta(tz=True)]  # RFC 3339, whole seconds


class _Level(Struct, gc=False):
    """A level of the order book [cap]; `sum` is price x quantity of this level, not needed."""

    price: float
    quantity: float


class _Market(Struct):
    """A market of the market list [doc]; other keys are ignored."""

    symbol: str
    base_asset: str
    quote_asset: str
    is_spot: bool


class _Spot(Struct):
    """The field of a market entry that shows whether it is for spot trading."""

    is_spot: bool | None = None


class _Symbol(Struct):
    """The name of an entry that is no market."""

    symbol: Raw = Raw(b"")


class _Markets(Struct):
    markets: list[Raw]


class _LatestTrades(Struct):
    latest_trades: Annotated[list[Raw], Meta(max_length=MAX_RECENT_TRADES)] = msgspec.field(
        name="latestTrades"
    )


_Result = TypeVar("_Result")


class _Answer(Struct, Generic[_Result]):
    """The envelope of REST answers [doc]."""

    result: _Result


class _Symbols(Struct):
    symbols: dict[str, Raw]


class _Figures(Struct):
    volume: Raw = msgspec.field(name="24h_volume")


class _Statistics(Struct):
    """The statistics of a market [cap]; other keys are ignored."""

    stats: _Figures


_statistics_decoder = msgspec.json.Decoder(_Answer[_Symbols])
_figures_decoder = msgspec.json.Decoder(_Statistics)
_channel_decoder = msgspec.json.Decoder(tuple[str, Raw])
_control_decoder = msgspec.json.Decoder(_Control)
_trade_decoder = msgspec.json.Decoder(_Trade)
# Not strict: the same field is a number in one answer and a string in another [code].
_levels_decoder = msgspec.json.Decoder(list[_Level], strict=False)
_markets_decoder = msgspec.json.Decoder(_Answer[_Markets])
_market_decoder = msgspec.json.Decoder(_Market, strict=False)
_spot_decoder = msgspec.json.Decoder(_Spot, strict=False)
_symbol_decoder = msgspec.json.Decoder(_Symbol)
_latest_trades_decoder = msgspec.json.Decoder(_Answer[_LatestTrades])


class Wallex(Exchange):
    """The driver; see `radar.exchanges.base.Exchange`."""

    name = NAME
    ws_url = "wss://api.wallex.ir/ws"  # [doc]
    rest_url = "https://api.wallex.ir"  # [doc]
    markets_path = "/hector/web/v1/markets"  # [doc]
    limits = Limits(
        lifetime_s=1_800,  # [?]
        markets_per_connection=25,  # few enough that one lost connection harms few markets
        sends_per_s=1_000,
        requests_per_s=1_000,  # no limit is documented: REPAIR_REQUESTS_PER_SECOND decides
        max_pongs=100,  # [?]
    )
    recent_trades_full = 100  # about 200 of them [doc]; the half is on the safe side
    # No limit of an answer is known [?]; Nobitex, with the same format, sends 500.
    candle_history = CandleHistory(UDF_RESOLUTIONS, page=500, day_zone="Asia/Tehran", cost_s=0.1)
    day_volumes_path = "/v1/markets"  # [cap]

    def parse_markets(self, body: bytes) -> MarketList:
        """Return the spot markets.

        {"success":true,"message":"…","result":{"markets":[{"symbol":"BTCTMN","base_asset":"BTC",
         "quote_asset":"TMN","is_spot":true,…},…]}} [doc]
        """
        listed = decoded_markets(_markets_decoder, body).result.markets
        return read_markets(listed, _market, _shown_name)

    def open_stream(self, request: StreamRequest) -> Stream:
        """Return the protocol of a new connection; all books of this exchange are whole [doc]."""
        return WallexStream(request.dataset, request.markets)

    def recent_trades_path(self, market: Market) -> str:
        """Return the path of the newest trades [doc]; about 200 of them."""
        return f"/v1/trades?symbol={quote(market.symbol, safe='')}"

    def parse_recent_trades(self, body: bytes, market: Market, received_at_us: int) -> RecentTrades:
        """Return the newest trades, oldest first; the exchange sends the newest first.

        {"success":true,"result":{"latestTrades":[{"symbol":"BTCUSDT",
         "quantity":"0.0000010000000000","price":"21100.0000000000000000",
         "sum":"0.0211000000000000","isBuyOrder":true,"timestamp":"2022-06-17T11:53:02Z"}]}} [doc]
        """
        answer = decoded_trades(_latest_trades_decoder, body, market, max_commas=_MAX_COMMAS)
        latest = answer.result.latest_trades
        trades = []
        # Several trades share one second of the exchange. Rising times of receipt keep the order of
        # the answer, and views sort by them.
        for place, each in enumerate(reversed(latest)):
            try:
                trades.append(parse_trade(each, market, received_at_us + place))
            except InvalidFrame:
                continue
        return RecentTrades(trades, invalid=len(latest) - len(trades))

    def candles_path(
        self, market: Market, resolution: Resolution, first_us: int, end_us: int
    ) -> str:
        """Return the path of candles [code]."""
        return f"/v1/udf/history?{udf_query(market, resolution, first_us, end_us)}"

    def candle_rows(self, body: bytes, market: Market) -> Iterable[RawCandle | None]:
        """Return the candles, oldest first, in Toman; see `read_udf` [code]."""
        return read_udf(body, market)

    def day_volume_rows(self, body: bytes) -> Iterable[RawDayVolume | None]:
        """Return the volumes of 24 hours, with all decimals.

        {"result":{"symbols":{"ETHTMN":{"symbol":"ETHTMN","stats":{
         "24h_volume":"117.0326564000000000",…},…},…}}} [cap]

        The market list has them as well, as doubles.
        """
        listed = decoded_volumes(_statistics_decoder, body).result.symbols
        return volume_rows(listed.items(), _day_volume)


class WallexStream(Stream):
    """One connection. The exchange acknowledges no subscription [doc]."""

    url = Wallex.ws_url

    def __init__(self, dataset: Dataset, markets: Iterable[Market]) -> None:
        self._channels = _CHANNELS[dataset.name]
        self._markets = {market.symbol: market for market in markets}
        self._books = {
            f"{symbol}@{channel}".encode(): (symbol, _DEPTH_SIDES[channel])
            for symbol in self._markets
            for channel in self._channels
            if channel in _DEPTH_SIDES
        }

    def opened(self) -> list[Event]:
        """Return one frame for each channel: ["subscribe",{"channel":"USDTTMN@trade"}] [doc]."""
        frames: list[Event] = [
            Send(msgspec.json.encode(["subscribe", {"channel": f"{symbol}@{channel}"}]).decode())
            for symbol in self._markets
            for channel in self._channels
        ]
        return [*frames, Subscribed(tuple(self._markets))]

    def snapshot_of(self, frame: bytes) -> tuple[str, BookSide] | None:
        """Return the market and the side of a depth frame, which begins with its channel."""
        return self._books.get(frame[2 : frame.find(b'"', 2, _LONGEST_CHANNEL)])

    def receive(self, frame: bytes, received_at_us: int) -> tuple[Event, ...]:
        """Return the events of a frame: an array of channel and data, or a control object."""
        if not frame.lstrip().startswith(b"["):
            return (parse_control(frame),)
        try:
            channel, data = _channel_decoder.decode(frame)
        except NOT_DECODABLE as error:
            raise InvalidFrame(f"no channel and data: {error}") from error
        symbol, _, topic = channel.rpartition("@")
        side = _DEPTH_SIDES.get(topic)
        if side is None and topic != "trade":
            return ()  # all@price [code], or another channel without a subscription
        market = self._markets.get(symbol)
        if market is None:
            raise InvalidFrame(f"unknown market in {brief(channel)}")
        if side is None:
            return (parse_trade(data, market, received_at_us),)
        return (parse_depth(data, market, side, received_at_us),)


def _day_volume(item: tuple[str, Raw]) -> RawDayVolume:
    return RawDayVolume(item[0], _figures_decoder.decode(item[1]).stats.volume)


def _market(entry: Raw) -> Market | None:
    try:
        market = _market_decoder.decode(entry)
    except NOT_DECODABLE as error:
        if _is_other_trading(entry):
            return None
        raise ValueError(_fault_of(entry)) from error
    if not market.is_spot:
        return None
    return Market(market.symbol, market.base_asset, market.quote_asset)


def _is_other_trading(entry: Raw) -> bool:
    """Return whether an entry is marked as not for spot trading; its other fields do not matter."""
    try:
        return _spot_decoder.decode(entry).is_spot is False
    except NOT_DECODABLE:
        return False


def _fault_of(entry: Raw) -> str:
    """Name the first field that makes an entry no market."""
    try:
        fields = msgspec.json.decode(entry, type=dict[str, Raw])
    except NOT_DECODABLE:
        return "not an object of text"
    for name in ("symbol", "base_asset", "quote_asset", "is_spot"):
        if name not in fields:
            return f"it has no {name}"
        value = bytes(fields[name])
        if name == "is_spot" or not value.startswith(b'"'):
            return f"its {name} is {value[:MAX_SHOWN_NAME].decode(errors='replace')}"
    return "a text that is not UTF-8"


def _shown_name(entry: Raw) -> str:
    """Return the name of an entry that is no market, short."""
    try:
        name = bytes(_symbol_decoder.decode(entry).symbol).decode()
    except NOT_DECODABLE:
        name = ""
    shown = name[1:-1] if name.startswith('"') else name
    return shown[:MAX_SHOWN_NAME] or "an entry without a name"


def parse_control(frame: bytes) -> Send | Hello:
    """Parse a frame that is an object.

    {"sid":"c0ffee00-0000-4000-8000-000000000001","pingInterval":20000} [code]
    {"ping":"5f0d6a1e-3c52-4a44-9b0e-6d8f6a2a7c11"}, answered with {"pong":"…"} [?]

    Raises:
        InvalidFrame: It is neither.
    """
    try:
        control = _control_decoder.decode(frame)
        ping, sid = bytes(control.ping), bytes(control.sid)
        if ping and len(ping) <= _MAX_PING_ID_BYTES:
            return Send(f'{{"pong":{ping.decode()}}}', is_pong=True)
        if sid:
            return Hello(brief(sid.decode().strip('"')))
    except NOT_DECODABLE as error:
        raise InvalidFrame(f"neither channel nor control: {error}") from error
    raise InvalidFrame("a control frame without sid and ping")


def parse_trade(data: Raw, market: Market, received_at_us: int) -> Trade:
    """Parse the data of a trade frame.

    ["USDTTMN@trade",{"isBuyOrder":false,"quantity":"705.0000000000000000",
     "price":"31704.0000000000000000","timestamp":"2022-06-26T11:14:09Z"}] [doc]

    The exchange gives a trade no ID, and its time has a resolution of one second [doc].

    Raises:
        InvalidFrame: It is not such a trade, or an amount does not fit into Decimal(38, 18).
    """
    try:
        trade = _trade_decoder.decode(data)
        price = amount(trade.price)
        quantity = amount(trade.quantity)
    except NOT_DECODABLE as error:
        raise InvalidFrame(f"trade of {market.symbol}: {error}") from error
    return Trade(
        source=NAME,
        symbol=market.symbol,
        base=market.base,
        quote=market.quote,
        side=TradeSide.BUY if trade.is_buy_order else TradeSide.SELL,
        price=price,
        base_amount=quantity,
        event_time_ms=(trade.timestamp - _EPOCH) // _MILLISECOND,
        received_at_us=received_at_us,
    )


def parse_depth(data: Raw, market: Market, side: BookSide, received_at_us: int) -> DepthSnapshot:
    """Parse the data of a depth frame, a full snapshot of one side.

    ["BTCUSDT@buyDepth",[{"price":62525.04,"quantity":0.000451,"sum":28.19879304},
     {"price":62200,"quantity":0.068493,"sum":4260.2646},…]] [cap], 50 levels

    Levels are sorted here, because the documentation's own sample of a sell side does not start
    with the best. A level without quantity is no level and is left out. An empty side is a fact and
    stays. Two levels of one price both stay, in the order of the frame.

    Raises:
        InvalidFrame: It is not such a snapshot, or has more levels than a message may have.
    """
    try:
        levels = _levels_decoder.decode(data)
    except NOT_DECODABLE as error:
        raise InvalidFrame(f"depth of {market.symbol}: {error}") from error
    if len(levels) > MAX_LEVELS:
        raise InvalidFrame(f"depth of {market.symbol}: {len(levels)} levels")
    prices = [level.price for level in levels]
    quantities = [level.quantity for level in levels]
    is_bid = side is BookSide.BID
    if prices != sorted(prices, reverse=is_bid) or not all(quantities):
        levels = sorted(
            [level for level in levels if level.quantity],
            key=lambda level: level.price,
            reverse=is_bid,
        )
        prices = [level.price for level in levels]
        quantities = [level.quantity for level in levels]
    return DepthSnapshot(
        source=NAME,
        symbol=market.symbol,
        base=market.base,
        quote=market.quote,
        side=side,
        prices=tuple(prices),
        quantities=tuple(quantities),
        received_at_us=received_at_us,
    )


EXCHANGE = Wallex()
