"""The clock of records: with `set_back_us`, times of receipt never go back."""

import itertools
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radar.codec.message_format import MAX_TIME_MS
from radar.producer.clock import RecordingClock, stamped
from radar.records import GapCause, Trade, TradeSide

HOUR_US = 3_600_000_000
START_US = 1_784_000_000_000_000
TRADE = Trade(
    source="wallex",
    symbol="USDTTMN",
    base="USDT",
    quote="TMN",
    side=TradeSide.BUY,
    price="1",
    base_amount="1",
    event_time_ms=START_US // 1000,
    received_at_us=START_US,
)


class Clocks:
    """A wall clock that a test sets, and a monotonic one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, start_us: int = START_US) -> None:
        self.wall_us, self.monotonic_us = start_us, 0
        # Also between the two readings time passes, and a process may be held up there.
        self.between_us = 0
        monkeypatch.setattr(time, "time_ns", self._time_ns)
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.monotonic_us * 1000)

    def _time_ns(self) -> int:
        return (self.wall_us + self.between_us) * 1000

    def pass_us(self, passed_us: int, step_us: int = 0) -> None:
        self.monotonic_us += passed_us
        self.wall_us += passed_us + step_us


STEPS = st.lists(
    st.tuples(
        st.integers(1, 20_000),
        st.sampled_from((0, 0, 0, -1, -500, -60_000, -2_500_000, 2_500_000, -HOUR_US, HOUR_US)),
        st.sampled_from((0, 0, 0, 30_000)),
    ),
    max_size=40,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_receipts_never_go_back_however_the_clock_steps(steps: list[tuple[int, int, int]]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        clocks = Clocks(monkeypatch)
        clock = RecordingClock()
        seen = [(clock.now_us(), clock.set_back_us)]
        between_us = 0
        for passed_us, step_us, next_between_us in steps:
            # The pause between two readings of the clocks is over before the next ones.
            clocks.pass_us(passed_us + between_us, step_us)
            clocks.between_us = between_us = next_between_us
            seen.append((clock.now_us(), clock.set_back_us))
        order = [now_us + set_back_us for now_us, set_back_us in seen]
        assert order == sorted(order)
        # A clock that shows a time again gives no second receipt the place of the first.
        assert all(
            order[n] < order[n + 1] for n in range(len(steps)) if seen[n + 1][0] < seen[n][0]
        )
        # The time of receipt itself is what the clock shows.
        assert seen[-1][0] == clocks.wall_us + clocks.between_us
        assert all(set_back_us >= 0 for _, set_back_us in seen)


def test_clock_that_is_set_forward_again_takes_back_the_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clocks = Clocks(monkeypatch)
    clock, causes = RecordingClock(), list[GapCause]()
    clock.on_jump = causes.append
    clocks.pass_us(20_000)
    clock.now_us()
    assert clock.set_back_us == 0
    clocks.pass_us(20_000, -HOUR_US)
    clock.now_us()
    assert HOUR_US - 20_000 <= clock.set_back_us <= HOUR_US
    clocks.pass_us(20_000, HOUR_US)
    clock.now_us()
    assert clock.set_back_us == 0
    assert causes == [GapCause.CLOCK, GapCause.CLOCK]


def test_clock_of_another_century_leaves_no_step_that_no_record_could_carry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clocks = Clocks(monkeypatch, MAX_TIME_MS * 1000 + HOUR_US)
    clock = RecordingClock()
    clocks.pass_us(20_000, START_US - clocks.wall_us)
    assert clock.now_us() == START_US + 20_000
    assert clock.set_back_us == 0


def test_stamp_leaves_a_record_as_it_is_while_the_clock_was_not_set_back() -> None:
    assert stamped(TRADE, 0) is TRADE
    assert stamped(TRADE, 7).set_back_us == 7
    times = [stamped(TRADE, each).received_at_us for each in (0, 7)]
    assert all(one == other for one, other in itertools.pairwise(times))
