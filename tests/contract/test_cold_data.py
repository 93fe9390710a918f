"""Rows move to object storage by their receipt, and stay readable there."""

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import object_store
from market_data import insert, trade, us
from outages import Service
from ports import free_port
from radar.backup.catalogue import began_at_s
from radar.backup.shelf import DAY_S, Bucket, prune
from radar.codec import message_format
from radar.datasets import TRADES
from radar.errors import ConfigurationError
from radar.object_storage import ObjectStorage, parse
from radar.settings import Settings, load
from radar.store.client import Store
from radar.store.expiry import Rules, rules_in
from radar.store.migrate import migrate
from radar.store.retention import Cold, retention_days
from support import eventually, run_radar

NOW = datetime.now(UTC)
COLD = Cold(30, "tiered")
PROGRAM = Path(__file__).parents[1] / "tiered_clickhouse.py"


@pytest.fixture
def settings(
    objects: object_store.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    port = free_port()
    command = [sys.executable, f"{PROGRAM}", objects.endpoint, objects.bucket("tiers")]
    own = ["--path", f"{tmp_path / 'data'}", "--port", f"{port}", "--no-password"]
    own += ["--backups", f"{tmp_path / 'unused'}"]
    paths = [each for each in sys.path if each]
    with Service([*command, *own], port, tmp_path / "clickhouse.log", PYTHONPATH=":".join(paths)):
        monkeypatch.setenv("CLICKHOUSE_PORT", f"{port}")
        yield load()


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with closing(Store(settings)) as store:
        yield store


def places(store: Store) -> dict[str, int]:
    """Return the rows on each disk."""
    rows = store.rows(
        "SELECT disk_name, sum(rows) FROM system.parts WHERE active"
        f" AND database = currentDatabase() AND table = '{TRADES.table}' GROUP BY disk_name"
    )
    return {str(disk): int(count) for disk, count in rows}


def definition(store: Store, table: str = TRADES.table) -> str:
    ((found,),) = store.rows(f"SHOW CREATE TABLE {table}")
    return str(found)


def received(day: int, n: int) -> bytes:
    """Return a trade that was received so many days ago."""
    at_us = us(NOW - timedelta(days=day)) + n
    return message_format.encode_trade(trade(at_us // 1000, at_us, f"{n + 1}"), f"{day:016}{n:016}")


@pytest.mark.slow(
    "src/radar/store/expiry.py", "src/radar/store/retention.py", "deploy/clickhouse/tiered.xml"
)
def test_rows_move_to_object_storage_by_their_receipt_and_stay_readable(
    settings: Settings, store: Store, objects: object_store.Store
) -> None:
    migrate(store, 90)
    insert(store, TRADES, [received(60, n) for n in range(200)], "old")
    insert(store, TRADES, [received(1, n) for n in range(100)], "new")
    assert places(store) == {"default": 300}
    before = store.rows("SELECT count(), sum(cityHash64(*)) FROM trades_master")

    assert migrate(store, 90, 7, COLD) == []
    assert rules_in(definition(store)) == Rules(90, 30)
    assert retention_days(store, TRADES.table) == 90
    eventually(lambda: places(store) == {"cold": 200, "default": 100}, "old rows have moved", 90)
    assert store.rows("SELECT count(), sum(cityHash64(*)) FROM trades_master") == before
    assert any(key.startswith("cold/") for key in objects.keys("tiers"))
    # Frames expire before they would move.
    assert rules_in(definition(store, "frames")) == Rules(7, None)

    insert(store, TRADES, [received(50, n) for n in range(10)], "late")
    eventually(lambda: places(store)["cold"] == 210, "late rows have moved", 90)
    # Workers that start check the rules, and change nothing.
    modified = definition(store)
    migrate(store, 90, 7, COLD)
    assert definition(store) == modified
    migrate(store, 40, 7, COLD)
    store.command(f"OPTIMIZE TABLE {TRADES.table} FINAL")
    eventually(lambda: places(store) == {"default": 100}, "expired rows are deleted", 90)
    migrate(store, 40, 7)
    assert rules_in(definition(store)) == Rules(40, None)


@pytest.mark.slow("src/radar/backup", "src/radar/store/backup.py", "deploy/examples/backups-s3.xml")
def test_clickhouse_backs_up_to_its_own_disk_in_object_storage_and_restores_from_there(
    store: Store, objects: object_store.Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BACKUP_DISK_URL", "s3://tiers/backups")
    monkeypatch.setenv("BACKUP_DIR", f"{tmp_path / 'none'}")
    migrate(store, 90, 7, COLD)
    insert(store, TRADES, [received(60, n) for n in range(200)], "old")
    insert(store, TRADES, [received(1, n) for n in range(100)], "new")
    eventually(lambda: places(store).get("cold") == 200, "old rows have moved", 90)
    full = json.loads(run_radar("backup", "create", "--json"))
    insert(store, TRADES, [received(2, n) for n in range(50)], "newer")
    made = json.loads(run_radar("backup", "create", "--json"))
    assert (full["base"], made["base"]) == (None, full["name"])
    assert 0 < made["bytes"] < full["bytes"]
    before = store.rows("SELECT count(), sum(cityHash64(*)) FROM trades_master")

    insert(store, TRADES, [received(3, n) for n in range(10)], "lost")
    assert "restored" in run_radar("backup", "restore", "--yes")
    assert store.rows("SELECT count(), sum(cityHash64(*)) FROM trades_master") == before
    assert rules_in(definition(store)) == Rules(90, 30)

    listed = json.loads(run_radar("backup", "list", "--json"))
    assert listed["folder"] == "s3://tiers/backups"
    assert [each["name"] for each in listed["backups"]] == [full["name"], made["name"]]
    assert "leave out BACKUP_COPY_TO" in run_radar("backup", "create", "--to", "s3://x-y/z", code=2)
    bucket = Bucket(ObjectStorage(parse("s3://tiers/backups"), objects.endpoint))
    later_s = made_at_s(made["name"]) + 90 * DAY_S
    assert prune(bucket, later_s, DAY_S) == []  # the newest and its base
    assert not (tmp_path / "none").exists()


def made_at_s(name: str) -> float:
    began_s = began_at_s(name)
    assert began_s is not None
    return began_s


def test_policy_that_the_server_lacks_is_named_and_changes_nothing(store: Store) -> None:
    migrate(store, 90)
    before = definition(store)
    with pytest.raises(ConfigurationError, match="cannot take the storage policy missing"):
        migrate(store, 90, None, Cold(30, "missing"))
    assert definition(store) == before


def test_embedded_clickhouse_refuses_to_move_rows_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLD_AFTER_DAYS", "30")
    monkeypatch.setenv("RADAR_DATA_DIR", f"{tmp_path / 'data'}")
    monkeypatch.setenv("CLICKHOUSE_PORT", f"{free_port()}")
    monkeypatch.setenv("KAFKA_BROKER", f"127.0.0.1:{free_port()}")
    said = run_radar("up", "--simulate", "--duration", "5", code=2)
    assert "COLD_AFTER_DAYS needs a ClickHouse server" in said
