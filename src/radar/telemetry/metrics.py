"""Every metric of radar, declared and documented once; `docs/metrics.md` is generated from here.

Labels are bounded: exchanges, datasets, partitions and reasons from fixed sets; never a symbol.
"""

import sys
from collections.abc import Sequence
from typing import NamedTuple

from prometheus_client import Counter, Gauge, Histogram

from radar.datasets import DATASETS
from radar.records import GapCause


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
FRAME_BYTES = _counter(
    "radar_frame_bytes", "Bytes received from the exchange in frames", ["exchange", "dataset"]
)
RECORDS = _counter("radar_records", "Records parsed from frames", ["exchange", "dataset"])
INVALID_FRAMES = _counter(
    "radar_invalid_frames",
    "Parsed frames that contradict the exchange's documentation, or that workers would refuse",
    ["exchange", "dataset"],
)
REPEATED_TRADES = _counter(
    "radar_repeated_trades", "Trades received again and therefore not published", ["exchange"]
)
REPAIRED_TRADES = _counter(
    "radar_repaired_trades", "Trades that backfill fetched over REST and published", ["exchange"]
)
CONFLATED_SNAPSHOTS = _counter(
    "radar_conflated_snapshots", "Snapshots replaced by a newer one before publishing", ["exchange"]
)
CONNECTIONS = _gauge(
    "radar_connections", "Open connections to the exchange", ["exchange", "dataset"]
)
RECONNECTS = _counter(
    "radar_reconnects",
    "Ended connections, by reason (closed, silent, rotated, refused, overflow, failed)",
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
    "Smallest receive-minus-exchange time in the last ten seconds with trades, in whole seconds;"
    " far from zero means clock skew; absent without trades of the last half hour",
    ["exchange"],
)
CLOCK_OFFSET_SECONDS = _gauge(
    "radar_clock_offset_seconds",
    "This machine's clock minus the exchange's, from the times of its REST answers; absent without"
    " an answer of the last half hour",
    ["exchange"],
)
CLOCK_OFFSET_UNCERTAINTY_SECONDS = _gauge(
    "radar_clock_offset_uncertainty_seconds",
    "The true offset differs from radar_clock_offset_seconds by at most this",
    ["exchange"],
)
PUBLISHED = _counter("radar_published", "Messages acknowledged by Kafka", ["dataset"])
PUBLISH_FAILED = _counter(
    "radar_publish_failed",
    "Messages abandoned because Kafka kept refusing them; a gap records each loss",
    ["dataset"],
)
PUBLISH_REFUSED = _counter(
    "radar_publish_refused",
    "Refusals by Kafka, retried for KAFKA_RETRY_REFUSED_SECONDS, by reason (too_large,"
    " not_authorized, invalid_timestamp, invalid_record, policy, corrupt, no_topic, other)",
    ["dataset", "reason"],
)
PUBLISH_QUEUE = _gauge("radar_publish_queue", "Messages waiting for Kafka", ["dataset"])
BACKPRESSURE_SECONDS = _counter(
    "radar_backpressure_seconds",
    "Seconds in which a full buffer stopped reading from the exchange",
    ["dataset"],
)
RATE_LIMITED = _counter(
    "radar_rate_limited",
    "Pauses that the exchange demanded (429, 418, 503 with Retry-After)",
    ["exchange"],
)
RATE_LIMIT_WAIT_SECONDS = _gauge(
    "radar_rate_limit_wait_seconds",
    "Seconds until the next request to the exchange is allowed; 0: now",
    ["exchange"],
)
SET_ASIDE_MARKETS = _gauge(
    "radar_set_aside_markets",
    "Unrecorded markets, by reason (malformed, unknown, refused)",
    ["dataset", "reason"],
)
UNVERIFIED_MARKETS = _gauge(
    "radar_unverified_markets",
    "Markets without evidence in the last FRESHNESS_SECONDS that their records arrive",
    ["dataset"],
)
GAPS = _counter(
    "radar_gaps",
    f"Periods without any record of some markets, by cause ({', '.join(GapCause)})",
    ["dataset", "cause"],
)

