"""Queries about tables, markets and gaps, behind every view of the pipeline."""

from collections.abc import Iterable

from radar.datasets import RECORDED, Dataset

SHOWN_GAPS = 20

PRICES = "SELECT source, symbol, toString(last_price), best_bid, best_ask FROM markets"
# In a cluster, those of the server that answers.
SIZES = (
    "SELECT replaceRegexpOne(table, '_local$', '') AS name, sum(bytes_on_disk), count()"
    " FROM system.parts WHERE active AND database = currentDatabase() GROUP BY name"
)

# Object storage names no bound.
DISKS = "SELECT name, free_space, total_space FROM system.disks WHERE NOT is_remote"


def counts(datasets: Iterable[Dataset]) -> str:
    """Return the query of the rows of each dataset: all, of the last minute, the newest receipt."""
    return " UNION ALL ".join(
        f"SELECT '{dataset.name}', count(), countIf(received_at > now64(6) - 60),"
        f" toUnixTimestamp64Micro(max(received_at)) FROM {dataset.table} FINAL"
        for dataset in datasets
    )


def _newest_query() -> str:
    parts = [
        f"SELECT '{dataset.name}' AS dataset, source, symbol, max(received_at) AS newest,"
        " avgIf(dateDiff('millisecond', received_at, inserted_at),"
        " received_at > now64(6) - 60) / 1000 AS latency_s"
        f" FROM {dataset.table} WHERE {dataset.time} > now64(6) - {dataset.look_back_s}"
        f" AND received_at > now64(6) - {dataset.look_back_s} GROUP BY source, symbol"
        for dataset in RECORDED.values()
    ]
    return (
        "SELECT w.dataset, w.source, w.symbol, toUnixTimestamp64Micro(newest),"
        " if(isFinite(latency_s), latency_s, NULL)"
        " FROM (SELECT toString(record_kind) AS dataset, source, arrayJoin(symbols) AS symbol"
        " FROM watches WHERE ended_at > now64(6) - 86400 GROUP BY dataset, source, symbol) AS w"
        f" LEFT JOIN ({' UNION ALL '.join(parts)}) AS n USING (dataset, source, symbol)"
    )


NEWEST = _newest_query()
DELIVERY_GAPS = (
    "SELECT topic, partition, first_offset, last_offset, cause,"
    " if(state = 'open', reason, explanation), toUnixTimestamp64Milli(recorded_at) / 1e3,"
    " (state = 'open')::Bool, (extent = 'exact')::Bool"
    " FROM delivery_gaps FINAL WHERE state != 'repaired'"
    f" ORDER BY state = 'open' DESC, recorded_at DESC LIMIT {SHOWN_GAPS}"
)
# The view also has the times in which no producer ran to record a gap.
GAPS = (
    "SELECT record_kind, cause, arraySort(groupArray("
    "if((SELECT uniqExact(source) FROM watches) > 1,"
    " concat(source, ':', symbol), symbol))),"
    " toUnixTimestamp64Micro(began_at) / 1e6, toUnixTimestamp64Micro(ended_at) / 1e6, repaired"
    " FROM symbol_gaps WHERE ended_at > now64(6) - 86400"
    " GROUP BY record_kind, cause, began_at, ended_at, repaired"
    f" ORDER BY ended_at DESC, began_at DESC LIMIT {SHOWN_GAPS}"
)
