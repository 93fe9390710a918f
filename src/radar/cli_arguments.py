"""What the commands of the command line share."""

import json
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from radar.errors import ConfigurationError
from radar.text import printable

if TYPE_CHECKING:
    from radar.kinds import Kind
    from radar.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]

MAX_LINE_CHARACTERS = 10_000
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class RecordedName(StrEnum):
    """What is recorded."""

    TRADES = "trades"
    DEPTH = "depth"


class KindName(StrEnum):
    """What is stored."""

    TRADES = "trades"
    DEPTH = "depth"
    GAPS = "gaps"
    WATCHES = "watches"


def say(*lines: str) -> None:
    """Print lines that may hold what others wrote: each stays one line and does nothing else."""
    for line in lines:
        typer.echo(printable(line, MAX_LINE_CHARACTERS))


def say_json(found: object, indent: int | None = 2) -> None:
    """Print facts for machines; what is not ASCII is escaped, for the terminals they pass."""
    typer.echo(json.dumps(found, indent=indent).replace("\x7f", "\\u007f"))


def settings_for(role: str, **overrides: object) -> "Settings":
    """Return the options, with the log of a command set up.

    Args:
        role: The command's name in the log.
        overrides: Options of the command line, which win.

    Raises:
        ConfigurationError: An option is wrong.
    """
    from radar.observe import logs
    from radar.settings import load

    settings = load(**overrides)
    logs.configure(settings, role)
    return settings


def kind_named(name: RecordedName | KindName) -> "Kind":
    """Return a kind by its name on the command line."""
    from radar.kinds import KINDS

    return KINDS[name.value]


def kinds_named(name: KindName | None) -> "list[Kind]":
    """Return one kind, or all if none is named."""
    from radar.kinds import KINDS

    return [kind_named(name)] if name else list(KINDS.values())


def parse_since(text: str, now: datetime) -> datetime:
    """Read a time: how long ago (90s, 15m, 2h, 7d), or a date or time of ISO 8601, UTC.

    Raises:
        ConfigurationError: It is neither.
    """
    if ago := re.fullmatch(r"(\d{1,6})([smhd])", text):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{text!r} is no time (allowed: 90s, 15m, 2h, 7d, 2026-07-01, 2026-07-01T12:00)"
        ) from error
    return found.replace(tzinfo=found.tzinfo or UTC)
