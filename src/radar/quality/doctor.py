"""`radar doctor`: looks at what radar runs on; `findings.py` judges it.

Nothing is changed: a table's rights are tried with an insert of no rows.
"""

import asyncio
import os
import platform
import resource
import shutil
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from radar import __version__
from radar.consumer.delivery_gaps import OPEN, recorded
from radar.consumer.letters import Letters
from radar.errors import ConfigurationError, QueryFailed, RadarError, StoreUnavailable
from radar.exchanges import load
from radar.kafka import MAX_MESSAGE_BYTES, Cluster, Lag, library_version
from radar.kinds import KINDS, TRADES
from radar.local import addresses
from radar.observe.state import running_pipeline
from radar.producer.connection import Connection
from radar.producer.markets import selected, storable
from radar.producer.rest import Rest
from radar.quality import findings
from radar.quality.findings import Finding, State, TopicFacts, Wanted, ok, problem, warning
from radar.settings import Settings
from radar.store.client import Store
from radar.store.migrate import migrations
from radar.text import host_port

ANSWER_TIMEOUT_S = 5.0
CLICKHOUSE_SKEW_S = 2.0


def examine(settings: Settings) -> Iterator[Finding]:
    """Make all checks, one after the other; each blocks for some seconds at most.

    What does not answer is a finding, not an error.
    """
    running = running_pipeline(settings.radar_data_dir)
    yield ok("version", f"radar {__version__}, Python {platform.python_version()},"
             f" librdkafka {library_version()}")  # fmt: skip
    yield _data_directory(settings.radar_data_dir)
    yield from _disk(settings.radar_data_dir)
    yield findings.open_files(*resource.getrlimit(resource.RLIMIT_NOFILE))
    yield _metrics_port(settings, running)
    yield from _kafka(settings, running)
    yield from _clickhouse(settings, running)
    yield from _exchange(settings, running)


def worst(found: list[Finding]) -> State:
    """Return how bad the worst finding is."""
    states = {finding.state for finding in found}
    return next(state for state in reversed(State) if state in states or state is State.OK)


def describe(finding: Finding) -> str:
    """Write a finding as one line."""
    remedy = f" → {finding.remedy}" if finding.remedy else ""
    return f"{finding.state:8} {finding.check}: {finding.detail}{remedy}"


def _data_directory(path: Path) -> Finding:
    existing = _existing(path)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return problem(
            "data directory",
            f"{path.absolute()} cannot be written by this user",
            f"`chown` {existing}, or set another RADAR_DATA_DIR",
        )
    return ok("data directory", f"{path.absolute()} can be written")


def _disk(path: Path) -> Iterator[Finding]:
    usage = shutil.disk_usage(_existing(path))
    yield findings.disk("disk", usage.free, usage.total, str(path.absolute()))


def _existing(path: Path) -> Path:
    """Return a path, or the nearest folder above it that exists."""
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.exists())


def _metrics_port(settings: Settings, running: dict[str, Any] | None) -> Finding:
    host, port = "127.0.0.1", settings.metrics_port
    if not port:
        return ok("metrics port", "METRICS_PORT is 0: nothing is served outside of `radar up`")
    if not addresses.answers(host, port):
        return ok("metrics port", f"{port} is free")
    if running is not None:
        return ok("metrics port", f"{port} is in use, while `radar up` runs")
    return warning(
        "metrics port",
        f"{port} is in use",
        "if that is not a process of radar, set another METRICS_PORT",
    )


def _kafka(settings: Settings, running: dict[str, Any] | None) -> Iterator[Finding]:
    host, port = addresses.first_broker(settings)
    if not addresses.answers(host, port):
        yield _silent("Kafka", "KAFKA_BROKER", host, port, running)
        return
    cluster = Cluster(settings)
    try:
        cluster.wait_until_up(ANSWER_TIMEOUT_S)
        yield ok("Kafka", f"answers at {settings.kafka_broker}")
        yield from _topics(settings, cluster)
    except RadarError as error:
        remedy = "see whether KAFKA_BROKER names a broker, and KAFKA_SECURITY_PROTOCOL its protocol"
        yield problem("Kafka", str(error), remedy)


