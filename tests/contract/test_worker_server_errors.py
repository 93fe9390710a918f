"""Errors that are about ClickHouse and not about a message: no dead letter, and a name."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import crashing_worker
from cases import others_nightly
from ports import free_port
from radar.consumer.partition import CrashPoint
from radar.datasets import TRADES
from radar.settings import Settings, load
from radar.status.health_probe import ask
from radar.store.client import Store
from size_limit import SizeLimit
from support import Process, eventually
from workers import Start, create_topics, letters, publish, starting, stored, trade_value, waiting

MESSAGES = 300


@pytest.fixture
def settings(kafka_settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BATCH_SIZE", "1000")
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.3")
    monkeypatch.setenv("KAFKA_SESSION_TIMEOUT_SECONDS", "6")
    settings = load()
    create_topics(settings)
    # A double would be the same row, which merging hides.
    store.command(f"SYSTEM STOP MERGES {store.database}.{TRADES.table}")
    return settings


@pytest.fixture
def health_port() -> int:
    return free_port()


@pytest.fixture
def start(tmp_path: Path, health_port: int) -> Iterator[Start]:
    yield from starting(tmp_path, WORKER_ID="worker-1", METRICS_PORT=str(health_port))


@pytest.fixture
def limit(clickhouse_port: int) -> Iterator[SizeLimit]:
    with SizeLimit(clickhouse_port, 8_000).serving() as limit:
        yield limit


def positions(store: Store) -> tuple[int, int]:
    """Return how many rows there are physically, and of how many messages."""
    ((rows, places),) = store.rows(
        "SELECT count(), uniqExact(kafka_partition, kafka_offset) FROM trades_master"
    )
    return int(rows), int(places)


def says(port: int, *words: str) -> bool:
    reasons = " ".join(ask("127.0.0.1", port).reasons)
    return all(word in reasons for word in words)


FOREIGN = {
    "view": (
        (
            "CREATE MATERIALIZED VIEW foreign_view TO levels AS"
            " SELECT event_time AS t, toUInt8(toString(price)) AS level FROM trades_master"
        ),
        "DROP VIEW {db}.foreign_view",
        ("foreign_view",),
    ),
    "view without a target": (
        (
            "CREATE MATERIALIZED VIEW foreign_view TO gone AS"
            " SELECT event_time AS t, 1 AS level FROM trades_master"
        ),
        "DROP VIEW {db}.foreign_view",
        (".gone", "DROP VIEW"),
    ),
    "constraint": (
        "ALTER TABLE trades_master ADD CONSTRAINT foreign_one CHECK base_amount != 7",
        "ALTER TABLE {db}.trades_master DROP CONSTRAINT foreign_one",
        ("foreign_one", "DROP CONSTRAINT"),
    ),
    "column": (
        "ALTER TABLE trades_master ADD COLUMN level UInt8 MATERIALIZED toUInt8(toString(price))",
        "ALTER TABLE {db}.trades_master DROP COLUMN level",
        ("trades_master was changed",),
    ),
    "missing column": (
        "ALTER TABLE trades_master RENAME COLUMN kafka_partition TO away",
        "ALTER TABLE {db}.trades_master RENAME COLUMN away TO kafka_partition",
        ("`radar migrate`", "kafka_partition"),
    ),
    "missing table": (
        "RENAME TABLE trades_master TO away",
        "RENAME TABLE {db}.away TO {db}.trades_master",
        ("trades_master is missing", "`radar migrate`"),
    ),
    "disk": (
        (
            "ALTER TABLE trades_master MODIFY SETTING"
            " min_free_disk_bytes_to_perform_insert = 100000000000000000"
        ),
        (
            "ALTER TABLE {db}.trades_master MODIFY SETTING"
            " min_free_disk_bytes_to_perform_insert = 134217728"
        ),
        ("disk full: free space at",),
    ),
    "parts": (
        (
            "ALTER TABLE trades_master MODIFY SETTING parts_to_throw_insert = 1,"
            " parts_to_delay_insert = 1"
        ),
        "ALTER TABLE {db}.trades_master RESET SETTING parts_to_throw_insert, parts_to_delay_insert",
        ("TOO_MANY_PARTS", "merges"),
    ),
}


@pytest.mark.fault(
    "Something that a user added or removed in ClickHouse refuses rows",
    report="the partition waits, and names the view, constraint, column, table, disk or parts",
    place="status, readiness of the worker, log",
    within_s=20,
)
@pytest.mark.parametrize("foreign", FOREIGN)
def test_worker_names_what_refuses_rows_and_stores_them_once_it_is_gone(
    foreign: str,
    settings: Settings,
    store: Store,
    start: Start,
    health_port: int,
    within_s: float,
) -> None:
    harm, cure, words = FOREIGN[foreign]
    if "COLUMN" in cure:  # which rewrites parts, as merges do
        store.command(f"SYSTEM START MERGES {store.database}.trades_master")
    store.command(
        "CREATE TABLE levels (t DateTime64(3), level UInt8) ENGINE = MergeTree ORDER BY t"
    )
    store.command("CREATE TABLE gone AS levels")
    worker = start(MAX_BAD_SHARE="1", MAX_CONSECUTIVE_BAD="0")
    publish(settings, [trade_value(n, "ABC") for n in range(3)])
    eventually(lambda: stored(store) == 3, "radar works")
    store.command(harm)
    store.command("DROP TABLE gone")
    publish(settings, [trade_value(n, "USDTTMN") for n in range(3, 43)])
    eventually(lambda: says(health_port, *words), "the cause is named", timeout_s=within_s)
    assert letters(settings) == 0
    assert worker.lives
    store.command(cure.format(db=store.database))
    eventually(lambda: waiting(settings) == 0, "everything is committed")
    assert positions(store) == (43, 43)
    assert letters(settings) == 0
    eventually(lambda: ask("127.0.0.1", health_port).ready, "nothing is wrong any more")


@pytest.mark.fault(
    "A block is larger than a proxy or ClickHouse takes",
    report="it is stored in halves; if one message is too large, its size and the limit's remedy",
    place="log; readiness of the worker and status for a single message",
    within_s=20,
)
def test_worker_divides_a_block_that_is_too_large_and_remembers_the_size(
    settings: Settings, store: Store, start: Start, limit: SizeLimit, within_s: float
) -> None:
    publish(settings, [*(trade_value(n) for n in range(MESSAGES)), b"bad"])
    start(CLICKHOUSE_PORT=str(limit.port))
    eventually(lambda: waiting(settings) == 0, "everything is committed", timeout_s=within_s)
    assert positions(store) == (MESSAGES, MESSAGES)
    assert letters(settings) == 1
    assert max(limit.sizes) <= limit.limit_bytes
    before = limit.refused
    assert before > 1
    publish(settings, (trade_value(n) for n in range(MESSAGES, 2 * MESSAGES)))
    eventually(lambda: waiting(settings) == 0, "everything is committed")
    assert positions(store) == (2 * MESSAGES, 2 * MESSAGES)
    assert limit.refused == before


def test_worker_divides_a_block_when_the_connection_always_breaks(
    settings: Settings, store: Store, start: Start, limit: SizeLimit
) -> None:
    limit.breaks, limit.limit_bytes = True, 20_000
    publish(settings, (trade_value(n) for n in range(2 * MESSAGES)))
    start(CLICKHOUSE_PORT=str(limit.port))
    eventually(lambda: waiting(settings) == 0, "everything is committed", timeout_s=60)
    assert positions(store) == (2 * MESSAGES, 2 * MESSAGES)
    assert limit.refused > 1


def test_worker_with_one_message_that_is_too_large_names_limit_and_size(
    settings: Settings, store: Store, start: Start, limit: SizeLimit, health_port: int
) -> None:
    limit.limit_bytes = 100
    publish(settings, (trade_value(n) for n in range(3)))
    start(CLICKHOUSE_PORT=str(limit.port))
    words = ("a block of 1 rows and", "bytes", "client_max_body_size")
    eventually(lambda: says(health_port, *words), "limit and size are named")
    assert letters(settings) == 0
    limit.limit_bytes = 1_000_000
    eventually(lambda: waiting(settings) == 0, "everything is committed")
    assert positions(store) == (3, 3)


@pytest.mark.kafka_decides
@pytest.mark.parametrize(
    ("point", "later_bytes"),
    others_nightly(
        [
            (CrashPoint.AFTER_INSERT, 1_500),
            (CrashPoint.AFTER_INSERT, 1_000_000),
            (CrashPoint.AFTER_PLAN, 4_000),
            (CrashPoint.DURING_INSERT, 4_000),
            (CrashPoint.AFTER_COMMIT, 4_000),
        ]
    ),
)
def test_worker_killed_between_halves_stores_every_message_once(
    point: CrashPoint,
    later_bytes: int,
    settings: Settings,
    store: Store,
    limit: SizeLimit,
    tmp_path: Path,
) -> None:
    published, log = 0, tmp_path / "worker.log"
    command = [
        sys.executable,
        crashing_worker.__file__,
        "trades",
        point.name,
        "0.3",
        "1",
        "--again",
    ]
    worker = Process(command, log, WORKER_ID="worker-1", CLICKHOUSE_PORT=str(limit.port))
    try:
        while "died at" not in log.read_text():
            publish(settings, (trade_value(n) for n in range(published, published + MESSAGES)))
            published += MESSAGES
            eventually(
                lambda: "died at" in log.read_text() or waiting(settings) == 0,
                "it dies or ends",
                timeout_s=90,
            )
        # The limit is lower meanwhile, or is gone: the plans that were made stay the same.
        limit.limit_bytes = later_bytes
        eventually(lambda: waiting(settings) == 0, "everything is committed", timeout_s=90)
        assert worker.lives
    finally:
        worker.end()
    assert positions(store) == (published, published)
    assert letters(settings) == 0


def test_worker_that_gets_a_stored_block_which_is_now_too_large_doubles_nothing(
    settings: Settings, store: Store, start: Start, limit: SizeLimit, tmp_path: Path
) -> None:
    publish(settings, (trade_value(n) for n in range(MESSAGES)))
    log = tmp_path / "crashed.log"
    command = [sys.executable, crashing_worker.__file__, "trades", "AFTER_INSERT", "1", "1"]
    worker = Process(command, log, WORKER_ID="worker-1")
    eventually(lambda: not worker.lives, "it died after the insert")
    assert waiting(settings) == MESSAGES
    start(CLICKHOUSE_PORT=str(limit.port))
    eventually(lambda: waiting(settings) == 0, "everything is committed")
    assert positions(store) == (MESSAGES, MESSAGES)
