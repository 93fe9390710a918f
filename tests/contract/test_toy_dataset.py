"""One struct, one Dataset and one migration are enough to store, check and read a dataset."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

import toy_dataset
from radar.kafka import Cluster
from radar.settings import Settings, load
from radar.store.client import Store
from support import Process, eventually
from toy_dataset import TICKERS
from workers import publish, stored, waiting

NOW_US = time.time_ns() // 1000


@pytest.fixture
def settings(
    kafka_settings: Settings, store_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    assert kafka_settings.kafka_broker
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.2")
    return load()


def test_toy_dataset_is_stored_verified_shown_and_exported(
    settings: Settings, tmp_path: Path
) -> None:
    def command(*arguments: str) -> list[str]:
        return [sys.executable, toy_dataset.__file__, str(tmp_path / "migrations"), *arguments]

    def run(*arguments: str) -> str:
        done = subprocess.run(
            command(*arguments), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("migrate")
    run("topics")
    assert Cluster(settings).topics([TICKERS.topic, TICKERS.dead_letter_topic])
    message = toy_dataset.TickerMessage(
        v=1, kind="ticker", source="wallex", symbol="USDTTMN", last="31704.5", received_at_us=NOW_US
    )
    values = [msgspec.json.encode(message), b'{"v":1,"kind":"ticker"}']
    publish(settings, values, TICKERS)
    store = Store(settings)
    worker = Process(command("consume", TICKERS.name), tmp_path / "log", WORKER_ID="one")
    try:
        eventually(lambda: waiting(settings, TICKERS) == 0, "everything is committed", timeout_s=60)
        assert worker.terminate() == 0
        assert stored(store, TICKERS) == 1
        columns = "source, symbol, toString(last), is_open, toUnixTimestamp64Micro(received_at)"
        assert store.rows(f"SELECT {columns}, kafka_offset FROM tickers") == [
            ("wallex", "USDTTMN", "31704.5", True, NOW_US, 0)
        ]
        report: dict[str, Any] = json.loads(run("verify", "--json"))
        (found,) = (each for each in report["datasets"] if each["dataset"] == TICKERS.name)
        assert sum(each["rows"] for each in found["partitions"]) == 1
        assert sum(each["dead_letters"] for each in found["partitions"]) == 1
        assert "schema" in run("dlq", "list", "--dataset", TICKERS.name)
        status = subprocess.run(
            command("status", "--json"), capture_output=True, text=True, timeout=120, check=False
        ).stdout
        tables = json.loads(status)["overview"]["tables"]
        (table,) = (each for each in tables if each["dataset"] == TICKERS.name)
        assert (table["name"], table["rows"]) == ("tickers", 1)
        run("export", TICKERS.name, "--to", str(tmp_path / "export"))
        (file,) = (tmp_path / "export" / TICKERS.name).rglob("*.parquet")
        assert pq.read_table(file)["symbol"].to_pylist() == ["USDTTMN"]
    finally:
        worker.end()
        store.command(f"DROP DATABASE IF EXISTS {store.database}")
        store.close()
