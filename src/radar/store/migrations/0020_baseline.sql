-- The whole schema of radar: first the tables, then the views, each after the tables and views that it reads.
-- Later migrations change it; this file never changes.
--
-- The tables share these settings and clauses:
--   TTL                                    Rows expire by their time of receipt: a backfilled trade may be old when it
--                                          arrives. `radar migrate` sets the interval to RETENTION_DAYS.
--   non_replicated_deduplication_window    ClickHouse skips an insert with the token of one of so many earlier inserts.
--   min_free_disk_bytes_to_perform_insert  ClickHouse refuses inserts while less than 128 MiB are free, so that the
--                                          running ones still fit: an insert that finds the disk full reports success.
--
-- The sorting key names a record. Repeated deliveries of a record have the same key and collapse to one row.

-- ---------------------------------------------------------------------------------------------------------------------
-- Tables: datasets
-- ---------------------------------------------------------------------------------------------------------------------

-- One row per delivery of a trade; deliveries of the same trade collapse to the one received first.
CREATE TABLE IF NOT EXISTS trades_master
(
    trade_id UUID COMMENT 'Identity: hash of the trade and its occurrence number' CODEC(NONE),
    source LowCardinality(String) COMMENT 'Exchange: wallex',
    symbol LowCardinality(String) COMMENT 'Market as the exchange writes it: USDTTMN',
    base LowCardinality(String) COMMENT 'USDT',
    quote LowCardinality(String) COMMENT 'TMN (Toman)',
    side Enum8('buy' = 1, 'sell' = 2) COMMENT 'Side of the taker',
    -- Candles and the list of markets read the columns with LZ4 of every trade. They take a quarter less time than
    -- with ZSTD, for a seventh more disk.
    price Decimal(38, 18) COMMENT 'Quote units for one base unit, exact' CODEC(LZ4),
    base_amount Decimal(38, 18) COMMENT 'Base units, exact' CODEC(LZ4),
    -- multiplyDecimal gives the same result and takes twenty times as long.
    quote_amount Decimal(38, 18) MATERIALIZED toDecimal128(toDecimal256(price, 18) * toDecimal256(base_amount, 18), 18)
        COMMENT 'price x base_amount, cut at 18 places' CODEC(LZ4),
    event_time DateTime64(3, 'UTC') COMMENT 'Clock of the exchange' CODEC(DoubleDelta, LZ4),
    received_at DateTime64(6, 'UTC') COMMENT 'Clock of the producer' CODEC(Delta, LZ4),
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'Clock of ClickHouse' CODEC(Delta, ZSTD(1)),
    kafka_partition UInt16 COMMENT 'Where the message stood in Kafka' CODEC(ZSTD(1)),
    kafka_offset UInt64 CODEC(Delta, ZSTD(1)),
    -- ReplacingMergeTree keeps the greatest version, so the earliest receipt needs the greatest one.
    version UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Micro(received_at)))
        COMMENT 'Falls as received_at rises' CODEC(Delta, ZSTD(1)),
    -- One number, because ClickHouse aggregates by a tuple three times as slowly. 42 bits hold the milliseconds and
    -- 52 the microseconds up to the year 2100, where radar's times end.
    sequence UInt128 ALIAS
        bitShiftLeft(toUInt128(toUnixTimestamp64Milli(event_time)), 86)
        + bitShiftLeft(toUInt128(toUnixTimestamp64Micro(received_at)), 34)
        + bitShiftRight(toUInt128(trade_id), 94)
        COMMENT 'Order of all trades: by event_time, then received_at, then the first 34 bits of trade_id',
    native_id String COMMENT 'ID of the exchange; empty: it gives none' CODEC(ZSTD(1)),
    native_sequence UInt64
        COMMENT 'Consecutive number of the exchange, so that a hole proves a loss; 0: it gives none'
        CODEC(Delta, ZSTD(1)),
    event_time_us DateTime64(6, 'UTC') DEFAULT event_time
        COMMENT 'Clock of the exchange, as finely as it is sent' CODEC(Delta, ZSTD(1)),
    exchange LowCardinality(String) ALIAS source COMMENT 'The same as source',
    -- Open pages ask every second for the newest rows. Rows are in the order of event_time, which is nearly that of
    -- inserted_at, so this index skips almost everything.
    INDEX inserted inserted_at TYPE minmax GRANULARITY 1,
    CONSTRAINT has_market CHECK notEmpty(source) AND notEmpty(symbol) AND notEmpty(base) AND notEmpty(quote),
    CONSTRAINT positive_price CHECK price > 0,
    CONSTRAINT positive_amount CHECK base_amount > 0
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toMonday(event_time)
ORDER BY (source, symbol, event_time, trade_id)
TTL toDateTime(received_at) + toIntervalDay(90)
SETTINGS
    non_replicated_deduplication_window = 100000,
    min_free_disk_bytes_to_perform_insert = 134217728,
    -- A past week becomes one part, in which FINAL has no rows to compare.
    min_age_to_force_merge_seconds = 86400,
    min_age_to_force_merge_on_partition_only = 1;

