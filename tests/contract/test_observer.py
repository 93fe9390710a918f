"""What is observed of real processes, and that it is what Kafka and ClickHouse say themselves."""

import json
from pathlib import Path

import pytest

from ports import free_port
from radar.datasets import DATASETS, TRADES
from radar.kafka import Cluster
from radar.settings import Settings, load
from radar.status.collect import COMPLETE_WAIT_S, Observer
from radar.status.model import Overview
from radar.store.client import Store
from support import Process, eventually, radar, run_command
from workers import create_topics, publish, publish_trades

TRADES_COUNT = 60


def until(observer: Observer, holds: object, what: str) -> Overview:
    """Observe until a condition holds; return what was seen then."""
    seen: list[Overview] = []

    def observed() -> bool:
        seen.append(observer.observe(COMPLETE_WAIT_S))
        return bool(holds(seen[-1]))  # type: ignore[operator]

    eventually(observed, what, timeout_s=60, every_s=0.2)
    return seen[-1]


def told(*arguments: str) -> object:
    """Return what a command tells machines."""
    done = run_command(*arguments, "--json")
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.mark.kafka_decides
def test_observer_tells_what_kafka_and_sql_tell_and_names_a_worker_that_died(
    kafka_settings: Settings, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("MONITOR_PROCESSES", f"worker-1=127.0.0.1:{port}")
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.2")
    create_topics(kafka_settings)
    publish_trades(kafka_settings, range(TRADES_COUNT))
    publish(kafka_settings, [b'{"not": "a trade"}'])
    own = {"METRICS_PORT": str(port), "WORKER_ID": "worker-1"}
    worker = Process(radar("consume", "trades"), tmp_path / "worker.log", **own)
    observer = Observer(load())
    try:
        seen = until(
            observer,
            lambda found: (
                found.flows[0].stored == TRADES_COUNT
                and found.flows[0].open_letters == 1
                and found.tables
                and found.tables[0].rows == TRADES_COUNT
                and {each.owner for each in found.partitions if each.dataset == "trades"}
                == {"worker-1"}
                and [each.severity for each in found.obstacles] == ["warning"]
            ),
            "everything is stored",
        )
        lags = Cluster(load()).lag(TRADES.topic, TRADES.group)
        partitions = [each for each in seen.partitions if each.dataset == "trades"]
        assert [(each.partition, each.end, each.committed, each.lag) for each in partitions] == [
            (lag.partition, lag.end, lag.committed, lag.messages) for lag in lags
        ]
        assert seen.flows[0].lag == 0
        assert seen.tables[0].rows == int(store.rows("SELECT count() FROM trades")[0][0])
        (letter,) = seen.letters
        assert (letter.dataset, letter.topic) == ("trades", TRADES.topic)
        (only,) = seen.workers
        assert (only.name, only.dataset, only.ready, only.dead_letters) == (
            "worker-1",
            "trades",
            True,
            1,
        )
        assert only.partitions == [lag.partition for lag in lags]
        assert seen.bottleneck is not None
        assert seen.bottleneck.text.startswith("1 message of trades is a dead letter")

        lag = told("lag")
        assert isinstance(lag, dict)
        assert (lag["version"], lag["error"]) == (1, None)
        rows = lag["partitions"]
        assert [(row["partition"], row["lag"], row["owner"]) for row in rows] == [
            (each.partition, each.lag, each.owner) for each in seen.partitions
        ]
        status = told("status")
        assert isinstance(status, dict)
        assert (status["verdict"], status["problems"]) == ("warns", [])
        assert status["kafka"]["topics"][TRADES.topic]["lag"] == 0
        assert status["clickhouse"]["tables"][TRADES.table]["rows"] == TRADES_COUNT
        assert status["overview"]["workers"][0]["partitions"] == only.partitions
        about = {"name": "worker-1", "alive": True, "ready": True}
        report = about | {"reasons": [], "warnings": []}
        assert told("health") == {"version": 1, "error": None, "processes": [report]}

        worker.kill()
        publish_trades(kafka_settings, range(TRADES_COUNT, TRADES_COUNT + 5))
        seen = until(
            observer,
            lambda found: found.verdict == "stuck" and found.flows[0].lag == 5,
            "it is missed",
        )
        assert seen.bottleneck is not None
        assert (seen.bottleneck.stage, seen.bottleneck.subject) == ("workers", "worker-1")
        assert "5 messages are waiting in its partitions" in seen.bottleneck.text
        assert [each.process for each in seen.problems] == ["worker-1"]
        assert seen.tables[0].rows == TRADES_COUNT
    finally:
        worker.end()
        observer.close()


def test_observer_of_stores_that_are_not_there_tells_that_and_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KAFKA_BROKER", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("CLICKHOUSE_PORT", str(free_port()))
    monkeypatch.setenv("MONITOR_PROCESSES", f"trades-consumer-1=127.0.0.1:{free_port()}")
    observer = Observer(load())
    seen = until(observer, lambda found: found.kafka_error and found.clickhouse_error, "both")
    assert [each.stage for each in seen.obstacles] == ["partitions", "tables", "workers"]
    assert {each.process for each in seen.problems} == {
        "kafka",
        "clickhouse",
        "trades-consumer-1",
    }
    assert [flow.dataset for flow in seen.flows] == list(DATASETS)
    assert {flow.lag for flow in seen.flows} == {None}
    assert (seen.partitions, seen.tables) == ([], [])
    (worker,) = seen.workers
    assert not worker.alive


def test_observer_of_a_database_that_is_not_there_says_so_and_blames_nobody(
    kafka_settings: Settings, store_settings: Settings
) -> None:
    assert kafka_settings.kafka_broker
    observer = Observer(load(clickhouse_db=f"{store_settings.clickhouse_db}_missing"))
    seen = until(observer, lambda found: found.problems, "the problem")
    assert seen.clickhouse_error is None
    assert [each.process for each in seen.problems] == ["clickhouse"]
    assert "_missing" in seen.problems[0].text
    observer.close()
