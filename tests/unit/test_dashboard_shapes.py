"""What the dashboard makes of what it was told, without a database."""

import asyncio
from datetime import date
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from observed import flow
from radar.checks.coverage import Covered
from radar.ui.web.history import POINTS, History
from radar.ui.web.live import Hub, Subject
from radar.ui.web.markets import MarketRow, TradeRow, by_volume, imbalance
from radar.ui.web.page_subjects import TAPE, Tape, changed_rows
from radar.ui.web.quality import by_market


def row(symbol: str, quote: str, volume: float, price: float | None = 1.0) -> MarketRow:
    return MarketRow(
        market=symbol, source="wallex", symbol=symbol, base=symbol.removesuffix(quote), quote=quote,
        last_price=price, last_trade_at_s=None, change_24h=None, high_24h=None, low_24h=None,
        volume_24h=None, quote_volume_24h=volume, trades_24h=1, best_bid=None, best_ask=None,
        spread_bps=None, book_at_s=None,
    )  # fmt: skip


def test_markets_are_ordered_by_their_volume_in_toman_and_those_of_unknown_price_last() -> None:
    rows = [
        row("AEUR", "EUR", 1e12),
        row("ATMN", "TMN", 500_000),
        row("BTMN", "TMN", 400_000),
        row("AUSDT", "USDT", 5),
        row("USDTTMN", "TMN", 1, price=90_000),
    ]
    ordered = [each.symbol for each in by_volume(rows)]
    assert ordered == ["ATMN", "AUSDT", "BTMN", "USDTTMN", "AEUR"]


def test_changed_rows_are_those_that_differ_in_anything() -> None:
    before = [row("ATMN", "TMN", 1), row("BTMN", "TMN", 2)]
    after = [row("ATMN", "TMN", 1), row("BTMN", "TMN", 2, price=3), row("CTMN", "TMN", 1)]
    assert changed_rows(before, after) == after[1:]


def test_imbalance_counts_what_is_near_the_middle() -> None:
    assert imbalance([(99.5, 3), (98, 50)], [(100.5, 1), (102, 90)], 100) == 0.5
    assert imbalance([(90, 1)], [(110, 1)], 100) is None


@settings(deadline=None)
@given(st.permutations(range(40)), st.lists(st.integers(1, 10), min_size=1, max_size=10))
def test_tape_tells_each_of_the_newest_trades_once_in_whatever_order_they_come(
    order: list[int], sizes: list[int]
) -> None:
    tape, stored, told = Tape(), set[int](), list[str]()
    for n in range(len(order)):
        stored.update(order[: sum(sizes[: n + 1])])
        newest = sorted(stored, reverse=True)[:TAPE]
        tape = tape.followed_by([TradeRow(str(t), float(t), 0, "buy", "1", "1") for t in newest])
        told += [trade.id for trade in tape.fresh]
    assert len(told) == len(set(told))
    assert set(told) == {str(t) for t in stored}


def test_history_keeps_one_sample_a_period_and_forgets_the_oldest() -> None:
    history = History(kept=3)
    for at_s in (0, 1, 5, 9, 10, 15):
        history.add(at_s, [flow("trades", frames_per_s=float(at_s), lag=None)])
    found = history.since(0)
    assert found["at_s"] == [5, 10, 15]
    assert found["datasets"]["trades"]["frames_per_s"] == [5, 10, 15]
    assert found["datasets"]["trades"]["lag"] == [None, None, None]
    assert history.since(11)["at_s"] == [15]
    assert History().since(0) == {"period_s": 5.0, "at_s": [], "datasets": {}}


def test_history_of_a_long_time_tells_the_mean_of_rates_and_the_worst_lag() -> None:
    history = History()
    for n in range(3 * POINTS):
        history.add(n * 5.0, [flow("trades", stored_per_s=float(n % 3), lag=n % 3)])
    found = history.since(0)
    assert found["period_s"] == 15
    assert len(found["at_s"]) == POINTS
    assert set(found["datasets"]["trades"]["stored_per_s"]) == {1.0}
    assert set(found["datasets"]["trades"]["lag"]) == {2.0}


def test_coverage_leaves_days_empty_that_were_not_watched() -> None:
    covered = Covered(
        "wallex", "depth", "ATMN", date(2026, 11, 2), 1, 1, 0.5, 2, 3.0, 1, 1, 0.75, False
    )
    (market,) = by_market([covered], ["2026-11-01", "2026-11-02"])
    first, second = market.days
    assert first is None
    assert second is not None
    assert (second.watched_share, second.complete_share, second.gaps) == (0.5, 0.75, 2)


def test_viewer_who_was_too_slow_for_the_changes_is_told_the_whole() -> None:
    async def look() -> list[bytes]:
        states = iter(range(1, 100))

        async def ask(_: int | None) -> int:
            return next(states)

        subject: Subject[Any] = Subject(
            "n", "n", 0.001, ask, lambda n: {"whole": n}, lambda _, n: {"change": n}
        )
        hub = Hub()
        stream = hub.stream([subject])
        events = [await anext(stream), await anext(stream)]
        await asyncio.sleep(0.1)  # so long it takes nothing, and nothing is kept for it
        events.append(await anext(stream))
        hub.close()
        await stream.aclose()
        return events

    retry, first, second = asyncio.run(look())
    assert retry == b"retry: 2000\n\n"
    assert first == b'event: n\ndata: {"whole":1}\n\n'
    assert second.startswith(b'event: n\ndata: {"whole":')
