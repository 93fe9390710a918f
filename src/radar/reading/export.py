"""`radar export`: recorded data as files, one per market and UTC day.

A file appears under its name when it is complete. Later exports skip it until new rows of its day
have come. Its destination keeps the database's clock a moment before the query
(`radar.reading.destinations`). Beside the files lies a manifest with their facts
(`radar.reading.manifest`).
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radar.datasets import DATASETS, Dataset, exported
from radar.errors import ConfigurationError, InvalidPeriod
from radar.periods import parse_zone
from radar.reading import manifest, recorded
from radar.reading.destinations import Destination, Folder, opened_at
from radar.reading.formats import columns, tardis
from radar.reading.formats.base import Day, Kind, file_name
from radar.reading.query import Ask, opened
from radar.settings import Settings
from radar.store.queries import export as queries

if TYPE_CHECKING:
    from radar.object_storage import Place

FORMATS = (*columns.FORMATS, "tardis", "hftbacktest", "nautilus")
NAMES = (*(dataset.name for dataset in exported()), columns.CANDLES)
UTC_NAME = "UTC"
# A row is visible up to this long after its recorded insertion time.
INSERT_S = 120


@dataclass(frozen=True)
class Exported:
    """The result of an export: how many files."""

    written: int
    skipped: int  # they were up to date
    left_out: int = 0  # their day lacks records that the format needs


@dataclass(frozen=True)
class ExportRequest:
    """The wanted dataset, format, markets and days.

    Attributes:
        dataset: `candles`, or one of `datasets.exported`; empty: all that the format takes.
        suffix: One of FORMATS.
        symbols: Markets; none: all.
        first: The first day; None: the oldest.
        last: The last day, included; None: today.
        interval_s: Length of candles.
        time_zone: Time zone of the days of candles.
        levels: Most levels of a snapshot of a book; 0: all.
        floats: Write doubles instead of exact decimals.
        hive: Write partitions: exchange=…/symbol=…/date=…
    """

    dataset: str
    suffix: str
    symbols: Sequence[str] = ()
    first: date | None = None
    last: date | None = None
    interval_s: int = 60
    time_zone: str = UTC_NAME
    levels: int = 0
    floats: bool = False
    hive: bool = False


@dataclass(frozen=True)
class Layout:
    """The files of an export: the name of their folder, their kinds, and shared preparations."""

    folder: str
    kinds: Sequence[Kind]
    manifest: str = manifest.NAME
    # Called before files of these days are written; yields other files once they are written, with
    # facts for the manifest.
    prepare: Callable[[Ask, Path, Sequence[Day]], Iterable[tuple[Path, Mapping[str, Any]]]] = (
        lambda _ask, _below, _days: ()
    )
    # Whether the format changes files that are there, which only a folder allows.
    is_local: bool = False


def layout(wanted: ExportRequest) -> Layout:
    """Return the files of a request.

    Raises:
        ConfigurationError: The format needs a dataset or takes none, or an option does not apply.
    """
    dataset, output_format = wanted.dataset, wanted.suffix
    _check_options(wanted)
    if output_format in columns.FORMATS:
        if not dataset:
            raise ConfigurationError(
                f"the format {output_format} needs a dataset: name one of {', '.join(NAMES)}"
            )
        return _columns(wanted)
    if dataset == columns.CANDLES:
        raise ConfigurationError(
            f"the format {output_format} has no candles: use {' or '.join(columns.FORMATS)}"
        )
    if output_format == "tardis":
        if kinds := tardis.kinds(dataset):
            return Layout("tardis", kinds)
        raise ConfigurationError(f"the format tardis has no files of {dataset}: use parquet or csv")
    if dataset:
        raise ConfigurationError(f"the format {output_format} merges all datasets: name none")
    if output_format == "hftbacktest":
        # NumPy takes longer to import than most commands take to run.
        from radar.reading.formats import hftbacktest

        return Layout("hftbacktest", [hftbacktest.Days()])
    if output_format == "nautilus":
        from radar.reading.formats import nautilus

        catalogue = nautilus.Catalogue()
        return Layout("nautilus", catalogue.kinds, prepare=catalogue.prepare, is_local=True)
    raise ConfigurationError(f"unknown format {output_format}: use one of {', '.join(FORMATS)}")


def _columns(wanted: ExportRequest) -> Layout:
    """Return the files of Parquet or CSV; each choice has a folder of its own."""
    dataset, choices = wanted.dataset, ""
    kind: Kind
    if dataset == columns.CANDLES:
        zone = "" if wanted.time_zone == UTC_NAME else f"_{file_name(wanted.time_zone)}"
        choices = f"_{_length(wanted.interval_s)}{zone}"
        kind = columns.Candles(
            wanted.suffix, wanted.interval_s, floats=wanted.floats, hive=wanted.hive
        )
    else:
        choices = f"_{wanted.levels}" if wanted.levels else ""
        kind = columns.Columns(
            DATASETS[dataset],
            wanted.suffix,
            wanted.levels,
            floats=wanted.floats,
            hive=wanted.hive,
        )
    choices += "_floats" if wanted.floats else ""
    if wanted.hive:
        return Layout(f"{dataset}{choices}_hive", [kind], manifest.HIVE_NAME)
    return Layout(f"{dataset}{choices}", [kind])


def _check_options(wanted: ExportRequest) -> None:
    has_columns = wanted.suffix in columns.FORMATS
    if wanted.hive and not has_columns:
        raise ConfigurationError("--layout hive needs the format parquet or csv")
    if wanted.levels and not (has_columns and columns.has_levels(wanted.dataset)):
        raise ConfigurationError("--levels needs the dataset depth in parquet or csv")
    if wanted.floats and not (has_columns and columns.has_decimals(wanted.dataset)):
        raise ConfigurationError("--floats needs trades, candles or exchange_candles")
    if wanted.time_zone != UTC_NAME and wanted.dataset != columns.CANDLES:
        raise ConfigurationError("--time-zone needs candles: other days are UTC")
    if wanted.dataset == columns.CANDLES:
        _check_candles(wanted.interval_s, wanted.time_zone)


def _check_candles(interval_s: int, time_zone: str) -> None:
    """Refuse candles that would lie in two days."""
    if interval_s < 1 or columns.DAY_S % interval_s:
        raise ConfigurationError(
            "--interval must divide a day: 1s, 10s, 1m, 5m, 15m, 30m, 1h, 4h, 1d, …"
        )
    zone = parse_zone(time_zone)
    if interval_s == columns.DAY_S:
        return
    year = datetime.now(UTC).year
    for month in (1, 7):
        offset = datetime(year, month, 1, tzinfo=zone).utcoffset() or timedelta()
        if offset % timedelta(seconds=interval_s):
            raise ConfigurationError(
                f"candles of {_length(interval_s)} do not begin at midnight in {time_zone}:"
                " use a shorter interval, such as 15m, or 1d"
            )


def _length(interval_s: int) -> str:
    """Write an interval in its largest unit: 1m, 4h, 90s."""
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if interval_s % length_s == 0:
            return f"{interval_s // length_s}{unit}"
    return f"{interval_s}s"


def is_complete(day: Day, written_at: datetime | None) -> bool:
    """Return whether a file holds its whole day: the day is over and no row came since.

    Args:
        day: The day.
        written_at: The database's clock when the file was written, less the longest time of an
            insert; None without a file.
    """
    if written_at is None or written_at <= day.inserted_at:
        return False
    return written_at >= day.end


def export(
    settings: Settings,
    wanted: ExportRequest,
    target: "Path | Place",
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Exported:
    """Write the files that are missing or no longer complete, and the manifest; blocks.

    Args:
        settings: The options, with the address of the database.
        wanted: The wanted dataset, format, markets and days.
        target: A folder or a place in object storage; files lie in there below the name of the
            dataset or format.
        progress: Called with the number of files done, and of all, whenever it changes.

    Raises:
        UnknownMarket: A market has no records; the message names similar ones.
        InvalidPeriod: The last day is before the first, or the first is in the future.
        ConfigurationError: The folder cannot be written to, another export writes to it, or the
            format cannot hold the records.
        ObjectStorageFailed: The object storage does not answer or refuses.
        StoreUnavailable: No server runs and there is no embedded data, or the server ended.
        QueryFailed: ClickHouse refuses a query.
    """
    chosen = layout(wanted)
    if chosen.is_local and not isinstance(target, Path):
        raise ConfigurationError(
            f"the format {wanted.suffix} changes files that it wrote before: export to a folder,"
            " and copy that"
        )
    with (
        opened(settings, buffered=True) as ask,
        opened_at(settings, target, chosen.folder, chosen.manifest) as to,
    ):
        _check(ask, wanted)
        entries = to.entries()
        now, files, left_out = _files(ask, chosen, wanted)
        return _Run(ask, chosen, to, entries, now, progress).run(files, left_out)


class _Run:
    """One export into one folder."""

    def __init__(
        self,
        ask: Ask,
        chosen: Layout,
        to: Destination,
        entries: manifest.Entries,
        now: datetime,
        progress: Callable[[int, int], None],
    ) -> None:
        self._ask = ask
        self._layout = chosen
        self._to = to
        self._entries = entries
        self._stamp = now - timedelta(seconds=INSERT_S)
        self._progress = progress
        self._saved_at_s = time.monotonic()

    def run(self, files: Sequence[tuple[Kind, Day]], left_out: int) -> Exported:
        """Write the due files; the manifest lists them even if the export is interrupted."""
        missing = self._missing(files)
        due = {kind.path(day): day for kind, day in files if not self._is_there(kind, day)}
        written = 0
        try:
            self._prepare(list(due.values()))
            for done, (kind, day) in enumerate(files):
                self._progress(done, len(files))
                if kind.path(day) in due:
                    self._write(kind, day)
                    written += 1
        finally:
            covered = {
                f"{kind.path(day)}": {_covered(dataset) for dataset, _time in kind.sources}
                for kind, day in files
            }
            manifest.add_missing(self._entries, missing, covered)
            self._to.save(self._entries)
        self._progress(len(files), len(files))
        return Exported(written, len(files) - written, left_out)

    def _missing(self, files: Sequence[tuple[Kind, Day]]) -> manifest.MissingByDay:
        if not files:
            return {}
        days = [day.day for _kind, day in files]
        markets = [day.market for _kind, day in files]
        zone = files[0][1].time_zone
        return manifest.missing_of(self._ask, markets, min(days), max(days), zone)

    def _is_there(self, kind: Kind, day: Day) -> bool:
        """Return whether a complete file has an entry."""
        name = f"{kind.path(day)}"
        entry = self._entries.get(name, {})
        _check_market(name, entry, day)
        if not is_complete(day, self._to.complete_until(name, entry)):
            return False
        if self._to.is_described(name, entry):
            return True
        # An earlier radar wrote files without entries.
        if not isinstance(self._to, Folder) or (contents := kind.facts(self._ask, day)) is None:
            return False
        described = manifest.describe(self._to.path / name)
        self._entries[name] = manifest.entry(kind, day, contents, described, complete=True)
        return True

    def _prepare(self, days: Sequence[Day]) -> None:
        if not days or not isinstance(self._to, Folder):
            return
        below = self._to.path
        for path, facts in self._layout.prepare(self._ask, below, days):
            entry = self._entries.setdefault(f"{path.relative_to(below)}", {})
            entry.update(facts, **manifest.describe(path))

    def _write(self, kind: Kind, day: Day) -> None:
        name = f"{kind.path(day)}"
        with self._to.replacing(name, self._stamp) as place:
            contents = kind.write(self._ask, day, place)
            described = manifest.describe(place)
        complete = is_complete(day, self._stamp)
        self._entries[name] = manifest.entry(
            kind, day, contents, described, complete=complete
        ) | self._to.facts(self._stamp)
        now_s = time.monotonic()
        if now_s - self._saved_at_s > self._to.save_every_s:
            self._to.save(self._entries)
            self._saved_at_s = now_s


def _covered(dataset: Dataset) -> str:
    """Return the dataset of `coverage` that covers one: producers of depth record updates too."""
    return "trades" if dataset.name == "trades" else "depth"


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


def _files(
    ask: Ask, chosen: Layout, wanted: ExportRequest
) -> tuple[datetime, list[tuple[Kind, Day]], int]:
    """Return the database's clock, all files that can be written, and how many cannot.

    Raises:
        ConfigurationError: None of them can be, or none of a named market.
    """
    # The clock first: later insertions are newer than every file that is written now.
    ((now_ms,),) = _answer(ask, queries.CLOCK, {})
    found: dict[tuple[Dataset, str], list[tuple[str, str, str, datetime]]] = {}
    files: list[tuple[Kind, Day]] = []
    refused: list[tuple[Kind, Day]] = []
    for kind in chosen.kinds:
        newest: dict[tuple[str, str, str], dict[str, datetime]] = {}
        for source in kind.sources:
            if source not in found:
                found[source] = _days(ask, *source, wanted)
            for exchange, symbol, day, inserted_at in found[source]:
                newest.setdefault((exchange, symbol, day), {})[source[0].name] = inserted_at
        for (exchange, symbol, day), times in sorted(newest.items()):
            each = Day(
                exchange,
                symbol,
                date.fromisoformat(day),
                max(times.values()),
                frozenset(times),
                wanted.time_zone,
            )
            (files if kind.wants(each) else refused).append((kind, each))
    _check_places(files)
    _check_books(files, refused, named=bool(wanted.symbols))
    return _moment(now_ms), files, len(refused)


def _check_books(
    files: Sequence[tuple[Kind, Day]], refused: Sequence[tuple[Kind, Day]], *, named: bool
) -> None:
    """Refuse an export without files, and a named market without."""
    there = {day.market for _kind, day in files}
    for kind, day in refused:
        if day.market not in there and (named or not files):
            raise ConfigurationError(
                f"{day.source}:{day.symbol} has no order book on {day.day}, and {kind.name} needs"
                " one: record depth as well, or use the format tardis"
            )


def _check_market(name: str, entry: manifest.Entry, day: Day) -> None:
    """Refuse to write over the file of another market, which an earlier export wrote."""
    found = entry.get("exchange", day.source), entry.get("symbol", day.symbol)
    if found != day.market:
        raise ConfigurationError(
            f"{name} holds {':'.join(found)}: export {':'.join(day.market)} to another folder"
        )


def _check_places(files: Sequence[tuple[Kind, Day]]) -> None:
    """Refuse two markets whose files would have the same name."""
    markets: dict[Path, tuple[str, str]] = {}
    for kind, day in files:
        other = markets.setdefault(kind.path(day), day.market)
        if other != day.market:
            raise ConfigurationError(
                f"{':'.join(other)} and {':'.join(day.market)} have the same place in this format:"
                " export them to different folders with --market and --folder"
            )


def _days(
    ask: Ask, dataset: Dataset, column: str, wanted: ExportRequest
) -> list[tuple[str, str, str, datetime]]:
    """Return exchange, symbol, day and newest insertion of all days with records."""
    parameters = {"time_zone": wanted.time_zone}
    if wanted.symbols:
        parameters["symbols"] = json.dumps(list(wanted.symbols))
    if wanted.first:
        parameters["first"] = f"{wanted.first}"
    if wanted.last:
        parameters["last"] = f"{wanted.last}"
    bounds = {name: name in parameters for name in ("symbols", "first", "last")}
    rows = _answer(ask, queries.days(dataset.table, column, **bounds), parameters)
    return [(row[0], row[1], row[2], _moment(row[3])) for row in rows]


def _answer(ask: Ask, sql: str, parameters: dict[str, str]) -> list[list[str]]:
    lines = b"".join(ask(sql, "JSONCompactStringsEachRow", parameters)).splitlines()
    return [json.loads(line) for line in lines]


def _moment(unix_ms: str) -> datetime:
    return datetime.fromtimestamp(int(unix_ms) / 1000, UTC)
