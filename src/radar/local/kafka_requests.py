"""Which requests the fetch proxy forwards to the embedded broker: pure.

The embedded broker allocates memory by the counts and lengths in a request, and a wrong one ends
it. So the proxy checks a whole request before it forwards it. The API and its version must be
known, and every count and length must fit into the frame. A request has MAX_ITEMS items at most, so
that its check takes little time. Of the records the proxy reads only the header of each batch. The
broker ignores bytes behind the last field, and librdkafka 2.16 sends some with Metadata.

Radar uses no transactions, and a transaction that nobody ends hides all later messages of its
partition from consumers that read committed messages only. So no part of one is forwarded: no
transactional ID, no transactional or control batch, and none of the transaction APIs.

The layouts are those of the Kafka protocol guide (https://kafka.apache.org/protocol). A field's
versions are written behind its type: `Field(STRING, 5)` exists since version 5,
`Field(INT64, 2, 4)` in versions 2 to 4.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import NamedTuple

MEBIBYTE = 1024 * 1024
# A producer's request holds a batch of at most 4 MiB; the others are some hundred bytes.
MAX_PRODUCE_BYTES = 32 * MEBIBYTE
MAX_REQUEST_BYTES = MEBIBYTE
# The broker allocates some memory for each partition that it creates.
MAX_PARTITIONS = 10_000
# Array items and record batches of one request: no other request is passed on during its check.
MAX_ITEMS = 20_000
# Partitions of one request that `check` returns; radar's clients name fewer.
MAX_PLACES = 64

PRODUCE, FETCH, METADATA, FIND_COORDINATOR, DESCRIBE_CLUSTER = 0, 1, 3, 10, 60
JOIN_GROUP, SYNC_GROUP = 11, 14

_FETCH_BY_ID = 13  # the first version that names topics by their IDs
_LATEST = 1_000
_MAX_UVARINT_BYTES = 5
_BATCH_HEADER_BYTES = 61
_BATCH_PREFIX_BYTES = 12  # base offset and length, which the length does not count
_MAGIC = 2
# The attributes of a batch: the codec, and whether the timestamps are those of the broker.
_CODEC_BITS, _TIMESTAMP_BIT = 0b0111, 0b1000
_LAST_CODEC = 4  # zstd
# Of a request: length, API key, version, correlation ID.
_HEADER_BYTES = 12
_LEAST_BYTES = 10  # a header without the client's ID


class RequestRefused(Exception):
    """A request that the embedded broker must not get: close the connection."""


class CheckedRequest(NamedTuple):
    """A request that the broker may get.

    Attributes:
        is_answered: Whether the broker will answer it; it does not answer a Produce without
            acknowledgement.
        places: The partitions of a Produce or Fetch, a text for each; None means any.
    """

    is_answered: bool
    places: frozenset[bytes] | None


class _Items:
    """How many items a request may still have, and the partitions that it has named."""

    __slots__ = ("left", "places", "topic")

    def __init__(self) -> None:
        self.left = MAX_ITEMS
        self.topic = b""
        self.places: set[bytes] = set()

    def take(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise RequestRefused(f"it has more than {MAX_ITEMS:,} items")


# Takes the data, the position and the end of the frame; returns the position of the next field.
_Step = Callable[[bytes, int, int, _Items], int]


class Type(Enum):
    """How a field is encoded, apart from arrays."""

    INT8 = 1
    INT16 = 2
    INT32 = 4
    INT64 = 8
    UUID = 16
    STRING = auto()
    TOPIC = auto()  # a name: a string
    PARTITION = auto()  # a number of the topic before: an INT32
    BYTES = auto()
    RECORDS = auto()
    PARTITION_COUNT = auto()
    TRANSACTIONAL_ID = auto()


INT8, INT16, INT32, INT64, UUID = Type.INT8, Type.INT16, Type.INT32, Type.INT64, Type.UUID
STRING, BYTES, RECORDS = Type.STRING, Type.BYTES, Type.RECORDS
TOPIC, PARTITION = Type.TOPIC, Type.PARTITION
PARTITION_COUNT, TRANSACTIONAL_ID = Type.PARTITION_COUNT, Type.TRANSACTIONAL_ID
BOOL = INT8


@dataclass(frozen=True)
class Array:
    """An array of one type, or of structures."""

    of: "Type | tuple[Field, ...]"


class Field(NamedTuple):
    """One field, and the versions that have it."""

    type: Type | Array
    since: int = 0
    until: int = _LATEST


class KafkaRequest(NamedTuple):
    """One API that the proxy forwards.

    Attributes:
        name: As the protocol guide calls it.
        versions: The first and the last known version.
        flexible: The first version with compact lengths and tagged fields.
        fields: The fields behind the header.
    """

    name: str
    versions: tuple[int, int]
    flexible: int
    fields: Sequence[Field]


def _array(*fields: Field, since: int = 0, until: int = _LATEST) -> Field:
    return Field(Array(fields), since, until)


def _list(of: Type, since: int = 0, until: int = _LATEST) -> Field:
    return Field(Array(of), since, until)


_STRING, _INT32, _INT64 = Field(STRING), Field(INT32), Field(INT64)

REQUESTS = {
    PRODUCE: KafkaRequest(
        "Produce", (3, 9), 9,
        (
            Field(TRANSACTIONAL_ID), Field(INT16), _INT32,
            _array(Field(TOPIC), _array(Field(PARTITION), Field(RECORDS))),
        ),
    ),
    FETCH: KafkaRequest(
        "Fetch", (4, 13), 12,
        (
            _INT32, _INT32, _INT32, _INT32, Field(INT8), Field(INT32, 7), Field(INT32, 7),
            _array(
                Field(TOPIC, 0, 12), Field(UUID, _FETCH_BY_ID),
                _array(
                    Field(PARTITION), Field(INT32, 9), _INT64, Field(INT32, 12), Field(INT64, 5),
                    _INT32,
                ),
            ),
            _array(Field(STRING, 0, 12), Field(UUID, 13), _list(INT32), since=7),
            Field(STRING, 11),
        ),
    ),
    2: KafkaRequest(
        "ListOffsets", (0, 8), 6,
        (
            _INT32, Field(INT8, 2),
            _array(_STRING, _array(_INT32, Field(INT32, 4), _INT64, Field(INT32, 0, 0))),
        ),
    ),
    METADATA: KafkaRequest(
        "Metadata", (0, 12), 9,
        (
            _array(Field(UUID, 10), _STRING), Field(BOOL, 4), Field(BOOL, 8, 10), Field(BOOL, 8),
        ),
    ),
    8: KafkaRequest(
        "OffsetCommit", (0, 8), 8,
        (
            _STRING, Field(INT32, 1), Field(STRING, 1), Field(STRING, 7), Field(INT64, 2, 4),
            _array(
                _STRING,
                _array(_INT32, _INT64, Field(INT32, 6), Field(INT64, 1, 1), _STRING),
            ),
        ),
    ),
    9: KafkaRequest(
        "OffsetFetch", (0, 8), 6,
        (
            Field(STRING, 0, 7), _array(_STRING, _list(INT32), until=7),
            _array(_STRING, _array(_STRING, _list(INT32)), since=8), Field(BOOL, 7),
        ),
    ),
    FIND_COORDINATOR: KafkaRequest(
        "FindCoordinator", (0, 4), 3, (Field(STRING, 0, 3), Field(INT8, 1), _list(STRING, 4)),
    ),
    JOIN_GROUP: KafkaRequest(
        "JoinGroup", (0, 7), 6,
        (
            _STRING, _INT32, Field(INT32, 1), _STRING, Field(STRING, 5), _STRING,
            _array(_STRING, Field(BYTES)),
        ),
    ),
    12: KafkaRequest("Heartbeat", (0, 4), 4, (_STRING, _INT32, _STRING, Field(STRING, 3))),
    13: KafkaRequest(
        "LeaveGroup", (0, 5), 4,
        (_STRING, Field(STRING, 0, 2), _array(_STRING, _STRING, Field(STRING, 5), since=3)),
    ),
    SYNC_GROUP: KafkaRequest(
        "SyncGroup", (0, 5), 4,
        (
            _STRING, _INT32, _STRING, Field(STRING, 3), Field(STRING, 5), Field(STRING, 5),
            _array(_STRING, Field(BYTES)),
        ),
    ),
    15: KafkaRequest("DescribeGroups", (0, 5), 5, (_list(STRING), Field(BOOL, 3))),
    16: KafkaRequest("ListGroups", (0, 4), 3, (_list(STRING, 4),)),
    18: KafkaRequest("ApiVersions", (0, 3), 3, (Field(STRING, 3), Field(STRING, 3))),
    19: KafkaRequest(
        "CreateTopics", (0, 7), 5,
        (
            _array(
                _STRING, Field(PARTITION_COUNT), Field(INT16),
                _array(_INT32, _list(INT32)), _array(_STRING, _STRING),
            ),
            _INT32, Field(BOOL, 1),
        ),
    ),
    20: KafkaRequest(
        "DeleteTopics", (0, 6), 4,
        (_list(STRING, 0, 5), _array(_STRING, Field(UUID), since=6), _INT32),
    ),
    21: KafkaRequest("DeleteRecords", (0, 2), 2, (_array(_STRING, _array(_INT32, _INT64)), _INT32)),
    22: KafkaRequest(
        "InitProducerId", (0, 4), 2,
        (Field(TRANSACTIONAL_ID), _INT32, Field(INT64, 3), Field(INT16, 3)),
    ),
    23: KafkaRequest(
        "OffsetForLeaderEpoch", (0, 4), 4,
        (Field(INT32, 3), _array(_STRING, _array(_INT32, Field(INT32, 2), _INT32))),
    ),
    32: KafkaRequest(
        "DescribeConfigs", (0, 4), 4,
        (_array(Field(INT8), _STRING, _list(STRING)), Field(BOOL, 1), Field(BOOL, 3)),
    ),
    33: KafkaRequest(
        "AlterConfigs", (0, 2), 2,
        (_array(Field(INT8), _STRING, _array(_STRING, _STRING)), Field(BOOL)),
    ),
    37: KafkaRequest(
        "CreatePartitions", (0, 3), 2,
        (
            _array(_STRING, Field(PARTITION_COUNT), _array(_list(INT32))), _INT32, Field(BOOL),
        ),
    ),
    42: KafkaRequest("DeleteGroups", (0, 2), 2, (_list(STRING),)),
    44: KafkaRequest(
        "IncrementalAlterConfigs", (0, 1), 1,
        (_array(Field(INT8), _STRING, _array(_STRING, Field(INT8), _STRING)), Field(BOOL)),
    ),
    47: KafkaRequest("OffsetDelete", (0, 0), _LATEST, (_STRING, _array(_STRING, _array(_INT32)))),
    DESCRIBE_CLUSTER: KafkaRequest("DescribeCluster", (0, 0), 0, (Field(BOOL),)),
}  # fmt: skip


def check_length(length: int, api_key: int = PRODUCE) -> None:
    """Check the size of a request before the rest of it is read.

    Args:
        length: Its bytes without the four of the length itself.
        api_key: Its API, as soon as that is read.

    Raises:
        RequestRefused: The API is not known, or the request is too short or too large.
    """
    if api_key not in REQUESTS:
        raise RequestRefused(f"API {api_key} is not one that radar's clients use")
    limit = MAX_PRODUCE_BYTES if api_key == PRODUCE else MAX_REQUEST_BYTES
    if not _LEAST_BYTES <= length <= limit:
        name = REQUESTS[api_key].name
        raise RequestRefused(f"{name} of {length:,} bytes, {_LEAST_BYTES} to {limit:,} are allowed")


def check(frame: bytes) -> CheckedRequest:
    """Check a request, with the four bytes of its length.

    Raises:
        RequestRefused: A count or length does not fit, or the version is not known.
    """
    api_key = int.from_bytes(frame[4:6], "big")
    version = int.from_bytes(frame[6:8], "big")
    check_length(len(frame) - 4, api_key)
    request = REQUESTS[api_key]
    first, last = request.versions
    if not first <= version <= last:
        raise RequestRefused(f"{request.name} version {version}, known are {first} to {last}")
    end, items = len(frame), _Items()
    try:
        at = _string(frame, _HEADER_BYTES, end)  # the client's ID
        if version >= request.flexible:
            at = _no_tags(frame, at, end)
        body = at
        _walk(api_key, version)(frame, at, end, items)
    except RequestRefused as error:
        raise RequestRefused(f"{request.name} version {version}: {error}") from None
    names_all = api_key != FETCH or version < _FETCH_BY_ID
    places = items.places if names_all and 0 < len(items.places) <= MAX_PLACES else None
    return CheckedRequest(
        is_answered=api_key != PRODUCE or _acknowledges(frame, body, version, end),
        places=None if places is None else frozenset(places),
    )


def group_of(frame: bytes) -> bytes:
    """Return the name of the group in a checked JoinGroup or SyncGroup, whose first field it is."""
    request, end = REQUESTS[frame[5]], len(frame)
    at = _string(frame, _HEADER_BYTES, end)
    if frame[7] < request.flexible:
        return frame[at + 2 : _string(frame, at, end)]
    at = _no_tags(frame, at, end)
    name, _ = _uvarint(frame, at, end)
    return frame[name : _compact_string(frame, at, end)]


def is_granted(api_key: int, version: int, answer: bytes) -> bool:
    """Return whether the answer to a JoinGroup or SyncGroup, with its length, has no error."""
    at = 8 + (version >= REQUESTS[api_key].flexible)  # length, correlation ID, no tags
    at += 4 * (version >= (2 if api_key == JOIN_GROUP else 1))  # throttle time
    return answer[at : at + 2] == b"\0\0"


def _acknowledges(frame: bytes, body: int, version: int, end: int) -> bool:
    at = (_compact_string if version >= REQUESTS[PRODUCE].flexible else _string)(frame, body, end)
    return frame[at : at + 2] != b"\0\0"


@cache
def _walk(api_key: int, version: int) -> _Step:
    request = REQUESTS[api_key]
    return _structure(request.fields, version, compact=version >= request.flexible)


def _structure(fields: Sequence[Field], version: int, *, compact: bool) -> _Step:
    """Return a function that skips some fields; those of fixed size are skipped at once."""
    steps: list[_Step] = []
    fixed = 0
    for field in fields:
        if not field.since <= version <= field.until:
            continue
        if isinstance(field.type, Type) and field.type.value <= Type.UUID.value:
            fixed += field.type.value
            continue
        if fixed:
            steps.append(_fixed(fixed))
            fixed = 0
        steps.append(_field(field.type, version, compact=compact))
    if compact:
        steps.append(_fixed_and_no_tags(fixed))
    elif fixed:
        steps.append(_fixed(fixed))
    if len(steps) == 1:
        return steps[0]

    def walk(data: bytes, at: int, end: int, items: _Items) -> int:
        for step in steps:
            at = step(data, at, end, items)
        return at

    return walk


def _field(type_: Type | Array, version: int, *, compact: bool) -> _Step:
    if isinstance(type_, Array):
        if isinstance(type_.of, Type):
            size = type_.of.value
            item = (
                _fixed(size) if size <= UUID.value else _field(type_.of, version, compact=compact)
            )
            return _items(item, compact=compact)
        return _items(_structure(type_.of, version, compact=compact), compact=compact)
    steps: dict[Type, tuple[_Step, _Step]] = {
        STRING: (_string, _compact_string),
        TOPIC: (_topic, _compact_topic),
        PARTITION: (_partition, _partition),
        BYTES: (_bytes, _compact_string),
        RECORDS: (_records(_bytes), _records(_compact_string)),
        PARTITION_COUNT: (_partition_count, _partition_count),
        TRANSACTIONAL_ID: (_null(b"\xff\xff"), _null(b"\0")),
    }
    return steps[type_][compact]


def _fixed(size: int) -> _Step:
    def step(_data: bytes, at: int, end: int, _items: object = None) -> int:
        at += size
        if at > end:
            raise RequestRefused("it ends within a number")
        return at

    return step


_INT32_STEP = _fixed(4)


def _fixed_and_no_tags(size: int) -> _Step:
    """Return a function that skips the end of most structures, in one step."""

    def step(data: bytes, at: int, end: int, _items: object = None) -> int:
        return _no_tags(data, at + size, end)

    return step


def _string(data: bytes, at: int, end: int, _items: object = None) -> int:
    size = int.from_bytes(data[at : at + 2], "big", signed=True)
    return _skip(at + 2, size, end)


def _topic(data: bytes, at: int, end: int, items: _Items) -> int:
    after = _string(data, at, end)
    items.topic = data[at + 2 : after]
    return after


def _compact_topic(data: bytes, at: int, end: int, items: _Items) -> int:
    name, _ = _uvarint(data, at, end)
    after = _compact_string(data, at, end)
    items.topic = data[name:after]
    return after


def _partition(data: bytes, at: int, end: int, items: _Items) -> int:
    after = _INT32_STEP(data, at, end, items)
    if len(items.places) <= MAX_PLACES:
        items.places.add(items.topic + data[at:after])
    return after


def _bytes(data: bytes, at: int, end: int, _items: object = None) -> int:
    size = int.from_bytes(data[at : at + 4], "big", signed=True)
    return _skip(at + 4, size, end)


def _compact_string(data: bytes, at: int, end: int, _items: object = None) -> int:
    at, size = _uvarint(data, at, end)
    return _skip(at, size - 1, end)


def _skip(at: int, size: int, end: int) -> int:
    """Skip the bytes of a length; -1 is null."""
    if size < -1 or at + max(size, 0) > end:
        raise RequestRefused(f"a length of {size:,} does not fit into it")
    return at + max(size, 0)


def _items(item: _Step, *, compact: bool) -> _Step:
    def step(data: bytes, at: int, end: int, items: _Items) -> int:
        if compact:
            at, count = _uvarint(data, at, end)
            count -= 1
        else:
            count = int.from_bytes(data[at : at + 4], "big", signed=True)
            at += 4
        # Each item takes a byte at least.
        if count < -1 or at + max(count, 0) > end:
            raise RequestRefused(f"an array of {count:,} does not fit into it")
        items.take(count)
        for _ in range(count):
            at = item(data, at, end, items)
        return at

    return step


def _no_tags(data: bytes, at: int, end: int, _items: object = None) -> int:
    # The broker trusts the layout of tagged fields that it knows, and ignores their declared sizes.
    # No client of radar sends any.
    if at >= end or data[at]:
        raise RequestRefused("tagged fields are not allowed")
    return at + 1


def _uvarint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    for position in range(at, min(end, at + _MAX_UVARINT_BYTES)):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return position + 1, value
        shift += 7
    raise RequestRefused("a length is not complete")


def _partition_count(data: bytes, at: int, end: int, _items: object = None) -> int:
    after = at + 4
    if after > end:
        raise RequestRefused("it ends within a number")
    count = int.from_bytes(data[at:after], "big", signed=True)
    if not -1 <= count <= MAX_PARTITIONS:
        raise RequestRefused(f"{count:,} partitions, at most {MAX_PARTITIONS:,} are allowed")
    return after


def _null(null: bytes) -> _Step:
    def step(data: bytes, at: int, _end: int, _items: object = None) -> int:
        after = at + len(null)
        if data[at:after] != null:
            raise RequestRefused("a transactional ID is not allowed")
        return after

    return step


def _records(pass_bytes: _Step) -> _Step:
    """Check the headers of record batches; the consumers check the content."""

    def step(data: bytes, at: int, end: int, items: _Items) -> int:
        after = pass_bytes(data, at, end, items)
        # The length's own bytes: four, or one to five.
        if pass_bytes is _compact_string:
            at, _ = _uvarint(data, at, end)
        else:
            at += 4
        while at < after:
            items.take(1)
            at = _batch(data, at, after)
        return after

    return step


def _batch(data: bytes, at: int, end: int) -> int:
    if end - at < _BATCH_HEADER_BYTES:
        raise RequestRefused("a record batch is not complete")
    length = int.from_bytes(data[at + 8 : at + 12], "big", signed=True)
    after = at + _BATCH_PREFIX_BYTES + length
    if length < _BATCH_HEADER_BYTES - _BATCH_PREFIX_BYTES or after > end:
        raise RequestRefused(f"a record batch of {length:,} bytes does not fit into it")
    if data[at + 16] != _MAGIC:
        raise RequestRefused(f"record batches of version {data[at + 16]} are not known")
    attributes = int.from_bytes(data[at + 21 : at + 23], "big")
    if attributes & ~(_CODEC_BITS | _TIMESTAMP_BIT) or attributes & _CODEC_BITS > _LAST_CODEC:
        raise RequestRefused(f"a record batch has the attributes {attributes:#x}")
    last = int.from_bytes(data[at + 23 : at + 27], "big", signed=True)
    count = int.from_bytes(data[at + 57 : at + 61], "big", signed=True)
    if count < 1 or last != count - 1:
        raise RequestRefused(f"a record batch of {count:,} records ends with number {last:,}")
    return after
