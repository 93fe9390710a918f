-- Each update of a maintained book, with all its levels (BOOK_UPDATES=1).
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
    sequence UInt64 COMMENT 'Number that the exchange gives the book after the update; 0: it gives none'
        CODEC(Delta, ZSTD(1)),
    verified Bool COMMENT 'A chain of numbers or a checksum of the exchange proves the book' CODEC(ZSTD(1)),
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the row was inserted' CODEC(Delta, ZSTD(1)),
    kafka_partition UInt16 COMMENT 'Where the message is in Kafka' CODEC(ZSTD(1)),
    kafka_offset UInt64 COMMENT 'Where the message is in Kafka' CODEC(Delta, ZSTD(1)),
    exchange LowCardinality(String) ALIAS source COMMENT 'The same as source',
    CONSTRAINT has_market CHECK notEmpty(source) AND notEmpty(symbol) AND notEmpty(base) AND notEmpty(quote),
    CONSTRAINT equal_lengths CHECK length(bid_prices) = length(bid_quantities) AND length(ask_prices) = length(ask_quantities)
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(received_at)
ORDER BY (source, symbol, received_at, chain, place)
TTL toDateTime(received_at) + toIntervalDay(90)
SETTINGS
    non_replicated_deduplication_window = 100000,
    -- Refuse while there is room for what is under way: an insert that finds the disk full reports success.
    min_free_disk_bytes_to_perform_insert = 134217728;

-- The whole book as it was known at a time: the newest snapshot of the newest chain, and the changes since.
-- If is_complete is false, an update in between was not recorded.
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
