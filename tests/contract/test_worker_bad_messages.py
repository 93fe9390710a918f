"""The corpus of bad messages, in front of a real worker with a real broker and database."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import confluent_kafka
import pytest

from corpus.bad_messages import BAD_MESSAGES, Case, depth, trade
from radar.codec import message_format
from radar.consumer.dlq.publisher import MAX_PAYLOAD_BYTES
from radar.consumer.dlq.reader import DeadLetterReader
from radar.datasets import DATASETS, DEPTH, TRADES, Dataset
from radar.kafka import MAX_MESSAGE_BYTES, Cluster, GroupReader, Publisher
from radar.settings import Settings, load
from radar.store.client import Store
from support import Process, eventually, radar

# More good neighbours than the worker's circuit breaker asks for.
NEIGHBOURS = 25
KEY = b"wallex:USDTTMN"
STARTED_US = time.time_ns() // 1000

DATASET_BY_DATASET = pytest.mark.parametrize(
    "dataset", [DATASETS[name] for name in BAD_MESSAGES], ids=list(BAD_MESSAGES)
)

Start = Callable[[Dataset], Process]


class BadMessage(NamedTuple):
    """A dead letter."""

    key: bytes
    value: bytes
    headers: dict[str, bytes]


@pytest.fixture
def settings(kafka_settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BATCH_SIZE", "500")
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.3")
    settings = load()
    names = [
        name for dataset in (TRADES, DEPTH) for name in (dataset.topic, dataset.dead_letter_topic)
    ]
    Cluster(settings).create_topics(names)
    return settings


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start workers; they are ended with the test."""
    processes: list[Process] = []

    def run(dataset: Dataset) -> Process:
        log = tmp_path / f"{dataset.name}.log"
        process = Process(radar("consume", dataset.name), log, WORKER_ID="worker-1")
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.end()


def good(dataset: Dataset, n: int) -> bytes:
    """Return the n-th good message; each is another row, and none has expired."""
    if dataset is TRADES:
        return trade(trade_id=f"{n:032x}", received_at_us=STARTED_US + n)
    return depth(received_at_us=STARTED_US + n)


def publish(settings: Settings, dataset: Dataset, values: list[bytes | None]) -> None:
    """Publish in order, into one partition."""
    publisher = Publisher(settings, dataset.topic)
    for value in values:
        publisher.publish(KEY, cast("bytes", value))
        publisher.poll()
    assert publisher.flush(60) == 0
    assert publisher.failed == 0


def lag(settings: Settings, dataset: Dataset) -> int:
    return sum(each.messages for each in Cluster(settings).lag(dataset.topic, dataset.group))


def letters(settings: Settings, dataset: Dataset, expected: int) -> list[BadMessage]:
    """Return everything in the dead-letter topic, once there is as much as expected."""
    reader = GroupReader(
        settings, dataset.dead_letter_topic, "t", on_assign=lambda _: None, on_revoke=lambda _: None
    )
    found: list[BadMessage] = []

    def read() -> bool:
        for message in reader.consume(1000, 0.2):
            headers = dict(cast("Any", message).headers())
            found.append(BadMessage(message.key() or b"", message.value() or b"", headers))
        return len(found) >= expected

    try:
        eventually(read, f"{expected} dead letters")
    finally:
        reader.close()
    assert Cluster(settings).topics([dataset.dead_letter_topic])[0].end == len(found)
    return found


@pytest.mark.kafka_decides
@DATASET_BY_DATASET
def test_worker_given_every_bad_message_keeps_each_once_and_stores_all_neighbours(
    dataset: Dataset, settings: Settings, store: Store, start: Start
) -> None:
    values: list[bytes | None] = []
    bad: dict[int, Case] = {}
    for case in BAD_MESSAGES[dataset.name]:
        values += [good(dataset, len(values) + n) for n in range(NEIGHBOURS)]
        bad[len(values)] = case
        values.append(case.value)
    values += [good(dataset, len(values) + n) for n in range(NEIGHBOURS)]
    publish(settings, dataset, values)

    worker = start(dataset)
    eventually(lambda: lag(settings, dataset) == 0, "everything is committed", timeout_s=90)
    assert worker.lives

    found = letters(settings, dataset, len(bad))
    (partition,) = {each.headers["partition"] for each in found}
    assert sorted(each.key for each in found) == sorted(
        f"{dataset.topic}:{partition.decode()}:{offset}".encode() for offset in bad
    )
    for letter in found:
        case = bad[int(letter.headers["offset"])]
        assert letter.headers["reason"].decode() == case.reason, case.name
        assert letter.headers["detail"].decode().startswith(f"{case.reason}: ")
        assert letter.headers["topic"].decode() == dataset.topic
        assert letter.headers["key"] == KEY
        assert letter.value == (case.value or b""), case.name

    neighbours = len(values) - len(bad)
    unique = "uniqExact(trade_id)" if dataset is TRADES else "uniqExact(received_at)"
    rows = store.rows(f"SELECT count(), {unique}, uniqExact(kafka_offset) FROM {dataset.table}")
    assert rows == [(neighbours, neighbours, neighbours)]
    offsets = store.rows(f"SELECT groupArray(kafka_offset) FROM {dataset.table}")[0][0]
    assert set(offsets) == set(range(len(values))) - set(bad)


