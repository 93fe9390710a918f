"""How many rows a table has, read from its folder: asking the database would cost it CPU time."""

from pathlib import Path
from typing import NamedTuple

from radar.store.client import Store


class _Part(NamedTuple):
    first_block: int
    last_block: int
    level: int


class RowsOnDisk:
    """Counts the rows of a MergeTree table by the files `count.txt` of its parts.

    A merged part stands beside its sources until they are deleted, so a part that another one
    covers does not count. The count never falls, which hides the moments in between.
    """

    def __init__(self, store: Store, table: str) -> None:
        ((paths,),) = store.rows(
            "SELECT data_paths FROM system.tables WHERE database = currentDatabase()"
            " AND name = {table:String}",
            {"table": table},
        )
        self._folders = [Path(path) for path in paths]
        self._rows: dict[str, int] = {}
        self._most = self._before = 0
        self._before = self.count()
        self._most = 0

    def count(self) -> int:
        """Return the rows that came since the beginning."""
        parts: dict[str, list[tuple[_Part, str]]] = {}
        for folder in self._folders:
            for path in folder.iterdir():
                partition, *numbers = path.name.split("_")
                if partition.isdecimal() and len(numbers) == 3:
                    part = _Part(*map(int, numbers))
                    parts.setdefault(partition, []).append((part, path.name))
                    self._read(path)
        self._most = max(self._most, sum(map(self._sum, parts.values())) - self._before)
        return self._most

    def _read(self, path: Path) -> None:
        if path.name not in self._rows:
            try:
                self._rows[path.name] = int((path / "count.txt").read_text())
            except (OSError, ValueError):
                return  # it has just been merged away, or is not complete yet

    def _sum(self, parts: list[tuple[_Part, str]]) -> int:
        rows, covered_to = 0, -1
        # The widest part of those that begin at a block comes first.
        for part, name in sorted(parts, key=lambda each: (each[0][0], -each[0][1], -each[0][2])):
            if part.last_block > covered_to:
                rows += self._rows.get(name, 0)
                covered_to = part.last_block
        return rows
