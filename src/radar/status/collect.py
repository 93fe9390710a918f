"""Collects the facts about a pipeline: every view shows only these.

Each process and server is probed in a thread of its own (`probe.py`). So a silent one delays no
other, and the other facts stay known. An expensive probe runs rarely, depending on the duration of
its answers.
"""

import math
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from radar.datasets import DATASETS, RECORDED
from radar.kafka import Cluster
from radar.kafka import check_answer as check_kafka
from radar.settings import Settings
from radar.status import (
    bottleneck,
    data_disk,
    deployment,
    judgement,
    kafka_facts,
    process_facts,
    store_facts,
)
from radar.status.data_disk import disk_full
from radar.status.deployment import Deployment, Served
from radar.status.judgement import IS_STARTING
from radar.status.kafka_facts import DeadLetterFacts
from radar.status.model import (
    ConnectionState,
    DiskState,
    Flow,
    Overview,
    PartitionState,
    ProbeResult,
    Problem,
    ProcessState,
    ProducerState,
    Subject,
    WorkerState,
)
from radar.status.probe import Probe
from radar.status.problems import LogProblems
from radar.status.process_facts import ProcessReport, Role
from radar.status.rates import Window
from radar.status.scrape import Scraped, Totals
from radar.store.client import Store
from radar.store.client import check_answer as check_store
from radar.store.drift import KnownDifferences
from radar.text import host_port

SILENT_S = 5.0  # a process without an answer for this long counts as silent; busy machines delay
PASSED_AFTER_S = 30.0  # without another such line of its log, while the process is ready
START_S = 10.0  # of a process, before which its silence is no problem
WAIT_S = 1.3  # for answers; a process is given TIMEOUT_S of scrape.py
RATES_S = 1.5  # between the two observations of `observe_once`
SNAPSHOTS_S = 8.0  # longer than the interval of depth snapshots, which come in bursts
COMPLETE_WAIT_S = 12.0  # for `observe_once`: also for the slowest
STORE_TIMEOUT_S = 10.0
TABLES_EVERY_S = 2.0
MARKETS_EVERY_S = 10.0
LETTERS_EVERY_S = 5.0
_Answer = TypeVar("_Answer")
SHARE = 0.15  # of the time that ClickHouse or Kafka may spend on one expensive probe


