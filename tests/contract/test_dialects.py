"""The simulated exchanges' protocols over real sockets, read by plain clients and not by radar."""

import asyncio
import contextlib
import itertools
import json
import subprocess
import zlib
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from radar_simulator import (
    FaultName,
    InvalidOption,
    LedgerTrade,
    Simulator,
    SimulatorOptions,
    ledger_exchange,
    read_ledger,
    simulator,
)
from radar_simulator.dialects import NAMES
from support import radar

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
        self._documents: list[str] = []

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

    async def document(self) -> Any:
        """Read the next document of a frame that may hold several, pings left out."""
        while not self._documents:
            self._documents = (await self.text()).split("\n")
        return json.loads(self._documents.pop(0), parse_float=Decimal)

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
        assert [each.status_code for each in statuses] == [429] * 10 + [418] * 2
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


# Kraken


def _kraken_trade(row: Any) -> tuple[str, Decimal, Decimal, str]:
    return str(row["trade_id"]), row["price"], row["qty"], row["side"]


def _kraken_rest(row: Any) -> tuple[str, Decimal, Decimal, str]:
    return str(row[6]), Decimal(row[0]), Decimal(row[1]), {"b": "buy", "s": "sell"}[row[3]]


async def _kraken(sim: Simulator, **params: Any) -> _Socket:
    """Connect, read the status and subscribe one market; read the acknowledgement."""
    socket = await _open(sim)
    assert (await socket.frame())["data"][0]["system"] == "online"
    symbol = params.pop("symbol", "BTC/USD")
    await socket.send({"method": "subscribe", "params": {"symbol": [symbol], **params}})
    assert (await socket.frame())["success"] is True
    return socket


class _KrakenBook:
    """A client's book of ten levels: literals of prices and quantities."""

    def __init__(self) -> None:
        self.bids: dict[Decimal, str] = {}
        self.asks: dict[Decimal, str] = {}
        self.prices: dict[Decimal, str] = {}

    def apply(self, text: str) -> bool:
        """Apply a snapshot or an update; return whether its checksum fits."""
        frame = json.loads(text, parse_float=str)
        (data,) = frame["data"]
        if frame["type"] == "snapshot":
            self.bids, self.asks = {}, {}
        for side, rows in ((self.bids, data["bids"]), (self.asks, data["asks"])):
            for row in rows:
                price = Decimal(row["price"])
                self.prices[price] = str(row["price"])
                side[price] = row["qty"]
                if Decimal(row["qty"]) == 0:
                    side.pop(price)
        self.bids = dict(sorted(self.bids.items(), reverse=True)[:10])
        self.asks = dict(sorted(self.asks.items())[:10])
        checked = "".join(
            self.prices[price].replace(".", "").lstrip("0") + amount.replace(".", "").lstrip("0")
            for side in (self.asks, self.bids)
            for price, amount in side.items()
        )
        expected: int = data["checksum"]
        return zlib.crc32(checked.encode()) == expected


def test_kraken_sends_consecutive_trades_and_rest_returns_a_dropped_one() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _kraken(sim, channel="trade")
        before = sim.trade(4, "BTC/USD")
        received = (await socket.frame())["data"]
        assert [_kraken_trade(row) for row in received] == [_facts(entry) for entry in before]
        sim.fault("drop", symbol="BTC/USD")
        (lost,) = sim.trade(1, "BTC/USD")
        (after,) = sim.trade(1, "BTC/USD")
        (found,) = (await socket.frame())["data"]
        assert found["trade_id"] == received[-1]["trade_id"] + 2
        assert str(found["trade_id"]) == after.native_id
        whole = await _json(sim, "/0/public/Trades", pair="BTC/USD", since=0)
        rows = whole["result"]["BTC/USD"]
        assert _kraken_rest(rows[4]) == _facts(lost)
        assert whole["result"]["last"].startswith(str(rows[-1][2]).replace(".", ""))
        await socket.close()

    _run(scenario, _still("kraken"))


