"""Start-up: the time to import the command line, and to the first stored row."""

import os
import secrets
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx

from benchmarks import machine, stack
from benchmarks.options import Options
from benchmarks.results import Section, Table
from radar.addresses import free_port

NAME = "startup"
TEXT = """
Imports are those of fresh processes, with and without Python's own start. The first row is the
first one that `SELECT count() FROM trades` sees after `radar up --simulate` started with an empty
data folder.
"""
IMPORTS = {
    "Python itself": "pass",
    "radar's command line": "import radar.cli.main",
    "radar consume": "import radar.cli.main, radar.processes, radar.consumer.worker",
}
FIRST_ROW_TIMEOUT_S = 60.0
IMPORT_RUNS = 3  # for every round


def run(options: Options) -> Section:
    """Measure; takes about ten seconds a round."""
    described = machine.describe("embedded")
    imports: dict[str, list[float]] = {name: [] for name in IMPORTS}
    cpu: dict[str, list[float]] = {name: [] for name in IMPORTS}
    first_rows = []
    for turn in range(options.rounds):
        for _ in range(1 if options.quick else IMPORT_RUNS):
            for name, code in IMPORTS.items():
                wall_s, cpu_s = _time_import(code)
                imports[name].append(wall_s)
                cpu[name].append(cpu_s)
        first_rows.append(_time_first_row(options.folder / f"up-{turn}"))
    rows = [
        [name, _milliseconds(imports[name]), _milliseconds(cpu[name]), str(len(imports[name]))]
        for name in IMPORTS
    ]
    rows.append(
        [
            "`radar up --simulate` to the first row",
            _milliseconds(first_rows),
            "–",
            str(len(first_rows)),
        ]
    )
    return Section(
        name=NAME,
        title="Start-up",
        text=TEXT,
        tables=[Table(["", "median ms (least)", "CPU ms (least)", "runs"], rows)],
        machine=described,
    )


def _milliseconds(values_s: list[float]) -> str:
    return f"{statistics.median(values_s) * 1000:,.0f} ({min(values_s) * 1000:,.0f})"


def _time_import(code: str) -> tuple[float, float]:
    before, began_s = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    wall_s, after = time.perf_counter() - began_s, os.times()
    used = after.children_user + after.children_system
    return wall_s, used - before.children_user - before.children_system


def _time_first_row(folder: Path) -> float:
    """Run the pipeline in an empty folder until the first row; return the seconds."""
    folder.mkdir()
    port, password = free_port(), secrets.token_hex()
    environment = {
        "CLICKHOUSE_PASSWORD": password,
        "RADAR_DATA_DIR": str(folder / "data"),
        "CLICKHOUSE_PORT": str(port),
        "KAFKA_BROKER": f"{stack.HOST}:{free_port()}",
        "LOG_FORMAT": "json",
    }
    began_s = time.perf_counter()
    process = stack.Process(
        "up", [sys.executable, "-m", "radar", "up", "--simulate"], folder, environment
    )
    url = f"http://{stack.HOST}:{port}/?database=radar"
    try:
        with httpx.Client(trust_env=False, timeout=5, auth=("default", password)) as client:
            while True:
                if _count(client, url):
                    return time.perf_counter() - began_s
                if not process.lives or time.perf_counter() - began_s > FIRST_ROW_TIMEOUT_S:
                    raise RuntimeError(f"no row came: {process.last_lines()}")
                time.sleep(0.02)
    finally:
        process.end()


def _count(client: httpx.Client, url: str) -> int:
    """Return the number of rows; 0 before the database can be asked.

    Raises:
        RuntimeError: The database refuses the question, which will not pass.
    """
    try:
        answer = client.post(url, content="SELECT count() FROM trades")
    except httpx.HTTPError:
        return 0
    if answer.is_success:
        return int(answer.text)
    if not any(missing in answer.text for missing in ("UNKNOWN_DATABASE", "UNKNOWN_TABLE")):
        raise RuntimeError(f"ClickHouse does not count the trades: {answer.text.strip()}")
    return 0
