"""The simulated exchanges' protocols over real sockets, read by plain clients and not by radar."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from radar_simulator import (
    InvalidOption,
    LedgerTrade,
    Simulator,
    SimulatorOptions,
    ledger_exchange,
    read_ledger,
    simulator,
)

pytestmark = pytest.mark.sources("src/radar_simulator")

WAIT_S = 10.0

Scenario = Callable[[Simulator], Awaitable[None]]


def _still(exchange: str, **options: Any) -> SimulatorOptions:
    """Return options of an exchange where only what a test asks for happens."""
    quiet = {"symbols": 20, "trades_per_s": 0, "depth_per_s": 0, "twin_share": 0}
    return SimulatorOptions(exchange=exchange, **(quiet | options))


def _run(scenario: Scenario, options: SimulatorOptions) -> None:
    async def within() -> None:
        async with asyncio.timeout(3 * WAIT_S), simulator(options) as sim:
            await scenario(sim)

    asyncio.run(within())


class _Socket:
    """A client's connection that reads JSON with its numbers as decimals."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.transport = connection.transport

    async def send(self, *messages: Any) -> None:
        for message in messages:
            text = message if isinstance(message, str) else json.dumps(message)
            await self._connection.send(text)

    async def text(self) -> str:
        received = await asyncio.wait_for(self._connection.recv(), WAIT_S)
        assert isinstance(received, str)
        return received

    async def frame(self) -> Any:
        return json.loads(await self.text(), parse_float=Decimal)

    async def silent(self, seconds: float = 0.2) -> bool:
        """Whether no frame comes for so long."""
        try:
            await asyncio.wait_for(self._connection.recv(), seconds)
        except TimeoutError:
            return True
        return False

    async def closed(self) -> tuple[int, str]:
        """Read until the end; return the close code and its reason."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.wait_for(self._connection.recv(), WAIT_S)
        return self._connection.close_code or 0, self._connection.close_reason or ""

    async def close(self) -> None:
        await self._connection.close()


async def _open(sim: Simulator, path: str = "") -> _Socket:
    url = sim.ws_url if not path else sim.rest_url.replace("http", "ws") + path
    return _Socket(await connect(url, ping_interval=None, close_timeout=1))


async def _get(sim: Simulator, path: str, **query: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=sim.rest_url, trust_env=False) as client:
        return await client.get(path, params=query)


async def _json(sim: Simulator, path: str, **query: Any) -> Any:
    answer = await _get(sim, path, **query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Radar-Simulated"] == "1"
    return json.loads(answer.text, parse_float=Decimal)


def _facts(entry: LedgerTrade) -> tuple[str, Decimal, Decimal, str]:
    return entry.native_id, Decimal(entry.price), Decimal(entry.quantity), entry.side


# Binance


def _binance_trade(row: Any) -> tuple[str, Decimal, Decimal, str]:
    if "t" in row:
        maker, number, price, amount = row["m"], row["t"], row["p"], row["q"]
    else:
        maker, number, price, amount = row["isBuyerMaker"], row["id"], row["price"], row["qty"]
    return str(number), Decimal(price), Decimal(amount), "sell" if maker else "buy"


def test_binance_sends_consecutive_trades_and_rest_returns_a_dropped_one() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _open(sim)
        await socket.send({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1})
        assert await socket.frame() == {"result": None, "id": 1}
        before = sim.trade(2, "BTCUSDT")
        received = [await socket.frame() for _ in before]
        assert [each["stream"] for each in received] == ["btcusdt@trade"] * 2
        assert [_binance_trade(each["data"]) for each in received] == [_facts(e) for e in before]

        sim.fault("drop", symbol="BTCUSDT")
        (lost,) = sim.trade(1, "BTCUSDT")
        (after,) = sim.trade(1, "BTCUSDT")
        found = (await socket.frame())["data"]["t"]
        assert [found - 1, found] == [int(lost.native_id), int(after.native_id)]
        rows = await _json(
            sim, "/api/v3/historicalTrades", symbol="BTCUSDT", fromId=found - 1, limit=1
        )
        assert [_binance_trade(row) for row in rows] == [_facts(lost)]
        assert not lost.sent
        assert lost.via_rest
        await socket.close()

    _run(scenario, _still("binance"))


def test_binance_accepts_streams_that_do_not_exist_and_stays_silent() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _open(sim)
        nonsense = ["nosuch@trade", "BTCUSDT@trade", "btcusdt@depth30"]
        await socket.send({"method": "SUBSCRIBE", "params": nonsense, "id": 7})
        assert await socket.frame() == {"result": None, "id": 7}
        await socket.send({"method": "LIST_SUBSCRIPTIONS", "id": 8})
        assert await socket.frame() == {"result": nonsense, "id": 8}
        sim.trade(5, "BTCUSDT")
        assert await socket.silent()
        await socket.send("no request")
        assert await socket.closed() == (1008, "Invalid request")

    _run(scenario, _still("binance"))


def test_binance_closes_after_the_sixth_message_of_a_second() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _open(sim)
        await socket.send(*({"method": "LIST_SUBSCRIPTIONS", "id": n} for n in range(6)))
        assert await socket.closed() == (1008, "Too many requests")

    _run(scenario, _still("binance"))


def test_binance_snapshots_join_the_events_whether_between_or_inside_them() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _open(sim, "/ws/btcusdt@depth@100ms")
        snapshots, events = [], []
        for _ in range(8):
            events.append(await socket.frame())
            snapshots.append(await _json(sim, "/api/v3/depth", symbol="BTCUSDT", limit=1000))
        inside = 0
        books = [
            (each["lastUpdateId"], dict(each["bids"]), dict(each["asks"])) for each in snapshots
        ]
        while events[-1]["u"] < books[-1][0] + 5:
            events.append(await socket.frame())
        await socket.close()
        last: dict[int, tuple[dict[str, str], dict[str, str]]] = {}
        for number, bids, asks in books:
            for event in events:
                if event["u"] <= number:
                    continue
                assert event["U"] <= number + 1 <= event["u"]
                inside += event["U"] <= number
                for side, changes in ((bids, event["b"]), (asks, event["a"])):
                    for price, amount in changes:
                        side[price] = amount
                        if Decimal(amount) == 0:
                            del side[price]
                number = event["u"]
            last[number] = (bids, asks)
        (end,) = last
        assert end == events[-1]["u"]
        assert all((bids, asks) == last[end] for _, bids, asks in books)
        assert inside

    _run(scenario, _still("binance", symbols=1, depth_per_s=20))


def test_binance_bans_a_client_that_goes_on_after_429() -> None:
    async def scenario(sim: Simulator) -> None:
        sim.fault("ban", seconds=30)
        statuses = [(await _get(sim, "/api/v3/ping")) for _ in range(12)]
        assert [each.status_code for each in statuses][:9] == [429] * 9
        assert statuses[-1].status_code == 418
        assert int(statuses[0].headers["Retry-After"]) in (29, 30)
        assert int(statuses[-1].headers["Retry-After"]) > 100
        sim.fault("clear")
        assert (await _get(sim, "/api/v3/ping")).status_code == 200

    _run(scenario, _still("binance"))


def test_binance_weighs_requests() -> None:
    async def scenario(sim: Simulator) -> None:
        for _ in range(24):
            await _json(sim, "/api/v3/depth", symbol="BTCUSDT", limit=5000)
        refused = await _get(sim, "/api/v3/depth", symbol="BTCUSDT", limit=5000)
        assert refused.status_code == 429
        assert refused.json()["code"] == -1003

    _run(scenario, _still("binance"))


def test_binance_announces_its_shutdown() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _open(sim)
        sim.fault("goodbye", seconds=0.3)
        assert (await socket.frame())["stream"] == "!serverShutdown"
        assert (await socket.closed())[0] == 1001

    _run(scenario, _still("binance"))


def test_binance_pings_and_closes_without_a_pong() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _open(sim)
        socket.transport.pause_reading()
        await asyncio.sleep(2.0)
        assert sim.ledger.summary().closes == {"Pong timeout": 1}
        answering = await _open(sim)
        await asyncio.sleep(1.0)
        assert sim.ledger.summary().connections_open == 1
        await answering.close()

    _run(scenario, _still("binance", ping_interval_s=0.3, pong_timeout_s=0.3))


# Every exchange


def test_dialects_a_maintenance_page_answers_rest_and_handshakes() -> None:
    async def scenario(sim: Simulator) -> None:
        sim.fault("html", seconds=30, status=502)
        page = await _get(sim, "/api/v3/exchangeInfo")
        assert page.status_code == 502
        assert page.headers["Content-Type"] == "text/html"
        with pytest.raises(InvalidStatus) as refused:
            await _open(sim)
        assert refused.value.response.status_code == 502

    _run(scenario, _still("binance"))


def test_dialects_the_ledger_names_the_exchange_and_its_ids(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"

    async def scenario(sim: Simulator) -> None:
        socket = await _open(sim, "/ws/ethusdt@trade")
        (trade,) = sim.trade(1, "ETHUSDT")
        assert str((await socket.frame())["t"]) == trade.native_id
        await _json(sim, "/simulator/quiesce")
        await socket.close()

    _run(scenario, _still("binance", ledger_path=path))
    assert ledger_exchange(path) == "binance"
    (kept,) = read_ledger(path)
    assert kept.sent
    assert kept.native_id
    assert kept.symbol == "ETHUSDT"


def test_dialects_an_unknown_exchange_and_an_unfitting_fault_are_refused() -> None:
    with pytest.raises(InvalidOption, match="exchange must be one of wallex, binance"):
        SimulatorOptions(exchange="nosuch")

    async def scenario(sim: Simulator) -> None:
        for name, parameters, text in (
            ("checksum", {}, "binance has no checksums"),
            ("epoch", {}, "binance has no epochs"),
            ("resend", {}, "binance has no fault resend"),
            ("drop", {"symbol": "NOSUCH"}, "binance has no market 'NOSUCH'"),
        ):
            with pytest.raises(ValueError, match=text):
                sim.fault(name, **parameters)
        assert sim.ledger.summary().faults == {}

    _run(scenario, _still("binance"))


def test_dialects_trades_are_sent_again_and_sent_no_more() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _open(sim, "/ws/btcusdt@trade")
        sent = sim.trade(3, "BTCUSDT")
        first = [await socket.frame() for _ in sent]
        sim.fault("repeat", symbol="BTCUSDT", count=2)
        assert [await socket.frame() for _ in range(2)] == first[1:]
        assert [entry.via_resend for entry in sent] == [False, True, True]
        sim.fault("mute", symbol="BTCUSDT", seconds=30)
        sim.trade(3, "BTCUSDT")
        assert await socket.silent()
        await socket.close()

    _run(scenario, _still("binance"))
