"""The kinds of records, and everything that differs between them.

A new kind is one record, one entry here and one migration.
"""

from collections.abc import Callable
from dataclasses import dataclass

from radar import wire


@dataclass(frozen=True)
class Kind:
    """One kind of record on its way from the exchange to its table."""

    name: str  # as on the command line
    topic: str
    dead_letter_topic: str
    group: str  # the consumer group of its workers
    table: str
    columns: tuple[str, ...]  # that a worker inserts, in this order
    decode_row: Callable[[bytes, wire.Position], wire.Row]


TRADES = Kind(
    name="trades",
    topic="radar_trades",
    dead_letter_topic="radar_trades_dlq",
    group="clickhouse-trades-consumers-v1",
    table="trades_master",
    columns=wire.TradeRow.__struct_fields__,
    decode_row=wire.decode_trade,
)

DEPTH = Kind(
    name="depth",
    topic="radar_depths",
    dead_letter_topic="radar_depths_dlq",
    group="clickhouse-depth-consumers-v1",
    table="orderbook_depth",
    columns=wire.DepthRow.__struct_fields__,
    decode_row=wire.decode_depth,
)

GAPS = Kind(
    name="gaps",
    topic="radar_gaps",
    dead_letter_topic="radar_gaps_dlq",
    group="clickhouse-gaps-consumers-v1",
    table="gaps",
    columns=wire.GapRow.__struct_fields__,
    decode_row=wire.decode_gap,
)

# What an exchange sends; gaps are what the producers of these missed.
RECORDED = {kind.name: kind for kind in (TRADES, DEPTH)}
KINDS = RECORDED | {GAPS.name: GAPS}
