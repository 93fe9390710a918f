"""`radar doctor`: reads the facts about radar's environment; `findings.py` judges them.

It changes no data: it tests the rights on a table with an insert of no rows.
"""

import asyncio
import platform
import resource
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radar import __version__, addresses, data_folder
from radar.checks import findings, kernel_clock
from radar.checks.findings import (
    Finding,
    State,
    TopicFacts,
    TopicRequirements,
    ok,
    problem,
    warning,
)
from radar.checks.frame_cost import frame_cost
from radar.consumer.delivery_gaps import OPEN, recorded
from radar.consumer.dlq.reader import DeadLetterReader
from radar.consumer.origin import refuse as same_origin
from radar.datasets import DATASETS, FRAMES, TRADES, groups
from radar.errors import (
    BrokerUnavailable,
    ConfigurationError,
    QueryFailed,
    RadarError,
    StoreUnavailable,
)
from radar.exchanges import load
from radar.exchanges.base import Send
from radar.kafka import MAX_MESSAGE_BYTES, Broker, Cluster, Lag, least_in_sync, library_version
from radar.kafka import origin as kafka_origin
from radar.origin import refuse_other
from radar.producer.connection import Connection, stream_url
from radar.producer.markets import chosen, storable
from radar.producer.origin import exchange_origin
from radar.producer.rest import Rest
from radar.settings import Settings
from radar.status.state import running_pipeline
from radar.store import origin as store_origin
from radar.store.client import Store
from radar.store.cluster import local
from radar.store.drift import differences
from radar.store.queries import checks as queries
from radar.store.queries.status import DISKS
from radar.store.schema import migrations, newest
from radar.text import host_port

if TYPE_CHECKING:
    from radar.records import Market

ANSWER_TIMEOUT_S = 5.0
CLICKHOUSE_SKEW_S = 2.0
SHOWN_MARKETS = 5


def examine(settings: Settings) -> Iterator[Finding]:
    """Run all checks, one after the other; each blocks for some seconds at most.

    A service that does not answer is a finding, not an error.
    """
    running = running_pipeline(settings.radar_data_dir)
    yield ok("version", f"radar {__version__}, Python {platform.python_version()},"
             f" librdkafka {library_version()}")  # fmt: skip
    yield _data_directory(settings.radar_data_dir)
    yield from _disk(settings.radar_data_dir)
    yield findings.synchronisation(*kernel_clock.read())
    yield findings.open_files(*resource.getrlimit(resource.RLIMIT_NOFILE))
    yield _metrics_port(settings, running)
    yield from _kafka(settings, running)
    yield from _clickhouse(settings, running)
    yield from _exchange(settings, running)


def worst(found: list[Finding]) -> State:
    """Return the state of the worst finding."""
    states = {finding.state for finding in found}
    return next(state for state in reversed(State) if state in states or state is State.OK)


def describe(finding: Finding) -> str:
    """Write a finding as one line."""
    remedy = f" → {finding.remedy}" if finding.remedy else ""
    return f"{finding.state:8} {finding.check}: {finding.detail}{remedy}"


def _data_directory(path: Path) -> Finding:
    if (found := data_folder.why_not_writable(path)) is not None:
        reason, remedy = found
        return problem("data directory", f"{path.absolute()} {reason}", remedy)
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
        return ok("metrics port", "METRICS_PORT is 0: only `radar up` serves metrics")
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
        yield from advertised(cluster.brokers())
        yield from _topics(settings, cluster)
        yield from _kafka_origin(settings, cluster)
    except RadarError as error:
        remedy = "see whether KAFKA_BROKER names a broker, and KAFKA_SECURITY_PROTOCOL its protocol"
        yield problem("Kafka", str(error), remedy)


def _kafka_origin(settings: Settings, cluster: Cluster) -> Iterator[Finding]:
    mark = kafka_origin.read(cluster)
    if mark is None:
        yield ok("Kafka holds", "no mark yet: the first producer sets it")
        return
    exchange = load(settings.own_exchange)
    name = exchange.name
    given = settings.rest_url(name) or settings.ws_url(name) or settings.exchange_origin
    try:
        # Without an address, the options may mean the exchange of a running `radar up --simulate`.
        if given:
            wanted = exchange_origin(settings, exchange)
            where = f"Kafka at {settings.kafka_broker}"
            refuse_other(mark, wanted, where, "the exchange of the options", "KAFKA_BROKER")
    except RadarError as error:
        yield problem("Kafka holds", str(error), "unset EXCHANGE_REST_URL and EXCHANGE_WS_URL")
        return
    yield ok("Kafka holds", mark.text)


