"""Answers to fetches that are longer than clients take."""

import asyncio
import struct

import pytest

from hostile_requests import batch
from radar.local import fetch_answers
from radar.local.fetch_answers import shortened

VERSIONS = [4, 5, 7, 10, 11, 12, 13]


def length_of(size: int, width: int, version: int) -> bytes:
    if version < 12:
        return size.to_bytes(width, "big", signed=True)
    size, found = size + 1, bytearray()
    while size > 0x7F:
        found.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*found, size])


def answer(version: int, partitions: list[bytes | None]) -> bytes:
    """Return the answer about one topic, without its length."""
    tags = b"\0" if version >= 12 else b""
    name = bytes(range(16)) if version >= 13 else length_of(2, 2, version) + b"tt"
    out = b"\0\0\0\7" + tags + b"\0" * (4 if version < 7 else 10)
    out += length_of(1, 4, version) + name + length_of(len(partitions), 4, version)
    for number, records in enumerate(partitions):
        out += struct.pack(">ihqq", number, 0, 99, 99) + (b"\0" * 8 if version >= 5 else b"")
        aborted = [struct.pack(">qq", 1, 2) + tags] if number % 2 else []
        out += length_of(len(aborted) or -1, 4, version) + b"".join(aborted)
        out += b"\xff" * 4 if version >= 11 else b""
        out += length_of(-1 if records is None else len(records), 4, version) + (records or b"")
        out += b"\1\0\3abc" if version >= 12 else b""
    return out + tags + tags


def shorten(data: bytes, version: int, length: int | None = None) -> bytes:
    async def run() -> bytes:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return await shortened(reader, len(data) if length is None else length, version)

    found = asyncio.run(run())
    assert int.from_bytes(found[:4], "big") == len(found) - 4
    return found[4:]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_answers, "PARTITION_BYTES", 1000)
    monkeypatch.setattr(fetch_answers, "TOTAL_BYTES", 2500)


@pytest.mark.parametrize("version", VERSIONS)
def test_shortened_leaves_a_short_answer_as_it_is(version: int) -> None:
    whole = answer(version, [None, b"", batch(b"x" * 100), batch() + batch(b"y" * 300)])
    assert shorten(whole, version) == whole


@pytest.mark.parametrize("version", VERSIONS)
def test_shortened_keeps_whole_batches_from_the_beginning(version: int) -> None:
    each = batch(b"x" * 239)  # 300 bytes
    whole = answer(version, [each * 10, None, each * 2, each * 10, each * 10, each])
    wanted = answer(version, [each * 3, None, each * 2, each * 3, each, b""])
    assert shorten(whole, version) == wanted


@pytest.mark.parametrize("version", VERSIONS)
def test_shortened_never_cuts_the_first_batch(version: int) -> None:
    large = batch(b"x" * 5000)
    assert shorten(answer(version, [large * 3]), version) == answer(version, [large])


@pytest.mark.parametrize("version", VERSIONS)
def test_shortened_refuses_what_is_no_answer(version: int) -> None:
    whole = answer(version, [batch(b"x" * 5000)])
    with pytest.raises(asyncio.IncompleteReadError):
        shorten(whole[:-900], version, len(whole))
    with pytest.raises(ConnectionError):
        shorten(whole, version, len(whole) - 900)
    with pytest.raises(ConnectionError):
        shorten(answer(version, [batch(length=2**31 - 1)]), version)
