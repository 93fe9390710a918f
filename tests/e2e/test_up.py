"""`radar up` against an exchange that is not the project's own, and at its edges."""

import asyncio
import contextlib
import json
import os
import pty
import random
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from ports import free_port
from support import Process, eventually, radar, run_command

SYMBOLS = {"USDTTMN": ("USDT", "TMN"), "BTCUSDT": ("BTC", "USDT")}
TRADES_PER_SYMBOL = 40
PING_EVERY_S = 0.5
Facts = tuple[str, str, Decimal, Decimal, str]


class Exchange:
    """Speaks the documented protocol: tells a fixed number of trades, and books that change.

    Every fourth trade happens twice in its second, alike in everything.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[dict[str, Any]]] = {
            symbol: [self._trade(symbol, int(time.time()) - 60)] for symbol in SYMBOLS
        }
        self.books: dict[tuple[str, str], list[list[dict[str, float]]]] = {}
        self.pongs: list[str] = []
        self.unanswered = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        async with serve(
            self._handle, "127.0.0.1", 0, process_request=self._respond, ping_interval=None
        ) as server:
            yield server.sockets[0].getsockname()[1]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def told(self) -> bool:
        return all(len(trades) == 1 + TRADES_PER_SYMBOL for trades in self.history.values())

    def trades(self) -> Counter[Facts]:
        return Counter(
            (
                symbol,
                trade["timestamp"],
                Decimal(trade["price"]),
                Decimal(trade["quantity"]),
                "buy" if trade["isBuyOrder"] else "sell",
            )
            for symbol, trades in self.history.items()
            for trade in trades
        )

    @staticmethod
    def _trade(symbol: str, second: int) -> dict[str, Any]:
        units = random.randrange(1, 10**16)
        return {
            "isBuyOrder": random.random() < 0.5,
            "quantity": f"{units // 10**10}.{units % 10**10:016}",
            "price": f"{31704 if symbol == 'USDTTMN' else 62525}.{random.randrange(10**16):016}",
            "timestamp": datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    async def _handle(self, connection: ServerConnection) -> None:
        await connection.send(json.dumps({"sid": "a1", "pingInterval": 500}))
        self._start(self._ping(connection))
        async for text in connection:
            message = json.loads(text)
            if isinstance(message, dict):
                self.pongs.append(message["pong"])
                self.unanswered -= 1
                continue
            assert message[0] == "subscribe"
            symbol, _, topic = message[1]["channel"].partition("@")
            if topic == "trade":
                self._start(self._tell_trades(connection, symbol))
            else:
                self._start(self._tell_books(connection, symbol, topic))

    def _start(self, work: Any) -> None:
        async def until_closed() -> None:
            with contextlib.suppress(ConnectionClosed):
                await work

        task = asyncio.create_task(until_closed())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ping(self, connection: ServerConnection) -> None:
        for number in range(90):
            await asyncio.sleep(PING_EVERY_S)
            self.unanswered += 1
            await connection.send(json.dumps({"ping": f"{id(connection)}-{number}"}))

    async def _tell_trades(self, connection: ServerConnection, symbol: str) -> None:
        history = self.history[symbol]
        while len(history) < 1 + TRADES_PER_SYMBOL:
            trade = self._trade(symbol, int(time.time()))
            for _ in range(2 if len(history) % 4 == 1 else 1):
                history.append(trade)
                await connection.send(json.dumps([f"{symbol}@trade", trade]))
            await asyncio.sleep(0.05)

    async def _tell_books(self, connection: ServerConnection, symbol: str, topic: str) -> None:
        step = -0.25 if topic == "buyDepth" else 0.25
        told = self.books.setdefault((symbol, topic), [])
        while True:
            best = 62200 + step + len(told)
            levels = [
                {
                    "price": best + n * step,
                    "quantity": 0.5 + n,
                    "sum": (best + n * step) * (0.5 + n),
                }
                for n in range(50)
            ]
            told.append(levels)
            await connection.send(json.dumps([f"{symbol}@{topic}", levels]))
            await asyncio.sleep(0.1)

    def _respond(self, _: ServerConnection, request: Request) -> Response | None:
        if request.path == "/ws":
            return None
        status, result = HTTPStatus.OK, {}
        if request.path == "/hector/web/v1/markets":
            spot = [(symbol, *assets, True) for symbol, assets in SYMBOLS.items()]
            result["markets"] = [
                {"symbol": symbol, "base_asset": base, "quote_asset": quote, "is_spot": is_spot}
                | {"price": "1", "created_at": "2020-01-01T00:00:00Z", "flags": []}
                for symbol, base, quote, is_spot in [*spot, ("GOLDTMN", "GOLD", "TMN", False)]
            ]
        elif request.path.startswith("/v1/trades?symbol="):
            symbol = request.path.partition("=")[2]
            newest_first = self.history[symbol][::-1]
            result["latestTrades"] = [trade | {"symbol": symbol} for trade in newest_first]
        else:
            status = HTTPStatus.NOT_FOUND
        body = json.dumps({"success": True, "message": "ok", "result": result}).encode()
        headers = Headers({"Content-Length": str(len(body)), "Connection": "close"})
        return Response(status, status.phrase, headers, body)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "RADAR_DATA_DIR": str(tmp_path / "data"),
        "CLICKHOUSE_PORT": str(free_port()),
        "KAFKA_BROKER": f"127.0.0.1:{free_port()}",
        "DASHBOARD_PORT": str(free_port()),
        "BATCH_TIMEOUT_SECONDS": "0.5",
        "DEPTH_INTERVAL_SECONDS": "2",
    }


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command(*arguments, environment=environment)


def rows(environment: dict[str, str], sql: str) -> list[list[Any]]:
    """Ask with `radar query` when nothing runs."""
    done = run(environment, "query", sql, "--format", "JSONCompactEachRow")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def pids(data_dir: Path) -> dict[str, int]:
    with contextlib.suppress(FileNotFoundError):
        processes = json.loads((data_dir / "run" / "state.json").read_text())["processes"]
        return {each["name"]: each["pid"] for each in processes if each["pid"]}
    return {}


def processes_of(data_dir: bytes) -> list[str]:
    """Return the processes, but for zombies, that were started with this data directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"RADAR_DATA_DIR=" + data_dir + b"\0" in (process / "environ").read_bytes():
                found.append(process.name)
    return found