def test_kraken_pages_of_trades_end_within_equal_times() -> None:
    async def scenario(sim: Simulator) -> None:
        while len(sim.ledger.trades()) < 400:
            sim.trade(20, "BTC/USD")
            await asyncio.sleep(0.001)
        ids: list[int] = []
        times: list[tuple[Decimal, Decimal]] = []
        since = 0
        while len(ids) < 400:
            page = await _json(sim, "/0/public/Trades", pair="BTC/USD", since=since, count=37)
            rows = page["result"]["BTC/USD"]
            times.append((rows[0][2], rows[-1][2]))
            ids += [row[6] for row in rows if not ids or row[6] > ids[-1]]
            since = int(page["result"]["last"]) - 1
        assert ids == list(range(ids[0], ids[0] + 400))
        assert any(before[1] == after[0] for before, after in itertools.pairwise(times))

    _run(scenario, _still("kraken", twin_share=0.3))


def test_kraken_books_prove_themselves_until_an_update_is_lost() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _kraken(sim, channel="book", depth=10)
        book = _KrakenBook()
        for _ in range(150):
            text = await socket.text()
            assert "heartbeat" in text or book.apply(text)
        sim.fault("drop", symbol="BTC/USD", kind="book", count=5)
        while book.apply(await socket.text()):
            pass
        request = {"channel": "book", "symbol": ["BTC/USD"], "depth": 10}
        await socket.send({"method": "unsubscribe", "params": request})
        await socket.send({"method": "subscribe", "params": request})
        text = await socket.text()
        while '"snapshot","data"' not in text:
            text = await socket.text()
        assert book.apply(text)
        for _ in range(20):
            assert book.apply(await socket.text())
        sim.fault("checksum", symbol="BTC/USD")
        fits = [book.apply(await socket.text()) for _ in range(20)]
        assert fits.count(False) == 1
        await socket.close()

    _run(scenario, _still("kraken", symbols=1, depth_per_s=300))


def test_kraken_refuses_a_market_and_beats_only_when_idle() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _open(sim)
        await socket.frame()
        assert await socket.silent(1.5)
        symbols = ["XBT/USD", "BTC/USD"]
        params = {"channel": "trade", "symbol": symbols, "snapshot": False}
        await socket.send({"method": "subscribe", "params": params, "req_id": 4})
        refused, accepted = await socket.frame(), await socket.frame()
        assert refused["error"] == "Currency pair not supported XBT/USD"
        assert not refused["success"]
        assert accepted["success"]
        assert accepted["req_id"] == 4
        assert await socket.frame() == {"channel": "heartbeat"}
        await socket.close()

    _run(scenario, _still("kraken"))


def test_kraken_reports_errors_with_status_200_and_lists_markets() -> None:
    async def scenario(sim: Simulator) -> None:
        wrong = await _json(sim, "/0/public/Trades", pair="NOSUCH")
        assert wrong == {"error": ["EQuery:Unknown asset pair"]}
        pairs = (await _json(sim, "/0/public/AssetPairs"))["result"]
        assert pairs["XXBTZUSD"]["wsname"] == "XBT/USD"
        sim.fault("ban", seconds=30)
        assert (await _json(sim, "/0/public/Depth")) == {"error": ["EAPI:Rate limit exceeded"]}

    _run(scenario, _still("kraken"))


# Nobitex


async def _centrifugo(sim: Simulator, *channels: str) -> tuple[_Socket, list[Any]]:
    """Connect and subscribe; return the replies to the subscriptions."""
    socket = await _open(sim)
    commands = [{"connect": {}, "id": 1}]
    commands += [
        {"id": number, "subscribe": {"channel": channel}}
        for number, channel in enumerate(channels, start=2)
    ]
    await socket.send("\n".join(map(json.dumps, commands)))
    connected, *replies = [await socket.document() for _ in commands]
    assert connected["connect"]["pong"] is True
    return socket, [reply["subscribe"] for reply in replies]


def _nobitex_trade(data: Any) -> tuple[str, Decimal, Decimal, str]:
    """Read a trade, its price in Toman; it has no ID."""
    return "", Decimal(data["price"]) / 10, Decimal(data["volume"]), data["type"]


