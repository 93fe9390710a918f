"""Exir: spot markets quoted in Toman (which it calls irt) and Tether (usdt); the HollaEx kit.

Each fact is marked with its source: [doc] the documentation and source of the kit or the exchange's
own libraries, [cap] a capture of real traffic, [code] seen in public clients only, [?] reported
once or deduced. Where a fact is only [code] or [?], the driver works with either reading.

All prices of irt markets are in Toman [cap].
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta, Raw, Struct, structs

from radar import datasets
from radar.codec.message_format import MAX_LEVELS
from radar.datasets import Dataset
from radar.errors import ExchangeUnavailable, InvalidFrame
from radar.exchanges.base import (
    Event,
    Exchange,
    Hello,
    Limits,
    Lost,
    MarketList,
    RawDayVolume,
    RecentTrades,
    Send,
    Stream,
    StreamRequest,
    Subscribed,
    brief,
)
from radar.exchanges.common.books import both_sides
from radar.exchanges.common.day_volumes import volume_rows
from radar.exchanges.common.entries import (
    decoded_markets,
    decoded_trades,
    decoded_volumes,
    read_markets,
    read_trades,
)
from radar.exchanges.common.literals import NOT_DECODABLE, amount
from radar.exchanges.common.timer import Timer
from radar.exchanges.common.times import from_iso_us
from radar.exchanges.common.units import unified
from radar.records import GapCause, Market, Trade, TradeSide

NAME = "exir"
# An error in one argument stops the rest of its message [doc].
ARGS_PER_FRAME = 10
# Each minute the server closes connections without a message since its last round [doc].
PING_EVERY_US = 25_000_000
MAX_TRADES = 1_000
_TOPICS = {datasets.TRADES.name: "trade", datasets.DEPTH.name: "orderbook"}  # [doc]


class _Trade(Struct, gc=False):
    """A trade [doc]; numbers may have exponents [cap], `side` is the taker's [cap]."""

    size: Raw
    price: Raw
    side: Literal["buy", "sell"]
    timestamp: str


class _Book(Struct, gc=False):
    """A whole book [doc]; an empty side may be absent [?]."""

    bids: Annotated[list[tuple[Raw, Raw]], Meta(max_length=MAX_LEVELS)] = []
    asks: Annotated[list[tuple[Raw, Raw]], Meta(max_length=MAX_LEVELS)] = []
    timestamp: str = ""


class _Frame(Struct):
    """Any frame: data of a topic, a message or an error [doc]."""

    topic: str = ""
    action: str = ""
    symbol: str = ""
    data: Raw = Raw(b"")
    message: str = ""
    error: str = ""


class _Pair(Struct):
    """A market of the market list [doc]; other keys are ignored."""

    name: str
    pair_base: str
    pair_2: str
    active: bool = True


class _Ticker(Struct):
    """The statistics of a market [doc]; other keys are ignored."""

    volume: Raw


class _Constants(Struct):
    pairs: dict[str, Raw]


_frame_decoder = msgspec.json.Decoder(_Frame)
_rows_decoder = msgspec.json.Decoder(Annotated[list[Raw], Meta(max_length=MAX_TRADES)])
_trade_decoder = msgspec.json.Decoder(_Trade)
_book_decoder = msgspec.json.Decoder(_Book)
_constants_decoder = msgspec.json.Decoder(_Constants)
_pair_decoder = msgspec.json.Decoder(_Pair)
_ticker_decoder = msgspec.json.Decoder(_Ticker)
_answer_decoder = msgspec.json.Decoder(dict[str, Raw])


