"""Workers that are killed at each step, again and again, and what is stored at the end."""

import sys
from pathlib import Path

import pytest

import crashing_worker
from radar.codec import message_format
from radar.consumer.partition import CrashPoint
from radar.datasets import TRADES
from radar.kafka import Publisher
from radar.settings import Settings, load
from radar.store.client import Store
from support import Process, eventually
from workers import create_topics, letters, trade_value, waiting

pytestmark = pytest.mark.kafka_decides

DEATHS = 6
MESSAGES = 300  # published at once, so that some wait whenever a worker starts
BAD_EVERY = 100


@pytest.fixture
def settings(kafka_settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BATCH_SIZE", "20")
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.1")
    monkeypatch.setenv("KAFKA_SESSION_TIMEOUT_SECONDS", "6")
    settings = load()
    create_topics(settings)
    # A double would be the same row, which merging hides.
    store.command(f"SYSTEM STOP MERGES {store.database}.{TRADES.table}")
    return settings


def publish(settings: Settings, first: int) -> None:
    publisher = Publisher(settings, TRADES.topic)
    for n in range(first, first + MESSAGES):
        value = b"bad" if n % BAD_EVERY == 0 else trade_value(n)
        publisher.publish(message_format.message_key("wallex", f"S{n % 19}TMN"), value)
    assert publisher.flush(20) == 0


@pytest.mark.parametrize("point", CrashPoint)
def test_worker_killed_again_and_again_at_one_step_stores_every_message_once(
    point: CrashPoint, settings: Settings, store: Store, tmp_path: Path
) -> None:
    log, published = tmp_path / "worker.log", 0
    worker = Process(
        [sys.executable, crashing_worker.__file__, "trades", point.name, "0.3", "1", "--again"],
        log,
        WORKER_ID="worker-1",
    )

    def deaths() -> int:
        return log.read_text().count("died at")

    try:
        while deaths() < DEATHS:
            publish(settings, published)
            published += MESSAGES
            eventually(
                lambda: waiting(settings) == 0, "everything is committed", timeout_s=60, every_s=0.2
            )
            assert worker.lives
    finally:
        worker.end()
    bad = published // BAD_EVERY
    # Physically, not only through the view: the plan makes each block recognisable.
    ((rows, positions),) = store.rows(
        f"SELECT count(), uniqExact(kafka_partition, kafka_offset) FROM {TRADES.table}"
    )
    assert (rows, positions) == (published - bad, published - bad)
    assert letters(settings) >= bad
