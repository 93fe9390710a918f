"""Command line of the benchmarks: `python -m benchmarks --help`."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    endurance,
    footprint,
    latency,
    notebook,
    producers,
    reads,
    report,
    results,
    scaling,
    startup,
    throughput,
)
from benchmarks.options import Options
from benchmarks.results import Section

SECTIONS: dict[str, Callable[[Options], Section]] = {
    throughput.NAME: throughput.run,
    producers.NAME: producers.run,
    latency.NAME: latency.run,
    scaling.NAME: scaling.run,
    endurance.NAME: endurance.run,
    footprint.NAME: footprint.run,
    reads.NAME: reads.run,
    notebook.NAME: notebook.run,
    startup.NAME: startup.run,
}
QUICK = (throughput.NAME, startup.NAME)
ROUNDS, QUICK_ROUNDS = 5, 3
KEPT = Path(".bench")


def main() -> None:
    """Measure what is asked for, print it, write the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all"
    )
    parser.add_argument("--quick", action="store_true", help="fewer, smaller, under two minutes")
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS}, or {QUICK_ROUNDS} if quick")
    parser.add_argument("--scale", type=float, default=1.0, help="measure so many times as much")
    parser.add_argument("--kafka-home", type=Path, help="use this Apache Kafka: .kafka")
    parser.add_argument("--report", type=Path, help="write the kept results to this page")
    parser.add_argument("--keep", type=Path, default=KEPT, help="folder for results")
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - SECTIONS.keys():
        parser.error(f"no such section: {', '.join(unknown)}")
    names = arguments.sections or (QUICK if arguments.quick else list(SECTIONS))
    for name in names:
        folder = Path(tempfile.mkdtemp(prefix="radar-bench-"))
        options = Options(
            folder=folder,
            quick=arguments.quick,
            rounds=arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS),
            scale=arguments.scale,
            kafka_home=arguments.kafka_home,
        )
        try:
            section = SECTIONS[name](options)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        results.save(section, arguments.keep)
        sys.stdout.write(f"{report.text(section)}\n\n")
        sys.stdout.flush()
    if arguments.report:
        report.write(results.load(arguments.keep, list(SECTIONS)), arguments.report)


if __name__ == "__main__":
    main()
