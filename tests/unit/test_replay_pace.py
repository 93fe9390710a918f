"""The clock of a replay: speed, pause and seek."""

import math

from hypothesis import given
from hypothesis import strategies as st

from radar.replay.pace import FASTEST, Pace

BEGIN_US = 1_782_896_400_000_000
SECOND_US = 1_000_000


def test_time_stands_still_until_it_runs() -> None:
    pace = Pace(BEGIN_US, 1.0)
    assert pace.moment_us(100.0) == BEGIN_US
    assert pace.wait_s(BEGIN_US, 100.0) == math.inf
    pace.run(100.0)
    assert pace.wait_s(BEGIN_US, 100.0) == 0.0
    assert pace.wait_s(BEGIN_US + 3 * SECOND_US, 101.0) == 2.0


def test_recorded_time_passes_at_the_speed() -> None:
    pace = Pace(BEGIN_US, 10.0)
    pace.run(5.0)
    assert pace.moment_us(6.0) == BEGIN_US + 10 * SECOND_US
    assert pace.wait_s(BEGIN_US + 30 * SECOND_US, 6.0) == 2.0


def test_a_changed_speed_counts_from_the_change_on() -> None:
    pace = Pace(BEGIN_US, 1.0)
    pace.run(0.0)
    pace.set_speed(100.0, 10.0)
    assert pace.moment_us(10.0) == BEGIN_US + 10 * SECOND_US
    assert pace.moment_us(11.0) == BEGIN_US + 110 * SECOND_US


def test_a_pause_keeps_the_moment() -> None:
    pace = Pace(BEGIN_US, 2.0)
    pace.run(0.0)
    pace.stop(3.0)
    assert pace.moment_us(1_000.0) == BEGIN_US + 6 * SECOND_US
    pace.run(1_000.0)
    assert pace.moment_us(1_001.0) == BEGIN_US + 8 * SECOND_US


def test_a_seek_keeps_whether_time_passes() -> None:
    pace = Pace(BEGIN_US, 1.0)
    pace.seek(BEGIN_US + 60 * SECOND_US, 1.0)
    assert pace.moment_us(9.0) == BEGIN_US + 60 * SECOND_US
    pace.run(9.0)
    pace.seek(BEGIN_US, 12.0)
    assert pace.moment_us(13.0) == BEGIN_US + SECOND_US


def test_the_fastest_clock_never_waits_and_shows_the_newest_moment() -> None:
    pace = Pace(BEGIN_US, FASTEST)
    assert pace.wait_s(BEGIN_US, 0.0) == math.inf, "it is paused"
    pace.run(0.0)
    assert pace.wait_s(BEGIN_US + 86_400 * SECOND_US, 0.0) == 0.0
    pace.reached(BEGIN_US + 5, 0.0)
    pace.reached(BEGIN_US + 3, 0.0)
    assert pace.moment_us(50.0) == BEGIN_US + 5
    pace.set_speed(1.0, 50.0)
    assert pace.moment_us(51.0) == BEGIN_US + 5 + SECOND_US


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["run", "stop", "speed", "pass"]),
            st.floats(0.01, 1_000.0),
        ),
        max_size=30,
    )
)
def test_the_moment_never_goes_back_without_a_seek(steps: list[tuple[str, float]]) -> None:
    pace, now, before = Pace(BEGIN_US, 1.0), 0.0, float(BEGIN_US)
    for step, value in steps:
        match step:
            case "run":
                pace.run(now)
            case "stop":
                pace.stop(now)
            case "speed":
                pace.set_speed(value, now)
            case _:
                now += value
        moment = pace.moment_us(now)
        assert moment >= before - 1  # microseconds of doubles
        before = moment
