"""The places in which backups lie: a folder, or object storage."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from radar.backup import catalogue
from radar.backup.catalogue import END, Backup
from radar.errors import BackupFailed, ConfigurationError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from radar.object_storage import ObjectStorage

DAY_S = 86_400
_END = END.as_posix()


class Shelf(Protocol):
    """A place of backups. All methods block; those of object storage raise ObjectStorageFailed."""

    def __str__(self) -> str:
        """Return the path or the URL."""

    def names(self) -> list[str]:
        """Return the names of all backups, also of incomplete ones, and of other things."""

    def complete(self) -> list[Backup]:
        """Return the complete backups, oldest first."""

    def size_bytes(self, name: str) -> int:
        """Return the size of a backup."""

    def database_of(self, name: str) -> str:
        """Return the name that the database had, from the definitions in a backup."""

    def delete(self, name: str) -> None:
        """Delete a backup."""

    def alone(self) -> "AbstractContextManager[None]":
        """Keep other runs away, for the time of a block."""


class Folder:
    """A folder, which this machine sees."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return f"{self.path}"

    def names(self) -> list[str]:
        """Return the names in the folder."""
        return [each.name for each in self.path.iterdir()]

    def complete(self) -> list[Backup]:
        """Return the complete backups; raise ConfigurationError if the folder cannot be read."""
        return catalogue.complete(self.path)

    def size_bytes(self, name: str) -> int:
        """Return the size of all files."""
        files = (self.path / name).rglob("*")
        return sum(each.stat().st_size for each in files if each.is_file())

    def database_of(self, name: str) -> str:
        """Return the name of the only folder of definitions."""
        folders = (self.path / name / "progress" / "metadata").iterdir()
        return _only([each.name for each in folders if each.is_dir()], f"{self}/{name}")

    def delete(self, name: str) -> None:
        """Delete the folder of a backup."""
        try:
            shutil.rmtree(self.path / name)
        except OSError as error:
            raise ConfigurationError(
                f"{self.path / name} cannot be deleted: {error.strerror}: run this command as the"
                " user of ClickHouse"
            ) from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock of the folder."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (self.path / ".radar.lock").open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise BackupFailed(f"another backup or restore uses {self.path} now") from error
                yield
        except OSError as error:
            raise ConfigurationError(
                f"BACKUP_DIR={self.path}: {error.strerror}: let this user write the folder"
            ) from error


class Bucket:
    """A place in object storage."""

    def __init__(self, storage: "ObjectStorage") -> None:
        self.storage = storage

    def __str__(self) -> str:
        return f"{self.storage.place}"

    def names(self) -> list[str]:
        """Return the next part of all keys."""
        return self.storage.folders()

    def complete(self) -> list[Backup]:
        """Return the backups that have the file which is written last."""
        found = []
        for name in self.names():
            began_s = catalogue.began_at_s(name)
            if began_s is None:
                continue
            head = self.storage.head(f"{name}/{_END}", catalogue.HEAD_BYTES)
            if head is not None:
                base = catalogue.base_of(head.decode(errors="replace"))
                found.append(Backup(name, began_s, base))
        return sorted(found, key=lambda each: each.began_at_s)

    def size_bytes(self, name: str) -> int:
        """Return the size of all objects."""
        return sum(each.size_bytes for each in self.storage.objects(f"{name}/"))

    def database_of(self, name: str) -> str:
        """Return the only next part of the keys of definitions."""
        below = f"{name}/progress/metadata/"
        keys = (each.key.removeprefix(below) for each in self.storage.objects(below))
        folders = {key.partition("/")[0] for key in keys if "/" in key}
        return _only(sorted(folders), f"{self}/{name}")

    def delete(self, name: str) -> None:
        """Delete all objects of a backup; first the one without which it is incomplete."""
        self.storage.delete([f"{name}/{_END}"])
        self.storage.delete(each.key for each in self.storage.objects(f"{name}/"))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep nobody away: a backup has a name of its own, and ClickHouse refuses another's."""
        yield


def prune(shelf: Shelf, now_s: float, keep_s: float) -> list[str]:
    """Delete expired backups, and those that were interrupted a day ago; return their names.

    Blocks, and raises as the shelf.
    """
    there = shelf.complete()
    names = [each.name for each in catalogue.expired(there, now_s, keep_s)]
    known = {each.name for each in there}
    for name in shelf.names():
        began_s = catalogue.began_at_s(name)
        # Nobody writes what is so old.
        if began_s is not None and name not in known and now_s - began_s > DAY_S:
            names.append(name)
    for name in names:
        shelf.delete(name)
    return names


def _only(folders: list[str], place: str) -> str:
    if len(folders) != 1:
        raise ConfigurationError(f"{place} holds no database of radar")
    return folders[0]
