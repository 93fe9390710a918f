"""The embedded ClickHouse as a process of radar: `python -m radar.local.clickhouse --help`.

It takes the arguments of `python -m chdb_server`. The password is CLICKHOUSE_PASSWORD, or else the
one in the file `<data folder>.password`, which is created if it is missing.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

from chdb_server.__main__ import main
from radar import secret_file
from radar.errors import RadarError
from radar.process import follow_supervisor


def _provide_password(arguments: list[str]) -> None:
    """Put the password of the data folder into the environment, where the server reads it."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--path", type=Path)
    parser.add_argument("--no-password", action="store_true")
    parsed, _ = parser.parse_known_args(arguments)
    if parsed.path is None or parsed.no_password or os.environ.get("CLICKHOUSE_PASSWORD"):
        return
    path = parsed.path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    password = secret_file.read_or_create(path.with_name(f"{path.name}.password"))
    os.environ["CLICKHOUSE_PASSWORD"] = password


if __name__ == "__main__":
    follow_supervisor(signal.SIGTERM)
    try:
        _provide_password(sys.argv[1:])
    except RadarError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    sys.exit(main(sys.argv[1:]))
