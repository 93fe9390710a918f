"""Producers against the simulated exchange and the embedded broker, all over real sockets."""

import asyncio
import time
from typing import Any

import pytest

from ports import free_port
from producing import Topic, metric, options, producing, sent, until
from radar.datasets import DEPTH, TRADES
from radar.producer.producer import run
from radar.settings import Settings
from radar.telemetry.health import Health
from radar_simulator import SimulatorOptions, simulator

FAULTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # name: fault, options of the producer
    "none": ({}, {}),
    "kick": ({"name": "kick"}, {}),
    "cut": ({"name": "kick", "close_frame": False}, {}),
    "garbage": ({"name": "garbage", "repeat": 30}, {}),
    "refuse": ({"name": "refuse", "seconds": 0.5}, {}),
    "stall": ({"name": "stall", "seconds": 60}, {"silence_timeout_seconds": 1.0}),
    "half_open": ({"name": "half_open", "seconds": 60}, {"silence_timeout_seconds": 1.0}),
    "rotation": (
        {},
        {"connection_max_age_seconds": 1.0, "connection_overlap_seconds": 0.5},
    ),
    "resend": ({"name": "resend", "count": 50}, {}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_trades_producer_under_a_fault_stores_every_trade_once(
    fault: str, kafka_settings: Settings
) -> None:
    async def record() -> None:
        applied, changes = FAULTS[fault]
        # The busiest market makes a third of them, and REST tells its last 200, which must reach
        # back to the second of a subscription: silence is noticed after a second, and with a new
        # connection each second a busy machine may take that long.
        simulated = SimulatorOptions(
            symbols=12,
            trades_per_s={"stall": 200, "half_open": 200, "rotation": 80}.get(fault, 400),
            depth_per_s=0,
            twin_share=0.3,
        )
        async with simulator(simulated) as sim:
            settings = options(kafka_settings, sim, **changes)
            topic = Topic(settings, TRADES)
            async with producing(settings, TRADES):
                await topic.until(lambda: len(topic.messages) > 50, "the first trades")
                opened = sim.ledger.summary().connections_opened
                if applied:
                    sim.fault(**applied)
                    if fault in ("refuse", "resend"):
                        sim.fault("kick")
                if fault not in ("none", "garbage"):
                    await until(lambda: sim.ledger.summary().connections_opened >= opened + 3)
                count = len(topic.messages)
                await topic.until(lambda: len(topic.messages) > count + 50, "more trades")
                assert await sim.quiesce()
                # All that happened: what no connection got is fetched over REST.
                await topic.until(lambda: sent(sim.ledger.trades()) <= topic.trades(), "the rest")
            await asyncio.to_thread(topic.read)
            assert topic.trades() == sent(sim.ledger.trades())
            assert sum(topic.trades().values()) == len(topic.messages), "a trade published twice"
            topic.close()

    asyncio.run(record())


def test_trades_producer_started_again_fetches_what_happened_meanwhile(
    kafka_settings: Settings,
) -> None:
    async def record() -> None:
        simulated = SimulatorOptions(symbols=6, trades_per_s=100, depth_per_s=0, twin_share=0.3)
        async with simulator(simulated) as sim:
            settings = options(kafka_settings, sim)
            topic = Topic(settings, TRADES)
            async with producing(settings, TRADES):
                await topic.until(lambda: len(topic.messages) > 50, "the first trades")
            missed = sim.trade(100)
            async with producing(settings, TRADES):
                await topic.until(lambda: sent(missed) <= topic.trades(), "the missed trades")
                assert await sim.quiesce()
                await topic.until(lambda: sent(sim.ledger.trades()) <= topic.trades(), "the rest")
            assert topic.trades() == sent(sim.ledger.trades())
            topic.close()

    asyncio.run(record())


def test_trades_producer_while_rest_fails_repairs_afterwards(kafka_settings: Settings) -> None:
    async def record() -> None:
        simulated = SimulatorOptions(symbols=3, trades_per_s=5, depth_per_s=0)
        async with simulator(simulated) as sim:
            settings = options(kafka_settings, sim)
            topic = Topic(settings, TRADES)
            async with producing(settings, TRADES):
                await topic.until(lambda: len(topic.messages) > 10, "the first trades")
                sim.fault("refuse", seconds=0.5)
                sim.fault("rest_error", seconds=1.5, status=429)
                sim.fault("kick")
                missed = sim.trade(30)
                await topic.until(lambda: sent(missed) <= topic.trades(), "the missed trades")
            topic.close()

    asyncio.run(record())


def test_trades_producer_with_garbage_counts_it_and_keeps_the_connection(
    kafka_settings: Settings,
) -> None:
    async def record() -> None:
        simulated = SimulatorOptions(symbols=3, trades_per_s=50, depth_per_s=0)
        async with simulator(simulated) as sim:
            settings = options(kafka_settings, sim)
            topic = Topic(settings, TRADES)
            labels = {"exchange": "wallex", "dataset": "trades"}
            before = metric("radar_invalid_frames_total", **labels)
            async with producing(settings, TRADES):
                await topic.until(lambda: len(topic.messages) > 10, "the first trades")
                sim.fault("garbage", kind="invalid_json", repeat=7)
                await until(lambda: metric("radar_invalid_frames_total", **labels) == before + 7)
                assert sim.ledger.summary().connections_opened == 1
                assert sim.ledger.summary().connections_open == 1
            topic.close()

    asyncio.run(record())


def test_trades_producer_with_a_huge_frame_reconnects(kafka_settings: Settings) -> None:
    async def record() -> None:
        async with simulator(SimulatorOptions(symbols=2, depth_per_s=0)) as sim:
            labels = {"exchange": "wallex", "dataset": "trades", "reason": "overflow"}
            before = metric("radar_reconnects_total", **labels)
            async with producing(options(kafka_settings, sim), TRADES):
                await until(lambda: sim.ledger.summary().connections_open == 1)
                sim.fault("garbage", kind="huge")
                await until(lambda: sim.ledger.summary().connections_opened == 2)
                assert metric("radar_reconnects_total", **labels) == before + 1

    asyncio.run(record())


def test_producer_asked_for_pongs_answers_and_stays(kafka_settings: Settings) -> None:
    async def record() -> None:
        simulated = SimulatorOptions(
            symbols=2, trades_per_s=1, depth_per_s=0, ping_interval_s=0.2, pong_timeout_s=0.3
        )
        async with (
            simulator(simulated) as sim,
            producing(options(kafka_settings, sim), TRADES),
        ):
            await until(lambda: sim.ledger.summary().connections_open == 1)
            await asyncio.sleep(1)
            assert sim.ledger.summary().connections_opened == 1

    asyncio.run(record())


def test_depth_producer_publishes_each_side_of_each_market_at_the_interval(
    kafka_settings: Settings,
) -> None:
    async def record() -> None:
        simulated = SimulatorOptions(symbols=8, trades_per_s=20, depth_per_s=400)
        async with simulator(simulated) as sim:
            settings = options(kafka_settings, sim, depth_interval_seconds=1.0)
            topic = Topic(settings, DEPTH)
            async with producing(settings, DEPTH):
                await topic.until(lambda: len(topic.messages) >= 16 * 4, "four intervals")
            by_side: dict[tuple[str, str], list[float]] = {}
            for each in topic.messages:
                received_s = each["received_at_us"] / 1e6
                by_side.setdefault((each["symbol"], each["side"]), []).append(received_s)
            assert len(by_side) == 16
            for times in by_side.values():
                assert len(times) >= 3
                # The one of the n-th interval was the newest at its end, so it was received in it.
                assert all(at - times[0] > n - 1 for n, at in enumerate(times)), times
            topic.close()

    asyncio.run(record())


def test_depth_producer_stopped_publishes_what_waits(kafka_settings: Settings) -> None:
    async def record() -> None:
        async with simulator(SimulatorOptions(symbols=2, depth_per_s=100)) as sim:
            settings = options(kafka_settings, sim, depth_interval_seconds=3600)
            topic = Topic(settings, DEPTH)
            async with producing(settings, DEPTH):
                await topic.until(lambda: len(topic.messages) == 4, "the first of each side")
                started = time.time()
                await until(lambda: min(sim.ledger.summary().depth_frames_by_channel.values()) >= 3)
            await topic.until(lambda: len(topic.messages) == 8, "the last of each side")
            assert all(each["received_at_us"] / 1e6 > started - 1 for each in topic.messages[4:])
            topic.close()

    asyncio.run(record())


def test_producer_with_an_unknown_symbol_names_it_and_records_the_others(
    kafka_settings: Settings,
) -> None:
    async def record() -> None:
        async with simulator(SimulatorOptions(symbols=4)) as sim:
            settings = options(kafka_settings, sim, symbols=("USDTTMN", "BTCTNM"))
            topic, health = Topic(settings, TRADES), Health()
            async with producing(settings, TRADES, health):
                await topic.until(lambda: len(topic.messages) > 3, "trades of the other")
                await until(lambda: bool(health.warnings()))
                (warning,) = health.warnings()
                assert "BTCTNM (not listed, similar: BTCTMN" in warning
            assert {each["symbol"] for each in topic.messages} == {"USDTTMN"}
            topic.close()

    asyncio.run(record())


def test_producer_with_symbols_records_only_these(kafka_settings: Settings) -> None:
    async def record() -> None:
        async with simulator(SimulatorOptions(symbols=4, depth_per_s=100)) as sim:
            settings = options(
                kafka_settings, sim, symbols=("USDTTMN",), depth_interval_seconds=0.1
            )
            topic = Topic(settings, DEPTH)
            async with producing(settings, DEPTH):
                await topic.until(lambda: len(topic.messages) > 10, "some snapshots")
            assert {(each["symbol"], each["side"]) for each in topic.messages} == {
                ("USDTTMN", "bid"), ("USDTTMN", "ask"),
            }  # fmt: skip
            topic.close()

    asyncio.run(record())


def test_producer_stopped_before_the_exchange_answers_ends_at_once(
    kafka_settings: Settings,
) -> None:
    async def record() -> None:
        nobody = f"http://127.0.0.1:{free_port()}"
        settings = kafka_settings.model_copy(update={"exchange_rest_url": nobody})
        stop = asyncio.Event()
        task = asyncio.create_task(run(settings, TRADES, stop))
        await asyncio.wait([task], timeout=0.5)
        assert not task.done()
        stop.set()
        await asyncio.wait_for(task, 5)

    asyncio.run(record())
