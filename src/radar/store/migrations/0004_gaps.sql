-- One row per time in which no connection of a producer brought anything of some markets.
CREATE TABLE IF NOT EXISTS gaps
(
    source LowCardinality(String) COMMENT 'Exchange: wallex',
    record_kind Enum8('trades' = 1, 'depth' = 2) COMMENT 'What is missing',
    cause Enum8('disconnected' = 1, 'silent' = 2, 'refused' = 3, 'backpressure' = 4) COMMENT 'Why',
    symbols Array(LowCardinality(String)) COMMENT 'Markets as the exchange writes them',
    began_at DateTime64(6, 'UTC') COMMENT 'Last frame before; clock of the producer',
    ended_at DateTime64(6, 'UTC') COMMENT 'Subscribed or read again; clock of the producer',
    repaired Bool COMMENT 'REST has told everything that was missed',
    received_at DateTime64(6, 'UTC') COMMENT 'When it was recorded; clock of the producer',
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'Clock of ClickHouse',
    kafka_partition UInt16 COMMENT 'Where the message stood in Kafka',
    kafka_offset UInt64,
    CONSTRAINT has_market CHECK notEmpty(source) AND notEmpty(symbols),
    CONSTRAINT forward CHECK ended_at >= began_at
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(received_at)
PRIMARY KEY (source, record_kind, began_at)
ORDER BY (source, record_kind, began_at, ended_at, cause, symbols, received_at)
TTL toDateTime(received_at) + toIntervalDay(90)
SETTINGS
    non_replicated_deduplication_window = 100000,
    -- Refuse while there is room for what is under way: an insert that finds the disk full reports success.
    min_free_disk_bytes_to_perform_insert = 134217728;
