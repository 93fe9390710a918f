"""Ramzinex: spot markets quoted in Rial (IRR) and Tether (USDT); Centrifugo.

Each fact is marked with its source: [doc] the exchange's documentation, [cap] a capture of real
traffic, [code] seen in public clients only, [?] reported once or deduced. Where a fact is only
[code] or [?], the driver works with either reading.

Units: prices of irr pairs are in Rial [cap] and become Toman here. On the wire a market is a
number, `Market.code`; `Market.symbol` joins its currencies as the exchange names its charts: BTCIRR
[doc]. Base currencies such as 100shib carry a factor, and keep it.
"""

from collections.abc import Iterable, MutableMapping
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
    Lost,
    MarketList,
    RawDayVolume,
    RecentTrades,
    Stream,
    StreamRequest,
)
from radar.exchanges.common.books import both_sides
from radar.exchanges.common.centrifugo import CentrifugoStream, in_order
from radar.exchanges.common.day_volumes import volume_rows
from radar.exchanges.common.entries import (
    decoded_markets,
    decoded_trades,
    decoded_volumes,
    read_markets,
    read_trades,
)
from radar.exchanges.common.literals import amount
from radar.exchanges.common.units import TOMAN, tomans, unified
from radar.records import GapCause, Market, Trade, TradeSide

NAME = "ramzinex"
MAX_TRADES = 1_000
_PREFIXES = {datasets.TRADES.name: "last-trades:", datasets.DEPTH.name: "orderbook:"}  # [doc]

# Price, quantity, UTC text, side of the taker, Unix seconds, ID [cap].
_Row = tuple[
    Raw,
    Raw,
    Raw,
    Literal["buy", "sell"],
    Annotated[int, Meta(ge=0, lt=1 << 40)],
    Annotated[str, Meta(min_length=1, max_length=64)],
]


class _Book(Struct, gc=False):
    """A whole book: both sides from the highest price down [cap]; levels have seven entries."""

    buys: Annotated[list[list[Raw]], Meta(max_length=MAX_LEVELS)]
    sells: Annotated[list[list[Raw]], Meta(max_length=MAX_LEVELS)]


class _Name(Struct):
    en: str


class _Pair(Struct):
    """A market of the market list [cap]."""

    pair_id: Annotated[int, Meta(ge=0, lt=1 << 40)]
    base_currency_symbol: _Name
    quote_currency_symbol: _Name
    is_delist: int | bool = 0
    is_temporarily_suspended: int | bool = 0


class _Day(Struct):
    base_volume: Raw


class _Financial(Struct):
    last24h: _Day


class _Figures(Struct):
    """The statistics of a market, in the market list [cap]."""

    pair_id: Annotated[int, Meta(ge=0, lt=1 << 40)]
    financial: _Financial


class _Pairs(Struct):
    status: Literal[0]
    data: list[Raw]


class _Trades(Struct):
    status: Literal[0]
    data: Annotated[list[Raw], Meta(max_length=MAX_TRADES)]


_row_decoder = msgspec.json.Decoder(_Row)
_rows_decoder = msgspec.json.Decoder(Annotated[list[Raw], Meta(max_length=MAX_TRADES)])
_book_decoder = msgspec.json.Decoder(_Book)
_pairs_decoder = msgspec.json.Decoder(_Pairs)
_pair_decoder = msgspec.json.Decoder(_Pair, strict=False)
_figures_decoder = msgspec.json.Decoder(_Figures)
_trades_decoder = msgspec.json.Decoder(_Trades)


class Ramzinex(Exchange):
    """The driver; see `radar.exchanges.base.Exchange`."""

    name = NAME
    ws_url = "wss://websocket.ramzinex.com/websocket"  # [doc]
    rest_url = "https://publicapi.ramzinex.com"  # [doc]
    limits = Limits(
        markets_per_connection=100,  # clients use so many [code]; limits are not known
        connects_per_s=1.0,
        sends_per_s=2.0,
        requests_per_s=1.0,
    )
    markets_path = "/exchange/api/v1.0/exchange/pairs"  # [cap]
    day_volumes_path = markets_path  # [cap]
    recent_trades_full = 40  # about 50 of them [cap]

    def parse_markets(self, body: bytes) -> MarketList:
        """Return the markets that trade.

        {"status":0,"data":[{"pair_id":2,"base_currency_symbol":{"en":"btc",…},
         "quote_currency_symbol":{"en":"irr",…},"is_delist":0,…},…]} [cap]
        """
        listed = decoded_markets(_pairs_decoder, body).data
        return read_markets(listed, _market)

    def open_stream(self, request: StreamRequest) -> Stream:
        """Return the protocol of a new connection; each push of a book is the whole book [cap]."""
        return RamzinexStream(request.dataset, request.markets, request.memory)

    def recent_trades_path(self, market: Market) -> str:
        """Return the path of the newest trades [doc]; about 50 of them [cap]."""
        return f"/exchange/api/v1.0/exchange/orderbooks/{quote(market.code, safe='')}/trades"

    def parse_recent_trades(self, body: bytes, market: Market, received_at_us: int) -> RecentTrades:
        """Return the newest trades, oldest first; the exchange sends the newest first [cap].

        {"data":[[221200000000,0.0008651,"2026-10-22 11:03:19","sell",1792666999,
         "b12a6beb61d65dd8e5280164a38a11a1"],…],"status":0} [cap]
        """
        rows = decoded_trades(_trades_decoder, body, market).data
        trades = _trades(rows, market, received_at_us)
        return RecentTrades(trades, invalid=len(rows) - len(trades))

    def day_volume_rows(self, body: bytes) -> Iterable[RawDayVolume | None]:
        """Return the volumes of the last 24 hours, by `Market.code`; the market list has them.

        {"status":0,"data":[{"pair_id":2,"financial":{"last24h":{"quote_volume":409151956651,
         "base_volume":1.8480648,…}},…},…]} [cap]
        """
        return volume_rows(decoded_volumes(_pairs_decoder, body).data, _day_volume)


