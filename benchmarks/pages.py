"""What the pages of the dashboard ask, by the dashboard's own functions."""

import time
from collections.abc import Callable

from radar.store.client import Store
from radar.ui.web import markets, moments, quality
from radar.ui.web.markets import Grid, MarketTicker
from radar.ui.web.page_subjects import TAPE

Question = Callable[[Store], object]

CANDLES = 500
DAYS = 7
_BUSIEST, _SOME = MarketTicker("wallex", "M0USDT"), MarketTicker("wallex", "M1TMN")


def _candles(market: MarketTicker, interval_s: int, days_back: float = 0) -> Question:
    return lambda store: markets.candles(
        store, market, Grid(interval_s), time.time() - days_back * 86400, CANDLES
    )


def _moment(market: MarketTicker, days_back: float) -> Question:
    return lambda store: moments.moment(store, market, time.time() - days_back * 86400, TAPE)


QUESTIONS: dict[str, Question] = {
    "page: the busiest market at a moment, three days ago": _moment(_BUSIEST, 3),
    "page: a market at a moment, three weeks ago": _moment(_SOME, 21),
    "page: list of markets": markets.markets,
    "page: the busiest market of the list": lambda store: markets.market_row(store, _BUSIEST),
    **{
        f"page: {CANDLES} candles of {interval_s // 60} min of the busiest market": _candles(
            _BUSIEST, interval_s
        )
        for interval_s in markets.INTERVALS_S
    },
    "page: candles of 1 min of a market, a week ago": _candles(_SOME, 60, 7),
    f"page: newest {TAPE} trades of the busiest market": lambda store: markets.trades(
        store, _BUSIEST, TAPE
    ),
    "page: book of a market": lambda store: markets.book(store, _SOME, time.time()),
    "page: has the book changed": lambda store: markets.book_version(store, _SOME),
    "page: the last candles of a market": lambda store: markets.last_candles(
        store, _SOME, Grid(60)
    ),
    "page: candles that the rows of a minute changed": lambda store: markets.changed_candles(
        store, _SOME, Grid(60), markets.now_ms(store) - 60_000
    ),
    "page: is there such a market": lambda store: markets.must_exist(store, _SOME),
    "page: gaps": lambda store: quality.gaps(store, DAYS, None),
    "page: coverage": lambda store: quality.covered(store, DAYS),
}
