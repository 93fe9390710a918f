"""Binance's spot protocol: streams, acknowledged whatever they name, and REST with weights."""

import time
from collections.abc import Iterable, Sequence

from radar_simulator import wire
from radar_simulator.dialects.common.base import (
    Action,
    Answer,
    Close,
    Dialect,
    Json,
    Outgoing,
    Ping,
    Request,
    Session,
    Subscribe,
    Text,
    Topic,
    Unsubscribe,
    answer,
    decoded,
    encode,
)
from radar_simulator.dialects.common.markets import BookUpdate, Levels, Market, Trade

MAX_STREAMS = 1024
INTERVALS = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "1d": 1440}
WHOLE = {f"depth{levels}": levels for levels in (5, 10, 20)}


class Simulated(Dialect):
    """Binance."""

    name = "binance"
    path = "/stream"
    paths = ("/ws", "/stream/", "/ws/")
    prefixes = ("/ws/",)
    quotes = (("USDT", "USDT"), ("USDT", "USDC"))
    bases = ("BTC", "ETH", "SOL", "XRP", "DOGE", "BNB", "ADA", "TRX", "LINK")
    greets_with_book = True
    budget = (6000, 60.0)
    goodbye_code = (1001, "server shutdown")

    def __init__(self, markets: Sequence[Market]) -> None:
        super().__init__(markets)
        self._snapshots = 0
        self._used: list[tuple[int, int]] = []

    # Streams

    def opened(self, session: Session, now_us: int) -> Iterable[Action]:
        """Subscribe the streams of the address."""
        session.next_us = now_us + int(session.ping_s * 1e6)
        bare = session.path.removeprefix("/ws").strip("/") if session.path[:3] == "/ws" else ""
        streams = session.query.get("streams", "") or bare
        for stream in streams.split("/") if streams else ():
            yield from self._subscribe(session, stream)

    def received(self, session: Session, message: str | bytes, now_us: int) -> Iterable[Action]:
        """Handle a request; more than five messages a second end the connection."""
        if session.too_fast(now_us, 5, 1_000_000):
            yield Close(1008, "Too many requests")
            return
        asked = decoded(message)
        if not isinstance(asked, dict):
            yield Close(1008, "Invalid request")
        elif type(asked.get("id")) is int:  # a text got no answer either
            yield from self._answer(session, asked, asked["id"])

    def _answer(self, session: Session, asked: Json, request_id: int) -> Iterable[Action]:
        params = asked.get("params") or []
        match asked.get("method"):
            case "SUBSCRIBE" if _texts(params):
                if len({*session.topics, *params}) > MAX_STREAMS:
                    yield _refusal(4, "Too many subscriptions", request_id)
                    return
                for stream in params:
                    yield from self._subscribe(session, stream)
                yield Text(encode({"result": None, "id": request_id}))
            case "UNSUBSCRIBE" if _texts(params):
                for stream in params:
                    if topic := session.topics.pop(stream, None):
                        yield Unsubscribe(topic)
                yield Text(encode({"result": None, "id": request_id}))
            case "LIST_SUBSCRIPTIONS":
                yield Text(encode({"result": list(session.topics), "id": request_id}))
            case method:
                yield _refusal(2, f"Invalid request: unknown variant `{method}`", request_id)

    def _subscribe(self, session: Session, stream: str) -> Iterable[Action]:
        """Accept any stream; the ones that do not exist never send a frame."""
        if stream in session.topics:
            return
        name, _, form = stream.partition("@")
        form = form.removesuffix("@100ms").removesuffix("@1000ms")
        market = self.markets.get(name.upper())
        topic = None
        if name == name.lower() and market and (form in ("trade", "depth") or form in WHOLE):
            envelope = "/stream" if session.path[:7] == "/stream" else "/ws"
            micro = session.query.get("timeUnit", "").upper() == "MICROSECOND"
            kind = "trades" if form == "trade" else "book"
            topic = Topic(
                "trades" if kind == "trades" else "book",
                market.symbol,
                f"{stream} {envelope} {'us' if micro else 'ms'}",
            )
            yield Subscribe(topic)
        session.topics[stream] = topic

    def trades(self, topic: Topic, trades: Sequence[Trade]) -> Iterable[Outgoing]:
        """Write one frame a trade."""
        for trade in trades:
            moment = _moment(topic, trade.time_us)
            event = {
                "e": "trade",
                "E": moment,
                "s": topic.symbol,
                "t": trade.id,
                "p": trade.market.padded_price(trade.ticks, 8),
                "q": trade.market.padded_quantity(trade.lots, 8),
                "T": moment,
                "m": not trade.is_buy,  # the buyer was the maker: the taker sold
                "M": True,
            }
            yield Outgoing(_wrapped(topic, event), (trade,))

    def book(self, topic: Topic, update: BookUpdate) -> Iterable[Outgoing]:
        """Write a change, or the best levels, which name no market."""
        market, form = update.market, topic.form.split("@")[1].split(" ")[0]
        if (levels := WHOLE.get(form)) is not None:
            whole = {
                "lastUpdateId": update.last_id,
                "bids": _levels(market, market.book.bids[:levels]),
                "asks": _levels(market, market.book.asks[:levels]),
            }
            yield Outgoing(_wrapped(topic, whole))
            return
        event = {
            "e": "depthUpdate",
            "E": _moment(topic, update.time_us),
            "s": topic.symbol,
            "U": update.first_id,
            "u": update.last_id,
            "b": _levels(market, update.bids),
            "a": _levels(market, update.asks),
        }
        yield Outgoing(_wrapped(topic, event))

    def book_named(self, payload: str | bytes) -> str:
        """Return the market of a change of a book."""
        found = decoded(payload)
        match found:
            case {"data": {"e": "depthUpdate", "s": str(symbol)}} | {
                "e": "depthUpdate",
                "s": str(symbol),
            }:
                return symbol if symbol in self.markets else ""
        return ""

    def keepalive(self, session: Session, now_us: int) -> Iterable[Action]:
        """Ping with the time as payload, and close without an answer."""
        if session.waiting_us and now_us - session.waiting_us > session.pong_s * 1e6 > 0:
            yield Close(1008, "Pong timeout")
        elif session.ping_s and now_us >= session.next_us:
            session.next_us = now_us + int(session.ping_s * 1e6)
            session.waiting_us = session.waiting_us or now_us
            yield Ping(str(now_us // 1000).encode())

    def ponged(self, session: Session, now_us: int) -> Iterable[Action]:
        """Count a pong among the client's messages."""
        session.waiting_us = 0
        if session.too_fast(now_us, 5, 1_000_000):
            yield Close(1008, "Too many requests")

    def goodbye(self, session: Session, now_us: int) -> Iterable[Action]:
        """Announce the shutdown, unasked."""
        event: Json = {"e": "serverShutdown", "E": now_us // 1000}
        if session.path[:7] == "/stream":
            event = {"stream": "!serverShutdown", "data": event}
        yield Text(encode(event))

    # REST

    def rest(self, request: Request) -> Answer:
        """Answer the market list, trades and snapshots."""
        match request.path:
            case "/api/v3/ping":
                return answer({})
            case "/api/v3/time":
                return answer({"serverTime": request.now_us // 1000})
            case "/api/v3/exchangeInfo":
                return answer(self._exchange_info(request))
            case "/api/v3/ticker/24hr" if "symbol" not in request.query:
                return answer([_ticker(each, request.now_us) for each in self.markets.values()])
            case "/api/v3/depth" | "/api/v3/trades" | "/api/v3/historicalTrades" | "/api/v3/klines":
                pass
            case _:
                return Answer(404, b"<html><body><h2>404 Not found</h2></body></html>")
        market = self.markets.get(request.query.get("symbol", ""))
        if market is None:
            return answer({"code": -1121, "msg": "Invalid symbol."}, status=400)
        if request.path == "/api/v3/depth":
            return answer(self._snapshot(market, request.number("limit", 100, 5000)))
        limit = request.number("limit", 500, 1000)
        if request.path == "/api/v3/klines":
            return _klines(market, request, limit)
        trades = market.newest(limit)
        if request.path == "/api/v3/historicalTrades" and "fromId" in request.query:
            trades = market.from_id(request.number("fromId", 0, 1 << 62), limit)
        unit = 1 if "MICROSECOND" in request.headers.get("x-mbx-time-unit", "").upper() else 1000
        return answer([_row(trade, unit) for trade in trades], trades)

    def cost(self, request: Request) -> int:
        """Return a request's weight."""
        if request.path == "/api/v3/depth":
            limit = request.number("limit", 100, 5000)
            return next(
                w for most, w in ((100, 5), (500, 25), (1000, 50), (5000, 250)) if limit <= most
            )
        weights = {
            "/api/v3/exchangeInfo": 20,
            "/api/v3/ping": 1,
            "/api/v3/time": 1,
            "/api/v3/klines": 2,
        }
        return weights.get(request.path, 25)

    def throttled(self, retry_s: int, now_us: int, *, banned: bool) -> Answer:
        """Refuse: 429 first, 418 if the client goes on."""
        until = now_us // 1000 + retry_s * 1000
        text = (
            f"Way too much request weight used; IP banned until {until}."
            if banned
            else (
                "Too much request weight used; current limit is 6000 request weight per 1 MINUTE."
            )
        )
        body = encode({"code": -1003, "msg": text}).encode()
        return Answer(418 if banned else 429, body, {"Retry-After": str(retry_s)})

    def _snapshot(self, market: Market, limit: int) -> Json:
        """Write a book whose number is that of an event, or lies inside the next one, in turn."""
        self._snapshots += 1
        book = market.book
        shown = (book.id, book.bids, book.asks) if self._snapshots % 2 else book.inside()
        return {
            "lastUpdateId": shown[0],
            "bids": _levels(market, shown[1][:limit]),
            "asks": _levels(market, shown[2][:limit]),
        }

    def _exchange_info(self, request: Request) -> Json:
        symbols = [_symbol(market) for market in self.markets.values()]
        if request.query.get("symbolStatus") != "TRADING":
            # One that does not trade, which a recorder leaves alone.
            symbols.append(
                {**symbols[0], "symbol": "LUNAUSDT", "baseAsset": "LUNA", "status": "BREAK"}
            )
        return {
            "timezone": "UTC",
            "serverTime": int(time.time() * 1000) if not request.now_us else request.now_us // 1000,
            "rateLimits": [
                {
                    "rateLimitType": "REQUEST_WEIGHT",
                    "interval": "MINUTE",
                    "intervalNum": 1,
                    "limit": 6000,
                }
            ],
            "exchangeFilters": [],
            "symbols": symbols,
        }


def _ticker(market: Market, now_us: int) -> Json:
    return {
        "symbol": market.symbol,
        "lastPrice": market.price(market.model.last_ticks()),
        "volume": market.day_volume(now_us),
        "openTime": now_us // 1000 - 86_400_000,
        "closeTime": now_us // 1000,
    }


def _klines(market: Market, request: Request, limit: int) -> Answer:
    """Write candles, oldest first: from a time on, else the newest ones."""
    if (minutes := INTERVALS.get(request.query.get("interval", ""))) is None:
        return answer({"code": -1120, "msg": "Invalid interval."}, status=400)
    first_ms = request.number("startTime", 0, 1 << 62)
    last_ms = request.number("endTime", request.now_us // 1000, 1 << 62)
    groups = wire.candle_groups(market.model, minutes, -(-first_ms // 1000), last_ms // 1000)
    candles = wire.joined(groups)
    chosen = candles[:limit] if "startTime" in request.query else candles[-limit:]
    unit = 1 if "MICROSECOND" in request.headers.get("x-mbx-time-unit", "").upper() else 1000
    rows = [
        [
            each.opened_s * 1_000_000 // unit,
            *(market.padded_price(ticks, 8) for ticks in each[1:5]),
            market.padded_quantity(each.volume, 8),
            ((each.opened_s + minutes * 60) * 1_000_000 - unit) // unit,
            "0.00000000",
            0,
            "0.00000000",
            "0.00000000",
            "0",
        ]
        for each in chosen
    ]
    return answer(rows)


def _texts(params: Json) -> bool:
    return isinstance(params, list) and all(isinstance(each, str) for each in params)


def _refusal(code: int, text: str, request_id: int) -> Text:
    return Text(encode({"error": {"code": code, "msg": text}, "id": request_id}))


def _moment(topic: Topic, time_us: int) -> int:
    return time_us if topic.form.endswith("us") else time_us // 1000


def _wrapped(topic: Topic, event: Json) -> str:
    stream, envelope, _ = topic.form.split(" ")
    return encode({"stream": stream, "data": event} if envelope == "/stream" else event)


def _levels(market: Market, levels: Levels) -> Json:
    return [
        [market.padded_price(ticks, 8), market.padded_quantity(lots, 8)] for ticks, lots in levels
    ]


def _row(trade: Trade, unit: int) -> Json:
    market = trade.market
    scale = market.listing.product_places
    return {
        "id": trade.id,
        "price": market.padded_price(trade.ticks, 8),
        "qty": market.padded_quantity(trade.lots, 8),
        "quoteQty": f"{trade.ticks * trade.lots / 10**scale:.8f}",
        "time": trade.time_us // unit,
        "isBuyerMaker": not trade.is_buy,
        "isBestMatch": True,
    }


def _symbol(market: Market) -> Json:
    listing = market.listing
    return {
        "symbol": market.symbol,
        "status": "TRADING",
        "baseAsset": listing.base,
        "baseAssetPrecision": 8,
        "quoteAsset": market.symbol.removeprefix(listing.base),
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": f"{10.0**-listing.price_precision:.8f}"},
            {"filterType": "LOT_SIZE", "stepSize": f"{10.0**-listing.amount_precision:.8f}"},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }
