"""A clock that jumps, a machine that sleeps, a process that stands still: none of it is watched."""

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from producing import Topic, options, producing
from radar.datasets import DEPTH, GAPS, TRADES, WATCHES, Dataset
from radar.producer import clock
from radar.producer.clock import RecordingClock
from radar.records import GapCause
from radar.settings import Settings
from radar_simulator import SimulatorOptions, simulator

HOUR_NS = 3_600_000_000_000


class Clocks:
    """The clocks of this machine, which a test sets; the monotonic one stays right."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_ns = self.asleep_ns = self.stood_ns = 0
        real_ns, monotonic_ns = time.time_ns, time.monotonic_ns
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() + self.ahead_ns)
        # Not `time.time`: the simulated exchange has a clock of its own, which is right.
        monkeypatch.setattr(time, "monotonic_ns", lambda: monotonic_ns() + self.stood_ns)
        monkeypatch.setattr(clock, "_sleep_ns", lambda: self.asleep_ns)


def set_clock(clocks: Clocks) -> None:
    clocks.ahead_ns += HOUR_NS


def sleep_for_an_hour(clocks: Clocks) -> None:
    clocks.ahead_ns += HOUR_NS
    clocks.asleep_ns += HOUR_NS


def stand_still(clocks: Clocks) -> None:
    clocks.stood_ns += HOUR_NS
    clocks.ahead_ns += HOUR_NS


JUMPS: dict[str, tuple[Callable[[Clocks], None], str]] = {
    "set ahead": (set_clock, "clock"),
    "asleep": (sleep_for_an_hour, "suspended"),
    "stopped": (stand_still, "suspended"),
}


@pytest.mark.parametrize("jump", JUMPS)
def test_clock_calls_back_before_it_gives_a_time_after_a_jump(
    jump: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    harm, cause = JUMPS[jump]
    clocks, seen = Clocks(monkeypatch), list[GapCause]()
    recording = RecordingClock()
    recording.on_jump = seen.append
    before_us = recording.now_us()
    clocks.ahead_ns += 1_000_000_000  # adjusted by a second
    recording.now_us()
    assert seen == []
    harm(clocks)
    assert recording.now_us() - before_us >= HOUR_NS // 1000
    recording.now_us()
    assert seen == [cause]
    clocks.ahead_ns -= HOUR_NS
    recording.now_us()
    assert seen == [cause, "clock"]


@pytest.mark.fault(
    "The machine slept, its clock was set, or the producer stood still",
    report="the session ends before it, another begins after it; a gap suspended or clock between",
    place="coverage, data quality page, views watches and symbol_gaps, radar_gaps_total, log",
    within_s=30,
)
@pytest.mark.parametrize("dataset", [TRADES, DEPTH], ids=lambda dataset: dataset.name)
@pytest.mark.parametrize("jump", JUMPS)
def test_time_that_jumped_is_a_gap_and_was_not_watched(
    jump: str,
    dataset: Dataset,
    kafka_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    within_s: float,
) -> None:
    harm, cause = JUMPS[jump]
    clocks = Clocks(monkeypatch)

    async def record() -> None:
        simulated = SimulatorOptions(symbols=3, trades_per_s=50, recent_trades=6000)
        async with simulator(simulated) as sim:
            settings = options(kafka_settings, sim, depth_interval_seconds=0.1)
            topic, gaps, watches = (Topic(settings, each) for each in (dataset, GAPS, WATCHES))
            async with producing(settings, dataset):
                await topic.until(lambda: len(topic.messages) > 100, "the first messages")
                harm(clocks)
                async with asyncio.timeout(within_s):
                    await gaps.until(lambda: len(gaps.messages) > 0, "the gap")
                clocks.ahead_ns -= 2 * HOUR_NS  # set back
                count = len(topic.messages)
                await topic.until(lambda: len(topic.messages) > count + 100, "it goes on")
            await asyncio.to_thread(gaps.read)
            await watches.until(lambda: ends(watches).count("stopped") == 1, "the stop")
            (gap,) = gaps.messages
            assert (gap["cause"], gap["record_kind"], len(gap["symbols"])) == (
                cause,
                dataset.name,
                3,
            )
            assert gap["repaired"] is (dataset is TRADES)
            assert HOUR_NS / 1e3 < gap["ended_at_us"] - gap["began_at_us"] < 1.1 * HOUR_NS / 1e3
            told = newest(watches)
            assert sorted(ends(watches)) == sorted([cause, "clock", "stopped"])
            assert all(
                each["began_at_us"] <= each["ended_at_us"] < each["began_at_us"] + HOUR_NS / 2e3
                for each in told
            )
            for one, other in itertools.pairwise(
                sorted(told, key=lambda each: each["began_at_us"])
            ):
                assert one["ended_at_us"] <= other["began_at_us"]
            for each in (topic, gaps, watches):
                each.close()

    asyncio.run(record())


def newest(topic: Topic) -> list[dict[str, Any]]:
    """Return the watches, each as it was reported last."""
    return list(
        {(each["connection"], each["began_at_us"]): each for each in topic.messages}.values()
    )


def ends(topic: Topic) -> list[str]:
    return [each["end_reason"] for each in newest(topic)]
