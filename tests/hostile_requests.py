"""Kafka requests made from the layouts that the fetch proxy knows: valid ones, and broken ones."""

import random
import struct
from collections.abc import Sequence

from radar.local.kafka_requests import (
    BYTES,
    INT32,
    MAX_PARTITIONS,
    PARTITION_COUNT,
    RECORDS,
    REQUESTS,
    STRING,
    TRANSACTIONAL_ID,
    UUID,
    Array,
    Field,
    Type,
)

INTEGERS = [0, 1, 2, 3, 7, 127, 128, 255, 1000, 2**15 - 1, 2**31 - 1, 2**63 - 1, -1, -2, -1000]
NAMES = [b"radar_trades", b"group", b"", b"retention.ms", b"max.message.bytes", b"x", b"\xff\xfe"]
ATTRIBUTES = [0, 1, 2, 3, 4, 8, 12]  # of a record batch: codec and timestamp type
TOPIC, GROUP = b"radar_trades", b"group"


def batch(records: bytes = b"", count: int = 1, attributes: int = 0, **changed: int) -> bytes:
    """Return a record batch of version 2 with any header."""
    header = {
        "base": 0, "length": 49 + len(records), "epoch": 0, "magic": 2, "crc": 0,
        "attributes": attributes, "last": count - 1, "first_ms": 0, "max_ms": 0,
        "producer": -1, "producer_epoch": -1, "sequence": -1, "count": count,
    } | changed  # fmt: skip
    return struct.pack(">qiibIhiqqqhii", *header.values()) + records


def with_checksum(records: bytes) -> bytes:
    """Return a record batch with its CRC-32C, without which a broker refuses it."""
    crc = 0xFFFFFFFF
    for byte in records[21:]:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return records[:17] + struct.pack(">I", crc ^ 0xFFFFFFFF) + records[21:]


def frame(api_key: int, version: int, body: bytes) -> bytes:
    """Return a request without a client's ID."""
    return struct.pack(">ihhih", 10 + len(body), api_key, version, 7, -1) + body


def produce(
    records: bytes,
    acks: int = -1,
    transactional_id: bytes = b"\xff\xff",
    topic: bytes = b"tt",
    partition: int = 0,
) -> bytes:
    """Return a request with record batches of one partition."""
    topics = struct.pack(">ih", 1, len(topic)) + topic + struct.pack(">ii", 1, partition)
    body = transactional_id + struct.pack(">hi", acks, 1000) + topics
    return frame(0, 7, body + struct.pack(">i", len(records)) + records)


class Requests:
    """Makes requests; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def valid(self, api_key: int, version: int) -> bytes:
        """Return a request that can be read whole, with any values."""
        request = REQUESTS[api_key]
        compact = version >= request.flexible
        body = self._fields(request.fields, version, compact=compact)
        header = struct.pack(">hhi", api_key, version, self.random.getrandbits(31))
        header += struct.pack(">h", 1) + b"c" + (b"\0" if compact else b"")
        return struct.pack(">i", len(header) + len(body)) + header + body

    def any_valid(self) -> bytes:
        """Return a request of any API and version."""
        api_key = self.random.choice(list(REQUESTS))
        return self.valid(api_key, self.random.randint(*REQUESTS[api_key].versions))

    def broken(self) -> bytes:
        """Return a request that was changed, in one to four places."""
        data = bytearray(self.any_valid())
        for _ in range(self.random.randint(1, 4)):
            at = self.random.randrange(8, len(data))
            match self.random.randrange(4):
                case 0:
                    data[at] = self.random.choice([0, 1, 0x7F, 0x80, 0xFF])
                case 1:
                    data[at : at + 4] = self.random.choice([b"\x7f\xff\xff\xff", b"\xff" * 4])
                case 2:
                    del data[at : at + self.random.randrange(1, 9)]
                case _:
                    data[at:at] = self.random.randbytes(self.random.randrange(1, 9))
            if len(data) <= 9:
                break
        data[:4] = struct.pack(">i", len(data) - 4)
        return bytes(data)

    def noise(self) -> bytes:
        """Return random bytes behind a header that is known."""
        api_key = self.random.choice(list(REQUESTS))
        version = self.random.randint(*REQUESTS[api_key].versions)
        filler = self.random.choice([b"\xff", b"\x7f", b"\x80", b"\0", b""])
        size = self.random.randrange(2, 200)
        body = filler * size if filler else self.random.randbytes(size)
        return struct.pack(">ihhi", 8 + len(body), api_key, version, 1) + body

    def _fields(self, fields: Sequence[Field], version: int, *, compact: bool) -> bytes:
        parts = [
            self._value(each.type, version, compact=compact)
            for each in fields
            if each.since <= version <= each.until
        ]
        return b"".join(parts) + (b"\0" if compact else b"")

    def _value(self, dataset: Type | Array, version: int, *, compact: bool) -> bytes:
        choice = self.random.choice
        if isinstance(dataset, Array):
            count = choice([-1, 0, 1, 1, 1, 2, 5])
            items = [
                self._value(dataset.of, version, compact=compact)
                if isinstance(dataset.of, Type)
                else self._fields(dataset.of, version, compact=compact)
                for _ in range(count)
            ]
            return _length(count, 4, compact=compact) + b"".join(items)
        if dataset in (STRING, Type.TOPIC):
            return self._bytes(choice([None, *NAMES, TOPIC, TOPIC, GROUP]), 2, compact=compact)
        if dataset is TRANSACTIONAL_ID:
            return _length(-1, 2, compact=compact)
        if dataset is BYTES:
            return self._bytes(choice([None, b"", self.random.randbytes(20)]), 4, compact=compact)
        if dataset is RECORDS:
            return self._bytes(self._records(), 4, compact=compact)
        if dataset is PARTITION_COUNT:
            return struct.pack(">i", choice([-1, 0, 1, 3, MAX_PARTITIONS // 100]))
        if dataset is UUID:
            return choice([bytes(16), self.random.randbytes(16)])
        size = INT32.value if dataset is Type.PARTITION else dataset.value
        value = choice(INTEGERS) & ((1 << 8 * size) - 1)
        return value.to_bytes(size, "big")

    def _records(self) -> bytes | None:
        choice = self.random.choice
        return choice([
            None,
            b"",
            batch(),
            batch(self.random.randbytes(30), choice([1, 2, 1000, 2**31 - 1]), choice(ATTRIBUTES)),
            batch(b"\xff" * 30, producer=choice(INTEGERS[:10]), sequence=choice([0, 5, 2**31 - 1])),
            batch(b"\0" * 9, base=choice([2**62, -1, 5]), first_ms=2**62, max_ms=-(2**62)),
            batch(b"\x12\0\0\0\x01\x02a\0") + batch(self.random.randbytes(9), epoch=-5),
        ])  # fmt: skip

    def _bytes(self, value: bytes | None, size: int, *, compact: bool) -> bytes:
        return _length(-1 if value is None else len(value), size, compact=compact) + (value or b"")


def _length(count: int, size: int, *, compact: bool) -> bytes:
    if not compact:
        return count.to_bytes(size, "big", signed=True)
    count, found = count + 1, bytearray()
    while count > 0x7F:
        found.append(count & 0x7F | 0x80)
        count >>= 7
    return bytes([*found, count])
