"""Kraken: spot markets, WebSocket v2.

Each fact is marked with its source: [doc] the exchange's documentation, [cap] a capture of real
traffic, [code] seen in public clients only, [?] reported once or deduced. Where a fact is only
[code] or [?], the driver works with either reading.

One market has four names: `BTC/USD` on the socket, `XBT/USD` (wsname), `XBTUSD` (altname) and
`XXBTZUSD` (the key in REST answers). `Market.symbol` is the first, `Market.code` the last.

Numbers are JSON numbers with the engine's full precision, zeros included [doc]. The checksum of a
book is computed over these texts, so they are never read as floats.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta, Raw, Struct

from radar import datasets
from radar.datasets import Dataset
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
    Outcome,
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
from radar.exchanges.common.day_volumes import volume_rows
from radar.exchanges.common.entries import (
    MAX_MARKET_COMMAS,
    MAX_TRADE_COMMAS,
    check_commas,
    check_market_list,
    known_market,
    read_markets,
)
from radar.exchanges.common.id_pages import Wanted, read_rows
from radar.exchanges.common.literals import NOT_DECODABLE, amount, plain, text_of
from radar.exchanges.common.number_search import time_of_us
from radar.exchanges.common.order_book import BookKeeper, changes
from radar.exchanges.common.timer import Timer
from radar.records import GapCause, Market, Trade, TradeSide

NAME = "kraken"
# The checksum proves the ten best levels: a deeper book could be wrong unseen [doc].
DEPTH = 10
# No limit of a request is documented; clients send so many symbols at once [code].
SYMBOLS_PER_FRAME = 50
# The refusal of too many requests says nothing about the markets [code].
TOO_FAST = "Exceeded msg rate"
SUBSCRIBE_AGAIN_US = 3_000_000
PING_EVERY_US = 30_000_000  # it closes after about a minute without activity [doc]
PAGE = 1000
CANDLES = 720  # older ones do not exist [doc]
# A trade arrives later than its time says, and clocks differ: a backfill starts earlier by this,
# and ten times as much after each page that starts behind the hole.
MARGIN_NS = 10_000_000_000
MAX_STEPS_BACK = 4
# REST may lag behind the socket [?]: so many pages without news in a row end a backfill.
MAX_EMPTY_PAGES = 6
MAX_LEVELS = 2_000
MAX_TRADES = 5_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# The old names of two currencies in `wsname`; the socket refuses them [cap].
_CURRENCIES = {"XBT": "BTC", "XDG": "DOGE"}
_SIDES = {"b": TradeSide.BUY, "s": TradeSide.SELL}
# Orders match in these states too, by their names [?]: `limit_only` refuses market orders and
# `reduce_only` new margin. In the others no trade happens.
_TRADING = frozenset({"online", "limit_only", "reduce_only"})
_CHANNELS = {datasets.TRADES.name: "trade", datasets.DEPTH.name: "book"}

_Number = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class _Frame(Struct):
    """Any frame: a channel with data [doc], or the answer to a method [doc]."""

    channel: str = ""
    type: str = ""
    data: Raw = Raw(b"")
    method: str = ""
    success: bool | None = None
    error: str | None = None
    symbol: str | None = None
    result: Raw = Raw(b"")


class _Result(Struct):
    """The `result` of an acknowledgement, one for each symbol [doc]."""

    channel: str = ""
    symbol: str = ""


class _Status(Struct):
    """The state of the engine [doc]; the ID exceeds 2^63 [cap]."""

    system: str = ""
    connection_id: Raw = Raw(b"")


class _Trade(Struct, gc=False):
    """A trade [doc]; `side` is the taker's."""

    symbol: str
    side: Literal["buy", "sell"]
    price: Raw
    qty: Raw
    trade_id: _Number
    timestamp: Annotated[datetime, Meta(tz=True)]


class _Level(Struct, gc=False):
    price: Raw
    qty: Raw


