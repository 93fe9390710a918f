-- What a reader uses.
CREATE OR REPLACE VIEW trades AS
SELECT
    trade_id, source, symbol, base, quote, side, price, base_amount, quote_amount,
    event_time, received_at, inserted_at, kafka_partition, kafka_offset
FROM trades_master FINAL;

CREATE OR REPLACE VIEW order_book AS
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
    ask_prices[1] AS best_ask
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