def _topics(settings: Settings, cluster: Cluster) -> Iterator[Finding]:
    names = [name for kind in KINDS.values() for name in (kind.topic, kind.dead_letter_topic)]
    wanted = Wanted(
        partitions=settings.kafka_num_partitions,
        replicas=settings.kafka_replication_factor,
        retention_ms=int(settings.kafka_retention_hours * 3_600_000),
        message_bytes=MAX_MESSAGE_BYTES,
    )
    found = {
        topic.name: TopicFacts(topic.partitions, topic.replicas, topic.out_of_sync, topic.options)
        for topic in cluster.topic_settings(names)
    }
    yield from findings.topics(found, names, wanted)
    lags = {kind.name: cluster.lag(kind.topic, kind.group) for kind in KINDS.values()}
    yield findings.unstored(
        {
            kind.topic: sum(
                max(0, lag.start - lag.committed)
                for lag in lags[kind.name]
                if lag.committed is not None
            )
            for kind in KINDS.values()
        }
    )
    yield findings.unreadable(list(_stuck(cluster, lags)))
    letters = {kind.name: Letters(cluster, kind) for kind in KINDS.values()}
    yield findings.dead_letters(
        {name: sum(1 for _ in found.open()) for name, found in letters.items()},
        {name: found.foreign_count for name, found in letters.items()},
    )


def _stuck(
    cluster: Cluster, lags: dict[str, list[Lag]]
) -> Iterator[tuple[str, str, int, int, str]]:
    for kind in KINDS.values():
        waiting = {
            lag.partition: max(lag.start, lag.committed or 0)
            for lag in lags[kind.name]
            if lag.messages > 0
        }
        for bad in cluster.unreadable(kind.topic, waiting):
            offset = max(bad.offset, waiting[bad.partition])
            yield kind.name, kind.topic, bad.partition, offset, bad.reason


def _clickhouse(settings: Settings, running: dict[str, Any] | None) -> Iterator[Finding]:
    host, port = settings.clickhouse_host, settings.clickhouse_port
    if not addresses.answers(host, port):
        yield _silent("ClickHouse", "CLICKHOUSE_PORT", host, port, running)
        return
    store = Store(settings, timeout_s=ANSWER_TIMEOUT_S)
    try:
        if not store.has_table("schema_migrations"):
            yield ok("ClickHouse", f"answers at {host_port(host, port)}")
            detail = f"database {store.database} is not there or empty"
            yield warning("schema", detail, "`radar migrate`, as workers do when they start")
            return
        before_s = time.time()
        ((version, now_s),) = store.rows("SELECT version(), toFloat64(now64(3))")
        after_s = time.time()
        yield ok("ClickHouse", f"answers at {host_port(host, port)}")
        yield findings.clickhouse_version(str(version))
        ahead_s = (before_s + after_s) / 2 - float(now_s)
        yield findings.clock("clock", ahead_s, "ClickHouse's", CLICKHOUSE_SKEW_S)
        yield _schema(store)
        yield from _tables(settings, store)
        yield _delivery_gaps(store)
        yield from _store_disk(store)
    except (QueryFailed, StoreUnavailable) as error:
        remedy = "see CLICKHOUSE_USER, CLICKHOUSE_PASSWORD, CLICKHOUSE_DB, CLICKHOUSE_SECURE"
        yield problem("ClickHouse", str(error), remedy)
    finally:
        store.close()


def _delivery_gaps(store: Store) -> Finding:
    lost: dict[str, int] = {}
    causes: set[str] = set()
    for kind in KINDS.values():
        for gap in recorded(store, kind.topic):
            if gap.state == OPEN:
                lost[kind.name] = lost.get(kind.name, 0) + gap.offsets
                causes.add(gap.cause)
    return findings.delivery_gaps(lost, sorted(causes))


