"""Offset accounting: a worker passes no offset without a record."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import confluent_kafka
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

import outages
from ports import free_port
from radar.consumer.delivery_gaps import recorded
from radar.datasets import TRADES
from radar.kafka import Cluster
from radar.settings import Settings, load
from radar.store.client import Store
from support import eventually, run_radar
from workers import Start, create_topics, publish_numbered, starting, stored, waiting

pytestmark = pytest.mark.kafka_decides

IN_ORDER = "SELECT kafka_offset FROM {} WHERE kafka_partition = 0 ORDER BY kafka_offset"


@pytest.fixture
def settings(kafka_settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.2")
    monkeypatch.setenv("OFFSET_CHECK_SECONDS", "0.3")
    monkeypatch.setenv("KAFKA_SESSION_TIMEOUT_SECONDS", "6")
    settings = load()
    create_topics(settings)
    return settings


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    # A static member would keep its place, and the group could not be moved.
    yield from starting(tmp_path, WORKER_ID="")


def move_group(settings: Settings, offset: int) -> None:
    """Commit as Kafka's own tool does: without metadata, while no member is there."""
    tool = confluent_kafka.Consumer(
        {"bootstrap.servers": settings.kafka_broker, "group.id": TRADES.group}
    )
    position = TopicPartition(TRADES.topic, 0, offset)

    def moved() -> bool:
        try:
            return tool.commit(offsets=[position], asynchronous=False)[0].error is None
        except confluent_kafka.KafkaException:
            return False  # the group still has its member

    try:
        eventually(moved, "the group is moved", 30, 0.2)
    finally:
        tool.close()


def offsets(store: Store) -> list[int]:
    return [offset for (offset,) in store.rows(IN_ORDER.format(TRADES.table))]


def gaps(settings: Settings, store: Store) -> list[tuple[str, int, int, str]]:
    return [(gap.cause, gap.first, gap.last, gap.state) for gap in recorded(store, TRADES.topic)]


def delete_rows(store: Store, condition: str = "1") -> None:
    store.command(
        f"ALTER TABLE {TRADES.table} DELETE WHERE {condition} SETTINGS mutations_sync = 2"
    )


@pytest.mark.fault(
    "Kafka deletes messages before they are stored",
    report="delivery gap with cause deleted_by_kafka, first and last offset",
    place="worker's log, radar status, radar verify, radar doctor, radar_delivery_gap_offsets",
    within_s=30,
)
def test_offsets_that_kafka_deleted_are_a_gap_until_acknowledged(
    settings: Settings, store: Store, start: Start, within_s: float
) -> None:
    publish_numbered(settings, 0, 1)
    worker = start()
    eventually(lambda: stored(store) == 2 and waiting(settings) == 0, "the first rows")
    worker.end()
    publish_numbered(settings, *range(2, 8))
    Cluster(settings).delete_records_before(TRADES.topic, {0: 5})
    worker = start()
    eventually(lambda: offsets(store) == [0, 1, 5, 6, 7], "what is left", within_s)
    assert gaps(settings, store) == [("deleted_by_kafka", 2, 4, "open")]
    assert '"delivery gap"' in worker.log.read_text()
    assert "3 MISSING (deleted_by_kafka, offsets 2 to 4)" in run_radar("verify", code=1)
    assert "radar_trades[0] offsets 2 to 4 (deleted_by_kafka" in run_radar("status", code=1)
    assert "offsets are lost (deleted_by_kafka): trades 3" in run_radar("doctor", code=1)
    assert "1 acknowledged" in run_radar("acknowledge", "trades", "0", "--reason", "a test")
    assert json.loads(run_radar("verify", "--json"))["exact"]
    assert gaps(settings, store) == [("deleted_by_kafka", 2, 4, "acknowledged")]


