"""Nobitex's protocol: Centrifugo, prices in Rial, one trade a push, and no IDs."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from radar_simulator import wire
from radar_simulator.dialects.common.base import (
    Answer,
    Json,
    Request,
    TopicKind,
    answer,
    encode,
    raw,
)
from radar_simulator.dialects.common.centrifugo import CentrifugoDialect
from radar_simulator.dialects.common.markets import BookUpdate, Levels, Market, Trade

LEVELS = 24
REST_TRADES = 20
CANDLES = 500


class Simulated(CentrifugoDialect):
    """Nobitex."""

    name = "nobitex"
    path = "/connection/websocket"
    quotes = (("TMN", "IRT"), ("USDT", "USDT"))
    bases = ("BTC", "ETH", "DOGE", "TRX", "XRP", "SOL", "TON", "SHIB", "ADA")
    ids_are_numbers = False
    rial = True
    channel_limit = 300
    budget = (60, 60.0)

    def native_id(self, trade: Trade) -> str:
        """Trades have no ID."""
        return ""

    def channel(self, kind: TopicKind, market: Market) -> str:
        """Name a public channel."""
        return f"public:{'trades' if kind == 'trades' else 'orderbook'}-{market.symbol}"

    def position(self, kind: TopicKind, market: Market) -> int:
        """Count a publication for each trade."""
        return market.next_id - market.first_id if kind == "trades" else market.book_pubs

    def publications(self, market: Market, trades: Sequence[Trade]) -> Iterable[list[Trade]]:
        """Publish each trade by itself."""
        return ([trade] for trade in trades)

    def kept(self, market: Market) -> list[tuple[int, list[Trade]]]:
        """Return the newest trades, each a publication."""
        return [(trade.id - market.first_id + 1, [trade]) for trade in market.newest(100)]

    def data_of_trades(self, market: Market, trades: Sequence[Trade]) -> Json:
        """Write one trade."""
        return _trade(trades[0])

    def data_of_book(self, market: Market, update: BookUpdate) -> Json:
        """Write the best levels of both sides, best first."""
        return {
            "asks": _levels(market, market.book.asks),
            "bids": _levels(market, market.book.bids),
            "lastTradePrice": market.price(market.model.last_ticks()),
            "lastUpdate": update.time_us // 1000,
        }

    # REST

    def cost(self, request: Request) -> int:
        """Count the requests of trades, which have the smallest budget."""
        return 1 if request.path.startswith("/v2/trades/") else 0

    def rest(self, request: Request) -> Answer:
        """Answer the market list, trades and books."""
        if request.path == "/v2/options":
            return answer({"status": "ok", "nobitex": self._options()})
        if request.path == "/market/stats":
            stats = [_statistics(each, request.now_us) for each in self.markets.values()]
            return answer({"status": "ok", "stats": dict(stats)})
        if request.path == "/v3/orderbook/all":
            books = {symbol: _rest_book(each) for symbol, each in self.markets.items()}
            return answer({"status": "ok", **books})
        if request.path == "/market/udf/history":
            return self._candles(request)
        kind, _, symbol = request.path.rpartition("/")
        market = self.markets.get(symbol)
        if kind not in ("/v2/trades", "/v3/orderbook"):
            return answer({"detail": "Not found."}, status=404)
        if market is None:
            return answer(
                {"status": "failed", "code": "InvalidSymbol", "message": "bad symbol"}, status=400
            )
        if kind == "/v3/orderbook":
            return answer({"status": "ok", **_rest_book(market)})
        trades = market.newest(REST_TRADES)
        # Newest first, but trades of one millisecond stand in the order of execution.
        groups = [list(group) for _, group in groupby(trades, key=lambda each: each.time_us)]
        rows = [_trade(trade) for group in reversed(groups) for trade in group]
        return answer({"status": "ok", "trades": rows}, trades)

    def _candles(self, request: Request) -> Answer:
        """Answer candles, in Toman although all other prices are in Rial."""
        symbol = request.query.get("symbol", "")
        if symbol == "USDTIRT":  # the content network refuses this one
            return Answer(403, b"<html><body>403</body></html>", content_type="text/html")
        market = self.markets.get(symbol)
        if market is None:
            return answer({"s": "error", "errmsg": "Invalid symbol!"})
        minutes = wire.RESOLUTION_MINUTES.get(request.query.get("resolution", ""))
        if minutes is None:
            return answer({"s": "error", "errmsg": "Invalid resolution!"})
        from_s, to_s = request.number("from", 0, 1 << 40), request.number("to", 0, 1 << 40)
        groups = wire.candle_groups(market.model, minutes, from_s, to_s, wire.TEHRAN_MINUTES)
        candles = wire.joined(groups)[-CANDLES:]
        if not candles:
            return answer({"s": "no_data"})
        return answer({"s": "ok", **_columns(market, candles)})

    def throttled(self, retry_s: int, now_us: int, *, banned: bool) -> Answer:
        """Refuse, and give the wait in the body."""
        body = {
            "status": "failed",
            "code": "TooManyRequests",
            "message": "Please wait.",
            "backOff": retry_s,
            "limit": 60,
        }
        return Answer(429, encode(body).encode())

    def _options(self) -> Json:
        markets = self.markets.items()
        return {
            "activeCurrencies": sorted({m.listing.base.lower() for _, m in markets}),
            "testingCurrencies": [],
            "amountPrecisions": {s: _step(m.listing.amount_precision) for s, m in markets},
            "pricePrecisions": {
                s: "10" if m.factor == 10 else _step(m.listing.price_precision) for s, m in markets
            },
        }


def _columns(market: Market, candles: Sequence[wire.CandleTicks]) -> Json:
    """Write columns of numbers with a point."""

    def price(ticks: int) -> Json:
        text = wire.number(ticks, market.listing.tick_places)
        return raw(text if "." in text else f"{text}.0")

    return {
        "t": [each.opened_s for each in candles],
        "o": [price(each.open) for each in candles],
        "h": [price(each.high) for each in candles],
        "l": [price(each.low) for each in candles],
        "c": [price(each.close) for each in candles],
        "v": [raw(market.quantity(each.volume)) for each in candles],
    }


def _step(decimals: int) -> str:
    return f"0.{'0' * (decimals - 1)}1" if decimals else "1"


def _trade(trade: Trade) -> Json:
    return {
        "price": trade.price,
        "time": trade.time_us // 1000,
        "type": trade.side,
        "volume": trade.quantity,
    }


def _levels(market: Market, levels: Levels) -> Json:
    return [[market.price(ticks), market.quantity(lots)] for ticks, lots in levels[:LEVELS]]


def _rest_book(market: Market) -> Json:
    return {
        "lastUpdate": market.book.time_us // 1000,
        "lastTradePrice": market.price(market.model.last_ticks()),
        "bids": _levels(market, market.book.bids),
        "asks": _levels(market, market.book.asks),
    }


def _statistics(market: Market, now_us: int) -> tuple[str, Json]:
    base = market.listing.base
    quote = market.symbol.removeprefix(base).replace("IRT", "RLS")
    return f"{base}-{quote}".lower(), {
        "isClosed": False,
        "latest": market.price(market.model.last_ticks()),
        "volumeSrc": market.day_volume(now_us),
    }
