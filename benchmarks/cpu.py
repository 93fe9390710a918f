"""CPU seconds and memory of processes, from /proc."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class CpuTimes:
    """CPU seconds of the worker and of the database."""

    worker_s: float
    database_s: float

    def __sub__(self, other: "CpuTimes") -> "CpuTimes":
        return CpuTimes(self.worker_s - other.worker_s, self.database_s - other.database_s)

    @property
    def total_s(self) -> float:
        """Both together."""
        return self.worker_s + self.database_s


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process and of its children that have ended.

    0 if there is no such process (any more).
    """
    try:
        # The name in parentheses may hold anything, so count from its end.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS_PER_S


def with_children(pid: int) -> list[int]:
    """Return a process and all that it has started and that live; reads all of /proc."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(folder.name)] = int(fields[1])
    found = [pid]
    for each in found:  # grows while it is read
        found += [child for child, parent in parents.items() if parent == each]
    return found


def memory_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
