"""All contenders: how each is started on a topic that is full of messages."""

import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import stack
from benchmarks.contenders import kafka_engine
from benchmarks.contenders.kafka_engine import Tuning
from benchmarks.data import PARTITIONS, json_topic
from radar.datasets import Dataset

DEFAULT = 0  # whatever radar does by default
QUIX_PYTHON = stack.ROOT / ".venv-quix" / "bin" / "python"


@dataclass(frozen=True)
class Task:
    """What a contender is to do."""

    dataset: Dataset
    block: int
    broker: str
    database: stack.Database
    folder: Path

    @property
    def progress_path(self) -> Path:
        """Where a contender that stores nothing tells how far it is."""
        return self.folder / "progress"


Start = Callable[[Task], list[stack.Process]]


@dataclass(frozen=True)
class Contender:
    """One way to do the job; `start` returns its processes, none if it runs in the database."""

    name: str
    label: str
    start: Start
    stores: bool = True
    is_floor: bool = False
    """It stores other rows than those of the messages."""
    block: int | None = None
    """Its own block size, whatever the contest's."""


def radar_workers(
    count: int, environment: dict[str, str] | None = None, *, at_end: bool = False
) -> Start:
    """Return what starts radar's workers, with the options of `environment` or fixed blocks.

    Args:
        count: How many.
        environment: Options; None fixes the size of a block.
        at_end: Begin at the end of the topic, not at its start.
    """

    def start(task: Task) -> list[stack.Process]:
        stack.rewind(task.broker, task.dataset, to_end=at_end)
        block = {"BATCH_SIZE": str(task.block), "BATCH_MAX_SIZE": str(task.block)}
        command = [sys.executable, "-m", "radar", "consume", task.dataset.name]
        variables = (
            stack.environment(task.database.settings)
            | (block if environment is None else environment)
            | {"BATCH_TIMEOUT_SECONDS": "1", "LOG_LEVEL": "WARNING"}
        )
        return [
            stack.Process(f"radar-{number}", command, task.folder, variables)
            for number in range(count)
        ]

    return start


def _kafka_engine(variant: str) -> Start:
    def start(task: Task) -> list[stack.Process]:
        tuning = Tuning(block=task.block, consumers=PARTITIONS)
        store = task.database.store
        kafka_engine.create(store, task.dataset, variant, tuning, task.broker, _new_group(variant))
        return []

    return start


def _program(
    module: str, python: Path = Path(sys.executable), topic: Callable[[Dataset], str] = json_topic
) -> Start:
    def start(task: Task) -> list[stack.Process]:
        settings = task.database.settings
        command = [
            *(str(python), "-m", f"benchmarks.contenders.{module}", task.dataset.name),
            *("--broker", task.broker, "--topic", topic(task.dataset)),
            *("--group", _new_group(module), "--database", settings.clickhouse_db),
            *("--clickhouse-port", str(settings.clickhouse_port)),
            *("--block", str(task.block), "--progress", str(task.progress_path)),
        ]
        return [stack.Process(module, command, task.folder, {"PYTHONPATH": stack.PYTHONPATH})]

    return start


def _own(module: str) -> Start:
    """Return what starts a program that reads radar's own topic."""
    return _program(module, topic=lambda dataset: dataset.topic)


def _new_group(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("radar", "radar", radar_workers(1)),
        Contender("radar-default", "radar, default sizes", radar_workers(1, {}), block=DEFAULT),
        Contender("engine-json", "Kafka engine, JSONEachRow", _kafka_engine("json")),
        Contender("engine-tuple", "Kafka engine, raw + JSONExtract", _kafka_engine("tuple")),
        Contender("engine-split", "Kafka engine, raw + split", _kafka_engine("split")),
        Contender("engine-packed", "Kafka engine, packed + reinterpret", _kafka_engine("packed")),
        Contender("handwritten", "hand-written consumer", _program("handwritten"), block=500),
        Contender("quix", "Quix Streams", _program("quix", QUIX_PYTHON)),
        Contender("faststream", "FastStream, batch", _program("faststream")),
        Contender("consume", "only consume", _own("consume"), stores=False),
        Contender("floor", "consume, and insert a ready block", _own("floor"), is_floor=True),
    )
}
