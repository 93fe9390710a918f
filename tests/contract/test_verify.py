"""`radar verify`: finds what is missing and what is doubled, and nothing else."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.bad_messages import trade
from radar.checks import verify as module
from radar.checks.verify import DatasetReport, PartitionReport, verify_dataset
from radar.consumer.dlq.replay import purge
from radar.datasets import DATASETS, TRADES
from radar.kafka import Cluster
from radar.settings import Settings, load
from radar.store.client import Store
from support import Process, eventually, radar, run_command
from workers import create_topics, depth_value, publish, stored, trade_value, waiting

BAD = b'{"v":1,"kind":"nonsense"}'
OLD_US = time.time_ns() // 1000 - 200 * 86_400_000_000


@pytest.fixture
def settings(kafka_settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.2")
    settings = load()
    create_topics(settings)
    # So that more than one is needed.
    monkeypatch.setattr(module, "CHUNK_MESSAGES", 7)
    monkeypatch.setattr(module, "LOOK_UP_KEYS", 2)
    return settings


@pytest.fixture
def worker(settings: Settings, tmp_path: Path) -> Iterator[Process]:
    process = Process(radar("consume", "trades"), tmp_path / "worker.log", WORKER_ID="worker-1")
    yield process
    process.end()


def compare(settings: Settings, store: Store) -> tuple[DatasetReport, PartitionReport]:
    """Compare; return also what was found about the only partition with messages."""
    report = verify_dataset(Cluster(settings), store, TRADES)
    used = [each for each in report.partitions if each.compared or each.deleted_unstored]
    return report, used[0] if used else report.partitions[0]


def settle(settings: Settings) -> None:
    eventually(lambda: waiting(settings) == 0, "everything is stored")


def run(*arguments: str, code: int) -> str:
    done = run_command("verify", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


# ClickHouse lets the rows of a table expire once in some hours.
@pytest.mark.own_database
@pytest.mark.kafka_decides
@pytest.mark.usefixtures("worker")
def test_verify_repeated_bad_expired_and_deleted_messages_are_not_missing(
    settings: Settings, store: Store
) -> None:
    values = [trade_value(n) for n in range(20)]
    old = trade(trade_id="ab" * 16, received_at_us=OLD_US, event_time_ms=OLD_US // 1000)
    publish(settings, [*values, values[3], values[3], BAD, old])
    settle(settings)
    store.command("OPTIMIZE TABLE trades_master FINAL")
    eventually(lambda: stored(store) == 20, "repeated rows and the old one are gone")
    report, partition = compare(settings, store)
    assert (report.missing, report.doubled, report.foreign) == (0, 0, 0)
    assert partition == PartitionReport(
        partition.partition, compared=24, rows=partition.rows, repeated=22 - partition.rows,
        dead_letters=1, expired=1,
    )  # fmt: skip
    assert "no message is missing and no row is doubled" in run(code=0)
    # What was stored may be deleted from Kafka, and letters from their topic.
    Cluster(settings).delete_records_before(TRADES.topic, {partition.partition: 10})
    assert purge(settings, TRADES) == 1
    report, partition = compare(settings, store)
    assert (report.missing, partition.compared, partition.dead_letters) == (0, 14, 1)


@pytest.mark.usefixtures("worker")
def test_verify_row_that_is_gone_is_missing(settings: Settings, store: Store) -> None:
    publish(settings, (trade_value(n, f"S{n}TMN") for n in range(20)))
    settle(settings)
    store.command("DELETE FROM trades_master WHERE symbol IN ('S4TMN', 'S11TMN')")
    report, partition = compare(settings, store)
    assert (report.missing, partition.missing, partition.places) == (2, 2, [4, 11])
    assert {name for name, market in report.symbols.items() if market.missing} == {
        "S4TMN",
        "S11TMN",
    }
    found = json.loads(run("--json", code=1))
    assert not found["exact"]
    assert (found["datasets"][0]["missing"], found["datasets"][0]["doubled"]) == (2, 0)
    text = run(code=1)
    assert "2 MISSING (offsets 4, 11)" in text
    assert "S4TMN: 1 missing, 0 doubled" in text
    assert "of Kafka's messages 2 are missing, 0 rows are doubled" in text


@pytest.mark.kafka_decides
def test_verify_messages_that_wait_are_not_missing_until_kafka_deletes_them(
    settings: Settings, store: Store, tmp_path: Path
) -> None:
    publish(settings, [trade_value(0)])
    worker = Process(radar("consume", "trades"), tmp_path / "worker.log", WORKER_ID="worker-1")
    settle(settings)
    assert worker.terminate() == 0
    publish(settings, (trade_value(n) for n in range(1, 10)))
    report, partition = compare(settings, store)
    assert (report.missing, partition.compared, partition.waiting) == (0, 1, 9)
    assert "9 waiting" in run(code=0)
    Cluster(settings).delete_records_before(TRADES.topic, {partition.partition: 5})
    report, partition = compare(settings, store)
    assert (report.missing, partition.deleted_unstored, partition.waiting) == (4, 4, 5)
    assert "4 MISSING: Kafka deleted them before they were stored" in run(code=1)


@pytest.mark.usefixtures("worker")
def test_verify_row_that_readers_see_twice_is_doubled(settings: Settings, store: Store) -> None:
    values = [trade_value(n) for n in range(5)]
    publish(settings, values)
    settle(settings)
    store.command("SYSTEM STOP MERGES trades_master")
    publish(settings, values[:2])
    settle(settings)
    assert compare(settings, store)[0].doubled == 0
    # As with a view that forgets what the table's engine needs.
    store.command("CREATE OR REPLACE VIEW trades AS SELECT * FROM trades_master")
    report, _ = compare(settings, store)
    assert (report.missing, report.doubled) == (0, 2)
    assert "USDTTMN: 0 missing, 2 doubled" in run(code=1)


@pytest.mark.usefixtures("worker")
def test_verify_rows_of_other_messages_at_the_same_offsets_hide_nothing(
    settings: Settings, store: Store
) -> None:
    publish(settings, (trade_value(n) for n in range(5)))
    settle(settings)
    # As when the topic was made anew: what these offsets held before is still in the table.
    store.command(
        "INSERT INTO trades_master (trade_id, source, symbol, base, quote, side, price,"
        " base_amount, event_time, received_at, kafka_partition, kafka_offset) SELECT"
        " generateUUIDv4(), source, symbol, base, quote, side, price, base_amount, event_time,"
        " received_at, kafka_partition, kafka_offset FROM trades_master WHERE kafka_offset = 2"
    )
    store.command("DELETE FROM trades_master WHERE base_amount = 4")
    report, partition = compare(settings, store)
    assert (partition.places, report.foreign) == ([3], 1)


def test_verify_depth_and_gaps_are_compared_too(
    settings: Settings, store: Store, tmp_path: Path
) -> None:
    publish(settings, (depth_value(n) for n in range(9)), DATASETS["depth"])
    Cluster(settings).create_topics([DATASETS["gaps"].topic, DATASETS["gaps"].dead_letter_topic])
    publish(settings, [gap(n) for n in range(9)], DATASETS["gaps"])
    processes = [
        Process(radar("consume", name), tmp_path / f"{name}.log", WORKER_ID=name)
        for name in ("depth", "gaps")
    ]
    try:
        for name in ("depth", "gaps"):
            eventually(lambda: waiting(settings, DATASETS[name]) == 0, name)  # noqa: B023
            report = verify_dataset(Cluster(settings), store, DATASETS[name])
            assert sum(each.rows for each in report.partitions) == 9
            assert (report.missing, report.doubled) == (0, 0)
    finally:
        for process in processes:
            process.end()


def gap(n: int) -> bytes:
    now_us = time.time_ns() // 1000
    content: dict[str, Any] = {
        "v": 1, "kind": "gap", "source": "wallex", "record_kind": "trades",
        "cause": "disconnected", "symbols": ["BTCUSDT", "USDTTMN"], "began_at_us": now_us - 9,
        "ended_at_us": now_us, "repaired": False, "received_at_us": now_us + n,
    }  # fmt: skip
    return json.dumps(content, separators=(",", ":")).encode()
