"""The command that writes files of recorded data: `radar export`."""

from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radar.cli.arguments import AsJson, ExportedName, progress_bar, say_json, settings_for
from radar.cli.markets import MarketOption, market_list
from radar.errors import ConfigurationError
from radar.periods import EXAMPLES, looks_like_time, parse_length_s, parse_period, parse_time

if TYPE_CHECKING:
    from radar.object_storage import Place

# More than any book has.
MAX_LEVELS = 65_535


class ExportFormat(StrEnum):
    """Formats of exported files."""

    PARQUET = "parquet"
    CSV = "csv"
    TARDIS = "tardis"
    HFTBACKTEST = "hftbacktest"
    NAUTILUS = "nautilus"


class FileLayout(StrEnum):
    """Layouts of the files of Parquet and CSV."""

    PLAIN = "plain"
    HIVE = "hive"


def export(
    dataset: Annotated[
        ExportedName | None,
        typer.Argument(
            help="Dataset to export; none for hftbacktest and nautilus.", show_default=False
        ),
    ] = None,
    *,
    markets: MarketOption = None,
    begin: Annotated[
        str,
        typer.Option(
            "--from",
            "--since",
            "--first",
            help=f"Begin (UTC): {EXAMPLES}; default: the oldest day. Files hold whole days.",
            metavar="TIME",
        ),
    ] = "",
    end: Annotated[
        str,
        typer.Option("--to", help="End (UTC), not included; default: now.", metavar="TIME"),
    ] = "",
    last: Annotated[
        str, typer.Option("--last", help="Instead of --to: the last day, included.", metavar="DAY")
    ] = "",
    output_format: Annotated[
        ExportFormat, typer.Option("--format", "-f", help="Format of the files.")
    ] = ExportFormat.PARQUET,
    interval: Annotated[
        str, typer.Option("--interval", help="Of candles: 1s, 5m, 1h, 1d; it divides a day.")
    ] = "1m",
    time_zone: Annotated[
        str, typer.Option("--time-zone", help="Of the days of candles, e.g. Asia/Tehran.")
    ] = "UTC",
    levels: Annotated[
        int,
        typer.Option(
            "--levels", min=0, max=MAX_LEVELS, help="Best levels of each side of a book; 0: all."
        ),
    ] = 0,
    floats: Annotated[
        bool, typer.Option("--floats", help="Write doubles instead of exact decimals.")
    ] = False,
    layout: Annotated[
        FileLayout, typer.Option("--layout", help="Of the files of Parquet and CSV.")
    ] = FileLayout.PLAIN,
    folder: Annotated[
        str,
        typer.Option(
            "--folder",
            help="Folder to write to, or s3://BUCKET/PREFIX; default: export.",
            metavar="PLACE",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Write one file per market and day: FOLDER/DATASET/EXCHANGE/SYMBOL/DAY.parquet.

    A file appears when it is complete. A repeated export writes missing days, days that were
    unfinished, and days with new rows. manifest.json beside the files lists their checksums, and
    the coverage and gaps of each day.

    The layout hive writes exchange=EXCHANGE/symbol=SYMBOL/date=DAY/part.parquet for query engines.

    The formats tardis, hftbacktest and nautilus write the files of these tools: docs/exports.md.
    An earlier form still works: --to FOLDER.

    Candles are computed from the recorded trades. Each choice of --interval, --time-zone, --levels
    and --floats has a folder of its own.
    """
    from radar.reading.export import ExportRequest
    from radar.reading.export import export as run

    settings = settings_for("export")
    if end and not looks_like_time(end):
        if folder:
            raise ConfigurationError(f"--to {end} is no time (allowed: {EXAMPLES})")
        folder, end = end, ""
    target = _target(folder or "export")
    first_day, last_day = _days(begin, end, last)
    wanted = ExportRequest(
        str(dataset or ""),
        output_format.value,
        market_list(markets or ()),
        first_day,
        last_day,
        parse_length_s("--interval", interval),
        time_zone,
        levels,
        floats,
        layout is FileLayout.HIVE,
    )
    with progress_bar() as show:
        exported = run(settings, wanted, target, lambda done, total: show("days", done, total))
    if as_json:
        say_json(
            {
                "folder": f"{target}",
                "written": exported.written,
                "unchanged": exported.skipped,
                "left_out": exported.left_out,
            }
        )
        return
    kept = f"; {exported.skipped:,} were up to date" if exported.skipped else ""
    if exported.left_out:
        kept += f"; left out {exported.left_out:,} without order book"
    typer.echo(f"wrote {exported.written:,} file{_s(exported.written)} to {target}{kept}")


def _target(folder: str) -> "Path | Place":
    """Return the folder, or the place in object storage."""
    if "://" not in folder:
        return Path(folder)
    from radar import object_storage

    return object_storage.parse(folder)


def _days(begin: str, end: str, last: str) -> tuple[date | None, date | None]:
    """Return the first and last day that a period touches; None: it is open.

    Raises:
        ConfigurationError: An option is no time, or both --to and --last are given.
        InvalidPeriod: The period is empty or reversed.
    """
    now = datetime.now(UTC)
    if end and last:
        raise ConfigurationError("give --to or --last, not both")
    if last:
        last_day = parse_time(last, now).astimezone(UTC).date()
        first = parse_time(begin, now).astimezone(UTC).date() if begin else None
        return first, last_day
    if not end:
        return (parse_time(begin, now).astimezone(UTC).date() if begin else None), None
    oldest = datetime(1970, 1, 1, tzinfo=UTC)
    period = parse_period(begin, end, now, default=(oldest, now), may_be_future=True)
    return (period.first_day if begin else None), period.last_day


def _s(count: int) -> str:
    return "" if count == 1 else "s"
