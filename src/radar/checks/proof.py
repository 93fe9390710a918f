"""The completeness of a market's recording, as far as it is known: intervals with a state. Pure.

Times are Unix time in microseconds. The period is cut at each minute and at each edge of the
evidence. Each piece gets a state, and equal neighbours become one interval.

Evidence that cannot judge a piece stays silent. A proof of a loss wins over all other evidence. A
proof of completeness wins over a gap, which only raises the suspicion of a loss. So a piece is

    missing       numbers, the exchange's candle or a gap prove a loss
    unverifiable  no evidence proves it complete, or two proofs contradict each other
    repaired      complete, although radar did not record all of it at first
    verified      recorded, and the exchange's numbers, candles or volume prove it complete

The exchange's volumes of 24 hours are weighed last; see `weighed`.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

MINUTE_US = 60_000_000
# Sessions of one market may follow each other with a seam; a shorter one is no stop.
SEAM_US = 1_000_000
# Times of trades are as fine as the exchange sends them: milliseconds at most of them.
LEAST_HOLE_US = 1_000

NOT_RECORDING = "not_recording"
# The exchange's volume of 24 hours is another one, and no other cause is known.
VOLUME = "volume"
# Gaps with these causes prove a loss: numbers, a checksum, or REST showed the missing records.
PROVEN_CAUSES = frozenset({"sequence", "checksum", "mute", "refused_by_kafka"})
# radar itself did not record; the view proof_intervals has the same list.
OWN_CAUSES = frozenset({NOT_RECORDING, "backpressure", "refused_by_kafka", "suspended", "clock"})


class State(StrEnum):
    """The completeness of an interval, the worst last."""

    VERIFIED = "verified"
    REPAIRED = "repaired"
    UNVERIFIABLE = "unverifiable"
    MISSING = "missing"


class Evidence(StrEnum):
    """The proof behind a state."""

    NUMBERS = "numbers"  # consecutive numbers of the stored trades
    CANDLES = "candles"  # the exchange's own candles
    VOLUME = "volume"  # the exchange's own volume of 24 hours
    CHAIN = "chain"  # numbers or checksums of the book
    BACKFILL = "backfill"  # the producer fetched all missed trades from REST
    SESSIONS = "sessions"  # the reports of connections and gaps
    NONE = "none"


class Span(NamedTuple):
    """A time."""

    begin_us: int
    end_us: int

    def covers(self, begin_us: int, end_us: int) -> bool:
        """Return whether a time lies in it."""
        return self.begin_us <= begin_us and end_us <= self.end_us


class KnownGap(NamedTuple):
    """A time without records, as the producer reported it."""

    span: Span
    cause: str
    repaired: bool
    missing: int = 0


class Hole(NamedTuple):
    """Missing numbers between two stored trades."""

    span: Span
    missing: int


class BookSpan(NamedTuple):
    """A time in which a chain or checksums prove all snapshots of a book, or none."""

    span: Span
    proven: bool


class CandleVerdict(StrEnum):
    """How the trades of a minute compare with the exchange's candle."""

    EQUAL = "equal"
    SHORT = "short"  # the exchange has more volume
    DIFFERENT = "different"


class DayVerdict(StrEnum):
    """How the trades of 24 hours compare with the exchange's volume."""

    EQUAL = "equal"
    SHORT = "short"  # the exchange has more volume, and no known gap explains it
    DIFFERENT = "different"  # the exchange has less volume


class Day(NamedTuple):
    """A comparison of about 24 hours."""

    span: Span
    verdict: DayVerdict


class MarketEvidence(NamedTuple):
    """Everything known about one market of one dataset in a period.

    Attributes:
        judged: From the first session on, within the period.
        first_us: When the first session of the market began.
        sessions: When a connection delivered the market.
        gaps: The reported gaps.
        chain: From the first to the last numbered trade; None: the exchange gives no numbers.
        holes: Missing numbers within the chain.
        candles: The verdict of each minute, by its beginning; absent: there is none.
        late: Times with trades that arrived long after they had happened.
        books: When the book was proven and when it was not, side by side.
        days: The volumes of 24 hours that prove something.
    """

    judged: Span
    first_us: int = 0
    sessions: Sequence[Span] = ()
    gaps: Sequence[KnownGap] = ()
    chain: Span | None = None
    holes: Sequence[Hole] = ()
    candles: Mapping[int, CandleVerdict] = {}
    late: Sequence[Span] = ()
    books: Sequence[BookSpan] = ()
    days: Sequence[Day] = ()


class Interval(NamedTuple):
    """A time in one state; `missing` counts the records that numbers prove to be missing."""

    begin_us: int
    end_us: int
    state: State
    cause: str
    evidence: Evidence
    missing: int = 0

    @property
    def is_own(self) -> bool:
        """Whether radar itself did not record it."""
        return self.cause in OWN_CAUSES


