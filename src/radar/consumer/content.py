"""What of some messages becomes rows and what dead letters: pure."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from radar.columns import Column, Columns
from radar.errors import InvalidMessage
from radar.kafka import Message
from radar.kinds import Kind

# Messages are read in parts of so many, which bounds the memory that reading takes.
PART_MESSAGES = 4096


class Letter(NamedTuple):
    """A message that cannot become a row, and why."""

    message: Message
    reason: InvalidMessage


class Part(NamedTuple):
    """Some of the messages that become rows."""

    messages: Sequence[Message]
    columns: Columns


class Content(NamedTuple):
    """What some messages came to, in their order."""

    parts: list[Part]
    letters: list[Letter]

    @property
    def valid(self) -> list[Message]:
        """The messages that become rows."""
        return [message for part in self.parts for message in part.messages]


def read(kind: Kind, partition: int, messages: Sequence[Message]) -> Content:
    """Read messages of one partition; the same ones always come to the same content."""
    content = Content([], [])
    for start in range(0, len(messages), PART_MESSAGES):
        some = messages[start : start + PART_MESSAGES]
        part, letters = _read_part(kind, partition, some)
        content.letters.extend(letters)
        if part.messages:
            content.parts.append(part)
    return content


def _read_part(
    kind: Kind, partition: int, messages: Sequence[Message]
) -> tuple[Part, list[Letter]]:
    letters: list[Letter] = []
    values = [message.value() for message in messages]
    try:
        columns = kind.read_columns([_present(value) for value in values])
    except InvalidMessage:
        letters = _bad_ones(kind, messages)
        bad = {letter.message.offset() for letter in letters}
        messages = [message for message in messages if message.offset() not in bad]
        valid = [message.value() or b"" for message in messages]
        columns = kind.read_columns(valid) if valid else []
    place = [
        Column("kafka_partition", "UInt16", np.full(len(messages), partition, np.uint16)),
        Column("kafka_offset", "UInt64", np.array([each.offset() for each in messages], np.uint64)),
    ]
    return Part(messages, [*columns, *place]), letters


def _bad_ones(kind: Kind, messages: Sequence[Message]) -> list[Letter]:
    letters = []
    for message in messages:
        try:
            kind.decode(_present(message.value()))
        except InvalidMessage as error:
            letters.append(Letter(message, error))
    return letters


def _present(value: bytes | None) -> bytes:
    if value is None:
        raise InvalidMessage("empty", "the message has no value")
    return value
