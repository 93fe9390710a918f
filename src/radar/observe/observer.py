"""Collects what a pipeline is and does: the only source of the facts that any view shows.

Everybody is asked in a thread of its own (`question.py`), so that who does not answer delays
nobody and leaves the rest standing. What is expensive to answer is asked more rarely, by how long
the answer took.
"""

import heapq
import http.client
import itertools
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from radar.consumer.letters import Letters, LetterState
from radar.kafka import Cluster, Lag
from radar.kinds import KINDS, RECORDED
from radar.observe import bottleneck, deployment
from radar.observe.ask_health import ask as ask_health
from radar.observe.bottleneck import IS_STARTING
from radar.observe.connections import ToldConnection
from radar.observe.connections import parse as parse_connections
from radar.observe.deployment import Deployment, Served
from radar.observe.overview import (
    ConnectionState,
    Flow,
    MarketAge,
    MarketDelay,
    Overview,
    PartitionState,
    Problem,
    ProcessState,
    ProducerState,
    RecentLetter,
    TableState,
    WorkerState,
)
from radar.observe.problems import LogProblems
from radar.observe.question import Question
from radar.observe.rates import Window
from radar.observe.scrape import Sample, Scraped, Totals, fetch, read
from radar.settings import Settings
from radar.store.client import Store

START_S = 10.0  # of a process, before which its silence is no problem
WAIT_S = 1.3  # for answers; a process is given TIMEOUT_S of scrape.py
FIRST_WAIT_S = 8.0  # of the first time, which has nothing older to show
STORE_TIMEOUT_S = 10.0
TABLES_EVERY_S = 2.0
MARKETS_EVERY_S = 10.0
LETTERS_EVERY_S = 5.0
SHARE = 0.05  # of the time, in which ClickHouse or Kafka answers one of the expensive questions
SHOWN_MARKETS = 10  # of each kind
SHOWN_LETTERS = 20
# How far back the newest row of a market is looked for, by kind.
LOOK_BACK_S = {"trades": 86_400, "depth": 3_600}

COUNTERS = (
    *("radar_frames_total", "radar_frame_bytes_total", "radar_published_total"),
    *("radar_publish_failed_total", "radar_backpressure_seconds_total", "radar_reconnects_total"),
    *("radar_invalid_frames_total", "radar_rows_total", "radar_blocks_total"),
    *("radar_insert_seconds_sum", "radar_insert_seconds_count", "radar_insert_retries_total"),
    *("radar_latency_seconds_sum", "radar_latency_seconds_count", "radar_dead_letters_total"),
    "radar_rebalances_total",
)
GAUGES = (
    *("radar_connections", "radar_last_frame_timestamp_seconds", "radar_clock_skew_seconds"),
    *("radar_publish_queue", "radar_halted_partitions", "radar_lag_messages", "radar_alive"),
    *("radar_ready", "process_resident_memory_bytes", "process_start_time_seconds"),
)
PRODUCER_SIGN, WORKER_SIGN = "radar_published_total", "radar_insert_retries_total"


class Told(NamedTuple):
    """What a process said of itself."""

    scraped: Scraped
    alive: bool
    ready: bool
    reasons: list[str]
    connections: list[ToldConnection]


class Kafka(NamedTuple):
    """How far the workers are, by kind."""

    lags: dict[str, list[Lag]]


class Markets(NamedTuple):
    """What ClickHouse knows of single markets: kind, symbol, and a number."""

    newest_at_s: list[tuple[str, str, float | None]]
    delays: list[MarketDelay]


class DeadLetters(NamedTuple):
    """What is in the dead-letter topics."""

    newest: list[RecentLetter]
    open: dict[str, int]


