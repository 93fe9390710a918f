"""`radar reconcile`: how complete the recording of a period is, as far as evidence shows."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, NamedTuple

from radar.checks.completeness import HOUR_US, Examiner, MarketProof, days_of
from radar.checks.day_volumes import WRONG, VolumeEvidence
from radar.checks.exchange_candles import ExchangeCandles
from radar.checks.exchange_requests import ExchangeRequests
from radar.checks.proof import DayVerdict, Interval, Span, State, weighed
from radar.datasets import TRADES
from radar.exchanges import load
from radar.settings import Settings
from radar.store import day_volumes as table
from radar.store import origin
from radar.store.client import Store
from radar.store.day_volumes import DayVolumeRow, ProvingDay
from radar.store.proofs import judged, redundancy

SHOWN_INTERVALS = 20
_WORST_FIRST = (State.MISSING, State.UNVERIFIABLE, State.REPAIRED, State.VERIFIED)

# Shows the present task, the finished number and the total.
Show = Callable[[str, int, int], None]


class Result(IntEnum):
    """The exit code of the command; 2 is wrong usage."""

    COMPLETE = 0  # all is verified or repaired
    MISSING = 1
    UNVERIFIABLE = 3  # nothing is known to be missing, and not all is proven


class MarketReport(NamedTuple):
    """A market of one dataset in the asked period.

    Attributes:
        exchange: The exchange.
        dataset: trades or depth.
        symbol: The market.
        intervals: Its states, oldest first; equal neighbours of two hours stay two.
    """

    exchange: str
    dataset: str
    symbol: str
    intervals: list[Interval]

    def seconds(self, state: State) -> float:
        """Return for how long it is in a state."""
        return sum(e.end_us - e.begin_us for e in self.intervals if e.state is state) / 1e6

    @property
    def own_s(self) -> float:
        """For how long radar itself is the cause that something is missing or unproven."""
        own = (e for e in self.intervals if e.is_own and e.state in _WORST_FIRST[:2])
        return sum(each.end_us - each.begin_us for each in own) / 1e6

    @property
    def missing(self) -> int:
        """How many records the numbers prove to be missing."""
        return sum(each.missing for each in self.intervals)


class DayReport(NamedTuple):
    """The newest comparison of a market with the exchange's volume of 24 hours."""

    exchange: str
    row: DayVolumeRow

    @property
    def proves(self) -> str:
        """The result, or `unknown` without a proof."""
        return table.UNKNOWN if self.row.reason else self.row.result


class Report(NamedTuple):
    """The result of a period.

    Attributes:
        period: The period, Unix time.
        markets: The markets.
        notes: Which evidence was not available, and estimates, one sentence each.
        days: The newest comparison of each market with the exchange's volume of 24 hours.
    """

    period: Span
    markets: list[MarketReport]
    notes: list[str]
    days: Sequence[DayReport] = ()

    @property
    def result(self) -> Result:
        """The worst state that was found; a period without a recorded market proves nothing."""
        states = {each.state for market in self.markets for each in market.intervals}
        if State.MISSING in states:
            return Result.MISSING
        if State.UNVERIFIABLE in states or not states:
            return Result.UNVERIFIABLE
        return Result.COMPLETE


class Sources(NamedTuple):
    """What the exchange itself says about its trades."""

    candles: ExchangeCandles
    volumes: VolumeEvidence


@asynccontextmanager
async def examiner(
    settings: Settings, store: Store, name: str
) -> AsyncIterator[tuple[Examiner, Sources]]:
    """Provide the examiner of an exchange, and its sources of evidence."""
    exchange = load(name)
    requests = ExchangeRequests(settings, exchange, origin.read(store))
    candles = ExchangeCandles(exchange, requests)
    volumes = VolumeEvidence(settings, store, exchange, requests)
    try:
        yield Examiner(store, exchange, candles), Sources(candles, volumes)
    finally:
        await requests.close()


