"""Every command where nothing of radar runs: one line, one exit code, and JSON where it is asked.

The list of commands comes from the command line itself: a new command must have a line here.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from ports import free_port
from radar.cli import main
from support import run_command

# What each command is given here; None: it runs on until it is stopped, or needs a terminal.
ARGUMENTS: dict[str, list[str] | None] = {
    "alerts run": None,
    "alerts test": [],
    "backup create": [],
    "backup follow": None,
    "backup list": [],
    "backup restore": ["--yes"],
    "backfill": ["binance", "BTCUSDT", "--from", "1d"],
    "config": [],
    "consume": None,
    "acknowledge": ["trades", "all", "--reason", "known"],
    "coverage": [],
    "dashboard": None,
    "dlq list": [],
    "dlq purge": ["--yes"],
    "dlq replay": [],
    "dlq show": ["radar_trades:0:1"],
    "disk": [],
    "doctor": None,  # several lines, each a check, in tests/contract/test_doctor.py
    "export": ["trades"],
    "health": [],
    "lag": [],
    "migrate": [],
    "monitor": [],
    "password": [],
    "produce": None,
    "query": ["SELECT 1"],
    "reconcile": [],
    "reparse": ["--from", "1h", "--yes"],
    "replay": ["binance", "2026-11-01"],
    "reset": ["--yes"],
    "shell": [],
    "simulate": None,
    "skip": ["trades", "0", "--reason", "as a test wants it"],
    "status": [],
    "topics": [],
    "topics read": ["depth"],
    "up": None,
    "verify": [],
    "restore": ["trades", "all", "--yes"],
    "version": [],
}
FINE = {"backup list", "config", "reset", "version"}
WRONG_USAGE = {"alerts test", "monitor", "password"}
DEADLINE_S = 3.0


def commands() -> Iterator[tuple[str, Any]]:
    """Yield the name of each command and the command."""
    found: list[tuple[str, Any]] = list(typer.main.get_command(main.app).commands.items())  # type: ignore[attr-defined]
    for name, command in found:
        if hasattr(command, "commands"):
            found += [(f"{name} {each}", below) for each, below in command.commands.items()]
        if not hasattr(command, "commands") or command.invoke_without_command:
            yield name, command


COMMANDS = dict(commands())
HAVE_JSON = [
    name
    for name, command in COMMANDS.items()
    if any("--json" in each.opts for each in command.params)
]
ENDING = [name for name in COMMANDS if ARGUMENTS.get(name) is not None]


def run(*arguments: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run a command with nothing piped in; return what it did and how long that took."""
    began_s = time.monotonic()
    done = run_command(*arguments)
    return done, time.monotonic() - began_s


@pytest.fixture
def nothing_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the options lead to addresses at which nothing listens."""
    monkeypatch.setenv("KAFKA_BROKER", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("CLICKHOUSE_PORT", str(free_port()))
    monkeypatch.setenv("RADAR_DATA_DIR", str(tmp_path / "data"))


def test_every_command_of_the_command_line_is_tried() -> None:
    assert COMMANDS.keys() == ARGUMENTS.keys()


@pytest.mark.parametrize("name", ENDING)
@pytest.mark.usefixtures("nothing_listens")
def test_command_without_services_ends_at_once_with_one_line(name: str) -> None:
    # Python starts slowly on a busy machine: what a command waits for is what comes on top.
    _, start_s = run("version")
    done, took_s = run(*name.split(), *(ARGUMENTS[name] or []))
    assert took_s < DEADLINE_S + 5 * start_s
    assert "Traceback" not in done.stderr
    if name in FINE:
        assert (done.returncode, done.stderr) == (0, "")
        return
    assert done.returncode == (2 if name in WRONG_USAGE else 1), done.stderr
    if name == "status":  # it tells what it knows
        assert done.stderr == ""
        assert "not known" in done.stdout
        assert "0 messages" not in done.stdout
        return
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("radar: ")


@pytest.mark.parametrize("name", HAVE_JSON)
@pytest.mark.usefixtures("nothing_listens")
def test_command_that_fails_with_json_prints_one_json_value_with_the_error(name: str) -> None:
    done, _ = run(*name.split(), *(ARGUMENTS[name] or []), "--json")
    found = json.loads(done.stdout)
    assert found["version"] == 1
    assert (found["error"] is None) == (done.returncode == 0)
    assert done.returncode == (0 if name in FINE else 2 if name in WRONG_USAGE else 1)
    wrong, _ = run(*name.split(), "--json", "--no-such-option")
    assert wrong.returncode == 2
    assert "--no-such-option" in json.loads(wrong.stdout)["error"]
    assert wrong.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dlq", "show", "17"], "TOPIC:PARTITION:OFFSET"),
        (["dlq", "replay", "radar_trades:0"], "TOPIC:PARTITION:OFFSET"),
        (["dlq", "purge"], "--yes"),
        (["health", "9100"], "HOST:PORT"),
        (["nonsense"], "'nonsense'"),
        (["reset"], "--yes"),
        (["simulate", "--port", "http"], "it must be a whole number"),
        (["simulate", "--port", "70000"], "it must be at most 65535"),
        (["up", "--markets", "-1"], "it must be at least 1"),
        (["export", "nonsense"], "'nonsense' is not one of 'trades', 'depth'"),
        (["export", "trades", "--first", "today"], "'today' is no time"),
        (["export", "trades", "--from", "-1d", "--to", "-2d"], "is not after --from"),
        (["export", "trades", "--to", "1d", "--last", "2026-01-01"], "--to or --last"),
        (["export", "trades", "--market", "A,,B"], "'A,,B' names no market"),
        (["coverage", "--from", "2026-01-02", "--to", "2026-01-01"], "is not after --from"),
        (["coverage", "A,"], "'A,' names no market"),
        (["backup", "restore", "yesterday", "--yes"], "there is no complete backup yesterday"),
        (["dlq", "list", "--from", "noon"], "'noon' is no time"),
        (["replay", "binance"], "name a DAY"),
        (["replay", "binance", "--market", "okx:BTC-USDT", "1d"], "is no market of binance"),
        (["backfill", "binance", "okx:BTC-USDT", "--from", "1d"], "is no market of binance"),
        (["backfill", "binance", "BTCUSDT", "--from", "2d", "--to", "3d"], "is not after --from"),
        (["reconcile", "--from", "1h", "--to", "2999-01-01"], "is in the future"),
        (["reparse", "--from", "2999-01-01"], "is in the future"),
        (["skip", "trades", "0", "--reason", " "], "--reason"),
        (["verify", "--ledger", "missing"], "radar simulate --ledger"),
    ],
)
@pytest.mark.usefixtures("nothing_listens")
def test_wrong_usage_is_found_before_any_service_is_asked(arguments: list[str], words: str) -> None:

    done, _ = run(*arguments)
    expected = 1 if arguments == ["dlq", "purge"] else 2
    assert (done.returncode, done.stdout) == (expected, "")
    assert done.stderr.count("\n") == 1
    if expected == 2:
        assert words in done.stderr
    assert not any(foreign in done.stderr for foreign in ("Input should", "Value error"))
