"""Producers against a second exchange, written from the documented wire formats alone."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from producing import consumer_of
from radar.codec.message_format import as_json
from radar.datasets import DEPTH, TRADES, Dataset
from radar.producer import session
from radar.producer.connection import CLOSE_TIMEOUT_S
from radar.producer.producer import run
from radar.producer.trade_ids import trade_id
from radar.settings import Settings

USDTTMN = {
    "symbol": "USDTTMN",
    "base_asset": "USDT",
    "quote_asset": "TMN",
    "price": "31704",
    "is_spot": True,
    "created_at": "2020-01-01T00:00:00Z",
    "flags": [],
}
BTCUSDT = USDTTMN | {"symbol": "BTCUSDT", "base_asset": "BTC", "quote_asset": "USDT"}
TRADE = {
    "isBuyOrder": False,
    "quantity": "705.0000000000000000",
    "price": "31704.0000000000000000",
    "timestamp": "2026-06-26T11:14:09Z",
}
TRADE_MS = 1_782_472_449_000
CONTENT = f"wallex|USDTTMN|{TRADE_MS}|31704|705|sell"


class Exchange:
    """Sends what a test tells it to, and notes what it gets."""

    def __init__(self) -> None:
        self.markets = [USDTTMN]
        self.recent: list[dict[str, Any]] = []
        self.refuse_rest = 0
        self.connections: list[ServerConnection] = []
        self.received: list[list[Any]] = []  # by connection
        self.port = 0

    async def handle(self, connection: ServerConnection) -> None:
        received: list[Any] = []
        self.connections.append(connection)
        self.received.append(received)
        async for message in connection:
            assert isinstance(message, str), "the exchange speaks text"
            received.append(json.loads(message))

    def respond(self, _: ServerConnection, request: Request) -> Response | None:
        if request.path == "/ws":
            return None
        if self.refuse_rest:
            self.refuse_rest -= 1
            return Response(HTTPStatus.BAD_GATEWAY, "Bad Gateway", Headers(), b"<html>")
        result: dict[str, Any] = {}
        if request.path == "/hector/web/v1/markets":
            result = {"markets": self.markets}
        elif request.path.startswith("/v1/trades?symbol="):
            symbol = request.path.partition("=")[2]
            result = {"latestTrades": [each for each in self.recent if each["symbol"] == symbol]}
        body = json.dumps({"success": True, "message": "ok", "result": result}).encode()
        headers = Headers({"Content-Length": str(len(body)), "Connection": "close"})
        return Response(HTTPStatus.OK, "OK", headers, body)

    async def send(self, *frames: object, connection: int = -1) -> None:
        for frame in frames:
            await self.connections[connection].send(json.dumps(frame))

    def channels(self) -> set[str]:
        """Return what the newest connection has subscribed to."""
        messages = self.received[-1] if self.received else []
        return {each[1]["channel"] for each in messages if each[0] == "subscribe"}


@contextlib.asynccontextmanager
async def exchange() -> AsyncIterator[Exchange]:
    served = Exchange()
    async with serve(
        served.handle, "127.0.0.1", 0, process_request=served.respond, ping_interval=None
    ) as server:
        served.port = server.sockets[0].getsockname()[1]
        yield served


@contextlib.asynccontextmanager
async def producing(
    settings: Settings, served: Exchange, dataset: Dataset, **changes: Any
) -> AsyncIterator[None]:
    stop = asyncio.Event()
    settings = settings.model_copy(
        update={
            "exchange_ws_url": f"ws://127.0.0.1:{served.port}/ws",
            "exchange_rest_url": f"http://127.0.0.1:{served.port}",
            "connection_overlap_seconds": 0.2,
        }
        | changes
    )
    task = asyncio.create_task(run(settings, dataset, stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - sockets announce nothing
            await asyncio.sleep(0.01)


class Reader:
    """Reads a topic."""

    def __init__(self, settings: Settings, dataset: Dataset) -> None:
        self._consumer = consumer_of(settings, dataset)

    async def take(self, count: int) -> list[tuple[bytes | None, dict[str, Any]]]:
        """Return so many messages; nothing else may be there within a moment."""
        taken: list[tuple[bytes | None, dict[str, Any]]] = []
        async with asyncio.timeout(20):
            while len(taken) < count:
                taken += [
                    (message.key(), json.loads(as_json(message.value() or b"")))
                    for message in await asyncio.to_thread(self._consumer.consume, 100, 0.1)
                    if message.error() is None
                ]
        assert not await asyncio.to_thread(self._consumer.consume, 100, 0.2)
        return taken

    def close(self) -> None:
        self._consumer.close()


def test_trades_producer_documented_frames_become_messages(kafka_settings: Settings) -> None:
    async def record() -> None:
        reader = Reader(kafka_settings, TRADES)
        async with exchange() as served, producing(kafka_settings, served, TRADES):
            await until(lambda: served.channels() == {"USDTTMN@trade"})
            await served.send(
                {"sid": "1", "pingInterval": 20000},
                ["USDTTMN@trade", TRADE],
                ["USDTTMN@trade", TRADE],
                ["USDTTMN@trade", TRADE | {"price": 31704.5, "isBuyOrder": True}],
            )
            messages = await reader.take(3)
        assert {key for key, _ in messages} == {b"wallex:USDTTMN"}
        first, twin, other = (value for _, value in messages)
        assert first.pop("received_at_us") <= twin.pop("received_at_us")
        assert first == {
            "v": 1,
            "kind": "trade",
            "trade_id": trade_id(CONTENT, 1),
            "source": "wallex",
            "symbol": "USDTTMN",
            "base": "USDT",
            "quote": "TMN",
            "side": "sell",
            "price": "31704",
            "base_amount": "705",
            "event_time_ms": TRADE_MS,
            "native_id": "",
            "sequence": 0,
            "event_time_us": 1_782_472_449_000_000,
            "set_back_us": 0,
        }
        assert twin == first | {"trade_id": trade_id(CONTENT, 2)}
        assert (other["price"], other["side"]) == ("31704.5", "buy")
        reader.close()

    asyncio.run(record())


def test_depth_producer_documented_frames_become_messages(kafka_settings: Settings) -> None:
    async def record() -> None:
        reader = Reader(kafka_settings, DEPTH)
        worst_first = [{"quantity": 255.75, "price": 82131, "sum": 21005003.25},
                       {"quantity": 103.07, "price": 82083, "sum": 8460294.81}]  # fmt: skip
        async with exchange() as served, producing(kafka_settings, served, DEPTH):
            await until(lambda: served.channels() == {"USDTTMN@buyDepth", "USDTTMN@sellDepth"})
            await served.send(["USDTTMN@sellDepth", worst_first], ["USDTTMN@buyDepth", worst_first])
            (_, asks), (_, bids) = await reader.take(2)
        assert (asks["side"], asks["prices"]) == ("ask", [82083, 82131])
        assert asks["quantities"] == [103.07, 255.75]
        assert (bids["side"], bids["prices"]) == ("bid", [82131, 82083])
        reader.close()

    asyncio.run(record())


def test_producer_pinged_answers_and_rotates_before_the_hundredth_pong(
    kafka_settings: Settings,
) -> None:
    async def record() -> None:
        async with exchange() as served, producing(kafka_settings, served, TRADES):
            await until(lambda: served.channels() == {"USDTTMN@trade"})
            await served.send({"ping": "0"})
            await until(lambda: {"pong": "0"} in served.received[0])
            assert len(served.connections) == 1
            await served.send(*({"ping": str(number)} for number in range(1, 96)))
            await until(lambda: len(served.connections) == 2)
            await until(lambda: served.channels() == {"USDTTMN@trade"})
            await asyncio.wait_for(served.connections[0].wait_closed(), 10)
            assert served.connections[0].close_code == 1000

    asyncio.run(record())


def test_producer_rotating_takes_one_trade_of_two_connections_once(
    kafka_settings: Settings,
) -> None:
    async def record() -> None:
        reader = Reader(kafka_settings, TRADES)
        async with (
            exchange() as served,
            producing(kafka_settings, served, TRADES, connection_max_age_seconds=0.5,
                      connection_overlap_seconds=5),
        ):  # fmt: skip
            await until(lambda: len(served.connections) == 2)
            await until(lambda: served.channels() == {"USDTTMN@trade"})
            for connection in (0, 1):
                await served.send(["USDTTMN@trade", TRADE], connection=connection)
            await served.send(["USDTTMN@trade", TRADE], connection=0)
            assert [each["trade_id"] for _, each in await reader.take(2)] == [
                trade_id(CONTENT, 1), trade_id(CONTENT, 2),
            ]  # fmt: skip
        reader.close()

    asyncio.run(record())


@pytest.mark.parametrize("silent_s", [0, 1.5 * CLOSE_TIMEOUT_S])
def test_trades_producer_stopped_reads_on_until_the_exchange_has_answered(
    kafka_settings: Settings, silent_s: float
) -> None:
    sent = 0

    async def send_before_the_answer(connection: ServerConnection) -> None:
        nonlocal sent
        async with asyncio.timeout(20):
            await asyncio.sleep(silent_s)
            end_s = time.monotonic() + 2 * CLOSE_TIMEOUT_S
            while time.monotonic() < end_s:
                sent += 1
                trade = TRADE | {"price": str(sent)}
                await connection.send(json.dumps(["USDTTMN@trade", trade]))
                await asyncio.sleep(0.02)
        connection.transport.resume_reading()

    async def record() -> None:
        reader = Reader(kafka_settings, TRADES)
        async with exchange() as served:
            async with producing(kafka_settings, served, TRADES):
                await until(lambda: served.channels() == {"USDTTMN@trade"})
                (connection,) = served.connections
                connection.transport.pause_reading()
                sending = asyncio.create_task(send_before_the_answer(connection))
            await sending
            prices = [int(trade["price"]) for _, trade in await reader.take(sent)]
            assert sorted(prices) == list(range(1, sent + 1))
        reader.close()

    asyncio.run(record())


def test_trades_producer_rotating_that_gives_up_a_sending_connection_reads_rest_again(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By then all is read that the successor's subscription makes it read.
    monkeypatch.setattr(session, "GOODBYE_TIMEOUT_S", 8.0)

    async def send_until_cut(connection: ServerConnection) -> None:
        connection.transport.pause_reading()  # it does not see the goodbye
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.send("[]")
                await asyncio.sleep(0.01)

    async def record() -> None:
        reader = Reader(kafka_settings, TRADES)
        async with (
            exchange() as served,
            # Nothing but the goodbye makes it read: not the silence of the successor.
            producing(kafka_settings, served, TRADES, silence_timeout_seconds=600),
        ):
            await until(lambda: served.channels() == {"USDTTMN@trade"})
            await served.send(*({"ping": str(number)} for number in range(96)))
            async with asyncio.timeout(20):
                await send_until_cut(served.connections[0])
            assert len(served.connections) == 2
            served.recent = [TRADE | {"symbol": "USDTTMN"}]
            ((_, trade),) = await reader.take(1)
            assert trade["trade_id"] == trade_id(CONTENT, 1)
        reader.close()

    asyncio.run(record())


def test_trades_producer_reconnected_counts_twins_of_the_second_with_rest(
    kafka_settings: Settings,
) -> None:
    """The second of three twins falls into the gap, and the third is the new connection's first."""

    async def record() -> None:
        reader = Reader(kafka_settings, TRADES)
        async with exchange() as served, producing(kafka_settings, served, TRADES):
            await until(lambda: served.channels() == {"USDTTMN@trade"})
            await served.send(["USDTTMN@trade", TRADE])
            await reader.take(1)
            await served.connections[0].close()
            await until(lambda: len(served.connections) == 2)
            await until(lambda: served.channels() == {"USDTTMN@trade"})
            await served.send(["USDTTMN@trade", TRADE])
            # REST knows of them only now, as if its answers were late.
            served.recent = [TRADE | {"symbol": "USDTTMN"}] * 3
            assert {each["trade_id"] for _, each in await reader.take(2)} == {
                trade_id(CONTENT, 2), trade_id(CONTENT, 3),
            }  # fmt: skip
        reader.close()

    asyncio.run(record())


