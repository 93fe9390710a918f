"""What a section of the benchmarks comes to, kept as a file so that sections can run apart."""

import statistics
from collections.abc import Iterable
from pathlib import Path

import msgspec


class Bar(msgspec.Struct, frozen=True):
    """A bar of a plot."""

    group: str
    label: str
    value: float


class Limit(msgspec.Struct, frozen=True):
    """A line across the bars of a group."""

    group: str
    label: str
    value: float


class Plot(msgspec.Struct, frozen=True):
    """Bars side by side."""

    title: str
    unit: str
    bars: list[Bar]
    limits: list[Limit] = []


class Table(msgspec.Struct, frozen=True):
    """A table of a section."""

    columns: list[str]
    rows: list[list[str]]
    caption: str = ""


class Section(msgspec.Struct, frozen=True):
    """One measured thing, ready to be written down."""

    name: str
    title: str
    text: str
    tables: list[Table]
    machine: dict[str, str] = {}
    plots: list[Plot] = []


def save(section: Section, folder: Path) -> None:
    """Keep a section, instead of an earlier one of its name."""
    folder.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.format(msgspec.json.encode(section))
    (folder / f"{section.name}.json").write_bytes(encoded)


def load(folder: Path, names: list[str]) -> list[Section]:
    """Return the kept sections among `names`, in their order."""
    paths = [folder / f"{name}.json" for name in names]
    return [msgspec.json.decode(path.read_bytes(), type=Section) for path in paths if path.exists()]


def number(value: float) -> str:
    """Write a number with three digits that matter, and groups of thousands."""
    if value >= 1000:
        digits = 3 - len(str(int(value)))
        return f"{round(value, digits):,.0f}"
    return f"{value:.3g}"


def microseconds(seconds: Iterable[float]) -> str:
    """Write the median of some durations in microseconds."""
    return f"{statistics.median(seconds) * 1e6:.2f}"
