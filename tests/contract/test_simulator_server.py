"""The simulated exchange over real sockets: the protocol, the faults, and an honest ledger."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    InvalidHandshake,
    InvalidStatus,
)

from bounded_http.bounds import Bounds
from radar_simulator import (
    InvalidOption,
    LedgerTrade,
    Simulator,
    SimulatorOptions,
    parse_fault,
    read_ledger,
    server,
    simulator,
)

pytestmark = pytest.mark.sources("src/bounded_http", "src/radar_simulator")

Key = tuple[str, str, str, str, str]

STILL = SimulatorOptions(symbols=4, trades_per_s=0, depth_per_s=0)
"""An exchange where only what a test asks for happens."""

WAIT_S = 10.0

_opened: list[ClientConnection] = []  # by the scenario under way; closed after it


def _run(scenario: Callable[[Simulator], Awaitable[None]], options: SimulatorOptions) -> None:
    async def within() -> None:
        async with asyncio.timeout(3 * WAIT_S):
            try:
                async with simulator(options) as sim:
                    await scenario(sim)
            finally:
                while _opened:
                    await _opened.pop().close()

    asyncio.run(within())


async def _connect(sim: Simulator, *channels: str, **options: Any) -> ClientConnection:
    """Connect, read the hello and subscribe."""
    socket = await connect(sim.ws_url, ping_interval=None, close_timeout=1, **options)
    _opened.append(socket)
    assert set(json.loads(await socket.recv())) == {"sid", "pingInterval"}
    await _subscribe(sim, socket, *channels)
    return socket


async def _subscribe(sim: Simulator, socket: ClientConnection, *channels: str) -> None:
    for channel in channels:
        await socket.send(json.dumps(["subscribe", {"channel": channel}]))
    # A protocol pong comes back after everything before it has been handled.
    await _round_trip(socket)


async def _round_trip(socket: ClientConnection) -> None:
    await asyncio.wait_for(await socket.ping(), WAIT_S)
    # The library answers pings on arrival but hands over messages one loop step later.
    for _ in range(20):
        await asyncio.sleep(0)


async def _frame(socket: ClientConnection) -> Any:
    return json.loads(await asyncio.wait_for(socket.recv(), WAIT_S))


async def _until(condition: Callable[[], bool]) -> None:
    """Wait for what nothing announces; the scenario's own timeout ends it."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def _all_until_closed(socket: ClientConnection) -> list[Any]:
    frames = []
    try:
        while True:
            frames.append(await _frame(socket))
    except ConnectionClosed:
        return frames


async def _get(sim: Simulator, path: str, **query: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=sim.rest_url, trust_env=False) as client:
        return await client.get(path, params=query)


