"""Warnings and errors from the logs of processes on this machine."""

import json
import time
from collections import deque
from datetime import datetime
from pathlib import Path

from radar.observe.overview import Problem

PROBLEMS = 20
READ_BYTES = 1_000_000
TEXT_CHARACTERS = 300


class LogProblems:
    """Follows the logs of a folder. For one thread.

    Attributes:
        newest: The newest problems, the newest last.
    """

    def __init__(self, folder: Path, since_s: float) -> None:
        """Take what was written since a time, as far as it is near the end of a log."""
        self.newest: deque[Problem] = deque(maxlen=PROBLEMS)
        self._folder = folder
        self._since_s = since_s
        self._ends: dict[Path, int] = {}
        for path in folder.glob("*.log"):
            self._ends[path] = max(0, path.stat().st_size - READ_BYTES)

    def read(self) -> None:
        """Read on; blocks for a moment."""
        found = []
        for path in sorted(self._folder.glob("*.log")):
            found += [
                each
                for line in self._new_lines(path)
                if (each := problem(path.stem, line)) is not None and each.at_s >= self._since_s
            ]
        self.newest.extend(sorted(found, key=lambda each: each.at_s))

    def _new_lines(self, path: Path) -> list[bytes]:
        start = self._ends.get(path, 0)
        if path.stat().st_size == start:
            return []
        with path.open("rb") as log:
            log.seek(start)
            read = log.read(READ_BYTES)
        lines = read.split(b"\n")
        # The last line may not be complete yet; one that never ends is left out.
        rest = len(lines.pop()) if lines[1:] or len(read) < READ_BYTES else 0
        self._ends[path] = start + len(read) - rest
        return lines


def problem(process: str, line: bytes) -> Problem | None:
    """Read a line of a log; None if it is no warning or error."""
    if b'"level": "info"' in line:
        return None  # nearly all of them
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    if not isinstance(fields, dict) or fields.get("level") not in ("warning", "error", "critical"):
        return None
    details = [
        f"{key}={value}"
        for key, value in fields.items()
        if key not in ("level", "timestamp", "event", "role", "logger")
    ]
    text = " ".join(" ".join([str(fields.get("event", "")), *details]).split())
    try:
        at_s = datetime.fromisoformat(str(fields.get("timestamp"))).timestamp()
    except ValueError:
        at_s = time.time()
    return Problem(at_s, process, text[:TEXT_CHARACTERS])
