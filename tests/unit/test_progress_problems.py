"""What the live view takes from the logs of the processes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from radar.observe import progress
from radar.observe.progress import PROBLEMS, Problem, Progress

Append = Callable[[bytes], None]
WARNING = {
    "retry_s": 1.5,
    "event": "block waits",
    "role": "consume-trades",
    "level": "warning",
    "timestamp": "2026-06-26T11:14:09.123456Z",
}


def line(**changes: object) -> bytes:
    return json.dumps(WARNING | changes).encode() + b"\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "trades-consumer-1.log"
    path.write_bytes(line(event="of an earlier run"))
    return path


@pytest.fixture
def seen(tmp_path: Path, log: Path) -> Callable[[bytes], list[str]]:
    """Write to the log and return the texts of all problems seen so far."""
    assert log.exists()
    collected = Progress(tmp_path)

    def write(content: bytes) -> list[str]:
        with log.open("ab") as file:
            file.write(content)
        collected._read_logs()
        return [problem.text for problem in collected.problems]

    return write


def test_problem_warning_tells_time_process_event_and_details() -> None:
    found = progress._problem("trades-consumer-1", line())
    assert found == Problem("11:14:09", "trades-consumer-1", "block waits retry_s=1.5")


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
    assert progress._problem("clickhouse", written) is None


def test_problem_traceback_becomes_one_line_of_bounded_length() -> None:
    found = progress._problem("kafka", line(level="error", exception="Traceback\n  x\n" * 100))
    assert found is not None
    assert "\n" not in found.text
    assert len(found.text) == 300


def test_progress_earlier_lines_are_not_shown(seen: Callable[[bytes], list[str]]) -> None:
    assert seen(line(event="now", retry_s=1)) == ["now retry_s=1"]


def test_progress_line_in_two_parts_is_shown_once(seen: Callable[[bytes], list[str]]) -> None:
    whole = line()
    assert seen(whole[:20]) == []
    assert seen(whole[20:]) == ["block waits retry_s=1.5"]
    assert seen(b"") == ["block waits retry_s=1.5"]


def test_progress_line_longer_than_a_read_does_not_stop_the_next(
    seen: Callable[[bytes], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "READ_BYTES", 200)
    written = b"x" * 450 + b"\n" + line()
    for _ in range(5):
        found = seen(written)
        written = b""
    assert found == ["block waits retry_s=1.5"]


def test_progress_many_problems_keeps_the_newest(seen: Callable[[bytes], list[str]]) -> None:
    found = seen(b"".join(line(event=f"event {n}", retry_s=n) for n in range(PROBLEMS + 3)))
    assert found == [f"event {n} retry_s={n}" for n in range(3, PROBLEMS + 3)]
