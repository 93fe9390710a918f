"""The commands for backups of the database: `radar backup …`."""

import os
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from radar.cli import failures
from radar.cli.arguments import AsJson, confirm, say, say_json, settings_for
from radar.cli.required_services import require
from radar.errors import BackupFailed, ConfigurationError

if TYPE_CHECKING:
    from radar.backup.catalogue import Backup
    from radar.settings import Settings

NEWEST = "newest"
MEBIBYTE = 1 << 20

PLACE = "s3://BUCKET/PREFIX"

app = typer.Typer(
    no_args_is_help=True,
    help="Back up the database to BACKUP_DIR, list backups, and restore one.",
)


@app.command()
def create(
    *,
    full: Annotated[
        bool, typer.Option("--full", help="Copy everything, not only new rows.")
    ] = False,
    to: Annotated[
        str,
        typer.Option(
            "--to", help="Copy the backups there; default: BACKUP_COPY_TO.", metavar=PLACE
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Make a backup while radar runs, then delete expired ones.

    A backup is based on the one before it, until the last full backup is BACKUP_FULL_DAYS old.
    A backup older than BACKUP_KEEP_DAYS is deleted when no kept backup needs it. Copies in object
    storage follow the same rule.
    """
    from radar.backup import run
    from radar.status.deployment import find

    settings = settings_for("backup")
    deployment = find(settings)
    if deployment.simulated:
        raise ConfigurationError(
            "`radar up --simulate` runs: simulated data has no backups; stop it, and run `radar up`"
        )
    settings = deployment.reach(settings)
    require(settings, clickhouse=True)
    to = to or settings.backup_copy_to
    if to:
        failures.need_extra("s3")
        run.check_copies(settings, to)
    made = run.make(settings, full=full)
    copied = run.copy(settings, to) if to else None
    if as_json:
        facts = {**_facts(made.backup), "bytes": made.size_bytes, "deleted": made.deleted}
        copies = copied._asdict() if copied else None
        say_json({**facts, "copied": copies}, error=None)
        return
    based = f", based on {made.backup.base}" if made.backup.base else ""
    say(f"made {made.backup.name}: {made.size_bytes / MEBIBYTE:,.1f} MiB{based}")
    for name in made.deleted:
        say(f"deleted {name}")
    if copied:
        say(f"copied {', '.join(copied.names) or 'nothing new'} to {copied.place}")
        for name in copied.deleted:
            say(f"deleted the copy of {name}")


@app.command("list")
def list_backups(
    *,
    source: Annotated[
        str,
        typer.Option("--from", help="List the copies there instead.", metavar=PLACE),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List the complete backups, oldest first."""
    from radar.backup import run

    settings = settings_for("backup")
    shelf = run.bucket_at(settings, source) if source else run.shelf_of(settings)
    where = f"{shelf}"
    found = [(each, shelf.size_bytes(each.name)) for each in shelf.complete()]
    if as_json:
        rows = [{**_facts(each), "bytes": size} for each, size in found]
        say_json({"folder": where, "backups": rows}, error=None)
        return
    for each, size in found:
        based = f"  based on {each.base}" if each.base else ""
        say(f"{each.name}  {size / MEBIBYTE:10,.1f} MiB{based}")
    if not found:
        say(f"no complete backup in {where}: make one with radar backup create")


@app.command()
def restore(
    name: Annotated[str, typer.Argument(help="Backup to restore, or `newest`.")] = NEWEST,
    *,
    source: Annotated[
        str,
        typer.Option(
            "--from", help="Copy the backup and its bases from there before.", metavar=PLACE
        ),
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
) -> None:
    """Replace the database by a backup. Stop `radar up`, or the workers, before.

    The present rows are deleted only after the backup is restored. When the workers start, they
    store the messages since the backup again, as far as Kafka has them. No row is stored twice.
    """
    from radar.backup import catalogue, run
    from radar.status.state import running_pipeline

    settings = settings_for("backup")
    if running_pipeline(settings.radar_data_dir) is not None:
        raise ConfigurationError("`radar up` runs: stop it, because its workers use the database")
    shelf = run.bucket_at(settings, source) if source else run.shelf_of(settings)
    backups = shelf.complete()
    if name == NEWEST:
        if not backups:
            raise BackupFailed(
                f"there is no complete backup in {shelf}: radar backup create makes one"
            )
        name = backups[-1].name
    catalogue.chain(backups, name)
    if not yes:
        confirm(f"Replace the database {settings.clickhouse_db} by {name}?")
    if source:
        for each in run.bring_back(settings, source, name):
            say(f"copied {each} from {source}")
    with _server(settings) as reached:
        parts = run.restore(reached, name)
    age_s = int(datetime.now(UTC).timestamp()) - parts[0].began_at_s
    based = f" and the {len(parts) - 1} on which it is based" if len(parts) > 1 else ""
    say(
        f"restored {name}, which began {age_s:,} s ago{based}: start the workers, and"
        " `radar verify` proves that they have stored the rest"
    )


@app.command()
def follow() -> None:
    """Make a backup whenever the newest is BACKUP_EVERY_HOURS old, and show its age as a metric."""
    from radar.processes import back_up

    os.umask(0o077)
    back_up(settings_for("backup"))


def _server(settings: "Settings") -> "AbstractContextManager[Settings]":
    """Provide options that lead to ClickHouse; without a server, run the embedded one."""
    from radar import addresses

    host, port = settings.clickhouse_host, settings.clickhouse_port
    if addresses.answers(host, port) or not addresses.is_loopback(host):
        require(settings, clickhouse=True)
        return nullcontext(settings)
    failures.need_extra("local")
    from radar.local.clickhouse_alone import running

    return running(settings)


def _facts(backup: "Backup") -> dict[str, object]:
    began = datetime.fromtimestamp(backup.began_at_s, UTC)
    return {"name": backup.name, "began_at": began.isoformat(), "base": backup.base or None}
