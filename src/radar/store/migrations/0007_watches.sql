-- One row per time in which one connection of a producer brought markets; it grows until its end.
CREATE TABLE IF NOT EXISTS watches
(
    source LowCardinality(String) COMMENT 'Exchange: wallex',
    record_kind Enum8('trades' = 1, 'depth' = 2) COMMENT 'What it brought',
    connection String COMMENT 'Name of the connection, by chance',
    symbols Array(LowCardinality(String)) COMMENT 'Markets that it had subscribed to',
    began_at DateTime64(6, 'UTC') COMMENT 'Subscribed, or read again; clock of the producer',
    ended_at DateTime64(6, 'UTC') COMMENT 'Newest frame so far; clock of the producer',
    end_reason LowCardinality(String)
        COMMENT 'open: it goes on, or its producer was killed; rotated, stopped, closed, silent, overflow, backpressure, failed',
    interval_ms UInt32 COMMENT 'Of each side of a book at most one snapshot in so long; 0: everything',
    received_at DateTime64(6, 'UTC') COMMENT 'When it was recorded; clock of the producer',
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'Clock of ClickHouse',
    kafka_partition UInt16 COMMENT 'Where the message stood in Kafka',
    kafka_offset UInt64,
    -- The longest stays, and of two as long the one that tells the end.
    version UInt64 MATERIALIZED toUInt64(toUnixTimestamp64Micro(ended_at)) * 2 + (end_reason != 'open'),
    CONSTRAINT has_market CHECK notEmpty(source) AND notEmpty(connection) AND notEmpty(symbols),
    CONSTRAINT forward CHECK ended_at >= began_at
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toMonday(began_at)
PRIMARY KEY (source, record_kind, began_at)
ORDER BY (source, record_kind, began_at, connection)
TTL toDateTime(received_at) + toIntervalDay(90)
SETTINGS
    non_replicated_deduplication_window = 100000,
    -- Refuse while there is room for what is under way: an insert that finds the disk full reports success.
    min_free_disk_bytes_to_perform_insert = 134217728;
