"""Workers that get too many bad messages, and how they go on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ports import free_port
from radar.datasets import TRADES
from radar.kafka import Cluster
from radar.settings import Settings, load
from radar.status.health_probe import ask
from radar.status.scrape import scrape
from radar.store.client import Store
from support import Process, eventually
from workers import (
    Start,
    create_topics,
    letters,
    publish_to,
    starting,
    stored,
    trade_value,
    waiting,
)

ACCEPT_ALL = {"MAX_BAD_SHARE": "1", "MAX_CONSECUTIVE_BAD": "0"}


@pytest.fixture
def settings(kafka_settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BATCH_SIZE", "100")
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.3")
    monkeypatch.setenv("KAFKA_SESSION_TIMEOUT_SECONDS", "6")
    settings = load()
    create_topics(settings)
    store.command(f"SYSTEM STOP MERGES {store.database}.{TRADES.table}")
    return settings


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    yield from starting(tmp_path, WORKER_ID="worker-1")


def key(n: int) -> bytes:
    return b"wallex:S%dTMN" % (n % 7)


def halted(worker: Process) -> bool:
    return "partition halted" in worker.log.read_text()


def behind(settings: Settings) -> list[bool]:
    """Tell for each partition that has messages whether some of them wait."""
    lags = Cluster(settings).lag(TRADES.topic, TRADES.group)
    return sorted(lag.messages > 0 for lag in lags if lag.end)


def test_worker_with_too_many_bad_messages_halts_that_partition_until_they_are_accepted(
    settings: Settings, store: Store, start: Start
) -> None:
    # One of ten is bad, of all markets; 300 good ones stand before, and others elsewhere.
    publish_to(
        settings,
        0,
        (
            (key(n // 10), b"bad" if n >= 300 and n % 10 == 0 else trade_value(n))
            for n in range(1000)
        ),
    )
    port = free_port()
    worker = start(METRICS_PORT=str(port))
    eventually(lambda: halted(worker), "the alarm")
    publish_to(settings, 1, ((key(n), trade_value(n)) for n in range(1000, 1050)))
    eventually(lambda: behind(settings) == [False, True], "the other partition goes on")
    assert worker.lives
    samples = {name: value for (name, _), value in scrape(port).items()}
    assert samples["radar_halted_partitions"] == 1
    report = ask("127.0.0.1", port)
    assert (report.alive, report.ready) == (True, False)
    assert "is halted: " in report.reasons[0]
    before = (stored(store), letters(settings), waiting(settings))

    # Neither a restart nor another one drains the topic.
    for _ in range(2):
        assert worker.terminate() == 0
        worker = start()
        eventually(lambda process=worker: halted(process), "the alarm again")  # type: ignore[misc]
        assert (stored(store), letters(settings), waiting(settings)) == before

    assert worker.terminate() == 0
    start(**ACCEPT_ALL)
    eventually(lambda: waiting(settings) == 0, "all is taken when told so")
    assert (stored(store), letters(settings)) == (980, 70)


def test_worker_that_gets_bad_messages_of_one_market_goes_on_and_names_it(
    settings: Settings, store: Store, start: Start
) -> None:
    # Half of all messages, and hundreds in a row: nothing that the options allow.
    bad = [(b"wallex:BAD\x1b[2JTMN", b"bad")] * 300
    good = [(key(n), trade_value(n)) for n in range(300)]
    publish_to(settings, 0, [*good[:100], *bad, *good[100:]])
    port = free_port()
    worker = start(METRICS_PORT=str(port))
    eventually(lambda: waiting(settings) == 0, "everything is committed")
    assert (stored(store), letters(settings)) == (300, 300)
    assert worker.lives
    assert ask("127.0.0.1", port).ready
    samples = {name: value for (name, _), value in scrape(port).items()}
    assert (samples["radar_flooding_markets"], samples["radar_halted_partitions"]) == (1, 0)
    log = worker.log.read_text()
    assert "one market sends too many bad messages" in log
    assert "\x1b" not in log


def test_worker_that_gets_bad_messages_under_varied_keys_halts(
    settings: Settings, store: Store, start: Start
) -> None:
    bad = [(b"wallex:FORGED%d" % n, b"bad") for n in range(100)]
    good = [(key(n), trade_value(n)) for n in range(300)]
    publish_to(settings, 0, [*good[:100], *bad, *good[100:]])
    worker = start()
    eventually(lambda: halted(worker), "the alarm")
    assert worker.lives
    assert letters(settings) <= 5
