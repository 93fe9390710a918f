"""Radar with one rule of delivery broken: the ledger test must find out.

`python -m chaos.mutants RULE consume|produce DATASET` starts a broken `radar consume DATASET`.
Workers also kill themselves now and then where the broken rule hurts, for as long as the rig keeps
a file. RULE `none` breaks nothing: with the same deaths nothing is lost or doubled.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import confluent_kafka

import radar.kafka.group_reader
from chaos.rig import CRASH_WHILE
from radar import processes
from radar.consumer.partition import AssignedPartition, CrashPoint, Step
from radar.consumer.worker import Worker
from radar.datasets import DATASETS
from radar.producer import recorders, trade_ids
from radar.settings import load
from radar.telemetry import logs

DEATHS_PER_PASSAGE = 0.25


class TokenAlone(Worker):
    """Inserts under a name that follows from the block, but plans nothing."""

    def _finish_block(self, state: AssignedPartition) -> None:
        if state.block is not None and state.step is Step.DEAD_LETTERS:
            self._dead_letters.send(state.partition, state.block.bad_messages)
            state.step, state.planned_at_s = Step.INSERT, time.monotonic()
        super()._finish_block(state)


class CommitBeforeInsert(Worker):
    """Commits the end of a block, then inserts it."""

    def _finish_block(self, state: AssignedPartition) -> None:
        block = state.block
        if block is not None and state.step is Step.DEAD_LETTERS:
            self._reader.commit(state.partition, block.plan.hi + 1)
            state.step, state.planned_at_s = Step.INSERT, time.monotonic()
        super()._finish_block(state)


class AutomaticCommits(Worker):
    """Lets the library commit what was polled."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        library_consumer = confluent_kafka.Consumer

        def consumer(config: dict[str, Any]) -> Any:
            automatic = {"enable.auto.commit": True, "enable.auto.offset.store": True}
            return library_consumer(config | automatic | {"auto.commit.interval.ms": 50})

        setattr(radar.kafka.group_reader, "Consumer", consumer)  # noqa: B010 - not its type
        super().__init__(*arguments, **options)
        self._reader.commit = lambda *_: None  # type: ignore[method-assign]


MUTANTS: dict[str, tuple[type[Worker], CrashPoint]] = {
    "none": (Worker, CrashPoint.AFTER_INSERT),
    "automatic commits": (AutomaticCommits, CrashPoint.DURING_INSERT),
    "token alone": (TokenAlone, CrashPoint.AFTER_INSERT),
    "commit before insert": (CommitBeforeInsert, CrashPoint.DURING_INSERT),
    "id without occurrence number": (Worker, CrashPoint.AFTER_INSERT),
}


def dies_at(place: CrashPoint) -> Callable[[CrashPoint], None]:
    """Return a hook that kills this process at a crash point, now and then."""
    told = Path(os.environ[CRASH_WHILE])
    chance = random.Random()

    def reached(point: CrashPoint) -> None:
        if point is place and chance.random() < DEATHS_PER_PASSAGE and told.exists():
            os.kill(os.getpid(), signal.SIGKILL)

    return reached


def main() -> None:
    """Run the wrong process until SIGTERM."""
    rule, role, dataset = sys.argv[1:]
    make_worker, place = MUTANTS[rule]
    settings = load()
    logs.configure(settings, f"{role}-{dataset}")
    if role == "produce":
        if rule == "id without occurrence number":
            setattr(recorders, "trade_id", lambda content, _: trade_ids.trade_id(content, 1))  # noqa: B010
        processes.produce(settings, DATASETS[dataset])
    else:
        reached = dies_at(place)
        processes.consume(
            settings,
            [DATASETS[dataset]],
            lambda *arguments, **options: make_worker(*arguments, **options, reached=reached),
        )


if __name__ == "__main__":
    main()
