"""Warnings and errors from the logs of processes on this machine."""

import json
import math
import time
from collections import deque
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from radar.status.model import Problem

PROBLEMS = 20
READ_BYTES = 1_000_000
TEXT_CHARACTERS = 300
# A retried failure, as in a rebalance, is no problem before it has failed this often.
LEAST_ATTEMPTS = 3


class _Sentence(NamedTuple):
    """The text of a log's event: its code, by which pages translate it, and the English."""

    code: str
    text: str
    passes: bool = False  # the process retries it; it is over once the process is ready


_SENTENCES = {
    "block waits": _Sentence(
        "block_waits",
        "a block of partition {partition} is not stored yet, attempt {attempts}: {error}",
        passes=True,
    ),
    "cannot finish a block": _Sentence(
        "block_unfinished", "a block of partition {partition} was left to another worker: {error}"
    ),
    "cannot connect": _Sentence(
        "cannot_connect", "cannot connect to the exchange: {detail}", passes=True
    ),
    "cannot fetch missed trades": _Sentence(
        "cannot_fetch_missed_trades",
        "cannot fetch missed trades from the exchange yet: {detail}",
        passes=True,
    ),
    "invalid frame, the first on this connection": _Sentence(
        "invalid_frame", "the exchange sent a frame that is not as documented: {reason}"
    ),
    "child ended": _Sentence(
        "child_ended", "{child} ended ({exit}) and is started again", passes=True
    ),
    "child is not started again": _Sentence(
        "child_failed", "{child} ended ({exit}) and is not started again: {reason}"
    ),
    "waiting": _Sentence("waiting", "waits at its start: {error}", passes=True),
    "partition halted": _Sentence(
        "partition_halted",
        "partition {partition} stands at offset {offset}: too many messages are bad",
    ),
    "one market sends too many bad messages": _Sentence(
        "market_floods", "market {market} sends too many bad messages"
    ),
    "partition stands at an unreadable batch": _Sentence(
        "unreadable",
        "partition {partition} stands at offset {offset}: no client can read the batch",
    ),
}


class LogProblems:
    """Follows the logs of a folder. For one thread.

    Attributes:
        newest: The newest problems, the newest last.
    """

    def __init__(self, folder: Path, since_s: float) -> None:
        """Take the lines since a time, as far as they are near the end of a log."""
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
        start, size = self._ends.get(path, 0), path.stat().st_size
        if size == start:
            return []
        if size < start:  # `radar up` rotated the log
            start = 0
        with path.open("rb") as log:
            log.seek(start)
            read = log.read(READ_BYTES)
        lines = read.split(b"\n")
        # The last line may not be complete yet; one that never ends is left out.
        rest = len(lines.pop()) if lines[1:] or len(read) < READ_BYTES else 0
        self._ends[path] = start + len(read) - rest
        return lines


def problem(process: str, line: bytes) -> Problem | None:
    """Parse a line of a log; None if it is no warning or error."""
    if b'"level": "info"' in line:
        return None  # nearly all of them
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    if not isinstance(fields, dict) or fields.get("level") not in ("warning", "error", "critical"):
        return None
    try:
        at_s = datetime.fromisoformat(str(fields.get("timestamp"))).timestamp()
    except ValueError:
        at_s = time.time()
    event = str(fields.get("event", ""))
    sentence = _SENTENCES.get(event)
    if sentence is not None:
        if sentence.passes and _number(fields.get("attempts")) < LEAST_ATTEMPTS:
            return None
        values = {
            key: _one_line(value)[:TEXT_CHARACTERS]
            for key, value in fields.items()
            if f"{{{key}}}" in sentence.text
        }
        if sentence.text.count("{") == len(values):
            text = sentence.text.format_map(values)[:TEXT_CHARACTERS]
            return Problem(at_s, process, text, sentence.code, values, sentence.passes)
    details = [
        f"{key}={value}"
        for key, value in fields.items()
        if key not in ("level", "timestamp", "event", "role", "logger")
    ]
    return Problem(at_s, process, _one_line(" ".join([event, *details]))[:TEXT_CHARACTERS])


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


def _number(value: object) -> float:
    """Return how many attempts failed; infinity if the line has no number."""
    return float(value) if isinstance(value, int) else math.inf
