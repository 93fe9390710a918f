"""Binance: spot markets, combined streams.

Each fact is marked with its source: [doc] the exchange's documentation, [cap] a capture of real
traffic, [code] seen in public clients only, [?] reported once or deduced. Where a fact is only
[code] or [?], the driver works with either reading.

Symbols are upper case in REST and in payloads, and lower case in stream names [doc]. The exchange
acknowledges every stream, even one that does not exist, which then stays silent [cap]; so markets
come from its market list only.
"""

from collections import deque
from collections.abc import Iterable
from types import MappingProxyType
from typing import Annotated, NamedTuple
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
    Fetch,
    Goodbye,
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
from radar.exchanges.common.candles import check_candles
from radar.exchanges.common.day_volumes import volume_rows
from radar.exchanges.common.entries import (
    check_commas,
    check_market_list,
    check_trades,
    decoded_volumes,
    known_market,
    named_by,
    read_markets,
)
from radar.exchanges.common.id_pages import Wanted, read_rows
from radar.exchanges.common.literals import NOT_DECODABLE, amount, unix_us
from radar.exchanges.common.number_search import NumberSearch
from radar.exchanges.common.order_book import (
    SNAPSHOT_WITHIN_US,
    Change,
    KeptBook,
    changes,
    continues,
    whole_sides,
)
from radar.exchanges.common.timer import Timer
from radar.records import GapCause, Market, Trade, TradeSide

NAME = "binance"
# 200 streams in frames of 50 and 100 were fine [cap]; 5 messages a second are allowed [doc].
STREAMS_PER_FRAME = 50
# A snapshot of up to 100 levels weighs 5, the cheapest [doc]. 6,000 weight a minute [doc].
SNAPSHOT_LEVELS = 100
WEIGHT_PER_S = 100
SNAPSHOT_WEIGHT = 5
TRADES_WEIGHT = 25
CANDLES_WEIGHT = 2
TICKERS_WEIGHT = 80  # of all markets [doc]
# A side with fewer known levels needs a new snapshot.
LEAST_KNOWN = 20
PAGE = 1000
# Answers of the database may lag behind the socket [?]: so many in a row may bring nothing.
MAX_EMPTY_PAGES = 6
MAX_LEVELS = 10_000
MAX_BOOK_COMMAS = 5 * MAX_LEVELS  # of an answer of REST: two sides, two for each level
LOOK_EVERY_US = 5_000_000
# Updates that wait for a snapshot: so many, and so many levels in all.
MAX_WAITING = 1_000
MAX_WAITING_LEVELS = 50_000

_BOOK_STREAM = "@depth@100ms"
_WHOLE_STREAM = "@depth20@100ms"
_TRADE_STREAM = "@trade"

_Number = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
_Levels = Annotated[list[tuple[str, str]], Meta(max_length=MAX_LEVELS)]


class _Frame(Struct):
    """Any frame: wrapped, bare, or the answer to a request [doc].

    `e` is empty in a bare partial book, which names no market and so cannot be used.
    """

    stream: str = ""
    data: Raw = Raw(b"")
    e: str = ""
    id: int | str | None = None
    error: Raw = Raw(b"")
    result: Raw = Raw(b"")
    code: int | None = None
    msg: str | None = None


class _Kind(Struct):
    e: str = ""


class _Error(Struct):
    code: int | None = None
    msg: str | None = None


class _Trade(Struct, gc=False):
    """A trade [doc]: `m` means that the buyer was the maker, so the taker sold.

    Names differ in case only, so each is given.
    """

    symbol: str = msgspec.field(name="s")
    number: _Number = msgspec.field(name="t")
    price: Raw = msgspec.field(name="p")
    quantity: Raw = msgspec.field(name="q")
    time: _Number = msgspec.field(name="T")
    buyer_is_maker: bool = msgspec.field(name="m")


class _Update(Struct, gc=False):
    """A change of a book [doc]: the numbers `U` to `u`, absolute quantities."""

    time: _Number = msgspec.field(name="E")
    symbol: str = msgspec.field(name="s")
    first: _Number = msgspec.field(name="U")
    last: _Number = msgspec.field(name="u")
    bids: _Levels = msgspec.field(name="b")
    asks: _Levels = msgspec.field(name="a")


class _Book(Struct, gc=False):
    """A whole book, from the socket or from REST [doc]: no market, no time."""

    last: _Number = msgspec.field(name="lastUpdateId")
    bids: _Levels
    asks: _Levels


