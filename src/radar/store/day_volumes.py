"""The exchanges' volumes of 24 hours, compared with the recorded trades."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np

from radar.codec.batch_decoder import Column
from radar.store.client import Store
from radar.store.proofs import ProofRow
from radar.store.queries import day_volumes as queries

TABLE = "exchange_day_volumes"
WAITING = "waiting"
UNKNOWN = "unknown"
_US_PER_S = 1_000_000
_TIME = "DateTime64(6, 'UTC')"

Times = tuple[int, int]  # Unix time in microseconds


class DayVolumeRow(NamedTuple):
    """An answer of an exchange about a market; times are Unix time in microseconds.

    Attributes:
        symbol: The market.
        asked_at_us: When the exchange was asked.
        inner: The time that lies in its 24 hours in any case.
        outer: The time in which its 24 hours lie.
        claimed: The exchange's volume, in base units.
        places: How many decimals it shows.
        inner_volume: The volume of the recorded trades of `inner`.
        outer_volume: That of `outer`.
        result: equal, short, different or unknown.
        reason: Why it proves nothing; empty: it does.
    """

    symbol: str
    asked_at_us: int
    inner: Times
    outer: Times
    claimed: Decimal
    places: int
    inner_volume: Decimal = Decimal(0)
    outer_volume: Decimal = Decimal(0)
    result: str = UNKNOWN
    reason: str = WAITING


class ProvingDay(NamedTuple):
    """A comparison that proves something; times are Unix time in microseconds."""

    begin_us: int
    end_us: int
    result: str


class WindowVolumes(NamedTuple):
    """The recorded volumes of windows that lie in one another, and the trades of the widest."""

    narrowest: Decimal
    inner: Decimal
    outer: Decimal
    widest: Decimal
    trades: int


def newest_asked_us(store: Store, source: str) -> int:
    """Return when an exchange was asked last, Unix time; 0: never; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses the query.
    """
    ((asked_us,),) = store.rows(queries.NEWEST_ASKED, {"source": source})
    return max(0, int(asked_us))


def waiting(store: Store, source: str, since_us: int, until_us: int) -> list[DayVolumeRow]:
    """Return the answers of a time that are not compared yet, the oldest first; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses the query.
    """
    asked = {"source": source, "since": since_us, "until": until_us}
    return [_row(each) for each in store.rows(queries.WAITING, asked)]


def newest(store: Store, source: str, begin_us: int, end_us: int) -> list[DayVolumeRow]:
    """Return the newest finished comparison of each market that concerns a period; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses the query.
    """
    asked = {"source": source, "begin": begin_us, "end": end_us}
    return [_row(each) for each in store.rows(queries.NEWEST, asked)]


def proving(store: Store, source: str, begin_us: int, end_us: int) -> dict[str, list[ProvingDay]]:
    """Return the comparisons that prove something about a period, by market; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses the query.
    """
    found: dict[str, list[ProvingDay]] = defaultdict(list)
    asked = {"source": source, "begin": begin_us, "end": end_us}
    for symbol, from_us, to_us, result in store.rows(queries.PROVING, asked):
        found[str(symbol)].append(ProvingDay(int(from_us), int(to_us), str(result)))
    return found


def recorded(store: Store, source: str, windows: Mapping[str, Times]) -> dict[str, WindowVolumes]:
    """Return the recorded volumes of the markets that traded; blocks.

    Args:
        store: The database.
        source: The exchange.
        windows: The windows `narrowest`, `inner`, `outer` and `widest`.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses the query.
    """
    asked: dict[str, Any] = {"source": source}
    for name, (begin_us, end_us) in windows.items():
        asked |= {f"{name}_begin": begin_us, f"{name}_end": end_us}
    return {
        str(symbol): WindowVolumes(narrowest, inner, outer, widest, int(trades))
        for symbol, narrowest, inner, outer, widest, trades in store.rows(queries.VOLUMES, asked)
    }


def stored_proofs(
    store: Store, source: str, symbols: Sequence[str], begin_us: int, end_us: int
) -> list[ProofRow]:
    """Return the proofs of the trades of some markets, of the hours that touch a time; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: It refuses the query.
    """
    first_s = begin_us // _US_PER_S // 3_600 * 3_600
    asked = {
        "source": source,
        "symbols": list(symbols),
        "first_s": first_s,
        "end_s": -(-end_us // _US_PER_S),
    }
    return [
        ProofRow(source, "trades", str(symbol), int(hour_s), *lists)
        for symbol, hour_s, *lists in store.rows(queries.PROOFS, asked)
    ]


def save(store: Store, source: str, rows: Sequence[DayVolumeRow], checked_at_us: int) -> None:
    """Store answers, or their comparisons in place of them; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        StoreRejected: It refuses the rows.
    """
    if not rows:
        return
    times = {
        "asked_at": [row.asked_at_us for row in rows],
        "inner_begin": [row.inner[0] for row in rows],
        "inner_end": [row.inner[1] for row in rows],
        "outer_begin": [row.outer[0] for row in rows],
        "outer_end": [row.outer[1] for row in rows],
        "checked_at": [checked_at_us] * len(rows),
    }
    texts = {
        "source": [source] * len(rows),
        "symbol": [row.symbol for row in rows],
        "claimed": [format(row.claimed, "f") for row in rows],
        "inner_volume": [format(row.inner_volume, "f") for row in rows],
        "outer_volume": [format(row.outer_volume, "f") for row in rows],
        "result": [row.result for row in rows],
        "reason": [row.reason for row in rows],
    }
    columns = [Column(name, "String", values) for name, values in texts.items()]
    columns += [Column(name, _TIME, np.array(each, np.int64)) for name, each in times.items()]
    columns.append(Column("places", "UInt8", np.array([row.places for row in rows], np.uint8)))
    store.insert(TABLE, [(len(rows), columns)], uuid4().hex)


def _row(values: Sequence[Any]) -> DayVolumeRow:
    symbol, asked_us, *times = values[:6]
    inner_begin, inner_end, outer_begin, outer_end = (int(each) for each in times)
    claimed, places, inner_volume, outer_volume, result, reason = values[6:]
    return DayVolumeRow(
        str(symbol),
        int(asked_us),
        (inner_begin, inner_end),
        (outer_begin, outer_end),
        claimed,
        int(places),
        inner_volume,
        outer_volume,
        str(result),
        str(reason),
    )
