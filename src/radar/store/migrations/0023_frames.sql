-- The frames of connections, byte for byte (RECORD_FRAMES). A frame above 2 MiB is divided: its rows differ in `part`.
-- All that went over a connection has consecutive places, from 0, so a missing frame leaves a hole.
CREATE TABLE IF NOT EXISTS frames
(
    source LowCardinality(String) COMMENT 'Exchange',
    record_kind LowCardinality(String) COMMENT 'Dataset of the connection: trades or depth',
    producer String COMMENT 'Random name of the process; its monotonic clock orders all its connections' CODEC(ZSTD(1)),
    connection String COMMENT 'Random name of the connection, as in watches' CODEC(ZSTD(1)),
    place UInt64 COMMENT 'Place on the connection, from 0, without a hole' CODEC(Delta, ZSTD(1)),
    part UInt32 COMMENT 'Part of the frame, from 0' CODEC(ZSTD(1)),
    parts UInt32 COMMENT 'How many parts the frame has' CODEC(ZSTD(1)),
    what LowCardinality(String)
        COMMENT 'opened: place 0, frame holds how the connection was opened, as JSON; received; sent; fetched: the answer to a REST request of the connection',
    symbols Array(LowCardinality(String))
        COMMENT 'Markets of the connection, only in the row opened' CODEC(ZSTD(1)),
    path String COMMENT 'Of fetched: path and query of the request' CODEC(ZSTD(1)),
    fetch_symbol LowCardinality(String) COMMENT 'Of fetched: the market that the request is about',
    fetch_tag UInt64 COMMENT 'Of fetched: the note of the protocol by which it knows the request' CODEC(ZSTD(1)),
    received_at DateTime64(6, 'UTC')
        COMMENT 'Clock of the producer; the records of the frame have the same time' CODEC(Delta, ZSTD(1)),
    received_at_ns Int64 COMMENT 'The same time, nanoseconds since 1970' CODEC(Delta, ZSTD(1)),
    monotonic_ns Int64 COMMENT 'Monotonic clock of the machine since its start, nanoseconds' CODEC(Delta, ZSTD(1)),
    set_back_us UInt64
        COMMENT 'By how much the clock of the producer had been set back since it began' CODEC(ZSTD(1)),
    frame String COMMENT 'The bytes' CODEC(ZSTD(3)),
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'Clock of ClickHouse' CODEC(Delta, ZSTD(1)),
    kafka_partition UInt16 COMMENT 'Where the message is in Kafka' CODEC(ZSTD(1)),
    kafka_offset UInt64 COMMENT 'Where the message is in Kafka' CODEC(Delta, ZSTD(1)),
    is_sent Bool ALIAS what = 'sent' COMMENT 'The producer sent the frame',
    exchange LowCardinality(String) ALIAS source COMMENT 'The same as source',
    CONSTRAINT has_connection CHECK notEmpty(source) AND notEmpty(connection)
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(received_at)
ORDER BY (source, record_kind, received_at, connection, place, part)
TTL toDateTime(received_at) + toIntervalDay(7)
SETTINGS
    non_replicated_deduplication_window = 100000,
    min_free_disk_bytes_to_perform_insert = 134217728,
    -- A part holds one day, so an old day is dropped without a merge.
    ttl_only_drop_parts = 1;

-- One row per row that `radar reparse` has corrected. `radar verify` looks for the messages of removed rows here.
CREATE TABLE IF NOT EXISTS reparse_changes
(
    source LowCardinality(String) COMMENT 'Exchange',
    record_kind LowCardinality(String) COMMENT 'Dataset of the row: trades or depth',
    symbol LowCardinality(String) COMMENT 'Market of the row',
    change LowCardinality(String) COMMENT 'added, removed or changed',
    row_key String COMMENT 'Row key: of a trade its ID; of a snapshot exchange, market, side and time of receipt, with | between' CODEC(ZSTD(1)),
    received_at DateTime64(6, 'UTC') COMMENT 'Time of receipt of the row' CODEC(Delta, ZSTD(1)),
    deleted String COMMENT 'Names the deleted deliveries of the row; empty: none' CODEC(ZSTD(1)),
    run UInt64 COMMENT 'The run of radar reparse; kafka_offset of the rows that it inserted' CODEC(Delta, ZSTD(1)),
    changed_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'Clock of ClickHouse' CODEC(Delta, ZSTD(1)),
    exchange LowCardinality(String) ALIAS source COMMENT 'The same as source'
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(received_at)
ORDER BY (source, record_kind, row_key, received_at, change, deleted, run)
SETTINGS
    min_free_disk_bytes_to_perform_insert = 134217728;
