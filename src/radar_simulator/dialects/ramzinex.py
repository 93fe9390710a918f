"""Ramzinex' protocol: Centrifugo, prices in Rial, markets by number, whole lists of trades."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from radar_simulator.dialects.common.base import (
    Answer,
    Json,
    Outgoing,
    Request,
    Topic,
    TopicKind,
    answer,
    raw,
    shortest,
)
from radar_simulator.dialects.common.centrifugo import CentrifugoDialect
from radar_simulator.dialects.common.markets import BookUpdate, Levels, Market, Trade

ROOT = "/exchange/api/v1.0/exchange"
LISTED = 50
PAIRS = {
    "BTCIRR": 2, "ETHIRR": 3, "LTCIRR": 5, "DOGEIRR": 10, "USDTIRR": 11, "BTCUSDT": 12,
    "ETHUSDT": 13,
}  # fmt: skip


class Simulated(CentrifugoDialect):
    """Ramzinex."""

    name = "ramzinex"
    path = "/websocket"
    resolution_us = 1_000_000
    quotes = (("TMN", "IRR"), ("USDT", "USDT"))
    bases = ("BTC", "ETH", "DOGE", "TRX", "LTC", "SOL", "TON", "SHIB", "ADA")
    ids_are_numbers = False
    rial = True

    def __init__(self, markets: Sequence[Market]) -> None:
        self._pairs = {each.symbol: PAIRS.get(each.symbol, 40 + each.number) for each in markets}
        self._subscriptions = 0
        super().__init__(markets)

    def native_id(self, trade: Trade) -> str:
        """Return 32 hexadecimal digits."""
        if trade.native:
            return trade.native
        name = f"{trade.market.symbol} {trade.id}"
        return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()

    def channel(self, kind: TopicKind, market: Market) -> str:
        """Name a channel by the number of its pair."""
        name = "last-trades" if kind == "trades" else "orderbook"
        return f"{name}:{self._pairs[market.symbol]}"

    def data_of_trades(self, market: Market, trades: Sequence[Trade]) -> Json:
        """Write the whole list of recent trades, newest first."""
        return self._rows(market.before_id(trades[-1].id + 1, LISTED))

    def trades(self, topic: Topic, trades: Sequence[Trade]) -> Iterable[Outgoing]:
        """Write the whole list; most of it was sent before."""
        again = max(0, LISTED - len(trades))
        listed = self.markets[topic.symbol].before_id(trades[0].id, again)
        for each in super().trades(topic, trades):
            # More trades than the list holds are lost.
            yield each._replace(trades=each.trades[-LISTED:], again=listed)

    def on_subscribe(self, kind: TopicKind, market: Market) -> Sequence[tuple[Json, list[Trade]]]:
        """Give the newest list with every second subscription: both were seen."""
        newest = market.newest(LISTED)
        if kind == "book" or not newest:
            return ()
        self._subscriptions += 1
        return [(self._rows(newest), newest)] if self._subscriptions % 2 else ()

    def data_of_book(self, market: Market, update: BookUpdate) -> Json:
        """Write both sides by falling price: the best sell is the last."""
        return _book(market)

    def _rows(self, trades: Sequence[Trade]) -> Json:
        return [
            [
                raw(trade.price),
                shortest(trade.quantity),
                datetime.fromtimestamp(trade.time_us // 1_000_000, UTC).strftime("%F %T"),
                trade.side,
                trade.time_us // 1_000_000,
                self.native_id(trade),
            ]
            for trade in reversed(trades)
        ]

    # REST

    def rest(self, request: Request) -> Answer:
        """Answer the market list, trades and books."""
        path = request.path.removeprefix(ROOT)
        if path == "/pairs":
            return _data([self._pair(each, request.now_us) for each in self.markets.values()])
        parts = path.strip("/").split("/")
        found = [m for m in self.markets.values() if str(self._pairs[m.symbol]) in parts[1:2]]
        if parts[0] != "orderbooks" or len(parts) != 3 or not found:
            return answer({"status": -1, "description": {"en": "not found"}}, status=404)
        if parts[2] == "buys_sells":
            return _data(_book(found[0]))
        trades = found[0].newest(LISTED)
        return _data(self._rows(trades), trades)

    def _pair(self, market: Market, now_us: int) -> Json:
        listing, quote = market.listing, market.symbol.removeprefix(market.listing.base)
        return {
            "sell": raw(_best(market, market.book.asks)),
            "buy": raw(_best(market, market.book.bids)),
            "pair_id": self._pairs[market.symbol],
            "name": {"fa": listing.fa_base, "en": f"{listing.base}/{quote}".lower()},
            "base_precision": listing.amount_precision,
            "quote_precision": 0,
            "base_currency_symbol": {"en": listing.base.lower(), "fa": listing.fa_base},
            "quote_currency_symbol": {"en": quote.lower(), "fa": "ریال"},
            "financial": {"last24h": {"base_volume": shortest(market.day_volume(now_us))}},
            "price_precision": 0,
            "is_delist": 0,
            "is_temporarily_suspended": 0,
        }


def _best(market: Market, levels: Levels) -> str:
    return market.price(levels[0][0]) if levels else "0"


def _data(data: Json, trades: Sequence[Trade] = ()) -> Answer:
    return answer({"status": 0, "data": data}, trades)


def _book(market: Market) -> Json:
    def written(levels: Levels) -> Json:
        scale = market.listing.product_places
        return [
            [
                raw(market.price(ticks)),
                shortest(market.quantity(lots)),
                ticks * market.factor * lots / 10**scale,
                False,
                None,
                min(99, lots % 100),
                market.book.time_us // 1000,
            ]
            for ticks, lots in levels
        ]

    return {"buys": written(market.book.bids), "sells": written(market.book.asks[::-1])}
