"""Faults that make no noise: nothing breaks, but something is missing or is not what it seems.

They happen one after the other, so that each is reported, repaired or recorded on its own. Pure.
"""

import random
from dataclasses import replace

from chaos.schedule import Danger, Fault, Setup, draw_setup

# Before the first fault and after each one: time for the repair to begin.
PAUSE_S = 6.0
PRODUCERS = "producers"


def draw_silent_setup(seed: int, *, kafka_nodes: int | None, scale: float) -> Setup:
    """Draw a run of silent faults: few trades, so that each one of them can be looked for."""
    chance = random.Random(f"silent setup {seed}")
    setup = draw_setup(seed, kafka_nodes=kafka_nodes, scale=scale)
    return replace(
        setup,
        producers=1,
        symbols=chance.choice((8, 12, 20)),
        trades_per_s=round(chance.uniform(40, 120) * scale, 1),
        depth_per_s=round(chance.uniform(20, 40) * scale, 1),
        depth_interval_s=1.0,
        batch_size=chance.choice((50, 500)),
    )


def silent_dangers(setup: Setup) -> list[Danger]:
    """Return the silent faults that can happen in a run."""
    found = [
        Danger("market falls silent", ("exchange",), 1, 20, 30),
        Danger("answers never end", ("exchange",), 1, 4, 8),
        Danger("clock steps", (PRODUCERS,), 1, 4, 8, ("120", "-120", "4000")),
        Danger("machine is suspended", (PRODUCERS,), 1, 4, 10, ("600", "30")),
        Danger("offsets are deleted", ("trades-workers",), 1, 3, 6),
        Danger("database is restored", ("clickhouse",), 1, 3, 6),
        Danger("view fails", ("clickhouse",), 1, 3, 6),
        Danger("blocks are too large", ("clickhouse link",), 1, 4, 8, ("1500", "4000")),
    ]
    if setup.kafka_nodes:
        found += [
            Danger("topic is recreated", ("kafka",), 1, 2, 4, ("read", "unread")),
            Danger("messages are refused", ("kafka",), 1, 4, 8),
        ]
    return found


def draw_silent_faults(setup: Setup) -> list[Fault]:
    """Draw the faults of a run: every one that fits, in an order by chance, then again."""
    chance = random.Random(f"silent faults {setup.seed}")
    faults: list[Fault] = []
    dangers: list[Danger] = []
    at_s = PAUSE_S
    for _ in range(setup.faults):
        if not dangers:
            dangers = silent_dangers(setup)
            chance.shuffle(dangers)
        danger = dangers.pop()
        seconds = chance.uniform(danger.shortest_s, danger.longest_s)
        detail = chance.choice(danger.details)
        faults.append(Fault(at_s, danger.name, danger.targets[0], seconds, detail))
        at_s += seconds + PAUSE_S
    return faults
