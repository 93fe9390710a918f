"""The datasets, and everything that differs between them.

A new dataset is one record, one entry here and one migration.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from radar.codec import batch_decoder, message_format


@dataclass(frozen=True)
class Dataset:
    """One dataset on its way from the exchange to its table."""

    name: str  # as on the command line
    topic: str
    dead_letter_topic: str
    group: str  # the consumer group of its workers
    table: str
    decode: Callable[[bytes], Any]  # one message value; raises InvalidMessage
    read_columns: batch_decoder.ReadColumns  # many message values at once; raises the same


TRADES = Dataset(
    name="trades",
    topic="radar_trades",
    dead_letter_topic="radar_trades_dlq",
    group="clickhouse-trades-consumers-v1",
    table="trades_master",
    decode=message_format.decode_trade,
    read_columns=batch_decoder.trade_columns,
)

DEPTH = Dataset(
    name="depth",
    topic="radar_depths",
    dead_letter_topic="radar_depths_dlq",
    group="clickhouse-depth-consumers-v1",
    table="orderbook_depth",
    decode=message_format.decode_depth,
    read_columns=batch_decoder.depth_columns,
)

GAPS = Dataset(
    name="gaps",
    topic="radar_gaps",
    dead_letter_topic="radar_gaps_dlq",
    group="clickhouse-gaps-consumers-v1",
    table="gaps",
    decode=message_format.decode_gap,
    read_columns=batch_decoder.gap_columns,
)

WATCHES = Dataset(
    name="watches",
    topic="radar_watches",
    dead_letter_topic="radar_watches_dlq",
    group="clickhouse-watches-consumers-v1",
    table="watches",
    decode=message_format.decode_watch,
    read_columns=batch_decoder.watch_columns,
)

# What an exchange sends; gaps are what the producers of these missed, watches when they did not.
RECORDED = {dataset.name: dataset for dataset in (TRADES, DEPTH)}
DATASETS = RECORDED | {dataset.name: dataset for dataset in (GAPS, WATCHES)}
# A few messages a minute: one worker process stores them together.
QUIET = (GAPS, WATCHES)
