"""How to recognise a message and a row of the table as the same: by the row key."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

import msgspec

from radar.codec.message_format import as_json
from radar.datasets import Dataset
from radar.errors import InvalidMessage

Identity = tuple[Hashable, ...]


class Key(msgspec.Struct, frozen=True):
    """The row that a message becomes.

    Attributes:
        identity: The values of the row key.
        symbol: The market; `*` for a message about several markets.
        received_us: When it was received, Unix time.
        look_up: The value by which the table finds the row.
    """

    identity: Identity
    symbol: str
    received_us: int
    look_up: Any


@dataclass(frozen=True)
class Rows:
    """How to recognise the rows of a dataset.

    Attributes:
        read: Returns the key of a message value, without a check of its other fields.
        identity: SQL of the row key, one expression for each part.
        symbol: SQL of the symbol.
        look_up: SQL by which a few rows are found, and its type in ClickHouse.
        visible: SQL of the relation that readers see.
    """

    read: Callable[[bytes], Key]
    identity: tuple[str, ...]
    symbol: str
    look_up: tuple[str, str]
    visible: str


@cache
def rows_of(dataset: Dataset) -> Rows:
    """Return how to recognise the rows of a dataset."""
    types = {column.name: column.type for column in dataset.columns}
    is_of_one_market = "symbol" in types
    expressions = {name: _expression(name, types[name]) for name in dataset.row_key}
    return Rows(
        read=_reader(dataset, types),
        identity=tuple(expressions.values()),
        symbol="symbol" if is_of_one_market else "if(length(symbols) = 1, symbols[1], '*')",
        look_up=(
            expressions[dataset.look_up],
            "UUID" if types[dataset.look_up] == "UUID" else "Int64",
        ),
        visible=dataset.view,
    )


def _expression(name: str, column_type: str) -> str:
    if column_type.startswith("DateTime64"):
        return f"toUnixTimestamp64Micro({name})"
    return f"toString({name})" if column_type.endswith("String") else name


def _reader(dataset: Dataset, types: dict[str, str]) -> Callable[[bytes], Key]:
    fields = {column.name: column.field for column in dataset.columns}
    market = "symbol" if "symbol" in types else "symbols"
    wanted = {
        fields[name]: _type(types[name]) for name in (*dataset.row_key, market, "received_at")
    }
    decode = msgspec.json.Decoder(msgspec.defstruct("_KeyFields", list(wanted.items()))).decode
    key_fields = [fields[name] for name in dataset.row_key]
    is_uuid = [types[name] == "UUID" for name in dataset.row_key]
    at = dataset.row_key.index(dataset.look_up)

    def read(value: bytes) -> Key:
        message: Any = decode(as_json(value))
        identity = tuple(
            UUID(part) if uuid else part
            for part, uuid in zip(
                [getattr(message, field) for field in key_fields], is_uuid, strict=True
            )
        )
        symbols = getattr(message, market)
        if market == "symbols":
            symbols = symbols[0] if len(symbols) == 1 else "*"
        look_up = str(identity[at]) if is_uuid[at] else identity[at]
        return Key(identity, symbols, message.received_at_us, look_up)

    return read


def _type(column_type: str) -> Any:
    if column_type.startswith(("DateTime64", "UInt")):
        return int
    return tuple[str, ...] if column_type == "Array(String)" else str


def read_key(dataset: Dataset, value: bytes) -> Key | None:
    """Return the key of the row that a message becomes; None if it lacks a key's field."""
    try:
        return rows_of(dataset).read(value)
    except (InvalidMessage, msgspec.MsgspecError, ValueError, RecursionError):
        return None


def is_valid(dataset: Dataset, value: bytes) -> bool:
    """Return whether a message value can become a row."""
    try:
        dataset.decode(value)
    except InvalidMessage:
        return False
    return True


def from_table(values: Sequence[Any]) -> Identity:
    """Return the identity of a row from its queried parts."""
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)
