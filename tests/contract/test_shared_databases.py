"""The databases that tests share one after the other: none shows what a test before did to it."""

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