async def _summary(sim: Simulator, path: str = "/simulator/ledger", **query: Any) -> dict[str, Any]:
    answer = await _get(sim, path, **query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def _keys(frames: Iterable[Any]) -> Counter[Key]:
    """Read what trade frames tell, as the ledger's key."""
    trades = [frame for frame in frames if isinstance(frame, list) and "@trade" in frame[0]]
    return Counter(
        (
            channel.removesuffix("@trade"),
            body["timestamp"],
            body["price"],
            body["quantity"],
            "buy" if body["isBuyOrder"] else "sell",
        )
        for channel, body in trades
    )


def _ledger_keys(entries: Iterable[LedgerTrade]) -> Counter[Key]:
    return Counter(entry.key for entry in entries)


def _channels(sim: Simulator, *suffixes: str) -> list[str]:
    return [f"{symbol}@{suffix}" for symbol in sim.market.markets for suffix in suffixes]


# Protocol


def test_server_two_subscribers_get_exactly_the_ledgers_trades() -> None:
    async def scenario(sim: Simulator) -> None:
        sockets = [await _connect(sim, *_channels(sim, "trade")) for _ in range(2)]
        readers = [asyncio.create_task(_all_until_closed(socket)) for socket in sockets]
        await _until(lambda: sim.ledger.summary().twins > 5)
        assert await sim.quiesce()
        sim.fault("kick")
        first, second = [_keys(await reader) for reader in readers]
        entries = sim.ledger.trades()
        assert first == _ledger_keys(entry for entry in entries if entry.sent)
        assert second == _ledger_keys(entry for entry in entries if entry.sent_to == 2)

    _run(scenario, SimulatorOptions(trades_per_s=1000, depth_per_s=500))


def test_server_depth_subscription_gets_a_snapshot_at_once_and_each_side_regularly() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _connect(sim, *_channels(sim, "buyDepth", "sellDepth"))
        seen: Counter[str] = Counter()
        while min(seen.values(), default=0) < 3 or len(seen) < 12:
            channel, levels = await _frame(socket)
            assert len(levels) == 50
            seen[channel] += 1
        assert await sim.quiesce()
        sim.fault("kick")
        for channel, _ in await _all_until_closed(socket):
            seen[channel] += 1
        assert sim.ledger.summary().depth_frames_by_channel == seen

    _run(scenario, SimulatorOptions(symbols=4, trades_per_s=0, depth_per_s=200))


def test_server_still_market_sends_the_first_snapshot_of_one_side_only() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _connect(sim, "USDTTMN@sellDepth")
        channel, levels = await _frame(socket)
        assert channel == "USDTTMN@sellDepth"
        assert levels[0]["price"] < levels[1]["price"]
        assert sim.ledger.summary().depth_frames_sent == 1

    _run(scenario, STILL)


def test_server_trades_go_to_their_subscribers_only_until_they_unsubscribe() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _connect(sim, "USDTTMN@trade", "nonsense@trade", "all@price")
        (other,) = sim.trade(1, "BTCUSDT")
        (sent,) = sim.trade(1, "USDTTMN")
        assert (other.sent, sent.sent) == (False, True)
        assert (await _frame(socket))[1]["symbol"] == "BTCUSDT"  # all@price
        assert _keys([await _frame(socket)]) == _ledger_keys([sent])
        await socket.send('["unsubscribe",{"channel":"USDTTMN@trade"}]')
        await socket.send("nonsense")
        await _round_trip(socket)
        (late,) = sim.trade(1, "USDTTMN")
        assert not late.possible

    _run(scenario, STILL)


def test_server_rest_serves_what_happened_and_the_ledger_knows() -> None:
    async def scenario(sim: Simulator) -> None:
        trades = sim.trade(250, "BTCUSDT")
        latest = (await _get(sim, "/v1/trades", symbol="BTCUSDT")).json()["result"]["latestTrades"]
        assert len(latest) == 200
        assert latest[0]["price"] == trades[-1].price
        assert [entry.via_rest for entry in trades] == [False] * 50 + [True] * 200
        summary = await _summary(sim)
        assert summary["trades_generated"] == summary["trades_unsent"] == 250
        assert summary["trades_served_rest"] == 200
        markets = (await _get(sim, "/hector/web/v1/markets")).json()["result"]["markets"]
        assert [market["symbol"] for market in markets] == list(sim.market.markets)
        depth = (await _get(sim, "/v1/depth", symbol="BTCUSDT")).json()["result"]
        assert len(depth["ask"]) == len(depth["bid"]) == 50
        query = {"symbol": "BTCUSDT", "resolution": "1", "from": 0, "to": 2**33}
        assert (await _get(sim, "/v1/udf/history", **query)).json()["s"] == "ok"

    _run(scenario, STILL)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404),
        ("/v1/trades", 400),
        ("/v1/depth?symbol=NOSUCH", 400),
        ("/v1/udf/history?symbol=USDTTMN", 400),
        ("/v1/udf/history?symbol=USDTTMN&resolution=7&from=0&to=1", 400),
        ("/simulator/nothing", 404),
        ("/simulator/faults", 400),
        ("/simulator/faults?fault=kick&name=stall", 400),
        ("/ws", 426),
    ],
)
def test_server_request_it_does_not_know_is_refused(path: str, status: int) -> None:
    async def scenario(sim: Simulator) -> None:
        assert (await _get(sim, path)).status_code == status

    _run(scenario, STILL)


