"""A depth producer parses only the snapshots that it publishes."""

import asyncio
from typing import Any

import pytest

from producing import Topic, metric, options, producing, until
from radar.datasets import DEPTH
from radar.exchanges import bitpin, nobitex, ramzinex, wallex
from radar.settings import Settings
from radar_simulator import SimulatorOptions, simulator


def test_depth_producer_never_parses_a_snapshot_that_conflation_discards(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[Any] = []
    parse = wallex.parse_depth

    def counted(*arguments: Any) -> Any:
        parsed.append(arguments)
        return parse(*arguments)

    monkeypatch.setattr(wallex, "parse_depth", counted)

    async def record() -> tuple[int, int, float]:
        async with simulator(SimulatorOptions(symbols=3, trades_per_s=0, depth_per_s=500)) as sim:
            settings = options(kafka_settings, sim, depth_interval_seconds=3600.0)
            topic = Topic(settings, DEPTH)
            before = metric("radar_conflated_snapshots_total", exchange="wallex")

            def discarded() -> float:
                return metric("radar_conflated_snapshots_total", exchange="wallex") - before

            async with producing(settings, DEPTH):
                await until(lambda: discarded() > 500)
                while_it_ran = len(parsed)
            await asyncio.to_thread(topic.read_to_end)
            topic.close()
            return while_it_ran, len(topic.messages), discarded()

    while_it_ran, published, discarded = asyncio.run(record())
    # The first snapshot of both sides of each market is due at once, the last one at the end.
    assert while_it_ran == 6
    assert published == len(parsed) == 12
    assert discarded > 500


@pytest.mark.parametrize(
    ("exchange", "levels"), [("nobitex", nobitex), ("bitpin", bitpin), ("ramzinex", ramzinex)]
)
def test_depth_producer_never_parses_a_book_that_conflation_discards(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch, exchange: str, levels: Any
) -> None:
    parsed: list[Any] = []
    both_sides = levels.both_sides

    def counted(*arguments: Any, **named: Any) -> Any:
        parsed.append(arguments)
        return both_sides(*arguments, **named)

    monkeypatch.setattr(levels, "both_sides", counted)

    async def record() -> tuple[int, int]:
        simulated = SimulatorOptions(exchange=exchange, symbols=3, trades_per_s=0, depth_per_s=500)
        async with simulator(simulated) as sim:
            settings = options(
                kafka_settings, sim, exchanges=(exchange,), depth_interval_seconds=3600.0
            )
            topic = Topic(settings, DEPTH)
            before = metric("radar_conflated_snapshots_total", exchange=exchange)

            def discarded() -> float:
                return metric("radar_conflated_snapshots_total", exchange=exchange) - before

            async with producing(settings, DEPTH):
                await until(lambda: discarded() > 500)
                while_it_ran = len(parsed)
            await asyncio.to_thread(topic.read_to_end)
            topic.close()
            return while_it_ran, len(topic.messages)

    while_it_ran, published = asyncio.run(record())
    # The first book of each market is due at once, and the last one at the end.
    assert while_it_ran == 3
    assert len(parsed) == 6
    assert published == 12
