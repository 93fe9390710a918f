"""The embedded broker's own port: only the fetch proxy reaches it."""

import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostile_requests import frame
from outages import Service, broker_command
from ports import free_port
from radar.addresses import answers
from radar.datasets import TRADES
from radar.kafka import Cluster
from radar.settings import load
from support import eventually, lives
from workers import create_topics, publish, trade_value

METADATA = 3
LISTENING = "0A"  # include/net/tcp_states.h
# In a namespace of users, the limits of the others can be set: here no network is allowed.
NO_NETWORKS = (
    *("unshare", "--user", "--map-root-user", "sh", "-c"),
    *('echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"', "sh"),
)


class Broker(Service):
    """An embedded broker, and the process of its binary."""

    def __init__(self, directory: Path, before: tuple[str, ...] = ()) -> None:
        self.data_dir = directory / "kafka"
        port = free_port()
        command = [*before, *broker_command(directory, port)]
        super().__init__(command, port, directory / "kafka.log")

    @property
    def control(self) -> dict[str, int]:
        found: dict[str, int] = json.loads((self.data_dir / "noida.control.json").read_bytes())
        return found

    @property
    def own_port(self) -> int:
        (port,) = re.findall(r"kafka +127\.0\.0\.1:(\d+)", self.log.read_text())
        return int(port)

    @property
    def socket_maker(self) -> int:
        children = Path(f"/proc/{self.control['pid']}/task").glob("*/children")
        (pid,) = " ".join(each.read_text() for each in children).split()
        return int(pid)


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    with Broker(tmp_path) as broker:
        monkeypatch.setenv("KAFKA_BROKER", f"127.0.0.1:{broker.port}")
        if "no network of its own" in broker.log.read_text():
            pytest.skip("the kernel allows no network namespaces")
        yield broker


def listening(network: str) -> dict[int, str]:
    """Return port and inode of each listening socket in the network of a process."""
    found = {}
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{network}/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING:
                found[int(fields[1].rpartition(":")[2], 16)] = fields[9]
    return found


def inodes(pid: int) -> set[str]:
    """Return the inodes of a process's sockets."""
    links: set[str] = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            links.add(str(each.readlink()))
    return {link[8:-1] for link in links if link.startswith("socket:")}


def test_no_port_of_the_broker_is_in_the_machines_network(broker: Broker) -> None:
    pid = broker.control["pid"]
    theirs = listening(str(pid))
    assert {broker.own_port, broker.control["port"]} <= set(theirs)
    assert set(theirs.values()) <= inodes(pid)
    assert not inodes(pid) & set(listening("self").values())
    for port in theirs:
        assert not answers("127.0.0.1", port)
    settings = load()
    create_topics(settings)
    publish(settings, [trade_value(n) for n in range(50)])
    (topic,) = Cluster(settings).topics([TRADES.topic])
    assert topic.end == 50


def test_another_user_cannot_reach_the_broker_past_its_proxy(broker: Broker) -> None:
    """The packet ends a broker that reads it."""
    packet = struct.pack(">ihhi", 100, METADATA, 12, 1) + b"\xff" * 92
    attack = (
        "import os, socket, sys\n"
        "connection = socket.socket()\n"
        "'x'.encode('idna')\n"  # imported before the other user's rights are too few for it
        "os.geteuid() or os.setuid(65534)\n"
        "connection.connect(('127.0.0.1', int(sys.argv[1])))\n"
        "connection.sendall(bytes.fromhex(sys.argv[2]))\n"
    )
    for port in (broker.own_port, broker.control["port"]):
        command = [sys.executable, "-c", attack, str(port), packet.hex()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "ConnectionRefusedError" in done.stderr
    Cluster(load()).wait_until_up(10)
    assert broker.process.lives


def test_socket_maker_ends_with_the_broker(broker: Broker) -> None:
    maker = broker.socket_maker
    os.kill(broker.control["pid"], signal.SIGKILL)
    assert broker.process.wait(20) != 0
    eventually(lambda: not lives(maker), "it ends")


def test_socket_maker_ends_with_the_proxy(broker: Broker) -> None:
    maker, pid = broker.socket_maker, broker.control["pid"]
    broker.process.kill()
    eventually(lambda: not lives(maker) and not lives(pid), "both end")


def test_broker_without_its_socket_maker_saves_and_ends(broker: Broker, tmp_path: Path) -> None:
    """Without it no client could connect any more: the supervisor starts the broker again."""
    settings = load()
    create_topics(settings)
    publish(settings, [trade_value(n) for n in range(50)])
    os.kill(broker.socket_maker, signal.SIGKILL)
    broker.process.wait(20)
    with Broker(tmp_path) as again:
        settings = settings.model_copy(update={"kafka_broker": f"127.0.0.1:{again.port}"})
        assert Cluster(settings).topics([TRADES.topic])[0].end == 50


def test_clients_that_come_and_go_leave_no_connection(broker: Broker) -> None:
    request = frame(METADATA, 1, struct.pack(">i", 0))
    before = len(inodes(broker.control["pid"]))
    for n in range(300):
        with socket.create_connection(("127.0.0.1", broker.port), 5) as connection:
            connection.sendall(request)
            if n % 3:
                assert connection.recv(1000)
    eventually(lambda: len(inodes(broker.control["pid"])) <= before + 2, "they are closed")
    eventually(lambda: len(inodes(broker.process.pid)) < 20, "the proxy's as well")


def test_broker_without_network_namespaces_says_that_its_port_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if subprocess.run([*NO_NETWORKS, "true"], capture_output=True, check=False).returncode:
        pytest.skip("the kernel allows no namespaces of users")
    with Broker(tmp_path, NO_NETWORKS) as broker:
        monkeypatch.setenv("KAFKA_BROKER", f"127.0.0.1:{broker.port}")
        create_topics(load())
        log = broker.log.read_text()
        assert log.count("every local user can connect to the broker's own port") == 1
        assert answers("127.0.0.1", broker.own_port)