@pytest.mark.kafka_decides
def test_worker_given_bad_messages_as_large_as_the_topic_takes_keeps_their_beginning(
    settings: Settings, store: Store, start: Start
) -> None:
    noise = random.Random(1).randbytes(MAX_MESSAGE_BYTES)
    # Incompressible and just below the limit of the topic, and far beyond it when unpacked.
    huge = [
        noise[:MAX_PAYLOAD_BYTES],
        noise[: MAX_PAYLOAD_BYTES + 1],
        noise[: MAX_MESSAGE_BYTES - 200],
        bytes(16 * MAX_MESSAGE_BYTES),
    ]
    bad = {NEIGHBOURS * (n + 1) + n: value for n, value in enumerate(huge)}
    # The client of the project's own would refuse the last one.
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": settings.kafka_broker,
            "message.max.bytes": 100_000_000,
            "compression.type": "zstd",
            "enable.idempotence": True,
        }
    )
    total = NEIGHBOURS * (len(huge) + 1) + len(huge)
    for n in range(total):
        producer.produce(TRADES.topic, bad.get(n) or good(TRADES, n), KEY)
    assert producer.flush(30) == 0
    worker = start(TRADES)
    eventually(lambda: lag(settings, TRADES) == 0, "everything is committed")
    found = letters(settings, TRADES, len(bad))
    assert {int(each.headers["offset"]): int(each.headers["bytes"]) for each in found} == {
        offset: len(value) for offset, value in bad.items()
    }
    for each in found:
        assert each.value == bad[int(each.headers["offset"])][:MAX_PAYLOAD_BYTES]
    assert store.rows("SELECT count() FROM trades_master") == [(total - len(bad),)]
    assert worker.lives


def test_worker_given_hostile_messages_of_others_keeps_each_and_stores_all_neighbours(
    settings: Settings, store: Store, start: Start
) -> None:
    escape = "\x1b]0;PWNED\x07\x1b[31mRED\x9b2J\u202eevil"
    bad: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]] = [
        (None, None, []),
        (b"", b"", []),
        (KEY, b"x" * 2_000_000, []),
        (KEY, b'{"v":1,"kind":"trade","[/boom]":1}', []),
        (escape.encode(), trade(side=escape), []),
        (KEY, trade(side=b'"\\ud800"'), []),
        (b"k" * 100_000, trade(**{escape: 1}, side=escape), []),
        (KEY, trade(**{"x" * 3000: 1}, price="x" * 3000), []),
        (KEY, trade(v=2), [("h" * 1000, b"x" * 900_000)]),
        (KEY, trade(v=2), [(f"h{n}", b"x") for n in range(50_000)]),
    ]
    large = [("h" * 1000, b"x" * 900_000)]
    messages: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]] = []
    for n, each in enumerate(bad):
        # One of the good ones has a large header as well.
        messages += [
            (KEY, good(TRADES, n * NEIGHBOURS + k), [] if k else large) for k in range(NEIGHBOURS)
        ]
        messages.append(each)
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": settings.kafka_broker, "message.max.bytes": 10_000_000}
    )
    for key, value, headers in messages:
        producer.produce(
            TRADES.topic,
            value,
            key,
            partition=0,
            headers=headers,  # type: ignore[arg-type]
        )
        producer.poll(0)
    assert producer.flush(60) == 0
    worker = start(TRADES)
    eventually(lambda: lag(settings, TRADES) == 0, "everything is committed")
    found = letters(settings, TRADES, len(bad))
    assert all(sum(map(len, each.headers.values())) < 20_000 for each in found)
    assert store.rows("SELECT count() FROM trades_master") == [(len(messages) - len(bad),)]
    assert worker.lives
    log = worker.log.read_text()
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(log)
    # What the worker has written is its own, and can be listed.
    ours = DeadLetterReader(Cluster(settings), TRADES)
    assert (ours.foreign_count, sum(1 for _ in ours.open())) == (0, len(bad))


