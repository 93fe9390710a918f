"""Coinbase Exchange: spot markets over its public feed; JSON over WebSocket.

Each fact is marked with its source: [doc] the exchange's documentation, [cap] a capture of real
traffic, [code] seen in public clients only, [?] reported once or deduced. Where a fact is only
[code] or [?], the driver works with either reading.

Units: sizes are in the base currency. USD, USDC and USDT are different quote currencies.

The feed may drop trades [doc]. Their numbers are consecutive within a market [cap], and a heartbeat
holds the newest one each second [doc], so a loss shows without a later trade. Updates of books have
neither number nor checksum [doc]: no book is verified.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, Literal
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Meta, Raw, Struct

from radar import datasets
from radar.errors import ExchangeUnavailable, InvalidFrame
from radar.exchanges.base import (
    BackfillPages,
    CandleHistory,
    Event,
    Exchange,
    Limits,
    MarketList,
    Newest,
    RawCandle,
    RawDayVolume,
    RecentTrades,
    Refused,
    Resolution,
    Send,
    Stream,
    StreamRequest,
    Subscribed,
    TradeSearch,
    brief,
)
from radar.exchanges.common.candles import MAX_CANDLES, check_candles
from radar.exchanges.common.day_volumes import volume_rows
from radar.exchanges.common.entries import (
    decoded_markets,
    decoded_trades,
    decoded_volumes,
    known_market,
    read_markets,
)
from radar.exchanges.common.id_pages import DownwardPages, read_rows
from radar.exchanges.common.literals import NOT_DECODABLE, amount, text_of
from radar.exchanges.common.number_search import NumberSearch
from radar.exchanges.common.order_book import BookKeeper, Change, changes
from radar.exchanges.common.timer import Timer
from radar.exchanges.common.times import to_iso_s
from radar.records import Market, Trade, TradeSide

NAME = "coinbase"
PAGE = 1_000  # the most trades of an answer [doc]
MAX_LEVELS = 100_000  # a snapshot of BTC-USD had 23,000 levels a side [cap]
MAX_FRAME_COMMAS = 4 * MAX_LEVELS + 100  # two sides, two for each level
SYMBOLS_PER_FRAME = 25
LOOK_EVERY_US = 5_000_000
_BOOK = "level2_batch"
_NAMED = re.compile(r"[A-Z0-9]{1,16}-[A-Z0-9]{1,16}")
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_Number = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
_Time = Annotated[datetime, Meta(tz=True)]
_Levels = Annotated[list[tuple[Raw, Raw]], Meta(max_length=MAX_LEVELS)]
_Change = tuple[Literal["buy", "sell"], Raw, Raw]


class _Trade(Struct, gc=False):
    """A trade, on the socket and over REST [doc]; `side` is the maker's [doc]."""

    trade_id: _Number
    price: Raw
    size: Raw
    side: Literal["buy", "sell"]
    time: _Time


class _Channel(Struct):
    name: str = ""
    product_ids: list[str] = []


class _Frame(Struct):
    """Any frame; which members it has depends on its type."""

    type: str
    product_id: str = ""
    channels: list[_Channel] = []
    message: str = ""
    reason: str = ""
    last_trade_id: _Number = 0
    time: _Time | None = None
    bids: _Levels = []
    asks: _Levels = []
    changes: Annotated[list[_Change], Meta(max_length=MAX_LEVELS)] = []


class _Product(Struct):
    """A market of the market list [doc]; other keys are ignored."""

    id: str
    base_currency: str
    quote_currency: str
    status: str = ""
    trading_disabled: bool = False


class _Summary(Struct):
    """The volume of a market [doc]; other keys are ignored."""

    id: str
    spot_volume_24hour: Raw


_summary_decoder = msgspec.json.Decoder(_Summary)
_frame_decoder = msgspec.json.Decoder(_Frame)
_trade_decoder = msgspec.json.Decoder(_Trade)
_rows_decoder = msgspec.json.Decoder(Annotated[list[Raw], Meta(max_length=PAGE)])
_candles_decoder = msgspec.json.Decoder(Annotated[list[Raw], Meta(max_length=MAX_CANDLES)])
_candle_decoder = msgspec.json.Decoder(
    tuple[Annotated[int, Meta(ge=0, lt=1 << 36)], Raw, Raw, Raw, Raw, Raw]
)
_products_decoder = msgspec.json.Decoder(list[Raw])
_product_decoder = msgspec.json.Decoder(_Product)


