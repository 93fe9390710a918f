"""Files that differ from the upstream branch; they decide which tests of `sources` run."""

import subprocess
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
UPSTREAM = ("@{upstream}", "origin/main")
# These decide the result of every test: the installed packages, and how tests run.
SHARED = ("pyproject.toml", "requirements-dev.txt", "Makefile", ".ci/run")


def may_have_changed(paths: Iterable[str], root: Path = ROOT) -> bool:
    """Return whether one of these files or folders differs from the upstream branch.

    Without an upstream branch the answer is yes: the comparison would prove nothing.
    """
    changed = _changed(root)
    return changed is None or any(
        file.parent == Path("tests") or any(map(file.is_relative_to, (*SHARED, *paths)))
        for file in map(Path, changed)
    )


def has_changed(paths: Collection[str], root: Path = ROOT) -> bool:
    """Return whether one of these files or folders is known to differ from the upstream branch."""
    return any(any(map(file.is_relative_to, paths)) for file in map(Path, _changed(root) or ()))


@cache
def _changed(root: Path) -> tuple[str, ...] | None:
    base = next(filter(None, (_git(root, "merge-base", "HEAD", name) for name in UPSTREAM)), "")
    if not base:
        return None
    edited = _git(root, "diff", "--name-only", "--no-renames", base.strip())
    added = _git(root, "ls-files", "--others", "--exclude-standard")
    return (*edited.splitlines(), *added.splitlines())


def _git(root: Path, *arguments: str) -> str:
    """Return the output of git, empty if it fails."""
    try:
        return subprocess.run(
            ("git", "-C", str(root), *arguments), check=True, capture_output=True, text=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
