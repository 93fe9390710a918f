"""Batches that no client can read: named, skipped on order, and accounted for."""

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bombs import send_bomb
from cases import others_nightly
from ports import free_port
from radar.consumer.delivery_gaps import recorded
from radar.consumer.dlq.reader import DeadLetterReader
from radar.consumer.dlq.replay import purge
from radar.consumer.worker import Worker
from radar.datasets import TRADES
from radar.kafka import Cluster, GroupReader, Message
from radar.settings import Settings, load
from radar.status.health_probe import ask
from radar.status.scrape import scrape
from radar.store.client import Store
from radar.telemetry.health import Health
from support import eventually, run_command
from workers import (
    Start,
    create_topics,
    letters,
    publish_numbered,
    starting,
    stored,
    waiting,
)

pytestmark = pytest.mark.kafka_decides


@pytest.fixture
def settings(kafka_settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.3")
    monkeypatch.setenv("KAFKA_SESSION_TIMEOUT_SECONDS", "6")
    settings = load()
    create_topics(settings)
    return settings


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    yield from starting(tmp_path, WORKER_ID="worker-1")


def run(*arguments: str, code: int = 0) -> str:
    if arguments[0] == "skip" and "--reason" not in arguments:
        arguments += ("--reason", "a test wrote it")
    done = run_command(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def committed(settings: Settings, partition: int = 0) -> int | None:
    return Cluster(settings).lag(TRADES.topic, TRADES.group)[partition].committed


def test_worker_at_an_unreadable_batch_names_it_and_passes_it_on_order(
    settings: Settings, store: Store, start: Start
) -> None:
    publish_numbered(settings, *range(3))
    assert send_bomb(settings, TRADES.topic) == 3
    publish_numbered(settings, *range(3, 6))
    publish_numbered(settings, 10, 11, partition=1)
    port = free_port()
    worker = start(METRICS_PORT=str(port))
    eventually(lambda: '"assigned"' in worker.log.read_text(), "the partitions")
    eventually(
        lambda: any("stands at" in why for why in ask("127.0.0.1", port).reasons), "a name", 10
    )
    report = ask("127.0.0.1", port)
    assert (report.alive, report.ready) == (True, False)
    (reason,) = (each for each in report.reasons if "stands at" in each)
    assert "partition 0 of radar_trades stands at offset 3: the batch there" in reason
    assert "skip it with: radar skip trades 0 3 --reason TEXT" in reason
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
    assert store.rows("SELECT cause, explanation, recorded_by, offsets FROM delivery_gaps") == [
        ("unreadable", "a test wrote it", "radar skip", 1)
    ]
    report_of_trades = json.loads(run("verify", "--json"))["datasets"][0]
    partition = report_of_trades["partitions"][0]
    assert (partition["compared"], partition["rows"], partition["skipped"]) == (7, 6, 1)
    assert report_of_trades["missing"] == 0


@pytest.mark.parametrize(
    ("codec", "mebibytes"), others_nightly([("gzip", 160), ("lz4", 160), ("snappy", 40)])
)
def test_bomb_that_the_client_can_decompress_becomes_one_dead_letter(
    settings: Settings, store: Store, start: Start, codec: str, mebibytes: int
) -> None:
    publish_numbered(settings, *range(3))
    assert send_bomb(settings, TRADES.topic, codec=codec, mebibytes=mebibytes) == 3
    publish_numbered(settings, *range(3, 6))
    worker = start()
    eventually(lambda: stored(store) == 6 and waiting(settings) == 0, "the others", 60)
    assert letters(settings) == 1
    assert worker.lives


@pytest.mark.slow("src/radar/cli/skip.py", "src/radar/consumer/unreadable.py")
def test_skip_at_the_end_of_the_log_lets_a_stopped_worker_pass_several_batches(
    settings: Settings, store: Store, start: Start
) -> None:
    publish_numbered(settings, 0, 1)
    assert send_bomb(settings, TRADES.topic, messages=20) == 2
    assert send_bomb(settings, TRADES.topic, messages=3) == 22
    assert "no worker has passed them yet" in run("skip", "trades", "0", "2", "24")
    (gap,) = recorded(store, TRADES.topic, Cluster(settings).topic_id(TRADES.topic))
    assert gap[:3] == (0, 2, 24)
    assert json.loads(run("verify", "--json"))["exact"]
    start()
    eventually(lambda: committed(settings) == 25, "the end of the log is committed")
    publish_numbered(settings, 2)
    eventually(lambda: stored(store) == 3, "what comes afterwards")
    assert json.loads(run("verify", "--json"))["exact"]


def test_skip_stops_at_the_next_readable_message(
    settings: Settings, store: Store, start: Start
) -> None:
    send_bomb(settings, TRADES.topic, messages=5)
    publish_numbered(settings, 0)
    send_bomb(settings, TRADES.topic, messages=5)
    publish_numbered(settings, 1)
    start()
    assert "goes on at offset 5" in run("skip", "trades", "0", "0")
    eventually(lambda: stored(store) == 1, "the message between")
    assert "goes on at offset 11" in run("skip", "trades", "0", "6", "10")
    eventually(lambda: stored(store) == 2, "the message behind")


def test_skip_refuses_what_can_be_read_or_is_not_there(settings: Settings, store: Store) -> None:
    publish_numbered(settings, 0)
    send_bomb(settings, TRADES.topic, messages=2)
    publish_numbered(settings, 1)
    assert "offset 0 of radar_trades[0] can be read" in run("skip", "trades", "0", "0", code=2)
    assert "holds offsets 0 to 3" in run("skip", "trades", "0", "9", code=2)
    assert "has no partition 99" in run("skip", "trades", "99", "0", code=2)
    assert "give 2 as TO" in run("skip", "trades", "0", "1", "3", code=2)
    assert "give 2 as TO" in run("skip", "trades", "0", "1", "1", code=2)
    assert recorded(store, TRADES.topic, Cluster(settings).topic_id(TRADES.topic)) == []


@pytest.mark.parametrize("hi", others_nightly([3, 1, 5]))
def test_worker_with_an_open_plan_into_a_skipped_range_stores_each_message_once(
    settings: Settings, store: Store, start: Start, hi: int
) -> None:
    """A plan ends before the batch (1), in it (3) or behind it (5)."""
    publish_numbered(settings, 0, 1)
    send_bomb(settings, TRADES.topic, messages=3)
    publish_numbered(settings, 2, 3)
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


@pytest.mark.parametrize("hi", others_nightly([4, 5]))
def test_broken_plan_whose_block_was_inserted_already_gives_no_row_twice(
    settings: Settings, store: Store, start: Start, hi: int
) -> None:
    """Another worker could read the batch (2 to 4), inserted the block and died before it ended."""
    store.command(f"SYSTEM STOP MERGES {store.database}.{TRADES.table}")
    publish_numbered(settings, 0, 1)
    first = start()
    eventually(lambda: committed(settings) == 2, "the block's rows")
    first.end()
    send_bomb(settings, TRADES.topic, messages=3)
    publish_numbered(settings, 2, 3)
    assigned: list[int] = []
    # As the same static member: it takes the place of the first at once.
    reader = GroupReader(
        settings.model_copy(update={"worker_id": "worker-1"}),
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
    eventually(lambda: waiting(settings) == 0, "all that can be read")
    offsets = store.rows(f"SELECT kafka_offset FROM {TRADES.table} ORDER BY kafka_offset")
    assert offsets == [(0,), (1,), (5,), (6,)]
    assert json.loads(run("verify", "--json"))["exact"]


def test_skip_without_from_takes_the_committed_offset_and_needs_a_reason(
    settings: Settings, store: Store, start: Start
) -> None:
    publish_numbered(settings, 0)
    send_bomb(settings, TRADES.topic, messages=2)
    publish_numbered(settings, 1)
    start()
    eventually(lambda: committed(settings) == 1, "what stands before the batch")
    assert "--reason is empty" in run("skip", "trades", "0", "--reason", " ", code=2)
    hostile = "bad\x1b]0;PWNED\x07batch"
    assert "goes on at offset 3" in run("skip", "trades", "0", "--reason", hostile)
    ((explanation,),) = store.rows("SELECT explanation FROM delivery_gaps")
    assert explanation == r"bad\x1b]0;PWNED\x07batch"
    eventually(lambda: stored(store) == 2, "the message behind")
    # Whether everything flows does not matter here.
    shown = run_command("status").stdout
    assert "skipped for good: radar_trades[0] offsets 1 to 2 (unreadable: bad" in shown
    assert "\x1b" not in shown


def test_partition_that_is_silent_although_its_log_goes_on_is_named(
    settings: Settings, store: Store
) -> None:
    """The library reports no error here: messages from offset 3 on are taken from its hands."""
    publish_numbered(settings, *range(6))
    publish_numbered(settings, 10, partition=1)
    health = Health()
    topic_id = Cluster(settings).topic_id(TRADES.topic)
    worker = Worker(settings, TRADES, store, topic_id, health=health)
    consume = worker._reader.consume

    consuming, whole = threading.Lock(), threading.Event()

    def lossy(max_messages: int, timeout_s: float) -> list[Message]:
        with consuming:
            found = consume(max_messages, timeout_s)
            return [
                each for each in found if whole.is_set() or each.partition() or each.offset() < 3
            ]

    worker._reader.consume = lossy  # type: ignore[method-assign]
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        eventually(lambda: any("stands at" in why for why in health.why_not_ready()), "a name")
        (reason,) = (each for each in health.why_not_ready() if "stands at" in each)
        assert "partition 0 of radar_trades stands at offset 3" in reason
        assert "no message came in 5 s, although the log goes on" in reason
        eventually(lambda: stored(store) == 4, "what came")
        with consuming:  # or a call that has begun would drop a message from the new position
            worker._reader.seek(0, 3)
            whole.set()
        eventually(lambda: stored(store) == 7, "the rest")
        eventually(lambda: health.why_not_ready() == [], "the worker is ready")
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()


def test_dead_letters_behind_an_unreadable_batch_are_still_listed_and_purged(
    settings: Settings,
) -> None:
    send_bomb(settings, TRADES.dead_letter_topic, messages=2)
    letters = DeadLetterReader(Cluster(settings), TRADES)
    assert list(letters) == []
    assert purge(settings, TRADES) == 0
    assert "0 dead letters" in run("dlq", "list")
    (lag,) = (
        lag for lag in Cluster(settings).lag(TRADES.dead_letter_topic, TRADES.group) if lag.end
    )
    assert lag.start == lag.end
