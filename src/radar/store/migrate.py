"""Numbered SQL migrations, applied in order and recorded in `schema_migrations`.

ClickHouse has neither locks nor transactions for schema changes. So every statement of a migration
can be repeated (IF NOT EXISTS, OR REPLACE). Workers that start at once may apply the same migration
side by side and end with the same schema.
"""

import hashlib

from radar.errors import ConfigurationError
from radar.settings import Settings
from radar.store import drift, retention, schema
from radar.store.client import Store
from radar.store.drift import Difference
from radar.store.retention import NO_COLD, Cold
from radar.store.schema import Migration, migrations

# The checksums of the migrations 1 to 20 of development versions, hashed in this order.
_BEFORE_BASELINE = "cbe365a039d70364"


def migrate(
    store: Store,
    retention_days: int,
    frames_retention_days: int | None = None,
    cold: Cold = NO_COLD,
) -> list[Migration]:
    """Bring the database to the newest schema and return the applied migrations; blocks.

    Several processes may do it at once.

    A table of an earlier migration that is missing stays missing; `repair_schema` creates it.

    Args:
        store: The database.
        retention_days: Rows expire this many days after their receipt.
        frames_retention_days: The same for recorded frames; None: as it is.
        cold: When rows move to object storage.

    Raises:
        StoreUnavailable: The server does not answer.
        QueryFailed: The server refuses a statement.
        ConfigurationError: The database was made by other migrations than these, or for one server
            and not for a cluster, or the other way round; or the server has no such storage policy.
    """
    # A worker's user may have no right to create tables, and needs none in a complete database.
    if not store.has_table("schema_migrations"):
        store.create_database()
        store.command(
            "CREATE TABLE IF NOT EXISTS schema_migrations (version UInt32, name String,"
            " checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3))"
            " ENGINE = ReplacingMergeTree(applied_at) ORDER BY version"
        )
    _refuse_other_kind(store)
    recorded = _recorded(store)
    applied = []
    for migration in migrations():
        if (checksum := recorded.pop(migration.version, None)) is not None:
            if checksum != migration.checksum:
                raise ConfigurationError(
                    f"migration {migration.version:04} was changed after the database"
                    f" {store.database} applied it; use a new database or restore the file"
                )
            continue
        for statement in migration.statements:
            store.command(statement)
        store.command(
            "INSERT INTO schema_migrations (version, name, checksum) VALUES"
            f" ({migration.version}, '{migration.name}', '{migration.checksum}')"
        )
        applied.append(migration)
    if recorded:
        raise ConfigurationError(
            f"database {store.database} has migration {max(recorded):04}, which this version of"
            " radar does not know; install the newer radar"
        )
    retention.apply(store, retention_days, frames_retention_days, cold)
    return applied


def migrate_as_configured(store: Store, settings: Settings) -> list[Migration]:
    """Do the same as `migrate`, with the retention that the options name; blocks."""
    cold = Cold(settings.cold_after_days, settings.cold_storage_policy)
    return migrate(store, settings.retention_days, settings.frames_retention_days, cold)


def _refuse_other_kind(store: Store) -> None:
    """Refuse a database of one server in a cluster, whose servers would each hold other rows.

    Without CLICKHOUSE_CLUSTER the inserts into a cluster would not wait for the shards.
    """
    ((engine,),) = store.rows(
        "SELECT engine FROM system.tables"
        " WHERE database = currentDatabase() AND name = 'schema_migrations'"
    )
    is_replicated = str(engine).startswith("Replicated")
    if store.cluster and not is_replicated:
        raise ConfigurationError(
            f"CLICKHOUSE_CLUSTER is {store.cluster.name}, and database {store.database} was made"
            " for one server: set a new CLICKHOUSE_DB, and copy the rows"
            " (docs/clickhouse-cluster.md)"
        )
    if is_replicated and not store.cluster:
        raise ConfigurationError(
            f"database {store.database} was made for a cluster: set CLICKHOUSE_CLUSTER to its name"
        )


def recorded_version(store: Store) -> int | None:
    """Return the number of the newest migration that the database has; None: it has none; blocks.

    Raises:
        StoreUnavailable: The server does not answer.
        QueryFailed: The server refuses the query.
        ConfigurationError: The database is of a development version before the baseline.
    """
    if not store.has_table("schema_migrations"):
        return None
    return max(_recorded(store), default=None)


def _recorded(store: Store) -> dict[int, str]:
    """Return the checksum of each applied migration by version; blocks.

    The baseline creates the schema of the 20 migrations before it, so a database with all of them
    is at the baseline.
    """
    recorded = {
        int(version): str(checksum)
        for version, checksum in store.rows("SELECT version, checksum FROM schema_migrations FINAL")
    }
    baseline = migrations()[0]
    before = [version for version in sorted(recorded) if version <= baseline.version]
    if before in ([], [baseline.version]):
        return recorded
    checksums = "".join(recorded.pop(version) for version in before)
    if hashlib.sha256(checksums.encode()).hexdigest()[:16] != _BEFORE_BASELINE:
        raise ConfigurationError(
            f"database {store.database} is at migration {before[-1]:04} of an older development"
            f" version; start the last radar before {baseline.version:04}_{baseline.name}.sql once,"
            " or use a new database (docs/upgrading.md, Baseline)"
        )
    return recorded | {baseline.version: baseline.checksum}


def repair_schema(store: Store, *, types: bool = False) -> list[Difference]:
    """Create again the missing objects of the applied migrations; blocks.

    Args:
        store: The database, which may be missing.
        types: Change columns of another type as well.

    Returns:
        The restored differences.

    Raises:
        StoreUnavailable: The server does not answer.
        QueryFailed: The server refuses a statement.
    """
    known = schema.newest()
    if not any(store.has_table(table) for table in ("schema_migrations", *known.tables)):
        return []  # a new database
    if store.has_table("schema_migrations"):
        applied = {int(row[0]) for row in store.rows("SELECT version FROM schema_migrations")}
        known = schema.read(
            statement
            for migration in migrations()
            if migration.version in applied
            for statement in migration.statements
        )
    return drift.repair(store, drift.differences(store, known), known, types=types)
