"""Coinbase Exchange's protocol: the maker's side, an old match first, heartbeats with numbers."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec import Raw

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
    TopicKind,
    Unsubscribe,
    answer,
    decoded,
    encode,
)
from radar_simulator.dialects.common.markets import BookUpdate, Levels, Market, Trade, iso

CHANNELS: dict[str, TopicKind] = {"matches": "trades", "level2_batch": "book"}
SHOWN = {"level2_batch": "level2_50"}
"""Names that differ in the acknowledgement."""
CLOSED = ("level2", "level3", "full")
"""Channels that need an account."""
FIRST_WITHIN_US = 5_000_000
HEARTBEAT_US = 1_000_000
PAGE = 1_000
CANDLES = 300
GRANULARITIES = {"60": 1, "300": 5, "900": 15, "3600": 60, "21600": 360, "86400": 1_440}
"""Minutes by the seconds of a request."""


class Simulated(Dialect):
    """Coinbase Exchange."""

    name = "coinbase"
    path = "/"
    resolution_us = 1
    spelling = "{base}-{quote}"
    quotes = (("USDT", "USD"), ("USDT", "USDT"))
    bases = ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "LTC", "LINK", "DOT")
    greets_with_book = True
    budget = (100, 10.0)

    def received(self, session: Session, message: str | bytes, now_us: int) -> Iterable[Action]:
        """Handle a request; one wrong market or channel refuses all of it."""
        match decoded(message):
            case {"type": "subscribe" | "unsubscribe" as kind, "channels": list(channels)} as asked:
                named = asked.get("product_ids")
                symbols = [str(each) for each in named] if isinstance(named, list) else []
                yield from self._asked(session, kind, [str(each) for each in channels], symbols)
            case _:
                yield _error("Malformed JSON", "")

    def _asked(
        self, session: Session, kind: str, channels: Sequence[str], symbols: Sequence[str]
    ) -> Iterable[Action]:
        if wrong := next((each for each in symbols if each not in self.markets), None):
            yield _error("Failed to subscribe", f"{wrong} is not a valid product")
            return
        if closed := next((each for each in channels if each in CLOSED), None):
            reason = "level2, level3, and full channels now require authentication."
            yield _error("Failed to subscribe", f"{closed}: {reason}")
            return
        session.greeted = True
        actions: list[Action] = []
        for channel in channels:
            for symbol in symbols:
                actions += self._one(session, kind, channel, symbol)
        yield Text(self._subscriptions(session))
        yield from actions

    def _one(self, session: Session, kind: str, channel: str, symbol: str) -> Iterable[Action]:
        name = f"{channel} {symbol}"
        if kind == "unsubscribe":
            topic = session.topics.pop(name, None)
            return [Unsubscribe(topic)] if topic else []
        if name in session.topics:
            return []
        session.topics[name] = None
        if channel not in CHANNELS:
            return []  # a heartbeat
        topic = session.topics[name] = Topic(CHANNELS[channel], symbol)
        market = self.markets[symbol]
        if topic.kind == "book":
            return [Subscribe(topic), Text(_snapshot(market), book=symbol)]
        newest = market.newest(1)
        first = [Text(encode(_match(newest[0], "last_match")), newest)] if newest else []
        return [Subscribe(topic), *first]

    def _subscriptions(self, session: Session) -> str:
        channels: dict[str, list[str]] = {}
        for name in session.topics:
            channel, _, symbol = name.partition(" ")
            channels.setdefault(SHOWN.get(channel, channel), []).append(symbol)
        rows = [
            {"name": name, "product_ids": symbols, "account_ids": None}
            for name, symbols in channels.items()
        ]
        return encode({"type": "subscriptions", "channels": rows})

    def keepalive(self, session: Session, now_us: int) -> Iterable[Action]:
        """Send heartbeats; close a connection that has not subscribed in time."""
        if not session.greeted and now_us - session.opened_us > FIRST_WITHIN_US:
            yield Close(1000, "")
            return
        if now_us < session.next_us:
            return
        session.next_us = now_us + HEARTBEAT_US
        for name in session.topics:
            channel, _, symbol = name.partition(" ")
            newest = self.markets[symbol].newest(1)
            if channel == "heartbeat" and newest:
                yield Text(
                    encode(
                        {
                            "type": "heartbeat",
                            "sequence": self.markets[symbol].book.id,
                            "last_trade_id": newest[0].id,
                            "product_id": symbol,
                            "time": iso(now_us, 6),
                        }
                    )
                )

    # The market

    def trades(self, topic: Topic, trades: Sequence[Trade]) -> Iterable[Outgoing]:
        """Write one frame a trade."""
        return (Outgoing(encode(_match(trade, "match")), [trade]) for trade in trades)

    def book(self, topic: Topic, update: BookUpdate) -> Iterable[Outgoing]:
        """Write the changed levels; a size of 0 removes one."""
        market = update.market
        changes = [
            [side, market.price(ticks), market.quantity(lots)]
            for side, levels in (("buy", update.bids), ("sell", update.asks))
            for ticks, lots in levels
        ]
        frame = {"type": "l2update", "product_id": topic.symbol, "changes": changes}
        yield Outgoing(encode({**frame, "time": iso(update.time_us, 6)}))

    # REST

    def rest(self, request: Request) -> Answer:
        """Answer the market list, trades and candles."""
        if request.path == "/products":
            rows = [_product(market) for market in self.markets.values()]
            return answer([*rows, {**rows[0], "id": "OLD-USD", "status": "delisted"}])
        if request.path == "/products/volume-summary":
            return answer([_summary(each, request.now_us) for each in self.markets.values()])
        start, _, rest = request.path.removeprefix("/products/").partition("/")
        market = self.markets.get(start)
        if market is not None and rest == "candles":
            return _candles(market, request)
        if market is None or rest != "trades":
            return answer({"message": "NotFound"}, status=404)
        count = request.number("limit", 100, PAGE)
        after = request.number("after", 0, 1 << 62)
        trades = market.before_id(after, count) if after else market.newest(count)
        return answer([_row(trade) for trade in reversed(trades)], trades)


def _error(message: str, reason: str) -> Text:
    return Text(encode({"type": "error", "message": message, "reason": reason}))


def _summary(market: Market, now_us: int) -> Json:
    base, _, quoted = market.symbol.partition("-")
    return {
        "id": market.symbol,
        "base_currency": base,
        "quote_currency": quoted,
        "market_types": ["spot"],
        "spot_volume_24hour": market.day_volume(now_us),
    }


def _row(trade: Trade) -> Json:
    return {
        "trade_id": trade.id,
        "price": trade.price,
        "size": trade.quantity,
        "side": "sell" if trade.is_buy else "buy",  # the maker's
        "time": iso(trade.time_us, 6),
    }


def _candles(market: Market, request: Request) -> Answer:
    """Write the candles of a time, newest first; a minute without a trade has none."""
    minutes = GRANULARITIES.get(request.query.get("granularity", ""))
    if minutes is None:
        return answer({"message": "Unsupported granularity"}, status=400)
    try:
        first, last = (
            int(datetime.fromisoformat(request.query[name]).timestamp())
            for name in ("start", "end")
        )
    except (KeyError, ValueError):
        return answer({"message": "Invalid start or end"}, status=400)
    candles = wire.joined(wire.candle_groups(market.model, minutes, first, last))
    if len(candles) > CANDLES:
        return answer({"message": "granularity too small for the requested time range"}, status=400)
    rows = [
        [
            each.opened_s,
            *(
                Raw(market.price(ticks).encode())
                for ticks in (each.low, each.high, each.open, each.close)
            ),
            Raw(market.quantity(each.volume).encode()),
        ]
        for each in reversed(candles)
    ]
    return answer(rows)


def _match(trade: Trade, kind: str) -> Json:
    orders = {"maker_order_id": f"{trade.order:032x}", "taker_order_id": f"{trade.number:032x}"}
    sequence = {"product_id": trade.market.symbol, "sequence": trade.market.book.id}
    return {"type": kind, **_row(trade), **orders, **sequence}


def _snapshot(market: Market) -> str:
    def written(levels: Levels) -> Json:
        return [[market.price(ticks), market.quantity(lots)] for ticks, lots in levels]

    sides = {"asks": written(market.book.asks), "bids": written(market.book.bids)}
    return encode({"type": "snapshot", "product_id": market.symbol, **sides})


def _product(market: Market) -> Json:
    base, quote = market.symbol.split("-")
    return {
        "id": market.symbol,
        "base_currency": base,
        "quote_currency": quote,
        "status": "online",
        "trading_disabled": False,
    }
