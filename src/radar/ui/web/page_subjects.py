"""The subjects that each page follows while it is open."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from radar.status.model import Overview
from radar.store.client import Store
from radar.ui.web import markets
from radar.ui.web.history import Sampler
from radar.ui.web.live import Subject
from radar.ui.web.markets import BookState, CandleRow, Grid, MarketRow, MarketTicker, TradeRow
from radar.ui.web.pulse import Pulse
from radar.ui.web.pulse import pulse as pulse_of
from radar.ui.web.reader import Reader

MARKETS_PERIOD_S = 2.0
MARKET_PERIOD_S = 1.0
PULSE_PERIOD_S = 2.0
TAPE = 200  # newest trades that a page shows
_MARKETS_FRESH_S = 1.0
LATELY_CHANGED = 500  # candles that a new or a slow page gets
# A row may become visible this long after its insertion time, which ClickHouse sets before.
VISIBLE_AFTER_MS = 15_000
AHEAD_S = 60.0  # a producer's clock may be ahead by this much


async def market_rows(reader: Reader) -> list[MarketRow]:
    """Return the list of markets, read at most once a second."""
    return await reader.shared("markets", markets.markets, fresh_s=_MARKETS_FRESH_S)


def all_markets(reader: Reader) -> list[Subject[Any]]:
    """Return the subjects of the list of markets."""

    async def ask(_: list[MarketRow] | None) -> list[MarketRow]:
        return await market_rows(reader)

    def whole(rows: list[MarketRow]) -> dict[str, object]:
        return {"at_s": time.time(), "full": True, "markets": rows}

    def change(before: list[MarketRow], after: list[MarketRow]) -> dict[str, object] | None:
        known = {(row.source, row.symbol) for row in after}
        if any((row.source, row.symbol) not in known for row in before):
            return whole(after)  # a market is gone
        changed = changed_rows(before, after)
        return {"at_s": time.time(), "full": False, "markets": changed} if changed else None

    return [Subject("markets", "markets", MARKETS_PERIOD_S, ask, whole, change)]


def changed_rows(before: Sequence[MarketRow], after: Sequence[MarketRow]) -> list[MarketRow]:
    """Return the rows that have changed."""
    known = set(before)
    return [row for row in after if row not in known]


def one_market(reader: Reader, market: MarketTicker, grid: Grid) -> list[Subject[Any]]:
    """Return the subjects of a market's page."""
    return [
        _row(reader, market),
        _tape(reader, market),
        _book(reader, market),
        _candles(reader, market, grid),
    ]


def pipeline(sampler: Sampler) -> list[Subject[Any]]:
    """Return the subjects of the pipeline's page."""

    async def ask(before: Overview | None) -> Overview:
        return await (sampler.latest() if before is None else sampler.next())

    # The sampler sets the pace: each call waits for its next overview.
    return [Subject("pipeline", "pipeline", 0.0, ask, _same, lambda _, after: after, rest=0.0)]


def pulse(sampler: Sampler) -> Subject[Any]:
    """Return the subject of every page: whether data moves."""

    async def ask(_: Pulse | None) -> Pulse:
        return pulse_of(await sampler.latest())

    def change(before: Pulse, after: Pulse) -> Pulse | None:
        # The age of the database's answer matters only while it stands still.
        is_same = (before.state, before.datasets) == (after.state, after.datasets)
        return None if is_same and after.state != "unknown" else after

    return Subject("pulse", "pulse", PULSE_PERIOD_S, ask, _same, change, rest=0.0)


def _row(reader: Reader, market: MarketTicker) -> Subject[MarketRow | None]:
    async def ask(_: MarketRow | None) -> MarketRow | None:
        return await reader.ask("market", lambda store: markets.market_row(store, market))

    return Subject(("market", market), "market", MARKETS_PERIOD_S, ask, _same, _if_other)


