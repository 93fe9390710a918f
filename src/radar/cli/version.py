"""The command that reports versions: `radar version`."""

from typing import Annotated

import typer

from radar import __version__
from radar.cli.arguments import AsJson, say, say_json, settings_for


def installed() -> str:
    """Return the version of the package, and that of the schema which it creates."""
    from radar.store.schema import newest_version

    return f"radar {__version__} (schema {newest_version():04})"


def version(
    *,
    database: Annotated[
        bool,
        typer.Option("--database", help="Also ask ClickHouse for the version of its schema."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the version of radar and of its schema.

    The schema's version is the number of the newest migration. With --database the exit code is 1
    if the database has another one.
    """
    from radar.store.schema import newest_version

    known = newest_version()
    found: dict[str, object] = {"radar": __version__, "schema": known}
    if not database:
        if as_json:
            say_json(found)
        else:
            say(installed())
        return
    stored, name = _stored()
    problem = _problem(known, stored, name)
    if as_json:
        say_json(found | {"database": name, "database_schema": stored}, error=problem)
    else:
        say(installed(), f"database {name}: {'no schema' if stored is None else f'{stored:04}'}")
        if problem:
            typer.echo(problem, err=True)
    if problem:
        raise typer.Exit(1)


def _stored() -> tuple[int | None, str]:
    from radar.cli.required_services import require
    from radar.store.client import Store
    from radar.store.migrate import recorded_version

    settings = settings_for("version")
    require(settings, clickhouse=True)
    store = Store(settings)
    try:
        return recorded_version(store), settings.clickhouse_db
    finally:
        store.close()


def _problem(known: int, stored: int | None, name: str) -> str | None:
    if stored is None:
        return f"database {name} has no tables of radar: run radar migrate"
    if stored < known:
        return f"database {name} lacks migrations: run radar migrate"
    if stored > known:
        return f"database {name} is of a newer radar: install it, or restore a backup"
    return None
