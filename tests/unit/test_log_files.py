"""The logs of `radar up` stay small, and keep what was written last."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from radar.local.log_files import COPIED_SIZES, KEPT_FILES, LogFiles
from radar.status.problems import LogProblems
from support import eventually

MAX_BYTES = 4096
# Writes numbered lines for as long as somebody reads them off its input.
WRITER = """
import sys
for n, _ in enumerate(sys.stdin):
    print(f"line {n:06}", flush=True)
"""


@pytest.fixture
def files(tmp_path: Path) -> LogFiles:
    return LogFiles(tmp_path, MAX_BYTES)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    with (
        (tmp_path / "worker.log").open("ab") as log,
        subprocess.Popen(
            [sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=log, text=True
        ) as process,
    ):
        yield process


def test_rotation_keeps_every_line_of_a_process_that_writes_on(
    tmp_path: Path, files: LogFiles, writer: "subprocess.Popen[str]"
) -> None:
    """The process keeps its file open; the lines before and after a rotation follow each other."""
    assert writer.stdin is not None
    log, lines_per_round, rounds = tmp_path / "worker.log", 500, 3
    for n in range(1, rounds + 1):
        writer.stdin.write("\n" * lines_per_round)
        writer.stdin.flush()
        last = f"line {n * lines_per_round - 1:06}\n".encode()
        eventually(lambda last=last: log.read_bytes().endswith(last), "the lines are written")  # type: ignore[misc]
        files.rotate()
        assert log.stat().st_size == 0
    read = b"".join(
        (tmp_path / f"worker.log.{n}").read_bytes() for n in range(rounds, 0, -1)
    ).decode()
    assert read.split("\n")[:-1] == [f"line {n:06}" for n in range(rounds * lines_per_round)]


def test_rotated_files_are_bounded_in_number_and_size(tmp_path: Path, files: LogFiles) -> None:
    log = tmp_path / "worker.log"
    for n in range(2 * KEPT_FILES):
        log.write_bytes(b"%d\n" % n * MAX_BYTES)
        files.rotate()
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == ["worker.log", *(f"worker.log.{n}" for n in range(1, KEPT_FILES))]
    assert log.stat().st_size == 0
    newest = [
        (tmp_path / f"worker.log.{n}").read_bytes().split(b"\n")[0] for n in range(1, KEPT_FILES)
    ]
    assert newest == [b"9", b"8", b"7", b"6"]


def test_huge_file_of_an_earlier_run_keeps_its_end(tmp_path: Path, files: LogFiles) -> None:
    log = tmp_path / "worker.log"
    with log.open("ab") as file:
        file.truncate(600_000_000)  # sparse: takes no room
        file.write(b"the newest line\n")
    files.rotate()
    kept = (tmp_path / "worker.log.1").read_bytes()
    assert log.stat().st_size == 0
    assert len(kept) == COPIED_SIZES * MAX_BYTES
    assert kept.endswith(b"the newest line\n")


def test_file_below_the_limit_is_left_alone(tmp_path: Path, files: LogFiles) -> None:
    log = tmp_path / "worker.log"
    log.write_bytes(b"x" * MAX_BYTES)
    files.rotate()
    assert [path.name for path in tmp_path.iterdir()] == ["worker.log"]


def test_file_that_cannot_be_copied_stays_bounded(tmp_path: Path, files: LogFiles) -> None:
    """As on a full disk: a copy is impossible, and the log must not fill it further."""
    log, limits = tmp_path / "worker.log", resource.getrlimit(resource.RLIMIT_FSIZE)
    log.write_bytes(b"x" * (COPIED_SIZES * MAX_BYTES + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_BYTES, limits[1]))
    try:
        files.rotate()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name for path in tmp_path.iterdir()} == {"worker.log"}
    assert log.stat().st_size == 0


def test_view_of_problems_reads_a_rotated_log_from_its_start(
    tmp_path: Path, files: LogFiles
) -> None:
    line = '{"level": "warning", "event": "%s", "timestamp": "2026-01-01T00:00:00Z"}\n'
    log = tmp_path / "worker.log"
    log.write_text(line % ("old" * MAX_BYTES))
    problems = LogProblems(tmp_path, 0)
    problems.read()
    files.rotate()
    with log.open("a") as file:
        file.write(line % "new")
    problems.read()
    assert problems.newest[-1].text == "new"
