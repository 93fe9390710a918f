"""Throughput of the workers, beside what else does their job."""

import statistics
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from benchmarks import data, machine, stack
from benchmarks.contenders.peers import CONTENDERS
from benchmarks.options import Options
from benchmarks.results import Bar, Limit, Plot, Section, Table, microseconds, number
from benchmarks.worker_run import Measurement, measure
from radar.datasets import DATASETS

NAME = "throughput"
TEXT = """
A topic with three partitions is full of messages; the database is new and has radar's tables.
Each contender stores the messages. Its figures begin after its first block. They end when nearly
all messages are stored, or when its share of CPU time is used.

- `block` is the number of rows of an insert. radar also runs with its defaults, where blocks grow
  with the waiting messages.
- radar runs with its whole delivery protocol: plans, exact commits, validation, dead letters. The
  others do less. Their losses and duplicates after a fault were not measured.
- Merges of the table are stopped. Equal blocks cost everyone the same merges, and a faster
  contender would see fewer of them.
- The engine runs in the database's process and has as many consumers as the topic has partitions.
- Snapshots lie in two topics: as radar publishes them, and as JSON. radar, one of the engines and
  the floor read the first, everyone else the second.
- The floor consumes the messages as a worker does and inserts a ready block for each block of
  them. It is the line in the plots.
"""


@dataclass(frozen=True)
class Contest:
    """Contenders that are compared at one block size."""

    dataset: str
    block: int
    contenders: tuple[str, ...]

    @property
    def title(self) -> str:
        """Name it."""
        return f"{self.dataset}, blocks of {self.block:,}"


_ENGINES = {
    "trades": ("engine-json", "engine-split"),
    "depth": ("engine-json", "engine-tuple", "engine-packed"),
}
# 50,000 snapshots are 50 MB, of which a worker takes 8 MiB at once.
LARGE = {"trades": 50_000, "depth": 10_000}
_PEERS = ("quix", "faststream", "consume")


_FAMILIES = {
    "radar": "radar",
    "engine": "the engine",
    "handwritten": "hand-written",
    "quix": "Quix",
    "faststream": "FastStream",
    "floor": "the floor",
}


def contests(*, quick: bool) -> list[Contest]:
    """Return what is compared."""
    if quick:
        return [
            Contest("trades", 50_000, ("radar", "engine-split", "handwritten", "floor")),
            Contest("depth", 5_000, ("radar", *_ENGINES["depth"][1:], "handwritten", "floor")),
        ]
    found = []
    for dataset, engines in _ENGINES.items():
        found += [
            Contest(dataset, 500, ("radar", *engines, "handwritten", "floor")),
            Contest(dataset, 5_000, ("radar", *engines, *_PEERS, "floor")),
            Contest(dataset, LARGE[dataset], ("radar", "radar-default", *engines, "floor")),
        ]
    return found


def run(options: Options) -> Section:
    """Measure; takes about a quarter of an hour, or one minute and a half if quick."""
    described = machine.describe("Apache Kafka" if options.kafka_home else "embedded")
    wanted = contests(quick=options.quick)
    sizes = (120_000, 20_000) if options.quick else (250_000, 40_000)
    per_partition = dict(zip(("trades", "depth"), map(options.scaled, sizes), strict=True))
    cpu_seconds = 1.0 if options.quick else 2.0
    measured: list[Measurement] = []
    with stack.broker(options.folder, options.kafka_home) as broker:
        _preload(broker, per_partition)
        for turn in range(options.rounds):
            for contest in wanted:
                for name in contest.contenders:
                    _say(
                        f"throughput, round {turn + 1} of {options.rounds}: {contest.title}, {name}"
                    )
                    contender, dataset = CONTENDERS[name], DATASETS[contest.dataset]
                    try:
                        measured.append(
                            measure(
                                contender, dataset, contender.block or contest.block, broker,
                                per_partition[contest.dataset], cpu_seconds, options.folder,
                            )
                        )  # fmt: skip
                    except (RuntimeError, FileNotFoundError) as error:
                        _say(f"not counted: {error}")
    return Section(
        name=NAME,
        title="Throughput of the workers",
        text=TEXT,
        tables=[_ratios(measured), *(_table(contest, measured) for contest in wanted)],
        machine=described,
        plots=[_plot(dataset, wanted, measured) for dataset in per_partition],
    )


