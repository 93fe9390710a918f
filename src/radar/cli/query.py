"""The command for statements in ClickHouse: `radar query`."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from radar.cli.arguments import Write, settings_for
from radar.errors import ConfigurationError


def query(
    sql: Annotated[
        str,
        typer.Argument(
            help="A query, e.g. 'SELECT * FROM trades LIMIT 10'; -: read standard input.",
            metavar="SQL",
        ),
    ] = "",
    *,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="Read statements from this file; semicolons divide them."),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            "-p",
            help="Value of a placeholder such as {symbol:String}: symbol=BTCUSDT. A time may be an"
            " age: at=-1h. Repeat it for more.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    output_format: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            help="Any format of ClickHouse: CSV, JSONEachRow, …; default: a table in a terminal,"
            " TabSeparated elsewhere.",
        ),
    ] = "",
    write: Write = False,
) -> None:
    """Run a statement in ClickHouse, or on the embedded data while radar is stopped.

    Statements of a file or of standard input run in their order, up to the first error. Reads only,
    unless --write is given. docs/queries.md describes tables and views, docs/recipes.md has
    examples, and docs/data-dictionary.md lists every column.
    """
    from radar.reading.query import TABLE_FORMAT, TABLE_SETTINGS, ask, may_run
    from radar.reading.statements import binary_format, statements, values
    from radar.text import printable_chunks

    settings = settings_for("query")
    if sql and file is not None:
        raise ConfigurationError("give a query or --file, not both")
    chosen = [sql] if sql not in ("", "-") else statements(_statement_text(sql, file))
    if not chosen:
        raise ConfigurationError("the query is empty")
    placeholders = values(parameter or (), "; ".join(chosen), datetime.now(UTC))
    terminal = sys.stdout.isatty()
    for each in chosen:
        if terminal and (name := binary_format(each, output_format)):
            raise ConfigurationError(
                f"{name} is binary and no terminal can show it: write it to a file with > FILE"
            )
        if write and not may_run(each.encode()):
            raise typer.Abort
    wanted, shown = output_format or "TabSeparated", {}
    if terminal and not output_format:
        wanted, shown = TABLE_FORMAT, TABLE_SETTINGS
    for each in chosen:
        answer = ask(settings, each, wanted, placeholders, shown, write=write)
        for chunk in printable_chunks(answer) if terminal else answer:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


def _statement_text(sql: str, file: Path | None) -> bytes:
    """Return the text of a file or of standard input; blocks.

    Raises:
        ConfigurationError: Neither is named, or the file cannot be read.
    """
    from radar.reading.statements import MAX_STATEMENT_BYTES

    if file is None:
        if sql == "-":
            return sys.stdin.buffer.read(MAX_STATEMENT_BYTES + 1)
        raise ConfigurationError("give a query, - for standard input, or --file FILE")
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_STATEMENT_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"--file {file}: {error.strerror}") from error
