"""Bitpin: spot markets quoted in Toman (which it calls IRT) and Tether (USDT); Centrifugo.

Each fact is marked with its source: [doc] the exchange's documentation, [cap] a capture of real
traffic, [code] seen in public clients only, [?] reported once or deduced. Where a fact is only
[code] or [?], the driver works with either reading.

All prices of IRT markets are in Toman [cap].
"""

from collections.abc import Iterable, MutableMapping
from decimal import Decimal
from typing import Annotated, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta, Raw, Struct

from radar import datasets
from radar.codec.message_format import MAX_LEVELS
from radar.datasets import Dataset
from radar.exchanges.base import (
    Event,
    Exchange,
    Limits,
    MarketList,
    RecentTrades,
    Stream,
    StreamRequest,
)
from radar.exchanges.common.books import both_sides
from radar.exchanges.common.centrifugo import CentrifugoStream, in_order
from radar.exchanges.common.entries import (
    decoded_markets,
    decoded_trades,
    read_markets,
    read_trades,
)
from radar.exchanges.common.literals import amount, plain, text_of
from radar.exchanges.common.times import from_iso_us
from radar.exchanges.common.units import unified
from radar.records import Market, Trade, TradeSide

NAME = "bitpin"
MAX_TRADES = 5_000
_PREFIXES = {datasets.TRADES.name: "matches:", datasets.DEPTH.name: "orderbook:"}  # [code]


class _Trade(Struct, gc=False):
    """A trade [cap]; the ID names both orders, `side` is the taker's [cap]."""

    id: str
    price: Raw
    base_amount: Raw
    side: Literal["buy", "sell"]
    time: Raw  # seconds with microseconds, a JSON number: read as text, never as a float


class _Matches(Struct, gc=False):
    """A push of trades [code]; it may repeat those of the push before [code]."""

    matches: Annotated[list[Raw], Meta(max_length=MAX_TRADES)]


class _Book(Struct, gc=False):
    """A whole book [cap]; `event_time` is ISO text on the socket, a number in one REST answer."""

    asks: Annotated[list[tuple[Raw, Raw]], Meta(max_length=MAX_LEVELS)]
    bids: Annotated[list[tuple[Raw, Raw]], Meta(max_length=MAX_LEVELS)]
    event_time: Raw = Raw(b"")


class _Market(Struct):
    """A market of the market list [doc]; other keys are ignored."""

    symbol: str
    base: str
    quote: str
    tradable: bool


_trade_decoder = msgspec.json.Decoder(_Trade)
_matches_decoder = msgspec.json.Decoder(_Matches)
_book_decoder = msgspec.json.Decoder(_Book)
_rows_decoder = msgspec.json.Decoder(Annotated[list[Raw], Meta(max_length=MAX_TRADES)])
_markets_decoder = msgspec.json.Decoder(list[Raw])
_market_decoder = msgspec.json.Decoder(_Market)


class Bitpin(Exchange):
    """The driver; see `radar.exchanges.base.Exchange`."""

    name = NAME
    ws_url = "wss://centrifugo.bitpin.ir/connection/websocket"  # [code]
    rest_url = "https://api.bitpin.ir"  # [doc]
    limits = Limits(
        markets_per_connection=100,  # clients use so many; the product's default is 128 [code]
        connects_per_s=2.0,
        requests_per_s=2.0,  # not documented; beyond some rate 429 [code]
    )
    markets_path = "/api/v1/mkt/markets/"  # [doc]
    recent_trades_full = 1  # how many an answer has is not known [?]

    def parse_markets(self, body: bytes) -> MarketList:
        """Return the markets that trade.

        [{"symbol":"BTC_IRT","name":"Bitcoin/Toman","base":"BTC","quote":"IRT",
          "tradable":true,…},…] [doc]
        """
        listed = decoded_markets(_markets_decoder, body)
        return read_markets(listed, _market)

    def open_stream(self, request: StreamRequest) -> Stream:
        """Return the protocol of a new connection; each push of a book is the whole book [cap]."""
        return BitpinStream(request.dataset, request.markets, request.memory)

    def recent_trades_path(self, market: Market) -> str:
        """Return the path of the newest trades [doc]; the slash at its end is needed [code]."""
        return f"/api/v1/mth/matches/{quote(market.symbol, safe='')}/"

    def parse_recent_trades(self, body: bytes, market: Market, received_at_us: int) -> RecentTrades:
        """Return the newest trades, oldest first; the exchange sends the newest first [cap].

        [{"id":"3515697552_3516078353","price":"22190000000","base_amount":"0.00030788",
          "quote_amount":"6831857","side":"sell","time":1792667159.408588},…] [cap]
        """
        rows = decoded_trades(_rows_decoder, body, market)
        trades = _trades(reversed(rows), market, received_at_us)
        return RecentTrades(trades, invalid=len(rows) - len(trades))


class BitpinStream(CentrifugoStream):
    """One connection."""

    url = Bitpin.ws_url

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
        """Yield the trades or both sides of the book of a push.

        {"event":"matches_update","symbol":"BTC_IRT","matches":[{"id":"73802972_73807087",…}]}
        [code]; an amount of 0.00 has been seen [code] and is no trade.

        {"bids":[["62672.30","0.01003106"],…],"asks":[["62714.50","0.01387100"],…],
         "symbol":"BTC_USDT","event_time":"2026-07-14T05:56:09.833955Z",…} [cap]
        """
        if not self._is_trades:
            book = _book_decoder.decode(data)
            yield from both_sides(
                NAME,
                market,
                [(amount(price), amount(quantity)) for price, quantity in book.bids],
                [(amount(price), amount(quantity)) for price, quantity in book.asks],
                received_at_us,
                event_time_us=from_iso_us(text_of(book.event_time)),
            )
            return
        rows = _matches_decoder.decode(data).matches
        trades = _trades(rows, market, received_at_us)
        yield from trades
        if len(trades) < len(rows):
            raise ValueError(f"{len(rows) - len(trades)} of {len(rows)} trades are malformed")


def _market(entry: Raw) -> Market | None:
    market = _market_decoder.decode(entry)
    if not market.tradable:
        return None
    return Market(market.symbol, market.base.upper(), unified(market.quote))


def _trades(rows: Iterable[Raw], market: Market, received_at_us: int) -> list[Trade]:
    trades = read_trades(rows, lambda row: _trade(row, market, received_at_us))
    return in_order(trades, received_at_us)


def _trade(row: Raw, market: Market, received_at_us: int) -> Trade:
    trade = _trade_decoder.decode(row)
    time_us = int(Decimal(plain(text_of(trade.time))) * 1_000_000)
    return Trade(
        source=NAME,
        symbol=market.symbol,
        base=market.base,
        quote=market.quote,
        side=TradeSide(trade.side),
        price=amount(trade.price),
        base_amount=amount(trade.base_amount),
        event_time_ms=time_us // 1000,
        received_at_us=received_at_us,
        native_id=trade.id,
        event_time_us=time_us,
    )


EXCHANGE = Bitpin()