def test_worker_stores_every_trade_that_is_just_good_enough(
    settings: Settings, store: Store, start: Start
) -> None:
    now_us = time.time_ns() // 1000
    largest, smallest = "99999999999999999999.999999999999999999", "0.000000000000000001"
    cases: list[dict[str, Any]] = [
        {"price": largest, "base_amount": "1"},
        {"price": "1", "base_amount": largest},
        {"price": smallest, "base_amount": smallest},
        {"price": largest, "base_amount": smallest},
        {"price": "9999999999", "base_amount": "9999999999.999999999999999999"},
        {"symbol": "A" * 32, "base": "0", "quote": "z_.:/-"},
        {"event_time_ms": message_format.MIN_TIME_MS},
        {"event_time_ms": now_us // 1000 + message_format.MAX_EVENT_AHEAD_MS},
        {"trade_id": "f" * 32},
        {
            "received_at_us": message_format.MAX_TIME_MS * 1000 - 1,
            "event_time_ms": message_format.MAX_TIME_MS - 1,
        },
    ]
    values = [
        trade(**{"trade_id": f"{n:032x}", "received_at_us": now_us} | case)
        for n, case in enumerate(cases)
    ]
    publish(settings, TRADES, list(values))
    start(TRADES)
    eventually(lambda: lag(settings, TRADES) == 0, "everything is committed")
    assert letters(settings, TRADES, 0) == []
    stored = store.rows(
        "SELECT replaceAll(toString(trade_id), '-', ''), source, symbol, base, quote, side,"
        " toString(price), toString(base_amount), toString(toDecimal64(event_time, 3)),"
        " toString(toDecimal64(received_at, 6)) FROM trades_master ORDER BY kafka_offset"
    )
    expected = []
    for value in values:
        row = message_format.decode_trade(value)
        expected.append(
            (row.trade_id, row.source, row.symbol, row.base, row.quote, row.side, row.price,
             row.base_amount, _seconds(row.event_time_ms, 3), _seconds(row.received_at_us, 6))
        )  # fmt: skip
    assert stored == expected


def test_worker_stores_every_snapshot_that_is_just_good_enough(
    settings: Settings, store: Store, start: Start
) -> None:
    now_us = time.time_ns() // 1000
    full = [float(n) for n in range(message_format.MAX_LEVELS, 0, -1)]
    cases: list[dict[str, Any]] = [
        {"prices": [], "quantities": []},
        {"prices": full, "quantities": full},
        {"prices": [1.7976931348623157e308, 2.2250738585072014e-308, 5e-324],
         "quantities": [5e-324, 1.7976931348623157e308, 1e-323]},
        {"prices": [2, 1], "quantities": [1, 2]},
        {"prices": [1.0, 1.0], "quantities": [1.0, 1.0]},
        {"prices": [0.1 + 0.2, 0.1], "quantities": [1 / 3, 9007199254740993.0]},
        {"symbol": "A" * 32},
        {"received_at_us": message_format.MAX_TIME_MS * 1000 - 1, "set_back_us": 0},
    ]  # fmt: skip
    values = [depth(**{"received_at_us": now_us + n} | case) for n, case in enumerate(cases)]
    publish(settings, DEPTH, list(values))
    start(DEPTH)
    eventually(lambda: lag(settings, DEPTH) == 0, "everything is committed")
    assert letters(settings, DEPTH, 0) == []
    stored = store.rows(
        "SELECT symbol, prices, quantities, levels, toString(toDecimal64(received_at, 6))"
        " FROM orderbook_depth ORDER BY kafka_offset"
    )
    rows = [message_format.decode_depth(value) for value in values]
    assert stored == [
        (row.symbol, row.prices, row.quantities, len(row.prices), _seconds(row.received_at_us, 6))
        for row in rows
    ]


def _seconds(time: int, places: int) -> str:
    """Write a time in seconds as ClickHouse does, without zeros at the end."""
    return f"{time // 10**places}.{time % 10**places:0{places}}".rstrip("0").rstrip(".")