class _Book(Struct, gc=False):
    """A snapshot or an update of a book [doc]."""

    symbol: str
    checksum: Annotated[int, Meta(ge=0, lt=1 << 32)]
    bids: Annotated[list[_Level], Meta(max_length=MAX_LEVELS)] = []
    asks: Annotated[list[_Level], Meta(max_length=MAX_LEVELS)] = []
    # Old snapshots had none [cap].
    timestamp: Annotated[datetime, Meta(tz=True)] | None = None


class _Pair(Struct):
    """A market of the market list [doc]; without `wsname` the socket does not offer it [doc]."""

    status: str
    wsname: str | None = None


class _Answer(Struct):
    """A REST answer: errors come with HTTP 200 [cap], `result` may be null then."""

    error: list[str]
    result: Raw = Raw(b"null")


class _Ticker(Struct):
    """The statistics of a market [doc]; other keys are ignored."""

    volumes: tuple[Raw, Raw] = msgspec.field(name="v")


_ticker_decoder = msgspec.json.Decoder(_Ticker)
_frame_decoder = msgspec.json.Decoder(_Frame)
_result_decoder = msgspec.json.Decoder(_Result)
_status_decoder = msgspec.json.Decoder(list[_Status])
_trades_decoder = msgspec.json.Decoder(Annotated[list[_Trade], Meta(max_length=MAX_TRADES)])
_books_decoder = msgspec.json.Decoder(Annotated[list[_Book], Meta(max_length=10)])
_answer_decoder = msgspec.json.Decoder(_Answer)
_pairs_decoder = msgspec.json.Decoder(dict[str, Raw])
_pair_decoder = msgspec.json.Decoder(_Pair)
_row_decoder = msgspec.json.Decoder(list[Raw])


