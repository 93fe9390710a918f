"""Tabdeal's protocol: whole books by the socket each two seconds, trades over REST only."""

from collections.abc import Iterable, Sequence

from radar_simulator.dialects.common.base import (
    MAINTENANCE,
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
)
from radar_simulator.dialects.common.markets import BookUpdate, Levels, Market, Trade

ROOT = "/r/api/v1"
EVERY_US = 2_000_000
SUFFIX = "@depth@2000ms"
INVALID = Text('{"error":"INVALID_FORMAT"}')


class Simulated(Dialect):
    """Tabdeal."""

    name = "tabdeal"
    path = "/stream/"
    paths = ("/stream",)
    quotes = (("TMN", "IRT"), ("USDT", "USDT"))
    bases = ("BTC", "ETH", "DOGE", "TRX", "XRP", "SOL", "TON", "SHIB", "ADA")
    ids_are_numbers = False

    def __init__(self, markets: Sequence[Market]) -> None:
        super().__init__(markets)
        self._due_us = dict.fromkeys(self.markets, 0)
        self._sending: set[str] = set()

    def native_id(self, trade: Trade) -> str:
        """Return a number that counts over all markets, with holes that mean nothing."""
        return str(_number(trade))

    def received(self, session: Session, message: str | bytes, now_us: int) -> Iterable[Action]:
        """Handle a request: only streams of books exist."""
        match decoded(message):
            case {"method": "SUBSCRIBE" | "UNSUBSCRIBE" as method, "params": list(params)} as asked:
                streams = [str(each) for each in params]
                if any(self._market(stream) is None for stream in streams):
                    yield INVALID
                    return
                for stream in streams:
                    yield from self._asked(session, method, stream)
                yield Text(encode({"result": None, "id": asked.get("id")}))
            case _:
                yield INVALID

    def _market(self, stream: str) -> Market | None:
        name = stream.removesuffix(SUFFIX)
        known = stream.endswith(SUFFIX) and name == name.lower()
        return self.markets.get(name.upper()) if known else None

    def _asked(self, session: Session, method: str, stream: str) -> Iterable[Action]:
        market = self._market(stream)
        if method == "UNSUBSCRIBE":
            if topic := session.topics.pop(stream, None):
                yield Unsubscribe(topic)
        elif market is not None and stream not in session.topics:
            topic = session.topics[stream] = Topic("book", market.symbol)
            yield Subscribe(topic)

    def trades(self, topic: Topic, trades: Sequence[Trade]) -> Iterable[Outgoing]:
        """Send none."""
        return ()

    def due(self, now_us: int) -> Iterable[str]:
        """Yield each market each two seconds, changed or not."""
        for symbol in self.markets:
            if now_us >= self._due_us[symbol]:
                self._due_us[symbol] = now_us + EVERY_US
                self._sending.add(symbol)
                yield symbol

    def announce(self, symbol: str) -> None:
        """Send the next change of a market's book at once."""
        self._sending.add(symbol)

    def polled(self, request: Request) -> str:
        """Return the market of a request for trades."""
        return request.query.get("symbol", "") if request.path == f"{ROOT}/trades" else ""

    def book(self, topic: Topic, update: BookUpdate) -> Iterable[Outgoing]:
        """Write the whole book, although the event is called an update."""
        if topic.symbol in self._sending:
            self._sending.discard(topic.symbol)
            event = {
                "e": "depthUpdate",
                "E": update.time_us // 1000,
                "s": topic.symbol,
                "b": _levels(update.market, update.market.book.bids, 0),
                "a": _levels(update.market, update.market.book.asks, 0),
            }
            stream = f"{topic.symbol.lower()}{SUFFIX}"
            yield Outgoing(encode({"stream": stream, "data": event}))

    # REST

    def rest(self, request: Request) -> Answer:
        """Answer the market list, trades and books."""
        market = self.markets.get(request.query.get("symbol", ""))
        match request.path.removeprefix(ROOT):
            case "/ping":
                return answer({})
            case "/time":
                return answer({"serverTime": request.now_us // 1000})
            case "/exchangeInfo":
                limit = request.number("limit", 50, 1000)
                return answer([_info(each) for each in self.markets.values()][:limit])
            case "/depth" if market is None:
                return answer({"code": 1206}, status=404)
            case "/depth" if market:
                limit = request.number("limit", 50, 5000)
                sides = market.book.asks[:limit], market.book.bids[:limit]
                asks, bids = (_levels(market, side, 16) for side in sides)
                return answer({"asks": asks, "bids": bids})
            case "/trades" if market is None:
                return Answer(500, MAINTENANCE, content_type="text/html")
            case "/trades" if market:
                trades = market.newest(request.number("limit", 50, 1000))
                return answer([_row(trade) for trade in reversed(trades)], trades)
            case _:
                return Answer(404, MAINTENANCE, content_type="text/html")


def _number(trade: Trade) -> int:
    if trade.native:
        return int(trade.native)
    return trade.market.first_id + 3 * trade.number - trade.number % 3


def _levels(market: Market, levels: Levels, places: int) -> Json:
    return [
        [market.padded_price(ticks, places), market.padded_quantity(lots, 8)]
        for ticks, lots in levels
    ]


def _row(trade: Trade) -> Json:
    market = trade.market
    scale = market.listing.product_places
    net = trade.ticks * trade.lots / 10**scale * 0.9965  # without the fee
    return {
        "id": _number(trade),
        "price": market.padded_price(trade.ticks, 16),
        "qty": market.padded_quantity(trade.lots, 8),
        "quoteQty": f"{net:.8f}",
        "time": trade.time_us // 1000,
        "isBuyerMaker": not trade.is_buy,
    }


def _info(market: Market) -> Json:
    base = market.listing.base
    quote = market.symbol.removeprefix(base)
    return {
        "symbol": market.symbol,
        "tabdealSymbol": f"{base}_{quote}",
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": "8",
        "quoteAsset": quote,
        "quotePrecision": str(market.listing.price_precision),
        "orderTypes": ["LIMIT", "MARKET"],
        "isSpotTradingAllowed": True,
        "filters": [{"filterType": "PRICE_FILTER", "tickSize": market.price(1)}],
        "permissions": ["SPOT"],
    }
