"""Makes backups, deletes expired ones, and shows the age of the newest."""

import fcntl
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import structlog

from radar.backup import catalogue
from radar.backup.catalogue import Backup
from radar.errors import (
    BackupFailed,
    ConfigurationError,
    ObjectStorageFailed,
    QueryFailed,
    StoreUnavailable,
)
from radar.settings import Settings, backup_folder
from radar.store import backup as store_backup
from radar.store.client import Store
from radar.telemetry import metrics
from radar.telemetry.health import Health

DAY_S = 86_400
LOOK_EVERY_S = 15.0
AGAIN_AFTER_S = 300.0
# How long one backup may take before the process counts as hanging.
BACKUP_WITHIN_S = 6 * 3600.0
# Of one statement; the copies themselves run in the background of the server.
STATEMENT_TIMEOUT_S = 600.0

_log = structlog.get_logger()


class Made(NamedTuple):
    """What one run has done.

    Attributes:
        backup: The new backup.
        size_bytes: Its size on the disk.
        deleted: The names of the expired backups.
    """

    backup: Backup
    size_bytes: int
    deleted: list[str]


class Copied(NamedTuple):
    """The result of one run in object storage.

    Attributes:
        place: The place of the copies.
        names: The names of the new copies.
        deleted: The names of the expired copies.
    """

    place: str
    names: list[str]
    deleted: list[str]


def make(settings: Settings, *, full: bool = False) -> Made:
    """Back up the database, then delete expired backups; blocks.

    Args:
        settings: The options.
        full: Whether the backup shall hold everything, whatever there is.

    Raises:
        BackupFailed: ClickHouse could not write it, or another run is at work.
        ConfigurationError: The folder cannot be read.
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: ClickHouse refuses.
    """
    folder = backup_folder(settings)
    with _alone(folder):
        now_s = time.time()
        before = catalogue.complete(folder)
        every_s = settings.backup_full_days * DAY_S
        base = "" if full else catalogue.base_of_next(before, now_s, every_s)
        name = catalogue.new_name(now_s, is_full=not base)
        store = Store(settings, timeout_s=STATEMENT_TIMEOUT_S)
        try:
            store_backup.create(store, settings.backup_disk, name, base)
        finally:
            store.close()
        after = catalogue.complete(folder)
        made = next((each for each in after if each.name == name), None)
        if made is None:
            raise BackupFailed(
                f"ClickHouse wrote {name}, and it is not in BACKUP_DIR={folder}: set BACKUP_DIR to"
                f" the folder of ClickHouse's disk {settings.backup_disk}"
            )
        deleted = _prune(folder, after, now_s, settings.backup_keep_days * DAY_S)
        return Made(made, size_bytes(folder / name), deleted)


def restore(settings: Settings, name: str) -> list[Backup]:
    """Replace the database by a backup; blocks. No worker may run.

    Returns:
        The backup and those on which it is based.

    Raises: as `make`.
    """
    folder = backup_folder(settings)
    with _alone(folder):
        parts = catalogue.chain(catalogue.complete(folder), name)
        store = Store(settings, timeout_s=STATEMENT_TIMEOUT_S)
        try:
            original = _database_of(folder / name)
            store_backup.restore(store, settings.backup_disk, name, original)
        finally:
            store.close()
        return parts


def copy(settings: Settings, url: str) -> Copied:
    """Copy the backups to object storage, then delete expired copies; blocks.

    Raises:
        BackupFailed: Another run is at work.
        ConfigurationError: The folder cannot be read, or the URL is wrong.
        ObjectStorageFailed: The store does not answer or refuses.
    """
    # The library takes a while to import, and few need it.
    from radar.backup import copies

    folder, storage = backup_folder(settings), copies.opened(settings, url)
    with _alone(folder):
        names = copies.copy(folder, storage, catalogue.complete(folder))
        deleted = copies.prune(storage, time.time(), settings.backup_keep_days * DAY_S)
    return Copied(f"{storage.place}", names, deleted)


def bring_back(settings: Settings, url: str, name: str) -> list[str]:
    """Copy a backup and its bases from object storage to the folder, if it lacks them; blocks.

    Returns:
        The names of the backups that the folder lacked.

    Raises: as `copy`.
    """
    from radar.backup import copies

    folder, storage = backup_folder(settings), copies.opened(settings, url)
    with _alone(folder):
        return copies.bring_back(folder, storage, name)


def follow(settings: Settings, health: Health, stop: threading.Event) -> None:
    """Back up every BACKUP_EVERY_HOURS until `stop` is set, and show the newest backup; blocks."""
    every_s = settings.backup_every_hours * 3600
    not_before_s = 0.0
    copy_is_due = bool(settings.backup_copy_to)
    health.clear("start")
    while True:
        health.beat()
        try:
            newest = catalogue.complete(backup_folder(settings))[-1:]
            began_s = newest[0].began_at_s if newest else 0
            metrics.BACKUP_TIME.set(began_s)
            if time.time() - began_s >= every_s and time.monotonic() >= not_before_s:
                health.beat(BACKUP_WITHIN_S)
                made = make(settings)
                _log.info("backed up", name=made.backup.name, bytes=made.size_bytes)
                copy_is_due = bool(settings.backup_copy_to)
                continue
            if copy_is_due and time.monotonic() >= not_before_s:
                health.beat(BACKUP_WITHIN_S)
                done = copy(settings, settings.backup_copy_to)
                _log.info("copied", to=done.place, names=done.names, deleted=done.deleted)
                copy_is_due = False
            if not_before_s <= time.monotonic():
                health.clear("backup")
        except (
            BackupFailed,
            ConfigurationError,
            ObjectStorageFailed,
            StoreUnavailable,
            QueryFailed,
        ) as error:
            not_before_s = time.monotonic() + AGAIN_AFTER_S
            metrics.BACKUP_FAILURES.inc()
            health.warn("backup", f"the newest attempt failed: {error}")
            _log.warning("no backup", error=str(error))
        if stop.wait(LOOK_EVERY_S):
            return


def _prune(folder: Path, backups: list[Backup], now_s: float, keep_s: float) -> list[str]:
    names = [each.name for each in catalogue.expired(backups, now_s, keep_s)]
    # Also what an interrupted backup left behind, if it is old enough that nobody writes it.
    known = {each.name for each in backups}
    for path in folder.iterdir():
        began_s = catalogue.began_at_s(path.name)
        if began_s is not None and path.name not in known and now_s - began_s > DAY_S:
            names.append(path.name)
    for name in names:
        try:
            shutil.rmtree(folder / name)
        except OSError as error:
            raise ConfigurationError(
                f"{folder / name} cannot be deleted: {error.strerror}: run this command as the"
                " user of ClickHouse"
            ) from error
    return names


def size_bytes(path: Path) -> int:
    """Return the size of all files of a folder; blocks."""
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


def _database_of(path: Path) -> str:
    """Return the name that the database had, from the folder of a backup's definitions."""
    folders = [each.name for each in (path / "progress" / "metadata").iterdir() if each.is_dir()]
    if len(folders) != 1:
        raise ConfigurationError(f"{path} holds no database of radar")
    return folders[0]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder of backups."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (folder / ".radar.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BackupFailed(f"another backup or restore uses {folder} now") from error
            yield
    except OSError as error:
        raise ConfigurationError(
            f"BACKUP_DIR={folder}: {error.strerror}: let this user write the folder"
        ) from error
