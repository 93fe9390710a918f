"""Run seeds one after the other, or side by side: `python -m chaos --help`, from `tests`.

A seed draws what a run is made of and what goes wrong when. It does not decide how the processes
interleave: a seed that failed once is run again until it fails again.
"""

import argparse
import asyncio
import dataclasses
import datetime
import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvloop

from chaos.rig import Rig
from chaos.schedule import Setup, draw_faults, draw_setup, of_an_exchange
from chaos.silent import draw_silent_faults, draw_silent_setup
from chaos.silent_rig import SilentRig
from chaos.silent_verdict import SilentVerdict, judge_silent
from chaos.verdict import Verdict, judge

HOME = Path(__file__).parents[2] / ".kafka"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A run that has ended."""

    setup: Setup
    verdict: Verdict | SilentVerdict
    faults: Counter[str]
    deaths: dict[str, dict[int, int]]  # of processes that nobody told to end, by exit code
    problems: list[str]
    phases_s: dict[str, float]

    @property
    def passed(self) -> bool:
        """Tell whether everything is as promised."""
        return self.verdict.exact and not self.problems

    @property
    def took_s(self) -> float:
        """Return how long all of it took."""
        return round(sum(self.phases_s.values()), 1)


class _Phases:
    """What a run spends its time with."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since_s = time.monotonic()

    def end(self, name: str) -> None:
        now_s = time.monotonic()
        self.seconds[name], self._since_s = round(now_s - self._since_s, 1), now_s


async def run(setup: Setup, directory: Path, kafka_home: Path | None) -> Outcome:
    """Run one seed in a directory of its own."""
    phases = _Phases()
    async with Rig(setup, directory, kafka_home) as rig:
        phases.end("start")
        await rig.run(draw_faults(setup, small_disk=rig.small_disk))
        phases.end("faults")
        problems = await rig.settle()
        phases.end("settle")
        verdict = await asyncio.to_thread(judge, rig)
        phases.end("verdict")
        return Outcome(
            setup,
            verdict,
            rig.done,
            {name: dict(part.deaths) for name, part in rig.parts.items() if part.deaths},
            problems,
            phases.seconds,
        )


async def run_silent(setup: Setup, directory: Path, kafka_home: Path | None) -> Outcome:
    """Run one seed of silent faults in a directory of its own."""
    phases = _Phases()
    async with SilentRig(setup, directory, kafka_home) as rig:
        phases.end("start")
        await rig.run(draw_silent_faults(setup))
        phases.end("faults")
        problems = await rig.settle()
        phases.end("settle")
        verdict = await asyncio.to_thread(judge_silent, rig)
        phases.end("verdict")
        deaths = {name: dict(part.deaths) for name, part in rig.parts.items() if part.deaths}
        return Outcome(setup, verdict, rig.done, deaths, problems, phases.seconds)


def main() -> None:
    """Run the seeds that the command line asks for; exit code 1 if one fails."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument(
        "--silent", action="store_true", help="faults that make no noise, one after the other"
    )
    parser.add_argument(
        "--exchanges", action="store_true", help="draw the exchange of each run, not wallex always"
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long faults happen")
    parser.add_argument("--faults", type=int, default=60, help="in each run")
    parser.add_argument("--scale", type=float, default=1, help="multiplies the rates")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument(
        "--kafka-home",
        type=Path,
        default=_kafka_home(),
        help="Apache Kafka; by default KAFKA_HOME or .kafka, if it is there",
    )
    parser.add_argument(
        "--kafka-nodes",
        type=int,
        choices=(0, 1, 3),
        help="0 is the embedded broker; by default the seed draws 1 or 3, without Apache Kafka 0",
    )
    parser.add_argument("--results", type=Path, help="append a JSON line for each run")
    parser.add_argument("--keep", type=Path, help="keep files of runs that failed there")
    options = parser.parse_args()
    # What the clients say of brokers that are down is no news here.
    logging.disable(logging.CRITICAL)
    # However it is told to end, it ends the processes that it has started.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    if options.seeds == 1:
        passed = [_run_seed(options.first_seed, options)]
    else:
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        with ThreadPoolExecutor(options.jobs) as jobs:
            passed = list(jobs.map(_run_in_own_process, seeds))
        print(f"{sum(passed)} of {len(passed)} runs passed", flush=True)
    sys.exit(0 if all(passed) else 1)


def _kafka_home() -> Path | None:
    home = Path(os.environ.get("KAFKA_HOME") or HOME)
    return home if any((home / "libs").glob("kafka_*.jar")) else None


def _run_in_own_process(seed: int) -> bool:
    command = [sys.executable, "-m", "chaos", *sys.argv[1:]]
    one = ["--seeds", "1", "--first-seed", str(seed)]  # the last of an option counts
    return subprocess.run([*command, *one], check=False).returncode == 0


def _run_seed(seed: int, options: argparse.Namespace) -> bool:
    nodes = options.kafka_nodes if options.kafka_home else 0
    draw = draw_silent_setup if options.silent else draw_setup
    setup = dataclasses.replace(
        draw(seed, kafka_nodes=nodes, scale=options.scale),
        duration_s=options.seconds,
        faults=options.faults,
    )
    if options.exchanges:
        setup = of_an_exchange(setup)
    print(f"seed {seed}: {setup}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix=f"radar-chaos-{seed}-"))
    result: dict[str, Any] = {
        "seed": seed,
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "family": "silent" if options.silent else "loud",
        "cores": len(os.sched_getaffinity(0)),
        "again": _again(seed, nodes, options),
        "setup": asdict(setup),
        "passed": False,
    }
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            one = run_silent if options.silent else run
            outcome = runner.run(one(setup, directory, options.kafka_home))
    except Exception as error:  # noqa: BLE001 - whatever it is, this run has failed
        result["failure"] = f"{type(error).__name__}: {error}"
        summary = f"FAILED: {result['failure']}"
    else:
        result |= {
            "passed": outcome.passed,
            "verdict": asdict(outcome.verdict),
            "events": outcome.verdict.events,
            "faults": dict(outcome.faults),
            "deaths": outcome.deaths,
            "problems": outcome.problems,
            "phases_s": outcome.phases_s,
            "took_s": outcome.took_s,
        }
        summary = (
            f"{'passed' if outcome.passed else 'FAILED'}: {outcome.verdict}; "
            f"{outcome.faults.total()} faults, {outcome.took_s} s {outcome.problems or ''}"
        )
    passed = bool(result["passed"])
    print(f"seed {seed}: {summary}", flush=True)
    if not passed:
        print(f"seed {seed}: run it again: {result['again']}", flush=True)
    if options.results:
        options.results.parent.mkdir(parents=True, exist_ok=True)
        with options.results.open("a") as results:
            print(json.dumps(result), file=results)
    if options.keep and not passed:
        options.keep.mkdir(parents=True, exist_ok=True)
        shutil.move(directory, options.keep / directory.name)
        print(f"seed {seed}: files: {options.keep / directory.name}", flush=True)
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return passed


def _again(seed: int, nodes: int | None, options: argparse.Namespace) -> str:
    """Return the command that repeats a seed."""
    given = ["--first-seed", f"{seed}", "--seconds", f"{options.seconds:g}"]
    given += ["--faults", f"{options.faults}"]
    if options.silent:
        given += ["--silent"]
    if options.exchanges:
        given += ["--exchanges"]
    if options.scale != 1:
        given += ["--scale", f"{options.scale:g}"]
    if nodes is not None:
        given += ["--kafka-nodes", f"{nodes}"]
    return f'make chaos CHAOS="{shlex.join(given)}"'


if __name__ == "__main__":
    main()
