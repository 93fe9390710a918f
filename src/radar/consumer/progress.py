"""How far each partition is accounted for: tables `delivery_progress` and `restore_orders`."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from radar.store.client import Store
from radar.store.queries import worker as queries
from radar.store.uptime import ServerUptime


class Progress(NamedTuple):
    """How far one partition of one topic is accounted for.

    Attributes:
        next_offset: Every offset before it is a row, a dead letter, or inside a delivery gap.
        generation: Part of the names of insert blocks.
        orders_to_us: The newest order to store again that was taken, Unix time of ClickHouse.
        version: Rises with each record of the partition; 0 is none.
    """

    next_offset: int
    generation: int = 0
    orders_to_us: int = 0
    version: int = 0


UNRECORDED = Progress(0)


class Former(NamedTuple):
    """How far a topic of the same name and another ID was accounted for."""

    topic_id: str
    next_offset: int


class Order(NamedTuple):
    """An order to store some offsets again, both ends included."""

    partition: int
    first: int
    last: int
    ordered_at_us: int  # Unix time of ClickHouse


class Known(NamedTuple):
    """The database's records about the partitions of a topic, by partition."""

    progress: dict[int, Progress]
    former: dict[int, Former]


def read_progress(store: Store, topic: str, topic_id: str) -> Known:
    """Return how far the partitions of a topic are accounted for; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: ClickHouse refuses, because the table is missing.
    """
    # The server that answers may lag behind another one, and each has a record of its own then.
    rows = store.rows_anywhere(queries.progress, queries.PROGRESS, {"topic": topic})
    known = Known({}, {})
    for of_id, partition, *values in rows:
        if of_id == topic_id:
            found, before = Progress(*map(int, values)), known.progress.get(int(partition))
            if before is None or before.version <= found.version:
                known.progress[int(partition)] = found
        else:
            known.former[int(partition)] = Former(str(of_id), int(values[0]))
    return known


def write_progress(
    store: Store,
    topic: str,
    topic_id: str,
    found: Mapping[int, Progress],
    recorded_by: str,
    uptime: ServerUptime,
) -> None:
    """Record how far partitions are accounted for; blocks.

    A server that was restarted since `uptime` was asked takes no record. The next look finds an
    older record then, and the worker looks for its rows.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: ClickHouse refuses, because the table or the right to insert is missing.
    """
    if not found:
        return
    rows = (
        (partition, each.next_offset, each.generation, each.orders_to_us, each.version)
        for partition, each in found.items()
    )
    store.command(
        queries.insert_progress(rows),
        {
            "topic": topic,
            "topic_id": topic_id,
            "recorded_by": recorded_by,
            "least_s": uptime.least_s(),
            "server": uptime.server,
        },
    )


def read_orders(store: Store, topic: str, topic_id: str) -> list[Order]:
    """Return the orders to store offsets of a topic again, oldest first; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: ClickHouse refuses, because the table is missing.
    """
    rows = store.rows(
        queries.ORDERS,
        {"topic": topic, "topic_id": topic_id},
    )
    return [Order(*map(int, row)) for row in rows]


def pending(orders: Iterable[Order], partition: int, taken_to_us: int) -> list[Order]:
    """Return the orders of a partition that no worker has taken."""
    return [
        each for each in orders if each.partition == partition and each.ordered_at_us > taken_to_us
    ]


def write_order(store: Store, topic: str, topic_id: str, order: Order) -> None:
    """Order to store offsets again; ClickHouse's clock dates the order; blocks.

    Raises:
        StoreUnavailable: ClickHouse does not answer.
        QueryFailed: ClickHouse refuses, because the table or the right to insert is missing.
    """
    store.command(
        queries.INSERT_ORDER,
        {
            "topic": topic,
            "topic_id": topic_id,
            "partition": order.partition,
            "first": order.first,
            "last": order.last,
        },
    )
