"""Which files differ from the upstream branch: all of them without such a branch."""

import subprocess
from pathlib import Path

import pytest

from changes import has_changed, may_have_changed

SOURCES = ("src/chdb_server",)


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(("git", "-C", str(folder), *identity, *arguments), check=True)


def write(folder: Path, name: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("changed\n")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    upstream, clone = tmp_path / "upstream", tmp_path / "clone"
    write(upstream, "src/chdb_server/engine.py")
    write(upstream, "docs/design.md")
    git(upstream, "init", "--quiet", "--initial-branch=main")
    git(upstream, "add", ".")
    git(upstream, "commit", "--quiet", "--message=Begin")
    git(tmp_path, "clone", "--quiet", str(upstream), str(clone))
    return clone


def test_without_a_repository_all_may_have_changed(tmp_path: Path) -> None:
    assert may_have_changed(SOURCES, tmp_path)


def test_without_a_difference_nothing_may_have_changed(clone: Path) -> None:
    assert not may_have_changed(SOURCES, clone)


def test_other_files_change_no_sources(clone: Path) -> None:
    write(clone, "src/chdb_server_notes.py")
    assert not may_have_changed(SOURCES, clone)


@pytest.mark.parametrize(
    "name",
    ["src/chdb_server/new.py", "tests/support.py", "requirements-dev.txt", "Makefile"],
)
def test_sources_and_shared_files_that_were_added_count(clone: Path, name: str) -> None:
    write(clone, name)
    assert may_have_changed(SOURCES, clone)


def test_sources_that_were_moved_away_count(clone: Path) -> None:
    git(clone, "mv", "src/chdb_server/engine.py", "docs/engine.py")
    git(clone, "commit", "--quiet", "--message=Move")
    assert may_have_changed(SOURCES, clone)


def test_without_a_repository_or_a_difference_nothing_is_known_to_have_changed(
    clone: Path, tmp_path: Path
) -> None:
    assert not has_changed(SOURCES, clone)
    assert not has_changed(SOURCES, tmp_path)


def test_only_named_files_are_known_to_have_changed(clone: Path) -> None:
    write(clone, "tests/support.py")
    assert not has_changed(SOURCES, clone)


def test_named_files_are_known_to_have_changed(clone: Path) -> None:
    write(clone, "src/chdb_server/new.py")
    assert has_changed(SOURCES, clone)
