"""A worker reads a topic to which producers of two releases publish."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from corpus import version_1, version_2
from radar.codec.message_format import as_json
from radar.datasets import DATASETS, DEPTH, TRADES, Dataset
from radar.settings import Settings, load
from radar.store.client import Store
from support import Process, eventually, radar, run_command
from workers import create_topics, letters, publish, stored, waiting

COUNT = 600


@pytest.fixture
def settings(kafka_settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BATCH_SIZE", "100")
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.2")
    settings = load()
    create_topics(settings)
    return settings


@pytest.fixture
def worker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Process]:
    process = Process(radar("consume", request.param), tmp_path / "worker.log", WORKER_ID="one")
    yield process
    process.end()


def message(dataset: Dataset, n: int) -> bytes:
    """Return the n-th message: as it was frozen, or with fields of a next release."""
    now_us = time.time_ns() // 1000 + n
    fields = msgspec.json.decode(version_1.MESSAGES[dataset.name][0])
    fields["received_at_us"] = now_us
    if dataset is TRADES:
        fields |= {"trade_id": f"{n:032x}", "event_time_ms": now_us // 1000}
    if n % 3 == 1:
        fields |= {"venue_id": 'n"1', "rank": n, "levels": [{"v": 2}]}
    if n % 3 == 2 and dataset is DEPTH:
        head, _, numbers = version_2.PACKED[0][0].partition(b"\n")
        return head + b"\n" + now_us.to_bytes(8, "little") + numbers[8:]
    return msgspec.json.encode(fields)


@pytest.mark.parametrize(
    ("worker", "name"), [(name, name) for name in (TRADES.name, DEPTH.name)], indirect=["worker"]
)
def test_worker_stores_a_topic_of_two_releases_once_and_without_dead_letters(
    settings: Settings, store: Store, worker: Process, name: str
) -> None:
    dataset = DATASETS[name]
    values = [message(dataset, n) for n in range(COUNT)]
    assert sum(b"venue_id" in value for value in values) == COUNT // 3
    publish(settings, values, dataset)
    eventually(lambda: waiting(settings, dataset) == 0, "everything is committed")
    assert stored(store, dataset) == COUNT
    rows = store.rows(f"SELECT count(), uniqExact(kafka_offset) FROM {dataset.table} FINAL")
    assert rows == [(COUNT, COUNT)]
    assert letters(settings, dataset) == 0
    # A version with another meaning is not a row: it waits among the dead letters.
    newer = message(dataset, COUNT).replace(b'"v":1', b'"v":3')
    message_after = message(dataset, COUNT + 2)
    publish(settings, [newer, message_after], dataset)
    eventually(lambda: waiting(settings, dataset) == 0, "the newer version is committed")
    assert (stored(store, dataset), letters(settings, dataset)) == (COUNT + 1, 1)
    assert worker.terminate() == 0
    assert shown(name) == Counter(
        json.dumps(msgspec.json.decode(as_json(value)), sort_keys=True)
        for value in [*values, newer, message_after]
    )


def shown(name: str) -> Counter[str]:
    """Return the values that `radar topics read` prints."""
    done = run_command("topics", "read", name, "--newest", "10000", check=True)  # fmt: skip
    return Counter(
        json.dumps(json.loads(line)["value"], sort_keys=True) for line in done.stdout.splitlines()
    )