class Exir(Exchange):
    """The driver; see `radar.exchanges.base.Exchange`."""

    name = NAME
    ws_url = "wss://api.exir.io/stream"  # [doc]
    rest_url = "https://api.exir.io"  # [doc]
    limits = Limits(
        markets_per_connection=100,
        sends_per_s=5.0,  # 20 messages in 3 s [doc]
        connects_per_s=1.0,
        requests_per_s=2.0,
    )
    markets_path = "/v2/constants"  # [doc]
    day_volumes_path = "/v2/tickers"  # [doc]
    recent_trades_full = 25  # 30 to 50 of them [doc]

    def parse_markets(self, body: bytes) -> MarketList:
        """Return the active markets.

        {"coins":{…},"pairs":{"xht-usdt":{"name":"xht-usdt","pair_base":"xht","pair_2":"usdt",
         "active":true,…},…}} [doc]
        """
        listed = decoded_markets(_constants_decoder, body).pairs
        return read_markets(listed.items(), _market, lambda item: item[0])

    def open_stream(self, request: StreamRequest) -> Stream:
        """Return the protocol of a new connection; each frame of a book is the whole book [doc]."""
        return ExirStream(request.dataset, request.markets)

    def recent_trades_path(self, market: Market) -> str:
        """Return the path of the newest trades [doc]."""
        return f"/v2/trades?symbol={quote(market.symbol, safe='')}"

    def parse_recent_trades(self, body: bytes, market: Market, received_at_us: int) -> RecentTrades:
        """Return the newest trades, oldest first; the exchange sends the newest first [cap].

        {"btc-irt":[{"size":0.001983,"price":22114350000,"side":"sell",
         "timestamp":"2026-10-22T10:15:48.425Z"},…]} [cap]
        """
        answer = decoded_trades(_answer_decoder, body, market)
        try:
            rows = _rows_decoder.decode(answer[market.symbol])
        except (*NOT_DECODABLE, KeyError) as error:
            raise ExchangeUnavailable(
                f"the recent trades of {market.symbol} are malformed: {brief(str(error))}"
            ) from error
        trades = _trades(rows, market, received_at_us)
        return RecentTrades(trades, invalid=len(rows) - len(trades))

    def day_volume_rows(self, body: bytes) -> Iterable[RawDayVolume | None]:
        """Return the volumes of the last 24 hours.

        {"btc-irt":{"symbol":"btc-irt","open":21856750000,"last":22114350000,"volume":0.038562,
         "time":"2026-10-22T10:15:48.425Z",…},…}: `time` is that of the last trade [doc, cap]
        """
        return volume_rows(decoded_volumes(_answer_decoder, body).items(), _day_volume)


class ExirStream(Stream):
    """One connection. The exchange acknowledges no subscription, but sends the state at once [doc].

    Its first list of trades, `partial`, holds the newest ones; later lists hold new ones only.
    """

    url = Exir.ws_url

    def __init__(self, dataset: Dataset, markets: Iterable[Market]) -> None:
        self._topic = _TOPICS[dataset.name]
        self._markets = {market.symbol: market for market in markets}
        self._ping = Timer(PING_EVERY_US)
        # By market: the newest trades that it brought, oldest first, and when the last came.
        self._tails: dict[str, tuple[list[Trade], int]] = {}

    def opened(self) -> list[Event]:
        """Return the subscriptions: {"op":"subscribe","args":["trade:btc-usdt",…]} [doc]."""
        symbols = list(self._markets)
        frames: list[Event] = [
            Send(msgspec.json.encode({"op": "subscribe", "args": args}).decode())
            for start in range(0, len(symbols), ARGS_PER_FRAME)
            if (args := [f"{self._topic}:{each}" for each in symbols[start:][:ARGS_PER_FRAME]])
        ]
        return [*frames, Subscribed(tuple(symbols))]

    def keepalive(self, now_us: int) -> tuple[list[Event], int]:
        """Return a ping; the protocol's own pings do not count as messages [doc]."""
        frames: list[Event] = [Send('{"op":"ping"}')] if self._ping.take(now_us) else []
        return frames, self._ping.due_us

    def receive(self, frame: bytes, received_at_us: int) -> Iterator[Event]:
        """Yield the events of a frame."""
        try:
            parsed = _frame_decoder.decode(frame)
            if parsed.topic != self._topic:
                yield from self._said(parsed)
                return
            market = self._markets.get(parsed.symbol)
            if market is None:
                raise InvalidFrame(f"unknown market {brief(parsed.symbol)}")
            if self._topic == "orderbook":
                yield from _book(parsed.data, market, received_at_us)
            else:
                yield from self._trades(parsed, market, received_at_us)
        except NOT_DECODABLE as error:
            raise InvalidFrame(f"not a frame of the documentation: {brief(str(error))}") from error

    def _said(self, frame: _Frame) -> list[Event]:
        """Take a greeting, a pong or an error."""
        if frame.error:
            # It names no market; a market that is not delivered shows as a mute one.
            raise InvalidFrame(f"the exchange reports: {brief(frame.error)}")
        return [Hello(brief(frame.message))] if frame.message.startswith("Welcome") else []

    def _trades(self, frame: _Frame, market: Market, received_at_us: int) -> Iterator[Event]:
        rows = _rows_decoder.decode(frame.data)
        trades = _trades(rows, market, received_at_us)
        before, before_us = self._tails.get(market.symbol, ([], 0))
        if frame.action == "partial" and before:
            # The server has lost its state and begins anew: find what came before.
            fresh = _behind(before, trades)
            if fresh is None:
                yield Lost(market.symbol, GapCause.SEQUENCE, before_us)
            else:
                trades = fresh
        if trades or before:
            self._tails[market.symbol] = ([*before, *trades][-MAX_TRADES:], received_at_us)
        yield from trades
        if len(rows) > len(trades) and frame.action != "partial":
            raise ValueError(f"{len(rows) - len(trades)} of {len(rows)} trades are malformed")


