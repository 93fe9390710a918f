"""OKX: spot markets, WebSocket v5.

Each fact is marked with its source: [doc] the exchange's documentation, [cap] a capture of real
traffic, [code] seen in public clients only, [?] reported once or deduced. Where a fact is only
[code] or [?], the driver works with either reading.

Trades come from `trades-all`, one frame for each, which only the address `business` offers [doc].
Books come from the address `public`. Their checksum is always 0 since 2026-06 or absent [doc, cap],
so the chain of their numbers proves them.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta, Raw, Struct

from radar import datasets
from radar.errors import ExchangeUnavailable, InvalidFrame
from radar.exchanges.base import (
    BackfillPages,
    CandleHistory,
    Event,
    Exchange,
    Goodbye,
    Hello,
    Limits,
    MarketList,
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
from radar.exchanges.common.candles import check_candles
from radar.exchanges.common.day_volumes import volume_rows
from radar.exchanges.common.entries import (
    MAX_MARKET_COMMAS,
    check_commas,
    check_market_list,
    check_trades,
    known_market,
    named_by,
    read_markets,
)
from radar.exchanges.common.id_pages import DownwardPages, read_rows
from radar.exchanges.common.literals import NOT_DECODABLE, amount, text_of, unix_us
from radar.exchanges.common.order_book import BookKeeper, Change, changes, whole_sides
from radar.exchanges.common.timer import Timer
from radar.records import GapCause, Market, Trade, TradeSide

NAME = "okx"
DEPTH = 400  # of `books` [doc]
# The arguments of a request may have 64 KB [doc]; one has less than 100 bytes.
ARGUMENTS_PER_FRAME = 100
PING_EVERY_US = 20_000_000  # it closes after 30 s without traffic [doc]
RECENT = 500
PAGE = 100
PAGE_COST_S = 0.1  # 20 requests in 2 s [doc]
MAX_LEVELS = 2_000
MAX_ENTRIES = 1_000

_TRADES, _MERGED_TRADES = "trades-all", "trades"
_BOOK, _WHOLE_BOOK = "books", "books5"
_NO_SUBSCRIPTION = "60018"
_CLOSES_SOON = "64008"
_NAMED = re.compile(r"instId:([^,\s]{1,64})")

# The exchange's numbers are texts of digits [doc], some of them numbers [cap].
_Digits = Annotated[str, Meta(pattern=r"^[0-9]{1,18}\Z")]
_Sequence = Annotated[int, Meta(ge=-1, le=(1 << 63) - 1)]
# Price, quantity, and two fields that are not needed.
_Levels = Annotated[list[list[str]], Meta(max_length=MAX_LEVELS)]


class _Argument(Struct):
    """What a subscription is about [doc]."""

    channel: str = ""
    inst_id: str = msgspec.field(name="instId", default="")


class _Frame(Struct):
    """Any frame: data of a channel, or an event [doc]."""

    event: str = ""
    arg: _Argument | None = None
    action: str = ""
    data: Raw = Raw(b"")
    code: str | None = None
    msg: str | None = None
    connection: str | None = msgspec.field(name="connId", default=None)


class _Trade(Struct, gc=False):
    """A trade, on the socket and in REST [doc]; `side` is the taker's.

    `trades` merges the matches of one taker order: `count` of them, the last one named.
    """

    number: _Digits = msgspec.field(name="tradeId")
    price: Raw = msgspec.field(name="px")
    quantity: Raw = msgspec.field(name="sz")
    side: Literal["buy", "sell"]
    time: _Digits = msgspec.field(name="ts")
    count: _Digits = "1"


class _Book(Struct, gc=False):
    """A snapshot or an update of a book, or a whole small one [doc]."""

    bids: _Levels
    asks: _Levels
    time: _Digits = msgspec.field(name="ts")
    number: _Sequence = msgspec.field(name="seqId", default=0)
    # Absent in some snapshots [cap].
    before: _Sequence = msgspec.field(name="prevSeqId", default=-1)


class _Market(Struct):
    """A market of the market list [doc]."""

    symbol: str = msgspec.field(name="instId")
    base: str = msgspec.field(name="baseCcy")
    quote: str = msgspec.field(name="quoteCcy")
    state: str


class _Answer(Struct):
    """A REST answer: `code` 0 is success, whatever the HTTP status is [doc]."""

    code: str
    msg: str = ""
    data: list[Raw] = []


class _Ticker(Struct):
    """The statistics of a market [doc]; other keys are ignored."""

    symbol: str = msgspec.field(name="instId")
    volume: Raw = msgspec.field(name="vol24h")


_ticker_decoder = msgspec.json.Decoder(_Ticker)
_frame_decoder = msgspec.json.Decoder(_Frame)
_entries_decoder = msgspec.json.Decoder(Annotated[list[Raw], Meta(max_length=MAX_ENTRIES)])
_trade_decoder = msgspec.json.Decoder(_Trade)
_books_decoder = msgspec.json.Decoder(Annotated[list[_Book], Meta(max_length=10)])
_market_decoder = msgspec.json.Decoder(_Market)
_answer_decoder = msgspec.json.Decoder(_Answer)
_row_decoder = msgspec.json.Decoder(list[Raw])


class Okx(Exchange):
    """The driver; see `radar.exchanges.base.Exchange`."""

    name = NAME
    ws_url = "wss://ws.okx.com:8443/ws/v5/public"  # [doc]
    rest_url = "https://openapi.okx.com"  # [doc]
    markets_path = "/api/v5/public/instruments?instType=SPOT"  # [doc]
    limits = Limits(
        markets_per_connection=25,  # fewer than 30 books are recommended [doc]
        sends_per_s=3.0,  # 480 subscriptions an hour [doc]; a loss takes two frames
        connects_per_s=1.5,  # 3 from one address [doc], and two producers
        requests_per_s=20.0,
    )
    recent_trades_full = RECENT
    proves_trades = True
    trade_history = "the last 3 months"  # [doc]
    # A name without `utc` would begin at midnight of UTC+8 from six hours up [doc].
    candle_history = CandleHistory(
        {
            "1m": Resolution("1m", 60),
            "5m": Resolution("5m", 300),
            "15m": Resolution("15m", 900),
            "1h": Resolution("1H", 3_600),
            "4h": Resolution("4H", 14_400),
            "1d": Resolution("1Dutc", 86_400),
        },
        page=PAGE,
        day_zone="UTC",
        cost_s=PAGE_COST_S,
    )
    day_volumes_path = "/api/v5/market/tickers?instType=SPOT"  # [doc]

    def parse_markets(self, body: bytes) -> MarketList:
        """Return the spot markets that trade.

        {"code":"0","msg":"","data":[{"instId":"BTC-USDT","baseCcy":"BTC","quoteCcy":"USDT",
         "state":"live",…},…]} [doc]
        """
        check_market_list(body)
        return read_markets(_data_of(body, "the market list"), _market, named_by("instId"))

    def open_stream(self, request: StreamRequest) -> Stream:
        """Return the protocol of a new connection."""
        if request.dataset.name == datasets.TRADES.name:
            return OkxStream(_TRADES, request.markets)
        channel = _WHOLE_BOOK if request.whole_books else _BOOK
        return OkxStream(channel, request.markets, updates=request.updates)

    def recent_trades_path(self, market: Market) -> str:
        """Return the path of the newest trades [doc]."""
        return f"/api/v5/market/trades?instId={quote(market.symbol, safe='')}&limit={RECENT}"

    def parse_recent_trades(self, body: bytes, market: Market, received_at_us: int) -> RecentTrades:
        """Return the newest trades, oldest first; the exchange sends the newest first.

        {"code":"0","msg":"","data":[{"instId":"BTC-USDT","side":"sell","sz":"0.00013669",
         "px":"102537.9","tradeId":"734864333","ts":"1747087163557"},…]} [cap]
        """
        check_trades(body, market.symbol)
        rows = _data_of(body, f"the trades of {market.symbol}")
        return read_rows(rows, lambda row, now_us: _trade(row, market, now_us), received_at_us)

    def backfill(self, market: Market, first_id: int, last_id: int, since_us: int) -> BackfillPages:
        """Return the requests for a hole, downward by ID; three months back [doc]."""
        symbol = quote(market.symbol, safe="")
        path = f"/api/v5/market/history-trades?instId={symbol}&type=1"  # [doc]
        return DownwardPages(
            first_id,
            last_id,
            lambda below: f"{path}&after={below}&limit={PAGE}",
            lambda body, now_us: self.parse_recent_trades(body, market, now_us),
            PAGE_COST_S,
        )

    def find_trade(self, market: Market, time_us: int) -> TradeSearch:
        """Return the request for the newest trade before a time."""
        return OkxSearch(market, time_us)

    def candles_path(
        self, market: Market, resolution: Resolution, first_us: int, end_us: int
    ) -> str:
        """Return the path of the candles before a time, in milliseconds [doc]."""
        return (
            f"/api/v5/market/history-candles?instId={quote(market.symbol, safe='')}"
            f"&bar={resolution.code}&after={-(-end_us // 1000)}&limit={PAGE}"
        )

    def candle_rows(self, body: bytes, market: Market) -> Iterable[RawCandle | None]:
        """Return the candles, newest first.

        {"code":"0","msg":"","data":[["1597026383085","3.721","3.743","3.677","3.708","8422410",
         "22698348.04828491","12698348.04828491","1"],…]} [doc]
        """
        check_candles(body, market)
        rows = _data_of(body, f"the candles of {market.symbol}")
        return map(_candle, rows)

    def day_volume_rows(self, body: bytes) -> Iterable[RawDayVolume | None]:
        """Return the volumes of 24 hours; of spot markets they are in the base currency.

        {"code":"0","msg":"","data":[{"instType":"SPOT","instId":"BTC-USDT","last":"9999.99",
         "vol24h":"2222","volCcy24h":"22222222","ts":"1597026383085",…},…]} [doc: Get tickers]
        """
        what = "the volumes of the day"
        check_commas(body, MAX_MARKET_COMMAS, f"{what} are")
        return volume_rows(_data_of(body, what), _day_volume)


class OkxSearch:
    """Asks for the newest trade before a time: the one behind it is the first; see `TradeSearch`.

    Only earlier trades can be asked for by time, not later ones [doc].
    """

    cost_s = PAGE_COST_S

    def __init__(self, market: Market, time_us: int) -> None:
        self._market = market
        self._time_ms = -(-time_us // 1000)
        self.found: int | None = None

    @property
    def path(self) -> str:
        """Path and query of the request [doc]."""
        symbol = quote(self._market.symbol, safe="")
        return f"/api/v5/market/history-trades?instId={symbol}&type=2&after={self._time_ms}&limit=1"

    def take(self, body: bytes, received_at_us: int) -> None:
        """Take the answer; without a trade, the exchange offers none before the time."""
        page = EXCHANGE.parse_recent_trades(body, self._market, received_at_us)
        self.found = max((trade.sequence for trade in page.trades), default=0) + 1


class OkxStream(Stream):
    """One connection with one channel for each market."""

    def __init__(self, channel: str, markets: Iterable[Market], *, updates: bool = False) -> None:
        place = "business" if channel == _TRADES else "public"
        self.url = f"{Okx.ws_url.rpartition('/')[0]}/{place}"
        self._channel = channel
        self._markets = {market.symbol: market for market in markets}
        self._acknowledged: set[str] = set()
        self._is_greeted = False
        self._ping = Timer(PING_EVERY_US)
        self._books = BookKeeper(
            NAME,
            self._markets,
            DEPTH,
            lambda symbol: [self._request("subscribe", [symbol])],
            lambda symbol: [self._request("unsubscribe", [symbol])],
            updates=updates,
        )

    def opened(self) -> list[Event]:
        """Return the subscriptions.

        {"op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT"}]} [doc]
        """
        symbols = list(self._markets)
        return [
            self._request("subscribe", symbols[start : start + ARGUMENTS_PER_FRAME])
            for start in range(0, len(symbols), ARGUMENTS_PER_FRAME)
        ]

    def keepalive(self, now_us: int) -> tuple[list[Event], int]:
        """Return a ping, and the requests for books whose snapshot did not come."""
        if not self._ping.take(now_us):
            return [], self._ping.due_us
        return [Send("ping"), *self._books.overdue(now_us)], self._ping.due_us

    def receive(self, frame: bytes, received_at_us: int) -> list[Event]:
        """Return the events of a frame."""
        if frame == b"pong":
            return []
        try:
            parsed = _frame_decoder.decode(frame)
            if parsed.event:
                return self._event(parsed, received_at_us)
            if parsed.arg is None:
                raise InvalidFrame("neither an event nor a channel")
            channel = parsed.arg.channel
            if channel in (_TRADES, _MERGED_TRADES):
                market = known_market(self._markets, parsed.arg.inst_id)
                return self._trades(market, parsed.data, received_at_us)
            if channel == _BOOK:
                market = known_market(self._markets, parsed.arg.inst_id)
                return self._book(market, parsed.action, parsed.data, received_at_us)
            if channel == _WHOLE_BOOK:
                market = known_market(self._markets, parsed.arg.inst_id)
                return _whole(market, parsed.data, received_at_us)
        except NOT_DECODABLE as error:
            raise InvalidFrame(f"not a frame of the documentation: {brief(str(error))}") from error
        return []  # a channel without a subscription

    def _request(self, operation: str, symbols: list[str]) -> Send:
        arguments = [{"channel": self._channel, "instId": symbol} for symbol in symbols]
        return Send(msgspec.json.encode({"op": operation, "args": arguments}).decode())

    def _event(self, frame: _Frame, received_at_us: int) -> list[Event]:
        """Take an acknowledgement, a refusal or a notice."""
        match frame.event:
            case "subscribe":
                return self._subscribed(frame, received_at_us)
            case "error":
                return self._refused(frame)
            case "notice" if frame.code == _CLOSES_SOON:
                return [Goodbye(brief(frame.msg or "the exchange closes the connection soon"))]
        return []  # the end of a subscription, or news of connections

    def _subscribed(self, frame: _Frame, received_at_us: int) -> list[Event]:
        symbol = known_market(self._markets, frame.arg.inst_id if frame.arg else "").symbol
        events: list[Event] = []
        if frame.connection and not self._is_greeted:
            self._is_greeted = True
            events.append(Hello(brief(frame.connection)))
        if self._channel == _BOOK:
            self._books.acknowledged(symbol, received_at_us)
        # A book that was lost counts from its snapshot.
        if symbol not in self._acknowledged:
            self._acknowledged.add(symbol)
            events.append(Subscribed((symbol,)))
        return events

    def _refused(self, frame: _Frame) -> list[Event]:
        """Take an error: only its text names the market [cap].

        One that names none is about all markets that are not acknowledged.
        """
        named = _NAMED.search(frame.msg or "") if frame.code == _NO_SUBSCRIPTION else None
        about = [_bare(named[1])] if named else list(self._markets)
        symbols = tuple(symbol for symbol in about if self._waits(symbol))
        reason = brief(f"{frame.code}: {frame.msg}")
        return [Refused(symbols, reason)] if symbols else []

    def _waits(self, symbol: str) -> bool:
        """Return whether a subscription of this market has no answer yet."""
        if symbol not in self._markets:
            return False
        return symbol not in self._acknowledged or self._books[symbol].is_lost

    def _trades(self, market: Market, data: Raw, received_at_us: int) -> list[Event]:
        trades = [_trade(entry, market, received_at_us) for entry in _entries_decoder.decode(data)]
        trades.sort(key=lambda trade: int(trade.native_id))
        return [
            msgspec.structs.replace(trade, received_at_us=received_at_us + place)
            for place, trade in enumerate(trades)
        ]

    def _book(self, market: Market, action: str, data: Raw, received_at_us: int) -> list[Event]:
        """Take a snapshot or an update: each names the number of the state before it.

        Numbers jump, and fall after maintenance; only the chain counts [doc]. An empty update with
        an unchanged number is a sign of life [doc].
        """
        parsed = [(book, *_sides(book)) for book in _books_decoder.decode(data)]
        kept = self._books[market.symbol]
        events: list[Event] = []
        for book, bids, asks in parsed:
            is_snapshot = action == "snapshot"
            if is_snapshot:
                kept.replace(bids, asks)
            elif not kept.is_known:
                continue  # between the loss of a book and its next snapshot
            elif book.before != kept.number:
                events += self._books.lose(kept, GapCause.SEQUENCE, received_at_us)
                continue
            else:
                kept.book.apply(bids, asks)
            kept.number = max(0, book.number)
            time_us = unix_us(int(book.time))
            # A snapshot alone is not proved: the next update is the first that may differ.
            events += self._books.good(kept, received_at_us, time_us, verified=not is_snapshot)
        return events


def _data_of(body: bytes, what: str) -> list[Raw]:
    """Return the entries of a REST answer.

    Raises:
        ExchangeUnavailable: It is malformed, or reports an error.
    """
    try:
        answer = _answer_decoder.decode(body)
    except NOT_DECODABLE as error:
        raise ExchangeUnavailable(f"{what}: malformed: {brief(str(error))}") from error
    if answer.code != "0":
        raise ExchangeUnavailable(f"{what}: {brief(f'{answer.code}: {answer.msg}')}")
    return answer.data


def _market(entry: Raw) -> Market | None:
    market = _market_decoder.decode(entry)
    if market.state != "live":
        return None
    return Market(market.symbol, market.base.upper(), market.quote.upper())


def _day_volume(entry: Raw) -> RawDayVolume:
    ticker = _ticker_decoder.decode(entry)
    return RawDayVolume(ticker.symbol, ticker.volume)


def _candle(row: Raw) -> RawCandle | None:
    try:
        time, opened, high, low, close, volume = _row_decoder.decode(row)[:6]
        return RawCandle(unix_us(int(text_of(time))), opened, high, low, close, volume)
    except NOT_DECODABLE:
        return None


def _bare(name: str) -> str:
    """Return a name without the punctuation of the sentence that holds it."""
    return name.strip("\"'.;")


def _sides(book: _Book) -> tuple[list[Change], list[Change]]:
    """Parse both sides: of a level, price and quantity come first [doc]."""
    bids, asks = (
        changes((level[0], level[1]) if len(level) > 1 else ("", "") for level in side)
        for side in (book.bids, book.asks)
    )
    return bids, asks


def _whole(market: Market, data: Raw, received_at_us: int) -> list[Event]:
    """Take the five best levels of both sides [doc]."""
    events: list[Event] = []
    for book in _books_decoder.decode(data):
        bids, asks = _sides(book)
        time_us, number = unix_us(int(book.time)), max(0, book.number)
        events += whole_sides(NAME, market, bids, asks, received_at_us, time_us, number)
    return events


def _trade(entry: Raw, market: Market, received_at_us: int) -> Trade:
    """Parse a trade.

    {"instId":"BTC-USDT","tradeId":"130639474","px":"42219.9","sz":"0.12060306","side":"buy",
     "source":"0","ts":"1630048897897"} [doc]

    One that merges several has no number of its own, because its number would look like a hole.
    """
    trade = _trade_decoder.decode(entry)
    number = int(trade.number)
    event_time_us = unix_us(int(trade.time))
    return Trade(
        source=NAME,
        symbol=market.symbol,
        base=market.base,
        quote=market.quote,
        side=TradeSide(trade.side),
        price=amount(trade.price),
        base_amount=amount(trade.quantity),
        event_time_ms=event_time_us // 1000,
        received_at_us=received_at_us,
        native_id=str(number),
        sequence=number if int(trade.count) == 1 else 0,
    )


EXCHANGE = Okx()
