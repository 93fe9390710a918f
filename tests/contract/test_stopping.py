"""A stop of `radar up` waits only while something is pending, and says for what."""

import asyncio
import signal
import sys
import time
from pathlib import Path

import pytest

from radar.errors import BrokerUnavailable
from radar.local import stopping
from radar.local.stopping import Left, Stop, Waiting, describe
from radar.local.supervisor import ChildSpec, Supervisor
from radar.settings import load
from radar.status.collect import Observer
from radar.ui.terminal.watch import LiveOverview

Answers = list[Waiting | Exception]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Return the answers of Kafka to the questions how much waits; the last one stays."""
    answers: Answers = []

    def answer(_: object) -> Waiting:
        given = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(given, Exception):
            raise given
        return given

    monkeypatch.setattr(stopping._Asking, "__call__", answer)
    return answers


def stored(tmp_path: Path) -> tuple[Left, list[str]]:
    """Wait until everything is stored; return what is left and what was shown."""
    settings = load(radar_data_dir=tmp_path)
    shown: list[str] = []

    class Shown(LiveOverview):
        def __setattr__(self, name: str, value: object) -> None:
            if name == "stopping" and value:
                shown.append(str(value))
            super().__setattr__(name, value)

    async def wait() -> Left:
        watch = Shown(Observer(settings, asks_stores=False))
        return await Stop(settings, Supervisor(tmp_path / "logs"), watch).stored()

    return asyncio.run(wait()), shown


def test_stop_with_nothing_pending_asks_once_and_waits_for_nothing(
    tmp_path: Path, told: Answers
) -> None:
    told += [{}, AssertionError("asked again")]
    left, shown = stored(tmp_path)
    assert left == Left({})
    assert not [words for words in shown if "not stored yet" in words]


def test_stop_waits_as_long_as_messages_are_stored(
    tmp_path: Path, told: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "STUCK_AFTER_S", 0.5)
    told += [{("trades", 2): 12 - n} for n in range(12)]
    told.append({})
    began_s = time.monotonic()
    left, shown = stored(tmp_path)
    assert left.messages == 0
    assert time.monotonic() - began_s > 0.5, "longer than without progress"
    assert shown[1].startswith("12 messages are not stored yet (trades 2: 12); gives up in ")


def test_stop_gives_up_when_nothing_more_is_stored(
    tmp_path: Path, told: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "STUCK_AFTER_S", 0.3)
    told.append({("trades", 0): 3, ("depth", 1): 1_200})
    left, _ = stored(tmp_path)
    assert left.messages == 1_203
    assert describe(left) == "1,203 messages are not stored yet (depth 1: 1,200, trades 0: 3)"


def test_stop_without_an_answer_of_kafka_does_not_count_what_it_does_not_know(
    tmp_path: Path, told: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "SILENT_AFTER_S", 0.3)
    told.append(BrokerUnavailable("gone"))
    left, shown = stored(tmp_path)
    assert left.messages is None
    assert "it is not known how many messages are not stored: Kafka at" in shown[-1]


def test_processes_that_do_not_end_are_named_and_killed_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "SAY_EVERY_S", 0.05)
    settings = load(radar_data_dir=tmp_path)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    deaf += "; open('ready', 'w').close(); time.sleep(99)"
    monkeypatch.chdir(tmp_path)

    async def stop() -> tuple[str, int | None]:
        supervisor = Supervisor(tmp_path / "logs")
        watch = LiveOverview(Observer(settings, asks_stores=False))
        child = await supervisor.start(ChildSpec("deaf", (sys.executable, "-c", deaf)))
        while not Path("ready").exists():  # noqa: ASYNC110, ASYNC240 - another process
            await asyncio.sleep(0.02)
        await Stop(settings, supervisor, watch).end(["deaf", "none"], 0.5, "processes end")
        return watch.stopping, child.last_exit

    words, code = asyncio.run(stop())
    assert words.startswith("processes end (deaf; killed in ")
    assert code == -signal.SIGKILL
