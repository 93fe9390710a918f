"""Transactions of other clients: they hide no message of radar and no lag."""

import socket
import sys
from pathlib import Path

import confluent_kafka
import pytest

from hostile_requests import batch, produce, with_checksum
from ports import free_port
from radar.addresses import answers
from radar.datasets import TRADES
from radar.kafka import Cluster
from radar.settings import Settings, load
from radar.store.client import Store
from support import Process, eventually, radar
from workers import create_topics, letters, publish_trades, stored, waiting

TRANSACTIONAL, CONTROL = 0x10, 0x20


def transactional_batch(partition: int, attributes: int) -> bytes:
    """Return a request with a batch that begins a transaction, or claims to end one."""
    record = b"\x20\0\0\0\x08\0\0\0\0\x0c\0\0\0\0\0\0\0"  # key and value of an end marker
    records = batch(record, attributes=attributes, producer=5, producer_epoch=0, sequence=0)
    return produce(with_checksum(records), topic=TRADES.topic.encode(), partition=partition)


def is_answered(address: str, request: bytes) -> bool:
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall(request)
        try:
            return connection.recv(1000) != b""
        except ConnectionError:
            return False


@pytest.mark.kafka_decides
def test_open_transaction_of_another_client_hides_no_message_and_no_lag(
    kafka_settings: Settings,
    store: Store,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.2")
    settings = load()
    create_topics(settings)
    foreign = 0
    if pytestconfig.getoption("--kafka") == "apache":
        stranger = confluent_kafka.Producer(
            {"bootstrap.servers": settings.kafka_broker, "transactional.id": "stranger"}
        )
        stranger.init_transactions(60)
        stranger.begin_transaction()
        for partition in range(settings.kafka_num_partitions):
            stranger.produce(TRADES.topic, b"{}", partition=partition)
            foreign += 1
        assert stranger.flush(20) == 0
    else:
        for partition in range(settings.kafka_num_partitions):
            for attributes in (TRANSACTIONAL, CONTROL, TRANSACTIONAL | CONTROL):
                request = transactional_batch(partition, attributes)
                assert not is_answered(settings.kafka_broker, request)
    publish_trades(settings, range(100))
    assert waiting(settings) == 100 + foreign
    assert sum(Cluster(settings).end_offsets(TRADES.topic, 10).values()) == 100 + foreign
    assert sum(1 for _ in Cluster(settings).messages(TRADES.topic)) == 100 + foreign
    worker = Process(radar("consume", "trades"), tmp_path / "worker.log")
    try:
        eventually(lambda: stored(store) == 100, "the trades are stored", 60)
        eventually(lambda: waiting(settings) == 0, "the lag is gone")
        assert letters(settings) == foreign
    finally:
        worker.end()


def test_transaction_in_the_embedded_broker_hides_no_message_and_no_lag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log may hold one from a time before the fetch proxy refused it."""
    port = free_port()
    command = [sys.executable, "-m", "radar.local.broker", "--become-broker", str(tmp_path)]
    broker = Process([*command, "127.0.0.1", str(port)], tmp_path / "kafka.log")
    try:
        eventually(lambda: answers("127.0.0.1", port), "Kafka answers")
        monkeypatch.setenv("KAFKA_BROKER", f"127.0.0.1:{port}")
        settings = load()
        create_topics(settings)
        for partition in range(settings.kafka_num_partitions):
            for attributes in (TRANSACTIONAL | CONTROL, TRANSACTIONAL):
                request = transactional_batch(partition, attributes)
                assert is_answered(settings.kafka_broker, request)
        publish_trades(settings, range(100))
        assert waiting(settings) >= 100
        found = [each.value() for each in Cluster(settings).messages(TRADES.topic)]
        assert sum(b"USDT" in (value or b"") for value in found) == 100
    finally:
        broker.end()
