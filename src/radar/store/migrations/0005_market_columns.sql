-- What the views of 0006 read. Nothing is rewritten: old rows get their values when they are read or merged.
ALTER TABLE trades_master
    -- One number, because ClickHouse aggregates by a number three times as fast as by a tuple.
    ADD COLUMN IF NOT EXISTS sequence UInt256 ALIAS
        bitShiftLeft(toUInt256(toUnixTimestamp64Milli(event_time)), 192)
        + bitShiftLeft(toUInt256(toUnixTimestamp64Micro(received_at)), 128)
        + toUInt256(toUInt128(trade_id))
        COMMENT 'Order of all trades: by event_time, then received_at, then trade_id';
ALTER TABLE trades_master
    -- Weeks that are over become one part, in which FINAL has nothing to compare.
    MODIFY SETTING min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1;
ALTER TABLE orderbook_depth
    -- So that spreads are read without the other levels.
    ADD COLUMN IF NOT EXISTS best_price Float64 MATERIALIZED prices[1] COMMENT 'Of the best level; 0: none' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS best_quantity Float64 MATERIALIZED quantities[1] COMMENT 'Of the best level; 0: none' CODEC(ZSTD(1));
