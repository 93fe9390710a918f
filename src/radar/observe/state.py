"""What a running `radar up` tells other commands about itself."""

import json
import os
from pathlib import Path
from typing import Any


def running_pipeline(data_dir: Path) -> dict[str, Any] | None:
    """Return the state of the `radar up` that runs on this data; None if none does."""
    for directory in (data_dir, data_dir / "simulated"):
        try:
            state: dict[str, Any] = json.loads((directory / "run" / "state.json").read_text())
            os.kill(state["pid"], 0)
        except (OSError, ValueError):
            continue
        return state | {"data_dir": str(directory)}
    return None
