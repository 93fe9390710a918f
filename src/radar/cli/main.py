"""The command line `radar`: it parses arguments and reports each error on one clear line.

`radar NAME` is in the module NAME. Each command imports what it needs when it runs, so that help
and completion are quick.
"""

from radar import early_signals

# isort: split
import signal
import sys
from typing import Annotated

import typer

from radar import __version__
from radar.cli import (
    backfill,
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
app.add_typer(dlq.app, name="dlq")
app.add_typer(topics.app, name="topics")
app.command()(backfill.backfill)
app.command()(replay.replay)
app.command()(reparse.reparse)
app.command()(reconcile.reconcile)
app.command()(skip.skip)
app.command()(restore.restore)
app.command()(restore.acknowledge)
app.command()(up.up)
app.command()(simulate.simulate)
app.command()(produce.produce)
app.command()(consume.consume)
app.command()(dashboard.dashboard)
app.command()(migrate.migrate)
app.command()(query.query)
app.command()(shell.shell)
app.command()(export.export)
app.command()(monitor.monitor)
app.command()(status.status)
app.command()(health.health)
app.command()(lag.lag)
app.command()(verify.verify)
app.command()(coverage.coverage)
app.command()(disk.disk)
app.command()(doctor.doctor)
app.command()(reset.reset)
app.command()(config.config)
app.command()(password.password)


# These run until a signal comes, and handle it themselves.
LASTING = ("up", "simulate", "replay", "produce", "consume", "dashboard")


def main() -> None:
    """Run the command line; ends the process."""
    from radar.cli.streams import outlive
    from radar.process import follow_supervisor, raise_open_files, warn_of_few_files

    follow_supervisor(signal.SIGKILL)
    lasting = sys.argv[1:2] and (sys.argv[1] in LASTING or "--follow" in sys.argv)
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
        typer.echo(f"radar {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


@app.command()
def version() -> None:
    """Show the version."""
    typer.echo(f"radar {__version__}")
