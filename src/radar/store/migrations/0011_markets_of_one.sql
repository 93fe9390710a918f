-- The list of markets again, so that who asks for one market reads that one only: a condition on source
-- and symbol reaches through a union, but not through the join that was here.
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