class Observer:
    """Observes one pipeline. `observe` is for one thread at a time."""

    def __init__(self, settings: Settings, where: Callable[[], Deployment] | None = None) -> None:
        """Prepare; nothing is asked yet.

        Args:
            settings: The options, which lead to Kafka and ClickHouse.
            where: Tells which processes there are now; else what runs on this data or
                MONITOR_PROCESSES. Must not block.
        """
        self._where = where or (lambda: deployment.find(settings))
        self._given = settings
        self._totals = Totals()
        self._rates = Window()
        self._partition_rates = Window()
        self._processes: dict[tuple[str, str], tuple[float, Question[Told]]] = {}
        self._roles: dict[str, tuple[str, str]] = {}  # role and kind by name
        self._owners: dict[tuple[str, int], str] = {}
        self._logs: LogProblems | None = None
        self._troubles: dict[str, Problem] = {}
        self._observed = 0
        self._reach(self._where().reach(settings))

    def _reach(self, settings: Settings) -> None:
        """Ask other stores from now on."""
        self._settings = settings
        self._stores: dict[str, Store] = {}
        self._cluster: Cluster | None = None
        at = f"{self._settings.clickhouse_host}:{self._settings.clickhouse_port}"
        self._kafka = Question(f"Kafka at {self._settings.kafka_broker}", self._ask_kafka)
        self._letters = Question(
            f"Kafka at {self._settings.kafka_broker}", self._ask_letters, LETTERS_EVERY_S, SHARE
        )
        self._tables = Question(f"ClickHouse at {at}", self._ask_tables, TABLES_EVERY_S, SHARE)
        self._markets = Question(f"ClickHouse at {at}", self._ask_markets, MARKETS_EVERY_S, SHARE)

    def observe(self) -> Overview:
        """Ask everybody and return what is known; blocks up to WAIT_S, the first time longer.

        What does not answer is a problem of the overview, and an error never leaves here.
        """
        began_s = time.monotonic()
        found = self._where()
        if (settings := found.reach(self._given)) != self._settings:
            self._reach(settings)
        asked = [(process, self._question(process)) for process in found.processes if process.port]
        others = (self._kafka, self._letters, self._tables, self._markets)
        for question in (*others, *(question for _, question in asked)):
            question.begin()
        for _, question in asked:
            question.wait(began_s + WAIT_S)
        for question in others:
            question.wait(began_s + (WAIT_S if self._observed else FIRST_WAIT_S))
        self._observed += 1
        told = {
            process.name: answer
            for process, question in asked
            if question.answered_at_s >= began_s and (answer := question.answer) is not None
        }
        silent = {
            process.name: self._silence(process, question)
            for process, question in asked
            if process.name not in told
        }
        return self._overview(found, told, silent)

    def close(self) -> None:
        """Close what is open; does not block."""
        for store in self._stores.values():
            store.close()

    @property
    def frames_received(self) -> int:
        """Frames that all producers have received so far, over their restarts."""
        return int(sum(self._totals.total("radar_frames_total", kind) for kind in RECORDED))

    def _question(self, process: Served) -> Question[Told]:
        # A process that was started again serves elsewhere.
        key = process.name, process.address
        if key not in self._processes:
            for old in [old for old in self._processes if old[0] == process.name]:
                del self._processes[old]
            question = Question(process.name, lambda: _ask_process(process))
            self._processes[key] = time.monotonic(), question
        return self._processes[key][1]

    def _silence(self, process: Served, question: Question[Told]) -> str:
        known_s = time.monotonic() - self._processes[process.name, process.address][0]
        if process.state == "running" and not question.answered_at_s and known_s < START_S:
            return IS_STARTING
        return question.trouble or f"no answer from {process.address}"

    def _overview(
        self, found: Deployment, told: dict[str, Told], silent: dict[str, str]
    ) -> Overview:
        now_s = time.time()
        for name, answer in told.items():
            self._totals.add(name, answer.scraped.sample)
            self._learn(name, answer.scraped)
        self._rates.add(time.monotonic(), self._totals.items())
        partitions = self._partitions()
        letters = self._letters.answer
        processes = [
            _process(process, told.get(process.name), silent.get(process.name))
            for process in found.processes
        ]
        producers = [
            self._producer(process, kind, told.get(process.name), now_s)
            for process, kind in self._having_role(processes, "producer")
        ]
        workers = [
            self._worker(process, kind, told.get(process.name), partitions)
            for process, kind in self._having_role(processes, "worker")
        ]
        markets = self._markets.answer
        kafka_error = self._kafka.trouble
        clickhouse_error = self._tables.trouble or self._markets.trouble
        settings = self._settings
        overview = Overview(
            at_s=now_s,
            exchange=settings.exchange,
            simulated=found.simulated,
            uptime_s=None if found.started_at_s is None else now_s - found.started_at_s,
            kafka=settings.kafka_broker,
            clickhouse=(
                f"{settings.clickhouse_host}:{settings.clickhouse_port}/{settings.clickhouse_db}"
            ),
            flows=[
                self._flow(kind, producers, workers, partitions, letters, told) for kind in KINDS
            ],
            producers=producers,
            partitions=partitions,
            workers=workers,
            tables=self._tables.answer or [],
            stalest=_stalest(markets.newest_at_s, now_s) if markets else [],
            letters=letters.newest if letters else [],
            problems=self._problems(found, kafka_error, clickhouse_error, processes, now_s),
            bottleneck=None,
            processes=processes,
            slowest=markets.delays if markets else [],
            kafka_error=kafka_error,
            clickhouse_error=clickhouse_error,
        )
        obstacles = bottleneck.find(overview)
        first = obstacles[0] if obstacles else None
        return msgspec.structs.replace(overview, bottleneck=first, obstacles=obstacles)

    def _learn(self, name: str, scraped: Scraped) -> None:
        """Remember what a process is and which partitions it owns, also for when it is silent."""
        kinds = [kind for kind in KINDS if (WORKER_SIGN, kind) in scraped.sample]
        if kinds:
            self._roles[name] = "worker", kinds[0]
            for (kind, partition), owner in list(self._owners.items()):
                if owner == name and kind == kinds[0] and partition not in scraped.lag:
                    del self._owners[kind, partition]
            for partition in scraped.lag:
                self._owners[kinds[0], partition] = name
        elif kinds := [kind for kind in RECORDED if (PRODUCER_SIGN, kind) in scraped.sample]:
            self._roles[name] = "producer", kinds[0]

    def _having_role(
        self, processes: list[ProcessState], role: str
    ) -> Iterable[tuple[ProcessState, str]]:
        for process in processes:
            found = self._roles.get(process.name) or _guessed_role(process.name)
            if found is not None and found[0] == role:
                yield process, found[1]

    def _rate(self, process: str, metric: str, kind: str = "") -> float:
        return self._rates.rate((process, metric, kind)) or 0.0

    def _mean(self, process: str, metric: str, kind: str) -> float | None:
        count = self._rate(process, f"{metric}_count", kind)
        return self._rate(process, f"{metric}_sum", kind) / count if count else None

    def _producer(
        self, process: ProcessState, kind: str, told: Told | None, now_s: float
    ) -> ProducerState:
        name = process.name
        sample = told.scraped.sample if told else {}
        newest_s = sample.get(("radar_last_frame_timestamp_seconds", kind))
        return ProducerState(
            name=name,
            kind=kind,
            address=process.address,
            alive=process.alive,
            ready=process.ready,
            reasons=process.reasons,
            frames_per_s=self._rate(name, "radar_frames_total", kind),
            bytes_per_s=self._rate(name, "radar_frame_bytes_total", kind),
            published_per_s=self._rate(name, "radar_published_total", kind),
            queue=int(sample.get(("radar_publish_queue", kind), 0)),
            backpressure_share=self._rate(name, "radar_backpressure_seconds_total", kind),
            last_frame_age_s=max(0.0, now_s - newest_s) if newest_s else None,
            clock_skew_s=sample.get(("radar_clock_skew_seconds", "")),
            reconnects=self._count(name, "radar_reconnects_total", kind),
            invalid_frames=self._count(name, "radar_invalid_frames_total", kind),
            publish_failed=self._count(name, "radar_publish_failed_total", kind),
            connections=[
                ConnectionState(
                    name, each.name, each.markets, each.age_s, each.last_frame_age_s, each.frames
                )
                for each in (told.connections if told else ())
            ],
            memory_bytes=_memory_bytes(sample),
        )

    def _worker(
        self,
        process: ProcessState,
        kind: str,
        told: Told | None,
        partitions: list[PartitionState],
    ) -> WorkerState:
        name = process.name
        sample = told.scraped.sample if told else {}
        owned = {
            partition
            for (k, partition), owner in self._owners.items()
            if (k, owner) == (kind, name)
        }
        return WorkerState(
            name=name,
            kind=kind,
            address=process.address,
            alive=process.alive,
            ready=process.ready,
            reasons=process.reasons,
            partitions=sorted(owned),
            rows_per_s=self._rate(name, "radar_rows_total", kind),
            blocks_per_s=self._rate(name, "radar_blocks_total", kind),
            insert_s=self._mean(name, "radar_insert_seconds", kind),
            latency_s=self._mean(name, "radar_latency_seconds", kind),
            insert_retries=self._count(name, "radar_insert_retries_total", kind),
            dead_letters=self._count(name, "radar_dead_letters_total", kind),
            rebalances=self._count(name, "radar_rebalances_total", kind),
            halted_partitions=int(sample.get(("radar_halted_partitions", kind), 0)),
            memory_bytes=_memory_bytes(sample),
        )

    def _count(self, process: str, metric: str, kind: str) -> int:
        return int(self._totals.of(process, metric, kind))

    def _partitions(self) -> list[PartitionState]:
        answer = self._kafka.answer
        if answer is None:
            return []
        lags = [(kind, lag) for kind, found in answer.lags.items() for lag in found]
        self._partition_rates.add(
            self._kafka.answered_at_s,
            {
                (kind, lag.partition, what): number
                for kind, lag in lags
                for what, number in (
                    ("lag", lag.messages),
                    ("end", lag.end),
                    ("committed", lag.end - lag.messages),
                )
            },
        )
        rate = self._partition_rates.rate
        return [
            PartitionState(
                kind=kind,
                topic=KINDS[kind].topic,
                partition=lag.partition,
                start=lag.start,
                end=lag.end,
                committed=lag.committed,
                lag=lag.messages,
                lag_per_s=rate((kind, lag.partition, "lag")),
                published_per_s=rate((kind, lag.partition, "end")),
                stored_per_s=rate((kind, lag.partition, "committed")),
                owner=self._owners.get((kind, lag.partition)),
            )
            for kind, lag in lags
        ]

    def _flow(
        self,
        kind: str,
        producers: list[ProducerState],
        workers: list[WorkerState],
        partitions: list[PartitionState],
        letters: DeadLetters | None,
        told: dict[str, Told],
    ) -> Flow:
        total, rates = self._totals.total, self._rates
        keys = self._totals.items()

        def rate(metric: str) -> float:
            return sum(rates.rate(key) or 0.0 for key in keys if key[1:] == (metric, kind))

        blocks_per_s = rate("radar_latency_seconds_count")
        ages = [each.last_frame_age_s for each in producers if each.kind == kind]
        lags = [partition.lag for partition in partitions if partition.kind == kind]
        return Flow(
            kind=kind,
            connections=int(self._totals.gauge("radar_connections", kind, told)),
            frames_per_s=rate("radar_frames_total"),
            published_per_s=rate("radar_published_total"),
            stored_per_s=rate("radar_rows_total"),
            frames=int(total("radar_frames_total", kind)),
            published=int(total("radar_published_total", kind)),
            stored=int(total("radar_rows_total", kind)),
            lag=sum(lags) if lags else None,
            latency_s=rate("radar_latency_seconds_sum") / blocks_per_s if blocks_per_s else None,
            last_frame_age_s=min((age for age in ages if age is not None), default=None),
            invalid_frames=int(total("radar_invalid_frames_total", kind)),
            dead_letters=int(total("radar_dead_letters_total", kind)),
            open_letters=letters.open[kind] if letters else None,
        )

    def _problems(
        self,
        found: Deployment,
        kafka_error: str | None,
        clickhouse_error: str | None,
        processes: list[ProcessState],
        now_s: float,
    ) -> list[Problem]:
        """Return what the logs tell, and what does not answer since when."""
        if self._logs is None and found.log_dir is not None:
            self._logs = LogProblems(found.log_dir, found.started_at_s or 0.0)
        if self._logs is not None:
            self._logs.read()
        troubles = {"kafka": kafka_error, "clickhouse": clickhouse_error}
        troubles |= {
            process.name: process.reasons[0]
            for process in processes
            if not process.alive and process.reasons and process.reasons[0] != IS_STARTING
        }
        self._troubles = {
            name: Problem(
                self._troubles[name].at_s if name in self._troubles else now_s, name, text
            )
            for name, text in troubles.items()
            if text is not None
        }
        logged = self._logs.newest if self._logs else ()
        return sorted((*logged, *self._troubles.values()), key=lambda each: each.at_s)

    def _ask_kafka(self) -> Kafka:
        cluster = self._reached()
        return Kafka({kind.name: cluster.lag(kind.topic, kind.group) for kind in KINDS.values()})

    def _ask_letters(self) -> DeadLetters:
        cluster, newest, still_open = self._reached(), [], {}
        for kind in KINDS.values():
            states: dict[LetterState, int] = dict.fromkeys(LetterState, 0)
            letters = []
            for letter, state in Letters(cluster, kind):
                states[state] += 1
                letters.append(
                    RecentLetter(
                        kind=kind.name,
                        at_s=letter.sent_at_ms / 1000,
                        reason=letter.reason,
                        detail=letter.detail,
                        topic=letter.topic,
                        partition=letter.partition,
                        offset=letter.offset,
                        replayed=state is LetterState.REPLAYED,
                    )
                )
                if len(letters) > 100 * SHOWN_LETTERS:
                    letters = _newest_letters(letters)
            newest += letters
            still_open[kind.name] = states[LetterState.OPEN]
        return DeadLetters(_newest_letters(newest), still_open)

    def _reached(self) -> Cluster:
        if self._cluster is None:
            self._cluster = Cluster(self._settings)
        return self._cluster

    def _store(self, question: str) -> Store:
        if question not in self._stores:
            self._stores[question] = Store(self._settings, timeout_s=STORE_TIMEOUT_S)
        return self._stores[question]

    def _ask_tables(self) -> list[TableState]:
        store = self._store("tables")
        counts = " UNION ALL ".join(
            f"SELECT '{kind.name}', count(), countIf(received_at > now64(6) - 60),"
            f" toUnixTimestamp64Micro(max(received_at)) FROM {kind.table} FINAL"
            for kind in KINDS.values()
        )
        sizes = {
            table: (int(size), int(parts))
            for table, size, parts in store.rows(
                "SELECT table, sum(bytes_on_disk), count() FROM system.parts"
                " WHERE active AND database = currentDatabase() GROUP BY table"
            )
        }
        found = {kind: facts for kind, *facts in store.rows(counts)}
        return [
            TableState(
                kind=kind.name,
                name=kind.table,
                rows=int(found[kind.name][0]),
                rows_last_minute=int(found[kind.name][1]),
                newest_at_s=int(found[kind.name][2]) / 1e6 if found[kind.name][0] else None,
                size_bytes=sizes.get(kind.table, (0, 0))[0],
                parts=sizes.get(kind.table, (0, 0))[1],
            )
            for kind in KINDS.values()
        ]

    def _ask_markets(self) -> Markets:
        store = self._store("markets")
        rows = store.rows(_MARKETS)
        return Markets(
            [
                (kind, symbol, int(at_us) / 1e6 if at_us else None)
                for kind, symbol, at_us, _ in rows
            ],
            [
                MarketDelay(kind, symbol, float(delay_s))
                for kind in RECORDED
                for _, symbol, _, delay_s in heapq.nlargest(
                    SHOWN_MARKETS,
                    (row for row in rows if row[0] == kind and row[3] is not None),
                    key=lambda row: row[3],
                )
            ],
        )


