"""Coverage, gaps and retention, in the form of the page of data quality."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from msgspec import Struct

from radar.checks.coverage import Covered, coverage
from radar.status.judgement import coverage_level, is_covered
from radar.store.client import Store
from radar.store.proofs import Completeness, completeness
from radar.store.queries import dashboard as queries
from radar.store.retention import retention_days
from radar.ui.web.markets import READ_ONLY, MarketTicker, name_of

MAX_DAYS = 90
MAX_GAPS = 200


class ProvenDay(Struct, frozen=True):
    """What evidence shows of a market on one day; as in the view `completeness`."""

    verified_s: float
    repaired_s: float
    unverifiable_s: float
    missing_s: float
    own_s: float  # radar itself is the cause of so much of the two before
    missing: int  # records, as far as numbers prove them


class CoveredDay(Struct, frozen=True):
    """The coverage of a market on one day; as in `radar coverage`."""

    day: str
    watched_share: float
    complete_share: float
    gaps: int
    gaps_s: float
    repaired_gaps: int
    watched_level: int  # from 0, bad, to 4, complete: `judgement.coverage_level`
    complete_level: int
    proof: "ProvenDay | None" = None  # None: the day was not examined
    proven_share: float | None = None  # verified or repaired, of the examined time
    proven_level: int = 0


class CoveredMarket(Struct, frozen=True):
    """A market and its coverage of each day; None before it was first recorded."""

    dataset: str
    market: str  # its name: with the exchange, if several are recorded
    days: list[CoveredDay | None]


class QualitySummary(Struct, frozen=True):
    """The coverage of all days and markets of trades; None: no market was recorded."""

    watched_share: float | None
    complete_share: float | None
    watched_good: bool
    complete_good: bool
    proof: ProvenDay | None = None  # of all days and markets of trades; None: none was examined
    proven_share: float | None = None


class Retention(Struct, frozen=True):
    """For how long rows are kept; None: for ever, or there are no records."""

    days: int | None
    first_day: str | None  # the oldest day with records
    goes_on: str | None  # when its rows begin to be deleted
    # Each side of a book is recorded at most once in this time; 0: always; None: no book was.
    book_interval_s: float | None = None


class GapRow(Struct, frozen=True):
    """A time in which no connection covered some markets."""

    dataset: str
    markets: list[str]
    began_at_s: float
    ended_at_s: float
    cause: str
    repaired: bool


def covered(store: Store, days: int) -> dict[str, Any]:
    """Return the coverage of the last days by market, the oldest day first; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses.
    """
    since = _first_day(days)
    names = [(since + timedelta(n)).isoformat() for n in range(days)]
    rows = coverage(store, since)
    proofs = completeness(store, since)
    return {
        "days": names,
        "markets": by_market(rows, names, proofs),
        "summary": summary(rows, proofs),
        "retention": _retention(store),
    }


def summary(rows: list[Covered], proofs: Sequence[Completeness] = ()) -> QualitySummary:
    """Return the mean shares of all days and markets of trades, and whether they are good."""
    trades = [row for row in rows if row.record_kind == "trades"]
    watched = _mean([row.watched_share for row in trades])
    complete = _mean([row.complete_share for row in trades])
    proof = _proof([row for row in proofs if row.dataset == "trades"])
    return QualitySummary(
        watched, complete, is_covered(watched), is_covered(complete), proof, _proven_share(proof)
    )


def _proof(rows: Sequence[Completeness]) -> ProvenDay | None:
    """Add up days of markets."""
    if not rows:
        return None
    return ProvenDay(
        sum(row.verified_s for row in rows),
        sum(row.repaired_s for row in rows),
        sum(row.unverifiable_s for row in rows),
        sum(row.missing_s for row in rows),
        sum(row.own_s for row in rows),
        sum(row.missing for row in rows),
    )


def _proven_share(proof: ProvenDay | None) -> float | None:
    """Return the share of the examined time that is complete; None: no time was examined."""
    if proof is None:
        return None
    complete_s = proof.verified_s + proof.repaired_s
    examined_s = complete_s + proof.unverifiable_s + proof.missing_s
    return complete_s / examined_s if examined_s else None


def _mean(shares: list[float]) -> float | None:
    return sum(shares) / len(shares) if shares else None


def _retention(store: Store) -> Retention:
    days = retention_days(store, "trades_master")
    ((first,),) = store.rows(queries.FIRST_RECORDED_DAY, settings=READ_ONLY)
    goes = None if days is None or first is None else first + timedelta(days)
    ((interval_s,),) = store.rows(queries.BOOK_INTERVAL, settings=READ_ONLY)
    return Retention(
        days, _iso(first), _iso(goes), None if interval_s is None else float(interval_s)
    )


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def by_market(
    rows: list[Covered], days: list[str], proofs: Sequence[Completeness] = ()
) -> list[CoveredMarket]:
    """Put the rows of `radar coverage` into a table of markets and days."""
    proven = {(row.exchange, row.dataset, row.symbol, row.day): row for row in proofs}
    found: dict[tuple[str, str], dict[str, CoveredDay]] = {}
    several = len({row.source for row in rows}) > 1
    for row in rows:
        day = row.day.isoformat()
        market = name_of(row.source, row.symbol, several)
        examined = proven.get((row.source, row.record_kind, row.symbol, row.day))
        proof = _proof([examined] if examined else [])
        share = _proven_share(proof)
        found.setdefault((row.record_kind, market), {})[day] = CoveredDay(
            day,
            row.watched_share,
            row.complete_share,
            row.gaps,
            row.gaps_s,
            row.repaired_gaps,
            coverage_level(row.watched_share),
            coverage_level(row.complete_share),
            proof,
            share,
            coverage_level(share or 0),
        )
    return [
        CoveredMarket(dataset, market, [table.get(day) for day in days])
        for (dataset, market), table in sorted(found.items())
    ]


def gaps(store: Store, days: int, market: MarketTicker | None) -> dict[str, Any]:
    """Return the gaps of the last days, the newest first; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses.
    """
    source, symbol = market or MarketTicker("", "")
    asked = {
        "source": source, "since": _first_day(days), "symbol": symbol, "count": MAX_GAPS + 1,
    }  # fmt: skip
    rows = store.rows(queries.GAPS, asked, READ_ONLY)
    return {"gaps": [GapRow(*row) for row in rows[:MAX_GAPS]], "more": len(rows) > MAX_GAPS}


def _first_day(days: int) -> Any:
    return datetime.now(UTC).date() - timedelta(days - 1)
