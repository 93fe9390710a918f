"""Whether a state file belongs to a `radar up` that runs."""

import json
import os
from pathlib import Path

import pytest

from radar.status.state import running_pipeline, start_ticks


def write(data_dir: Path, **state: object) -> None:
    path = data_dir / "run" / "state.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(state))


def test_process_that_lives_runs(tmp_path: Path) -> None:
    write(tmp_path, pid=os.getpid(), pid_start_ticks=start_ticks(os.getpid()))
    running = running_pipeline(tmp_path)
    assert running is not None
    assert running["data_dir"] == str(tmp_path)


def test_process_of_another_user_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system refuses a signal to it, which proves that it lives."""

    def refuse(_pid: int, _number: int) -> None:
        raise PermissionError

    write(tmp_path, pid=1, pid_start_ticks=start_ticks(1))
    monkeypatch.setattr(os, "kill", refuse)
    assert running_pipeline(tmp_path) is not None


def test_process_that_got_the_number_of_one_that_ended_does_not_count(tmp_path: Path) -> None:
    """Numbers are used again; the start time tells the two apart."""
    own = start_ticks(os.getpid())
    assert own is not None
    write(tmp_path, pid=os.getpid(), pid_start_ticks=own - 1)
    assert running_pipeline(tmp_path) is None


@pytest.mark.parametrize("state", [{}, {"pid": 0}, {"pid": -1}, {"pid": None}, {"pid": "x"}])
def test_state_without_a_process_counts_as_none(tmp_path: Path, state: dict[str, object]) -> None:
    write(tmp_path, **state)
    assert running_pipeline(tmp_path) is None
