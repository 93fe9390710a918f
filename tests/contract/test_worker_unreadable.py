"""Batches that no client can read: named, skipped on order, and accounted for."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import confluent_kafka
import pytest

from bombs import send_bomb
from ports import free_port
from radar.consumer.delivery_gaps import recorded
from radar.consumer.letters import Letters
from radar.consumer.replay import purge
from radar.kafka import Cluster, GroupReader
from radar.kinds import TRADES
from radar.observe.ask_health import ask
from radar.observe.scrape import scrape
from radar.settings import Settings, load
from radar.store.client import Store
from support import Process, eventually, radar
from workers import create_topics, stored, trade_value, waiting

Start = Callable[..., Process]


@pytest.fixture
def settings(kafka_settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.3")
    monkeypatch.setenv("KAFKA_SESSION_TIMEOUT_SECONDS", "6")
    settings = load()
    create_topics(settings)
    return settings


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    processes: list[Process] = []

    def run(**environment: str) -> Process:
        log = tmp_path / f"worker-{len(processes)}.log"
        process = Process(radar("consume", "trades"), log, WORKER_ID="worker-1", **environment)
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.end()


def publish(settings: Settings, *numbers: int, partition: int = 0) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": settings.kafka_broker})
    for n in numbers:
        producer.produce(TRADES.topic, trade_value(n), b"wallex:USDTTMN", partition=partition)
    assert producer.flush(20) == 0


def run(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        radar(*arguments), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def committed(settings: Settings, partition: int = 0) -> int | None:
    return Cluster(settings).lag(TRADES.topic, TRADES.group)[partition].committed


def test_worker_at_an_unreadable_batch_names_it_and_passes_it_on_order(
    settings: Settings, store: Store, start: Start
) -> None:
    publish(settings, *range(3))
    assert send_bomb(settings, TRADES.topic) == 3
    publish(settings, *range(3, 6))
    publish(settings, 10, 11, partition=1)
    port = free_port()
    worker = start(METRICS_PORT=str(port))
    told_at_s = time.monotonic()
    eventually(lambda: any("stands at" in why for why in ask("127.0.0.1", port).reasons), "a name")
    assert time.monotonic() < told_at_s + 20
    report = ask("127.0.0.1", port)
    assert (report.alive, report.ready) == (True, False)
    (reason,) = (each for each in report.reasons if "stands at" in each)
    assert "partition 0 of radar_trades stands at offset 3: the batch there" in reason
    assert "skip it with: radar skip trades 0 3" in reason
    eventually(lambda: stored(store) == 5, "what stands before it, and the other partition")
    samples = {name: value for (name, _), value in scrape(port).items()}
    assert samples["radar_unreadable_partitions"] == 1
    doctor = run("doctor", code=1)
    assert re.search(r"problem +batches: partition 0 of radar_trades stands at offset 3", doctor)
    assert "radar skip trades 0 3" in doctor

    assert "the worker has passed them and goes on at offset 4" in run("skip", "trades", "0", "3")
    eventually(lambda: stored(store) == 8 and waiting(settings) == 0, "the rest")
    eventually(lambda: ask("127.0.0.1", port).ready, "the worker is ready")
    assert worker.lives
    (gap,) = recorded(store, TRADES.topic, Cluster(settings).topic_id(TRADES.topic))
    assert gap[:3] == (0, 3, 3)
    assert "compress" in gap.reason.lower()
    report_of_trades = json.loads(run("verify", "--json"))["kinds"][0]
    partition = report_of_trades["partitions"][0]
    assert (partition["compared"], partition["rows"], partition["skipped"]) == (7, 6, 1)
    assert report_of_trades["missing"] == 0


def test_skip_at_the_end_of_the_log_lets_a_stopped_worker_pass_several_batches(
    settings: Settings, store: Store, start: Start
) -> None:
    publish(settings, 0, 1)
    assert send_bomb(settings, TRADES.topic, messages=20) == 2
    assert send_bomb(settings, TRADES.topic, messages=3) == 22
    assert "no worker has passed them yet" in run("skip", "trades", "0", "2", "24")
    (gap,) = recorded(store, TRADES.topic, Cluster(settings).topic_id(TRADES.topic))
    assert gap[:3] == (0, 2, 24)
    assert json.loads(run("verify", "--json"))["exact"]
    start()
    eventually(lambda: committed(settings) == 25, "the end of the log is committed")
    publish(settings, 2)
    eventually(lambda: stored(store) == 3, "what comes afterwards")
    assert json.loads(run("verify", "--json"))["exact"]


def test_skip_stops_at_the_next_readable_message(
    settings: Settings, store: Store, start: Start
) -> None:
    send_bomb(settings, TRADES.topic, messages=5)
    publish(settings, 0)
    send_bomb(settings, TRADES.topic, messages=5)
    publish(settings, 1)
    start()
    assert "goes on at offset 5" in run("skip", "trades", "0", "0")
    eventually(lambda: stored(store) == 1, "the message between")
    assert "goes on at offset 11" in run("skip", "trades", "0", "6", "10")
    eventually(lambda: stored(store) == 2, "the message behind")


def test_skip_refuses_what_can_be_read_or_is_not_there(settings: Settings, store: Store) -> None:
    publish(settings, 0)
    send_bomb(settings, TRADES.topic, messages=2)
    publish(settings, 1)
    assert "offset 0 of radar_trades[0] can be read" in run("skip", "trades", "0", "0", code=2)
    assert "holds offsets 0 to 3" in run("skip", "trades", "0", "9", code=2)
    assert "has no partition 99" in run("skip", "trades", "99", "0", code=2)
    assert "give 2 as TO" in run("skip", "trades", "0", "1", "3", code=2)
    assert "give 2 as TO" in run("skip", "trades", "0", "1", "1", code=2)
    assert recorded(store, TRADES.topic, Cluster(settings).topic_id(TRADES.topic)) == []


@pytest.mark.parametrize("hi", [1, 3, 5])
def test_worker_with_an_open_plan_into_a_skipped_range_stores_each_message_once(
    settings: Settings, store: Store, start: Start, hi: int
) -> None:
    """A plan ends before the batch (1), in it (3) or behind it (5)."""
    publish(settings, 0, 1)
    send_bomb(settings, TRADES.topic, messages=3)
    publish(settings, 2, 3)
    assigned: list[int] = []
    reader = GroupReader(
        settings,
        TRADES.topic,
        TRADES.group,
        on_assign=lambda found: assigned.extend(each.partition for each in found),
        on_revoke=lambda _: None,
    )
    eventually(lambda: bool(reader.consume(1, 0.1) or assigned), "the partitions")
    reader.commit(0, 0, f"P|0|{hi}")
    reader.close()
    start()
    run("skip", "trades", "0", "2")
    eventually(lambda: stored(store) == 4 and waiting(settings) == 0, "all that can be read")
    assert store.rows("SELECT uniqExact(trade_id), count() FROM trades") == [(4, 4)]
    assert json.loads(run("verify", "--json"))["exact"]


def test_dead_letters_behind_an_unreadable_batch_are_still_listed_and_purged(
    settings: Settings,
) -> None:
    send_bomb(settings, TRADES.dead_letter_topic, messages=2)
    letters = Letters(Cluster(settings), TRADES)
    assert list(letters) == []
    assert purge(settings, TRADES) == 0
    assert "0 dead letters" in run("dlq", "list")
    (lag,) = (
        lag for lag in Cluster(settings).lag(TRADES.dead_letter_topic, TRADES.group) if lag.end
    )
    assert lag.start == lag.end
