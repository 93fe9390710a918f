"""When bad messages are too many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar.consumer.breaker import FEWEST_MESSAGES, RECENT_MESSAGES, Breaker
from radar.errors import TooManyInvalid


def block(size: int, bad: int) -> list[bool]:
    """Spread bad messages over a block."""
    return [n * bad // size != (n + 1) * bad // size for n in range(size)]


def trips(breaker: Breaker, bad: list[bool]) -> bool:
    try:
        breaker.check(bad)
    except TooManyInvalid:
        return True
    return False


@pytest.mark.parametrize(
    ("bad", "tripped"),
    [
        ([True], False),
        ([True, False, False], False),
        ([True] * 5, False),
        ([True] * 6, True),
        (block(100, 5), False),
        (block(100, 6), True),
        (block(500, 25), False),
        (block(500, 26), True),
        ([False] * 500, False),
    ],
)
def test_breaker_without_a_past_judges_the_block_by_itself(bad: list[bool], tripped: bool) -> None:
    assert trips(Breaker(0.05, 100), bad) is tripped


def test_breaker_counts_single_bad_messages_of_small_blocks_together() -> None:
    breaker = Breaker(0.05, 100)
    for n in range(60):
        bad = [n % 10 == 9]
        if n == 59:
            assert trips(breaker, bad)
            return
        breaker.check(bad)
        breaker.record(bad)


def test_breaker_after_a_good_past_lets_a_short_bad_stretch_through() -> None:
    breaker = Breaker(0.05, 100)
    for _ in range(RECENT_MESSAGES // 500):
        breaker.record([False] * 500)
    assert not trips(breaker, [True] * 99)
    assert trips(breaker, block(1000, 700))


def test_breaker_forgets_messages_that_are_not_recent() -> None:
    breaker = Breaker(0.05, 0)
    breaker.record(block(500, 500))
    assert trips(breaker, [True])
    for _ in range(RECENT_MESSAGES // 500):
        breaker.record([False] * 500)
    assert not trips(breaker, block(500, 400))


def test_breaker_lets_a_good_block_through_whatever_came_before() -> None:
    breaker = Breaker(0.05, 100)
    breaker.record([True] * 500)
    assert not trips(breaker, [False])


def test_breaker_counts_a_run_over_blocks() -> None:
    breaker = Breaker(1, 100)
    breaker.record([False] + [True] * 60)
    assert not trips(breaker, [True] * 39)
    assert trips(breaker, [True] * 40)
    assert not trips(breaker, [False] + [True] * 99)
    breaker.record([False])
    assert not trips(breaker, [True] * 99)


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=300), max_size=20))
def test_breaker_switched_off_never_trips(blocks: list[list[bool]]) -> None:
    breaker = Breaker(1, 0)
    for bad in blocks:
        breaker.check(bad)
        breaker.record(bad)


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=300), max_size=20))
def test_breaker_lets_at_most_its_share_through(blocks: list[list[bool]]) -> None:
    breaker, messages, letters = Breaker(0.05, 100), 0, 0
    for bad in blocks:
        if trips(breaker, bad):
            continue
        breaker.record(bad)
        messages, letters = messages + len(bad), letters + sum(bad)
        assert letters <= 0.05 * max(messages, FEWEST_MESSAGES)
