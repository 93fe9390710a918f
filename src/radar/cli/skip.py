"""The command for batches that no client can read: `radar skip`."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from radar.cli.arguments import DatasetName, dataset_named, settings_for
from radar.cli.required_services import require
from radar.text import printable

if TYPE_CHECKING:
    from radar.datasets import Dataset
    from radar.kafka import Cluster, Lag, OffsetRange

PASSED_WITHIN_S = 20.0
ASK_EVERY_S = 0.5
MAX_EXPLANATION_CHARACTERS = 300


def skip(
    dataset: Annotated[DatasetName, typer.Argument(help="Dataset whose topic holds the batch.")],
    partition: Annotated[int, typer.Argument(min=0, help="The blocked partition.")],
    first: Annotated[
        int | None,
        typer.Argument(
            min=0, metavar="[FROM]", help="The blocked offset; default: the committed one."
        ),
    ] = None,
    last: Annotated[
        int | None,
        typer.Argument(
            min=0,
            metavar="[TO]",
            help="Last offset to skip; default: radar finds it. Needed only where Kafka sends"
            " neither a message nor an error.",
        ),
    ] = None,
    *,
    reason: Annotated[
        str, typer.Option("--reason", help="Why the offsets are abandoned; radar records it.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
) -> None:
    """Skip offsets that no client can read, and record them as a delivery gap.

    `radar status` names the partition and the offset. The command skips only unreadable offsets, up
    to the next readable one. The table delivery_gaps records them with the reason, and
    `radar verify` counts them as skipped. In a terminal the command asks first.

    Workers may run: the partition's owner passes the batch within seconds, or when it starts.
    """
    from radar.consumer.delivery_gaps import record
    from radar.kafka import Cluster
    from radar.store.client import Store

    settings = settings_for("skip")
    chosen = dataset_named(dataset)
    explanation = _explanation(reason)
    require(settings, kafka=True, clickhouse=True)
    cluster = Cluster(settings)
    lag = _lag(cluster, chosen, partition)
    if first is None:
        first = max(lag.start, lag.committed or 0)
    lost = _unreadable(cluster, chosen, lag, first, last)
    _check_last(lost, last)
    if sys.stdin.isatty() and not yes:
        typer.confirm(
            f"Skip offsets {lost.first} to {lost.last} ({lost.offsets:,}) of"
            f" {chosen.topic}[{partition}]? They cannot be read ({printable(lost.reason)}) and"
            " will never be rows.",
            abort=True,
        )
    store = Store(settings)
    try:
        record(store, chosen.topic, cluster.topic_id(chosen.topic), lost, explanation)
    finally:
        store.close()
    typer.echo(
        f"{chosen.topic}[{partition}]: offsets {lost.first} to {lost.last} ({lost.offsets:,}) are"
        " recorded in delivery_gaps as skipped"
    )
    if _is_passed(cluster, chosen, lost):
        typer.echo(f"the worker has passed them and goes on at offset {lost.last + 1}")
    else:
        typer.echo(
            "no worker has passed them yet: a worker does so when it starts and has stored the"
            f" messages before them (radar consume {chosen.name})"
        )


def _lag(cluster: "Cluster", dataset: "Dataset", partition: int) -> "Lag":
    from radar.errors import InvalidRequest

    lags = {lag.partition: lag for lag in cluster.lag(dataset.topic, dataset.group)}
    if partition not in lags:
        raise InvalidRequest(
            f"{dataset.topic} has no partition {partition}: `radar lag` lists the partitions"
        )
    return lags[partition]


def _explanation(reason: str) -> str:
    from radar.errors import InvalidRequest

    if not reason.strip():
        raise InvalidRequest("--reason is empty: say why the offsets are abandoned")
    return printable(reason.strip(), MAX_EXPLANATION_CHARACTERS)


def _unreadable(
    cluster: "Cluster", dataset: "Dataset", lag: "Lag", first: int, last: int | None
) -> "OffsetRange":
    from radar.errors import InvalidRequest, OffsetSilent
    from radar.kafka import OffsetRange

    place = f"{dataset.topic}[{lag.partition}]"
    if not lag.start <= first < lag.end:
        raise InvalidRequest(
            f"{place} holds offsets {lag.start} to {lag.end - 1}: give FROM as `radar status`"
            " names it"
        )
    try:
        lost = cluster.unreadable_range(dataset.topic, lag.partition, first, lag.end)
    except OffsetSilent as error:
        # Only the operator can know the end of the unreadable range.
        if last is None or not first <= last < lag.end:
            raise OffsetSilent(
                f"{error}; if Kafka is well, give TO, the last offset to skip"
                f" ({first} to {lag.end - 1})"
            ) from error
        return OffsetRange(lag.partition, first, last, "Kafka sends neither message nor error")
    if lost is None:
        raise InvalidRequest(
            f"offset {first} of {place} can be read and is not skipped: give FROM as"
            " `radar status` names it"
        )
    return lost


def _check_last(lost: "OffsetRange", last: int | None) -> None:
    from radar.errors import InvalidRequest

    if last not in (None, lost.last):
        raise InvalidRequest(
            f"the offsets from {lost.first} to {lost.last} cannot be read, and others can:"
            f" give {lost.last} as TO, or leave it out"
        )


def _is_passed(cluster: "Cluster", dataset: "Dataset", lost: "OffsetRange") -> bool:
    deadline_s = time.monotonic() + PASSED_WITHIN_S
    while True:
        if (_lag(cluster, dataset, lost.partition).committed or 0) > lost.last:
            return True
        if time.monotonic() > deadline_s:
            return False
        time.sleep(ASK_EVERY_S)