def test_server_pings_and_a_peer_that_answers_stays() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _connect(sim)
        for _ in range(6):  # three times the timeout
            ping = (await _frame(socket))["ping"]
            await socket.send(json.dumps({"pong": ping}))
        assert sim.ledger.summary().connections_open == 1

    options = SimulatorOptions(symbols=1, ping_interval_s=0.05, pong_timeout_s=0.1)
    _run(scenario, options)


def test_server_peer_that_does_not_answer_pings_is_closed() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _connect(sim)
        frames = await _all_until_closed(socket)
        assert all(set(frame) == {"ping"} for frame in frames)
        assert socket.close_code == 1008
        assert sim.ledger.summary().closes == {"no_pong": 1}

    _run(scenario, SimulatorOptions(symbols=1, ping_interval_s=0.05, pong_timeout_s=0.1))


def test_server_connection_reaches_its_age_and_is_closed() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _connect(sim)
        await _all_until_closed(socket)
        assert socket.close_code == 1000
        assert sim.ledger.summary().closes == {"max_age": 1}

    _run(scenario, SimulatorOptions(symbols=1, connection_max_age_s=0.1))


# Faults


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_kick_by_request_closes_so_many_connections(method: str) -> None:
    async def scenario(sim: Simulator) -> None:
        first, second = await _connect(sim), await _connect(sim)
        async with httpx.AsyncClient(base_url=sim.rest_url, trust_env=False) as client:
            answer = await client.request(method, "/simulator/faults?fault=kick&count=1&code=4000")
        assert answer.status_code == 200
        await _all_until_closed(first)
        assert first.close_code == 4000
        await _round_trip(second)
        assert sim.ledger.summary().faults == {"kick": 1}

    _run(scenario, STILL)


def test_kick_without_close_frame_loses_nothing_that_was_confirmed() -> None:
    async def scenario(sim: Simulator) -> None:
        got: Counter[Key] = Counter()
        for _ in range(5):
            socket = await _connect(sim, *_channels(sim, "trade"))
            for _ in range(50):
                got += _keys([await _frame(socket)])
            sim.fault("kick", close_frame=False)
            got += _keys(await _all_until_closed(socket))
            assert socket.close_code == 1006
        assert await sim.quiesce()
        entries = sim.ledger.trades()
        assert _ledger_keys(entry for entry in entries if entry.sent) <= got
        assert got <= _ledger_keys(entry for entry in entries if entry.possible)
        assert sim.ledger.summary().trades_sent >= 200

    _run(scenario, SimulatorOptions(symbols=10, trades_per_s=2000, depth_per_s=0))


def test_stall_sends_nothing_but_answers_protocol_pings() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _connect(sim, "USDTTMN@trade")
        sim.fault("stall", seconds=60)
        (lost,) = sim.trade(1, "USDTTMN")
        await _round_trip(socket)
        assert not lost.possible
        sim.fault("clear")
        (after,) = sim.trade(1, "USDTTMN")
        assert _keys([await _frame(socket)]) == _ledger_keys([after])

    _run(scenario, STILL)


def test_mute_keeps_one_market_from_present_subscriptions_only() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _connect(sim, "USDTTMN@trade", "BTCTMN@trade")
        await _round_trip(socket)
        sim.fault("mute", symbol="USDTTMN", seconds=60)
        (lost,) = sim.trade(1, "USDTTMN")
        (other,) = sim.trade(1, "BTCTMN")
        assert _keys([await _frame(socket)]) == _ledger_keys([other])
        assert not lost.possible
        again = await _connect(sim, "USDTTMN@trade")
        await _round_trip(again)
        (heard,) = sim.trade(1, "USDTTMN")
        assert _keys([await _frame(again)]) == _ledger_keys([heard])

    _run(scenario, STILL)


