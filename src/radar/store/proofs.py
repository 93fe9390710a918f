"""The evidence about the recording of a period, and the proofs that follow from it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import zip_longest
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np

from radar.codec.batch_decoder import Column, ListColumn
from radar.store.client import Store
from radar.store.queries import proofs as queries

# Holes of all markets of an exchange in a period; beyond them its numbers prove nothing.
MAX_HOLES = 10_000
# Changes between proven and unproven snapshots, of all markets; beyond them no book is proven.
MAX_BOOK_TIMES = 100_000
# Snapshots before and after the period show whether a chain goes on over its ends.
BOOKS_AROUND_US = 600_000_000
# A trade of a live connection arrives sooner; REST brings others.
LATE_US = 10_000_000
# No record is later.
LAST_DAY = date(2100, 1, 1)

Market = tuple[str, str]  # dataset and symbol
Times = tuple[int, int]  # Unix time in microseconds


class StoredGap(NamedTuple):
    """A reported gap of one market; times are Unix time in microseconds."""

    begin_us: int
    end_us: int
    cause: str
    repaired: bool
    missing: int


class BookTime(NamedTuple):
    """A time in which all snapshots of a book are proven, or none; Unix time in microseconds."""

    begin_us: int
    end_us: int
    proven: bool


@dataclass
class Stored:
    """The rows about the markets of one exchange in a period.

    Attributes:
        judged: From when to when each market is judged.
        sessions: When a connection delivered it.
        gaps: Its reported gaps.
        chains: By symbol: from the first to the last numbered trade.
        holes: By symbol: times and count of missing numbers.
        minutes: By symbol and minute: volume, highest and lowest price of the trades.
        late: By symbol: from the first to the last late trade of a minute.
        books: By symbol: until when it was proven or not, time after time.
    """

    judged: dict[Market, Times] = field(default_factory=dict)
    sessions: dict[Market, list[Times]] = field(default_factory=lambda: defaultdict(list))
    gaps: dict[Market, list[StoredGap]] = field(default_factory=lambda: defaultdict(list))
    chains: dict[str, Times] = field(default_factory=dict)
    holes: dict[str, list[tuple[int, int, int]]] = field(default_factory=lambda: defaultdict(list))
    minutes: dict[str, dict[int, tuple[Decimal, Decimal, Decimal]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    late: dict[str, list[Times]] = field(default_factory=lambda: defaultdict(list))
    books: dict[str, list[BookTime]] = field(default_factory=lambda: defaultdict(list))


class ProofRow(NamedTuple):
    """The proof of an hour of a market: its intervals as parallel lists."""

    source: str
    record_kind: str
    symbol: str
    hour_s: int
    begins_us: Sequence[int]
    ends_us: Sequence[int]
    states: Sequence[str]
    causes: Sequence[str]
    evidence: Sequence[str]
    missing: Sequence[int]


class Completeness(NamedTuple):
    """A row of the view `completeness`: seconds of a day by state."""

    exchange: str
    dataset: str
    symbol: str
    day: date
    verified_s: float
    repaired_s: float
    unverifiable_s: float
    missing_s: float
    own_s: float
    missing: int

    @property
    def examined_s(self) -> float:
        """How much of the day was examined."""
        return self.verified_s + self.repaired_s + self.unverifiable_s + self.missing_s


def exchanges(store: Store) -> list[str]:
    """Return the exchanges that were recorded; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses the query.
    """
    return [str(name) for (name,) in store.rows(queries.EXCHANGES)]


def stored(store: Store, source: str, begin_us: int, end_us: int, *, numbers: bool) -> Stored:
    """Return the rows about an exchange in a period; blocks.

    Args:
        store: The database.
        source: The exchange.
        begin_us: The beginning of the period, Unix time.
        end_us: Its end, not included.
        numbers: Whether its trades carry consecutive numbers.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses a query.
    """
    found = Stored()
    asked: dict[str, Any] = {"source": source, "begin": begin_us, "end": end_us}
    for kind, symbol, first_us, until_us in store.rows(queries.MARKETS, asked):
        found.judged[kind, symbol] = (int(first_us), int(until_us))
    for kind, symbol, from_us, to_us in store.rows(queries.SESSIONS, asked):
        found.sessions[kind, symbol].append((int(from_us), int(to_us)))
    for kind, symbol, from_us, to_us, cause, repaired, missing in store.rows(queries.GAPS, asked):
        gap = StoredGap(int(from_us), int(to_us), str(cause), bool(repaired), int(missing))
        found.gaps[kind, symbol].append(gap)
    for symbol, minute_us, volume, high, low in store.rows(queries.MINUTES, asked):
        found.minutes[symbol][int(minute_us)] = (volume, high, low)
    for symbol, _, first_us, last_us in store.rows(queries.LATE, asked | {"late": LATE_US}):
        found.late[symbol].append((int(first_us), int(last_us)))
    _read_books(store, asked, found)
    if numbers:
        _read_numbers(store, asked, found)
    return found


def _read_books(store: Store, asked: Mapping[str, Any], found: Stored) -> None:
    around = {
        **asked,
        "begin": asked["begin"] - BOOKS_AROUND_US,
        "end": asked["end"] + BOOKS_AROUND_US,
    }
    rows = store.rows(queries.BOOKS, {**around, "limit": MAX_BOOK_TIMES + 1})
    if len(rows) > MAX_BOOK_TIMES:
        return
    for (symbol, begin_us, proven, last_us), following in zip_longest(rows, rows[1:]):
        is_last = following is None or following[0] != symbol
        end_us = int(last_us) if is_last else int(following[1])
        if begin_us:  # the first snapshot says nothing about the time before it
            found.books[symbol].append(BookTime(int(begin_us), end_us, bool(proven)))
        elif end_us:
            found.books[symbol].append(BookTime(around["begin"], end_us, bool(proven)))


def _read_numbers(store: Store, asked: Mapping[str, Any], found: Stored) -> None:
    rows = store.rows(queries.HOLES, {**asked, "limit": MAX_HOLES + 1})
    if len(rows) > MAX_HOLES:
        return
    for symbol, before_us, behind_us, missing in rows:
        found.holes[symbol].append((int(before_us), int(behind_us), int(missing)))
    for symbol, first_us, last_us in store.rows(queries.CHAINS, asked):
        found.chains[symbol] = (int(first_us), int(last_us))


def save(store: Store, rows: Sequence[ProofRow], checked_at_us: int) -> None:
    """Store proofs of hours in place of earlier ones; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        StoreRejected: It refuses the rows.
    """
    if not rows:
        return
    columns = [
        Column("source", "String", [row.source for row in rows]),
        Column("record_kind", "String", [row.record_kind for row in rows]),
        Column("symbol", "String", [row.symbol for row in rows]),
        Column("hour", "UInt32", np.array([row.hour_s for row in rows], np.uint32)),
        # Doubles hold these numbers exactly.
        Column("begins", "Array(Float64)", _numbers(row.begins_us for row in rows)),
        Column("ends", "Array(Float64)", _numbers(row.ends_us for row in rows)),
        Column("states", "Array(String)", _texts(row.states for row in rows)),
        Column("causes", "Array(String)", _texts(row.causes for row in rows)),
        Column("evidence", "Array(String)", _texts(row.evidence for row in rows)),
        Column("missing", "Array(Float64)", _numbers(row.missing for row in rows)),
        Column(
            "checked_at",
            "DateTime64(6, 'UTC')",
            np.full(len(rows), checked_at_us, np.int64),
        ),
    ]
    store.insert("proofs", [(len(rows), columns)], uuid4().hex)


def _numbers(lists: Iterable[Sequence[int]]) -> ListColumn:
    kept = [np.array(each, np.float64) for each in lists]
    return ListColumn(np.array([len(each) for each in kept], np.int64), np.concatenate(kept))


def _texts(lists: Iterable[Sequence[str]]) -> ListColumn:
    kept = list(lists)
    values = [text for each in kept for text in each]
    return ListColumn(np.array([len(each) for each in kept], np.int64), values)


def redundancy(store: Store, source: str, begin_us: int, end_us: int) -> tuple[int, int]:
    """Return how many trades two connections brought, and how many only one of them; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses the query.
    """
    asked = {"source": source, "begin": begin_us, "end": end_us}
    ((both, alone),) = store.rows(queries.REDUNDANCY, asked)
    return int(both), int(alone)


def examined(store: Store) -> dict[str, int]:
    """Return the newest examined hour of each exchange, Unix time in seconds; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses the query.
    """
    return {str(source): int(hour_s) for source, hour_s in store.rows(queries.EXAMINED)}


def completeness(
    store: Store,
    since: date,
    symbols: Sequence[str] = (),
    dataset: str = "",
    until: date = LAST_DAY,
) -> list[Completeness]:
    """Return the examined days, the newest first; blocks.

    Args:
        store: The database.
        since: The first day, UTC.
        symbols: Only these markets; none means all.
        dataset: Only trades or depth; empty means both.
        until: The last day, UTC.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses the query.
    """
    rows = store.rows(
        queries.COMPLETENESS,
        {"since": since, "until": until, "symbols": list(symbols), "dataset": dataset},
    )
    return [Completeness._make(row) for row in rows]
