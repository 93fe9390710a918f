"""End-to-end latency: from a frame's arrival at the producer to its row in the view `trades`."""

import bisect
import contextlib
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from benchmarks import machine, stack
from benchmarks.options import Options
from benchmarks.results import Section, Table
from radar.addresses import free_port

NAME = "latency"
TEXT = """
One machine runs the simulated exchange, one trades producer, three workers (as `radar up` has),
broker and database. A trade's latency begins at `received_at`, the producer's clock at the
arrival of the frame. It ends when ClickHouse has answered the insert of its block, as the worker
reports. Constant queries of the view would be the greatest load of the run, so it is queried
twice a second. A run counts only if all rows that were reported as stored were there.

`came` is the number of trades a second that the exchange managed to send. `parts` is the number
of active parts of the table.
"""
RATES = (10, 1_000, 20_000)
SETTINGS = {
    "default": {},
    "low latency": {
        "BATCH_TIMEOUT_SECONDS": "0.03",
        "INSERT_INTERVAL_SECONDS": "0.03",
        "KAFKA_LINGER_MS": "2",
    },
}
WORKERS = 3  # as radar up has
QUESTION_EVERY_S = 0.5
WARM_S, MEASURE_S = 5.0, 12.0
SETTLE_S = 7.0  # longer than any default makes a row wait


@dataclass(frozen=True)
class Run:
    """Latencies of one run, in milliseconds."""

    p50: float
    p99: float
    p999: float
    trades: int
    per_second: float
    parts: tuple[int, ...]


def run(options: Options) -> Section:
    """Measure; takes about three minutes a round."""
    described = machine.describe("Apache Kafka" if options.kafka_home else "embedded")
    cases = [(rate, name) for rate in RATES for name in SETTINGS]
    runs: dict[tuple[int, str], list[Run]] = defaultdict(list)
    rounds = max(1, round(options.rounds * 0.6))  # three of five: a run takes half a minute
    for turn in range(rounds):
        for rate, name in cases:
            sys.stderr.write(f"latency, round {turn + 1} of {rounds}: {rate}/s, {name}\n")
            try:
                runs[rate, name].append(_measure(rate, SETTINGS[name], options))
            except RuntimeError as error:
                sys.stderr.write(f"not counted: {error}\n")
    rows = [
        [
            f"{rate:,} a second, {name}",
            f"{statistics.median(each.per_second for each in runs[rate, name]):,.0f}",
            *(
                f"{statistics.median(getattr(each, share) for each in runs[rate, name]):,.0f}"
                for share in ("p50", "p99", "p999")
            ),
            _range([each.parts for each in runs[rate, name]]),
            f"{sum(each.trades for each in runs[rate, name]):,}",
            str(len(runs[rate, name])),
        ]
        for rate, name in cases
        if runs[rate, name]
    ]
    low = ", ".join(f"`{name}={value}`" for name, value in SETTINGS["low latency"].items())
    return Section(
        name=NAME,
        title="Latency, frame received to row visible",
        text=f"{TEXT.strip()} Low latency means {low}.",
        tables=[
            Table(
                ["trades", "came", "p50 ms", "p99 ms", "p99.9 ms", "parts", "trades", "runs"], rows
            )
        ],
        machine=described,
    )


def _range(parts: list[tuple[int, ...]]) -> str:
    counts = [count for each in parts for count in each]
    return f"{min(counts)} to {max(counts)}"


def _measure(rate: int, variables: dict[str, str], options: Options) -> Run:
    measure_s = MEASURE_S * options.scale
    with contextlib.ExitStack() as opened:
        broker = opened.enter_context(stack.broker(options.folder, options.kafka_home))
        database = opened.enter_context(stack.database(options.folder, broker))
        workers = opened.enter_context(pipeline(rate, variables, broker, database, options))
        began_s = time.time() + WARM_S
        # What was received last may be stored only later.
        watch = _Watch(database, workers, began_s + measure_s + SETTLE_S)
        received = database.store.rows(
            "SELECT kafka_partition, kafka_offset, toUnixTimestamp64Micro(received_at) FROM trades"
            " WHERE received_at >= {since:Float64} AND received_at < {before:Float64}",
            {"since": began_s, "before": began_s + measure_s},
        )
    latencies = sorted(
        1000 * (stored_s - received_us / 1_000_000)
        for partition, offset, received_us in received
        if (stored_s := watch.stored.when(partition, offset)) is not None
    )
    if len(latencies) < len(received) or not latencies:
        raise RuntimeError(f"{len(received) - len(latencies)} of {len(received)} not told stored")
    p50, p99, p999 = (latencies[int(share * (len(latencies) - 1))] for share in (0.5, 0.99, 0.999))
    return Run(p50, p99, p999, len(latencies), len(latencies) / measure_s, tuple(watch.parts))


