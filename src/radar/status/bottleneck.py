"""The place where the pipeline is stuck or slowest, described on one line. Pure."""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from radar.status import judgement
from radar.status.judgement import BACKPRESSURE_SHARE, SLOW_INSERT_S
from radar.status.model import (
    Bottleneck,
    Overview,
    PartitionState,
    ProbeResult,
    ProcessState,
    ProducerState,
    Severity,
    SkippedOffsets,
    Stage,
    WorkerState,
)

# The stage and the name of each probe, and the facts that are unknown without its answer.
_EVIDENCE: dict[str, tuple[Stage, str, str]] = {
    "kafka": ("partitions", "Kafka", "how far the workers are"),
    "clickhouse": ("tables", "ClickHouse", "whether rows can be stored"),
    "tables": ("tables", "ClickHouse", "the tables' contents, and which offsets were skipped"),
    "markets": ("tables", "ClickHouse", "how old the markets' rows are, and which gaps there are"),
    "letters": ("partitions", "Kafka", "whether there are dead letters"),
}


def judged(overview: Overview) -> Overview:
    """Return the overview with every judgement: of single facts, of places, and of the whole."""
    marked = judgement.marked(overview)
    obstacles = find(marked)
    found = replace(marked, obstacles=obstacles, bottleneck=obstacles[0] if obstacles else None)
    return replace(found, verdict=judgement.verdict(found))


def find(overview: Overview) -> list[Bottleneck]:
    """Return the places where the pipeline is stuck; the operator looks at the first one first.

    Problems come first, then unknown facts, then warnings, and last conditions that pass by
    themselves. Within each of these, causes come before effects. Kafka is first, because no stage
    works without it. Then follows the way in, where a stop loses data, then the way out.
    """
    found = [
        *_disk(overview),
        *_kafka(overview),
        *_exchange(overview),
        *_producers(overview),
        *_clickhouse(overview),
        *_origins(overview),
        *(stuck_workers := list(_workers(overview))),
        *_backlogs(overview, {each.dataset for each in stuck_workers}),
        *_delivery_gaps(overview),
    ]
    found += _silent(overview, found)
    found += _other_processes(overview, {each.subject for each in found})
    found += [*_unknown(overview), *_dead_letters(overview), *_warnings(overview)]
    return sorted(found, key=lambda each: judgement.rank(each.severity))


def _disk(overview: Overview) -> Iterator[Bottleneck]:
    if overview.disk_error:
        yield Bottleneck(
            "tables",
            "",
            f"{overview.disk_error}: Kafka, ClickHouse and the logs cannot write; free space",
            subject="disk",
        )


def _unknown(overview: Overview) -> Iterator[Bottleneck]:
    """Name unknown facts: the process or server that knows them has not answered for too long."""
    silent = {"kafka": overview.kafka_error, "clickhouse": overview.clickhouse_error}
    for probe in overview.probes:
        stage, name, what = _EVIDENCE[probe.subject]
        if silent.get(name.lower()) or (probe.holds and not probe.error):
            continue  # named already, or known
        yield Bottleneck(
            stage,
            "",
            f"{what} is not known: {_why_not_known(probe, name)}",
            "passes" if probe.starting else "unknown",
        )


def _why_not_known(probe: ProbeResult, name: str) -> str:
    if probe.error:
        return probe.error
    if probe.age_s is None:
        return f"{name} has not answered yet"
    return f"{name} has not answered for {duration(probe.age_s)}"


def _silent(overview: Overview, found: list[Bottleneck]) -> Iterator[Bottleneck]:
    """Name datasets without records from the exchange, unless another obstacle explains it."""
    explained = {each.dataset for each in found if each.stage in ("exchange", "connections")}
    for flow in overview.flows:
        if flow.silent and not explained & {flow.dataset, ""}:
            since = flow.last_frame_age_s
            how_long = "since it was connected" if since is None else f"for {duration(since)}"
            text = f"no {flow.dataset} have come from the exchange {how_long}"
            yield Bottleneck("exchange", flow.dataset, text, "warning")