async def reconcile(
    settings: Settings, store: Store, names: Sequence[str], period: Span, show: Show
) -> Report:
    """Examine a period of some exchanges; the hours that it touches get new proofs.

    Args:
        settings: The options.
        store: The database.
        names: The exchanges.
        period: The period.
        show: Shows the progress.

    Raises:
        ConfigurationError: An exchange is unknown.
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses a query.
    """
    hours = Span(period.begin_us // HOUR_US * HOUR_US, period.end_us)
    found: list[MarketProof] = []
    notes = []
    days: list[DayReport] = []
    for name in names:
        async with examiner(settings, store, name) as (examining, sources):
            recorded = recorded_hours(store, name, hours)
            total = -(-(recorded.end_us - recorded.begin_us) // HOUR_US)
            show(name, 0, total)
            first = len(found)
            async for proofs in examining.examine(recorded):
                found += proofs
                if proofs:
                    done = (proofs[-1].hour_us - recorded.begin_us) // HOUR_US + 1
                    show(name, done, total)
            await sources.volumes.renew()
            found[first:] = weighed_again(found[first:], table.proving(store, name, *hours))
            if sources.candles.trouble:
                notes.append(f"no candles of {name} were compared: {sources.candles.trouble}")
            if sources.volumes.trouble:
                notes.append(f"no volumes of {name} were fetched: {sources.volumes.trouble}")
        days += [DayReport(name, row) for row in table.newest(store, name, *period)]
        notes += estimate(name, *redundancy(store, name, *period))
    return Report(period, list(_by_market(found, period)), notes, days)


def recorded_hours(store: Store, name: str, hours: Span) -> Span:
    """Return the hours of a period in which an exchange was recorded.

    To examine the hours before a new recording would take most of the time.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses the query.
    """
    markets = judged(store, name, *hours).values()
    if not markets:
        return Span(hours.end_us, hours.end_us)
    first_us = min(first_us for first_us, _ in markets) // HOUR_US * HOUR_US
    until_us = max(until_us for _, until_us in markets)
    return Span(max(hours.begin_us, first_us), min(hours.end_us, until_us))


def weighed_again(
    found: Iterable[MarketProof], proving: Mapping[str, Sequence[ProvingDay]]
) -> Iterator[MarketProof]:
    """Yield proofs with regard to volumes that were compared after the examination."""
    for proof in found:
        if proof.dataset == TRADES.name:
            days = days_of(proving.get(proof.symbol, ()))
            yield proof._replace(intervals=weighed(proof.intervals, days))
        else:
            yield proof


def estimate(name: str, both: int, alone: int) -> list[str]:
    """Return a sentence about the trades that no connection brought; none without two of them.

    Lincoln and Petersen: only one times only the other, by both. It takes equal connections and
    independent losses for granted.
    """
    if not both:
        return []
    missed = (alone / 2) ** 2 / both
    counts = f"{name}: two connections brought {both:,} trades both and {alone:,} alone"
    return [f"{counts}; an estimate, no proof: both missed about {missed:,.1f}"]


def _by_market(found: Iterable[MarketProof], period: Span) -> Iterator[MarketReport]:
    """Yield the intervals of each market, cut at the ends of the period."""
    markets: dict[tuple[str, str, str], list[Interval]] = {}
    for proof in found:
        kept = markets.setdefault((proof.exchange, proof.dataset, proof.symbol), [])
        for each in proof.intervals:
            begin_us, end_us = max(each.begin_us, period.begin_us), min(each.end_us, period.end_us)
            if begin_us < end_us:
                kept.append(each._replace(begin_us=begin_us, end_us=end_us))
    for key, intervals in sorted(markets.items()):
        if intervals:
            yield MarketReport(*key, intervals)


def describe(report: Report) -> Iterator[str]:
    """Describe a result, line by line: a table, then the intervals that are not proven."""
    if not report.markets:
        yield "no market was recorded in this period: no time is proven"
        yield from report.notes
        return
    yield (
        f"{'exchange':10} {'dataset':7} {'market':16} {'verified':>9} {'repaired':>9}"
        f" {'unverifiable':>12} {'missing':>9}  missing records"
    )
    for each in report.markets:
        judged_s = sum(each.seconds(state) for state in State)
        shares = [_percent(each.seconds(state), judged_s) for state in reversed(_WORST_FIRST)]
        own = f", {each.own_s:,.0f} s not recorded by radar" if each.own_s else ""
        yield (
            f"{each.exchange:10} {each.dataset:7} {each.symbol:16} {shares[0]:>9} {shares[1]:>9}"
            f" {shares[2]:>12} {shares[3]:>9}  {each.missing:,}{own}"
        )
    bad = [
        (market, interval)
        for state in _WORST_FIRST[:2]
        for market in report.markets
        for interval in market.intervals
        if interval.state is state
    ]
    for market, bad_time in bad[:SHOWN_INTERVALS]:
        yield _line(market, bad_time)
    if len(bad) > SHOWN_INTERVALS:
        yield f"and {len(bad) - SHOWN_INTERVALS:,} more: query the view proof_intervals"
    yield from _day_lines(report.days)
    yield from report.notes
    yield _verdict(report.result)


def _day_lines(days: Sequence[DayReport]) -> Iterator[str]:
    """Describe the comparisons with the exchanges' volumes: counts, then those that differ."""
    if not days:
        return
    counts = Counter(each.proves for each in days)
    shown = ", ".join(f"{counts[each]:,} {each}" for each in (*DayVerdict, table.UNKNOWN))
    yield f"volumes of 24 hours, by the exchange: {shown}"
    differing = [each for each in days if each.row.result in WRONG]
    # Those that known gaps explain are the last.
    differing.sort(key=lambda each: bool(each.row.reason))
    for exchange, row in differing[:SHOWN_INTERVALS]:
        why = f" ({row.reason})" if row.reason else ""
        yield (
            f"{row.result}  {exchange}:{row.symbol} trades  24 hours to {_time(row.asked_at_us)}:"
            f" the exchange has {row.claimed.normalize():f}, recorded are"
            f" {row.inner_volume.normalize():f} to {row.outer_volume.normalize():f}{why}"
        )
    if len(differing) > SHOWN_INTERVALS:
        yield f"and {len(differing) - SHOWN_INTERVALS:,} more: query the view day_volumes"


def _line(market: MarketReport, interval: Interval) -> str:
    count = f", {interval.missing:,} records" if interval.missing else ""
    own = ", by radar" if interval.is_own else ""
    return (
        f"{interval.state}  {market.exchange}:{market.symbol} {market.dataset}"
        f"  {_time(interval.begin_us)} to {_time(interval.end_us)}: {interval.cause}{own}{count}"
        f" (evidence: {interval.evidence})"
    )


def _verdict(result: Result) -> str:
    match result:
        case Result.COMPLETE:
            return "complete: all is verified or repaired"
        case Result.MISSING:
            return "incomplete: records are missing"
        case Result.UNVERIFIABLE:
            return "not proven: no record is known to be missing, and some time cannot be verified"


def facts(report: Report) -> dict[str, Any]:
    """Return a result, for JSON."""
    return {
        "from": _time(report.period.begin_us),
        "to": _time(report.period.end_us),
        "result": report.result.name.lower(),
        "markets": [
            {
                "exchange": each.exchange,
                "dataset": each.dataset,
                "symbol": each.symbol,
                **{f"{state}_s": each.seconds(state) for state in State},
                "own_s": each.own_s,
                "missing": each.missing,
                "intervals": [
                    {
                        "began_at": _time(interval.begin_us),
                        "ended_at": _time(interval.end_us),
                        "state": str(interval.state),
                        "cause": interval.cause,
                        "is_own": interval.is_own,
                        "evidence": str(interval.evidence),
                        "missing": interval.missing,
                    }
                    for interval in each.intervals
                ],
            }
            for each in report.markets
        ],
        "day_volumes": [
            {
                "exchange": exchange,
                "symbol": row.symbol,
                "asked_at": _time(row.asked_at_us),
                "began_at": _time(row.inner[0]),
                "ended_at": _time(row.inner[1]),
                "claimed": f"{row.claimed.normalize():f}",
                "recorded": f"{row.inner_volume.normalize():f}",
                "recorded_most": f"{row.outer_volume.normalize():f}",
                "result": row.result,
                "reason": row.reason,
            }
            for exchange, row in report.days
        ],
        "notes": report.notes,
    }


def error(report: Report) -> str | None:
    """Return why the exit code is not 0; None: it is."""
    return None if report.result is Result.COMPLETE else _verdict(report.result)


def _time(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="milliseconds")


def _percent(seconds: float, of_s: float) -> str:
    # Rounded down: an incomplete share must not look complete.
    return f"{int(100_000 * seconds / of_s) / 1000:.3f} %" if of_s else "–"