@contextlib.contextmanager
def pipeline(
    rate: int, variables: dict[str, str], broker: str, database: stack.Database, options: Options
) -> Iterator[list[stack.Process]]:
    """Run the simulated exchange, a trades producer and workers; provide the workers."""
    port = free_port()
    environment = stack.environment(stack.settings(broker, database.port)) | {
        "EXCHANGE_WS_URL": f"ws://{stack.HOST}:{port}/ws",
        "EXCHANGE_REST_URL": f"http://{stack.HOST}:{port}",
    }
    simulate = ("simulate", "--port", str(port), "--trades-per-second", str(rate))
    commands: Sequence[tuple[str, tuple[str, ...], dict[str, str]]] = (
        *((f"worker-{n}", ("consume", "trades"), variables) for n in range(WORKERS)),
        ("exchange", (*simulate, "--depth-per-second", "0"), {}),
        ("producer", ("produce", "trades"), variables),
    )
    workers = []
    with contextlib.ExitStack() as started:
        for name, line, more in commands:
            process = stack.Process(
                name, [sys.executable, "-m", "radar", *line], options.folder, environment | more
            )
            started.callback(process.end, at_once=True)
            if name == "exchange":
                stack.await_port(process, port)
            if line[0] == "consume":
                workers.append(process)
        yield workers


class _Stored:
    """When blocks were stored, as the workers say in their logs."""

    def __init__(self, workers: Sequence[stack.Process]) -> None:
        self._logs = [worker.log_path.open() for worker in workers]
        # A folder serves several runs.
        for log in self._logs:
            log.seek(0, os.SEEK_END)
        self._his: dict[int, list[int]] = defaultdict(list)
        self._at_s: dict[int, list[float]] = defaultdict(list)

    def read_on(self) -> None:
        """Read what was written since the last time."""
        for log in self._logs:
            # The last line may not be whole yet.
            while (at := log.tell()) is not None and (line := log.readline()):
                if not line.endswith("\n"):
                    log.seek(at)
                    break
                told = json.loads(line)
                if told["event"] == "block stored":
                    self._his[told["partition"]].append(told["hi"])
                    # The line is written when the block is committed as well.
                    committed_s = datetime.fromisoformat(told["timestamp"]).timestamp()
                    at_s = committed_s - told["commit_s"]
                    self._at_s[told["partition"]].append(at_s)

    @property
    def newest(self) -> dict[int, int]:
        """The last offset that was stored, by partition."""
        return {partition: his[-1] for partition, his in self._his.items()}

    def when(self, partition: int, offset: int) -> float | None:
        """Return when a message was stored, Unix time; a worker stores a partition in order."""
        at = bisect.bisect_left(self._his[partition], offset)
        times = self._at_s[partition]
        return times[at] if at < len(times) else None


class _Watch:
    """Reads what the workers say, and asks the view whether it is so."""

    def __init__(
        self, database: stack.Database, workers: Sequence[stack.Process], end_s: float
    ) -> None:
        """Watch until then.

        Raises:
            RuntimeError: What was said to be stored is not in the view.
        """
        self._database = database
        self.stored = _Stored(workers)
        self.parts: list[int] = []
        while time.time() < end_s:
            time.sleep(QUESTION_EVERY_S)
            self.stored.read_on()
            self._ask()
        self.stored.read_on()

    def _ask(self) -> None:
        told = self.stored.newest
        # Only the newest trades, so that asking does not cost more the longer it runs.
        visible = self._database.store.rows(
            "SELECT kafka_partition, max(kafka_offset) FROM trades"
            " WHERE received_at > now() - 30 GROUP BY kafka_partition"
        )
        for partition, offset in visible:
            if offset < told.get(partition, 0):
                raise RuntimeError(f"partition {partition}: {told[partition]} is not in the view")
        ((parts,),) = self._database.store.rows(
            "SELECT count() FROM system.parts WHERE active AND table = 'trades_master'"
            " AND database = currentDatabase()"
        )
        self.parts.append(parts)