async def until(condition: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(eventually, condition, what, 60, 0.05)


def test_up_with_an_independent_exchange_stores_its_trades_and_both_sides_of_its_books(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    exchange = Exchange()

    async def record() -> int:
        async with exchange.serving() as port:
            process = Process(
                radar("up"),
                tmp_path / "up.log",
                **environment,
                EXCHANGE_WS_URL=f"ws://127.0.0.1:{port}/ws",
                EXCHANGE_REST_URL=f"http://127.0.0.1:{port}",
            )
            try:
                await until(lambda: exchange.told, "the exchange has told its trades")
                await until(lambda: len(exchange.books) == 2 * len(SYMBOLS), "and its books")
                await until(lambda: len(exchange.pongs) > 2, "its pings are answered")
                await until(lambda: "trades: " in process.log.read_text(), "all has started")
                return await asyncio.to_thread(process.terminate, 60)
            finally:
                await asyncio.to_thread(process.end)

    assert asyncio.run(record()) == 0, (tmp_path / "up.log").read_text()
    assert len(exchange.pongs) == len(set(exchange.pongs)) > 2
    assert exchange.unanswered <= 4, "at most the last ping of each connection"
    assert max(exchange.trades().values()) == 2, "the exchange told twins"
    stored = rows(
        environment,
        "SELECT symbol, formatDateTime(event_time, '%Y-%m-%dT%H:%i:%SZ'), toString(price),"
        " toString(base_amount), side FROM trades",
    )
    found = Counter((s, at, Decimal(price), Decimal(n), side) for s, at, price, n, side in stored)
    assert found == exchange.trades()
    books = rows(
        environment,
        "SELECT symbol, side, argMin(prices, received_at), argMin(quantities, received_at)"
        " FROM orderbook_depth GROUP BY symbol, side",
    )
    assert {(symbol, side): (prices, amounts) for symbol, side, prices, amounts in books} == {
        (symbol, "bid" if topic == "buyDepth" else "ask"): (
            [level["price"] for level in told[0]],
            [level["quantity"] for level in told[0]],
        )
        for (symbol, topic), told in exchange.books.items()
    }
    assert len(books) == 2 * len(SYMBOLS)


@pytest.mark.slow("src/radar/local", "src/radar/cli/up.py", "src/radar/process.py")
def test_up_started_right_after_one_was_killed_waits_for_its_children_and_keeps_the_data(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    simulated = tmp_path / "data" / "simulated"
    killed = Process(radar("up", "--simulate"), tmp_path / "killed.log", **environment)
    try:
        eventually(lambda: len(pids(simulated)) == 13, "it runs", timeout_s=60)
        log = simulated / "logs" / "trades-consumer-1.log"
        eventually(lambda: "block stored" in log.read_text(), "trades are stored")
    finally:
        killed.kill()
    done = run(environment, "up", "--simulate", "--duration", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not ours" not in done.stdout, "the stores of the killed one are no stores to use"
    assert "lost 0, duplicates 0" in done.stdout
    assert not processes_of(environment["RADAR_DATA_DIR"].encode())


def test_up_interrupted_while_it_starts_ends_without_children(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    process = Process(radar("up", "--simulate"), tmp_path / "up.log", **environment)
    clickhouse = tmp_path / "data" / "simulated" / "logs" / "clickhouse.log"
    try:
        eventually(clickhouse.exists, "ClickHouse starts")
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(15) == 1
    finally:
        process.end()
    assert (tmp_path / "up.log").read_text().splitlines()[-1] == "radar: stopped while starting"
    data_dir = environment["RADAR_DATA_DIR"].encode()
    eventually(lambda: not processes_of(data_dir), "no process is left")


@pytest.mark.slow
def test_up_with_a_kafka_address_where_something_else_listens_says_so_in_one_line(
    environment: dict[str, str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run(environment | {"KAFKA_BROKER": address}, "up", "--simulate")
    assert done.returncode == 1
    assert done.stderr.startswith("radar: kafka does not answer: ")
    assert done.stderr.count("\n") == 1
    assert address in done.stderr


@pytest.mark.slow("src/radar/local", "src/radar/cli/up.py", "src/radar/ui")
@pytest.mark.embedded_kafka("about the screen")
def test_up_in_a_terminal_shows_its_processes(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {
        "RADAR_DATA_DIR": str(tmp_path / "data"),
        "CLICKHOUSE_PORT": str(free_port()),
        "KAFKA_BROKER": f"127.0.0.1:{free_port()}",
        "DASHBOARD_PORT": str(free_port()),
        "COLUMNS": "120",
        "LINES": "40",
        "TERM": "xterm",
    }
    process = subprocess.Popen(
        radar("up", "--simulate"), stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    shown = b""

    def shows(text: bytes) -> bool:
        nonlocal shown
        with contextlib.suppress(OSError):  # nothing new, or it has ended
            shown += os.read(ours, 65536)
        return text in shown

    try:
        for name in (b"kafka", b"clickhouse", b"trades-consumer-3", b"wallex-depth"):
            eventually(lambda name=name: shows(b" " + name), f"{name!r} is shown", 60)  # type: ignore[misc]
        eventually(lambda: shows(b"EVERYTHING FLOWS"), "it says that everything flows", 60)
        # The latency of what is stored: a run that stored nothing has no sum to show.
        eventually(
            lambda: shows(b"") and re.search(rb"\d\.\d s", shown) is not None,
            "a latency is shown",
            60,
        )
        process.send_signal(signal.SIGINT)
        eventually(lambda: shows(b"lost 0") and process.poll() is not None, "it ends", 90)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
