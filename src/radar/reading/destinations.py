"""The places to which an export writes: a folder, or object storage.

In both, a file appears or is replaced when it is complete, and the manifest lists only such files.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from radar.errors import ConfigurationError, ObjectChanged, RadarError
from radar.reading import manifest
from radar.reading.formats.base import replacing
from radar.settings import Settings

if TYPE_CHECKING:
    from radar.object_storage import ObjectStorage, Place

MAX_MANIFEST_BYTES = 1 << 30
# In object storage, where files have no time of modification that radar could set.
COMPLETE_UNTIL = "complete_until"


class Destination(Protocol):
    """A place of exported files; names are relative to it. All methods block.

    Attributes:
        save_every_s: How often the manifest is written while an export runs.
    """

    save_every_s: float

    def entries(self) -> manifest.Entries:
        """Return the entries of the manifest; none without one."""

    def save(self, entries: manifest.Entries) -> None:
        """Write the manifest; a manifest without change stays."""

    def complete_until(self, name: str, entry: manifest.Entry) -> datetime | None:
        """Return the database's clock when a file was written; None without the file."""

    def is_described(self, name: str, entry: manifest.Entry) -> bool:
        """Return whether an entry belongs to the file that is there."""

    def replacing(self, name: str, complete_until: datetime) -> AbstractContextManager[Path]:
        """Provide a place on this machine for a file, which appears when it is whole."""

    def facts(self, complete_until: datetime) -> manifest.Entry:
        """Return further fields of the entry of a file that was just written."""


@contextmanager
def opened_at(
    settings: Settings, target: "Path | Place", name: str, manifest_name: str
) -> Iterator[Destination]:
    """Provide the destination of an export, for the time of a block; blocks.

    Args:
        settings: The options, with the endpoint of the object storage.
        target: The folder or the place in object storage.
        name: Of the dataset or format, below the target.
        manifest_name: The name of its manifest.

    Raises:
        ConfigurationError: The folder cannot be written to, or another export writes to it.
        ObjectStorageFailed: The object storage does not answer or refuses.
    """
    if isinstance(target, Path):
        with _locked(target / name) as below:
            yield Folder(below, manifest_name)
        return
    from radar.object_storage import ObjectStorage

    storage = ObjectStorage(target / name, settings.s3_endpoint_url)
    with tempfile.TemporaryDirectory(prefix="radar-export-") as folder:
        yield Bucket(storage, manifest_name, Path(folder))


class Folder:
    """A folder of this machine; the modification time of a file says until when it is complete."""

    save_every_s = 5.0

    def __init__(self, path: Path, manifest_name: str) -> None:
        self.path = path
        self._manifest = path / manifest_name

    def entries(self) -> manifest.Entries:
        """Read the manifest."""
        try:
            text = self._manifest.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigurationError(
                f"cannot read {self._manifest}: remove it, and export again"
            ) from error
        return manifest.parse(text, f"{self._manifest}")

    def save(self, entries: manifest.Entries) -> None:
        """Write the manifest under another name and rename it."""
        text = manifest.text_of(entries)
        try:
            known = self._manifest.read_bytes() if self._manifest.exists() else None
        except OSError as error:
            raise RadarError(f"cannot read {self._manifest}: {error.strerror}") from error
        if known != text and (entries or known is not None):
            with replacing(self._manifest) as place:
                place.write_bytes(text)

    def complete_until(self, name: str, _entry: manifest.Entry) -> datetime | None:
        """Return the time of modification."""
        try:
            return datetime.fromtimestamp((self.path / name).stat().st_mtime, UTC)
        except FileNotFoundError:
            return None

    def is_described(self, name: str, entry: manifest.Entry) -> bool:
        """Return whether the entry has the file's size; an earlier radar wrote no entries."""
        return entry.get("bytes") == (self.path / name).stat().st_size and "rows" in entry

    @contextmanager
    def replacing(self, name: str, complete_until: datetime) -> Iterator[Path]:
        """Provide a place beside the file."""
        with replacing(self.path / name) as place:
            yield place
            stamp_s = complete_until.timestamp()
            os.utime(place, (stamp_s, stamp_s))

    def facts(self, _complete_until: datetime) -> manifest.Entry:
        """Return nothing more."""
        return {}


class Bucket:
    """A place in object storage. The manifest says until when a file is complete.

    A file that the manifest does not list is written again, with the same name. The store refuses a
    manifest if another export has written it meanwhile.
    """

    # The whole manifest is uploaded.
    save_every_s = 60.0

    def __init__(self, storage: "ObjectStorage", manifest_name: str, folder: Path) -> None:
        self._storage = storage
        self._manifest = manifest_name
        self._folder = folder
        self._text: bytes | None = None
        self._version: str | None = None
        self._sizes: dict[str, int] = {}

    def entries(self) -> manifest.Entries:
        """Read the manifest, and list the objects that are there."""
        found = self._storage.read(self._manifest, MAX_MANIFEST_BYTES)
        if found is None:
            return {}
        self._text, self._version = found
        entries = manifest.parse(self._text, f"{self._storage.place}/{self._manifest}")
        self._sizes = {
            each.key: each.size_bytes for each in self._storage.objects() if each.key in entries
        }
        return entries

    def save(self, entries: manifest.Entries) -> None:
        """Replace the manifest that this export has read."""
        text = manifest.text_of(entries)
        if text == self._text or not (entries or self._text):
            return
        try:
            self._version = self._storage.replace(self._manifest, text, self._version)
        except ObjectChanged as error:
            raise ConfigurationError(
                f"another export writes to {self._storage.place}: wait for it, and export again"
            ) from error
        self._text = text

    def complete_until(self, name: str, entry: manifest.Entry) -> datetime | None:
        """Return the time in the entry of an object of that size."""
        if not self.is_described(name, entry):
            return None
        try:
            found = datetime.fromisoformat(str(entry.get(COMPLETE_UNTIL)))
        except ValueError:
            return None
        return found if found.tzinfo else None

    def is_described(self, name: str, entry: manifest.Entry) -> bool:
        """Return whether the entry has the object's size."""
        return name in self._sizes and entry.get("bytes") == self._sizes[name] and "rows" in entry

    @contextmanager
    def replacing(self, name: str, _complete_until: datetime) -> Iterator[Path]:
        """Provide a temporary place, from which the file is uploaded."""
        place = self._folder / "file"
        try:
            yield place
            self._storage.upload(place, name)
        except OSError as error:
            raise RadarError(f"cannot write {place}: {error.strerror}") from error
        finally:
            place.unlink(missing_ok=True)

    def facts(self, complete_until: datetime) -> manifest.Entry:
        """Return the time until which the file is complete."""
        return {COMPLETE_UNTIL: complete_until.isoformat()}


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Keep other exports away from a folder; an empty folder is removed again."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    except OSError as error:
        raise ConfigurationError(f"cannot write to {folder}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The export before may have removed the file after it was opened here.
            if not path.exists() or not os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                raise BlockingIOError
        except BlockingIOError as error:
            raise ConfigurationError(
                f"another export writes to {folder}: wait for it, or give another folder"
            ) from error
        try:
            yield folder
        finally:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # not empty
                for each in made:
                    each.rmdir()
