"""A producer process whose clock is set back: its records keep their order, in Kafka and stored."""

import asyncio
import itertools
import sys
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

import shifted_clocks
from cases import others_nightly
from market_data import insert
from producing import Topic
from radar.client import Radar
from radar.datasets import BOOK_UPDATES, DEPTH, FRAMES, GAPS, TRADES, Dataset
from radar.reparse.run import Period, reparse
from radar.settings import Settings
from radar.store.client import Store
from radar_simulator import SimulatorOptions, simulator
from support import Process

BACK_US = 3_000_000
# Set back, a little further, and forward to the right time.
STEPS_S = (-3.0, -3.25, 0.0)
# Longer than the step back, so that the clock shows times again that it has shown already.
ROUND_US = 4_000_000
# Trades of the socket overtake those that REST has just answered, while these are parsed.
OVERTAKEN_US = 500_000
CLOCKED = str(Path(shifted_clocks.__file__))

Messages = list[dict[str, Any]]


async def record(dataset: Dataset, settings: Settings, path: Path) -> dict[str, Messages]:
    """Record an exchange while the clock of the producer steps; return the messages by dataset."""
    clocks = path / "clocks"
    shifted_clocks.write(clocks, 0, 0)
    datasets = [dataset, BOOK_UPDATES] if dataset is DEPTH else [dataset]
    datasets += [FRAMES, GAPS]
    simulated = SimulatorOptions(exchange="kraken", symbols=3, trades_per_s=60, depth_per_s=60)
    async with simulator(simulated) as sim:
        topics = [Topic(settings, each) for each in datasets]
        producer = Process(
            [sys.executable, CLOCKED, str(clocks), "produce", dataset.name],
            path / "log",
            EXCHANGES="kraken",
            KRAKEN_WS_URL=sim.rest_url.replace("http", "ws"),
            KRAKEN_REST_URL=sim.rest_url,
            BOOK_UPDATES="1",
            RECORD_FRAMES="all",
            DEPTH_INTERVAL_SECONDS="0",
            METRICS_PORT="0",
        )
        try:
            for step_s in (0.0, *STEPS_S):
                shifted_clocks.write(clocks, step_s, 0)
                for topic in topics[:-1]:
                    await topic.until(lasted(topic, len(topic.messages)), f"a round at {step_s} s")
            await topics[-1].until(lambda: len(topics[-1].messages) > 0, "a gap")
        finally:
            await asyncio.to_thread(producer.end)
        for topic in topics:
            topic.read()
            topic.close()
    return {each.name: topic.messages for each, topic in zip(datasets, topics, strict=True)}


def lasted(topic: Topic, count: int) -> Callable[[], bool]:
    """Return whether the messages after the first ones span a round."""

    def has_lasted() -> bool:
        times = [monotonic_us(each) for each in topic.messages[count:]]
        return bool(times) and max(times) - min(times) > ROUND_US

    return has_lasted


def by_book(messages: Messages) -> list[Messages]:
    """Return the messages of each market and side, in the order of Kafka: as they arrived."""
    found: dict[tuple[str, str], Messages] = defaultdict(list)
    for each in messages:
        found[each["symbol"], each.get("side", "") if "prices" in each else ""].append(each)
    return list(found.values())


def monotonic_us(message: dict[str, Any]) -> int:
    return int(message["received_at_us"]) + int(message["set_back_us"])


def assert_ordered(messages: Messages) -> None:
    """Check that receipts went back, and that the clock that never does orders the records."""
    received = [each["received_at_us"] for each in messages]
    assert max(one - other for one, other in itertools.pairwise(received)) > BACK_US / 2
    order = [monotonic_us(each) for each in messages]
    assert all(one - other < OVERTAKEN_US for one, other in itertools.pairwise(order))
    # The clock shows the right time again at the end.
    assert messages[0]["set_back_us"] == 0
    assert max(each["set_back_us"] for each in messages) > BACK_US / 2
    assert messages[-1]["set_back_us"] < BACK_US / 2


