"""Workers as real processes against a real broker and a real ClickHouse."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import pytest

import crashing_worker
from ports import free_port
from radar.addresses import answers
from radar.codec import message_format
from radar.datasets import DEPTH, GAPS, TRADES, WATCHES, Dataset
from radar.kafka import Cluster, Publisher
from radar.records import Gap, GapCause, SessionReport
from radar.settings import Settings, load
from radar.status import process_facts
from radar.status.deployment import Served
from radar.store.client import Store
from support import Process, eventually, radar
from workers import (
    create_topics,
    depth_value,
    letters,
    publish,
    publish_trades,
    stored,
    trade_value,
    waiting,
)

pytestmark = pytest.mark.kafka_decides

Start = Callable[..., Process]


@pytest.fixture
def settings(kafka_settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BATCH_SIZE", "100")
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.3")
    monkeypatch.setenv("KAFKA_SESSION_TIMEOUT_SECONDS", "6")
    settings = load()
    create_topics(settings)
    return settings


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start workers; they are ended with the test."""
    processes: list[Process] = []

    def run(datasets: str = "trades", worker_id: str = "worker-1", **environment: str) -> Process:
        process = Process(
            radar("consume", *datasets.split()),
            tmp_path / f"{worker_id}.log",
            WORKER_ID=worker_id,
            **environment,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.end()


def test_worker_stores_every_message_once_where_it_stood(
    settings: Settings, store: Store, start: Start
) -> None:
    publish_trades(settings, range(1050))
    worker = start()
    eventually(lambda: stored(store) == 1050, "all trades are stored")
    eventually(lambda: waiting(settings) == 0, "everything is committed")
    assert worker.terminate() == 0
    rows = store.rows(
        "SELECT count(), uniqExact(trade_id), uniqExact(kafka_partition, kafka_offset),"
        " uniqExact(kafka_partition) FROM trades_master"
    )
    assert rows == [(1050, 1050, 1050, 3)]
    per_symbol = store.rows(
        "SELECT symbol FROM trades_master GROUP BY symbol HAVING uniqExact(kafka_partition) > 1"
    )
    assert per_symbol == []


def is_stored(settings: Settings, store: Store, dataset: Dataset) -> bool:
    return stored(store, dataset) == 1 and waiting(settings, dataset) == 0


def test_one_process_stores_the_quiet_datasets_and_shows_each(
    settings: Settings, store: Store, start: Start
) -> None:
    now_us, port = time.time_ns() // 1000, free_port()
    gap = Gap(
        source="wallex", record_kind="trades", cause=GapCause.SILENT, symbols=("USDTTMN",),
        began_at_us=now_us - 9, ended_at_us=now_us - 5, repaired=False, received_at_us=now_us,
    )  # fmt: skip
    watch = SessionReport(
        source="wallex", record_kind="trades", connection="0a", symbols=("USDTTMN",),
        began_at_us=now_us - 9, ended_at_us=now_us - 5, end_reason="closed", interval_ms=0,
        received_at_us=now_us,
    )  # fmt: skip
    worker = start("gaps watches", METRICS_PORT=str(port))
    values = {
        GAPS: message_format.encode_gap(gap),
        WATCHES: message_format.encode_session(watch),
    }
    Cluster(settings).create_topics([dataset.topic for dataset in values])
    for dataset, value in values.items():
        publish(settings, [value], dataset)
    for dataset in values:
        eventually(partial(is_stored, settings, store, dataset), f"{dataset.name} is stored")
    process = Served("quiet-consumer-1", "127.0.0.1", port, "running", worker.pid, 0)
    places = {(name, n) for name in ("gaps", "watches") for n in range(3)}
    eventually(lambda: set(process_facts.ask(process).scraped.lag) == places, "it shows its lag")
    scraped = process_facts.ask(process).scraped
    assert process_facts.role(scraped) == process_facts.Role("worker", ("gaps", "watches"))
    assert worker.terminate() == 0


def test_worker_of_topics_that_grew_stores_a_trade_that_moved_once(
    settings: Settings, store: Store, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    symbols = [f"S{n}TMN" for n in range(40)]
    trades = [
        (message_format.message_key("wallex", each), trade_value(1, each)) for each in symbols
    ]

    def publish_all() -> None:
        publisher = Publisher(settings, TRADES.topic)
        for key, value in trades:
            publisher.publish(key, value)
        assert publisher.flush(20) == 0

    publish_all()
    monkeypatch.setenv("KAFKA_NUM_PARTITIONS", "8")
    Cluster(load()).grow_topics([TRADES.topic])
    eventually(lambda: len(Cluster(settings).lag(TRADES.topic, TRADES.group)) == 8, "8 partitions")
    publish_all()
    start()
    eventually(lambda: stored(store) > 0 and waiting(settings) == 0, "everything is stored")
    assert store.rows("SELECT count() FROM trades") == [(40,)]
    # By the partitions of both times: some markets have really moved.
    ((partitions,),) = store.rows("SELECT uniqExact(kafka_partition) FROM trades_master")
    assert partitions > 3


def test_worker_under_a_steady_trickle_flushes_at_the_timeout(
    settings: Settings, store: Store, start: Start
) -> None:
    start()
    publisher = Publisher(settings, TRADES.topic)
    published = 0

    def trickled() -> bool:
        nonlocal published
        publisher.publish(b"wallex:USDTTMN", trade_value(published))
        publisher.poll(0)
        published += 1
        return stored(store) > 20

    # Far fewer than BATCH_SIZE messages a BATCH_TIMEOUT_SECONDS, and never a pause.
    eventually(trickled, "rows are stored while messages keep coming", every_s=0.03)
    publisher.flush(10)


def test_worker_on_sigterm_stores_what_it_took_and_leaves_nothing_to_replay(
    settings: Settings, store: Store, start: Start
) -> None:
    worker = start(BATCH_TIMEOUT_SECONDS="3600", BATCH_SIZE="100000", BATCH_MAX_SIZE="100000")
    publish_trades(settings, range(700))
    eventually(lambda: "assigned" in worker.log.read_text(), "the worker has partitions")
    # Nothing tells from outside that messages were taken; what was not stays in Kafka.
    eventually(lambda: worker.lives, "the worker lives")
    assert worker.terminate() == 0
    left = waiting(settings)
    assert stored(store) + left == 700
    start(worker_id="worker-1")
    eventually(lambda: stored(store) == 700, "the next worker goes on exactly there")


def test_worker_on_sigterm_stores_all_that_it_took_long_before_a_batch_is_due(
    settings: Settings, store: Store, start: Start
) -> None:
    port = free_port()
    worker = start(
        BATCH_TIMEOUT_SECONDS="3600",
        INSERT_INTERVAL_SECONDS="3600",
        BATCH_SIZE="100000",
        BATCH_MAX_SIZE="100000",
        METRICS_PORT=str(port),
    )

    def consumed() -> float:
        try:
            with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0
        name = 'radar_consumed_total{dataset="trades"}'
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def partitions_stored() -> int:
        return int(store.rows("SELECT uniqExact(kafka_partition) FROM trades_master")[0][0])

    # The first block of a partition is due at once; whatever comes after it waits for an hour.
    publish_trades(settings, range(700))
    eventually(lambda: partitions_stored() == 3, "every partition has stored its first block")
    publish_trades(settings, range(700, 1400))
    eventually(lambda: consumed() == 1400, "the worker has taken all messages")
    assert stored(store) <= 700
    assert worker.terminate() == 0
    # No other worker ran: what is stored now was stored by the one that ended.
    assert (stored(store), waiting(settings)) == (1400, 0)


def test_workers_share_partitions_and_take_over_when_one_leaves(
    settings: Settings, store: Store, start: Start
) -> None:
    first, second = start(worker_id=""), start(worker_id="")
    publish_trades(settings, range(300))
    eventually(lambda: stored(store) == 300, "both store")
    assert first.terminate() == 0
    publish_trades(settings, range(300, 600))
    eventually(lambda: stored(store) == 600, "the other one takes over", timeout_s=40)
    assert second.terminate() == 0


def test_worker_sends_garbage_to_the_dead_letters_and_stores_the_neighbours(
    settings: Settings, store: Store, start: Start
) -> None:
    garbage = [
        b"",
        b"not json",
        b"{}",
        b"[]",
        b"null",
        trade_value(1).replace(b'"v":1', b'"v":2'),
        trade_value(1).replace(b'"price":"31704.5"', b'"price":31704.5'),
        trade_value(1).replace(b'"price":"31704.5"', b'"price":"NaN"'),
        trade_value(1).replace(b'"price":"31704.5"', b'"price":"0"'),
        trade_value(1).replace(b'"side":"sell"', b'"side":"hold"'),
        b"\xff\xfe" * 10,
        b"[" * 100_000,
    ]
    # As many neighbours as it takes for the garbage to be an accident.
    neighbours = 25 * len(garbage)
    values = [trade_value(n) for n in range(neighbours)]
    for n, value in enumerate(garbage):
        values.insert(26 * n, value)
    publish(settings, values)
    start()
    eventually(lambda: stored(store) == neighbours, "the neighbours are stored")
    eventually(lambda: waiting(settings) == 0, "the garbage is committed as well")
    assert letters(settings) == len(garbage)


def test_worker_finds_the_row_that_the_server_rejects(
    settings: Settings, store: Store, start: Start
) -> None:
    # Nothing that the validation lets through is known to be refused by the tables. A constraint
    # of another name would be somebody else's, and so about the server.
    store.command("ALTER TABLE trades_master DROP CONSTRAINT positive_amount")
    wrong = "positive_amount CHECK base_amount NOT IN (18, 102)"
    store.command(f"ALTER TABLE trades_master ADD CONSTRAINT {wrong}")
    publisher = Publisher(settings, TRADES.topic)
    for n in range(150):
        publisher.publish(b"k", trade_value(n))
    assert publisher.flush(10) == 0
    start()
    eventually(lambda: waiting(settings) == 0, "everything is committed")
    assert stored(store) == 148
    assert letters(settings) == 2


def test_worker_stores_depth_snapshots(settings: Settings, store: Store, start: Start) -> None:
    publish(settings, [depth_value(n) for n in range(250)], DEPTH)
    start("depth")
    eventually(lambda: stored(store, DEPTH) == 250, "all snapshots are stored")
    assert store.rows("SELECT best_bid, best_ask FROM order_book") == [(100.5, 101.0)]


def test_worker_waits_out_a_clickhouse_that_is_down(
    kafka_settings: Settings, tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("CLICKHOUSE_PORT", str(port))
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.2")
    monkeypatch.setenv("KAFKA_SESSION_TIMEOUT_SECONDS", "6")
    settings = load()
    create_topics(settings)
    command = [sys.executable, "-m", "chdb_server", "--no-password"]
    command += ["--port", str(port)]

    def run_clickhouse() -> Process:
        process = Process([*command, "--path", str(tmp_path / "ch")], tmp_path / "ch.log")
        eventually(lambda: answers("127.0.0.1", port), "ClickHouse answers")
        return process

    worker = start()
    publish_trades(settings, range(100))
    clickhouse = run_clickhouse()
    store = Store(settings)
    try:
        eventually(lambda: worker.lives and waiting(settings) == 0, "it waited for ClickHouse")
        clickhouse.kill()
        publish_trades(settings, range(100, 200))
        eventually(lambda: "block waits" in worker.log.read_text(), "the insert fails")
        clickhouse = run_clickhouse()
        eventually(lambda: waiting(settings) == 0, "it goes on without a restart")
        assert worker.lives
        assert stored(store) == 200
    finally:
        store.close()
        clickhouse.end()


def test_worker_stopped_and_continued_doubles_nothing(
    settings: Settings, store: Store, start: Start
) -> None:
    publish_trades(settings, range(3000))
    zombie = start(BATCH_SIZE="20")
    eventually(lambda: stored(store) >= 200, "it works")
    zombie_process = zombie.pid
    os.kill(zombie_process, signal.SIGSTOP)
    try:
        start(worker_id="worker-1")  # takes the static place of the stopped one
        eventually(lambda: waiting(settings) == 0, "the other one finishes", timeout_s=40)
    finally:
        os.kill(zombie_process, signal.SIGCONT)
    assert zombie.wait(30) != 0
    rows = store.rows("SELECT count(), uniqExact(trade_id) FROM trades")
    assert rows == [(3000, 3000)]


def test_worker_taking_over_a_block_that_only_its_name_is_known_of_stores_it(
    settings: Settings, store: Store, start: Start, tmp_path: Path
) -> None:
    publish(settings, [trade_value(n) for n in range(50)])
    command = [sys.executable, crashing_worker.__file__, "trades", "AFTER_INSERT", "1", "1"]
    assert Process(command, tmp_path / "log", WORKER_ID="worker-1").wait(60) == -signal.SIGKILL
    assert (stored(store), waiting(settings)) == (50, 50)
    # What a server leaves that was killed after it noted the name: ClickHouse itself forgets the
    # names of parts that are dropped, but not those of rows that are deleted.
    store.command("DELETE FROM trades_master WHERE kafka_offset >= 20 SETTINGS mutations_sync = 2")
    start()
    eventually(lambda: waiting(settings) == 0, "everything is committed")
    assert store.rows("SELECT count() FROM trades") == [(50,)]


def test_worker_repeating_a_block_with_messages_of_one_trade_inserts_no_message_twice(
    settings: Settings, store: Store, start: Start, tmp_path: Path
) -> None:
    # Two producers publish each trade twice; the server keeps one row of those in one insert.
    values = [trade_value(n) for n in range(50)]
    publish(settings, values + values[:20])
    command = [sys.executable, crashing_worker.__file__, "trades", "AFTER_INSERT", "1", "1"]
    assert Process(command, tmp_path / "log", WORKER_ID="worker-1").wait(60) == -signal.SIGKILL
    start()
    eventually(lambda: waiting(settings) == 0, "everything is committed")
    rows = store.rows("SELECT count(), uniqExact(kafka_offset) FROM trades_master")
    assert rows == [(70, 70)]
    assert store.rows("SELECT count() FROM trades") == [(50,)]
