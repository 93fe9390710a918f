"""Every metric of radar, declared and documented once; `docs/metrics.md` is written from here.

Labels are bounded: exchanges, kinds, partitions and reasons from fixed sets; never a symbol.
"""

import sys
from collections.abc import Sequence
from typing import NamedTuple

from prometheus_client import Counter, Gauge, Histogram


class Declared(NamedTuple):
    """A metric as Prometheus sees it."""

    name: str
    type: str
    labels: Sequence[str]
    meaning: str


DECLARED: list[Declared] = []


def _counter(name: str, meaning: str, labels: Sequence[str] = ()) -> Counter:
    DECLARED.append(Declared(f"{name}_total", "counter", labels, meaning))
    return Counter(name, meaning, labels)


def _gauge(name: str, meaning: str, labels: Sequence[str] = ()) -> Gauge:
    DECLARED.append(Declared(name, "gauge", labels, meaning))
    return Gauge(name, meaning, labels)


def _histogram(
    name: str, meaning: str, labels: Sequence[str], *, buckets: Sequence[float]
) -> Histogram:
    DECLARED.append(Declared(name, "histogram", labels, meaning))
    return Histogram(name, meaning, labels, buckets=buckets)


# Producers
FRAMES = _counter("radar_frames", "Frames received from the exchange", ["exchange", "dataset"])
FRAME_BYTES = _counter("radar_frame_bytes", "Bytes of those frames", ["exchange", "dataset"])
RECORDS = _counter("radar_records", "Records parsed from frames", ["exchange", "dataset"])
INVALID_FRAMES = _counter(
    "radar_invalid_frames",
    "Frames that are not what the exchange documents, or that workers would refuse",
    ["exchange", "dataset"],
)
REPEATED_TRADES = _counter(
    "radar_repeated_trades", "Trades received again and not published again", ["exchange"]
)
REPAIRED_TRADES = _counter(
    "radar_repaired_trades", "Trades published from the recent-trades REST endpoint", ["exchange"]
)
CONFLATED_SNAPSHOTS = _counter(
    "radar_conflated_snapshots", "Snapshots replaced by a newer one before publishing", ["exchange"]
)
CONNECTIONS = _gauge(
    "radar_connections", "Open connections to the exchange", ["exchange", "dataset"]
)
RECONNECTS = _counter(
    "radar_reconnects",
    "Connections that ended, by reason (closed, silent, rotated, refused, overflow, failed)",
    ["exchange", "dataset", "reason"],
)
LAST_FRAME_TIME = _gauge(
    "radar_last_frame_timestamp_seconds", "Unix time of the newest frame", ["exchange", "dataset"]
)
CONNECTION_AGE_SECONDS = _gauge(
    "radar_connection_age_seconds", "Age of the oldest open connection", ["exchange", "dataset"]
)
CLOCK_SKEW_SECONDS = _gauge(
    "radar_clock_skew_seconds",
    "Receipt minus exchange time (whole seconds) of the live trade for which it is nearest to zero,"
    " of the last ten seconds with trades; far from zero means that the clocks differ",
    ["exchange"],
)
PUBLISHED = _counter("radar_published", "Messages acknowledged by Kafka", ["dataset"])
PUBLISH_FAILED = _counter(
    "radar_publish_failed",
    "Messages that were given up because Kafka refused them again and again; a gap records them",
    ["dataset"],
)
PUBLISH_REFUSED = _counter(
    "radar_publish_refused",
    "Refusals by Kafka, which are retried for a while, by reason (too_large, not_authorized,"
    " invalid_timestamp, invalid_record, policy, corrupt, no_topic, other)",
    ["dataset", "reason"],
)
PUBLISH_QUEUE = _gauge("radar_publish_queue", "Messages waiting for Kafka", ["dataset"])
BACKPRESSURE_SECONDS = _counter(
    "radar_backpressure_seconds", "Time in which reading stopped for a full buffer", ["dataset"]
)
RATE_LIMITED = _counter(
    "radar_rate_limited",
    "Times in which the exchange wanted no requests (429, 418, 503 with Retry-After)",
    ["exchange"],
)
RATE_LIMIT_WAIT_SECONDS = _gauge(
    "radar_rate_limit_wait_seconds",
    "Time until the exchange may be asked again; 0: now",
    ["exchange"],
)
SET_ASIDE_MARKETS = _gauge(
    "radar_set_aside_markets",
    "Markets that are not recorded, by reason (malformed, unknown, refused)",
    ["dataset", "reason"],
)
UNVERIFIED_MARKETS = _gauge(
    "radar_unverified_markets",
    "Markets without evidence younger than FRESHNESS_SECONDS that their records arrive",
    ["dataset"],
)
GAPS = _counter(
    "radar_gaps",
    "Times in which nothing of some markets was recorded, by cause"
    " (disconnected, silent, refused, backpressure, mute, refused_by_kafka, suspended, clock)",
    ["dataset", "cause"],
)

