"""Fixtures shared by all tests: real stores as real processes, on free ports of this machine."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from radar.kafka import Cluster
from radar.local.addresses import answers, free_port
from radar.settings import Settings, load
from radar.store.client import Store
from radar.store.migrate import migrate
from support import Process, eventually


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the options of whoever runs the tests away from them."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def clickhouse_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run one embedded ClickHouse for the whole run; each test has its own database in it."""
    directory = tmp_path_factory.mktemp("clickhouse")
    port = free_port()
    command = [sys.executable, "-m", "radar.local.clickhouse"]
    process = Process(
        [*command, "--path", str(directory / "data"), "--port", str(port)], directory / "log"
    )
    try:
        eventually(lambda: answers("127.0.0.1", port), "ClickHouse answers")
        yield port
    finally:
        process.end()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    """Run an embedded broker of the test's own; it starts within milliseconds."""
    port = free_port()
    command = [sys.executable, "-m", "radar.local.broker"]
    process = Process(
        [*command, str(tmp_path / "kafka"), "127.0.0.1", str(port)], tmp_path / "kafka.log"
    )
    try:
        eventually(lambda: answers("127.0.0.1", port), "Kafka answers")
        yield f"127.0.0.1:{port}"
    finally:
        process.end()


@pytest.fixture
def kafka_settings(broker: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Options that lead to the test's broker, also for child processes."""
    monkeypatch.setenv("KAFKA_BROKER", broker)
    monkeypatch.setenv("KAFKA_LINGER_MS", "0")
    monkeypatch.setenv("KAFKA_JOIN_TIMEOUT_SECONDS", "2")
    settings = load()
    Cluster(settings).wait_until_up(10)
    return settings


@pytest.fixture
def store_settings(
    clickhouse_port: int, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Settings:
    """Options that lead to a database of the test's own, also for child processes."""
    name = "".join(c if c.isalnum() else "_" for c in request.node.name)[:40]
    monkeypatch.setenv("CLICKHOUSE_PORT", str(clickhouse_port))
    monkeypatch.setenv("CLICKHOUSE_DB", f"t_{name}_{time.monotonic_ns() % 1_000_000}")
    return load()


@pytest.fixture
def store(store_settings: Settings) -> Iterator[Store]:
    """Provide a migrated database."""
    store = Store(store_settings)
    migrate(store, store_settings.retention_days)
    yield store
    store.command(f"DROP DATABASE IF EXISTS {store.database}")
    store.close()