def _schema(store: Store) -> Finding:
    applied = {int(row[0]) for row in store.rows("SELECT version FROM schema_migrations FINAL")}
    known = {migration.version for migration in migrations()}
    return findings.schema(sorted(known - applied), sorted(applied - known))


def _tables(settings: Settings, store: Store) -> Iterator[Finding]:
    definitions = dict(
        store.rows(
            "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()"
        )
    )
    bad = False
    for kind in KINDS.values():
        if kind.table not in definitions:
            continue
        found = findings.table(kind.table, str(definitions[kind.table]), settings.retention_days)
        found += _rights(store, kind.table)
        bad |= bool(found)
        yield from found
    if not bad:
        yield ok("tables", "they collapse, recognise blocks, expire and take rows as they should")


def _rights(store: Store, table: str) -> list[Finding]:
    try:
        store.command(f"INSERT INTO {table} SELECT * FROM {table} WHERE 0")
    except QueryFailed as error:
        return [
            warning(
                f"table {table}",
                f"this user may not insert: {error}",
                f"for workers: `GRANT SELECT, INSERT ON {store.database}.{table}`",
            )
        ]
    return []


def _store_disk(store: Store) -> Iterator[Finding]:
    try:
        disks = store.rows("SELECT name, free_space, total_space FROM system.disks")
    except QueryFailed:
        return  # a worker's user may not ask, and needs not
    for name, free_bytes, total_bytes in disks:
        yield findings.disk("ClickHouse disk", int(free_bytes), int(total_bytes), str(name))


def _exchange(settings: Settings, running: dict[str, Any] | None) -> Iterator[Finding]:
    own = settings.exchange_ws_url or settings.exchange_rest_url
    if running is not None and running["simulated"] and not own:
        yield ok("exchange", "the `radar up` that runs has its own, simulated")
        return
    yield from asyncio.run(_ask_exchange(settings))


async def _ask_exchange(settings: Settings) -> list[Finding]:
    exchange = load(settings.exchange)
    found: list[Finding] = []
    remedy = (
        "see whether this machine reaches the exchange; some refuse addresses of other"
        " countries: EXCHANGE_PROXY"
    )
    rest = Rest(settings.exchange_rest_url or exchange.rest_url, proxy=settings.exchange_proxy)
    symbols: list[str] = []
    try:
        started_s = time.time()
        markets = storable(exchange.parse_markets(await rest.get(exchange.markets_path)))
        middle_s = (started_s + time.time()) / 2
        found.append(ok("exchange REST", f"answers and has {len(markets):,} spot markets"))
        if rest.date:
            # It tells the second, so half a second later on average.
            told_s = parsedate_to_datetime(rest.date).timestamp() + 0.5
            found.append(findings.clock("clock", middle_s - told_s, "the exchange's"))
        symbols = [market.symbol for market in selected(markets, settings.symbols)][:1]
    except ConfigurationError as error:
        found.append(problem("markets", str(error), "name markets in SYMBOLS that there are"))
    except (RadarError, ValueError) as error:
        found.append(problem("exchange REST", str(error), remedy))
    finally:
        await rest.close()
    try:
        url = settings.exchange_ws_url or exchange.ws_url
        connection = await Connection.open(
            url, proxy=settings.exchange_proxy, max_frame_bytes=settings.max_frame_bytes
        )
        for frame in exchange.subscriptions(TRADES, symbols):
            await connection.send(frame)
        connection.abort()
        found.append(ok("exchange WebSocket", "takes connections"))
    except RadarError as error:
        found.append(problem("exchange WebSocket", str(error), remedy))
    return found


def _silent(
    name: str, variable: str, host: str, port: int, running: dict[str, Any] | None
) -> Finding:
    if running is None and addresses.is_loopback(host):
        return ok(name, f"{host_port(host, port)} is free: `radar up` starts its own there")
    detail = f"nothing answers at {host_port(host, port)}"
    if running is not None:
        return problem(
            name, detail, f"give {variable} as to the `radar up` that runs, or see its log"
        )
    return problem(name, detail, f"start it, open the way there, or set another {variable}")