@pytest.mark.fault(
    "Somebody sets the group forward over messages that are not stored",
    report="delivery gap with cause group_moved, first and last offset",
    place="worker's log, radar status, radar verify, radar doctor, radar_delivery_gap_offsets",
    within_s=30,
)
def test_group_set_forward_is_a_gap_until_the_range_is_restored(
    settings: Settings, store: Store, start: Start, within_s: float
) -> None:
    publish_numbered(settings, 0, 1)
    worker = start()
    eventually(lambda: stored(store) == 2 and waiting(settings) == 0, "the first rows")
    worker.end()
    publish_numbered(settings, 2, 3, 4, 5)
    move_group(settings, 5)
    start()
    eventually(lambda: offsets(store) == [0, 1, 5], "what follows", within_s)
    assert gaps(settings, store) == [("group_moved", 2, 4, "open")]
    assert "3 MISSING (offsets 2, 3, 4)" in run_radar("verify", code=1)
    assert "will be stored again" in run_radar("restore", "trades", "0", "--from", "2")
    eventually(lambda: offsets(store) == [0, 1, 2, 3, 4, 5], "the range")
    eventually(lambda: gaps(settings, store)[0][3] == "repaired", "the gap is closed")
    assert json.loads(run_radar("verify", "--json"))["exact"]


@pytest.mark.fault(
    "Rows are deleted and the group is set back, again and again",
    report="all rows are there again each time, and none twice",
    place="worker's log (offsets differ), tables",
    within_s=30,
)
def test_deleted_rows_are_stored_again_after_each_reset_of_the_group(
    settings: Settings, store: Store, start: Start, within_s: float
) -> None:
    publish_numbered(settings, *range(6))
    worker = start()
    eventually(lambda: stored(store) == 6 and waiting(settings) == 0, "the rows")
    for condition in ("1", "1", "kafka_offset IN (1, 2)"):
        worker.end()
        delete_rows(store, condition)
        move_group(settings, 0)
        worker = start()
        eventually(lambda: offsets(store) == list(range(6)), "the rows again", within_s)
    eventually(lambda: waiting(settings) == 0, "all is committed")
    assert json.loads(run_radar("verify", "--json"))["exact"]


def test_restore_stores_deleted_rows_again_while_the_worker_runs(
    settings: Settings, store: Store, start: Start
) -> None:
    publish_numbered(settings, *range(6))
    start()
    eventually(lambda: stored(store) == 6 and waiting(settings) == 0, "the rows")
    for _ in range(3):
        delete_rows(store, "kafka_offset < 4")
        assert "the workers read them again now" in run_radar("restore", "trades", "all", "--yes")
        eventually(lambda: offsets(store) == list(range(6)), "the rows again")
    assert "--to 1 is before --from 2" in run_radar(
        "restore", "trades", "0", "--from", "2", "--to", "1", code=2
    )
    assert "has no partition 99" in run_radar("restore", "trades", "99", code=2)
    assert "holds no message of that range" in run_radar(
        "restore", "trades", "0", "--from", "6", code=2
    )


def test_restore_is_obeyed_after_a_block_that_needed_a_second_attempt(
    settings: Settings, store: Store, start: Start
) -> None:
    worker = start()
    publish_numbered(settings, 0)
    eventually(lambda: stored(store) == 1 and waiting(settings) == 0, "the first row")
    store.command(f"RENAME TABLE {TRADES.table} TO away")
    publish_numbered(settings, *range(1, 6))
    eventually(lambda: "block waits" in worker.log.read_text(), "the insert fails")
    store.command(f"RENAME TABLE away TO {TRADES.table}")
    eventually(lambda: stored(store) == 6 and waiting(settings) == 0, "the rows")
    delete_rows(store)
    run_radar("restore", "trades", "all", "--yes")
    eventually(lambda: offsets(store) == list(range(6)), "the rows again")


