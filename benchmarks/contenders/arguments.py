"""The command line that the programs share."""

import argparse
from dataclasses import dataclass


@dataclass(frozen=True)
class Arguments:
    """What a program is told."""

    dataset: str
    broker: str
    topic: str
    group: str
    clickhouse_port: int
    database: str
    block: int
    progress: str


def parse(description: str) -> Arguments:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("dataset", choices=("trades", "depth"))
    parser.add_argument("--broker", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--clickhouse-port", type=int, required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--block", type=int, required=True, help="rows of an insert")
    parser.add_argument("--progress", default="", help="file for the count of messages")
    return Arguments(**vars(parser.parse_args()))
