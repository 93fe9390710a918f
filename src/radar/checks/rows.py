"""What tells a row of a dataset from every other: in a message's value, and in the table."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import msgspec

from radar.datasets import DEPTH, GAPS, TRADES, WATCHES, Dataset
from radar.errors import InvalidMessage

Identity = tuple[Hashable, ...]


class Key(msgspec.Struct, frozen=True):
    """What a message says of the row that it becomes.

    Attributes:
        identity: What no two rows have in common.
        symbol: The market; `*` if it is about several.
        received_us: When it was received, Unix time.
        look_up: By which the table finds it: one of the values of `Rows.look_up`.
    """

    identity: Identity
    symbol: str
    received_us: int
    look_up: Any


@dataclass(frozen=True)
class Rows:
    """How to recognise the rows of a dataset.

    Attributes:
        read: What a message's value says; it is not checked whether it can be a row at all.
        identity: SQL of the identity, one expression for each part.
        symbol: SQL of the symbol.
        look_up: SQL by which a few rows are found, and its type in ClickHouse.
        visible: What readers see of the table.
    """

    read: Callable[[bytes], Key]
    identity: tuple[str, ...]
    symbol: str
    look_up: tuple[str, str]
    visible: str


class _Trade(msgspec.Struct):
    trade_id: str
    symbol: str
    received_at_us: int


class _Depth(msgspec.Struct):
    source: str
    symbol: str
    side: str
    received_at_us: int


class _Gap(msgspec.Struct):
    source: str
    record_kind: Literal["trades", "depth"]
    cause: str
    symbols: tuple[str, ...]
    began_at_us: int
    ended_at_us: int
    received_at_us: int


class _Watch(msgspec.Struct):
    source: str
    record_kind: Literal["trades", "depth"]
    connection: str
    symbols: tuple[str, ...]
    began_at_us: int
    received_at_us: int


_decode_trade = msgspec.json.Decoder(_Trade).decode
_decode_depth = msgspec.json.Decoder(_Depth).decode
_decode_gap = msgspec.json.Decoder(_Gap).decode
_decode_watch = msgspec.json.Decoder(_Watch).decode


def _trade(value: bytes) -> Key:
    trade = _decode_trade(value)
    trade_id = UUID(trade.trade_id)
    return Key((trade_id,), trade.symbol, trade.received_at_us, str(trade_id))


def _depth(value: bytes) -> Key:
    depth = _decode_depth(value)
    identity = (depth.source, depth.symbol, depth.side, depth.received_at_us)
    return Key(identity, depth.symbol, depth.received_at_us, depth.received_at_us)


def _gap(value: bytes) -> Key:
    gap = _decode_gap(value)
    times = (gap.began_at_us, gap.ended_at_us, gap.received_at_us)
    identity = (gap.source, gap.record_kind, gap.cause, gap.symbols, *times)
    return Key(identity, _symbol(gap.symbols), gap.received_at_us, gap.received_at_us)


def _watch(value: bytes) -> Key:
    watch = _decode_watch(value)
    identity = (watch.source, watch.record_kind, watch.connection, watch.began_at_us)
    # What grew since was received later, but began when it began.
    return Key(identity, _symbol(watch.symbols), watch.received_at_us, watch.began_at_us)


def _symbol(symbols: tuple[str, ...]) -> str:
    return symbols[0] if len(symbols) == 1 else "*"


def _us(column: str) -> str:
    return f"toUnixTimestamp64Micro({column})"


ROWS = {
    TRADES.name: Rows(
        read=_trade,
        identity=("trade_id",),
        symbol="symbol",
        look_up=("trade_id", "UUID"),
        visible="trades",
    ),
    DEPTH.name: Rows(
        read=_depth,
        identity=("source", "symbol", "toString(side)", _us("received_at")),
        symbol="symbol",
        look_up=(_us("received_at"), "Int64"),
        visible="orderbook_depth FINAL",
    ),
    GAPS.name: Rows(
        read=_gap,
        identity=(
            *("source", "toString(record_kind)", "toString(cause)", "symbols"),
            *(_us("began_at"), _us("ended_at"), _us("received_at")),
        ),
        symbol="if(length(symbols) = 1, symbols[1], '*')",
        look_up=(_us("received_at"), "Int64"),
        visible="gaps FINAL",
    ),
    WATCHES.name: Rows(
        read=_watch,
        identity=("source", "toString(record_kind)", "connection", _us("began_at")),
        symbol="if(length(symbols) = 1, symbols[1], '*')",
        look_up=(_us("began_at"), "Int64"),
        visible="watches FINAL",
    ),
}


def read_key(dataset: Dataset, value: bytes) -> Key | None:
    """Return what a message says of its row; None if it says nothing that could be one."""
    try:
        return ROWS[dataset.name].read(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def is_valid(dataset: Dataset, value: bytes) -> bool:
    """Tell whether a message can become a row, as far as its value tells."""
    try:
        dataset.decode(value)
    except InvalidMessage:
        return False
    return True


def from_table(values: Sequence[Any]) -> Identity:
    """Return the identity of a row of which a query gave the parts."""
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)
