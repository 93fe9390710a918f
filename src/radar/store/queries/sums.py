"""Queries that sum the trades of past weeks."""

_OF_TRADES = "active AND database = currentDatabase() AND table = 'trades_master'"
_ATTEMPT = "week = {week:Date} AND attempt = {attempt:UInt64}"

# A past week's trades become one part (see the settings of the table). The hash of its files
# identifies its rows. A week is summed again before its sums are too old for the views.
DUE = f"""
SELECT toDate(partition) AS week, any(cityHash64(hash_of_all_files)) AS contents
FROM system.parts
WHERE {_OF_TRADES} AND toDate(partition) + toIntervalDay(7) < now()
GROUP BY partition
HAVING count() = 1 AND (week, contents) NOT IN
(
    SELECT week, contents FROM summed_weeks WHERE summed_at > now() - toIntervalDay(6)
)
ORDER BY week DESC
"""

SUM = """
INSERT INTO trade_sums
SELECT
    toMonday(event_time) AS week, {contents:UInt64}, {attempt:UInt64}, source, symbol,
    toStartOfFifteenMinutes(event_time) AS quarter,
    argMin(price, sequence), min(sequence), max(price), min(price), argMax(price, sequence),
    max(sequence), sum(base_amount), sum(quote_amount), count(), now()
FROM trades_master FINAL
WHERE toMonday(event_time) = {week:Date}
GROUP BY week, source, symbol, quarter
SETTINGS max_threads = 1
"""

# Whether the sums hold every trade of the week, once.
IS_WHOLE = f"""
SELECT count() = uniqExact(source, symbol, open_time) AND sum(trades) =
    (SELECT count() FROM trades_master FINAL WHERE toMonday(event_time) = {{week:Date}})
FROM trade_sums WHERE {_ATTEMPT}
"""

CONTENTS = f"""
SELECT groupArray(cityHash64(hash_of_all_files))
FROM system.parts WHERE {_OF_TRADES} AND toDate(partition) = {{week:Date}}
"""

COMPLETE = """
INSERT INTO summed_weeks SELECT {week:Date}, {contents:UInt64}, {attempt:UInt64}, now()
"""