def test_trades_of_one_market_are_dropped_repeated_and_altered() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _connect(sim, "USDTTMN@trade", "BTCTMN@trade")
        await _round_trip(socket)
        sim.fault("drop", symbol="USDTTMN", count=2)
        lost = sim.trade(2, "USDTTMN")
        (heard,) = sim.trade(1, "USDTTMN")
        assert _keys([await _frame(socket)]) == _ledger_keys([heard])
        assert not any(each.possible for each in lost)
        sim.fault("repeat", symbol="USDTTMN", count=1)
        assert _keys([await _frame(socket)]) == _ledger_keys([heard])
        sim.fault("alter", symbol="USDTTMN", count=1)
        altered, right = sim.trade(1, "USDTTMN") + sim.trade(1, "USDTTMN")
        first, second = await _frame(socket), await _frame(socket)
        assert _keys([second]) == _ledger_keys([right])
        assert _keys([first]) != _ledger_keys([altered])
        with pytest.raises(ValueError, match="drop needs one"):
            sim.fault("drop", symbol="NOSUCH")

    _run(scenario, STILL)


def test_half_open_neither_sends_nor_answers_and_ends_by_a_cut() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _connect(sim, "USDTTMN@trade")
        sim.fault("half_open", seconds=0.3)
        (lost,) = sim.trade(1, "USDTTMN")
        answered = await socket.ping()
        assert await _all_until_closed(socket) == []
        assert socket.close_code == 1006
        with pytest.raises(ConnectionClosedError):
            await answered
        assert not lost.possible
        assert (await _summary(sim))["closes"] == {"half_open": 1}

    _run(scenario, STILL)


def test_half_open_connection_does_not_hold_up_the_end() -> None:
    async def scenario(sim: Simulator) -> None:
        await _connect(sim)
        sim.fault("half_open", seconds=3600)

    _run(scenario, STILL)


def test_client_that_reads_nothing_does_not_hold_up_the_end() -> None:
    async def scenario(sim: Simulator) -> None:
        deaf = await _connect(sim)
        deaf.transport.pause_reading()
        sim.fault("garbage", kind="huge", bytes=20_000_000)

    _run(scenario, SimulatorOptions(symbols=1, send_buffer_bytes=50_000_000))


def test_garbage_arrives_between_good_frames() -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _connect(sim, "USDTTMN@trade", max_size=None)
        sim.fault("garbage")
        (good,) = sim.trade(1, "USDTTMN")
        garbage = [await asyncio.wait_for(socket.recv(), WAIT_S) for _ in range(15)]
        assert {type(frame) for frame in garbage} == {str, bytes}
        assert max(len(frame) for frame in garbage) > 2_000_000
        assert _keys([await _frame(socket)]) == _ledger_keys([good])
        assert sim.ledger.summary().garbage_frames_sent == 15

    _run(scenario, STILL)


def test_resend_gives_a_new_subscription_the_newest_trades_oldest_first() -> None:
    async def scenario(sim: Simulator) -> None:
        trades = sim.trade(30, "USDTTMN")
        sim.fault("resend", count=10)
        socket = await _connect(sim, "USDTTMN@trade")
        resent = [await _frame(socket) for _ in range(10)]
        assert [body["quantity"] for _, body in resent] == [t.quantity for t in trades[-10:]]
        assert [t.via_resend for t in trades] == [False] * 20 + [True] * 10
        assert not any(trade.sent for trade in trades)
        sim.fault("clear")
        again = await _connect(sim, "USDTTMN@trade")
        (live,) = sim.trade(1, "USDTTMN")
        assert _keys([await _frame(again)]) == _ledger_keys([live])

    _run(scenario, STILL)


