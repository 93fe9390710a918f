"""The command `radar replay` as a process: what its clients see, its control and its end."""

import asyncio
import json
import os
import pty
import re
import subprocess
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

import replaying
from radar.codec import message_format
from radar.datasets import DEPTH, TRADES
from radar.records import BookSide, DepthSnapshot, Trade, TradeSide
from radar.settings import Settings
from radar.store.client import Store
from support import Process, eventually, radar

SECOND_US = 1_000_000
# Rows of older days expire.
DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=2)
BEGIN_US = int(DAY.timestamp() + 9 * 3_600) * SECOND_US
TRADES_COUNT = 600
WITHIN_S = 60.0


def trade(number: int) -> Trade:
    """Return one of a trade a second; each tenth equals the one before, but for its number."""
    shown = number - (number % 10 == 9)
    at_us = BEGIN_US + shown * SECOND_US
    return Trade(
        source="binance",
        symbol="BTCUSDT",
        base="BTC",
        quote="USDT",
        side=TradeSide.BUY if shown % 2 else TradeSide.SELL,
        price=f"{60_000 + shown}.25",
        base_amount="0.00000001",
        event_time_ms=at_us // 1000,
        received_at_us=at_us + 100 + number,
        native_id=str(1_000 + number),
        sequence=1_000 + number,
        event_time_us=at_us,
    )


def sides(number: int) -> Iterable[DepthSnapshot]:
    """Return the book at one of ten minutes."""
    at_us = BEGIN_US + number * 60 * SECOND_US
    for side, price in ((BookSide.BID, 59_000.5), (BookSide.ASK, 61_000.5)):
        yield DepthSnapshot(
            source="binance",
            symbol="BTCUSDT",
            base="BTC",
            quote="USDT",
            side=side,
            prices=(price + number,),
            quantities=(0.5,),
            received_at_us=at_us,
            event_time_us=at_us,
            sequence=100 + number,
            verified=True,
        )


@pytest.fixture
def recorded(store: Store) -> Store:
    """Provide ten recorded minutes."""
    trades = [message_format.encode_trade(trade(n), f"{n:032x}") for n in range(TRADES_COUNT)]
    books = [message_format.encode_depth(each) for n in range(10) for each in sides(n)]
    replaying.keep(store, TRADES, map(msgspec.json.decode, trades))
    replaying.keep(store, DEPTH, map(msgspec.json.decode, map(message_format.as_json, books)))
    return store


class Replay(NamedTuple):
    """A running command."""

    process: Process
    log: Path
    ws_url: str
    rest_url: str

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, timeout=WITHIN_S) as client:
            return await client.get(self.rest_url + path)

    async def until_stage(self, stage: str) -> dict[str, Any]:
        async with asyncio.timeout(WITHIN_S):
            while True:
                status: dict[str, Any] = (await self.get("/replay/status")).json()
                if status["stage"] == stage:
                    return status
                await asyncio.sleep(0.02)


@asynccontextmanager
async def command(directory: Path, *arguments: str) -> AsyncIterator[Replay]:
    log = directory / "replay.log"
    fixed = ("replay", "binance", f"{DAY:%F}", "--port", "0")
    process = Process(radar(*fixed, *arguments), log)
    try:
        async with asyncio.timeout(WITHIN_S):
            while "replays binance" not in log.read_text():
                assert process.lives, log.read_text()
                await asyncio.sleep(0.02)
        lines = dict(line.split("=", 1) for line in log.read_text().splitlines() if "_URL=" in line)
        yield Replay(process, log, lines["BINANCE_WS_URL"], lines["BINANCE_REST_URL"])
    finally:
        process.end()


