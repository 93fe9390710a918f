"""Databases of tests: to empty one is much cheaper than to migrate a new one."""

import time
from collections import defaultdict, deque
from contextlib import closing
from typing import Any

from radar.settings import load
from radar.store.client import Store
from radar.store.migrate import migrate

Rows = list[tuple[Any, ...]]

KEPT = "schema_migrations"  # the only rows that a new database has
# A statement of a process that was killed at the end of a test may run for a moment longer.
RESTING = 2


def new_name() -> str:
    return f"t_{time.monotonic_ns()}"


class MigratedDatabases:
    """Migrated databases whose tests have ended."""

    def __init__(self, resting: int = RESTING) -> None:
        self._resting = resting
        self._schema: set[tuple[str, str]] = set()
        self._marks: dict[str, Rows] = {}  # of databases that have the schema
        self._free: dict[int, deque[str]] = defaultdict(deque)  # by the server's port

    def take(self, port: int) -> str:
        """Return the name of a migrated database without rows."""
        free = self._free[port]
        with _open(port, "default") as server:
            while len(free) > self._resting:
                name = free.popleft()
                if self._drop_changed(server, name):
                    continue
                _empty(server, name)
                return name
            name = new_name()
            with _open(port, name) as store:
                migrate(store, load().retention_days)
            self._schema = self._schema or _schema(server, name)
            return name

    def put_back(self, store: Store, port: int) -> None:
        """Keep a database for a later test, unless the test has changed its schema.

        The connection is the test's own: its variables may lead to another address by now.
        """
        # A test may have stopped the merges of a table; mutations wait for them.
        store.command("SYSTEM START MERGES")
        if not self._drop_changed(store, store.database):
            self._free[port].append(store.database)

    def _drop_changed(self, server: Store, name: str) -> bool:
        """Drop a database of another schema, or whose mutations would go on; return whether."""
        is_changed = not self._has_schema(server, name) or _mutates(server, name)
        if is_changed:
            server.command(f"DROP DATABASE IF EXISTS {name}")
        return is_changed

    def _has_schema(self, server: Store, name: str) -> bool:
        """Compare a new database's definitions, and later only what changes with them.

        ClickHouse takes ten times as long to write the definitions.
        """
        mark = _mark(server, name)
        if name in self._marks:
            return mark == self._marks[name]
        self._marks[name] = mark
        return _schema(server, name) == self._schema


def _open(port: int, name: str) -> closing[Store]:
    return closing(Store(load(clickhouse_port=port, clickhouse_db=name)))


def _schema(server: Store, name: str) -> set[tuple[str, str]]:
    """Return the definitions of all tables and views, and the applied migrations."""
    rows = server.rows(
        "SELECT name, replaceAll(create_table_query, {name:String}, '') FROM system.tables"
        " WHERE database = {name:String}",
        {"name": name},
    )
    found = {(str(table), str(statement)) for table, statement in rows}
    if any(table == KEPT for table, _ in found):
        applied = server.rows(f"SELECT toString(version), checksum FROM {name}.{KEPT} FINAL")
        found |= {(str(version), str(checksum)) for version, checksum in applied}
    return found


def _mark(server: Store, name: str) -> Rows:
    """Return what is different after any change of a table, a view or the applied migrations."""
    return server.rows(
        "SELECT name, uuid, metadata_modification_time, if(name = {kept:String}, total_rows, 0)"
        " FROM system.tables WHERE database = {name:String} ORDER BY name",
        {"name": name, "kept": KEPT},
    )


def _empty(server: Store, name: str) -> None:
    filled = server.rows(
        "SELECT name FROM system.tables WHERE database = {name:String} AND total_rows > 0",
        {"name": name},
    )
    for (table,) in filled:
        if table != KEPT:
            server.command(f"TRUNCATE TABLE {name}.{table}")


def _mutates(server: Store, name: str) -> bool:
    ((count,),) = server.rows(
        "SELECT count() FROM system.mutations WHERE database = {name:String} AND NOT is_done",
        {"name": name},
    )
    return bool(count)
