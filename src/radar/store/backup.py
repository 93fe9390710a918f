"""Backups of the database, which ClickHouse itself writes to a disk of the server."""

import re
import time
import uuid
from collections.abc import Callable

from radar.errors import BackupFailed, StoreUnavailable
from radar.store.client import Store
from radar.store.queries import backup as queries

ASK_EVERY_S = 0.2
# A server that was restarted meanwhile knows nothing of the job.
FORGOTTEN_S = 10.0
# The database that a restore replaces keeps its rows under this suffix until the end.
ASIDE = "_before_restore"

_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_RUNNING = frozenset({"CREATING_BACKUP", "RESTORING"})
_DONE = frozenset({"BACKUP_CREATED", "RESTORED"})


def create(store: Store, disk: str, name: str, base: str) -> None:
    """Back up the database while workers go on; blocks until it is complete.

    Args:
        store: The database.
        disk: The disk of the server to write to.
        name: Of the new backup: letters, digits, - and _.
        base: The backup on which it is based, so that it holds only what that one lacks; empty: it
            holds everything.

    Raises:
        BackupFailed: The server could not write the backup.
        StoreUnavailable: The server does not answer.
        QueryFailed: The server refuses, because a right or the disk is missing.
    """
    for each in (name, base):
        _check(each)
    _run(store, lambda job: queries.back_up_progress(store.database, disk, name, job))
    _run(store, lambda job: queries.back_up_rows(store.database, disk, name, base, job))


def restore(store: Store, disk: str, name: str, original: str) -> None:
    """Replace the database by a backup; blocks. No worker may run.

    The present database keeps its rows until the backup is restored, which needs the disk for both.

    Args:
        store: The database; it may be missing.
        disk: The disk of the server to read from.
        name: Of the backup.
        original: The name that the database had when it was backed up.

    Raises:
        BackupFailed: The server could not restore it; the database is as it was.
        StoreUnavailable: The server does not answer.
        QueryFailed: The server refuses a statement.
    """
    _check(name)
    database, aside = store.database, f"{store.database}{ASIDE}"
    known = {
        str(found)
        for (found,) in store.server_rows(queries.DATABASES, {"names": [database, aside]})
    }
    if aside in known:
        raise BackupFailed(
            f"the database {aside} is there: an earlier restore was interrupted. Drop it, or drop"
            f" {database} and rename {aside} back, and try again"
        )
    if database in known:
        store.server_command(queries.rename(database, aside))
    try:
        store.server_command(queries.create(database))
        for statement in (queries.restore_progress, queries.restore_rows):
            _run(
                store,
                lambda job, make=statement: make(database, original, disk, name, job),  # type: ignore[misc]
            )
    except BaseException:
        store.server_command(queries.drop(database), {"max_table_size_to_drop": 0})
        if database in known:
            store.server_command(queries.rename(aside, database))
        raise
    if database in known:
        store.server_command(queries.drop(aside), {"max_table_size_to_drop": 0})


def _check(name: str) -> None:
    if name and not _NAME.fullmatch(name):
        raise BackupFailed(f"{name!r} is no name of a backup: use letters, digits, - and _")


def _run(store: Store, statement: Callable[[str], str]) -> None:
    """Run a statement in the server's background, and wait for its end."""
    job = f"radar-{uuid.uuid4().hex}"
    store.server_command(statement(job))
    known_at_s = time.monotonic()
    while True:
        try:
            rows = store.server_rows(queries.STATE, {"id": job})
        except StoreUnavailable:
            if time.monotonic() > known_at_s + FORGOTTEN_S:
                raise
            rows = []
        if rows:
            known_at_s = time.monotonic()
            ((status, error),) = rows
            if status in _DONE:
                return
            if status not in _RUNNING:
                raise BackupFailed(f"ClickHouse: {_first_line(str(error)) or status}")
        elif time.monotonic() > known_at_s + FORGOTTEN_S:
            raise BackupFailed("ClickHouse was restarted meanwhile: try again")
        time.sleep(ASK_EVERY_S)


def _first_line(error: str) -> str:
    return error.partition(", Stack trace")[0].partition("\n")[0]