class RamzinexStream(CentrifugoStream):
    """One connection; a push of trades is the whole list of the newest ones [cap]."""

    url = Ramzinex.ws_url

    def __init__(
        self, dataset: Dataset, markets: Iterable[Market], memory: MutableMapping[str, object]
    ) -> None:
        self._is_trades = dataset is datasets.TRADES
        prefix = _PREFIXES[dataset.name]
        channels = {f"{prefix}{market.code}": market for market in markets}
        # A list holds the trades of the pushes before it, so their offsets prove nothing.
        super().__init__(channels, memory, offsets_prove=False, of_books=not self._is_trades)
        # By market: the IDs of its newest list, and when that came.
        self._lists: dict[str, tuple[frozenset[str], int]] = {}

    def read(self, market: Market, data: Raw, received_at_us: int) -> Iterable[Event]:
        """Yield the new trades or both sides of the book of a push.

        [[1170867503,0.00509,"2025-10-01 11:51:26","buy",1759319486,"96c4e5930862fa92…"],…] [cap]

        {"buys":[[62423.72,0.011617,725.17635524,false,null,65,1784025165152],…],
         "sells":[[64490,0.011219,723.51331,false,null,65,1784024634304],…]} [cap]
        """
        if not self._is_trades:
            book = _book_decoder.decode(data)
            bids, asks = (
                [(_price(level[0], market), amount(level[1])) for level in levels if len(level) > 1]
                for levels in (book.buys, book.sells)
            )
            yield from both_sides(NAME, market, bids, asks, received_at_us)
            return
        rows = _rows_decoder.decode(data)
        trades = _trades(rows, market, received_at_us)
        before, before_us = self._lists.get(market.symbol, (frozenset(), 0))
        if trades:
            ids = frozenset(trade.native_id for trade in trades)
            self._lists[market.symbol] = (ids, received_at_us)
            if before and before.isdisjoint(ids):
                yield Lost(market.symbol, GapCause.SEQUENCE, before_us)
        yield from (trade for trade in trades if trade.native_id not in before)
        if len(trades) < len(rows):
            raise ValueError(f"{len(rows) - len(trades)} of {len(rows)} trades are malformed")


def _trades(rows: Iterable[Raw], market: Market, received_at_us: int) -> list[Trade]:
    """Return the trades of a list that begins with the newest, oldest first."""
    oldest_first = reversed(list(rows))
    trades = read_trades(oldest_first, lambda row: _trade(row, market, received_at_us))
    return in_order(trades, received_at_us)


def _day_volume(entry: Raw) -> RawDayVolume:
    figures = _figures_decoder.decode(entry)
    return RawDayVolume(str(figures.pair_id), figures.financial.last24h.base_volume)


def _market(entry: Raw) -> Market | None:
    pair = _pair_decoder.decode(entry)
    if pair.is_delist or pair.is_temporarily_suspended:
        return None
    base, quoted = pair.base_currency_symbol.en, pair.quote_currency_symbol.en
    return Market(f"{base}{quoted}".upper(), base.upper(), unified(quoted), str(pair.pair_id))


def _price(literal: Raw, market: Market) -> str:
    """Return a price in the unified quote currency: irr pairs are in Rial [cap]."""
    text = amount(literal)
    return tomans(text) if market.quote == TOMAN else text


def _trade(row: Raw, market: Market, received_at_us: int) -> Trade:
    price, quantity, _, side, second, native_id = _row_decoder.decode(row)
    return Trade(
        source=NAME,
        symbol=market.symbol,
        base=market.base,
        quote=market.quote,
        side=TradeSide(side),
        price=_price(price, market),
        base_amount=amount(quantity),
        event_time_ms=second * 1000,
        received_at_us=received_at_us,
        native_id=native_id,
    )


EXCHANGE = Ramzinex()
