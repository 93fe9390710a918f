"""Statements of backups: BACKUP and RESTORE of ClickHouse, which run in the server."""

# How far the workers are accounted for is copied before the rows, so that it is never ahead of
# them: after a restore the workers store every later message of Kafka again.
PROGRESS = "delivery_progress"
_ROWS, _ACCOUNTS = "data", "progress"

STATE = "SELECT status, error FROM system.backups WHERE id = {id:String}"
DATABASES = "SELECT name FROM system.databases WHERE name IN {names:Array(String)}"


def back_up_progress(database: str, disk: str, name: str, job: str) -> str:
    """Return the statement that copies the accounts of the workers."""
    return (
        f"BACKUP TABLE `{database}`.`{PROGRESS}` TO {_place(disk, name, _ACCOUNTS)}"
        f" SETTINGS id = '{job}' ASYNC"
    )


def back_up_rows(database: str, disk: str, name: str, base: str, job: str) -> str:
    """Return the statement that copies everything else; `base`: only what that backup lacks."""
    based = f", base_backup = {_place(disk, base, _ROWS)}" if base else ""
    return (
        f"BACKUP DATABASE `{database}` EXCEPT TABLES `{PROGRESS}` TO {_place(disk, name, _ROWS)}"
        f" SETTINGS id = '{job}'{based} ASYNC"
    )


def create(database: str) -> str:
    """Return the statement that creates the database into which a backup is restored."""
    return f"CREATE DATABASE `{database}`"


def restore_progress(database: str, original: str, disk: str, name: str, job: str) -> str:
    """Return the statement that restores the accounts of the workers."""
    return (
        f"RESTORE TABLE `{original}`.`{PROGRESS}` AS `{database}`.`{PROGRESS}`"
        f" FROM {_place(disk, name, _ACCOUNTS)} SETTINGS id = '{job}' ASYNC"
    )


def restore_rows(database: str, original: str, disk: str, name: str, job: str) -> str:
    """Return the statement that restores everything else; views want the accounts to be there."""
    return (
        f"RESTORE DATABASE `{original}` AS `{database}` FROM {_place(disk, name, _ROWS)}"
        f" SETTINGS id = '{job}' ASYNC"
    )


def rename(database: str, to: str) -> str:
    """Return the statement that gives a database another name."""
    return f"RENAME DATABASE `{database}` TO `{to}`"


def drop(database: str) -> str:
    """Return the statement that deletes a database, however large its tables are."""
    return f"DROP DATABASE IF EXISTS `{database}` SYNC"


def _place(disk: str, name: str, part: str) -> str:
    return f"Disk('{disk}', '{name}/{part}')"
