"""The command line `radar`: it parses arguments and reports each error on one clear line.

`radar NAME` is in the module NAME. Each command imports what it needs when it runs, so that help
and completion are quick.
"""

from radar import early_signals

# isort: split
import signal
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from radar.cli import (
    alerts,
    backfill,
    backup,
    config,
    consume,
    coverage,
    dashboard,
    disk,
    dlq,
    doctor,
    export,
    failures,
    health,
    lag,
    migrate,
    monitor,
    password,
    produce,
    query,
    reconcile,
    reparse,
    replay,
    reset,
    restore,
    shell,
    simulate,
    skip,
    status,
    topics,
    up,
    verify,
    version,
)

app = typer.Typer(
    name="radar",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Record cryptocurrency markets and never lose a message:"
    " exchange WebSocket → Kafka → ClickHouse.",
    epilog="Options come from the environment and .env; `radar config` shows them."
    " Exit codes: 0 fine, 1 a problem, 2 wrong usage or configuration, 3 not verifiable.",
)
# As a user meets them.
COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Record": (up.up, simulate.simulate, produce.produce, consume.consume),
    "Watch": (
        monitor.monitor,
        dashboard.dashboard,
        status.status,
        lag.lag,
        health.health,
    ),
    "Read data": (query.query, shell.shell, export.export),
    "Prove": (verify.verify, coverage.coverage, reconcile.reconcile),
    "Use the past": (backfill.backfill, replay.replay, reparse.reparse),
    "Repair": (skip.skip, restore.restore, restore.acknowledge),
    "Set up": (
        doctor.doctor,
        config.config,
        password.password,
        migrate.migrate,
        disk.disk,
        reset.reset,
        version.version,
    ),
}
for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(dlq.app, name="dlq", rich_help_panel="Repair")
app.add_typer(alerts.app, name="alerts", rich_help_panel="Watch")
app.add_typer(backup.app, name="backup", rich_help_panel="Repair")
app.add_typer(topics.app, name="topics", rich_help_panel="Set up")


# These run until a signal comes, and handle it themselves.
LASTING = ("up", "simulate", "replay", "produce", "consume", "dashboard")


def main() -> None:
    """Run the command line; ends the process."""
    from radar.cli.streams import outlive
    from radar.process import follow_supervisor, raise_open_files, warn_of_few_files

    follow_supervisor(signal.SIGKILL)
    lasting = sys.argv[1:2] and (
        sys.argv[1] in LASTING
        or "--follow" in sys.argv
        or sys.argv[1:3] in (["backup", "follow"], ["alerts", "run"])
    )
    early_signals.leave_on_signals()
    if not lasting:
        early_signals.interrupt_again()
    outlive(output=bool(lasting))
    allowed = raise_open_files()
    if lasting:
        warn_of_few_files(allowed)
    sys.exit(failures.run(app, sys.argv[1:]))


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version.installed())
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and schema."
        ),
    ] = False,
) -> None:
    pass