def test_producer_finds_new_markets(kafka_settings: Settings) -> None:
    async def record() -> None:
        async with (
            exchange() as served,
            producing(kafka_settings, served, TRADES, markets_refresh_seconds=0.2),
        ):
            await until(lambda: served.channels() == {"USDTTMN@trade"})
            served.markets = [USDTTMN, BTCUSDT]
            await until(lambda: served.channels() == {"USDTTMN@trade", "BTCUSDT@trade"})

    asyncio.run(record())


def test_producer_without_a_market_list_asks_again(kafka_settings: Settings) -> None:
    async def record() -> None:
        async with exchange() as served:
            served.refuse_rest = 2
            async with producing(kafka_settings, served, TRADES, reconnect_max_seconds=0.1):
                await until(lambda: served.channels() == {"USDTTMN@trade"})

    asyncio.run(record())


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


def test_producer_with_a_socks_proxy_reaches_rest_and_websocket_through_it(
    kafka_settings: Settings,
) -> None:
    targets = []
    relays = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relays.add(asyncio.current_task())
        # RFC 1928: greeting without authentication, then CONNECT to a domain name or IPv4.
        await reader.readexactly((await reader.readexactly(2))[1])
        writer.write(b"\x05\x00")
        dataset = (await reader.readexactly(4))[3]
        length = 4 if dataset == 1 else (await reader.readexactly(1))[0]
        host = await reader.readexactly(length)
        port = int.from_bytes(await reader.readexactly(2))
        targets.append((host, port))
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        pipes = [
            asyncio.create_task(_pipe(reader, to_writer)),
            asyncio.create_task(_pipe(to_reader, writer)),
        ]
        await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, to_writer):
            end.transport.abort()
        await asyncio.wait(pipes)

    async def record() -> None:
        proxy = await asyncio.start_server(relay, "127.0.0.1", 0)
        port = proxy.sockets[0].getsockname()[1]
        async with exchange() as served:
            async with producing(
                kafka_settings,
                served,
                TRADES,
                exchange_proxy=f"socks5h://127.0.0.1:{port}",
                exchange_ws_url=f"ws://exchange.test:{served.port}/ws",
                exchange_rest_url=f"http://exchange.test:{served.port}",
            ):
                await until(lambda: served.channels() == {"USDTTMN@trade"})
            assert len(targets) >= 2
            assert set(targets) == {(b"exchange.test", served.port)}
        proxy.close()
        await asyncio.wait_for(asyncio.gather(*(relay for relay in relays if relay)), 10)

    asyncio.run(record())
