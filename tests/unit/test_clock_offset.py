"""How far this machine's clock is from an exchange's: bounds from its answers, never a guess."""

import random
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar.producer.clock_offset import EVIDENCE_S, PART_S, SECOND_US, ClockOffset, Offset, date_us

NOW_US = 1_784_000_000_120_345


def answers(
    offset: ClockOffset, ahead_us: int, count: int, *, began_s: float = 0.0, seed: int = 1
) -> None:
    """Take answers with whole seconds, of an exchange behind whose clock ours is ahead."""
    chance = random.Random(seed)
    for n in range(count):
        sent_us = NOW_US + chance.randrange(10_000_000)
        wrote_us = sent_us + chance.randrange(20_000)
        received_us = wrote_us + chance.randrange(20_000)
        date = formatdate((wrote_us - ahead_us) // SECOND_US, usegmt=True)
        offset.dated(sent_us, received_us, date, began_s + n)


def known(offset: ClockOffset, now_s: float) -> Offset:
    found = offset.estimate(now_s)
    assert found is not None
    return found


def test_offset_is_unknown_without_an_answer() -> None:
    offset = ClockOffset()
    assert offset.estimate(0.0) is None
    offset.delayed(40_000, 1_000.0)  # bounds one side only
    assert offset.estimate(1_000.0) is None


@given(st.integers(-(10**10), 10**10), st.integers(1, 50), st.integers(0, 10**6))
def test_true_offset_is_within_the_bounds(ahead_us: int, count: int, seed: int) -> None:
    offset = ClockOffset()
    answers(offset, ahead_us, count, seed=seed)
    found = known(offset, float(count))
    assert abs(found.seconds - ahead_us / 1e6) <= found.uncertainty_s + 1e-9
    assert found.uncertainty_s <= 0.52  # of a second, and of the way there and back


def test_several_answers_bound_more_closely_than_one() -> None:
    one, many = ClockOffset(), ClockOffset()
    answers(one, 3_250_000, 1)
    answers(many, 3_250_000, 60)
    assert known(one, 60.0).uncertainty_s > 0.4
    assert known(many, 60.0).uncertainty_s < 0.1
    assert known(many, 60.0).seconds == pytest.approx(3.25, abs=0.1)
    assert known(many, 60.0).least_s > 3


def test_offset_is_unknown_again_without_young_answers() -> None:
    offset = ClockOffset()
    answers(offset, 0, 5)
    assert offset.estimate(EVIDENCE_S) is not None
    assert offset.estimate(EVIDENCE_S + 1) is None


def test_newest_answers_count_where_older_ones_contradict_them() -> None:
    offset = ClockOffset()
    answers(offset, 0, 10)
    answers(offset, 5_000_000, 10, began_s=PART_S + 10)
    assert known(offset, PART_S + 20).seconds == pytest.approx(5, abs=0.6)
    answers(offset, -5_000_000, 1, began_s=PART_S + 21)
    assert known(offset, PART_S + 22).seconds == pytest.approx(-5, abs=0.6)
    offset.clear(PART_S + 23)
    assert offset.estimate(PART_S + 23) is None


def test_records_bound_the_offset_from_above_unless_they_contradict_the_answers() -> None:
    offset, now_s = ClockOffset(), 2 * PART_S
    answers(offset, 0, 1, began_s=now_s)
    before = known(offset, now_s)
    high_us = int((before.seconds + before.uncertainty_s) * 1e6)
    offset.delayed(high_us - 100_000, now_s)
    assert known(offset, now_s).uncertainty_s == pytest.approx(before.uncertainty_s - 0.05)
    for absurd in (-(10**15), 10**15):
        offset.delayed(absurd, now_s)
        assert known(offset, now_s) == before


@pytest.mark.parametrize(
    "date",
    [
        "",
        "now",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Thu, 01 Jan -001 00:00:00 GMT",
        "Mon, 99 Foo 2026 99:99:99 GMT",
        "Sun, 29 Nov 2026 17:35:09 +999999999999",
        "9" * 100_000,
        "\0\r\n",
    ],
)
def test_hostile_date_is_no_evidence(date: str) -> None:
    offset = ClockOffset()
    offset.dated(NOW_US, NOW_US + 1, date, 0.0)
    assert offset.estimate(0.0) is None


def test_memory_is_bounded() -> None:
    offset = ClockOffset()
    for n in range(1_000):
        offset.dated(NOW_US, NOW_US + 1, formatdate(NOW_US / 1e6, usegmt=True), n * PART_S)
    assert len(offset._parts) <= EVIDENCE_S / PART_S


def test_date_of_a_header_is_in_whole_seconds() -> None:
    assert date_us("Sun, 29 Nov 2026 17:35:09 GMT") == 1_795_973_709_000_000
