"""Requests that the fetch proxy lets through to the embedded broker."""

import struct

import pytest

from hostile_requests import Requests, batch, frame, produce
from radar.local.kafka_requests import (
    FETCH,
    INT8,
    INT16,
    INT32,
    INT64,
    MAX_ITEMS,
    MAX_PARTITIONS,
    MAX_PLACES,
    MAX_PRODUCE_BYTES,
    MAX_REQUEST_BYTES,
    PRODUCE,
    REQUESTS,
    RequestRefused,
    check,
    check_length,
)

APIS = [
    pytest.param(api_key, version, id=f"{request.name}-{version}")
    for api_key, request in REQUESTS.items()
    for version in range(request.versions[0], request.versions[1] + 1)
]


@pytest.mark.parametrize(("api_key", "version"), APIS)
def test_check_lets_whole_requests_through(api_key: int, version: int) -> None:
    requests = Requests(api_key * 100 + version)
    for _ in range(20):
        check(requests.valid(api_key, version))


@pytest.mark.parametrize(("api_key", "version"), APIS)
def test_check_refuses_every_request_that_is_cut(api_key: int, version: int) -> None:
    requests = Requests(api_key * 100 + version)
    whole = max((requests.valid(api_key, version) for _ in range(5)), key=len)
    for size in range(10, len(whole) - 4):
        with pytest.raises(RequestRefused):
            check(struct.pack(">i", size) + whole[4 : 4 + size])


@pytest.mark.parametrize(("api_key", "version"), APIS)
def test_check_refuses_counts_that_do_not_fit(api_key: int, version: int) -> None:
    """A body of high bytes claims more than it holds, wherever an array or a string begins."""
    compact = version >= REQUESTS[api_key].flexible
    fields = [each.type for each in REQUESTS[api_key].fields if each.since <= version <= each.until]
    if not compact and all(each in (INT8, INT16, INT32, INT64) for each in fields):
        return  # nothing but numbers
    for filler in (b"\x7f", b"\xff") if compact else (b"\x7f",):  # ffff would be null
        with pytest.raises(RequestRefused):
            check(frame(api_key, version, (b"\0" if compact else b"") + filler * 60))


@pytest.mark.parametrize(
    "api_key", [-1, 17, 24, 25, 26, 27, 28, 29, 36, 65, 66, 68, 999, 8239, 0x5045]
)
def test_check_length_refuses_unknown_apis(api_key: int) -> None:
    with pytest.raises(RequestRefused, match="is not one that"):
        check_length(100, api_key)


@pytest.mark.parametrize("length", [-(2**31), -1, 0, 9, MAX_PRODUCE_BYTES + 1, 2**31 - 1])
def test_check_length_refuses_a_size_before_the_api_is_known(length: int) -> None:
    with pytest.raises(RequestRefused, match="bytes"):
        check_length(length)


def test_check_length_allows_only_producers_large_requests() -> None:
    check_length(MAX_PRODUCE_BYTES, PRODUCE)
    check_length(MAX_REQUEST_BYTES, FETCH)
    with pytest.raises(RequestRefused):
        check_length(MAX_REQUEST_BYTES + 1, FETCH)


@pytest.mark.parametrize("version", [0, 2, 10, 32767])
def test_check_refuses_versions_that_the_broker_does_not_have(version: int) -> None:
    with pytest.raises(RequestRefused, match="known are 3 to 9"):
        check(frame(PRODUCE, version, b"\0" * 50))


def test_check_refuses_tagged_fields() -> None:
    whole = struct.pack(">ihhih", 14, 18, 3, 7, -1)
    check(whole + b"\0" + b"\x01\x01\0")
    with pytest.raises(RequestRefused, match="tagged"):
        check(whole + b"\0" + b"\x01\x01\x01")
    with pytest.raises(RequestRefused, match="tagged"):
        check(whole + b"\x01" + b"\x01\x01\0")


@pytest.mark.parametrize(
    "records",
    [
        batch(b"x" * 30)[:60],
        batch(length=48),
        batch(length=2**31 - 1),
        batch(length=-1),
        batch(magic=1),
        batch(count=0),
        batch(count=2**31 - 1, last=0),
        batch(last=2**31 - 1),
        batch() + b"x",
        *(batch(attributes=attributes) for attributes in (5, 7, 0x10, 0x20, 0x30, 0x40, -0x8000)),
    ],
)
def test_check_refuses_broken_record_batches(records: bytes) -> None:
    check(produce(batch(b"x" * 30, count=2) + batch()))
    with pytest.raises(RequestRefused, match="record batch"):
        check(produce(records))