def _clickhouse_origin(settings: Settings, store: Store) -> Iterator[Finding]:
    if not store.has_table(store_origin.TABLE):
        return  # the finding about the schema names it
    mark = store_origin.read(store)
    if mark is None:
        yield ok("ClickHouse holds", "no mark yet: the first worker sets it")
        return
    try:
        topics = kafka_origin.read(Cluster(settings)) if _kafka_answers(settings) else None
        if topics is not None:
            same_origin(settings, topics, mark)
    except BrokerUnavailable:
        pass  # the finding about Kafka names it
    except ConfigurationError as error:
        yield problem("ClickHouse holds", str(error), "set another CLICKHOUSE_DB or KAFKA_BROKER")
        return
    yield ok("ClickHouse holds", mark.text)


def _kafka_answers(settings: Settings) -> bool:
    return addresses.answers(*addresses.first_broker(settings))


def advertised(brokers: Sequence[Broker]) -> Iterator[Finding]:
    """Connect to every broker that the metadata names, as clients do; blocks."""
    silent = [each for each in brokers if not addresses.answers(each.host, each.port)]
    for broker in silent:
        where = host_port(broker.host, broker.port)
        yield problem(
            "Kafka brokers",
            f"broker {broker.id} is advertised as {where}, where no server answers this machine",
            "start that broker, or set its advertised.listeners to an address that clients reach",
        )
    if brokers and not silent:
        yield ok("Kafka brokers", f"all {len(brokers)} that the metadata names answer")


def topic_findings(settings: Settings, cluster: Cluster) -> Iterator[Finding]:
    """Compare the topics with the options; blocks.

    Raises:
        BrokerUnavailable: Kafka does not answer.
    """
    names = [
        name for dataset in DATASETS.values() for name in (dataset.topic, dataset.dead_letter_topic)
    ]
    wanted = TopicRequirements(
        partitions=settings.kafka_num_partitions,
        replicas=settings.kafka_replication_factor,
        retention_ms=int(settings.kafka_retention_hours * 3_600_000),
        message_bytes=MAX_MESSAGE_BYTES,
        in_sync=least_in_sync(settings.kafka_replication_factor),
    )
    found = {
        topic.name: TopicFacts(topic.partitions, topic.replicas, topic.out_of_sync, topic.options)
        for topic in cluster.topic_settings(names)
    }
    yield from findings.topics(found, names, wanted)


def _topics(settings: Settings, cluster: Cluster) -> Iterator[Finding]:
    yield from topic_findings(settings, cluster)
    lags = cluster.lags(groups())
    yield findings.unstored(
        {
            topic: sum(
                max(0, lag.start - lag.committed) for lag in found if lag.committed is not None
            )
            for topic, found in lags.items()
        }
    )
    yield findings.unreadable(list(_stuck(cluster, lags)))
    letters = {dataset.name: DeadLetterReader(cluster, dataset) for dataset in DATASETS.values()}
    yield findings.dead_letters(
        {name: sum(1 for _ in found.open()) for name, found in letters.items()},
        {name: found.foreign_count for name, found in letters.items()},
    )


def _stuck(
    cluster: Cluster, lags: Mapping[str, list[Lag]]
) -> Iterator[tuple[str, str, int, int, str]]:
    for dataset in DATASETS.values():
        waiting = {
            lag.partition: max(lag.start, lag.committed or 0)
            for lag in lags[dataset.topic]
            if lag.messages > 0
        }
        for bad in cluster.unreadable(dataset.topic, waiting):
            offset = max(bad.offset, waiting[bad.partition])
            yield dataset.name, dataset.topic, bad.partition, offset, bad.reason