class _Judgement(NamedTuple):
    state: State
    cause: str
    evidence: Evidence


def trades_proof(evidence: MarketEvidence) -> list[Interval]:
    """Return the states of the recorded trades of a market."""
    first_us = evidence.first_us
    # Numbers from before the first session cannot judge the time since.
    holes = [_visible(each) for each in evidence.holes if each.span.begin_us >= first_us]
    blind = [each.span for each in evidence.holes if each.span.begin_us < first_us]
    evidence = evidence._replace(holes=holes)
    edges = [*(each.span for each in holes), *blind, *evidence.late]
    edges += [evidence.chain] if evidence.chain else []
    uncovered = _uncovered(evidence)
    found = []
    for begin_us, end_us in _pieces(evidence, edges):
        judgement = _judge_trades(evidence, uncovered, blind, begin_us, end_us)
        found.append(Interval(begin_us, end_us, *judgement, _count(holes, begin_us)))
    return weighed(_merged(found), evidence.days)


def weighed(intervals: Iterable[Interval], days: Sequence[Day]) -> list[Interval]:
    """Return the states of trades, with regard to the exchange's volumes of 24 hours.

    An equal volume proves that all trades of its time are stored. Another one says that something
    is wrong, and not when: only better evidence proves a part of its time complete. An equal volume
    is such evidence.
    """
    found = []
    for interval in intervals:
        begin_us, end_us = interval.begin_us, interval.end_us
        cuts = {begin_us, end_us}
        cuts.update(at for day in days for at in day.span if begin_us < at < end_us)
        for piece in pairwise(sorted(cuts)):
            verdicts = {day.verdict for day in days if day.span.covers(*piece)}
            cut = interval._replace(begin_us=piece[0], end_us=piece[1])
            # The missing records of an interval count once.
            cut = cut._replace(missing=interval.missing if piece[0] == begin_us else 0)
            found.append(_weigh(cut, verdicts))
    return _merged(found)


def _weigh(interval: Interval, verdicts: set[DayVerdict]) -> Interval:
    if interval.evidence in (Evidence.NUMBERS, Evidence.CANDLES) or interval.state is State.MISSING:
        return interval
    by_volume = interval._replace(evidence=Evidence.VOLUME)
    if DayVerdict.EQUAL in verdicts:
        if interval.state is not State.UNVERIFIABLE:
            return by_volume
        if interval.evidence is Evidence.NONE or interval.cause == VOLUME:
            return by_volume._replace(state=State.VERIFIED, cause="")
        return by_volume._replace(state=State.REPAIRED)
    if verdicts and interval.evidence is Evidence.NONE:
        return by_volume._replace(cause=VOLUME)
    if verdicts and interval.evidence is Evidence.BACKFILL:
        # The cause stays: an equal volume makes the time repaired again.
        return by_volume._replace(state=State.UNVERIFIABLE)
    return interval


def depth_proof(evidence: MarketEvidence) -> list[Interval]:
    """Return the states of the recorded books of a market: a missed book stays missing."""
    uncovered = _uncovered(evidence)
    found = []
    for begin_us, end_us in _pieces(evidence, (each.span for each in evidence.books)):
        if gap := _gap_at(uncovered, begin_us, end_us):
            judgement = _Judgement(State.MISSING, gap.cause, Evidence.SESSIONS)
        else:
            judgement = _judge_book(evidence.books, begin_us, end_us)
        found.append(Interval(begin_us, end_us, *judgement))
    return _merged(found)


def _judge_book(books: Iterable[BookSpan], begin_us: int, end_us: int) -> _Judgement:
    book = next((each for each in books if each.span.covers(begin_us, end_us)), None)
    if book is None:
        return _Judgement(State.UNVERIFIABLE, "no_snapshot", Evidence.NONE)
    if book.proven:
        return _Judgement(State.VERIFIED, "", Evidence.CHAIN)
    return _Judgement(State.UNVERIFIABLE, "no_evidence", Evidence.NONE)


