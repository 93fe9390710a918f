"""The embedded broker behind its fetch proxy: hostile packets, and a file that is torn."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostile_requests import Requests
from outages import broker_command
from ports import free_port
from radar import addresses
from radar.addresses import answers
from radar.datasets import TRADES
from radar.kafka import Cluster, Publisher
from radar.local import broker as local_broker
from radar.local import broker_file, private_network
from radar.local.kafka_requests import RequestRefused, check
from radar.settings import Settings, load
from support import Process, eventually
from workers import create_topics, publish, trade_value

PACKETS = {
    "HTTP": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n" + b"a" * 9,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
    "endless": struct.pack(">i", 2**31 - 1) + b"x" * 1000,
    "negative": struct.pack(">i", -1),
    "unknown API": struct.pack(">ihhi", 20, 999, 0, 1) + b"\0" * 12,
    "Metadata": struct.pack(">ihhi", 100, 3, 12, 1) + b"\xff" * 92,
    "Fetch": struct.pack(">ihhi", 60, 1, 11, 1) + b"\x7f" * 52,
    "Produce": struct.pack(">ihhi", 100, 0, 9, 1) + b"\xff" * 92,
}
FUZZED_REQUESTS = 3000


class Broker:
    """A broker of a test's own, which may end."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.data_dir = directory / "kafka"
        self.log = directory / "kafka.log"
        self.file = self.data_dir / broker_file.FILE
        self.copy = self.data_dir / broker_file.COPY
        self._monkeypatch = monkeypatch

    def start(self) -> Settings:
        self.port = free_port()
        self._monkeypatch.setenv("KAFKA_BROKER", f"127.0.0.1:{self.port}")
        self.process = Process(broker_command(self.data_dir.parent, self.port), self.log)
        return load()

    def start_and_wait(self) -> Settings:
        settings = self.start()
        eventually(lambda: answers("127.0.0.1", self.port), "Kafka answers")
        Cluster(settings).wait_until_up(30)
        return settings

    def kill(self) -> None:
        """Kill the binary itself, which would save everything if only its parent died."""
        control = json.loads((self.data_dir / "noida.control.json").read_bytes())
        os.kill(control["pid"], signal.SIGKILL)
        self.process.wait()

    def tear(self, file: Path) -> None:
        with file.open("r+b") as opened:
            opened.truncate(file.stat().st_size * 9 // 10)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    broker = Broker(tmp_path, monkeypatch)
    yield broker
    broker.process.end()


def send(address: str, data: bytes) -> bool:
    """Send a packet; tell whether the connection was closed within half a second."""
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), 2) as connection:
        connection.settimeout(0.5)
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        try:
            return connection.recv(1 << 16) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False


def ends(settings: Settings) -> int:
    return Cluster(settings).topics([TRADES.topic])[0].end


@pytest.mark.embedded_kafka("it is about the embedded broker's fetch proxy")
def test_broker_sent_packets_that_are_no_kafka_keeps_what_it_acknowledged(
    kafka_settings: Settings,
) -> None:
    create_topics(kafka_settings)
    publish(kafka_settings, [trade_value(n) for n in range(50)])
    for name, packet in PACKETS.items():
        assert send(kafka_settings.kafka_broker, packet), name
    assert ends(kafka_settings) == 50


@pytest.mark.embedded_kafka("it is about the embedded broker's fetch proxy")
def test_broker_sent_broken_requests_answers_on(kafka_settings: Settings) -> None:
    requests = Requests(15)
    host, _, port = kafka_settings.kafka_broker.partition(":")
    connection: socket.socket | None = None
    for n in range(FUZZED_REQUESTS):
        frame = requests.random.choice(
            [requests.any_valid, requests.any_valid, requests.broken, requests.noise]
        )()
        try:
            check(frame)
        except RequestRefused:
            if n % 10:
                continue  # few are enough to see that the proxy uses this check
        if connection is None:
            connection = socket.create_connection((host, int(port)), 5)
            connection.settimeout(0.2)
        try:
            connection.sendall(frame)
            open_still = connection.recv(1 << 16)
        except OSError:
            open_still = b""
        if not open_still:
            connection.close()
            connection = None
    Cluster(kafka_settings).wait_until_up(10)
    create_topics(kafka_settings)
    publish(kafka_settings, [trade_value(n) for n in range(50)])
    assert ends(kafka_settings) >= 50


def test_broker_whose_file_is_torn_starts_from_the_copy(own: Broker) -> None:
    settings = own.start_and_wait()
    create_topics(settings)
    publish(settings, [trade_value(n) for n in range(50)])
    eventually(lambda: own.copy.exists() and own.copy.stat().st_size > 10_000, "a copy")
    own.kill()
    own.tear(own.file)
    assert ends(own.start_and_wait()) == 50
    assert "is torn and was renamed to kafka.json.torn-" in own.log.read_text()
    assert list(own.data_dir.glob("kafka.json.torn-*"))


@pytest.mark.parametrize("with_copy", [False, True])
def test_broker_whose_file_and_copy_are_torn_names_the_file_and_the_way_out(
    own: Broker, with_copy: bool
) -> None:
    settings = own.start_and_wait()
    create_topics(settings)
    assert own.process.terminate() == 0
    own.copy.unlink(missing_ok=True)
    own.tear(own.file)
    if with_copy:
        own.copy.write_bytes(own.file.read_bytes()[:-5])
    # A supervisor starts it again and again: what it keeps aside does not become more.
    for _ in range(3):
        own.start()
        assert own.process.wait(30) == 1
    last = own.log.read_text().splitlines()[-1]
    assert f"{own.file} is torn and no copy of it can be read" in last
    assert f"mv {own.file}" in last
    assert len(list(own.data_dir.glob("kafka.json.torn-*"))) == with_copy
    own.file.rename(own.data_dir / "aside")
    own.start_and_wait()


def test_broker_whose_port_was_taken_meanwhile_takes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that answers does not prove that the broker listens there."""
    with socket.create_server(("127.0.0.1", free_port())) as other:
        taken, free = other.getsockname()[1], free_port()
        chosen = iter([taken, free])
        monkeypatch.setattr(addresses, "free_port", lambda _host: next(chosen))
        # In a network of the broker's own every port is free.
        monkeypatch.setattr(private_network, "is_possible", lambda: False)

        async def spawned_port() -> int:
            broker = await local_broker._start(tmp_path / "spawned", "127.0.0.1")
            await broker.stop()
            return broker.port

        assert asyncio.run(spawned_port()) == free


def test_broker_killed_two_seconds_after_it_acknowledged_keeps_everything(own: Broker) -> None:
    settings = own.start_and_wait()
    create_topics(settings)
    publisher = Publisher(settings, TRADES.topic, linger_ms=0)
    for n in range(200):
        publisher.publish(b"%d" % n, trade_value(n))
    assert publisher.flush(20) == 0
    acknowledged_at_s = time.time()
    eventually(
        lambda: own.file.exists() and own.file.stat().st_mtime > acknowledged_at_s + 0.1, "it saves"
    )
    assert time.time() < acknowledged_at_s + 10
    own.kill()
    assert ends(own.start_and_wait()) == 200
