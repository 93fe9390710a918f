"""Parquet and CSV: the columns of a dataset, or candles of its trades, written by ClickHouse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from radar.datasets import TRADES, Dataset
from radar.reading.formats.base import Contents, Day, rows_of, save
from radar.reading.query import Ask
from radar.store.queries import export as queries

FORMATS = {"parquet": "Parquet", "csv": "CSVWithNames"}
# Rows may arrive while a file is written; then it is written again, at most so often.
ATTEMPTS = 3
DAY_S = 86_400

CANDLES = "candles"
# The exact decimals of each dataset, and the lists of the levels of books.
_DECIMALS = {
    "trades": ("price", "base_amount", "quote_amount"),
    "exchange_candles": ("open", "high", "low", "close", "volume"),
    CANDLES: ("open", "high", "low", "close", "volume", "quote_volume", "vwap"),
}
_LISTS = {"depth": ("prices", "quantities")}


def has_decimals(dataset: str) -> bool:
    """Return whether a dataset has exact decimals, so that files may have doubles instead."""
    return dataset in _DECIMALS


def has_levels(dataset: str) -> bool:
    """Return whether a dataset has the levels of books, best level first."""
    return dataset in _LISTS


@dataclass(frozen=True)
class Columns:
    """Files of a dataset: its exported columns in one of FORMATS.

    Attributes:
        dataset: The dataset.
        suffix: One of FORMATS.
        levels: Most levels of a snapshot, the best ones; 0: all.
        floats: Write doubles instead of exact decimals.
        hive: Write partitions, whose folders hold exchange, symbol and day instead of columns.
    """

    dataset: Dataset
    suffix: str
    levels: int = 0
    floats: bool = False
    hive: bool = False

    @property
    def name(self) -> str:
        """Return the name of the dataset."""
        return self.dataset.name

    @property
    def sources(self) -> Sequence[tuple[Dataset, str]]:
        """Return the dataset and its time."""
        return ((self.dataset, self.dataset.time),)

    def wants(self, day: Day) -> bool:
        """Return whether the day has rows."""
        return self.dataset.name in day.datasets

    def path(self, day: Day) -> Path:
        """Return EXCHANGE/SYMBOL/DAY.SUFFIX, or the partition."""
        return day.partition(self.suffix) if self.hive else day.path(self.suffix)

    def write(self, ask: Ask, day: Day, path: Path) -> Contents:
        """Write the file; its rows are those that were there before and after."""
        dataset = self.dataset
        sql = queries.rows(dataset.export_columns, dataset.view, dataset.time, dataset.export_order)
        parameters = day.parameters
        if self.levels:
            sql = queries.with_levels(sql, _LISTS[dataset.name])
            parameters |= {"levels": str(self.levels)}
        if self.floats:
            sql = queries.with_floats(sql, _DECIMALS[dataset.name])
        if self.hive:
            sql = queries.without_market(sql)
        before = self.facts(ask, day)
        for _attempt in range(ATTEMPTS):
            _save(ask, sql, self.suffix, parameters, path)
            after = self.facts(ask, day)
            if after == before:
                break
            before = after
        return before

    def facts(self, ask: Ask, day: Day) -> Contents:
        """Count the rows."""
        sql = queries.facts(self.dataset.view, self.dataset.time)
        return _contents(ask, sql, day.parameters)


@dataclass(frozen=True)
class Candles:
    """Files of candles that are computed from the recorded trades.

    Attributes:
        suffix: One of FORMATS.
        interval_s: Length of the candles, which divides a day.
        floats: Write doubles instead of exact decimals.
        hive: Write partitions, whose folders hold exchange, symbol and day instead of columns.
    """

    suffix: str
    interval_s: int
    floats: bool = False
    hive: bool = False

    name = CANDLES

    @property
    def sources(self) -> Sequence[tuple[Dataset, str]]:
        """Return trades and their time."""
        return ((TRADES, TRADES.time),)

    def wants(self, day: Day) -> bool:
        """Return whether the day has trades."""
        return TRADES.name in day.datasets

    def path(self, day: Day) -> Path:
        """Return EXCHANGE/SYMBOL/DAY.SUFFIX, or the partition."""
        return day.partition(self.suffix) if self.hive else day.path(self.suffix)

    def write(self, ask: Ask, day: Day, path: Path) -> Contents:
        """Write the file; its trades are those that were there before and after."""
        sql = self._rows()
        if self.floats:
            sql = queries.with_floats(sql, _DECIMALS[CANDLES])
        if self.hive:
            sql = queries.without_market(sql)
        trades = queries.facts(TRADES.view, TRADES.time)
        before = _contents(ask, trades, day.parameters)
        for _attempt in range(ATTEMPTS):
            _save(ask, sql, self.suffix, self._parameters(day), path)
            after = _contents(ask, trades, day.parameters)
            if after == before:
                break
            before = after
        return self.facts(ask, day)

    def facts(self, ask: Ask, day: Day) -> Contents:
        """Count the candles."""
        return _contents(ask, queries.facts_of(self._rows(), "open_time"), self._parameters(day))

    def _rows(self) -> str:
        return queries.candles(daily=self.interval_s == DAY_S)

    def _parameters(self, day: Day) -> dict[str, str]:
        return day.parameters | {"interval_s": str(self.interval_s)}


def _save(ask: Ask, sql: str, suffix: str, parameters: Mapping[str, str], path: Path) -> None:
    save(ask(sql, FORMATS[suffix], parameters, {"date_time_output_format": "iso"}), path)


def _contents(ask: Ask, sql: str, parameters: Mapping[str, str]) -> Contents:
    ((rows, first_us, last_us),) = rows_of(ask, sql, parameters)
    return Contents(int(rows), int(first_us), int(last_us))
