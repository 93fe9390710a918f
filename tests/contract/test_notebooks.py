"""The notebooks of the documentation answer their questions over recorded data."""

import json
import math
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from market_data import insert, side, trade
from radar.codec import message_format
from radar.datasets import DEPTH, TRADES, WATCHES
from radar.records import BookSide, SessionReport, TradeSide
from radar.store.client import Store

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs/notebooks").glob("*.ipynb"))
HOURS = 5
HOUR_US = 3_600_000_000
MOST_LINES = 5


def cells(path: Path) -> list[str]:
    found = json.loads(path.read_text())["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == "code"]


@pytest.fixture
def recorded(store: Store) -> Store:
    """Provide some hours of three markets: a trade and a book each minute."""
    now_us = time.time_ns() // 1000
    markets = {"BTCUSDT": "binance", "USDTTMN": "wallex", "USDTIRT": "nobitex"}
    bases = {"BTCUSDT": ("BTC", "USDT", 60_000), "USDTTMN": ("USDT", "TMN", 100_000)}
    bases["USDTIRT"] = ("USDT", "IRT", 99_000)
    trades, books, sessions = [], [], []
    for symbol, source in markets.items():
        base, quote, price = bases[symbol]
        own = {"source": source, "base": base, "quote": quote}
        for minute in range(HOURS * 60):
            at_us = now_us - minute * 60_000_000 - 1_000_000
            near = price * (1 + 0.001 * math.sin(minute))
            taker = TradeSide.SELL if minute % 3 else TradeSide.BUY
            made = trade(at_us // 1000, at_us, f"{near:.2f}1", symbol)
            trades.append(msgspec.structs.replace(made, side=taker, **own))
            for which, levels in ((BookSide.BID, (0.999, 0.998)), (BookSide.ASK, (1.001, 1.002))):
                book = side(which, [near * each for each in levels], at_us - 2_000_000, symbol)
                quantities = (0.05, 100.0)
                books.append(msgspec.structs.replace(book, quantities=quantities, **own))
        sessions.append(
            SessionReport(
                source=source,
                record_kind="trades",
                connection="0a",
                symbols=(symbol,),
                began_at_us=now_us - HOURS * HOUR_US,
                ended_at_us=now_us,
                end_reason="open",
                interval_ms=0,
                received_at_us=now_us,
            )
        )
    values = [message_format.encode_trade(each, f"{n:032x}") for n, each in enumerate(trades)]
    insert(store, TRADES, values, "trades")
    insert(store, DEPTH, [message_format.encode_depth(each) for each in books], "books")
    insert(store, WATCHES, [message_format.encode_session(each) for each in sessions], "sessions")
    return store


@pytest.mark.usefixtures("recorded")
def test_ten_questions_have_their_answers() -> None:
    (path,) = [each for each in NOTEBOOKS if each.stem == "ten-questions"]
    names: dict[str, Any] = {}
    for cell in cells(path):
        exec(cell, names)
    assert names["sizes"]["trades"] == HOURS * 60
    assert names["average_size"] == pytest.approx(0.3)
    # A third of the trades buy.
    assert names["cumulative_delta"].iloc[-1] == pytest.approx(-0.3 * HOURS * 60 / 3)
    assert names["spread_by_hour"].median() == pytest.approx(20, rel=0.01)
    # The best level has 3,000 USDT, the next one lies 0.1 % higher.
    assert names["slippage_bps"] == pytest.approx(7, abs=0.5)
    assert names["volatility"]["annualised_volatility"].max() > 0
    assert names["weighted_volume"] >= 0.3 * (HOURS - 2) * 60
    assert names["premium_percent"].iloc[-1] == pytest.approx(100 / 99, rel=0.01)
    assert names["profile"]["volume"].sum() == pytest.approx(0.3 * HOURS * 60)
    assert len(names["effective"]) >= HOURS - 1
    assert set(names["coverage"]["dataset"]) == {"trades"}
    assert names["gaps"].empty


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_answer_is_short(path: Path) -> None:
    first, *answers = cells(path)
    assert "Radar(" in first
    assert len(answers) == 10
    assert all(len(answer.splitlines()) <= MOST_LINES for answer in answers)
