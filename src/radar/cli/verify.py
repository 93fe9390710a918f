"""The command that compares Kafka, ClickHouse and a ledger: `radar verify`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radar.cli.arguments import AsJson, progress_bar, say, say_json, settings_for
from radar.cli.required_services import require

if TYPE_CHECKING:
    from radar.settings import Settings


def verify(
    *,
    ledger: Annotated[
        Path | None,
        typer.Option(
            help="Ledger of a simulated exchange; default: that of the running `radar up`."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Reconcile Kafka, ClickHouse and the simulated exchange: find missing and doubled rows.

    Exit code 0: no row is missing and none is doubled. Messages and rows past their retention, and
    messages that still wait in Kafka, do not count as missing.
    """
    from radar.checks.verify import check_ledger, describe, facts
    from radar.checks.verify import verify as run

    settings = settings_for("verify")
    if ledger is not None:
        check_ledger(ledger)
    require(settings, kafka=True, clickhouse=True)
    ledgers = [ledger] if ledger else _running_ledgers(settings)
    with progress_bar() as show:
        report = run(settings, ledgers, show)
    if as_json:
        say_json(facts(report), error=None if report.exact else list(describe(report))[-1])
    else:
        say(*describe(report))
    if not report.exact:
        raise typer.Exit(1)


def _running_ledgers(settings: "Settings") -> list[Path]:
    from radar.status.state import running_pipeline

    running = running_pipeline(settings.radar_data_dir)
    if running is None or not running["simulated"]:
        return []
    from radar.local import data_directory

    return sorted(data_directory.path_of(settings, simulated=True).glob(data_directory.LEDGERS))
