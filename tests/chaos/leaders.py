"""Moving partition leaders: the one request that the Kafka client library does not offer.

AlterPartitionReassignments, version 0, from Kafka's protocol guide: it gives each partition's
replicas in a new order. Electing the first of them, which the library offers, then moves the
leader without stopping anything.
"""

import contextlib
import socket
import struct
from collections.abc import Mapping, Sized
from typing import Any

from confluent_kafka import ElectionType, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

ALTER_PARTITION_REASSIGNMENTS = 45
TIMEOUT_S = 10


def move_leaders(admin: AdminClient, broker: str, topics: list[str]) -> int:
    """Let the next replica of every partition lead; return how many leaders changed. Blocks.

    Raises:
        OSError, KafkaException: The cluster is not well; try again.
    """
    before = _leaders(admin, topics)
    replicas = {
        position: found.replicas
        for position, found in _partitions(admin, topics).items()
        if len(found.replicas) > 1
    }
    rotated = {at: [*ids[1:], ids[0]] for at, ids in replicas.items()}
    if not rotated:
        return 0
    _reassign(broker, rotated)
    # A partition whose first replica leads already is reported as an error of its own.
    with contextlib.suppress(KafkaException):
        chosen = [TopicPartition(topic, partition) for topic, partition in rotated]
        admin.elect_leaders(ElectionType.PREFERRED, chosen).result(TIMEOUT_S)
    after = _leaders(admin, topics)
    return sum(before[position] != after[position] for position in before)


def _leaders(admin: AdminClient, topics: list[str]) -> dict[tuple[str, int], int]:
    return {position: found.leader for position, found in _partitions(admin, topics).items()}


def _partitions(admin: AdminClient, topics: list[str]) -> dict[tuple[str, int], Any]:
    found = admin.list_topics(timeout=TIMEOUT_S).topics
    return {
        (topic, number): partition
        for topic in topics
        for number, partition in found[topic].partitions.items()
    }


def _reassign(broker: str, replicas: Mapping[tuple[str, int], list[int]]) -> None:
    topics: dict[str, dict[int, list[int]]] = {}
    for (topic, partition), ids in replicas.items():
        topics.setdefault(topic, {})[partition] = ids
    body = struct.pack(">i", TIMEOUT_S * 1000) + _count(topics)
    for topic, partitions in topics.items():
        name = topic.encode()
        body += _count(name) + name + _count(partitions)
        for partition, ids in partitions.items():
            body += struct.pack(">i", partition) + _count(ids)
            body += b"".join(struct.pack(">i", each) for each in ids) + b"\0"
        body += b"\0"
    body += b"\0"
    header = struct.pack(">hhih", ALTER_PARTITION_REASSIGNMENTS, 0, 1, -1) + b"\0"
    host, _, port = broker.rpartition(":")
    with socket.create_connection((host, int(port)), TIMEOUT_S) as connection:
        connection.sendall(struct.pack(">i", len(header + body)) + header + body)
        (length,) = struct.unpack(">i", _exactly(connection, 4))
        answer = _exactly(connection, length)
    # Correlation id, tags, throttle time, then the error.
    (error,) = struct.unpack_from(">h", answer, 9)
    if error:
        raise OSError(f"Kafka refuses to reassign partitions: error {error}")


def _count(items: Sized) -> bytes:
    """Write a compact length: a varint of one more."""
    number, out = len(items) + 1, bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise OSError("Kafka closed the connection")
        data += piece
    return data
