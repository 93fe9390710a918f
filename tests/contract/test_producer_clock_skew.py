"""A clock that differs from the exchange's: trades are stored with both times, and radar warns."""

import asyncio
from typing import Any

import pytest

from producing import Topic, metric, options, until
from radar.datasets import DEPTH, TRADES, Dataset
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


@pytest.mark.parametrize(
    ("name", "dataset", "ahead_s"),
    [("wallex", TRADES, 900.0), ("binance", DEPTH, -7.25), ("kraken", TRADES, 0.0)],
    ids=lambda each: getattr(each, "name", str(each)),
)
def test_offset_of_an_exchanges_clock_is_measured_within_its_uncertainty(
    name: str, dataset: Dataset, ahead_s: float, kafka_settings: Settings
) -> None:
    async def record() -> None:
        simulated = SimulatorOptions(exchange=name, symbols=3, clock_ahead_s=ahead_s)
        async with simulator(simulated) as sim:
            ws_url = sim.ws_url if name == "wallex" else sim.rest_url.replace("http", "ws")
            addresses = {f"{name}_ws_url": ws_url, f"{name}_rest_url": sim.rest_url}
            changes = {"exchanges": (name,), "markets_refresh_seconds": 0.2}
            settings = kafka_settings.model_copy(update=addresses | changes).of_exchange(name)
            health, stop = Health(), asyncio.Event()

            def measured() -> tuple[float, float]:
                return (
                    metric("radar_clock_offset_seconds", exchange=name),
                    metric("radar_clock_offset_uncertainty_seconds", exchange=name),
                )

            of_others = measured()  # earlier tests of this process
            producer = asyncio.create_task(run(settings, dataset, stop, health))
            # Several answers bound it more closely than whole seconds.
            await until(lambda: measured() != of_others and 0 < measured()[1] < 0.3)
            offset_s, uncertainty_s = measured()
            assert abs(offset_s + ahead_s) <= uncertainty_s
            await until(lambda: bool(health.warnings()) is bool(ahead_s))
            for warning in health.warnings():
                assert ("behind" if ahead_s > 0 else "ahead of") in warning
                assert "by its REST answers" in warning
            stop.set()
            await producer

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
