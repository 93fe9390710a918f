"""Producers: frames a second through socket, parser, identity and Kafka client."""

import statistics
import sys
import time
from dataclasses import dataclass

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
connection. Every snapshot is published (`DEPTH_INTERVAL_SECONDS=0`). A frame counts when Kafka
has acknowledged its message. The measurement begins one second after the first of them and takes
some seconds.
"""
# Prepared; they are sent round and round.
FRAMES = {"trades": 60_000, "depth": 12_000}
WARM_S, MEASURE_S, SAMPLE_EVERY_S, TIMEOUT_S = 1.0, 5.0, 0.1, 60.0


@dataclass(frozen=True)
class Rate:
    """One run."""

    frames: int
    wall_s: float
    cpu_s: float


def run(options: Options) -> Section:
    """Measure; takes about twenty seconds a round."""
    described = machine.describe("Apache Kafka" if options.kafka_home else "embedded")
    rates: dict[str, list[Rate]] = {dataset: [] for dataset in FRAMES}
    with stack.broker(options.folder, options.kafka_home) as broker:
        for turn in range(options.rounds):
            for dataset in FRAMES:
                sys.stderr.write(f"producers, round {turn + 1} of {options.rounds}: {dataset}\n")
                rates[dataset].append(_measure(DATASETS[dataset], broker, options))
    rows = [
        [
            dataset,
            number(statistics.median(each.frames / each.wall_s for each in runs)),
            number(statistics.median(each.frames / each.cpu_s for each in runs)),
            f"{statistics.median(each.cpu_s / each.frames for each in runs) * 1e6:.1f}",
            str(len(runs)),
        ]
        for dataset, runs in rates.items()
    ]
    return Section(
        name=NAME,
        title="Producers",
        text=TEXT,
        tables=[Table(["", "frames/s", "frames/CPU-s (one core)", "µs CPU a frame", "runs"], rows)],
        machine=described,
    )


def _measure(dataset: Dataset, broker: str, options: Options) -> Rate:
    port = free_port()
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
            "DEPTH_INTERVAL_SECONDS": "0",
            "SYMBOLS_PER_CONNECTION": "200",
        },
    )
    begins: tuple[float, float, int] | None = None
    first_s = 0.0
    began_s = time.monotonic()
    try:
        while True:
            frames = _published(cluster, dataset) - before
            now_s = time.monotonic()
            cpu_s = cpu_seconds(producer.pid)
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


def _published(cluster: Cluster, dataset: Dataset) -> int:
    return sum(topic.end for topic in cluster.topics([dataset.topic]))
