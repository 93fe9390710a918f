"""Secrets that radar makes itself: random, private, the same for everybody who asks."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from radar.errors import ConfigurationError
from radar.secret_file import read, read_or_create


def test_a_new_secret_is_random_and_private(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert len(read_or_create(first)) >= 32
    assert read_or_create(first) != read_or_create(second)
    assert stat.S_IMODE(first.stat().st_mode) == 0o600


def test_the_umask_cannot_open_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        read_or_create(tmp_path / "secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_everybody_who_creates_it_at_the_same_time_gets_the_same_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with ThreadPoolExecutor(16) as threads:
        found = set(threads.map(lambda _: read_or_create(path), range(64)))
    assert len(found) == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o660])
def test_a_secret_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    read_or_create(path)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        read_or_create(path)


def test_links_folders_pipes_and_empty_files_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    read_or_create(secret)
    link, folder, pipe, empty = (tmp_path / name for name in ("link", "folder", "pipe", "empty"))
    link.symlink_to(secret)
    folder.mkdir()
    os.mkfifo(pipe, 0o600)
    empty.touch(0o600)
    for path in (link, folder, pipe, empty, tmp_path / "missing"):
        with pytest.raises(ConfigurationError, match=path.name):
            read(path)


def test_a_folder_that_is_missing_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot create"):
        read_or_create(tmp_path / "missing" / "secret")
