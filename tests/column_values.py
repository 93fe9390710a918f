"""The values that columns of an insert stand for."""

from typing import Any
from uuid import UUID

import numpy as np

from radar.codec.batch_decoder import Columns, DictionaryColumn, ListColumn
from radar.codec.byte_grid import StringColumn


def plain(read: Columns) -> dict[str, list[Any]]:
    """Return the values of each column."""
    found: dict[str, list[Any]] = {}
    for column in read:
        data = column.data
        if isinstance(data, DictionaryColumn):
            found[column.name] = [data.texts[code] for code in data.codes]
        elif isinstance(data, ListColumn):
            ends = np.cumsum(data.lengths)
            found[column.name] = [
                list(data.values[end - length : end])
                for end, length in zip(ends, data.lengths, strict=True)
            ]
        elif isinstance(data, StringColumn):
            text, ends = data.characters.tobytes().decode(), np.cumsum(data.lengths)
            found[column.name] = [
                text[end - length : end] for end, length in zip(ends, data.lengths, strict=True)
            ]
        elif column.type == "UUID":
            pairs = zip(data[::2], data[1::2], strict=True)
            found[column.name] = [UUID(int=int(high) << 64 | int(low)).hex for high, low in pairs]
        else:
            found[column.name] = list(data)
    return found
