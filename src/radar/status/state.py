"""The state file by which a running `radar up` describes itself to other commands."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_START_FIELD = 19  # of /proc/PID/stat, counted behind the name: see proc(5)


def running_pipeline(data_dir: Path) -> dict[str, Any] | None:
    """Return the state of the `radar up` that runs on this data; None if none does."""
    for directory in (data_dir, data_dir / "simulated"):
        try:
            state: dict[str, Any] = json.loads((directory / "run" / "state.json").read_text())
            if not _runs(state):
                continue
        except (OSError, ValueError, KeyError, TypeError):
            continue
        return state | {"data_dir": str(directory)}
    return None


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since the system did; None where unknown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[_START_FIELD])
    except (OSError, ValueError, IndexError):
        return None


def _runs(state: Mapping[str, Any]) -> bool:
    """Return whether the process that wrote the state lives; another may have its number since."""
    pid = int(state["pid"])
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass  # it is another user's, and lives
    except OSError:
        return False
    wrote, has = state.get("pid_start_ticks"), start_ticks(pid)
    return wrote is None or has is None or wrote == has
