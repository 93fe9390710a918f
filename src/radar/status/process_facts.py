"""Facts from the processes themselves."""

import http.client
import itertools
import time
from typing import NamedTuple

from radar.datasets import DATASETS, RECORDED, quiet
from radar.status.deployment import Served
from radar.status.health_probe import ask as ask_health
from radar.status.model import ProcessState
from radar.status.scrape import Sample, Scraped, fetch, read
from radar.telemetry.connections import ReportedConnection
from radar.telemetry.connections import parse as parse_connections

COUNTERS = (
    *("radar_frames_total", "radar_frame_bytes_total", "radar_published_total"),
    *("radar_publish_failed_total", "radar_backpressure_seconds_total", "radar_reconnects_total"),
    *("radar_invalid_frames_total", "radar_rows_total", "radar_blocks_total"),
    *("radar_insert_seconds_sum", "radar_insert_seconds_count", "radar_insert_retries_total"),
    *("radar_latency_seconds_sum", "radar_latency_seconds_count", "radar_dead_letters_total"),
    "radar_rebalances_total",
)
GAUGES = (
    *("radar_connections", "radar_last_frame_timestamp_seconds", "radar_clock_skew_seconds"),
    *("radar_publish_queue", "radar_halted_partitions", "radar_lag_messages", "radar_alive"),
    *("radar_flooding_markets", "radar_unreadable_partitions"),
    *("radar_clock_offset_seconds", "radar_clock_offset_uncertainty_seconds"),
    *(
        "radar_ready",
        "radar_warnings",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
    ),
)
# A worker shows its metric from its start, a producer for each dataset that it records.
PRODUCER_SIGN, WORKER_SIGN = "radar_published_total", "radar_insert_retries_total"


class ProcessReport(NamedTuple):
    """A process's health and metrics."""

    at_s: float  # when it answered, Unix time
    scraped: Scraped
    alive: bool
    ready: bool
    reasons: list[str]
    connections: list[ReportedConnection]
    warnings: list[str] = []  # noqa: RUF012 - never changed


def ask(process: Served) -> ProcessReport:
    """Probe a process; blocks for a few seconds at most.

    Raises:
        OSError: It does not answer, or another server does.
    """
    host, port = process.host, process.port
    try:
        scraped = read(host, port, itertools.chain(COUNTERS, GAUGES))
        at_s = time.time()
        sample = scraped.sample
        alive, ready = (bool(sample.get((name, ""))) for name in ("radar_alive", "radar_ready"))
        reasons: list[str] = []
        warnings: list[str] = []
        if not (alive and ready) or sample.get(("radar_warnings", "")):
            health = ask_health(host, port, process.name)
            alive, ready, reasons = health.alive, health.ready, health.reasons
            warnings = health.warnings
        connections = []
        if any((PRODUCER_SIGN, dataset) in sample for dataset in RECORDED):
            connections = parse_connections(fetch(host, port, "/connections"))
    except (http.client.HTTPException, ValueError) as error:
        raise ConnectionError(f"unexpected answer: {error}") from error
    return ProcessReport(at_s, scraped, alive, ready, reasons, connections, warnings)


class Role(NamedTuple):
    """A process is a producer or a worker, of these datasets."""

    name: str
    datasets: tuple[str, ...]


def role(scraped: Scraped) -> Role | None:
    """Return the role of a process by its metrics; None if they do not show one yet."""
    for name, sign, known in (
        ("worker", WORKER_SIGN, DATASETS),
        ("producer", PRODUCER_SIGN, RECORDED),
    ):
        if datasets := tuple(each for each in known if (sign, each) in scraped.sample):
            return Role(name, datasets)
    return None


def guessed_role(name: str) -> Role | None:
    """Return the role that the name of a process suggests, until the process answers."""
    datasets = tuple(dataset for dataset in DATASETS if dataset in name)
    if "quiet" in name:
        datasets = tuple(dataset.name for dataset in quiet())
    if not datasets:
        return None
    if "consumer" in name or "worker" in name:
        return Role("worker", datasets)
    return Role("producer", datasets) if datasets[0] in RECORDED else None


def state(process: Served, report: ProcessReport | None, silence: str | None) -> ProcessState:
    """Return the known state of a process; `silence` is the reason for a missing answer."""
    reasons: list[str] = []
    if process.state == "failed":
        reasons = ["it ended because of its options and is not started again: see its log"]
    elif process.state not in ("running", ""):
        reasons = [f"the process is {process.state}"]
    elif silence is not None:
        reasons = [silence]
    alive = ready = not reasons
    if report is not None and not reasons:
        alive, ready, reasons = report.alive, report.ready, report.reasons
    return ProcessState(
        name=process.name,
        state=process.state,
        pid=process.pid,
        restarts=process.restarts,
        address=process.address,
        alive=alive,
        ready=ready,
        reasons=reasons,
        warnings=report.warnings if report is not None and alive else [],
    )


def memory_bytes(sample: Sample) -> int | None:
    """Return the memory of a process, if its metrics show it."""
    found = sample.get(("process_resident_memory_bytes", ""))
    return None if found is None else int(found)
