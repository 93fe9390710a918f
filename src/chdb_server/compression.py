"""HTTP compression with the methods of clickhouse-connect: gzip, lz4 and zstd.

ClickHouse documentation "HTTP interface", section "Compression". Its own block format
(`compress=1`, `decompress=1`) needs CityHash128 checksums, for which no maintained Python
package exists; the server refuses it by name.
"""

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from chdb_server.errors import Rejected

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

try:
    from lz4 import frame as lz4_frame  # type: ignore[import-untyped]
except ImportError:  # clickhouse-connect does not bring it along to every Python version
    lz4_frame = None

PIECE_BYTES = 1 << 20
MAX_STREAMS = 1000
_GZIP = 31  # zlib's number for gzip with the largest window

CANNOT_DECOMPRESS = 271
QUERY_IS_TOO_LARGE = 229
UNKNOWN_COMPRESSION_METHOD = 89


class Compressor(Protocol):
    """Compresses a body piece by piece."""

    def compress(self, data: bytes, /) -> bytes:
        """Return what is ready after `data`."""

    def flush(self) -> bytes:
        """Return the end of the body."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Lz4:
    def __init__(self) -> None:
        self._lz4 = lz4_frame.LZ4FrameCompressor()
        self._begun = False

    def compress(self, data: bytes, /) -> bytes:
        start = b"" if self._begun else self._lz4.begin()
        self._begun = True
        return bytes(start + self._lz4.compress(data))

    def flush(self) -> bytes:
        return bytes(self.compress(b"") + self._lz4.flush())


class _Gunzip:
    """gzip with the interface of the others: input that does not fit waits inside."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, max_length)


class _Plain:
    """The identity, so that callers need no special case."""

    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


# In the order in which ClickHouse prefers them.
_COMPRESSORS: dict[str, Callable[[], Compressor]] = {
    "gzip": lambda: zlib.compressobj(3, zlib.DEFLATED, _GZIP),
    "zstd": lambda: zstd.ZstdCompressor(1),
}
_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    "gzip": _Gunzip,
    "zstd": zstd.ZstdDecompressor,
}
if lz4_frame is not None:
    _COMPRESSORS = {"lz4": _Lz4, **_COMPRESSORS}
    _DECOMPRESSORS["lz4"] = lz4_frame.LZ4FrameDecompressor


def choose_encoding(accept_encoding: str) -> str:
    """Return the method to answer with, or an empty string for none."""
    accepted = {part.split(";")[0].strip().lower() for part in accept_encoding.split(",")}
    return next((name for name in _COMPRESSORS if name in accepted), "")


def compressor(encoding: str) -> Compressor:
    """Return a compressor for a method that `choose_encoding` named."""
    return _COMPRESSORS[encoding]() if encoding else _Plain()


def decompress(encoding: str, chunks: Iterable[bytes], limit_bytes: int) -> Iterator[bytes]:
    """Decompress a request body piece by piece; concatenated streams are one body.

    Args:
        encoding: One method, empty for none.
        chunks: The body as it came.
        limit_bytes: The most that may come out. No piece is larger than PIECE_BYTES.

    Raises:
        Rejected: An unknown method, several, a body that is damaged or cut short, or too much.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        yield from chunks
        return
    if encoding not in _DECOMPRESSORS:
        raise Rejected(
            UNKNOWN_COMPRESSION_METHOD,
            "UNKNOWN_COMPRESSION_METHOD",
            f"Unknown compression method: {encoding[:50]}; this server knows "
            f"{', '.join(_DECOMPRESSORS)}, one at a time",
        )
    total_bytes = 0
    for piece in _decompressed(encoding, chunks):
        total_bytes += len(piece)
        if total_bytes > limit_bytes:
            raise Rejected(
                QUERY_IS_TOO_LARGE,
                "QUERY_IS_TOO_LARGE",
                f"The body has more than {limit_bytes} bytes when it is decompressed",
            )
        yield piece


def _decompressed(encoding: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    streams = 0
    stream: _Decompressor | None = None
    for chunk in chunks:
        rest = chunk
        while rest:
            if stream is None:
                streams += 1
                if streams > MAX_STREAMS:
                    raise _damaged(encoding, f"it has more than {MAX_STREAMS} parts")
                stream = _DECOMPRESSORS[encoding]()
            while piece := _decompress_piece(encoding, stream, rest):
                yield piece
                rest = b""
                if stream.eof:
                    break
            rest = stream.unused_data or b"" if stream.eof else b""
            if stream.eof:
                stream = None
    if stream is not None:
        raise _damaged(encoding, "the body ends too early")


def _decompress_piece(encoding: str, stream: _Decompressor, data: bytes) -> bytes:
    try:
        return stream.decompress(data, PIECE_BYTES)
    except (zlib.error, RuntimeError, zstd.ZstdError, EOFError) as error:
        raise _damaged(encoding, str(error)) from error


def _damaged(encoding: str, reason: str) -> Rejected:
    return Rejected(
        CANNOT_DECOMPRESS, "CANNOT_DECOMPRESS", f"Cannot decompress {encoding}: {reason}"
    )
