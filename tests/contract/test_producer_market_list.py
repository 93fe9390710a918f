"""Producers follow the list of markets, whatever an exchange makes of it."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from hostile_exchange import (
    CLOSE,
    MARKETS,
    Answer,
    Peer,
    Script,
    frame,
    friendly_rest,
    hostile_exchange,
)
from producing import Topic, metric, producing, until
from radar.kinds import DEPTH, GAPS, TRADES, WATCHES, Kind
from radar.producer.markets import ABSENT_LISTS
from radar.settings import Settings

PER_CONNECTION = 2


def listed(*symbols: str) -> bytes:
    return msgspec.json.encode(
        {
            "success": True,
            "result": {
                "markets": [
                    {"symbol": each, "base_asset": "BASE", "quote_asset": "TMN", "is_spot": True}
                    for each in symbols
                ]
            },
        }
    )


class Exchange:
    """Lists the markets that a test says; notes what open connections have subscribed to."""

    def __init__(self, *symbols: str) -> None:
        self.symbols = list(symbols)
        self.lists = 0
        self.subscribed: dict[Peer, list[str]] = {}
        self.most = 0

    async def rest(self, peer: Peer, path: str) -> None:
        if "/markets" not in path:
            await friendly_rest(peer, path)
            return
        self.lists += 1
        await peer.answer(listed(*self.symbols))

    async def socket(self, peer: Peer) -> None:
        await peer.upgrade()
        self.subscribed[peer] = []
        self.most = max(self.most, len(self.subscribed))
        chatting = asyncio.create_task(_chat(peer))
        try:
            while True:
                data = await _unmasked(peer)
                if data.startswith(b"["):
                    channel = json.loads(data)[1]["channel"]
                    self.subscribed[peer].append(channel.partition("@")[0])
                else:
                    await peer.send(frame(data, CLOSE))
                    return
        finally:
            chatting.cancel()
            del self.subscribed[peer]

    def sockets(self) -> Iterator[Script]:
        return itertools.repeat(self.socket)

    @property
    def shards(self) -> list[list[str]]:
        return sorted(sorted(set(each)) for each in self.subscribed.values())

    async def more_lists(self, count: int) -> None:
        """Wait until the producer has asked so many times more, and the answers are there."""
        wanted = self.lists + count + 1
        await until(lambda: self.lists >= wanted)


async def _chat(peer: Peer) -> None:
    """Send frames that say nothing: a connection covers its markets up to its last frame only."""
    with contextlib.suppress(ConnectionError):
        while True:
            await peer.send(frame(b'["@",1]'))
            await asyncio.sleep(0.01)


async def _unmasked(peer: Peer) -> bytes:
    """Read a frame of a client, all of which are short."""
    head = await peer.reader.readexactly(2)
    mask = await peer.reader.readexactly(4)
    data = await peer.reader.readexactly(head[1] & 127)
    return bytes(each ^ mask[at % 4] for at, each in enumerate(data))


def options(settings: Settings, port: int, **changes: Any) -> Settings:
    return settings.model_copy(
        update={
            "exchange_ws_url": f"ws://127.0.0.1:{port}",
            "exchange_rest_url": f"http://127.0.0.1:{port}",
            "markets_refresh_seconds": 0.1,
            "connection_overlap_seconds": 0.5,
            "symbols_per_connection": PER_CONNECTION,
            "repair_requests_per_second": 200.0,
        }
        | changes
    )


@pytest.mark.parametrize("kind", [TRADES, DEPTH], ids=lambda kind: kind.name)
def test_market_that_is_delisted_ends_and_one_that_returns_is_recorded_again(
    kafka_settings: Settings, kind: Kind
) -> None:
    async def record() -> None:
        exchange = Exchange("A", "B", "C")
        async with hostile_exchange(exchange.sockets(), exchange.rest) as served:
            gaps, watches = Topic(kafka_settings, GAPS), Topic(kafka_settings, WATCHES)
            reconnects = metric(
                "radar_reconnects_total", exchange="wallex", kind=kind.name, reason="delisted"
            )
            async with producing(options(kafka_settings, served.port), kind):
                await until(lambda: exchange.shards == [["A", "C"], ["B"]])
                # A glitch ends nothing.
                exchange.symbols = ["A", "B"]
                await until(lambda: exchange.lists >= 2)
                exchange.symbols = ["A", "B", "C"]
                await exchange.more_lists(ABSENT_LISTS)
                assert exchange.shards == [["A", "C"], ["B"]]
                # One market of a connection ends, then the only one of the other.
                exchange.symbols = ["A", "B"]
                await until(lambda: exchange.shards == [["A"], ["B"]])
                exchange.symbols = ["A"]
                await until(lambda: exchange.shards == [["A"]])
                # Both return, and there is room for one of them.
                exchange.symbols = ["A", "B", "C"]
                await until(lambda: exchange.shards == [["A", "B"], ["C"]])
                # Every market is another one.
                exchange.symbols = ["D"]
                await until(lambda: exchange.shards == [["D"]])
            await watches.until(
                lambda: any(each["end_reason"] == "delisted" for each in watches.messages),
                "the watch of a connection without markets has ended",
            )
            await asyncio.to_thread(gaps.read)
            assert gaps.messages == []
            assert reconnects == metric(
                "radar_reconnects_total", exchange="wallex", kind=kind.name, reason="delisted"
            )
            gaps.close()
            watches.close()

    asyncio.run(record())


def test_delisted_market_without_a_connection_leaves_no_gap(kafka_settings: Settings) -> None:
    async def record() -> None:
        exchange = Exchange("A", "B", "C")
        refusing = asyncio.Event()

        async def socket(peer: Peer) -> None:
            if refusing.is_set():
                await peer.answer(b"", status="503 X")
            else:
                await exchange.socket(peer)

        async with hostile_exchange(itertools.repeat(socket), exchange.rest) as served:
            gaps = Topic(kafka_settings, GAPS)
            settings = options(kafka_settings, served.port, reconnect_max_seconds=0.1)
            async with producing(settings, TRADES):
                await until(lambda: exchange.shards == [["A", "C"], ["B"]])
                refusing.set()
                for peer in list(exchange.subscribed):
                    peer.writer.transport.abort()
                exchange.symbols = ["A"]
                await exchange.more_lists(ABSENT_LISTS + 1)
                refusing.clear()
                await until(lambda: exchange.shards == [["A"]])
            await gaps.until(lambda: bool(gaps.messages), "the gap of the market that is left")
            assert {tuple(each["symbols"]) for each in gaps.messages} == {("A",)}
            gaps.close()

    asyncio.run(record())


def test_names_that_change_with_every_list_do_not_add_connections(
    kafka_settings: Settings,
) -> None:
    async def record() -> None:
        exchange = Exchange()
        names = (f"R{n}" for n in itertools.count())

        async def rest(peer: Peer, path: str) -> None:
            if "/markets" in path:
                exchange.symbols = ["A", *itertools.islice(names, 4)]
            await exchange.rest(peer, path)

        async with hostile_exchange(exchange.sockets(), rest) as served:
            settings = options(kafka_settings, served.port, max_markets=12)
            async with producing(settings, TRADES):
                await until(lambda: exchange.lists >= 12 * ABSENT_LISTS)
                recorded = {each for shard in exchange.shards for each in shard}
                assert "A" in recorded
            # Each may have a successor beside it.
            assert exchange.most <= 2 * 12 // PER_CONNECTION

    asyncio.run(record())


def answer(body: bytes) -> Answer:
    async def script(peer: Peer, path: str) -> None:
        if "/markets" in path:
            await peer.answer(body)
        else:
            await friendly_rest(peer, path)

    return script


MANY = listed("USDTTMN", *(f"X{n}TMN" for n in range(100_000)))
NESTED = b'{"result":' + b"[" * 5_000_000 + b"]" * 5_000_000 + b"}"
EVIL_NAMES = [
    '"><img src=x onerror=alert(1)>', "A" * 5000, "\u202eNMTCTB", "BTC\0TMN", "../../../etc/passwd",
    "..", "x'; DROP TABLE trades_master; --", "\x1b]0;pwned\x07", "-rf", "A\nB", "A" * 33,
    "caf\xe9", "trades?x=1&y=2", "%2e%2e%2f", "", " ",
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "recorded"),
    [(MANY, 50), (listed("USDTTMN", *EVIL_NAMES), 1), (listed(*["USDTTMN"] * 1000), 1)],
    ids=["many", "names", "repeated"],
)
def test_market_list_that_means_harm_is_recorded_as_far_as_it_is_allowed(
    kafka_settings: Settings, body: bytes, recorded: int
) -> None:
    async def record() -> None:
        exchange = Exchange()
        async with hostile_exchange(exchange.sockets(), answer(body)) as served:
            settings = options(kafka_settings, served.port, max_markets=50,
                               symbols_per_connection=25, markets_refresh_seconds=1.0)  # fmt: skip

            def subscribed() -> int:
                return sum(map(len, exchange.shards))

            async with producing(settings, TRADES):
                await until(lambda: subscribed() == recorded)
                await asyncio.sleep(1.5)  # one more list
                assert subscribed() == recorded
                assert exchange.most <= 2

    asyncio.run(record())


@pytest.mark.parametrize(
    "body",
    [
        NESTED,
        MARKETS.replace(b"USDTTMN", b"USDT\xff\xfeTMN"),
        b"[" * 1000,
        b'{"result":{"markets":[]}}',
        b'{"result":{"markets":[{"symbol":1e999}]}}',
        b"",
    ],
    ids=["nested", "no UTF-8", "open", "empty", "number", "nothing"],
)
def test_market_list_that_cannot_be_read_is_asked_for_again(
    kafka_settings: Settings, body: bytes
) -> None:
    async def record() -> None:
        exchange = Exchange()
        bodies = itertools.chain([body, body], itertools.repeat(MARKETS))

        async def rest(peer: Peer, path: str) -> None:
            await answer(next(bodies))(peer, path)

        async with hostile_exchange(exchange.sockets(), rest) as served:
            settings = options(kafka_settings, served.port, reconnect_max_seconds=0.1)
            async with producing(settings, TRADES):
                await until(lambda: exchange.shards == [["USDTTMN"]])

    asyncio.run(record())
