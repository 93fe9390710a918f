"""Where the pipeline is stuck or slowest: one place, in words of one line. Pure."""

from collections.abc import Iterable, Iterator

from radar.observe.overview import (
    Bottleneck,
    Overview,
    PartitionState,
    ProducerState,
    SkippedOffsets,
    WorkerState,
)

# Below this a backlog is what a block is made of.
FEW_MESSAGES = 500
# Messages that would take longer than this at the rate at which they come are a backlog.
BACKLOG_S = 20.0
# Of a window, in which a producer may stand still for Kafka.
BACKPRESSURE_SHARE = 0.02
# One insert takes milliseconds; from here on it is what a worker waits for.
SLOW_INSERT_S = 1.0
IS_STARTING = "is starting"
# What a process says while it begins or ends.
_PASSING = (
    *(IS_STARTING, "is stopping", "is stopped", "waits to be told", "not opened yet"),
    *("has not told its markets yet", "not confirmed the topics yet"),
)


def find(overview: Overview) -> list[Bottleneck]:
    """Return the places where the pipeline is stuck, the one to look at first before the others.

    What passes by itself comes last. Before that it is the order of causes: Kafka, without which
    nothing works, then the way in, where data is lost meanwhile, then the way out.
    """
    found = [
        *_kafka(overview),
        *_exchange(overview),
        *_producers(overview),
        *_clickhouse(overview),
        *(stuck_workers := list(_workers(overview))),
        *_backlogs(overview, {each.kind for each in stuck_workers}),
        *_delivery_gaps(overview),
    ]
    return sorted(found, key=lambda each: each.passes)


def _kafka(overview: Overview) -> Iterator[Bottleneck]:
    if overview.kafka_error:
        yield Bottleneck(
            "partitions",
            "",
            "Kafka does not answer: nothing can be published or stored until it does;"
            f" producers keep what comes until their buffers are full. {overview.kafka_error}",
            subject="kafka",
        )


def _clickhouse(overview: Overview) -> Iterator[Bottleneck]:
    waiting = sum(flow.lag or 0 for flow in overview.flows)
    if overview.clickhouse_error:
        yield Bottleneck(
            "tables",
            "",
            f"ClickHouse does not answer: nothing is stored, {_messages(waiting)} safe in"
            f" Kafka. {overview.clickhouse_error}",
            subject="clickhouse",
        )


def _exchange(overview: Overview) -> Iterator[Bottleneck]:
    for process in overview.processes:
        if process.name == "exchange" and process.state not in ("running", ""):
            yield Bottleneck(
                "exchange",
                "",
                f"the simulated exchange is {process.state}: nothing comes",
                subject=process.name,
            )


def _producers(overview: Overview) -> Iterator[Bottleneck]:
    for producer in overview.producers:
        name, kind = producer.name, producer.kind
        if not producer.alive:
            yield Bottleneck(
                "connections",
                kind,
                f"{name} does not work: no {kind} are received. {_why(producer)}",
                subject=name,
            )
        elif not producer.ready:
            yield _unready_producer(producer, overview)
        elif producer.backpressure_share > BACKPRESSURE_SHARE:
            yield Bottleneck(
                "partitions",
                kind,
                f"Kafka takes {kind} too slowly: {name} stops reading the exchange"
                f" {producer.backpressure_share:.0%} of the time, {producer.queue:,} wait in it",
                subject=name,
            )


def _unready_producer(producer: ProducerState, overview: Overview) -> Bottleneck:
    name, kind, why = producer.name, producer.kind, _why(producer)
    passes = any(words in why for words in _PASSING)
    if "Kafka" in why:
        return Bottleneck(
            "partitions",
            kind,
            f"{name} cannot publish, {producer.queue:,} messages wait in it. {why}",
            passes,
            name,
        )
    open_connections = sum(flow.connections for flow in overview.flows if flow.kind == kind)
    if not open_connections or "nothing has come" in why:
        text = f"the exchange sends no {kind}: what happens there meanwhile may be missed. {why}"
        return Bottleneck("exchange", kind, text, passes, name)
    return Bottleneck("connections", kind, f"{name} misses markets: {why}", passes, name)


def _workers(overview: Overview) -> Iterator[Bottleneck]:
    for worker in overview.workers:
        lag = _lag_of(worker, overview.partitions)
        name, kind, why = worker.name, worker.kind, _why(worker)
        waiting = f"{_messages(lag)} waiting in its partitions"
        if not worker.alive:
            passes = any(words in why for words in _PASSING)
            text = f"{name} does not work, {waiting}. {why}"
            yield Bottleneck("workers", kind, text, passes, name)
        elif worker.unreadable_partitions:
            at = next((each for each in worker.reasons if "stands at" in each), why)
            text = f"{name} cannot read on: {waiting}. {at}"
            yield Bottleneck("partitions", kind, text, subject=name)
        elif worker.halted_partitions:
            text = (
                f"{name} has halted {worker.halted_partitions} of its partitions, because too many"
                f" messages are bad (see: radar dlq list): {waiting}"
            )
            yield Bottleneck("workers", kind, text, subject=name)
        elif not worker.ready:
            passes = any(words in why for words in _PASSING)
            stage = "tables" if "ClickHouse" in why or "store a block" in why else "workers"
            text = f"{name} cannot store: {waiting}. {why}"
            yield Bottleneck(stage, kind, text, passes, name)  # type: ignore[arg-type]
        elif worker.flooding_markets:
            several = worker.flooding_markets > 1
            text = (
                f"{name} gets too many bad messages of {worker.flooding_markets}"
                f" market{'s' if several else ''}, which go to the dead letters (see: radar dlq"
                " list); the others are stored"
            )
            yield Bottleneck("workers", kind, text, subject=name)


