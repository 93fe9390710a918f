"""Kraken's protocol, version 2: books of ten levels with a checksum, trades with equal times."""

import zlib
from collections.abc import Iterable, Sequence

from radar_simulator import wire
from radar_simulator.dialects.common.base import (
    Action,
    Answer,
    Dialect,
    Json,
    Outgoing,
    Request,
    Session,
    Subscribe,
    Text,
    Topic,
    Unsubscribe,
    answer,
    decoded,
    encode,
    raw,
)
from radar_simulator.dialects.common.markets import BookUpdate, Levels, Market, Trade, iso

DEPTHS = (10, 25, 100, 500, 1000)
SNAPSHOT_TRADES = 50
QUANTITY_PLACES = 8
HEARTBEAT_US = 1_000_000
TWICE_EVERY = 20
"""Each so many updates name a price twice; the later quantity counts."""

# REST's own names: the key of the market's answer, the alternative name, the old socket name.
OLD_NAMES = {"BTC": "XBT", "DOGE": "XDG"}
INTERVALS = (1, 5, 15, 30, 60, 240, 1440)
NEWEST_CANDLES = 720
KEYED = ("XBT", "XDG", "ETH", "LTC", "XRP", "XLM", "ETC", "ZEC")


class _Window:
    """The best levels of a book as all subscribers of a depth hold them."""

    def __init__(self, market: Market, depth: int) -> None:
        self.market, self.depth = market, depth
        self.bids = market.book.bids[:depth]
        self.asks = market.book.asks[:depth]
        self.updates = 0

    def advance(self) -> tuple[Levels, Levels]:
        """Move to the published book; return the changes as the exchange sends them."""
        book, depth = self.market.book, self.depth
        bids = _changes(self.bids, book.bids[:depth], -1)
        asks = _changes(self.asks, book.asks[:depth], +1)
        self.bids, self.asks = book.bids[:depth], book.asks[:depth]
        self.updates += 1
        changed = asks or bids
        if self.updates % TWICE_EVERY == 0 and changed and changed[-1][1]:
            ticks, lots = changed[-1]
            changed.insert(len(changed) - 1, (ticks, lots + 1))
        return bids, asks

    def checksum(self) -> int:
        """Return the CRC32 over the best ten asks and bids, as texts without point and zeros."""
        text = "".join(
            price.replace(".", "").lstrip("0") + quantity.replace(".", "").lstrip("0")
            for levels in (self.asks[:10], self.bids[:10])
            for price, quantity in _texts(self.market, levels)
        )
        return zlib.crc32(text.encode())