@pytest.mark.fault(
    "The database is replaced by an older copy of itself while workers run",
    report="the rows since are stored again; what Kafka has deleted is a gap restored_database",
    place="worker's log (offsets differ), tables, radar verify",
    within_s=30,
)
def test_database_that_went_back_gets_the_rows_since_again(
    settings: Settings, store: Store, start: Start, within_s: float
) -> None:
    publish_numbered(settings, 0, 1, 2)
    start()
    eventually(lambda: stored(store) == 3 and waiting(settings) == 0, "the first rows")

    def accounted_to() -> int:
        query = "SELECT next_offset FROM delivery_progress FINAL WHERE topic = 'radar_trades'"
        return int(store.rows(f"{query} AND partition = 0")[0][0])

    eventually(lambda: accounted_to() == 3, "the record of the first rows")
    store.command("CREATE TABLE kept AS delivery_progress")
    store.command("INSERT INTO kept SELECT * FROM delivery_progress")
    publish_numbered(settings, 3, 4, 5, 6)
    eventually(lambda: accounted_to() == 7, "the record of all rows")
    store.command("TRUNCATE TABLE delivery_progress")
    delete_rows(store, "kafka_offset >= 3")
    store.command("INSERT INTO delivery_progress SELECT * FROM kept")
    eventually(lambda: offsets(store) == list(range(7)), "the rows since", within_s)
    eventually(lambda: waiting(settings) == 0, "all is committed")
    assert json.loads(run_radar("verify", "--json"))["exact"]


def test_database_restored_between_two_records_gets_the_rows_since_again(
    kafka_settings: Settings, start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    database = outages.clickhouse(tmp_path, free_port())
    data, copy = tmp_path / "clickhouse", tmp_path / "copy"
    monkeypatch.setenv("CLICKHOUSE_PORT", str(database.port))
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.2")
    # Long enough that no record is written between the copy and its restoration.
    monkeypatch.setenv("OFFSET_CHECK_SECONDS", "20")
    settings = load()
    create_topics(settings)
    store = Store(settings)
    try:
        publish_numbered(settings, *range(50))
        start()
        eventually(lambda: waiting(settings) == 0, "the first trades are stored", 60)
        newest = f"SELECT max(next_offset) FROM delivery_progress WHERE topic = '{TRADES.topic}'"
        eventually(lambda: store.rows(newest) == [(50,)], "they are accounted for", 60, 0.1)
        database.stop()
        shutil.copytree(data, copy, symlinks=True)
        database.start()
        publish_numbered(settings, *range(50, 100))
        eventually(lambda: waiting(settings) == 0, "the next trades are stored", 60)
        assert stored(store) == 100
        database.stop()
        shutil.rmtree(data)
        shutil.copytree(copy, data, symlinks=True)
        database.start()
        eventually(lambda: stored(store) == 100, "the lost rows are stored again", 90, 0.2)
        assert offsets(store) == list(range(100))
    finally:
        store.close()
        database.stop()


@pytest.mark.fault(
    "A topic is deleted and created again",
    report="the new topic is read from its beginning; delivery gap topic_recreated, extent unknown",
    place="worker's log, radar status, radar verify, radar doctor, radar_delivery_gap_offsets",
    within_s=30,
)
def test_recreated_topic_is_read_from_its_beginning_while_the_worker_runs(
    apache_broker: str, settings: Settings, store: Store, start: Start, within_s: float
) -> None:
    publish_numbered(settings, *range(4))
    start()
    eventually(lambda: stored(store) == 4 and waiting(settings) == 0, "the old topic's rows")
    admin = AdminClient({"bootstrap.servers": settings.kafka_broker})
    admin.delete_topics([TRADES.topic], operation_timeout=30)[TRADES.topic].result(30)

    def is_created() -> bool:
        create_topics(settings)
        return Cluster(settings).topics([TRADES.topic]) != []

    eventually(is_created, "the new topic")
    publish_numbered(settings, *range(10, 20))
    eventually(lambda: stored(store) == 14, "both topics' rows", within_s)
    assert ("topic_recreated", 4, 4, "open") in gaps(settings, store)
    eventually(lambda: waiting(settings) == 0, "all is committed")
