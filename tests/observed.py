"""Overviews of a pipeline, made up: one that flows, and changes of it."""

from typing import Any, get_args

from msgspec.structs import replace

from radar.datasets import DATASETS, EXCHANGE_CANDLES, FRAMES
from radar.status import bottleneck
from radar.status.model import (
    ConnectionState,
    Flow,
    MarketAge,
    MarketLatency,
    Overview,
    PartitionState,
    ProbeResult,
    ProcessState,
    ProducerState,
    Subject,
    TableState,
    WorkerState,
)

NOW_S = 1_795_000_000.0

# Datasets that are not used by default, so the monitor shows no row of them.
UNUSED = {EXCHANGE_CANDLES.name, FRAMES.name}


def flow(dataset: str, **changes: Any) -> Flow:
    recorded = dataset in ("trades", "depth")
    made = Flow(
        dataset=dataset,
        connections=3 if recorded else 0,
        frames_per_s=50.0 if recorded else 0.0,
        published_per_s=50.0 if recorded else 0.1,
        stored_per_s=50.0 if recorded else 0.1,
        frames=5000 if recorded else 0,
        published=4990,
        stored=4980,
        lag=30 if recorded else 0,
        latency_s=1.1,
        last_frame_age_s=0.1 if recorded else None,
        invalid_frames=0,
        dead_letters=0,
        open_letters=0,
    )
    return replace(made, **changes)


def producer(dataset: str, **changes: Any) -> ProducerState:
    made = ProducerState(
        name=f"wallex-{dataset}",
        dataset=dataset,
        address="127.0.0.1:9100",
        alive=True,
        ready=True,
        reasons=[],
        frames_per_s=50.0,
        bytes_per_s=5000.0,
        published_per_s=50.0,
        queue=0,
        backpressure_share=0.0,
        last_frame_age_s=0.1,
        clock_skew_s=0.0,
        reconnects=0,
        invalid_frames=0,
        publish_failed=0,
        connections=[
            ConnectionState(f"wallex-{dataset}", str(n + 1), 20, 100.0 + n, 0.1, 1000)
            for n in range(3)
        ],
        memory_bytes=80_000_000,
    )
    return replace(made, **changes)


def partition(dataset: str, number: int, **changes: Any) -> PartitionState:
    made = PartitionState(
        dataset=dataset,
        topic=DATASETS[dataset].topic,
        partition=number,
        start=0,
        end=1700,
        committed=1690,
        lag=10,
        lag_per_s=0.0,
        published_per_s=17.0,
        stored_per_s=17.0,
        owner=f"{dataset}-consumer-{number + 1}",
    )
    return replace(made, **changes)


def worker(dataset: str, number: int, **changes: Any) -> WorkerState:
    made = WorkerState(
        name=f"{dataset}-consumer-{number + 1}",
        dataset=dataset,
        address="127.0.0.1:9100",
        alive=True,
        ready=True,
        reasons=[],
        partitions=[number],
        rows_per_s=17.0,
        blocks_per_s=0.9,
        insert_s=0.02,
        latency_s=1.1,
        insert_retries=0,
        dead_letters=0,
        rebalances=1,
        halted_partitions=0,
        memory_bytes=100_000_000,
    )
    return replace(made, **changes)


def probe(subject: Subject, **changes: Any) -> ProbeResult:
    return replace(ProbeResult(subject, age_s=0.5, holds=True), **changes)


def overview(**changes: Any) -> Overview:
    """Return a pipeline with three partitions of trades and of depth, and its obstacles."""
    workers = [worker(dataset, number) for dataset in ("trades", "depth") for number in range(3)]
    producers = [producer(dataset) for dataset in ("trades", "depth")]
    made = Overview(
        at_s=NOW_S,
        exchange="wallex",
        simulated=True,
        uptime_s=100.0,
        kafka="127.0.0.1:9092",
        clickhouse="127.0.0.1:8123/radar",
        # Candles of exchanges flow only during a backfill.
        flows=[flow(each) for each in DATASETS if each not in UNUSED],
        producers=producers,
        partitions=[
            partition(dataset, number) for dataset in ("trades", "depth") for number in range(3)
        ],
        workers=workers,
        tables=[
            TableState(dataset.name, dataset.table, 4980, 3000, NOW_S - 0.5, 1_234_567, 4)
            for dataset in DATASETS.values()
        ],
        stalest=[
            MarketAge("trades", "SUIUSDT", 340.0),
            MarketAge("trades", "DOTTMN", None),
            MarketAge("depth", "BTCUSDT", 1.0),
        ],
        letters=[],
        problems=[],
        bottleneck=None,
        processes=[
            ProcessState(name, "running", 4000 + n, 0, "127.0.0.1:9100", True, True, [])
            for n, name in enumerate([w.name for w in workers] + [p.name for p in producers])
        ],
        rates_over_s=15.0,
        slowest=[MarketLatency("trades", "LINKUSDT", 1.016)],
        probes=[probe(subject) for subject in get_args(Subject)],
    )
    changed = replace(made, **changes)
    return bottleneck.judged(changed)
