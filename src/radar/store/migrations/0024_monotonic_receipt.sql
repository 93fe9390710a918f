-- By how much the producer's clock had been set back at the receipt of a record. Both times together, `monotonic_at`,
-- never go back within one producer, so they order its records as they arrived. Rows without the value have a 0: they are
-- ordered by `received_at`.
ALTER TABLE trades_master
    ADD COLUMN IF NOT EXISTS set_back_us UInt64
        COMMENT 'By how much the clock of the producer had been set back since its start, in microseconds'
        CODEC(Delta, LZ4),
    ADD COLUMN IF NOT EXISTS monotonic_at DateTime64(6, 'UTC')
        ALIAS fromUnixTimestamp64Micro(toUnixTimestamp64Micro(received_at) + toInt64(set_back_us), 'UTC')
        COMMENT 'Time of receipt by a clock that never goes back: received_at + set_back_us';

ALTER TABLE orderbook_depth
    ADD COLUMN IF NOT EXISTS set_back_us UInt64
        COMMENT 'By how much the clock of the producer had been set back since its start, in microseconds'
        CODEC(Delta, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS monotonic_at DateTime64(6, 'UTC')
        ALIAS fromUnixTimestamp64Micro(toUnixTimestamp64Micro(received_at) + toInt64(set_back_us), 'UTC')
        COMMENT 'Time of receipt by a clock that never goes back: received_at + set_back_us';

ALTER TABLE book_updates
    ADD COLUMN IF NOT EXISTS set_back_us UInt64
        COMMENT 'By how much the clock of the producer had been set back since its start, in microseconds'
        CODEC(Delta, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS monotonic_at DateTime64(6, 'UTC')
        ALIAS fromUnixTimestamp64Micro(toUnixTimestamp64Micro(received_at) + toInt64(set_back_us), 'UTC')
        COMMENT 'Time of receipt by a clock that never goes back: received_at + set_back_us';

-- Records that are derived from frames again carry the same value.
ALTER TABLE frames
    ADD COLUMN IF NOT EXISTS set_back_us UInt64
        COMMENT 'By how much the clock of the producer had been set back since its start, in microseconds'
        CODEC(Delta, ZSTD(1));

-- Candles and the list of markets follow this order.
ALTER TABLE trades_master
    MODIFY COLUMN sequence UInt128 ALIAS
        bitShiftLeft(toUInt128(toUnixTimestamp64Milli(event_time)), 86)
        + bitShiftLeft(toUInt128(toUnixTimestamp64Micro(received_at) + toInt64(set_back_us)), 34)
        + bitShiftRight(toUInt128(trade_id), 94)
        COMMENT 'Order of all trades: by event_time, then monotonic_at, then the first 34 bits of trade_id';

-- Each trade once.
CREATE OR REPLACE VIEW trades AS
SELECT
    trade_id, source, symbol, base, quote, side, price, base_amount, quote_amount,
    event_time, received_at, inserted_at, kafka_partition, kafka_offset,
    native_id, native_sequence, event_time_us, source AS exchange,
    set_back_us,
    fromUnixTimestamp64Micro(toUnixTimestamp64Micro(received_at) + toInt64(set_back_us), 'UTC') AS monotonic_at
FROM trades_master FINAL;

-- The newest snapshot of each side: of those until the clock was first set back, or of those since.
CREATE OR REPLACE VIEW order_book AS
SELECT
    source,
    symbol,
    anyLast(base) AS base,
    anyLast(quote) AS quote,
    argMaxIf(prices, monotonic_at, side = 'bid') AS bid_prices,
    argMaxIf(quantities, monotonic_at, side = 'bid') AS bid_quantities,
    argMaxIf(toNullable(received_at), monotonic_at, side = 'bid') AS bid_received_at,
    argMaxIf(prices, monotonic_at, side = 'ask') AS ask_prices,
    argMaxIf(quantities, monotonic_at, side = 'ask') AS ask_quantities,
    argMaxIf(toNullable(received_at), monotonic_at, side = 'ask') AS ask_received_at,
    nullIf(bid_prices[1], 0) AS best_bid,
    nullIf(ask_prices[1], 0) AS best_ask
FROM
(
    SELECT source, symbol, base, quote, side, received_at, monotonic_at, prices, quantities
    FROM orderbook_depth
    WHERE (source, symbol, side, received_at) IN
    (
        SELECT source, symbol, side, max(received_at)
        FROM orderbook_depth
        GROUP BY source, symbol, side
        UNION ALL
        SELECT source, symbol, side, argMax(received_at, monotonic_at)
        FROM orderbook_depth
        WHERE set_back_us > 0
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
    argMaxIf(prices, monotonic_at, side = 'bid') AS bid_prices,
    argMaxIf(quantities, monotonic_at, side = 'bid') AS bid_quantities,
    argMaxIf(toNullable(received_at), monotonic_at, side = 'bid') AS bid_received_at,
    argMaxIf(prices, monotonic_at, side = 'ask') AS ask_prices,
    argMaxIf(quantities, monotonic_at, side = 'ask') AS ask_quantities,
    argMaxIf(toNullable(received_at), monotonic_at, side = 'ask') AS ask_received_at,
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
    UNION ALL
    SELECT source, symbol, side, argMax(received_at, monotonic_at)
    FROM orderbook_depth
    WHERE symbol = {symbol:String} AND received_at <= {at:DateTime64(6, 'UTC')} AND set_back_us > 0
    GROUP BY source, symbol, side
)
GROUP BY source, symbol;

-- The best prices at the end of each interval; NULL where a side was empty or not recorded in it.
CREATE OR REPLACE VIEW spreads AS
WITH
    toIntervalSecond({interval_s:UInt32}) AS width,
    toDateTime64('1970-01-05 00:00:00', 6, 'UTC') AS origin,
    toStartOfInterval({start:DateTime64(6, 'UTC')}, width, origin) AS first,
    toStartOfInterval({end:DateTime64(6, 'UTC')} - toIntervalMicrosecond(1), width, origin) AS last,
    -- As monotonic_at; integers are faster than times.
    toUnixTimestamp64Micro(received_at) + toInt64(set_back_us) AS order_us
SELECT
    source,
    symbol,
    toDateTime(toStartOfInterval(received_at, width, origin), 'UTC') AS open_time,
    nullIf(argMaxIf(best_price, order_us, side = 'bid'), 0) AS best_bid,
    nullIf(argMaxIf(best_price, order_us, side = 'ask'), 0) AS best_ask,
    (best_bid + best_ask) / 2 AS mid,
    best_ask - best_bid AS spread,
    spread / mid * 10000 AS spread_bps,
    nullIf(argMaxIf(best_quantity, order_us, side = 'bid'), 0) AS bid_quantity,
    nullIf(argMaxIf(best_quantity, order_us, side = 'ask'), 0) AS ask_quantity,
    (bid_quantity - ask_quantity) / (bid_quantity + ask_quantity) AS imbalance
FROM orderbook_depth
WHERE received_at >= first AND received_at < last + width
GROUP BY source, symbol, open_time;

-- The whole book at a time from the recorded updates: the newest snapshot of the newest chain, and the changes since.
-- is_complete is false if an update in between was not recorded.
-- A clock that was set back passes times that it has shown before, so updates of both rounds have the same times. The
-- newest update is the last one of the later round. A producer that sees such a step records the whole book again.
CREATE OR REPLACE VIEW book_at AS
WITH
    (
        SELECT received_at FROM book_updates
        WHERE source = {exchange:String} AND symbol = {symbol:String} AND received_at <= {at:DateTime64(6, 'UTC')}
        ORDER BY received_at DESC LIMIT 1
    ) AS last_at,
    (
        SELECT (chain, place, received_at, set_back_us) FROM book_updates
        WHERE source = {exchange:String} AND symbol = {symbol:String} AND received_at <= {at:DateTime64(6, 'UTC')}
            AND received_at >= last_at - toIntervalMinute(10)
        ORDER BY monotonic_at DESC, place DESC LIMIT 1
    ) AS newest,
    (
        SELECT (place, received_at) FROM
        (
            SELECT place, received_at FROM book_updates
            WHERE source = {exchange:String} AND symbol = {symbol:String} AND received_at <= {at:DateTime64(6, 'UTC')}
                AND chain = newest.1 AND is_snapshot AND place <= newest.2
            ORDER BY received_at DESC, place DESC LIMIT 1
            UNION ALL
            SELECT place, received_at FROM book_updates
            WHERE source = {exchange:String} AND symbol = {symbol:String} AND received_at <= {at:DateTime64(6, 'UTC')}
                AND chain = newest.1 AND is_snapshot AND place <= newest.2
                AND newest.4 > 0 AND set_back_us = newest.4 AND received_at >= last_at - toIntervalDay(1)
            ORDER BY received_at DESC, place DESC LIMIT 1
        )
        ORDER BY place DESC LIMIT 1
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
        nullIf(argMaxIf(best_price, toUnixTimestamp64Micro(received_at) + toInt64(set_back_us), side = 'bid'), 0),
        nullIf(argMaxIf(best_price, toUnixTimestamp64Micro(received_at) + toInt64(set_back_us), side = 'ask'), 0),
        toNullable(argMax(received_at, toUnixTimestamp64Micro(received_at) + toInt64(set_back_us)))
    FROM orderbook_depth
    WHERE received_at > {at:DateTime64(6, 'UTC')} - toIntervalHour(1) AND received_at <= {at:DateTime64(6, 'UTC')}
    GROUP BY source, symbol
) AS half
GROUP BY source, symbol;
