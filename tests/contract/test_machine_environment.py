"""radar does not depend on the proxies and the time zone of the machine, and takes IPv6."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded_clickhouse import Server, running
from ports import free_port
from radar.addresses import answers
from radar.kafka import Cluster
from radar.settings import Settings, load
from radar.status.scrape import fetch
from radar.store.client import Store
from support import Process, eventually, radar

PROXY_VARIABLES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy")


@pytest.fixture
def trap(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Listen where the environment's proxies are; a client that uses one shows up here."""
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        listener.setblocking(False)
        for variable in PROXY_VARIABLES:
            monkeypatch.setenv(variable, f"http://127.0.0.1:{listener.getsockname()[1]}")
        for variable in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(variable, raising=False)
        yield listener


def is_unused(trap: socket.socket) -> bool:
    try:
        trap.accept()
    except BlockingIOError:
        return True
    return False


@pytest.mark.fault(
    "The environment names a proxy",
    report="none: radar reaches its own addresses directly",
    place="nowhere",
    within_s=60,
)
def test_own_addresses_are_reached_directly_with_proxies_in_the_environment(
    store: Store, trap: socket.socket, tmp_path: Path, within_s: float
) -> None:
    fresh = Store(load())
    assert fresh.rows("SELECT 1") == [(1,)]
    fresh.close()
    metrics_port, port = free_port(), free_port()
    command = radar("simulate", "--port", str(port))
    exchange = Process(command, tmp_path / "exchange.log", METRICS_PORT=str(metrics_port))
    try:
        eventually(lambda: answers("127.0.0.1", metrics_port), "it serves metrics", within_s)
        assert b"process_start_time_seconds" in fetch("127.0.0.1", metrics_port, "/metrics")
    finally:
        exchange.end()
    assert is_unused(trap)


def test_embedded_clickhouse_on_a_machine_in_tehran_takes_times_as_utc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tehran")
    with running(tmp_path / "clickhouse") as server:
        client = server.client()
        zones = "SELECT timezone(), serverTimezone(), toUnixTimestamp('2026-01-01 00:00:00')"
        assert client.query(zones).result_rows == [("UTC", "UTC", 1_767_225_600)]
        client.close()


def test_store_whose_server_is_in_another_zone_takes_times_as_utc(
    store: Store, store_settings: Settings
) -> None:
    sql = "SELECT timezone(), value FROM system.settings WHERE name = 'session_timezone'"
    assert store.rows(sql) == [("UTC", "UTC")]


def test_stores_on_an_ipv6_address_are_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    command = [sys.executable, "-m", "radar.local.broker", str(tmp_path / "kafka")]
    broker = Process([*command, "::1", str(port)], tmp_path / "kafka.log")
    server = Server(tmp_path / "clickhouse", "--host", "::1")
    try:
        for host in ("::1", "[::1]"):
            monkeypatch.setenv("CLICKHOUSE_HOST", host)
            monkeypatch.setenv("CLICKHOUSE_PORT", str(server.port))
            store = Store(load(clickhouse_db="default"))
            assert store.rows("SELECT 1") == [(1,)]
            store.close()
        eventually(lambda: answers("::1", port), "Kafka answers")
        monkeypatch.setenv("KAFKA_BROKER", f"[::1]:{port}")
        cluster = Cluster(load())
        cluster.wait_until_up(10)
        assert cluster.create_topics(["six"]) == ["six"]
        assert [state.end for state in cluster.topics(["six"])] == [0]
    finally:
        broker.end()
        server.end()
