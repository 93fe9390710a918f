"""OKX's protocol, version 5: chained books, merged trades, and pings as plain text."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from radar_simulator import wire
from radar_simulator.dialects.common.base import (
    Action,
    Answer,
    Close,
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
)
from radar_simulator.dialects.common.markets import BookUpdate, Levels, Market, Trade

CHANNELS = {
    "/ws/v5/public": ("trades", "books", "books5"),
    "/ws/v5/business": ("trades-all",),
}
# Minutes of a candle; a day of UTC+8 would be 1D.
BARS = {"1m": 1, "5m": 5, "15m": 15, "1H": 60, "4H": 240, "1Dutc": 1440}
SIGN_OF_LIFE_US = 60_000_000
"""A book that does not change gets an empty update after so long."""


class Simulated(Dialect):
    """OKX."""

    name = "okx"
    path = "/ws/v5/public"
    paths = ("/ws/v5/business",)
    spelling = "{base}-{quote}"
    quotes = (("USDT", "USDT"), ("USDT", "USDC"))
    bases = ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "TON", "LTC", "LINK")
    greets_with_book = True
    budget = (20, 2.0)
    goodbye_code = (1001, "service upgrade")
    restart_closes = False

    def __init__(self, markets: Sequence[Market]) -> None:
        super().__init__(markets)
        self._shift = dict.fromkeys(self.markets, 0)
        self._previous: dict[str, int] = {}
        self._alive_us = dict.fromkeys(self.markets, 0)

    def received(self, session: Session, message: str | bytes, now_us: int) -> Iterable[Action]:
        """Handle a request, with an answer for each of its arguments; any message is traffic."""
        session.next_us = now_us
        if message == "ping":
            yield Text("pong")
            return
        asked = decoded(message)
        match asked:
            case {"op": "subscribe" | "unsubscribe" as op, "args": list(args)}:
                tag = {"id": asked["id"]} if isinstance(asked.get("id"), str) else {}
                for arg in args:
                    yield from self._asked(session, op, arg, tag)
            case _:
                text = message if isinstance(message, str) else message.decode(errors="replace")
                yield Text(_error(session, "60012", f"Invalid request: {text[:200]}"))

    def _asked(self, session: Session, op: str, arg: Json, tag: Json) -> Iterable[Action]:
        given = arg if isinstance(arg, dict) else {}
        channel, symbol = str(given.get("channel")), str(given.get("instId"))
        if channel not in CHANNELS.get(session.path, ()) or symbol not in self.markets:
            reason = f"Subscribe failed, wrong URL or channel:{channel},instId:{symbol}"
            help_text = "doesn't exist. Please use the correct URL, channel and parameters"
            yield Text(_error(session, "60018", f"{reason} {help_text} referring to API document."))
            return
        name, market = f"{channel} {symbol}", self.markets[symbol]
        reply = {**tag, "event": op, "arg": {"channel": channel, "instId": symbol}}
        yield Text(encode({**reply, "connId": f"{session.number:08x}"}))
        if op == "unsubscribe":
            if topic := session.topics.pop(name, None):
                yield Unsubscribe(topic)
            return
        topic = Topic("book" if channel.startswith("books") else "trades", symbol, channel)
        session.topics[name] = topic
        yield Subscribe(topic)
        if channel == "books":
            yield Text(self._snapshot(market), book=symbol)
        elif channel == "books5":
            yield Text(self._five(market), book=symbol)
        elif newest := market.newest(1):
            # The newest trade comes once more.
            yield Text(next(iter(self.trades(topic, newest))).payload, newest)

    def keepalive(self, session: Session, now_us: int) -> Iterable[Action]:
        """Close a connection without traffic."""
        newest_us = max(session.opened_us, session.next_us, session.sent_us)
        if session.pong_s and now_us - newest_us > session.pong_s * 1e6:
            yield Close(4004, "No data received in 30s")

    def goodbye(self, session: Session, now_us: int) -> Iterable[Action]:
        """Announce the end."""
        notice = {
            "event": "notice",
            "code": "64008",
            "msg": "The connection will soon be closed for a service upgrade. Please reconnect.",
            "connId": f"{session.number:08x}",
        }
        yield Text(encode(notice))

    # The market

    def trades(self, topic: Topic, trades: Sequence[Trade]) -> Iterable[Outgoing]:
        """Write one frame a trade, or (`trades`) one for those of an order at one price."""
        arg = {"channel": topic.form, "instId": topic.symbol}

        def match(trade: Trade) -> tuple[int, int]:
            return trade.order, trade.ticks if topic.form == "trades" else trade.number

        for _, group in groupby(trades, key=match):
            merged = list(group)
            row = _trade(merged[-1], sum(trade.lots for trade in merged))
            if topic.form == "trades":
                row |= {"count": str(len(merged)), "seqId": merged[-1].number}
            yield Outgoing(encode({"arg": arg, "data": [row]}), merged)

    def book(self, topic: Topic, update: BookUpdate) -> Iterable[Outgoing]:
        """Write a change with the number before it, or the five best levels."""
        market = update.market
        changed = bool(update.bids or update.asks)
        if topic.form == "books5":
            if changed:
                yield Outgoing(self._five(market))
            return
        before = self._previous.get(topic.symbol, update.previous_id - self._shift[topic.symbol])
        number = self._number(market)
        self._previous[topic.symbol] = number
        self._alive_us[topic.symbol] = update.time_us
        data = {
            **_sides(market, update.bids, update.asks),
            "ts": str(update.time_us // 1000),
            **_checksum(market),
            "prevSeqId": before,
            "seqId": number,
        }
        arg = {"channel": "books", "instId": topic.symbol}
        yield Outgoing(encode({"arg": arg, "action": "update", "data": [data]}))

    def due(self, now_us: int) -> Iterable[str]:
        """Yield the books that give a sign of life."""
        for symbol, market in self.markets.items():
            if now_us - max(self._alive_us[symbol], market.book.time_us) > SIGN_OF_LIFE_US:
                self._alive_us[symbol] = now_us
                yield symbol

    def restart(self) -> None:
        """Let the numbers of all books begin anew; the next update still names the old one."""
        for symbol, market in self.markets.items():
            self._previous[symbol] = self._number(market)
            self._shift[symbol] = market.book.id - 3

    def _number(self, market: Market) -> int:
        return market.book.id - self._shift[market.symbol]

    def _snapshot(self, market: Market) -> str:
        # The chain goes on from it: after a reset that nobody has seen yet, from the old number.
        number = self._previous.get(market.symbol, self._number(market))
        if market.symbol not in self._previous or self._number(market) > number:
            number = self._previous[market.symbol] = self._number(market)
        data = {
            **_sides(market, market.book.bids, market.book.asks),
            "ts": str(market.book.time_us // 1000),
            **_checksum(market),
            "prevSeqId": -1,
            "seqId": number,
        }
        arg = {"channel": "books", "instId": market.symbol}
        return encode({"arg": arg, "action": "snapshot", "data": [data]})

    def _five(self, market: Market) -> str:
        data = {
            **_sides(market, market.book.bids[:5], market.book.asks[:5]),
            "instId": market.symbol,
            "ts": str(market.book.time_us // 1000),
            **_checksum(market),
            "seqId": self._number(market),
        }
        return encode({"arg": {"channel": "books5", "instId": market.symbol}, "data": [data]})

    # REST

    def rest(self, request: Request) -> Answer:
        """Answer the market list, trades and books."""
        if request.path == "/api/v5/public/instruments":
            rows = [_instrument(market, "live") for market in self.markets.values()]
            suspended = {**rows[0], "instId": "LUNA-USDT", "baseCcy": "LUNA", "state": "suspend"}
            return _data([*rows, suspended])
        if request.path == "/api/v5/market/tickers":
            return _data([_ticker(each, request.now_us) for each in self.markets.values()])
        market = self.markets.get(request.query.get("instId", ""))
        if market is None:
            text = "Instrument ID, Instrument ID code, or Spread ID doesn't exist."
            return answer({"code": "51001", "data": [], "msg": text})
        match request.path:
            case "/api/v5/market/books":
                size = request.number("sz", 1, 400)
                return _data([self._rest_book(market, size)])
            case "/api/v5/market/trades":
                trades = market.newest(request.number("limit", 100, 500))
            case "/api/v5/market/history-candles" | "/api/v5/market/candles":
                return _candles(market, request)
            case "/api/v5/market/history-trades" if request.query.get("type") == "2":
                # By time, only earlier trades can be asked for.
                after_ms = request.number("after", 1 << 62, 1 << 62)
                earlier = [each for each in market.trades if each.time_us // 1000 < after_ms]
                trades = earlier[-request.number("limit", 100, 100) :]
            case "/api/v5/market/history-trades" if "after" in request.query:
                after = request.number("after", 0, 1 << 62)
                trades = market.before_id(after, request.number("limit", 100, 100))
            case "/api/v5/market/history-trades":
                trades = market.newest(request.number("limit", 100, 100))
            case _:
                return answer({"code": "404", "data": [], "msg": "Not Found"}, status=404)
        return _data([_trade(trade, trade.lots) for trade in reversed(trades)], trades)

    def _rest_book(self, market: Market, size: int) -> Json:
        return {
            **_sides(market, market.book.bids[:size], market.book.asks[:size]),
            "ts": str(market.book.time_us // 1000),
            "seqId": self._number(market),
        }

    def throttled(self, retry_s: int, now_us: int, *, banned: bool) -> Answer:
        """Refuse with 429 and a code."""
        body = {"code": "50011", "data": [], "msg": "Too Many Requests"}
        return Answer(429, encode(body).encode())


def _error(session: Session, code: str, text: str) -> str:
    facts = {"event": "error", "msg": text, "code": code}
    return encode({**facts, "connId": f"{session.number:08x}"})


def _data(rows: Json, trades: Sequence[Trade] = ()) -> Answer:
    return answer({"code": "0", "msg": "", "data": rows}, trades)


def _ticker(market: Market, now_us: int) -> Json:
    return {
        "instType": "SPOT",
        "instId": market.symbol,
        "last": market.price(market.model.last_ticks()),
        "vol24h": market.day_volume(now_us),
        "ts": str(now_us // 1000),
    }


def _candles(market: Market, request: Request) -> Answer:
    """Write candles, newest first; the newest one may be unfinished."""
    if (minutes := BARS.get(request.query.get("bar", "1m"))) is None:
        return answer({"code": "51000", "data": [], "msg": "Parameter bar  error"})
    after_ms = request.number("after", 1 << 62, 1 << 62)
    last_s = -(-after_ms // 1000) - 1
    candles = wire.joined(wire.candle_groups(market.model, minutes, 0, last_s))
    rows = [
        [
            str(each.opened_s * 1000),
            *(market.price(ticks) for ticks in each[1:5]),
            market.quantity(each.volume),
            "0",
            "0",
            "1" if (each.opened_s + minutes * 60) * 1_000_000 <= request.now_us else "0",
        ]
        for each in candles[-request.number("limit", 100, 100) :]
    ]
    return _data(rows[::-1])


def _trade(trade: Trade, lots: int) -> Json:
    return {
        "instId": trade.market.symbol,
        "tradeId": str(trade.id),
        "px": trade.price,
        "sz": trade.market.quantity(lots),
        "side": trade.side,
        "ts": str(trade.time_us // 1000),
        "source": "0",
    }


def _sides(market: Market, bids: Levels, asks: Levels) -> Json:
    def written(levels: Levels) -> Json:
        return [
            [market.price(ticks), market.quantity(lots), "0", "1" if lots else "0"]
            for ticks, lots in levels
        ]

    return {"asks": written(asks), "bids": written(bids)}


def _checksum(market: Market) -> Json:
    # The exchange has retired it: always 0, or absent.
    return {"checksum": 0} if market.number % 2 else {}


def _instrument(market: Market, state: str) -> Json:
    listing = market.listing
    return {
        "instType": "SPOT",
        "instId": market.symbol,
        "baseCcy": listing.base,
        "quoteCcy": market.symbol.split("-")[1],
        "tickSz": f"{10.0**-listing.price_precision:.8f}",
        "lotSz": f"{10.0**-listing.amount_precision:.8f}",
        "minSz": f"{10.0**-listing.amount_precision:.8f}",
        "state": state,
    }
