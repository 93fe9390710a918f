"""The embedded Kafka broker: the binary that the noida-db wheel brings.

It speaks the Kafka protocol, keeps its log in memory and saves it to one file about once a
second and when it ends, so a kill -9 of the broker (not of any other process) loses the last
second. Records that every group has committed are deleted regularly, because the file is
rewritten whole.
"""

import argparse
import os
from pathlib import Path

import noida_db

from radar.local.process import follow_supervisor


def command(data_dir: Path, host: str, port: int) -> list[str]:
    """Return the command line of a broker that keeps its data in `data_dir`."""
    return [
        str(Path(noida_db.__file__).with_name("noida-db")),
        *("start", "--only", "kafka", "--host", host),
        *("--kafka-port", str(port), "--data-dir", str(data_dir)),
    ]


def main() -> None:
    """Become the broker: `python -m radar.local.broker DATA_DIR HOST PORT`."""
    parser = argparse.ArgumentParser(description="embedded Kafka broker")
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    options.data_dir.mkdir(parents=True, exist_ok=True)
    follow_supervisor()
    line = command(options.data_dir, options.host, options.port)
    os.execv(line[0], line)  # noqa: S606 - no shell


if __name__ == "__main__":
    main()
