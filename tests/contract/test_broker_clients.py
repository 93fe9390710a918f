"""Clients that would use up the fetch proxy of the embedded broker: its memory, its connections."""

import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import outages
from hostile_requests import frame
from outages import Service
from ports import free_port
from radar.datasets import TRADES
from radar.kafka import Cluster
from radar.local.client_requests import (
    COMPLETE_WITHIN_S,
    IDLE_S,
    UNFINISHED_BYTES,
)
from radar.local.fetch_proxy import FIRST_REQUEST_WITHIN_S, MAX_CONNECTIONS
from radar.local.kafka_requests import MEBIBYTE, PRODUCE
from radar.settings import Settings, load
from support import eventually, is_open, peak_bytes, reset_peak_bytes
from workers import create_topics, publish, trade_value

HALF_REQUESTS = 12
API_VERSIONS = 18


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Service]:
    with outages.kafka(tmp_path, free_port()) as broker:
        yield broker


@pytest.fixture
def settings(broker: Service, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("KAFKA_BROKER", f"127.0.0.1:{broker.port}")
    settings = load()
    create_topics(settings)
    return settings


def connect(broker: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", broker.port), 5)


def known(broker: Service) -> socket.socket:
    """Return the connection of a client that has sent a valid request."""
    connection = connect(broker)
    connection.sendall(frame(API_VERSIONS, 0, b""))
    assert connection.recv(1 << 16)
    return connection


def test_requests_that_are_never_complete_hold_little_memory_and_end(
    broker: Service, settings: Settings
) -> None:
    before = reset_peak_bytes(broker.process.pid)
    small = known(broker)
    small.sendall(struct.pack(">ihh", 1000, PRODUCE, 7) + b"x" * 500)
    began_s = time.monotonic()
    large: list[socket.socket] = []
    for _ in range(HALF_REQUESTS):
        connection = known(broker)
        connection.sendall(struct.pack(">ihh", 31 * MEBIBYTE, PRODUCE, 9))
        connection.sendall(bytes(30 * MEBIBYTE))
        large.append(connection)
    # Its requests are whole, so it is not the one that must go.
    publish(settings, [trade_value(0), *[b"x" * MEBIBYTE] * 5])
    assert Cluster(settings).topics([TRADES.topic])[0].end == 6
    assert peak_bytes(broker.process.pid) - before < UNFINISHED_BYTES + 64 * MEBIBYTE
    open_still = [connection for connection in large if is_open(connection)]
    assert 3 <= len(open_still) <= 4
    assert is_open(small)
    everything = [small, *large]
    eventually(lambda: not any(map(is_open, everything)), "they end", COMPLETE_WITHIN_S + 5)
    assert time.monotonic() - began_s > COMPLETE_WITHIN_S - 1
    assert "are not complete" in broker.process.log.read_text()


def test_connections_that_send_nothing_lock_no_client_out(
    broker: Service, settings: Settings
) -> None:
    connections = [connect(broker) for _ in range(MAX_CONNECTIONS + 20)]
    eventually(
        lambda: sum(map(is_open, connections)) <= 20,
        "they are closed",
        FIRST_REQUEST_WITHIN_S + 5,
    )
    publish(settings, [trade_value(0)])
    assert Cluster(settings).topics([TRADES.topic])[0].end == 1


def test_idle_connections_make_room_for_a_new_client(broker: Service, settings: Settings) -> None:
    connections = [known(broker) for _ in range(MAX_CONNECTIONS)]
    time.sleep(IDLE_S + 1)
    open_before = sum(is_open(each) for each in connections)
    publish(settings, [trade_value(0)])
    assert Cluster(settings).topics([TRADES.topic])[0].end == 1
    assert sum(is_open(each) for each in connections) > open_before - 30