@pytest.mark.parametrize(
    "dataset", others_nightly([TRADES, DEPTH]), ids=lambda dataset: dataset.name
)
def test_stepped_clock_cannot_reorder_the_records_of_a_producer(
    dataset: Dataset, kafka_settings: Settings, store: Store, tmp_path: Path
) -> None:
    found = asyncio.run(record(dataset, kafka_settings, tmp_path))
    gaps, frames = found.pop(GAPS.name), found.pop(FRAMES.name)
    assert "clock" in {each["cause"] for each in gaps}
    for name, messages in found.items():
        for one in by_book(messages):
            assert_ordered(one)
        chosen = {each.name: each for each in (dataset, BOOK_UPDATES)}[name]
        insert(store, chosen, [msgspec.json.encode(each) for each in messages[::-1]], name)
        for one in by_book(messages):
            condition = f"symbol = '{one[0]['symbol']}'"
            if chosen is DEPTH:
                condition += f" AND side = '{one[0]['side']}'"
            rows = store.rows(
                "SELECT toUnixTimestamp64Micro(received_at), toUnixTimestamp64Micro(monotonic_at)"
                f" FROM {chosen.view} WHERE {condition} ORDER BY monotonic_at"
            )
            order = [(each["received_at_us"], monotonic_us(each)) for each in one]
            # Trades of one frame have one time.
            assert [tuple(row) for row in rows] == sorted(order, key=lambda each: each[1])
    insert(store, FRAMES, [msgspec.json.encode(each) for each in frames], FRAMES.name)
    assert_reparsed(store, dataset)
    if dataset is DEPTH:
        assert_books(store, found[DEPTH.name], found[BOOK_UPDATES.name])


def assert_reparsed(store: Store, dataset: Dataset) -> None:
    """Check that records which are derived from frames again have the same order."""
    keys = "trade_id" if dataset is TRADES else "symbol, side"
    sql = f"SELECT {keys}, received_at, set_back_us FROM {dataset.view} ORDER BY ALL"
    stored = set(store.rows(sql))
    period = Period(1_700_000_000_000_000, 4_000_000_000_000_000)
    for report in reparse(store, period):
        assert report.changes == {}
    # Half of them are lost.
    store.command(
        f"ALTER TABLE {dataset.table} DELETE WHERE kafka_offset % 2 = 0 SETTINGS mutations_sync = 2"
    )
    left = set(store.rows(sql))
    reparse(store, period)
    again = set(store.rows(sql))
    assert left < again <= stored
    assert any(row[-1] > BACK_US / 2 for row in again - left)


def newest(messages: Messages, at_us: int) -> dict[str, Any]:
    """Return the record that arrived last of those that the clock dated until a time."""
    return max((each for each in messages if each["received_at_us"] <= at_us), key=monotonic_us)


def assert_books(store: Store, snapshots: Messages, updates: Messages) -> None:
    """Check books at times that the clock has shown twice: they are those of the second round."""
    reordered = rebuilt = 0
    for own in by_book(snapshots):
        symbol, side = own[0]["symbol"], own[0]["side"]
        changes = [each for each in updates if each["symbol"] == symbol]
        first_us = max(each["received_at_us"] for each in own if not each["set_back_us"])
        for at_us in [
            each["received_at_us"] + 1_000
            for each in own
            if each["set_back_us"] > BACK_US / 2 and each["received_at_us"] < first_us
        ][::10]:
            last = newest(own, at_us)
            by_time = max(
                (each for each in own if each["received_at_us"] <= at_us),
                key=lambda each: int(each["received_at_us"]),
            )
            reordered += by_time is not last
            at = f"fromUnixTimestamp64Micro({at_us})"
            rows = store.rows(
                f"SELECT {side}_prices, {side}_quantities, best_{side}"
                f" FROM order_book_at(symbol = '{symbol}', at = {at})"
            )
            assert rows == [(last["prices"], last["quantities"], last["prices"][0])]
            (market,) = store.rows(
                f"SELECT best_{side} FROM markets_at(at = {at}) WHERE symbol = '{symbol}'"
            )
            assert market == (last["prices"][0],)
            update, moment = newest(changes, at_us), datetime.fromtimestamp(at_us / 1e6, UTC)
            book = Radar().rebuilt_book(f"kraken:{symbol}", moment).to_pylist()
            assert {each["received_at"] for each in book} == {
                datetime.fromtimestamp(update["received_at_us"] / 1e6, UTC)
            }
            if update["received_at_us"] == last["received_at_us"]:
                levels = [each for each in book if each["side"] == side]
                count = len(last["prices"])
                assert [each["price"] for each in levels][:count] == last["prices"]
                assert [each["quantity"] for each in levels][:count] == last["quantities"]
                rebuilt += 1
    # Otherwise nothing was tested.
    assert reordered > 0
    assert rebuilt > 0