class _Row(Struct, gc=False):
    """A trade of REST [doc]."""

    id: _Number
    price: Raw
    qty: Raw
    time: _Number
    is_buyer_maker: bool = msgspec.field(name="isBuyerMaker")


class _Market(Struct):
    """A market of the market list [doc]."""

    symbol: str
    status: str
    base_asset: str = msgspec.field(name="baseAsset")
    quote_asset: str = msgspec.field(name="quoteAsset")
    is_spot: bool = msgspec.field(name="isSpotTradingAllowed")


class _Markets(Struct):
    symbols: list[Raw]


class _Ticker(Struct):
    """The statistics of the last 24 hours of a market [doc]; other keys are ignored."""

    symbol: str
    volume: Raw


_ticker_decoder = msgspec.json.Decoder(_Ticker)
_frame_decoder = msgspec.json.Decoder(_Frame)
_kind_decoder = msgspec.json.Decoder(_Kind)
_error_decoder = msgspec.json.Decoder(_Error)
_trade_decoder = msgspec.json.Decoder(_Trade)
_update_decoder = msgspec.json.Decoder(_Update)
_book_decoder = msgspec.json.Decoder(_Book)
_rows_decoder = msgspec.json.Decoder(list[Raw])
_row_decoder = msgspec.json.Decoder(_Row)
_markets_decoder = msgspec.json.Decoder(_Markets)
_market_decoder = msgspec.json.Decoder(_Market)
_candle_decoder = msgspec.json.Decoder(list[Raw])


