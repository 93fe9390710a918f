"""Run seeds one after the other: `python -m chaos --help`, from the folder `tests`."""

import argparse
import asyncio
import dataclasses
import json
import logging
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvloop

from chaos.rig import Rig
from chaos.schedule import Setup, draw_faults, draw_setup
from chaos.verdict import Verdict, judge


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A run that has ended."""

    setup: Setup
    verdict: Verdict
    faults: Counter[str]
    deaths: dict[str, dict[int, int]]  # of processes that nobody told to end, by exit code
    problems: list[str]
    took_s: float

    @property
    def passed(self) -> bool:
        """Tell whether everything is as promised."""
        return self.verdict.exact and not self.problems


async def run(setup: Setup, directory: Path, kafka_home: Path | None) -> Outcome:
    """Run one seed in a directory of its own."""
    started_s = time.monotonic()
    async with Rig(setup, directory, kafka_home) as rig:
        await rig.run(draw_faults(setup, small_disk=rig.small_disk))
        problems = await rig.settle()
        verdict = await asyncio.to_thread(judge, rig)
        return Outcome(
            setup,
            verdict,
            rig.done,
            {name: dict(part.deaths) for name, part in rig.parts.items() if part.deaths},
            problems,
            round(time.monotonic() - started_s, 1),
        )


def main() -> None:
    """Run the seeds that the command line asks for; exit code 1 if one fails."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60, help="how long faults happen")
    parser.add_argument("--faults", type=int, default=60, help="in each run")
    parser.add_argument("--scale", type=float, default=1, help="multiplies the rates")
    parser.add_argument("--kafka-home", type=Path, help="Apache Kafka; else the embedded broker")
    parser.add_argument("--kafka-nodes", type=int, choices=(1, 3), help="else drawn by the seed")
    parser.add_argument("--results", type=Path, help="append a JSON line for each run")
    parser.add_argument("--keep", type=Path, help="keep files of runs that failed there")
    options = parser.parse_args()
    # What the clients say of brokers that are down is no news here.
    logging.disable(logging.CRITICAL)
    failed = 0
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        failed += not _run_seed(seed, options)
    sys.exit(1 if failed else 0)


def _run_seed(seed: int, options: argparse.Namespace) -> bool:
    nodes = options.kafka_nodes if options.kafka_home else 0
    setup = dataclasses.replace(
        draw_setup(seed, kafka_nodes=nodes, scale=options.scale),
        duration_s=options.seconds,
        faults=options.faults,
    )
    print(f"seed {seed}: {setup}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix=f"radar-chaos-{seed}-"))
    result: dict[str, Any] = {"seed": seed, "setup": asdict(setup)}
    passed = False
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            outcome = runner.run(run(setup, directory, options.kafka_home))
    except AssertionError as error:
        result["failure"] = str(error)
        print(f"seed {seed}: FAILED: {error}", flush=True)
    else:
        passed = outcome.passed
        result |= {
            "passed": passed,
            "verdict": asdict(outcome.verdict),
            "faults": dict(outcome.faults),
            "deaths": outcome.deaths,
            "problems": outcome.problems,
            "took_s": outcome.took_s,
        }
        print(
            f"seed {seed}: {'passed' if passed else 'FAILED'}: {outcome.verdict}; "
            f"{outcome.faults.total()} faults, {outcome.took_s} s {outcome.problems or ''}",
            flush=True,
        )
    if options.results:
        with options.results.open("a") as results:
            print(json.dumps(result), file=results)
    if options.keep and not passed:
        shutil.move(directory, options.keep / directory.name)
        print(f"files: {options.keep / directory.name}", flush=True)
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return passed


if __name__ == "__main__":
    main()
