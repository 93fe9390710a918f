-- What makes the candles of a busy market faster by a third: a narrower number to find the first and the
-- last trade by, and no grouping by market where only one is asked for.
ALTER TABLE trades_master
    -- 42 bits hold the milliseconds and 52 the microseconds up to the year 2100, where radar's times end.
    MODIFY COLUMN sequence UInt128 ALIAS
        bitShiftLeft(toUInt128(toUnixTimestamp64Milli(event_time)), 86)
        + bitShiftLeft(toUInt128(toUnixTimestamp64Micro(received_at)), 34)
        + bitShiftRight(toUInt128(trade_id), 94)
        COMMENT 'Order of all trades: by event_time, then received_at, then the first 34 bits of trade_id';

-- As candles, of one market.
CREATE OR REPLACE VIEW market_candles AS
WITH
    toIntervalSecond({interval_s:UInt32}) AS width,
    toDateTime64('1970-01-05 00:00:00', 3, 'UTC') AS origin,
    toStartOfInterval({start:DateTime64(3, 'UTC')}, width, origin) AS first,
    toStartOfInterval({end:DateTime64(3, 'UTC')} - toIntervalMillisecond(1), width, origin) AS last
SELECT
    toDateTime(toStartOfInterval(event_time, width, origin), 'UTC') AS open_time,
    argMin(price, sequence) AS open,
    max(price) AS high,
    min(price) AS low,
    argMax(price, sequence) AS close,
    sum(base_amount) AS volume,
    sum(quote_amount) AS quote_volume,
    toDecimal128(toDecimal256(quote_volume, 18) / toDecimal256(volume, 18), 18) AS vwap,
    count() AS trades
FROM trades_master FINAL
WHERE source = {source:String} AND symbol = {symbol:String} AND event_time >= first AND event_time < last + width
GROUP BY open_time;
