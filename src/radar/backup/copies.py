"""Copies of backups in object storage: made, expired, and brought back.

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

from radar import object_storage
from radar.backup import catalogue
from radar.backup.catalogue import END, Backup
from radar.errors import BackupFailed, ConfigurationError
from radar.object_storage import ObjectStorage
from radar.settings import Settings

# Each transfer of a large file has several connections of its own.
AT_ONCE = 4
DAY_S = 86_400
_END = END.as_posix()
_T = TypeVar("_T")


def opened(settings: Settings, url: str) -> ObjectStorage:
    """Return the object storage of copies.

    Raises:
        ConfigurationError: The URL has another form than s3://BUCKET/PREFIX.
    """
    return ObjectStorage(object_storage.parse(url), settings.s3_endpoint_url)


def complete(storage: ObjectStorage) -> list[Backup]:
    """Return the complete copies, oldest first; blocks.

    Raises:
        ObjectStorageFailed: The store does not answer or refuses.
    """
    found = []
    for name in storage.folders():
        began_s = catalogue.began_at_s(name)
        if began_s is None:
            continue
        head = storage.head(f"{name}/{_END}", catalogue.HEAD_BYTES)
        if head is not None:
            base = catalogue.base_of(head.decode(errors="replace"))
            found.append(Backup(name, began_s, base))
    return sorted(found, key=lambda each: each.began_at_s)


def size_bytes(storage: ObjectStorage, name: str) -> int:
    """Return the size of a copy; blocks."""
    return sum(each.size_bytes for each in storage.objects(f"{name}/"))


def copy(folder: Path, storage: ObjectStorage, backups: Iterable[Backup]) -> list[str]:
    """Copy the backups that have no complete copy, oldest first; blocks.

    An interrupted copy goes on where it was.

    Returns:
        The names of the new copies.

    Raises:
        ObjectStorageFailed: The store does not answer or refuses.
    """
    known = {each.name for each in complete(storage)}
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


def prune(storage: ObjectStorage, now_s: float, keep_s: float) -> list[str]:
    """Delete expired copies, and what interrupted ones left behind; return their names; blocks.

    Raises:
        ObjectStorageFailed: The store does not answer or refuses.
    """
    there = complete(storage)
    names = [each.name for each in catalogue.expired(there, now_s, keep_s)]
    known = {each.name for each in there}
    for name in storage.folders():
        began_s = catalogue.began_at_s(name)
        if began_s is not None and name not in known and now_s - began_s > max(keep_s, DAY_S):
            names.append(name)
    for name in names:
        storage.delete([f"{name}/{_END}"])
        storage.delete(each.key for each in storage.objects(f"{name}/"))
    return names


def bring_back(folder: Path, storage: ObjectStorage, name: str) -> list[str]:
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
        each.name for each in catalogue.chain(complete(storage), name) if each.name not in known
    ]
    # The base first: what an interrupted run leaves behind has its bases.
    for each in reversed(lacking):
        part = folder / f".{each}.part"
        try:
            _download(storage, each, part)
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
