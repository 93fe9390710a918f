"""Backoff, pace and the detection of silence."""

from hypothesis import given
from hypothesis import strategies as st

from radar.producer.pacing import Backoff, StallDetector, StallTimeout


@given(st.integers(0, 100), st.floats(0.1, 60))
def test_backoff_any_number_of_failures_stays_within_its_limit(failures: int, max_s: float) -> None:
    backoff = Backoff(max_s, first_s=0.5)
    for failure in range(failures):
        assert 0 <= backoff.next() <= min(max_s, 0.5 * 2.0**failure)
    backoff.reset()
    assert backoff.next() <= 0.5


def test_silence_after_steady_frames_ends_at_the_timeout() -> None:
    timeout = StallTimeout(30, max_s=1500)
    silence = StallDetector(timeout)
    assert not any(silence.tick(frames) for frames in range(1, 50))
    ticks = [silence.tick(49) for _ in range(10)]
    assert ticks == [False] * 9 + [True]
    assert timeout.rare_ticks == StallTimeout.TIMEOUT_TICKS, (
        "a busy connection asks for no more time"
    )


def test_silence_interrupted_by_the_exchanges_pings_goes_on() -> None:
    """A frame each 20 s, a tick each 3 s: a live connection of quiet markets."""
    silence = StallDetector(StallTimeout(30, max_s=1500))
    assert not any(silence.tick(tick * 3 // 20) for tick in range(500))


def test_silence_of_rare_frames_doubles_the_timeout_with_the_next() -> None:
    timeout = StallTimeout(30, max_s=100)
    lives = []
    for _ in range(4):
        silence = StallDetector(timeout)
        lives.append(next(tick for tick in range(1, 1000) if silence.tick(1)))
    # The first tick has a frame, the greeting; then 10, 20 and at most 33 ticks of 3 s.
    assert lives == [11, 21, 34, 34]
    timeout.reset()
    assert timeout.rare_ticks == StallTimeout.TIMEOUT_TICKS


def test_silence_after_a_burst_on_opening_is_that_of_a_quiet_market() -> None:
    timeout = StallTimeout(30, max_s=1500)
    silence = StallDetector(timeout)
    for _ in range(10):
        silence.tick(50)
    assert silence.tick(50)
    assert timeout.rare_ticks == 2 * StallTimeout.TIMEOUT_TICKS