class Coinbase(Exchange):
    """The driver; see `radar.exchanges.base.Exchange`."""

    name = NAME
    ws_url = "wss://ws-feed.exchange.coinbase.com"  # [doc]
    rest_url = "https://api.exchange.coinbase.com"  # [doc]
    rest_headers: ClassVar = {"User-Agent": "radar"}  # requests without one are refused [code]
    limits = Limits(
        markets_per_connection=50,
        connects_per_s=4.0,  # 8 from one address [doc], and two producers
        sends_per_s=50.0,  # 100 [doc]
        requests_per_s=5.0,  # 10 from one address [doc], and two producers
        max_frame_bytes=16 * 1024 * 1024,  # the first snapshot of BTC-USD has some megabytes [cap]
    )
    markets_path = "/products"  # [doc]
    recent_trades_full = PAGE
    proves_trades = True
    trade_history = "all"
    candle_history = CandleHistory(
        {
            "1m": Resolution("60", 60),
            "5m": Resolution("300", 300),
            "15m": Resolution("900", 900),
            "1h": Resolution("3600", 3_600),
            "6h": Resolution("21600", 21_600),
            "1d": Resolution("86400", 86_400),
        },  # [doc]
        page=300,  # [doc]
        day_zone="UTC",
    )
    day_volumes_path = "/products/volume-summary"  # [doc]

    def parse_markets(self, body: bytes) -> MarketList:
        """Return the markets that trade.

        [{"id":"BTC-USD","base_currency":"BTC","quote_currency":"USD","status":"online",
          "trading_disabled":false,…},…] [doc]
        """
        listed = decoded_markets(_products_decoder, body)
        return read_markets(listed, _market)

    def open_stream(self, request: StreamRequest) -> Stream:
        """Return the protocol of a new connection."""
        return CoinbaseStream(request)

    def recent_trades_path(self, market: Market) -> str:
        """Return the path of the newest trades [doc]."""
        return _trades_path(market)

    def parse_recent_trades(self, body: bytes, market: Market, received_at_us: int) -> RecentTrades:
        """Return the newest trades, oldest first; the exchange sends the newest first [doc].

        [{"trade_id":74,"price":"10.00000000","size":"0.01000000","side":"buy",
          "time":"2014-11-07T22:19:28.578544Z"},…] [doc]
        """
        rows = decoded_trades(_rows_decoder, body, market)
        return read_rows(rows, lambda row, now_us: _trade(row, market, now_us), received_at_us)

    def backfill(self, market: Market, first_id: int, last_id: int, since_us: int) -> BackfillPages:
        """Return the requests for a hole, downward by ID."""
        return DownwardPages(
            first_id,
            last_id,
            lambda below: f"{_trades_path(market)}&after={below}",  # [doc]
            lambda body, now_us: self.parse_recent_trades(body, market, now_us),
        )

    def candles_path(
        self, market: Market, resolution: Resolution, first_us: int, end_us: int
    ) -> str:
        """Return the path of candles; both times are included [doc]."""
        query = {
            "granularity": resolution.code,
            "start": to_iso_s(-(-first_us // 1_000_000)),
            "end": to_iso_s(-(-end_us // 1_000_000) - 1),
        }
        return f"/products/{quote(market.symbol, safe='')}/candles?{urlencode(query)}"

    def candle_rows(self, body: bytes, market: Market) -> Iterable[RawCandle | None]:
        """Return the candles, newest first; an interval without a trade has none [doc].

        [[1415398768,0.32,4.2,0.35,4.2,12.3],…]: time, low, high, open, close, volume [doc]
        """
        check_candles(body, market)
        try:
            return map(_candle, _candles_decoder.decode(body))
        except NOT_DECODABLE as error:
            raise ExchangeUnavailable(
                f"the candles of {market.symbol} are malformed: {brief(str(error))}"
            ) from error

    def day_volume_rows(self, body: bytes) -> Iterable[RawDayVolume | None]:
        """Return the volumes of 24 hours of the order books, without those of requests for quote.

        [{"id":"BTC-USD","base_currency":"BTC","quote_currency":"USD","display_name":"BTC/USD",
          "market_types":["spot","rfq"],"spot_volume_24hour":"1.2","spot_volume_30day":"36",
          "rfq_volume_24hour":"0.1","rfq_volume_30day":"3"},…] [doc: Get all product volume]
        """
        listed = decoded_volumes(_products_decoder, body)
        return volume_rows(listed, _day_volume)

    def find_trade(self, market: Market, time_us: int) -> TradeSearch:
        """Return the requests for the first trade of a time; REST takes only numbers [doc]."""
        return NumberSearch(
            time_us,
            _trades_path(market),
            lambda number: f"{_trades_path(market)}&after={number + PAGE}",
            lambda body, now_us: self.parse_recent_trades(body, market, now_us),
            PAGE,
        )


def _day_volume(entry: Raw) -> RawDayVolume:
    summary = _summary_decoder.decode(entry)
    return RawDayVolume(summary.id, summary.spot_volume_24hour)


def _candle(row: Raw) -> RawCandle | None:
    try:
        second, low, high, opened, close, volume = _candle_decoder.decode(row)
    except NOT_DECODABLE:
        return None
    return RawCandle(second * 1_000_000, opened, high, low, close, volume)


class CoinbaseStream(Stream):
    """One connection: trades with heartbeats, or books."""

    url = Coinbase.ws_url

    def __init__(self, request: StreamRequest) -> None:
        self._channels = ["matches", "heartbeat"]
        if request.dataset is datasets.DEPTH:
            self._channels = [_BOOK]
        self._markets = {market.symbol: market for market in request.markets}
        # Their updates are not recorded: a lost one would not show.
        self._books = BookKeeper(
            NAME,
            self._markets,
            0,
            lambda symbol: [self._request("subscribe", [symbol])],
            lambda symbol: [self._request("unsubscribe", [symbol])],
        )
        self._look = Timer(LOOK_EVERY_US)
        self._acknowledged: set[str] = set()

    def opened(self) -> list[Event]:
        """Return the subscriptions; the first must come within 5 s [doc].

        {"type":"subscribe","product_ids":["BTC-USD"],"channels":["matches","heartbeat"]} [doc]
        """
        symbols = list(self._markets)
        return [
            self._request("subscribe", symbols[start : start + SYMBOLS_PER_FRAME])
            for start in range(0, len(symbols), SYMBOLS_PER_FRAME)
        ]

    def keepalive(self, now_us: int) -> tuple[list[Event], int]:
        """Return the requests for books whose snapshot did not come; the server keeps alive."""
        events = self._books.overdue(now_us) if self._look.take(now_us) else []
        return events, self._look.due_us

    def _request(self, kind: str, symbols: list[str]) -> Send:
        frame = {"type": kind, "product_ids": symbols, "channels": self._channels}
        return Send(msgspec.json.encode(frame).decode())

    def receive(self, frame: bytes, received_at_us: int) -> list[Event]:
        """Return the events of a frame.

        {"type":"match","trade_id":1087540758,"side":"buy","size":"0.00000009","price":"77572.87",
         "product_id":"BTC-USD","time":"2026-09-02T07:44:10.104422Z",…} [doc, cap]; the first has
        the type last_match [doc, cap] and may be old.

        {"type":"heartbeat","last_trade_id":20,"product_id":"BTC-USD",…} [doc]
        """
        # Before the decoder makes an object of each entry.
        if len(frame) > MAX_FRAME_COMMAS and frame.count(b",") > MAX_FRAME_COMMAS:
            raise InvalidFrame("a frame of too many entries")
        try:
            parsed = _frame_decoder.decode(frame)
            match parsed.type:
                case "match" | "last_match":
                    return [
                        _trade(
                            frame, known_market(self._markets, parsed.product_id), received_at_us
                        )
                    ]
                case "heartbeat":
                    symbol = known_market(self._markets, parsed.product_id).symbol
                    return [Newest(symbol, parsed.last_trade_id)] if parsed.last_trade_id else []
                case "snapshot" | "l2update":
                    return self._book(parsed, received_at_us)
                case "subscriptions":
                    return self._subscribed(parsed, received_at_us)
                case "error":
                    return self._refused(parsed)
        except NOT_DECODABLE as error:
            raise InvalidFrame(f"not a frame of the documentation: {brief(str(error))}") from error
        return []  # a channel without a subscription

    def _book(self, frame: _Frame, received_at_us: int) -> list[Event]:
        """Take a snapshot or an update: a size is absolute, 0 removes the level [doc].

        {"type":"snapshot","product_id":"BTC-USD","asks":[["80691.53","0.20084671"]],"bids":[…]}
        {"type":"l2update","product_id":"BTC-USD","changes":[["buy","80688.08","0.59153273"]],
         "time":"…"} [doc, cap]
        """
        kept = self._books[known_market(self._markets, frame.product_id).symbol]
        if frame.type == "snapshot":
            kept.replace(_changes(frame.bids), _changes(frame.asks))
        elif kept.is_known:
            sides: dict[str, list[tuple[Raw, Raw]]] = {"buy": [], "sell": []}
            for side, price, size in frame.changes:
                sides[side].append((price, size))
            kept.book.apply(_changes(sides["buy"]), _changes(sides["sell"]))
        else:
            return []  # before the snapshot
        time_us = max(0, _unix_us(frame.time)) if frame.time is not None else 0
        return self._books.good(kept, received_at_us, time_us, verified=False)

    def _subscribed(self, frame: _Frame, received_at_us: int) -> list[Event]:
        """Take the list of all subscriptions; level2_batch comes back as level2_50 [cap]."""
        own = [each for each in frame.channels if each.name in ("matches", _BOOK, "level2_50")]
        named = {symbol for channel in own for symbol in channel.product_ids}
        new = tuple(each for each in self._markets if each in named - self._acknowledged)
        self._acknowledged.update(new)
        if self._channels == [_BOOK]:
            for symbol in new:
                self._books.acknowledged(symbol, received_at_us)
        return [Subscribed(new)] if new else []

    def _refused(self, frame: _Frame) -> list[Event]:
        """Take an error: its text may name a market [?]; else it is about all that wait."""
        text = f"{frame.message}: {frame.reason}".removesuffix(": ")
        waiting = [symbol for symbol in self._markets if symbol not in self._acknowledged]
        named = set(_NAMED.findall(text))
        symbols = tuple(symbol for symbol in waiting if symbol in named) or tuple(waiting)
        return [Refused(symbols, brief(text))] if symbols else []


def _trades_path(market: Market) -> str:
    return f"/products/{quote(market.symbol, safe='')}/trades?limit={PAGE}"


def _market(entry: Raw) -> Market | None:
    product = _product_decoder.decode(entry)
    if product.status not in ("", "online") or product.trading_disabled:
        return None
    return Market(product.id, product.base_currency.upper(), product.quote_currency.upper())


def _changes(levels: Iterable[tuple[Raw, Raw]]) -> list[Change]:
    return changes((text_of(price), text_of(size)) for price, size in levels)


def _unix_us(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def _trade(row: Raw | bytes, market: Market, received_at_us: int) -> Trade:
    trade = _trade_decoder.decode(row)
    time_us = _unix_us(trade.time)
    return Trade(
        source=NAME,
        symbol=market.symbol,
        base=market.base,
        quote=market.quote,
        # The taker is on the other side of the maker.
        side=TradeSide.SELL if trade.side == "buy" else TradeSide.BUY,
        price=amount(trade.price),
        base_amount=amount(trade.size),
        event_time_ms=time_us // 1000,
        received_at_us=received_at_us,
        native_id=str(trade.trade_id),
        sequence=trade.trade_id,
        event_time_us=time_us,
    )


EXCHANGE = Coinbase()
