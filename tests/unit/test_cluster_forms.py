"""The form of each migration for a cluster."""

import re

import pytest

from radar.store import schema
from radar.store.cluster import SHARDED, Cluster, local, of_local

CLUSTER = Cluster("main", "radar")
STATEMENTS = [
    (f"{migration.version:04}-{n}", sql)
    for migration in schema.migrations()
    for n, sql in enumerate(migration.statements)
]
TABLES = schema.newest().tables


def formed() -> list[str]:
    return [each for _, sql in STATEMENTS for each in CLUSTER.statements(sql)]


def created(table: str) -> str:
    (found,) = (
        each
        for each in formed()
        if each.startswith(f"CREATE TABLE IF NOT EXISTS {table} ON CLUSTER `main`")
    )
    return found


def sorting_key(statement: str) -> set[str]:
    found = re.search(r"ORDER BY \(([^)]*)\)", statement)
    assert found
    return {column.strip() for column in found[1].split(",")}


@pytest.mark.parametrize(("name", "sql"), STATEMENTS, ids=[name for name, _ in STATEMENTS])
def test_statement_changes_all_servers_and_no_plain_table(name: str, sql: str) -> None:
    for each in CLUSTER.statements(sql):
        assert " ON CLUSTER `main`" in each
        assert "non_replicated" not in each
        engine = re.search(r"ENGINE = (\w+)", each)
        assert engine is None or engine[1] == "Distributed" or engine[1].startswith("Replicated")


@pytest.mark.parametrize("table", SHARDED)
def test_sharded_table_is_replicated_in_its_shard_and_distributed_over_all(table: str) -> None:
    rows = created(local(table))
    path = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'"
    assert f"ReplacingMergeTree({path}" in rows
    assert created(table).split("ENGINE = ")[1] == (
        f"Distributed(`main`, `radar`, {local(table)}, {SHARDED[table]})"
    )


@pytest.mark.parametrize("table", SHARDED)
def test_deliveries_of_one_record_meet_in_one_shard(table: str) -> None:
    """Rows with the same sorting key have the same sharding key."""
    columns = re.findall(r"\w+(?=[,)])", SHARDED[table])
    assert set(columns) <= sorting_key(created(local(table)))


@pytest.mark.parametrize("table", sorted(TABLES.keys() - SHARDED.keys()))
def test_every_other_table_is_replicated_on_all_servers(table: str) -> None:
    path = "'/clickhouse/tables/all/{database}/{table}', '{shard}-{replica}'"
    assert f"MergeTree({path}" in created(table)


def test_engines_keep_their_arguments() -> None:
    version = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}', version)"
    assert f"ReplicatedReplacingMergeTree({version}" in created("trades_master_local")
    assert "ENGINE = ReplicatedMergeTree('/click" in created("store_origin")


@pytest.mark.parametrize("table", TABLES)
def test_replicated_table_recognises_blocks_as_long_as_kafka_keeps_messages(table: str) -> None:
    statement = created(local(table))
    assert "\n    replicated_deduplication_window = 100000," in statement
    assert "\n    replicated_deduplication_window_seconds = 604800" in statement


def test_columns_are_added_to_both_tables_and_constraints_to_the_one_with_rows() -> None:
    column = "ALTER TABLE trades_master ADD COLUMN IF NOT EXISTS n UInt8"
    assert CLUSTER.statements(column) == [
        "ALTER TABLE trades_master_local ON CLUSTER `main` ADD COLUMN IF NOT EXISTS n UInt8",
        "ALTER TABLE trades_master ON CLUSTER `main` ADD COLUMN IF NOT EXISTS n UInt8",
    ]
    for change in ("ADD CONSTRAINT c CHECK n > 0", "MODIFY TTL toDateTime(received_at)"):
        assert CLUSTER.statements(f"ALTER TABLE trades_master {change}") == [
            f"ALTER TABLE trades_master_local ON CLUSTER `main` {change}"
        ]
    assert CLUSTER.statements("ALTER TABLE gaps ADD COLUMN n UInt8") == [
        "ALTER TABLE gaps ON CLUSTER `main` ADD COLUMN n UInt8"
    ]


def test_no_migration_mixes_columns_with_what_a_distributed_table_lacks() -> None:
    for _, sql in STATEMENTS:
        if sql.lstrip().startswith("ALTER TABLE"):
            assert not re.search(r"\b(?:ADD|DROP) (?:CONSTRAINT|INDEX|PROJECTION)\b", sql)


def test_statement_that_changes_no_table_stays_as_it_is() -> None:
    for sql in ("SELECT 1", "INSERT INTO trades_master VALUES (1)", "SYSTEM STOP MERGES"):
        assert CLUSTER.statements(sql) == [sql]


def test_deletion_reaches_the_rows() -> None:
    assert CLUSTER.statements("DELETE FROM trades_master WHERE n = 1") == [
        "DELETE FROM trades_master_local ON CLUSTER `main` WHERE n = 1"
    ]


def test_name_of_a_local_table_is_that_of_its_distributed_one() -> None:
    for table in TABLES:
        assert of_local(local(table)) == table
    assert of_local("other_local") == "other_local"