def _other_processes(overview: Overview, named: set[str]) -> Iterator[Bottleneck]:
    """Name processes that do not work and that no other obstacle names."""
    for process in overview.processes:
        if process.name not in named and process.condition in (
            "down",
            "not_ready",
            "starting",
            "stopped",
        ):
            severity: Severity = "passes" if process.condition == "starting" else "problem"
            text = f"{process.name}: {_why(process)}"
            yield Bottleneck(_stage_of(process.name), "", text, severity, process.name)


def _dead_letters(overview: Overview) -> Iterator[Bottleneck]:
    for flow in overview.flows:
        if flow.open_letters:
            several = flow.open_letters != 1
            text = (
                f"{flow.open_letters:,} message{'s' if several else ''} of {flow.dataset}"
                f" {'are dead letters' if several else 'is a dead letter'} (see: radar dlq list)"
            )
            yield Bottleneck("workers", flow.dataset, text, "warning")


def _warnings(overview: Overview) -> Iterator[Bottleneck]:
    """Name the warnings of ready processes."""
    places: dict[str, tuple[Stage, str]] = {}
    places |= {each.name: ("connections", each.dataset) for each in overview.producers}
    places |= {each.name: ("workers", each.dataset) for each in overview.workers}
    for process in overview.processes:
        stage, dataset = places.get(process.name, (_stage_of(process.name), ""))
        for text in process.warnings:
            yield Bottleneck(stage, dataset, f"{process.name}: {text}", "warning", process.name)


def _stage_of(process: str) -> Stage:
    for words, stage in _STAGES.items():
        if words in process:
            return stage
    return "connections"


_STAGES: dict[str, Stage] = {
    "exchange": "exchange",
    "kafka": "partitions",
    "broker": "partitions",
    "consumer": "workers",
    "worker": "workers",
    "clickhouse": "tables",
    "reconcile": "tables",
    "alerts": "tables",
    "dashboard": "tables",
}


def _kafka(overview: Overview) -> Iterator[Bottleneck]:
    if overview.kafka_error:
        yield Bottleneck(
            "partitions",
            "",
            "Kafka does not answer: no message can be published or stored until it does;"
            f" producers buffer records until their buffers are full. {overview.kafka_error}",
            subject="kafka",
        )


def _clickhouse(overview: Overview) -> Iterator[Bottleneck]:
    lags = [flow.lag for flow in overview.flows]
    known = [lag for lag in lags if lag is not None]
    waiting = _messages(sum(known)) if known else "and it is not known how many messages are"
    if overview.clickhouse_error:
        yield Bottleneck(
            "tables",
            "",
            f"ClickHouse does not answer: no row is stored, {waiting} safe in"
            f" Kafka. {overview.clickhouse_error}",
            subject="clickhouse",
        )


def _exchange(overview: Overview) -> Iterator[Bottleneck]:
    for process in overview.processes:
        if process.name.endswith("exchange") and process.state not in ("running", ""):
            yield Bottleneck(
                "exchange",
                "",
                f"the simulated exchange is {process.state}: no frame comes",
                subject=process.name,
            )


def _producers(overview: Overview) -> Iterator[Bottleneck]:
    for producer in overview.producers:
        name, dataset = producer.name, producer.dataset
        if not producer.alive:
            yield Bottleneck(
                "connections",
                dataset,
                f"{name} does not work: no {dataset} are received. {_why(producer)}",
                subject=name,
            )
        elif not producer.ready:
            yield _unready_producer(producer, overview)
        elif producer.backpressure_share > BACKPRESSURE_SHARE:
            yield Bottleneck(
                "partitions",
                dataset,
                f"Kafka takes {dataset} too slowly: {name} stops reading the exchange"
                f" {producer.backpressure_share:.0%} of the time, {producer.queue:,} wait in it",
                subject=name,
            )


