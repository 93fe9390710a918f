"""`radar version` reports the versions of the package, of its schema and of a database."""

import json

import pytest

from radar import __version__
from radar.store import schema
from radar.store.client import Store
from support import run_radar

KNOWN = schema.newest_version()


def say(store: Store, version: int) -> None:
    store.command(
        "INSERT INTO schema_migrations (version, name, checksum) VALUES"
        f" ({version}, 'of_a_test', 'x')"
    )


@pytest.mark.own_database
def test_version_of_the_database_is_compared_with_the_known_one(store: Store) -> None:
    told = run_radar("version", "--database")
    assert f"radar {__version__} (schema {KNOWN:04})" in told
    assert f"database {store.database}: {KNOWN:04}" in told

    store.command(
        f"ALTER TABLE schema_migrations DELETE WHERE version = {KNOWN} SETTINGS mutations_sync = 2"
    )
    assert "run radar migrate" in run_radar("version", "--database", code=1)

    say(store, KNOWN + 1)
    found = json.loads(run_radar("version", "--database", "--json", code=1))
    assert found["database_schema"] == KNOWN + 1
    assert "newer radar" in found["error"]


@pytest.mark.own_database
def test_database_without_tables_has_no_version(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLICKHOUSE_DB", f"{store.database}_missing")
    assert ": no schema" in run_radar("version", "--database", code=1)
