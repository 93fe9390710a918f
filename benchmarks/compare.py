"""Compares this folder with another revision, in turns within one run: `make bench-compare`.

Each side runs its own benchmarks with its own sources, and this folder's libraries.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import producers, results, startup, throughput
from benchmarks.results import Section, number

ROOT = Path(__file__).parents[1]
SECTIONS = (throughput.NAME, producers.NAME, startup.NAME)
# Columns that are compared, and whether a higher figure is better.
HIGHER_IS_BETTER = {
    "messages/CPU-s": True,
    "frames/CPU-s (one core)": True,
    "median ms (least)": False,
    "CPU ms (least)": False,
}
# What others than radar need says how much the machine disturbed the run.
IS_RADARS: dict[str, Callable[[str], bool]] = {
    throughput.NAME: lambda label: label.startswith("radar"),
    producers.NAME: lambda _label: True,
    startup.NAME: lambda label: "Python" not in label,
}
TOLERANCE = 0.1


@dataclass(frozen=True, order=True)
class Name:
    """A figure that both revisions have."""

    section: str
    row: str
    column: str


@dataclass(frozen=True)
class Change:
    """How a figure differs: above 1 is better than before."""

    name: Name
    before: float
    after: float
    better: float
    rounds: tuple[float, ...]

    @property
    def is_radars(self) -> bool:
        """Whether radar decides it, and not the machine alone."""
        return IS_RADARS[self.name.section](self.name.row)


Round = tuple[Mapping[Name, float], Mapping[Name, float]]


def figures(section: Section) -> dict[Name, float]:
    """Return the figures of a section that can be compared."""
    found = {}
    for table in section.tables:
        caption = table.caption.strip("*")
        for row in table.rows:
            for column, cell in zip(table.columns, row, strict=True):
                value = cell.partition(" ")[0].replace(",", "")
                if column in HIGHER_IS_BETTER and value.replace(".", "", 1).isdigit():
                    label = f"{row[0]}; {caption}" if caption else row[0]
                    found[Name(section.name, label, column)] = float(value)
    return found


def compare(rounds: Sequence[Round]) -> list[Change]:
    """Compare medians, and the two sides of each round; what one side lacks is left out."""
    names = set.intersection(*(before.keys() & after.keys() for before, after in rounds))
    changes = []
    for name in sorted(names):
        pairs = [(before[name], after[name]) for before, after in rounds]
        if not all(before and after for before, after in pairs):
            continue
        ratios = tuple(
            after / before if HIGHER_IS_BETTER[name.column] else before / after
            for before, after in pairs
        )
        before, after = (statistics.median(side) for side in zip(*pairs, strict=True))
        changes.append(Change(name, before, after, statistics.median(ratios), ratios))
    return changes


def noise(changes: Sequence[Change], section: str) -> float:
    """Return how far the figures of others than radar are from 1; 0 if there are none."""
    others = [each for each in changes if each.name.section == section and not each.is_radars]
    return max((abs(each.better - 1) for each in others), default=0.0)


def worse(changes: Sequence[Change], tolerance: float) -> list[Change]:
    """Return radar's figures that are worse by more than the tolerance and the noise."""
    return [
        each
        for each in changes
        if each.is_radars
        and each.better < 1 - max(tolerance, noise(changes, each.name.section))
        and max(each.rounds) < 1
    ]


def report(changes: Sequence[Change]) -> str:
    """Write the changes as a table."""
    lines = [
        "| section | figure | before | after | better | rounds |",
        "|---|---|---:|---:|---:|---|",
    ]
    for each in changes:
        spread = f"{min(each.rounds):.2f} to {max(each.rounds):.2f}"
        label = f"{each.name.row}; {each.name.column}"
        lines.append(
            f"| {each.name.section} | {label} | {number(each.before)} | {number(each.after)}"
            f" | {each.better:.2f}× | {spread} |"
        )
    return "\n".join(lines)


@contextmanager
def _checkout(revision: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="radar-bench-base-"))
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), revision], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def _measure(root: Path, sections: Sequence[str], options: Sequence[str]) -> dict[Name, float]:
    """Run one round of a folder's own benchmarks."""
    kept = Path(tempfile.mkdtemp(prefix="radar-bench-"))
    command = [sys.executable, "-m", "benchmarks", *sections, "--rounds", "1", *options]
    try:
        subprocess.run(
            [*command, "--keep", str(kept)],
            cwd=root,
            env=os.environ | {"PYTHONPATH": os.pathsep.join((str(root), str(root / "src")))},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        found: dict[Name, float] = {}
        for section in results.load(kept, list(sections)):
            found |= figures(section)
    finally:
        shutil.rmtree(kept)
    return found


def main() -> None:
    """Measure both revisions and print how they differ; exit with 1 if radar became worse."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("base", metavar="REV", help="the revision that was before")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="0.1: a tenth")
    parser.add_argument("--whole", action="store_true", help="not the short form of the sections")
    arguments = parser.parse_args()
    sections = arguments.sections or SECTIONS
    if unknown := set(sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(unknown)}")
    options = [] if arguments.whole else ["--quick"]
    rounds: list[Round] = []
    with _checkout(arguments.base) as base:
        for turn in range(arguments.rounds):
            sys.stderr.write(f"round {turn + 1} of {arguments.rounds}\n")
            sides = [base, ROOT]
            # Each side is first in half of the rounds.
            if turn % 2:
                sides.reverse()
            found = {root: _measure(root, sections, options) for root in sides}
            rounds.append((found[base], found[ROOT]))
    changes = compare(rounds)
    sys.stdout.write(f"{report(changes)}\n")
    for each in (failed := worse(changes, arguments.tolerance)):
        sys.stdout.write(f"worse: {each.name.row}, {each.name.column}: {each.better:.2f} times\n")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