def test_nobitex_sends_consecutive_offsets_and_rest_returns_a_dropped_trade() -> None:
    async def scenario(sim: Simulator) -> None:
        channel = "public:trades-BTCIRT"
        socket, (reply,) = await _centrifugo(sim, channel)
        before = sim.trade(3, "BTCIRT")
        pushed = [(await socket.document())["push"] for _ in before]
        assert [push["channel"] for push in pushed] == [channel] * 3
        assert [push["pub"]["offset"] for push in pushed] == [1, 2, 3]
        assert reply["offset"] == 0
        found = [_nobitex_trade(push["pub"]["data"]) for push in pushed]
        assert found == [_facts(entry) for entry in before]
        sim.fault("drop", symbol="BTCIRT")
        (lost,) = sim.trade(1, "BTCIRT")
        sim.trade(1, "BTCIRT")
        assert (await socket.document())["push"]["pub"]["offset"] == 5
        rows = (await _json(sim, "/v2/trades/BTCIRT"))["trades"]
        assert _facts(lost) in [_nobitex_trade(row) for row in rows]
        assert lost.via_rest

        await socket.send({"id": 8, "unsubscribe": {"channel": channel}})
        assert (await socket.document())["unsubscribe"] == {}
        position = {"recover": True, "epoch": reply["epoch"], "offset": 3}
        await socket.send({"id": 9, "subscribe": {"channel": channel, **position}})
        recovered = (await socket.document())["subscribe"]
        assert recovered["recovered"] is True
        assert [each["offset"] for each in recovered["publications"]] == [4, 5]
        assert _nobitex_trade(recovered["publications"][0]["data"]) == _facts(lost)
        await socket.close()

    _run(scenario, _still("nobitex"))


def test_nobitex_begins_a_new_epoch_and_forgets_the_positions_of_the_old_one() -> None:
    async def scenario(sim: Simulator) -> None:
        channel = "public:trades-BTCUSDT"
        socket, (old,) = await _centrifugo(sim, channel)
        sim.trade(3, "BTCUSDT")
        sim.fault("epoch")
        assert await socket.closed() == (3001, "shutdown")
        socket, (new,) = await _centrifugo(sim, channel)
        assert new["epoch"] != old["epoch"]
        assert new["offset"] == 0
        sim.trade(1, "BTCUSDT")
        assert (await socket.document())["push"]["pub"]["offset"] == 1
        await socket.send({"id": 3, "unsubscribe": {"channel": channel}})
        await socket.document()
        position = {"recover": True, "epoch": old["epoch"], "offset": 2}
        await socket.send({"id": 4, "subscribe": {"channel": channel, **position}})
        assert (await socket.document())["subscribe"]["recovered"] is False
        await socket.close()

    _run(scenario, _still("nobitex"))


def test_nobitex_joins_documents_into_one_frame_now_and_then() -> None:
    async def scenario(sim: Simulator) -> None:
        socket, _ = await _centrifugo(sim, "public:orderbook-BTCIRT")
        frames = [await socket.text() for _ in range(10)]
        joined = [frame.split("\n") for frame in frames if "\n" in frame]
        assert joined
        assert all("{}" in documents for documents in joined)
        data = json.loads(frames[0].split("\n")[0])["push"]["pub"]["data"]
        assert len(data["asks"]) == len(data["bids"]) == 24
        assert all(int(price) % 10 == 0 for price, _ in data["asks"])
        await socket.close()

    _run(scenario, _still("nobitex", symbols=2, depth_per_s=100))


def test_nobitex_accepts_any_channel_but_no_channel_twice_and_no_nonsense() -> None:
    async def scenario(sim: Simulator) -> None:
        socket, replies = await _centrifugo(sim, "public:trades-NOSUCH", "public:trades-BTCIRT")
        assert replies[0] == {}
        await socket.send({"id": 4, "subscribe": {"channel": "public:trades-BTCIRT"}})
        assert (await socket.document())["error"]["code"] == 105
        await socket.send("nonsense")
        assert await socket.closed() == (3501, "bad request")
        early = await _open(sim)
        await early.send({"id": 2, "subscribe": {"channel": "public:trades-BTCIRT"}})
        assert await early.closed() == (3501, "bad request")

    _run(scenario, _still("nobitex"))


def test_nobitex_pings_and_closes_without_a_pong() -> None:
    async def scenario(sim: Simulator) -> None:
        socket, _ = await _centrifugo(sim)
        for _ in range(3):
            assert await socket.document() == {}
            await socket.send("{}")
        assert await socket.closed() == (3012, "no pong")

    _run(scenario, _still("nobitex", ping_interval_s=0.2, pong_timeout_s=0.5))


