"""What the recording of frames costs is stated from measured rates, or as unknown."""

import pytest

from radar.checks.frame_cost import Received, Recorded, describe
from radar.settings import load

MEBI = 1024 * 1024


def test_cost_of_recorded_frames_is_measured() -> None:
    settings = load(record_frames="all", frames_retention_days=10)
    text = describe(settings, Recorded(1e9, 43_200, 0.1), {}).detail
    assert text == (
        "RECORD_FRAMES=all: 2 GB of frames a day take 200 MB of disk a day, 2 GB in 10 days"
        " (FRAMES_RETENTION_DAYS); measured over 12.0 h"
    )


def test_cost_before_a_recording_follows_from_what_producers_receive() -> None:
    received = {"trades": Received(10, 2_000), "depth": Received(100, 100_000)}
    text = describe(load(), None, received).detail
    # 40 bytes a frame, and a 25th of its bytes.
    assert "RECORD_FRAMES=none; RECORD_FRAMES=all would take about 733 MB of disk a day" in text
    assert "RECORD_FRAMES=trades 41.5 MB" in text
    assert "producers receive 8.81 GB of frames a day" in text


def test_cost_is_unknown_without_a_measurement() -> None:
    assert "the cost of a day is unknown" in describe(load(), None, {}).detail


@pytest.mark.parametrize("days", [1, 30])
def test_cost_names_the_days_of_the_option(days: int) -> None:
    text = describe(load(frames_retention_days=days), Recorded(MEBI, 60, 1.0), {}).detail
    assert f"in {days} days (FRAMES_RETENTION_DAYS)" in text
