"""Growth from 3 to 12 partitions and workers while data flows and processes are killed."""

import asyncio
import json
import zlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import ElectionType
from confluent_kafka.admin import AdminClient

from chaos.rig import Rig
from chaos.schedule import Fault, Setup
from chaos.verdict import judge
from radar.datasets import DEPTH, TRADES
from radar_simulator import read_ledger
from support import run_command

EXCHANGE = "binance"  # it numbers the trades of a market, so that their order can be compared
PARTITIONS, GROWN = 3, 12
USED = (TRADES.topic, DEPTH.topic, "__consumer_offsets")
# Of one condition, on a busy machine.
WITHIN_S = 400


def setup_of(group_protocol: str) -> Setup:
    return Setup(
        seed=22,
        exchange=EXCHANGE,
        kafka_nodes=3,
        group_protocol=group_protocol,
        static_members=True,
        producers=1,
        redundant_connections=1,
        workers=PARTITIONS,
        depth_workers=2,
        partitions=PARTITIONS,
        symbols=40,
        trades_per_s=60,
        depth_per_s=10,
        depth_interval_s=1,
        batch_size=200,
        batch_timeout_s=0.3,
        duration_s=0,
        faults=0,
        # The exchange falls silent at the end; new connections would bring new snapshots then.
        silence_timeout_s=300,
    )


class Pipeline:
    """A pipeline that runs, and its state; each question blocks."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self._admin = AdminClient({"bootstrap.servers": rig.settings().kafka_broker})

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition; a store that does not answer meets none."""

        def holds() -> None:
            assert condition(), what

        await self.rig.persist(holds, WITHIN_S)

    async def kill_worker(self, name: str) -> None:
        await self.rig.harm(Fault(0, "kill worker", name, 0.5, ""))

    async def kill_broker(self, name: str) -> None:
        """Kill a broker, and wait until others lead its partitions.

        One at a time: two of three could not acknowledge a message.
        """
        await self.until(lambda: self.in_sync() and self.leads(name), f"{name} leads a partition")
        await self.rig.harm(Fault(0, "kill kafka", name, 0.5, ""))
        await self.until(lambda: name not in self.leaders().values(), f"{name} leads nothing")

    def rows(self) -> dict[int, int]:
        """Return the stored rows by partition."""
        return dict(
            self._ask(f"SELECT kafka_partition, count() FROM {TRADES.table} GROUP BY 1 ORDER BY 1")
        )

    def owners(self) -> dict[int, str]:
        """Return the worker that has recorded each partition's progress last."""
        return dict(
            self._ask(
                "SELECT partition, recorded_by FROM delivery_progress FINAL"
                f" WHERE topic = '{TRADES.topic}'"
            )
        )

    def numbers(self) -> dict[str, list[int]]:
        """Return each market's trades by their numbers, in the order that readers are to use."""
        found = self._ask(
            "SELECT symbol, groupArray(native_sequence) FROM (SELECT symbol, native_sequence"
            " FROM trades ORDER BY symbol, event_time_us, native_sequence) GROUP BY symbol"
        )
        return dict(found)

    def in_sync(self) -> bool:
        """Return whether each partition that is used has its three replicas in sync."""
        found = self._admin.list_topics(timeout=10)
        used = [found.topics[name].partitions.values() for name in USED]
        return len(found.brokers) == 3 and all(
            len(each.isrs) == 3 for some in used for each in some
        )

    def leaders(self) -> dict[int, str]:
        """Return the node that leads each partition of the trades."""
        found = self._admin.list_topics(TRADES.topic, timeout=10).topics[TRADES.topic]
        return {number: f"kafka-{each.leader}" for number, each in found.partitions.items()}

    def leads(self, name: str) -> bool:
        """Return whether a node leads a partition of the trades; if not, let it lead its own."""
        if name in self.leaders().values():
            return True
        self._admin.elect_leaders(ElectionType.PREFERRED).result(20)
        return False

    def _ask(self, query: str) -> list[Any]:
        client = self.rig.client()
        try:
            return list(client.query(query).result_rows)
        finally:
            client.close()


