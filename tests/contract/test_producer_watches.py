"""What a producer records of its connections: begin, end, reason, interval."""

import asyncio
from typing import Any

import pytest

from producing import Topic, options, producing
from radar.datasets import DEPTH, TRADES, WATCHES
from radar.producer import session_recorder
from radar.settings import Settings
from radar_simulator import SimulatorOptions, simulator


def newest(topic: Topic) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the watches, each as it was told last."""
    return {(each["connection"], each["began_at_us"]): each for each in topic.messages}


def ends(topic: Topic) -> list[str]:
    return sorted(each["end_reason"] for each in newest(topic).values())


def test_producer_tells_each_watch_while_it_lasts_and_its_end(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_recorder, "REPORT_EVERY_S", 0.1)

    async def record() -> None:
        simulated = SimulatorOptions(symbols=3, trades_per_s=50, depth_per_s=0)
        async with simulator(simulated) as sim:
            settings = options(
                kafka_settings, sim, connection_max_age_seconds=2, connection_overlap_seconds=0.2
            )
            topic = Topic(settings, WATCHES)
            async with producing(settings, TRADES):
                await topic.until(lambda: len(topic.messages) > 4, "it grows while it lasts")
                (first,) = newest(topic).values()
                assert first["end_reason"] == "open"
                assert first["ended_at_us"] > first["began_at_us"]
                assert set(first["symbols"]) == set(sim.market.markets) - {"GOLD18TMN", "SILVERTMN"}
                assert (first["record_kind"], first["interval_ms"]) == ("trades", 0)
                sim.fault("kick")
                await topic.until(lambda: "closed" in ends(topic), "the end")
                await topic.until(lambda: "rotated" in ends(topic), "the rotation")
            await topic.until(lambda: "stopped" in ends(topic), "the stop")
            assert "open" not in ends(topic)
            rotated = next(
                each for each in newest(topic).values() if each["end_reason"] == "rotated"
            )
            successor = min(
                each["began_at_us"]
                for each in newest(topic).values()
                if each["began_at_us"] > rotated["began_at_us"]
            )
            assert successor < rotated["ended_at_us"], "they overlap"
            topic.close()

    asyncio.run(record())


def test_depth_producer_tells_its_interval(kafka_settings: Settings) -> None:
    async def record() -> None:
        simulated = SimulatorOptions(symbols=3, trades_per_s=0, depth_per_s=50)
        async with simulator(simulated) as sim:
            settings = options(kafka_settings, sim, depth_interval_seconds=2.5)
            topic = Topic(settings, WATCHES)
            async with producing(settings, DEPTH):
                await topic.until(lambda: len(topic.messages) > 0, "the beginning")
            await topic.until(lambda: ends(topic) == ["stopped"], "the stop")
            assert {each["interval_ms"] for each in topic.messages} == {2500}
            assert {each["record_kind"] for each in topic.messages} == {"depth"}
            topic.close()

    asyncio.run(record())
