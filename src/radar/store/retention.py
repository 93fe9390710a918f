"""How long ClickHouse keeps the rows of each table."""

import re

from radar.datasets import DATASETS, FRAMES
from radar.errors import StoreUnavailable
from radar.store import day_volumes
from radar.store.client import Store
from radar.store.cluster import local

# Tables that no dataset fills, and the time from which their rows expire.
_OTHERS = {day_volumes.TABLE: "asked_at"}


def retention_days(store: Store, table: str) -> int | None:
    """Return for how many days after their receipt a table keeps rows; None: for ever; blocks.

    Raises:
        StoreUnavailable: The server does not answer, or the table is missing.
        QueryFailed: The server refuses the query.
    """
    definitions = store.rows(
        # In a cluster, the replicated table has the TTL and not the distributed one.
        "SELECT create_table_query FROM system.tables WHERE database = currentDatabase()"
        " AND name IN ({table:String}, {local:String}) ORDER BY name DESC LIMIT 1",
        {"table": table, "local": local(table)},
    )
    if not definitions:
        raise StoreUnavailable(f"table {table} is missing from database {store.database}")
    current = re.search(r"TTL .*?toIntervalDay\((\d+)\)", str(definitions[0][0]))
    return int(current[1]) if current else None


def apply(store: Store, of_rows: int, of_frames: int | None) -> None:
    """Let the rows of each table of records expire so many days after their receipt; blocks.

    Args:
        store: The database.
        of_rows: Days of all tables but that of frames.
        of_frames: Days of recorded frames; None: as it is.

    Raises:
        StoreUnavailable: The server does not answer.
        QueryFailed: The server refuses a statement.
    """
    tables = {each.table: "received_at" for each in DATASETS.values()} | _OTHERS
    for table, time in tables.items():
        days = of_frames if table == FRAMES.table else of_rows
        if days is None or not store.has_table(table):
            continue  # workers use the other tables, and another check reports the missing one
        if retention_days(store, table) != days:
            store.command(
                f"ALTER TABLE {table} MODIFY TTL toDateTime({time}) + toIntervalDay({days})"
            )
