"""Holes in the exchange's consecutive numbers prove losses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar.producer import trade_sequence
from radar.producer.trade_sequence import (
    GRACE_US,
    MAX_OPEN,
    MAX_PARTS,
    MAX_VANISHED,
    Hole,
    TradeSequences,
)


def ranges(holes: list[Hole]) -> list[tuple[str, int, int]]:
    return [(hole.symbol, hole.first_id, hole.last_id) for hole in holes]


def test_consecutive_numbers_and_repetitions_leave_no_hole() -> None:
    sequences = TradeSequences()
    for number in (7, 8, 9, 8, 9, 10, 7):
        sequences.take("BTCUSDT", number, 1)
    assert sequences.found(1 + GRACE_US) == []


def test_a_jump_is_a_hole_of_its_market_only() -> None:
    sequences = TradeSequences()
    sequences.take("BTCUSDT", 7, 1)
    sequences.take("ETHUSDT", 100, 1)
    sequences.take("BTCUSDT", 11, 5)
    sequences.take("ETHUSDT", 101, 5)
    assert sequences.found(5 + GRACE_US - 1) == []
    (hole,) = sequences.found(5 + GRACE_US)
    assert (hole.symbol, hole.first_id, hole.last_id) == ("BTCUSDT", 8, 10)
    assert (hole.began_at_us, hole.ended_at_us, hole.missing) == (1, 5, 3)
    assert sequences.found(5 + 2 * GRACE_US) == []


def test_another_connection_that_brings_the_trade_in_time_leaves_no_hole() -> None:
    sequences = TradeSequences()
    for number in (7, 9, 8):
        sequences.take("BTCUSDT", number, 1)
    assert sequences.found(1 + GRACE_US) == []


def test_an_earlier_process_is_continued() -> None:
    sequences = TradeSequences()
    sequences.begin("BTCUSDT", 41, 1)
    sequences.begin("BTCUSDT", 40, 1)
    sequences.take("BTCUSDT", 44, 9)
    assert ranges(sequences.found(9 + GRACE_US)) == [("BTCUSDT", 42, 43)]


@given(st.permutations(range(2, 30)), st.integers(0, 28))
def test_a_hole_is_filled_by_its_trades_in_any_order(numbers: list[int], given: int) -> None:
    sequences = TradeSequences()
    sequences.take("BTCUSDT", 1, 1)
    sequences.take("BTCUSDT", 30, 2)
    (hole,) = sequences.found(2 + GRACE_US)
    for number in numbers[:given]:
        sequences.take("BTCUSDT", number, 3)
    assert hole.missing == 28 - given
    assert sequences.filled() == ([hole] if given == 28 else [])


def test_a_number_that_the_exchange_tells_is_a_hole_unless_its_trade_comes() -> None:
    sequences = TradeSequences()
    sequences.expect("A", 8, 0)
    assert sequences.found(10 * GRACE_US) == [], "nothing is known of the trades before"
    sequences.expect("A", 9, 50)
    sequences.take("A", 9, 60)
    sequences.take("A", 10, 100)
    assert sequences.found(10 * GRACE_US) == [], "it has come within the grace"
    sequences.filled()
    sequences.expect("A", 10, 200)
    sequences.expect("A", 12, 300)
    sequences.take("A", 11, 400)
    (hole,) = sequences.found(300 + GRACE_US)
    assert (hole.first_id, hole.last_id, hole.missing, hole.began_at_us) == (12, 12, 1, 100)
    sequences.take("A", 12, 500)
    assert sequences.filled() == [hole]
    sequences.take("A", 13, 600)
    assert sequences.found(10 * GRACE_US) == []


def test_the_end_of_the_newest_open_hole_is_known() -> None:
    sequences = TradeSequences()
    for number, time_us in ((1, 10), (3, 20), (5, 30)):
        sequences.take("A", number, time_us)
    assert sequences.open_until_us("A") == 30
    assert sequences.open_until_us("B") == 0
    sequences.take("A", 4, 40)
    assert sequences.open_until_us("A") == 20
    sequences.take("A", 2, 50)
    assert sequences.open_until_us("A") == 0


def test_a_found_hole_leaves_out_the_trades_that_have_come_meanwhile() -> None:
    sequences = TradeSequences()
    for number in (1, 10, 2, 3, 6, 9):
        sequences.take("A", number, 1)
    (hole,) = sequences.found(1 + GRACE_US)
    assert (hole.first_id, hole.last_id, hole.reported) == (4, 8, 4)
    sequences.take("A", 5, 2)
    assert (hole.first_id, hole.last_id, hole.reported) == (4, 8, 4), "as it was reported"
    assert hole.missing == 3


def test_a_market_that_comes_back_shows_the_trades_of_its_pause() -> None:
    sequences = TradeSequences()
    sequences.take("A", 1, 1)
    sequences.forget(["A"])
    sequences.take("A", 5, 2)
    assert ranges(sequences.found(2 + GRACE_US)) == [("A", 2, 4)]


def test_a_hole_never_begins_after_its_end() -> None:
    sequences = TradeSequences()
    sequences.begin("A", 1, 500)
    sequences.take("A", 3, 100)
    (hole,) = sequences.found(100 + GRACE_US)
    assert (hole.began_at_us, hole.ended_at_us) == (100, 100)


def test_a_hole_has_a_bounded_number_of_parts_and_counts_the_rest_as_missing() -> None:
    sequences = TradeSequences()
    sequences.take("A", 1, 1)
    sequences.take("A", 1 << 62, 1)
    (hole,) = sequences.found(1 + GRACE_US)
    for number in range(3, 6 * MAX_PARTS, 2):
        sequences.take("A", number, 2)
    assert hole.parts == MAX_PARTS
    assert hole.missing >= (1 << 62) - 2 - 3 * MAX_PARTS
    # Its beginning may still be filled: that needs no further part.
    sequences.take("A", 2, 3)
    assert hole.parts == MAX_PARTS - 1


def test_every_second_number_opens_a_bounded_number_of_holes_that_hide_none() -> None:
    sequences = TradeSequences()
    numbers = range(2, 4 * MAX_PARTS, 2)
    for number in numbers:
        sequences.take("A", number, 1)
    found = sequences.found(1 + GRACE_US)
    assert len(found) == MAX_OPEN
    assert sum(hole.missing for hole in found) >= len(numbers) - 1
    assert sum(hole.parts for hole in found) <= MAX_OPEN + MAX_PARTS
    # The reported holes keep their numbers: a further hole takes the place of the oldest.
    sequences.take("A", numbers[-1] + 2, 2)
    sequences.take("A", numbers[-1] + 4, 2)
    assert sequences.given_up() == [found[0]]
    (hole,) = sequences.found(2 + GRACE_US)
    assert (hole.first_id, hole.last_id) == (numbers[-1] + 1, numbers[-1] + 3)
    assert hole.reported == 2
    # A given-up hole is no longer filled.
    sequences.take("A", found[0].first_id, 3)
    assert sequences.filled() == []
    sequences.take("A", found[1].first_id, 3)
    assert sequences.filled() == [found[1]]


def test_holes_of_a_market_that_is_gone_are_reported_and_then_given_up() -> None:
    sequences = TradeSequences()
    sequences.take("A", 1, 1)
    sequences.take("A", 3, 1)
    sequences.forget(["A"])
    assert sequences.given_up() == []
    (hole,) = sequences.found(1 + GRACE_US)
    assert (hole.first_id, hole.last_id, hole.is_given_up) == (2, 2, True)
    assert sequences.given_up() == [hole]


def test_newest_numbers_of_markets_that_are_gone_are_kept_for_a_bounded_number_of_them() -> None:
    sequences = TradeSequences()
    symbols = [str(number) for number in range(MAX_VANISHED + 1)]
    for symbol in symbols:
        sequences.take(symbol, 1, 1)
    sequences.forget(symbols)
    for symbol in symbols:
        sequences.take(symbol, 3, 2)
    assert [hole.symbol for hole in sequences.found(2 + GRACE_US)] == symbols[1:]


def test_a_clock_that_is_set_back_delays_no_report() -> None:
    sequences = TradeSequences()
    sequences.take("A", 1, 10 * GRACE_US)
    sequences.take("A", 3, 10 * GRACE_US)
    assert ranges(sequences.found(GRACE_US)) == [("A", 2, 2)]


STEPS = st.lists(st.tuples(st.sampled_from("AB"), st.integers(1, 40), st.booleans()), max_size=120)


@given(STEPS)
def test_bounds_hide_no_missing_number(steps: list[tuple[str, int, bool]]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        for name, bound in (("MAX_OPEN", 3), ("MAX_OPEN_IN_ALL", 4),
                            ("MAX_PARTS", 2), ("MAX_PARTS_IN_ALL", 5)):  # fmt: skip
            patched.setattr(trade_sequence, name, bound)
        sequences = TradeSequences()
        reported: list[Hole] = []
        taken: dict[str, list[int]] = {"A": [], "B": []}
        now_us = 0
        for symbol, number, is_report in steps:
            now_us += 1
            sequences.take(symbol, number, now_us)
            taken[symbol].append(number)
            if is_report:
                now_us += GRACE_US
                reported += sequences.found(now_us)
        reported += sequences.found(now_us + GRACE_US)
        spans = {(each.symbol, each.first_id, each.last_id) for each in reported}
        for symbol, numbers in taken.items():
            for number in set(range(min(numbers, default=0), max(numbers, default=0))):
                if number not in numbers and number > numbers[0]:
                    assert any(
                        name == symbol and first <= number <= last for name, first, last in spans
                    )
        assert all(hole.reported >= 1 for hole in reported)
