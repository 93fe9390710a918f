"""The command lines of the documentation: the parsers of their programs accept each of them.

Most lines also run: tests/e2e/test_documented_commands.py.
"""

import re
import subprocess
from pathlib import Path

import pytest

import documented
from documented import BY_HAND, GATE, IN_GATE, ON_DOCKER, RELEASE, ROOT, STACK, Line

LINES = documented.lines()
MAKE = [line for line in LINES if re.match(r"(\S+=\S+ )*make ", line.text)]


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.page}: {line.text}"[:80])
def test_parsers_accept_every_documented_line(line: Line) -> None:
    assert documented.fault(line.text) == ""


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("radar fly", "No such command 'fly'"),
        ("radar up --simulat", "No such option: --simulat"),
        ("radar up --duration soon", "Invalid value for '--duration'"),
        ("radar export trades more", "unexpected extra argument"),
        ("radar export trades --format excel", "'excel' is not one of"),
        ("radar dlq show", "Missing argument"),
        ("radar backup create && radar backup restre newest", "No such command 'restre'"),
        ('curl -u "default:$(.venv/bin/radar pasword)" http://127.0.0.1', "'pasword'"),
        ("EXCHANGS=kraken .venv/bin/radar up", "no option EXCHANGS"),
        ("DEPTH_INTERVAL_SECONDS=soon radar up", "DEPTH_INTERVAL_SECONDS is 'soon'"),
        ("EXCHANGES=wallex,nosuch radar up", "'nosuch' is no exchange"),
        ("make fly", "no target fly"),
        ("make scale-trades NUMBER=6", "no variable NUMBER"),
        ("SYMBOL=USDTTMN make start-producers", "no option SYMBOL"),
        ("docker compose exec dashbord radar monitor", "no service dashbord"),
        ("docker compose exec dashboard radar monitr", "No such command 'monitr'"),
        ("docker compose kil kafka", "no command kil"),
        ("docker compose kill trades-worker-1", "no service trades-worker-1"),
        ("docker compose --file nosuch.yml up", "no file nosuch.yml"),
        ("docker compose --profile nosuch up", "no profile nosuch"),
        ("pip install 'radar[dashbord]'", "no extra dashbord"),
        (".venv/bin/pytest tests/unit/test_nosuch.py", "no file tests/unit/test_nosuch.py"),
        ('git checkout "$(git log -1 -- src/nosuch.sql)"', "no file src/nosuch.sql"),
    ],
)
def test_fault_of_a_line_is_found(line: str, fault: str) -> None:
    assert fault in documented.fault(line)


@pytest.mark.parametrize("page", documented.options())
def test_documented_options_are_accepted(page: str) -> None:
    lines = documented.options()[page]
    chosen = dict(line.split("=", 1) for line in lines)
    assert len(chosen) == len(lines)
    assert documented.option_fault(chosen) == ""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    documented.copy_checkout(folder)
    return folder


@pytest.mark.parametrize("line", MAKE, ids=lambda line: line.text)
def test_make_knows_how_to_run_every_documented_line(line: Line, checkout: Path) -> None:
    text = line.text.replace("make ", "make --dry-run ")
    done = subprocess.run(
        ["bash", "-c", "\n".join([*line.before, text])],
        cwd=checkout, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_every_line_that_runs_elsewhere_is_named_there() -> None:
    called = (ROOT / STACK).read_text() + (ROOT / RELEASE).read_text()
    gate = (ROOT / GATE).read_text()
    for line in LINES:
        for call in documented.calls(line.text):
            if call.program == "make" and re.match(ON_DOCKER, line.text):
                assert f'"{call.words[1]}"' in called, line.text
            if call.program == "make" and re.match(IN_GATE, line.text):
                assert f"make {call.words[1]}" in gate, line.text


def test_lines_that_no_test_can_run_are_few() -> None:
    for pattern in BY_HAND:
        assert any(re.match(pattern, line.text) for line in LINES), pattern
    left = [line for line in LINES if any(re.match(pattern, line.text) for pattern in BY_HAND)]
    assert len(left) <= 12
