"""`radar disk`: the disk space of each table and each market in ClickHouse."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from radar.store.client import Store
from radar.store.queries import checks as queries

MEBIBYTE = 1024 * 1024
# The weight of a row relative to others of its table: the levels of a book, or one trade.
_WEIGHTS = {"trades_master": "1", "orderbook_depth": "2 + length(prices)"}


class TableSize(NamedTuple):
    """The disk space of a table.

    Attributes:
        table: Its name.
        rows: Rows, also those that merges will still remove.
        size_bytes: On the disk, compressed.
    """

    table: str
    rows: int
    size_bytes: int


class MarketSize(NamedTuple):
    """The disk space of a market in a table.

    Attributes:
        source: The exchange.
        symbol: The market.
        table: The table.
        rows: Rows, also those that merges will still remove.
        size_bytes: Its share of the table's size, by rows and, for books, by levels: an estimate.
    """

    source: str
    symbol: str
    table: str
    rows: int
    size_bytes: int


def tables(store: Store) -> list[TableSize]:
    """Return the size of every table, the largest first; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: ClickHouse refuses the query.
    """
    rows = store.rows(queries.TABLE_SIZES)
    return [TableSize(str(table), int(count), int(size)) for table, count, size in rows]


def markets(store: Store, sizes: Sequence[TableSize]) -> list[MarketSize]:
    """Return the space of every market in the large tables, the largest first; reads all rows.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: ClickHouse refuses the query.
    """
    size_bytes = {each.table: each.size_bytes for each in sizes}
    found: list[MarketSize] = []
    for table, weight in _WEIGHTS.items():
        rows = store.rows(queries.market_sizes(table, weight))
        total = sum(int(row[3]) for row in rows)
        found += [
            MarketSize(
                str(source),
                str(symbol),
                table,
                int(count),
                size_bytes.get(table, 0) * int(part) // max(1, total),
            )
            for source, symbol, count, part in rows
        ]
    return sorted(found, key=lambda each: (-each.size_bytes, each.symbol, each.table))


def describe(sizes: Sequence[TableSize], found: Sequence[MarketSize]) -> Iterator[str]:
    """Describe the sizes, line by line."""
    if not sizes:
        yield "no rows are stored yet"
        return
    yield f"{'table':24}  {'rows':>15}  {'MiB':>10}"
    for each in sizes:
        yield f"{each.table:24}  {each.rows:>15,}  {each.size_bytes / MEBIBYTE:>10,.1f}"
    yield ""
    yield f"{'market (estimated)':24}  {'rows':>15}  {'MiB':>10}  table"
    for market in found:
        yield (
            f"{market.symbol:24}  {market.rows:>15,}  {market.size_bytes / MEBIBYTE:>10,.1f}"
            f"  {market.table}"
        )


def facts(sizes: Sequence[TableSize], found: Sequence[MarketSize]) -> dict[str, Any]:
    """Return the sizes, for JSON."""
    return {
        "tables": [each._asdict() for each in sizes],
        "markets": [each._asdict() for each in found],
    }
