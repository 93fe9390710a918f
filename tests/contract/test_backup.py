"""Backups: what is restored equals what was backed up, and Kafka's difference is stored again."""

import json
import shutil
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import object_store
import outages
from outages import Service
from ports import free_port
from radar import object_storage
from radar.backup import catalogue, copies, run
from radar.backup.catalogue import Backup
from radar.backup.shelf import DAY_S, Bucket, Folder, prune
from radar.datasets import TRADES
from radar.errors import BackupFailed
from radar.local import clickhouse_alone
from radar.object_storage import ObjectStorage
from radar.settings import Settings, backup_folder, load
from radar.store.backup import ASIDE
from radar.store.client import Store
from radar.store.migrate import migrate
from radar.store.schema import newest
from support import Process, eventually, radar, run_radar
from workers import Start, create_topics, publish_trades, starting, stored, waiting

# Merges, which remove replaced rows, may come at any time.
FINAL = {"final": 1}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Service]:
    port = free_port()
    arguments = ("--backups", str(tmp_path / "backups"))
    with outages.clickhouse(tmp_path, port, arguments=arguments) as server:
        yield server


@pytest.fixture
def settings(
    kafka_settings: Settings, server: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    monkeypatch.setenv("CLICKHOUSE_PORT", str(server.port))
    monkeypatch.setenv("BACKUP_DIR", str(tmp_path / "backups"))
    monkeypatch.setenv("RADAR_DATA_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.2")
    monkeypatch.setenv("OFFSET_CHECK_SECONDS", "0.3")
    monkeypatch.setenv("KAFKA_SESSION_TIMEOUT_SECONDS", "6")
    settings = load()
    create_topics(settings)
    return settings


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with closing(Store(settings)) as store:
        migrate(store, settings.retention_days)
        yield store


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    yield from starting(tmp_path, WORKER_ID="")


def contents(store: Store) -> dict[str, tuple[int, int]]:
    """Return the number of rows of each table, and a sum over all their columns."""
    return {
        table: store.rows(f"SELECT count(), sum(cityHash64(*)) FROM {table}", settings=FINAL)[0]
        for table in newest().tables
    }


def columns(settings: Settings, name: str) -> int:
    """Return how many files with columns of tables a backup holds itself."""
    return len(list((backup_folder(settings) / name / "data").rglob("*.bin")))


def assert_all_is_stored_once(settings: Settings, store: Store, published: int) -> None:
    rows = "SELECT count(), uniqExact(trade_id) FROM trades_master"
    eventually(lambda: store.rows(rows) == [(published, published)], "every trade, once", 60, 0.2)
    eventually(lambda: waiting(settings) == 0, "everything is committed", 60, 0.2)
    assert json.loads(run_radar("verify", "--json"))["exact"]


@pytest.mark.slow("src/radar/backup", "src/radar/store")
def test_backup_is_restored_as_it_was_and_workers_store_the_rest_of_kafka_again(
    settings: Settings, store: Store, start: Start
) -> None:
    worker = start()
    publish_trades(settings, range(3000))
    eventually(lambda: stored(store) == 3000, "the first trades", 60)
    full = json.loads(run_radar("backup", "create", "--json"))
    publish_trades(settings, range(3000, 3500))
    eventually(lambda: stored(store) == 3500, "more trades", 60)
    eventually(lambda: waiting(settings) == 0, "all is committed", 60)
    worker.terminate()
    store.command("SYSTEM STOP MERGES")  # which write parts anew
    then = contents(store)
    made = json.loads(run_radar("backup", "create", "--json"))
    assert (full["base"], made["base"]) == (None, full["name"])
    assert made["bytes"] < full["bytes"]
    eventually(lambda: made_one(settings), "a third backup", 30)
    unchanged = catalogue.complete(backup_folder(settings))[-1]
    assert columns(settings, unchanged.name) == 0 < columns(settings, made["name"])
    store.command("SYSTEM START MERGES")
    worker = start()
    publish_trades(settings, range(3500, 5000))
    eventually(lambda: stored(store) == 5000, "the newest trades", 60)
    worker.terminate()

    said = run_radar("backup", "restore", made["name"], "--yes")
    assert f"restored {made['name']}" in said
    assert contents(store) == then
    assert store.server_rows("SELECT name FROM system.databases WHERE name LIKE '%restore'") == []
    start()
    assert_all_is_stored_once(settings, store, 5000)

    listed = json.loads(run_radar("backup", "list", "--json"))["backups"]
    assert [each["name"] for each in listed] == [full["name"], made["name"], unchanged.name]


def test_older_backup_made_while_workers_insert_leads_to_the_same_rows(
    settings: Settings, store: Store, start: Start
) -> None:
    """The accounts of the workers must not be ahead of the rows in a backup."""
    workers = [start()]
    done, published = threading.Event(), 0

    def publish() -> None:
        nonlocal published
        while not done.wait(0.01):
            publish_trades(settings, range(published, published + 200))
            published += 200

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        for _ in range(4):
            before = stored(store)
            eventually(lambda before=before: stored(store) > before, "rows", 60)  # type: ignore[misc]
            # Names count seconds.
            eventually(lambda: made_one(settings), "a backup", 30)
    finally:
        done.set()
        thread.join()
    eventually(lambda: stored(store) == published, "all trades", 60, 0.2)
    workers[0].terminate()
    backups = catalogue.complete(backup_folder(settings))
    assert len(backups) == 4
    run_radar("backup", "restore", backups[1].name, "--yes")
    assert 0 < stored(store) < published
    start()
    assert_all_is_stored_once(settings, store, published)


def made_one(settings: Settings) -> bool:
    try:
        run.make(settings)
    except BackupFailed:
        return False
    return True


def test_backup_that_cannot_be_restored_leaves_the_database_as_it_is(
    settings: Settings, store: Store
) -> None:
    store.command("INSERT INTO restore_orders (topic) VALUES ('one')")
    name = run.make(settings).backup.name
    for file in (backup_folder(settings) / name / "data" / "data").rglob("*.bin"):
        file.unlink()
    before = contents(store)
    assert "ClickHouse: " in run_radar("backup", "restore", name, "--yes", code=1)
    assert contents(store) == before
    assert not store.server_rows(f"SELECT 1 FROM system.databases WHERE name = 'radar{ASIDE}'")


def test_expired_and_interrupted_backups_are_deleted(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = backup_folder(settings)
    old = run.make(settings).backup
    ancient = catalogue.new_name(old.began_at_s - 90 * 86_400, is_full=True)
    (folder / old.name).rename(folder / ancient)
    torn = catalogue.new_name(old.began_at_s - 2 * 86_400, is_full=True)
    (folder / torn).mkdir()
    made = run.make(settings)
    assert made.backup.base == ""  # the last full backup was too old
    assert sorted(made.deleted) == sorted([ancient, torn])
    assert [each.name for each in catalogue.complete(folder)] == [made.backup.name]


def test_follower_makes_a_backup_shows_its_age_and_copies_it(
    settings: Settings,
    store: Store,
    tmp_path: Path,
    objects: object_store.Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = f"s3://{objects.bucket('followed')}/radar"
    monkeypatch.setenv("BACKUP_COPY_TO", place)
    port = free_port()
    process = Process(radar("backup", "follow"), tmp_path / "follow.log", METRICS_PORT=str(port))

    def metric() -> float:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0
        name = "radar_backup_timestamp_seconds "
        return float(next(line for line in lines if line.startswith(name)).split()[1])

    try:
        eventually(lambda: metric() > 0, "the newest backup is shown", 60, 0.2)
        (made,) = catalogue.complete(backup_folder(settings))
        assert metric() == made.began_at_s
        bucket = Bucket(ObjectStorage(object_storage.parse(place), objects.endpoint))
        eventually(lambda: bucket.complete() == [made], "the backup is copied", 60, 0.2)
    finally:
        assert process.terminate() == 0


@pytest.mark.slow("src/radar/backup", "src/radar/object_storage.py")
def test_machine_that_was_lost_is_restored_from_the_copies_in_object_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objects: object_store.Store
) -> None:
    """The database and the folder of its backups are gone; a chain of two copies is there."""
    monkeypatch.setenv("RADAR_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("CLICKHOUSE_PORT", str(free_port()))
    place = f"s3://{objects.bucket('lost-machine')}/radar"
    settings = load()
    with clickhouse_alone.running(settings) as reached, closing(Store(reached)) as store:
        migrate(store, settings.retention_days)
        store.command("INSERT INTO restore_orders (topic) VALUES ('one')")
        full = run.make(reached).backup.name
        store.command("INSERT INTO restore_orders (topic) VALUES ('two')")
        before = contents(store)
        with monkeypatch.context() as of_server:
            password = reached.clickhouse_password.get_secret_value()
            of_server.setenv("CLICKHOUSE_PASSWORD", password)
            of_server.setenv("CLICKHOUSE_PORT", str(reached.clickhouse_port))
            made = json.loads(run_radar("backup", "create", "--to", place, "--json"))
    second = made["name"]
    assert made["base"] == full
    assert made["copied"] == {"place": place, "names": [full, second], "deleted": []}
    here = catalogue.complete(backup_folder(settings))
    listed = json.loads(run_radar("backup", "list", "--from", place, "--json"))["backups"]
    assert [each["name"] for each in listed] == [each.name for each in here]
    assert [each["bytes"] for each in listed] == [
        Folder(backup_folder(settings)).size_bytes(each.name) for each in here
    ]
    shutil.rmtree(tmp_path / "data")
    said = run_radar("backup", "restore", second, "--from", place, "--yes")
    assert f"copied {full} from {place}" in said
    assert f"restored {second}" in said
    with clickhouse_alone.running(settings) as reached, closing(Store(reached)) as store:
        assert contents(store) == before


def test_copies_go_on_where_they_were_and_expire(
    tmp_path: Path, objects: object_store.Store
) -> None:
    def backup(day: int, base: str = "") -> Backup:
        name = catalogue.new_name(day * DAY_S, is_full=not base)
        (tmp_path / name / "data").mkdir(parents=True)
        (tmp_path / name / "progress").mkdir()
        for n in range(30):
            (tmp_path / name / "progress" / f"{n}").write_text(f"{day} {n}")
        text = f"<base_backup>Disk('backups', '{base}/data')</base_backup>" if base else ""
        (tmp_path / name / catalogue.END).write_text(f"<config>{text}</config>")
        return Backup(name, day * DAY_S, base)

    full = backup(1000)
    backups = [full, backup(1010, full.name)]
    place = objects.bucket("expiring")
    bucket = Bucket(ObjectStorage(object_storage.parse(f"s3://{place}"), objects.endpoint))
    # An upload that was interrupted after one file, and another whose backup is gone.
    objects.client.put_object(Bucket=place, Key=f"{full.name}/progress/0", Body=b"before")
    torn = catalogue.new_name(900 * DAY_S, is_full=True)
    objects.client.put_object(Bucket=place, Key=f"{torn}/progress/0", Body=b"")
    objects.client.put_object(Bucket=place, Key="other/file", Body=b"")
    assert bucket.complete() == []
    assert copies.copy(tmp_path, bucket, backups) == [each.name for each in backups]
    assert copies.copy(tmp_path, bucket, backups) == []
    assert bucket.complete() == backups
    assert objects.read(place, f"{full.name}/progress/0") == b"before"
    assert objects.read(place, f"{full.name}/progress/1") == b"1000 1"
    now_s = 1020 * DAY_S
    assert prune(bucket, now_s, 15 * DAY_S) == [torn]
    newest = backup(1019)
    copies.copy(tmp_path, bucket, [*backups, newest])
    assert prune(bucket, now_s, 5 * DAY_S) == [each.name for each in backups]
    assert {key.split("/")[0] for key in objects.keys(place)} == {newest.name, "other"}

    shutil.rmtree(tmp_path / newest.name)
    assert copies.bring_back(tmp_path, bucket, newest.name) == [newest.name]
    assert (tmp_path / newest.name / "progress" / "29").read_text() == "1019 29"
    assert copies.bring_back(tmp_path, bucket, newest.name) == []
    shutil.rmtree(tmp_path / newest.name)
    objects.client.put_object(Bucket=place, Key=f"{newest.name}/../../x", Body=b"x")
    with pytest.raises(BackupFailed, match="strange object"):
        copies.bring_back(tmp_path, bucket, newest.name)
    assert catalogue.complete(tmp_path) == backups


def test_embedded_database_whose_disk_was_lost_is_restored_without_a_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADAR_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("BACKUP_DIR", str(tmp_path / "backups"))
    monkeypatch.setenv("CLICKHOUSE_PORT", str(free_port()))
    settings = load()
    with clickhouse_alone.running(settings) as reached, closing(Store(reached)) as store:
        migrate(store, settings.retention_days)
        store.command("INSERT INTO restore_orders (topic) VALUES ('one')")
        before = contents(store)
        name = run.make(reached).backup.name
    shutil.rmtree(tmp_path / "data" / "clickhouse")
    assert f"restored {name}" in run_radar("backup", "restore", "--yes")
    with clickhouse_alone.running(settings) as reached, closing(Store(reached)) as store:
        assert contents(store) == before
        assert store.rows(f"SELECT count() FROM {TRADES.table}") == [(0,)]