def _clickhouse(settings: Settings, running: dict[str, Any] | None) -> Iterator[Finding]:
    host, port = settings.clickhouse_host, settings.clickhouse_port
    if not addresses.answers(host, port):
        yield _silent("ClickHouse", "CLICKHOUSE_PORT", host, port, running)
        return
    store = Store(settings, timeout_s=ANSWER_TIMEOUT_S)
    try:
        if not any(store.has_table(table) for table in ("schema_migrations", *newest().tables)):
            yield ok("ClickHouse", f"answers at {host_port(host, port)}")
            detail = f"database {store.database} is not there or empty"
            yield warning("schema", detail, "`radar migrate`, as workers do when they start")
            return
        before_s = time.time()
        ((version, now_s),) = store.rows(queries.VERSION_AND_TIME)
        after_s = time.time()
        yield ok("ClickHouse", f"answers at {host_port(host, port)}")
        yield findings.clickhouse_version(str(version))
        ahead_s = (before_s + after_s) / 2 - float(now_s)
        yield findings.clock("clock", ahead_s, "ClickHouse's", CLICKHOUSE_SKEW_S)
        yield from _schema(store)
        yield from _tables(settings, store)
        yield from _clickhouse_origin(settings, store)
        yield _delivery_gaps(store)
        yield _first_to_go(settings, store)
        yield from _books(settings, store)
        yield from _store_disk(store)
        yield from _frames(settings, store)
    except (QueryFailed, StoreUnavailable) as error:
        remedy = "see CLICKHOUSE_USER, CLICKHOUSE_PASSWORD, CLICKHOUSE_DB, CLICKHOUSE_SECURE"
        yield problem("ClickHouse", str(error), remedy)
    finally:
        store.close()


def _frames(settings: Settings, store: Store) -> Iterator[Finding]:
    try:
        yield frame_cost(settings, store)
    except QueryFailed:
        return  # the table is missing, which another check reports, or a worker's user asks


def _delivery_gaps(store: Store) -> Finding:
    lost: dict[str, int] = {}
    causes: set[str] = set()
    for dataset in DATASETS.values():
        for gap in recorded(store, dataset.topic):
            if gap.state == OPEN:
                lost[dataset.name] = lost.get(dataset.name, 0) + gap.offsets
                causes.add(gap.cause)
    return findings.delivery_gaps(lost, sorted(causes))


def _schema(store: Store) -> Iterator[Finding]:
    if not store.has_table("schema_migrations"):
        yield findings.missing_schema(["table schema_migrations is missing"])
        return
    applied = {int(row[0]) for row in store.rows(queries.APPLIED)}
    known = {migration.version for migration in migrations()}
    # The versions before the first known one belong to the migrations that the baseline replaced.
    unknown = sorted(version for version in applied - known if version > min(known))
    finding = findings.schema(sorted(known - applied), unknown)
    # A pending migration is not a missing object, and a newer radar may have changed the rest.
    missing = [] if finding.remedy else [each.text for each in differences(store)]
    yield findings.missing_schema(missing) if missing else finding


def _tables(settings: Settings, store: Store) -> Iterator[Finding]:
    definitions = dict(store.rows(queries.DEFINITIONS))
    bad = False
    datasets = [dataset for dataset in DATASETS.values() if dataset.table in definitions]
    written = [table for table in newest().tables if table in definitions]
    refused = {table: why for table in written if (why := _refused(store, table))}
    some = len(refused) < len(written)
    for dataset in datasets:
        found = findings.table(
            dataset.table,
            str(definitions.get(local(dataset.table), definitions[dataset.table])),
            *(
                (settings.frames_retention_days, "FRAMES_RETENTION_DAYS")
                if dataset is FRAMES
                else (settings.retention_days, "RETENTION_DAYS")
            ),
            cold_after_days=settings.cold_after_days,
        )
        bad |= bool(found)
        yield from found
    for table, why in refused.items():
        bad = True
        yield findings.right(store.database, table, why, some=some)
    if not bad:
        yield ok("tables", "they collapse, recognise blocks, expire and take rows as they should")


def _first_to_go(settings: Settings, store: Store) -> Finding:
    check, days = "rows to go", settings.retention_days
    ((first_s,),) = store.rows(queries.FIRST_EXPIRY)
    if not int(first_s):
        return ok(check, f"none yet: rows are deleted {days} days after their receipt")
    first = f"{datetime.fromtimestamp(int(first_s), UTC):%Y-%m-%d}"
    return ok(
        check,
        f"ClickHouse deletes rows {days} days after their receipt (RETENTION_DAYS), the first on"
        f" {first}; `radar export` keeps them as files",
    )


def _books(settings: Settings, store: Store) -> Iterator[Finding]:
    """Say how often books are recorded, and how old the book before a trade is."""
    interval_s = settings.depth_interval_seconds
    often = (
        f"each side is recorded at most once in {interval_s:g} s (DEPTH_INTERVAL_SECONDS)"
        if interval_s
        else "every snapshot is recorded (DEPTH_INTERVAL_SECONDS is 0)"
    )
    try:
        ((trades, median_s, high_s),) = store.rows(queries.BOOK_AGES)
    except QueryFailed:
        return  # a table is missing, which another check reports
    if not int(trades):
        yield ok("books", f"{often}; no trade of the last 10 minutes has a book before it")
        return
    yield ok(
        "books",
        f"{often}; in the last 10 minutes the book before a trade was {median_s:.1f} s old"
        f" (median), {high_s:.1f} s (99 %)",
    )


