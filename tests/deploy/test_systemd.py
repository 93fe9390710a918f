"""The units of systemd: valid, and what they start is a command of radar with known options."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from radar.consumer.worker import DRAIN_TIMEOUT_S
from radar.producer.producer import FINISH_TIMEOUT_S
from radar.settings import variables
from support import radar

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
PROGRAM = "/opt/radar/bin/radar"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_units_are_valid(tmp_path: Path) -> None:
    # It wants the program to exist.
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace(PROGRAM, shutil.which("true")))  # type: ignore[arg-type]
    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(path) for path in sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_unit_starts_a_command_of_radar_with_options_that_are_read(unit: Path) -> None:
    text = unit.read_text()
    given = set(re.findall(r"^Environment=(\w+)=", text, re.MULTILINE))
    assert given <= set(variables())
    for line in re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE):
        program, *words = line.split()
        assert program == PROGRAM
        # Words with $ come from the unit's own file.
        command = [word for word in words if "$" not in word]
        known = subprocess.run(
            [*radar(*command), "--help"], capture_output=True, text=True, check=False, timeout=60
        )
        assert known.returncode == 0, known.stderr


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_unit_runs_without_rights_and_gets_the_time_that_it_needs(unit: Path) -> None:
    text = unit.read_text()
    assert "\nUser=radar\n" in text
    assert "\nNoNewPrivileges=true\n" in text
    assert "\nProtectSystem=strict\n" in text
    if "Type=exec" in text:
        stop_s = re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
        assert stop_s is not None
        assert int(stop_s[1]) > max(DRAIN_TIMEOUT_S, FINISH_TIMEOUT_S)
        # A wrong configuration stays wrong.
        assert "\nRestartPreventExitStatus=2\n" in text
