"""The data directory of the embedded pipeline: its place, its lock, its end."""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from radar import data_folder
from radar.errors import ConfigurationError
from radar.settings import Settings

BACKUPS = "backups"
LEDGERS = "ledger*.ndjson"
LEFT_OVER_TIMEOUT_S = 60.0


def prepare(settings: Settings, *, simulated: bool) -> Path:
    """Create the data directory; other users can read neither it nor later files of this process.

    Raises:
        ConfigurationError: It cannot be created or written.
    """
    os.umask(0o077)
    directory = path_of(settings, simulated=simulated)
    try:
        data_folder.create(directory)
        data_folder.create(directory / "logs")
        # An earlier version created a folder that others could read.
        settings.radar_data_dir.absolute().chmod(0o700)
    except OSError as error:
        raise data_folder.refusal(error, settings.radar_data_dir) from error
    return directory


def path_of(settings: Settings, *, simulated: bool) -> Path:
    """Return the folder of the embedded data of the real or the simulated exchange."""
    base = settings.radar_data_dir.absolute()
    return base / "simulated" if simulated else base


def delete(directory: Path) -> None:
    """Delete a data directory of the embedded mode, but for the backups in it.

    Raises:
        ConfigurationError: A `radar up` uses it.
    """
    if not directory.is_dir():
        return
    with contextlib.ExitStack() as stack:
        for used in (directory, directory / "simulated"):
            if used.is_dir():
                stack.enter_context(locked(used))
        backups = directory / BACKUPS
        if not backups.is_dir() or not any(backups.iterdir()):
            shutil.rmtree(directory)
            return
        for path in directory.iterdir():
            if path.is_dir() and path != backups:
                shutil.rmtree(path)
            elif path != backups:
                path.unlink()


def check_unused(directory: Path) -> None:
    """Return if no process uses a data directory of the embedded mode, or there is none.

    Raises:
        ConfigurationError: A `radar up` uses it.
    """
    for used in (directory, directory / "simulated"):
        if used.is_dir():
            with locked(used):
                pass


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[IO[str]]:
    """Lock the data; provide the file that the children inherit and so keep locked.

    Raises:
        ConfigurationError: Another `radar up`, or a child of one that was killed, uses the data.
    """
    with (data_dir / "lock").open("w") as lock, (data_dir / "children.lock").open("w") as children:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(
                f"another `radar up` uses {data_dir}: stop it, or set another RADAR_DATA_DIR"
            ) from error
        _await_children(children, data_dir)
        yield children


def _await_children(lock: IO[str], data_dir: Path) -> None:
    """Wait until the children of a killed `radar up` have ended; blocks.

    Until then its stores answer, and would count as foreign stores.
    """
    deadline_s = time.monotonic() + LEFT_OVER_TIMEOUT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() > deadline_s:
                raise ConfigurationError(
                    f"processes of a `radar up` that was killed still use {data_dir}: end them"
                ) from error
            time.sleep(0.05)
        else:
            return
