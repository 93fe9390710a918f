"""Secrets that radar creates and keeps in a file that only its user can read."""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from radar.errors import ConfigurationError

SECRET_BYTES = 24
MAX_SECRET_BYTES = 4096


def read_or_create(path: Path) -> str:
    """Return the secret in a file; create the file with a random secret if it is missing.

    Two processes that create it at the same time get the same secret. The folder must exist.

    Raises:
        ConfigurationError: Others may read the file, or it cannot be read or written.
    """
    with suppress(FileExistsError):
        _create(path, secrets.token_urlsafe(SECRET_BYTES))
    return read(path)


def read(path: Path) -> str:
    """Return the secret in a file.

    Raises:
        ConfigurationError: The file is missing, empty or unreadable, or others may read it.
    """
    try:
        # A link could lead to another user's file.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            _check_private(path, os.fstat(descriptor))
            secret = file.read(MAX_SECRET_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigurationError(f"cannot read the secret in {path}: {reason}") from error
    if not secret:
        raise ConfigurationError(f"{path} is empty: delete it, and radar creates another secret")
    return secret


def _create(path: Path, secret: str) -> None:
    """Create the file as a whole or not at all, so that no reader sees an empty one."""
    if path.exists():
        raise FileExistsError(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(f"{secret}\n")
            os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except FileExistsError:
        raise
    except OSError as error:
        raise ConfigurationError(
            f"cannot create {path}: {error.strerror}: see `radar doctor`, or set another"
            " RADAR_DATA_DIR"
        ) from error


def _check_private(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(f"{path} is not a file: delete it, and radar creates a secret")
    if found.st_uid != os.geteuid():
        raise ConfigurationError(f"{path} belongs to another user: delete it, or move it away")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(
            f"other users may read {path}: run `chmod 600 {path}`, or delete it to get a new secret"
        )
