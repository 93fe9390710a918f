"""What a log does to the terminal in which somebody reads it."""

import re
import subprocess
import sys
from typing import Any

import pytest

from radar.telemetry.logs import _make_printable

HOSTILE = "\x1b]0;PWNED\x07\x1b[31mRED\x9b2J\u202eevil\u2028\x7f"
SHOWN = r"\x1b]0;PWNED\x07\x1b[31mRED\x9b2J\u202eevil\u2028\x7f"
SECRET = "canary-of-a-local-variable"
CONFIGURED = f"""
import logging, sys, threading
import structlog
from radar.telemetry import logs
from radar.settings import load
HOSTILE = {HOSTILE!r}
logs.configure(load(log_format=sys.argv[1]), "role")
"""
FORMATS = pytest.mark.parametrize("log_format", ["console", "json"])


def written(log_format: str, code: str) -> str:
    """Run code in a process whose log is configured; return what it wrote, without colours."""
    done = subprocess.run(
        [sys.executable, "-c", CONFIGURED + code, log_format],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == b""
    text = re.sub("\x1b\\[[0-9;]*m", "", done.stderr.decode())
    assert all(c == "\n" or c.isprintable() for c in text), repr(text)
    return text.replace("\\\\", "\\")  # as JSON and quoted values write it


@FORMATS
def test_names_and_values_of_an_event_are_made_printable(log_format: str) -> None:
    text = written(
        log_format,
        """
structlog.get_logger().warning(HOSTILE, **{
    HOSTILE: 1, "text": HOSTILE, "data": HOSTILE.encode(), "error": ValueError(HOSTILE),
    "nested": {HOSTILE: [HOSTILE, {"deep": (HOSTILE, {HOSTILE})}]},
})
""",
    )
    assert text.count("\n") == 1
    assert text.count(SHOWN) >= 6


@FORMATS
def test_libraries_and_tracebacks_are_made_printable_too(log_format: str) -> None:
    text = written(
        log_format,
        """
try:
    raise ValueError(HOSTILE)
except ValueError:
    logging.getLogger("library").exception("failed at %s", HOSTILE)
    structlog.get_logger().exception("failed", about=HOSTILE)
logging.getLogger("library").error("%d", HOSTILE)
""",
    )
    assert text.count(f"ValueError: {SHOWN}") == 2
    assert f"failed at {SHOWN}" in text
    assert "a log line could not be written" in text


@FORMATS
def test_local_variables_are_in_no_traceback(log_format: str) -> None:
    text = written(
        log_format,
        f"""
def connect(password):
    raise OSError(f"refused after {{len(password)}} characters")
try:
    connect("{SECRET[:9]}" + "{SECRET[9:]}")
except OSError:
    structlog.get_logger().exception("no connection")
    logging.getLogger("library").exception("no connection")
""",
    )
    assert text.count("OSError: refused after 26 characters") == 2
    assert SECRET not in text


@FORMATS
def test_error_that_nobody_catches_is_made_printable(log_format: str) -> None:
    text = written(
        log_format,
        """
def fail():
    raise ValueError(HOSTILE)
thread = threading.Thread(target=fail, name=HOSTILE)
thread.start()
thread.join()
fail()
""",
    )
    assert text.count(f"ValueError: {SHOWN}") == 2


def test_size_of_an_event_is_bounded() -> None:
    endless: list[Any] = []
    endless.append(endless)

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    event: dict[str, Any] = {
        "event": "x" * 100_000,
        "many": ["y" * 100_000] * 1000,
        "digits": 10**5000,
        "endless": endless,
        "broken": Broken(),
        "wide": {f"k{n}": n for n in range(100_000)},
        "exception": "line\n" * 100_000,
        "data": b"\x00" * 1_000_000,
    }
    shown = _make_printable(None, "", event)
    assert len(repr(shown)) < 120_000
    assert shown["broken"] == "<Broken>"


def test_end_of_a_traceback_is_kept() -> None:
    shown = _make_printable(None, "", {"exception": "line\n" * 1000 + "ValueError: \x1b"})
    assert shown["exception"].endswith("\nValueError: \\x1b")
