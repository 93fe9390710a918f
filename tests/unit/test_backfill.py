"""The order in which a backfill reads holes, and its waits after refusals."""

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from radar.errors import ExchangeUnavailable
from radar.exchanges import load
from radar.producer.backfill import READERS, Backfill
from radar.producer.pacing import Pace
from radar.producer.recorders import TradeRecorder
from radar.producer.trade_sequence import Hole
from radar.records import Market

if TYPE_CHECKING:
    from radar.producer.publish import BufferedPublisher
    from radar.producer.rest import Rest

GOOD, BAD = "GOODUSDT", "BADUSDT"
ROW = (
    '{{"id":{},"price":"1","qty":"1","time":1790000000000000,"isBuyerMaker":true,'
    '"isBestMatch":true}}'
)


class Answers:
    """Stands for REST: it has one trade, 5, and no history of one of the markets."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    async def get(self, path: str) -> bytes:
        await asyncio.sleep(0)
        self.paths.append(path)
        if "historicalTrades" in path and BAD in path:
            raise ExchangeUnavailable("status 404")
        return f"[{ROW.format(5)}]".encode()


class Kept:
    """Stands for the publisher."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def publish(self, _key: bytes, value: bytes) -> None:
        self.messages.append(value)


async def _filled(
    holes: list[Hole], symbol: str, count: int = 1, more_s: float = 0.0
) -> tuple[Answers, Kept]:
    """Run a backfill of holes until so many trades of a market are published, and on for a time."""
    answers, kept = Answers(), Kept()
    backfill = Backfill(
        load("binance"),
        cast("Rest", answers),
        {symbol: Market(symbol, symbol.removesuffix("USDT"), "USDT") for symbol in (GOOD, BAD)},
        TradeRecorder("binance", proves_trades=True),
        cast("BufferedPublisher", kept),
        pace=Pace(10_000),
        max_wait_s=30,
        on_read=lambda _read: None,
        on_check=lambda _symbol, _started_us, _recent: None,
    )
    readers = [asyncio.create_task(backfill.run()) for _ in range(READERS)]
    for hole in holes:
        backfill.request_hole(hole)
    try:
        async with asyncio.timeout(10):
            while sum(symbol.encode() in each for each in kept.messages) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(more_s)
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.wait(readers)
    return answers, kept


def test_holes_of_a_market_whose_history_is_refused_hold_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("random.uniform", lambda _low, high: high)
    refused = [Hole(BAD, number, number, 1, 2) for number in range(10, 10 + 2 * READERS)]
    asyncio.run(_filled([*refused, Hole(GOOD, 5, 5, 1, 2)], GOOD))


def test_the_newest_trades_are_read_where_the_history_is_refused() -> None:
    answers, _ = asyncio.run(_filled([Hole(BAD, 5, 5, 1, 2)], BAD))
    assert any(path.startswith("/api/v3/trades?") for path in answers.paths)


class Endless(Answers):
    """Stands for REST whose pages have one trade each, so a large hole has no end."""

    async def get(self, path: str) -> bytes:
        await asyncio.sleep(0)
        self.paths.append(path)
        number = path.partition("fromId=")[2].partition("&")[0] or "5"
        return f"[{ROW.format(number)}]".encode()


def test_holes_without_an_end_hold_up_neither_holes_nor_markets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(globals(), "Answers", Endless)
    endless = [Hole(BAD, 10, 1 << 62, 1, 2) for _ in range(2 * READERS)]
    asyncio.run(_filled([*endless, Hole(GOOD, 5, 5, 1, 2)], GOOD))


def test_a_hole_has_a_bounded_number_of_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "Answers", Endless)
    monkeypatch.setattr("radar.producer.backfill.MAX_PAGES", 3)
    monkeypatch.setattr("radar.exchanges.binance.BinanceBackfill.cost_s", 0.0)
    hole = Hole(BAD, 10, 1 << 62, 1, 2)
    answers, _ = asyncio.run(_filled([hole], BAD, count=3, more_s=0.2))
    assert len(answers.paths) == 3
