"""The command `radar reparse`: derive trades and books again from recorded frames."""

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from radar.cli.arguments import AsJson, From, To, progress_bar, say, say_json, settings_for
from radar.cli.backfill import period_of
from radar.cli.required_services import require
from radar.clock import utc_text

if TYPE_CHECKING:
    from radar.reparse.run import Report


def reparse(
    *,
    first: From,
    last: To = "",
    exchange: Annotated[
        str, typer.Option("--exchange", help="Only this exchange; default: all with frames.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; report the changes.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Derive trades and books again from recorded frames, after a fix of a parser.

    The period is a time of receipt. Rows that do not follow from the frames are replaced or
    removed, and missing rows are added. Rows of REST backfill, gaps and sessions stay. You may stop
    and repeat the command. In a terminal it asks first.

    The frames of the period must be recorded (RECORD_FRAMES) and stored, and so must the records:
    end the period before the workers' lag. docs/raw-frames.md has the limits. Exit code 1: frames
    of the period are missing, so their rows were left as they are.
    """
    from radar.exchanges import load
    from radar.reparse.run import Period
    from radar.reparse.run import reparse as run
    from radar.store.client import Store

    settings = settings_for("reparse")
    if exchange:
        load(exchange)
    period = Period(*period_of(first, last, datetime.now(UTC)))
    require(settings, clickhouse=True)
    if sys.stdin.isatty() and not (yes or dry_run):
        typer.confirm("Replace the rows that do not follow from the frames?", abort=True)
    store = Store(settings, timeout_s=600)
    try:
        with progress_bar() as show:
            reports = run(store, period, exchange, dry_run=dry_run, progress=show)
    finally:
        store.close()
    problems = [problem for each in reports for problem in _problems(each)]
    if as_json:
        found = {
            "from": utc_text(period.begin_us // 1_000_000),
            "to": utc_text(period.end_us // 1_000_000),
            "dry_run": dry_run,
            "datasets": [_facts(each) for each in reports],
        }
        say_json(found, error="; ".join(problems) or None)
    else:
        for each in reports:
            say(*_lines(each, dry_run=dry_run))
        if not any(each.connections for each in reports):
            say("no frames of this period are stored: record them with RECORD_FRAMES")
        say(*problems)
    if problems:
        raise typer.Exit(1)


def _facts(report: "Report") -> dict[str, Any]:
    return {
        "exchange": report.exchange,
        "dataset": report.dataset,
        "frames": report.frames,
        "connections": report.connections,
        "without_begin": report.without_begin,
        "missing_frames": report.missing_frames,
        "markets": [
            {"symbol": symbol, **_counts(counts)}
            for symbol, counts in sorted(report.changes.items())
        ],
    }


def _counts(counts: dict[str, int]) -> dict[str, int]:
    return {kind: counts.get(kind, 0) for kind in ("added", "removed", "changed")}


def _lines(report: "Report", *, dry_run: bool) -> list[str]:
    if not report.connections:
        return []
    name = f"{report.exchange} {report.dataset}"
    would = " would be" if dry_run else ""

    def words(counts: dict[str, int]) -> str:
        return ", ".join(f"{count:,}{would} {kind}" for kind, count in _counts(counts).items())

    parsed = f"{report.frames:,} frames of {report.connections:,} connections"
    return [
        f"{name}: {parsed}: {words(report.total)}",
        *(
            f"  {report.exchange}:{symbol}: {words(counts)}"
            for symbol, counts in sorted(report.changes.items())
        ),
    ]


def _problems(report: "Report") -> list[str]:
    name, found = f"{report.exchange} {report.dataset}", []
    if report.without_begin:
        found.append(
            f"{name}: {report.without_begin:,} connections were left out: their first frames are"
            " not stored, because they have expired or wait in Kafka"
        )
    if report.missing_frames:
        found.append(
            f"{name}: {report.missing_frames:,} frames are missing: the rows of these frames stay"
            " as they are"
        )
    return found
