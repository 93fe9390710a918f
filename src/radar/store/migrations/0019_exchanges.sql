-- Several exchanges: their own IDs and numbers, their times to the microsecond, and books that are proven.
-- Only columns are added, so that older workers go on and no recorded row is copied.
ALTER TABLE trades_master
    ADD COLUMN IF NOT EXISTS native_id String COMMENT 'ID of the exchange; empty: it gives none' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS native_sequence UInt64
        COMMENT 'Consecutive number of the exchange, so that a hole proves a loss; 0: it gives none'
        CODEC(Delta, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS event_time_us DateTime64(6, 'UTC') DEFAULT event_time
        COMMENT 'Clock of the exchange, as finely as it is sent' CODEC(Delta, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS exchange LowCardinality(String) ALIAS source COMMENT 'The same as source';

ALTER TABLE orderbook_depth
    ADD COLUMN IF NOT EXISTS event_time DateTime64(6, 'UTC') DEFAULT toDateTime64(0, 6, 'UTC')
        COMMENT 'Clock of the exchange; 1970: it sends none' CODEC(Delta, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS sequence UInt64
        COMMENT 'Number that the exchange gives this state of the book; 0: it gives none' CODEC(Delta, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS verified Bool DEFAULT false
        COMMENT 'A chain of numbers or a checksum of the exchange proves this book' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS exchange LowCardinality(String) ALIAS source COMMENT 'The same as source';

ALTER TABLE gaps
    MODIFY COLUMN cause Enum8('disconnected' = 1, 'silent' = 2, 'refused' = 3, 'backpressure' = 4, 'mute' = 5,
        'refused_by_kafka' = 6, 'suspended' = 7, 'clock' = 8, 'sequence' = 9, 'checksum' = 10) COMMENT 'Why',
    ADD COLUMN IF NOT EXISTS first_id UInt64
        COMMENT 'First missing number of the exchange; 0: no numbers prove the loss',
    ADD COLUMN IF NOT EXISTS last_id UInt64 COMMENT 'Last missing number',
    ADD COLUMN IF NOT EXISTS missing UInt64 COMMENT 'How many records the numbers prove to be missing',
    ADD COLUMN IF NOT EXISTS exchange LowCardinality(String) ALIAS source COMMENT 'The same as source',
    ADD COLUMN IF NOT EXISTS backfilled Bool ALIAS repaired COMMENT 'The same as repaired';

CREATE OR REPLACE VIEW trades AS
SELECT
    trade_id, source, symbol, base, quote, side, price, base_amount, quote_amount,
    event_time, received_at, inserted_at, kafka_partition, kafka_offset,
    native_id, native_sequence, event_time_us, source AS exchange
FROM trades_master FINAL;

-- The sessions: from when to when one connection delivered which markets.
CREATE OR REPLACE VIEW sessions AS
SELECT
    source AS exchange, record_kind AS dataset, connection, symbols, began_at, ended_at, end_reason, interval_ms,
    received_at
FROM watches FINAL;

-- How much of each day (UTC) each market was really watched, since it was first.
-- The time of a gap with one of these causes lies inside a watch and was not recorded.
CREATE OR REPLACE VIEW coverage AS
WITH spans AS
(
    SELECT source, record_kind, symbol, what, false AS is_hole, began_us, reported_us AS ended_us
    FROM recording_spans
    WHERE what = 'watch'
    UNION ALL
    SELECT source, record_kind, symbol, if(repaired, 'repaired', 'gap') AS what,
        cause IN ('mute', 'refused_by_kafka', 'sequence', 'checksum') AS is_hole,
        toUnixTimestamp64Micro(began_at) AS began_us, toUnixTimestamp64Micro(ended_at) AS ended_us
    FROM symbol_gaps
    UNION ALL
    -- Also days on which nothing was recorded. Its length is what can be expected of a day.
    SELECT source, record_kind, symbol, 'day' AS what, false AS is_hole, first_us AS began_us, until_us AS ended_us
    FROM recorded_markets
)
SELECT
    source,
    record_kind,
    symbol,
    toDate(day_number) AS day,
    -- Of the first day what followed the first watch, of today what is over.
    greatest(intervalLengthSumIf(from_us, to_us, what = 'day'), 1) / 1e6 AS elapsed_s,
    (intervalLengthSumIf(from_us, to_us, what = 'watch' OR is_hole) - intervalLengthSumIf(from_us, to_us, is_hole)) / 1e6 AS watched_s,
    least(1, watched_s / elapsed_s) AS watched_share,
    countIf(what IN ('gap', 'repaired')) AS gaps,
    intervalLengthSumIf(from_us, to_us, what IN ('gap', 'repaired')) / 1e6 AS gaps_s,
    countIf(what = 'repaired') AS repaired_gaps,
    intervalLengthSumIf(from_us, to_us, what = 'repaired') / 1e6 AS repaired_s,
    least(1,
        (intervalLengthSumIf(from_us, to_us, what IN ('watch', 'repaired') OR is_hole)
            - intervalLengthSumIf(from_us, to_us, is_hole AND what = 'gap')) / 1e6 / elapsed_s) AS complete_share,
    day_number = intDiv(toUnixTimestamp64Micro(now64(6, 'UTC')), 86400000000) AS in_progress
FROM
(
    SELECT
        source, record_kind, symbol, what, is_hole,
        arrayJoin(range(toUInt32(intDiv(began_us, 86400000000)), toUInt32(intDiv(ended_us, 86400000000)) + 1)) AS day_number,
        greatest(began_us, toInt64(day_number) * 86400000000) AS from_us,
        least(ended_us, (toInt64(day_number) + 1) * 86400000000) AS to_us
    FROM spans
)
GROUP BY source, record_kind, symbol, day_number;
