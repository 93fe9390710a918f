-- Views for analysis: prices and books on a grid, order flow, volatility, and coverage beside candles.

-- Candles that begin at midnight in a time zone, such as Asia/Tehran: intervals of whole days from that midnight on,
-- weeks from its Monday on, and shorter intervals counted from midnight.
CREATE OR REPLACE VIEW local_candles AS
WITH
    {interval_s:UInt32} AS width_s,
    -- Monday, 5 January 1970.
    toDate('1970-01-05') AS origin,
    greatest(intDiv(width_s, 86400), 1) AS days,
    toDateTime64({start:DateTime64(3, 'UTC')}, 3, {time_zone:String}) AS local_start,
    toDateTime64({end:DateTime64(3, 'UTC')}, 3, {time_zone:String}) - toIntervalMillisecond(1) AS local_last,
    toDateTime(origin + intDiv(toDate(local_start) - origin, days) * days, {time_zone:String}) AS from_day,
    toDateTime(origin + (intDiv(toDate(local_last) - origin, days) + 1) * days, {time_zone:String}) AS beyond_day,
    -- Of a day, at most its own interval is left out at either end.
    if(width_s >= 86400, from_day,
        from_day + intDiv(toUnixTimestamp(local_start) - toUnixTimestamp(from_day), width_s) * width_s) AS first,
    toDateTime(toDate(local_last), {time_zone:String}) AS last_day,
    if(width_s >= 86400, beyond_day,
        last_day + (intDiv(toUnixTimestamp(local_last) - toUnixTimestamp(last_day), width_s) + 1) * width_s) AS beyond
SELECT
    source,
    symbol,
    toDateTime(
        if(width_s >= 86400,
            toDateTime(
                origin + intDiv(toDate(toTimeZone(event_time, {time_zone:String})) - origin, days) * days,
                {time_zone:String}),
            toStartOfDay(event_time, {time_zone:String})
                + intDiv(toUnixTimestamp(event_time) - toUnixTimestamp(toStartOfDay(event_time, {time_zone:String})),
                    width_s) * width_s),
        'UTC') AS open_time,
    toDate(toTimeZone(open_time, {time_zone:String})) AS day,
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
    AND throwIf(width_s % 86400 != 0 AND 86400 % width_s != 0,
        'interval_s must be a number of whole days, or divide a day (86400)') = 0
GROUP BY source, symbol, open_time;

-- The best prices of a market as they were known at each multiple of an interval, carried forward from the newest snapshot. age_s is
-- the age of the older side. A side that is older than max_age_s is NULL. A time at which neither side is known has no
-- row.
CREATE OR REPLACE VIEW mid_prices AS
WITH
    toInt64({interval_s:UInt32}) * 1000000 AS width_us,
    toInt64({max_age_s:UInt32}) * 1000000 AS max_age_us,
    -- Monday, 5 January 1970.
    345600000000 AS origin_us,
    greatest(intDiv(toUnixTimestamp64Micro({start:DateTime64(6, 'UTC')}) - origin_us + width_us - 1, width_us), 0)
        AS first_slot,
    intDiv(toUnixTimestamp64Micro({end:DateTime64(6, 'UTC')}) - 1 - origin_us, width_us) + 1 AS beyond_slot
SELECT
    {source:String} AS source,
    {symbol:String} AS symbol,
    fromUnixTimestamp64Micro(origin_us + slot * width_us, 'UTC') AS time,
    if(bid.2 > 0 AND origin_us + slot * width_us - bid.2 <= max_age_us, nullIf(bid.1, 0), NULL) AS best_bid,
    if(ask.2 > 0 AND origin_us + slot * width_us - ask.2 <= max_age_us, nullIf(ask.1, 0), NULL) AS best_ask,
    (best_bid + best_ask) / 2 AS mid,
    (best_ask - best_bid) / mid * 10000 AS spread_bps,
    greatest(
        if(best_bid IS NULL, 0, origin_us + slot * width_us - bid.2),
        if(best_ask IS NULL, 0, origin_us + slot * width_us - ask.2)) / 1e6 AS age_s
