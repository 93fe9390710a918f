"""The ledger test in short, and the proof that it finds what is wrong."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from cases import NIGHTLY, others_nightly
from chaos.__main__ import run
from chaos.rig import Rig
from chaos.schedule import Setup, draw_faults, draw_setup
from chaos.verdict import Verdict, judge
from radar.consumer.progress import Order, pending, read_orders, read_progress, write_order
from radar.datasets import TRADES
from radar.kafka import Cluster
from radar.store.client import Store
from support import eventually

SEED = 7
COUNT = "SELECT count() FROM trades_master"
DEATHS = 6
DEATHS_WITHIN_S = 240


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


def delete_and_restore(rig: Rig) -> None:
    store = Store(rig.settings())
    cluster = Cluster(rig.settings())
    try:
        store.command(f"ALTER TABLE {TRADES.table} DELETE WHERE 1 SETTINGS mutations_sync = 2")
        topic_id = cluster.topic_id(TRADES.topic)
        for lag in cluster.lag(TRADES.topic, TRADES.group):
            if lag.start < lag.end:
                order = Order(lag.partition, lag.start, lag.end - 1, 0)
                write_order(store, TRADES.topic, topic_id, order)

        def taken() -> bool:
            known = read_progress(store, TRADES.topic, topic_id).progress
            orders = read_orders(store, TRADES.topic, topic_id)
            return not any(
                pending(orders, number, each.orders_to_us) for number, each in known.items()
            )

        eventually(taken, "the workers go back", 60, 0.2)
    finally:
        store.close()


@pytest.mark.slow("src/radar/consumer/accounting.py", "src/radar/consumer/offsets.py")
def test_ledger_after_all_rows_were_deleted_and_restored_three_times_finds_nothing(
    tmp_path: Path,
) -> None:
    async def deleted() -> Verdict:
        async with Rig(SMALL, tmp_path, None, "none") as rig:
            await asyncio.to_thread(
                eventually, lambda: rig.client().command(COUNT) > 300, "rows", 60, 0.5
            )
            for _ in range(3):
                await asyncio.to_thread(delete_and_restore, rig)
            await rig.settle()
            return await asyncio.to_thread(judge, rig)

    verdict = asyncio.run(deleted())
    assert verdict.exact, verdict
    assert verdict.trades_stored > 300


def run_with_broken(rule: str, directory: Path) -> Verdict:
    async def broken() -> Verdict:
        async with Rig(SMALL, directory, None, rule) as rig:
            workers = [rig.parts[name] for name in SMALL.names("trades-worker")]
            rig.crash_file.touch()
            async with asyncio.timeout(DEATHS_WITHIN_S):
                while sum(worker.deaths.total() for worker in workers) < DEATHS:
                    await asyncio.sleep(0.1)
            rig.crash_file.unlink()
            await rig.settle()
            return await asyncio.to_thread(judge, rig)

    return asyncio.run(broken())


@pytest.mark.parametrize(
    ("rule", "finding"),
    others_nightly(
        [
            ("token alone", "physical_duplicates"),
            ("automatic commits", "messages_lost"),
            ("commit before insert", "messages_lost"),
            ("id without occurrence number", "trades_lost"),
        ]
    ),
)
def test_ledger_with_a_broken_rule_finds_out(rule: str, finding: str, tmp_path: Path) -> None:
    verdict = run_with_broken(rule, tmp_path)
    assert getattr(verdict, finding) > 0, verdict
    assert not verdict.exact


@NIGHTLY
def test_ledger_with_the_same_deaths_and_no_broken_rule_finds_nothing(tmp_path: Path) -> None:
    verdict = run_with_broken("none", tmp_path)
    assert verdict.exact, verdict
    assert verdict.trades_sent > 1000
