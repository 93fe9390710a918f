"""A market that is mute on a connection that works for the others is noticed, and recorded."""

import asyncio
import contextlib
import itertools
import time

import pytest

from cases import others_nightly
from hostile_exchange import Peer, frame, friendly_rest, hostile_exchange
from producing import Topic, metric, options, producing, sent, until
from radar.datasets import DEPTH, GAPS, TRADES
from radar.producer import freshness, rest
from radar.settings import Settings
from radar.telemetry.health import Health
from radar_simulator import SimulatorOptions, simulator

MUTE = "USDTTMN"
FRESHNESS_S = 2.0


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "SETTLE_S", 1.0)


@pytest.mark.fault(
    "One market falls silent on a connection that works for its other markets",
    report="subscribed to again; a gap of that market with the cause mute, repaired where REST"
    " reaches back; the time counts as not watched",
    place="coverage, pages, radar_gaps_total, log of the producer",
    within_s=20,
)
@pytest.mark.parametrize(
    "is_whole", others_nightly([True, False]), ids=["REST reaches back", "REST does not"]
)
def test_mute_market_is_subscribed_to_again_and_leaves_a_gap(
    kafka_settings: Settings, within_s: float, is_whole: bool
) -> None:
    async def record() -> None:
        recent = 6000 if is_whole else 120
        simulated = SimulatorOptions(
            symbols=3, trades_per_s=30, depth_per_s=0, recent_trades=recent
        )
        async with simulator(simulated) as sim:
            settings = options(kafka_settings, sim, freshness_seconds=FRESHNESS_S)
            topic, gaps = Topic(settings, TRADES), Topic(settings, GAPS)
            muted = {"dataset": "trades", "cause": "mute"}
            before = metric("radar_gaps_total", **muted)
            async with producing(settings, TRADES):
                await topic.until(lambda: len(topic.messages) > 300, "the first messages")
                began_us = time.time_ns() // 1000
                sim.fault("mute", symbol=MUTE, seconds=600)
                if not is_whole:
                    sim.trade(500, MUTE)
                async with asyncio.timeout(within_s):
                    await gaps.until(lambda: bool(gaps.messages), "the gap")
                assert sim.ledger.summary().connections_opened == 2
                if is_whole:
                    await topic.until(
                        lambda: sent(sim.ledger.trades()) <= topic.trades(), "every trade"
                    )
            (gap,) = gaps.messages
            assert gap["symbols"] == [MUTE]
            assert (gap["cause"], gap["repaired"]) == ("mute", is_whole)
            # From the last evidence, which may be some seconds old.
            assert began_us - 10_000_000 < gap["began_at_us"] <= began_us + 1_000_000
            assert gap["ended_at_us"] > began_us
            assert metric("radar_gaps_total", **muted) == before + 1
            topic.close()
            gaps.close()

    asyncio.run(record())


@pytest.mark.fault(
    "REST does not answer, so that nothing proves that quiet markets are quiet",
    report="the markets count as not verified; no gap is invented",
    place="status, radar_unverified_markets",
    within_s=20,
)
def test_quiet_markets_without_an_answer_of_rest_are_not_verified(
    kafka_settings: Settings, within_s: float
) -> None:
    async def record() -> None:
        simulated = SimulatorOptions(symbols=3, trades_per_s=0, depth_per_s=0)
        async with simulator(simulated) as sim:
            settings = options(kafka_settings, sim, freshness_seconds=FRESHNESS_S)
            gaps, health = Topic(settings, GAPS), Health()

            def unverified() -> float:
                return metric("radar_unverified_markets", dataset="trades")

            def is_told() -> bool:
                return any("3 of 3 markets are not verified" in each for each in health.warnings())

            async with producing(settings, TRADES, health):
                await until(lambda: sim.ledger.summary().connections_open == 1)
                await asyncio.sleep(2 * FRESHNESS_S)  # verified all the time
                assert (unverified(), health.warnings()) == (0, [])
                sim.fault("rest_error", seconds=600, status=500)
                await until(is_told, within_s)
                assert unverified() == 3
                assert health.why_not_ready() == []
                sim.fault("clear")
                await until(lambda: not health.warnings(), within_s)
            await asyncio.to_thread(gaps.read)
            assert gaps.messages == []
            gaps.close()

    asyncio.run(record())