# Workers
CONSUMED = _counter("radar_consumed", "Messages taken from Kafka", ["dataset"])
BLOCKS = _counter("radar_blocks", "Blocks inserted and committed", ["dataset"])
ROWS = _counter("radar_rows", "Rows inserted and committed", ["dataset"])
BLOCK_ROWS = _histogram(
    "radar_block_rows",
    "Rows of a block",
    ["dataset"],
    buckets=(1, 10, 50, 100, 500, 1000, 5000, 10_000, 50_000),
)
BATCH_AGE_SECONDS = _histogram(
    "radar_batch_age_seconds",
    "How long the oldest message of a batch was here when it became a block",
    ["dataset"],
    buckets=(0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 7, 10, 20, 60),
)
INSERT_SECONDS = _histogram(
    "radar_insert_seconds",
    "Duration of one successful insert",
    ["dataset"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
INSERT_RETRIES = _counter(
    "radar_insert_retries", "Inserts that failed and are retried", ["dataset"]
)
LATENCY_SECONDS = _histogram(
    "radar_latency_seconds",
    "From the exchange's frame to the durable row, oldest row of each block",
    ["dataset"],
    buckets=(0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 7, 10, 20, 60, 300, 3600),
)
DEAD_LETTERS = _counter(
    "radar_dead_letters", "Messages sent to the dead-letter topic", ["dataset", "reason"]
)
FLOODING = _gauge(
    "radar_flooding_markets",
    "Markets that send more bad messages than MAX_BAD_SHARE or MAX_CONSECUTIVE_BAD allows, one a"
    " partition at most; the messages go to the dead letters",
    ["dataset"],
)
UNREADABLE = _gauge(
    "radar_unreadable_partitions",
    "Owned partitions that stand at a batch which no client can read (see: radar skip)",
    ["dataset"],
)
DELIVERY_GAP_OFFSETS = _gauge(
    "radar_delivery_gap_offsets",
    "Kafka offsets of owned partitions that are lost and not acknowledged (see: radar verify)",
    ["dataset", "cause"],
)
HALTED = _gauge(
    "radar_halted_partitions",
    "Partitions of this worker that stand still because too many messages are bad",
    ["dataset"],
)
REBALANCES = _counter("radar_rebalances", "Changes of the assigned partitions", ["dataset"])
ASSIGNED = _gauge("radar_assigned_partitions", "Partitions that this worker owns", ["dataset"])
LAG = _gauge(
    "radar_lag_messages",
    "Messages in a partition that are not stored yet, as the worker that owns it knows",
    ["dataset", "partition"],
)

# Dashboard
DASHBOARD_VIEWERS = _gauge("radar_dashboard_viewers", "Open streams of live events")
DASHBOARD_QUESTION_SECONDS = _histogram(
    "radar_dashboard_question_seconds",
    "Duration of a question to ClickHouse, by what is asked for (markets, candles, book, trades,"
    " coverage, gaps, exists)",
    ["question"],
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)

# Every process
ALIVE = _gauge("radar_alive", "1 while the main loop turns, as /healthz tells")
READY = _gauge("radar_ready", "1 while the process can do its job, as /readyz tells")
WARNINGS = _gauge(
    "radar_warnings",
    "Conditions that a person must see although the process is ready, as /readyz lists them",
)


def reference() -> str:
    """Return the content of `docs/metrics.md`: every metric, as Prometheus sees it."""
    lines = [
        "# Metrics",
        "",
        "What each process serves under `/metrics` on `METRICS_PORT`. Of a histogram there are",
        "`_bucket`, `_sum` and `_count`. Labels are bounded: kinds are trades, depth, gaps and",
        "watches.",
        "Besides there are those of the Prometheus client: `process_cpu_seconds_total`,",
        "`process_resident_memory_bytes`, `process_open_fds`, `process_start_time_seconds` and",
        "others.",
        "",
        "Written by `make metrics` from `src/radar/telemetry/metrics.py`.",
        "",
        "| metric | type | labels | meaning |",
        "|---|---|---|---|",
        *(
            f"| `{each.name}` | {each.type} | {', '.join(each.labels)} | {each.meaning} |"
            for each in DECLARED
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
