"""A data folder that cannot be used: one line with the remedy, from each command that needs it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import radar

# Makes its folder a file system of its own, which ends with the process; then runs a command.
MOUNTED = """
import contextlib, ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def mount(source, target, kind, flags, data):
    if libc.mount(source, target, kind, flags, data):
        sys.exit("cannot mount: " + os.strerror(ctypes.get_errno()))
folder, flags, data, *command = sys.argv[1:]
if libc.unshare(0x00020000):  # a mount namespace of its own, sched.h
    sys.exit("cannot mount: " + os.strerror(ctypes.get_errno()))
mount(None, b"/", None, 1 << 18 | 1 << 14, None)
mount(b"tmpfs", folder.encode(), b"tmpfs", 0, data.encode())
if flags == "full":
    with open(f"{folder}/filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(bytes(4096)):
            pass
if flags == "read-only":
    mount(None, folder.encode(), None, 1 << 5 | 1, None)
os.execv(command[0], command)
"""
READ_ONLY = "is on a read-only file system: mount it for writing, or set another RADAR_DATA_DIR"
FULL = "is on a full disk: free space, or set another RADAR_DATA_DIR"


def run(
    folder: Path, command: list[str], *, before: list[str] | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*(before or []), *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"RADAR_DATA_DIR": str(folder), "DASHBOARD_PORT": "0"} | environment,
    )


def mounted(folder: Path, state: str, size: str = "128k") -> list[str]:
    """Return the start of a command line that runs a command with its folder mounted."""
    folder.mkdir()
    start = [sys.executable, "-c", MOUNTED, str(folder), state, f"size={size}"]
    done = run(folder, [sys.executable, "-c", ""], before=start)
    if "cannot mount" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return start


def the_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("radar: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.strip()


def doctor(folder: Path, before: list[str] | None = None) -> str:
    """Return what `radar doctor` says of the folder; no other check is made."""
    code = (
        "import sys; from pathlib import Path; from radar.checks import doctor;"
        " print(doctor.describe(doctor._data_directory(Path(sys.argv[1]))))"
    )
    done = run(folder, [sys.executable, "-c", code, str(folder)], before=before)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "file"
    path.write_text("somebody else's")
    yield path
    assert path.read_text() == "somebody else's"


@pytest.mark.parametrize("below", [False, True])
def test_folder_that_is_a_file_or_below_one_is_refused(file: Path, below: bool) -> None:
    folder = file / "data" if below else file
    words = "is or leads through a file, not a folder: move it away, or set another RADAR_DATA_DIR"
    assert the_line(run(folder, radar("up"))) == f"radar: RADAR_DATA_DIR={folder} {words}"
    assert "problem" in doctor(folder)
    assert "is or leads through a file" in doctor(folder)


@pytest.mark.parametrize(("state", "words"), [("read-only", READ_ONLY), ("full", FULL)])
def test_folder_on_a_disk_that_takes_nothing_is_refused(
    tmp_path: Path, state: str, words: str
) -> None:
    folder = tmp_path / "disk"
    before = mounted(folder, state)
    said = the_line(run(folder, radar("up", "--simulate"), before=before))
    assert said == f"radar: RADAR_DATA_DIR={folder} {words}"
    reason, _, remedy = words.partition(": ")
    assert f"{folder} {reason} → {remedy}" in doctor(folder, before)


def test_dashboard_without_a_folder_for_its_token_names_both_ways(file: Path) -> None:
    said = the_line(run(file, radar("dashboard"), DASHBOARD_PORT="8099"))
    assert "is or leads through a file" in said
    assert "set DASHBOARD_TOKEN" in said


def test_doctor_says_of_a_folder_that_is_not_there_yet_that_it_can_be_written(
    tmp_path: Path,
) -> None:
    assert doctor(tmp_path / "new" / "data").startswith("ok")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("state", "words"), [("full", "disk full: {} has "), ("empty", "None")])
def test_disk_without_room_is_named_and_another_is_not(
    tmp_path: Path, state: str, words: str
) -> None:
    folder = tmp_path / "disk"
    before = mounted(folder, state, size="2m")
    code = (
        "import sys; from pathlib import Path; from radar.status.data_disk import disk_full;"
        " print(disk_full(Path(sys.argv[1])))"
    )
    done = run(folder, [sys.executable, "-c", code, str(folder)], before=before)
    assert done.stdout.startswith(words.format(folder)), done.stdout + done.stderr
