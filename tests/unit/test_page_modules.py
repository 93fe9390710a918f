"""The page's pure modules, tested in their own language (*.test.mjs)."""

import shutil
import subprocess
from pathlib import Path

import pytest

NODE = shutil.which("node")


TESTS = sorted(Path(__file__).parent.glob("*.test.mjs"))


@pytest.mark.skipif(NODE is None, reason="Node.js is not installed")
@pytest.mark.parametrize("tests", TESTS, ids=lambda path: path.name.partition(".")[0])
def test_page_modules_do_what_they_should(tests: Path) -> None:
    done = subprocess.run(
        [str(NODE), "--test", str(tests)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
