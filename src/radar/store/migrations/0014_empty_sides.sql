-- A side of a book that has no level, or was never recorded, is NULL: a price, a time or a quantity of 0 would be
-- taken for a real one. Lists of levels stay empty lists.
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

-- What lies within so many basis points of the middle, at a time; NULL without a middle, as is where a side is
-- empty. Imbalance is from -1, only asks, to 1.
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
    if(mid IS NULL, NULL, arraySum((price, quantity) -> if(price >= lowest, quantity, 0), bid_prices, bid_quantities)) AS bid_volume,
    if(mid IS NULL, NULL, arraySum((price, quantity) -> if(price <= highest, quantity, 0), ask_prices, ask_quantities)) AS ask_volume,
    if(mid IS NULL, NULL, arraySum((price, quantity) -> if(price >= lowest, price * quantity, 0), bid_prices, bid_quantities)) AS bid_quote_volume,
    if(mid IS NULL, NULL, arraySum((price, quantity) -> if(price <= highest, price * quantity, 0), ask_prices, ask_quantities)) AS ask_quote_volume,
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
