"""Checks whether the folder RADAR_DATA_DIR can be written, by writing to it.

Permissions alone are not enough: root may write everywhere but to a read-only mount, and a full
disk takes no file.
"""

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from radar.errors import ConfigurationError

PROBE_BYTES = 4096
_ANOTHER = "set another RADAR_DATA_DIR"
_REMEDIES = {
    errno.EROFS: ("is on a read-only file system", f"mount it for writing, or {_ANOTHER}"),
    errno.ENOSPC: ("is on a full disk", f"free space, or {_ANOTHER}"),
    errno.EDQUOT: ("is beyond this user's disk quota", f"free space, or {_ANOTHER}"),
    errno.ENOTDIR: ("is or leads through a file, not a folder", f"move it away, or {_ANOTHER}"),
    errno.EEXIST: ("is or leads through a file, not a folder", f"move it away, or {_ANOTHER}"),
    errno.ENOENT: ("cannot be created", _ANOTHER),
    errno.ENAMETOOLONG: ("has too long a name", _ANOTHER),
    errno.ELOOP: ("leads through too many symbolic links", _ANOTHER),
}


def why_not_writable(folder: Path) -> tuple[str, str] | None:
    """Return the reason why radar cannot write to a folder, and the remedy; None if it can.

    A folder that does not exist is not created; then the folder above it counts.
    """
    path = folder.absolute()
    try:
        existing = next(each for each in (path, *path.parents) if each.exists())
        if not existing.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        _write(existing)
    except OSError as error:
        return explain(error, path)
    return None


def explain(error: OSError, folder: Path) -> tuple[str, str]:
    """Return the meaning of a file-system error for a folder, and the remedy."""
    if error.errno in {errno.EACCES, errno.EPERM}:
        existing = next(_existing(folder), folder)
        return (
            "cannot be written by this user",
            f"give {existing} to the user (`chown`), or {_ANOTHER}",
        )
    reason = f"cannot be written: {error.strerror or error}"
    return _REMEDIES.get(error.errno or 0, (reason, _ANOTHER))


def refusal(error: OSError, folder: Path) -> ConfigurationError:
    """Return the error of a command that cannot work without the folder, as one line."""
    reason, remedy = explain(error, folder)
    return ConfigurationError(f"RADAR_DATA_DIR={folder} {reason}: {remedy}")


def create(folder: Path) -> None:
    """Create a folder and the folders above it, and write to it once.

    Raises:
        OSError: It cannot be created or written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(folder)


def _existing(folder: Path) -> Iterator[Path]:
    for each in (folder.absolute(), *folder.absolute().parents):
        if os.path.lexists(each):
            yield each


def _write(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(PROBE_BYTES))
        file.flush()
