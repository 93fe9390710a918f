"""Which processes are asked: those of a `radar up`, or those that MONITOR_PROCESSES names."""

import json
import os
from pathlib import Path

import pytest

from radar.errors import ConfigurationError
from radar.settings import load
from radar.status.deployment import find, named


def test_named_processes_have_the_name_given_or_that_of_their_host() -> None:
    found = named(("trades-consumer-1:9100", "feed=10.0.0.7:9100", "[::1]:9101"))
    assert [(each.name, each.host, each.port) for each in found] == [
        ("trades-consumer-1", "trades-consumer-1", 9100),
        ("feed", "10.0.0.7", 9100),
        ("[::1]", "::1", 9101),
    ]


def test_named_processes_of_one_host_are_told_apart() -> None:
    found = named(("worker:9100", "worker:9101"))
    assert [each.name for each in found] == ["worker:9100", "worker:9101"]


@pytest.mark.parametrize("value", ["worker", "worker:many", "worker:99999", "=worker:9100"])
def test_named_process_that_is_none_says_what_is_allowed(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONITOR_PROCESSES", f"good:9100,{value}")
    with pytest.raises(ConfigurationError, match="neither HOST:PORT nor NAME=HOST:PORT"):
        load()


def test_find_takes_the_pipeline_that_runs_and_its_addresses(tmp_path: Path) -> None:
    settings = load(radar_data_dir=tmp_path, monitor_processes=("worker:9100",))
    assert [each.name for each in find(settings).processes] == ["worker"]
    state = {
        "pid": os.getpid(),
        "started_at": 1.5,
        "simulated": True,
        "kafka_broker": "127.0.0.1:1234",
        "clickhouse": "127.0.0.1:5678",
        "processes": [
            {"name": "kafka", "state": "running", "pid": 7, "restarts": 0, "metrics_port": 0},
            {"name": "w", "state": "running", "pid": 8, "restarts": 2, "metrics_port": 9},
        ],
    }
    path = tmp_path / "simulated" / "run" / "state.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(state))
    found = find(settings)
    assert [(each.name, each.address, each.restarts) for each in found.processes] == [
        ("kafka", "", 0),
        ("w", "127.0.0.1:9", 2),
    ]
    assert found.log_dir == tmp_path / "simulated" / "logs"
    reached = found.reach(settings)
    assert (reached.kafka_broker, reached.clickhouse_port) == ("127.0.0.1:1234", 5678)
