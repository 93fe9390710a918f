-- What markets look like, see docs/queries.md. Sums read trades with FINAL, so that deliveries of the
-- same trade count once; snapshots of the book are only looked up, and deliveries of one are alike.

-- Intervals are whole: those that overlap start (included) to end (excluded). Their origin is a Monday.
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

-- The price at which each market traded from start (included) to end (excluded), by volume.
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

-- What a US dollar costs in Toman, by interval: the price of USDTTMN by volume.
CREATE OR REPLACE VIEW usdt_tmn AS
SELECT source, open_time, vwap AS price, close, volume
FROM candles(interval_s = {interval_s:UInt32}, start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})
WHERE symbol = 'USDTTMN';

-- The newest snapshot of each side, received at or before a time.
CREATE OR REPLACE VIEW order_book_at AS
SELECT
    source,
    symbol,
    anyLast(base) AS base,
    anyLast(quote) AS quote,
    argMaxIf(prices, received_at, side = 'bid') AS bid_prices,
    argMaxIf(quantities, received_at, side = 'bid') AS bid_quantities,
    maxIf(received_at, side = 'bid') AS bid_received_at,
    argMaxIf(prices, received_at, side = 'ask') AS ask_prices,
    argMaxIf(quantities, received_at, side = 'ask') AS ask_quantities,
    maxIf(received_at, side = 'ask') AS ask_received_at,
    bid_prices[1] AS best_bid,
    ask_prices[1] AS best_ask,
    if(best_bid > 0 AND best_ask > 0, (best_bid + best_ask) / 2, NULL) AS mid,
    if(best_bid > 0 AND best_ask > 0, best_ask - best_bid, NULL) AS spread,
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

-- What lies within so many basis points of the middle, at a time. Imbalance is from -1, only asks, to 1.
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
    arraySum((price, quantity) -> if(price >= lowest, quantity, 0), bid_prices, bid_quantities) AS bid_volume,
    arraySum((price, quantity) -> if(price <= highest, quantity, 0), ask_prices, ask_quantities) AS ask_volume,
    arraySum((price, quantity) -> if(price >= lowest, price * quantity, 0), bid_prices, bid_quantities) AS bid_quote_volume,
    arraySum((price, quantity) -> if(price <= highest, price * quantity, 0), ask_prices, ask_quantities) AS ask_quote_volume,
    if(mid IS NULL, NULL, (bid_volume - ask_volume) / (bid_volume + ask_volume)) AS imbalance,
    least(bid_received_at, ask_received_at) AS received_at
FROM order_book_at(symbol = {symbol:String}, at = {at:DateTime64(6, 'UTC')});

-- The best prices at the end of each interval; NULL where a side was not recorded in it.
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
    argMaxIf(best_quantity, received_at, side = 'bid') AS bid_quantity,
    argMaxIf(best_quantity, received_at, side = 'ask') AS ask_quantity,
    if(mid IS NULL, NULL, (bid_quantity - ask_quantity) / (bid_quantity + ask_quantity)) AS imbalance
FROM orderbook_depth
WHERE received_at >= first AND received_at < last + width
GROUP BY source, symbol, open_time;

-- One line for each market that traded in the 24 hours before a time or has a book of the hour before it.
CREATE OR REPLACE VIEW markets_at AS
SELECT
    source,
    symbol,
    if(traded.base != '', traded.base, booked.base) AS base,
    if(traded.quote != '', traded.quote, booked.quote) AS quote,
    last_price,
    last_trade_at,
    toFloat64(last_price) / toFloat64(open_24h) - 1 AS change_24h,
    high_24h,
    low_24h,
    volume_24h,
    quote_volume_24h,
    trades_24h,
    best_bid,
    best_ask,
    (best_bid + best_ask) / 2 AS mid,
    (best_ask - best_bid) / mid * 10000 AS spread_bps,
    book_received_at,
    dateDiff('millisecond', last_trade_at, {at:DateTime64(6, 'UTC')}) / 1000 AS trade_age_s,
    dateDiff('millisecond', book_received_at, {at:DateTime64(6, 'UTC')}) / 1000 AS book_age_s
FROM
(
    SELECT
        source,
        symbol,
        anyLast(base) AS base,
        anyLast(quote) AS quote,
        toNullable(argMax(price, sequence)) AS last_price,
        toNullable(max(event_time)) AS last_trade_at,
        toNullable(argMin(price, sequence)) AS open_24h,
        toNullable(max(price)) AS high_24h,
        toNullable(min(price)) AS low_24h,
        sum(base_amount) AS volume_24h,
        sum(quote_amount) AS quote_volume_24h,
        count() AS trades_24h
    FROM trades_master FINAL
    WHERE event_time > {at:DateTime64(6, 'UTC')} - toIntervalDay(1) AND event_time <= {at:DateTime64(6, 'UTC')}
    GROUP BY source, symbol
) AS traded
FULL JOIN
(
    SELECT
        source,
        symbol,
        anyLast(base) AS base,
        anyLast(quote) AS quote,
        nullIf(argMaxIf(best_price, received_at, side = 'bid'), 0) AS best_bid,
        nullIf(argMaxIf(best_price, received_at, side = 'ask'), 0) AS best_ask,
        toNullable(max(received_at)) AS book_received_at
    FROM orderbook_depth
    WHERE received_at > {at:DateTime64(6, 'UTC')} - toIntervalHour(1) AND received_at <= {at:DateTime64(6, 'UTC')}
    GROUP BY source, symbol
) AS booked USING (source, symbol);

CREATE OR REPLACE VIEW markets AS SELECT * FROM markets_at(at = now64(6));
