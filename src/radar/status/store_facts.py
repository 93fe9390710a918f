"""Facts from ClickHouse about tables, markets and gaps."""

import heapq
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from radar.datasets import DATASETS, DEPTH, RECORDED, TRADES, Dataset
from radar.errors import QueryFailed
from radar.status.model import (
    DiskState,
    MarketAge,
    MarketLatency,
    MarketState,
    RecentGap,
    SkippedOffsets,
    TableState,
)
from radar.store import origin
from radar.store.client import Store
from radar.store.drift import Difference, differences
from radar.store.queries import status as queries

SHOWN_MARKETS = 10  # of each dataset


class Tables(NamedTuple):
    """ClickHouse's facts about its tables."""

    at_s: float  # when it answered, Unix time
    states: list[TableState]
    refused: str | None = None  # why it refuses the query
    delivery_gaps: list[SkippedOffsets] = []  # noqa: RUF012 - never changed
    origin: str = ""  # of the rows: real or simulated; empty: not marked
    disks: list[DiskState] = []  # noqa: RUF012 - never changed
    disks_error: str | None = None  # why they are not known


class Markets(NamedTuple):
    """ClickHouse's facts about single markets."""

    at_s: float  # when it answered, Unix time
    states: list[MarketState]
    gaps: list[RecentGap]
    refused: str | None = None  # why it refuses the query


def ask_whether_it_answers(store: Store) -> bool:
    """Return whether ClickHouse accepts this user; any answer shows that it runs; blocks.

    Raises:
        StoreUnavailable: There is no answer.
    """
    try:
        store.ping()
    except QueryFailed:
        return False  # it refuses this user, and may accept others
    return True


def ask_tables(store: Store, compare: Callable[[Store], list[Difference]] = differences) -> Tables:
    """Count rows, parts and bytes; blocks.

    Args:
        store: The database.
        compare: Returns how it differs from the schema.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
    """
    try:
        found = compare(store)
        gone = {each.table for each in found}
        refused = (
            f"{'; '.join(each.text for each in found)}: run `radar migrate`" if found else None
        )
        gaps = []
        if "delivery_gaps" not in gone:
            gaps = [SkippedOffsets(*row) for row in store.rows(queries.DELIVERY_GAPS)]
        datasets = [dataset for dataset in DATASETS.values() if dataset.table not in gone]
        mark = None if origin.TABLE in gone else origin.read(store)
        held = str(mark.origin) if mark else ""
        tables = _count_tables(store, datasets)
        return Tables(time.time(), tables, refused, gaps, held, *_disks(store))
    except QueryFailed as error:
        return Tables(time.time(), [], str(error))


def _disks(store: Store) -> tuple[list[DiskState], str | None]:
    """Return ClickHouse's disks, or why they are not known."""
    try:
        rows = store.rows(queries.DISKS)
    except QueryFailed as error:  # this user may not look at them
        return [], str(error)
    return [
        DiskState(f"ClickHouse disk {name}", int(free), int(size)) for name, free, size in rows
    ], None


def ask_markets(store: Store) -> Markets:
    """Read prices, ages and latencies of markets, and gaps; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
    """
    try:
        gaps = [RecentGap(*row) for row in store.rows(queries.GAPS)]
        return Markets(time.time(), _read_markets(store), gaps)
    except QueryFailed as error:
        return Markets(time.time(), [], [], str(error))


def stalest(markets: Markets) -> list[MarketAge]:
    """Return the markets of each dataset with the oldest newest row."""
    seen = [(TRADES.name, each.symbol, each.trade_at_s) for each in markets.states]
    seen += [(DEPTH.name, each.symbol, each.book_at_s) for each in markets.states]
    return [
        MarketAge(dataset, symbol, None if at_s is None else max(0.0, markets.at_s - at_s))
        for dataset in RECORDED
        for _, symbol, at_s in heapq.nsmallest(
            SHOWN_MARKETS,
            (each for each in seen if each[0] == dataset),
            key=lambda each: each[2] or 0.0,
        )
    ]


def slowest(markets: Markets) -> list[MarketLatency]:
    """Return the markets of each dataset with the largest latency."""
    latencies = [(TRADES.name, each.symbol, each.trade_latency_s) for each in markets.states]
    latencies += [(DEPTH.name, each.symbol, each.book_latency_s) for each in markets.states]
    return [
        MarketLatency(dataset, symbol, latency_s)
        for dataset in RECORDED
        for latency_s, symbol in heapq.nlargest(
            SHOWN_MARKETS, ((d, s) for k, s, d in latencies if k == dataset and d is not None)
        )
    ]


def _count_tables(store: Store, datasets: list[Dataset]) -> list[TableState]:
    if not datasets:
        return []
    sizes = {table: (int(size), int(parts)) for table, size, parts in store.rows(queries.SIZES)}
    found = {dataset: facts for dataset, *facts in store.rows(queries.counts(datasets))}
    return [
        TableState(
            dataset=dataset.name,
            name=dataset.table,
            rows=int(found[dataset.name][0]),
            rows_last_minute=int(found[dataset.name][1]),
            newest_at_s=int(found[dataset.name][2]) / 1e6 if found[dataset.name][0] else None,
            size_bytes=sizes.get(dataset.table, (0, 0))[0],
            parts=sizes.get(dataset.table, (0, 0))[1],
        )
        for dataset in datasets
    ]


def _read_markets(store: Store) -> list[MarketState]:
    prices = {(source, symbol): found for source, symbol, *found in store.rows(queries.PRICES)}
    newest = {
        (dataset, source, symbol): rest
        for dataset, source, symbol, *rest in store.rows(queries.NEWEST)
    }
    nothing: list[Any] = [None, None]
    states = []
    markets = sorted({(source, symbol) for _, source, symbol in newest})
    several = len({source for source, _ in markets}) > 1
    for source, symbol in markets:
        trades = newest.get((TRADES.name, source, symbol), nothing)
        depth = newest.get((DEPTH.name, source, symbol), nothing)
        price, bid, ask = prices.get((source, symbol), (None, None, None))
        states.append(
            MarketState(
                symbol=f"{source}:{symbol}" if several else symbol,
                last_price=price,
                best_bid=bid,
                best_ask=ask,
                trade_at_s=int(trades[0]) / 1e6 if trades[0] else None,
                book_at_s=int(depth[0]) / 1e6 if depth[0] else None,
                trade_latency_s=trades[1],
                book_latency_s=depth[1],
            )
        )
    return states
