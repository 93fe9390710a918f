"""Candles of an exchange against recorded trades."""

from decimal import Decimal

import pytest

from radar.checks.candle_comparison import Minute, compare
from radar.checks.proof import MINUTE_US, Span
from radar.records import ExchangeCandle

START = 1_000 * MINUTE_US
LATER = START + 100 * MINUTE_US


def candle(minute: int, volume: str, high: str = "3", low: str = "1") -> ExchangeCandle:
    return ExchangeCandle(
        source="wallex", symbol="BTCTMN", base="BTC", quote="TMN", interval_s=60, resolution="1",
        time_zone="", opened_at_us=START + minute * MINUTE_US, open="2", high=high, low=low,
        close="2", volume=volume, received_at_us=LATER,
    )  # fmt: skip


def minute(volume: str, high: str = "3", low: str = "1") -> Minute:
    return Minute(Decimal(volume), Decimal(high), Decimal(low))


def verdicts(
    candles: list[ExchangeCandle], recorded: dict[int, Minute], count: int, asked_at: int = LATER
) -> list[str]:
    found = compare(
        candles,
        {START + at * MINUTE_US: each for at, each in recorded.items()},
        Span(START, START + count * MINUTE_US),
        asked_at,
    )
    return [str(found[at]) for at in sorted(found)]


@pytest.mark.parametrize(
    ("claimed", "recorded", "verdict"),
    [
        ("1.5", "1.5", "equal"),
        ("1.5", "1.4", "short"),
        ("1.5", "1.6", "different"),
        ("1.2345", "1.23456", "equal"),  # the exchange shows four decimals
        ("1.2346", "1.23456", "equal"),
        ("1.2346", "1.23446", "short"),
        ("1.2", "1.24", "different"),  # one decimal would hide losses
        ("0.300000000000000044", "0.3", "equal"),  # a sum of doubles
    ],
)
def test_volumes_are_compared_as_far_as_the_exchange_shows_them(
    claimed: str, recorded: str, verdict: str
) -> None:
    assert verdicts([candle(0, claimed)], {0: minute(recorded)}, 1) == [verdict]


def test_prices_are_compared_too() -> None:
    recorded = {0: minute("1", high="4"), 1: minute("1", high="4"), 2: minute("1")}
    candles = [candle(n, "1") for n in range(3)]
    assert verdicts(candles, recorded, 3) == ["different", "different", "equal"]


def test_a_minute_without_a_candle_had_no_trade() -> None:
    assert verdicts([candle(1, "0")], {2: minute("1")}, 3) == ["equal", "equal", "different"]


def test_a_trade_that_the_exchange_counts_in_the_next_minute_is_not_missing() -> None:
    recorded = {0: minute("5"), 1: minute("3"), 2: minute("1")}
    candles = [candle(0, "4"), candle(1, "4"), candle(2, "2")]
    assert verdicts(candles, recorded, 3) == ["equal", "equal", "short"]


def test_an_unfinished_minute_has_no_verdict() -> None:
    asked_at = START + MINUTE_US + 30_000_000
    assert verdicts([candle(0, "1"), candle(1, "1")], {0: minute("1")}, 2, asked_at) == ["equal"]