def _markets_query() -> str:
    parts = [
        f"SELECT '{kind}' AS kind, symbol, max(received_at) AS newest,"
        " avgIf(dateDiff('millisecond', received_at, inserted_at),"
        " received_at > now64(6) - 60) / 1000 AS delay_s"
        f" FROM {RECORDED[kind].table} WHERE {column} > now64(6) - {LOOK_BACK_S[kind]}"
        f" AND received_at > now64(6) - {LOOK_BACK_S[kind]} GROUP BY symbol"
        for kind, column in (("trades", "event_time"), ("depth", "received_at"))
    ]
    return (
        "SELECT w.kind, w.symbol, toUnixTimestamp64Micro(newest),"
        " if(isFinite(delay_s), delay_s, NULL)"
        " FROM (SELECT toString(record_kind) AS kind, arrayJoin(symbols) AS symbol FROM watches"
        " WHERE ended_at > now64(6) - 86400 GROUP BY kind, symbol) AS w"
        f" LEFT JOIN ({' UNION ALL '.join(parts)}) AS n USING (kind, symbol)"
    )


_MARKETS = _markets_query()


def _ask_process(process: Served) -> Told:
    host, port = process.host, process.port
    try:
        scraped = read(host, port, itertools.chain(COUNTERS, GAUGES))
        sample = scraped.sample
        alive, ready = (bool(sample.get((name, ""))) for name in ("radar_alive", "radar_ready"))
        reasons: list[str] = []
        if not (alive and ready):
            health = ask_health(host, port, process.name)
            alive, ready, reasons = health.alive, health.ready, health.reasons
        connections = []
        if any((PRODUCER_SIGN, kind) in sample for kind in RECORDED):
            connections = parse_connections(fetch(host, port, "/connections"))
    except (http.client.HTTPException, ValueError) as error:
        raise ConnectionError(f"unexpected answer: {error}") from error
    return Told(scraped, alive, ready, reasons, connections)


