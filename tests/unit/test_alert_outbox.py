"""A service that is slow, broken or away holds up nobody, and gets its messages later."""

import threading
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from radar.alerts import outbox
from radar.alerts.messages import Message
from radar.alerts.outbox import MAX_WAITING, Outbox
from radar.alerts.run import follow
from radar.settings import load
from radar.status.model import Overview
from radar.telemetry.health import Health
from support import eventually


def message(number: int) -> Message:
    return Message(f"{number}", "text", "info")


class Told:
    """A service of which a test decides the answers."""

    def __init__(self, kind: str, answer: Callable[[], bool]) -> None:
        self.name, self.kind = f"URL 1 ({kind})", kind
        self.answer = answer
        self.titles: list[str] = []

    def deliver(self, message: Message) -> bool:
        taken = self.answer()
        if taken:
            self.titles.append(message.title)
        return taken


def count(kind: str, result: str) -> float:
    labels = {"service": kind, "result": result}
    return REGISTRY.get_sample_value("radar_alert_messages_total", labels) or 0.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(outbox, "MOST_RETRY_S", 0.02)


def test_messages_arrive_in_order() -> None:
    service = Told("ordered", lambda: True)
    box = Outbox(service)
    for number in range(5):
        box.put(message(number))
    box.close(10)
    assert service.titles == ["0", "1", "2", "3", "4"]
    assert count("ordered", "delivered") == 5


def test_message_is_delivered_once_the_service_answers_again() -> None:
    works = threading.Event()
    service = Told("away", works.is_set)
    box = Outbox(service)
    box.put(message(1))
    eventually(lambda: count("away", "failed") >= 3, "some attempts fail")
    assert box.trouble is not None
    assert box.trouble.startswith("URL 1 (away) has taken no alert for ")
    works.set()
    eventually(lambda: service.titles == ["1"], "it arrives")
    eventually(lambda: box.trouble is None, "the trouble is over")
    box.close(0)


def test_error_of_the_library_is_a_failed_attempt_without_its_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> bool:
        raise ValueError("tgram://secret-token/")

    box = Outbox(Told("raises", fail))
    box.put(message(1))
    eventually(lambda: count("raises", "failed") >= 3, "some attempts fail")
    box.close(0)
    output = "".join(capsys.readouterr())
    assert "secret-token" not in output
    # Logged once, however often it fails.
    assert output.count("is not delivered") <= 1


def test_service_that_hangs_takes_one_thread_and_a_bounded_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "ATTEMPT_TIMEOUT_S", 0.05)
    released = threading.Event()
    calls: list[int] = []

    def hang() -> bool:
        calls.append(1)
        return released.wait(60)

    service = Told("hangs", hang)
    box = Outbox(service)
    for number in range(MAX_WAITING + 30):
        box.put(message(number))
    eventually(lambda: count("hangs", "failed") >= 3, "the attempt counts as failed")
    assert len(calls) == 1
    assert count("hangs", "dropped") == 30
    released.set()
    # The newest are kept. The one that hung arrived although it counted as failed.
    newest = [str(number) for number in range(30, MAX_WAITING + 30)]
    eventually(lambda: service.titles[-MAX_WAITING:] == newest, "the others arrive")
    box.close(10)


def test_old_message_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]
    service = Told("old", lambda: False)
    box = Outbox(service, clock=lambda: now_s[0])
    box.put(message(1))
    eventually(lambda: count("old", "failed") >= 2, "some attempts fail")
    assert count("old", "dropped") == 0
    now_s[0] = outbox.GIVE_UP_S + 1
    eventually(lambda: count("old", "dropped") == 1, "it is given up")
    box.close(10)


def test_observation_that_fails_is_an_alert_and_not_the_end() -> None:
    """The loop goes on, and tells people that nothing is known."""
    service = Told("unobserved", lambda: True)
    stopping = threading.Event()
    calls: list[int] = []

    def fail() -> Overview:
        calls.append(1)
        raise ValueError("a defect")

    # A minute of the loop passes in each of its rounds.
    watching = threading.Thread(
        target=follow,
        args=(load(), [service], Health(), stopping),
        kwargs={"observe": fail, "period_s": 0.001, "clock": lambda: 60.0 * len(calls)},
    )
    watching.start()
    eventually(lambda: bool(service.titles), "an alert comes")
    stopping.set()
    watching.join(10)
    assert not watching.is_alive()
    assert len(calls) > 2
    assert "PROBLEM: unknown (overview)" in service.titles[0]
