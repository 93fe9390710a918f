"""Dead letters after they were written: listed, shown, replayed exactly once, purged."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest

from radar.checks.verify import verify_dataset
from radar.consumer.chunk import BadMessage
from radar.consumer.dlq.publisher import MAX_PAYLOAD_BYTES, DeadLetterPublisher
from radar.consumer.dlq.reader import DeadLetter, DeadLetterReader, DeadLetterState, Selection
from radar.consumer.dlq.replay import _replay_block, purge, replay
from radar.datasets import DEPTH, TRADES
from radar.errors import InvalidMessage
from radar.kafka import Cluster
from radar.settings import Settings, load
from radar.store.client import Store
from support import Process, eventually, radar, run_command
from workers import create_topics, letters, publish, stored, trade_value, waiting

REFUSED = "REFUSEDTMN"
BAD = b'{"v":1,"kind":"nonsense"}'


@pytest.fixture
def settings(kafka_settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.2")
    monkeypatch.setenv("MAX_BAD_SHARE", "1")
    monkeypatch.setenv("MAX_CONSECUTIVE_BAD", "0")
    settings = load()
    create_topics(settings)
    return settings


@pytest.fixture
def worker(settings: Settings, tmp_path: Path) -> Iterator[Process]:
    process = Process(radar("consume", "trades"), tmp_path / "worker.log", WORKER_ID="worker-1")
    yield process
    process.end()


def refuse(store: Store) -> None:
    """Let the table refuse a market, as a wrong constraint of radar's own would do."""
    store.command("ALTER TABLE trades_master DROP CONSTRAINT has_market")
    store.command(
        f"ALTER TABLE trades_master ADD CONSTRAINT has_market CHECK symbol != '{REFUSED}'"
    )


def repair(store: Store) -> None:
    store.command("ALTER TABLE trades_master DROP CONSTRAINT has_market")


def send_three(settings: Settings, store: Store) -> None:
    """Publish a good trade, one that the table refuses and one that is none; await the letters."""
    refuse(store)
    publish(settings, [trade_value(1), trade_value(2, REFUSED), BAD])
    eventually(lambda: letters(settings) == 2 and waiting(settings) == 0, "two dead letters")


def opened(settings: Settings) -> list[DeadLetter]:
    return list(DeadLetterReader(Cluster(settings), TRADES).open())


def run(*arguments: str, code: int = 0, answer: str = "") -> str:
    done = run_command(*arguments, entered=answer)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def rows(store: Store) -> list[tuple[Any, ...]]:
    return store.rows("SELECT symbol, kafka_partition, kafka_offset FROM trades ORDER BY 3")


@pytest.mark.kafka_decides
@pytest.mark.usefixtures("worker")
def test_replay_after_a_repair_stores_each_letter_once_at_its_original_place(
    settings: Settings, store: Store
) -> None:
    send_three(settings, store)
    assert run("dlq", "replay", code=1).splitlines()[-1] == "0 replayed, 2 still bad"
    repair(store)
    output = run("dlq", "replay", code=1)
    assert "1 replayed, 1 still bad" in output
    assert "still bad: radar_trades:" in output
    assert "schema" in output
    ((_, partition, first), (symbol, same_partition, offset)) = rows(store)
    assert (symbol, same_partition, offset) == (REFUSED, partition, first + 1)
    assert run("dlq", "replay", code=1).splitlines()[-1] == "0 replayed, 1 still bad"
    assert stored(store) == 2
    assert [letter.payload for letter in opened(settings)] == [BAD]
    # Nothing went through Kafka again.
    assert waiting(settings) == 0
    assert Cluster(settings).topics([TRADES.topic])[0].end == 3


@pytest.mark.kafka_decides
@pytest.mark.usefixtures("worker")
def test_replay_interrupted_before_it_could_say_so_stores_nothing_twice(
    settings: Settings, store: Store
) -> None:
    send_three(settings, store)
    repair(store)
    result = _replay_block(TRADES, store, opened(settings))
    assert len(result.stored) == 1
    assert len(opened(settings)) == 2
    (block,) = replay(settings, TRADES, store)
    assert (len(block.stored), len(block.still_bad)) == (1, 1)
    assert len(opened(settings)) == 1
    assert stored(store) == len(rows(store)) == 2


