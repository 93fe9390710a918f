"""The commands for lost offsets: `radar restore` and `radar acknowledge`."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from radar.cli.arguments import DatasetName, dataset_named, settings_for
from radar.cli.required_services import require
from radar.text import printable

if TYPE_CHECKING:
    from radar.consumer.delivery_gaps import DeliveryGap
    from radar.consumer.progress import Order
    from radar.datasets import Dataset
    from radar.kafka import Lag
    from radar.store.client import Store

TAKEN_WITHIN_S = 20.0
ASK_EVERY_S = 0.5
MAX_EXPLANATION_CHARACTERS = 300
ALL = "all"


def restore(
    dataset: Annotated[DatasetName, typer.Argument(help="Dataset with missing rows.")],
    partition: Annotated[
        str, typer.Argument(metavar="PARTITION|all", help="Kafka partition, or all of them.")
    ],
    *,
    first: Annotated[
        int | None,
        typer.Option("--from", min=0, help="First offset; default: the oldest in Kafka."),
    ] = None,
    last: Annotated[
        int | None, typer.Option("--to", min=0, help="Last offset; default: the newest.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
) -> None:
    """Store messages again whose rows were deleted.

    Kafka must still hold the messages. Only missing rows are inserted, so you may repeat the
    command. In a terminal it asks first.

    Workers may run: each returns to the first offset within OFFSET_CHECK_SECONDS, or when it
    starts. The lag rises until the worker has read the range again.
    """
    from radar.consumer.progress import Order, write_order
    from radar.kafka import Cluster
    from radar.store.client import Store

    settings = settings_for("restore")
    require(settings, kafka=True, clickhouse=True)
    chosen = dataset_named(dataset)
    cluster = Cluster(settings)
    orders = _orders(chosen, cluster.lag(chosen.topic, chosen.group), partition, first, last)
    if sys.stdin.isatty() and not yes:
        total = sum(order.last - order.first + 1 for order in orders)
        typer.confirm(
            f"Read {total:,} offsets of {chosen.topic} again and insert the rows that are missing?",
            abort=True,
        )
    topic_id = cluster.topic_id(chosen.topic)
    store = Store(settings)
    try:
        for order in orders:
            write_order(store, chosen.topic, topic_id, Order(*order))
            typer.echo(
                f"{chosen.topic}[{order.partition}]: offsets {order.first} to {order.last}"
                f" ({order.last - order.first + 1:,}) will be stored again"
            )
        if _are_taken(store, chosen, topic_id, {order.partition for order in orders}):
            typer.echo("the workers read them again now; `radar lag` shows the progress")
        else:
            typer.echo(
                "no worker has begun yet: a worker begins when it starts and has stored its current"
                f" batch (radar consume {chosen.name})"
            )
    finally:
        store.close()


def _orders(
    dataset: "Dataset", lags: "list[Lag]", partition: str, first: int | None, last: int | None
) -> "list[Order]":
    from radar.consumer.progress import Order
    from radar.errors import InvalidRequest

    numbers = [str(lag.partition) for lag in lags]
    if partition != ALL and partition not in numbers:
        raise InvalidRequest(
            f"{dataset.topic} has no partition {printable(partition)}: give {ALL}, or one of"
            f" {', '.join(numbers) or 'none, because the topic does not exist'}"
        )
    if first is not None and last is not None and last < first:
        raise InvalidRequest(f"--to {last} is before --from {first}: give the first offset first")
    orders = []
    for lag in lags:
        if partition in (ALL, str(lag.partition)):
            start = max(lag.start, first or 0)
            end = min(lag.end - 1, lag.end - 1 if last is None else last)
            if start <= end:
                orders.append(Order(lag.partition, start, end, 0))
    if not orders:
        held = "; ".join(
            f"partition {lag.partition}: {_held(lag)}"
            for lag in lags
            if partition in (ALL, str(lag.partition))
        )
        raise InvalidRequest(f"{dataset.topic} holds no message of that range ({held})")
    return orders


def _held(lag: "Lag") -> str:
    return f"offsets {lag.start} to {lag.end - 1}" if lag.start < lag.end else "none"


def _are_taken(store: "Store", dataset: "Dataset", topic_id: str, partitions: set[int]) -> bool:
    from radar.consumer.progress import UNRECORDED, pending, read_orders, read_progress

    deadline_s = time.monotonic() + TAKEN_WITHIN_S
    while True:
        known = read_progress(store, dataset.topic, topic_id).progress
        orders = read_orders(store, dataset.topic, topic_id)
        if not any(
            pending(orders, each, known.get(each, UNRECORDED).orders_to_us) for each in partitions
        ):
            return True
        if time.monotonic() > deadline_s:
            return False
        time.sleep(ASK_EVERY_S)


def acknowledge(
    dataset: Annotated[DatasetName, typer.Argument(help="Dataset with lost offsets.")],
    partition: Annotated[
        str, typer.Argument(metavar="PARTITION|all", help="Kafka partition, or all of them.")
    ],
    *,
    reason: Annotated[
        str, typer.Option("--reason", help="Why the offsets are abandoned; radar records it.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
) -> None:
    """Acknowledge delivery gaps: offsets that are lost and can no longer be stored.

    `radar status` and `radar verify` name the open gaps. An acknowledged gap stays in the table
    delivery_gaps and no longer counts as a problem. If Kafka still holds the messages, try
    `radar restore` first. In a terminal the command asks first.
    """
    from radar.consumer.delivery_gaps import ACKNOWLEDGED, OPEN, recorded, write
    from radar.errors import InvalidRequest
    from radar.store.client import Store

    settings = settings_for("acknowledge")
    require(settings, kafka=True, clickhouse=True)
    chosen = dataset_named(dataset)
    if not reason.strip():
        raise InvalidRequest("--reason is empty: say why the offsets are abandoned")
    explanation = printable(reason.strip(), MAX_EXPLANATION_CHARACTERS)
    store = Store(settings)
    try:
        gaps = [
            gap
            for gap in recorded(store, chosen.topic)
            if gap.state == OPEN and partition in (ALL, str(gap.partition))
        ]
        for gap in gaps:
            typer.echo(f"{chosen.topic}[{gap.partition}]: {_words(gap)}")
        if not gaps:
            typer.echo(f"no delivery gap of {chosen.topic} is open")
            return
        if sys.stdin.isatty() and not yes:
            typer.confirm(f"Acknowledge {len(gaps)} delivery gaps?", abort=True)
        for gap in gaps:
            acknowledged = gap._replace(state=ACKNOWLEDGED, explanation=explanation)
            write(store, chosen.topic, acknowledged, "radar acknowledge")
        typer.echo(f"{len(gaps)} acknowledged")
    finally:
        store.close()


def _words(gap: "DeliveryGap") -> str:
    return f"offsets {gap.first} to {gap.last} ({gap.cause}: {printable(gap.reason)})"
