"""How tests are handed out to the workers of a run."""

import os
import subprocess
import sys
from pathlib import Path

import scheduling

TESTS = 12
MODULE = f"""
import os, time, pytest

@pytest.mark.parametrize("n", range({TESTS}))
def test_one(n):
    time.sleep(0.05)
    if n == 2:
        os._exit(1)
"""
CONFTEST = """
def pytest_xdist_make_scheduler(config, log):
    from scheduling import Groups

    class Ungrouped(Groups):
        def _split_scope(self, nodeid):
            return nodeid

    return Ungrouped(config, log)
"""


def test_run_ends_although_a_worker_died(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(MODULE)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    environment = os.environ | {"PYTHONPATH": str(Path(scheduling.__file__).parent)}
    for name in [each for each in environment if each.startswith("PYTEST_")]:
        del environment[name]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert f"1 failed, {TESTS - 1} passed" in done.stdout, done.stdout