class Binance(Exchange):
    """The driver; see `radar.exchanges.base.Exchange`."""

    name = NAME
    # Times of a server that does not know the query are in milliseconds; both are read.
    ws_url = "wss://stream.binance.com:9443/stream?timeUnit=MICROSECOND"  # [doc]
    rest_url = "https://api.binance.com"  # [doc]
    # As on the socket: the time of a trade is part of its row's key, so both must be equal.
    rest_headers = MappingProxyType({"X-MBX-TIME-UNIT": "MICROSECOND"})  # [doc]
    markets_path = "/api/v3/exchangeInfo?symbolStatus=TRADING&showPermissionSets=false"  # [doc]
    limits = Limits(
        lifetime_s=86_400,  # [doc]
        markets_per_connection=200,  # 1,024 streams are allowed [doc]
        sends_per_s=3.0,  # 5 with the answers to protocol pings [doc]
        connects_per_s=0.5,  # 300 in 5 minutes from one address [doc], and two producers
        requests_per_s=20.0,
    )
    recent_trades_full = PAGE
    recent_trades_cost_s = TRADES_WEIGHT / WEIGHT_PER_S
    proves_trades = True
    trade_history = "all"
    candle_history = CandleHistory(
        {
            "1m": Resolution("1m", 60),
            "5m": Resolution("5m", 300),
            "15m": Resolution("15m", 900),
            "1h": Resolution("1h", 3_600),
            "4h": Resolution("4h", 14_400),
            "1d": Resolution("1d", 86_400),
        },  # [doc]
        page=PAGE,
        day_zone="UTC",
        cost_s=CANDLES_WEIGHT / WEIGHT_PER_S,
    )
    day_volumes_path = "/api/v3/ticker/24hr?type=MINI"  # [doc]
    day_volumes_cost_s = TICKERS_WEIGHT / WEIGHT_PER_S

    def parse_markets(self, body: bytes) -> MarketList:
        """Return the spot markets that trade.

        {"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT",
         "isSpotTradingAllowed":true,…},…],…} [doc]
        """
        check_market_list(body)
        try:
            listed = _markets_decoder.decode(body).symbols
        except NOT_DECODABLE as error:
            raise ExchangeUnavailable(_fault("the market list", body, error)) from error
        return read_markets(listed, _market, named_by("symbol"))

    def open_stream(self, request: StreamRequest) -> Stream:
        """Return the protocol of a new connection."""
        if request.dataset.name == datasets.TRADES.name:
            return BinanceStream(_TRADE_STREAM, request.markets)
        suffix = _WHOLE_STREAM if request.whole_books else _BOOK_STREAM
        return BinanceStream(suffix, request.markets, updates=request.updates)

    def recent_trades_path(self, market: Market) -> str:
        """Return the path of the newest trades [doc]."""
        return f"/api/v3/trades?symbol={quote(market.symbol, safe='')}&limit={PAGE}"

    def parse_recent_trades(self, body: bytes, market: Market, received_at_us: int) -> RecentTrades:
        """Return the newest trades, oldest first.

        [{"id":28457,"price":"4.00000100","qty":"12.00000000","quoteQty":"48.000012",
         "time":1499865549590,"isBuyerMaker":true,"isBestMatch":true},…] [doc]
        """
        check_trades(body, market.symbol)
        try:
            rows = _rows_decoder.decode(body)
        except NOT_DECODABLE as error:
            what = f"the trades of {market.symbol}"
            raise ExchangeUnavailable(_fault(what, body, error)) from error
        return read_rows(rows, lambda row, now_us: _parse_row(row, market, now_us), received_at_us)

    def backfill(self, market: Market, first_id: int, last_id: int, since_us: int) -> BackfillPages:
        """Return the requests for a hole, upward by ID."""
        return BinanceBackfill(market, first_id, last_id)

    def find_trade(self, market: Market, time_us: int) -> TradeSearch:
        """Return the requests for the first trade of a time.

        Only `aggTrades` takes a time, and clients report contradictory answers [code]; so the
        numbers themselves are searched.
        """
        return NumberSearch(
            time_us,
            self.recent_trades_path(market),
            lambda number: _historical_path(market, number),
            lambda body, now_us: self.parse_recent_trades(body, market, now_us),
            PAGE,
            TRADES_WEIGHT / WEIGHT_PER_S,
        )

    def candles_path(
        self, market: Market, resolution: Resolution, first_us: int, end_us: int
    ) -> str:
        """Return the path of candles; both times are in milliseconds and included [doc]."""
        return (
            f"/api/v3/klines?symbol={quote(market.symbol, safe='')}&interval={resolution.code}"
            f"&startTime={-(-first_us // 1000)}&endTime={-(-end_us // 1000) - 1}&limit={PAGE}"
        )

    def candle_rows(self, body: bytes, market: Market) -> Iterable[RawCandle | None]:
        """Return the candles, oldest first.

        [[1499040000000,"0.01634790","0.80000000","0.01575800","0.01577100","148976.11427815",
          1499644799999,"2434.19055334",308,"1756.87402397","28.46694368","0"],…] [doc]
        """
        check_candles(body, market)
        try:
            rows = _rows_decoder.decode(body)
        except NOT_DECODABLE as error:
            what = f"the candles of {market.symbol}"
            raise ExchangeUnavailable(_fault(what, body, error)) from error
        return map(_candle, rows)

    def day_volume_rows(self, body: bytes) -> Iterable[RawDayVolume | None]:
        """Return the volumes of the rolling 24 hours.

        [{"symbol":"BNBBTC","openPrice":"99.00000000","volume":"8913.30000000",
          "quoteVolume":"15.30000000","openTime":1499783499040,"closeTime":1499869899040,…},…]
        [doc: General endpoints, 24hr ticker price change statistics, type MINI]
        """
        listed = decoded_volumes(_rows_decoder, body)
        return volume_rows(listed, _day_volume)


class _Waiting(NamedTuple):
    """An update that waits for a snapshot, parsed."""

    first: int
    last: int
    bids: list[Change]
    asks: list[Change]
    event_time_us: int


class _Joined:
    """A book that is joined from a REST snapshot and the updates around it.

    Attributes:
        kept: The book.
        waiting: Updates since the snapshot was asked for.
        tag: The number of the newest request; 0: none yet.
        is_fetching: Whether the answer to it is awaited.
    """

    def __init__(self, market: Market, *, updates: bool) -> None:
        self.kept = KeptBook(market, updates=updates)
        self.waiting: deque[_Waiting] = deque()
        self.tag = 0
        self.is_fetching = False
        self._waiting_levels = 0

    def fetch(self) -> Fetch:
        """Ask for a snapshot; keep the updates from now on."""
        self.tag += 1
        self.is_fetching = True
        self.clear()
        symbol = self.kept.market.symbol
        return Fetch(
            f"/api/v3/depth?symbol={quote(symbol, safe='')}&limit={SNAPSHOT_LEVELS}",
            symbol,
            self.tag,
            SNAPSHOT_WEIGHT / WEIGHT_PER_S,
        )

    def keep(self, update: _Waiting) -> None:
        """Keep an update for the snapshot; too many push out the oldest.

        A snapshot that is older than the oldest one left is refused, so none is lost unseen.
        """
        self.waiting.append(update)
        self._waiting_levels += len(update.bids) + len(update.asks)
        while len(self.waiting) > MAX_WAITING or self._waiting_levels > MAX_WAITING_LEVELS:
            oldest = self.waiting.popleft()
            self._waiting_levels -= len(oldest.bids) + len(oldest.asks)

    def clear(self) -> None:
        """Forget the updates."""
        self.waiting.clear()
        self._waiting_levels = 0

    @property
    def is_thin(self) -> bool:
        """Whether a side that is not known as a whole has few known levels left."""
        sides = (self.kept.book.bids, self.kept.book.asks)
        return any(not side.is_whole and len(side) < LEAST_KNOWN for side in sides)


