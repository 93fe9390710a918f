"""One run of one contender: how fast waiting messages become rows."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks import data, stack
from benchmarks.contenders.peers import Contender, Task
from benchmarks.cpu import CpuTimes, cpu_seconds, with_children
from benchmarks.data import PARTITIONS
from benchmarks.progress import RowsOnDisk
from radar.datasets import Dataset

SAMPLE_EVERY_S = 0.02
START_TIMEOUT_S = 60.0
RUN_TIMEOUT_S = 60.0
JOIN_S = 6.0
DEFAULT_BLOCK = 17_000  # a third of what a worker holds at most


class _Progress(Protocol):
    def count(self) -> int:
        """Return how many messages are done."""


@dataclass(frozen=True)
class Measurement:
    """One run of one contender: what came after its first block, so that no start counts."""

    contender: str
    dataset: str
    block: int
    messages: int
    wall_s: float
    worker_cpu_s: float
    database_cpu_s: float
    complete: bool  # everything was stored within the time, and the count is right
    first_block_s: float

    @property
    def per_second(self) -> float:
        """Messages a second."""
        return self.messages / self.wall_s

    @property
    def per_cpu_second(self) -> float:
        """Messages per CPU-second of worker and database together."""
        return self.messages / max(0.01, self.worker_cpu_s + self.database_cpu_s)


@dataclass(frozen=True)
class _Sample:
    at_s: float
    messages: int
    cpu: CpuTimes


def measure(
    contender: Contender,
    dataset: Dataset,
    block: int,
    broker: str,
    per_partition: int,
    cpu_seconds_each: float,
    folder: Path,
    prepare: Callable[[stack.Database], None] | None = None,
    partitions: int = PARTITIONS,
) -> Measurement:
    """Run one contender on a full topic and an empty database.

    Args:
        contender: Who.
        dataset: Of which records the topic is full.
        block: Rows of an insert.
        broker: Address of the broker.
        per_partition: Messages in each partition.
        cpu_seconds_each: End the run when it has used so much after its first block; by CPU
            time, because a busy machine would cut a run by the clock short.
        folder: For logs and the database.
        prepare: Called with the new database.
        partitions: Of the topic.

    Raises:
        RuntimeError: Nothing was stored in time, or something else than the messages.
    """
    total = per_partition * partitions
    with stack.database(folder, broker) as database:
        if prepare:
            prepare(database)
        database.store.command(f"SYSTEM STOP MERGES {database.store.database}.{dataset.table}")
        task = Task(dataset, block, broker, database, folder)
        task.progress_path.unlink(missing_ok=True)
        progress: _Progress = RowsOnDisk(database.store, dataset.table)
        if not contender.stores:
            progress = _ToldProgress(task.progress_path)
        began_s = time.monotonic()
        processes = contender.start(task)
        try:
            samples = _watch(progress, processes, database, total, cpu_seconds_each, began_s)
        finally:
            for process in processes:
                process.end()
        complete = samples[-1].messages == total
        if complete and contender.stores and not (contender.is_floor or prepare):
            _verify(database, dataset, total)
    # What is under way at the end must be as much as at the beginning: what was read before the
    # first block was stored would else be free.
    under_way = partitions * (block or DEFAULT_BLOCK)
    first = samples[0]
    last = [each for each in samples if each.messages <= total - under_way or each is first][-1]
    if first is last:
        raise RuntimeError(f"{contender.name}: too few messages for blocks of {block}")
    return _measurement(contender, dataset, block, first, last, first.at_s - began_s, complete)


def measure_joined(
    contender: Contender,
    dataset: Dataset,
    broker: str,
    messages: Sequence[data.Message],
    partitions: int,
    folder: Path,
) -> Measurement:
    """Run workers that have joined their group before the messages come.

    On a full topic the first worker would take everything before the others are there.

    Raises:
        RuntimeError: Not everything was stored in time.
    """
    per_partition = len(messages) // partitions
    with stack.database(folder, broker) as database:
        progress = RowsOnDisk(database.store, dataset.table)
        task = Task(dataset, 0, broker, database, folder)
        processes = contender.start(task)
        try:
            time.sleep(JOIN_S)
            pids = [pid for process in processes for pid in with_children(process.pid)]
            first = _sample(0, pids, database)
            data.publish(broker, dataset, messages, per_partition, partitions)
            samples = _watch(progress, processes, database, len(messages), 1e9, first.at_s)
        finally:
            for process in processes:
                process.end()
    complete = samples[-1].messages == len(messages)
    return _measurement(contender, dataset, 0, first, samples[-1], 0.0, complete)


def _measurement(
    contender: Contender,
    dataset: Dataset,
    block: int,
    first: _Sample,
    last: _Sample,
    first_block_s: float,
    complete: bool,
) -> Measurement:
    cpu = last.cpu - first.cpu
    return Measurement(
        contender=contender.name,
        dataset=dataset.name,
        block=block,
        messages=last.messages - first.messages,
        wall_s=last.at_s - first.at_s,
        worker_cpu_s=cpu.worker_s,
        database_cpu_s=cpu.database_s,
        complete=complete,
        first_block_s=first_block_s,
    )


def _sample(messages: int, pids: Sequence[int], database: stack.Database) -> _Sample:
    cpu = CpuTimes(sum(map(cpu_seconds, pids)), cpu_seconds(database.process.pid))
    return _Sample(time.monotonic(), messages, cpu)


def _watch(
    progress: _Progress,
    processes: list[stack.Process],
    database: stack.Database,
    total: int,
    cpu_seconds_each: float,
    began_s: float,
) -> Sequence[_Sample]:
    samples: list[_Sample] = []
    pids: list[int] = []
    while True:
        now_s, messages = time.monotonic(), progress.count()
        if messages > (samples[-1].messages if samples else 0):
            if not pids:
                pids = [pid for process in processes for pid in with_children(process.pid)]
            samples.append(_sample(messages, pids, database))
        if samples and (
            messages >= total
            or (samples[-1].cpu - samples[0].cpu).total_s > cpu_seconds_each
            or now_s - samples[0].at_s > RUN_TIMEOUT_S
        ):
            return samples
        late = not samples and now_s - began_s > START_TIMEOUT_S
        if late or not all(process.lives for process in processes):
            said = [process.last_lines() for process in processes]
            raise RuntimeError(f"nothing was stored: {' '.join(said)}")
        time.sleep(SAMPLE_EVERY_S)


class _ToldProgress:
    """The progress that a contender writes to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def count(self) -> int:
        try:
            return int(self._path.read_text() or 0)
        except (OSError, ValueError):
            return 0


def _verify(database: stack.Database, dataset: Dataset, total: int) -> None:
    ((rows, different),) = database.store.rows(
        f"SELECT count(), uniqExact(kafka_partition, kafka_offset) FROM {dataset.table}"
    )
    if (rows, different) != (total, total):
        raise RuntimeError(f"stored {rows} rows of {different} messages instead of {total}")
