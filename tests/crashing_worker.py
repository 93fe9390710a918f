"""A worker that kills itself: `python tests/crashing_worker.py DATASET POINT PROBABILITY SEED`.

It starts as `radar consume DATASET` does and sends itself SIGKILL at a crash point with the given
probability; during an insert, some milliseconds after the request was sent. With `--again` every
death is followed by another life, forked from a parent that has imported everything, until the
parent gets SIGTERM; it writes one line for each death.
"""

import argparse
import contextlib
import functools
import os
import random
import signal
import sys
import threading

from radar import processes
from radar.consumer.partition import CrashPoint
from radar.consumer.worker import Worker
from radar.datasets import DATASETS
from radar.process import SUPERVISOR_VARIABLE, follow_supervisor
from radar.settings import load
from radar.telemetry import logs

LONGEST_INSERT_S = 0.01


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crash(point: CrashPoint, probability: float, chance: random.Random, at: CrashPoint) -> None:
    """Kill this process if a worker that reached `at` shall die there."""
    if at is not point or chance.random() >= probability:
        return
    if point is CrashPoint.DURING_INSERT:
        threading.Timer(chance.uniform(0, LONGEST_INSERT_S), die).start()
    else:
        die()


def live(dataset: str, point: CrashPoint, probability: float, seed: str) -> None:
    settings = load()
    logs.configure(settings, f"consume-{dataset}")
    reached = functools.partial(crash, point, probability, random.Random(seed))
    processes.consume(settings, [DATASETS[dataset]], functools.partial(Worker, reached=reached))


def live_again_and_again(dataset: str, point: CrashPoint, probability: float, seed: str) -> int:
    """Live until told to stop, or until a life ends otherwise than by its own hand."""
    stopping, number, child = threading.Event(), 0, 0

    def stop(_number: int, _frame: object) -> None:
        stopping.set()
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    os.environ[SUPERVISOR_VARIABLE] = str(os.getpid())
    while True:
        # A stop waits until there is a child that it can be passed to.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            follow_supervisor(signal.SIGKILL)
            live(dataset, point, probability, f"{seed}:{number}")
            return 0
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code != -signal.SIGKILL or stopping.is_set():
            return code
        number += 1
        sys.stdout.write(f"died at {point.name}\n")
        sys.stdout.flush()


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("dataset", choices=DATASETS)
    arguments.add_argument("point", choices=[point.name for point in CrashPoint])
    arguments.add_argument("probability", type=float)
    arguments.add_argument("seed")
    arguments.add_argument("--again", action="store_true")
    given = arguments.parse_args()
    run = live_again_and_again if given.again else live
    sys.exit(run(given.dataset, CrashPoint[given.point], given.probability, given.seed))


if __name__ == "__main__":
    main()
