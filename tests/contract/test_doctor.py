"""`radar doctor` in front of real stores and a simulated exchange."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from market_data import insert, side, trade
from ports import free_port
from radar.codec import message_format
from radar.consumer.chunk import BadMessage
from radar.consumer.dlq.publisher import DeadLetterPublisher
from radar.datasets import DATASETS, DEPTH, TRADES
from radar.errors import InvalidMessage
from radar.kafka import Cluster, client_config
from radar.records import BookSide
from radar.settings import Settings
from radar.store.client import Store
from radar_simulator import SimulatorOptions, simulator
from support import run_command

Findings = dict[str, tuple[str, str, str]]


def ask(code: int, **environment: str) -> Findings:
    """Run the command against a simulated exchange; return state, detail and remedy by check."""

    async def run() -> str:
        async with simulator(SimulatorOptions(symbols=3)) as sim:
            urls = {"EXCHANGE_WS_URL": sim.ws_url, "EXCHANGE_REST_URL": sim.rest_url}
            done = await asyncio.to_thread(
                run_command, "doctor", "--json", environment=urls | environment
            )
            assert done.returncode == code, done.stdout + done.stderr
            return str(done.stdout)

    found: list[dict[str, Any]] = json.loads(asyncio.run(run()))["findings"]
    return {each["check"]: (each["state"], each["detail"], each["remedy"]) for each in found}


def states(found: Findings, *bad: str) -> set[str]:
    """Return the states of all checks but the named ones."""
    return {state for check, (state, _, _) in found.items() if check not in bad}


def test_doctor_finds_nothing_where_all_is_well(kafka_settings: Settings, store: Store) -> None:
    names = [
        name for dataset in DATASETS.values() for name in (dataset.topic, dataset.dead_letter_topic)
    ]
    Cluster(kafka_settings).create_topics(names)
    found = ask(0)
    # These depend on the machine.
    assert states(found, "disk", "ClickHouse disk", "clock synchronisation") == {"ok"}
    assert {"Kafka", "topics", "ClickHouse", "schema", "tables", "clock"} <= found.keys()
    assert " the exchange's, ± " in found["exchange clock"][1]
    assert found["clock synchronisation"][0] in ("ok", "warning", "unknown")
    assert found["exchange WebSocket"][1] == "takes connections"
    assert store.rows("SELECT count() FROM trades_master") == [(0,)]


def test_doctor_says_how_often_books_are_recorded_and_how_old_they_are(
    kafka_settings: Settings, store: Store
) -> None:
    names = [
        name for dataset in DATASETS.values() for name in (dataset.topic, dataset.dead_letter_topic)
    ]
    Cluster(kafka_settings).create_topics(names)
    assert ask(0)["books"][1] == (
        "each side is recorded at most once in 7 s (DEPTH_INTERVAL_SECONDS);"
        " no trade of the last 10 minutes has a book before it"
    )
    now_us = time.time_ns() // 1000
    trades = [
        trade((now_us - n * 1_000_000) // 1000, now_us - n * 1_000_000, "5") for n in range(10, 14)
    ]
    oldest_us = trades[-1].received_at_us
    books = [
        side(BookSide.BID, [4.9], oldest_us - 4_000_000),
        side(BookSide.ASK, [5.1], oldest_us - 4_500_000),
    ]
    values = [message_format.encode_trade(each, f"{n:032x}") for n, each in enumerate(trades)]
    insert(store, TRADES, values, "trades")
    insert(store, DEPTH, [message_format.encode_depth(each) for each in books], "books")
    # The older side of the book is 4.5 s older than the first trade, and 7.5 s than the last.
    detail = ask(0, DEPTH_INTERVAL_SECONDS="2.5")["books"][1]
    assert detail.startswith("each side is recorded at most once in 2.5 s (DEPTH_INTERVAL_SECONDS)")
    assert detail.endswith("the book before a trade was 6.0 s old (median), 7.5 s (99 %)")


def test_doctor_finds_what_differs_and_names_remedies(
    kafka_settings: Settings, store: Store
) -> None:
    admin = AdminClient(client_config(kafka_settings))
    options = {"max.message.bytes": "1000000", "retention.ms": "3600000"}
    new = NewTopic(DEPTH.topic, num_partitions=1, replication_factor=1, config=options)
    for future in admin.create_topics([new]).values():
        future.result(10)
    Cluster(kafka_settings).create_topics([TRADES.topic, TRADES.dead_letter_topic])
    letter = BadMessage(5, b"key", b"{}", InvalidMessage("schema", "as a test wants it"))
    DeadLetterPublisher(kafka_settings, TRADES).send(0, [letter])
    store.command("ALTER TABLE trades_master MODIFY TTL toDateTime(received_at) + toIntervalDay(5)")
    store.command("DROP TABLE gaps")
    store.command(
        "CREATE TABLE gaps (a UInt8, received_at DateTime) ENGINE = MergeTree ORDER BY a"
        " TTL received_at + toIntervalDay(90)"
    )
    found = ask(1, SYMBOLS="NOSUCHTMN")
    assert found[f"topic {DEPTH.topic}"][2] == "`radar topics --grow`"  # the last of several
    assert found["topics"][1].startswith(f"missing: {DEPTH.dead_letter_topic}")
    assert found["dead letters"][:2] == ("warning", "messages that are no rows: trades 1")
    assert found["table trades_master"][1] == "rows are kept 5 days, RETENTION_DAYS is 90"
    assert found["table gaps"][0] == "problem"
    assert found["markets"][0] == "problem"
    assert "NOSUCHTMN" in found["markets"][1]


def test_doctor_without_stores_says_what_up_would_do(tmp_path: Path) -> None:
    closed = tmp_path / "file"
    closed.write_text("")
    found = ask(
        1,
        KAFKA_BROKER=f"127.0.0.1:{free_port()}",
        CLICKHOUSE_PORT=str(free_port()),
        RADAR_DATA_DIR=str(closed),
    )
    assert "`radar up` starts its own" in found["Kafka"][1]
    assert "`radar up` starts its own" in found["ClickHouse"][1]
    assert found["data directory"][0] == "problem"


def test_doctor_with_a_wrong_password_or_nothing_listening_names_the_options(
    store_settings: Settings,
) -> None:
    broker = f"127.0.0.1:{store_settings.clickhouse_port}"  # answers, but is no broker
    found = ask(1, KAFKA_BROKER=broker, CLICKHOUSE_USER="nobody")
    assert found["Kafka"][0] == "problem"
    assert "KAFKA_BROKER" in found["Kafka"][2]
    assert found["ClickHouse"][0] == "problem"
    assert "CLICKHOUSE_USER" in found["ClickHouse"][2]
