"""Documents about the options, and where each value comes from; for `radar config`."""

import difflib
import os
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path

from dotenv.parser import parse_stream
from pydantic import SecretStr

from radar import exchanges as drivers
from radar.settings import (
    ENV_FILE,
    Settings,
    allowed,
    clickhouse_password_file,
    default_text,
    fields,
    file_variable,
    is_secret,
    variables,
)
from radar.text import without_password

# The first option of each section.
_SECTIONS = {
    "exchanges": "Exchanges and producers",
    "kafka_broker": "Kafka",
    "clickhouse_host": "ClickHouse",
    "batch_size": "Workers",
    "alert_urls": "Alerts",
    "dashboard_host": "Dashboard",
    "trades_workers": "Running",
    f"{drivers.names()[0]}_ws_url": "Each exchange",
}

_REFERENCE_HEAD = """# Configuration

Every option of radar. Values come from the environment, then from a file `.env` in the working
directory, then from the defaults here. A wrong value ends a command with exit code 2 and one line
that names the allowed values; `radar config` shows the values in effect, secrets masked.

`radar config --reference` generates this page.
"""

# Variables of a shared `.env` that are none of radar's options: the compose files read them.
COMPOSE_VARIABLES = frozenset(
    {
        *("BACKUP_FOLDER", "CLICKHOUSE_CPUS", "CLICKHOUSE_MEMORY", "CLICKHOUSE_MIGRATOR_PASSWORD"),
        *("CLICKHOUSE_MIGRATOR_USER", "CLICKHOUSE_READER_USER", "CLICKHOUSE_WRITER_USER"),
        *("CLICKHOUSE_OPEN_FILES", "CLICKHOUSE_READER_PASSWORD", "CLICKHOUSE_WRITER_PASSWORD"),
        *("COLD_URL", "GRAFANA_ADMIN_PASSWORD", "KAFKA_CPUS", "KAFKA_HEAP_OPTS", "KAFKA_MEMORY"),
        *("PROMETHEUS_RETENTION", "RADAR_IMAGE", "RADAR_VERSION"),
    }
)
_COMPOSE_OWN = ("COMPOSE_", "DOCKER_")
SIMILARITY = 0.85
MAX_LENGTH_DIFFERENCE = 2


def env_example() -> str:
    """Return the content of `env.example`: every option, commented out, at its default."""
    lines = [
        "# Every option of radar at its default. Copy to .env and uncomment your changes.",
    ]
    for name, field in fields().items():
        lines += [
            "",
            f"# {field.description} ({allowed(name)})",
            f"# {name.upper()}={default_text(name)}",
        ]
        if is_secret(name):
            lines += [
                f"# Or the file that holds {name.upper()}. (empty, or a file)",
                f"# {file_variable(name)}=",
            ]
    return "\n".join(lines) + "\n"


def reference() -> str:
    """Return the content of `docs/configuration.md`: every option in tables, by section."""
    lines = [_REFERENCE_HEAD.rstrip()]
    for name, field in fields().items():
        if name in _SECTIONS:
            lines += ["", f"## {_SECTIONS[name]}", ""]
            lines += ["| option | default | allowed | description |", "|---|---|---|---|"]
        default = f"`{default_text(name)}`" if default_text(name) else "empty"
        variable = f"`{name.upper()}`"
        if is_secret(name):
            variable += f", `{file_variable(name)}`"
        description = field.description or ""
        cells = (variable, default, allowed(name), description)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def warnings() -> list[str]:
    """Warn of settings in `.env` and the environment that have no effect, probably by mistake.

    These are lines that cannot be read, names in `.env` that are no option, and names in the
    environment that look like a misspelt option.
    """
    found = []
    known = variables()
    for line, name in _lines(ENV_FILE):
        if name is None:
            found.append(f"{ENV_FILE} line {line} cannot be read: write NAME=value")
        elif not _is_known(name, known):
            found.append(
                f"{ENV_FILE} line {line}: {name} is no option of radar{_meant(name, known)}"
            )
    found += [
        f"environment: {name} is no option of radar{meant}"
        for name in os.environ
        if not _is_known(name, known) and (meant := _meant(name, known))
    ]
    return found


def _lines(path: str) -> Iterator[tuple[int, str | None]]:
    """Yield the number of each line of a file that is set, and the name; None if unreadable."""
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return
    for binding in parse_stream(StringIO(text)):
        if binding.error:
            skipped = len(binding.original.string) - len(binding.original.string.lstrip("\r\n"))
            yield binding.original.line + binding.original.string[:skipped].count("\n"), None
        elif binding.key is not None:
            before = binding.original.string.partition(binding.key)[0]
            yield binding.original.line + before.count("\n"), binding.key


def _is_known(name: str, known: Sequence[str]) -> bool:
    upper = name.upper()  # options are read in any case
    return upper in known or upper in COMPOSE_VARIABLES or upper.startswith(_COMPOSE_OWN)


def _meant(name: str, known: Sequence[str]) -> str:
    upper = name.upper()
    near = [each for each in known if abs(len(each) - len(upper)) <= MAX_LENGTH_DIFFERENCE]
    similar = difflib.get_close_matches(upper, near, n=1, cutoff=SIMILARITY)
    return f": set {similar[0]} instead" if similar else ""


def sources(settings: Settings) -> dict[str, str]:
    """Return where each option's value comes from, by variable name."""
    in_file = {name.upper() for _, name in _lines(ENV_FILE) if name}
    in_environment = {name.upper() for name in os.environ}
    found = {}
    for name in Settings.model_fields:
        variable, from_file = name.upper(), file_variable(name)
        if variable in in_environment:
            found[variable] = "environment"
        elif variable in in_file:
            found[variable] = ENV_FILE
        elif is_secret(name) and from_file in in_environment | in_file:
            found[variable] = from_file
        elif name == "clickhouse_password" and settings.clickhouse_password.get_secret_value():
            # The only option that is filled in when it is empty.
            found[variable] = str(clickhouse_password_file(settings))
        else:
            found[variable] = "default"
    return found


def effective(settings: Settings) -> dict[str, str]:
    """Return every option's value as text, secrets masked, by variable name."""
    shown: dict[str, str] = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            shown[name.upper()] = "********" if value.get_secret_value() else ""
        elif isinstance(value, bool):
            shown[name.upper()] = str(value).lower()
        elif isinstance(value, tuple):
            shown[name.upper()] = ",".join(value)
        else:
            shown[name.upper()] = without_password(str(value))
    return shown
