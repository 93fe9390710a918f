"""The form of radar's statements for a cluster of ClickHouse servers: pure.

Migrations are written once, for one server. With CLICKHOUSE_CLUSTER each of their statements gets
its form for the cluster here, and so does every other statement that changes a table:

- A table of records of one market is sharded. `NAME_local` is replicated within its shard, and
  `NAME` is a Distributed table over the shards. The sharding key is a part of the sorting key, so
  deliveries of one record meet in one shard, where they collapse.
- Every other table is small, and replicated on all servers.
- Views are created on all servers. They read the Distributed tables by the names of one server.

The module keeps to the forms of statements that `schema.py` reads.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

LOCAL = "_local"
# The sharding key of each sharded table. Each column is in the sorting key of its table.
SHARDED = {
    "trades_master": "cityHash64(source, symbol)",
    "orderbook_depth": "cityHash64(source, symbol)",
    "book_updates": "cityHash64(source, symbol)",
    "frames": "cityHash64(source, connection)",
}
# As many blocks as without replication, and as long as Kafka keeps messages by default: so long a
# worker may come back to a block that it planned.
DEDUPLICATION_WINDOW = 100_000
DEDUPLICATION_SECONDS = 7 * 24 * 3600

_CREATE_TABLE = re.compile(r"\s*CREATE TABLE IF NOT EXISTS (\w+)\b(.*)", re.DOTALL)
_CREATE_VIEW = re.compile(r"\s*CREATE OR REPLACE VIEW (\w+)\b(.*)", re.DOTALL)
_ALTER_TABLE = re.compile(r"\s*ALTER TABLE (\w+)\b(.*)", re.DOTALL)
_DELETE = re.compile(r"\s*DELETE FROM (\w+)\b(.*)", re.DOTALL)
_ENGINE = re.compile(r"\bENGINE = (\w*MergeTree)(?:\(([^()]*)\))?")
_WINDOW = re.compile(r"\bnon_replicated_deduplication_window = \d+")
_SETTINGS = re.compile(r"\bSETTINGS\b")
_COMMENTS = re.compile(r"('(?:[^'\\]|\\.)*')|--[^\n]*")
# A Distributed table has columns; it has no constraints, TTL, indexes or settings of storage.
_OF_COLUMNS = re.compile(r"\s*(?:ADD|MODIFY|DROP|RENAME|COMMENT) COLUMN\b")


class Cluster(NamedTuple):
    """A cluster, and radar's database in it."""

    name: str
    database: str

    def statements(self, sql: str) -> list[str]:
        """Return the statements that do in the cluster what `sql` does on one server."""
        text = _COMMENTS.sub(lambda match: match[1] or "", sql).strip()
        if match := _CREATE_TABLE.fullmatch(text):
            return self._create_table(match[1], match[2])
        if match := _CREATE_VIEW.fullmatch(text):
            return [f"CREATE OR REPLACE VIEW {match[1]}{self._on}{match[2]}"]
        if match := _ALTER_TABLE.fullmatch(text):
            return self._alter_table(match[1], match[2])
        if match := _DELETE.fullmatch(text):
            return [f"DELETE FROM {local(match[1])}{self._on}{match[2]}"]
        return [sql]

    def create_database(self) -> str:
        """Return the statement that creates the database on all servers."""
        return f"CREATE DATABASE IF NOT EXISTS `{self.database}`{self._on}"

    def every_replica(self, table: str) -> str:
        """Return the table expression of the rows that any reachable replica of a table has.

        A replica may lack rows that another one has taken. A row that several have comes more than
        once. `EVERY_REPLICA` are the settings for it.
        """
        return f"clusterAllReplicas('{self.name}', `{self.database}`, {local(table)})"

    @property
    def _on(self) -> str:
        return f" ON CLUSTER `{self.name}`"

    def _create_table(self, name: str, rest: str) -> list[str]:
        table = local(name)
        created = f"CREATE TABLE IF NOT EXISTS {table}{self._on}{self._replicated(name, rest)}"
        if name not in SHARDED:
            return [created]
        # The columns are read from the other table, so both have the same.
        distributed = (
            f"CREATE TABLE IF NOT EXISTS {name}{self._on} AS `{self.database}`.{table}\n"
            f"ENGINE = Distributed(`{self.name}`, `{self.database}`, {table}, {SHARDED[name]})"
        )
        return [created, distributed]

    def _replicated(self, name: str, rest: str) -> str:
        # Servers with the same path replicate each other. {database} and {table} are macros that
        # every server knows; {shard} and {replica} come from its configuration.
        is_sharded = name in SHARDED
        group, replica = ("{shard}", "{replica}") if is_sharded else ("all", "{shard}-{replica}")
        path = f"/clickhouse/tables/{group}/{{database}}/{{table}}"

        def engine(match: re.Match[str]) -> str:
            arguments = ", ".join([f"'{path}'", f"'{replica}'", *filter(None, [match[2]])])
            return f"ENGINE = Replicated{match[1]}({arguments})"

        window = (
            f"replicated_deduplication_window = {DEDUPLICATION_WINDOW},\n"
            f"    replicated_deduplication_window_seconds = {DEDUPLICATION_SECONDS}"
        )
        text = _WINDOW.sub(window, _ENGINE.sub(engine, rest, count=1))
        if window in text:
            return text
        if _SETTINGS.search(text):
            return _SETTINGS.sub(f"SETTINGS\n    {window},", text, count=1)
        return f"{text}\nSETTINGS {window}"

    def _alter_table(self, name: str, rest: str) -> list[str]:
        tables = [local(name)]
        if name in SHARDED and _OF_COLUMNS.match(rest):
            tables.append(name)
        return [f"ALTER TABLE {table}{self._on}{rest}" for table in tables]


# A replica that does not answer is left out: what only it has is then not seen.
EVERY_REPLICA = {"skip_unavailable_shards": 1, "connect_timeout_with_failover_ms": 1000}


def local(table: str) -> str:
    """Return the table that holds the rows of one server."""
    return f"{table}{LOCAL}" if table in SHARDED else table


def of_local(table: str) -> str:
    """Return the name on one server of a table of the cluster."""
    name = table.removesuffix(LOCAL)
    return name if name in SHARDED else table


def insert_settings(quorum: str, timeout_s: float) -> Iterator[tuple[str, str | int]]:
    """Yield the settings of an insert into a table of the cluster.

    Args:
        quorum: The option CLICKHOUSE_INSERT_QUORUM.
        timeout_s: After this time the worker abandons the insert.
    """
    # The answer to an insert must mean that every shard has its rows, not that a server keeps them
    # to send them later. The token goes to each shard with its rows.
    yield "distributed_foreground_insert", 1
    if quorum != "0":
        yield "insert_quorum", quorum
        yield "insert_quorum_timeout", max(1000, int(timeout_s * 800))
