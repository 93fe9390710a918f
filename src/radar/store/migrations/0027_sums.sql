-- Trades of past weeks, summed by market and quarter of an hour, for candles over long times. The trades themselves stay
-- the truth: a sum counts only as long as its week's part of trades_master is the one that was summed.
CREATE TABLE IF NOT EXISTS trade_sums
(
    week Date COMMENT 'Monday of the week' CODEC(ZSTD(1)),
    contents UInt64 COMMENT 'Hash of the part of trades_master that was summed' CODEC(ZSTD(1)),
    attempt UInt64 COMMENT 'Which attempt to sum the week: a random number' CODEC(ZSTD(1)),
    source LowCardinality(String) COMMENT 'Exchange',
    symbol LowCardinality(String) COMMENT 'Market, as the exchange writes it',
    open_time DateTime('UTC') COMMENT 'Begin of the quarter of an hour' CODEC(Delta, ZSTD(1)),
    open Decimal(38, 18) COMMENT 'First price' CODEC(ZSTD(1)),
    first_sequence UInt128 COMMENT 'Order of the first trade' CODEC(ZSTD(1)),
    high Decimal(38, 18) COMMENT 'Highest price' CODEC(ZSTD(1)),
    low Decimal(38, 18) COMMENT 'Lowest price' CODEC(ZSTD(1)),
    close Decimal(38, 18) COMMENT 'Last price' CODEC(ZSTD(1)),
    last_sequence UInt128 COMMENT 'Order of the last trade' CODEC(ZSTD(1)),
    volume Decimal(38, 18) COMMENT 'Volume, exact' CODEC(ZSTD(1)),
    quote_volume Decimal(38, 18) COMMENT 'Value of the volume, exact' CODEC(ZSTD(1)),
    trades UInt64 COMMENT 'Number of trades' CODEC(ZSTD(1)),
    summed_at DateTime('UTC') COMMENT 'When they were summed' CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY (week, toDate(summed_at))
ORDER BY (source, symbol, open_time, attempt)
TTL summed_at + toIntervalDay(8)
SETTINGS
    ttl_only_drop_parts = 1,
    min_free_disk_bytes_to_perform_insert = 134217728;

-- The weeks whose sums are complete: written after the sums.
CREATE TABLE IF NOT EXISTS summed_weeks
(
    week Date COMMENT 'Monday of the week' CODEC(ZSTD(1)),
    contents UInt64 COMMENT 'Hash of the part of trades_master that was summed' CODEC(ZSTD(1)),
    attempt UInt64 COMMENT 'Which attempt to sum the week: a random number' CODEC(ZSTD(1)),
    summed_at DateTime('UTC') COMMENT 'When it was summed' CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
ORDER BY week
TTL summed_at + toIntervalDay(8)
SETTINGS
    min_free_disk_bytes_to_perform_insert = 134217728;

-- As market_candles, for intervals of whole quarters of an hour, and faster over more than some days: it reads the sums of
-- past weeks. The list of weeks is read once, so each week is read either from its sums or from its trades.
CREATE OR REPLACE VIEW summed_market_candles AS
WITH
    toIntervalSecond({interval_s:UInt32}) AS width,
    toDateTime64('1970-01-05 00:00:00', 3, 'UTC') AS origin,
    toStartOfInterval({start:DateTime64(3, 'UTC')}, width, origin) AS first,
    toStartOfInterval({end:DateTime64(3, 'UTC')} - toIntervalMillisecond(1), width, origin) AS last,
    (
        SELECT groupArray((week, attempt))
        FROM summed_weeks
        WHERE {interval_s:UInt32} % 900 = 0 AND summed_at > now() - toIntervalDay(7) AND (week, contents) IN
        (
            SELECT toDate(partition), any(cityHash64(hash_of_all_files))
            FROM system.parts
            WHERE active AND database = currentDatabase() AND table = 'trades_master'
            GROUP BY partition
            HAVING count() = 1
        )
    ) AS summed
SELECT
    toDateTime(toStartOfInterval(began_at, width, origin), 'UTC') AS open_time,
    argMin(first_price, first_sequence) AS open,
    max(highest) AS high,
    min(lowest) AS low,
    argMax(last_price, last_sequence) AS close,
    sum(amount) AS volume,
    sum(quote_amount) AS quote_volume,
    toDecimal128(toDecimal256(quote_volume, 18) / toDecimal256(volume, 18), 18) AS vwap,
    sum(number) AS trades
FROM
(
    SELECT
        toDateTime64(open_time, 3, 'UTC') AS began_at,
        open AS first_price,
        first_sequence,
        high AS highest,
        low AS lowest,
        close AS last_price,
        last_sequence,
        volume AS amount,
        quote_volume AS quote_amount,
        trades AS number
    FROM trade_sums
    WHERE source = {source:String} AND symbol = {symbol:String}
        AND open_time >= toDateTime(first) AND open_time < toDateTime(last + width)
        AND has(summed, (week, attempt))
    UNION ALL
    SELECT
        toStartOfInterval(event_time, width, origin) AS began_at,
        argMin(price, sequence),
        min(sequence),
        max(price),
        min(price),
        argMax(price, sequence),
        max(sequence),
        sum(base_amount),
        sum(quote_amount),
        count()
    FROM trades_master FINAL
    WHERE source = {source:String} AND symbol = {symbol:String} AND event_time >= first AND event_time < last + width
        AND NOT has(arrayMap(each -> each.1, summed), toMonday(event_time))
    GROUP BY began_at
)
GROUP BY open_time;

-- As summed_market_candles, of days that begin at midnight in a time zone.
CREATE OR REPLACE VIEW summed_market_daily_candles AS
WITH
    toStartOfDay({start:DateTime64(3, 'UTC')}, {time_zone:String}) AS first,
    toStartOfDay({end:DateTime64(3, 'UTC')} - toIntervalMillisecond(1), {time_zone:String}) + toIntervalDay(1) AS beyond,
    (
        SELECT groupArray((week, attempt))
        FROM summed_weeks
        WHERE summed_at > now() - toIntervalDay(7) AND (week, contents) IN
        (
            SELECT toDate(partition), any(cityHash64(hash_of_all_files))
            FROM system.parts
            WHERE active AND database = currentDatabase() AND table = 'trades_master'
            GROUP BY partition
            HAVING count() = 1
        )
    ) AS summed
SELECT
    toDateTime(toStartOfDay(began_at, {time_zone:String}), 'UTC') AS open_time,
    toDate(toStartOfDay(began_at, {time_zone:String})) AS day,
    argMin(first_price, first_sequence) AS open,
    max(highest) AS high,
    min(lowest) AS low,
    argMax(last_price, last_sequence) AS close,
    sum(amount) AS volume,
    sum(quote_amount) AS quote_volume,
    toDecimal128(toDecimal256(quote_volume, 18) / toDecimal256(volume, 18), 18) AS vwap,
    sum(number) AS trades
FROM
(
    SELECT
        toDateTime(open_time, 'UTC') AS began_at,
        open AS first_price,
        first_sequence,
        high AS highest,
        low AS lowest,
        close AS last_price,
        last_sequence,
        volume AS amount,
        quote_volume AS quote_amount,
        trades AS number
    FROM trade_sums
    WHERE source = {source:String} AND symbol = {symbol:String}
        AND open_time >= first AND open_time < beyond
        AND has(summed, (week, attempt))
    UNION ALL
    SELECT
        toDateTime(toStartOfDay(event_time, {time_zone:String}), 'UTC') AS began_at,
        argMin(price, sequence),
        min(sequence),
        max(price),
        min(price),
        argMax(price, sequence),
        max(sequence),
        sum(base_amount),
        sum(quote_amount),
        count()
    FROM trades_master FINAL
    WHERE source = {source:String} AND symbol = {symbol:String} AND event_time >= first AND event_time < beyond
        AND NOT has(arrayMap(each -> each.1, summed), toMonday(event_time))
    GROUP BY began_at
)
GROUP BY open_time, day;
