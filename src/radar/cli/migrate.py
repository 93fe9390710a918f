"""The command that creates and updates the tables: `radar migrate`."""

from typing import Annotated

import typer

from radar.cli.arguments import settings_for
from radar.cli.required_services import require


def migrate(
    *,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Also restore the type of changed columns."),
    ] = False,
) -> None:
    """Create or update the tables in ClickHouse, and recreate missing parts."""
    from radar.store.client import Store
    from radar.store.drift import differences
    from radar.store.migrate import migrate_as_configured, repair_schema

    settings = settings_for("migrate")
    require(settings, clickhouse=True)
    store = Store(settings)
    try:
        repaired = repair_schema(store, types=repair)
        applied = migrate_as_configured(store, settings)
        left = differences(store)
    finally:
        store.close()
    for difference in repaired:
        typer.echo(f"repaired: {difference.text}")
    for migration in applied:
        typer.echo(f"applied {migration.version:04} {migration.name}")
    if losses := [each for each in repaired if each.loss]:
        for each in losses:
            typer.echo(f"lost: {each.table}: {each.loss}", err=True)
        typer.echo("store them again from Kafka: docs/operations.md, Missing schema", err=True)
    if left:
        for difference in left:
            typer.echo(f"different: {difference.text}", err=True)
        typer.echo("change it as well with: radar migrate --repair", err=True)
        raise typer.Exit(1)
    typer.echo(f"database {settings.clickhouse_db} is up to date")
