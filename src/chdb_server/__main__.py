"""Command line of the embedded ClickHouse: `python -m chdb_server --help`.

The order matters: first the steps that need rights, then the sandbox, then chDB. The environment
variable CLICKHOUSE_PASSWORD holds the password.
"""

import argparse
import ctypes
import os
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path

from chdb_server import config, sandbox
from chdb_server.errors import MissingPassword, ServerError


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m chdb_server",
        description="ClickHouse inside one process, behind its HTTP interface.",
    )
    parser.add_argument("--path", type=Path, required=True, help="data folder")
    parser.add_argument("--backups", type=Path, help="folder of backups; without it there are none")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8123, help="port; 0 takes a free one")
    parser.add_argument("--user", default="default", help="the user that is let in")
    parser.add_argument(
        "--no-password", action="store_true", help="let everybody in; only for tests"
    )
    parser.add_argument("--threads", type=int, default=16, help="reads at once")
    parser.add_argument(
        "--memory-limit", type=int, default=4096, metavar="MIB", help="for all queries together"
    )
    parser.add_argument(
        "--shutdown-seconds", type=int, default=20, help="for running requests after SIGTERM"
    )
    parser.add_argument(
        "--wait-seconds", type=float, default=0, help="for another process to leave the data folder"
    )
    parser.add_argument(
        "--until-input-ends", action="store_true", help="stop when standard input ends"
    )
    return parser.parse_args(arguments)


def _confine(path: Path, config_file: Path, backups: Path | None) -> None:
    """Restrict this process to its folders and temporary files, where Linux can."""
    temporary = path / "temporary"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(mode=0o700)
    tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
    sandbox.enter(path, [config_file.parent], [backups] if backups else [])


def run(arguments: list[str]) -> int:
    """Serve until a signal ends it; return the exit code."""
    parsed = _parse(arguments)
    # Otherwise the server would take the machine's zone, also for times without one.
    os.environ["TZ"] = "UTC"
    # Not an argument: command lines are visible to every user of the machine.
    password = os.environ.pop("CLICKHOUSE_PASSWORD", "")
    path = parsed.path.resolve()
    if not password and not parsed.no_password:
        raise MissingPassword("set CLICKHOUSE_PASSWORD, or give --no-password in a test")
    memory_limit_bytes = parsed.memory_limit * config.MIB
    backups = parsed.backups.resolve() if parsed.backups else None
    config_file = config.prepare(path, memory_limit_bytes, backups, parsed.wait_seconds)
    _forget_environment()
    _confine(path, config_file, backups)
    # chDB imports pyarrow if it is installed, for functions that this server does not use. Without
    # it this process starts sooner and is smaller.
    sys.modules["pyarrow"] = None  # type: ignore[assignment]
    from chdb_server.server import ServerOptions, serve

    options = ServerOptions(
        path=path,
        host=parsed.host,
        port=parsed.port,
        user=parsed.user,
        password=password,
        threads=parsed.threads,
        memory_limit_bytes=memory_limit_bytes,
        shutdown_seconds=parsed.shutdown_seconds,
    )
    if parsed.until_input_ends:
        threading.Thread(target=_stop_with_input, daemon=True).start()
    return serve(options, config_file)


def _stop_with_input() -> None:
    """Wait for the end of standard input, and stop this process as SIGTERM does."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _forget_environment() -> None:
    """Overwrite the variables that this process was started with, passwords among them.

    Linux shows them as a file, /proc/self/environ, which must tell nothing to a query that could
    read files. The process keeps its own copies, and uses those.
    """
    if not sys.platform.startswith("linux"):
        return
    # Fields 50 and 51 of proc_pid_stat(5); the first two, before the bracket, are left out.
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[47]), int(fields[48])
    if not 0 < begin < end:
        return  # this kernel does not show them
    for name, value in os.environ.items():
        os.environ[name] = value
    ctypes.memset(begin, 0, end - begin)


def main(arguments: list[str]) -> int:
    """Serve until a signal ends it; write one line if it cannot; return the exit code."""
    try:
        return run(arguments)
    except ServerError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
