"""Producers that an exchange keeps busy without a pause: they give way, stay small and stop."""

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

import hostile_numbers
from cases import others_nightly
from hostile_exchange import Answer, Peer, Script, frame, hostile_exchange
from producing import Topic
from radar.datasets import GAPS
from radar.settings import Settings
from support import Process, eventually, peak_bytes, radar

MEGABYTE = 1 << 20
# All steps of a stop together take FINISH_TIMEOUT_S of the producer; the machine may be busy.
STOPPED_WITHIN_S = 40.0
FLOOD_S = 6.0
GROWN_BYTES = 300 * MEGABYTE


def flood(greeting: bytes, part: Callable[[int], bytes]) -> Script:
    """Return a script that sends part after part, as fast as the client takes them."""

    async def script(peer: Peer) -> None:
        await peer.upgrade()
        await peer.send(greeting)
        for number in itertools.count():
            await peer.send(part(number))
            await asyncio.sleep(0)

    return script


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def kraken_trades(number: int) -> bytes:
    rows = [
        {"symbol": "BTC/USD", "side": "buy", "price": 1, "qty": 1, "timestamp": now(),
         "trade_id": number * 5_000 + each + 1}
        for each in range(5_000)
    ]  # fmt: skip
    return frame(json.dumps({"channel": "trade", "type": "update", "data": rows}).encode())


async def kraken_rest(peer: Peer, path: str) -> None:
    result: dict[str, object] = {"XXBTZUSD": {"wsname": "BTC/USD", "status": "online"}}
    if "Trades" in path:
        result = {"XXBTZUSD": [], "last": "1"}
    await peer.answer(json.dumps({"error": [], "result": result}).encode())


def nobitex_publications(number: int) -> bytes:
    data = {"time": time.time_ns() // 1_000_000, "price": "10", "volume": "1", "type": "buy"}
    return frame(
        b"\n".join(
            json.dumps(
                {"push": {"channel": "public:trades-BTCIRT",
                          "pub": {"offset": 2 * (number * 900 + each + 1), "data": data}}}
            ).encode()
            for each in range(900)
        )
    )  # fmt: skip


async def nobitex_rest(peer: Peer, path: str) -> None:
    body: dict[str, object] = {"nobitex": {"amountPrecisions": {"BTCIRT": "1"}}}
    if "trades" in path:
        body = {"status": "ok", "trades": []}
    await peer.answer(json.dumps(body).encode())


class Flood(NamedTuple):
    """What an exchange sends without a pause."""

    exchange: str
    script: Script
    rest: Answer


FLOODS = {
    "every second number": Flood(
        "binance",
        flood(
            frame(b'{"result":null,"id":1}'),
            lambda number: hostile_numbers.trades(
                "AUSDT", range(number * 400 + 2, number * 400 + 402, 2)
            ),
        ),
        hostile_numbers.rest(),
    ),
    "second numbers behind a jump": Flood(
        "binance",
        flood(
            frame(b'{"result":null,"id":1}') + hostile_numbers.trades("AUSDT", [1, 1 << 62]),
            lambda number: hostile_numbers.trades(
                "AUSDT", range(number * 400 + 3, number * 400 + 403, 2)
            ),
        ),
        hostile_numbers.rest(page=lambda _symbol, number: [number]),
    ),
    "long frames": Flood(
        "kraken",
        flood(
            frame(
                b'{"method":"subscribe","success":true,'
                b'"result":{"channel":"trade","symbol":"BTC/USD"}}'
            ),
            kraken_trades,
        ),
        kraken_rest,
    ),
    "jumping offsets": Flood(
        "nobitex",
        flood(
            frame(b'{"id":1,"connect":{"client":"x"}}')
            + frame(b'{"id":2,"subscribe":{"epoch":"a","offset":0}}'),
            nobitex_publications,
        ),
        nobitex_rest,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", others_nightly(FLOODS))
def test_producer_under_a_flood_answers_stays_small_and_stops(
    name: str, kafka_settings: Settings, tmp_path: Path
) -> None:
    attack = FLOODS[name]
    log = tmp_path / "producer.log"

    async def under_flood() -> None:
        async with hostile_exchange(itertools.repeat(attack.script), attack.rest) as served:
            prefix = attack.exchange.upper()
            process = Process(
                radar("produce", "trades", "--exchange", attack.exchange),
                log,
                **{f"{prefix}_WS_URL": f"ws://127.0.0.1:{served.port}",
                   f"{prefix}_REST_URL": f"http://127.0.0.1:{served.port}"},
            )  # fmt: skip
            try:
                await asyncio.to_thread(
                    eventually, lambda: served.open > 0, "a connection", STOPPED_WITHIN_S
                )
                before = peak_bytes(process.pid)
                await asyncio.sleep(FLOOD_S)
                assert process.lives
                assert peak_bytes(process.pid) - before < GROWN_BYTES
                assert await asyncio.to_thread(process.terminate, STOPPED_WITHIN_S) == 0
            finally:
                await asyncio.to_thread(process.end)

    asyncio.run(under_flood())
    text = log.read_text(errors="replace")
    assert "Traceback" not in text, text[-2000:]
    gaps = Topic(kafka_settings, GAPS)
    for _ in range(20):
        gaps.read()
    assert len(gaps.messages) < 300
    gaps.close()