class BinanceStream(Stream):
    """One connection with one kind of stream for each market."""

    url = Binance.ws_url

    def __init__(self, suffix: str, markets: Iterable[Market], *, updates: bool = False) -> None:
        self._suffix = suffix
        self._markets = {market.symbol: market for market in markets}
        self._streams = {f"{symbol.lower()}{suffix}": symbol for symbol in self._markets}
        self._books = {
            symbol: _Joined(market, updates=updates) for symbol, market in self._markets.items()
        }
        self._requests: dict[int, tuple[str, ...]] = {}  # the markets of each, unanswered
        self._look = Timer(LOOK_EVERY_US)

    def opened(self) -> list[Event]:
        """Return the subscriptions.

        {"method":"SUBSCRIBE","params":["btcusdt@trade",…],"id":1} [doc]. A string as ID got no
        answer [cap].
        """
        names = list(self._streams)
        sends: list[Event] = []
        for start in range(0, len(names), STREAMS_PER_FRAME):
            part = names[start : start + STREAMS_PER_FRAME]
            number = len(sends) + 1
            self._requests[number] = tuple(self._streams[name] for name in part)
            request = {"method": "SUBSCRIBE", "params": part, "id": number}
            sends.append(Send(msgspec.json.encode(request).decode()))
        return sends

    def receive(self, frame: bytes, received_at_us: int) -> list[Event]:
        """Return the events of a frame."""
        try:
            parsed = _frame_decoder.decode(frame)
            if parsed.data:
                kind = _kind_decoder.decode(parsed.data).e
                return self._payload(parsed.stream, kind, parsed.data, received_at_us)
            if parsed.e:
                return self._payload("", parsed.e, Raw(frame), received_at_us)
            return self._answered(parsed, received_at_us)
        except NOT_DECODABLE as error:
            raise InvalidFrame(f"not a frame of the documentation: {brief(str(error))}") from error

    def keepalive(self, now_us: int) -> tuple[list[Event], int]:
        """Return the books whose first snapshot REST does not give; the fetches go on."""
        if self._suffix != _BOOK_STREAM or not self._look.take(now_us):
            return [], now_us + LOOK_EVERY_US
        events: list[Event] = []
        for joined in self._books.values():
            kept = joined.kept
            if joined.tag and not kept.is_known and now_us - kept.good_us > SNAPSHOT_WITHIN_US:
                events += kept.miss(now_us)
        return events, now_us + LOOK_EVERY_US

    def fetched(self, fetch: Fetch, body: bytes, received_at_us: int) -> list[Event]:
        """Join a snapshot with the updates that waited for it."""
        joined = self._books.get(fetch.symbol)
        if joined is None or not joined.is_fetching or fetch.tag != joined.tag:
            return []
        what = f"the book of {fetch.symbol}"
        check_commas(body, MAX_BOOK_COMMAS, f"{what} is")
        try:
            book = _book_decoder.decode(body)
            bids, asks = changes(book.bids), changes(book.asks)
        except NOT_DECODABLE as error:
            raise ExchangeUnavailable(_fault(what, body, error)) from error
        later = [update for update in joined.waiting if update.last > book.last]
        is_behind = joined.kept.is_known and not later and book.last < joined.kept.number
        if is_behind or (later and not continues(later[0].first, later[0].last, book.last)):
            raise ExchangeUnavailable(f"{what}: older than the updates")
        return self._join(joined, book.last, (bids, asks), later, received_at_us)

    def _join(
        self,
        joined: _Joined,
        number: int,
        snapshot: tuple[list[Change], list[Change]],
        later: list[_Waiting],
        received_at_us: int,
    ) -> list[Event]:
        kept = joined.kept
        joined.is_fetching = False
        joined.clear()
        kept.replace(*snapshot, full=SNAPSHOT_LEVELS)
        kept.number = number
        event_time_us = 0
        for place, update in enumerate(later):
            if not continues(update.first, update.last, kept.number):
                # A later snapshot closes this hole, so what waits from here on stays.
                lost = kept.lose(
                    GapCause.SEQUENCE, received_at_us, kept.number + 1, update.first - 1
                )
                fetch = joined.fetch()
                for each in later[place:]:
                    joined.keep(each)
                return [*lost, fetch]
            kept.book.apply(update.bids, update.asks)
            kept.number, event_time_us = update.last, update.event_time_us
        # A snapshot alone is not proved: the next update is the first that may differ.
        events = kept.good(NAME, received_at_us, event_time_us, verified=bool(later))
        return [*events, joined.fetch()] if joined.is_thin else events

    def _payload(self, name: str, kind: str, data: Raw, received_at_us: int) -> list[Event]:
        """Take the data of a stream; its name is empty if the server wraps nothing."""
        match kind:
            case "trade" if self._suffix == _TRADE_STREAM:
                return [self._trade(_trade_decoder.decode(data), received_at_us)]
            case "depthUpdate" if self._suffix == _BOOK_STREAM:
                return self._update(_update_decoder.decode(data), received_at_us)
            case "serverShutdown":
                return [Goodbye("the exchange's server shuts down")]
            case "" if self._suffix == _WHOLE_STREAM:
                return self._whole(name, _book_decoder.decode(data), received_at_us)
        return []  # a stream without a subscription

    def _answered(self, answer: _Frame, received_at_us: int) -> list[Event]:
        """Take the answer to a request; null is success [doc].

        An error is wrapped in `error` [cap]; the documentation prints it bare.
        """
        if bytes(answer.error) not in (b"", b"null"):
            error = _error_decoder.decode(answer.error)
        elif answer.code is not None:
            error = _Error(answer.code, answer.msg)
        elif bytes(answer.result) == b"null":
            symbols = self._requests.pop(answer.id, ()) if isinstance(answer.id, int) else ()
            return self._acknowledged(symbols, received_at_us) if symbols else []
        elif answer.result:
            return []  # a list of subscriptions
        else:
            raise InvalidFrame("neither a stream nor an answer")
        if isinstance(answer.id, int):
            symbols = self._requests.pop(answer.id, ())
        else:
            # It names no request: it is about all that have no answer.
            symbols = tuple(symbol for each in self._requests.values() for symbol in each)
            self._requests.clear()
        reason = brief(f"{error.code}: {error.msg}")
        return [Refused(symbols, reason)] if symbols else []

    def _acknowledged(self, symbols: tuple[str, ...], received_at_us: int) -> list[Event]:
        """Cover markets; the snapshots of their books are asked for once updates arrive."""
        events: list[Event] = [Subscribed(symbols)]
        if self._suffix == _BOOK_STREAM:
            for joined in (self._books[symbol] for symbol in symbols):
                joined.kept.good_us = received_at_us
                waiting = list(joined.waiting)
                events.append(joined.fetch())
                for update in waiting:
                    joined.keep(update)
        return events

    def _trade(self, trade: _Trade, received_at_us: int) -> Trade:
        market = known_market(self._markets, trade.symbol)
        return _record(
            market,
            trade.number,
            amount(trade.price),
            amount(trade.quantity),
            trade.time,
            received_at_us,
            buyer_is_maker=trade.buyer_is_maker,
        )

    def _update(self, update: _Update, received_at_us: int) -> list[Event]:
        """Take an update of a book: apply it, keep it for a snapshot, or both."""
        joined = self._books[known_market(self._markets, update.symbol).symbol]
        kept = joined.kept
        if update.first > update.last:
            raise InvalidFrame(f"an update from {update.first} to {update.last}")
        parsed = _Waiting(
            update.first,
            update.last,
            changes(update.bids),
            changes(update.asks),
            unix_us(update.time),
        )
        if joined.is_fetching or not joined.tag:
            joined.keep(parsed)
        if not kept.is_known or parsed.last <= kept.number:
            return []
        if not continues(parsed.first, parsed.last, kept.number):
            lost = kept.lose(GapCause.SEQUENCE, received_at_us, kept.number + 1, parsed.first - 1)
            if joined.is_fetching:
                return list(lost)  # the snapshot that is on its way may close the hole
            fetch = joined.fetch()
            joined.keep(parsed)
            return [*lost, fetch]
        kept.book.apply(parsed.bids, parsed.asks)
        kept.number = parsed.last
        events = kept.good(NAME, received_at_us, parsed.event_time_us, verified=True)
        if joined.is_thin and not joined.is_fetching:
            events.append(joined.fetch())
        return events

    def _whole(self, name: str, book: _Book, received_at_us: int) -> list[Event]:
        """Take the twenty best levels of both sides; the stream's name is their only market."""
        symbol = self._streams.get(name)
        if symbol is None:
            raise InvalidFrame(f"a book of an unknown market {brief(name)}")
        market = self._markets[symbol]
        bids, asks = changes(book.bids), changes(book.asks)
        return list(whole_sides(NAME, market, bids, asks, received_at_us, 0, book.last))