def _backlogs(overview: Overview, explained: set[str]) -> Iterator[Bottleneck]:
    """Name what waits; not of kinds, or of a ClickHouse, of which it is known why."""
    if overview.clickhouse_error:
        return
    by_kind: dict[str, list[PartitionState]] = {}
    for partition in overview.partitions:
        if partition.kind not in explained and _is_backlog(partition):
            by_kind.setdefault(partition.kind, []).append(partition)
    # The largest first.
    for kind, stuck in sorted(by_kind.items(), key=lambda item: -_sum_lag(item[1])):
        yield _backlog(kind, stuck, overview)


def _delivery_gaps(overview: Overview) -> Iterator[Bottleneck]:
    """Name lost offsets that nobody has acknowledged; the newest of each topic."""
    by_topic: dict[str, list[SkippedOffsets]] = {}
    for gap in overview.delivery_gaps:
        if gap.is_open:
            by_topic.setdefault(gap.topic, []).append(gap)
    for topic, gaps in by_topic.items():
        newest = max(gaps, key=lambda gap: gap.recorded_at_s)
        kind = topic.removeprefix("radar_")
        lost = sum(gap.last - gap.first + 1 for gap in gaps)
        least = "" if all(gap.is_exact for gap in gaps) else "at least "
        yield Bottleneck(
            "tables",
            kind,
            f"{least}{lost:,} offsets of {topic} are lost ({newest.cause}: partition"
            f" {newest.partition}, offsets {newest.first} to {newest.last}): see radar verify;"
            f" restore them with radar restore {kind} {newest.partition}, or acknowledge them with"
            f" radar acknowledge {kind} {newest.partition} --reason TEXT",
        )


def _is_backlog(partition: PartitionState) -> bool:
    if not partition.lag or partition.stored_per_s is None:
        return False
    if not partition.stored_per_s and not partition.published_per_s:
        return True  # nothing comes and yet it does not get less
    coming = partition.published_per_s or 0.0
    return partition.lag > max(FEW_MESSAGES, BACKLOG_S * coming)


def _backlog(kind: str, stuck: list[PartitionState], overview: Overview) -> Bottleneck:
    lag = _sum_lag(stuck)
    where = _names(str(partition.partition) for partition in stuck)
    owners = sorted({partition.owner for partition in stuck if partition.owner})
    workers = [worker for worker in overview.workers if worker.name in owners]
    subject = owners[0] if len(owners) == 1 else ""
    begin = f"{lag:,} {kind} wait in partition{_s(stuck)} {where}"
    if not owners and not any(worker.kind == kind for worker in overview.workers):
        if sum(partition.lag_per_s or 0.0 for partition in stuck) < 0:
            return Bottleneck("workers", kind, f"{begin} and get fewer", passes=True)
        return Bottleneck("workers", kind, f"{begin} and do not get fewer; no worker is known")
    if not owners:
        text = f"{begin} and no worker owns {'it' if len(stuck) == 1 else 'them'}: start workers"
        return Bottleneck("workers", kind, f"{text} (radar consume {kind})")
    stored = sum(partition.stored_per_s or 0.0 for partition in stuck)
    shrinks = -sum(partition.lag_per_s or 0.0 for partition in stuck)
    if shrinks > 0 and stored:
        text = f"{begin}: {_names(owners)} catch{_es(owners)} up, {duration(lag / shrinks)} left"
        return Bottleneck("workers", kind, text, passes=True, subject=subject)
    if not stored:
        text = f"{begin} and {_names(owners)} store{_es(owners)[1:]} none of them"
        return Bottleneck("workers", kind, text, subject=subject)
    insert_s = max((worker.insert_s or 0.0 for worker in workers), default=0.0)
    if insert_s > SLOW_INSERT_S:
        text = f"ClickHouse is slow: one insert of {kind} takes {insert_s:.1f} s, {begin}"
        return Bottleneck("tables", kind, text)
    text = f"{begin}: {_names(owners)} store{_es(owners)[1:]} {stored:,.0f}/s, more comes"
    return Bottleneck("workers", kind, text, subject=subject)


def _lag_of(worker: WorkerState, partitions: Iterable[PartitionState]) -> int:
    # Whoever does not answer may own what nobody says to own.
    owners = (worker.name,) if worker.alive else (worker.name, None)
    return sum(
        partition.lag
        for partition in partitions
        if partition.owner in owners and partition.kind == worker.kind
    )


def _sum_lag(partitions: Iterable[PartitionState]) -> int:
    return sum(partition.lag for partition in partitions)


def _why(process: ProducerState | WorkerState) -> str:
    return process.reasons[0] if process.reasons else "it does not say why"


def _messages(count: int) -> str:
    return f"{count:,} message{'' if count == 1 else 's'} {'is' if count == 1 else 'are'}"


def _names(names: Iterable[str]) -> str:
    listed = list(names)
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"


def _s(several: list[PartitionState]) -> str:
    return "" if len(several) == 1 else "s"


def _es(names: list[str]) -> str:
    return "es" if len(names) == 1 else ""


def duration(seconds: float) -> str:
    """Write how long something takes or is ago, in at most six characters."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} d"
