"""Tabdeal: spot markets quoted in Toman (which it calls IRT) and Tether (USDT).

Books come over the socket. Trades do not: they are polled over REST, at a pace that all markets of
a connection share.

Each fact is marked with its source: [doc] the exchange's documentation, [cap] a capture of real
traffic, [code] seen in public clients only, [?] reported once or deduced. Where a fact is only
[code] or [?], the driver works with either reading.

All prices of IRT markets are in Toman [cap]. `quoteQty` is net of the fee [cap] and is not read.
"""

from collections import deque
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Annotated
from urllib.parse import quote

import msgspec
from msgspec import Meta, Raw, Struct, structs

from radar import datasets
from radar.codec.message_format import MAX_LEVELS
from radar.errors import InvalidFrame
from radar.exchanges.base import (
    NEVER_US,
    Event,
    Exchange,
    Fetch,
    Limits,
    Lost,
    MarketList,
    RecentTrades,
    Refused,
    Send,
    Stream,
    StreamRequest,
    Subscribed,
    brief,
)
from radar.exchanges.common.books import both_sides
from radar.exchanges.common.entries import (
    decoded_markets,
    decoded_trades,
    read_markets,
    read_trades,
)
from radar.exchanges.common.literals import NOT_DECODABLE, amount
from radar.exchanges.common.units import unified
from radar.records import GapCause, Market, Trade, TradeSide

NAME = "tabdeal"
PAGE = 1000  # the most that a request may ask for [doc]
STREAMS_PER_FRAME = 100  # so many in use [code]
REQUESTS_PER_S = 1.0  # limits are not documented; a client keeps to this [code]
# No market is asked again before this time, however few there are.
LEAST_POLL_US = 2_000_000
_SUFFIX = "@depth@2000ms"  # the only stream of spot markets [doc, cap]
_Number = Annotated[int, Meta(ge=0, lt=1 << 62)]


class _Trade(Struct, gc=False):
    """A trade [doc]; the IDs count over all markets, so holes prove no loss [cap]."""

    id: _Number
    price: Raw
    qty: Raw
    time: Annotated[int, Meta(ge=0, lt=1 << 50)]
    is_buyer_maker: bool = msgspec.field(name="isBuyerMaker")  # true: the taker sold [doc, cap]


class _Book(Struct, gc=False):
    """A whole book, in spite of its name depthUpdate [cap]."""

    symbol: str = msgspec.field(name="s")
    time_ms: Annotated[int, Meta(ge=0, lt=1 << 50)] = msgspec.field(name="E")
    bids: Annotated[list[tuple[Raw, Raw]], Meta(max_length=MAX_LEVELS)] = msgspec.field(name="b")
    asks: Annotated[list[tuple[Raw, Raw]], Meta(max_length=MAX_LEVELS)] = msgspec.field(name="a")


class _Frame(Struct):
    """Any frame: a stream with data, an acknowledgement or an error [doc, cap]."""

    stream: str = ""
    data: Raw = Raw(b"")
    id: int | None = None
    error: Raw = Raw(b"")


class _Market(Struct):
    """A market of the market list [doc]; other keys are ignored."""

    symbol: str
    status: str
    base: str = msgspec.field(name="baseAsset")
    quote: str = msgspec.field(name="quoteAsset")


_rows_decoder = msgspec.json.Decoder(Annotated[list[Raw], Meta(max_length=10 * PAGE)])
_trade_decoder = msgspec.json.Decoder(_Trade)
_book_decoder = msgspec.json.Decoder(_Book)
_frame_decoder = msgspec.json.Decoder(_Frame)
_markets_decoder = msgspec.json.Decoder(list[Raw])
_market_decoder = msgspec.json.Decoder(_Market)


