"""The databases that tests share one after the other: none shows what a test before did to it."""

from contextlib import closing

import pytest

from databases import RESTING, MigratedDatabases
from market_data import insert_market
from radar.settings import load
from radar.store.client import Store

DELETE = "ALTER TABLE trades_master DELETE WHERE 1 SETTINGS mutations_sync = 2"


def test_database_of_a_test_that_stopped_merges_changes_rows_again(clickhouse_port: int) -> None:
    databases = MigratedDatabases()
    # More than rest, so that the first one is taken again.
    names = [databases.take(clickhouse_port) for _ in range(RESTING + 1)]
    for name in names:
        used = Store(load(clickhouse_port=clickhouse_port, clickhouse_db=name))
        used.command("SYSTEM STOP MERGES trades_master")
        insert_market(used)
        databases.put_back(used, clickhouse_port)
        used.close()
    again = databases.take(clickhouse_port)
    assert again == names[0]
    store = Store(load(clickhouse_port=clickhouse_port, clickhouse_db=again), timeout_s=10)
    assert store.rows("SELECT count() FROM trades_master") == [(0,)]
    insert_market(store)
    store.command(DELETE)
    assert store.rows("SELECT count() FROM trades_master") == [(0,)]
    store.close()


def test_database_is_put_back_whatever_the_variables_of_its_test_say(
    clickhouse_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases = MigratedDatabases()
    name = databases.take(clickhouse_port)
    used = Store(load(clickhouse_port=clickhouse_port, clickhouse_db=name))
    assert used.rows("SELECT count() FROM trades_master") == [(0,)]
    monkeypatch.setenv("CLICKHOUSE_SECURE", "true")
    databases.put_back(used, clickhouse_port)
    used.close()


CHANGES = [
    "ALTER TABLE trades_master ADD COLUMN added UInt8",
    "CREATE OR REPLACE VIEW trades AS SELECT 1",
    "INSERT INTO schema_migrations (version, checksum) VALUES (9999, 'forged')",
]


@pytest.mark.slow("tests/databases.py")
def test_database_whose_schema_a_test_has_changed_is_taken_by_no_other(
    clickhouse_port: int,
) -> None:
    databases = MigratedDatabases(resting=0)
    name = databases.take(clickhouse_port)
    for change in CHANGES:
        # What is compared after the first test differs from what is compared later.
        _put_back(databases, name, clickhouse_port)
        assert databases.take(clickhouse_port) == name
        _put_back(databases, name, clickhouse_port, change)
        new = databases.take(clickhouse_port)
        assert new != name, change
        _put_back(databases, new, clickhouse_port, change)
        name = databases.take(clickhouse_port)
        assert name != new, change


def _put_back(
    databases: MigratedDatabases, name: str, port: int, change: str | None = None
) -> None:
    with closing(Store(load(clickhouse_port=port, clickhouse_db=name))) as used:
        if change is not None:
            used.command(change)
        databases.put_back(used, port)
