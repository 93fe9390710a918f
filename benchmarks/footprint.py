"""Footprint: processor time, memory and wake-ups of `radar up` at the rate of real exchanges."""

import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.cpu import cpu_seconds, with_children
from benchmarks.options import Options
from benchmarks.results import Section, Table, number
from radar.addresses import free_port
from radar.status.state import running_pipeline

NAME = "footprint"
EXCHANGES = ("wallex", "nobitex", "binance")
TRADES_PER_S, DEPTH_PER_S = 50, 200  # of each exchange
TEXT = f"""
`radar up --simulate` with default options records {len(EXCHANGES)} exchanges at once:
{", ".join(EXCHANGES)}. Each sends {TRADES_PER_S} trades and {DEPTH_PER_S} depth frames a second.
The figures begin {{warm}} s after the start. Memory is proportional (PSS): pages that processes
share are divided among them. A wake-up is a voluntary context switch of any thread. The simulated
exchanges are not part of the sums.
"""
WARM_S, MEASURE_S = 40.0, 40.0
SIMULATOR = "exchange"  # how the name of a simulated exchange's process ends
SUPERVISOR = "radar up"
STOP_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class _Usage:
    """What the processes of one name have used so far, and the memory that they hold."""

    cpu_s: float = 0.0
    wakes: int = 0
    memory_mib: float = 0.0

    def __add__(self, other: "_Usage") -> "_Usage":
        return _Usage(
            self.cpu_s + other.cpu_s, self.wakes + other.wakes, self.memory_mib + other.memory_mib
        )

    def rate_since(self, before: "_Usage", wall_s: float) -> "_Usage":
        """Return processor share and wake-ups a second since, and the memory of now."""
        return _Usage(
            (self.cpu_s - before.cpu_s) / wall_s,
            round((self.wakes - before.wakes) / wall_s),
            self.memory_mib,
        )


def run(options: Options) -> Section:
    """Measure; takes a minute and a half a round."""
    described = machine.describe("embedded")
    runs: dict[str, list[_Usage]] = defaultdict(list)
    for turn in range(options.rounds):
        sys.stderr.write(f"footprint, round {turn + 1} of {options.rounds}\n")
        found = _measure(options)
        for name, used in found.items():
            runs[name].append(used)
        recorders = (used for name, used in found.items() if not name.endswith(SIMULATOR))
        runs["all without the simulated exchanges"].append(sum(recorders, _Usage()))
    rows = [
        [
            name,
            f"{statistics.median(each.cpu_s for each in used):.3f}",
            number(statistics.median(each.wakes for each in used)),
            number(statistics.median(each.memory_mib for each in used)),
        ]
        for name, used in sorted(runs.items(), key=lambda item: -item[1][0].cpu_s)
    ]
    columns = ["process", "share of a processor", "wake-ups a second", "memory, MiB"]
    return Section(
        NAME, "Footprint", TEXT.format(warm=round(WARM_S)), [Table(columns, rows)], described
    )


def _measure(options: Options) -> dict[str, _Usage]:
    data_dir = options.folder / f"footprint-{time.time_ns()}"
    environment = os.environ | {
        "RADAR_DATA_DIR": str(data_dir),
        "KAFKA_BROKER": f"127.0.0.1:{free_port()}",
        "CLICKHOUSE_PORT": str(free_port()),
        "DASHBOARD_PORT": str(free_port()),
        "EXCHANGES": ",".join(EXCHANGES),
    }
    measure_s = MEASURE_S * options.scale
    command = [sys.executable, "-m", "radar", "up", "--simulate"]
    command += ["--duration", f"{WARM_S + measure_s + WARM_S:.0f}"]
    command += ["--trades-per-second", str(TRADES_PER_S), "--depth-per-second", str(DEPTH_PER_S)]
    printed = options.folder / "footprint.txt"
    with printed.open("wb") as output:
        up = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        time.sleep(WARM_S)
        began_s, before = time.monotonic(), _usage(up.pid, data_dir)
        time.sleep(measure_s)
        wall_s, after = time.monotonic() - began_s, _usage(up.pid, data_dir)
        up.terminate()
        up.wait(STOP_TIMEOUT_S)
    finally:
        if up.poll() is None:
            up.kill()
    if up.returncode or before.keys() != after.keys():
        raise RuntimeError(f"radar up failed:\n{printed.read_text()[-2000:]}")
    return {name: used.rate_since(before[name], wall_s) for name, used in after.items()}


def _usage(up_pid: int, data_dir: Path) -> dict[str, _Usage]:
    state = running_pipeline(data_dir)
    names = {
        pid: process["name"]
        for process in (state["processes"] if state else ())
        for pid in with_children(process["pid"])
    }
    found: dict[str, _Usage] = defaultdict(_Usage)
    for pid in with_children(up_pid):
        found[names.get(pid, SUPERVISOR)] += _Usage(
            cpu_seconds(pid), _wakes(pid), _proportional_mib(pid)
        )
    return found


def _wakes(pid: int) -> int:
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # it has ended
            total += int(_field(thread / "status", "voluntary_ctxt_switches:"))
    return total


def _proportional_mib(pid: int) -> float:
    return int(_field(Path(f"/proc/{pid}/smaps_rollup"), "Pss:").removesuffix("kB")) / 1024


def _field(path: Path, name: str) -> str:
    """Return what follows a name that begins a line of a file of /proc."""
    return next(
        line.removeprefix(name).strip()
        for line in path.read_text().splitlines()
        if line.startswith(name)
    )
