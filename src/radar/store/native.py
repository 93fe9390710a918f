"""ClickHouse's format Native, in which a block's columns lie one behind the other.

Source: ClickHouse documentation, "Formats: Native", and its `NativeWriter` and
`SerializationLowCardinality`. All numbers are little-endian.
"""

from collections.abc import Sequence

import numpy as np

from radar.columns import Coded, Column, Lists

# Of LowCardinality: the version of its keys, and that an index into keys of its own follows.
_KEYS_VERSION = (1).to_bytes(8, "little")
_HAS_KEYS = 1 << 9
_CODE_TYPES: Sequence[type[np.unsignedinteger]] = (np.uint8, np.uint16, np.uint32)
_LENGTHS = [chr(length) for length in range(128)]


def encode(rows: int, columns: Sequence[Column]) -> bytes:
    """Write some rows as one block."""
    parts = [_varint(len(columns)), _varint(rows)]
    for column in columns:
        parts += [_text(column.name), _text(column.type), *_data(column, rows)]
    return b"".join(parts)


def _data(column: Column, rows: int) -> list[bytes]:
    data = column.data
    if isinstance(data, np.ndarray):
        return [data.tobytes()]
    if isinstance(data, Coded):
        return [_KEYS_VERSION, *_coded(data, rows)]
    if isinstance(data, Lists):
        values = data.values
        ends = np.cumsum(data.lengths).astype(np.uint64).tobytes()
        return [ends, values.tobytes() if isinstance(values, np.ndarray) else _texts(values)]
    return [_texts(data)]


def _coded(data: Coded, rows: int) -> list[bytes]:
    width = next(n for n, kind in enumerate(_CODE_TYPES) if len(data.texts) <= np.iinfo(kind).max)
    return [
        (_HAS_KEYS | width).to_bytes(8, "little"),
        len(data.texts).to_bytes(8, "little"),
        _texts(data.texts),
        rows.to_bytes(8, "little"),
        data.codes.astype(_CODE_TYPES[width]).tobytes(),
    ]


def _texts(texts: Sequence[str]) -> bytes:
    try:
        # What is short and ASCII, as nearly everything is, has its length in one byte.
        return "".join([_LENGTHS[len(text)] + text for text in texts]).encode("ascii")
    except (IndexError, UnicodeEncodeError):
        return b"".join(map(_text, texts))


def _text(text: str) -> bytes:
    data = text.encode()
    return _varint(len(data)) + data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
