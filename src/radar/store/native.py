"""ClickHouse's format Native: a block's columns follow each other.

Source: ClickHouse documentation, "Formats: Native", and its `NativeWriter` and
`SerializationLowCardinality`. All numbers are little-endian.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radar.codec.batch_decoder import Columns, Data, DictionaryColumn, ListColumn
from radar.codec.byte_grid import StringColumn

# Of LowCardinality: the version of its keys, and the flag that an index with own keys follows.
_KEYS_VERSION = (1).to_bytes(8, "little")
_HAS_KEYS = 1 << 9
_CODE_TYPES: Sequence[type[np.unsignedinteger]] = (np.uint8, np.uint16, np.uint32)
_Bytes = bytes | memoryview
_LENGTHS = [chr(length) for length in range(128)]


def encode(parts: Sequence[tuple[int, Columns]]) -> bytes:
    """Encode rows as one block.

    One block matters. The server would name each of several blocks by its number in the request,
    and another worker may divide the same rows at other places.

    Args:
        parts: Column blocks: the number of rows, and the columns, which are the same in all.
    """
    out: list[_Bytes] = [_varint(len(parts[0][1])), _varint(sum(rows for rows, _ in parts))]
    for column in zip(*(columns for _, columns in parts), strict=True):
        out += [
            _text(column[0].name),
            _text(column[0].type),
            *_data([part.data for part in column]),
        ]
    return b"".join(out)


def _data(parts: Sequence[Data]) -> Sequence[_Bytes]:
    if isinstance(parts[0], DictionaryColumn):
        return _dictionary([part for part in parts if isinstance(part, DictionaryColumn)])
    if isinstance(parts[0], ListColumn):
        lists = [part for part in parts if isinstance(part, ListColumn)]
        ends = np.cumsum(np.concatenate([part.lengths for part in lists])).astype(np.uint64)
        return [ends.tobytes(), *(_plain(part.values) for part in lists)]
    return [_plain(part) for part in parts if not isinstance(part, DictionaryColumn | ListColumn)]


def _plain(data: NDArray[Any] | Sequence[str] | StringColumn) -> _Bytes:
    if isinstance(data, np.ndarray):
        return np.ascontiguousarray(data).data  # joined without a copy of its own
    return _strings(data) if isinstance(data, StringColumn) else _texts(data)


def _dictionary(parts: Sequence[DictionaryColumn]) -> list[bytes]:
    known: dict[str, int] = {}
    codes = [
        np.array([known.setdefault(text, len(known)) for text in part.texts])[part.codes]
        for part in parts
    ]
    width = next(
        n for n, code_type in enumerate(_CODE_TYPES) if len(known) <= np.iinfo(code_type).max
    )
    return [
        _KEYS_VERSION,
        (_HAS_KEYS | width).to_bytes(8, "little"),
        len(known).to_bytes(8, "little"),
        _texts(list(known)),
        sum(map(len, codes)).to_bytes(8, "little"),
        *(each.astype(_CODE_TYPES[width]).tobytes() for each in codes),
    ]


def _strings(data: StringColumn) -> bytes:
    lengths, characters = data
    # Each string follows its length, one byte.
    places = np.cumsum(lengths + 1) - lengths - 1
    out = np.empty(len(characters) + len(lengths), np.uint8)
    is_text = np.ones(len(out), np.bool_)
    is_text[places] = False
    out[places] = lengths
    out[is_text] = characters
    return out.tobytes()


def _texts(texts: Sequence[str]) -> bytes:
    try:
        # A short ASCII string, the usual case, has its length in one byte.
        return "".join([_LENGTHS[len(text)] + text for text in texts]).encode("ascii")
    except (IndexError, UnicodeEncodeError):
        return b"".join(map(_text, texts))


def _text(text: str) -> bytes:
    # Surrogates stand for bytes that are no UTF-8.
    data = text.encode(errors="surrogateescape")
    return _varint(len(data)) + data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