def test_nobitex_gives_the_wait_in_the_body_of_429() -> None:
    async def scenario(sim: Simulator) -> None:
        for _ in range(60):
            await _json(sim, "/v2/trades/BTCIRT")
        refused = await _get(sim, "/v2/trades/BTCIRT")
        assert refused.status_code == 429
        assert 0 < refused.json()["backOff"] <= 60
        assert "BTCIRT" in (await _json(sim, "/v2/options"))["nobitex"]["amountPrecisions"]

    _run(scenario, _still("nobitex"))


# OKX


def _okx_trade(row: Any) -> tuple[str, Decimal, Decimal, str]:
    return row["tradeId"], Decimal(row["px"]), Decimal(row["sz"]), row["side"]


async def _okx(sim: Simulator, channel: str, symbol: str = "BTC-USDT") -> _Socket:
    socket = await _open(sim, f"/ws/v5/{'business' if channel == 'trades-all' else 'public'}")
    await socket.send({"op": "subscribe", "args": [{"channel": channel, "instId": symbol}]})
    answered = await socket.frame()
    assert answered["event"] == "subscribe"
    assert answered["arg"] == {"channel": channel, "instId": symbol}
    return socket


def test_okx_sends_consecutive_trades_and_rest_returns_a_dropped_one() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _okx(sim, "trades-all")
        before = sim.trade(3, "BTC-USDT")
        received = [(await socket.frame())["data"][0] for _ in before]
        assert [_okx_trade(row) for row in received] == [_facts(entry) for entry in before]
        sim.fault("drop", symbol="BTC-USDT")
        (lost,) = sim.trade(1, "BTC-USDT")
        (after,) = sim.trade(1, "BTC-USDT")
        found = int((await socket.frame())["data"][0]["tradeId"])
        assert [found - 1, found] == [int(lost.native_id), int(after.native_id)]
        page = await _json(
            sim, "/api/v5/market/history-trades", instId="BTC-USDT", type=1, after=found, limit=2
        )
        assert [_okx_trade(row) for row in page["data"]] == [_facts(lost), _facts(before[-1])]
        await socket.close()
        again = await _okx(sim, "trades-all")
        assert int((await again.frame())["data"][0]["tradeId"]) == found
        await again.close()

    _run(scenario, _still("okx"))


def test_okx_merges_the_trades_of_one_order_at_one_price() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _okx(sim, "trades")
        entries = sim.trade(40, "BTC-USDT")
        last = int(entries[0].native_id) - 1
        counts = []
        while last < int(entries[-1].native_id):
            (row,) = (await socket.frame())["data"]
            counts.append(int(row["count"]))
            covered = [e for e in entries if last < int(e.native_id) <= int(row["tradeId"])]
            assert int(row["tradeId"]) - counts[-1] == last
            assert sum(Decimal(e.quantity) for e in covered) == Decimal(row["sz"])
            last = int(row["tradeId"])
        assert max(counts) > 1
        await socket.close()

    _run(scenario, _still("okx", twin_share=0.5))


def test_okx_chains_books_and_a_lost_update_breaks_the_chain() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _okx(sim, "books")
        first = (await socket.frame())["data"][0]
        assert first["prevSeqId"] == -1
        number = first["seqId"]

        async def follow(updates: int) -> list[bool]:
            nonlocal number
            chained = []
            for _ in range(updates):
                data = (await socket.frame())["data"][0]
                chained.append(data["prevSeqId"] == number)
                number = data["seqId"]
            return chained

        assert all(await follow(30))
        before = number
        sim.fault("epoch")
        assert all(await follow(10))
        assert number < before
        sim.fault("drop", symbol="BTC-USDT", kind="book", count=3)
        assert (await follow(10)).count(False) == 1
        await socket.close()

    _run(scenario, _still("okx", symbols=1, depth_per_s=200))


def test_okx_answers_text_pings_refuses_and_closes_silent_connections() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _open(sim)
        await socket.send("ping")
        assert await socket.text() == "pong"
        for arg in (
            {"channel": "trades-all", "instId": "BTC-USDT"},
            {"channel": "trades", "instId": "NOSUCH"},
        ):
            await socket.send({"op": "subscribe", "args": [arg]})
            refused = await socket.frame()
            assert (refused["event"], refused["code"]) == ("error", "60018")
            assert f"channel:{arg['channel']},instId:{arg['instId']} doesn't" in refused["msg"]
        sim.fault("goodbye", seconds=30)
        assert (await socket.frame())["code"] == "64008"
        assert await socket.closed() == (4004, "No data received in 30s")

    _run(scenario, _still("okx", pong_timeout_s=0.5))


