"""Metrics: declared once, documented, removed when they no longer hold."""

from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from radar.consumer.lag import MAX_SIGHTINGS, Backlog, LagGauge
from radar.datasets import DEPTH
from radar.errors import InvalidMessage
from radar.producer.recorders import SKEW_WINDOW_US, TradeRecorder
from radar.records import Trade, TradeSide
from radar.telemetry import metrics

ROOT = Path(__file__).parents[2]


def lag(partition: int) -> float | None:
    return REGISTRY.get_sample_value(
        "radar_lag_messages", {"dataset": "depth", "partition": str(partition)}
    )


def lag_s(partition: int) -> float | None:
    return REGISTRY.get_sample_value(
        "radar_lag_seconds", {"dataset": "depth", "partition": str(partition)}
    )


def skew_s() -> float | None:
    return REGISTRY.get_sample_value("radar_clock_skew_seconds", {"exchange": "skewed"})


def trade(received_at_us: int, delay_us: int) -> Trade:
    return Trade(
        source="skewed",
        symbol="USDTTMN",
        base="USDT",
        quote="TMN",
        side=TradeSide.BUY,
        price="1",
        base_amount=str(received_at_us),
        event_time_ms=(received_at_us - delay_us) // 1000,
        received_at_us=received_at_us,
    )


def test_reference_equals_the_declaration() -> None:
    message = "write it again: make generated"
    assert (ROOT / "docs" / "metrics.md").read_text() == metrics.reference(), message


def test_declaration_names_every_metric_as_prometheus_sees_it() -> None:
    families = {family.name: family for family in REGISTRY.collect()}
    for declared in metrics.DECLARED:
        family = families[declared.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (declared.type, declared.meaning)
    ours = {name for name in families if name.startswith("radar_")}
    assert ours == {declared.name.removesuffix("_total") for declared in metrics.DECLARED}


def test_lag_of_a_partition_that_was_lost_is_shown_no_more() -> None:
    gauge = LagGauge(DEPTH)
    gauge.show({0: 10, 1: 20, 2: 30}, {0: 10, 1: 5})
    assert (lag(0), lag(1), lag(2)) == (0, 15, None)
    gauge.show({0: 10, 1: 20, 2: 30}, {1: 20, 2: 1})
    assert (lag(0), lag(1), lag(2)) == (None, 0, 29)


def test_lag_behind_a_log_that_went_back_or_is_unknown_is_zero() -> None:
    gauge = LagGauge(DEPTH)
    gauge.show({0: 10}, {0: 12, 1: 4})
    assert (lag(0), lag(1)) == (0, 0)


def test_age_of_a_lag_is_that_of_its_oldest_message() -> None:
    times = iter((100.0, 110.0, 115.0, 120.0, 125.0, 130.0, 131.0))
    gauge = LagGauge(DEPTH, lambda: next(times))
    gauge.show({0: 10}, {0: 10})
    assert lag_s(0) == 0
    for end, stored, age_s in (
        (20, 10, 0.0),  # the first sight
        (30, 10, 5.0),
        (40, 20, 5.0),  # the oldest message now came at 115
        (40, 40, 0.0),
        (7, 3, 0.0),  # another log
        (7, 3, 1.0),
    ):
        gauge.show({0: end}, {0: stored})
        assert lag_s(0) == age_s
    gauge.show({0: 7}, {})
    assert lag_s(0) is None


def test_age_of_a_lag_needs_bounded_memory_and_stays_exact() -> None:
    backlog = Backlog()
    for second in range(10 * MAX_SIGHTINGS):
        age_s = backlog.age_s(float(second), second + 1, 0)
        assert age_s == second
    assert len(backlog._sightings) <= MAX_SIGHTINGS


def test_clock_skew_is_the_delay_nearest_to_none_of_the_live_trades_of_a_window() -> None:
    recorder = TradeRecorder("skewed")
    take, start_us = recorder.taker(), 1_700_000_000_000_000
    for second, delay_us in enumerate((900_000, -250_000, 3_600_000_000)):
        take(trade(start_us + second * 1_000_000, delay_us))
    take(trade(start_us + SKEW_WINDOW_US, 40_000))
    assert skew_s() == recorder.clock_skew_s == -0.25
    # What REST reports may be of any age, and one absurd trade is no clock.
    history = recorder.taker(history=True)
    history(trade(start_us + SKEW_WINDOW_US + 1, 86_400_000_000))
    with pytest.raises(InvalidMessage):
        take(trade(start_us + SKEW_WINDOW_US + 2, -7_000_000_000_000))
    take(trade(start_us + 2 * SKEW_WINDOW_US, 900_000_000))
    assert skew_s() == 0.04
    # The clock was set back: the window ends.
    take(trade(start_us, 0))
    assert skew_s() == 900