def _refused(store: Store, table: str) -> str:
    """Return why this user may not insert into a table; empty if it may."""
    try:
        store.command(queries.insert_no_rows(table))
    except QueryFailed as error:
        return str(error)
    return ""


def _store_disk(store: Store) -> Iterator[Finding]:
    try:
        disks = store.rows(DISKS)
    except QueryFailed:
        return  # a worker's user may not read this, and does not need to
    for name, free_bytes, total_bytes in disks:
        yield findings.disk("ClickHouse disk", int(free_bytes), int(total_bytes), str(name))


def _exchange(settings: Settings, running: dict[str, Any] | None) -> Iterator[Finding]:
    names = settings.exchanges
    own = [name for name in names if settings.ws_url(name) or settings.rest_url(name)]
    if running is not None and running["simulated"] and not own:
        yield ok("exchange", "the `radar up` that runs has its own, simulated")
        return
    for name in names:
        for finding in asyncio.run(_ask_exchange(settings.of_exchange(name))):
            about = finding.check.replace("exchange", name) if len(names) > 1 else finding.check
            yield finding._replace(check=about)


async def _ask_exchange(settings: Settings) -> list[Finding]:
    exchange = load(settings.own_exchange)
    found: list[Finding] = []
    remedy = (
        "see whether this machine reaches the exchange; some refuse addresses of other"
        " countries: EXCHANGE_PROXY"
    )
    rest = Rest.of(exchange, settings)
    known: list[Market] = []
    try:
        listed = storable(exchange.parse_markets(await rest.get(exchange.markets_path)))
        markets = listed.markets
        found.append(ok("exchange REST", f"answers and has {len(markets):,} spot markets"))
        offset = rest.clock_offset.estimate(time.monotonic())
        seconds, uncertainty_s = offset or (None, 0.0)
        found.append(findings.exchange_clock("exchange clock", seconds, uncertainty_s))
        known, unknown = chosen(markets, settings.symbols)
        found += _set_aside(listed.malformed, unknown)
    except (RadarError, ValueError) as error:
        found.append(problem("exchange REST", str(error), remedy))
    finally:
        await rest.close()
    try:
        stream = exchange.stream(TRADES, known[:1], whole_books=True)
        if stream.url:
            connection = await Connection.open(
                stream_url(settings.ws_url(exchange.name), exchange.ws_url, stream.url),
                proxy=settings.exchange_proxy,
                max_frame_bytes=max(settings.max_frame_bytes, exchange.limits.max_frame_bytes),
                headers=stream.headers,
            )
            for event in stream.opened():
                if isinstance(event, Send):
                    await connection.send(event.text)
            connection.abort()
            found.append(ok("exchange WebSocket", "takes connections"))
    except RadarError as error:
        found.append(problem("exchange WebSocket", str(error), remedy))
    return found


def _set_aside(malformed: dict[str, str], unknown: dict[str, str]) -> Iterator[Finding]:
    """Name the markets that a producer does not record."""
    if unknown:
        text = f"SYMBOLS names markets that the exchange does not have: {_named(unknown)}"
        yield problem("markets", text, "name markets in SYMBOLS that there are")
    if malformed:
        text = f"the market list has {len(malformed)} malformed entries: {_named(malformed)}"
        yield warning("market list", text, "all other markets are recorded; ask the exchange")


def _named(found: dict[str, str]) -> str:
    shown = [f"{name} ({why})" for name, why in list(found.items())[:SHOWN_MARKETS]]
    return ", ".join(shown) + (", …" if len(found) > SHOWN_MARKETS else "")


def _silent(
    name: str, variable: str, host: str, port: int, running: dict[str, Any] | None
) -> Finding:
    if running is None and addresses.is_loopback(host):
        return ok(name, f"{host_port(host, port)} is free: `radar up` starts its own there")
    detail = f"no server answers at {host_port(host, port)}"
    if running is not None:
        return problem(
            name, detail, f"give {variable} as to the `radar up` that runs, or see its log"
        )
    return problem(name, detail, f"start it, open the way there, or set another {variable}")
