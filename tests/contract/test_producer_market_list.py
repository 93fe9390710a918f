"""Producers follow the list of markets, whatever an exchange makes of it."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Iterator, Sequence
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
from radar.datasets import DEPTH, GAPS, TRADES, WATCHES, Dataset
from radar.exchanges.common.entries import MAX_ENTRIES
from radar.producer import shard
from radar.producer.markets import ABSENT_LISTS
from radar.settings import Settings
from radar.telemetry.health import Health

PER_CONNECTION = 2


def listed(*symbols: str, extra: Sequence[object] = ()) -> bytes:
    return msgspec.json.encode(
        {
            "success": True,
            "result": {
                "markets": [
                    {"symbol": each, "base_asset": "BASE", "quote_asset": "TMN", "is_spot": True}
                    for each in symbols
                ]
                + list(extra)
            },
        }
    )


class Exchange:
    """Lists the markets that a test says; notes what open connections have subscribed to."""

    def __init__(self, *symbols: str) -> None:
        self.symbols = list(symbols)
        self.poison: set[str] = set()
        self.extra: list[object] = []
        self.lists = 0
        self.subscribed: dict[Peer, list[str]] = {}
        self.most = 0

    async def rest(self, peer: Peer, path: str) -> None:
        if "/markets" not in path:
            await friendly_rest(peer, path)
            return
        self.lists += 1
        await peer.answer(listed(*self.symbols, extra=self.extra))

    async def socket(self, peer: Peer) -> None:
        await peer.upgrade()
        self.subscribed[peer] = []
        self.most = max(self.most, len(self.subscribed))
        chatting = asyncio.create_task(_chat(peer))
        try:
            while True:
                data = await _unmasked(peer)
                if data.startswith(b"["):
                    symbol = json.loads(data)[1]["channel"].partition("@")[0]
                    if symbol in self.poison:
                        await peer.send(frame(b"\x03\xf0no such market", CLOSE))
                        return
                    self.subscribed[peer].append(symbol)
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


@pytest.mark.parametrize("dataset", [TRADES, DEPTH], ids=lambda dataset: dataset.name)
def test_market_that_is_delisted_ends_and_one_that_returns_is_recorded_again(
    kafka_settings: Settings, dataset: Dataset
) -> None:
    async def record() -> None:
        exchange = Exchange("A", "B", "C")
        async with hostile_exchange(exchange.sockets(), exchange.rest) as served:
            gaps, watches = Topic(kafka_settings, GAPS), Topic(kafka_settings, WATCHES)
            reconnects = metric(
                "radar_reconnects_total", exchange="wallex", dataset=dataset.name, reason="delisted"
            )
            async with producing(options(kafka_settings, served.port), dataset):
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
                "radar_reconnects_total", exchange="wallex", dataset=dataset.name, reason="delisted"
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


MANY = listed("USDTTMN", *(f"X{n}TMN" for n in range(MAX_ENTRIES - 1)))
TOO_MANY = listed("USDTTMN", *(f"X{n}TMN" for n in range(MAX_ENTRIES)))
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
        TOO_MANY,
        MARKETS.replace(b"USDTTMN", b"USDT\xff\xfeTMN"),
        b"[" * 1000,
        b'{"result":{"markets":[]}}',
        b'{"result":{"markets":[{"symbol":1e999}]}}',
        b"",
    ],
    ids=["nested", "too many", "no UTF-8", "open", "empty", "number", "nothing"],
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


@pytest.mark.fault(
    "The exchange ends each connection that subscribes to one market",
    report="that market alone is set aside and tried again slowly; its gap has the cause refused",
    place="status, radar_set_aside_markets, coverage, log of the producer",
    within_s=30,
)
@pytest.mark.parametrize("dataset", [TRADES, DEPTH], ids=lambda dataset: dataset.name)
def test_market_for_which_connections_are_ended_does_not_take_the_others_along(
    kafka_settings: Settings, dataset: Dataset, within_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard, "TRIAL_S", 0.5)

    async def record() -> None:
        names = ["A", "B", "BAD", "C", "D", "E", "F"]
        exchange = Exchange(*names)
        async with hostile_exchange(exchange.sockets(), exchange.rest) as served:
            gaps, health = Topic(kafka_settings, GAPS), Health()
            settings = options(kafka_settings, served.port, symbols_per_connection=25,
                               reconnect_max_seconds=0.2, markets_refresh_seconds=2.0)  # fmt: skip
            labels = {"dataset": dataset.name, "reason": "refused"}

            def aside() -> float:
                return metric("radar_set_aside_markets", **labels)

            async with producing(settings, dataset, health):
                await until(lambda: exchange.shards == [sorted(names)])
                exchange.poison = {"BAD"}
                for peer in list(exchange.subscribed):
                    await peer.send(frame(b"\x03\xf0", CLOSE))
                others = [name for name in sorted(names) if name != "BAD"]
                await until(lambda: exchange.shards == [others], within_s)
                await until(lambda: aside() == 1, within_s)
                (warning,) = health.warnings()
                assert "1 refused: BAD (" in warning
                assert "no such market" in warning
                await until(lambda: health.why_not_ready() == [], within_s)
                # It is taken again one day.
                exchange.poison = set()
                await until(lambda: exchange.shards == [sorted(names)], within_s)
                await until(lambda: (aside(), health.warnings()) == (0, []), within_s)
            await gaps.until(
                lambda: any(each["symbols"] == ["BAD"] for each in gaps.messages), "its gap"
            )
            assert "refused" in {
                each["cause"] for each in gaps.messages if each["symbols"] == ["BAD"]
            }
            gaps.close()

    asyncio.run(record())


@pytest.mark.fault(
    "A malformed entry in the market list, or a name that cannot be stored",
    report="that entry is set aside and named; all other markets are recorded",
    place="status, doctor, radar_set_aside_markets, log of the producer",
    within_s=10,
)
def test_malformed_entries_of_the_market_list_are_named_and_harm_no_other(
    kafka_settings: Settings, within_s: float
) -> None:
    async def record() -> None:
        exchange = Exchange("A", "B")
        exchange.extra = [
            {"symbol": "NEWTMN", "base_asset": None, "quote_asset": "TMN", "is_spot": True},
            {"symbol": "تتر", "base_asset": "X", "quote_asset": "TMN", "is_spot": True},
            "?",
        ]
        async with hostile_exchange(exchange.sockets(), exchange.rest) as served:
            health = Health()
            async with producing(options(kafka_settings, served.port), TRADES, health):
                await until(lambda: exchange.shards == [["A", "B"]], within_s)
                await until(lambda: bool(health.warnings()), within_s)
                (warning,) = health.warnings()
                assert warning.startswith("3 markets are set aside")
                assert all(each in warning for each in ("NEWTMN", "تتر", "without a name"))
                assert "its base_asset is null" in warning
                await until(lambda: health.why_not_ready() == [], within_s)
                # The exchange mends its list.
                exchange.extra = []
                await until(lambda: not health.warnings(), within_s)

    asyncio.run(record())


@pytest.mark.fault(
    "SYMBOLS names markets that the exchange does not list",
    report="they are set aside with similar names and have gaps with the cause refused; the others"
    " are recorded; without any the producer is not ready and goes on asking",
    place="status, doctor, radar_set_aside_markets, coverage, log of the producer",
    within_s=10,
)
def test_symbols_that_are_not_listed_are_set_aside_until_they_are(
    kafka_settings: Settings, within_s: float
) -> None:
    async def record() -> None:
        exchange = Exchange("BTCTMN", "OTHER")
        async with hostile_exchange(exchange.sockets(), exchange.rest) as served:
            gaps, health = Topic(kafka_settings, GAPS), Health()
            settings = options(
                kafka_settings, served.port, symbols=("ETHTMN", "XTMN"), max_markets=1
            )
            async with producing(settings, TRADES, health):
                await until(
                    lambda: any("no market can be recorded" in each
                                for each in health.why_not_ready()), within_s
                )  # fmt: skip
                assert exchange.shards == []
                exchange.symbols = ["BTCTMN", "ETHTMN"]
                await until(lambda: exchange.shards == [["ETHTMN"]], within_s)
                await until(lambda: health.why_not_ready() == [], within_s)
                (warning,) = health.warnings()
                assert "1 unknown: XTMN (not listed, similar: " in warning
                # One that is delisted is missed, for it was asked for.
                exchange.symbols = ["BTCTMN", "XTMN"]
                await until(lambda: exchange.shards == [["XTMN"]], within_s)
            await gaps.until(lambda: len(gaps.messages) >= 2, "the gaps")
            assert {(each["cause"], *each["symbols"]) for each in gaps.messages} == {
                ("refused", "ETHTMN"),
                ("refused", "XTMN"),
            }
            gaps.close()

    asyncio.run(record())