@pytest.mark.slow
@pytest.mark.fault(
    "One book falls silent on a connection that works for its other markets",
    report="subscribed to again once; if another book comes at once, a gap of that market with the"
    " cause mute, else the market counts as not verified",
    place="coverage, pages, status, radar_gaps_total, radar_unverified_markets",
    within_s=20,
)
def test_mute_book_is_subscribed_to_again_and_leaves_a_gap(
    kafka_settings: Settings, within_s: float
) -> None:
    listed = (
        b'{"result":{"markets":[{"symbol":"A","base_asset":"A","quote_asset":"TMN","is_spot":true},'
        b'{"symbol":"B","base_asset":"B","quote_asset":"TMN","is_spot":true}]}}'
    )

    async def record() -> None:
        is_mute = asyncio.Event()
        prices = itertools.count(1)

        async def send_books(peer: Peer) -> None:
            await peer.upgrade()
            is_new = is_mute.is_set()
            gone = asyncio.create_task(peer.until_gone())
            with contextlib.suppress(ConnectionError):
                while not gone.done():
                    for symbol in ("A", "B"):
                        if symbol == "B" or is_new or not is_mute.is_set():
                            book = (
                                f'["{symbol}@buyDepth",[{{"price":{next(prices)},"quantity":1}}]]'
                            )
                            await peer.send(frame(book.encode()))
                    await asyncio.sleep(0.02)
            gone.cancel()

        async def answer(peer: Peer, path: str) -> None:
            if "/markets" in path:
                await peer.answer(listed)
            else:
                await friendly_rest(peer, path)

        async with hostile_exchange(itertools.repeat(send_books), answer) as served:
            settings = kafka_settings.model_copy(
                update={
                    "exchange_ws_url": f"ws://127.0.0.1:{served.port}",
                    "exchange_rest_url": f"http://127.0.0.1:{served.port}",
                    "connection_overlap_seconds": 0.5,
                    "depth_interval_seconds": 0.0,
                    "freshness_seconds": FRESHNESS_S,
                }
            )
            topic, gaps = Topic(settings, DEPTH), Topic(settings, GAPS)
            async with producing(settings, DEPTH):
                await topic.until(lambda: len(topic.messages) > 20, "the first books")
                muted_us = time.time_ns() // 1000
                is_mute.set()
                async with asyncio.timeout(within_s):
                    await gaps.until(lambda: bool(gaps.messages), "the gap")
            (gap,) = gaps.messages
            assert (gap["record_kind"], gap["cause"], gap["symbols"]) == ("depth", "mute", ["A"])
            assert abs(gap["began_at_us"] - muted_us) < 1_000_000
            assert gap["ended_at_us"] - muted_us > FRESHNESS_S * 1e6 / 2
            topic.close()
            gaps.close()

    asyncio.run(record())


@pytest.mark.slow
@pytest.mark.fault(
    "Answers of REST arrive byte by byte and never end",
    report="each read is given up after 15 s and asked again; everything is stored, or the gap is"
    " not repaired",
    place="coverage, log of the producer",
    within_s=30,
)
def test_answers_that_never_end_block_no_backfill(
    kafka_settings: Settings, within_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "REQUEST_TIMEOUT_S", 1.0)

    async def record() -> None:
        simulated = SimulatorOptions(symbols=6, trades_per_s=40, depth_per_s=0, recent_trades=6000)
        async with simulator(simulated) as sim:
            settings = options(kafka_settings, sim)
            topic, gaps = Topic(settings, TRADES), Topic(settings, GAPS)
            async with producing(settings, TRADES):
                await topic.until(lambda: len(topic.messages) > 300, "the first messages")
                sim.fault("rest_hang", seconds=2)
                sim.fault("refuse", seconds=1)
                sim.fault("kick")
                async with asyncio.timeout(within_s):
                    await gaps.until(lambda: len(gaps.messages) >= 2, "the gaps")
                await topic.until(
                    lambda: sent(sim.ledger.trades()) <= topic.trades(), "every trade"
                )
            assert all(gap["repaired"] for gap in gaps.messages)
            topic.close()
            gaps.close()

    asyncio.run(record())


@pytest.mark.fault(
    "Trades of one second are fetched by REST",
    report="their times of receipt keep the order of the answer, so open and close are right",
    place="trades, candles",
    within_s=10,
)
def test_trades_of_one_second_that_rest_tells_keep_their_order(
    kafka_settings: Settings, within_s: float
) -> None:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    newest_first = ",".join(
        f'{{"price":"{price}","quantity":"1","isBuyOrder":true,"timestamp":"{at}"}}'
        for price in range(119, 99, -1)
    )
    told = f'{{"result":{{"latestTrades":[{newest_first}]}}}}'.encode()

    async def record() -> None:
        async def be_silent(peer: Peer) -> None:
            await peer.upgrade()
            await peer.until_gone()

        async def answer(peer: Peer, path: str) -> None:
            if "/markets" in path:
                await friendly_rest(peer, path)
            else:
                await peer.answer(told)

        async with hostile_exchange(itertools.repeat(be_silent), answer) as served:
            settings = kafka_settings.model_copy(
                update={
                    "exchange_ws_url": f"ws://127.0.0.1:{served.port}",
                    "exchange_rest_url": f"http://127.0.0.1:{served.port}",
                }
            )
            topic = Topic(settings, TRADES)
            async with producing(settings, TRADES), asyncio.timeout(within_s):
                await topic.until(lambda: len(topic.messages) >= 20, "the trades")
            order = sorted(topic.messages, key=lambda each: each["received_at_us"])
            assert [each["price"] for each in order] == [str(price) for price in range(100, 120)]
            assert len({each["received_at_us"] for each in order}) == 20
            topic.close()

    asyncio.run(record())