class Kraken(Exchange):
    """The driver; see `radar.exchanges.base.Exchange`."""

    name = NAME
    ws_url = "wss://ws.kraken.com/v2"  # [doc]
    rest_url = "https://api.kraken.com"  # [doc]
    markets_path = "/0/public/AssetPairs"  # [doc]
    # Neither a lifetime nor limits of requests are published. 150 connections in 10 minutes from
    # one address [doc], for the producers of trades and of books together.
    limits = Limits(
        markets_per_connection=200,
        sends_per_s=4.0,
        connects_per_s=0.12,
        requests_per_s=0.9,  # about one a second [code]
    )
    recent_trades_full = PAGE
    proves_trades = True
    trade_history = "all"
    candle_history = CandleHistory(
        {
            "1m": Resolution("1", 60),
            "5m": Resolution("5", 300),
            "15m": Resolution("15", 900),
            "1h": Resolution("60", 3_600),
            "4h": Resolution("240", 14_400),
            "1d": Resolution("1440", 86_400),
        },  # [doc]
        page=CANDLES,
        day_zone="UTC",
        kept=CANDLES,
    )
    day_volumes_path = "/0/public/Ticker"  # [doc]; of all markets without a pair

    def parse_markets(self, body: bytes) -> MarketList:
        """Return the markets that trade.

        {"error":[],"result":{"XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD","base":"XXBT",
         "quote":"ZUSD","status":"online",…},…}} [doc]
        """
        check_market_list(body)
        try:
            listed = _pairs_decoder.decode(_result_of(body, "the market list"))
        except NOT_DECODABLE as error:
            raise ExchangeUnavailable(
                f"the market list is malformed: {brief(str(error))}"
            ) from error
        return read_markets(listed.items(), _market, lambda item: item[0])

    def open_stream(self, request: StreamRequest) -> Stream:
        """Return the protocol of a new connection; no channel sends whole books [doc]."""
        return KrakenStream(request.dataset, request.markets, updates=request.updates)

    def recent_trades_path(self, market: Market) -> str:
        """Return the path of the newest trades [doc]."""
        return f"/0/public/Trades?pair={quote(market.code or market.symbol, safe='')}&count={PAGE}"

    def parse_recent_trades(self, body: bytes, market: Market, received_at_us: int) -> RecentTrades:
        """Return the newest trades, oldest first.

        {"error":[],"result":{"XXBTZUSD":[["83930.30000","0.00005100",1790359840.9392912,"s","l",
         "",109118758],…],"last":"1790359841138228746"}} [doc]
        """
        rows, _ = _page_of(body, f"the trades of {market.symbol}")
        return read_rows(rows, lambda row, now_us: _parse_row(row, market, now_us), received_at_us)

    def backfill(self, market: Market, first_id: int, last_id: int, since_us: int) -> BackfillPages:
        """Return the requests for a hole: by time, from before the last good trade."""
        return KrakenBackfill(market, first_id, last_id, since_us)

    def find_trade(self, market: Market, time_us: int) -> TradeSearch:
        """Return the requests for the first trade of a time."""
        return KrakenSearch(market, time_us)

    def candles_path(
        self, market: Market, resolution: Resolution, first_us: int, end_us: int
    ) -> str:
        """Return the path of the candles since a time, in seconds and excluded [doc]."""
        pair = quote(market.code or market.symbol, safe="")
        minutes, since_s = resolution.code, -(-first_us // 1_000_000) - 1
        return f"/0/public/OHLC?pair={pair}&interval={minutes}&since={since_s}"

    def candle_rows(self, body: bytes, market: Market) -> Iterable[RawCandle | None]:
        """Return the candles, oldest first; the last one is unfinished.

        {"error":[],"result":{"XXBTZUSD":[[1688671200,"30306.1","30306.2","30305.7","30305.7",
         "30306.1","3.39243896",23],…],"last":1688672160}} [doc]
        """
        rows, _ = _page_of(body, f"the candles of {market.symbol}")
        return map(_candle, rows)

    def day_volume_rows(self, body: bytes) -> Iterable[RawDayVolume | None]:
        """Return the volumes of the last 24 hours, by `Market.code`.

        {"error":[],"result":{"XXBTZUSD":{"v":["1000.12345678","1500.12345678"],…},…}}: of the day
        and of the last 24 hours [doc: Get ticker information]
        """
        what = "the volumes of the day"
        check_commas(body, MAX_MARKET_COMMAS, f"{what} are")
        try:
            listed = _pairs_decoder.decode(_result_of(body, what))
        except NOT_DECODABLE as error:
            raise ExchangeUnavailable(f"{what}: malformed: {brief(str(error))}") from error
        return volume_rows(listed.items(), _day_volume)


class KrakenSearch:
    """Reads the trades since a time; the first of them is the wanted one; see `TradeSearch`."""

    cost_s = 0.0

    def __init__(self, market: Market, time_us: int) -> None:
        self._market = market
        self._time_us = time_us
        self._since_ns = max(0, time_us * 1000 - 1)  # excluded [code]
        self._wants_newest = False
        self.found: int | None = None

    @property
    def path(self) -> str:
        """Path and query of the next page [doc]."""
        newest = EXCHANGE.recent_trades_path(self._market)
        return newest if self._wants_newest else f"{newest}&since={self._since_ns}"

    def take(self, body: bytes, received_at_us: int) -> None:
        """Take a page; if it is empty, the newest trade of all is the one before."""
        rows, last_ns = _page_of(body, f"the trades of {self._market.symbol}")
        trades = read_rows(
            rows, lambda row, now_us: _parse_row(row, self._market, now_us), received_at_us
        ).trades
        first = next((each for each in trades if time_of_us(each) >= self._time_us), None)
        if first is not None:
            self.found = first.sequence
        elif self._wants_newest or (trades and last_ns <= self._since_ns):
            self.found = trades[-1].sequence + 1 if trades else 1
        elif trades:
            self._since_ns = last_ns
        else:
            self._wants_newest = True


class KrakenStream(Stream):
    """One connection: `trade`, or `book` with ten levels."""

    url = Kraken.ws_url

    def __init__(
        self, dataset: Dataset, markets: Iterable[Market], *, updates: bool = False
    ) -> None:
        self._channel = _CHANNELS[dataset.name]
        self._markets = {market.symbol: market for market in markets}
        self._acknowledged: set[str] = set()
        self._system = ""
        self._ping = Timer(PING_EVERY_US)
        self._again_us = 0  # when to subscribe again; 0: never
        self._books = BookKeeper(
            NAME,
            self._markets,
            DEPTH,
            lambda symbol: [self._request("subscribe", [symbol])],
            lambda symbol: [self._request("unsubscribe", [symbol])],
            updates=updates,
        )

    def opened(self) -> list[Event]:
        """Return the subscriptions; the exchange's first frame, its status, need not be awaited.

        {"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":10,
         "snapshot":true}} [doc]

        Trades come with the last 50: they prove and often close the hole of a reconnection [doc].
        """
        return self._subscriptions(list(self._markets))

    def keepalive(self, now_us: int) -> tuple[list[Event], int]:
        """Return a ping, and the requests for markets and books that did not come."""
        events: list[Event] = []
        if self._again_us and now_us >= self._again_us:
            self._again_us = 0
            events += self._subscriptions(
                [symbol for symbol in self._markets if symbol not in self._acknowledged]
            )
        if self._ping.take(now_us):
            events += [Send('{"method":"ping"}'), *self._books.overdue(now_us)]
        return events, min(self._ping.due_us, self._again_us or self._ping.due_us)

    def receive(self, frame: bytes, received_at_us: int) -> list[Event]:
        """Return the events of a frame."""
        try:
            parsed = _frame_decoder.decode(frame)
            if parsed.method:
                return self._answered(parsed, received_at_us)
            match parsed.channel:
                case "trade":
                    return self._trades(parsed.data, received_at_us)
                case "book":
                    return self._book(parsed.type, parsed.data, received_at_us)
                case "status":
                    return self._status(parsed.data)
                case "":
                    raise InvalidFrame("neither channel nor method")
        except NOT_DECODABLE as error:
            raise InvalidFrame(f"not a frame of the documentation: {brief(str(error))}") from error
        return []  # heartbeat, or a channel without a subscription

    def _subscriptions(self, symbols: list[str]) -> list[Event]:
        return [
            self._request("subscribe", symbols[start : start + SYMBOLS_PER_FRAME])
            for start in range(0, len(symbols), SYMBOLS_PER_FRAME)
        ]

    def _request(self, method: str, symbols: list[str]) -> Send:
        params: dict[str, object] = {"channel": self._channel, "symbol": symbols}
        if self._channel == "book":
            params["depth"] = DEPTH
        if method == "subscribe":
            params["snapshot"] = True
        return Send(msgspec.json.encode({"method": method, "params": params}).decode())

    def _answered(self, answer: _Frame, received_at_us: int) -> list[Event]:
        """Take the answer to a request: one for each symbol, or one for all of them."""
        if answer.method != "subscribe":
            return []  # pong, or the end of a subscription
        if answer.success:
            symbol = _result_decoder.decode(answer.result).symbol
            if symbol not in self._markets:
                raise InvalidFrame(f"acknowledgement of an unknown market {brief(symbol)}")
            if self._channel == "book":
                self._books.acknowledged(symbol, received_at_us)
            if symbol in self._acknowledged:
                return []  # a book that was lost counts from its snapshot
            self._acknowledged.add(symbol)
            return [Subscribed((symbol,))]
        if answer.error == TOO_FAST:
            self._again_us = received_at_us + SUBSCRIBE_AGAIN_US
            return []
        reason = brief(answer.error or "no reason given")
        # A refusal may name no market [cap]: then it is about all that are not acknowledged.
        refused = [answer.symbol] if answer.symbol else list(self._markets)
        refused = [symbol for symbol in refused if self._waits(symbol)]
        return [Refused(tuple(refused), reason)] if refused else []

    def _waits(self, symbol: str) -> bool:
        """Return whether a subscription of this market has no answer yet."""
        if symbol not in self._markets:
            return False
        return symbol not in self._acknowledged or self._books[symbol].is_lost

    def _status(self, data: Raw) -> list[Event]:
        """Take the state of the engine.

        Maintenance alone is no reason for another connection, which would meet the same engine. Its
        end is one: no text says that subscriptions go on [?].
        """
        states = _status_decoder.decode(data)
        if not states:
            return []
        before, self._system = self._system, states[-1].system
        if not before:
            return [Hello(brief(text_of(states[-1].connection_id)))]
        if before == "maintenance" and self._system == "online":
            return [Goodbye("the exchange's maintenance has ended")]
        return []

    def _trades(self, data: Raw, received_at_us: int) -> list[Event]:
        """Take trades: a frame may hold those of several takers [code]."""
        trades = sorted(_trades_decoder.decode(data), key=lambda trade: trade.trade_id)
        return [
            _trade(
                known_market(self._markets, trade.symbol),
                TradeSide(trade.side),
                amount(trade.price),
                amount(trade.qty),
                trade.trade_id,
                (trade.timestamp - _EPOCH) // _MICROSECOND,
                received_at_us + place,
            )
            for place, trade in enumerate(trades)
        ]

    def _book(self, kind: str, data: Raw, received_at_us: int) -> list[Event]:
        events: list[Event] = []
        frames = _books_decoder.decode(data)
        # All are parsed before the first changes a book.
        parsed = [
            (
                known_market(self._markets, each.symbol),
                each,
                _changes(each.bids),
                _changes(each.asks),
            )
            for each in frames
        ]
        for market, each, bids, asks in parsed:
            kept = self._books[market.symbol]
            if kind == "snapshot":
                kept.replace(bids, asks)
            elif kept.is_known:
                kept.book.apply(bids, asks)
            else:
                continue  # between the loss of a book and its next snapshot
            if kept.book.checksum() != each.checksum:
                events += self._books.lose(kept, GapCause.CHECKSUM, received_at_us)
                continue
            event_time_us = (each.timestamp - _EPOCH) // _MICROSECOND if each.timestamp else 0
            events += self._books.good(kept, received_at_us, event_time_us, verified=True)
        return events


class KrakenBackfill:
    """Reads a hole by time, page by page.

    Pages start behind `since` [code] and may end within trades of one time, so the next page starts
    1 ns before the last trade.
    """

    cost_s = 0.0

    def __init__(self, market: Market, first_id: int, last_id: int, since_us: int) -> None:
        self._market = market
        self._wanted = Wanted(first_id, last_id)
        self._start_ns = since_us * 1000
        self._steps_back = 0
        self._empty_pages = 0  # in a row
        self._since_ns = max(0, self._start_ns - MARGIN_NS)
        self.outcome: Outcome = Outcome.RUNNING

    @property
    def path(self) -> str:
        """Path and query of the next page [doc]."""
        pair = quote(self._market.code or self._market.symbol, safe="")
        return f"/0/public/Trades?pair={pair}&since={self._since_ns}&count={PAGE}"

    def take(self, body: bytes, received_at_us: int) -> RecentTrades:
        """Take a page; step back in time if the first one starts behind the hole.

        An empty one does as well: the exchange's clock may be behind that of this machine.

        Raises:
            ExchangeUnavailable: Also if REST does not have the trades yet; it is asked again.
        """
        rows, last_ns = _page_of(body, f"the trades of {self._market.symbol}")
        page = read_rows(
            rows, lambda row, now_us: _parse_row(row, self._market, now_us), received_at_us
        )
        trades = page.trades
        starts_late = not trades or trades[0].sequence > self._wanted.first_id
        if starts_late and self._since_ns and self._steps_back < MAX_STEPS_BACK:
            self._steps_back += 1
            self._since_ns = max(0, self._start_ns - MARGIN_NS * 10**self._steps_back)
            return RecentTrades([], page.invalid)
        self._steps_back = MAX_STEPS_BACK  # later pages start where the one before has ended
        found = self._wanted.take(trades)
        if trades and trades[-1].sequence >= self._wanted.last_id:
            self.outcome = self._wanted.ended()
        elif trades and last_ns - 1 > self._since_ns:
            self._since_ns = last_ns - 1
            self._empty_pages = 0
        elif len(rows) >= PAGE:
            # All of one time: the same page would come again and again.
            self.outcome = self._wanted.ended()
        elif not found:
            self._empty_pages += 1
            if self._empty_pages < MAX_EMPTY_PAGES:
                # The socket has brought the trade behind the hole, so more must come.
                raise ExchangeUnavailable(f"the trades of {self._market.symbol}: REST is behind")
            self.outcome = self._wanted.ended()
        return RecentTrades(found, page.invalid)


def _market(item: tuple[str, Raw]) -> Market | None:
    code, entry = item
    pair = _pair_decoder.decode(entry)
    if pair.status not in _TRADING or pair.wsname is None:
        return None
    base, _, quoted = pair.wsname.partition("/")
    if not base or not quoted:
        raise ValueError(f"its wsname is {pair.wsname}")
    base, quoted = _CURRENCIES.get(base, base), _CURRENCIES.get(quoted, quoted)
    return Market(f"{base}/{quoted}", base.upper(), quoted.upper(), code)


def _result_of(body: bytes, what: str) -> Raw:
    """Return the result of a REST answer.

    Raises:
        ExchangeUnavailable: It is malformed, or reports an error.
    """
    try:
        answer = _answer_decoder.decode(body)
    except NOT_DECODABLE as error:
        raise ExchangeUnavailable(f"{what}: malformed: {brief(str(error))}") from error
    if answer.error:
        raise ExchangeUnavailable(f"{what}: {brief(', '.join(answer.error[:5]))}")
    return answer.result


def _page_of(body: bytes, what: str) -> tuple[list[Raw], int]:
    """Return the rows of a page of trades or candles, and the number `last`.

    Of trades, that is the time of the last one in nanoseconds.

    The key of the rows is the name as it was asked for, or another one of the market [cap].
    """
    check_commas(body, MAX_TRADE_COMMAS, f"{what} are")
    try:
        result = _pairs_decoder.decode(_result_of(body, what))
        last_text = text_of(result.pop("last"))
        if not (last_text.isascii() and last_text.isdigit() and len(last_text) <= 20):
            raise ValueError("`last` is no number")
        (rows,) = result.values()
        return _row_decoder.decode(rows), int(last_text)
    except (*NOT_DECODABLE, KeyError) as error:
        raise ExchangeUnavailable(f"{what}: malformed: {brief(str(error))}") from error


def _day_volume(item: tuple[str, Raw]) -> RawDayVolume:
    return RawDayVolume(item[0], _ticker_decoder.decode(item[1]).volumes[1])


def _candle(row: Raw) -> RawCandle | None:
    try:
        time, opened, high, low, close, _, volume = _row_decoder.decode(row)[:7]
        return RawCandle(int(text_of(time)) * 1_000_000, opened, high, low, close, volume)
    except NOT_DECODABLE:
        return None


def _parse_row(row: Raw, market: Market, received_at_us: int) -> Trade:
    """Parse [price, quantity, time in s, "b" or "s" of the taker, "l" or "m", misc, ID] [doc].

    The time is a double, which is wrong by up to 0.12 µs [cap]. So one trade in about 16,000 gets
    another millisecond here than on the socket.
    """
    price, quantity, time, side, _, _, number = _row_decoder.decode(row)[:7]
    event_time_us = int(Decimal(plain(text_of(time))) * 1_000_000)
    taker = _SIDES.get(text_of(side))
    number_text = text_of(number)
    if taker is None or not (number_text.isascii() and number_text.isdigit()):
        raise ValueError("a side or an ID that is none")
    if len(number_text) > 18:
        raise ValueError("an ID of too many digits")
    return _trade(
        market,
        taker,
        amount(price),
        amount(quantity),
        int(number_text),
        event_time_us,
        received_at_us,
    )


def _trade(
    market: Market,
    side: TradeSide,
    price: str,
    quantity: str,
    number: int,
    event_time_us: int,
    received_at_us: int,
) -> Trade:
    return Trade(
        source=NAME,
        symbol=market.symbol,
        base=market.base,
        quote=market.quote,
        side=side,
        price=price,
        base_amount=quantity,
        event_time_ms=event_time_us // 1000,
        received_at_us=received_at_us,
        native_id=str(number),
        sequence=number,
        event_time_us=event_time_us,
    )


def _changes(levels: list[_Level]) -> list[tuple[Decimal, tuple[float, float, str, str] | None]]:
    return changes((text_of(level.price), text_of(level.qty)) for level in levels)


EXCHANGE = Kraken()
