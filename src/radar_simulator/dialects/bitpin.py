"""Bitpin's protocol: Centrifugo, prices in Toman, lists of trades that repeat the ones before."""

from collections.abc import Iterable, Sequence

from radar_simulator.dialects.common.base import (
    Answer,
    Json,
    Outgoing,
    Request,
    Topic,
    TopicKind,
    answer,
    encode,
    raw,
)
from radar_simulator.dialects.common.centrifugo import CentrifugoDialect
from radar_simulator.dialects.common.markets import BookUpdate, Levels, Market, Trade, iso

REPEATED = 3
"""Trades of the push before that a push repeats."""

REST_TRADES = 100
MAKERS, TAKERS = 3_400_000_000, 3_516_000_000
"""Orders of makers and of takers are numbered from here on: a taker's is the larger number."""


class Simulated(CentrifugoDialect):
    """Bitpin."""

    name = "bitpin"
    path = "/connection/websocket"
    resolution_us = 1
    spelling = "{base}_{quote}"
    quotes = (("TMN", "IRT"), ("USDT", "USDT"))
    bases = ("BTC", "ETH", "DOGE", "TRX", "XRP", "SOL", "TON", "SHIB", "ADA")
    ids_are_numbers = False

    def native_id(self, trade: Trade) -> str:
        """Return the orders of buyer and seller."""
        if trade.native:
            return trade.native
        # The market's first ID tells two runs apart.
        run = trade.market.first_id
        maker, taker = MAKERS + run + trade.number, TAKERS + 2 * run + trade.order
        return f"{taker}_{maker}" if trade.is_buy else f"{maker}_{taker}"

    def channel(self, kind: TopicKind, market: Market) -> str:
        """Name a channel."""
        return f"{'matches' if kind == 'trades' else 'orderbook'}:{market.symbol}"

    def data_of_trades(self, market: Market, trades: Sequence[Trade]) -> Json:
        """Write new trades and the last ones before them, newest first."""
        before = market.before_id(trades[0].id, REPEATED)
        return {
            "event": "matches_update",
            "symbol": market.symbol,
            "event_time": iso(trades[-1].time_us, 6),
            "matches": self._rows([*before, *trades]),
        }

    def trades(self, topic: Topic, trades: Sequence[Trade]) -> Iterable[Outgoing]:
        """Write the publications, and say which trades they repeat."""
        before = self.markets[topic.symbol].before_id(trades[0].id, REPEATED)
        return (each._replace(again=before) for each in super().trades(topic, trades))

    def data_of_book(self, market: Market, update: BookUpdate) -> Json:
        """Write both sides, best first; the price is a number or a text."""
        price = market.price(market.model.last_ticks())
        return {
            **_sides(market),
            "volume_ask": _volume(market, market.book.asks),
            "volume_bid": _volume(market, market.book.bids),
            "symbol": market.symbol,
            "event": "market_data",
            "price": raw(price) if market.book_pubs % 2 else price,
            "event_time": iso(update.time_us, 6),
        }

    def _rows(self, trades: Sequence[Trade]) -> Json:
        return [
            {
                "id": self.native_id(trade),
                "price": trade.price,
                "base_amount": trade.market.padded_quantity(trade.lots, 8),
                "quote_amount": _product(trade),
                "side": trade.side,
                "time": raw(f"{trade.time_us // 1_000_000}.{trade.time_us % 1_000_000:06}"),
            }
            for trade in reversed(trades)
        ]

    # REST

    def rest(self, request: Request) -> Answer:
        """Answer the market list, trades and books; paths end in a slash."""
        if request.path == "/api/v1/mkt/markets/":
            return answer([_market(market) for market in self.markets.values()])
        kind, _, symbol = request.path.removesuffix("/").rpartition("/")
        market = self.markets.get(symbol)
        if not request.path.endswith("/") or market is None:
            return answer({"detail": "Not found."}, status=404)
        if kind == "/api/v1/mth/orderbook":
            return answer(_sides(market))
        if kind != "/api/v1/mth/matches":
            return answer({"detail": "Not found."}, status=404)
        trades = market.newest(REST_TRADES)
        return answer(self._rows(trades), trades)

    def throttled(self, retry_s: int, now_us: int, *, banned: bool) -> Answer:
        """Refuse, and give the wait in a sentence."""
        text = f"Request was throttled. Expected available in {retry_s} seconds."
        return Answer(429, encode({"detail": text}).encode())


def _sides(market: Market) -> Json:
    def written(levels: Levels) -> Json:
        return [[market.price(ticks), market.padded_quantity(lots, 8)] for ticks, lots in levels]

    return {"asks": written(market.book.asks), "bids": written(market.book.bids)}


def _volume(market: Market, levels: Levels) -> str:
    return market.padded_quantity(sum(lots for _, lots in levels), 8)


def _product(trade: Trade) -> str:
    """Return price times quantity, cut to the quote's precision."""
    listing = trade.market.listing
    places = 0 if listing.quote == "TMN" else 2
    units = trade.ticks * trade.lots * 10**places
    cut = units // 10**listing.product_places
    return str(cut) if not places else f"{cut // 100}.{cut % 100:02}"


def _market(market: Market) -> Json:
    base, quote = market.symbol.split("_")
    return {
        "symbol": market.symbol,
        "name": f"{base}/{'Toman' if quote == 'IRT' else 'Tether'}",
        "base": base,
        "quote": quote,
        "tradable": True,
        "price_precision": market.listing.price_precision,
        "base_amount_precision": 8,
        "quote_amount_precision": 0 if quote == "IRT" else 2,
    }
