"""Chunks: messages that are decoded together, into rows and bad messages; pure."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from radar.codec.batch_decoder import Column, Columns
from radar.consumer.messages import Messages
from radar.datasets import Dataset
from radar.errors import InvalidMessage

# Messages are decoded about this many bytes at a time. So their columns stay in the processor's
# cache, and the memory of decoding is bounded.
DECODED_BYTES = 512 * 1024


class BadMessage(NamedTuple):
    """A message that cannot become a row, and why."""

    offset: int
    key: bytes | None
    value: bytes | None
    reason: InvalidMessage


class ColumnBlock(NamedTuple):
    """The messages of a chunk that become rows, as columns."""

    messages: Messages
    columns: Columns


class Chunk(NamedTuple):
    """The decoded form of some messages, in their order."""

    parts: list[ColumnBlock]
    bad_messages: list[BadMessage]


def decode_chunk(dataset: Dataset, partition: int, messages: Messages) -> Chunk:
    """Decode messages of one partition; the same messages always give the same chunk."""
    chunk = Chunk([], [])
    count = max(1, len(messages) * DECODED_BYTES // max(1, messages.size_bytes))
    for start in range(0, len(messages), count):
        part, bad_messages = _decode_part(dataset, partition, messages[start : start + count])
        chunk.bad_messages.extend(bad_messages)
        if len(part.messages):
            chunk.parts.append(part)
    return chunk


def rows(parts: Sequence[ColumnBlock]) -> list[tuple[int, Columns]]:
    """Return column blocks in the form that the store inserts."""
    return [(len(part.messages), part.columns) for part in parts]


def _decode_part(
    dataset: Dataset, partition: int, messages: Messages
) -> tuple[ColumnBlock, list[BadMessage]]:
    bad_messages: list[BadMessage] = []
    try:
        columns = dataset.read_columns([_present(value) for value in messages.values])
    except InvalidMessage:
        bad_messages = _bad_messages(dataset, messages)
        bad = {each.offset for each in bad_messages}
        messages = messages.where(lambda offset: offset not in bad)
        columns = (
            dataset.read_columns([value or b"" for value in messages.values])
            if len(messages)
            else []
        )
    place = [
        Column("kafka_partition", "UInt16", np.full(len(messages), partition, np.uint16)),
        Column("kafka_offset", "UInt64", np.array(messages.offsets, np.uint64)),
    ]
    return ColumnBlock(messages, [*columns, *place]), bad_messages


def _bad_messages(dataset: Dataset, messages: Messages) -> list[BadMessage]:
    bad_messages = []
    for offset, key, value in zip(messages.offsets, messages.keys, messages.values, strict=True):
        try:
            dataset.decode(_present(value))
        except InvalidMessage as error:
            bad_messages.append(BadMessage(offset, key, value, error))
    return bad_messages


def _present(value: bytes | None) -> bytes:
    if value is None:
        raise InvalidMessage("empty", "the message has no value")
    return value
