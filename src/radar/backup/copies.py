"""Copies of backups in object storage: made, and brought back.

ClickHouse writes each backup to a folder, and radar copies it from there. So ClickHouse needs
neither credentials nor a way to other machines, which the embedded one never has.

A copy is complete when it has the file that ClickHouse wrote last, which is copied last and deleted
first.
"""

import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path, PurePosixPath
from typing import TypeVar

from radar.backup import catalogue
from radar.backup.catalogue import END, Backup
from radar.backup.shelf import Bucket
from radar.errors import BackupFailed, ConfigurationError
from radar.object_storage import ObjectStorage

# Each transfer of a large file has several connections of its own.
AT_ONCE = 4
_END = END.as_posix()
_T = TypeVar("_T")


def copy(folder: Path, to: Bucket, backups: Iterable[Backup]) -> list[str]:
    """Copy the backups that have no complete copy, oldest first; blocks.

    An interrupted copy goes on where it was.

    Returns:
        The names of the new copies.

    Raises:
        ObjectStorageFailed: The store does not answer or refuses.
    """
    storage = to.storage
    known = {each.name for each in to.complete()}
    copied = []
    for backup in backups:
        if backup.name in known:
            continue
        there = {each.key: each.size_bytes for each in storage.objects(f"{backup.name}/")}
        files = {
            path.relative_to(folder).as_posix(): path
            for path in sorted((folder / backup.name).rglob("*"))
            if path.is_file()
        }
        end = files.pop(f"{backup.name}/{_END}")
        _all(
            lambda each: storage.upload(each[1], each[0]),
            [(key, path) for key, path in files.items() if there.get(key) != path.stat().st_size],
        )
        storage.upload(end, f"{backup.name}/{_END}")
        copied.append(backup.name)
    return copied


def bring_back(folder: Path, source: Bucket, name: str) -> list[str]:
    """Copy a backup and its bases into the folder of the backups; blocks.

    Each appears in the folder when it is complete.

    Returns:
        The names of the backups that the folder lacked.

    Raises:
        BackupFailed: A copy is none that radar has made.
        ConfigurationError: There is no such copy, or one of its bases is missing.
        ObjectStorageFailed: The store does not answer or refuses.
    """
    known = {each.name for each in catalogue.complete(folder)}
    lacking = [
        each.name for each in catalogue.chain(source.complete(), name) if each.name not in known
    ]
    # The base first: what an interrupted run leaves behind has its bases.
    for each in reversed(lacking):
        part = folder / f".{each}.part"
        try:
            _download(source.storage, each, part)
            shutil.rmtree(folder / each, ignore_errors=True)
            part.rename(folder / each)
        except OSError as error:
            raise ConfigurationError(
                f"BACKUP_DIR={folder}: {error.strerror}: let this user write the folder"
            ) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return lacking


def _download(storage: ObjectStorage, name: str, part: Path) -> None:
    shutil.rmtree(part, ignore_errors=True)
    wanted = []
    for each in storage.objects(f"{name}/"):
        key = PurePosixPath(each.key)
        if f"{key}" != each.key or ".." in key.parts:
            raise BackupFailed(f"{storage.place} holds the strange object {each.key!r}")
        path = part.joinpath(*key.parts[1:])
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        wanted.append((each.key, path))
    _all(lambda pair: storage.download(*pair), wanted)
    for path in part.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _all(action: Callable[[_T], None], values: Iterable[_T]) -> None:
    """Run an action for each value, some at once; raise the first error."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running: set[Future[None]] = set()
        try:
            for value in values:
                if len(running) >= 2 * AT_ONCE:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for each in done:
                        each.result()
                running.add(pool.submit(action, value))
            for each in running:
                each.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
