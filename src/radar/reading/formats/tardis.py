"""The CSV files that tardis.dev offers: gzip, microseconds, ordered by the time of receipt."""

import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from radar.datasets import BOOK_UPDATES, DEPTH, TRADES, Dataset
from radar.reading.formats import book_updates
from radar.reading.formats.base import Contents, Day, file_name, rows_of
from radar.reading.query import Ask
from radar.store.queries import export_formats as queries

# Level 9 takes five times as long for a few per cent.
LEVEL = 6
_COMMON = "exchange,symbol,timestamp,local_timestamp"

# The query of lines, the one of their facts, and the values of further placeholders.
Queries = tuple[str, str, dict[str, str]]


@dataclass(frozen=True)
class DataType:
    """A data type of tardis.dev."""

    name: str
    dataset: Dataset
    header: str
    queries: Callable[[Ask, Day], Queries]

    @property
    def sources(self) -> Sequence[tuple[Dataset, str]]:
        """Return the dataset; days are those of the receipt."""
        return ((self.dataset, "received_at"),)

    def wants(self, day: Day) -> bool:
        """Return whether the day has rows."""
        return self.dataset.name in day.datasets

    def path(self, day: Day) -> Path:
        """Return EXCHANGE_DATATYPE_DAY_SYMBOL.csv.gz."""
        exchange, symbol = file_name(day.source), file_name(day.symbol)
        return Path(f"{exchange}_{self.name}_{day.day:%Y-%m-%d}_{symbol}.csv.gz")

    def write(self, ask: Ask, day: Day, path: Path) -> Contents:
        """Write the file; the times of its rows are those of the receipt."""
        lines, facts, values = self.queries(ask, day)
        count = _save(
            f"{self.header}\n".encode(), ask(lines, "LineAsString", day.parameters | values), path
        )
        known = _facts(ask, facts, day.parameters | values)
        return Contents(count, known.first_us, known.last_us)

    def facts(self, ask: Ask, day: Day) -> Contents:
        """Count the rows."""
        _lines, facts, values = self.queries(ask, day)
        return _facts(ask, facts, day.parameters | values)


def _facts(ask: Ask, sql: str, parameters: Mapping[str, str]) -> Contents:
    ((rows, first_us, last_us),) = rows_of(ask, sql, parameters)
    return Contents(int(rows), int(first_us), int(last_us))


def _save(header: bytes, lines: Iterator[bytes], path: Path) -> int:
    """Write a compressed file, which depends on nothing but its rows; return their count."""
    count = 0
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", LEVEL, fileobj=file, mtime=0) as compressed,
    ):
        compressed.write(header)
        for chunk in lines:
            compressed.write(chunk)
            count += chunk.count(b"\n")
    return count


def _trades(_ask: Ask, _day: Day) -> Queries:
    return queries.TARDIS_TRADES, queries.TARDIS_TRADES_FACTS, {}


def _books(levels: int) -> Callable[[Ask, Day], Queries]:
    values = {"levels": f"{levels}"}
    return lambda _ask, _day: (queries.TARDIS_BOOKS, queries.TARDIS_BOOKS_FACTS, values)


def _updates(ask: Ask, day: Day) -> Queries:
    found = book_updates.find(ask, day)
    return (
        queries.tardis_updates(carried=found.carried),
        queries.tardis_updates_facts(carried=found.carried),
        found.parameters,
    )


def _book_header(levels: int) -> str:
    columns = (
        f"{side}[{n}].{what}"
        for n in range(levels)
        for side in ("asks", "bids")
        for what in ("price", "amount")
    )
    return ",".join((_COMMON, *columns))


DATA_TYPES = (
    DataType("trades", TRADES, f"{_COMMON},id,side,price,amount", _trades),
    *(
        DataType(f"book_snapshot_{levels}", DEPTH, _book_header(levels), _books(levels))
        for levels in (5, 25)
    ),
    DataType(
        "incremental_book_L2",
        BOOK_UPDATES,
        f"{_COMMON},is_snapshot,side,price,amount",
        _updates,
    ),
)


def kinds(dataset: str) -> list[DataType]:
    """Return the data types of a dataset; empty: all."""
    return [each for each in DATA_TYPES if dataset in ("", each.dataset.name)]
