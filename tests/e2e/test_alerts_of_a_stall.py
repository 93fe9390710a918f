"""`radar up` whose exchange falls silent, and comes back: people hear of both, once."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from ports import free_port
from receiver import Receiver
from support import Process, eventually, radar

WITHIN_S = 240


@pytest.mark.slow("src/radar/alerts", "src/radar/status")
@pytest.mark.embedded_kafka("about the exchange and the messages")
@pytest.mark.timeout(900)
def test_exchange_that_falls_silent_and_comes_back_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = Receiver()
    for name, value in {
        "RADAR_DATA_DIR": str(tmp_path / "data"),
        "KAFKA_BROKER": f"127.0.0.1:{free_port()}",
        "CLICKHOUSE_PORT": str(free_port()),
        "DASHBOARD_PORT": "0",
        "ALERT_URLS": receiver.url,
    }.items():
        monkeypatch.setenv(name, value)
    run = tmp_path / "data" / "simulated"
    up = Process(radar("up", "--simulate", "--markets", "5"), tmp_path / "up.log")
    try:
        eventually(lambda: "stored 1" in up.log.read_text(), "rows are stored", 120, 0.5)
        # A simulated pipeline that starts and works is no news.
        assert receiver.messages == []
        state = json.loads((run / "run" / "state.json").read_text())
        pids = {each["name"]: each["pid"] for each in state["processes"]}
        os.kill(pids["exchange"], signal.SIGSTOP)
        stalls = [
            f"PROBLEM: wallex-{dataset} has received no frame" for dataset in ("trades", "depth")
        ]
        eventually(
            lambda: all(stall in receiver.text for stall in stalls),
            "the stall is reported",
            timeout_s=WITHIN_S,
            every_s=0.5,
        )
        os.kill(pids["exchange"], signal.SIGCONT)
        eventually(
            lambda: (
                receiver.text.count("frames arrive again") == 2
                and re.search(r"recorded in depth \((silent|refused)\)", receiver.text) is not None
            ),
            # Backfill may close the gap of trades, and then it is no news.
            "the recovery and the gap are reported",
            timeout_s=WITHIN_S,
            every_s=0.5,
        )
        up.terminate(120)
    finally:
        up.end()
        receiver.close()
    # The end of the pipeline is no alert, and no condition was reported twice.
    problems = re.findall(r"PROBLEM: (\S+ (?:has received|is down|is not))", receiver.text)
    assert len(problems) == len(set(problems)), receiver.text
    assert all("(simulated exchange)" in each["title"] for each in receiver.messages)
    for log in (run / "logs").glob("*.log"):
        assert "secret-word" not in log.read_text(errors="replace"), log