async def grow_under_harm(pipeline: Pipeline) -> None:
    """Grow while workers and brokers are killed; return once all that is new has been used."""
    rig = pipeline.rig
    await pipeline.until(lambda: len(pipeline.rows()) == PARTITIONS, "each partition has rows")
    said, *_ = await asyncio.gather(
        rig.grow(partitions=GROWN, workers=GROWN), pipeline.kill_worker("trades-worker-1")
    )
    assert f"{TRADES.topic}: {GROWN} partitions," in said
    first, *others = rig.setup.names("kafka")
    await asyncio.gather(pipeline.kill_broker(first), pipeline.kill_worker("trades-worker-2"))
    await pipeline.until(
        lambda: len(set(pipeline.owners().values())) == GROWN, "each worker has a partition"
    )
    await pipeline.until(lambda: len(pipeline.rows()) == GROWN, "each partition has rows")
    # The owners of an old and of a new partition.
    for node, partition in zip(others, (0, GROWN - 1), strict=True):
        owner = (await rig.persist(pipeline.owners))[partition]
        await asyncio.gather(pipeline.kill_broker(node), pipeline.kill_worker(owner))
    await pipeline.until(pipeline.in_sync, "all replicas are in sync")
    before = await rig.persist(pipeline.rows)
    await pipeline.until(
        lambda: all(count > before[number] for number, count in pipeline.rows().items()),
        "each partition goes on",
    )


def assert_markets_moved_to_the_documented_partition(rig: Rig) -> None:
    """The hash of the key and the number of partitions decide on it; both are documented."""
    used = defaultdict(set)
    for (partition, _), message in rig.log(TRADES).items():
        used[message.key()].add(partition)
    for key, partitions in used.items():
        number = zlib.crc32(key)
        assert partitions <= {number % PARTITIONS, number % GROWN}, key
        assert number % GROWN in partitions, f"{key!r} did not move"
    assert any(len(partitions) == 2 for partitions in used.values())


def assert_readers_see_the_order_of_the_exchange(pipeline: Pipeline) -> None:
    """The verdict has shown that the trades are complete; the ledger is in the order of events."""
    happened = defaultdict(list)
    for trade in read_ledger(pipeline.rig.ledger_path):
        happened[trade.symbol].append(int(trade.native_id))
    stored = pipeline.numbers()
    assert len(stored) > GROWN
    for symbol, numbers in stored.items():
        known = set(numbers)
        assert numbers == [each for each in happened[symbol] if each in known], symbol


@pytest.mark.group_protocols
@pytest.mark.slow("src/radar/kafka/group_reader.py", "src/radar/kafka/unowned_partitions.py")
@pytest.mark.timeout(1500)
def test_growth_under_harm_loses_nothing_doubles_nothing_and_keeps_the_order_of_readers(
    group_protocol: str, apache_home: Path, tmp_path: Path
) -> None:
    async def run() -> None:
        async with Rig(setup_of(group_protocol), tmp_path, apache_home, forks=True) as rig:
            pipeline = Pipeline(rig)
            await grow_under_harm(pipeline)
            assert await rig.settle() == []
            verdict = await asyncio.to_thread(judge, rig)
            assert verdict.exact, verdict
            assert verdict.trades_sent > 1000, verdict
            assert rig.done == {"kill worker": 4, "kill kafka": 3}
            await asyncio.to_thread(check, pipeline)

    def check(pipeline: Pipeline) -> None:
        rig = pipeline.rig
        assert_markets_moved_to_the_documented_partition(rig)
        assert_readers_see_the_order_of_the_exchange(pipeline)
        lags = json.loads(
            run_command("lag", "--json", check=True, environment=rig.environment()).stdout
        )["partitions"]
        trades = {each["partition"]: each["lag"] for each in lags if each["topic"] == TRADES.topic}
        assert trades == dict.fromkeys(range(GROWN), 0)
        verified = run_command(
            "verify", "--ledger", str(rig.ledger_path), environment=rig.environment()
        )
        assert verified.returncode == 0, verified.stdout + verified.stderr

    asyncio.run(run())