class Simulated(Dialect):
    """Kraken."""

    name = "kraken"
    path = "/v2"
    resolution_us = 1
    quotes = (("USDT", "USD"), ("USDT", "EUR"))
    spelling = "{base}/{quote}"
    bases = ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "LTC", "DOT", "LINK")
    greets_with_book = True
    budget = (60, 60.0)
    goodbye_code = (1001, "")

    def __init__(self, markets: Sequence[Market]) -> None:
        super().__init__(markets)
        self._windows: dict[tuple[str, int], _Window] = {}
        self._spoiled: set[str] = set()

    def opened(self, session: Session, now_us: int) -> Iterable[Action]:
        """Send the status, unasked."""
        yield Text(_status("online", 18_125_794_168_470_749_634 + session.number))

    def received(self, session: Session, message: str | bytes, now_us: int) -> Iterable[Action]:
        """Handle a request; each market gets an answer of its own."""
        asked = decoded(message)
        params = asked.get("params") if isinstance(asked, dict) else None
        method = asked.get("method") if isinstance(asked, dict) else None
        stamps: Json = {"time_in": iso(now_us, 6), "time_out": iso(now_us + 20, 6)}
        if isinstance(asked, dict) and "req_id" in asked:
            stamps["req_id"] = asked["req_id"]
        if method == "ping":
            yield Text(encode({"method": "pong", **stamps}))
        elif method not in ("subscribe", "unsubscribe") or not isinstance(params, dict):
            error = {"error": "Unsupported event", "method": str(method), "success": False}
            yield Text(encode({**error, **stamps}))
        elif params.get("channel") == "instrument":
            yield from self._instruments(stamps)
        elif params.get("channel") in ("trade", "book"):
            symbols = params.get("symbol")
            for symbol in symbols if isinstance(symbols, list) else ():
                yield from self._asked(session, method, params, str(symbol), stamps)
        else:
            error = {"error": "Unsupported channel", "method": method, "success": False}
            yield Text(encode({**error, **stamps}))

    def _asked(
        self, session: Session, method: str, params: Json, symbol: str, stamps: Json
    ) -> Iterable[Action]:
        channel, depth = params["channel"], params.get("depth", 10)
        name = f"{channel} {symbol}"
        known = name in session.topics
        if problem := self._problem(method, channel, symbol, depth, known=known):
            error = {"error": problem, "method": method, "success": False, "symbol": symbol}
            yield Text(encode({**error, **stamps}))
            return
        result: Json = {"channel": channel, "symbol": symbol}
        if channel == "book":
            result["depth"] = depth
        if method == "unsubscribe":
            if topic := session.topics.pop(name):
                yield Unsubscribe(topic)
            yield Text(encode({"method": method, "result": result, "success": True, **stamps}))
            return
        snapshot = bool(params.get("snapshot", channel == "book"))
        result["snapshot"] = snapshot
        yield Text(encode({"method": method, "result": result, "success": True, **stamps}))
        topic = Topic("book" if channel == "book" else "trades", symbol, str(depth))
        session.topics[name] = topic
        yield Subscribe(topic)
        if channel == "book" and snapshot:
            yield Text(self._snapshot(symbol, depth), book=symbol)
        elif snapshot:
            newest = self.markets[symbol].newest(SNAPSHOT_TRADES)
            yield Text(_trades("snapshot", newest), newest)

    def _problem(self, method: str, channel: str, symbol: str, depth: Json, *, known: bool) -> str:
        """Return why a request for a market is refused, or an empty text."""
        if symbol not in self.markets:
            return f"Currency pair not supported {symbol}"
        if channel == "book" and depth not in DEPTHS:
            return "Subscription depth not supported"
        if method == "subscribe" and known:
            return "Already subscribed"
        return "" if method == "subscribe" or known else "Subscription Not Found"

    def _instruments(self, stamps: Json) -> Iterable[Action]:
        result = {"channel": "instrument", "snapshot": True}
        yield Text(encode({"method": "subscribe", "result": result, "success": True, **stamps}))
        pairs = [
            {
                "symbol": market.symbol,
                "base": market.listing.base,
                "quote": market.symbol.split("/")[1],
                "status": "online",
                "price_precision": market.listing.price_precision,
                "qty_precision": QUANTITY_PLACES,
            }
            for market in self.markets.values()
        ]
        data = {"assets": [], "pairs": pairs}
        yield Text(encode({"channel": "instrument", "type": "snapshot", "data": data}))

    def keepalive(self, session: Session, now_us: int) -> Iterable[Action]:
        """Send a heartbeat if a subscription has been silent for a second."""
        if session.topics and now_us - session.sent_us >= HEARTBEAT_US:
            yield Text('{"channel":"heartbeat"}')

    def trades(self, topic: Topic, trades: Sequence[Trade]) -> Iterable[Outgoing]:
        """Write all trades of one moment into one frame."""
        yield Outgoing(_trades("update", trades), trades)

    def book(self, topic: Topic, update: BookUpdate) -> Iterable[Outgoing]:
        """Write the changes among the best levels; levels that fall out are not removed."""
        symbol = topic.symbol
        window = self._window(symbol, int(topic.form))
        bids, asks = window.advance()
        if not bids and not asks:
            return
        checksum = window.checksum()
        if symbol in self._spoiled:
            self._spoiled.discard(symbol)
            checksum ^= 1
        data = _book(window, bids, asks, checksum, update.time_us)
        yield Outgoing(encode({"channel": "book", "type": "update", "data": [data]}))

    def _window(self, symbol: str, depth: int) -> _Window:
        if (symbol, depth) not in self._windows:
            self._windows[symbol, depth] = _Window(self.markets[symbol], depth)
        return self._windows[symbol, depth]

    def _snapshot(self, symbol: str, depth: int) -> str:
        window = self._window(symbol, depth)
        # Without subscribers it did not move.
        window.bids, window.asks = window.market.book.bids[:depth], window.market.book.asks[:depth]
        time_us = window.market.book.time_us
        data = _book(window, window.bids, window.asks, window.checksum(), time_us)
        return encode({"channel": "book", "type": "snapshot", "data": [data]})

    def spoil(self, symbol: str) -> None:
        """Make the checksum of the next update wrong."""
        self._spoiled.add(symbol)

    def goodbye(self, session: Session, now_us: int) -> Iterable[Action]:
        """Report that the engine goes into maintenance."""
        yield Text(_status("maintenance", 18_125_794_168_470_749_634 + session.number))

    # REST

    def rest(self, request: Request) -> Answer:
        """Answer; errors come with HTTP 200."""
        match request.path:
            case "/0/public/SystemStatus":
                return _result({"status": "online", "timestamp": iso(request.now_us, 0)})
            case "/0/public/AssetPairs":
                return _result(dict(map(_pair, self.markets.values())))
            case "/0/public/Ticker" if "pair" not in request.query:
                keys = [_pair(each)[0] for each in self.markets.values()]
                volumes = [each.day_volume(request.now_us) for each in self.markets.values()]
                # Of the day, and of the last 24 hours.
                tickers = [{"v": ["0.00000000", volume]} for volume in volumes]
                return _result(dict(zip(keys, tickers, strict=True)))
            case "/0/public/Trades" | "/0/public/Depth" | "/0/public/OHLC":
                pass
            case _:
                return _error("EGeneral:Unknown method")
        pair = request.query.get("pair", "")
        market = self._named(pair)
        if market is None:
            return _error("EQuery:Unknown asset pair")
        try:
            count = request.number("count", 1000, 1000)
            since_ns = request.number("since", 0, 1 << 62) if "since" in request.query else None
        except ValueError:
            return _error("EGeneral:Invalid arguments")
        if request.path == "/0/public/OHLC":
            return _candles(market, pair, request)
        if request.path == "/0/public/Depth":
            return _result({pair: _depth(market, count, request.now_us // 1_000_000)})
        return _history(market, pair, since_ns, max(1, count))

    def throttled(self, retry_s: int, now_us: int, *, banned: bool) -> Answer:
        """Refuse with HTTP 200, as all errors."""
        if banned:
            return _error(f"EService: Throttled: {now_us // 1_000_000 + retry_s}")
        return _error("EAPI:Rate limit exceeded")

    def _named(self, pair: str) -> Market | None:
        """Find a market by any of its names but the old one of the socket."""
        for market in self.markets.values():
            key, facts = _pair(market)
            if pair in (market.symbol, key, facts["altname"]):
                return market
        return None


def _changes(before: Levels, after: Levels, outward: int) -> Levels:
    old, new = dict(before), dict(after)
    changed = [
        (ticks, 0)
        for ticks in old
        if ticks not in new
        and after
        and ((after[-1][0] - ticks) * outward > 0 or len(after) < len(before))
    ]
    return changed + [(ticks, lots) for ticks, lots in after if old.get(ticks) != lots]


def _texts(market: Market, levels: Levels) -> list[tuple[str, str]]:
    places = market.listing.price_precision
    return [
        (market.padded_price(ticks, places), market.padded_quantity(lots, QUANTITY_PLACES))
        for ticks, lots in levels
    ]


def _book(window: _Window, bids: Levels, asks: Levels, checksum: int, time_us: int) -> Json:
    market = window.market

    def written(levels: Levels) -> Json:
        return [{"price": raw(p), "qty": raw(q)} for p, q in _texts(market, levels)]

    return {
        "symbol": market.symbol,
        "bids": written(bids),
        "asks": written(asks),
        "checksum": checksum,
        "timestamp": iso(time_us, 6),
    }


def _trades(kind: str, trades: Sequence[Trade]) -> str:
    data = [
        {
            "symbol": trade.market.symbol,
            "side": trade.side,
            "price": raw(trade.market.padded_price(trade.ticks, 0)),
            "qty": raw(trade.market.padded_quantity(trade.lots, QUANTITY_PLACES)),
            "ord_type": "limit" if trade.number % 3 else "market",
            "trade_id": trade.id,
            "timestamp": iso(trade.time_us, 6),
        }
        for trade in trades
    ]
    return encode({"channel": "trade", "type": kind, "data": data})


def _status(system: str, connection: int) -> str:
    data = {
        "version": "2.0.10",
        "system": system,
        "api_version": "v2",
        "connection_id": connection,
        "upcoming_maintenance": [],
        "emergency": [],
    }
    return encode({"channel": "status", "type": "update", "data": [data]})


def _result(result: Json) -> Answer:
    return answer({"error": [], "result": result})


def _error(text: str) -> Answer:
    return answer({"error": [text]})


def _pair(market: Market) -> tuple[str, Json]:
    base, quote = market.listing.base, market.symbol.split("/")[1]
    old = OLD_NAMES.get(base, base)
    internal = f"X{old}" if old in KEYED else old
    key = f"{internal}Z{quote}" if old in KEYED else f"{old}{quote}"
    return key, {
        "altname": f"{old}{quote}",
        "wsname": f"{old}/{quote}",
        "aclass_base": "currency",
        "base": internal,
        "aclass_quote": "currency",
        "quote": f"Z{quote}",
        "pair_decimals": market.listing.price_precision,
        "lot_decimals": QUANTITY_PLACES,
        "tick_size": f"{10.0**-market.listing.price_precision:.8f}".rstrip("0").rstrip("."),
        "status": "online",
    }


def _nanoseconds(trade: Trade) -> int:
    """Return a time that is the same for trades of one microsecond, and rounds to it."""
    return trade.time_us * 1000 + trade.time_us % 497


def _history(market: Market, pair: str, since_ns: int | None, count: int) -> Answer:
    """Write a page, oldest first; it may end among trades of one time."""
    if since_ns is None:
        page = market.newest(count)
    else:
        later = (trade for trade in market.trades if _nanoseconds(trade) > since_ns)
        page = [trade for _, trade in zip(range(count), later, strict=False)]
    rows = [
        [
            market.padded_price(trade.ticks, 5),
            market.padded_quantity(trade.lots, QUANTITY_PLACES),
            raw(f"{_nanoseconds(trade) // 10**9}.{_nanoseconds(trade) % 10**9 // 100:07}"),
            "b" if trade.is_buy else "s",
            "l" if trade.number % 3 else "m",
            "",
            trade.id,
        ]
        for trade in page
    ]
    last = str(_nanoseconds(page[-1]) if page else since_ns or 0)
    given = _result({pair: rows, "last": last})
    return Answer(given.status, given.body, trades=page)


def _candles(market: Market, pair: str, request: Request) -> Answer:
    """Write the newest candles since a time; the last one is unfinished."""
    minutes = request.number("interval", 1, 21_600)
    if minutes not in INTERVALS:
        return _error("EGeneral:Invalid arguments")
    since_s = request.number("since", 0, 1 << 40)
    groups = wire.candle_groups(market.model, minutes, since_s + 1, 1 << 40)
    candles = wire.joined(groups)[-NEWEST_CANDLES:]
    rows = [
        [
            each.opened_s,
            *(market.padded_price(ticks, 5) for ticks in each[1:5]),
            market.padded_price(each.close, 5),
            market.padded_quantity(each.volume, QUANTITY_PLACES),
            1,
        ]
        for each in candles
    ]
    last = candles[-2].opened_s if len(candles) > 1 else since_s
    return _result({pair: rows, "last": last})


def _depth(market: Market, count: int, second: int) -> Json:
    def written(levels: Levels) -> Json:
        return [
            [market.padded_price(ticks, 5), market.padded_quantity(lots, 3), second]
            for ticks, lots in levels[:count]
        ]

    return {"asks": written(market.book.asks), "bids": written(market.book.bids)}
