"""Replay dead letters into rows, after their cause has been repaired; and purge them.

Replay decodes a dead letter with the workers' decoder. It inserts the row with the place in Kafka
of the original message, under a name that follows from message and place. The message does not go
through its topic again, so its place stays the same, and it cannot become a second dead letter.
Replay appends the marker after the insert. If the command is stopped in between, or another runs at
the same time, the next one inserts the same rows, and ClickHouse merges rows of equal keys.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from radar.consumer.batch import BLOCK_BYTES
from radar.consumer.chunk import decode_chunk, rows
from radar.consumer.dlq.publisher import MAX_KEY_BYTES, MAX_PAYLOAD_BYTES
from radar.consumer.dlq.reader import (
    EVERY_LETTER,
    DeadLetter,
    DeadLetterReader,
    DeadLetterState,
    Marker,
    Markers,
    Selection,
)
from radar.consumer.insert_request import InsertRequest, send_next
from radar.consumer.messages import Fingerprint, Messages
from radar.consumer.origin import SameOrigin
from radar.datasets import Dataset
from radar.errors import BlockTooLarge, InvalidMessage, StoreRejected
from radar.kafka import Cluster, StoredMessage
from radar.settings import Settings
from radar.store.client import Store
from radar.store.queries.worker import stored_offsets

BLOCK_LETTERS = 500


class StillBad(NamedTuple):
    """A dead letter that still cannot become a row."""

    letter: DeadLetter
    reason: InvalidMessage


class Replayed(NamedTuple):
    """The result of one block of dead letters."""

    stored: list[DeadLetter]
    still_bad: list[StillBad]


def replay(
    settings: Settings, dataset: Dataset, store: Store, selection: Selection = EVERY_LETTER
) -> Iterator[Replayed]:
    """Store the open dead letters of a dataset that can be rows now, block by block; blocks.

    It tries each dead letter that exists at the beginning once. Those that are still bad stay as
    they are.

    Raises:
        BrokerUnavailable: Kafka does not answer; replay again.
        StoreUnavailable: ClickHouse does not answer; replay again.
        ConfigurationError: Kafka and ClickHouse hold data of different origins.
    """
    markers, cluster = Markers(settings, dataset), Cluster(settings)
    SameOrigin(settings, cluster, store).check()
    for letters in _blocks(DeadLetterReader(cluster, dataset).open(selection)):
        refused = _refused(cluster, dataset, [each for each in letters if not each.is_cut])
        names = {each.letter.name for each in refused}
        result = _replay_block(dataset, store, [each for each in letters if each.name not in names])
        result.still_bad.extend(refused)
        markers.write(
            [
                Marker(letter.name, letter.identity, DeadLetterState.REPLAYED)
                for letter in result.stored
            ]
        )
        yield result


def purge(settings: Settings, dataset: Dataset) -> int:
    """Delete the present dead letters of a dataset, open or not, and foreign messages; blocks.

    A dead letter whose original Kafka still has, and which is no row, leaves a marker of a few
    bytes. Without the marker, the checks would report the original as lost.

    Returns:
        How many open dead letters there were.

    Raises:
        BrokerUnavailable: Kafka does not answer; purge again.
    """
    cluster = Cluster(settings)
    letters = DeadLetterReader(cluster, dataset)
    kept = {
        lag.partition: range(lag.start, lag.end)
        for lag in cluster.lag(dataset.topic, dataset.group)
    }
    markers, count = Markers(settings, dataset), 0

    def to_keep() -> Iterator[Marker]:
        nonlocal count
        yield from letters.markers()
        for letter in letters.open():
            count += 1
            yield Marker(letter.name, letter.identity, DeadLetterState.PURGED)

    # Every purge would write again a marker of an original that Kafka no longer has.
    for some in _some(each for each in to_keep() if each.offset in kept.get(each.partition, ())):
        markers.write(some)
    if ends := {partition: end for partition, end in letters.ends.items() if end > 0}:
        cluster.delete_records_before(dataset.dead_letter_topic, ends)
    return count


def _some(markers: Iterable[Marker]) -> Iterator[list[Marker]]:
    some: list[Marker] = []
    for marker in markers:
        some.append(marker)
        if len(some) == BLOCK_LETTERS:
            yield some
            some = []
    if some:
        yield some


def _blocks(letters: Iterable[DeadLetter]) -> Iterator[list[DeadLetter]]:
    """Collect dead letters of one partition of the original topic, in bounded memory."""
    blocks: defaultdict[int, dict[int, DeadLetter]] = defaultdict(dict)
    held_bytes = 0
    for letter in letters:
        # A recreated topic has the same offsets once more.
        if letter.offset in blocks[letter.partition]:
            yield list(blocks.pop(letter.partition).values())
        block = blocks[letter.partition]
        block[letter.offset] = letter
        held_bytes += len(letter.payload)
        if held_bytes >= BLOCK_BYTES:
            yield from (list(each.values()) for each in blocks.values())
            blocks.clear()
            held_bytes = 0
        elif len(block) >= BLOCK_LETTERS:
            yield list(blocks.pop(letter.partition).values())
    yield from (list(each.values()) for each in blocks.values())


def _refused(cluster: Cluster, dataset: Dataset, letters: Sequence[DeadLetter]) -> list[StillBad]:
    """Return the dead letters of one partition that differ from the messages at their places.

    Any client can write a dead letter. A row at a place without such a message would be invented,
    and would hide that the message of that place is lost. Where Kafka has deleted the original, the
    dead letter cannot be compared and is trusted. Blocks.
    """
    if not letters:
        return []
    partition = letters[0].partition
    lags = {lag.partition: lag for lag in cluster.lag(dataset.topic, dataset.group)}
    if (lag := lags.get(partition)) is None:
        reason = InvalidMessage("origin", f"{dataset.topic} has no partition {partition}")
        return [StillBad(letter, reason) for letter in letters]
    left = {letter.offset: letter for letter in letters if letter.offset >= lag.start}
    for message in cluster.messages_at(dataset.topic, partition, list(left)):
        if _is_of(left[message.offset()], message):
            del left[message.offset()]
    refused = []
    for letter in left.values():
        detail = f"{dataset.topic} has another message at this place"
        if letter.offset >= lag.end:
            detail = f"{dataset.topic} ends before this offset"
        refused.append(StillBad(letter, InvalidMessage("origin", detail)))
    return refused


def _is_of(letter: DeadLetter, message: StoredMessage) -> bool:
    value = message.value() or b""
    return (
        letter.payload == value[:MAX_PAYLOAD_BYTES]
        and letter.payload_bytes == len(value)
        and letter.key == (message.key() or b"")[:MAX_KEY_BYTES]
    )


def _replay_block(dataset: Dataset, store: Store, letters: Sequence[DeadLetter]) -> Replayed:
    """Store dead letters of one partition, each of another offset."""
    result = Replayed([], [])
    whole: dict[int, DeadLetter] = {}
    for letter in sorted(letters, key=lambda each: each.offset):
        if letter.is_cut:
            reason = InvalidMessage("cut", "the payload is not complete")
            result.still_bad.append(StillBad(letter, reason))
        else:
            whole[letter.offset] = letter
    if whole:
        keys: list[bytes | None] = [each.key for each in whole.values()]
        values: list[bytes | None] = [each.payload for each in whole.values()]
        chunk = decode_chunk(dataset, letters[0].partition, Messages(list(whole), keys, values))
        result.still_bad.extend(
            StillBad(whole[bad.offset], bad.reason) for bad in chunk.bad_messages
        )
        valid = Messages.joined([part.messages for part in chunk.parts])
        # A worker of another version may have made a row of a message that also has a dead letter.
        rows_already = _stored(dataset, store, letters[0].partition, valid.offsets)
        result.stored.extend(whole[offset] for offset in sorted(rows_already))
        valid = valid.where(lambda offset: offset not in rows_already)
        if len(valid):
            _store(dataset, store, valid, whole, result)
    return result


def _store(
    dataset: Dataset,
    store: Store,
    messages: Messages,
    letters: Mapping[int, DeadLetter],
    result: Replayed,
) -> None:
    """Insert messages of one partition; those that the server refuses stay dead letters."""
    partition = letters[messages.offsets[0]].partition

    def send(request: InsertRequest) -> None:
        try:
            store.insert(dataset.table, rows(request.parts), request.name)
            # A killed server may have noted the name without the rows, as for a worker.
            stored = _stored(dataset, store, partition, request.messages.offsets)
            if len(missing := request.messages.where(lambda offset: offset not in stored)):
                rest = request.only(dataset, partition, missing)
                store.insert(dataset.table, rows(rest.parts), rest.name)
        except BlockTooLarge as error:
            if len(request.messages) == 1:
                raise
            raise StoreRejected(str(error)) from error
        result.stored.extend(letters[offset] for offset in request.messages.offsets)

    def refused(request: InsertRequest, error: StoreRejected) -> None:
        letter = letters[request.messages.offsets[0]]
        result.still_bad.append(StillBad(letter, InvalidMessage("rejected", str(error))))

    name = f"{dataset.topic}:replay:{partition}:{Fingerprint.of(messages)}"
    requests = [InsertRequest(decode_chunk(dataset, partition, messages).parts, name)]
    while requests:
        send_next(requests, dataset, partition, send, refused)


def _stored(dataset: Dataset, store: Store, partition: int, offsets: Sequence[int]) -> set[int]:
    """Return which of some offsets are rows; very many other offsets may lie between them."""
    found = store.rows(
        stored_offsets(dataset.table),
        {"partition": partition, "offsets": list(offsets)},
    )
    return {int(offset) for (offset,) in found}