class Observer:
    """Observes one pipeline. `observe` is for one thread at a time.

    Attributes:
        heard_producers: Whether all producers have answered in the newest observation.
    """

    def __init__(
        self,
        settings: Settings,
        where: Callable[[], Deployment] | None = None,
        *,
        asks_stores: bool = True,
        stores_after_s: float = 0.0,
    ) -> None:
        """Prepare; no probe runs yet.

        Args:
            settings: The options, which lead to Kafka and ClickHouse.
            where: Returns the present processes; the default is the `radar up` of this data or
                MONITOR_PROCESSES. Must not block.
            asks_stores: Whether to probe tables, markets and dead letters, too.
            stores_after_s: Do not probe these before this time from now.
        """
        self._stores_after_s = stores_after_s
        self._asks_stores = asks_stores
        self._where = where or (lambda: deployment.find(settings))
        self._given = settings
        self.heard_producers = False
        self._processes: dict[tuple[str, str], tuple[float, Probe[ProcessReport]]] = {}
        self._begin(self._where())
        self._reach(self._where().reach(settings))

    def _begin(self, found: Deployment) -> None:
        """Start over, because another `radar up` was started."""
        self._began = found.started_at_s
        self._totals = Totals()
        self._reports: dict[str, ProcessReport] = {}
        self._rates: dict[str, Window] = {}  # by process: each answers at its own times
        self._reported_at_s: dict[str, float] = {}
        self._partition_rates = Window()
        self._roles: dict[str, Role] = {}  # by name of the process
        self._owners: dict[tuple[str, int], str] = {}
        self._troubles: dict[str, Problem] = {}
        self._logs = (
            LogProblems(found.log_dir, found.started_at_s or 0.0) if found.log_dir else None
        )

    def _reach(self, settings: Settings) -> None:
        """Probe other stores from now on."""
        self._settings = settings
        self._stores: dict[str, Store] = {}
        self._cluster: Cluster | None = None
        kafka = f"Kafka at {settings.kafka_broker}"
        clickhouse = (
            f"ClickHouse at {host_port(settings.clickhouse_host, settings.clickhouse_port)}"
        )
        self._kafka = Probe(
            kafka, self._after(check_kafka, lambda: kafka_facts.ask_lags(self._reached()))
        )
        after_s = self._stores_after_s
        known = KnownDifferences()
        self._letters = Probe(
            kafka,
            self._after(check_kafka, lambda: kafka_facts.ask_letters(self._reached())),
            LETTERS_EVERY_S,
            SHARE,
            after_s,
        )
        self._answers = Probe(
            clickhouse,
            self._after(
                check_store, lambda: store_facts.ask_whether_it_answers(self._store("answers"))
            ),
        )
        self._tables = Probe(
            clickhouse,
            self._after(
                check_store, lambda: store_facts.ask_tables(self._store("tables"), known.newest)
            ),
            TABLES_EVERY_S,
            SHARE,
            after_s,
        )
        self._markets = Probe(
            clickhouse,
            self._after(check_store, lambda: store_facts.ask_markets(self._store("markets"))),
            MARKETS_EVERY_S,
            SHARE,
            after_s,
        )

    def _after(
        self, check: Callable[[Settings], None], ask: Callable[[], _Answer]
    ) -> Callable[[], _Answer]:
        """Return a probe that first checks quickly whether a service answers at all.

        It repeats the check after each failure: the clients themselves wait much longer.
        """
        settings = self._settings
        answered = False

        def asking() -> _Answer:
            nonlocal answered
            if not answered:
                check(settings)
            answered = False
            answer = ask()
            answered = True
            return answer

        return asking

    def observe(self, wait_s: float = WAIT_S) -> Overview:
        """Run all due probes and return the known facts; blocks up to `wait_s`, usually much less.

        A process or server that does not answer is a problem in the overview, and raises no error.
        """
        began_s = time.monotonic()
        found = self._where()
        if found.started_at_s != self._began:
            self._begin(found)
        if (settings := found.reach(self._given)) != self._settings:
            self._reach(settings)
        asked = [(process, self._probe(process)) for process in found.processes if process.port]
        stores = (self._answers, self._tables, self._markets, self._letters)
        others = (self._kafka, *(stores if self._asks_stores else ()))
        for probe in (*others, *(probe for _, probe in asked)):
            probe.begin()
        for _, probe in asked:
            probe.wait(began_s + wait_s)
        for probe in others if wait_s > WAIT_S else (self._kafka,):
            probe.wait(began_s + wait_s)
        reports = {
            process.name: answer
            for process, probe in asked
            if probe.answered_at_s > time.monotonic() - SILENT_S
            and (answer := probe.answer) is not None
        }
        silent = {
            process.name: self._silence(process, probe)
            for process, probe in asked
            if process.name not in reports
        }
        self.heard_producers = all(
            probe.answer_asked_at_s >= began_s
            for process, probe in asked
            if (role := self._role(process.name)) is not None and role.name == "producer"
        )
        for process, probe in asked:
            if process.name in reports:
                self._count_up(process.name, reports[process.name], probe.answered_at_s)
        return self._overview(found, reports, silent)

    def close(self) -> None:
        """Close the open connections; does not block."""
        for store in self._stores.values():
            store.close()

    @property
    def frames_refused(self) -> int:
        """Invalid frames of all producers, over their restarts."""
        return int(
            sum(self._totals.total("radar_invalid_frames_total", dataset) for dataset in RECORDED)
        )

    def _probe(self, process: Served) -> Probe[ProcessReport]:
        # A restarted process serves at another address.
        key = process.name, process.address
        if key not in self._processes:
            for old in [old for old in self._processes if old[0] == process.name]:
                del self._processes[old]
            probe = Probe(process.name, lambda: process_facts.ask(process))
            self._processes[key] = time.monotonic(), probe
        return self._processes[key][1]

    def _silence(self, process: Served, probe: Probe[ProcessReport]) -> str:
        known_s = time.monotonic() - self._processes[process.name, process.address][0]
        if process.state == "running" and not probe.answered_at_s and known_s < START_S:
            return IS_STARTING
        return probe.trouble or f"no answer from {process.address}"

    def _count_up(self, name: str, report: ProcessReport, at_s: float) -> None:
        """Take a process's report with its monotonic time, once."""
        if self._reported_at_s.get(name) == at_s:
            return
        self._reported_at_s[name] = at_s
        self._totals.add(name, report.scraped.sample)
        self._rates.setdefault(name, Window()).add(at_s, dict(self._totals.of_process(name)))
        self._learn(name, report.scraped)

    def _overview(
        self, found: Deployment, reports: dict[str, ProcessReport], silent: dict[str, str]
    ) -> Overview:
        now_s = time.time()
        self._reports = reports
        letters = self._letters.answer
        processes = [
            process_facts.state(process, reports.get(process.name), silent.get(process.name))
            for process in found.processes
        ]
        partitions = self._partitions(processes)
        producers = [
            self._producer(process, dataset, reports.get(process.name))
            for process, dataset in self._having_role(processes, "producer")
        ]
        workers = [
            self._worker(process, dataset, reports.get(process.name), partitions)
            for process, dataset in self._having_role(processes, "worker")
        ]
        tables, markets = self._tables.answer, self._markets.answer
        kafka_error = self._kafka.trouble
        clickhouse_error = self._answers.trouble
        refused = (
            (tables and tables.refused)
            or (markets and markets.refused)
            or self._tables.error
            or self._markets.error
        )
        settings = self._settings
        overview = Overview(
            at_s=now_s,
            exchange=", ".join(settings.exchanges),
            simulated=found.simulated,
            uptime_s=None if found.started_at_s is None else now_s - found.started_at_s,
            kafka=settings.kafka_broker,
            clickhouse=(
                f"{host_port(settings.clickhouse_host, settings.clickhouse_port)}/"
                f"{settings.clickhouse_db}"
            ),
            flows=[
                self._flow(dataset, producers, workers, partitions, letters, reports)
                for dataset in DATASETS
            ],
            producers=producers,
            partitions=partitions,
            workers=workers,
            tables=tables.states if tables else [],
            stalest=store_facts.stalest(markets) if markets else [],
            letters=letters.newest if letters else [],
            problems=self._problems(
                found, kafka_error, clickhouse_error or refused, processes, now_s
            ),
            bottleneck=None,
            processes=processes,
            slowest=store_facts.slowest(markets) if markets else [],
            markets=markets.states if markets else [],
            gaps=markets.gaps if markets else [],
            delivery_gaps=tables.delivery_gaps if tables else [],
            kafka_origin=letters.origin if letters else "",
            clickhouse_origin=tables.origin if tables else "",
            rates_over_s=max(
                (window.span_s for window in (self._partition_rates, *self._rates.values())),
                default=0.0,
            ),
            probes=self._probes(found, now_s),
            tables_at_s=tables.at_s if tables else None,
            markets_at_s=markets.at_s if markets else None,
            kafka_error=kafka_error,
            clickhouse_error=clickhouse_error,
            disk_error=disk_full(found.log_dir) if found.log_dir else None,
            disks=_disks(found, tables),
            disks_error=tables.disks_error if tables else None,
        )
        return bottleneck.judged(overview)

    def _probes(self, found: Deployment, now_s: float) -> list[ProbeResult]:
        """Return the age of the evidence behind the judgements."""
        up_s = math.inf if found.started_at_s is None else now_s - found.started_at_s
        tables, markets = self._tables.answer, self._markets.answer
        refused = {
            "tables": tables and tables.refused,
            "markets": markets and markets.refused,
        }
        asked: dict[Subject, Probe[Any]] = {"kafka": self._kafka}
        if self._asks_stores:
            asked |= {
                "clickhouse": self._answers,
                "tables": self._tables,
                "markets": self._markets,
                "letters": self._letters,
            }
        return [
            ProbeResult(
                subject,
                probe.age_s,
                holds=probe.answer is not None,
                error=refused.get(subject) or probe.trouble,
                starting=probe.age_s is None and min(up_s, probe.known_s) < START_S,
            )
            for subject, probe in asked.items()
        ]

    def _learn(self, name: str, scraped: Scraped) -> None:
        """Remember a process's role and its partitions, for times when it is silent."""
        found = process_facts.role(scraped)
        if found is None:
            return
        self._roles[name] = found
        for place in [place for place, owner in self._owners.items() if owner == name]:
            del self._owners[place]
        for place in scraped.lag:
            self._owners[place] = name

    def _role(self, name: str) -> Role | None:
        return self._roles.get(name) or process_facts.guessed_role(name)

    def _having_role(
        self, processes: list[ProcessState], role: str
    ) -> Iterable[tuple[ProcessState, str]]:
        for process in processes:
            found = self._role(process.name)
            if found is not None and found.name == role:
                yield from ((process, dataset) for dataset in found.datasets)

    def _rate(self, process: str, metric: str, dataset: str = "") -> float:
        # The rates of a silent process count as zero.
        if process not in self._reports:
            return 0.0
        return self._rates[process].rate((metric, dataset)) or 0.0

    def _mean(self, process: str, metric: str, dataset: str) -> float | None:
        count = self._rate(process, f"{metric}_count", dataset)
        return self._rate(process, f"{metric}_sum", dataset) / count if count else None

    def _producer(
        self, process: ProcessState, dataset: str, report: ProcessReport | None
    ) -> ProducerState:
        name = process.name
        sample = report.scraped.sample if report else {}
        newest_s = sample.get(("radar_last_frame_timestamp_seconds", dataset))
        return ProducerState(
            name=name,
            dataset=dataset,
            address=process.address,
            alive=process.alive,
            ready=process.ready,
            reasons=process.reasons,
            frames_per_s=self._rate(name, "radar_frames_total", dataset),
            bytes_per_s=self._rate(name, "radar_frame_bytes_total", dataset),
            published_per_s=self._rate(name, "radar_published_total", dataset),
            queue=int(sample.get(("radar_publish_queue", dataset), 0)),
            backpressure_share=self._rate(name, "radar_backpressure_seconds_total", dataset),
            last_frame_age_s=max(0.0, report.at_s - newest_s) if report and newest_s else None,
            clock_skew_s=sample.get(("radar_clock_skew_seconds", "")),
            reconnects=self._count(name, "radar_reconnects_total", dataset),
            invalid_frames=self._count(name, "radar_invalid_frames_total", dataset),
            publish_failed=self._count(name, "radar_publish_failed_total", dataset),
            connections=[
                ConnectionState(
                    name, each.name, each.markets, each.age_s, each.last_frame_age_s, each.frames
                )
                for each in (report.connections if report else ())
            ],
            memory_bytes=process_facts.memory_bytes(sample),
            clock_offset_s=sample.get(("radar_clock_offset_seconds", "")),
            clock_uncertainty_s=sample.get(("radar_clock_offset_uncertainty_seconds", "")),
        )

    def _worker(
        self,
        process: ProcessState,
        dataset: str,
        report: ProcessReport | None,
        partitions: list[PartitionState],
    ) -> WorkerState:
        name = process.name
        sample = report.scraped.sample if report else {}
        owned = {
            partition
            for (k, partition), owner in self._owners.items()
            if (k, owner) == (dataset, name)
        }
        return WorkerState(
            name=name,
            dataset=dataset,
            address=process.address,
            alive=process.alive,
            ready=process.ready,
            reasons=process.reasons,
            partitions=sorted(owned),
            rows_per_s=self._rate(name, "radar_rows_total", dataset),
            blocks_per_s=self._rate(name, "radar_blocks_total", dataset),
            insert_s=self._mean(name, "radar_insert_seconds", dataset),
            latency_s=self._mean(name, "radar_latency_seconds", dataset),
            insert_retries=self._count(name, "radar_insert_retries_total", dataset),
            dead_letters=self._count(name, "radar_dead_letters_total", dataset),
            rebalances=self._count(name, "radar_rebalances_total", dataset),
            halted_partitions=int(sample.get(("radar_halted_partitions", dataset), 0)),
            flooding_markets=int(sample.get(("radar_flooding_markets", dataset), 0)),
            unreadable_partitions=int(sample.get(("radar_unreadable_partitions", dataset), 0)),
            memory_bytes=process_facts.memory_bytes(sample),
            lag_age_s=report.scraped.lag_age_s.get(dataset) if report else None,
        )

    def _count(self, process: str, metric: str, dataset: str) -> int:
        return int(self._totals.of(process, metric, dataset))

    def _datasets_of_unheard_workers(self, processes: list[ProcessState]) -> set[str]:
        """Return the datasets whose partitions may belong to a worker that has not answered yet."""
        return {
            dataset
            for process, dataset in self._having_role(processes, "worker")
            if not process.ready or process.name not in self._reports
        }

    def _partitions(self, processes: list[ProcessState]) -> list[PartitionState]:
        answer = self._kafka.answer
        if answer is None:
            return []
        lags = [(dataset, lag) for dataset, found in answer.items() for lag in found]
        self._partition_rates.add(
            self._kafka.answered_at_s,
            {
                (dataset, lag.partition, what): number
                for dataset, lag in lags
                for what, number in (
                    ("lag", lag.messages),
                    ("end", lag.end),
                    ("committed", lag.end - lag.messages),
                )
            },
        )
        rate = self._partition_rates.rate
        unheard = self._datasets_of_unheard_workers(processes)
        return [
            PartitionState(
                dataset=dataset,
                topic=DATASETS[dataset].topic,
                partition=lag.partition,
                start=lag.start,
                end=lag.end,
                committed=lag.committed,
                lag=lag.messages,
                lag_per_s=rate((dataset, lag.partition, "lag")),
                published_per_s=rate((dataset, lag.partition, "end")),
                stored_per_s=rate((dataset, lag.partition, "committed")),
                owner=self._owners.get((dataset, lag.partition)),
                owner_known=(dataset, lag.partition) in self._owners or dataset not in unheard,
            )
            for dataset, lag in lags
        ]

    def _flow(
        self,
        dataset: str,
        producers: list[ProducerState],
        workers: list[WorkerState],
        partitions: list[PartitionState],
        letters: DeadLetterFacts | None,
        reports: dict[str, ProcessReport],
    ) -> Flow:
        total = self._totals.total
        own = [partition for partition in partitions if partition.dataset == dataset]

        def rate(metric: str) -> float:
            return sum(self._rate(name, metric, dataset) for name in reports)

        published_per_s, stored_per_s = rate("radar_published_total"), rate("radar_rows_total")
        # Without a known process, Kafka's own numbers show the rate.
        if not producers:
            published_per_s = sum(partition.published_per_s or 0.0 for partition in own)
        if not workers:
            stored_per_s = sum(partition.stored_per_s or 0.0 for partition in own)

        blocks_per_s = rate("radar_latency_seconds_count")
        ages = [each.last_frame_age_s for each in producers if each.dataset == dataset]
        lags = [partition.lag for partition in own]
        return Flow(
            dataset=dataset,
            connections=int(self._totals.gauge("radar_connections", dataset, reports)),
            frames_per_s=rate("radar_frames_total"),
            published_per_s=published_per_s,
            stored_per_s=stored_per_s,
            frames=int(total("radar_frames_total", dataset)),
            published=int(total("radar_published_total", dataset)),
            stored=int(total("radar_rows_total", dataset)),
            lag=sum(lags) if lags else None,
            latency_s=rate("radar_latency_seconds_sum") / blocks_per_s if blocks_per_s else None,
            last_frame_age_s=min((age for age in ages if age is not None), default=None),
            invalid_frames=int(total("radar_invalid_frames_total", dataset)),
            dead_letters=int(total("radar_dead_letters_total", dataset)),
            open_letters=letters.open[dataset] if letters else None,
            heard=any(each.dataset == dataset and each.name in reports for each in producers),
        )

    def _problems(
        self,
        found: Deployment,
        kafka_error: str | None,
        clickhouse_error: str | None,
        processes: list[ProcessState],
        now_s: float,
    ) -> list[Problem]:
        """Return the problems in the logs, and the silent processes with their times."""
        if self._logs is not None:
            self._logs.read()
        troubles = {"kafka": kafka_error, "clickhouse": clickhouse_error}
        troubles |= {
            process.name: process.reasons[0]
            for process in processes
            if not process.alive
            and process.state != "stopped"  # on purpose
            and process.reasons
            and process.reasons[0] != IS_STARTING
        }
        self._troubles = {
            name: Problem(
                self._troubles[name].at_s if name in self._troubles else now_s, name, text
            )
            for name, text in troubles.items()
            if text is not None
        }
        ready = {process.name for process in processes if process.ready}
        logged = [
            each
            for each in (self._logs.newest if self._logs else ())
            if not each.passes or each.process not in ready or now_s - each.at_s < PASSED_AFTER_S
        ]
        return sorted((*logged, *self._troubles.values()), key=lambda each: each.at_s)

    def _reached(self) -> Cluster:
        if self._cluster is None:
            self._cluster = Cluster(self._settings)
        return self._cluster

    def _store(self, name: str) -> Store:
        if name not in self._stores:
            self._stores[name] = Store(self._settings, timeout_s=STORE_TIMEOUT_S)
        return self._stores[name]


