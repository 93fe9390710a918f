"""The embedded ClickHouse ends when its engine answers no more."""

import threading

import pytest

from chdb_server import liveness
from chdb_server.errors import from_engine
from chdb_server.liveness import Liveness
from support import eventually


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "BEAT_S", 0.01)


def test_pulse_of_an_engine_that_hangs_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "DEAD_S", 0.2)
    reasons: list[str] = []
    hangs = threading.Event()
    beating = Liveness(hangs.wait, end=reasons.append)
    beating.start()
    eventually(lambda: bool(reasons), "the end")
    beating.stop()
    hangs.set()
    assert "has not answered for" in reasons[0]


def test_pulse_goes_on_after_a_probe_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "DEAD_S", 30.0)
    probes: list[None] = []

    def probe() -> None:
        probes.append(None)
        if len(probes) < 3:
            raise OSError("no session could be opened")

    beating = Liveness(probe, end=lambda reason: pytest.fail(reason))
    beating.start()
    eventually(lambda: len(probes) > 5, "more probes")
    beating.stop()


def test_pulse_of_an_engine_that_answers_stays_young() -> None:
    reasons: list[str] = []
    asked: list[None] = []
    beating = Liveness(lambda: asked.append(None), end=reasons.append)
    beating.start()
    eventually(lambda: len(asked) > 30, "thirty answers")
    beating.stop()
    assert not reasons
    assert beating.age_s < liveness.LATE_S


@pytest.mark.parametrize(
    ("text", "is_fatal"),
    [
        ("Code: 236. The server is shutting down due to a fatal error. (ABORTED)", True),
        ("Code: 236. DB::Exception: Shutting down due to a fatal error. (ABORTED)", True),
        ("Code: 236. DB::Exception: The insert was cancelled. (ABORTED)", False),
        ("Code: 241. DB::Exception: memory limit exceeded (MEMORY_LIMIT_EXCEEDED)", False),
    ],
)
def test_only_the_refusal_of_a_broken_engine_is_fatal(text: str, is_fatal: bool) -> None:
    assert from_engine(RuntimeError(text)).is_fatal is is_fatal
