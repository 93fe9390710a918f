"""`radar status`: what runs, what is stored, what waits; the same facts as text and as JSON."""

from typing import Any

from radar.errors import RadarError
from radar.kafka import Cluster
from radar.kinds import KINDS
from radar.observe.state import running_pipeline
from radar.settings import Settings
from radar.store.client import Store


def collect(settings: Settings) -> dict[str, Any]:
    """Ask everything that can be asked; blocks for a few seconds at most.

    What does not answer is named in `problems` instead of raising.
    """
    problems: list[str] = []
    found: dict[str, Any] = {
        "pipeline": running_pipeline(settings.radar_data_dir),
        "kafka": {"broker": settings.kafka_broker, "topics": {}},
        "clickhouse": {
            "address": f"{settings.clickhouse_host}:{settings.clickhouse_port}",
            "database": settings.clickhouse_db,
            "tables": {},
        },
        "problems": problems,
    }
    try:
        cluster = Cluster(settings)
        cluster.wait_until_up(2.0)
        for kind in KINDS.values():
            lags = cluster.lag(kind.topic, kind.group)
            found["kafka"]["topics"][kind.topic] = {
                "partitions": len(lags),
                "messages": sum(lag.end - lag.start for lag in lags),
                "lag": sum(lag.messages for lag in lags),
            }
    except RadarError as error:
        problems.append(str(error))
    store = Store(settings, timeout_s=10)
    try:
        for kind in KINDS.values():
            found["clickhouse"]["tables"][kind.table] = _table(store, kind.table)
    except RadarError as error:
        problems.append(str(error))
    finally:
        store.close()
    problems += [
        f"{process['name']} is {process['state']}"
        for process in (found["pipeline"] or {}).get("processes", ())
        if process["state"] != "running"
    ]
    return found


def describe(found: dict[str, Any]) -> str:
    """Write the facts as text."""
    lines = []
    if pipeline := found["pipeline"]:
        exchange = "the simulated exchange" if pipeline["simulated"] else "the exchange"
        running = sum(process["state"] == "running" for process in pipeline["processes"])
        lines.append(
            f"pipeline: {running} of {len(pipeline['processes'])} processes run,"
            f" recording {exchange} (pid {pipeline['pid']})"
        )
    else:
        lines.append("pipeline: no `radar up` runs on this data")
    lines.append(f"kafka {found['kafka']['broker']}:")
    lines += [
        f"  {name}: {topic['partitions']} partitions, {topic['messages']:,} messages kept,"
        f" {topic['lag']:,} waiting"
        for name, topic in found["kafka"]["topics"].items()
    ]
    lines.append(f"clickhouse {found['clickhouse']['address']}:")
    lines += [
        f"  {found['clickhouse']['database']}.{name}: {table['rows']:,} rows,"
        f" {table['rows_last_minute']:,} in the last minute, newest {table['newest'] or '–'}"
        for name, table in found["clickhouse"]["tables"].items()
    ]
    lines += [f"problem: {problem}" for problem in found["problems"]]
    return "\n".join(lines)


def _table(store: Store, table: str) -> dict[str, Any]:
    ((rows, last_minute, newest),) = store.rows(
        f"SELECT count(), countIf(received_at > now64(6) - 60), max(received_at) FROM {table} FINAL"
    )
    return {
        "rows": int(rows),
        "rows_last_minute": int(last_minute),
        "newest": f"{newest:%Y-%m-%dT%H:%M:%S}Z" if rows else None,
    }
