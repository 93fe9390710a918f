"""`radar export`: recorded data as files, one per market and UTC day, written by ClickHouse.

A file appears under its name when it is complete. Later exports skip it until new rows of its day
have come. Its time of modification is the database's clock a moment before the query. So an export
needs no list beside the files.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from radar.datasets import DATASETS, Dataset
from radar.errors import ConfigurationError, InvalidPeriod, RadarError
from radar.reading import recorded
from radar.reading.query import Ask, opened
from radar.settings import Settings
from radar.store.queries import export as queries

FORMATS = {"parquet": "Parquet", "csv": "CSVWithNames"}
# A row is visible up to this long after its recorded insertion time.
INSERT_S = 120


@dataclass(frozen=True)
class Day:
    """A day of a market."""

    source: str
    symbol: str
    day: date
    inserted_at: datetime  # of its newest row, by the database's clock

    def path(self, suffix: str) -> Path:
        """Return its place below the folder of a dataset."""
        # An exchange may use any name for a market; a name must not lead to another folder.
        names = [quote(name, safe="").replace(".", "%2E") for name in (self.source, self.symbol)]
        return Path(*names, f"{self.day:%Y-%m-%d}.{suffix}")


@dataclass(frozen=True)
class Exported:
    """The result of an export."""

    written: int
    skipped: int


@dataclass(frozen=True)
class ExportRequest:
    """The wanted dataset, format, markets and days."""

    dataset: str  # of `datasets.exported`
    suffix: str  # of FORMATS
    symbols: Sequence[str] = ()  # none: all
    first: date | None = None
    last: date | None = None  # included


def is_complete(day: Day, written_at: datetime | None) -> bool:
    """Return whether a file holds its whole day: the day is over and no row came since.

    Args:
        day: The day.
        written_at: The database's clock when the file was written, less the longest time of an
            insert; None without a file.
    """
    if written_at is None or written_at <= day.inserted_at:
        return False
    return written_at >= datetime(day.day.year, day.day.month, day.day.day, tzinfo=UTC) + timedelta(
        days=1
    )


def export(
    settings: Settings,
    wanted: ExportRequest,
    folder: Path,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Exported:
    """Write the files that are missing or no longer complete; blocks.

    Args:
        settings: The options, with the address of the database.
        wanted: The wanted dataset, format, markets and days.
        folder: Files are `DATASET/SOURCE/SYMBOL/DAY.SUFFIX` in there.
        progress: Called with the number of days done, and of all, whenever it changes.

    Raises:
        UnknownMarket: A market has no records; the message names similar ones.
        InvalidPeriod: The last day is before the first, or the first is in the future.
        ConfigurationError: The folder cannot be written to, or another export writes to it.
        StoreUnavailable: No server runs and there is no embedded data, or the server ended.
        QueryFailed: ClickHouse refuses a query.
    """
    dataset = DATASETS[wanted.dataset]
    written = 0
    with opened(settings, buffered=True) as ask, _locked(folder / wanted.dataset) as below:
        _check(ask, wanted)
        now, days = _days(ask, dataset, wanted)
        stamp = now - timedelta(seconds=INSERT_S)
        for done, day in enumerate(days):
            progress(done, len(days))
            path = below / day.path(wanted.suffix)
            if not is_complete(day, _written_at(path)):
                _write(path, _rows(ask, dataset, day, FORMATS[wanted.suffix]), stamp)
                written += 1
        progress(len(days), len(days))
    return Exported(written, len(days) - written)


def _check(ask: Ask, wanted: ExportRequest) -> None:
    def midnight(day: date | None, days: int = 0) -> datetime | None:
        if day is None:
            return None
        return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days)

    def rows(sql: str, parameters: dict[str, str]) -> list[list[str]]:
        return _answer(ask, sql, parameters)

    if wanted.first and wanted.last and wanted.last < wanted.first:
        raise InvalidPeriod(f"the last day {wanted.last} is before the first, {wanted.first}")
    recorded.check_period(rows, midnight(wanted.first), midnight(wanted.last, 1))
    recorded.check_markets(rows, wanted.symbols)


def _days(ask: Ask, dataset: Dataset, wanted: ExportRequest) -> tuple[datetime, list[Day]]:
    """Return the database's clock, and all days with records."""
    parameters = {}
    if wanted.symbols:
        parameters["symbols"] = json.dumps(list(wanted.symbols))
    if wanted.first:
        parameters["first"] = f"{wanted.first}"
    if wanted.last:
        parameters["last"] = f"{wanted.last}"
    # The clock first: later insertions are newer than every file that is written now.
    ((now_ms,),) = _answer(ask, queries.CLOCK, {})
    bounds = {name: name in parameters for name in ("symbols", "first", "last")}
    rows = _answer(ask, queries.days(dataset.table, dataset.time, **bounds), parameters)
    days = [Day(row[0], row[1], date.fromisoformat(row[2]), _moment(row[3])) for row in rows]
    return _moment(now_ms), days


def _rows(ask: Ask, dataset: Dataset, day: Day, output_format: str) -> Iterator[bytes]:
    return ask(
        queries.rows(dataset.export_columns, dataset.view, dataset.time, dataset.export_order),
        output_format,
        {"source": day.source, "symbol": day.symbol, "day": f"{day.day}"},
        {"date_time_output_format": "iso"},
    )


def _answer(ask: Ask, sql: str, parameters: dict[str, str]) -> list[list[str]]:
    lines = b"".join(ask(sql, "JSONCompactStringsEachRow", parameters)).splitlines()
    return [json.loads(line) for line in lines]


def _moment(unix_ms: str) -> datetime:
    return datetime.fromtimestamp(int(unix_ms) / 1000, UTC)


def _written_at(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:
        return None


def _write(path: Path, chunks: Iterator[bytes], stamp: datetime) -> None:
    """Write a file under another name and rename it once it is on the disk."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.utime(temporary, (stamp.timestamp(), stamp.timestamp()))
        temporary.replace(path)
    except OSError as error:
        raise RadarError(f"cannot write {path}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Keep other exports away from a folder; an empty folder is removed again."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    except OSError as error:
        raise ConfigurationError(f"cannot write to {folder}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The export before may have removed the file after it was opened here.
            if not path.exists() or not os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                raise BlockingIOError
        except BlockingIOError as error:
            raise ConfigurationError(
                f"another export writes to {folder}: wait for it, or give another folder"
            ) from error
        try:
            yield folder
        finally:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # not empty
                for each in made:
                    each.rmdir()
