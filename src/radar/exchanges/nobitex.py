"""Nobitex: spot markets quoted in Rial (which it calls IRT) and Tether (USDT); Centrifugo.

Each fact is marked with its source: [doc] the exchange's documentation, [cap] a capture of real
traffic, [code] seen in public clients only, [?] reported once or deduced. Where a fact is only
[code] or [?], the driver works with either reading.

Units: trades and books of IRT markets are in Rial [doc, cap] and become Toman here. Candles are in
Toman [cap]. Quantities of markets such as 1M_PEPEIRT are in
millions of the coin; the symbol and the base keep the factor.
"""

from collections.abc import Iterable, MutableMapping
from typing import Annotated, ClassVar, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta, Raw, Struct

from radar import datasets
from radar.codec.message_format import MAX_LEVELS
from radar.datasets import Dataset
from radar.errors import ExchangeUnavailable
from radar.exchanges.base import (
    CandleHistory,
    Event,
    Exchange,
    Limits,
    MarketList,
    RawCandle,
    RawDayVolume,
    RecentTrades,
    Resolution,
    Stream,
    StreamRequest,
)
from radar.exchanges.common.books import both_sides
from radar.exchanges.common.candles import UDF_RESOLUTIONS, read_udf, udf_query
from radar.exchanges.common.centrifugo import CentrifugoStream, in_order
from radar.exchanges.common.day_volumes import volume_rows
from radar.exchanges.common.entries import (
    decoded_markets,
    decoded_trades,
    decoded_volumes,
    read_markets,
    read_trades,
)
from radar.exchanges.common.literals import NOT_DECODABLE, amount
from radar.exchanges.common.units import TOMAN, tomans, unified
from radar.records import Market, Trade, TradeSide

NAME = "nobitex"
MAX_RECENT_TRADES = 5_000
_PREFIXES = {
    datasets.TRADES.name: "public:trades-",
    datasets.DEPTH.name: "public:orderbook-",
}  # [doc]
_QUOTES = ("IRT", "USDT")  # symbols end with them; a symbol has no separator [doc]
_MilliTime = Annotated[int, Meta(ge=0, lt=1 << 50)]


class _Trade(Struct, gc=False):
    """A trade, in a push [doc] and in the REST answer [doc]; `type` is the taker's side [cap]."""

    time: _MilliTime
    price: Raw
    volume: Raw
    type: Literal["buy", "sell"]


class _Book(Struct, gc=False):
    """A whole book [doc]; `lastUpdate` is a number on the socket [cap] and a text in REST [doc]."""

    asks: Annotated[list[tuple[Raw, Raw]], Meta(max_length=MAX_LEVELS)]
    bids: Annotated[list[tuple[Raw, Raw]], Meta(max_length=MAX_LEVELS)]
    last_update: _MilliTime = msgspec.field(name="lastUpdate", default=0)


class _Trades(Struct):
    status: Literal["ok"]
    trades: Annotated[list[Raw], Meta(max_length=MAX_RECENT_TRADES)]


class _Precisions(Struct):
    amounts: dict[str, Raw] = msgspec.field(name="amountPrecisions")


class _Options(Struct):
    """An answer that names all markets [doc]; its other parts are not read.

    Options have precisions by symbol, statistics have an object by `btc-rls`.
    """

    nobitex: _Precisions | None = None
    stats: dict[str, Raw] | None = None

    @property
    def symbols(self) -> list[str]:
        if self.nobitex is not None:
            return list(self.nobitex.amounts)
        if self.stats is None:
            raise ExchangeUnavailable(
                "the market list is malformed: neither precisions nor statistics"
            )
        return [_symbol_of(name) for name in self.stats]


class _Statistics(Struct):
    """The statistics of a market [doc]; other keys are ignored."""

    volume: Raw = msgspec.field(name="volumeSrc")


class _Refusal(Struct):
    """The answer with the status 429 [doc]; who goes on before is blocked for 2 minutes [doc]."""

    wait_s: Annotated[float, Meta(ge=0)] = msgspec.field(name="backOff")


_statistics_decoder = msgspec.json.Decoder(_Statistics)
_refusal_decoder = msgspec.json.Decoder(_Refusal)
_trade_decoder = msgspec.json.Decoder(_Trade)
_book_decoder = msgspec.json.Decoder(_Book, strict=False)
_trades_decoder = msgspec.json.Decoder(_Trades)
_options_decoder = msgspec.json.Decoder(_Options)


