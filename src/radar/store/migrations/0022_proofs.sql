-- What each hour of a recorded market is known to hold, from independent evidence (radar reconcile).
-- One row per market and hour: a later examination replaces all intervals of the hour at once.
CREATE TABLE IF NOT EXISTS proofs
(
    source LowCardinality(String) COMMENT 'Exchange',
    record_kind Enum8('trades' = 1, 'depth' = 2) COMMENT 'Examined dataset',
    symbol LowCardinality(String) COMMENT 'Market, as the exchange writes it',
    hour DateTime('UTC') COMMENT 'Beginning of the hour',
    -- The intervals lie side by side, oldest first; all lists have one entry for each.
    begins Array(Int64) COMMENT 'Unix time in microseconds' CODEC(ZSTD(1)),
    ends Array(Int64) COMMENT 'Unix time in microseconds, not included' CODEC(ZSTD(1)),
    states Array(LowCardinality(String)) COMMENT 'verified, repaired, unverifiable or missing' CODEC(ZSTD(1)),
    causes Array(LowCardinality(String)) COMMENT 'Why; empty: verified' CODEC(ZSTD(1)),
    evidence Array(LowCardinality(String)) COMMENT 'numbers, candles, chain, backfill, sessions or none' CODEC(ZSTD(1)),
    missing Array(UInt64) COMMENT 'How many records the numbers prove to be missing' CODEC(ZSTD(1)),
    checked_at DateTime64(6, 'UTC') COMMENT 'When it was examined' CODEC(ZSTD(1)),
    CONSTRAINT has_market CHECK notEmpty(source) AND notEmpty(symbol),
    CONSTRAINT equal_lengths CHECK
        length(begins) = length(ends) AND length(begins) = length(states) AND length(begins) = length(causes)
        AND length(begins) = length(evidence) AND length(begins) = length(missing)
)
ENGINE = ReplacingMergeTree(checked_at)
PARTITION BY toYYYYMM(hour)
ORDER BY (source, record_kind, symbol, hour)
SETTINGS
    non_replicated_deduplication_window = 100000,
    min_free_disk_bytes_to_perform_insert = 134217728;

-- One row per interval of a market with its state, its cause and the evidence.
CREATE OR REPLACE VIEW proof_intervals AS
SELECT
    source AS exchange,
    toString(record_kind) AS dataset,
    symbol,
    fromUnixTimestamp64Micro(begin_us, 'UTC') AS began_at,
    fromUnixTimestamp64Micro(end_us, 'UTC') AS ended_at,
    state,
    cause,
    -- radar itself did not record: no fault of the exchange.
    cause IN ('not_recording', 'backpressure', 'refused_by_kafka', 'suspended', 'clock') AS is_own,
    kind AS evidence,
    count AS missing,
    checked_at
FROM
(
    SELECT
        source, record_kind, symbol, checked_at,
        arrayJoin(arrayZip(begins, ends, states, causes, evidence, missing)) AS interval,
        interval.1 AS begin_us, interval.2 AS end_us, interval.3 AS state, interval.4 AS cause,
        interval.5 AS kind, interval.6 AS count
    FROM proofs FINAL
);

-- How much of each day (UTC) of a market is in which state. The seconds add up to the examined time.
CREATE OR REPLACE VIEW completeness AS
SELECT
    exchange,
    dataset,
    symbol,
    toDate(began_at) AS day,
    sumIf(lasted_us, state = 'verified') / 1e6 AS verified_s,
    sumIf(lasted_us, state = 'repaired') / 1e6 AS repaired_s,
    sumIf(lasted_us, state = 'unverifiable') / 1e6 AS unverifiable_s,
    sumIf(lasted_us, state = 'missing') / 1e6 AS missing_s,
    sumIf(lasted_us, is_own AND state IN ('missing', 'unverifiable')) / 1e6 AS own_s,
    sum(missing) AS missing,
    max(ended_at) AS examined_until
FROM
(
    SELECT *, toUnixTimestamp64Micro(ended_at) - toUnixTimestamp64Micro(began_at) AS lasted_us
    FROM proof_intervals
)
GROUP BY exchange, dataset, symbol, day;

-- Of each session: how its trades compare with those of redundant connections.
ALTER TABLE watches
    ADD COLUMN IF NOT EXISTS both UInt64 DEFAULT 0 COMMENT 'Trades that a redundant connection brought as well',
    ADD COLUMN IF NOT EXISTS alone UInt64 DEFAULT 0
        COMMENT 'Trades that only this connection brought, although another one lived';

CREATE OR REPLACE VIEW sessions AS
SELECT
    source AS exchange, record_kind AS dataset, connection, symbols, began_at, ended_at, end_reason, interval_ms,
    received_at, both, alone
FROM watches FINAL;

-- An estimate of the trades that no connection brought, from two connections that each missed some (Lincoln and
-- Petersen: only one times only the other, by both). It takes equal connections and independent losses for granted, so
-- it proves nothing. NULL: no trade came twice.
CREATE OR REPLACE VIEW redundancy AS
SELECT
    source AS exchange,
    toDate(began_at) AS day,
    -- Each of these trades is counted by both connections.
    intDiv(sum(both), 2) AS brought_by_both,
    sum(alone) AS brought_by_one,
    pow(brought_by_one / 2, 2) / nullIf(brought_by_both, 0) AS estimated_missed
FROM watches FINAL
WHERE record_kind = 'trades' AND both + alone > 0
GROUP BY exchange, day;
