"""What every hand-written program does: a decoded message becomes a tuple for a row insert."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

TABLES = {"trades": "trades_master", "depth": "orderbook_depth"}
COLUMNS = {
    "trades": (
        *("trade_id", "source", "symbol", "base", "quote", "side", "price", "base_amount"),
        *("event_time", "received_at", "kafka_partition", "kafka_offset"),
    ),
    "depth": (
        *("source", "symbol", "base", "quote", "side", "prices", "quantities"),
        *("received_at", "kafka_partition", "kafka_offset"),
    ),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Row = tuple[Any, ...]
ToRow = Callable[[dict[str, Any], int, int], Row]


def to_trade_row(message: dict[str, Any], partition: int, offset: int) -> Row:
    """Return the row of a trade."""
    return (
        message["trade_id"],
        message["source"],
        message["symbol"],
        message["base"],
        message["quote"],
        message["side"],
        Decimal(message["price"]),
        Decimal(message["base_amount"]),
        _EPOCH + timedelta(milliseconds=message["event_time_ms"]),
        _EPOCH + timedelta(microseconds=message["received_at_us"]),
        partition,
        offset,
    )


def to_depth_row(message: dict[str, Any], partition: int, offset: int) -> Row:
    """Return the row of a depth snapshot."""
    return (
        message["source"],
        message["symbol"],
        message["base"],
        message["quote"],
        message["side"],
        message["prices"],
        message["quantities"],
        _EPOCH + timedelta(microseconds=message["received_at_us"]),
        partition,
        offset,
    )


TO_ROW: dict[str, ToRow] = {"trades": to_trade_row, "depth": to_depth_row}
