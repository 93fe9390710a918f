-- The volume of 24 hours as an exchange claims it, compared with the recorded trades (radar reconcile). The exchange
-- does not say when its 24 hours begin and end, so the recorded volume has a lower and an upper bound.
CREATE TABLE IF NOT EXISTS exchange_day_volumes
(
    source LowCardinality(String) COMMENT 'Exchange',
    symbol LowCardinality(String) COMMENT 'Market, as the exchange writes it',
    asked_at DateTime64(6, 'UTC') COMMENT 'When the exchange was asked' CODEC(Delta, ZSTD(1)),
    inner_begin DateTime64(6, 'UTC') COMMENT 'The 24 hours began at this time or before' CODEC(Delta, ZSTD(1)),
    inner_end DateTime64(6, 'UTC') COMMENT 'They ended at this time or later' CODEC(Delta, ZSTD(1)),
    outer_begin DateTime64(6, 'UTC') COMMENT 'They began at this time or later' CODEC(Delta, ZSTD(1)),
    outer_end DateTime64(6, 'UTC') COMMENT 'They ended at this time or before' CODEC(Delta, ZSTD(1)),
    claimed Decimal(38, 18) COMMENT 'Volume in base units, as the exchange says' CODEC(ZSTD(1)),
    places UInt8 COMMENT 'Decimals that the exchange shows' CODEC(ZSTD(1)),
    inner_volume Decimal(38, 18) COMMENT 'Volume of the recorded trades from inner_begin to inner_end' CODEC(ZSTD(1)),
    outer_volume Decimal(38, 18) COMMENT 'Volume of the recorded trades from outer_begin to outer_end' CODEC(ZSTD(1)),
    result LowCardinality(String) COMMENT 'equal, short, different or unknown' CODEC(ZSTD(1)),
    reason LowCardinality(String) COMMENT 'Why it proves nothing; empty: it does' CODEC(ZSTD(1)),
    checked_at DateTime64(6, 'UTC') COMMENT 'When it was compared' CODEC(Delta, ZSTD(1)),
    CONSTRAINT has_market CHECK notEmpty(source) AND notEmpty(symbol)
)
ENGINE = ReplacingMergeTree(checked_at)
PARTITION BY toYYYYMM(asked_at)
ORDER BY (source, symbol, asked_at)
TTL toDateTime(asked_at) + toIntervalDay(90)
SETTINGS
    non_replicated_deduplication_window = 100000,
    min_free_disk_bytes_to_perform_insert = 134217728;

-- One row per answer of an exchange and market.
CREATE OR REPLACE VIEW day_volumes AS
SELECT
    source AS exchange,
    symbol,
    asked_at,
    inner_begin AS began_at,
    inner_end AS ended_at,
    claimed AS claimed_volume,
    inner_volume AS recorded_volume,
    outer_volume AS recorded_volume_most,
    result,
    reason,
    checked_at
FROM exchange_day_volumes FINAL;
