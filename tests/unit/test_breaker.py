"""When bad messages are too many."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar.consumer.breaker import FEWEST_MESSAGES, RECENT_MESSAGES, Bad, Breaker, Flood
from radar.errors import TooManyInvalid


def block(size: int, bad: int) -> list[bool]:
    """Spread bad messages over a block."""
    return [n * bad // size != (n + 1) * bad // size for n in range(size)]


def bad_of(bad: list[bool], *markets: bytes) -> list[Bad]:
    """Give bad messages their keys in turn; none without markets."""
    keys = itertools.cycle(markets or (b"",))
    return [Bad(n, next(keys)) for n, is_bad in enumerate(bad) if is_bad]


def record(breaker: Breaker, bad: list[bool], *markets: bytes) -> None:
    breaker.record(len(bad), bad_of(bad, *markets))


def flood(breaker: Breaker) -> Flood | None:
    return breaker.flood


def trips(breaker: Breaker, bad: list[bool], *markets: bytes) -> bool:
    try:
        breaker.check(len(bad), bad_of(bad, *markets))
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
        assert not trips(breaker, bad)
        record(breaker, bad)


def test_breaker_after_a_good_past_lets_a_short_bad_stretch_through() -> None:
    breaker = Breaker(0.05, 100)
    for _ in range(RECENT_MESSAGES // 500):
        record(breaker, [False] * 500)
    assert not trips(breaker, [True] * 99)
    assert trips(breaker, block(1000, 700))


def test_breaker_forgets_messages_that_are_not_recent() -> None:
    breaker = Breaker(0.05, 0)
    record(breaker, block(500, 500))
    assert trips(breaker, [True])
    for _ in range(RECENT_MESSAGES // 500):
        record(breaker, [False] * 500)
    assert not trips(breaker, block(500, 400))


def test_breaker_lets_a_good_block_through_whatever_came_before() -> None:
    breaker = Breaker(0.05, 100)
    record(breaker, [True] * 500)
    assert not trips(breaker, [False])


def test_breaker_counts_a_run_over_blocks() -> None:
    breaker = Breaker(1, 100)
    record(breaker, [False] + [True] * 60)
    assert not trips(breaker, [True] * 39)
    assert trips(breaker, [True] * 40)
    assert not trips(breaker, [False] + [True] * 99)
    record(breaker, [False])
    assert not trips(breaker, [True] * 99)


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=300), max_size=20))
def test_breaker_switched_off_never_trips(blocks: list[list[bool]]) -> None:
    breaker = Breaker(1, 0)
    for bad in blocks:
        assert not trips(breaker, bad)
        record(breaker, bad)


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=300), max_size=20))
def test_breaker_lets_at_most_its_share_through(blocks: list[list[bool]]) -> None:
    breaker, messages, letters = Breaker(0.05, 100), 0, 0
    for bad in blocks:
        if trips(breaker, bad):
            continue
        record(breaker, bad)
        messages, letters = messages + len(bad), letters + sum(bad)
        assert letters <= 0.05 * max(messages, FEWEST_MESSAGES)


@given(
    st.lists(st.lists(st.booleans(), min_size=1, max_size=300), max_size=20),
    st.floats(0, 1),
    st.integers(0, 200),
)
def test_breaker_is_never_tripped_by_one_market(
    blocks: list[list[bool]], max_share: float, max_consecutive: int
) -> None:
    breaker = Breaker(max_share, max_consecutive)
    for bad in blocks:
        assert not trips(breaker, bad, b"wallex:USDTTMN")
        record(breaker, bad, b"wallex:USDTTMN")


def test_breaker_counts_what_the_most_affected_market_does_not_explain() -> None:
    breaker = Breaker(0.05, 100)
    mostly_one = [b"a", b"a", b"a", b"b"]
    assert not trips(breaker, block(1000, 200), *mostly_one)
    assert trips(breaker, block(1000, 204), *mostly_one)
    assert trips(breaker, block(1000, 102), b"a", b"b")


def test_breaker_takes_varied_keys_for_damage_of_several_markets() -> None:
    breaker = Breaker(0.05, 100)
    assert trips(breaker, block(1000, 60), *(b"%d" % n for n in range(60)))
    # Nor does it help to have no key, or one that is no market's.
    assert trips(breaker, block(1000, 60))
    assert trips(breaker, block(1000, 60), b"x" * 5000)


def test_breaker_leaves_one_market_out_of_a_run() -> None:
    breaker = Breaker(1, 100)
    assert not trips(breaker, [True] * 500, b"a")
    record(breaker, [True] * 500, b"a")
    assert not trips(breaker, [True] * 99, b"b")
    record(breaker, [True] * 99, b"b")
    assert trips(breaker, [True], b"b")


def test_breaker_names_the_market_that_sends_too_many_bad_messages() -> None:
    breaker = Breaker(0.05, 100)
    record(breaker, block(1000, 50), b"a")
    assert flood(breaker) is None
    record(breaker, block(1000, 60), b"a", b"a", b"b")
    assert flood(breaker) is None
    record(breaker, block(1000, 100), b"a")
    assert flood(breaker) == Flood(b"a", 190, 3000)
    for _ in range(RECENT_MESSAGES // 1000):
        record(breaker, [False] * 1000)
    assert flood(breaker) is None


def test_breaker_names_the_market_whose_bad_messages_come_in_a_row() -> None:
    breaker = Breaker(0.05, 100)
    record(breaker, [False] * 9000)
    record(breaker, [True] * 100, b"a")
    assert flood(breaker) == Flood(b"a", 100, 9100)
    record(breaker, [False])
    assert flood(breaker) is None


@pytest.mark.parametrize("limits", [(1.0, 0), (0.05, 100)])
def test_breaker_remembers_a_bounded_number_of_forged_keys(limits: tuple[float, int]) -> None:
    breaker = Breaker(*limits)
    for n in range(200):
        # As with blocks that were planned before, which are not judged.
        record(breaker, [True] * 500, *(b"%d:%d" % (n, k) for k in range(500)))
    assert len(breaker._bad) <= RECENT_MESSAGES
    assert len(breaker._run) <= RECENT_MESSAGES or limits[1]