# Workers
CONSUMED = _counter("radar_consumed", "Messages consumed from Kafka", ["dataset"])
BLOCKS = _counter("radar_blocks", "Insert blocks inserted and committed", ["dataset"])
ROWS = _counter("radar_rows", "Rows inserted and committed", ["dataset"])
BLOCK_ROWS = _histogram(
    "radar_block_rows",
    "Rows of an insert block",
    ["dataset"],
    buckets=(1, 10, 50, 100, 500, 1000, 5000, 10_000, 50_000),
)
BATCH_AGE_SECONDS = _histogram(
    "radar_batch_age_seconds",
    "Age in seconds of the oldest message when its batch became an insert block; the"
    " age of messages that an earlier block left over starts at that block",
    ["dataset"],
    buckets=(0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 7, 10, 20, 60),
)
INSERT_SECONDS = _histogram(
    "radar_insert_seconds",
    "Duration of one successful insert in seconds",
    ["dataset"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
INSERT_RETRIES = _counter(
    "radar_insert_retries", "Failed inserts that the worker retries", ["dataset"]
)
LATENCY_SECONDS = _histogram(
    "radar_latency_seconds",
    "Seconds from the exchange's frame to the durable row, oldest row of each insert block",
    ["dataset"],
    buckets=(0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 7, 10, 20, 60, 300, 3600),
)
DEAD_LETTERS = _counter(
    "radar_dead_letters", "Messages sent to the dead-letter topic", ["dataset", "reason"]
)
FLOODING = _gauge(
    "radar_flooding_markets",
    "Markets with more bad messages than MAX_BAD_SHARE or MAX_CONSECUTIVE_BAD allows, at most one"
    " per partition; the messages become dead letters",
    ["dataset"],
)
UNREADABLE = _gauge(
    "radar_unreadable_partitions",
    "Owned partitions blocked by a batch that no client can read (see: radar skip)",
    ["dataset"],
)
DELIVERY_GAP_OFFSETS = _gauge(
    "radar_delivery_gap_offsets",
    "Lost, unacknowledged Kafka offsets of owned partitions (see: radar verify)",
    ["dataset", "cause"],
)
HALTED = _gauge(
    "radar_halted_partitions",
    "Owned partitions halted because too many messages are bad",
    ["dataset"],
)
REBALANCES = _counter("radar_rebalances", "Changes of the assigned partitions", ["dataset"])
ASSIGNED = _gauge("radar_assigned_partitions", "Partitions owned by this worker", ["dataset"])
LAG = _gauge(
    "radar_lag_messages",
    "Messages of a partition not stored yet, as its owner knows",
    ["dataset", "partition"],
)
LAG_SECONDS = _gauge(
    "radar_lag_seconds",
    "Age of a partition's oldest message that is not stored yet, counted from when its owner first"
    " saw it in Kafka; 0: all are stored",
    ["dataset", "partition"],
)
TOPIC_PARTITIONS = _gauge(
    "radar_topic_partitions", "Partitions of the dataset's topic, as Kafka has it", ["dataset"]
)
TOPIC_OUT_OF_SYNC = _gauge(
    "radar_topic_out_of_sync_replicas",
    "Replicas of the dataset's topic that are behind or gone",
    ["dataset"],
)
TOPIC_LEADERLESS = _gauge(
    "radar_topic_leaderless_partitions",
    "Partitions of the dataset's topic without a leader, which can be neither read nor written",
    ["dataset"],
)

# Examination of the recording
EXAMINED_UNTIL = _gauge(
    "radar_examined_until_timestamp_seconds",
    "Unix time up to which `radar reconcile --follow` has examined the recording",
    ["exchange"],
)
PROVEN_SECONDS = _gauge(
    "radar_proven_seconds",
    "Seconds of the newest examined hour, over all markets, by state (verified, repaired,"
    " unverifiable, missing)",
    ["exchange", "dataset", "state"],
)
DAY_VOLUMES = _gauge(
    "radar_day_volumes",
    "Markets by the newest comparison with the exchange's volume of 24 hours (equal, short,"
    " different, unknown)",
    ["exchange", "result"],
)

# Backups
BACKUP_TIME = _gauge(
    "radar_backup_timestamp_seconds",
    "Unix time at which the newest complete backup in BACKUP_DIR began; 0: there is none",
)
BACKUP_FAILURES = _counter(
    "radar_backup_failures", "Attempts of `radar backup follow` that made no backup"
)

# Alerts
ALERT_CONDITIONS = _gauge(
    "radar_alert_conditions", "Conditions that `radar alerts run` has reported and that last"
)
ALERT_MESSAGES = _counter(
    "radar_alert_messages",
    "Attempts to deliver an alert, by service (the scheme of its URL) and result: delivered, failed"
    " (retried), dropped (given up)",
    ["service", "result"],
)

# Dashboard
DASHBOARD_VIEWERS = _gauge("radar_dashboard_viewers", "Open streams of live events")
DASHBOARD_QUERY_SECONDS = _histogram(
    "radar_dashboard_question_seconds",
    "Duration of one dashboard query in ClickHouse in seconds, by query (markets, candles, book,"
    " trades, coverage, gaps, exists)",
    ["question"],
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)

# Every process
ALIVE = _gauge("radar_alive", "1 while the main loop turns; the same answer as /healthz")
READY = _gauge("radar_ready", "1 while the process can do its job; the same answer as /readyz")
WARNINGS = _gauge(
    "radar_warnings",
    "Conditions that need a person although the process is ready; /readyz lists them",
)


def reference() -> str:
    """Return the content of `docs/metrics.md`: every metric, as Prometheus sees it."""
    lines = [
        "# Metrics",
        "",
        "Each process serves these metrics under `/metrics` on `METRICS_PORT`. A histogram has",
        "`_bucket`, `_sum` and `_count`. Labels are bounded. A dataset is one of:",
        f"{', '.join(f'`{name}`' for name in DATASETS)}.",
        "Sessions are the dataset `watches`.",
        "The Prometheus client adds its own: `process_cpu_seconds_total`,",
        "`process_resident_memory_bytes`, `process_open_fds`, `process_start_time_seconds` and",
        "others.",
        "",
        "`make generated` writes this page from `src/radar/telemetry/metrics.py`.",
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
