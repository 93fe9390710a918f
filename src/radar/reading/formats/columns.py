"""Parquet and CSV: the columns of a dataset, written by ClickHouse."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from radar.datasets import Dataset
from radar.reading.formats.base import Contents, Day, rows_of, save
from radar.reading.query import Ask
from radar.store.queries import export as queries

FORMATS = {"parquet": "Parquet", "csv": "CSVWithNames"}
# Rows may arrive while a file is written; then it is written again, at most so often.
ATTEMPTS = 3


@dataclass(frozen=True)
class Columns:
    """Files of a dataset: its exported columns in one of FORMATS."""

    dataset: Dataset
    suffix: str

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
        """Return EXCHANGE/SYMBOL/DAY.SUFFIX."""
        return day.path(self.suffix)

    def write(self, ask: Ask, day: Day, path: Path) -> Contents:
        """Write the file; its rows are those that were there before and after."""
        dataset = self.dataset
        sql = queries.rows(dataset.export_columns, dataset.view, dataset.time, dataset.export_order)
        before = self.facts(ask, day)
        for _attempt in range(ATTEMPTS):
            answer = ask(
                sql, FORMATS[self.suffix], day.parameters, {"date_time_output_format": "iso"}
            )
            save(answer, path)
            after = self.facts(ask, day)
            if after == before:
                break
            before = after
        return before

    def facts(self, ask: Ask, day: Day) -> Contents:
        """Count the rows."""
        sql = queries.facts(self.dataset.view, self.dataset.time)
        ((rows, first_us, last_us),) = rows_of(ask, sql, day.parameters)
        return Contents(int(rows), int(first_us), int(last_us))
