"""The table of injected and reported losses in docs/completeness.md.

`tests/contract/test_completeness.py` injects the losses and compares its result with the table.
With WRITE_TABLES=1 it writes the table instead.
"""

from collections.abc import Mapping
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "completeness.md"
BEGIN, END = "<!-- table: injected losses -->", "<!-- end of the table -->"

Table = Mapping[str, Mapping[str, str]]
"""By exchange and fault: the worst state that was reported for the times that the fault hit."""


def read() -> dict[str, dict[str, str]]:
    """Return the table of the page."""
    lines = PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def write(table: Table) -> None:
    """Replace the table of the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{text(table)}{END}{rest.partition(END)[2]}")


def text(table: Table) -> str:
    """Return the table in Markdown."""
    faults = list(next(iter(table.values())))
    rows = [
        ["exchange", *faults],
        ["---"] * (len(faults) + 1),
        *([name, *row.values()] for name, row in table.items()),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
