"""What follows from the evidence of a market: one state for each interval."""

from itertools import pairwise, permutations
from typing import Any

import pytest

from radar.checks.proof import (
    MINUTE_US,
    BookSpan,
    CandleVerdict,
    Day,
    DayVerdict,
    Evidence,
    Hole,
    Interval,
    KnownGap,
    MarketEvidence,
    Span,
    State,
    depth_proof,
    trades_proof,
    weighed,
)

M = MINUTE_US
START = 1_000 * M
SECOND = 1_000_000


def at(minutes: float) -> int:
    return START + int(minutes * M)


def span(begin: float, end: float) -> Span:
    return Span(at(begin), at(end))


def evidence(**changes: Any) -> MarketEvidence:
    """Return that of ten recorded minutes without a proof."""
    return MarketEvidence(span(0, 10), first_us=at(-100), sessions=[span(-1, 11)])._replace(
        **changes
    )


def states(intervals: list[Interval]) -> list[tuple[float, float, str, str]]:
    return [
        ((each.begin_us - START) / M, (each.end_us - START) / M, str(each.state), each.cause)
        for each in intervals
    ]


def gap(begin: float, end: float, cause: str = "disconnected", *, repaired: bool = False) -> Any:
    return KnownGap(span(begin, end), cause, repaired)


def test_recorded_time_without_a_proof_is_unverifiable() -> None:
    assert states(trades_proof(evidence())) == [(0, 10, "unverifiable", "no_evidence")]
    assert states(depth_proof(evidence())) == [(0, 10, "unverifiable", "no_snapshot")]


def test_consecutive_numbers_verify_the_time_between_the_trades() -> None:
    (first, rest) = trades_proof(evidence(chain=span(-3, 7.5)))
    assert (first.state, first.evidence) == (State.VERIFIED, Evidence.NUMBERS)
    assert states([first, rest]) == [
        (0, 7.5, "verified", ""),
        # No later trade has come: the newest ones may be missing.
        (7.5, 10, "unverifiable", "no_evidence"),
    ]


def test_missing_numbers_are_counted_once() -> None:
    found = trades_proof(evidence(chain=span(-3, 11), holes=[Hole(span(2.2, 5.7), 7)]))
    assert states(found) == [
        (0, 2.2, "verified", ""),
        (2.2, 5.7, "missing", "sequence"),
        (5.7, 10, "verified", ""),
    ]
    assert [each.missing for each in found] == [0, 7, 0]


def test_a_hole_between_trades_of_one_time_is_seen() -> None:
    found = trades_proof(evidence(chain=span(-3, 11), holes=[Hole(span(5, 5), 2)]))
    (hole,) = [each for each in found if each.state is State.MISSING]
    assert (hole.begin_us, hole.end_us, hole.missing) == (at(5), at(5) + 1_000, 2)


def test_a_hole_over_two_periods_counts_in_the_one_in_which_it_begins() -> None:
    hole = Hole(span(8, 12), 3)
    whole = evidence(chain=span(-3, 20), holes=[hole], sessions=[span(-1, 30)])
    first = trades_proof(whole)
    second = trades_proof(whole._replace(judged=span(10, 20)))
    assert [each.missing for each in first] == [0, 3]
    assert states(second)[0] == (10, 12, "missing", "sequence")
    assert sum(each.missing for each in second) == 0


def test_numbers_from_before_the_first_session_prove_nothing() -> None:
    fetched = Hole(span(-500, 1), 9_000)
    found = trades_proof(evidence(chain=span(-600, 11), holes=[fetched], first_us=at(0)))
    assert states(found) == [
        (0, 1, "unverifiable", "no_evidence"),
        (1, 10, "verified", ""),
    ]


@pytest.mark.parametrize(
    ("known", "proof", "state"),
    [
        (gap(3, 4), {}, "unverifiable"),
        (gap(3, 4, repaired=True), {}, "repaired"),
        (gap(3, 4, "sequence"), {}, "missing"),
        (gap(3, 4, "mute"), {}, "missing"),
        (gap(3, 4), {"chain": span(-1, 11)}, "repaired"),
        (gap(3, 4, "sequence", repaired=True), {"chain": span(-1, 11)}, "repaired"),
        (gap(3, 4), {"candles": {at(3): CandleVerdict.EQUAL}}, "repaired"),
        (gap(3, 4), {"candles": {at(3): CandleVerdict.SHORT}}, "missing"),
        (gap(3, 4, repaired=True), {"candles": {at(3): CandleVerdict.SHORT}}, "missing"),
        (gap(3, 4, repaired=True), {"candles": {at(3): CandleVerdict.DIFFERENT}}, "unverifiable"),
    ],
)
def test_a_gap_is_repaired_only_as_far_as_the_proof_allows(
    known: KnownGap, proof: dict[str, Any], state: str
) -> None:
    found = trades_proof(evidence(gaps=[known], **proof))
    assert {each[2] for each in states(found) if each[:2] == (3, 4)} == {state}