class BinanceBackfill:
    """Reads a hole upward by ID; `fromId` is the first of the answer [code]."""

    cost_s = TRADES_WEIGHT / WEIGHT_PER_S

    def __init__(self, market: Market, first_id: int, last_id: int) -> None:
        self._market = market
        self._wanted = Wanted(first_id, last_id)
        self._from_id = first_id
        self._empty_pages = 0
        self.outcome: Outcome = Outcome.RUNNING

    @property
    def path(self) -> str:
        """Path and query of the next page [doc]."""
        return _historical_path(self._market, self._from_id)

    def take(self, body: bytes, received_at_us: int) -> RecentTrades:
        """Take a page; one without news is asked for again some times, after the caller's waits.

        Raises:
            ExchangeUnavailable: Also for such a page.
        """
        page = EXCHANGE.parse_recent_trades(body, self._market, received_at_us)
        newest = page.trades[-1].sequence if page.trades else 0
        found = self._wanted.take(page.trades)
        if newest >= self._wanted.last_id:
            self.outcome = self._wanted.ended()
        elif newest >= self._from_id:
            self._from_id = newest + 1
            self._empty_pages = 0
        else:
            self._empty_pages += 1
            if self._empty_pages < MAX_EMPTY_PAGES:
                raise ExchangeUnavailable(
                    f"the trades of {self._market.symbol}: the database is behind"
                )
            self.outcome = self._wanted.ended()
        return RecentTrades(found, page.invalid)


