"""Command line of the embedded ClickHouse: `python -m radar.local.clickhouse --help`."""

import argparse
import os
import signal
import sys
from pathlib import Path

from radar.errors import RadarError
from radar.local.process import follow_supervisor

# chDB imports pyarrow where there is one, for functions that radar does not use. Without it this
# process starts sooner and is smaller.
sys.modules["pyarrow"] = None  # type: ignore[assignment]

from radar.local.clickhouse.server import ServerOptions, main  # noqa: E402


def _options(arguments: list[str]) -> ServerOptions:
    parser = argparse.ArgumentParser(
        prog="python -m radar.local.clickhouse",
        description="ClickHouse inside one process, behind its HTTP interface.",
    )
    parser.add_argument("--path", type=Path, required=True, help="data folder")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8123, help="port; 0 takes a free one")
    parser.add_argument("--user", default="default", help="the user that is let in")
    parser.add_argument("--threads", type=int, default=16, help="statements at once")
    parser.add_argument(
        "--memory-limit", type=int, default=4096, metavar="MIB", help="for all queries together"
    )
    parser.add_argument(
        "--shutdown-seconds", type=int, default=20, help="for running requests after SIGTERM"
    )
    parsed = parser.parse_args(arguments)
    return ServerOptions(
        path=parsed.path,
        host=parsed.host,
        port=parsed.port,
        user=parsed.user,
        # Not an argument: command lines are visible to every user of the machine.
        password=os.environ.get("CLICKHOUSE_PASSWORD", ""),
        threads=parsed.threads,
        memory_limit_bytes=parsed.memory_limit * 1024 * 1024,
        shutdown_seconds=parsed.shutdown_seconds,
    )


if __name__ == "__main__":
    follow_supervisor(signal.SIGTERM)
    try:
        sys.exit(main(_options(sys.argv[1:])))
    except RadarError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