@pytest.mark.parametrize("status", [503, 429, 0])
def test_refuse_lets_nobody_in_until_it_is_over(status: int) -> None:
    async def scenario(sim: Simulator) -> None:
        sim.fault("refuse", seconds=60, status=status)
        with pytest.raises((InvalidHandshake, OSError)) as refused:
            await connect(sim.ws_url)
        if isinstance(refused.value, InvalidStatus):
            assert refused.value.response.status_code == status
        sim.fault("clear")
        await _connect(sim)
        assert sim.ledger.summary().connections_opened == 1

    _run(scenario, STILL)


def test_rest_error_fails_rest_but_not_the_control_endpoints() -> None:
    async def scenario(sim: Simulator) -> None:
        await _summary(sim, "/simulator/faults", fault="rest_error", status=429, seconds=60)
        assert (await _get(sim, "/hector/web/v1/markets")).status_code == 429
        await _summary(sim, "/simulator/faults", fault="clear")
        assert (await _get(sim, "/hector/web/v1/markets")).status_code == 200

    _run(scenario, STILL)


def test_rest_hang_answers_byte_by_byte_until_it_is_over() -> None:
    async def scenario(sim: Simulator) -> None:
        sim.fault("rest_hang", seconds=0.5)
        url = f"{sim.rest_url}/hector/web/v1/markets"
        async with httpx.AsyncClient(trust_env=False) as client:
            async with client.stream("GET", url) as answer:
                assert answer.status_code == 200
                with pytest.raises(httpx.RemoteProtocolError):
                    await answer.aread()
            assert (await client.get(url)).status_code == 200

    _run(scenario, STILL)


def test_no_ping_sends_no_pings() -> None:
    async def scenario(sim: Simulator) -> None:
        sim.fault("no_ping", seconds=3600)
        socket = await _connect(sim, "USDTTMN@trade")
        await asyncio.sleep(0.2)  # ten intervals
        sim.trade(1, "USDTTMN")
        assert isinstance(await _frame(socket), list)

    _run(scenario, SimulatorOptions(symbols=1, trades_per_s=0, depth_per_s=0, ping_interval_s=0.02))


def test_fault_given_at_start_is_repeated() -> None:
    async def scenario(sim: Simulator) -> None:
        for _ in range(2):
            socket = await _connect(sim)
            await _all_until_closed(socket)
        assert sim.ledger.summary().closes == {"kick": 2}

    faults = (parse_fault("kick:every_s=0.2"), parse_fault("max_age:seconds=60"))
    _run(scenario, SimulatorOptions(symbols=1, faults=faults))


# The ledger


def test_slow_client_is_closed_and_what_waited_does_not_count_as_sent() -> None:
    async def scenario(sim: Simulator) -> None:
        slow = await _connect(sim, "USDTTMN@trade")
        slow.transport.pause_reading()
        while all(entry.sent for entry in sim.trade(2000, "USDTTMN")):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await _until(lambda: sim.ledger.summary().connections_open == 0)
        summary = sim.ledger.summary()
        assert summary.closes == {"too slow": 1}
        assert summary.trades_uncertain > 0
        slow.transport.resume_reading()
        got = _keys(await _all_until_closed(slow))
        entries = sim.ledger.trades()
        assert _ledger_keys(entry for entry in entries if entry.sent) <= got
        assert got <= _ledger_keys(entry for entry in entries if entry.possible)

    options = SimulatorOptions(
        symbols=2, trades_per_s=0, depth_per_s=0, send_buffer_bytes=1_000_000
    )
    _run(scenario, options)