def test_check_refuses_so_many_items_that_it_would_take_long() -> None:
    """While a request is checked, no other request is passed on."""

    def fetch(topics: int, partitions: int) -> bytes:
        topic = struct.pack(">h2si", 2, b"tt", partitions) + bytes(16) * partitions
        body = struct.pack(">iiiibi", -1, 0, 0, 0, 0, topics) + topic * topics
        return frame(FETCH, 4, body)

    check(fetch(1, MAX_ITEMS - 1))
    check(fetch(100, MAX_ITEMS // 100 - 1))
    check(produce(batch() * (MAX_ITEMS - 2)))
    for refused in (
        fetch(1, MAX_ITEMS),
        fetch(100, MAX_ITEMS // 100),
        fetch(MAX_ITEMS + 1, 0),
        produce(batch() * (MAX_ITEMS - 1)),
    ):
        with pytest.raises(RequestRefused, match="20,000 items"):
            check(refused)


def test_check_refuses_transactional_ids() -> None:
    for version, null, named in ((1, b"\xff\xff", b"\0\1t"), (4, b"\0\0", b"\0\2t")):
        rest = struct.pack(">i", 1000) + (struct.pack(">qhb", -1, -1, 0) if version == 4 else b"")
        check(frame(22, version, null + rest))
        with pytest.raises(RequestRefused, match="transactional ID"):
            check(frame(22, version, named + rest))
    with pytest.raises(RequestRefused, match="transactional ID"):
        check(produce(batch(), transactional_id=b"\0\1t"))


@pytest.mark.parametrize("count", [MAX_PARTITIONS + 1, 2**31 - 1, -2])
def test_check_refuses_more_partitions_than_the_broker_can_hold(count: int) -> None:
    def create(partitions: int) -> bytes:
        topic = struct.pack(">h2sihii", 2, b"tt", partitions, 1, 0, 0)
        return frame(19, 2, struct.pack(">i", 1) + topic + struct.pack(">ib", 1000, 0))

    check(create(MAX_PARTITIONS))
    with pytest.raises(RequestRefused, match="partitions"):
        check(create(count))


def test_check_tells_whether_a_produce_request_is_answered() -> None:
    assert check(produce(batch())).is_answered
    assert check(produce(batch(), acks=1)).is_answered
    assert not check(produce(batch(), acks=0)).is_answered


def fetch(version: int, *topics: tuple[bytes, list[int]]) -> bytes:
    """Return a Fetch of version 4 (lengths of two bytes) or 12 (compact lengths)."""
    compact = version == 12
    body = b"\0" if compact else b""
    body += struct.pack(">iiiib", -1, 0, 0, 0, 0) + (bytes(8) if compact else b"")
    body += bytes([len(topics) + 1]) if compact else struct.pack(">i", len(topics))
    for name, partitions in topics:
        count = len(partitions)
        if compact:
            body += bytes([len(name) + 1]) + name + bytes([count + 1])
            body += b"".join(struct.pack(">i", each) + bytes(29) for each in partitions)
            body += b"\0"
        else:
            body += struct.pack(">h", len(name)) + name + struct.pack(">i", count)
            body += b"".join(struct.pack(">i", each) + bytes(12) for each in partitions)
    return frame(FETCH, version, body + (b"\1\1\0" if compact else b""))


def test_check_names_the_same_partitions_in_every_version() -> None:
    wanted = check(fetch(4, (b"trades", [0, 7]), (b"depth", [7]))).places
    assert wanted is not None
    assert len(wanted) == 3
    assert check(fetch(12, (b"trades", [7, 0]), (b"depth", [7]))).places == wanted
    assert check(fetch(12, (b"trades", [0, 7]), (b"depths", [7]))).places != wanted
    published = check(produce(batch())).places
    assert published == check(fetch(12, (b"tt", [0]))).places


def test_check_names_no_partitions_where_they_are_too_many() -> None:
    most = list(range(MAX_PLACES))
    assert len(check(fetch(4, (b"t", most))).places or ()) == MAX_PLACES
    assert check(fetch(4, (b"t", [*most, MAX_PLACES]))).places is None
    assert check(fetch(4)).places is None
