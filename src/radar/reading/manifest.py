"""The manifest of an export: the facts of each file, and what is missing from its day.

It lies beside the files, so that a user of them needs no database.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from radar import __version__
from radar.errors import ConfigurationError, RadarError
from radar.reading.formats.base import Contents, Day, Kind, rows_of
from radar.reading.query import Ask
from radar.store.queries import export as queries

NAME = "manifest.json"
# Programs that read all files below a folder of partitions leave out names with this first letter.
HIVE_NAME = "_manifest.json"
# It changes when a field is renamed, removed or redefined.
FORMAT_VERSION = 1
# ClickHouse takes no parameter of more than 128 KiB (http_max_field_value_size).
MARKETS_AT_ONCE = 1000

Entry = dict[str, Any]
Entries = dict[str, Entry]  # by the path of the file, relative to the manifest


@dataclass(frozen=True)
class Missing:
    """Coverage and gaps of one market, day and dataset."""

    coverage: Mapping[str, Any]
    gaps: Sequence[Mapping[str, Any]]


MissingByDay = Mapping[tuple[str, str, str, str], Missing]  # dataset, exchange, symbol, day


def parse(text: bytes, place: str) -> Entries:
    """Return the entries of a manifest.

    Args:
        text: The manifest.
        place: Where it lies, for the error.

    Raises:
        ConfigurationError: It is none, or another version of radar wrote it.
    """
    try:
        found = json.loads(text)
        if found["format_version"] != FORMAT_VERSION:
            raise ConfigurationError(
                f"{place} has the format version {found['format_version']!r}, and this radar writes"
                f" {FORMAT_VERSION}: export to another folder"
            )
        return {str(name): dict(entry) for name, entry in found["files"].items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(f"cannot read {place}: remove it, and export again") from error


def text_of(entries: Mapping[str, Entry]) -> bytes:
    """Return the manifest of these entries."""
    value = {
        "format_version": FORMAT_VERSION,
        "radar_version": __version__,
        "files": {name: entries[name] for name in sorted(entries)},
    }
    return f"{json.dumps(value, indent=1)}\n".encode()


def describe(path: Path) -> Entry:
    """Return size and checksum of a file; blocks.

    Raises:
        RadarError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": path.stat().st_size, "sha256": digest}
    except OSError as error:
        raise RadarError(f"cannot read {path}: {error.strerror}") from error


def entry(kind: Kind, day: Day, contents: Contents, described: Entry, *, complete: bool) -> Entry:
    """Return the entry of a file, without coverage and gaps.

    Args:
        kind: The kind of the file.
        day: Its market and day.
        contents: Its contents.
        described: Its size and checksum (`describe`).
        complete: Whether the day was over when the file was written.
    """
    return {
        "kind": kind.name,
        "exchange": day.source,
        "symbol": day.symbol,
        "day": f"{day.day}",
        "complete": complete,
        "rows": contents.rows,
        "first": iso(contents.first_us) if contents.rows else None,
        "last": iso(contents.last_us) if contents.rows else None,
        **described,
        **contents.details,
    }


def add_missing(entries: Entries, missing: MissingByDay, datasets: Mapping[str, set[str]]) -> None:
    """Add the coverage and gaps that the database knows to the entries of their days.

    Args:
        entries: The entries; those of other days keep theirs.
        missing: The coverage and gaps.
        datasets: The datasets of `coverage` of each path.
    """
    for name, covered in datasets.items():
        if (each := entries.get(name)) is None:
            continue
        place = each["exchange"], each["symbol"], each["day"]
        found = {
            dataset: missing[dataset, *place]
            for dataset in sorted(covered)
            if (dataset, *place) in missing
        }
        coverage = {
            dataset: dict(known.coverage) for dataset, known in found.items() if known.coverage
        }
        gaps = [dict(gap) for known in found.values() for gap in known.gaps]
        # A day that is older than the recorded sessions keeps what an earlier export knew.
        if found or "coverage" not in each:
            each["coverage"], each["gaps"] = coverage, gaps


def missing_of(
    ask: Ask,
    markets: Iterable[tuple[str, str]],
    first: date,
    last: date,
    time_zone: str = "UTC",
) -> MissingByDay:
    """Return the coverage and gaps of markets from a day to another, both included; blocks.

    The database knows the coverage of UTC days. So days of another zone have gaps, but no coverage.
    """
    chosen = sorted(set(markets))
    found: dict[tuple[str, str, str, str], Missing] = {}
    for begin in range(0, len(chosen), MARKETS_AT_ONCE):
        some = chosen[begin : begin + MARKETS_AT_ONCE]
        found |= _missing_of_some(ask, some, first, last, time_zone)
    return found


def _missing_of_some(
    ask: Ask, markets: Sequence[tuple[str, str]], first: date, last: date, time_zone: str
) -> MissingByDay:
    is_utc = time_zone == "UTC"
    around = timedelta() if is_utc else timedelta(days=1)
    parameters = {
        "markets": json.dumps(markets),
        "first": f"{first - around}",
        "last": f"{last + around}",
    }
    zone = UTC if is_utc else ZoneInfo(time_zone)
    gaps: dict[tuple[str, str, str, str], list[Mapping[str, Any]]] = {}
    for dataset, source, symbol, began, ended, cause, repaired in rows_of(
        ask, queries.GAPS, parameters
    ):
        gap = {
            "dataset": dataset,
            "began_at": iso(int(began)),
            "ended_at": iso(int(ended)),
            "cause": cause,
            "repaired": bool(repaired),
        }
        for day in _days(int(began), int(ended), first, last, zone):
            gaps.setdefault((dataset, source, symbol, f"{day}"), []).append(gap)
    if not is_utc:
        return {place: Missing({}, found) for place, found in gaps.items()}
    return {
        (dataset, source, symbol, day): Missing(
            dict(zip(queries.COVERAGE_FIELDS, (*shares, bool(going_on)), strict=True)),
            gaps.get((dataset, source, symbol, day), []),
        )
        for dataset, source, symbol, day, *shares, going_on in rows_of(
            ask, queries.COVERAGE, parameters
        )
    }


def iso(at_us: int) -> str:
    """Write a time as ISO 8601, in UTC with microseconds."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


def _days(
    began_us: int, ended_us: int, first: date, last: date, zone: tzinfo = UTC
) -> Iterable[date]:
    """Yield the days of a period that a gap touches."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    moments = (epoch + timedelta(microseconds=us) for us in (began_us, max(ended_us - 1, began_us)))
    begin, end = (moment.astimezone(zone).date() for moment in moments)
    begin, end = max(begin, first), min(end, last)
    for n in range((end - begin).days + 1):
        yield begin + timedelta(n)
