"""Examines what was recorded in a period: collects the evidence, judges it, and stores the proofs.

An hour is the unit: examined again, it gets a new proof in place of the old one.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import NamedTuple

from radar.checks.candle_comparison import Minute
from radar.checks.exchange_candles import ExchangeCandles
from radar.checks.proof import (
    LEAST_HOLE_US,
    MINUTE_US,
    BookSpan,
    CandleVerdict,
    Day,
    DayVerdict,
    Hole,
    Interval,
    KnownGap,
    MarketEvidence,
    Span,
    depth_proof,
    trades_proof,
)
from radar.clock import unix_us
from radar.datasets import DEPTH, TRADES
from radar.exchanges.base import Exchange
from radar.store import day_volumes, proofs
from radar.store.client import Store
from radar.store.day_volumes import ProvingDay
from radar.store.proofs import ProofRow, Stored

HOUR_US = 3_600_000_000
# So many hours are read from the database and asked from the exchange at once.
HOURS_AT_ONCE = 6


class MarketProof(NamedTuple):
    """The intervals of an hour of a market, oldest first."""

    exchange: str
    dataset: str
    symbol: str
    hour_us: int
    intervals: list[Interval]


class Examiner:
    """Examines the recording of one exchange."""

    def __init__(self, store: Store, exchange: Exchange, candles: ExchangeCandles) -> None:
        self._store = store
        self._exchange = exchange
        self._candles = candles

    async def examine(self, period: Span) -> AsyncIterator[list[MarketProof]]:
        """Examine the hours of a period and store their proofs; yields those of some hours.

        Args:
            period: It begins with an hour; its end may lie within one.

        Raises:
            StoreUnavailable: ClickHouse does not answer.
            QueryFailed: It refuses a query.
            StoreRejected: It refuses the proofs.
        """
        hours = HOURS_AT_ONCE
        if self._candles.is_offered:
            hours = max(1, min(hours, self._candles.page_minutes // 60))
        for begin_us in range(period.begin_us, period.end_us, hours * HOUR_US):
            found = await self._some(Span(begin_us, min(period.end_us, begin_us + hours * HOUR_US)))
            proofs.save(self._store, [_row(each) for each in found], unix_us())
            yield found

    async def _some(self, period: Span) -> list[MarketProof]:
        stored = proofs.stored(
            self._store,
            self._exchange.name,
            *period,
            numbers=self._exchange.proves_trades,
        )
        days = day_volumes.proving(self._store, self._exchange.name, *period)
        found = []
        for (dataset, symbol), (first_us, until_us) in stored.judged.items():
            verdicts: dict[int, CandleVerdict] = {}
            if dataset == TRADES.name:
                minutes = {at: Minute(*each) for at, each in stored.minutes[symbol].items()}
                verdicts = await self._candles.verdicts(symbol, _minutes_of(period), minutes)
            for hour in hours_of(period):
                judged = Span(max(hour.begin_us, first_us), min(hour.end_us, until_us))
                if judged.begin_us < judged.end_us:
                    evidence = evidence_of(stored, dataset, symbol, judged, verdicts)
                    evidence = evidence._replace(days=days_of(days.get(symbol, ())))
                    prove = depth_proof if dataset == DEPTH.name else trades_proof
                    proof = MarketProof(
                        self._exchange.name, dataset, symbol, hour.begin_us, prove(evidence)
                    )
                    found.append(proof)
        return found


def evidence_of(
    stored: Stored,
    dataset: str,
    symbol: str,
    judged: Span,
    candles: dict[int, CandleVerdict],
) -> MarketEvidence:
    """Return everything known about a market in a time."""
    key = (dataset, symbol)

    def within(begin_us: int, end_us: int) -> bool:
        return begin_us < judged.end_us and end_us > judged.begin_us

    evidence = MarketEvidence(
        judged,
        first_us=stored.judged[key][0],
        sessions=[Span(*each) for each in stored.sessions[key] if within(*each)],
        gaps=[
            KnownGap(Span(each.begin_us, each.end_us), each.cause, each.repaired, each.missing)
            for each in stored.gaps[key]
            if within(each.begin_us, each.end_us)
        ],
    )
    if dataset == DEPTH.name:
        books = [
            BookSpan(Span(each.begin_us, each.end_us), each.proven)
            for each in stored.books[symbol]
            if within(each.begin_us, each.end_us)
        ]
        return evidence._replace(books=books)
    if symbol in stored.chains:
        holes = [
            Hole(Span(begin_us, end_us), missing)
            for begin_us, end_us, missing in stored.holes[symbol]
            if within(begin_us, end_us)
        ]
        evidence = evidence._replace(chain=Span(*stored.chains[symbol]), holes=holes)
    late = [
        Span(begin_us, end_us + LEAST_HOLE_US)
        for begin_us, end_us in stored.late[symbol]
        if within(begin_us, end_us + 1)
    ]
    return evidence._replace(candles=candles, late=late)


def hours_of(period: Span) -> Iterable[Span]:
    """Return the hours of a period; the last may be shorter."""
    for begin_us in range(period.begin_us, period.end_us, HOUR_US):
        yield Span(begin_us, min(period.end_us, begin_us + HOUR_US))


def days_of(proving: Iterable[ProvingDay]) -> list[Day]:
    """Return the comparisons with the exchange's volumes, as evidence."""
    return [Day(Span(each.begin_us, each.end_us), DayVerdict(each.result)) for each in proving]


def _minutes_of(period: Span) -> Span:
    return Span(period.begin_us, -(-period.end_us // MINUTE_US) * MINUTE_US)


def _row(proof: MarketProof) -> ProofRow:
    intervals: Sequence[Interval] = proof.intervals
    return ProofRow(
        proof.exchange,
        proof.dataset,
        proof.symbol,
        proof.hour_us // 1_000_000,
        [each.begin_us for each in intervals],
        [each.end_us for each in intervals],
        [str(each.state) for each in intervals],
        [each.cause for each in intervals],
        [str(each.evidence) for each in intervals],
        [each.missing for each in intervals],
    )
