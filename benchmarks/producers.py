"""Producers: frames a second through socket, parser, identity and Kafka client."""

import statistics
import sys
import time
from dataclasses import dataclass
from urllib.request import urlopen

from benchmarks import machine, stack
from benchmarks.cpu import cpu_seconds
from benchmarks.options import Options
from benchmarks.results import Section, Table, number
from radar.addresses import free_port
from radar.datasets import DATASETS, Dataset
from radar.kafka import Cluster

NAME = "producers"
TEXT = """
`radar produce` reads prepared frames from a server that sends them at full speed, over one
connection. Where every record is published, a frame counts when Kafka has acknowledged its message.
With the default interval nearly all snapshots are discarded, and a frame counts when it was
received. The measurement begins one second after the first frame and takes some seconds.
"""
# Prepared; they are sent round and round.
FRAMES = {"trades": 60_000, "depth": 12_000}
WARM_S, MEASURE_S, SAMPLE_EVERY_S, TIMEOUT_S = 1.0, 5.0, 0.1, 60.0


@dataclass(frozen=True)
class Case:
    """A producer that is measured."""

    label: str
    dataset: Dataset
    interval_s: float | None = None  # None: the default


CASES = (
    Case("trades", DATASETS["trades"]),
    Case("depth, every snapshot", DATASETS["depth"], 0),
    Case("depth, default interval", DATASETS["depth"]),
)


@dataclass(frozen=True)
class Rate:
    """One run."""

    frames: int
    wall_s: float
    cpu_s: float


def run(options: Options) -> Section:
    """Measure; takes about twenty seconds a round."""
    described = machine.describe("Apache Kafka" if options.kafka_home else "embedded")
    rates: dict[str, list[Rate]] = {case.label: [] for case in CASES}
    with stack.broker(options.folder, options.kafka_home) as broker:
        for turn in range(options.rounds):
            for case in CASES:
                sys.stderr.write(f"producers, round {turn + 1} of {options.rounds}: {case.label}\n")
                rates[case.label].append(_measure(case, broker, options))
    rows = [
        [
            label,
            number(statistics.median(each.frames / each.wall_s for each in runs)),
            number(statistics.median(each.frames / each.cpu_s for each in runs)),
            f"{statistics.median(each.cpu_s / each.frames for each in runs) * 1e6:.1f}",
            str(len(runs)),
        ]
        for label, runs in rates.items()
    ]
    return Section(
        name=NAME,
        title="Producers",
        text=TEXT,
        tables=[Table(["", "frames/s", "frames/CPU-s (one core)", "µs CPU a frame", "runs"], rows)],
        machine=described,
    )


def _measure(case: Case, broker: str, options: Options) -> Rate:
    dataset = case.dataset
    port, metrics_port = free_port(), free_port()
    count = FRAMES[dataset.name]
    replay = stack.Process(
        "replay",
        [sys.executable, "-m", "benchmarks.replay", dataset.name, str(count), str(port)],
        options.folder,
        {"PYTHONPATH": stack.PYTHONPATH},
    )
    stack.await_port(replay, port)
    cluster = Cluster(stack.settings(broker, 1))
    before = _published(cluster, dataset)
    producer = stack.Process(
        "producer",
        [sys.executable, "-m", "radar", "produce", dataset.name],
        options.folder,
        stack.environment(stack.settings(broker, 1))
        | {
            "EXCHANGE_WS_URL": f"ws://{stack.HOST}:{port}/ws",
            "EXCHANGE_REST_URL": f"http://{stack.HOST}:{port}",
            "METRICS_PORT": str(metrics_port),
            "SYMBOLS_PER_CONNECTION": "200",
        }
        | ({} if case.interval_s is None else {"DEPTH_INTERVAL_SECONDS": str(case.interval_s)}),
    )
    is_published = dataset.name == "trades" or case.interval_s == 0
    begins: tuple[float, float, int] | None = None
    first_s = 0.0
    last = 0
    began_s = time.monotonic()
    try:
        while True:
            if is_published:
                frames = _published(cluster, dataset) - before
            else:
                frames = _received(metrics_port)
            now_s = time.monotonic()
            cpu_s = cpu_seconds(producer.pid)
            if frames == last and now_s - began_s < TIMEOUT_S:
                time.sleep(0.01)  # the figure is some time old
                continue
            last = frames
            if frames and not first_s:
                first_s = now_s
            if begins is None and first_s and now_s > first_s + WARM_S:
                begins = now_s, cpu_s, frames
            if begins and now_s > begins[0] + MEASURE_S * options.scale:
                return Rate(frames - begins[2], now_s - begins[0], cpu_s - begins[1])
            if not producer.lives or now_s - began_s > TIMEOUT_S + MEASURE_S * options.scale:
                raise RuntimeError(f"published {frames}: {producer.last_lines()}")
            time.sleep(SAMPLE_EVERY_S)
    finally:
        producer.end(at_once=True)
        replay.end(at_once=True)


def _received(metrics_port: int) -> int:
    """Return how many frames a producer says that it has received."""
    try:
        with urlopen(f"http://{stack.HOST}:{metrics_port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0
    return sum(
        int(float(each.split()[-1])) for each in lines if each.startswith("radar_frames_total{")
    )


def _published(cluster: Cluster, dataset: Dataset) -> int:
    return sum(topic.end for topic in cluster.topics([dataset.topic]))
