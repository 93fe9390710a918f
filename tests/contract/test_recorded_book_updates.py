"""Recorded updates of books: the book of any moment is rebuilt from them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from cases import exchange_cases
from market_data import insert
from producing import Topic, producing
from radar import exchanges
from radar.client import Radar
from radar.datasets import BOOK_UPDATES, DEPTH
from radar.errors import InvalidRequest
from radar.settings import Settings
from radar.store.client import Store
from radar_simulator import SimulatorOptions, simulator

# Those whose books are kept from updates.
MAINTAINED = ["binance", "kraken", "okx"]
FIRST = datetime(1970, 1, 1, tzinfo=UTC)


def at(message: dict[str, Any]) -> datetime:
    return FIRST + timedelta(microseconds=message["received_at_us"])


def encoded(messages: list[dict[str, Any]]) -> list[bytes]:
    return [msgspec.json.encode(each) for each in messages]


async def record(
    name: str, settings: Settings
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Record books while one of them loses an update; return all snapshots and updates."""
    simulated = SimulatorOptions(exchange=name, symbols=3, trades_per_s=0, depth_per_s=150)
    async with simulator(simulated) as sim:
        address = sim.rest_url
        own = settings.model_copy(
            update={
                "exchanges": (name,),
                f"{name}_ws_url": address.replace("http", "ws"),
                f"{name}_rest_url": address,
                "book_updates": True,
                "depth_interval_seconds": 0.0,
                "reconnect_max_seconds": 0.5,
            }
        ).of_exchange(name)
        depth, updates = Topic(own, DEPTH), Topic(own, BOOK_UPDATES)
        async with producing(own, DEPTH):
            await updates.until(lambda: len(updates.messages) > 200, "updates")
            symbol = updates.messages[-1]["symbol"]
            chains = {each["chain"] for each in updates.messages}

            def begins_again() -> bool:
                return any(
                    each["symbol"] == symbol and each["chain"] not in chains
                    for each in updates.messages
                )

            sim.fault("drop", kind="book", symbol=symbol, count=1)
            await updates.until(begins_again, "the next chain of the book")
            sim.fault("kick")
            seen = len(updates.messages)
            await updates.until(lambda: len(updates.messages) > seen + 200, "more updates")
        depth.read()
        updates.read()
        depth.close()
        updates.close()
    return depth.messages, updates.messages


@pytest.mark.parametrize("name", exchange_cases(MAINTAINED))
def test_rebuilt_books_equal_the_snapshots_beside_them(
    name: str, kafka_settings: Settings, store: Store
) -> None:
    assert name in exchanges.names()
    snapshots, updates = asyncio.run(record(name, kafka_settings))
    # No order of delivery, and nothing that comes twice, makes a difference.
    insert(store, BOOK_UPDATES, encoded(updates[::-1]), "updates")
    insert(store, BOOK_UPDATES, encoded(updates[: len(updates) // 2]), "again")
    insert(store, DEPTH, encoded(snapshots), "depth")
    radar = Radar()
    compared = 0
    for snapshot in snapshots[:: max(1, len(snapshots) // 40)]:
        rebuilt = radar.rebuilt_book(f"{name}:{snapshot['symbol']}", at(snapshot)).to_pylist()
        levels = [each for each in rebuilt if each["side"] == snapshot["side"]]
        assert [each["level"] for each in levels] == list(range(1, len(levels) + 1))
        depth = len(snapshot["prices"])
        assert [each["price"] for each in levels][:depth] == snapshot["prices"]
        assert [each["quantity"] for each in levels][:depth] == snapshot["quantities"]
        compared += 1
    assert compared >= 40


@pytest.mark.slow
def test_a_book_with_a_missing_update_is_not_shown_as_whole(
    kafka_settings: Settings, store: Store
) -> None:
    snapshots, updates = asyncio.run(record("kraken", kafka_settings))
    lost = next(each for each in updates if each["place"] == 3)
    chain = [each for each in updates if each["chain"] == lost["chain"]]
    insert(store, BOOK_UPDATES, encoded([each for each in updates if each is not lost]), "updates")
    insert(store, DEPTH, encoded(snapshots), "depth")
    radar, market = Radar(), f"kraken:{lost['symbol']}"
    assert radar.rebuilt_book(market, at(chain[2])).num_rows
    for later in (chain[4], chain[-1]):
        with pytest.raises(InvalidRequest, match="is missing: choose another time"):
            radar.rebuilt_book(market, at(later))
    with pytest.raises(InvalidRequest, match="record with BOOK_UPDATES=1"):
        radar.rebuilt_book(market, at(chain[0]) - timedelta(microseconds=1))
