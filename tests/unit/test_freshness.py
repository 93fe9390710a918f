"""Freshness: what proves that a market's records arrive, and what proves that they do not."""

import pytest

from radar.exchanges.base import RecentTrades
from radar.producer.freshness import (
    AUDIT_DEADLINES,
    CHECK_PART,
    LEAST_QUIET_S,
    SETTLE_S,
    BookFreshness,
    MarketBook,
    Retries,
    TradeFreshness,
)
from radar.producer.recorders import TradeRecorder
from radar.records import BookSide, DepthSnapshot, Trade, TradeSide

DEADLINE_S = 60.0
NOW_US = 1_784_000_000_000_000
A = "ATMN"


def trade(second: int, price: str = "1") -> Trade:
    at_us = NOW_US + second * 1_000_000
    return Trade("wallex", A, "A", "TMN", TradeSide.BUY, price, "1", at_us // 1000, at_us)


class Market:
    """A market, its connection and REST; times are seconds."""

    def __init__(self) -> None:
        self.recorder = TradeRecorder("wallex")
        self.freshness = TradeFreshness(DEADLINE_S, self.recorder)
        self._take = self.recorder.taker()
        self._heard: dict[str, int] = {}
        self.told: list[Trade] = []  # by REST

    def happens(self, each: Trade, *, is_brought: bool = True) -> None:
        self.told.append(each)
        if is_brought:
            self._take(each)
            self._heard[A] = each.received_at_us

    def check(self, now: float) -> list[str]:
        return self.freshness.check(self._heard, [A], now, NOW_US + int(now * 1e6))

    def compare(self, now: float) -> None:
        recent = RecentTrades(self.told[-200:], 0)
        self.freshness.read(A, NOW_US + int(now * 1e6), recent, now)

    def mute(self, now: float) -> list[tuple[str, float]]:
        found = self.freshness.settle(now)
        return [(each.symbol, (each.since_us - NOW_US) / 1e6) for each in found]


def test_quiet_market_is_compared_before_the_deadline_and_verified_by_the_answer() -> None:
    market = Market()
    assert market.check(0) == []
    market.compare(0)
    assert market.check(CHECK_PART * DEADLINE_S - 1) == []
    assert market.check(CHECK_PART * DEADLINE_S) == [A]
    assert market.check(CHECK_PART * DEADLINE_S + 1) == []  # it is under way
    assert market.freshness.unverified(DEADLINE_S + 1) == [A]
    market.compare(CHECK_PART * DEADLINE_S + 2)
    assert market.freshness.unverified(DEADLINE_S + 1) == []
    assert market.mute(200) == []


def test_market_is_mute_since_its_last_evidence_when_rest_has_trades_that_never_came() -> None:
    market = Market()
    market.check(0)
    market.compare(0)
    market.happens(trade(10))
    market.check(10)
    market.happens(trade(30), is_brought=False)
    market.compare(40)
    assert market.mute(40 + SETTLE_S - 0.1) == []
    assert market.mute(40 + SETTLE_S) == [(A, 10)]
    # Said once.
    market.compare(60)
    assert market.mute(100) == []


def test_trade_that_the_connection_brings_behind_rest_proves_nothing() -> None:
    market = Market()
    market.check(0)
    market.compare(0)
    late = trade(39)
    market.happens(late, is_brought=False)
    market.compare(40)
    market.happens(late)
    assert market.mute(60) == []


def test_trades_that_connections_leave_out_are_found_although_others_come() -> None:
    market = Market()
    market.check(0)
    market.compare(0)
    for second in range(1, int(AUDIT_DEADLINES * DEADLINE_S) + 1):
        market.happens(trade(second), is_brought=second != 595)
        due = market.check(second)
    assert due == [A]
    market.compare(601)
    assert market.mute(610) == [(A, 595)]


def test_busy_market_is_compared_sooner_since_rest_reaches_back_to_few_trades() -> None:
    market = Market()
    for second in range(100):
        market.happens(trade(second))
        assert market.check(second) == []
    assert market.check(99 + LEAST_QUIET_S - 1) == []
    assert market.check(99 + 3 * LEAST_QUIET_S) == [A]


def test_twin_that_is_missing_counts_and_old_trades_that_are_forgotten_do_not() -> None:
    market = Market()
    market.happens(trade(1))
    market.check(1)
    market.compare(2)
    market.recorder = TradeRecorder("wallex")  # has forgotten everything
    market.freshness._published = market.recorder
    market.compare(40)
    assert market.mute(50) == []
    market.happens(trade(1), is_brought=False)
    market.compare(80)
    assert market.mute(90) == [(A, 1)]


def test_market_whose_connection_is_not_read_is_not_mute() -> None:
    market = Market()
    market.check(0)
    market.compare(0)
    behind = trade(30)
    market.happens(behind, is_brought=False)
    market.compare(40)
    market.freshness.postpone(42)
    assert market.mute(44) == []
    market.happens(behind)
    assert market.mute(60) == []


def test_retries_of_a_market_become_rarer_until_it_brings_something() -> None:
    retries = Retries(10)
    assert [now for now in range(200) if retries.may(A, now)] == [0, 10, 30, 70, 150]
    retries.forget(A)
    assert retries.may(A, 151)


def book(at_s: float, price: float) -> MarketBook:
    side = DepthSnapshot(
        "wallex", A, "A", "TMN", BookSide.BID, (price,), (1.0,), NOW_US + int(at_s * 1e6)
    )
    return MarketBook(side, None)


@pytest.mark.parametrize(
    ("came_s", "price", "mute"),
    [(62.0, 2.0, [(A, 0, 61)]), (62.0, 1.0, []), (70.0, 2.0, [])],
    ids=["another book at once", "the same book", "another book, later"],
)
def test_quiet_book_was_mute_if_a_new_subscription_brings_another_one_at_once(
    came_s: float, price: float, mute: list[tuple[str, int, int]]
) -> None:
    freshness = BookFreshness(DEADLINE_S)
    before = {A: book(0, 1.0)}
    assert freshness.check(before, {A}, 0, NOW_US) == []
    assert freshness.check(before, set(), 61, NOW_US) == []  # its connection brings nothing at all
    assert freshness.check(before, {A}, 61, NOW_US) == [A]
    assert freshness.check(before, {A}, 62, NOW_US) == []  # once
    assert freshness.settle(before, {A: NOW_US + 61_000_000}) == []
    after = {A: book(came_s, price)}
    found = freshness.settle(after, {A: NOW_US + 61_000_000})
    assert found == [
        (symbol, NOW_US + began * 1_000_000, NOW_US + ended * 1_000_000)
        for symbol, began, ended in mute
    ]
    assert freshness.unverified(1000) == []


def test_book_that_brings_nothing_after_a_new_subscription_is_not_verified() -> None:
    freshness = BookFreshness(DEADLINE_S)
    before = {A: book(0, 1.0)}
    freshness.check(before, {A}, 0, NOW_US)
    freshness.check(before, {A}, 61, NOW_US)
    assert freshness.unverified(62) == []
    assert freshness.unverified(62 + DEADLINE_S) == [A]
