"""Commands away from the sources of this checkout, and environments of their own."""

import os
import subprocess
from pathlib import Path


def run(*command: object, folder: Path, environment: dict[str, str] | None = None) -> str:
    """Run a command without the sources of this checkout on its path; return its output."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=inherited | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def without_index(error: AssertionError) -> bool:
    """Return whether pip failed because it could not connect."""
    signs = ("Failed to establish a new connection", "NewConnectionError", "ConnectTimeoutError")
    return any(sign in str(error) for sign in signs)