-- One row per snapshot of one side of an order book.
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
    -- Columns of their own, so that a query of spreads does not read the other levels.
    best_price Float64 MATERIALIZED prices[1] COMMENT 'Of the best level; 0: none' CODEC(ZSTD(1)),
    best_quantity Float64 MATERIALIZED quantities[1] COMMENT 'Of the best level; 0: none' CODEC(ZSTD(1)),
    event_time DateTime64(6, 'UTC') DEFAULT toDateTime64(0, 6, 'UTC')
        COMMENT 'Clock of the exchange; 1970: it sends none' CODEC(Delta, ZSTD(1)),
    sequence UInt64
        COMMENT 'Number that the exchange gives this state of the book; 0: it gives none' CODEC(Delta, ZSTD(1)),
    verified Bool DEFAULT false
        COMMENT 'A chain of numbers or a checksum of the exchange proves this book' CODEC(ZSTD(1)),
    exchange LowCardinality(String) ALIAS source COMMENT 'The same as source',
    CONSTRAINT has_market CHECK notEmpty(source) AND notEmpty(symbol) AND notEmpty(base) AND notEmpty(quote),
    CONSTRAINT equal_lengths CHECK length(prices) = length(quantities),
    CONSTRAINT positive_levels CHECK
        arrayAll((p, q) -> p > 0 AND q > 0 AND isFinite(p) AND isFinite(q), prices, quantities)
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(received_at)
ORDER BY (source, symbol, side, received_at)
TTL toDateTime(received_at) + toIntervalDay(90)
SETTINGS
    non_replicated_deduplication_window = 100000,
    min_free_disk_bytes_to_perform_insert = 134217728;