def _judge_trades(
    evidence: MarketEvidence,
    uncovered: Sequence[KnownGap],
    blind: Sequence[Span],
    begin_us: int,
    end_us: int,
) -> _Judgement:
    gap = _gap_at(uncovered, begin_us, end_us)
    hole = any(each.span.covers(begin_us, end_us) for each in evidence.holes)
    if hole:
        return _Judgement(State.MISSING, gap.cause if gap else "sequence", Evidence.NUMBERS)
    chain = evidence.chain
    numbered = (
        chain is not None
        and chain.covers(begin_us, end_us)
        and not any(each.covers(begin_us, end_us) for each in blind)
    )
    minute_us = begin_us // MINUTE_US * MINUTE_US
    candle = _candle(evidence, minute_us)
    if candle is CandleVerdict.SHORT and not numbered:
        # A part of the minute that was not recorded explains it; the other part stays unproven.
        minute = Span(minute_us, minute_us + MINUTE_US)
        explains = any(not each.repaired and _overlap(each.span, minute) for each in uncovered)
        if not explains or (gap is not None and not gap.repaired):
            cause = gap.cause if gap else "candle"
            return _Judgement(State.MISSING, cause, Evidence.CANDLES)
        return _Judgement(State.UNVERIFIABLE, "candle", Evidence.CANDLES)
    if candle in (CandleVerdict.SHORT, CandleVerdict.DIFFERENT):
        return _Judgement(State.UNVERIFIABLE, "candle", Evidence.CANDLES)
    if numbered or candle is CandleVerdict.EQUAL:
        proof = Evidence.NUMBERS if numbered else Evidence.CANDLES
        # A loss that numbers had proven is repaired if the trades have come, however late.
        is_late = any(each.covers(begin_us, end_us) for each in evidence.late)
        if gap is not None and (gap.repaired or is_late or gap.cause not in PROVEN_CAUSES):
            return _Judgement(State.REPAIRED, gap.cause, proof)
        if is_late:
            return _Judgement(State.REPAIRED, "late", proof)
        return _Judgement(State.VERIFIED, "", proof)
    if gap is None:
        return _Judgement(State.UNVERIFIABLE, "no_evidence", Evidence.NONE)
    if gap.repaired:
        return _Judgement(State.REPAIRED, gap.cause, Evidence.BACKFILL)
    state = State.MISSING if gap.cause in PROVEN_CAUSES else State.UNVERIFIABLE
    return _Judgement(state, gap.cause, Evidence.SESSIONS)


def _candle(evidence: MarketEvidence, minute_us: int) -> CandleVerdict | None:
    """Return the verdict of a minute, if it concerns the judged time and no hole explains it."""
    verdict = evidence.candles.get(minute_us)
    minute = Span(minute_us, minute_us + MINUTE_US)
    if verdict in (None, CandleVerdict.EQUAL):
        return verdict
    if not evidence.judged.covers(*minute):
        return None
    if any(_overlap(each.span, minute) for each in evidence.holes):
        return None
    return verdict


def _uncovered(evidence: MarketEvidence) -> list[KnownGap]:
    """Return the gaps, and the times without a session or gap, in which radar did not record."""
    covered = sorted([*evidence.sessions, *(each.span for each in evidence.gaps)])
    found = list(evidence.gaps)
    at_us = evidence.judged.begin_us
    for span in [*covered, Span(evidence.judged.end_us, evidence.judged.end_us)]:
        if span.begin_us > at_us + SEAM_US:
            stop = Span(at_us, min(span.begin_us, evidence.judged.end_us))
            found.append(KnownGap(stop, NOT_RECORDING, repaired=False))
        at_us = max(at_us, span.end_us)
    return found


def _gap_at(gaps: Iterable[KnownGap], begin_us: int, end_us: int) -> KnownGap | None:
    """Return the worst gap that covers a time: a proven loss first, a repaired gap last."""
    covering = [each for each in gaps if each.span.covers(begin_us, end_us)]
    return min(
        covering,
        key=lambda each: (each.repaired, each.cause not in PROVEN_CAUSES, each.cause),
        default=None,
    )


def _pieces(evidence: MarketEvidence, spans: Iterable[Span]) -> list[tuple[int, int]]:
    begin_us, end_us = evidence.judged
    edges = [*evidence.sessions, *(each.span for each in evidence.gaps), *spans]
    cuts = {begin_us, end_us}
    cuts.update(range((begin_us // MINUTE_US + 1) * MINUTE_US, end_us, MINUTE_US))
    cuts.update(each for span in edges for each in span if begin_us < each < end_us)
    return list(pairwise(sorted(cuts)))


def _visible(hole: Hole) -> Hole:
    """Return a hole that lasts: the trades around it may have the same time."""
    begin_us, end_us = hole.span
    return hole._replace(span=Span(begin_us, max(end_us, begin_us + LEAST_HOLE_US)))


def _count(holes: Iterable[Hole], begin_us: int) -> int:
    """Return the missing numbers of the holes that begin with a piece, so that each counts once."""
    return sum(each.missing for each in holes if each.span.begin_us == begin_us)


def _overlap(one: Span, other: Span) -> bool:
    return one.begin_us < other.end_us and other.begin_us < one.end_us


def _merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Join equal neighbours."""
    found: list[Interval] = []
    for each in intervals:
        before = found[-1] if found else None
        if before is not None and before[2:5] == each[2:5]:
            missing = before.missing + each.missing
            found[-1] = before._replace(end_us=each.end_us, missing=missing)
        else:
            found.append(each)
    return found