@pytest.mark.kafka_decides
@pytest.mark.usefixtures("worker")
def test_replay_by_two_at_once_stores_each_letter_once(
    settings: Settings, store: Store, tmp_path: Path
) -> None:
    refuse(store)
    count = 60
    publish(settings, (trade_value(n, REFUSED) for n in range(count)))
    eventually(lambda: letters(settings) == count and waiting(settings) == 0, "the letters")
    repair(store)
    both = [Process(radar("dlq", "replay"), tmp_path / f"replay-{n}") for n in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert opened(settings) == []
    assert len(rows(store)) == count
    assert {row[2] for row in rows(store)} == set(range(count))


@pytest.mark.usefixtures("worker")
def test_list_and_show_tell_reason_origin_and_payload(settings: Settings, store: Store) -> None:
    send_three(settings, store)
    found = [json.loads(line) for line in run("dlq", "list", "--json").splitlines()]
    assert sorted(each["reason"] for each in found) == ["rejected", "schema"]
    bad = next(each for each in found if each["reason"] == "schema")
    assert bad["payload"].encode() == BAD
    assert (bad["topic"], bad["offset"], bad["state"]) == ("radar_trades", 2, "open")
    assert run("dlq", "list", "--dataset", "depth").strip() == "0 dead letters"
    assert run("dlq", "list", "--since", "2100-01-01").strip() == "0 dead letters"
    text = run("dlq", "list", "--reason", "schema", "--since", "1h")
    assert bad["letter"] in text
    assert "1 dead letter" in text
    shown = run("dlq", "show", bad["letter"])
    assert bad["detail"] in shown
    assert BAD.decode() in shown
    assert run("dlq", "show", bad["letter"], "--raw").encode() == BAD
    run("dlq", "show", "radar_trades:0:99", code=1)
    run("dlq", "list", "--since", "yesterday", code=2)


@pytest.mark.usefixtures("worker")
def test_replay_of_a_selection_leaves_the_others(settings: Settings, store: Store) -> None:
    send_three(settings, store)
    repair(store)
    (name,) = [each.name for each in opened(settings) if each.reason == "rejected"]
    assert "0 replayed, 0 still bad" in run("dlq", "replay", "--dataset", "depth")
    assert "1 replayed, 0 still bad" in run("dlq", "replay", name)
    assert "0 replayed, 0 still bad" in run("dlq", "replay", name)
    run("dlq", "replay", "radar_trades:0:99", code=1)
    assert "1 dead letter" in run("dlq", "list")
    assert "(replayed)" in run("dlq", "list", "--all")


@pytest.mark.kafka_decides
@pytest.mark.usefixtures("worker")
def test_purge_asks_and_then_deletes_what_was_there(settings: Settings, store: Store) -> None:
    send_three(settings, store)
    run("dlq", "purge", code=1, answer="n\n")
    assert len(opened(settings)) == 2
    identities = DeadLetterReader(Cluster(settings), TRADES).identities()
    assert "purged 2 open" in run("dlq", "purge", "--yes")
    assert opened(settings) == []
    assert "0 dead letters" in run("dlq", "list", "--all")
    # It stays known that the originals were letters, also after the next time.
    for _ in range(2):
        assert DeadLetterReader(Cluster(settings), TRADES).identities() == identities
        assert purge(settings, TRADES) == 0


@pytest.mark.kafka_decides
@pytest.mark.usefixtures("worker")
def test_letter_sent_twice_is_one_and_stays_replayed(settings: Settings, store: Store) -> None:
    send_three(settings, store)
    repair(store)
    list(replay(settings, TRADES, store))
    before = letters(settings)
    # As by a worker that takes over a block whose letters were sent already.
    (message,) = (each for each in Cluster(settings).messages(TRADES.topic) if each.offset() == 1)
    again = BadMessage(
        message.offset(), message.key(), message.value(), InvalidMessage("rejected", "again")
    )
    DeadLetterPublisher(settings, TRADES).send(message.partition(), [again])
    assert letters(settings) == before + 1
    states = [state for _, state in DeadLetterReader(Cluster(settings), TRADES)]
    assert sorted(states) == [DeadLetterState.OPEN, DeadLetterState.REPLAYED]
    assert list(DeadLetterReader(Cluster(settings), DEPTH).open(Selection())) == []


def test_replay_of_a_letter_that_was_cut_leaves_it(settings: Settings, store: Store) -> None:
    whole = trade_value(1)
    value = whole + b" " * MAX_PAYLOAD_BYTES
    too_large = BadMessage(7, b"key", value, InvalidMessage("schema", "too large"))
    DeadLetterPublisher(settings, TRADES).send(0, [too_large])
    (block,) = replay(settings, TRADES, store)
    ((letter, reason),) = block.still_bad
    assert (letter.name, reason.reason, block.stored) == ("radar_trades:0:7", "cut", [])
    assert letter.is_cut
    assert len(opened(settings)) == 1


def test_foreign_messages_are_listed_and_purged_and_change_nothing_else(
    settings: Settings, store: Store
) -> None:
    publish(settings, [BAD] * 7 + [trade_value(1)])
    ours = list(Cluster(settings).messages(TRADES.topic))[7]
    place = ours.partition()
    name = f"radar_trades:{place}:7"
    DeadLetterPublisher(settings, TRADES).send(
        place, [BadMessage(7, ours.key(), ours.value(), InvalidMessage("schema", "one of ours"))]
    )
    producer = confluent_kafka.Producer({"bootstrap.servers": settings.kafka_broker})
    escape = "\x1b]0;PWNED\x07\x1b[31mRED\x9b2J\u202eevil"
    real = {
        "topic": "radar_trades",
        "reason": "schema",
        "detail": "forged",
        "key": "",
        "bytes": str(len(trade_value(2))),
    }
    places = [("99999999999", "1"), ("0", "-1"), ("70000", "5"), ("0", "9" * 23), ("0", "5")]
    forged: list[tuple[bytes | None, bytes | None, Any]] = [
        (None, trade_value(2), [*(real | {"partition": p, "offset": o}).items()]) for p, o in places
    ]
    forged += [
        (None, b"x", [*(real | {"topic": escape, "partition": "0", "offset": "7"}).items()]),
        (None, b"x", [(f"h{n}", b"x") for n in range(50_000)]),
        (None, b"x", [("h" * 1000, b"x" * 900_000)]),
        (b"radar_trades:0:" + b"9" * 19, b"", [("marker", "replayed"), ("letter", "00")]),
        (b"x:1:2", None, [("marker", "purged"), ("letter", "zz")]),
        (escape.encode(), escape.encode(), []),
    ]
    for key, value, headers in forged:
        producer.produce(TRADES.dead_letter_topic, value, key, partition=0, headers=headers)
    # In form a marker, of a message that Kafka has never had.
    marker: dict[str, str | bytes | None] = {"marker": "purged", "letter": "0f" * 16}
    producer.produce(
        TRADES.dead_letter_topic, b"", b"radar_trades:0:4611686018427387904", 0, headers=marker
    )
    assert producer.flush(20) == 0

    found = DeadLetterReader(Cluster(settings), TRADES)
    assert found.foreign_count == len(forged)
    assert [letter.name for letter in found.open()] == [name]
    listed = run("dlq", "list")
    assert "1 dead letter\n" in listed
    assert f"radar_trades_dlq: {len(forged)} foreign messages" in listed
    assert listed.isprintable() or set(filter(lambda c: not c.isprintable(), listed)) == {"\n"}
    assert len(run("dlq", "list", "--json").splitlines()) == 1
    run("dlq", "show", name)
    run("dlq", "show", "radar_trades:0:5", code=1)
    assert run("dlq", "replay").splitlines()[-1] == "1 replayed, 0 still bad"
    assert [row[1:] for row in rows(store)] == [(place, 7)]
    assert "purged 0 open" in run("dlq", "purge", "--yes")
    after = DeadLetterReader(Cluster(settings), TRADES)
    assert (after.foreign_count, list(after)) == (0, [])
    # What was replayed stays known for as long as Kafka has the original.
    assert {marker.name for marker in after.markers()} == {name}


def forge(
    settings: Settings,
    *forged: tuple[bytes, dict[str, bytes]],
) -> None:
    """Write letters that look like real ones, as anybody may who reaches the broker."""
    producer = confluent_kafka.Producer({"bootstrap.servers": settings.kafka_broker})
    for value, headers in forged:
        key = b":".join((b"radar_trades", headers["partition"], headers["offset"]))
        producer.produce(
            TRADES.dead_letter_topic, value, key, headers=list(headers.items()), partition=0
        )
    assert producer.flush(20) == 0


def headers(value: bytes, partition: bytes, offset: bytes, **others: bytes) -> dict[str, bytes]:
    """Return the headers of a letter, as plausible as its place."""
    return {
        "reason": b"schema", "detail": b"schema: none", "topic": b"radar_trades", "key": b"key",
        "partition": partition, "offset": offset, "bytes": str(len(value)).encode(),
    } | others  # fmt: skip


@pytest.mark.usefixtures("worker")
def test_replay_makes_no_row_of_a_letter_that_is_not_of_the_message_at_its_place(
    settings: Settings, store: Store
) -> None:
    """Forged letters look like real ones: only the message at their place gives them away."""
    send_three(settings, store)
    partition = opened(settings)[0].partition
    number, other = str(partition).encode(), str(partition + 1).encode()
    (first,) = (each for each in Cluster(settings).messages(TRADES.topic) if each.offset() == 0)
    real, forged = first.value() or b"", trade_value(9, "FORGED")
    forge(
        settings,
        (forged, headers(forged, number, b"0")),  # of a place that is a row
        (forged, headers(forged, number, b"2")),  # of a place that has another letter
        (forged, headers(forged, number, b"3")),  # beyond the end
        (forged, headers(forged, number, b"%d" % (2**63 - 1))),
        (forged, headers(forged, other, b"0")),  # of an empty partition, or of none
        (forged, headers(forged, b"65535", b"0")),
        (real, headers(real, number, b"0")),  # of a message that is a row already
    )
    repair(store)
    output = run("dlq", "replay", code=1)
    assert "2 replayed, 7 still bad" in output
    assert "origin: radar_trades has another message at this place" in output
    assert "origin: radar_trades ends before this offset" in output
    assert rows(store) == [("USDTTMN", partition, 0), (REFUSED, partition, 1)]
    assert stored(store) == 2
    # The place beyond the end is free for the message that comes there.
    publish(settings, [trade_value(10, "LATERTMN")])
    eventually(lambda: stored(store) == 3 and waiting(settings) == 0, "the later message")
    store.command("DELETE FROM trades_master WHERE symbol = 'LATERTMN'")
    assert verify_dataset(Cluster(settings), store, TRADES).missing == 1


def test_replay_compares_letters_that_stand_far_apart(settings: Settings, store: Store) -> None:
    """Between the originals stand more messages than are read at once."""
    count = 5000
    publish(settings, (BAD if n in (0, 2500) else trade_value(n) for n in range(count)))
    found = {each.offset(): each for each in Cluster(settings).messages(TRADES.topic)}
    (partition,) = {each.partition() for each in found.values()}
    places = [0, 1, 2499, 2500, 4999]
    assert [
        (each.offset(), each.value())
        for each in Cluster(settings).messages_at(TRADES.topic, partition, [*places, count, 9999])
    ] == [(offset, found[offset].value()) for offset in places]
    DeadLetterPublisher(settings, TRADES).send(
        partition,
        [
            BadMessage(n, found[n].key(), found[n].value(), InvalidMessage("rejected", "once"))
            for n in places
        ],
    )
    (block,) = replay(settings, TRADES, store)
    assert [each.offset for each in block.stored] == [1, 2499, 4999]
    assert {each.reason.reason for each in block.still_bad} == {"schema"}
