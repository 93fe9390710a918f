"""How radar's workers scale: more of them, more waiting, more markets, larger tables, more time."""

import contextlib
import statistics
import sys
import time
from collections.abc import Callable
from itertools import islice

from benchmarks import data, latency, machine, stack
from benchmarks.contenders.peers import Contender, radar_workers
from benchmarks.cpu import memory_bytes
from benchmarks.generated import insert_trades
from benchmarks.options import Options
from benchmarks.results import Section, Table, microseconds, number
from benchmarks.worker_run import Measurement, measure, measure_joined
from radar.datasets import TRADES

NAME = "scaling"
TEXT = """
Trades with default options, as in the throughput above. The workers, the database and the broker
share the machine's cores, so more workers than cores cannot be faster. The cost of a message
counts. Several workers have joined their group before the messages arrive. Memory is that of one
worker at a steady rate of trades.
"""
WORKERS = (1, 2, 3, 4, 6)
PARTITIONS = 6
BACKLOGS = (60_000, 200_000)  # messages in each of three partitions
SYMBOLS = (10, 60, 400)
TABLE_ROWS = (0, 1_000_000, 10_000_000)
PER_PARTITION = 60_000
MEMORY_RATE, MEMORY_S = 5_000, 60.0
CPU_SECONDS = 60.0  # so much that every run stores everything


def run(options: Options) -> Section:
    """Measure; takes about five minutes."""
    described = machine.describe("Apache Kafka" if options.kafka_home else "embedded")
    tables = [_workers(options), _backlogs(options), _symbols(options), _table_sizes(options)]
    tables.append(_memory(options))
    return Section(NAME, "Scaling", TEXT, tables, described)


class _Series:
    """Runs that differ in one thing, in turns."""

    def __init__(self, title: str, options: Options) -> None:
        self._title = title
        self._options = options
        self._runs: dict[str, list[Measurement]] = {}

    def add(
        self,
        label: str,
        broker: str,
        per_partition: int,
        *,
        prepare: Callable[[stack.Database], None] | None = None,
    ) -> None:
        """Run once more."""
        sys.stderr.write(f"scaling, {self._title}: {label}\n")
        contender = Contender("radar", "radar", radar_workers(1, {}))
        try:
            measured = measure(
                contender, TRADES, 0, broker, per_partition, CPU_SECONDS, self._options.folder,
                prepare,
            )  # fmt: skip
        except RuntimeError as error:
            sys.stderr.write(f"not counted: {error}\n")
            return
        self._runs.setdefault(label, []).append(measured)

    def add_joined(
        self, label: str, broker: str, messages: list[data.Message], workers: int
    ) -> None:
        """Run several workers once more."""
        sys.stderr.write(f"scaling, {self._title}: {label}\n")
        contender = Contender("radar", "radar", radar_workers(workers, {}, at_end=True))
        try:
            measured = measure_joined(
                contender, TRADES, broker, messages, PARTITIONS, self._options.folder
            )
        except RuntimeError as error:
            sys.stderr.write(f"not counted: {error}\n")
            return
        self._runs.setdefault(label, []).append(measured)

    def table(self) -> Table:
        """Return the medians."""
        rows = [
            [
                label,
                number(statistics.median(each.per_second for each in runs)),
                number(statistics.median(each.per_cpu_second for each in runs)),
                microseconds(each.worker_cpu_s / each.messages for each in runs),
                microseconds(each.database_cpu_s / each.messages for each in runs),
                str(len(runs)),
            ]
            for label, runs in self._runs.items()
        ]
        columns = [self._title, "messages/s", "messages/CPU-s", "worker µs", "database µs", "runs"]
        return Table(columns, rows)


def _workers(options: Options) -> Table:
    series = _Series("workers", options)
    count = options.scaled(PER_PARTITION / 2)
    messages = list(islice(data.messages(TRADES), count * PARTITIONS))
    with stack.broker(options.folder, options.kafka_home, PARTITIONS) as broker:
        for _ in range(options.rounds):
            for workers in WORKERS:
                series.add_joined(str(workers), broker, messages, workers)
    return series.table()


def _backlogs(options: Options) -> Table:
    series = _Series("waiting messages", options)
    counts = [options.scaled(each) for each in BACKLOGS]
    with stack.broker(options.folder, options.kafka_home) as broker:
        there = 0
        for count in counts:  # a topic only grows, so this is the one series without turns
            data.preload(broker, TRADES, count - there)
            there = count
            for _ in range(options.rounds):
                series.add(f"{count * data.PARTITIONS:,}", broker, count)
    return series.table()


def _symbols(options: Options) -> Table:
    series = _Series("markets", options)
    count = options.scaled(PER_PARTITION)
    with contextlib.ExitStack() as opened:
        brokers = {}
        for symbols in SYMBOLS:
            folder = options.folder / f"symbols-{symbols}"
            folder.mkdir()
            brokers[symbols] = opened.enter_context(stack.broker(folder, options.kafka_home))
            data.preload(brokers[symbols], TRADES, count, symbols)
        for _ in range(options.rounds):
            for symbols, broker in brokers.items():
                series.add(str(symbols), broker, count)
    return series.table()


def _table_sizes(options: Options) -> Table:
    series = _Series("rows in the table before", options)
    count = options.scaled(PER_PARTITION)
    with stack.broker(options.folder, options.kafka_home) as broker:
        data.preload(broker, TRADES, count)
        for _ in range(max(1, options.rounds // 2)):
            for rows in TABLE_ROWS:
                scaled = options.scaled(rows) if rows else 0

                def prepare(database: stack.Database, rows: int = scaled) -> None:
                    insert_trades(database.store, rows)

                series.add(f"{scaled:,}", broker, count, prepare=prepare)
    return series.table()


def _memory(options: Options) -> Table:
    seconds = MEMORY_S * options.scale
    sys.stderr.write(f"scaling, memory over {seconds:.0f} s\n")
    sizes = []
    with contextlib.ExitStack() as opened:
        broker = opened.enter_context(stack.broker(options.folder, options.kafka_home))
        database = opened.enter_context(stack.database(options.folder, broker))
        worker, *_ = opened.enter_context(
            latency.pipeline(MEMORY_RATE, {}, broker, database, options)
        )
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            time.sleep(0.5)
            sizes.append(memory_bytes(worker.pid) / 1024**2)
    third = max(1, len(sizes) // 3)
    parts = (sizes[:third], sizes[third : 2 * third], sizes[2 * third :])
    row = [f"{MEMORY_RATE:,} trades/s for {seconds:.0f} s"]
    row += [f"{statistics.median(part):.0f}" for part in parts] + [f"{max(sizes):.0f}"]
    return Table(["memory of a worker, MiB", "first third", "second", "last", "most"], [row])