-- One row per update of a maintained book, with all its levels; without BOOK_UPDATES=1 it stays empty.
CREATE TABLE IF NOT EXISTS book_updates
(
    source LowCardinality(String) COMMENT 'Exchange',
    symbol LowCardinality(String) COMMENT 'Market, as the exchange writes it',
    base LowCardinality(String) COMMENT 'Base currency',
    quote LowCardinality(String) COMMENT 'Quote currency',
    chain String COMMENT 'Random name of updates that go on from one another' CODEC(ZSTD(1)),
    place UInt64 COMMENT 'Place in the chain, from 0, without a hole' CODEC(Delta, ZSTD(1)),
    is_snapshot Bool COMMENT 'The levels are the whole book' CODEC(ZSTD(1)),
    bid_prices Array(Float64) COMMENT 'Changed bids, or all of them' CODEC(ZSTD(1)),
    bid_quantities Array(Float64) COMMENT 'The quantity at each price; 0 removes it' CODEC(ZSTD(1)),
    ask_prices Array(Float64) COMMENT 'Changed asks, or all of them' CODEC(ZSTD(1)),
    ask_quantities Array(Float64) COMMENT 'The quantity at each price; 0 removes it' CODEC(ZSTD(1)),
    received_at DateTime64(6, 'UTC') COMMENT 'When the frame arrived' CODEC(Delta, ZSTD(1)),
    event_time DateTime64(6, 'UTC') DEFAULT toDateTime64(0, 6, 'UTC')
        COMMENT 'Clock of the exchange; 1970: it sends none' CODEC(Delta, ZSTD(1)),
    sequence UInt64
        COMMENT 'Number that the exchange gives the book after the update; 0: it gives none' CODEC(Delta, ZSTD(1)),
    verified Bool COMMENT 'A chain of numbers or a checksum of the exchange proves the book' CODEC(ZSTD(1)),
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was inserted' CODEC(Delta, ZSTD(1)),
    kafka_partition UInt16 COMMENT 'Where the message is in Kafka' CODEC(ZSTD(1)),
    kafka_offset UInt64 COMMENT 'Where the message is in Kafka' CODEC(Delta, ZSTD(1)),
    exchange LowCardinality(String) ALIAS source COMMENT 'The same as source',
    CONSTRAINT has_market CHECK notEmpty(source) AND notEmpty(symbol) AND notEmpty(base) AND notEmpty(quote),
    CONSTRAINT equal_lengths CHECK
        length(bid_prices) = length(bid_quantities) AND length(ask_prices) = length(ask_quantities)
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(received_at)
ORDER BY (source, symbol, received_at, chain, place)
TTL toDateTime(received_at) + toIntervalDay(90)
SETTINGS
    non_replicated_deduplication_window = 100000,
    min_free_disk_bytes_to_perform_insert = 134217728;

-- One row per gap: a time in which a producer received no records of some markets, or lost some.
CREATE TABLE IF NOT EXISTS gaps
(
    source LowCardinality(String) COMMENT 'Exchange: wallex',
    record_kind Enum8('trades' = 1, 'depth' = 2) COMMENT 'What is missing',
    cause Enum8('disconnected' = 1, 'silent' = 2, 'refused' = 3, 'backpressure' = 4, 'mute' = 5,
        'refused_by_kafka' = 6, 'suspended' = 7, 'clock' = 8, 'sequence' = 9, 'checksum' = 10) COMMENT 'Why',
    symbols Array(LowCardinality(String)) COMMENT 'Markets as the exchange writes them',
    began_at DateTime64(6, 'UTC') COMMENT 'Last frame before; clock of the producer',
    ended_at DateTime64(6, 'UTC') COMMENT 'Subscribed or read again; clock of the producer',
    repaired Bool COMMENT 'REST has told everything that was missed',
    received_at DateTime64(6, 'UTC') COMMENT 'When it was recorded; clock of the producer',
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'Clock of ClickHouse',
    kafka_partition UInt16 COMMENT 'Where the message stood in Kafka',
    kafka_offset UInt64,
    first_id UInt64 COMMENT 'First missing number of the exchange; 0: no numbers prove the loss',
    last_id UInt64 COMMENT 'Last missing number',
    missing UInt64 COMMENT 'How many records the numbers prove to be missing',
    exchange LowCardinality(String) ALIAS source COMMENT 'The same as source',
    backfilled Bool ALIAS repaired COMMENT 'The same as repaired',
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
    min_free_disk_bytes_to_perform_insert = 134217728;

-- One row per session: a time in which one connection delivered markets. A producer reports an open session again and
-- again with a later end, and these reports collapse to the newest.
CREATE TABLE IF NOT EXISTS watches
(
    source LowCardinality(String) COMMENT 'Exchange: wallex',
    record_kind Enum8('trades' = 1, 'depth' = 2) COMMENT 'What it brought',
    connection String COMMENT 'Name of the connection, by chance',
    symbols Array(LowCardinality(String)) COMMENT 'Markets that it had subscribed to',
    began_at DateTime64(6, 'UTC') COMMENT 'Subscribed, or read again; clock of the producer',
    ended_at DateTime64(6, 'UTC') COMMENT 'Newest frame so far; clock of the producer',
    end_reason LowCardinality(String)
        COMMENT 'open: it goes on, or its producer was killed; rotated, stopped, closed, silent, overflow, backpressure, failed',
    interval_ms UInt32 COMMENT 'Of each side of a book at most one snapshot in so long; 0: everything',
    received_at DateTime64(6, 'UTC') COMMENT 'When it was recorded; clock of the producer',
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'Clock of ClickHouse',
    kafka_partition UInt16 COMMENT 'Where the message stood in Kafka',
    kafka_offset UInt64,
    -- The longest report stays. Of two reports of the same length, the one with the reason of the end stays.
    version UInt64 MATERIALIZED toUInt64(toUnixTimestamp64Micro(ended_at)) * 2 + (end_reason != 'open'),
    CONSTRAINT has_market CHECK notEmpty(source) AND notEmpty(connection) AND notEmpty(symbols),
    CONSTRAINT forward CHECK ended_at >= began_at
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toMonday(began_at)
PRIMARY KEY (source, record_kind, began_at)
ORDER BY (source, record_kind, began_at, connection)
TTL toDateTime(received_at) + toIntervalDay(90)
SETTINGS
    non_replicated_deduplication_window = 100000,
    min_free_disk_bytes_to_perform_insert = 134217728;

-- ---------------------------------------------------------------------------------------------------------------------
-- Tables: delivery from Kafka
-- ---------------------------------------------------------------------------------------------------------------------

-- One row per range of Kafka offsets that is not stored, with its cause. A message of the range may be stored
-- nevertheless, as a row or as a dead letter.
CREATE TABLE IF NOT EXISTS delivery_gaps
(
    topic LowCardinality(String) COMMENT 'Kafka topic: radar_trades',
    topic_id String COMMENT 'ID that Kafka gave the topic; a topic made anew has the same offsets again',
    partition UInt16 COMMENT 'Partition of the topic',
    first_offset UInt64 COMMENT 'First offset that is skipped',
    last_offset UInt64 COMMENT 'Last offset that is skipped',
    cause LowCardinality(String) DEFAULT 'unreadable'
        COMMENT 'Why the offsets are no rows: unreadable, deleted_by_kafka, topic_recreated, log_truncated, group_moved, restored_database',
    reason String COMMENT 'Why the offsets cannot be read, as the Kafka client reports it',
    explanation String DEFAULT '' COMMENT 'Why the operator gave the offsets up',
    recorded_by LowCardinality(String) DEFAULT 'radar skip' COMMENT 'Command that recorded the row',
    recorded_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the skip was ordered; clock of ClickHouse',
    offsets UInt64 ALIAS last_offset - first_offset + 1 COMMENT 'Skipped offsets',
    state LowCardinality(String) DEFAULT 'acknowledged'
        COMMENT 'open, acknowledged (an operator knows of it) or repaired (the offsets were stored afterwards)',
    extent LowCardinality(String) DEFAULT 'exact'
        COMMENT 'exact; or unknown: more offsets than these may be missing, and Kafka no longer has them to count',
    CONSTRAINT forward CHECK last_offset >= first_offset
)
ENGINE = ReplacingMergeTree(recorded_at)
ORDER BY (topic, topic_id, partition, first_offset, last_offset)
SETTINGS
    min_free_disk_bytes_to_perform_insert = 134217728;

-- How far each partition of a topic is accounted for. The committed offset alone cannot show that a group was moved,
-- that a topic was recreated, or that this database was restored from an older copy.
CREATE TABLE IF NOT EXISTS delivery_progress
(
    topic LowCardinality(String) COMMENT 'Kafka topic: radar_trades',
    topic_id String COMMENT 'ID that Kafka gave the topic',
    partition UInt16 COMMENT 'Partition of the topic',
    next_offset UInt64 COMMENT 'Every offset before it is a row, a dead letter, or inside a delivery gap',
    generation UInt32 COMMENT 'Part of the names of insert blocks; rises when offsets are stored again',
    orders_to_us UInt64 COMMENT 'Newest order to store again that the worker has taken; microseconds since 1970',
    version UInt64 COMMENT 'Rises with each row of the partition, whatever the clock says',
    recorded_by String COMMENT 'WORKER_ID',
    recorded_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'Clock of ClickHouse'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (topic, topic_id, partition)
SETTINGS
    min_free_disk_bytes_to_perform_insert = 134217728;

-- One row per order of `radar restore` to store offsets again.
CREATE TABLE IF NOT EXISTS restore_orders
(
    topic LowCardinality(String) COMMENT 'Kafka topic: radar_trades',
    topic_id String COMMENT 'ID that Kafka gave the topic',
    partition UInt16 COMMENT 'Partition of the topic',
    first_offset UInt64 COMMENT 'First offset to store again',
    last_offset UInt64 COMMENT 'Last offset to store again',
    ordered_at_us UInt64 DEFAULT toUnixTimestamp64Micro(now64(6))
        COMMENT 'Clock of ClickHouse; microseconds since 1970',
    recorded_by LowCardinality(String) DEFAULT 'radar restore' COMMENT 'Command that ordered it',
    CONSTRAINT forward CHECK last_offset >= first_offset
)
ENGINE = MergeTree
ORDER BY (topic, topic_id, partition, ordered_at_us)
SETTINGS
    min_free_disk_bytes_to_perform_insert = 134217728;

-- Whether the database holds real or simulated data, in a single row. The first worker that stores something writes
-- it, and workers refuse messages of the other origin. Every worker inserts under the same token, so the
-- deduplication window makes a second row impossible.
CREATE TABLE IF NOT EXISTS store_origin
(
    origin LowCardinality(String) COMMENT 'real or simulated',
    exchange String COMMENT 'REST address of the exchange',
    since DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the first worker wrote it; clock of ClickHouse',
    CONSTRAINT known CHECK origin IN ('real', 'simulated')
)
ENGINE = MergeTree
ORDER BY since
SETTINGS
    non_replicated_deduplication_window = 100,
    min_free_disk_bytes_to_perform_insert = 134217728;

-- ---------------------------------------------------------------------------------------------------------------------
-- Views: records
-- ---------------------------------------------------------------------------------------------------------------------

-- Each trade once.
CREATE OR REPLACE VIEW trades AS
SELECT
    trade_id, source, symbol, base, quote, side, price, base_amount, quote_amount,
    event_time, received_at, inserted_at, kafka_partition, kafka_offset,
    native_id, native_sequence, event_time_us, source AS exchange
FROM trades_master FINAL;

-- The sessions: when one connection delivered which markets.
CREATE OR REPLACE VIEW sessions AS
SELECT
    source AS exchange, record_kind AS dataset, connection, symbols, began_at, ended_at, end_reason, interval_ms,
    received_at
FROM watches FINAL;

-- ---------------------------------------------------------------------------------------------------------------------
-- Views: prices of trades. They read FINAL, so that several deliveries of a trade count once.
-- ---------------------------------------------------------------------------------------------------------------------

-- Candles of whole intervals: those that overlap start (included) to end (excluded). The first interval began on a
-- Monday, so candles of a week begin on Mondays.
CREATE OR REPLACE VIEW candles AS
WITH
    toIntervalSecond({interval_s:UInt32}) AS width,
    toDateTime64('1970-01-05 00:00:00', 3, 'UTC') AS origin,
    toStartOfInterval({start:DateTime64(3, 'UTC')}, width, origin) AS first,
    toStartOfInterval({end:DateTime64(3, 'UTC')} - toIntervalMillisecond(1), width, origin) AS last
SELECT
    source,
    symbol,
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
WHERE event_time >= first AND event_time < last + width
GROUP BY source, symbol, open_time;

-- As candles, of one market: faster for a busy market, because it needs no grouping by market.
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

-- Candles of days that begin at midnight in a time zone, such as Asia/Tehran. For days in UTC use
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

-- The volume-weighted price of each market from start (included) to end (excluded).
CREATE OR REPLACE VIEW vwap AS
SELECT
    source,
    symbol,
    sum(base_amount) AS volume,
    sum(quote_amount) AS quote_volume,
    toDecimal128(toDecimal256(quote_volume, 18) / toDecimal256(volume, 18), 18) AS vwap,
    count() AS trades
FROM trades_master FINAL
WHERE event_time >= {start:DateTime64(3, 'UTC')} AND event_time < {end:DateTime64(3, 'UTC')}
GROUP BY source, symbol;

-- The price of a US dollar in Toman by interval: the volume-weighted price of USDTTMN.
CREATE OR REPLACE VIEW usdt_tmn AS
SELECT source, open_time, vwap AS price, close, volume
FROM candles(interval_s = {interval_s:UInt32}, start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})
WHERE symbol = 'USDTTMN';

-- ---------------------------------------------------------------------------------------------------------------------
-- Views: order books. Deliveries of one snapshot are equal, so looking up a snapshot needs no FINAL.
-- A side without levels, or without a recorded snapshot, is NULL: a price, time or quantity of 0 would look real.
-- Lists of levels are empty lists then.
-- ---------------------------------------------------------------------------------------------------------------------

-- The newest snapshot of each side.
CREATE OR REPLACE VIEW order_book AS
SELECT
    source,
    symbol,
    anyLast(base) AS base,
    anyLast(quote) AS quote,
    argMaxIf(prices, received_at, side = 'bid') AS bid_prices,
    argMaxIf(quantities, received_at, side = 'bid') AS bid_quantities,
    maxIf(toNullable(received_at), side = 'bid') AS bid_received_at,
    argMaxIf(prices, received_at, side = 'ask') AS ask_prices,
    argMaxIf(quantities, received_at, side = 'ask') AS ask_quantities,
    maxIf(toNullable(received_at), side = 'ask') AS ask_received_at,
    nullIf(bid_prices[1], 0) AS best_bid,
    nullIf(ask_prices[1], 0) AS best_ask
FROM
(
    SELECT source, symbol, base, quote, side, received_at, prices, quantities
    FROM orderbook_depth
    WHERE (source, symbol, side, received_at) IN
    (
        SELECT source, symbol, side, max(received_at)
        FROM orderbook_depth
        GROUP BY source, symbol, side
    )
)
GROUP BY source, symbol;

-- The newest snapshot of each side, received at or before a time.
CREATE OR REPLACE VIEW order_book_at AS
SELECT
    source,
    symbol,
    anyLast(base) AS base,
    anyLast(quote) AS quote,
    argMaxIf(prices, received_at, side = 'bid') AS bid_prices,
    argMaxIf(quantities, received_at, side = 'bid') AS bid_quantities,
    maxIf(toNullable(received_at), side = 'bid') AS bid_received_at,
    argMaxIf(prices, received_at, side = 'ask') AS ask_prices,
    argMaxIf(quantities, received_at, side = 'ask') AS ask_quantities,
    maxIf(toNullable(received_at), side = 'ask') AS ask_received_at,
    nullIf(bid_prices[1], 0) AS best_bid,
    nullIf(ask_prices[1], 0) AS best_ask,
    (best_bid + best_ask) / 2 AS mid,
    best_ask - best_bid AS spread,
    spread / mid * 10000 AS spread_bps
FROM orderbook_depth
WHERE symbol = {symbol:String} AND (source, symbol, side, received_at) IN
(
    SELECT source, symbol, side, max(received_at)
    FROM orderbook_depth
    WHERE symbol = {symbol:String} AND received_at <= {at:DateTime64(6, 'UTC')}
    GROUP BY source, symbol, side
)
GROUP BY source, symbol;

-- The volume within some basis points of the middle, at a time; NULL while a side is empty, because there is no middle
-- then. Imbalance is from -1 (only asks) to 1 (only bids).
CREATE OR REPLACE VIEW book_depth_at AS
WITH
    mid * (10000 - {bps:Float64}) / 10000 AS lowest,
    mid * (10000 + {bps:Float64}) / 10000 AS highest
SELECT
    source,
    symbol,
    base,
    quote,
    mid,
    spread_bps,
    if(mid IS NULL, NULL, arraySum((price, quantity) -> if(price >= lowest, quantity, 0), bid_prices, bid_quantities))
        AS bid_volume,
    if(mid IS NULL, NULL, arraySum((price, quantity) -> if(price <= highest, quantity, 0), ask_prices, ask_quantities))
        AS ask_volume,
    if(mid IS NULL, NULL,
        arraySum((price, quantity) -> if(price >= lowest, price * quantity, 0), bid_prices, bid_quantities))
        AS bid_quote_volume,
    if(mid IS NULL, NULL,
        arraySum((price, quantity) -> if(price <= highest, price * quantity, 0), ask_prices, ask_quantities))
        AS ask_quote_volume,
    (bid_volume - ask_volume) / nullIf(bid_volume + ask_volume, 0) AS imbalance,
    least(bid_received_at, ask_received_at) AS received_at
FROM order_book_at(symbol = {symbol:String}, at = {at:DateTime64(6, 'UTC')});

-- The best prices at the end of each interval; NULL where a side was empty or not recorded in it.
CREATE OR REPLACE VIEW spreads AS
WITH
    toIntervalSecond({interval_s:UInt32}) AS width,
    toDateTime64('1970-01-05 00:00:00', 6, 'UTC') AS origin,
    toStartOfInterval({start:DateTime64(6, 'UTC')}, width, origin) AS first,
    toStartOfInterval({end:DateTime64(6, 'UTC')} - toIntervalMicrosecond(1), width, origin) AS last
SELECT
    source,
    symbol,
    toDateTime(toStartOfInterval(received_at, width, origin), 'UTC') AS open_time,
    nullIf(argMaxIf(best_price, received_at, side = 'bid'), 0) AS best_bid,
    nullIf(argMaxIf(best_price, received_at, side = 'ask'), 0) AS best_ask,
    (best_bid + best_ask) / 2 AS mid,
    best_ask - best_bid AS spread,
    spread / mid * 10000 AS spread_bps,
    nullIf(argMaxIf(best_quantity, received_at, side = 'bid'), 0) AS bid_quantity,
    nullIf(argMaxIf(best_quantity, received_at, side = 'ask'), 0) AS ask_quantity,
    (bid_quantity - ask_quantity) / (bid_quantity + ask_quantity) AS imbalance
FROM orderbook_depth
WHERE received_at >= first AND received_at < last + width
GROUP BY source, symbol, open_time;

-- The whole book at a time from the recorded updates: the newest snapshot of the newest chain, and the changes since.
-- is_complete is false if an update in between was not recorded.
CREATE OR REPLACE VIEW book_at AS
WITH
    (
        SELECT (chain, place, received_at) FROM book_updates
        WHERE source = {exchange:String} AND symbol = {symbol:String} AND received_at <= {at:DateTime64(6, 'UTC')}
        ORDER BY received_at DESC, place DESC LIMIT 1
    ) AS newest,
    (
        SELECT (place, received_at) FROM book_updates
        WHERE source = {exchange:String} AND symbol = {symbol:String} AND received_at <= {at:DateTime64(6, 'UTC')}
            AND chain = newest.1 AND is_snapshot AND place <= newest.2
        ORDER BY received_at DESC, place DESC LIMIT 1
    ) AS whole
SELECT
    {exchange:String} AS exchange,
    {symbol:String} AS symbol,
    level.1 AS side,
    level.2 AS price,
    argMax(level.3, place) AS quantity,
    newest.3 AS received_at,
    (
        SELECT uniqExact(place) = newest.2 - whole.1 + 1 FROM book_updates
        WHERE source = {exchange:String} AND symbol = {symbol:String} AND chain = newest.1
            AND place >= whole.1 AND place <= newest.2 AND received_at >= whole.2 AND received_at <= newest.3
    ) AS is_complete
FROM
(
    SELECT
        place,
        arrayJoin(arrayConcat(
            arrayMap((price, quantity) -> ('bid', price, quantity), bid_prices, bid_quantities),
            arrayMap((price, quantity) -> ('ask', price, quantity), ask_prices, ask_quantities))) AS level
    FROM book_updates
    WHERE source = {exchange:String} AND symbol = {symbol:String} AND chain = newest.1
        AND place >= whole.1 AND place <= newest.2 AND received_at >= whole.2 AND received_at <= newest.3
)
GROUP BY side, price
HAVING quantity > 0;

-- ---------------------------------------------------------------------------------------------------------------------
-- Views: list of markets
-- ---------------------------------------------------------------------------------------------------------------------

-- One row for each market that traded in the 24 hours before a time or has a book of the hour before it. A condition on
-- source and symbol reaches through this union, so a query of one market reads that market only. It would not reach
-- through a join.
CREATE OR REPLACE VIEW markets_at AS
SELECT
    source,
    symbol,
    argMax(half.base, is_traded) AS base,
    argMax(half.quote, is_traded) AS quote,
    any(half.last_price) AS last_price,
    any(half.last_trade_at) AS last_trade_at,
    toFloat64(last_price) / toFloat64(any(half.open_24h)) - 1 AS change_24h,
    any(half.high_24h) AS high_24h,
    any(half.low_24h) AS low_24h,
    sum(half.volume_24h) AS volume_24h,
    sum(half.quote_volume_24h) AS quote_volume_24h,
    sum(half.trades_24h) AS trades_24h,
    any(half.best_bid) AS best_bid,
    any(half.best_ask) AS best_ask,
    (best_bid + best_ask) / 2 AS mid,
    (best_ask - best_bid) / mid * 10000 AS spread_bps,
    any(half.book_received_at) AS book_received_at,
    dateDiff('millisecond', last_trade_at, {at:DateTime64(6, 'UTC')}) / 1000 AS trade_age_s,
    dateDiff('millisecond', book_received_at, {at:DateTime64(6, 'UTC')}) / 1000 AS book_age_s
FROM
(
    SELECT
        source,
        symbol,
        1 AS is_traded,
        anyLast(base) AS base,
        anyLast(quote) AS quote,
        toNullable(argMax(price, sequence)) AS last_price,
        toNullable(max(event_time)) AS last_trade_at,
        toNullable(argMin(price, sequence)) AS open_24h,
        toNullable(max(price)) AS high_24h,
        toNullable(min(price)) AS low_24h,
        sum(base_amount) AS volume_24h,
        sum(quote_amount) AS quote_volume_24h,
        count() AS trades_24h,
        NULL AS best_bid,
        NULL AS best_ask,
        NULL AS book_received_at
    FROM trades_master FINAL
    WHERE event_time > {at:DateTime64(6, 'UTC')} - toIntervalDay(1) AND event_time <= {at:DateTime64(6, 'UTC')}
    GROUP BY source, symbol
    UNION ALL
    SELECT
        source,
        symbol,
        0,
        anyLast(base),
        anyLast(quote),
        NULL,
        NULL,
        NULL,
        NULL,
        NULL,
        0,
        0,
        0,
        nullIf(argMaxIf(best_price, received_at, side = 'bid'), 0),
        nullIf(argMaxIf(best_price, received_at, side = 'ask'), 0),
        toNullable(max(received_at))
    FROM orderbook_depth
    WHERE received_at > {at:DateTime64(6, 'UTC')} - toIntervalHour(1) AND received_at <= {at:DateTime64(6, 'UTC')}
    GROUP BY source, symbol
) AS half
GROUP BY source, symbol;

-- The list of markets now.
CREATE OR REPLACE VIEW markets AS SELECT * FROM markets_at(at = now64(6));

-- ---------------------------------------------------------------------------------------------------------------------
-- Views: coverage
-- ---------------------------------------------------------------------------------------------------------------------

-- One row per time in which a market was watched ('watch') or is known to be missing ('gap').
-- A producer reports an open session every half minute. A session that was reported as open within 90 seconds counts as
-- lasting until now. Later, nothing proves that its producer lives, so it ends at the last report.
-- Connections are replaced all day, so sessions of the same markets that follow each other without a hole are one row.
CREATE OR REPLACE VIEW recording_spans AS
SELECT source, record_kind, arrayJoin(symbols) AS symbol, 'watch' AS what, began_us, reported_us, ended_us, reason
FROM
(
    SELECT
        source, record_kind,
        any(markets) AS symbols,
        min(from_us) AS began_us,
        max(last_us) AS reported_us,
        max(to_us) AS ended_us,
        argMax(end_reason, last_us) AS reason
    FROM
    (
        SELECT
            *,
            sum(follows_hole) OVER
                (PARTITION BY source, record_kind, group_id ORDER BY from_us, connection
                ROWS UNBOUNDED PRECEDING) AS island
        FROM
        (
            SELECT
                *,
                from_us > max(to_us) OVER
                    (PARTITION BY source, record_kind, group_id ORDER BY from_us, connection
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS follows_hole
            FROM
            (
                SELECT
                    source, toString(record_kind) AS record_kind, toString(end_reason) AS end_reason, connection,
                    symbols AS markets, cityHash64(symbols) AS group_id,
                    toUnixTimestamp64Micro(began_at) AS from_us,
                    toUnixTimestamp64Micro(ended_at) AS last_us,
                    toUnixTimestamp64Micro(now64(6, 'UTC')) AS now_us,
                    if(end_reason = 'open' AND now_us - last_us < 90000000, greatest(now_us, last_us), last_us) AS to_us
                FROM watches FINAL
            )
        )
    )
    GROUP BY source, record_kind, group_id, island
)
UNION ALL
SELECT
    source, toString(record_kind) AS record_kind, arrayJoin(symbols) AS symbol, 'gap' AS what,
    toUnixTimestamp64Micro(began_at) AS began_us,
    toUnixTimestamp64Micro(ended_at) AS reported_us,
    reported_us AS ended_us,
    'gap' AS reason
FROM gaps FINAL;

-- The time for which each market is judged: from its first session until now. A market that was delisted or left out of
-- SYMBOLS is no longer recorded while others of its dataset are. It is judged until its last session or gap ends.
CREATE OR REPLACE VIEW recorded_markets AS
SELECT
    source, record_kind, symbol,
    first_us,
    last_us,
    -- Other markets of this dataset were recorded for five minutes longer.
    max(last_watch_us) OVER (PARTITION BY source, record_kind) > last_us + 300000000 AS others_go_on,
    others_go_on AND last_reason IN ('delisted', 'rotated', 'stopped', 'gap') AS is_over,
    if(is_over OR toUnixTimestamp64Micro(now64(6, 'UTC')) - last_us < 90000000,
        last_us, toUnixTimestamp64Micro(now64(6, 'UTC'))) AS until_us
FROM
(
    SELECT
        source, record_kind, symbol,
        minIf(began_us, what = 'watch') AS first_us,
        max(reported_us) AS last_us,
        maxIf(reported_us, what = 'watch') AS last_watch_us,
        argMax(reason, (reported_us, what = 'watch')) AS last_reason
    FROM recording_spans
    GROUP BY source, record_kind, symbol
    HAVING countIf(what = 'watch') > 0
);

-- The gaps, one row for each market: those that producers recorded, and (cause not_recording) the times without a
-- session and without a recorded gap, because no producer ran.
CREATE OR REPLACE VIEW symbol_gaps AS
SELECT
    source, toString(record_kind) AS record_kind, arrayJoin(symbols) AS symbol,
    began_at, ended_at, toString(cause) AS cause, repaired
FROM gaps FINAL
UNION ALL
SELECT
    source, record_kind, symbol,
    fromUnixTimestamp64Micro(covered_us, 'UTC') AS began_at, fromUnixTimestamp64Micro(began_us, 'UTC') AS ended_at,
    'not_recording' AS cause, false AS repaired
FROM
(
    SELECT
        source, record_kind, symbol, began_us,
        max(ended_us) OVER before AS covered_us,
        argMax(reason, (ended_us, what = 'watch')) OVER before AS last_reason
    FROM recording_spans
    WINDOW before AS
        (PARTITION BY source, record_kind, symbol ORDER BY began_us ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
WHERE covered_us > 0 AND began_us > covered_us + 1000000
    -- A live producer records the gap itself when its backfill ends, so wait for it.
    AND (last_reason IN ('stopped', 'open', 'gap') OR toUnixTimestamp64Micro(now64(6, 'UTC')) - began_us > 300000000)
UNION ALL
-- The gap that lasts until now: no producer runs, or only this market's connection is lost.
SELECT
    source, record_kind, symbol,
    fromUnixTimestamp64Micro(last_us, 'UTC') AS began_at, fromUnixTimestamp64Micro(until_us, 'UTC') AS ended_at,
    if(others_go_on, 'disconnected', 'not_recording') AS cause, false AS repaired
FROM recorded_markets
WHERE until_us > last_us;

-- How much of each day (UTC) each market was observed, from its first session on.
-- is_hole: a gap with such a cause lies inside a session, so its time is subtracted.
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
    -- The time for which the market is judged, so that days without a session are rows as well.
    SELECT source, record_kind, symbol, 'day' AS what, false AS is_hole, first_us AS began_us, until_us AS ended_us
    FROM recorded_markets
)
SELECT
    source,
    record_kind,
    symbol,
    toDate(day_number) AS day,
    -- The first day counts from the first session, and today counts until now.
    greatest(intervalLengthSumIf(from_us, to_us, what = 'day'), 1) / 1e6 AS elapsed_s,
    (intervalLengthSumIf(from_us, to_us, what = 'watch' OR is_hole)
        - intervalLengthSumIf(from_us, to_us, is_hole)) / 1e6 AS watched_s,
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
        arrayJoin(range(
            toUInt32(intDiv(began_us, 86400000000)), toUInt32(intDiv(ended_us, 86400000000)) + 1)) AS day_number,
        greatest(began_us, toInt64(day_number) * 86400000000) AS from_us,
        least(ended_us, (toInt64(day_number) + 1) * 86400000000) AS to_us
    FROM spans
)
GROUP BY source, record_kind, symbol, day_number;
