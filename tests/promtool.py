"""promtool, which comes with Prometheus, and which metrics there are."""

import shutil
import subprocess
from pathlib import Path

import pytest

from radar.telemetry import metrics

SUFFIXES = ("_bucket", "_sum", "_count")


def promtool(*arguments: str | Path, text: str = "") -> str:
    command = shutil.which("promtool")
    if command is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    done = subprocess.run(
        [command, *map(str, arguments)],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def declared(name: str) -> bool:
    names = {each.name for each in metrics.DECLARED}
    return name in names or any(
        name.endswith(suffix) and name.removesuffix(suffix) in names for suffix in SUFFIXES
    )