def _unready_producer(producer: ProducerState, overview: Overview) -> Bottleneck:
    name, dataset, why = producer.name, producer.dataset, _why(producer)
    passes = _severity(producer)
    if "Kafka" in why:
        return Bottleneck(
            "partitions",
            dataset,
            f"{name} cannot publish, {producer.queue:,} messages wait in it. {why}",
            passes,
            name,
        )
    open_connections = sum(flow.connections for flow in overview.flows if flow.dataset == dataset)
    if not open_connections or "no frame has come" in why:
        text = f"the exchange sends no {dataset}: its events may be missed meanwhile. {why}"
        return Bottleneck("exchange", dataset, text, passes, name)
    return Bottleneck("connections", dataset, f"{name} misses markets: {why}", passes, name)


def _workers(overview: Overview) -> Iterator[Bottleneck]:
    for worker in overview.workers:
        lag = _lag_of(worker, overview.partitions)
        name, dataset, why = worker.name, worker.dataset, _why(worker)
        waiting = "how much waits in its partitions is not known"
        if overview.partitions:
            waiting = f"{_messages(lag)} waiting in its partitions"
        passes = _severity(worker)
        if not worker.alive:
            text = f"{name} does not work, {waiting}. {why}"
            yield Bottleneck("workers", dataset, text, passes, name)
        elif worker.unreadable_partitions:
            at = next((each for each in worker.reasons if "stands at" in each), why)
            text = f"{name} cannot read on: {waiting}. {at}"
            yield Bottleneck("partitions", dataset, text, subject=name)
        elif worker.halted_partitions:
            text = (
                f"{name} has halted {worker.halted_partitions} of its partitions, because too many"
                f" messages are bad (see: radar dlq list): {waiting}"
            )
            yield Bottleneck("workers", dataset, text, subject=name)
        elif not worker.ready:
            stage = "tables" if "ClickHouse" in why or "store a block" in why else "workers"
            text = f"{name} cannot store: {waiting}. {why}"
            yield Bottleneck(stage, dataset, text, passes, name)  # type: ignore[arg-type]
        elif worker.flooding_markets:
            several = worker.flooding_markets > 1
            text = (
                f"{name} gets too many bad messages of {worker.flooding_markets}"
                f" market{'s' if several else ''}, which go to the dead letters (see: radar dlq"
                " list); the others are stored"
            )
            yield Bottleneck("workers", dataset, text, subject=name)


def _backlogs(overview: Overview, explained: set[str]) -> Iterator[Bottleneck]:
    """Name the backlogs that no named dataset and no silent ClickHouse explains."""
    if overview.clickhouse_error:
        return
    by_dataset: dict[str, list[PartitionState]] = {}
    for partition in overview.partitions:
        if partition.dataset not in explained and partition.backlog:
            by_dataset.setdefault(partition.dataset, []).append(partition)
    # The largest first.
    for dataset, stuck in sorted(by_dataset.items(), key=lambda item: -_sum_lag(item[1])):
        yield _backlog(dataset, stuck, overview)


def _origins(overview: Overview) -> Iterator[Bottleneck]:
    """Name stores that hold data of different origins, which workers refuse to mix."""
    topics, tables = overview.kafka_origin, overview.clickhouse_origin
    if topics and tables and topics != tables:
        yield Bottleneck(
            "workers",
            "",
            f"Kafka holds {topics} data and ClickHouse {tables} data, so workers store no messages:"
            " set another KAFKA_BROKER or CLICKHOUSE_DB",
        )


def _delivery_gaps(overview: Overview) -> Iterator[Bottleneck]:
    """Name lost offsets without an acknowledgement; the newest of each topic."""
    by_topic: dict[str, list[SkippedOffsets]] = {}
    for gap in overview.delivery_gaps:
        if gap.is_open:
            by_topic.setdefault(gap.topic, []).append(gap)
    for topic, gaps in by_topic.items():
        newest = max(gaps, key=lambda gap: gap.recorded_at_s)
        dataset = topic.removeprefix("radar_")
        lost = sum(gap.last - gap.first + 1 for gap in gaps)
        least = "" if all(gap.is_exact for gap in gaps) else "at least "
        yield Bottleneck(
            "tables",
            dataset,
            f"{least}{lost:,} offsets of {topic} are lost ({newest.cause}: partition"
            f" {newest.partition}, offsets {newest.first} to {newest.last}): see radar verify;"
            f" use radar restore {dataset} {newest.partition}, or acknowledge them with"
            f" radar acknowledge {dataset} {newest.partition} --reason TEXT",
        )