def test_time_without_a_session_is_radars_own() -> None:
    sessions = [span(-1, 2), span(4, 5), Span(at(5) + SECOND // 2, at(9))]
    stopped = evidence(sessions=sessions)
    found = trades_proof(stopped)
    assert states(found) == [
        (0, 2, "unverifiable", "no_evidence"),
        (2, 4, "unverifiable", "not_recording"),
        # A seam of half a second between two sessions is no stop.
        (4, 9, "unverifiable", "no_evidence"),
        (9, 10, "unverifiable", "not_recording"),
    ]
    assert [each.is_own for each in found] == [False, True, False, True]
    # Books have no history at the exchange.
    books = depth_proof(stopped)
    assert [(each.state, each.cause) for each in books if each.is_own] == [
        (State.MISSING, "not_recording")
    ] * 2


def test_a_loss_of_radars_own_stop_is_named_so() -> None:
    found = trades_proof(
        evidence(
            sessions=[span(-1, 3), span(4, 11)],
            chain=span(-1, 11),
            holes=[Hole(span(2.9, 4.1), 5)],
        )
    )
    own = [each for each in found if each.is_own]
    assert states(own) == [(3, 4, "missing", "not_recording")]
    assert sum(each.missing for each in found) == 5
    assert {each.state for each in found if at(2.9) <= each.begin_us < at(4.1)} == {State.MISSING}


def test_candles_judge_whole_minutes_without_numbers() -> None:
    verdicts = {at(n): CandleVerdict.EQUAL for n in range(8)}
    verdicts[at(3)] = CandleVerdict.SHORT
    verdicts[at(5)] = CandleVerdict.DIFFERENT
    assert states(trades_proof(evidence(candles=verdicts))) == [
        (0, 3, "verified", ""),
        (3, 4, "missing", "candle"),
        (4, 5, "verified", ""),
        (5, 6, "unverifiable", "candle"),
        (6, 8, "verified", ""),
        (8, 10, "unverifiable", "no_evidence"),
    ]


def test_a_short_candle_contradicts_whole_numbers_and_is_explained_by_missing_ones() -> None:
    verdicts = {at(n): CandleVerdict.EQUAL for n in range(10)} | {at(4): CandleVerdict.SHORT}
    whole = evidence(chain=span(-1, 11), candles=verdicts)
    assert (4, 5, "unverifiable", "candle") in states(trades_proof(whole))
    hole = whole._replace(holes=[Hole(span(4.2, 4.4), 1)])
    assert states(trades_proof(hole)) == [
        (0, 4.2, "verified", ""),
        (4.2, 4.4, "missing", "sequence"),
        (4.4, 10, "verified", ""),
    ]


def test_a_short_candle_of_a_minute_with_an_open_gap_blames_the_gap() -> None:
    short = evidence(gaps=[gap(3.2, 3.4)], candles={at(3): CandleVerdict.SHORT})
    assert states(trades_proof(short))[1:4] == [
        (3, 3.2, "unverifiable", "candle"),
        (3.2, 3.4, "missing", "disconnected"),
        (3.4, 4, "unverifiable", "candle"),
    ]


def test_a_candle_of_a_minute_that_was_judged_in_part_proves_no_loss() -> None:
    part = evidence(judged=span(0.5, 10), first_us=at(0.5), candles={at(0): CandleVerdict.SHORT})
    assert states(trades_proof(part)) == [(0.5, 10, "unverifiable", "no_evidence")]


def test_a_chain_of_books_proves_the_time_up_to_its_last_snapshot_and_breaks_at_a_gap() -> None:
    books = [
        BookSpan(span(-1, 6), proven=True),
        BookSpan(span(6, 7), proven=False),
        BookSpan(span(7, 9), proven=True),
    ]
    found = depth_proof(evidence(books=books, gaps=[gap(4.5, 4.75, "checksum")]))
    assert states(found) == [
        (0, 4.5, "verified", ""),
        (4.5, 4.75, "missing", "checksum"),
        (4.75, 6, "verified", ""),
        (6, 7, "unverifiable", "no_evidence"),
        (7, 9, "verified", ""),
        (9, 10, "unverifiable", "no_snapshot"),
    ]


def test_trades_that_came_late_were_repaired() -> None:
    late = evidence(
        chain=span(-1, 11), late=[span(2, 2.5), span(6, 6.5)], gaps=[gap(6, 7, "sequence")]
    )
    assert states(trades_proof(late)) == [
        (0, 2, "verified", ""),
        (2, 2.5, "repaired", "late"),
        (2.5, 6, "verified", ""),
        (6, 6.5, "repaired", "sequence"),
        # The gap was reported by our clock; its missing numbers lie elsewhere.
        (6.5, 10, "verified", ""),
    ]


def test_intervals_lie_side_by_side_and_fill_the_judged_time() -> None:
    found = trades_proof(
        evidence(
            gaps=[gap(1, 3), gap(2, 6, repaired=True), gap(2.5, 2.6, "mute")],
            holes=[Hole(span(5, 9), 2)],
            chain=span(4, 9.5),
        )
    )
    assert (found[0].begin_us, found[-1].end_us) == span(0, 10)
    for before, behind in pairwise(found):
        assert before.end_us == behind.begin_us
        assert before[2:5] != behind[2:5]


def day(begin: float, end: float, verdict: DayVerdict) -> Day:
    return Day(span(begin, end), verdict)


EQUAL_DAY = day(-1000, 8, DayVerdict.EQUAL)
SHORT_DAY = day(-1000, 8, DayVerdict.SHORT)


def test_equal_volume_proves_what_no_other_evidence_proves() -> None:
    gaps = [gap(2, 3), gap(4, 5, repaired=True), gap(6, 7, "sequence")]
    found = trades_proof(evidence(gaps=gaps, days=[EQUAL_DAY]))
    assert states(found) == [
        (0, 2, "verified", ""),
        (2, 3, "repaired", "disconnected"),
        (3, 4, "verified", ""),
        (4, 5, "repaired", "disconnected"),
        (5, 6, "verified", ""),
        # A proven loss stays one.
        (6, 7, "missing", "sequence"),
        (7, 8, "verified", ""),
        (8, 10, "unverifiable", "no_evidence"),
    ]
    assert {each.evidence for each in found[:5]} == {Evidence.VOLUME}


@pytest.mark.parametrize("verdict", [DayVerdict.SHORT, DayVerdict.DIFFERENT])
def test_other_volume_makes_all_times_unverifiable_that_no_better_evidence_proves(
    verdict: DayVerdict,
) -> None:
    gaps = [gap(2, 3), gap(4, 5, repaired=True)]
    found = trades_proof(evidence(gaps=gaps, chain=span(6, 7), days=[day(-1000, 8, verdict)]))
    assert states(found) == [
        (0, 2, "unverifiable", "volume"),
        (2, 3, "unverifiable", "disconnected"),
        (3, 4, "unverifiable", "volume"),
        (4, 5, "unverifiable", "disconnected"),
        (5, 6, "unverifiable", "volume"),
        (6, 7, "verified", ""),
        (7, 8, "unverifiable", "volume"),
        (8, 10, "unverifiable", "no_evidence"),
    ]
    assert [each.evidence for each in found[1:4:2]] == [Evidence.SESSIONS, Evidence.VOLUME]


@pytest.mark.parametrize("verdict", list(DayVerdict))
def test_volume_changes_no_proof_by_numbers_or_candles(verdict: DayVerdict) -> None:
    candles = {
        at(0): CandleVerdict.EQUAL,
        at(1): CandleVerdict.SHORT,
        at(2): CandleVerdict.DIFFERENT,
    }
    alone = evidence(candles=candles, chain=span(3, 10), holes=[Hole(span(5, 6), 2)])
    before = trades_proof(alone)
    assert {each.evidence for each in before} == {Evidence.CANDLES, Evidence.NUMBERS}
    assert trades_proof(alone._replace(days=[day(-1000, 1000, verdict)])) == before


def test_equal_volume_wins_over_the_other_volume_of_an_earlier_time() -> None:
    found = trades_proof(evidence(days=[SHORT_DAY, day(4, 1000, DayVerdict.EQUAL)]))
    assert states(found) == [(0, 4, "unverifiable", "volume"), (4, 10, "verified", "")]


def test_stored_proofs_are_weighed_again_as_the_evidence_itself() -> None:
    """A later volume changes stored proofs in any order of the answers."""
    gaps = [gap(2, 3), gap(4, 5, repaired=True), gap(6, 7, "sequence")]
    days = [SHORT_DAY, day(1, 9, DayVerdict.EQUAL), day(-5, 4.5, DayVerdict.DIFFERENT)]
    at_once = trades_proof(evidence(gaps=gaps, days=days))
    for order in permutations(days):
        stored = trades_proof(evidence(gaps=gaps))
        for each in order:
            stored = weighed(stored, [each])
        assert stored == at_once


def test_weighed_intervals_count_their_missing_records_once() -> None:
    found = trades_proof(evidence(chain=span(-3, 11), holes=[Hole(span(2, 9), 7)]))
    again = weighed(found, [EQUAL_DAY])
    assert again == found
    assert sum(each.missing for each in again) == 7
