"""Reading recorded frames from ClickHouse, whole and in their order."""

from base64 import b64decode
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from radar.datasets import Dataset
from radar.records import FrameKind
from radar.store.client import Store
from radar.store.queries import reparse as queries


class RecordedFrame(NamedTuple):
    """A frame as it was recorded; see the columns of the table `frames`."""

    producer: str
    connection: str
    place: int
    what: FrameKind
    fetch_symbol: str
    fetch_tag: int
    path: str
    received_at_ns: int
    monotonic_ns: int
    set_back_us: int
    content: bytes

    @property
    def received_at_us(self) -> int:
        """The time of receipt that the records of the frame carry, Unix time."""
        return self.received_at_ns // 1000


class Connection(NamedTuple):
    """A recorded connection.

    Attributes:
        name: Its random name.
        producer: The random name of its process.
        first_place: The place of its first frame that is left; 0: it is whole.
        began_us: When that frame arrived, Unix time.
    """

    name: str
    producer: str
    first_place: int
    began_us: int


def connections(
    store: Store, source: str, dataset: Dataset, begin_us: int, end_us: int
) -> list[Connection]:
    """Return the connections with frames of a period; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: The table is missing.
    """
    rows = store.rows(queries.CONNECTIONS, _parameters(source, dataset, begin_us, end_us))
    return [Connection(str(row[0]), str(row[1]), int(row[2]), int(row[3])) for row in rows]


def producers_began_us(
    store: Store, source: str, dataset: Dataset, producers: Iterable[str]
) -> dict[str, int]:
    """Return when the first recorded frame of each producer arrived, Unix time; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: The table is missing.
    """
    parameters = {"source": source, "kind": dataset.name, "producers": sorted(producers)}
    return {str(name): int(at_us) for name, at_us in store.rows(queries.PRODUCERS, parameters)}


def frames(
    store: Store,
    source: str,
    dataset: Dataset,
    producers: Iterable[str],
    begin_us: int,
    end_us: int,
) -> Iterator[RecordedFrame]:
    """Yield the whole frames of some producers and a time of receipt, in their order; blocks.

    A frame with a missing part is left out: its place stays empty.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: The table is missing.
    """
    parameters = _parameters(source, dataset, begin_us, end_us) | {"producers": sorted(producers)}
    parts: list[bytes] = []
    last: tuple[object, ...] = ()
    for row in store.rows(queries.FRAMES, parameters):
        producer, connection, place, part, count, what, symbol, tag, path, *times, text = row
        unix_ns, monotonic_ns, set_back_us = map(int, times)
        if (connection, place) != last:
            parts, last = [], (connection, place)
        if int(part) == len(parts):
            parts.append(b64decode(text))
        if len(parts) == int(count) == int(part) + 1:
            yield RecordedFrame(
                str(producer),
                str(connection),
                int(place),
                FrameKind(what),
                str(symbol),
                int(tag),
                str(path),
                unix_ns,
                monotonic_ns,
                set_back_us,
                b"".join(parts),
            )


def _parameters(source: str, dataset: Dataset, begin_us: int, end_us: int) -> dict[str, object]:
    return {"source": source, "kind": dataset.name, "begin": begin_us, "end": end_us}