def _backlog(dataset: str, stuck: list[PartitionState], overview: Overview) -> Bottleneck:
    lag = _sum_lag(stuck)
    where = _names(str(partition.partition) for partition in stuck)
    owners = sorted({partition.owner for partition in stuck if partition.owner})
    workers = [
        worker for worker in overview.workers if worker.name in owners and worker.dataset == dataset
    ]
    subject = owners[0] if len(owners) == 1 else ""
    begin = f"{lag:,} {dataset} wait in partition{_s(stuck)} {where}"
    if not owners and not any(worker.dataset == dataset for worker in overview.workers):
        if sum(partition.lag_per_s or 0.0 for partition in stuck) < 0:
            return Bottleneck("workers", dataset, f"{begin} and get fewer", "passes")
        return Bottleneck("workers", dataset, f"{begin} and do not get fewer; no worker is known")
    if not owners and not all(partition.owner_known for partition in stuck):
        text = f"{begin}, and which worker owns {'it' if len(stuck) == 1 else 'them'} is not known"
        return Bottleneck("workers", dataset, f"{text} yet", "passes")
    alive = any(worker.dataset == dataset and worker.alive for worker in overview.workers)
    if not owners and alive and all(partition.committed is None for partition in stuck):
        # Members of a group look for them every ten seconds; then the group is assigned anew.
        text = f"{begin}: new partitions, which the workers take within half a minute"
        return Bottleneck("workers", dataset, text, "passes")
    if not owners:
        text = f"{begin} and no worker owns {'it' if len(stuck) == 1 else 'them'}: start workers"
        return Bottleneck("workers", dataset, f"{text} (radar consume {dataset})")
    stored = sum(partition.stored_per_s or 0.0 for partition in stuck)
    shrinks = -sum(partition.lag_per_s or 0.0 for partition in stuck)
    if shrinks > 0 and stored:
        text = f"{begin}: {_names(owners)} catch{_es(owners)} up, {duration(lag / shrinks)} left"
        return Bottleneck("workers", dataset, text, "passes", subject)
    if not stored:
        text = f"{begin} and {_names(owners)} store{_es(owners)[1:]} none of them"
        return Bottleneck("workers", dataset, text, subject=subject)
    insert_s = max((worker.insert_s or 0.0 for worker in workers), default=0.0)
    if insert_s > SLOW_INSERT_S:
        text = f"ClickHouse is slow: one insert of {dataset} takes {insert_s:.1f} s, {begin}"
        return Bottleneck("tables", dataset, text)
    text = f"{begin}: {_names(owners)} store{_es(owners)[1:]} {stored:,.0f}/s, more comes"
    return Bottleneck("workers", dataset, text, subject=subject)


def _lag_of(worker: WorkerState, partitions: Iterable[PartitionState]) -> int:
    # A worker that does not answer may own the partitions without a known owner.
    owners = (worker.name,) if worker.alive else (worker.name, None)
    return sum(
        partition.lag
        for partition in partitions
        if partition.owner in owners and partition.dataset == worker.dataset
    )


def _sum_lag(partitions: Iterable[PartitionState]) -> int:
    return sum(partition.lag for partition in partitions)


def _severity(process: ProducerState | WorkerState) -> Severity:
    return "passes" if judgement.passes(process.reasons) else "problem"


def _why(process: ProducerState | WorkerState | ProcessState) -> str:
    return "; ".join(process.reasons) or "it does not say why"


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
    """Write a duration or an age in at most six characters."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} d"
