"""What a producer makes of records that are well written and absurd: workers accept all of it."""

import asyncio
import itertools
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from hostile_exchange import MARKETS, Peer, frame, hostile_exchange
from producing import Topic, metric, producing, until
from radar.datasets import DEPTH, TRADES, Dataset
from radar.settings import Settings


def trade(**changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"isBuyOrder": True, "quantity": "1.5", "price": "100", "timestamp": now} | changes


def level(price: object, quantity: object) -> dict[str, object]:
    return {"price": price, "quantity": quantity}


FUTURE = [trade(price=str(n + 1), timestamp="2099-01-01T00:00:00Z") for n in range(300)]
REFUSED_TRADES = [
    *FUTURE,
    trade(timestamp="1970-01-01T00:00:00Z"),
    trade(timestamp="9999-12-31T23:59:59Z"),
    trade(price="99999999999999999000", quantity="99999"),
    trade(price="0"),
    trade(quantity="0.000"),
]
REFUSED_SIDES = [
    [level(0, 1)],
    [level(-1, 1), level(1, 1)],
    [level(1, -1)],
    [level("NaN", 1)],
    [level(1, "inf")],
    [level(1, 1)] * 1001,
]
CASES: dict[str, tuple[Dataset, str, list[Any], Any]] = {
    TRADES.name: (TRADES, "trade", REFUSED_TRADES, trade(symbol="USDTTMN")),
         DEPTH.name: (DEPTH, "buyDepth", REFUSED_SIDES, [level(100, 1)])}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_absurd_records_are_counted_as_invalid_and_never_published(
    kafka_settings: Settings, name: str
) -> None:
    dataset, channel, refused, good = CASES[name]

    async def socket(peer: Peer) -> None:
        await peer.upgrade()
        for each in (*refused, good):
            await peer.send(frame(json.dumps([f"USDTTMN@{channel}", each]).encode()))
        await peer.until_gone()

    async def rest(peer: Peer, path: str) -> None:
        body = MARKETS
        if "/markets" not in path:
            told = [each | {"symbol": "USDTTMN"} for each in REFUSED_TRADES]
            body = json.dumps({"result": {"latestTrades": told}}).encode()
        await peer.answer(body)

    def invalid() -> float:
        return metric("radar_invalid_frames_total", exchange="wallex", dataset=name)

    async def record() -> None:
        topic = Topic(kafka_settings, dataset)
        before = invalid()
        # Of trades, REST tells the refused ones as well.
        expected = len(refused) + (len(REFUSED_TRADES) if dataset is TRADES else 0)
        async with hostile_exchange(itertools.repeat(socket), rest) as served:
            settings = kafka_settings.model_copy(
                update={
                    "exchange_ws_url": f"ws://127.0.0.1:{served.port}",
                    "exchange_rest_url": f"http://127.0.0.1:{served.port}",
                    "depth_interval_seconds": 0.0,
                }
            )
            async with producing(settings, dataset):
                await topic.until(lambda: bool(topic.messages), "the good record")
                await until(lambda: invalid() - before >= expected)
        await asyncio.to_thread(topic.read)
        topic.close()
        (message,) = topic.messages
        dataset.decode(json.dumps(message, separators=(",", ":")).encode())

    asyncio.run(record())
