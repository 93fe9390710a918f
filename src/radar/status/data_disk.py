"""Whether the disk under the data folder of `radar up` is full."""

import os
import shutil
from pathlib import Path

from radar.status.model import DiskState

FULL_BELOW_BYTES = 1024 * 1024  # a store needs more than that to write at all


def disk_full(folder: Path) -> str | None:
    """Return that the disk under a folder is full, with its free space; None while it is not.

    A disk whose free space cannot be read does not count as full: its writers report their errors.
    """
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes < FULL_BELOW_BYTES:
        return f"disk full: {folder} has {free_bytes // 1024:,} KiB left"
    if disk.f_files and not disk.f_favail:
        return f"disk full: {folder} takes no more files"
    return None


def space(folder: Path) -> DiskState | None:
    """Return the free space of the disk under a folder; None if it cannot be read."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return DiskState(str(folder), usage.free, usage.total)
