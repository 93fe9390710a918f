"""The order in which recorded trades appear, exact amounts, and the words of the control."""

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar.replay.control import iso, parse_speed
from radar.replay.records import DELAY_US, in_order
from radar_simulator.recorded import PLACES, RecordedTrade, units

SECOND_US = 1_000_000
AT_US = 1_782_896_400 * SECOND_US


def _trade(number: int, event_us: int, symbol: str = "BTCUSDT") -> RecordedTrade:
    return RecordedTrade(symbol, event_us, "1", "1", is_buy=True, native_id=str(number))


def _numbers(trades: list[tuple[int, int, RecordedTrade]]) -> list[tuple[int, str]]:
    return [(moment - AT_US, trade.native_id) for moment, trade in in_order(trades)]


def test_a_trade_appears_when_it_arrived() -> None:
    trades = [(AT_US, AT_US + 120_000, _trade(1, AT_US))]
    assert _numbers(trades) == [(120_000, "1")]


def test_a_trade_that_was_fetched_later_appears_at_its_own_time() -> None:
    fetched_us = AT_US + 3_600 * SECOND_US
    later_us = AT_US + SECOND_US
    trades = [
        (AT_US, fetched_us, _trade(1, AT_US)),
        (later_us, later_us + 5, _trade(2, later_us)),
    ]
    assert _numbers(trades) == [(0, "1"), (SECOND_US + 5, "2")]


def test_trades_of_a_market_keep_the_order_of_the_exchange() -> None:
    trades = [
        (AT_US, AT_US + 400_000, _trade(1, AT_US)),
        (AT_US + 1, AT_US + 100_000, _trade(2, AT_US + 1)),
        (AT_US + 2, AT_US + 200_000, _trade(3, AT_US + 2, "ETHUSDT")),
    ]
    assert _numbers(trades) == [(200_000, "3"), (400_000, "1"), (400_000, "2")]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 20 * SECOND_US),
            st.integers(-SECOND_US, 3 * DELAY_US),
            st.sampled_from(["A", "B"]),
        )
    )
)
def test_every_trade_appears_once_in_rising_moments(
    made: list[tuple[int, int, str]],
) -> None:
    made.sort()
    trades = [
        (AT_US + at, AT_US + at + delay, _trade(number, AT_US + at, symbol))
        for number, (at, delay, symbol) in enumerate(made)
    ]
    found = list(in_order(trades))
    assert sorted(int(trade.native_id) for _, trade in found) == list(range(len(made)))
    assert [moment for moment, _ in found] == sorted(moment for moment, _ in found)
    for symbol in ("A", "B"):
        numbers = [int(trade.native_id) for _, trade in found if trade.symbol == symbol]
        assert numbers == sorted(numbers)


@given(st.decimals(0, 10**19, allow_nan=False, allow_infinity=False, places=PLACES))
def test_amounts_are_exact(amount: Decimal) -> None:
    assert units(format(amount, "f")) == int(format(amount, "f").replace(".", ""))


@given(st.floats(1e-15, 1e15))
def test_doubles_are_their_shortest_text(number: float) -> None:
    text = format(Decimal(repr(number)), "f")
    whole, _, fraction = text.partition(".")
    assert units(repr(number)) == int(whole + fraction[:PLACES].ljust(PLACES, "0"))


@pytest.mark.parametrize(
    ("text", "speed"), [("1", 1.0), ("10x", 10.0), ("0.5", 0.5), ("max", math.inf)]
)
def test_a_speed_is_a_number_or_max(text: str, speed: float) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "fast", "1e999", "0.001"])
def test_another_speed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no speed"):
        parse_speed(text)


def test_a_moment_is_shown_in_milliseconds() -> None:
    assert iso(AT_US + 1_999) == "2026-07-01T09:00:00.001Z"
