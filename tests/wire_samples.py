"""Captured frames of exchanges that lie beside the checkout, one JSON document a line."""

import json
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest


def samples(exchange: str) -> list[dict[str, Any]]:
    """Return the samples of an exchange; skip the test if they are absent."""
    given = os.environ.get("RADAR_WIRE_FRAMES")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "wire" / "frames"
    path = folder / f"{exchange}.ndjson"
    if not path.is_file():
        pytest.skip(f"no samples of {exchange}: set RADAR_WIRE_FRAMES to their folder")
    return [
        json.loads(line, parse_float=Decimal) | {"bytes": _frame_of(line)}
        for line in path.read_text().splitlines()
    ]


def _frame_of(line: str) -> bytes:
    """Return the frame as it stands in the line, with every zero of its numbers."""
    found = re.search(r'"frame":\s*', line)
    assert found is not None
    frame = line[found.end() : line.rindex("}")].strip()
    value, end = json.JSONDecoder().raw_decode(frame)
    # A string stands for the bytes of a frame that is no single document.
    return (value if isinstance(value, str) else frame[:end]).encode()
