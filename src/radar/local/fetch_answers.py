"""Shortens answers to fetches, because the embedded broker ignores the limits of a fetch.

It answers with all messages of a partition from the fetched offset on. A client closes the
connection at an answer of more than 100 MB and fetches again. So a partition with a longer backlog
would never be read. Kafka may always answer with fewer batches, and so does this module.

Layouts: "Kafka protocol guide: Fetch Response", versions 4 to 13.
"""

import asyncio

MEBIBYTE = 1024 * 1024
# Shorter answers are passed on unread: clients accept them, and after a shortened answer the broker
# has to send the rest once more.
LONG_BYTES = 64 * MEBIBYTE
# Of one partition and of all; the first batch of a partition is never cut.
PARTITION_BYTES = 16 * MEBIBYTE
TOTAL_BYTES = 48 * MEBIBYTE
# Of one batch: the most that a producer may send.
MAX_BATCH_BYTES = 33 * MEBIBYTE
_CHUNK_BYTES = 65_536
_PREFIX_BYTES = 12  # base offset and length of a batch
_FLEXIBLE, _TOPIC_IDS = 12, 13


async def shortened(reader: asyncio.StreamReader, length: int, version: int) -> bytes:
    """Read an answer and return it with fewer batches; memory is bounded.

    Args:
        reader: The broker's stream, behind the four bytes of the length.
        length: The answer's bytes.
        version: The version of the request.

    Raises:
        ConnectionError: It is no answer of this version.
        asyncio.IncompleteReadError: The broker has closed the connection.
    """
    answer = _Answer(reader, length, compact=version >= _FLEXIBLE)
    await answer.copy(4)  # correlation ID
    await answer.tags()
    await answer.copy(4 if version < 7 else 10)
    for _ in range(await answer.count()):
        if version >= _TOPIC_IDS:
            await answer.copy(16)
        else:
            await answer.string()
        for _ in range(await answer.count()):
            await answer.copy(22 if version < 5 else 30)
            for _ in range(await answer.count()):
                await answer.copy(16)
                await answer.tags()
            if version >= 11:
                await answer.copy(4)
            await answer.records()
            await answer.tags()
        await answer.tags()
    await answer.tags()
    return len(answer.out).to_bytes(4, "big") + answer.out


class _Answer:
    """An answer that is read field by field, and the shortened copy."""

    def __init__(self, reader: asyncio.StreamReader, length: int, *, compact: bool) -> None:
        self.out = bytearray()
        self._reader = reader
        self._left = length
        self._compact = compact
        self._records_bytes = 0

    async def copy(self, size: int) -> bytes:
        """Copy some bytes and return them."""
        data = await self._take(size)
        self.out += data
        return data

    async def count(self) -> int:
        """Copy the length of an array; a missing array has zero items."""
        if self._compact:
            return max(0, await self._uvarint(passes_on=True) - 1)
        return max(0, int.from_bytes(await self.copy(4), "big", signed=True))

    async def string(self) -> None:
        """Copy a string."""
        if self._compact:
            size = await self._uvarint(passes_on=True) - 1
        else:
            size = int.from_bytes(await self.copy(2), "big", signed=True)
        await self.copy(max(0, size))

    async def tags(self) -> None:
        """Copy tagged fields, if there are any."""
        if not self._compact:
            return
        for _ in range(await self._uvarint(passes_on=True)):
            await self._uvarint(passes_on=True)
            await self.copy(await self._uvarint(passes_on=True))

    async def records(self) -> None:
        """Copy whole batches while there is room."""
        if self._compact:
            size = await self._uvarint(passes_on=False) - 1
        else:
            size = int.from_bytes(await self._take(4), "big", signed=True)
        if size <= 0:
            self._write_length(size)
            return
        room = min(PARTITION_BYTES, TOTAL_BYTES - self._records_bytes)
        kept = await self._batches(size, room) if room > 0 else b""
        if room <= 0:
            await self._drop(size)
        self._write_length(len(kept))
        self.out += kept
        self._records_bytes += len(kept)

    async def _batches(self, size: int, room: int) -> bytes:
        data = await self._take(min(size, room))
        end = 0
        while end + _PREFIX_BYTES <= len(data):
            batch = _PREFIX_BYTES + int.from_bytes(data[end + 8 : end + 12], "big")
            if batch > MAX_BATCH_BYTES:
                raise ConnectionError(f"not a Kafka answer: a batch of {batch:,} bytes")
            if end + batch > len(data):
                break
            end += batch
        if not end and len(data) >= _PREFIX_BYTES:
            end = min(size, batch)
            data += await self._take(end - len(data))
        await self._drop(size - len(data))
        return data[:end]

    def _write_length(self, size: int) -> None:
        if not self._compact:
            self.out += size.to_bytes(4, "big", signed=True)
            return
        size += 1
        while size > 0x7F:
            self.out.append(size & 0x7F | 0x80)
            size >>= 7
        self.out.append(size)

    async def _uvarint(self, *, passes_on: bool) -> int:
        value = shift = 0
        while shift < 35:
            byte = (await self._take(1))[0]
            if passes_on:
                self.out.append(byte)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise ConnectionError("not a Kafka answer: a length without an end")

    async def _take(self, size: int) -> bytes:
        if size > self._left:
            raise ConnectionError(f"not a Kafka answer: {size:,} bytes of {self._left:,}")
        self._left -= size
        return await self._reader.readexactly(size)

    async def _drop(self, size: int) -> None:
        while size > 0:
            size -= len(await self._take(min(size, _CHUNK_BYTES)))
