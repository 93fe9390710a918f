"""How long ClickHouse keeps the rows of each table, and when it moves them to object storage."""

from typing import NamedTuple

from radar.datasets import DATASETS, FRAMES
from radar.errors import ConfigurationError, QueryFailed, StoreUnavailable
from radar.store import day_volumes
from radar.store.client import Store
from radar.store.cluster import local
from radar.store.expiry import COLD_VOLUME, Rules, rules_in, ttl

# Tables that no dataset fills, and the time from which their rows expire.
_OTHERS = {day_volumes.TABLE: "asked_at"}


class Cold(NamedTuple):
    """When rows move to the volume COLD_VOLUME.

    Attributes:
        after_days: Days after the receipt; 0: never.
        policy: The storage policy of the server with the volume.
    """

    after_days: int = 0
    policy: str = ""


NO_COLD = Cold()


def retention_days(store: Store, table: str) -> int | None:
    """Return for how many days after their receipt a table keeps rows; None: for ever; blocks.

    Raises:
        StoreUnavailable: The server does not answer, or the table is missing.
        QueryFailed: The server refuses the query.
    """
    return rules_in(_definition(store, table)).delete_days


def apply(store: Store, of_rows: int, of_frames: int | None, cold: Cold = NO_COLD) -> None:
    """Let the rows of each table of records move and expire some days after their receipt; blocks.

    Args:
        store: The database.
        of_rows: Days until rows of all tables but that of frames expire.
        of_frames: Days until recorded frames expire; None: as it is.
        cold: When rows move. A table whose rows expire before does not move them.

    Raises:
        ConfigurationError: The server has no such storage policy.
        StoreUnavailable: The server does not answer.
        QueryFailed: The server refuses a statement.
    """
    tables = {each.table: "received_at" for each in DATASETS.values()} | _OTHERS
    for table, time in tables.items():
        days = of_frames if table == FRAMES.table else of_rows
        if days is None or not store.has_table(table):
            continue  # workers use the other tables, and another check reports the missing one
        definition = _definition(store, table)
        wanted = Rules(days, cold.after_days if 0 < cold.after_days < days else None)
        if rules_in(definition) == wanted:
            continue
        if wanted.move_days is not None:
            _set_policy(store, table, definition, cold.policy)
        store.command(f"ALTER TABLE {table} MODIFY TTL {ttl(time, days, wanted.move_days)}")


def _set_policy(store: Store, table: str, definition: str, policy: str) -> None:
    """Give a table the storage policy, which must hold the volumes that the table has now."""
    if f"storage_policy = '{policy}'" in definition:
        return
    try:
        store.command(f"ALTER TABLE {table} MODIFY SETTING storage_policy = '{policy}'")
    except QueryFailed as error:
        raise ConfigurationError(
            f"{table} cannot take the storage policy {policy}: {error}. Give ClickHouse a policy"
            f" with the volumes `default` and `{COLD_VOLUME}` (docs/operations.md, Cold data)"
        ) from error


def _definition(store: Store, table: str) -> str:
    definitions = store.rows(
        # In a cluster, the replicated table has the rules and not the distributed one.
        "SELECT create_table_query FROM system.tables WHERE database = currentDatabase()"
        " AND name IN ({table:String}, {local:String}) ORDER BY name DESC LIMIT 1",
        {"table": table, "local": local(table)},
    )
    if not definitions:
        raise StoreUnavailable(f"table {table} is missing from database {store.database}")
    return str(definitions[0][0])
