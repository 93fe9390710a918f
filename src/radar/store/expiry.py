"""The rules by which ClickHouse moves and deletes the rows of a table, in its definition."""

import re
from typing import NamedTuple

# The volume of the storage policy to which rows move.
COLD_VOLUME = "cold"

_DELETE = re.compile(r"TTL .*?toIntervalDay\((\d+)\)(?! TO VOLUME)")
_MOVE = re.compile(rf"toIntervalDay\((\d+)\) TO VOLUME '{COLD_VOLUME}'")


class Rules(NamedTuple):
    """Days after the receipt of a row; None: never."""

    delete_days: int | None
    move_days: int | None


def rules_in(definition: str) -> Rules:
    """Return the rules in the definition of a table."""
    delete, move = _DELETE.search(definition), _MOVE.search(definition)
    return Rules(int(delete[1]) if delete else None, int(move[1]) if move else None)


def ttl(time: str, delete_days: int, move_days: int | None) -> str:
    """Return the rules as an expression of ClickHouse.

    Args:
        time: The column of the receipt.
        delete_days: Days until a row is deleted.
        move_days: Days until a row moves; None: it stays.
    """
    delete = f"toDateTime({time}) + toIntervalDay({delete_days})"
    if move_days is None:
        return delete
    return f"{delete}, toDateTime({time}) + toIntervalDay({move_days}) TO VOLUME '{COLD_VOLUME}'"
