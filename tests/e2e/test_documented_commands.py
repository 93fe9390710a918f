"""The command lines of the documentation: each one runs here, or names the test that runs it.

Lines of shell blocks are copied from the pages word for word. A new line that neither runs here nor
is known to run elsewhere fails.
"""

import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ports import free_port
from support import Process, eventually, radar

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
_BLOCK = re.compile(r"^ *```(?:sh|bash|console)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
# Lines by their beginnings, and what runs them. The gate is .ci/run.
ELSEWHERE = {
    r"make (setup|lint|test)\b": ".ci/run",
    r"(\S+=\S+ )*make [a-z-]+|export WITH=|docker compose |password=|curl -H 'X-ClickHouse":
        "tests/deploy/stack.py",
    r"(\S+=\S+ )*\.venv/bin/radar up\b": "tests/e2e/test_up.py",
    r"\.venv/bin/radar monitor\b": "tests/contract/test_monitor.py",
    r"\.venv/bin/radar dashboard\b|export DASHBOARD_HOST|knows=|curl -H \"\$knows\"":
        "tests/contract/test_dashboard.py",
    r"curl -u \"default": "tests/deploy/stack.py",
    r"\.venv/bin/radar shell\b": "tests/contract/test_query.py",
    r"\.venv/bin/radar query --file": "tests/contract/test_recipes.py",
    r"\.venv/bin/radar backfill\b": "tests/contract/test_history_backfill.py",
    r"\.venv/bin/radar reparse\b": "tests/contract/test_reparse.py",
    r"\.venv/bin/radar replay\b|curl 'http://127.0.0.1:8766|RADAR_DATA_DIR=.radar-replay":
        "tests/contract/test_replay_command.py",
    r"radar backup create": "tests/contract/test_backup.py",
    r"\.venv/bin/pytest ": ".ci/run",
}  # fmt: skip
# They need another machine, another account or an old version, so no test runs them.
BY_HAND = (
    r"pip install pre-commit|pre-commit install",
    r"KAFKA_BROKER=broker-1\.example|CLICKHOUSE_HOST=clickhouse\.example",
    r"python3 -m venv /opt/radar|useradd --system",
    r"git checkout ",
)
COMMAND = r"\.venv/bin/radar (?:status|lag|verify|doctor|coverage|reconcile|query|export|topics"
HERE = re.compile(rf"{COMMAND}|migrate|version)\b")


def lines() -> list[str]:
    """Return each command line of the pages once, in their order."""
    found = [
        line.strip()
        for page in PAGES
        for block in _BLOCK.findall(page.read_text())
        for line in re.sub(r"\\\n *", "", block).splitlines()
    ]
    return list(dict.fromkeys(line for line in found if line and not line.startswith("#")))


def runs_elsewhere(line: str) -> bool:
    return any(re.match(pattern, line) for pattern in (*ELSEWHERE, *BY_HAND))


RUN = [line for line in lines() if HERE.match(line) and not runs_elsewhere(line)]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Provide the environment of a running simulated pipeline that has stored trades and books."""
    directory = tmp_path_factory.mktemp("documented")
    environment = {
        "RADAR_DATA_DIR": str(directory / "data"),
        "EXCHANGES": "wallex,binance,kraken",
        "KAFKA_BROKER": f"127.0.0.1:{free_port()}",
        "CLICKHOUSE_PORT": str(free_port()),
        "DASHBOARD_PORT": str(free_port()),
    }
    process = Process(radar("up", "--simulate"), directory / "log", **environment)
    try:
        eventually(lambda: stores(process, environment), "trades and books are stored", 150, 1)
        yield environment
    finally:
        process.end()


def stores(process: Process, environment: dict[str, str]) -> bool:
    assert process.lives, process.log.read_text()[-3000:]
    sql = "SELECT (SELECT uniq(source) FROM trades) + (SELECT uniq(source) FROM order_book)"
    done = run(shlex.split(f'query "{sql}" --format TSV'), environment)
    return done.stdout.strip() == "6"


def run(words: list[str], environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        radar(*words),
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_every_line_runs_in_a_test() -> None:
    left = [line for line in lines() if line not in RUN and not runs_elsewhere(line)]
    assert left == [], "run these lines in a test, and name it here"
    assert all((ROOT / path).exists() for path in ELSEWHERE.values())
    assert len(RUN) > 20


@pytest.mark.slow("README.md", "QUICKSTART.md", "docs", "src/radar/cli")
@pytest.mark.embedded_kafka("about the documentation")
@pytest.mark.timeout(900)
def test_documented_commands_succeed_against_a_running_pipeline(
    pipeline: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    failed = {}
    for line in RUN:
        words = shlex.split(line, comments=True)[1:]
        began_s = time.monotonic()
        done = run(words, pipeline)
        # 3: the simulated minute holds no evidence of the period that the example names.
        fine = {0, 3} if words[0] in {"reconcile", "coverage"} else {0}
        if done.returncode not in fine or "Traceback" in done.stderr:
            failed[line] = (done.returncode, done.stdout[-300:] + done.stderr[-500:])
        assert time.monotonic() - began_s < 100, line
    assert failed == {}
