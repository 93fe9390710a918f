"""The page's pure modules, tested in their own language (page_modules.test.mjs)."""

import shutil
import subprocess
from pathlib import Path

import pytest

NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="Node.js is not installed")
def test_page_modules_format_and_say_what_they_should() -> None:
    tests = Path(__file__).with_name("page_modules.test.mjs")
    done = subprocess.run(
        [str(NODE), "--test", str(tests)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
