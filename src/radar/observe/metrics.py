"""Every metric of radar, declared and documented once.

Labels are bounded: exchanges, kinds, partitions and reasons from fixed sets; never a symbol.
"""

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from radar.errors import ConfigurationError

# Producers
FRAMES = Counter("radar_frames", "Frames received from the exchange", ["exchange", "kind"])
FRAME_BYTES = Counter("radar_frame_bytes", "Bytes of those frames", ["exchange", "kind"])
RECORDS = Counter("radar_records", "Records parsed from frames", ["exchange", "kind"])
INVALID_FRAMES = Counter(
    "radar_invalid_frames", "Frames that are not what the exchange documents", ["exchange", "kind"]
)
REPEATED_TRADES = Counter(
    "radar_repeated_trades", "Trades received again and not published again", ["exchange"]
)
REPAIRED_TRADES = Counter(
    "radar_repaired_trades", "Trades published from the recent-trades REST endpoint", ["exchange"]
)
CONFLATED_SNAPSHOTS = Counter(
    "radar_conflated_snapshots", "Snapshots replaced by a newer one before publishing", ["exchange"]
)
CONNECTIONS = Gauge("radar_connections", "Open connections to the exchange", ["exchange", "kind"])
RECONNECTS = Counter(
    "radar_reconnects",
    "Connections that ended, by reason (closed, silent, rotated, refused, overflow, failed)",
    ["exchange", "kind", "reason"],
)
LAST_FRAME_TIME = Gauge(
    "radar_last_frame_timestamp_seconds", "Unix time of the newest frame", ["exchange", "kind"]
)
PUBLISHED = Counter("radar_published", "Messages acknowledged by Kafka", ["kind"])
PUBLISH_FAILED = Counter("radar_publish_failed", "Messages that Kafka refused for good", ["kind"])
PUBLISH_QUEUE = Gauge("radar_publish_queue", "Messages waiting for Kafka", ["kind"])
BACKPRESSURE_SECONDS = Counter(
    "radar_backpressure_seconds", "Time in which reading stopped for a full buffer", ["kind"]
)
GAPS = Counter(
    "radar_gaps",
    "Times in which no connection brought anything of some markets, by cause"
    " (disconnected, silent, refused, backpressure)",
    ["kind", "cause"],
)

# Workers
CONSUMED = Counter("radar_consumed", "Messages taken from Kafka", ["kind"])
BLOCKS = Counter("radar_blocks", "Blocks inserted and committed", ["kind"])
ROWS = Counter("radar_rows", "Rows inserted and committed", ["kind"])
BLOCK_ROWS = Histogram(
    "radar_block_rows",
    "Rows of a block",
    ["kind"],
    buckets=(1, 10, 50, 100, 500, 1000, 5000, 10_000, 50_000),
)
INSERT_SECONDS = Histogram(
    "radar_insert_seconds",
    "Duration of one successful insert",
    ["kind"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
INSERT_RETRIES = Counter("radar_insert_retries", "Inserts that failed and are retried", ["kind"])
LATENCY_SECONDS = Histogram(
    "radar_latency_seconds",
    "From the exchange's frame to the durable row, oldest row of each block",
    ["kind"],
    buckets=(0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 7, 10, 20, 60, 300, 3600),
)
DEAD_LETTERS = Counter(
    "radar_dead_letters", "Messages sent to the dead-letter topic", ["kind", "reason"]
)
HALTED = Gauge(
    "radar_halted_partitions",
    "Partitions of this worker that stand still because too many messages are bad",
    ["kind"],
)
REBALANCES = Counter("radar_rebalances", "Changes of the assigned partitions", ["kind"])
ASSIGNED = Gauge("radar_assigned_partitions", "Partitions that this worker owns", ["kind"])


def serve(port: int) -> None:
    """Serve the metrics on 127.0.0.1 in a background thread; port 0 serves nothing.

    Raises:
        ConfigurationError: The port is taken.
    """
    if not port:
        return
    try:
        start_http_server(port, addr="127.0.0.1")
    except OSError as error:
        raise ConfigurationError(f"METRICS_PORT is {port}: {error.strerror}") from error
