-- Candles of days that begin at midnight in a time zone, such as Asia/Tehran. The candles of one day in UTC are
-- candles(interval_s = 86400).
CREATE OR REPLACE VIEW daily_candles AS
WITH
    toStartOfDay({start:DateTime64(3, 'UTC')}, {time_zone:String}) AS first,
    toStartOfDay({end:DateTime64(3, 'UTC')} - toIntervalMillisecond(1), {time_zone:String}) + toIntervalDay(1) AS beyond
SELECT
    source,
    symbol,
    toDateTime(toStartOfDay(event_time, {time_zone:String}), 'UTC') AS open_time,
    toDate(toStartOfDay(event_time, {time_zone:String})) AS day,
    argMin(price, sequence) AS open,
    max(price) AS high,
    min(price) AS low,
    argMax(price, sequence) AS close,
    sum(base_amount) AS volume,
    sum(quote_amount) AS quote_volume,
    toDecimal128(toDecimal256(quote_volume, 18) / toDecimal256(volume, 18), 18) AS vwap,
    count() AS trades
FROM trades_master FINAL
WHERE event_time >= first AND event_time < beyond
GROUP BY source, symbol, open_time, day;

-- As daily_candles, of one market.
CREATE OR REPLACE VIEW market_daily_candles AS
WITH
    toStartOfDay({start:DateTime64(3, 'UTC')}, {time_zone:String}) AS first,
    toStartOfDay({end:DateTime64(3, 'UTC')} - toIntervalMillisecond(1), {time_zone:String}) + toIntervalDay(1) AS beyond
SELECT
    toDateTime(toStartOfDay(event_time, {time_zone:String}), 'UTC') AS open_time,
    toDate(toStartOfDay(event_time, {time_zone:String})) AS day,
    argMin(price, sequence) AS open,
    max(price) AS high,
    min(price) AS low,
    argMax(price, sequence) AS close,
    sum(base_amount) AS volume,
    sum(quote_amount) AS quote_volume,
    toDecimal128(toDecimal256(quote_volume, 18) / toDecimal256(volume, 18), 18) AS vwap,
    count() AS trades
FROM trades_master FINAL
WHERE source = {source:String} AND symbol = {symbol:String} AND event_time >= first AND event_time < beyond
GROUP BY open_time, day;

-- Open pages ask every second which candles the newest rows belong to. Rows are in the order of event_time, which
-- nearly is that of inserted_at, so that hardly anything is read. Old parts get the index in the background.
ALTER TABLE trades_master ADD INDEX IF NOT EXISTS inserted inserted_at TYPE minmax GRANULARITY 1;
ALTER TABLE trades_master MATERIALIZE INDEX inserted;
