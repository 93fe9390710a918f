"""What the views of a pipeline take from the logs of its processes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from radar.status import problems
from radar.status.model import Problem
from radar.status.problems import PROBLEMS, LogProblems, problem

Append = Callable[[bytes], None]
WARNING = {
    "retry_s": 1.5,
    "event": "block waits",
    "role": "consume-trades",
    "level": "warning",
    "timestamp": "2026-06-26T11:14:09.125000Z",
}
AT_S = 1_782_472_449.125


def line(**changes: object) -> bytes:
    return json.dumps(WARNING | changes).encode() + b"\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "trades-consumer-1.log"
    path.write_bytes(line(event="of an earlier run", timestamp="2026-06-26T11:14:08Z"))
    return path


@pytest.fixture
def seen(tmp_path: Path, log: Path) -> Callable[[bytes], list[str]]:
    """Write to the log and return the texts of all problems seen so far."""
    assert log.exists()
    collected = LogProblems(tmp_path, AT_S - 1)

    def write(content: bytes) -> list[str]:
        with log.open("ab") as file:
            file.write(content)
        collected.read()
        return [each.text for each in collected.newest]

    return write


def test_problem_warning_tells_time_process_event_and_details() -> None:
    found = problem("trades-consumer-1", line())
    assert found == Problem(AT_S, "trades-consumer-1", "block waits retry_s=1.5")


def test_problem_that_is_known_is_a_sentence_that_pages_can_translate() -> None:
    found = problem("w", line(partition=2, attempts=4, error="ClickHouse is away"))
    assert found is not None
    assert found.text == "a block of partition 2 is not stored yet, attempt 4: ClickHouse is away"
    assert (found.code, found.passes) == ("block_waits", True)
    assert found.values == {"partition": "2", "attempts": "4", "error": "ClickHouse is away"}


def test_problem_that_passes_by_itself_is_none() -> None:
    rebalance = "Broker: Group rebalance in progress"
    assert problem("w", line(partition=2, attempts=1, error=rebalance)) is None


def test_every_sentence_is_in_both_languages_of_the_pages() -> None:
    root = Path(__file__).resolve().parents[2]
    words = (root / "src/radar/ui/web/static/js/i18n.js").read_text()
    for sentence in problems._SENTENCES.values():
        assert words.count(f"problem_{sentence.code}:") == 2, sentence.code


@pytest.mark.parametrize(
    "written",
    [
        line(level="info"),
        b"listening on http://127.0.0.1:8123\n",
        b'["level", "warning"]\n',
        b"1\n",
        b"\xff\xfe\n",
        b"\n",
    ],
)
def test_problem_other_line_is_none(written: bytes) -> None:
    assert problem("clickhouse", written) is None


def test_problem_traceback_becomes_one_line_of_bounded_length() -> None:
    found = problem("kafka", line(level="error", exception="Traceback\n  x\n" * 100))
    assert found is not None
    assert "\n" not in found.text
    assert len(found.text) == 300


def test_log_problems_of_an_earlier_run_are_not_shown(seen: Callable[[bytes], list[str]]) -> None:
    assert seen(line(event="now", retry_s=1)) == ["now retry_s=1"]


def test_log_problems_line_in_two_parts_is_shown_once(seen: Callable[[bytes], list[str]]) -> None:
    whole = line()
    assert seen(whole[:20]) == []
    assert seen(whole[20:]) == ["block waits retry_s=1.5"]
    assert seen(b"") == ["block waits retry_s=1.5"]


def test_log_problems_line_longer_than_a_read_does_not_stop_the_next(
    seen: Callable[[bytes], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problems, "READ_BYTES", 200)
    written = b"x" * 450 + b"\n" + line()
    for _ in range(5):
        found = seen(written)
        written = b""
    assert found == ["block waits retry_s=1.5"]


def test_log_problems_many_problems_keeps_the_newest(seen: Callable[[bytes], list[str]]) -> None:
    found = seen(b"".join(line(event=f"event {n}", retry_s=n) for n in range(PROBLEMS + 3)))
    assert found == [f"event {n} retry_s={n}" for n in range(3, PROBLEMS + 3)]
