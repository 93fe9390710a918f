"""Arguments and output that the commands share."""

import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from radar.datasets import DATASETS, RECORDED, Dataset, exported
from radar.errors import ConfigurationError
from radar.periods import EXAMPLES
from radar.text import printable

if TYPE_CHECKING:
    from radar.settings import Settings

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON value; docs/operations.md lists the fields.")
]
From = Annotated[
    str,
    typer.Option("--from", "--since", help=f"Begin (UTC): {EXAMPLES}.", metavar="TIME"),
]
To = Annotated[str, typer.Option("--to", help="End (UTC), not included.", metavar="TIME")]
Write = Annotated[
    bool,
    typer.Option("--write", help="Allow a statement that changes data. A deletion asks first."),
]
# Of the simulated exchange; more than any real one has.
MAX_SIMULATED_MARKETS = 10_000
MAX_SIMULATED_RATE = 1_000_000
STATE_STYLES = {"ok": "green", "warning": "yellow", "unknown": "yellow", "problem": "red"}
# Version of the JSON output. It changes when a field is renamed, removed or redefined.
JSON_VERSION = 1

MAX_LINE_CHARACTERS = 10_000
PROCESS_ROLES = ("produce-", "consume-")  # these run on, and an operator reads their logs later


if TYPE_CHECKING:
    RecordedName: TypeAlias = str
    ExportedName: TypeAlias = str
    DatasetName: TypeAlias = str
else:

    def _choice(name: str, chosen: Iterable[Dataset], *more: str) -> type[StrEnum]:
        names = [*(dataset.name for dataset in chosen), *more]
        return StrEnum(name, {each.upper(): each for each in names})

    RecordedName = _choice("RecordedName", RECORDED.values())
    # Candles are computed from trades.
    ExportedName = _choice("ExportedName", exported(), "candles")
    DatasetName = _choice("DatasetName", DATASETS.values())


def say(*lines: str) -> None:
    """Print lines that may hold foreign text; each stays one line without control characters."""
    for line in lines:
        typer.echo(printable(line, MAX_LINE_CHARACTERS))


def say_json(
    found: Mapping[str, object], *, error: str | None = None, indent: int | None = 2
) -> None:
    """Print one JSON value for machines; characters outside ASCII are escaped, for terminals.

    Args:
        found: The fields.
        error: The reason for an exit code other than 0; otherwise None.
        indent: None: on one line.
    """
    value = {"version": JSON_VERSION, "error": error, **found}
    typer.echo(json.dumps(value, indent=indent).replace("\x7f", "\\u007f"))


def say_marked(mark: str, style: str, rest: str) -> None:
    """Print a line whose beginning is coloured if the terminal shows colours (see NO_COLOR)."""
    from rich.console import Console

    console = Console()
    if console.is_terminal and not console.no_color:
        mark = typer.style(mark, fg=style, bold=True)
    typer.echo(f"{mark}{printable(rest, MAX_LINE_CHARACTERS)}")


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar on standard error if that is a terminal.

    It provides a function that takes the name of the present task, the finished number, and the
    total.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    console = Console(stderr=True)
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(
            task, description=what, completed=done, total=total
        )


def market_names(incomplete: str) -> list[str]:
    """Return names of recorded markets for shell completion; none if ClickHouse does not answer."""
    from radar.errors import RadarError
    from radar.reading.query import ask
    from radar.settings import load
    from radar.store.queries.reading import MARKET_NAMES

    try:
        answer = b"".join(ask(load(), MARKET_NAMES, "JSONCompactStringsEachRow"))
    except RadarError:
        return []
    names = [json.loads(line)[0] for line in answer.splitlines()]
    before, comma, begun = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in names if name.lower().startswith(begun.lower())]


def confirm(question: str) -> None:
    """Ask the operator before a deletion; blocks.

    Raises:
        ConfigurationError: There is neither a terminal nor an answer in the piped input.
        typer.Abort: The answer is no.
    """
    if sys.stdin.isatty():
        typer.confirm(question, abort=True)
        return
    # `yes | radar reset` is an answer too.
    written = sys.stdin.readline().strip().lower()
    if not written:
        raise ConfigurationError("without a terminal there is no answer: add --yes to delete")
    if written not in ("y", "yes"):
        raise typer.Abort


def load_options(**overrides: object) -> "Settings":
    """Return the options, and warn of misspelt ones.

    Raises:
        ConfigurationError: An option is wrong.
    """
    from radar.settings import load
    from radar.settings_reference import warnings

    for line in warnings():
        typer.echo(f"radar: warning: {printable(line, MAX_LINE_CHARACTERS)}", err=True)
    return load(**overrides)


def settings_for(role: str, **overrides: object) -> "Settings":
    """Return the options, with the log of a command set up.

    Args:
        role: The command's name in the log.
        overrides: Options of the command line, which win.

    Raises:
        ConfigurationError: An option is wrong.
    """
    from radar.telemetry import logs

    settings = load_options(**overrides)
    logs.configure(settings, role)
    if not role.startswith(PROCESS_ROLES):
        # Kafka's client logs a missing broker several times a second; a command reports it once.
        logging.getLogger("confluent").setLevel(logging.CRITICAL)
    return settings


def dataset_named(name: DatasetName) -> Dataset:
    """Return a dataset by its name on the command line."""
    return DATASETS[name]


def datasets_named(name: DatasetName | None) -> list[Dataset]:
    """Return one dataset, or all if none is named."""
    return [dataset_named(name)] if name else list(DATASETS.values())