def _preload(broker: str, per_partition: dict[str, int]) -> None:
    """Fill the topics, side by side: making up markets is what takes the time."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for done in [
            pool.submit(_preload_one, broker, name, count) for name, count in per_partition.items()
        ]:
            done.result()


def _preload_one(broker: str, name: str, per_partition: int) -> None:
    data.preload(broker, DATASETS[name], per_partition)


def _of(contest: Contest, name: str, measured: Iterable[Measurement]) -> list[Measurement]:
    block = CONTENDERS[name].block or contest.block
    return [
        each
        for each in measured
        if (each.contender, each.dataset, each.block) == (name, contest.dataset, block)
    ]


def _table(contest: Contest, measured: list[Measurement]) -> Table:
    rows = []
    for name in contest.contenders:
        runs = _of(contest, name, measured)
        if not runs:
            rows.append([CONTENDERS[name].label, *["–"] * 6])
            continue
        per_cpu = [each.per_cpu_second for each in runs]
        rows.append(
            [
                CONTENDERS[name].label,
                number(statistics.median(each.per_second for each in runs)),
                number(statistics.median(per_cpu)),
                f"{number(min(per_cpu))} to {number(max(per_cpu))}",
                microseconds(each.worker_cpu_s / each.messages for each in runs),
                microseconds(each.database_cpu_s / each.messages for each in runs),
                str(len(runs)),
            ]
        )
    columns = ["", "messages/s", "messages/CPU-s", "from, to", "worker µs", "database µs", "runs"]
    return Table(columns, rows, f"**{contest.title[0].upper()}{contest.title[1:]}**")


def _ratios(measured: list[Measurement]) -> Table:
    """Compare the best of each, whatever its block size."""
    rows = []
    for dataset in dict.fromkeys(each.dataset for each in measured):
        best: dict[str, float] = {}
        for family in _FAMILIES:
            runs: dict[tuple[str, int], list[float]] = {}
            for each in measured:
                if each.dataset == dataset and each.contender.startswith(family):
                    runs.setdefault((each.contender, each.block), []).append(each.per_cpu_second)
            best[family] = max(map(statistics.median, runs.values()), default=0.0)
        others = [f"{best['radar'] / value:.2f}×" if value else "–" for value in best.values()]
        rows.append([dataset, number(best["radar"]), *others[1:]])
    columns = ["", "radar, messages/CPU-s"]
    columns += [f"to {name}" for name in list(_FAMILIES.values())[1:]]
    return Table(columns, rows, "**radar's best to the best of the others**")


def _plot(dataset: str, wanted: list[Contest], measured: list[Measurement]) -> Plot:
    bars = [
        Bar(
            f"blocks of\n{contest.block:,}",
            CONTENDERS[name].label,
            statistics.median(each.per_cpu_second for each in runs),
        )
        for contest in wanted
        if contest.dataset == dataset
        for name in contest.contenders
        if name not in ("consume", "floor") and (runs := _of(contest, name, measured))
    ]
    limits = [
        Limit(
            f"blocks of\n{contest.block:,}",
            CONTENDERS["floor"].label,
            statistics.median(each.per_cpu_second for each in runs),
        )
        for contest in wanted
        if contest.dataset == dataset and (runs := _of(contest, "floor", measured))
    ]
    return Plot(
        f"Workers, {dataset}",
        "messages per CPU-second, worker and database together",
        bars,
        limits,
    )


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
