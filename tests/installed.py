"""Commands away from the sources of this checkout, and environments of their own."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


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


def locked_python(environment: Path, locked: Path, *others: Path) -> Path:
    """Return the Python of an environment with the locked packages; skip if none can be had.

    It installs them once for each content of the lock and of the other files.
    """
    mark = environment / "locked"
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in (locked, *others))).hexdigest()
    python = environment / "bin" / "python"
    if mark.exists() and mark.read_text() == digest:
        return python
    run(sys.executable, "-m", "venv", "--clear", environment, folder=ROOT)
    install = (python, "-m", "pip", "install", "--quiet", "--require-hashes")
    try:
        run(*install, "--requirement", locked, folder=ROOT)
    except AssertionError as error:
        if without_index(error):
            pytest.skip("pip reaches no package index, and its cache lacks a locked package")
        raise
    mark.write_text(digest)
    return python


def without_index(error: AssertionError) -> bool:
    """Return whether pip failed because it could not connect."""
    signs = ("Failed to establish a new connection", "NewConnectionError", "ConnectTimeoutError")
    return any(sign in str(error) for sign in signs)
