-- A market can be mute on a connection that works for its other markets: such a gap lies inside a watch.
ALTER TABLE gaps
    MODIFY COLUMN cause Enum8('disconnected' = 1, 'silent' = 2, 'refused' = 3, 'backpressure' = 4, 'mute' = 5,
        'refused_by_kafka' = 6, 'suspended' = 7, 'clock' = 8) COMMENT 'Why';

-- As before, but the time of a gap with the cause mute was not watched.
CREATE OR REPLACE VIEW coverage AS
WITH spans AS
(
    SELECT source, toString(record_kind) AS record_kind, arrayJoin(symbols) AS symbol, 'watch' AS what, false AS is_mute,
        toUnixTimestamp64Micro(began_at) AS began_us, toUnixTimestamp64Micro(ended_at) AS ended_us
    FROM watches FINAL
    UNION ALL
    SELECT source, toString(record_kind) AS record_kind, arrayJoin(symbols) AS symbol, if(repaired, 'repaired', 'gap') AS what,
        cause = 'mute' AS is_mute,
        toUnixTimestamp64Micro(began_at) AS began_us, toUnixTimestamp64Micro(ended_at) AS ended_us
    FROM gaps FINAL
    UNION ALL
    -- Also days on which nothing was recorded.
    SELECT source, toString(record_kind) AS record_kind, arrayJoin(symbols) AS symbol, 'day' AS what, false AS is_mute,
        toUnixTimestamp64Micro(min(began_at)) AS began_us, toUnixTimestamp64Micro(now64(6, 'UTC')) AS ended_us
    FROM watches FINAL
    GROUP BY source, record_kind, symbol
)
SELECT
    source,
    record_kind,
    symbol,
    toDate(day_number) AS day,
    -- Of today, what is over.
    (least((day_number + 1) * 86400000000, toUnixTimestamp64Micro(now64(6, 'UTC'))) - day_number * 86400000000) / 1e6 AS elapsed_s,
    (intervalLengthSumIf(from_us, to_us, what = 'watch' OR is_mute) - intervalLengthSumIf(from_us, to_us, is_mute)) / 1e6 AS watched_s,
    least(1, watched_s / elapsed_s) AS watched_share,
    countIf(what IN ('gap', 'repaired')) AS gaps,
    intervalLengthSumIf(from_us, to_us, what IN ('gap', 'repaired')) / 1e6 AS gaps_s,
    countIf(what = 'repaired') AS repaired_gaps,
    intervalLengthSumIf(from_us, to_us, what = 'repaired') / 1e6 AS repaired_s,
    least(1,
        (intervalLengthSumIf(from_us, to_us, what IN ('watch', 'repaired') OR is_mute)
            - intervalLengthSumIf(from_us, to_us, is_mute AND what = 'gap')) / 1e6 / elapsed_s) AS complete_share
FROM
(
    SELECT
        source, record_kind, symbol, what, is_mute,
        arrayJoin(range(toUInt32(intDiv(began_us, 86400000000)), toUInt32(intDiv(ended_us, 86400000000)) + 1)) AS day_number,
        greatest(began_us, toInt64(day_number) * 86400000000) AS from_us,
        least(ended_us, (toInt64(day_number) + 1) * 86400000000) AS to_us
    FROM spans
)
GROUP BY source, record_kind, symbol, day_number;
