"""The backups in a folder: their names and dates, what each is based on, which have expired."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from radar.errors import ConfigurationError

_NAME = re.compile(r"radar-(\d{8}T\d{6}Z)-(?:full|incremental)")
_DATE = "%Y%m%dT%H%M%SZ"
_BASE = re.compile(r"<base_backup>Disk\(\\?'[^']*', \\?'([\w-]+)/data\\?'\)</base_backup>")
HEAD_BYTES = 4096
# ClickHouse writes this file last.
END = Path("data", ".backup")


class Backup(NamedTuple):
    """One complete backup.

    Attributes:
        name: Its folder.
        began_at_s: When it was begun, Unix time.
        base: The backup on which it is based; empty: it holds everything.
    """

    name: str
    began_at_s: int
    base: str


def new_name(now_s: float, *, is_full: bool) -> str:
    """Return the name of a backup that begins now, Unix time."""
    date = datetime.fromtimestamp(now_s, UTC).strftime(_DATE)
    return f"radar-{date}-{'full' if is_full else 'incremental'}"


def began_at_s(name: str) -> int | None:
    """Return the Unix time in a name; None if it is no name of a backup."""
    if (found := _NAME.fullmatch(name)) is None:
        return None
    try:
        return int(datetime.strptime(found[1], _DATE).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


def complete(folder: Path) -> list[Backup]:
    """Return the complete backups of a folder, oldest first; blocks.

    Raises:
        ConfigurationError: The folder cannot be read.
    """
    found = []
    try:
        for path in folder.iterdir():
            began_s = began_at_s(path.name)
            if began_s is None or not (path / END).is_file():
                continue
            with (path / END).open(errors="replace") as file:
                found.append(Backup(path.name, began_s, base_of(file.read(HEAD_BYTES))))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigurationError(
            f"BACKUP_DIR={folder}: {error.strerror}: let this user read the folder"
        ) from error
    return sorted(found, key=lambda each: each.began_at_s)


def base_of(head: str) -> str:
    """Return the base of a backup from the beginning of its last file; empty: it has none."""
    found = _BASE.search(head)
    return found[1] if found else ""


def chain(backups: Iterable[Backup], name: str) -> list[Backup]:
    """Return a backup and all those on which it is based, the newest first.

    Raises:
        ConfigurationError: There is no such backup, or one of its bases is missing.
    """
    known = {each.name: each for each in backups}
    if name not in known:
        raise ConfigurationError(
            f"there is no complete backup {name}: `radar backup list` names them"
        )
    found = [known[name]]
    while base := found[-1].base:
        if base not in known or len(found) > len(known):
            raise ConfigurationError(
                f"{name} is based on {base}, which is missing: restore an older backup"
            )
        found.append(known[base])
    return found


def base_of_next(backups: Sequence[Backup], now_s: float, full_every_s: float) -> str:
    """Return the backup on which the next one is based; empty: it shall hold everything."""
    if not backups:
        return ""
    newest = backups[-1]
    try:
        oldest = chain(backups, newest.name)[-1]
    except ConfigurationError:
        return ""  # a base was deleted by hand
    return newest.name if now_s - oldest.began_at_s < full_every_s else ""


def expired(backups: Sequence[Backup], now_s: float, keep_s: float) -> list[Backup]:
    """Return the backups to delete: older than `keep_s`, and no base of one that is kept.

    The newest backup is always kept.
    """
    kept = {each.name for each in backups if now_s - each.began_at_s <= keep_s}
    kept |= {each.name for each in backups[-1:]}
    bases = {each.name: each.base for each in backups}
    for name in list(kept):
        base = bases[name]
        while base and base not in kept:
            kept.add(base)
            base = bases.get(base, "")
    return [each for each in backups if each.name not in kept]
