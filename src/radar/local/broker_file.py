"""The embedded broker's only file: copied while the broker runs, put back when torn.

About once a second the broker writes the whole file anew and renames it into place, but does not
sync it. So a kill leaves a whole file. A power cut may leave half of one, which the broker refuses
at its next start. The copy beside it is synced.
"""

import contextlib
import os
import shutil
import time
from pathlib import Path

from radar.clock import utc_text
from radar.errors import RadarError

FILE, COPY = "kafka.json", "kafka.copy.json"
# The broker's message that it cannot read its file.
TORN = "failed to parse kafka snapshot"


class Keeper:
    """Keeps a synced copy of the broker's file. For one thread."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._copied: tuple[int, int, int] | None = None  # identifies the last copied file

    def keep(self) -> None:
        """Copy the file if the broker has written it anew; blocks until the copy is on the disk.

        Raises:
            OSError: The disk is full or fails; the earlier copy is still there.
        """
        unfinished = self._data_dir / f"{COPY}.tmp"
        try:
            # An open file stays whole, although the broker renames another into its place.
            with (self._data_dir / FILE).open("rb") as file:
                status = os.fstat(file.fileno())
                written = status.st_ino, status.st_mtime_ns, status.st_size
                if written == self._copied:
                    return
                with unfinished.open("wb") as copy:
                    shutil.copyfileobj(file, copy, 1 << 20)
                    copy.flush()
                    os.fsync(copy.fileno())
        except FileNotFoundError:
            return  # the broker has not saved yet
        except OSError:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise
        unfinished.replace(self._data_dir / COPY)
        _sync_folder(self._data_dir)
        self._copied = written


def put_back(data_dir: Path, reason: str) -> str:
    """Put the copy in the place of a torn file, which is kept under another name; blocks.

    Returns:
        One line that describes it.

    Raises:
        RadarError: There is no copy; no file was changed.
    """
    file, copy = data_dir / FILE, data_dir / COPY
    if not copy.exists():
        raise hopeless(data_dir, reason)
    kept = data_dir / f"{FILE}.torn-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    file.replace(kept)
    shutil.copyfile(copy, file)
    copied_at = utc_text(copy.stat().st_mtime)
    return (
        f"kafka: {file} is torn and was renamed to {kept.name} ({reason}); the broker starts from"
        f" {copy.name} of {copied_at}: messages since then that were not stored are lost"
    )


def hopeless(data_dir: Path, reason: str) -> RadarError:
    """Return the error that the broker's file is torn and no copy can be read; blocks."""
    file = data_dir / FILE
    # A copy is already in the file's place: do not try it again and again.
    (data_dir / COPY).unlink(missing_ok=True)
    return RadarError(
        f"kafka: {file} is torn and no copy of it can be read ({reason}): restore it from a backup,"
        f" or move it away to start without the messages that are not stored yet (mv {file}"
        f" {file}.torn)"
    )


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