def _day_volume(item: tuple[str, Raw]) -> RawDayVolume:
    return RawDayVolume(item[0], _ticker_decoder.decode(item[1]).volume)


def _market(item: tuple[str, Raw]) -> Market | None:
    pair = _pair_decoder.decode(item[1])
    if not pair.active:
        return None
    return Market(pair.name, pair.pair_base.upper(), unified(pair.pair_2))


def _content(trade: Trade) -> tuple[int, str, str, str]:
    return trade.event_time_ms, trade.price, trade.base_amount, trade.side.value


def _behind(before: list[Trade], trades: list[Trade]) -> list[Trade] | None:
    """Return the trades of a list that are newer than those before; None: they do not overlap."""
    known = [_content(trade) for trade in before]
    listed = [_content(trade) for trade in trades]
    if not listed:
        return None
    # Knuth, Morris and Pratt: to compare each length takes a time that grows with the square.
    borders = [0]  # of each beginning of the list
    for content in listed[1:]:
        borders.append(_overlap(listed, borders, borders[-1], content))
    overlap = 0
    for content in known:
        overlap = _overlap(listed, borders, overlap, content)
    return trades[overlap:] if overlap else None


def _overlap(
    listed: list[tuple[int, str, str, str]],
    borders: list[int],
    overlap: int,
    content: tuple[int, str, str, str],
) -> int:
    """Return how long a beginning of the list ends with this content, after a shorter one."""
    while overlap and (overlap == len(listed) or listed[overlap] != content):
        overlap = borders[overlap - 1]
    return overlap + (listed[overlap] == content)


def _book(data: Raw, market: Market, received_at_us: int) -> list[Event]:
    """Return both sides of a book.

    {"bids":[[0.1,0.1]],"asks":[[1,1]],"timestamp":"2020-12-15T06:45:27.766Z"} [doc]
    """
    book = _book_decoder.decode(data)
    bids, asks = (
        [(amount(price), amount(quantity)) for price, quantity in levels]
        for levels in (book.bids, book.asks)
    )
    return both_sides(
        NAME, market, bids, asks, received_at_us, event_time_us=from_iso_us(book.timestamp)
    )


def _trades(rows: list[Raw], market: Market, received_at_us: int) -> list[Trade]:
    """Return the trades of a list that begins with the newest, also within a millisecond [cap]."""
    trades = read_trades(reversed(rows), lambda row: _trade(row, market, received_at_us))
    return [
        structs.replace(trade, received_at_us=received_at_us + place)
        for place, trade in enumerate(trades)
    ]


def _trade(row: Raw, market: Market, received_at_us: int) -> Trade:
    trade = _trade_decoder.decode(row)
    time_us = from_iso_us(trade.timestamp)
    if not time_us:
        raise ValueError(f"not a time: {trade.timestamp[:50]!r}")
    return Trade(
        source=NAME,
        symbol=market.symbol,
        base=market.base,
        quote=market.quote,
        side=TradeSide(trade.side),
        price=amount(trade.price),
        base_amount=amount(trade.size),
        event_time_ms=time_us // 1000,
        received_at_us=received_at_us,
        event_time_us=time_us,
    )


EXCHANGE = Exir()