@dataclass(frozen=True)
class Tape:
    """The newest trades of a market.

    Each query reads all of the newest trades; those that were not there before are new. So the
    order in which trades become visible, a delay, or a repeated delivery does not matter.
    """

    trades: list[TradeRow] = field(default_factory=list)
    fresh: list[TradeRow] = field(default_factory=list)
    sent: deque[str] = field(default_factory=lambda: deque(maxlen=4 * TAPE))  # IDs of sent trades

    def followed_by(self, trades: list[TradeRow]) -> "Tape":
        """Return the next tape, from the trades that are the newest now."""
        sent = set(self.sent)
        fresh = [trade for trade in trades if trade.id not in sent]
        known = self.sent.copy()
        known.extend(trade.id for trade in reversed(fresh))
        return Tape(trades, fresh, known)


def _tape(reader: Reader, market: MarketTicker) -> Subject[Tape]:
    async def ask(before: Tape | None) -> Tape:
        def newest(store: Store) -> list[TradeRow]:
            if before is None or len(before.trades) < TAPE:
                return markets.trades(store, market, TAPE)
            # The newest cannot be older than the oldest trade of the previous tape.
            return markets.trades_since(store, market, before.trades[-1].at_s, TAPE)

        return (before or Tape()).followed_by(await reader.ask("trades", newest))

    def whole(tape: Tape) -> dict[str, object]:
        return {"full": True, "trades": tape.trades}

    def change(_: Tape, after: Tape) -> dict[str, object] | None:
        return {"full": False, "trades": after.fresh} if after.fresh else None

    return Subject(("trades", market), "trades", MARKET_PERIOD_S, ask, whole, change)


def _book(reader: Reader, market: MarketTicker) -> Subject[tuple[Any, BookState]]:
    async def ask(before: tuple[Any, BookState] | None) -> tuple[Any, BookState]:
        version = await reader.ask("book", lambda store: markets.book_version(store, market))
        if before is not None and before[0] == version:
            return before
        at_s = time.time() + AHEAD_S
        return version, await reader.ask("book", lambda store: markets.book(store, market, at_s))

    def change(before: tuple[Any, BookState], after: tuple[Any, BookState]) -> BookState | None:
        return None if before[1] == after[1] else after[1]

    return Subject(("book", market), "book", MARKET_PERIOD_S, ask, lambda state: state[1], change)


@dataclass(frozen=True)
class LiveCandles:
    """The candles of a market that changed lately, whatever their time.

    Rows are selected by their insertion time, so that a trade that is stored late changes its
    candle too.
    """

    since_ms: int = 0  # later insertions are not known yet; clock of ClickHouse
    lately: dict[int, CandleRow] = field(default_factory=dict)  # by time; in the order of changes
    changed: list[CandleRow] = field(default_factory=list)

    def followed_by(self, now_ms: int, candles: Sequence[CandleRow]) -> "LiveCandles":
        """Return the next state, with those candles that differ from the known ones."""
        changed = [each for each in candles if self.lately.get(each.time) != each]
        lately = self.lately.copy()
        for candle in changed:
            lately.pop(candle.time, None)
            lately[candle.time] = candle
        kept = dict(list(lately.items())[-LATELY_CHANGED:])
        return LiveCandles(now_ms - VISIBLE_AFTER_MS, kept, changed)


def _candles(reader: Reader, market: MarketTicker, grid: Grid) -> Subject[LiveCandles]:
    async def ask(before: LiveCandles | None) -> LiveCandles:
        def newest(store: Store) -> LiveCandles:
            if before is not None:
                found = markets.changed_candles(store, market, grid, before.since_ms)
                return before.followed_by(*found)
            now_ms = markets.now_ms(store)
            last = markets.last_candles(store, market, grid)
            return LiveCandles().followed_by(now_ms, last)

        return await reader.ask("candles", newest)

    def shown(candles: Sequence[CandleRow]) -> dict[str, object]:
        in_order = sorted(candles, key=lambda each: each.time)
        return {"interval_s": grid.interval_s, "candles": in_order}

    def whole(state: LiveCandles) -> dict[str, object]:
        return shown(list(state.lately.values()))

    def change(_: LiveCandles, after: LiveCandles) -> dict[str, object] | None:
        return shown(after.changed) if after.changed else None

    key = "candles", market, grid
    return Subject(key, "candles", MARKET_PERIOD_S, ask, whole, change)


def _same(state: Any) -> object:
    return state


def _if_other(before: Any, after: Any) -> object | None:
    return None if before == after else after
