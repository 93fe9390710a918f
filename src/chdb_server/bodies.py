"""Received bodies: each whole, so that no thread ever waits for a client; all within one budget."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import IO, Protocol

from chdb_server import protocol
from chdb_server.config import MIB
from chdb_server.errors import Rejected

PIECE_BYTES = MIB
MAX_BODY_BYTES = 256 * MIB
MAX_BODY_IN_MEMORY_BYTES = 32 * MIB
MAX_IN_MEMORY_BYTES = 256 * MIB
MAX_BYTES = 2048 * MIB


class Source(Protocol):
    """A body that arrives."""

    finished: bool

    async def next(self) -> bytes:
        """Return the next piece, perhaps empty."""


class Bodies:
    """The bodies of all requests that run or wait; for use from one event loop.

    A body waits in memory as long as it is small and the memory of all bodies has room, then on
    the disk. So the few kilobytes of a worker's insert pass while large bodies wait.
    """

    def __init__(
        self, in_memory_bytes: int = MAX_IN_MEMORY_BYTES, all_bytes: int = MAX_BYTES
    ) -> None:
        """Prepare.

        Args:
            in_memory_bytes: Bound for the bytes of all bodies in memory.
            all_bytes: Bound for the bytes of all bodies, in memory and on the disk.
        """
        self._in_memory_limit, self._limit = in_memory_bytes, all_bytes
        self._in_memory_bytes = self._bytes = 0

    @asynccontextmanager
    async def receive(self, body: Source) -> AsyncIterator[Iterator[bytes]]:
        """Receive a whole body; provide its pieces.

        Raises:
            Rejected: The body is too large, or all bodies together are.
        """
        pieces: list[bytearray] = []
        pending = bytearray()  # of the file
        file: IO[bytes] | None = None
        total = in_memory = 0
        with ExitStack() as opened:
            try:
                while not body.finished:
                    piece = await body.next()
                    total += len(piece)
                    self._bytes += len(piece)
                    self._check(total)
                    if file is None and self._has_room(in_memory, len(piece)):
                        in_memory += len(piece)
                        self._in_memory_bytes += len(piece)
                        _append(pieces, piece)
                        continue
                    if file is None:
                        file = opened.enter_context(tempfile.TemporaryFile())
                    pending += piece
                    if len(pending) >= PIECE_BYTES or body.finished:
                        await asyncio.to_thread(file.write, bytes(pending))
                        pending.clear()
                if file is not None:
                    file.seek(0)
                yield _pieces(pieces, file)
            finally:
                self._bytes -= total
                self._in_memory_bytes -= in_memory

    def _has_room(self, in_memory: int, more: int) -> bool:
        return (
            in_memory + more <= MAX_BODY_IN_MEMORY_BYTES
            and self._in_memory_bytes + more <= self._in_memory_limit
        )

    def _check(self, total: int) -> None:
        if total > MAX_BODY_BYTES:
            raise Rejected(
                protocol.QUERY_IS_TOO_LARGE,
                "QUERY_IS_TOO_LARGE",
                f"The body has more than {MAX_BODY_BYTES} bytes: send it in parts",
            )
        if self._bytes > self._limit:
            raise Rejected(
                protocol.CANNOT_SCHEDULE_TASK,
                "CANNOT_SCHEDULE_TASK",
                f"The bodies of all requests have more than {self._limit} bytes: try again later",
            )


def _append(pieces: list[bytearray], piece: bytes) -> None:
    # A client may send a byte at a time, and an object of its own for each would need far more.
    if pieces and len(pieces[-1]) < PIECE_BYTES:
        pieces[-1] += piece
    else:
        pieces.append(bytearray(piece))


def _pieces(pieces: list[bytearray], file: IO[bytes] | None) -> Iterator[bytes]:
    yield from map(bytes, pieces)
    while file is not None and (piece := file.read(PIECE_BYTES)):
        yield piece
