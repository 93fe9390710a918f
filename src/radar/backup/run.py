"""Makes backups, deletes expired ones, and shows the age of the newest."""

import threading
import time
from typing import NamedTuple

import structlog

from radar.backup import catalogue
from radar.backup.catalogue import Backup
from radar.backup.shelf import DAY_S, Bucket, Folder, Shelf, prune
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
        size_bytes: Its size.
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
    shelf = shelf_of(settings)
    with shelf.alone():
        now_s = time.time()
        before = shelf.complete()
        every_s = settings.backup_full_days * DAY_S
        base = "" if full else catalogue.base_of_next(before, now_s, every_s)
        name = catalogue.new_name(now_s, is_full=not base)
        store = Store(settings, timeout_s=STATEMENT_TIMEOUT_S)
        try:
            store_backup.create(store, settings.backup_disk, name, base)
        finally:
            store.close()
        made = next((each for each in shelf.complete() if each.name == name), None)
        if made is None:
            option = "BACKUP_DISK_URL" if settings.backup_disk_url else "BACKUP_DIR"
            raise BackupFailed(
                f"ClickHouse wrote {name}, and it is not in {option}={shelf}: set {option} to the"
                f" place of ClickHouse's disk {settings.backup_disk}"
            )
        deleted = prune(shelf, now_s, settings.backup_keep_days * DAY_S)
        return Made(made, shelf.size_bytes(name), deleted)


def restore(settings: Settings, name: str) -> list[Backup]:
    """Replace the database by a backup; blocks. No worker may run.

    Returns:
        The backup and those on which it is based.

    Raises: as `make`.
    """
    shelf = shelf_of(settings)
    with shelf.alone():
        parts = catalogue.chain(shelf.complete(), name)
        store = Store(settings, timeout_s=STATEMENT_TIMEOUT_S)
        try:
            original = shelf.database_of(name)
            store_backup.restore(store, settings.backup_disk, name, original)
        finally:
            store.close()
        return parts


def copy(settings: Settings, url: str) -> Copied:
    """Copy the backups to object storage, then delete expired copies; blocks.

    Raises:
        BackupFailed: Another run is at work.
        ConfigurationError: There is no folder, it cannot be read, or the URL is wrong.
        ObjectStorageFailed: The store does not answer or refuses.
    """
    # The library takes a while to import, and few need it.
    from radar.backup import copies

    folder, bucket = _folder_of(settings), bucket_at(settings, url)
    with folder.alone():
        names = copies.copy(folder.path, bucket, folder.complete())
        deleted = prune(bucket, time.time(), settings.backup_keep_days * DAY_S)
    return Copied(f"{bucket}", names, deleted)


def bring_back(settings: Settings, url: str, name: str) -> list[str]:
    """Copy a backup and its bases from object storage to the folder, if it lacks them; blocks.

    Returns:
        The names of the backups that the folder lacked.

    Raises: as `copy`.
    """
    from radar.backup import copies

    folder, bucket = _folder_of(settings), bucket_at(settings, url)
    with folder.alone():
        return copies.bring_back(folder.path, bucket, name)


def check_copies(settings: Settings, url: str) -> None:
    """Raise ConfigurationError if backups cannot be copied to a place, whatever the store says."""
    _folder_of(settings)
    bucket_at(settings, url)


def shelf_of(settings: Settings) -> Shelf:
    """Return the place of ClickHouse's disk of backups.

    Raises:
        ConfigurationError: ClickHouse is on another machine, and no option names the place, or it
            is a cluster.
    """
    if settings.clickhouse_cluster:
        raise ConfigurationError(
            "radar backs up one server, and CLICKHOUSE_CLUSTER is set: back up a cluster with"
            " BACKUP DATABASE … ON CLUSTER (docs/clickhouse-cluster.md)"
        )
    if settings.backup_disk_url:
        return bucket_at(settings, settings.backup_disk_url)
    return Folder(backup_folder(settings))


def bucket_at(settings: Settings, url: str) -> Bucket:
    """Return a place in object storage.

    Raises:
        ConfigurationError: The URL has another form than s3://BUCKET/PREFIX.
    """
    from radar import object_storage

    place = object_storage.parse(url)
    return Bucket(object_storage.ObjectStorage(place, settings.s3_endpoint_url))


def _folder_of(settings: Settings) -> Folder:
    shelf = shelf_of(settings)
    if not isinstance(shelf, Folder):
        raise ConfigurationError(
            "ClickHouse writes its backups to BACKUP_DISK_URL: leave out BACKUP_COPY_TO, --to and"
            " --from"
        )
    return shelf


def follow(settings: Settings, health: Health, stop: threading.Event) -> None:
    """Back up every BACKUP_EVERY_HOURS until `stop` is set, and show the newest backup; blocks."""
    every_s = settings.backup_every_hours * 3600
    not_before_s = 0.0
    copy_is_due = bool(settings.backup_copy_to)
    health.clear("start")
    while True:
        health.beat()
        try:
            newest = shelf_of(settings).complete()[-1:]
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