def _disks(found: Deployment, tables: store_facts.Tables | None) -> list[DiskState]:
    """Return the disks with data; the embedded ClickHouse has the one of the data folder."""
    folder = data_disk.space(found.log_dir.parent) if found.log_dir else None
    embedded = folder and any(each.name == "clickhouse" for each in found.processes)
    return [*([folder] if folder else []), *(tables.disks if tables and not embedded else ())]


def observe_once(settings: Settings) -> Overview:
    """Observe twice, as rates need; blocks for about two seconds, at most COMPLETE_WAIT_S more.

    Between two depth snapshots all rates are zero for some seconds. Then it observes until a rate
    is not zero, for SNAPSHOTS_S at most. If Kafka or ClickHouse does not answer, it observes once,
    because that is the news.
    """
    observer = Observer(settings)
    try:
        first = observer.observe(COMPLETE_WAIT_S)
        if first.kafka_error or first.clickhouse_error:
            return first
        until_s = time.monotonic() + SNAPSHOTS_S
        while True:
            time.sleep(RATES_S)
            overview = observer.observe(COMPLETE_WAIT_S)
            if time.monotonic() > until_s or not judgement.is_undecided(overview):
                return overview
    finally:
        observer.close()


def observe_lag(settings: Settings) -> Overview:
    """Observe processes and Kafka only; blocks for a moment, at most COMPLETE_WAIT_S."""
    return Observer(settings, asks_stores=False).observe(COMPLETE_WAIT_S)