FROM
(
    SELECT
        bid, ask,
        -- Each state holds until the next one, and at most until both sides are too old.
        arrayJoin(range(
            toUInt64(greatest(known_slot, first_slot)),
            toUInt64(least(
                leadInFrame(known_slot, 1, beyond_slot) OVER
                    (ORDER BY known_slot ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING),
                beyond_slot,
                intDiv(greatest(bid.2, ask.2) + max_age_us - origin_us, width_us) + 1)))) AS slot
    FROM
    (
        SELECT
            known_slot,
            argMaxIf(new_bid, known_slot, new_bid.2 > 0) OVER so_far AS bid,
            argMaxIf(new_ask, known_slot, new_ask.2 > 0) OVER so_far AS ask
        FROM
        (
            SELECT
                -- The first time of the grid at which the snapshot is known.
                intDiv(toUnixTimestamp64Micro(received_at) - origin_us + width_us - 1, width_us) AS known_slot,
                argMaxIf((best_price, toUnixTimestamp64Micro(received_at)),
                    toUnixTimestamp64Micro(received_at) + toInt64(set_back_us), side = 'bid') AS new_bid,
                argMaxIf((best_price, toUnixTimestamp64Micro(received_at)),
                    toUnixTimestamp64Micro(received_at) + toInt64(set_back_us), side = 'ask') AS new_ask
            FROM orderbook_depth
            WHERE source = {source:String} AND symbol = {symbol:String}
                AND received_at >= {start:DateTime64(6, 'UTC')} - toIntervalSecond({max_age_s:UInt32})
                AND received_at < {end:DateTime64(6, 'UTC')}
            GROUP BY known_slot
        )
        WINDOW so_far AS
            (ORDER BY known_slot ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    )
)
WHERE best_bid IS NOT NULL OR best_ask IS NOT NULL;

-- Volumes by the side of the taker. imbalance is from -1 (only sells) to 1 (only buys).
CREATE OR REPLACE VIEW order_flow AS
WITH
    toIntervalSecond({interval_s:UInt32}) AS width,
    toDateTime64('1970-01-05 00:00:00', 3, 'UTC') AS origin,
    toStartOfInterval({start:DateTime64(3, 'UTC')}, width, origin) AS first,
    toStartOfInterval({end:DateTime64(3, 'UTC')} - toIntervalMillisecond(1), width, origin) AS last
SELECT
    source,
    symbol,
    toDateTime(toStartOfInterval(event_time, width, origin), 'UTC') AS open_time,
    sumIf(base_amount, side = 'buy') AS buy_volume,
    sumIf(base_amount, side = 'sell') AS sell_volume,
    buy_volume - sell_volume AS delta,
    sumIf(quote_amount, side = 'buy') AS buy_quote_volume,
    sumIf(quote_amount, side = 'sell') AS sell_quote_volume,
    countIf(side = 'buy') AS buys,
    countIf(side = 'sell') AS sells,
    toFloat64(delta) / toFloat64(buy_volume + sell_volume) AS imbalance
FROM trades_master FINAL
WHERE event_time >= first AND event_time < last + width
GROUP BY source, symbol, open_time;

-- The volume that traded at each price, in steps: price is the lower end of its step.
CREATE OR REPLACE VIEW volume_profile AS
WITH {price_step:Decimal(38, 18)} AS step
SELECT
    source,
    symbol,
    toDecimal128(trades_master.price - trades_master.price % step, 18) AS price,
    sumIf(base_amount, side = 'buy') AS buy_volume,
    sumIf(base_amount, side = 'sell') AS sell_volume,
    buy_volume + sell_volume AS volume,
    sum(quote_amount) AS quote_volume,
    count() AS trades
FROM trades_master FINAL
WHERE event_time >= {start:DateTime64(3, 'UTC')} AND event_time < {end:DateTime64(3, 'UTC')}
GROUP BY source, symbol, price;

-- The volatility of each interval, from the log returns between the last prices of its samples. A return counts if its
-- first price is at most one interval older, so a long silence adds none.
CREATE OR REPLACE VIEW realised_volatility AS
WITH
    toInt64({sample_s:UInt32}) AS sample,
    toInt64({interval_s:UInt32}) AS width,
    -- Monday, 5 January 1970.
    345600 AS origin,
    intDiv(toUnixTimestamp({start:DateTime64(3, 'UTC')}) - origin, width) AS first,
    intDiv(toUnixTimestamp({end:DateTime64(3, 'UTC')} - toIntervalMillisecond(1)) - origin, width) AS last
SELECT
    source,
    symbol,
    toDateTime(origin + number * width, 'UTC') AS open_time,
    countIf(is_return) AS returns,
    sumIf(pow(log_price - previous_log_price, 2), is_return) AS realised_variance,
    sqrt(realised_variance) AS volatility,
    volatility * sqrt(31536000 / width) AS annualised_volatility
FROM
(
    SELECT
        source, symbol, log_price,
        intDiv(slot * sample, width) AS number,
        lagInFrame(log_price) OVER earlier AS previous_log_price,
        lagInFrame(slot, 1, -1) OVER earlier AS previous_slot,
        previous_slot >= 0 AND (slot - previous_slot) * sample <= width AS is_return
    FROM
    (
        SELECT
            source,
            symbol,
            intDiv(toUnixTimestamp(event_time) - origin, sample) AS slot,
            log(toFloat64(argMax(price, sequence))) AS log_price
        FROM trades_master FINAL
        WHERE event_time >= toDateTime64(origin + (first - 1) * width, 3, 'UTC')
            AND event_time < toDateTime64(origin + (last + 1) * width, 3, 'UTC')
            AND throwIf(width % sample != 0, 'interval_s must be a multiple of sample_s') = 0
        GROUP BY source, symbol, slot
    )
    WINDOW earlier AS
        (PARTITION BY source, symbol ORDER BY slot ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
)
WHERE number >= first
GROUP BY source, symbol, number;

-- The trades of a market, each with the best prices that had been received when it happened. A side that is older than
-- max_age_s is NULL. book_age_s is the age of the older side. effective_spread_bps is twice the distance from the
-- middle, above 0 if the taker paid it.
CREATE OR REPLACE VIEW trades_with_book AS
SELECT
    trade_id,
    source,
    symbol,
    toString(taker) AS side,
    price,
    base_amount,
    quote_amount,
    event_time_us,
    if(bid_us > 0 AND at_us - bid_us <= max_age_us, nullIf(bid_price, 0), NULL) AS best_bid,
    if(ask_us > 0 AND at_us - ask_us <= max_age_us, nullIf(ask_price, 0), NULL) AS best_ask,
    (best_bid + best_ask) / 2 AS mid,
    (best_ask - best_bid) / mid * 10000 AS quoted_spread_bps,
    if(taker = 'buy', 2, -2) * (toFloat64(price) - mid) / mid * 10000 AS effective_spread_bps,
    if(best_bid IS NULL AND best_ask IS NULL, NULL,
        greatest(if(best_bid IS NULL, 0, at_us - bid_us), if(best_ask IS NULL, 0, at_us - ask_us)) / 1e6) AS book_age_s
FROM
(
    SELECT
        traded.trade_id AS trade_id,
        traded.source AS source,
        traded.symbol AS symbol,
        traded.side AS taker,
        traded.price AS price,
        traded.base_amount AS base_amount,
        traded.quote_amount AS quote_amount,
        traded.event_time_us AS event_time_us,
        toUnixTimestamp64Micro(traded.event_time_us) AS at_us,
        toInt64({max_age_s:UInt32}) * 1000000 AS max_age_us,
        toUnixTimestamp64Micro(bid.received_at) AS bid_us,
        toUnixTimestamp64Micro(ask.received_at) AS ask_us,
        bid.best_price AS bid_price,
        ask.best_price AS ask_price
    FROM
    (
        SELECT *
        FROM trades
        WHERE source = {source:String} AND symbol = {symbol:String}
            AND event_time >= {start:DateTime64(6, 'UTC')} AND event_time < {end:DateTime64(6, 'UTC')}
    ) AS traded
    ASOF LEFT JOIN
    (
        SELECT source, symbol, received_at, best_price
        FROM orderbook_depth
        WHERE source = {source:String} AND symbol = {symbol:String} AND side = 'bid'
            AND received_at >= {start:DateTime64(6, 'UTC')} - toIntervalSecond({max_age_s:UInt32})
            -- event_time_us may be finer than event_time.
            AND received_at < {end:DateTime64(6, 'UTC')} + toIntervalSecond(1)
    ) AS bid
    ON traded.source = bid.source AND traded.symbol = bid.symbol AND traded.event_time_us >= bid.received_at
    ASOF LEFT JOIN
    (
        SELECT source, symbol, received_at, best_price
        FROM orderbook_depth
        WHERE source = {source:String} AND symbol = {symbol:String} AND side = 'ask'
            AND received_at >= {start:DateTime64(6, 'UTC')} - toIntervalSecond({max_age_s:UInt32})
            AND received_at < {end:DateTime64(6, 'UTC')} + toIntervalSecond(1)
    ) AS ask
    ON traded.source = ask.source AND traded.symbol = ask.symbol AND traded.event_time_us >= ask.received_at
);

-- The spreads that takers of a market paid in each interval, and those that were quoted: averages by traded quote
-- volume, over the trades whose book is known.
CREATE OR REPLACE VIEW effective_spreads AS
WITH
    toIntervalSecond({interval_s:UInt32}) AS width,
    toDateTime64('1970-01-05 00:00:00', 6, 'UTC') AS origin,
    toFloat64(quote_amount) AS weight
SELECT
    toDateTime(toStartOfInterval(event_time_us, width, origin), 'UTC') AS open_time,
    sumIf(effective_spread_bps * weight, mid IS NOT NULL) / nullIf(sumIf(weight, mid IS NOT NULL), 0)
        AS effective_spread_bps_avg,
    sumIf(quoted_spread_bps * weight, mid IS NOT NULL) / nullIf(sumIf(weight, mid IS NOT NULL), 0)
        AS quoted_spread_bps_avg,
    avgIf(book_age_s, mid IS NOT NULL) AS book_age_s_avg,
    count() AS trades,
    countIf(mid IS NOT NULL) AS trades_with_book
FROM trades_with_book(
    source = {source:String}, symbol = {symbol:String}, start = {start:DateTime64(6, 'UTC')},
    end = {end:DateTime64(6, 'UTC')}, max_age_s = {max_age_s:UInt32})
GROUP BY open_time;

-- How much of each interval each market was recorded, of both datasets. The times until now count, so an interval in
-- progress can be whole. covered_share includes gaps whose records were fetched afterwards.
CREATE OR REPLACE VIEW interval_coverage AS
WITH
    toInt64({interval_s:UInt32}) * 1000000 AS width_us,
    -- Monday, 5 January 1970.
    345600000000 AS origin_us,
    toUnixTimestamp64Micro(now64(6, 'UTC')) AS now_us,
    intDiv(toUnixTimestamp64Micro({start:DateTime64(6, 'UTC')}) - origin_us, width_us) AS first_slot,
    intDiv(toUnixTimestamp64Micro({end:DateTime64(6, 'UTC')}) - 1 - origin_us, width_us) AS last_slot,
    spans AS
    (
        SELECT source, record_kind, symbol, what, false AS is_hole, began_us, reported_us AS ended_us
        FROM recording_spans
        WHERE what = 'watch'
        UNION ALL
        -- is_hole: a gap with such a cause lies inside a session, so its time is subtracted.
        SELECT source, record_kind, symbol, if(repaired, 'repaired', 'gap') AS what,
            cause IN ('mute', 'refused_by_kafka', 'sequence', 'checksum') AS is_hole,
            toUnixTimestamp64Micro(began_at) AS began_us, toUnixTimestamp64Micro(ended_at) AS ended_us
        FROM symbol_gaps
        UNION ALL
        SELECT source, record_kind, symbol, 'judged' AS what, false AS is_hole, first_us AS began_us,
            until_us AS ended_us
        FROM recorded_markets
    )
SELECT
    source,
    record_kind AS dataset,
    symbol,
    fromUnixTimestamp64Micro(origin_us + slot * width_us, 'UTC') AS open_time,
    least(1, (intervalLengthSumIf(from_us, to_us, what = 'watch' OR is_hole)
        - intervalLengthSumIf(from_us, to_us, is_hole))
        / greatest(least(width_us, now_us - origin_us - slot * width_us), 1)) AS watched_share,
    least(1, (intervalLengthSumIf(from_us, to_us, what IN ('watch', 'repaired') OR is_hole)
        - intervalLengthSumIf(from_us, to_us, is_hole AND what = 'gap'))
        / greatest(least(width_us, now_us - origin_us - slot * width_us), 1)) AS covered_share,
    countIf(what IN ('gap', 'repaired')) AS gaps
FROM
(
    SELECT
        source, record_kind, symbol, what, is_hole,
        arrayJoin(range(
            toUInt64(greatest(intDiv(began_us - origin_us, width_us), first_slot)),
            toUInt64(least(intDiv(ended_us - origin_us, width_us), last_slot) + 1))) AS slot,
        greatest(began_us, origin_us + toInt64(slot) * width_us) AS from_us,
        least(ended_us, origin_us + (toInt64(slot) + 1) * width_us) AS to_us
    FROM spans
    WHERE ended_us >= origin_us + first_slot * width_us AND began_us < origin_us + (last_slot + 1) * width_us
)
GROUP BY source, record_kind, symbol, slot;

-- As candles, each with its coverage; NULL: the interval lies before the first session, so it is unknown.
CREATE OR REPLACE VIEW covered_candles AS
SELECT
    candle.source AS source,
    candle.symbol AS symbol,
    candle.open_time AS open_time,
    candle.open AS open,
    candle.high AS high,
    candle.low AS low,
    candle.close AS close,
    candle.volume AS volume,
    candle.quote_volume AS quote_volume,
    candle.vwap AS vwap,
    candle.trades AS trades,
    covered.watched_share AS watched_share,
    covered.covered_share AS covered_share,
    covered.gaps AS gaps
FROM candles(interval_s = {interval_s:UInt32}, start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})
    AS candle
LEFT JOIN
(
    SELECT source, symbol, toDateTime(open_time, 'UTC') AS open_time, toNullable(watched_share) AS watched_share,
        toNullable(covered_share) AS covered_share, toNullable(gaps) AS gaps
    FROM interval_coverage(
        interval_s = {interval_s:UInt32}, start = {start:DateTime64(6, 'UTC')}, end = {end:DateTime64(6, 'UTC')})
    WHERE dataset = 'trades'
) AS covered
ON candle.source = covered.source AND candle.symbol = covered.symbol AND candle.open_time = covered.open_time;