def _process(process: Served, told: Told | None, silence: str | None) -> ProcessState:
    reasons: list[str] = []
    if process.state not in ("running", ""):
        reasons = [f"the process is {process.state}"]
    elif silence is not None:
        reasons = [silence]
    alive = ready = not reasons
    if told is not None and not reasons:
        alive, ready, reasons = told.alive, told.ready, told.reasons
    return ProcessState(
        name=process.name,
        state=process.state,
        pid=process.pid,
        restarts=process.restarts,
        address=process.address,
        alive=alive,
        ready=ready,
        reasons=reasons,
    )


def _guessed_role(name: str) -> tuple[str, str] | None:
    """Tell from its name what a process is that has not answered yet."""
    kind = next((kind for kind in KINDS if kind in name), None)
    if kind is None:
        return None
    if "consumer" in name or "worker" in name:
        return "worker", kind
    return ("producer", kind) if kind in RECORDED else None


def _memory_bytes(sample: Sample) -> int | None:
    found = sample.get(("process_resident_memory_bytes", ""))
    return None if found is None else int(found)


def _newest_letters(letters: list[RecentLetter]) -> list[RecentLetter]:
    return heapq.nlargest(SHOWN_LETTERS, letters, key=lambda each: each.at_s)


def _stalest(newest: list[tuple[str, str, float | None]], now_s: float) -> list[MarketAge]:
    """Return the markets of each kind that brought nothing for longest."""
    return [
        MarketAge(kind, symbol, None if at_s is None else max(0.0, now_s - at_s))
        for kind in RECORDED
        for _, symbol, at_s in heapq.nsmallest(
            SHOWN_MARKETS,
            (each for each in newest if each[0] == kind),
            key=lambda each: each[2] or 0.0,
        )
    ]
