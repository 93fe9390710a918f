"""`radar coverage`: the part of each day in which each market was covered, from the view."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from radar.store.client import Store
from radar.store.proofs import LAST_DAY, Completeness
from radar.store.queries import checks as queries

# The cause that the view gives to time in which no producer ran; no message carries it.
NOT_RECORDING = "not_recording"


class Covered(NamedTuple):
    """A row of the view `coverage`.

    Attributes:
        source: The exchange.
        record_kind: The dataset: trades or depth.
        symbol: The market.
        day: The day, UTC.
        elapsed_s: The part of it that is over, since the market was first recorded.
        watched_s: For how long of that at least one connection covered the market.
        watched_share: The same as a share.
        gaps: How many gaps were recorded.
        gaps_s: For how long.
        repaired_gaps: How many of them REST has filled.
        repaired_s: For how long.
        complete_share: The share that was covered or filled.
        in_progress: Whether the day is not over.
    """

    source: str
    record_kind: str
    symbol: str
    day: date
    elapsed_s: float
    watched_s: float
    watched_share: float
    gaps: int
    gaps_s: float
    repaired_gaps: int
    repaired_s: float
    complete_share: float
    in_progress: bool


class SymbolGap(NamedTuple):
    """A recorded gap of one market; times are UTC."""

    source: str
    record_kind: str
    symbol: str
    began_at: datetime
    ended_at: datetime
    cause: str
    repaired: bool


def coverage(
    store: Store,
    since: date,
    symbols: Sequence[str] = (),
    record_kind: str = "",
    until: date = LAST_DAY,
) -> list[Covered]:
    """Return the coverage of some days, the newest day first; blocks.

    Args:
        store: The database.
        since: The first day, UTC.
        symbols: Only these markets; none means all.
        record_kind: Only trades or depth; empty means both.
        until: The last day, UTC.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: The view is missing.
    """
    rows = store.rows(
        queries.coverage(Covered._fields),
        _parameters(symbols, record_kind) | {"since": since, "until": until},
    )
    return [Covered._make((*row[:-1], bool(row[-1]))) for row in rows]


def symbol_gaps(
    store: Store,
    since: date,
    symbols: Sequence[str] = (),
    record_kind: str = "",
    until: date = LAST_DAY,
) -> list[SymbolGap]:
    """Return the gaps that some days have, the newest first; blocks. See `coverage`."""
    rows = store.rows(
        queries.symbol_gaps(SymbolGap._fields),
        _parameters(symbols, record_kind) | {"since": since, "until": until},
    )
    return [
        SymbolGap(source, dataset, symbol, _utc(began), _utc(ended), cause, bool(repaired))
        for source, dataset, symbol, began, ended, cause, repaired in rows
    ]


def _parameters(symbols: Sequence[str], record_kind: str) -> dict[str, Any]:
    return {"symbols": list(symbols), "dataset": record_kind}


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=time.tzinfo or UTC)


def facts(
    days: Sequence[Covered], gaps: Sequence[SymbolGap], proven: Sequence[Completeness]
) -> dict[str, Any]:
    """Return days, gaps and proofs, for JSON."""
    return {
        "proofs": [row._asdict() | {"day": row.day.isoformat()} for row in proven],
        "days": [row._asdict() | {"day": row.day.isoformat()} for row in days],
        "gaps": [
            row._asdict()
            | {"began_at": row.began_at.isoformat(), "ended_at": row.ended_at.isoformat()}
            for row in gaps
        ],
    }


def describe(
    days: Sequence[Covered], gaps: Sequence[SymbolGap], proven: Sequence[Completeness]
) -> Iterator[str]:
    """Describe days, gaps and proofs, line by line."""
    if not days:
        yield "no market was recorded in this period"
        return
    yield (
        f"{'day':10}  {'dataset':7}  {'market':16}  {'verified':>9}  {'repaired':>9}"
        f"  {'unproven':>9}  {'missing':>9}  {'watched':>9}  {'complete':>9}  gaps"
    )
    by_key = {(row.exchange, row.dataset, row.symbol, row.day): row for row in proven}
    for row in days:
        states = by_key.get((row.source, row.record_kind, row.symbol, row.day))
        words = "–"
        if row.gaps:
            words = f"{row.gaps:,} ({row.gaps_s:,.0f} s), {row.repaired_gaps:,} repaired"
        yield (
            f"{row.day}  {row.record_kind:7}  {row.symbol:16}  {_states(states)}"
            f"  {_percent(row.watched_share):>9}  {_percent(row.complete_share):>9}  {words}"
            + (" (day in progress)" if row.in_progress else "")
        )
    for gap in gaps:
        seconds = (gap.ended_at - gap.began_at).total_seconds()
        state = "repaired" if gap.repaired else "not repaired"
        cause = "no producer ran (not_recording)" if gap.cause == NOT_RECORDING else gap.cause
        yield (
            f"gap  {gap.began_at:%Y-%m-%dT%H:%M:%SZ}  {gap.record_kind:6}  {gap.symbol:16}"
            f"  {seconds:,.1f} s, {cause}, {state}"
        )


def _states(proven: Completeness | None) -> str:
    """Return the shares of the examined time; a day that was not examined proves nothing."""
    shares: list[str] = ["–"] * 4
    if proven is not None and proven.examined_s:
        seconds = (
            proven.verified_s, proven.repaired_s, proven.unverifiable_s, proven.missing_s
        )  # fmt: skip
        shares = [_percent(each / proven.examined_s) for each in seconds]
    return "  ".join(f"{each:>9}" for each in shares)


def _percent(share: float) -> str:
    # Rounded down: an incomplete share must not look complete.
    return f"{int(share * 100_000) / 1000:.3f} %"
