"""Endurance: whether memory, parts and what waits stay as they are while a pipeline runs on."""

import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks import latency, machine, stack
from benchmarks.cpu import memory_bytes
from benchmarks.options import Options
from benchmarks.results import Section, Table
from radar.addresses import free_port
from radar.datasets import RECORDED
from radar.errors import RadarError
from radar.kafka import Cluster
from radar.settings import Settings, load
from radar.status.state import running_pipeline
from radar.store.client import Store

NAME = "endurance"
TEXT = """
`radar up --simulate` runs with the low-latency settings, and everything on this machine. Every
ten seconds the run reads the resident memory of each process, the active parts of each table, and
the waiting messages. The tables show the median of each quarter of the time, after a minute to
warm up.
"""
TRADES_PER_S, DEPTH_PER_S = 1000, 200
SECONDS = 60.0
WARM_UP_S = 60.0
EVERY_S = 10.0
QUARTERS = 4
STOP_TIMEOUT_S = 300.0  # and what it takes to compare all that was recorded with the ledger

Series = dict[str, list[float]]


def run(options: Options) -> Section:
    """Measure; takes two minutes and more, an hour with `--scale 60`."""
    described = machine.describe("embedded")
    seconds = SECONDS * options.scale
    settings = load(
        radar_data_dir=options.folder,
        kafka_broker=f"{stack.HOST}:{free_port()}",
        clickhouse_port=free_port(),
    )
    sys.stderr.write(f"endurance: {seconds:.0f} s\n")
    memory: Series = defaultdict(list)
    rest: Series = defaultdict(list)
    printed = options.folder / "up.txt"
    up = _start(settings, WARM_UP_S + seconds + EVERY_S, printed)
    try:
        time.sleep(WARM_UP_S)
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s and up.poll() is None:
            _sample(settings, memory, rest)
            time.sleep(EVERY_S)
        up.wait(STOP_TIMEOUT_S + seconds)
    finally:
        if up.poll() is None:
            up.kill()
    summary = printed.read_text()
    if up.returncode:
        # Whatever it was, an hour's figures are not thrown away.
        figures = {name: _quarters(values) for name, values in (memory | rest).items()}
        raise RuntimeError(f"radar up failed:\n{summary[-2000:]}\nby quarters: {figures}")
    caption = (
        f"{TRADES_PER_S:,} trades and {DEPTH_PER_S:,} depth frames a second for {seconds:,.0f} s;"
        f" at the end: {_end(summary)}"
    )
    tables = [_table("memory, MiB", memory, caption), _table("parts, waiting messages", rest, "")]
    return Section(NAME, "Endurance", TEXT, tables, described)


def _end(summary: str) -> str:
    lines = summary.strip().splitlines()
    trades = [line for line in lines if line.startswith("trades: sent")]
    return "; ".join([*trades, lines[-1]])


def _start(settings: Settings, seconds: float, printed: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "RADAR_DATA_DIR": str(settings.radar_data_dir),
        "KAFKA_BROKER": settings.kafka_broker,
        "CLICKHOUSE_PORT": str(settings.clickhouse_port),
        **latency.SETTINGS["low latency"],
    }
    command = [sys.executable, "-m", "radar", "up", "--simulate", "--duration", f"{seconds:.0f}"]
    command += ["--trades-per-second", str(TRADES_PER_S), "--depth-per-second", str(DEPTH_PER_S)]
    with printed.open("wb") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output)


def _sample(settings: Settings, memory: Series, rest: Series) -> None:
    state = running_pipeline(settings.radar_data_dir)
    for process in state["processes"] if state else ():
        with suppress(OSError):  # it is being started again
            used_bytes = sum(map(memory_bytes, _with_children(process["pid"])))
            memory[process["name"]].append(used_bytes / 1024**2)
    store, cluster = Store(settings), Cluster(settings)
    try:
        for dataset in RECORDED.values():
            ((parts,),) = store.rows(
                "SELECT count() FROM system.parts WHERE active AND database = currentDatabase()"
                f" AND table = '{dataset.table}'"
            )
            rest[f"parts of {dataset.table}"].append(float(parts))
            waiting = sum(lag.messages for lag in cluster.lag(dataset.topic, dataset.group))
            rest[f"waiting {dataset.name}"].append(float(waiting))
    except RadarError as error:
        sys.stderr.write(f"endurance, a sample is missing: {error}\n")
    finally:
        store.close()


def _with_children(pid: int) -> list[int]:
    # The embedded broker is a child of what passes connections on to it.
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def _table(title: str, series: Series, caption: str) -> Table:
    columns = [title, *(f"quarter {n + 1}" for n in range(QUARTERS)), "most"]
    rows = [
        [name, *(f"{value:,.0f}" for value in _quarters(values)), f"{max(values):,.0f}"]
        for name, values in series.items()
    ]
    return Table(columns, rows, caption)


def _quarters(values: Sequence[float]) -> list[float]:
    size = max(1, len(values) // QUARTERS)
    return [
        statistics.median(values[min(n * size, len(values) - 1) :][:size]) for n in range(QUARTERS)
    ]