class Tabdeal(Exchange):
    """The driver; see `radar.exchanges.base.Exchange`."""

    name = NAME
    ws_url = "wss://api1.tabdeal.org/stream/"  # [doc]
    rest_url = "https://api1.tabdeal.org"  # [doc]
    limits = Limits(
        markets_per_connection=100,
        connects_per_s=1.0,
        requests_per_s=REQUESTS_PER_S,
        # Of trades: each market waits for its turn.
        subscribe_s=300.0,
    )
    markets_path = "/r/api/v1/exchangeInfo?limit=1000"  # [doc]; 50 without the limit
    recent_trades_full = PAGE

    def parse_markets(self, body: bytes) -> MarketList:
        """Return the markets that trade.

        [{"symbol":"BTCIRT","tabdealSymbol":"BTC_IRT","status":"TRADING","baseAsset":"BTC",
          "quoteAsset":"IRT",…},…] [doc]
        """
        listed = decoded_markets(_markets_decoder, body)
        return read_markets(listed, _market)

    def open_stream(self, request: StreamRequest) -> Stream:
        """Return the protocol of a new connection, or of polls for trades."""
        if request.dataset is datasets.TRADES:
            return TabdealPolls(request.markets, request.memory)
        return TabdealBooks(request.markets)

    def recent_trades_path(self, market: Market) -> str:
        """Return the path of the newest trades [doc]."""
        return f"/r/api/v1/trades?symbol={quote(market.symbol, safe='')}&limit={PAGE}"

    def parse_recent_trades(self, body: bytes, market: Market, received_at_us: int) -> RecentTrades:
        """Return the newest trades, oldest first; the exchange sends the newest first [doc, cap].

        [{"id":202583327,"price":"22116021012.0000000000000000","qty":"0.00017065",
          "quoteQty":"3762889.91171028","time":1792667154303,"isBuyerMaker":true},…] [cap]
        """
        rows = decoded_trades(_rows_decoder, body, market)
        trades = read_trades(rows, lambda row: _trade(row, market, received_at_us))
        trades.sort(key=lambda trade: int(trade.native_id))
        timed = [
            structs.replace(trade, received_at_us=received_at_us + place)
            for place, trade in enumerate(trades)
        ]
        return RecentTrades(timed, invalid=len(rows) - len(timed))


class TabdealPolls(Stream):
    """The trades of some markets: one request after the other, each market in its turn.

    The newest ID of each market stays in the memory, so the polls of a new connection go on there.
    """

    url = ""

    def __init__(self, markets: Iterable[Market], memory: MutableMapping[str, object]) -> None:
        self._markets = {market.symbol: market for market in markets}
        self._memory = memory
        self._turns = deque(self._markets)
        self._asked: set[str] = set()
        self._answered: dict[str, int] = {}  # when, Unix time

    def opened(self) -> list[Event]:
        """Return no event: `keepalive` sends the requests."""
        return []

    def receive(self, frame: bytes, received_at_us: int) -> list[Event]:
        """Refuse: there is no socket."""
        raise InvalidFrame("a frame without a socket")

    def keepalive(self, now_us: int) -> tuple[list[Event], int]:
        """Return the request for the market whose turn it is.

        A request that fails is repeated by the caller; the other markets go on meanwhile.
        """
        if not self._turns:
            return [], NEVER_US
        pace_us = int(1_000_000 / REQUESTS_PER_S)
        for _ in range(len(self._turns)):
            symbol = self._turns[0]
            self._turns.rotate(-1)
            due_us = self._answered.get(symbol, 0) + LEAST_POLL_US
            # A clock that was set back must not stop the polls.
            waits = now_us < due_us <= now_us + LEAST_POLL_US
            if symbol not in self._asked and not waits:
                self._asked.add(symbol)
                path = EXCHANGE.recent_trades_path(self._markets[symbol])
                return [Fetch(path, symbol)], now_us + pace_us
        return [], now_us + pace_us // 2

    def fetched(self, fetch: Fetch, body: bytes, received_at_us: int) -> Iterator[Event]:
        """Yield the trades that are newer than those before."""
        market = self._markets[fetch.symbol]
        found = EXCHANGE.parse_recent_trades(body, market, received_at_us)
        self._asked.discard(fetch.symbol)
        is_first = fetch.symbol not in self._answered
        before_us = self._answered.get(fetch.symbol, received_at_us)
        self._answered[fetch.symbol] = received_at_us
        known = self._memory.get(fetch.symbol)
        newest = known if isinstance(known, int) else 0
        if is_first:
            yield Subscribed((fetch.symbol,))
        ids = [int(trade.native_id) for trade in found.trades]
        if newest and len(ids) + found.invalid >= PAGE and ids and ids[0] > newest:
            yield Lost(fetch.symbol, GapCause.SEQUENCE, before_us)
        for number, trade in zip(ids, found.trades, strict=True):
            if number > newest:
                yield trade
        if ids:
            self._memory[fetch.symbol] = max(newest, ids[-1])


