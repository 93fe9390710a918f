"""The market model: consistent books, trades at their levels, the same again for the same seed."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radar_simulator.listings import listings
from radar_simulator.market import (
    LEVELS,
    DepthDue,
    MarketModel,
    MarketState,
    Side,
    SimulatedTrade,
)

START_S = 1_790_000_000.25


def _model(**changes: float) -> MarketModel:
    options: dict[str, Any] = {
        "trades_per_s": 500.0,
        "depth_per_s": 1000.0,
        "twin_share": 0.05,
        **changes,
    }
    return MarketModel(
        seed=int(options.pop("seed", 7)), symbols=int(options.pop("symbols", 12)), **options
    )


def _assert_consistent(market: MarketState) -> None:
    bids = [level.ticks for level in market.bids]
    asks = [level.ticks for level in market.asks]
    assert len(bids) == len(asks) == LEVELS
    assert bids[0] < asks[0]
    assert all(better > worse for better, worse in pairwise(bids))
    assert all(better < worse for better, worse in pairwise(asks))
    assert bids[-1] > 0
    assert all(level.lots > 0 for level in (*market.bids, *market.asks))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.lists(st.floats(0.0, 0.3), min_size=20, max_size=60))
def test_model_any_seed_and_steps_keeps_books_consistent(seed: int, steps: list[float]) -> None:
    model = _model(seed=seed)
    now_s = START_S
    for step in steps:
        now_s += step
        for event in model.advance(now_s):
            if isinstance(event, DepthDue):
                _assert_consistent(event.market)
    for market in model.markets.values():
        _assert_consistent(market)


def test_model_long_run_stays_near_its_anchor() -> None:
    model = _model(symbols=2, trades_per_s=20_000, depth_per_s=20_000)
    market = model.markets["USDTTMN"]
    first = market.bids[0].ticks
    for step in range(400):
        for _ in model.advance(START_S + step * 0.01):
            pass
        _assert_consistent(market)
    assert 0.5 * first < market.bids[0].ticks < 2 * first
    assert market.bids[0].ticks != first


def test_trade_when_it_happens_lies_at_the_best_level_or_one_swept_after_it() -> None:
    model = _model(twin_share=0.0)
    market = model.markets["BTCUSDT"]
    for step in range(300):
        bids = {level.ticks: level.lots for level in market.bids}
        asks = {level.ticks: level.lots for level in market.asks}
        for trade in model.trade(START_S + step, 1, "BTCUSDT"):
            hit = asks if trade.is_buy else bids
            best = min(asks) if trade.is_buy else max(bids)
            assert trade.ticks == best
            assert 0 < trade.lots <= hit[trade.ticks]
            assert trade.second == int(START_S + step)


def test_model_same_seed_gives_the_same_events() -> None:
    def events(seed: int) -> list[object]:
        model = _model(seed=seed)
        seen: list[object] = []
        for step in range(50):
            for event in model.advance(START_S + step * 0.02):
                if isinstance(event, SimulatedTrade):
                    seen.append(event)
                else:
                    levels = event.market.side(event.side)
                    symbol = event.market.listing.symbol
                    seen.append((symbol, event.side, levels[0].ticks, levels[0].lots))
        return seen

    assert events(3) == events(3)
    assert events(3) != events(4)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3])
def test_model_twin_share_is_about_kept(share: float) -> None:
    model = _model(twin_share=share, trades_per_s=50)
    trades = [
        event
        for step in range(20_000)
        for event in model.advance(START_S + step * 0.01)
        if isinstance(event, SimulatedTrade)
    ]
    counts = Counter(trade[1:] for trade in trades)
    twins = sum(count - 1 for count in counts.values())
    # Orders that sweep several levels lower the share a little, round quantities add to it.
    assert share - 0.03 <= twins / len(trades) <= share + 0.03


def test_model_rates_are_kept() -> None:
    model = _model(trades_per_s=50, depth_per_s=200)
    events = [event for step in range(1001) for event in model.advance(START_S + step * 0.01)]
    trades = sum(isinstance(event, SimulatedTrade) for event in events)
    assert trades == pytest.approx(500, abs=5)
    assert len(events) - trades == pytest.approx(2000, abs=5)


def test_model_default_rate_refreshes_each_side_and_favours_busy_markets() -> None:
    model = _model(symbols=60, trades_per_s=50, depth_per_s=200)
    seen: Counter[tuple[str, Side]] = Counter()
    trades: Counter[str] = Counter()
    gaps: dict[tuple[str, Side], float] = {}
    last: dict[tuple[str, Side], float] = {}
    for step in range(2000):
        now_s = START_S + step * 0.01
        for event in model.advance(now_s):
            if isinstance(event, SimulatedTrade):
                trades[event.listing.symbol] += 1
            else:
                channel = (event.market.listing.symbol, event.side)
                seen[channel] += 1
                gaps[channel] = max(gaps.get(channel, 0.0), now_s - last.get(channel, START_S))
                last[channel] = now_s
    assert len(seen) == 2 * 62
    assert max(gaps.values()) < 2.0
    assert seen["USDTTMN", Side.BID] > 3 * seen["PAXGUSDT", Side.BID]
    assert trades["USDTTMN"] > 5 * trades["PAXGUSDT"]


def test_model_time_that_stands_or_goes_back_moves_nothing() -> None:
    model = _model()
    assert list(model.advance(START_S)) == []
    assert list(model.advance(START_S)) == []
    assert list(model.advance(START_S - 60)) == []
    later = [event for event in model.advance(START_S + 0.1) if isinstance(event, SimulatedTrade)]
    assert {trade.second for trade in later} == {int(START_S)}


def test_model_long_pause_is_not_made_up_for() -> None:
    model = _model(trades_per_s=100, depth_per_s=0)
    list(model.advance(START_S))
    assert len(list(model.advance(START_S + 3600))) <= 30


@pytest.mark.parametrize("depth_per_s", [1, 1000])
def test_model_prices_stay_near_where_they_began_however_many_takers_come(
    depth_per_s: float,
) -> None:
    model = _model(symbols=1, trades_per_s=1000, depth_per_s=depth_per_s)
    began = model.markets["USDTTMN"].last_ticks()
    prices: list[float] = []
    now_s = START_S
    while len(prices) < 200_000:
        trades = [each for each in model.advance(now_s) if isinstance(each, SimulatedTrade)]
        prices += [each.ticks / began for each in trades if each.listing.symbol == "USDTTMN"]
        now_s += 0.2
    assert 0.7 < min(prices) < max(prices) < 1.3


def test_market_recent_keeps_the_newest_200_and_candles_add_up() -> None:
    model = _model(symbols=1)
    trades = list(model.trade(START_S, 300, "USDTTMN"))
    market = model.markets["USDTTMN"]
    assert list(market.recent) == trades[-200:]
    candle = market.candles[-1]
    assert (candle.open, candle.close) == (trades[0].ticks, trades[-1].ticks)
    assert candle.high == max(trade.ticks for trade in trades)
    assert candle.low == min(trade.ticks for trade in trades)
    assert candle.volume == sum(trade.lots for trade in trades)


@pytest.mark.parametrize("symbols", [1, 2, 60, 400])
def test_listings_any_count_are_unique_and_half_in_toman(symbols: int) -> None:
    listed = listings(symbols)
    spot = [listing for listing in listed if listing.is_spot]
    assert len(spot) == symbols
    assert len({listing.symbol for listing in listed}) == symbols + 2
    assert sum(listing.quote == "TMN" for listing in spot) == (symbols + 1) // 2
    assert all(listing.symbol == listing.base + listing.quote for listing in listed)
    assert all(listing.fa_base for listing in listed)
    # A price has enough ticks for fifty levels, and everything fits sixteen decimals.
    assert all(listing.price * 10**listing.price_precision > 5_000 for listing in listed)
    assert all(listing.price_precision + listing.amount_precision <= 16 for listing in listed)


@pytest.mark.parametrize("symbols", [0, 401])
def test_listings_count_out_of_range_is_refused(symbols: int) -> None:
    with pytest.raises(ValueError, match="symbols"):
        listings(symbols)
