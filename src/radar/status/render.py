"""`radar status` and `radar lag`: the facts of an overview as text and as JSON. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec

from radar.clock import utc_text
from radar.datasets import DATASETS
from radar.status.bottleneck import duration
from radar.status.judgement import OLD_S
from radar.status.model import Overview, PartitionState
from radar.text import printable

MAX_LINE_CHARACTERS = 10_000
LEAST_RATE_S = 10.0  # longer than the interval of depth snapshots, which come in bursts
NONE_KNOWN = (
    "whether a pipeline runs: no process is known; start `radar up`, or name processes in"
    " MONITOR_PROCESSES"
)


def facts(overview: Overview, pipeline: dict[str, Any] | None) -> dict[str, Any]:
    """Return all known facts, for machines.

    Args:
        overview: The observed facts; whole under `overview`.
        pipeline: The state of the running `radar up`.
    """
    address, _, database = overview.clickhouse.rpartition("/")
    flows = {flow.dataset: flow for flow in overview.flows}
    return {
        "pipeline": pipeline,
        "kafka": {
            "broker": overview.kafka,
            "origin": overview.kafka_origin or None,
            "topics": {
                topic: {
                    "partitions": len(partitions),
                    "messages": sum(each.end - each.start for each in partitions),
                    "lag": flows[partitions[0].dataset].lag,
                }
                for topic, partitions in _by_topic(overview).items()
            },
        },
        "clickhouse": {
            "address": address,
            "database": database,
            "origin": overview.clickhouse_origin or None,
            "tables": {
                table.name: {
                    "rows": table.rows,
                    "rows_last_minute": table.rows_last_minute,
                    "newest": _time(table.newest_at_s),
                }
                for table in overview.tables
            },
        },
        "verdict": overview.verdict,
        "problems": problems(overview),
        "warnings": warnings(overview),
        "overview": msgspec.to_builtins(overview),
    }


def describe(overview: Overview) -> str:
    """Write the facts as text."""
    lines = [*_pipeline(overview), *_flows(overview), *_clocks(overview)]
    lines += [*_kafka(overview), *_clickhouse(overview)]
    lines += [f"{each.severity}: {each.text}" for each in overview.obstacles]
    if not overview.obstacles:
        lines.append(
            "everything flows" if overview.verdict == "flows" else f"unknown: {NONE_KNOWN}"
        )
    return _lines(lines)


def problems(overview: Overview) -> list[str]:
    """Return the stuck places, the silent subjects and the unknown facts.

    Warnings and conditions that pass by themselves do not count.
    """
    found = [each.text for each in overview.obstacles if each.severity in ("problem", "unknown")]
    return found if overview.obstacles or overview.verdict == "flows" else [NONE_KNOWN]


def warnings(overview: Overview) -> list[str]:
    """Return the facts that need attention although the pipeline works."""
    return [each.text for each in overview.obstacles if each.severity == "warning"]


def _by_topic(overview: Overview) -> dict[str, list[PartitionState]]:
    topics: dict[str, list[PartitionState]] = {}
    for partition in overview.partitions:
        topics.setdefault(partition.topic, []).append(partition)
    return topics


def lag_facts(partitions: list[PartitionState]) -> list[dict[str, Any]]:
    """Return the lag of the workers, for machines."""
    return [
        {
            "topic": each.topic,
            "group": DATASETS[each.dataset].group,
            "partition": each.partition,
            "committed": each.committed,
            "end": each.end,
            "lag": each.lag,
            "owner": each.owner,
        }
        for each in partitions
    ]


def describe_lag(partitions: list[PartitionState]) -> str:
    """Write the lag of the workers as text."""
    return _lines(
        f"{each.topic}[{each.partition}]: {each.lag:,} waiting, owned by {each.owner or 'none'}"
        for each in partitions
    )


def _lines(lines: Iterable[str]) -> str:
    """Join lines; a line break in foreign text starts no new line."""
    return "\n".join(printable(line, MAX_LINE_CHARACTERS) for line in lines)


def _pipeline(overview: Overview) -> list[str]:
    if not overview.processes:
        return ["pipeline: no `radar up` runs on this data, and MONITOR_PROCESSES is empty"]
    exchange = "the simulated exchange" if overview.simulated else overview.exchange
    running = sum(process.alive for process in overview.processes)
    since = "" if overview.uptime_s is None else f" since {duration(overview.uptime_s)}"
    total = len(overview.processes)
    return [f"pipeline: {running} of {total} processes run{since}, recording {exchange}"]


def _flows(overview: Overview) -> list[str]:
    def rate(per_s: float, *, heard: bool = True) -> str:
        # Over less time than between two snapshots, no snapshot does not mean a rate of zero.
        known = overview.rates_over_s and (per_s or overview.rates_over_s >= LEAST_RATE_S)
        return f"{per_s:,.1f}" if known and heard else "–"

    def newest(age_s: float | None) -> str:
        return "" if age_s is None else f", newest frame {duration(age_s)} ago"

    return [
        f"  {flow.dataset}: {flow.connections if flow.heard else '–'} connections,"
        f" {rate(flow.frames_per_s, heard=flow.heard)} frames/s,"
        f" {rate(flow.published_per_s)} published/s, {rate(flow.stored_per_s)} stored/s,"
        f" latency {'–' if flow.latency_s is None else duration(flow.latency_s)}"
        f"{newest(flow.last_frame_age_s)}"
        for flow in overview.flows
        if flow.connections or flow.frames
    ]


def offset(offset_s: float | None, uncertainty_s: float | None) -> str:
    """Write how far this machine's clock is from the exchange's."""
    if offset_s is None or uncertainty_s is None:
        return "unknown"
    return f"{offset_s:+.2f} s ± {uncertainty_s:.2f} s"


def _clocks(overview: Overview) -> list[str]:
    return [
        f"  clock of {each.name}, minus the exchange's:"
        f" {offset(each.clock_offset_s, each.clock_uncertainty_s)}"
        for each in overview.producers
        if each.alive
    ]


def _kafka(overview: Overview) -> list[str]:
    flows = {flow.dataset: flow for flow in overview.flows}
    held = _held(overview.kafka_origin)
    lines = [f"kafka {overview.kafka}{held}:" + _unless_known(overview, "kafka")]
    for topic, partitions in _by_topic(overview).items():
        flow = flows[partitions[0].dataset]
        letters = f", {flow.open_letters:,} dead letters" if flow.open_letters else ""
        lines.append(
            f"  {topic}: {len(partitions)} partitions,"
            f" {sum(each.end - each.start for each in partitions):,} messages kept,"
            f" {'–' if flow.lag is None else f'{flow.lag:,}'} waiting{letters}"
        )
    return lines


def _clickhouse(overview: Overview) -> list[str]:
    address, _, database = overview.clickhouse.rpartition("/")
    return [
        f"clickhouse {address}{_held(overview.clickhouse_origin)}:"
        + _unless_known(overview, "tables"),
        *(
            f"  {database}.{table.name}: {table.rows:,} rows,"
            f" {table.rows_last_minute:,} in the last minute,"
            f" newest {_time(table.newest_at_s) or '–'}"
            for table in overview.tables
        ),
        *(
            f"  {'LOST' if each.is_open else 'skipped for good'}: {each.topic}[{each.partition}]"
            f" offsets {each.first} to {each.last}{'' if each.is_exact else ', perhaps more'}"
            f" ({printable(each.cause)}: {printable(each.explanation)}), recorded"
            f" {_time(each.recorded_at_s)}"
            for each in overview.delivery_gaps
        ),
    ]


def _held(origin: str) -> str:
    return f" ({origin} data)" if origin else ""


def _unless_known(overview: Overview, subject: str) -> str:
    """Write that the facts of a subject are not known, or the age of old ones."""
    for probe in overview.probes:
        if probe.subject == subject:
            if not probe.holds or (probe.error and not overview.tables):
                return " not known"
            if probe.age_s is not None and probe.age_s > OLD_S:
                return f" ({duration(probe.age_s)} ago)"
    return ""


def _time(at_s: float | None) -> str | None:
    return None if at_s is None else utc_text(at_s)
