-- One row per snapshot of one side of one order book.
CREATE TABLE IF NOT EXISTS orderbook_depth
(
    source LowCardinality(String) COMMENT 'Exchange: wallex',
    symbol LowCardinality(String) COMMENT 'Market as the exchange writes it: BTCUSDT',
    base LowCardinality(String) COMMENT 'BTC',
    quote LowCardinality(String) COMMENT 'USDT',
    side Enum8('bid' = 1, 'ask' = 2) COMMENT 'Side of the book',
    received_at DateTime64(6, 'UTC') COMMENT 'Clock of the producer' CODEC(Delta, ZSTD(1)),
    prices Array(Float64) COMMENT 'Best level first' CODEC(ZSTD(1)),
    quantities Array(Float64) COMMENT 'Base units, as many as prices' CODEC(ZSTD(1)),
    levels UInt16 MATERIALIZED length(prices) COMMENT 'How many levels' CODEC(ZSTD(1)),
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'Clock of ClickHouse' CODEC(Delta, ZSTD(1)),
    kafka_partition UInt16 COMMENT 'Where the message stood in Kafka' CODEC(ZSTD(1)),
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)),
    CONSTRAINT has_market CHECK notEmpty(source) AND notEmpty(symbol) AND notEmpty(base) AND notEmpty(quote),
    CONSTRAINT equal_lengths CHECK length(prices) = length(quantities),
    CONSTRAINT positive_levels CHECK arrayAll((p, q) -> p > 0 AND q > 0 AND isFinite(p) AND isFinite(q), prices, quantities)
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(received_at)
ORDER BY (source, symbol, side, received_at)
TTL toDateTime(received_at) + toIntervalDay(90)
SETTINGS
    non_replicated_deduplication_window = 100000,
    -- Refuse while there is room for what is under way: an insert that finds the disk full reports success.
    min_free_disk_bytes_to_perform_insert = 134217728;
