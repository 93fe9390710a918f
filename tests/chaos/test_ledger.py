"""The ledger test in short, and the proof that it finds what is wrong."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from chaos.__main__ import run
from chaos.rig import Rig
from chaos.schedule import Setup, draw_faults, draw_setup
from chaos.verdict import Verdict, judge

SEED = 7
DEATHS = 6


def test_faults_are_drawn_again_for_the_same_seed() -> None:
    setup = replace(draw_setup(3, kafka_nodes=3, scale=1), duration_s=100, faults=200)
    faults = draw_faults(setup, small_disk=True)
    assert faults == draw_faults(setup, small_disk=True)
    assert len({fault.name for fault in faults}) > 25
    for target in {fault.target for fault in faults}:
        own = [fault for fault in faults if fault.target == target]
        for first, second in pairwise(own):
            assert first.at_s + first.seconds < second.at_s


def test_run_of_faults_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    setup = draw_setup(SEED, kafka_nodes=0, scale=0.5)
    outcome = asyncio.run(run(replace(setup, duration_s=25, faults=40), tmp_path, None))
    assert outcome.passed, (outcome.verdict, outcome.problems, outcome.deaths)
    assert outcome.faults.total() == 40
    assert outcome.verdict.trades_sent > 3000


SMALL = Setup(
    seed=SEED,
    kafka_nodes=0,
    group_protocol="classic",
    static_members=True,
    producers=1,
    redundant_connections=1,
    workers=2,
    partitions=3,
    symbols=20,
    trades_per_s=300,
    depth_per_s=20,
    depth_interval_s=1,
    batch_size=1000,
    batch_timeout_s=0.3,
    duration_s=0,
    faults=0,
)


def run_with_broken(rule: str, directory: Path) -> Verdict:
    async def broken() -> Verdict:
        async with Rig(SMALL, directory, None, rule) as rig:
            workers = [rig.parts[name] for name in SMALL.names("trades-worker")]
            rig.crash_file.touch()
            async with asyncio.timeout(90):
                while sum(worker.deaths.total() for worker in workers) < DEATHS:
                    await asyncio.sleep(0.1)
            rig.crash_file.unlink()
            await rig.settle()
            return await asyncio.to_thread(judge, rig)

    return asyncio.run(broken())


@pytest.mark.parametrize(
    ("rule", "finding"),
    [
        ("automatic commits", "messages_lost"),
        ("token alone", "physical_duplicates"),
        ("commit before insert", "messages_lost"),
        ("id without occurrence number", "trades_lost"),
    ],
)
def test_ledger_with_a_broken_rule_finds_out(rule: str, finding: str, tmp_path: Path) -> None:
    verdict = run_with_broken(rule, tmp_path)
    assert getattr(verdict, finding) > 0, verdict
    assert not verdict.exact


def test_ledger_with_the_same_deaths_and_no_broken_rule_finds_nothing(tmp_path: Path) -> None:
    verdict = run_with_broken("none", tmp_path)
    assert verdict.exact, verdict
    assert verdict.trades_sent > 1000
