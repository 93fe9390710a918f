"""A kind of exported file: the interface between the export and its formats."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote
from zoneinfo import ZoneInfo

from radar.datasets import Dataset
from radar.errors import RadarError
from radar.reading.query import Ask

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Day:
    """A day of a market."""

    source: str
    symbol: str
    day: date
    inserted_at: datetime  # of its newest row, by the database's clock
    datasets: frozenset[str] = frozenset()  # that have rows of it
    time_zone: str = "UTC"  # of its midnights

    @property
    def market(self) -> tuple[str, str]:
        """Return exchange and symbol."""
        return self.source, self.symbol

    @property
    def parameters(self) -> dict[str, str]:
        """Return the values of the placeholders of queries of one market and day."""
        return {
            "source": self.source,
            "symbol": self.symbol,
            "day": f"{self.day}",
            "time_zone": self.time_zone,
        }

    @property
    def begins_us(self) -> int:
        """Return its first moment, Unix time in microseconds."""
        return (self._midnight(0) - _EPOCH) // timedelta(microseconds=1)

    @property
    def end(self) -> datetime:
        """Return its end, the first moment of the next day."""
        return self._midnight(1)

    def _midnight(self, days: int) -> datetime:
        day = self.day + timedelta(days)
        zone = UTC if self.time_zone == "UTC" else ZoneInfo(self.time_zone)
        return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)

    def path(self, suffix: str) -> Path:
        """Return its place below the folder of a dataset."""
        return Path(file_name(self.source), file_name(self.symbol), f"{self.day:%Y-%m-%d}.{suffix}")

    def partition(self, suffix: str) -> Path:
        """Return its place as a partition of Hive, whose folders name columns and values."""
        return Path(
            f"exchange={file_name(self.source)}",
            f"symbol={file_name(self.symbol)}",
            f"date={self.day:%Y-%m-%d}",
            f"part.{suffix}",
        )


@dataclass(frozen=True)
class Contents:
    """The contents of a file; times are those of its rows, Unix time in microseconds."""

    rows: int
    first_us: int = 0
    last_us: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)  # further facts for the manifest


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Provide a place for a file, which gets its name once it is whole and on the disk.

    Raises:
        RadarError: The folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise RadarError(f"cannot write {path}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


class Kind(Protocol):
    """A kind of file, of which each market has at most one a day."""

    @property
    def name(self) -> str:
        """Return its name in the manifest."""

    @property
    def sources(self) -> Sequence[tuple[Dataset, str]]:
        """Return the datasets of its rows, and the column that decides on the day of a row."""

    def wants(self, day: Day) -> bool:
        """Return whether a day has enough records for a file."""

    def path(self, day: Day) -> Path:
        """Return the file's place below the folder of the export."""

    def write(self, ask: Ask, day: Day, path: Path) -> Contents:
        """Write the file of a day; blocks. See `Ask` for errors."""

    def facts(self, ask: Ask, day: Day) -> Contents | None:
        """Return the contents of a complete file without reading it; None: write it again."""


def file_name(name: str) -> str:
    """Return a name for a file: an exchange may use any name, and none leads to another folder."""
    return quote(name, safe="").replace(".", "%2E")


def increment(places: int) -> str:
    """Return the smallest number with so many decimal places."""
    return f"0.{'0' * (places - 1)}1" if places else "1"


def rows_of(ask: Ask, sql: str, parameters: Mapping[str, str]) -> list[list[Any]]:
    """Return the rows of an answer; numbers of 64 bits and decimals are texts."""
    lines = b"".join(ask(sql, "JSONCompactEachRow", parameters)).splitlines()
    return [json.loads(line) for line in lines]


def save(chunks: Iterator[bytes], path: Path) -> None:
    """Write an answer to a file as it arrives."""
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