class Nobitex(Exchange):
    """The driver; see `radar.exchanges.base.Exchange`."""

    name = NAME
    ws_url = "wss://ws.nobitex.ir/connection/websocket"  # [doc]
    rest_url = "https://apiv2.nobitex.ir"  # [doc]
    rest_headers: ClassVar = {"User-Agent": "TraderBot/radar"}  # strongly recommended [doc]
    limits = Limits(
        markets_per_connection=200,  # 300 channels [doc]
        connects_per_s=2.0,  # 100 connections at once from one address [doc]
        requests_per_s=0.95,  # 60 a minute for trades [doc]
    )
    markets_path = "/v2/options"  # [doc]
    other_markets_paths = ("/market/stats",)  # [doc, cap]
    recent_trades_full = 15  # an answer has 20 trades [cap]
    candle_history = CandleHistory(UDF_RESOLUTIONS, page=500, day_zone="Asia/Tehran")  # [doc]
    day_volumes_path = "/market/stats"  # [doc, cap]; 20 requests a minute [doc]

    def parse_markets(self, body: bytes) -> MarketList:
        """Return the markets.

        {"nobitex":{"amountPrecisions":{"BTCIRT":"0.000001",…},…},…} [doc]
        """
        symbols = decoded_markets(_options_decoder, body).symbols
        return read_markets(symbols, _market, lambda symbol: symbol)

    def refusal_wait_s(self, body: bytes) -> float | None:
        """Return the seconds of {"status":"failed","code":"TooManyRequests","backOff":12} [doc]."""
        try:
            return _refusal_decoder.decode(body).wait_s
        except NOT_DECODABLE:
            return None

    def open_stream(self, request: StreamRequest) -> Stream:
        """Return the protocol of a new connection; each push of a book is the whole book [doc]."""
        return NobitexStream(request.dataset, request.markets, request.memory)

    def recent_trades_path(self, market: Market) -> str:
        """Return the path of the newest trades [doc]; 20 of them [cap]."""
        return f"/v2/trades/{quote(market.symbol, safe='')}"

    def parse_recent_trades(self, body: bytes, market: Market, received_at_us: int) -> RecentTrades:
        """Return the newest trades, oldest first.

        {"status":"ok","trades":[{"time":1792667100398,"price":"221740000010",
         "volume":"0.000045","type":"sell"},…]} [doc, cap]

        The newest are first, but trades of one millisecond are in the order of execution [cap]:
        sorting by time keeps their order, reversing would not.
        """
        rows = decoded_trades(_trades_decoder, body, market).trades
        trades = read_trades(rows, lambda row: _trade(row, market, received_at_us))
        return RecentTrades(in_order(trades, received_at_us), invalid=len(rows) - len(trades))

    def candles_path(
        self, market: Market, resolution: Resolution, first_us: int, end_us: int
    ) -> str:
        """Return the path of candles [doc, cap]."""
        return f"/market/udf/history?{udf_query(market, resolution, first_us, end_us)}"

    def candle_rows(self, body: bytes, market: Market) -> Iterable[RawCandle | None]:
        """Return the candles, oldest first; see `read_udf` [doc, cap].

        Their prices are in Toman, unlike those of all other channels [cap].
        """
        return read_udf(body, market)

    def day_volume_rows(self, body: bytes) -> Iterable[RawDayVolume | None]:
        """Return the volumes of the last 24 hours.

        {"status":"ok","stats":{"btc-rls":{"isClosed":false,"volumeSrc":"12.0681727711",
         "volumeDst":"2682966088221.942597736",…},…}} [doc, cap]

        Markets with a factor such as 1M_PEPEIRT are left out: no source says whether the figure
        has the factor as well.
        """
        listed = decoded_volumes(_options_decoder, body).stats
        if listed is None:
            raise ExchangeUnavailable("the volumes of the day are malformed: no statistics")
        plain = [(name, entry) for name, entry in listed.items() if "_" not in name]
        return volume_rows(plain, _day_volume)


class NobitexStream(CentrifugoStream):
    """One connection; a push of trades holds one trade [doc]."""

    url = Nobitex.ws_url

    def __init__(
        self, dataset: Dataset, markets: Iterable[Market], memory: MutableMapping[str, object]
    ) -> None:
        self._is_trades = dataset is datasets.TRADES
        prefix = _PREFIXES[dataset.name]
        channels = {f"{prefix}{market.symbol}": market for market in markets}
        super().__init__(
            channels, memory, offsets_prove=self._is_trades, of_books=not self._is_trades
        )

    def read(self, market: Market, data: Raw, received_at_us: int) -> Iterable[Event]:
        """Return the trade or both sides of the book of a push.

        {"price":"120000000000","time":1762781164192,"type":"sell","volume":"0.000003"} [doc]

        {"asks":[["62678","0.000963"],…],"bids":[["62669","0.010863"],…],
         "lastTradePrice":"62669","lastUpdate":1784021328931} [cap]
        """
        if self._is_trades:
            return [_trade(data, market, received_at_us)]
        book = _book_decoder.decode(data)
        return both_sides(
            NAME,
            market,
            [(_price(price, market), amount(quantity)) for price, quantity in book.bids],
            [(_price(price, market), amount(quantity)) for price, quantity in book.asks],
            received_at_us,
            event_time_us=book.last_update * 1000,
        )


def _day_volume(item: tuple[str, Raw]) -> RawDayVolume:
    return RawDayVolume(_symbol_of(item[0]), _statistics_decoder.decode(item[1]).volume)


def _market(symbol: str) -> Market:
    quoted = next((each for each in _QUOTES if symbol.endswith(each)), "")
    if not quoted or symbol == quoted:
        raise ValueError("a symbol without a known quote currency")
    return Market(symbol, symbol.removesuffix(quoted).upper(), unified(quoted))


def _symbol_of(name: str) -> str:
    """Return the symbol of a name of the statistics: btc-rls is BTCIRT [doc, cap]."""
    base, _, quoted = name.upper().rpartition("-")
    return base + ("IRT" if quoted == "RLS" else quoted)


def _price(literal: Raw, market: Market) -> str:
    """Return a price in the unified quote currency: IRT markets are in Rial [doc, cap]."""
    text = amount(literal)
    return tomans(text) if market.quote == TOMAN else text


def _trade(data: Raw, market: Market, received_at_us: int) -> Trade:
    trade = _trade_decoder.decode(data)
    return Trade(
        source=NAME,
        symbol=market.symbol,
        base=market.base,
        quote=market.quote,
        side=TradeSide(trade.type),
        price=_price(trade.price, market),
        base_amount=amount(trade.volume),
        event_time_ms=trade.time,
        received_at_us=received_at_us,
    )


EXCHANGE = Nobitex()