class TabdealBooks(Stream):
    """The books of some markets: each 2 s the whole book, changed or not [cap]."""

    url = Tabdeal.ws_url

    def __init__(self, markets: Iterable[Market]) -> None:
        self._markets = {market.symbol: market for market in markets}
        self._requests: dict[int, tuple[str, ...]] = {}

    def opened(self) -> list[Event]:
        """Return the subscriptions: {"method":"SUBSCRIBE","params":[…],"id":1} [doc]."""
        symbols = list(self._markets)
        frames: list[Event] = []
        for number, start in enumerate(range(0, len(symbols), STREAMS_PER_FRAME), 1):
            some = symbols[start : start + STREAMS_PER_FRAME]
            self._requests[number] = tuple(some)
            params = [f"{symbol.lower()}{_SUFFIX}" for symbol in some]
            request = {"method": "SUBSCRIBE", "params": params, "id": number}
            frames.append(Send(msgspec.json.encode(request).decode()))
        return frames

    def receive(self, frame: bytes, received_at_us: int) -> list[Event]:
        """Return both sides of a book, or the end of a request."""
        try:
            parsed = _frame_decoder.decode(frame)
            if parsed.stream:
                return self._book(parsed.data, received_at_us)
            return self._answered(parsed)
        except NOT_DECODABLE as error:
            raise InvalidFrame(f"not a frame of the documentation: {brief(str(error))}") from error

    def _answered(self, answer: _Frame) -> list[Event]:
        """Take an acknowledgement, or an error, which names no request [cap]."""
        if bytes(answer.error) in (b"", b"null"):
            if answer.id is None:
                raise InvalidFrame("neither a stream nor an answer")
            symbols = self._requests.pop(answer.id, ())
            return [Subscribed(symbols)] if symbols else []
        number = answer.id if answer.id in self._requests else next(iter(self._requests), None)
        symbols = self._requests.pop(number, ()) if number is not None else ()
        reason = brief(bytes(answer.error).decode(errors="replace"))
        return [Refused(symbols, reason)] if symbols else []

    def _book(self, data: Raw, received_at_us: int) -> list[Event]:
        book = _book_decoder.decode(data)
        market = self._markets.get(book.symbol)
        if market is None:
            raise InvalidFrame(f"unknown market {brief(book.symbol)}")
        bids, asks = (
            [(amount(price), amount(quantity)) for price, quantity in levels]
            for levels in (book.bids, book.asks)
        )
        return both_sides(
            NAME, market, bids, asks, received_at_us, event_time_us=book.time_ms * 1000
        )


def _market(entry: Raw) -> Market | None:
    market = _market_decoder.decode(entry)
    if market.status != "TRADING":
        return None
    return Market(market.symbol, market.base.upper(), unified(market.quote))


def _trade(row: Raw, market: Market, received_at_us: int) -> Trade:
    trade = _trade_decoder.decode(row)
    return Trade(
        source=NAME,
        symbol=market.symbol,
        base=market.base,
        quote=market.quote,
        side=TradeSide.SELL if trade.is_buyer_maker else TradeSide.BUY,
        price=amount(trade.price),
        base_amount=amount(trade.qty),
        event_time_ms=trade.time,
        received_at_us=received_at_us,
        native_id=str(trade.id),
    )


EXCHANGE = Tabdeal()
