"""Gaps: what no connection covered, and what REST made good. All times are seconds here."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar.producer.gaps import (
    MAX_SPANS,
    MAX_WAITING,
    MAX_WAITING_IN_ALL,
    AwaitedBackfills,
    Coverage,
    Read,
    Uncovered,
)
from radar.records import GapCause

DISCONNECTED, SILENT = GapCause.DISCONNECTED, GapCause.SILENT
BACKPRESSURE = GapCause.BACKPRESSURE
A, B = ("AUSDT", "BUSDT")


def us(seconds: float) -> int:
    return round(seconds * 1_000_000)


class Timeline:
    """Coverage with times in seconds."""

    def __init__(self) -> None:
        self._coverage = Coverage()
        self.gaps: list[tuple[float, float, str, str]] = []

    def begin(self, at: float, connection: str, symbols: Iterable[str] = A[:1]) -> None:
        self._add(self._coverage.begin(connection, [*symbols], us(at)))

    def end(
        self,
        last: float,
        connection: str,
        cause: GapCause = DISCONNECTED,
        symbols: Iterable[str] = A[:1],
    ) -> None:
        self._add(self._coverage.end(connection, [*symbols], us(last), cause))

    def refuse(self) -> None:
        self._coverage.refuse(A[:1])

    def stop(self, at: float) -> None:
        self._add(self._coverage.stop(us(at)))

    def _add(self, found: list[Uncovered]) -> None:
        self.gaps += [
            (
                each.began_at_us / 1e6,
                each.ended_at_us / 1e6,
                each.cause.value,
                "".join(each.symbols),
            )
            for each in found
        ]


def test_coverage_lost_connection_leaves_a_gap_from_its_last_frame_to_the_next() -> None:
    time = Timeline()
    time.begin(1, "a")
    time.end(5, "a")
    assert time.gaps == []
    time.begin(7, "b")
    assert time.gaps == [(5, 7, "disconnected", "A")]


def test_coverage_before_the_first_subscription_is_no_gap() -> None:
    time = Timeline()
    time.refuse()
    time.begin(7, "a")
    time.stop(9)
    assert time.gaps == []


def test_coverage_overlapping_rotation_is_no_gap() -> None:
    time = Timeline()
    time.begin(1, "a")
    time.begin(5, "b")
    time.end(6, "a")
    time.stop(9)
    assert time.gaps == []


def test_coverage_redundant_connection_covers_what_the_other_loses() -> None:
    time = Timeline()
    time.begin(1, "a")
    time.begin(1, "b")
    for at in range(2, 20, 2):
        time.end(at, f"a{at - 2}" if at > 2 else "a")
        time.begin(at + 1, f"a{at}")
    time.stop(30)
    assert time.gaps == []


def test_coverage_of_two_lost_connections_is_missing_while_both_are_lost() -> None:
    time = Timeline()
    time.begin(1, "a")
    time.begin(1, "b")
    time.end(5, "a")
    time.end(8, "b", SILENT)
    time.begin(10, "a2")
    time.begin(12, "b2")
    assert time.gaps == [(8, 10, "silent", "A")]


def test_coverage_connection_found_dead_later_uncovers_what_it_seemed_to_cover() -> None:
    time = Timeline()
    time.begin(1, "dead")  # its last frame is at 8, which is known at 38
    time.begin(1, "b")
    time.end(10, "b")
    time.begin(11, "b2")
    time.end(20, "b2")
    time.begin(21, "b3")
    assert time.gaps == []
    time.end(8, "dead", SILENT)
    assert time.gaps == [(10, 11, "disconnected", "A"), (20, 21, "disconnected", "A")]


def test_coverage_successor_of_a_dead_connection_ends_the_gap_it_did_not_know_of() -> None:
    time = Timeline()
    time.begin(1, "dead")
    time.begin(20, "new")
    time.end(8, "dead", SILENT)
    assert time.gaps == [(8, 20, "silent", "A")]


def test_coverage_refused_connection_names_the_cause() -> None:
    time = Timeline()
    time.begin(1, "a")
    time.end(5, "a")
    time.refuse()
    time.begin(9, "b")
    assert time.gaps == [(5, 9, "refused", "A")]


def test_coverage_unread_connection_is_a_gap_and_its_end_no_second_one() -> None:
    time = Timeline()
    time.begin(1, "a")
    time.end(5, "a", BACKPRESSURE)
    time.begin(9, "a")
    time.end(9.5, "a")
    time.end(9.6, "a")
    time.begin(10, "b")
    assert time.gaps == [(5, 9, "backpressure", "A"), (9.5, 10, "disconnected", "A")]


def test_coverage_stopped_tells_only_gaps_that_last() -> None:
    time = Timeline()
    time.begin(1, "a", "AB")
    time.begin(1, "b", "C")
    time.end(5, "a", symbols="AB")
    time.stop(9)
    time.stop(10)
    assert time.gaps == [(5, 9, "disconnected", "AB"), (9, 10, "disconnected", "AB")]


def test_coverage_markets_with_the_same_gap_are_told_together() -> None:
    time = Timeline()
    time.begin(1, "a", "ABC")
    time.end(5, "a", symbols="ABC")
    time.begin(7, "b", "AB")
    time.begin(8, "c", "C")
    assert time.gaps == [(5, 7, "disconnected", "AB"), (5, 8, "disconnected", "C")]


connections = st.lists(
    st.tuples(st.integers(0, 100), st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=12
)


@given(connections)
def test_coverage_of_any_connections_is_told_exactly(plan: list[tuple[int, int, int]]) -> None:
    """Each one: subscribed at, last frame after, found to have ended after that."""
    coverage = Coverage()
    events: list[tuple[int, int, int, int]] = []
    covered: set[int] = set()
    for number, (start, lived, unnoticed) in enumerate(plan):
        events.append((start, 0, number, start))
        events.append((start + lived + unnoticed, 1, number, start + lived))
        covered.update(range(start, start + lived))
    found: list[Uncovered] = []
    for at, ends, number, last in sorted(events):
        if ends:
            found += coverage.end(number, ["A"], last, DISCONNECTED)
        else:
            found += coverage.begin(number, ["A"], at)
    last_of_all = max(at for at, *_ in events) + 1
    found += coverage.stop(last_of_all)
    told = [second for gap in found for second in range(gap.began_at_us, gap.ended_at_us)]
    first = min(start for start, *_ in plan)
    assert sorted(told) == [each for each in range(first, last_of_all) if each not in covered]


GAP = Uncovered(us(100), us(110), DISCONNECTED, (A, B))


@pytest.mark.parametrize(
    ("reads", "repaired"),
    [
        # market, started, oldest trade told (0: all there are)
        ([(A, 114, 90), (B, 114, 0)], True),
        ([(A, 110, 90), (A, 114, 105), (B, 114, 98)], True),
        ([(A, 114, 90), (B, 114, 99)], False),  # the second of the beginning counts whole
        ([(A, 110, 90), (A, 114, 109), (B, 114, 0)], False),  # a hole before the second read
        ([(A, 109, 90), (A, 114, 105), (B, 114, 0)], False),  # the first one was too early
    ],
)
def test_backfills_show_whether_every_market_was_read_back_to_the_beginning(
    reads: list[tuple[str, float, float]], repaired: bool
) -> None:
    awaited = AwaitedBackfills(us(60))
    awaited.add(GAP, us(110))
    *early, last = [Read(symbol, us(started), us(oldest)) for symbol, started, oldest in reads]
    assert [awaited.read(each) for each in early] == [[]] * len(early)
    assert awaited.read(last) == [(GAP, repaired)]
    assert awaited.stop() == []


def test_backfills_before_the_second_of_the_end_is_over_do_not_count() -> None:
    awaited = AwaitedBackfills(us(60))
    awaited.add(GAP, us(110))
    for symbol in (A, B):
        assert awaited.read(Read(symbol, us(112), 0)) == []
    assert awaited.expire(us(169)) == []
    assert awaited.expire(us(170)) == [(GAP, False)]


def test_a_gap_waits_for_an_open_hole_that_reaches_farther_back_than_the_newest_trades() -> None:
    awaited = AwaitedBackfills(us(60))
    awaited.add(GAP._replace(symbols=(A,)), us(110))
    newest = Read(A, us(114), us(105))
    assert awaited.read(newest, us(110)) == []
    assert awaited.read(Read(A, us(120), us(90))) == [(GAP._replace(symbols=(A,)), True)]
    awaited.add(GAP._replace(symbols=(A,)), us(110))
    older_than_the_gap_us = us(90)
    assert awaited.read(newest, older_than_the_gap_us) == [(GAP._replace(symbols=(A,)), False)]
    awaited.add(GAP._replace(symbols=(A,)), us(110))
    assert awaited.read(newest, us(110)) == []
    assert awaited.expire(us(170)) == [(GAP._replace(symbols=(A,)), False)], "never filled"


def test_backfills_that_wait_at_the_end_are_recorded_as_not_repaired() -> None:
    awaited = AwaitedBackfills(us(60))
    awaited.add(GAP, us(110))
    awaited.read(Read(A, us(120), 0))
    assert awaited.stop() == [(GAP, False)]
    assert awaited.expire(us(999)) == []


def test_coverage_of_a_market_that_ended_has_no_gap_and_begins_anew() -> None:
    coverage = Coverage()
    coverage.begin("a", [A, B], us(1))
    coverage.end("a", [B], us(2), DISCONNECTED)
    coverage.forget([A, B, "unknown"])
    assert coverage.end("a", [A, B], us(5), DISCONNECTED) == []
    coverage.refuse([A, B])
    assert coverage.stop(us(9)) == []
    assert coverage.begin("b", [A], us(20)) == []
    assert coverage.end("b", [A], us(22), DISCONNECTED) == []
    assert coverage.stop(us(23)) == [Uncovered(us(22), us(23), DISCONNECTED, (A,))]


def test_backfills_of_a_market_that_ended_are_not_waited_for() -> None:
    awaited = AwaitedBackfills(us(60))
    awaited.add(GAP, us(110))
    assert awaited.forget([A]) == []
    assert awaited.read(Read(B, us(114), 0)) == [(GAP._replace(symbols=(B,)), True)]
    awaited.add(GAP, us(110))
    awaited.read(Read(B, us(114), 0))
    assert awaited.forget([A]) == [(GAP._replace(symbols=(B,)), True)]
    awaited.add(GAP, us(110))
    assert awaited.forget([A, B]) == []
    assert awaited.stop() == []


def test_coverage_after_the_clock_was_set_back_finds_gaps_at_once_and_none_of_the_future() -> None:
    coverage = Coverage()
    coverage.begin("a", [A], us(5000))
    # The clock is set back by more than an hour.
    assert coverage.end("a", [A], us(5100), GapCause.CLOCK) == []
    coverage.rebase(us(1000))
    assert coverage.begin("a", [A], us(1000)) == []
    assert coverage.end("a", [A], us(1010), SILENT) == []
    assert coverage.begin("b", [A], us(1020)) == [Uncovered(us(1010), us(1020), SILENT, (A,))]


def test_backfills_after_the_clock_was_set_back_are_ended_by_reads_of_then() -> None:
    awaited = AwaitedBackfills(us(60))
    awaited.add(GAP._replace(began_at_us=us(5000), ended_at_us=us(5010)), us(1))
    awaited.rebase(us(1000))
    (found, repaired) = next(
        ended for symbol in (A, B) for ended in awaited.read(Read(symbol, us(1004), 0))
    )
    assert (found.began_at_us, found.ended_at_us, repaired) == (us(1000), us(1000), True)


def lost(since: float, until: float, first: int, last: int, symbol: str = A) -> Uncovered:
    return Uncovered(us(since), us(until), GapCause.SEQUENCE, (symbol,), (first, last))


def test_adjacent_losses_wait_as_one_that_counts_every_missing_number() -> None:
    awaited = AwaitedBackfills(us(60))
    assert not awaited.join(lost(100, 101, 2, 2))
    awaited.add(lost(100, 101, 2, 2), us(101))
    for number in range(4, 20_000, 2):
        assert awaited.join(lost(100.5, 102, number, number))
    assert not awaited.join(lost(100, 101, 5, 5, B)), "another market"
    assert not awaited.join(lost(103, 104, 30_000, 30_000)), "good records came between"
    assert not awaited.join(lost(101, 102, 1, 1)._replace(cause=GapCause.SILENT))
    assert not awaited.join(lost(101, 102, 1, 1)._replace(numbers=None))
    assert awaited.read(Read(A, us(101.5), 0)) == [], "the loss went on"
    ((gap, repaired),) = awaited.expire(us(161))
    assert gap == lost(100, 102, 2, 19_998)._replace(missing=9_999)
    assert not repaired


def test_a_loss_after_a_read_waits_by_itself() -> None:
    awaited = AwaitedBackfills(us(60))
    awaited.add(lost(100, 101, 2, 2), us(101))
    awaited.read(Read(A, us(102), 0))
    assert not awaited.join(lost(100.5, 102.5, 4, 4))


def test_a_bounded_number_of_gaps_waits() -> None:
    awaited = AwaitedBackfills(us(60))
    taken = [awaited.add(lost(n, n + 0.5, n, n), us(n)) for n in range(2 * MAX_WAITING)]
    assert taken == [True] * MAX_WAITING + [False] * MAX_WAITING
    symbols = [f"{number}USDT" for number in range(2 * MAX_WAITING_IN_ALL // MAX_WAITING)]
    for symbol in symbols:
        for n in range(MAX_WAITING):
            awaited.add(lost(n, n + 0.5, n, n, symbol), us(n))
    assert len(awaited.stop()) == MAX_WAITING_IN_ALL
    assert awaited.add(lost(1, 2, 3, 3), us(2)), "there is room again"


def test_a_market_keeps_a_bounded_number_of_spans() -> None:
    coverage = Coverage()
    coverage.begin("steady", [A], us(0))
    for number in range(1, 3 * MAX_SPANS):
        coverage.begin("flapping", [A], us(number))
        coverage.end("flapping", [A], us(number + 0.5), DISCONNECTED)
    # The steady connection was dead all the time: what the other one covered last is known.
    (*_, before, last) = coverage.end("steady", [A], us(0), SILENT)
    assert (before.ended_at_us, last.began_at_us) == (
        us(3 * MAX_SPANS - 2),
        us(3 * MAX_SPANS - 2 + 0.5),
    )
