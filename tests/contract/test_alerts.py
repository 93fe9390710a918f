"""Alerts reach a real HTTP server by apprise, about a real Kafka and ClickHouse."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from ports import free_port
from radar.alerts.run import Watch
from radar.alerts.tracker import CLEAR_S, GATHER_S
from radar.clock import unix_us
from radar.codec import message_format
from radar.datasets import GAPS
from radar.records import Gap, GapCause
from radar.settings import Settings, load
from radar.status import judgement
from radar.status.collect import COMPLETE_WAIT_S, Observer
from radar.store.client import Store
from receiver import Receiver
from support import Process, eventually, radar
from workers import create_topics, publish


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def alerts_test(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        radar("alerts", "test", *arguments),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_trial_reports_each_url_without_its_secret(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "urls"
    file.write_text(
        f"{receiver.url}\njson://user:other-word@127.0.0.1:{free_port()}/, {receiver.url}\n"
    )
    monkeypatch.setenv("ALERT_URLS_FILE", str(file))
    done = alerts_test()
    assert done.returncode == 1
    assert done.stdout == (
        "URL 1 (json): delivered\n"
        "URL 2 (json): NOT delivered: check the URL, the network\n"
        "URL 3 (json): delivered\n"
    )
    assert done.stderr == ""
    assert receiver.titles == ["test", "test"]

    monkeypatch.delenv("ALERT_URLS_FILE")
    monkeypatch.setenv("ALERT_URLS", receiver.url)
    done = alerts_test("--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["error"]) == (0, None)
    assert found["services"] == [{"service": "URL 1 (json)", "delivered": True}]
    receiver.status = 403
    done = alerts_test("--json")
    assert (done.returncode, json.loads(done.stdout)["error"]) == (1, "URL 1 (json): not delivered")
    assert "secret-word" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("urls", "words"),
    [
        ("", "ALERT_URLS is empty: set it to the URL of a service"),
        ("json://", "ALERT_URLS: URL 1 (json) is not complete, or apprise knows no such service"),
        (
            "secret-word",
            "ALERT_URLS is a secret: number 1 does not begin with the name of a service",
        ),
        ("nosuch://secret-word", "ALERT_URLS: URL 1 (nosuch) is not complete, or apprise knows no"),
    ],
)
def test_wrong_url_is_a_configuration_error_without_its_secret(
    urls: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_URLS", urls)
    done = alerts_test()
    assert done.returncode == 2
    assert done.stderr.startswith(f"radar: {words}")
    assert "secret-word" not in done.stderr


class Shown:
    """What is sent about real services; the time between two observations passes at once."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._watch = Watch(load(), "box")
        self._now_s = 0.0
        self.later_s = 0.0  # the facts are so old by the clock
        self.titles: list[str] = []

    def look(self, after_s: float) -> None:
        self._now_s += after_s
        overview = self._observer.observe(COMPLETE_WAIT_S)
        later = replace(overview, at_s=overview.at_s + self.later_s)
        message = self._watch.take(later, self._now_s)
        if message is not None:
            self.titles.append(message.title.partition(": ")[2])

    def until(self, title: str, step_s: float = GATHER_S) -> None:
        """Look until a message has this title."""

        def sent() -> bool:
            self.look(step_s)
            return title in self.titles

        eventually(sent, title, timeout_s=60, every_s=0.2)


def recorded_gap(began_at_us: int, *, repaired: bool) -> bytes:
    """Return a gap that ended a moment ago, as a producer publishes it."""
    now_us = unix_us()
    gap = Gap(
        source="wallex",
        record_kind="trades",
        symbols=("BTCTMN",),
        began_at_us=began_at_us,
        ended_at_us=now_us,
        cause=GapCause.SILENT,
        repaired=repaired,
        received_at_us=now_us,
    )
    return message_format.encode_gap(gap)


def test_gap_dead_letter_and_recovery_are_reported_once_each(
    kafka_settings: Settings, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("MONITOR_PROCESSES", f"worker-1=127.0.0.1:{port}")
    monkeypatch.setenv("BATCH_TIMEOUT_SECONDS", "0.2")
    create_topics(kafka_settings)
    own = {"METRICS_PORT": str(port), "WORKER_ID": "worker-1"}
    worker = Process(radar("consume", "gaps"), tmp_path / "worker.log", **own)
    observer = Observer(load())
    shown = Shown(observer)
    try:
        began_at_us = unix_us() - 9_000_000
        publish(kafka_settings, [recorded_gap(began_at_us, repaired=False)], dataset=GAPS)
        shown.until("PROBLEM: gap (trades silent)")
        publish(kafka_settings, [b"no gap"], dataset=GAPS)
        shown.until("PROBLEM: dead letters (gaps)")
        publish(kafka_settings, [recorded_gap(began_at_us - 1, repaired=True)], dataset=GAPS)
        eventually(lambda: store.rows("SELECT count() FROM gaps FINAL")[0][0] == 2, "it is stored")
        for _ in range(5):
            shown.look(GATHER_S)
        assert len(shown.titles) == 2
        shown.later_s = judgement.RECENT_GAP_S
        shown.until("OVER: gap (trades silent)", CLEAR_S)
        worker.terminate()
        shown.until("PROBLEM: process down (worker-1)")
        assert len(shown.titles) == 4
    finally:
        worker.end()
        observer.close()


@pytest.mark.slow("src/radar/alerts")
def test_nothing_is_fine_without_evidence(
    store_settings: Settings, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka and the only process are away: the process itself sends alerts until it is stopped."""
    assert store_settings.clickhouse_db
    monkeypatch.setenv("KAFKA_BROKER", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("MONITOR_PROCESSES", f"producer=127.0.0.1:{free_port()}")
    monkeypatch.setenv("ALERT_URLS", receiver.url)
    port = free_port()
    alerts = Process(radar("alerts", "run"), tmp_path / "log", METRICS_PORT=str(port))
    try:
        eventually(lambda: bool(receiver.messages), "a message comes", timeout_s=120, every_s=0.5)
        assert alerts.terminate() == 0
    finally:
        alerts.end()
    (message,) = receiver.messages
    assert "conditions: 2 new" in message["title"]
    assert "Kafka does not answer" in message["message"]
    assert "producer is down" in message["message"]
    assert "secret-word" not in (tmp_path / "log").read_text()
