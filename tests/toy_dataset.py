"""A dataset that radar does not have: one struct, one Dataset and one migration.

Run as a program, this module is `radar` with the dataset. Its first argument is the folder for the
migrations: those of radar, and the one of the dataset.
"""

import shutil
import sys
from pathlib import Path
from typing import Literal

import radar.store
from radar import datasets
from radar.codec.message_format import MessageValue
from radar.datasets import TIME_US, Dataset, InsertColumn
from radar.store import schema


class TickerMessage(MessageValue, frozen=True):
    """The value of a message of the topic `radar_tickers`."""

    kind: Literal["ticker"]
    source: str
    symbol: str
    last: str
    received_at_us: int
    is_open: bool = True


TICKERS = Dataset(
    name="tickers",
    message=TickerMessage,
    topic="radar_tickers",
    dead_letter_topic="radar_tickers_dlq",
    group="clickhouse-tickers-consumers-v1",
    table="tickers",
    columns=(
        InsertColumn("source", "LowCardinality(String)", "source"),
        InsertColumn("symbol", "LowCardinality(String)", "symbol"),
        InsertColumn("last", "String", "last"),
        InsertColumn("is_open", "Bool", "is_open"),
        InsertColumn("received_at", TIME_US, "received_at_us"),
    ),
    row_key=("source", "symbol", "received_at"),
    look_up="received_at",
    view="tickers FINAL",
    export_columns="source, symbol, last, is_open, received_at",
    export_order="received_at",
)

MIGRATION = """\
CREATE TABLE IF NOT EXISTS tickers
(
    source LowCardinality(String),
    symbol LowCardinality(String),
    last Decimal(38, 18),
    is_open Bool,
    received_at DateTime64(6, 'UTC'),
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3),
    kafka_partition UInt16,
    kafka_offset UInt64
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(received_at)
ORDER BY (source, symbol, received_at)
TTL toDateTime(received_at) + toIntervalDay(90)
SETTINGS non_replicated_deduplication_window = 100000;
"""


def add(folder: Path) -> None:
    """Write the migrations into a folder, and make the dataset one of radar's."""
    shutil.copytree(Path(radar.store.__file__).parent / "migrations", folder, dirs_exist_ok=True)
    (folder / "9001_tickers.sql").write_text(MIGRATION)
    schema.FOLDER = folder
    datasets.DATASETS[TICKERS.name] = TICKERS


if __name__ == "__main__":
    add(Path(sys.argv.pop(1)))
    from radar.cli.main import main

    main()
