"""Logs as processes write them: their form, how many lines, and nothing secret in them."""

import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import outages
from ports import free_port
from radar.datasets import TRADES
from radar.settings import Settings, load
from radar.status.health_probe import ask
from radar.store.client import Store
from support import Process, eventually, radar, run_command
from workers import create_topics, publish_trades, waiting

CANARY = "canary-5b1e"
# What processes fail at that run on, and a word by which the log shows it.
FAILING = {
    "kafka": (
        ["consume", "trades"],
        {
            "KAFKA_SECURITY_PROTOCOL": "sasl_ssl",  # the broker does not speak it
            "KAFKA_SASL_MECHANISM": "PLAIN",
            "KAFKA_SASL_USERNAME": "radar",
            "KAFKA_SASL_PASSWORD": CANARY,
        },
        "waiting",
    ),
    "http proxy": (
        ["produce", "trades"],
        {"EXCHANGE_PROXY": f"http://radar:{CANARY}@127.0.0.1:1"},
        "retrying",
    ),
    "socks proxy": (
        ["produce", "depth"],
        {"EXCHANGE_PROXY": f"socks5h://radar:{CANARY}@127.0.0.1:1"},
        "retrying",
    ),
}


def lines_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_command(*arguments, environment=environment)


@pytest.mark.parametrize("failing", FAILING)
def test_secret_of_a_process_that_fails_with_it_is_nowhere(
    failing: str, kafka_settings: Settings, tmp_path: Path
) -> None:
    arguments, secrets, word = FAILING[failing]
    create_topics(kafka_settings)
    port = free_port()
    environment = {"METRICS_PORT": str(port), "LOG_FORMAT": "json", "LOG_LEVEL": "DEBUG"}
    process = Process(radar(*arguments), tmp_path / "log", **environment, **secrets)
    try:
        eventually(lambda: word in process.log.read_text(), f"{word} in {process.log}")
        report = ask("127.0.0.1", port)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            metrics = answer.read().decode()
    finally:
        process.end()
    shown = run("config", **secrets).stdout
    assert "********" in shown
    assert "radar_ready 0.0" in metrics
    assert (report.alive, report.ready) == (True, False)
    assert lines_of(process.log), "JSON lines"
    for text in (process.log.read_text(), str(report), metrics, shown):
        assert CANARY not in text


def test_password_that_clickhouse_refuses_is_not_in_the_error(tmp_path: Path) -> None:
    port = free_port()
    with outages.clickhouse(tmp_path, port, CLICKHOUSE_PASSWORD="another"):
        done = run("migrate", CLICKHOUSE_PORT=str(port), CLICKHOUSE_PASSWORD=CANARY)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("radar: ")
    assert done.stderr.count("\n") == 1
    assert "password" in done.stderr
    assert CANARY not in done.stderr


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_password_of_a_proxy_that_cannot_be_used_is_not_in_the_error(
    kafka_settings: Settings, scheme: str
) -> None:
    create_topics(kafka_settings)
    done = run("produce", "trades", EXCHANGE_PROXY=f"{scheme}://radar:{CANARY}@[1::2::3]:x")
    assert done.returncode == 2
    assert CANARY not in done.stderr


def test_worker_writes_one_json_line_for_each_block_and_none_for_each_message(
    kafka_settings: Settings, store: Store, tmp_path: Path
) -> None:
    create_topics(kafka_settings)
    publish_trades(kafka_settings, range(3000))
    worker = Process(radar("consume", "trades"), tmp_path / "log", WORKER_ID="worker-1")
    try:
        eventually(lambda: waiting(load()) == 0, "all is stored")
        assert worker.terminate() == 0
    finally:
        worker.end()
    lines = lines_of(worker.log)
    blocks = [line for line in lines if line["event"] == "block stored"]
    assert sum(line["rows"] for line in blocks) == 3000
    assert {line["dataset"] for line in blocks} == {TRADES.name}
    assert all(line["role"] == "consume-trades" for line in lines)
    assert len(lines) < len(blocks) + 20


def test_log_format_console_is_for_people(tmp_path: Path) -> None:
    process = Process(
        radar("consume", "trades"),
        tmp_path / "log",
        LOG_FORMAT="console",
        KAFKA_BROKER=f"127.0.0.1:{free_port()}",
    )
    try:
        eventually(lambda: "waiting" in process.log.read_text(), "a line")
    finally:
        process.end()
    line = next(line for line in process.log.read_text().splitlines() if "waiting" in line)
    assert not line.startswith("{")
    assert "error" in line
