"""End-to-end latency: from a frame's arrival at the producer to its row in the view `trades`."""

import bisect
import contextlib
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks import machine, stack
from benchmarks.options import Options
from benchmarks.results import Section, Table
from radar.local.addresses import free_port

NAME = "latency"
TEXT = """
The simulated exchange, one trades producer, one worker, broker and database on one machine. The
view is asked every few milliseconds how far it is; a trade's latency is from `received_at` (the
producer's clock when the frame came) to the end of the first answer that shows it, so it is at most
one question too long. `came` is how many trades a second the exchange managed to make beside
the others. `parts` is the number of active parts of the table, sampled every second.
"""
RATES = (10, 1_000, 20_000)
SETTINGS = {
    "default": {},
    "low latency": {
        "BATCH_TIMEOUT_SECONDS": "0.02",
        "INSERT_INTERVAL_SECONDS": "0.02",
        "KAFKA_LINGER_MS": "2",
    },
}
QUESTION_EVERY_S = 0.005
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
        opened.enter_context(pipeline(rate, variables, broker, database, options))
        watch = _Watch(database)
        began_s = time.time() + WARM_S
        watch.until(began_s + measure_s)
        # What was received last may be visible only later.
        watch.until(began_s + measure_s + SETTLE_S)
        window = (began_s, began_s + measure_s)
        received = database.store.rows(
            "SELECT kafka_partition, kafka_offset, toUnixTimestamp64Micro(received_at) FROM trades"
            " WHERE received_at >= {since:Float64} AND received_at < {before:Float64}",
            {"since": window[0], "before": window[1]},
        )
    latencies = sorted(
        1000 * (seen_s - received_us / 1_000_000)
        for partition, offset, received_us in received
        if (seen_s := watch.first_seen(partition, offset)) is not None
    )
    if len(latencies) < len(received) or not latencies:
        raise RuntimeError(f"{len(received) - len(latencies)} of {len(received)} trades not seen")
    p50, p99, p999 = (latencies[int(share * (len(latencies) - 1))] for share in (0.5, 0.99, 0.999))
    return Run(p50, p99, p999, len(latencies), len(latencies) / measure_s, tuple(watch.parts))


@contextlib.contextmanager
def pipeline(
    rate: int, variables: dict[str, str], broker: str, database: stack.Database, options: Options
) -> Iterator[stack.Process]:
    """Run the simulated exchange, a trades producer and a worker; provide the worker."""
    port = free_port()
    environment = stack.environment(stack.settings(broker, database.port)) | {
        "EXCHANGE_WS_URL": f"ws://{stack.HOST}:{port}/ws",
        "EXCHANGE_REST_URL": f"http://{stack.HOST}:{port}",
    }
    simulate = ("simulate", "--port", str(port), "--trades-per-second", str(rate))
    commands: Sequence[tuple[str, tuple[str, ...], dict[str, str]]] = (
        ("worker", ("consume", "trades"), variables),
        ("exchange", (*simulate, "--depth-per-second", "0"), {}),
        ("producer", ("produce", "trades"), variables),
    )
    processes: dict[str, stack.Process] = {}
    with contextlib.ExitStack() as started:
        for name, line, more in commands:
            process = stack.Process(
                name, [sys.executable, "-m", "radar", *line], options.folder, environment | more
            )
            started.callback(process.end, at_once=True)
            if name == "exchange":
                stack.await_port(process, port)
            processes[name] = process
        yield processes["worker"]


class _Watch:
    """Asks the view how far it is, and remembers when it said what."""

    def __init__(self, database: stack.Database) -> None:
        self._database = database
        self.parts: list[int] = []
        self._next_parts_s = 0.0
        self._offsets: dict[int, list[int]] = defaultdict(list)
        self._seen_s: dict[int, list[float]] = defaultdict(list)

    def until(self, end_s: float) -> None:
        """Go on asking until then."""
        while (now_s := time.time()) < end_s:
            self._ask()
            if now_s > self._next_parts_s:
                self._next_parts_s = now_s + 1
                self._count_parts()
            time.sleep(QUESTION_EVERY_S)

    def first_seen(self, partition: int, offset: int) -> float | None:
        """Return when a message's row was visible; a worker stores a partition in order."""
        at = bisect.bisect_left(self._offsets[partition], offset)
        times = self._seen_s[partition]
        return times[at] if at < len(times) else None

    def _ask(self) -> None:
        # Only the newest trades, so that asking does not cost more the longer it runs.
        newest = self._database.store.rows(
            "SELECT kafka_partition, max(kafka_offset) FROM trades"
            " WHERE event_time > now() - 9 GROUP BY kafka_partition"
        )
        now_s = time.time()
        for partition, offset in newest:
            offsets = self._offsets[partition]
            if not offsets or offset > offsets[-1]:
                offsets.append(offset)
                self._seen_s[partition].append(now_s)

    def _count_parts(self) -> None:
        ((parts,),) = self._database.store.rows(
            "SELECT count() FROM system.parts WHERE active AND table = 'trades_master'"
            " AND database = currentDatabase()"
        )
        self.parts.append(parts)
