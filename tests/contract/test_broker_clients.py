"""Clients that would use up the fetch proxy of the embedded broker: its memory, its connections."""

import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from hostile_requests import frame
from ports import free_port
from radar.addresses import answers
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
from support import Process, eventually, peak_bytes, reset_peak_bytes
from workers import create_topics, publish, trade_value

HALF_REQUESTS = 12
API_VERSIONS = 18


class Broker(NamedTuple):
    """A broker of a test's own."""

    settings: Settings
    process: Process

    def connect(self) -> socket.socket:
        host, _, port = self.settings.kafka_broker.partition(":")
        connection = socket.create_connection((host, int(port)), 5)
        connection.settimeout(5)
        return connection


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    port = free_port()
    monkeypatch.setenv("KAFKA_BROKER", f"127.0.0.1:{port}")
    command = [sys.executable, "-m", "radar.local.broker", str(tmp_path / "kafka")]
    process = Process([*command, "127.0.0.1", str(port)], tmp_path / "kafka.log")
    try:
        eventually(lambda: answers("127.0.0.1", port), "Kafka answers")
        settings = load()
        create_topics(settings)
        yield Broker(settings, process)
    finally:
        process.end()


def known(broker: Broker) -> socket.socket:
    """Return the connection of a client that has sent a valid request."""
    connection = broker.connect()
    connection.sendall(frame(API_VERSIONS, 0, b""))
    assert connection.recv(1 << 16)
    return connection


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while connection.recv(1 << 16):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


def test_requests_that_are_never_complete_hold_little_memory_and_end(broker: Broker) -> None:
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
    publish(broker.settings, [trade_value(0), *[b"x" * MEBIBYTE] * 5])
    assert Cluster(broker.settings).topics([TRADES.topic])[0].end == 6
    assert peak_bytes(broker.process.pid) - before < UNFINISHED_BYTES + 64 * MEBIBYTE
    open_still = [connection for connection in large if not is_closed(connection)]
    assert 3 <= len(open_still) <= 4
    assert not is_closed(small)
    everything = [small, *large]
    eventually(lambda: all(map(is_closed, everything)), "they end", COMPLETE_WITHIN_S + 5)
    assert time.monotonic() - began_s > COMPLETE_WITHIN_S - 1
    assert "are not complete" in broker.process.log.read_text()


def test_connections_that_send_nothing_lock_no_client_out(broker: Broker) -> None:
    connections = [broker.connect() for _ in range(MAX_CONNECTIONS + 20)]
    eventually(
        lambda: sum(map(is_closed, connections)) >= MAX_CONNECTIONS,
        "they are closed",
        FIRST_REQUEST_WITHIN_S + 5,
    )
    publish(broker.settings, [trade_value(0)])
    assert Cluster(broker.settings).topics([TRADES.topic])[0].end == 1


def test_idle_connections_make_room_for_a_new_client(broker: Broker) -> None:
    connections = [known(broker) for _ in range(MAX_CONNECTIONS)]
    time.sleep(IDLE_S + 1)
    open_before = sum(not is_closed(each) for each in connections)
    publish(broker.settings, [trade_value(0)])
    assert Cluster(broker.settings).topics([TRADES.topic])[0].end == 1
    assert sum(not is_closed(each) for each in connections) > open_before - 30
