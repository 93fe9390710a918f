"""Exir's protocol (HollaEx): snapshots without acknowledgement; the client keeps it alive."""

from collections.abc import Iterable, Sequence

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
    TopicKind,
    Unsubscribe,
    answer,
    decoded,
    encode,
    shortest,
)
from radar_simulator.dialects.common.markets import BookUpdate, Levels, Market, Trade, iso

LEVELS = 10
KEPT = 50
TOPICS: dict[str, TopicKind] = {"trade": "trades", "orderbook": "book"}


class Simulated(Dialect):
    """Exir."""

    name = "exir"
    path = "/stream"
    spelling = "{lower}-{quote}"
    quotes = (("TMN", "irt"), ("USDT", "usdt"))
    bases = ("BTC", "ETH", "DOGE", "TRX", "XRP", "BNB", "SHIB")
    greets_with_book = True
    ids_are_numbers = False
    goodbye_code = (1000, "")
    restart_s = 3.0

    def native_id(self, trade: Trade) -> str:
        """Trades have no ID."""
        return ""

    def opened(self, session: Session, now_us: int) -> Iterable[Action]:
        """Greet."""
        yield Text('{"message":"Welcome!"}')

    def received(self, session: Session, message: str | bytes, now_us: int) -> Iterable[Action]:
        """Handle a request; an error in one argument leaves the rest of the message undone."""
        session.next_us = now_us
        asked = decoded(message)
        if isinstance(asked, dict) and asked.get("op") == "ping":
            yield Text('{"message":"pong"}')
            return
        if session.too_fast(now_us, 20, 3_000_000):
            rate = len(session.received_us)
            yield _error(
                f"Error: Rate limit exceeded for {session.number:08x}. Please slow down."
                f" Maximum 20 messages per 3 seconds. Your current rate: {rate}"
            )
            return
        match asked:
            case {"op": "subscribe" | "unsubscribe" as op, "args": list(args)}:
                for arg in args:
                    actions = list(self._asked(session, op, str(arg)))
                    yield from actions
                    if any(isinstance(a, Text) and "error" in a.payload[:8] for a in actions):
                        return
            case _:
                yield _error("unsupported message type" if asked else "Error: wrong input")

    def _asked(self, session: Session, op: str, arg: str) -> Iterable[Action]:
        name, _, symbol = arg.partition(":")
        if name not in TOPICS:
            yield _error(f"Topic {name} is not supported")
            return
        if symbol and symbol not in self.markets:
            yield _error("Invalid symbol")
            return
        for each in [symbol] if symbol else self.markets:
            channel = f"{name}:{each}"
            if op == "unsubscribe":
                if topic := session.topics.pop(channel, None):
                    yield Unsubscribe(topic)
                yield Text(encode({"message": f"Unsubscribed from channel {channel}"}))
            elif channel in session.topics:
                yield _error(f"Already subscribed to channel {channel}")
                return
            else:
                topic = session.topics[channel] = Topic(TOPICS[name], each)
                yield Subscribe(topic)
                yield from self._partial(name, self.markets[each])

    def _partial(self, name: str, market: Market) -> Iterable[Action]:
        if name == "orderbook":
            yield Text(_book(market), book=market.symbol)
        elif newest := market.newest(KEPT):
            yield Text(_trades("partial", newest), newest)

    def keepalive(self, session: Session, now_us: int) -> Iterable[Action]:
        """Close a connection whose client has sent no message for a minute."""
        limit_us = 2 * session.pong_s * 1e6
        if limit_us and now_us - max(session.opened_us, session.next_us) > limit_us:
            yield Close(1000, "")

    def trades(self, topic: Topic, trades: Sequence[Trade]) -> Iterable[Outgoing]:
        """Write new trades, newest first."""
        yield Outgoing(_trades("insert", trades), trades)

    def book(self, topic: Topic, update: BookUpdate) -> Iterable[Outgoing]:
        """Write the whole book."""
        yield Outgoing(_book(update.market))

    def refusal(self, now_us: int) -> Answer:
        """Refuse a handshake while the upstream hub is lost."""
        return answer({"message": "Hub websocket is disconnected"}, status=400)

    # REST

    def rest(self, request: Request) -> Answer:
        """Answer the market list, trades and books."""
        symbol = request.query.get("symbol", "")
        market = self.markets.get(symbol)
        markets = self.markets.values()
        match request.path:
            case "/v2/constants":
                pairs = {each.symbol: _pair(each) for each in markets}
                return answer({"coins": {}, "pairs": pairs})
            case "/v2/tickers":
                tickers = {each.symbol: _ticker(each, request.now_us) for each in markets}
                return answer(tickers)
            case "/v2/orderbooks":
                chosen = [market] if market else list(self.markets.values())
                return answer({each.symbol: _levels(each) for each in chosen})
            case "/v2/trades" | "/v2/orderbook" if market is None:
                return answer({"message": "Invalid symbol"}, status=400)
            case "/v2/orderbook" if market:
                return answer({symbol: _levels(market)})
            case "/v2/trades" if market:
                trades = market.newest(KEPT)
                return answer({symbol: _rows(trades)}, trades)
            case _:
                return answer({"message": "Not found"}, status=404)


def _error(text: str) -> Text:
    return Text(encode({"error": text}))


def _ticker(market: Market, now_us: int) -> Json:
    last = market.newest(1)
    return {
        "symbol": market.symbol,
        "last": shortest(market.price(market.model.last_ticks())),
        "volume": shortest(market.day_volume(now_us)),
        # Of the last trade.
        "time": iso(last[0].time_us if last else now_us, 3),
    }


def _rows(trades: Sequence[Trade]) -> Json:
    return [
        {
            "size": shortest(trade.quantity),
            "price": shortest(trade.price),
            "side": trade.side,
            "timestamp": iso(trade.time_us, 3),
        }
        for trade in reversed(trades)
    ]


def _trades(action: str, trades: Sequence[Trade]) -> str:
    frame = {"topic": "trade", "action": action, "symbol": trades[0].market.symbol}
    second = trades[-1].time_us // 1_000_000
    return encode({**frame, "data": _rows(trades), "time": second})


def _levels(market: Market) -> Json:
    def written(levels: Levels) -> Json:
        return [
            [shortest(market.price(ticks)), shortest(market.quantity(lots))]
            for ticks, lots in levels[:LEVELS]
        ]

    return {
        "bids": written(market.book.bids),
        "asks": written(market.book.asks),
        "timestamp": iso(market.book.time_us, 3),
    }


def _book(market: Market) -> str:
    frame = {"topic": "orderbook", "action": "partial", "symbol": market.symbol}
    second = market.book.time_us // 1_000_000
    return encode({**frame, "data": _levels(market), "time": second})


def _pair(market: Market) -> Json:
    base, quote = market.symbol.split("-")
    return {
        "id": market.number,
        "name": market.symbol,
        "pair_base": base,
        "pair_2": quote,
        "increment_size": 10.0**-market.listing.amount_precision,
        "increment_price": 10.0**-market.listing.price_precision,
        "active": True,
        "is_public": True,
    }