# Ramzinex


def _ramzinex_trade(row: Any) -> tuple[str, Decimal, Decimal, str]:
    return row[5], Decimal(row[0]) / 10, Decimal(row[1]), row[3]


def test_ramzinex_pushes_whole_lists_that_hold_a_dropped_trade_too() -> None:
    async def scenario(sim: Simulator) -> None:
        before = sim.trade(60, "BTCIRR")
        socket, (reply,) = await _centrifugo(sim, "last-trades:2")
        (cached,) = reply["publications"]
        assert [_ramzinex_trade(row) for row in cached["data"]] == [
            _facts(entry) for entry in before[:-51:-1]
        ]
        (new,) = sim.trade(1, "BTCIRR")
        push = (await socket.document())["push"]["pub"]
        assert push["offset"] == cached["offset"] + 1
        assert len(push["data"]) == 50
        assert _ramzinex_trade(push["data"][0]) == _facts(new)
        sim.fault("drop", symbol="BTCIRR")
        (lost,) = sim.trade(1, "BTCIRR")
        sim.trade(1, "BTCIRR")
        push = (await socket.document())["push"]["pub"]
        assert push["offset"] == cached["offset"] + 3
        assert _ramzinex_trade(push["data"][1]) == _facts(lost)
        assert lost.possible
        root = "/exchange/api/v1.0/exchange"
        rows = (await _json(sim, f"{root}/orderbooks/2/trades"))["data"]
        assert _ramzinex_trade(rows[1]) == _facts(lost)
        sim.trade(60, "BTCIRR")
        rows = (await socket.document())["push"]["pub"]["data"]
        assert len({row[5] for row in rows} & {row[5] for row in push["data"]}) == 0
        await socket.close()

    _run(scenario, _still("ramzinex"))


def test_ramzinex_sells_end_with_the_best_and_markets_are_numbers() -> None:
    async def scenario(sim: Simulator) -> None:
        root = "/exchange/api/v1.0/exchange"
        pairs = (await _json(sim, f"{root}/pairs"))["data"]
        assert {each["pair_id"] for each in pairs} >= {2, 3, 11, 12}
        assert len({each["pair_id"] for each in pairs}) == len(pairs)
        socket, _ = await _centrifugo(sim, "orderbook:12")
        data = (await socket.document())["push"]["pub"]["data"]
        buys, sells = ([row[0] for row in data[side]] for side in ("buys", "sells"))
        assert buys == sorted(buys, reverse=True)
        assert sells == sorted(sells, reverse=True)
        assert buys[0] < sells[-1]
        await socket.close()

    _run(scenario, _still("ramzinex", depth_per_s=500))


# Bitpin


def _bitpin_trade(row: Any) -> tuple[str, Decimal, Decimal, str]:
    return row["id"], Decimal(row["price"]), Decimal(row["base_amount"]), row["side"]


def test_bitpin_repeats_trades_and_a_dropped_push_is_a_hole() -> None:
    async def scenario(sim: Simulator) -> None:
        socket, (_,) = await _centrifugo(sim, "matches:BTC_IRT")
        before = sim.trade(4, "BTC_IRT")
        push = (await socket.document())["push"]["pub"]
        assert [_bitpin_trade(row) for row in push["data"]["matches"]] == [
            _facts(entry) for entry in reversed(before)
        ]
        sim.fault("drop", symbol="BTC_IRT")
        lost = sim.trade(5, "BTC_IRT")
        (after,) = sim.trade(1, "BTC_IRT")
        push = (await socket.document())["push"]["pub"]
        assert push["offset"] == 3
        assert [_bitpin_trade(row) for row in push["data"]["matches"]] == [
            _facts(entry) for entry in (after, *reversed(lost[-3:]))
        ]
        rows = await _json(sim, "/api/v1/mth/matches/BTC_IRT/")
        assert [_bitpin_trade(row) for row in rows[1:6]] == [_facts(e) for e in reversed(lost)]
        for row in rows:
            buyer, seller = map(int, row["id"].split("_"))
            assert row["side"] == ("buy" if buyer > seller else "sell")
        markets = await _json(sim, "/api/v1/mkt/markets/")
        assert {"BTC_IRT", "BTC_USDT", "USDT_IRT"} <= {each["symbol"] for each in markets}
        sim.fault("ban", seconds=20)
        refused = await _get(sim, "/api/v1/mkt/markets/")
        assert refused.status_code == 429
        assert "Expected available in 20 seconds" in refused.json()["detail"]
        await socket.close()

    _run(scenario, _still("bitpin"))


