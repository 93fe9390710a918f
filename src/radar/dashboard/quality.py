"""What was watched and what was missed, as the page of data quality wants it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct

from radar.dashboard.markets import READ_ONLY
from radar.quality.coverage import Covered, coverage
from radar.store.client import Store

MAX_DAYS = 90
MAX_GAPS = 200


class CoveredDay(Struct, frozen=True):
    """How much of a day a market was watched; as `radar coverage` tells."""

    day: str
    watched_share: float
    complete_share: float
    gaps: int
    gaps_s: float
    repaired_gaps: int


class CoveredMarket(Struct, frozen=True):
    """A market and what there is of each day; None before it was first watched."""

    kind: str
    symbol: str
    days: list[CoveredDay | None]


class Gap(Struct, frozen=True):
    """A time in which nothing of some markets was received."""

    kind: str
    symbols: list[str]
    began_at_s: float
    ended_at_s: float
    cause: str
    repaired: bool


GAPS = """
SELECT record_kind, arraySort(groupUniqArray(symbol)) AS symbols,
    toUnixTimestamp64Micro(began_at) / 1e6, toUnixTimestamp64Micro(ended_at) / 1e6, cause, repaired
FROM symbol_gaps
WHERE source = {source:String} AND ended_at >= {since:Date}
GROUP BY record_kind, began_at, ended_at, cause, repaired
HAVING {symbol:String} = '' OR has(symbols, {symbol:String})
ORDER BY began_at DESC, record_kind, symbols LIMIT {count:UInt32}
"""


def covered(store: Store, source: str, days: int) -> dict[str, Any]:
    """Return the coverage of the last days by market, the oldest day first; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses.
    """
    since = _first_day(days)
    names = [(since + timedelta(n)).isoformat() for n in range(days)]
    rows = [row for row in coverage(store, since) if row.source == source]
    return {"days": names, "markets": by_market(rows, names)}


def by_market(rows: list[Covered], days: list[str]) -> list[CoveredMarket]:
    """Put the rows of `radar coverage` into a table of markets and days."""
    found: dict[tuple[str, str], dict[str, CoveredDay]] = {}
    for row in rows:
        day = row.day.isoformat()
        found.setdefault((row.record_kind, row.symbol), {})[day] = CoveredDay(
            day,
            row.watched_share,
            row.complete_share,
            row.gaps,
            row.gaps_s,
            row.repaired_gaps,
        )
    return [
        CoveredMarket(kind, symbol, [table.get(day) for day in days])
        for (kind, symbol), table in sorted(found.items())
    ]


def gaps(store: Store, source: str, days: int, symbol: str) -> dict[str, Any]:
    """Return the gaps of the last days, the newest first; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses.
    """
    asked = {
        "source": source, "since": _first_day(days), "symbol": symbol, "count": MAX_GAPS + 1,
    }  # fmt: skip
    rows = store.rows(GAPS, asked, READ_ONLY)
    return {"gaps": [Gap(*row) for row in rows[:MAX_GAPS]], "more": len(rows) > MAX_GAPS}


def _first_day(days: int) -> Any:
    return datetime.now(UTC).date() - timedelta(days - 1)