async def frames(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(WITHIN_S):
        found: list[dict[str, Any]] = []
        while len(found) < count:
            frame = json.loads(await socket.recv())
            if "stream" in frame:
                found.append(frame["data"])
        return found


def test_a_client_of_the_exchange_sees_every_recorded_trade_and_the_process_ends(
    recorded: Store, tmp_path: Path
) -> None:
    async def look() -> None:
        async with command(tmp_path, "--speed", "max", "--wait", "0.2", "--exit") as replay:
            async with connect(f"{replay.ws_url}/stream?streams=btcusdt@trade") as socket:
                assert socket.response is not None
                assert socket.response.headers["X-Radar-Replayed"] == "rebuilt"
                found = await frames(socket, TRADES_COUNT)
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
            assert [each["t"] for each in found] == list(range(1_000, 1_000 + TRADES_COUNT))
            assert (found[9]["p"], found[9]["q"], found[9]["m"]) == (
                "60008.25000000", "0.00000001", True,
            )  # fmt: skip
            assert {each["T"] for each in found[8:10]} == {(BEGIN_US + 8 * SECOND_US) // 1000}
            assert await asyncio.to_thread(replay.process.wait) == 0
            assert "frames are rebuilt from records" in replay.log.read_text()

    asyncio.run(look())


def test_pause_seek_and_speed_are_obeyed_and_rest_answers_of_the_present_moment(
    recorded: Store, tmp_path: Path
) -> None:
    async def look() -> None:
        async with command(tmp_path, "--from", "09:00", "--to", "09:10", "--paused") as replay:
            stream = f"{replay.ws_url}/stream?streams=btcusdt@trade"
            async with connect(stream) as socket:
                status = await replay.until_stage("paused")
                assert (status["events"], status["moment"]) == (0, f"{DAY:%F}T09:00:00.000Z")
                assert (await replay.get("/api/v3/trades?symbol=BTCUSDT")).json() == []
                await replay.get(f"/replay/seek?to={DAY:%F}T09:05:00")
                with pytest.raises(ConnectionClosed):
                    await asyncio.wait_for(socket.recv(), WITHIN_S)
            async with connect(stream) as socket:
                await replay.until_stage("paused")
                rest = (await replay.get("/api/v3/trades?symbol=BTCUSDT")).json()
                assert [each["id"] for each in rest] == list(range(1_000, 1_300))
                book = (await replay.get("/api/v3/depth?symbol=BTCUSDT")).json()
                # The state of 09:04: that of 09:05 is played.
                assert (book["lastUpdateId"], book["bids"]) == (
                    104, [["59004.50000000", "0.50000000"]],
                )  # fmt: skip
                await replay.get("/replay/speed?value=100")
                await replay.get("/replay/resume")
                found = await frames(socket, 100)
                assert [each["t"] for each in found] == list(range(1_300, 1_400))
                await replay.get("/replay/pause")
                status = await replay.until_stage("paused")
                assert status["speed"] == 100
                seen = (await replay.get("/api/v3/trades?symbol=BTCUSDT&limit=1")).json()[0]["id"]
                assert 1_399 <= seen < 1_000 + TRADES_COUNT - 1
                await replay.get("/replay/speed?value=max")
                await replay.get("/replay/resume")
                status = await replay.until_stage("ended")
                assert status["moment"] == f"{DAY:%F}T09:10:00.000Z"
                # After the end it keeps answering.
                newest = (await replay.get("/api/v3/trades?symbol=BTCUSDT&limit=1")).json()
                assert newest[0]["id"] == 1_000 + TRADES_COUNT - 1

    asyncio.run(look())


def test_keys_of_a_terminal_control_the_replay(recorded: Store, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    line = ("replay", "binance", f"{DAY:%F}", "--from", "09:00", "--port", "0", "--wait", "0")
    process = subprocess.Popen(radar(*line), stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while b"keys: " not in shown:
            shown += os.read(ours, 65536)
        address = re.search(rb"BINANCE_REST_URL=(\S+)", shown)
        assert address is not None
        rest_url = address[1].decode()

        def status() -> dict[str, Any]:
            found: dict[str, Any] = httpx.get(f"{rest_url}/replay/status", trust_env=False).json()
            return found

        for key, condition in (
            (b" ", lambda: status()["stage"] == "paused"),
            (b"++", lambda: status()["speed"] == 4),
            (b"-", lambda: status()["speed"] == 2),
            (b"n", lambda: status()["moment"] >= f"{DAY:%F}T09:01"),
            (b"m", lambda: status()["speed"] == "max"),
            (b" ", lambda: status()["stage"] == "ended"),
        ):
            os.write(ours, key)
            eventually(condition, f"the key {key!r} is obeyed")
        os.write(ours, b"q")
        assert process.wait(WITHIN_S) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_wrong_commands_are_refused_with_a_reason(recorded: Store, tmp_path: Path) -> None:
    async def look() -> None:
        async with command(tmp_path) as replay:
            for path, status in (
                ("speed?value=0", 400),
                ("speed", 400),
                ("seek?to=yesterday", 400),
                ("nothing", 404),
            ):
                answer = await replay.get(f"/replay/{path}")
                assert (answer.status_code, bool(answer.json()["error"])) == (status, True)
            assert (await replay.until_stage("waiting"))["events"] == 0

    asyncio.run(look())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("binance", "2026-07-01"), "no trade and no book of binance was recorded"),
        (("binance", f"{DAY:%F}", "--from", "09:05", "--to", "09:00"), "is not after --from"),
        (("binance", f"{DAY:%F}", "--from", "noon"), "is no time"),
        (("binance", "2999-01-01"), "is in the future"),
        (("binance", f"{DAY:%F}", "--market", "BTCUSD"), "no market 'binance:BTCUSD' is recorded"),
        (("binance", f"{DAY:%F}", "--speed", "fast"), "is no speed"),
        (("nowhere", f"{DAY:%F}"), "nowhere"),
    ],
)
def test_an_impossible_replay_is_refused_on_one_line(
    arguments: tuple[str, ...], words: str, recorded: Store, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    process = Process(radar("replay", *arguments, "--port", "0"), log)
    assert process.wait() == 2
    (line,) = log.read_text().splitlines()
    assert words in line


def test_a_client_that_reads_slowly_holds_the_replay_and_loses_nothing(
    store: Store, store_settings: Settings, tmp_path: Path
) -> None:
    count = 40_000
    one = msgspec.json.decode(message_format.encode_trade(trade(0), f"{0:032x}"))
    replaying.keep(
        store,
        TRADES,
        (
            one | {"trade_id": f"{n:032x}", "native_id": str(1 + n), "sequence": 1 + n,
                   "received_at_us": BEGIN_US + n}
            for n in range(count)
        ),
    )  # fmt: skip

    async def look() -> None:
        async with (
            command(tmp_path, "--speed", "max", "--wait", "0.1") as replay,
            connect(
                f"{replay.ws_url}/stream?streams=btcusdt@trade", max_queue=1, ping_interval=None
            ) as socket,
        ):
            async with asyncio.timeout(WITHIN_S):
                while not (status := (await replay.get("/replay/status")).json())["held_up"]:
                    assert status["stage"] != "ended"
                    await asyncio.sleep(0.05)
            assert status["events"] < count
            found = await frames(socket, count)
            assert [each["t"] for each in found] == list(range(1, count + 1))

    asyncio.run(look())
