"""Producers against every simulated exchange, with the faults that only its protocol has."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import pytest

from cases import exchange_cases
from producing import Topic, happened, producing, until
from radar import exchanges
from radar.datasets import DEPTH, GAPS, TRADES, Dataset
from radar.errors import BrokerUnavailable
from radar.producer.publish import BufferedPublisher
from radar.settings import Settings
from radar_simulator import Simulator, SimulatorOptions, simulator

# Exchanges whose trades carry consecutive numbers, so that a hole is proven and read by ID.
PROVING = [name for name in exchanges.names() if exchanges.load(name).proves_trades]
CENTRIFUGO = ["nobitex", "bitpin", "ramzinex"]
# Those with a socket for trades.
PUSHING = [name for name in exchanges.names() if name not in ("wallex", "tabdeal")]
FASTER: dict[str, Any] = {
    "symbols_per_connection": 5,
    "reconnect_max_seconds": 0.5,
    "connection_overlap_seconds": 0.5,
    "depth_interval_seconds": 0.0,
}


class Recorded(NamedTuple):
    """A running producer and everything that it publishes."""

    sim: Simulator
    topic: Topic
    gaps: Topic


def options(name: str, settings: Settings, sim: Simulator) -> Settings:
    addresses = {
        f"{name}_ws_url": sim.rest_url.replace("http", "ws"),
        f"{name}_rest_url": sim.rest_url,
    }
    chosen = settings.model_copy(update={"exchanges": (name,), **addresses, **FASTER})
    return chosen.of_exchange(name)


@contextlib.asynccontextmanager
async def recording(
    name: str, settings: Settings, dataset: Dataset = TRADES
) -> AsyncIterator[Recorded]:
    """Run a simulated exchange and a producer of it."""
    # Without numbers only the newest trades are offered again, at Nobitex 20 of each market at one
    # request a second: so many trades, and no more, are sure to come back.
    simulated = SimulatorOptions(
        exchange=name,
        symbols=4,
        twin_share=0.0,
        trades_per_s=60 if name in PROVING else 6,
        depth_per_s=0 if dataset is TRADES else 80,
    )
    async with simulator(simulated) as sim:
        own = options(name, settings, sim)
        topic, gaps = Topic(own, dataset), Topic(own, GAPS)
        async with producing(own, dataset):
            yield Recorded(sim, topic, gaps)
        topic.close()
        gaps.close()


async def some_more(recorded: Recorded, count: int = 20) -> None:
    before = len(recorded.topic.messages)
    topic = recorded.topic
    await topic.until(lambda: len(topic.messages) >= before + count, f"{count} more messages")


def unexplained(recorded: Recorded) -> Counter[tuple[str, ...]]:
    """Return the trades that are neither published nor inside a recorded gap of their market."""
    missing = happened(recorded.sim.ledger.trades()) - recorded.topic.trades()
    gaps = [gap for gap in recorded.gaps.messages if not gap["repaired"]]
    margin_ms = 2_000  # a trade happens before its frame arrives
    began_ms = min(each["received_at_us"] for each in recorded.topic.messages) / 1e3
    return Counter(
        {
            (symbol, time_ms, *rest): count
            for (symbol, time_ms, *rest), count in missing.items()
            # REST may no longer have those from before the first connection.
            if int(time_ms) >= began_ms
            and not any(
                symbol in gap["symbols"]
                and gap["began_at_us"] / 1e3 - margin_ms <= int(time_ms) <= gap["ended_at_us"] / 1e3
                for gap in gaps
            )
        }
    )


async def the_rest(recorded: Recorded, name: str, *, one_process: bool = True) -> None:
    """Wait until every trade that happened is published, and none twice by one process.

    An exchange without numbers offers only its newest trades again: others must be in a gap.
    """
    assert await recorded.sim.quiesce()
    ledger, topic = recorded.sim.ledger, recorded.topic
    if name in PROVING:
        await topic.until(lambda: happened(ledger.trades()) <= topic.trades(), "the rest")
    else:

        def explained() -> bool:
            recorded.gaps.read()
            return not unexplained(recorded)

        await topic.until(explained, "the rest, or a gap")
    assert topic.trades() <= happened(ledger.trades())
    if one_process:
        assert sum(topic.trades().values()) == len(topic.messages), "a trade published twice"


def holes(recorded: Recorded) -> list[dict[str, Any]]:
    return [each for each in recorded.gaps.messages if each["cause"] == "sequence"]


@pytest.mark.parametrize("name", exchange_cases(PUSHING))
def test_trades_are_recorded_once_through_lost_connections_and_repetitions(
    name: str, kafka_settings: Settings
) -> None:
    async def record() -> None:
        async with recording(name, kafka_settings) as recorded:
            await some_more(recorded)
            # Without ID and offset, a repetition looks like another trade of the same content.
            if name != "exir":
                recorded.sim.fault("repeat", count=5)
                await some_more(recorded)
            for close_frame in (True, False):
                opened = recorded.sim.ledger.summary().connections_opened
                recorded.sim.fault("kick", close_frame=close_frame)
                await until(
                    lambda opened=opened: (  # type: ignore[misc]
                        recorded.sim.ledger.summary().connections_opened > opened
                    )
                )
                await some_more(recorded)
            recorded.sim.fault("goodbye")
            await some_more(recorded)
            await the_rest(recorded, name)

    asyncio.run(record())


@pytest.mark.parametrize("name", exchange_cases(PROVING))
def test_a_dropped_trade_is_a_gap_with_its_numbers_and_is_fetched_by_them(
    name: str, kafka_settings: Settings
) -> None:
    async def record() -> None:
        async with recording(name, kafka_settings) as recorded:
            await some_more(recorded)
            symbol = recorded.topic.messages[-1]["symbol"]
            # The reads that follow a subscription may fill a hole before it counts as one.
            for _ in range(8):
                recorded.sim.fault("drop", symbol=symbol, count=3)
                recorded.sim.trade(12, symbol)
                deadline_s = time.monotonic() + 6
                while not holes(recorded) and time.monotonic() < deadline_s:
                    await asyncio.to_thread(recorded.gaps.read)
                if holes(recorded):
                    break
            first = holes(recorded)[0]
            assert (first["symbols"], first["repaired"]) == ([symbol], False)
            assert first["missing"] == first["last_id"] - first["first_id"] + 1 > 0
            await recorded.gaps.until(
                lambda: any(
                    each["repaired"] and each["first_id"] == first["first_id"]
                    for each in holes(recorded)
                ),
                "the gap is recorded as filled",
            )
            filled = next(each for each in holes(recorded) if each["repaired"])
            # The second message takes the row of the first.
            assert filled == first | {"repaired": True}
            wanted = set(range(first["first_id"], first["last_id"] + 1))
            topic = recorded.topic
            await topic.until(
                lambda: wanted <= {e["sequence"] for e in topic.messages if e["symbol"] == symbol},
                "the missing trades",
            )
            await the_rest(recorded, name)

    asyncio.run(record())


@pytest.mark.parametrize("name", exchange_cases(PROVING))
def test_a_new_producer_fetches_every_trade_since_the_last_published_number(
    name: str, kafka_settings: Settings
) -> None:
    async def record() -> None:
        simulated = SimulatorOptions(
            exchange=name, symbols=2, trades_per_s=20, depth_per_s=0, twin_share=0.0,
            recent_trades=3_000,
        )  # fmt: skip
        async with simulator(simulated) as sim:
            own = options(name, kafka_settings, sim)
            recorded = Recorded(sim, Topic(own, TRADES), Topic(own, GAPS))
            async with producing(own, TRADES):
                await some_more(recorded)
                # REST must have been read, or trades from before the connection stay unknown.
                so_far = happened(sim.ledger.trades())
                await recorded.topic.until(
                    lambda: so_far <= recorded.topic.trades(), "the trades so far"
                )
                symbol = recorded.topic.messages[-1]["symbol"]
            sim.trade(1_300, symbol)  # more than one page of REST
            async with producing(own, TRADES):
                await recorded.gaps.until(lambda: bool(holes(recorded)), "the gap")
                await the_rest(recorded, name, one_process=False)

    asyncio.run(record())


@pytest.mark.parametrize("name", exchange_cases(CENTRIFUGO))
def test_a_restarted_server_counts_anew_and_loses_nothing(
    name: str, kafka_settings: Settings
) -> None:
    async def record() -> None:
        async with recording(name, kafka_settings) as recorded:
            await some_more(recorded)
            recorded.sim.fault("epoch")
            await some_more(recorded)
            await the_rest(recorded, name)

    asyncio.run(record())


def book_is_right(recorded: Recorded) -> Callable[[], bool]:
    """Return whether the newest snapshot of each side was proven, once the exchange is quiet."""

    def check() -> bool:
        newest = {(each["symbol"], each["side"]): each for each in recorded.topic.messages}
        return bool(newest) and all(each["verified"] for each in newest.values())

    return check


@pytest.mark.parametrize(
    ("name", "fault", "cause"),
    [
        ("kraken", {"name": "checksum", "count": 1}, "checksum"),
        # Later updates may replace what a single one would have changed, or it lies below the ten
        # levels of the checksum.
        ("kraken", {"name": "drop", "kind": "book", "count": 30}, "checksum"),
        ("binance", {"name": "drop", "kind": "book", "count": 1}, "sequence"),
        ("okx", {"name": "drop", "kind": "book", "count": 1}, "sequence"),
    ],
)
def test_a_book_that_its_proof_refutes_is_dropped_and_a_gap(
    name: str, fault: dict[str, Any], cause: str, kafka_settings: Settings
) -> None:
    async def record() -> None:
        async with recording(name, kafka_settings, DEPTH) as recorded:
            await some_more(recorded)
            symbol = recorded.topic.messages[-1]["symbol"]
            recorded.sim.fault(**fault, symbol=symbol)
            await recorded.gaps.until(
                lambda: any(each["cause"] == cause for each in recorded.gaps.messages), "the gap"
            )
            gap = next(each for each in recorded.gaps.messages if each["cause"] == cause)
            assert gap["symbols"] == [symbol]
            await some_more(recorded)
            await recorded.topic.until(book_is_right(recorded), "proven books again")
            during = {
                each["received_at_us"]
                for each in recorded.topic.messages
                if each["symbol"] == symbol
                and gap["began_at_us"] < each["received_at_us"] < gap["ended_at_us"]
            }
            # The frame that ends the gap arrives shortly before it counts as ended.
            assert len(during) <= 1, "a book was published that its proof had refuted"

    asyncio.run(record())


@pytest.mark.parametrize("name", exchange_cases(PUSHING))
def test_html_and_bans_delay_and_lose_nothing(name: str, kafka_settings: Settings) -> None:
    async def record() -> None:
        async with recording(name, kafka_settings) as recorded:
            await some_more(recorded)
            recorded.sim.fault("html", seconds=1.0)
            recorded.sim.fault("kick")
            began_s = time.monotonic()
            await some_more(recorded)
            assert time.monotonic() - began_s >= 0.5
            recorded.sim.fault("ban", seconds=1.0)
            recorded.sim.fault("kick")
            await some_more(recorded)
            await the_rest(recorded, name)

    asyncio.run(record())


def test_failure_of_kafka_behind_an_answer_of_rest_ends_the_producer(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record counts as taken, so it would not be sent again."""
    publish = BufferedPublisher.publish
    failures = iter([BrokerUnavailable("the topic is gone")])

    def refuse_first(self: BufferedPublisher, key: bytes, value: bytes) -> None:
        # The first book follows from an answer: the frames only hold changes of it.
        if b'"kind":"depth"' in value and (failure := next(failures, None)):
            raise failure
        publish(self, key, value)

    monkeypatch.setattr(BufferedPublisher, "publish", refuse_first)

    async def record() -> None:
        books = SimulatorOptions(exchange="binance", symbols=4, trades_per_s=0, depth_per_s=40)
        async with simulator(books) as sim:
            own = options("binance", kafka_settings, sim)
            async with producing(own, DEPTH) as producer:
                await asyncio.wait([producer], timeout=20)
                assert producer.done()

    with pytest.raises(BrokerUnavailable, match="the topic is gone"):
        asyncio.run(record())