def test_quiesce_and_resume_by_request_stop_and_start_the_market(tmp_path: Path) -> None:
    async def scenario(sim: Simulator) -> None:
        socket = await _connect(sim, *_channels(sim, "trade", "buyDepth", "sellDepth"))
        reader = asyncio.create_task(_all_until_closed(socket))
        await _until(lambda: sim.ledger.summary().trades_sent >= 100)
        quiet = await _summary(sim, "/simulator/quiesce")
        assert (quiet["quiet"], quiet["drained"]) == (True, True)
        await asyncio.sleep(0.1)  # ten ticks
        later = await _summary(sim)
        assert later["trades_generated"] == quiet["trades_generated"]
        assert later["depth_frames_sent"] == quiet["depth_frames_sent"]

        lines = (await _get(sim, "/simulator/ledger/trades")).content.splitlines()
        served = [msgspec.json.decode(line, type=LedgerTrade) for line in lines]
        assert len(served) == quiet["trades_sent"]
        every = (await _get(sim, "/simulator/ledger/trades", all=1)).content.splitlines()
        assert len(every) == quiet["trades_generated"]
        assert [entry for entry in read_ledger(tmp_path / "ledger.ndjson") if entry.sent] == served

        await _summary(sim, "/simulator/resume")
        await _until(lambda: sim.ledger.summary().trades_generated > quiet["trades_generated"])
        await sim.quiesce()
        sim.fault("kick")
        assert _keys(await reader) == _ledger_keys(e for e in sim.ledger.trades() if e.sent)

    options = SimulatorOptions(symbols=10, trades_per_s=500, ledger_path=tmp_path / "ledger.ndjson")
    _run(scenario, options)


def test_ledger_file_after_the_end_equals_memory(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    kept: list[LedgerTrade] = []

    async def scenario(sim: Simulator) -> None:
        socket = await _connect(sim, *_channels(sim, "trade"))
        for _ in range(100):
            await _frame(socket)
        sim.fault("kick", close_frame=False)
        await _all_until_closed(socket)
        await _get(sim, "/v1/trades", symbol="USDTTMN")
        await sim.quiesce()
        kept.extend(sim.ledger.trades())

    _run(scenario, SimulatorOptions(symbols=2, trades_per_s=2000, ledger_path=path))
    assert read_ledger(path) == kept
    types = Counter(json.loads(line)["type"] for line in path.read_text().splitlines())
    assert types["start"] == types["end"] == types["fault"] == 1
    assert types["connection"] == 2


def test_simulator_port_taken_is_a_configuration_error() -> None:
    async def scenario(sim: Simulator) -> None:
        port = int(sim.rest_url.rsplit(":", 1)[1])
        with pytest.raises(InvalidOption, match=str(port)):
            async with simulator(SimulatorOptions(port=port)):
                pass

    _run(scenario, STILL)


def test_main_on_sigterm_closes_connections_and_completes_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    program = (
        "import sys, pathlib\n"
        "from radar_simulator import SimulatorOptions, main\n"
        "main(SimulatorOptions(symbols=2, ledger_path=pathlib.Path(sys.argv[1])),\n"
        "     lambda host, port: print(host, port, flush=True))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        host, port = process.stdout.readline().split()

        async def stop_it() -> list[Any]:
            async with connect(f"ws://{host}:{port}/ws") as socket:
                await socket.send('["subscribe",{"channel":"USDTTMN@trade"}]')
                frames = [await _frame(socket) for _ in range(5)]
                os.kill(process.pid, signal.SIGTERM)
                frames += await _all_until_closed(socket)
                assert socket.close_code == 1001
                return frames

        frames = asyncio.run(stop_it())
        assert process.wait(WAIT_S) == 0
    assert host == "127.0.0.1"
    assert _keys(frames) == _ledger_keys(entry for entry in read_ledger(path) if entry.sent)


def test_half_requests_end_and_keep_no_peer_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BOUNDS", Bounds(head_timeout_s=1, unadmitted=5))

    async def scenario(sim: Simulator) -> None:
        address = httpx.URL(sim.rest_url)
        peer = await _connect(sim)
        held = [await asyncio.open_connection(address.host, address.port) for _ in range(20)]
        for _, writer in held:
            writer.write(b"GET /ws HTTP/1.1\r\nHost: local")
        await asyncio.wait_for((await peer.ping()), WAIT_S)
        for reader, writer in held:
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(10), 4) == b""
            writer.close()
        await asyncio.wait_for((await peer.ping()), WAIT_S)

    _run(scenario, STILL)
