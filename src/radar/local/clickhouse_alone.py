"""The embedded ClickHouse without the rest of the pipeline, for a command that needs its tables."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import SecretStr

from radar import secret_file
from radar.errors import StoreUnavailable
from radar.local import data_directory
from radar.settings import Settings, backup_folder, clickhouse_password_file

STOP_S = 60.0
_READY = "listening on "


@contextmanager
def running(settings: Settings) -> Iterator[Settings]:
    """Run it for the time of a block; provide options that lead to it. Blocks.

    Raises:
        ConfigurationError: A `radar up` uses the data.
        StoreUnavailable: It does not start.
    """
    directory = data_directory.prepare(settings, simulated=False)
    with data_directory.locked(directory):
        password = secret_file.read_or_create(clickhouse_password_file(settings))
        with subprocess.Popen(
            [
                *(sys.executable, "-m", "radar.local.clickhouse"),
                *("--path", str(directory / "clickhouse"), "--port", "0"),
                *("--user", settings.clickhouse_user),
                *("--backups", str(backup_folder(settings))),
            ],
            env=os.environ | {"CLICKHOUSE_PASSWORD": password},
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            try:
                assert server.stdout is not None  # noqa: S101 - for the type checker
                line = server.stdout.readline()
                if not line.startswith(_READY):
                    raise StoreUnavailable(
                        "the embedded ClickHouse does not start: see its message"
                    )
                port = int(line.strip().rpartition(":")[2])
                yield settings.model_copy(
                    update={
                        "clickhouse_host": "127.0.0.1",
                        "clickhouse_port": port,
                        "clickhouse_password": SecretStr(password),
                    }
                )
            finally:
                server.terminate()
                server.wait(STOP_S)
