"""What the reports of chaos runs have in common. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Run = dict[str, Any]

_DIRECTORY = re.compile(r"/[^' ]*/")


def failure(run: Run, must_be_zero: Mapping[str, str]) -> str:
    """Return why a run failed."""
    if "failure" in run:
        return _DIRECTORY.sub("", str(run["failure"]))
    wrong = [
        f"{title} {number(run['verdict'][name])}"
        for name, title in must_be_zero.items()
        if run["verdict"][name]
    ]
    return "; ".join([*wrong, *run["problems"]])


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def total(numbers: Mapping[str, int]) -> int:
    """Return the sum of what is counted by name."""
    return sum(numbers.values())


def days(runs: Sequence[Run]) -> str:
    """Return the day of the runs, or the first and the last one."""
    found = sorted({str(run["at"])[:10] for run in runs})
    return found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"


def cores(runs: Iterable[Run]) -> str:
    """Return how many cores the machine had."""
    return " or ".join(str(each) for each in sorted({int(run["cores"]) for run in runs}))


def number(value: int) -> str:
    """Write a number with its thousands apart."""
    return f"{value:,}"
