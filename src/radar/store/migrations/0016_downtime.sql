-- More causes: messages that Kafka refused for good, a machine that slept, a clock that was set.
ALTER TABLE gaps
    MODIFY COLUMN cause Enum8('disconnected' = 1, 'silent' = 2, 'refused' = 3, 'backpressure' = 4, 'mute' = 5,
        'refused_by_kafka' = 6, 'suspended' = 7, 'clock' = 8) COMMENT 'Why';

-- One row per time in which a market was watched ('watch') or is known to be missing ('gap').
-- A producer reports an open watch every half minute. An open watch that was reported within 90 seconds counts
-- as lasting until now; later nothing proves that its producer lives, and it ends where it was last reported.
-- Watches of the same markets that follow each other without a hole are one row: connections are replaced all day.
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
                (PARTITION BY source, record_kind, group_id ORDER BY from_us, connection ROWS UNBOUNDED PRECEDING) AS island
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

-- From when to when each market is judged: from its first watch until now. A market that is recorded no more, while
-- others of its dataset are (delisted, or left out of SYMBOLS), is judged until its last watch.
CREATE OR REPLACE VIEW recorded_markets AS
SELECT
    source, record_kind, symbol,
    first_us,
    last_us,
    -- Whether other markets of this dataset were recorded for five minutes longer.
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

-- The gaps, one row for each market: those that producers recorded, and (cause not_recording) the times that
-- neither a watch nor a recorded gap covers, because no producer ran.
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
    -- A producer that lives records the gap itself, once its repair is over.
    AND (last_reason IN ('stopped', 'open', 'gap') OR toUnixTimestamp64Micro(now64(6, 'UTC')) - began_us > 300000000)
UNION ALL
-- The time that lasts: no producer runs, or only this market's connection is lost.
SELECT
    source, record_kind, symbol,
    fromUnixTimestamp64Micro(last_us, 'UTC') AS began_at, fromUnixTimestamp64Micro(until_us, 'UTC') AS ended_at,
    if(others_go_on, 'disconnected', 'not_recording') AS cause, false AS repaired
FROM recorded_markets
WHERE until_us > last_us;

-- How much of each day (UTC) each market was really watched, since it was first.
-- The time of a gap with the cause mute or refused_by_kafka lies inside a watch and was not recorded.
CREATE OR REPLACE VIEW coverage AS
WITH spans AS
(
    SELECT source, record_kind, symbol, what, false AS is_hole, began_us, reported_us AS ended_us
    FROM recording_spans
    WHERE what = 'watch'
    UNION ALL
    SELECT source, record_kind, symbol, if(repaired, 'repaired', 'gap') AS what,
        cause IN ('mute', 'refused_by_kafka') AS is_hole,
        toUnixTimestamp64Micro(began_at) AS began_us, toUnixTimestamp64Micro(ended_at) AS ended_us
    FROM symbol_gaps
    UNION ALL
    -- Also days on which nothing was recorded. Its length is what can be expected of a day.
    SELECT source, record_kind, symbol, 'day' AS what, false AS is_hole, first_us AS began_us, until_us AS ended_us
    FROM recorded_markets
)
SELECT
    source,
    record_kind,
    symbol,
    toDate(day_number) AS day,
    -- Of the first day what followed the first watch, of today what is over.
    greatest(intervalLengthSumIf(from_us, to_us, what = 'day'), 1) / 1e6 AS elapsed_s,
    (intervalLengthSumIf(from_us, to_us, what = 'watch' OR is_hole) - intervalLengthSumIf(from_us, to_us, is_hole)) / 1e6 AS watched_s,
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
        arrayJoin(range(toUInt32(intDiv(began_us, 86400000000)), toUInt32(intDiv(ended_us, 86400000000)) + 1)) AS day_number,
        greatest(began_us, toInt64(day_number) * 86400000000) AS from_us,
        least(ended_us, (toInt64(day_number) + 1) * 86400000000) AS to_us
    FROM spans
)
GROUP BY source, record_kind, symbol, day_number;
