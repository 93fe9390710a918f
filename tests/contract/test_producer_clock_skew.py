"""A clock that differs from the exchange's: trades are stored with both times, and radar warns."""

import asyncio
from typing import Any

import pytest

from producing import Topic, options, until
from radar.datasets import TRADES
from radar.producer import recorders
from radar.producer.producer import run
from radar.settings import Settings
from radar.telemetry.health import Health
from radar_simulator import SimulatorOptions, simulator


@pytest.mark.fault(
    "The clocks of this machine and of the exchange differ by minutes or hours",
    report="warning with the difference and the remedy; trades are stored with both times",
    place="status, /readyz, radar health, radar_warnings, radar_clock_skew_seconds, RadarClockSkew",
    within_s=30,
)
@pytest.mark.parametrize("ahead_s", [900, -7200])
def test_trades_of_an_exchange_whose_clock_differs_are_published_with_a_warning(
    ahead_s: int, kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch, within_s: float
) -> None:
    monkeypatch.setattr(recorders, "SKEW_WINDOW_US", 500_000)

    async def record() -> None:
        simulated = SimulatorOptions(symbols=3, trades_per_s=50, depth_per_s=0)
        async with simulator(simulated) as sim:
            shift_times(monkeypatch, ahead_s)
            settings = options(kafka_settings, sim)
            topic, health, stop = Topic(settings, TRADES), Health(), asyncio.Event()
            producer = asyncio.create_task(run(settings, TRADES, stop, health))
            await until(lambda: bool(health.warnings()), within_s)
            (warning,) = health.warnings()
            where = "behind" if ahead_s > 0 else "ahead of"
            assert f" s {where} the exchange's" in warning
            assert not health.why_not_ready()
            await topic.until(lambda: len(topic.messages) > 100, "the trades")
            for each in topic.messages:
                delay_s = each["received_at_us"] / 1e6 - each["event_time_ms"] / 1e3
                assert abs(delay_s + ahead_s) < within_s
            stop.set()
            await producer
            topic.close()

    asyncio.run(record())


def shift_times(monkeypatch: pytest.MonkeyPatch, ahead_s: int) -> None:
    """Let every trade carry the time of a clock that is ahead."""
    from radar.exchanges import wallex

    right = wallex.parse_trade

    def parse_trade(*arguments: Any, **named: Any) -> Any:
        trade = right(*arguments, **named)
        members = {name: getattr(trade, name) for name in trade.__struct_fields__}
        return type(trade)(**members | {"event_time_ms": trade.event_time_ms + ahead_s * 1000})

    monkeypatch.setattr(wallex, "parse_trade", parse_trade)
