-- Candles as an exchange computed them (radar backfill --dataset candles). Those that follow from recorded trades are
-- in the views candles and daily_candles.
CREATE TABLE IF NOT EXISTS exchange_candles
(
    source LowCardinality(String) COMMENT 'Exchange',
    symbol LowCardinality(String) COMMENT 'Market, as the exchange writes it',
    base LowCardinality(String) COMMENT 'Base currency',
    quote LowCardinality(String) COMMENT 'Quote currency; prices in Rial are in Toman here',
    interval_s UInt32 COMMENT 'Nominal length in seconds; a day has 86400' CODEC(ZSTD(1)),
    resolution LowCardinality(String) COMMENT 'Interval, as the exchange writes it',
    time_zone LowCardinality(String)
        COMMENT 'A candle of a day begins at midnight of this time zone; empty: it is shorter than a day',
    open_time DateTime64(6, 'UTC') COMMENT 'When it begins, as the exchange says' CODEC(DoubleDelta, ZSTD(1)),
    open Decimal(38, 18) COMMENT 'Quote units for one base unit, exact' CODEC(ZSTD(1)),
    high Decimal(38, 18) COMMENT 'Quote units for one base unit, exact' CODEC(ZSTD(1)),
    low Decimal(38, 18) COMMENT 'Quote units for one base unit, exact' CODEC(ZSTD(1)),
    close Decimal(38, 18) COMMENT 'Quote units for one base unit, exact' CODEC(ZSTD(1)),
    volume Decimal(38, 18) COMMENT 'Base units' CODEC(ZSTD(1)),
    received_at DateTime64(6, 'UTC') COMMENT 'Clock of the machine that fetched it' CODEC(Delta, ZSTD(1)),
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was inserted' CODEC(Delta, ZSTD(1)),
    kafka_partition UInt16 COMMENT 'Where the message is in Kafka' CODEC(ZSTD(1)),
    kafka_offset UInt64 COMMENT 'Where the message is in Kafka' CODEC(Delta, ZSTD(1)),
    exchange LowCardinality(String) ALIAS source COMMENT 'The same as source',
    CONSTRAINT has_market CHECK notEmpty(source) AND notEmpty(symbol) AND notEmpty(base) AND notEmpty(quote),
    CONSTRAINT positive_prices CHECK low > 0
)
ENGINE = ReplacingMergeTree(received_at)
PARTITION BY toYear(open_time)
ORDER BY (source, symbol, interval_s, open_time)
TTL toDateTime(received_at) + toIntervalDay(90)
SETTINGS
    non_replicated_deduplication_window = 100000,
    -- Refuse while there is room for what is under way: an insert that finds the disk full reports success.
    min_free_disk_bytes_to_perform_insert = 134217728;