# Exir


def _exir_trade(row: Any) -> tuple[str, Decimal, Decimal, str]:
    return "", Decimal(row["price"]), Decimal(row["size"]), row["side"]


async def _exir(sim: Simulator, *args: str) -> _Socket:
    socket = await _open(sim)
    assert await socket.frame() == {"message": "Welcome!"}
    await socket.send({"op": "subscribe", "args": args})
    return socket


def test_exir_begins_with_a_partial_that_closes_a_hole() -> None:
    async def scenario(sim: Simulator) -> None:
        before = sim.trade(3, "btc-irt")
        socket = await _exir(sim, "trade:btc-irt")
        partial = await socket.frame()
        assert partial["action"] == "partial"
        assert [_exir_trade(row) for row in partial["data"]] == [
            _facts(entry) for entry in reversed(before)
        ]
        sim.fault("drop", symbol="btc-irt")
        (lost,) = sim.trade(1, "btc-irt")
        (after,) = sim.trade(1, "btc-irt")
        inserted = await socket.frame()
        assert inserted["action"] == "insert"
        assert [_exir_trade(row) for row in inserted["data"]] == [_facts(after)]
        rows = (await _json(sim, "/v2/trades", symbol="btc-irt"))["btc-irt"]
        assert _exir_trade(rows[1]) == _facts(lost)
        await socket.close()
        again = await _exir(sim, "trade:btc-irt", "orderbook:btc-irt")
        assert _exir_trade((await again.frame())["data"][1]) == _facts(lost)
        book = (await again.frame())["data"]
        assert len(book["bids"]) == len(book["asks"]) == 10
        await again.close()

    _run(scenario, _still("exir"))


def test_exir_leaves_the_rest_of_a_message_undone_after_an_error() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _exir(sim, "orderbook:btc-irt", "trade:nosuch", "orderbook:eth-irt")
        assert (await socket.frame())["symbol"] == "btc-irt"
        assert await socket.frame() == {"error": "Invalid symbol"}
        await socket.send({"op": "subscribe", "args": ["orderbook:btc-irt"]})
        expected = {"error": "Already subscribed to channel orderbook:btc-irt"}
        assert await socket.frame() == expected
        await socket.send(*({"op": "ping"} for _ in range(30)))
        assert [await socket.frame() for _ in range(30)] == [{"message": "pong"}] * 30
        await socket.send(*({"op": "subscribe", "args": ["x"]} for _ in range(20)))
        errors = [(await socket.frame())["error"] for _ in range(20)]
        assert "Rate limit exceeded" in errors[-1]
        await socket.close()

    _run(scenario, _still("exir"))


def test_exir_closes_silent_clients_and_refuses_handshakes_without_its_hub() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _exir(sim, "trade:btc-irt")
        assert (await socket.closed())[0] == 1000
        socket = await _exir(sim, "trade:btc-irt")
        sim.fault("goodbye", seconds=0)
        assert (await socket.closed())[0] == 1000
        with pytest.raises(InvalidStatus) as refused:
            await _open(sim)
        assert refused.value.response.status_code == 400
        assert b"Hub websocket is disconnected" in (refused.value.response.body or b"")

    _run(scenario, _still("exir", pong_timeout_s=0.3))


# Tabdeal


