"""The embedded ClickHouse as a child process, for as long as its parent needs it.

An engine that was opened and closed in one process leaves threads and files behind (chDB 26.9:
about 10 threads and 20 files each time). So a program that opens it again and again runs out of
files.
"""

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from chdb_server.errors import DataUnavailable, PathInUse

HOST = "127.0.0.1"
USER = "default"
_LISTENING = "listening on "
_STOP_TIMEOUT_S = 20.0


class Address(NamedTuple):
    """The place at which a server answers on this machine, and its password."""

    port: int
    password: str


@contextmanager
def served(path: Path, wait_s: float = 0) -> Iterator[Address]:
    """Serve a data folder that no other process has open, for the time of a block. Blocks.

    The server ends with the block, and also if this process dies.

    Args:
        path: The data folder of an embedded ClickHouse.
        wait_s: How long to wait for another process that has the folder open.

    Raises:
        PathInUse: A running server has the folder open; query that one over HTTP.
        DataUnavailable: There is no data folder, or it cannot be opened.
    """
    if not path.is_dir():
        raise DataUnavailable(f"no data folder at {path}")
    password = secrets.token_hex(16)
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [*(sys.executable, "-m", "chdb_server", "--path", str(path), "--host", HOST),
             *("--port", "0", "--user", USER, "--wait-seconds", str(wait_s), "--until-input-ends")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | {"CLICKHOUSE_PASSWORD": password},
            # Ctrl-C is for the parent, which may cancel one query and go on.
            start_new_session=True,
        )  # fmt: skip
        try:
            line = process.stdout.readline().decode() if process.stdout else ""
            if not line.startswith(_LISTENING):
                process.wait()
                errors.seek(0)
                raise _reason(process.returncode, errors.read())
            yield Address(int(line.rpartition(":")[2]), password)
        finally:
            _end(process)


def _reason(code: int, errors: bytes) -> PathInUse | DataUnavailable:
    lines = errors.decode(errors="replace").splitlines() or ["the embedded ClickHouse ended"]
    return (PathInUse if code == PathInUse.exit_code else DataUnavailable)(lines[-1])


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
