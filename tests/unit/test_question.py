"""What is asked again and again without waiting for who does not answer."""

import threading
import time
from collections.abc import Iterator

import pytest

from radar.errors import BrokerUnavailable
from radar.status import probe as module
from radar.status.probe import Probe


class Asked:
    """Answers how often it was asked; waits for `go` first, and fails while `fails`."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.times = 0
        self.fails = False

    def __call__(self) -> int:
        self.times += 1
        self.go.wait(30)
        if self.fails:
            raise BrokerUnavailable("it is away")
        return self.times


@pytest.fixture
def asked() -> Iterator[Asked]:
    made = Asked()
    yield made
    made.go.set()


def ask(question: Probe[int]) -> bool:
    question.begin()
    return question.wait(time.monotonic() + 30)


def told(question: Probe[int]) -> tuple[int | None, str | None]:
    return question.answer, question.trouble


def test_question_that_is_answered_tells_the_answer(asked: Asked) -> None:
    question = Probe("it", asked)
    assert told(question) == (None, None)
    assert ask(question)
    assert told(question) == (1, None)
    assert ask(question)
    assert told(question) == (2, None)


def test_question_is_not_asked_again_while_nobody_has_answered(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked.go.clear()
    question = Probe("it", asked)
    question.begin()
    question.begin()
    assert not question.wait(time.monotonic())
    assert told(question) == (None, None)
    monkeypatch.setattr(module, "SLOW_AFTER_S", 0.0)
    assert str(question.trouble) == "it has not answered for 0 s"
    asked.go.set()
    assert question.wait(time.monotonic() + 30)
    assert asked.times == question.answer == 1


def test_question_that_fails_tells_why_and_keeps_the_last_answer_for_a_while(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = Probe("it", asked)
    ask(question)
    asked.fails = True
    assert ask(question)
    assert told(question) == (1, "it is away")
    asked.fails = False
    assert ask(question)
    assert told(question) == (3, None)
    monkeypatch.setattr(module, "KEPT_S", -1.0)
    assert ask(question)
    assert question.answer is None


def test_question_is_asked_only_every_so_often(asked: Asked) -> None:
    question = Probe("it", asked, every_s=3600)
    for _ in range(3):
        assert ask(question)
    assert asked.times == 1


def test_question_that_costs_much_is_asked_rarely_once_that_is_known(asked: Asked) -> None:
    question = Probe("it", asked, share=1e-9)
    for _ in range(5):
        assert ask(question)
    assert asked.times == 2