def _historical_path(market: Market, from_id: int) -> str:
    symbol = quote(market.symbol, safe="")
    return f"/api/v3/historicalTrades?symbol={symbol}&fromId={from_id}&limit={PAGE}"


def _candle(row: Raw) -> RawCandle | None:
    try:
        time, opened, high, low, close, volume = _candle_decoder.decode(row)[:6]
        return RawCandle(unix_us(int(time)), opened, high, low, close, volume)
    except NOT_DECODABLE:
        return None


def _fault(what: str, body: bytes, error: BaseException) -> str:
    """Say why an answer cannot be used: the exchange's own error, or that of the decoder."""
    try:
        reported = _error_decoder.decode(body)
    except NOT_DECODABLE:
        reported = _Error()
    if reported.code is not None:
        return f"{what}: {brief(f'{reported.code}: {reported.msg}')}"
    return f"{what}: malformed: {brief(str(error))}"


def _day_volume(entry: Raw) -> RawDayVolume:
    ticker = _ticker_decoder.decode(entry)
    return RawDayVolume(ticker.symbol, ticker.volume)


def _market(entry: Raw) -> Market | None:
    market = _market_decoder.decode(entry)
    if market.status != "TRADING" or not market.is_spot:
        return None
    return Market(market.symbol, market.base_asset.upper(), market.quote_asset.upper())


def _parse_row(row: Raw, market: Market, received_at_us: int) -> Trade:
    trade = _row_decoder.decode(row)
    return _record(
        market,
        trade.id,
        amount(trade.price),
        amount(trade.qty),
        trade.time,
        received_at_us,
        buyer_is_maker=trade.is_buyer_maker,
    )


def _record(
    market: Market,
    number: int,
    price: str,
    quantity: str,
    time: int,
    received_at_us: int,
    *,
    buyer_is_maker: bool,
) -> Trade:
    event_time_us = unix_us(time)
    return Trade(
        source=NAME,
        symbol=market.symbol,
        base=market.base,
        quote=market.quote,
        side=TradeSide.SELL if buyer_is_maker else TradeSide.BUY,
        price=price,
        base_amount=quantity,
        event_time_ms=event_time_us // 1000,
        received_at_us=received_at_us,
        native_id=str(number),
        sequence=number,
        event_time_us=event_time_us if event_time_us == time else 0,
    )


EXCHANGE = Binance()