def test_tabdeal_sends_whole_books_and_returns_trades_only_over_rest() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _open(sim)
        await socket.send({"method": "SUBSCRIBE", "params": ["btcirt@trade"], "id": 1})
        assert await socket.frame() == {"error": "INVALID_FORMAT"}
        await socket.send({"method": "SUBSCRIBE", "params": ["btcirt@depth@2000ms"], "id": 2})
        assert await socket.frame() == {"result": None, "id": 2}
        first, second = await socket.frame(), await socket.frame()
        assert first["data"]["b"] == second["data"]["b"]
        assert 1900 < second["data"]["E"] - first["data"]["E"] < 3000
        mine, other = sim.trade(3, "BTCIRT"), sim.trade(1, "USDTIRT")
        after = sim.trade(1, "BTCIRT")
        rows = await _json(sim, "/r/api/v1/trades", symbol="BTCIRT", limit=1000)
        found = [
            (
                str(row["id"]),
                Decimal(row["price"]),
                Decimal(row["qty"]),
                "sell" if row["isBuyerMaker"] else "buy",
            )
            for row in reversed(rows)
        ]
        assert found == [_facts(entry) for entry in (*mine, *after)]
        ids = [int(entry.native_id) for entry in (*mine, *other, *after)]
        assert ids == sorted(set(ids))
        assert (await _get(sim, "/r/api/v1/trades", symbol="NOSUCH")).status_code == 500
        assert (await _get(sim, "/r/api/v1/depth", symbol="NOSUCH")).json() == {"code": 1206}
        info = await _json(sim, "/r/api/v1/exchangeInfo", limit=1000)
        assert {"BTCIRT", "USDTIRT"} <= {each["symbol"] for each in info}
        await socket.close()

    _run(scenario, _still("tabdeal"))


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


def test_dialects_altered_trades_differ_on_the_socket_and_not_over_rest() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _open(sim, "/ws/btcusdt@trade")
        sim.fault("alter", symbol="BTCUSDT", count=1)
        altered, right = sim.trade(1, "BTCUSDT") + sim.trade(1, "BTCUSDT")
        shown = [Decimal((await socket.frame())["q"]) for _ in range(2)]
        assert shown[0] > Decimal(altered.quantity)
        assert shown[1] == Decimal(right.quantity)
        rows = await _json(sim, "/api/v3/trades", symbol="BTCUSDT", limit=2)
        assert [Decimal(row["qty"]) for row in rows] == [
            Decimal(altered.quantity), Decimal(right.quantity),
        ]  # fmt: skip
        await socket.close()

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


@pytest.mark.parametrize("name", NAMES)
def test_dialects_survive_every_fault_and_go_on(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a test injects, the exchange serves a new client afterwards."""

    async def scenario(sim: Simulator) -> None:
        symbol = next(iter(sim.market.markets))
        first = await _open(sim)
        for fault in FaultName:
            if fault in (FaultName.RESEND, FaultName.REQUIRE_PONG):
                continue  # of Wallex only
            kind = "book" if fault is FaultName.DROP else ""
            with contextlib.suppress(ValueError):
                sim.fault(fault, symbol=symbol, kind=kind, seconds=0.05, status=503)
            sim.trade(5, symbol)
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        sim.fault("clear")
        with contextlib.suppress(ConnectionClosed):
            await first.close()
        exir_hub_s = 3.5 if name == "exir" else 0
        await asyncio.sleep(exir_hub_s)
        await (await _open(sim)).close()
        assert len(sim.trade(3, symbol)) == 3
        assert (await _get(sim, "/simulator/ledger")).status_code == 200
        assert sim.ledger.summary().trades_generated > 50

    _run(scenario, _still(name, depth_per_s=50))
    # The library reports the errors of our handlers.
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []


def test_dialects_the_command_line_selects_one_and_prints_its_addresses() -> None:
    command = radar("simulate", "--exchange", "kraken", "--port", "0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            socket, rest = (process.stdout.readline().strip() for _ in range(2))
            assert socket.startswith("KRAKEN_WS_URL=ws://127.0.0.1:")
            assert rest.startswith("KRAKEN_REST_URL=http://127.0.0.1:")
            answer = httpx.get(f"{rest.partition('=')[2]}/0/public/SystemStatus", trust_env=False)
            assert answer.json()["result"]["status"] == "online"
        finally:
            process.terminate()
        assert process.wait(WAIT_S) == 0

    wrong = radar("simulate", "--exchange", "nosuch", "--port", "0")
    refused = subprocess.run(wrong, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "exchange must be one of wallex, binance" in " ".join(refused.stderr.split())
