"""The recipes of docs/recipes.md: each answers, and equals a computation in Python."""

import json
import os
import re
import shlex
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from market_data import insert, us
from radar.codec import message_format
from radar.datasets import DEPTH, GAPS, TRADES, WATCHES
from radar.records import (
    BookSide,
    DepthSnapshot,
    Gap,
    GapCause,
    SessionReport,
    Trade,
    TradeSide,
)
from radar.store.client import Store
from support import radar, run_command

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
START = NOW - timedelta(hours=4)
BOOK_EVERY_S = 7
Row = dict[str, Any]


def recipes() -> dict[str, str]:
    """Return the queries by their heading."""
    return dict(
        re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?```sql\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
    )


RECIPES = recipes()


def trades() -> list[Trade]:
    """Return trades of two markets in two quote currencies over four hours."""
    found = []
    for n in range(240):
        at_us = us(START) + n * 60_000_000 + 1_000_000
        for symbol, base, quote, price in (
            ("USDTTMN", "USDT", "TMN", 100_000 + n % 7 * 10),
            ("BTCUSDT", "BTC", "USDT", 60_000 + n % 11 * 5),
        ):
            found.append(
                Trade(
                    source="wallex",
                    symbol=symbol,
                    base=base,
                    quote=quote,
                    side=TradeSide.BUY if n % 3 else TradeSide.SELL,
                    price=str(price),
                    base_amount=f"{1 + n % 5}.5",
                    event_time_ms=at_us // 1000,
                    received_at_us=at_us + 20_000,
                )
            )
    return found


def books() -> list[DepthSnapshot]:
    """Return a snapshot of both sides every seven seconds, the asks a second later."""
    found = []
    for n in range(int(4 * 3600 / BOOK_EVERY_S)):
        at_us = us(START) + n * BOOK_EVERY_S * 1_000_000
        for side, price, later_us in (
            (BookSide.BID, 100_000.0 + n % 13, 0),
            (BookSide.ASK, 100_010.0 + n % 13, 1_000_000),
        ):
            found.append(
                DepthSnapshot(
                    source="wallex",
                    symbol="USDTTMN",
                    base="USDT",
                    quote="TMN",
                    side=side,
                    prices=(price,),
                    quantities=(1.0,),
                    received_at_us=at_us + later_us,
                )
            )
    return found


TRADES_SENT, BOOKS_SENT = trades(), books()
USDT = [each for each in TRADES_SENT if each.symbol == "USDTTMN"]


@pytest.fixture
def recording(store: Store) -> Store:
    """Provide four recorded hours, of which the second has a gap."""
    values = [message_format.encode_trade(each, f"{n:032x}") for n, each in enumerate(TRADES_SENT)]
    insert(store, TRADES, values, "trades")
    insert(store, DEPTH, [message_format.encode_depth(each) for each in BOOKS_SENT], "books")
    session = SessionReport(
        source="wallex", record_kind="trades", connection="0a", symbols=("USDTTMN", "BTCUSDT"),
        began_at_us=us(START) - 3_600_000_000, ended_at_us=us(NOW) + 3_600_000_000,
        end_reason="open", interval_ms=0, received_at_us=us(NOW),
    )  # fmt: skip
    insert(store, WATCHES, [message_format.encode_session(session)], "sessions")
    gap = Gap(
        source="wallex", record_kind="trades", cause=GapCause.DISCONNECTED, symbols=("USDTTMN",),
        began_at_us=us(START) + 3_900_000_000, ended_at_us=us(START) + 3_960_000_000,
        repaired=False, received_at_us=us(NOW),
    )  # fmt: skip
    insert(store, GAPS, [message_format.encode_gap(gap)], "gaps")
    return store


def run(name: str, **parameters: object) -> list[Row]:
    """Run a recipe as its page says: as a file, with parameters."""
    path = Path("recipe.sql")
    path.write_text(RECIPES[name])
    period = {"start": f"{START:%Y-%m-%dT%H:%M}", "end": f"{NOW:%Y-%m-%dT%H:%M:%SZ}"}
    market = {"exchange": "wallex", "symbol": "USDTTMN"}
    given = {
        key: value
        for key, value in {**market, **period, **parameters}.items()
        if f"{{{key}:" in RECIPES[name]
    }
    options = [part for key, value in given.items() for part in ("--param", f"{key}={value}")]
    done = run_command("query", "--file", str(path), *options, "--format", "JSONEachRow")
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def amount(each: Trade) -> float:
    return float(each.base_amount)


def signed(each: Trade) -> float:
    return amount(each) if each.side is TradeSide.BUY else -amount(each)


def hour(each: Trade) -> int:
    return (each.event_time_ms * 1000 - us(START)) // 3_600_000_000


def test_every_recipe_has_a_test() -> None:
    assert RECIPES.keys() == {
        "Cumulative volume delta",
        "Volume profile",
        "Mid price at equal distances",
        "Effective spread",
        "Excluding gaps",
        "Volumes in Toman and in dollars",
    }


def test_cumulative_volume_delta(recording: Store) -> None:
    rows = run("Cumulative volume delta")
    deltas = [sum(signed(each) for each in USDT if hour(each) == n) for n in range(4)]
    assert [row["delta"] for row in rows] == pytest.approx(deltas)
    sums = [sum(deltas[: n + 1]) for n in range(4)]
    assert [row["cumulative_delta"] for row in rows] == pytest.approx(sums)


def test_volume_profile(recording: Store) -> None:
    rows = run("Volume profile", step=20)
    wanted: dict[float, float] = {}
    for each in USDT:
        place = float(each.price) // 20 * 20
        wanted[place] = wanted.get(place, 0) + amount(each)
    assert {row["price_from"]: row["volume"] for row in rows} == pytest.approx(wanted)
    assert sum(row["bought"] - row["sold"] for row in rows) == pytest.approx(sum(map(signed, USDT)))


def newest(side: BookSide, at_us: int) -> DepthSnapshot:
    return max(
        (each for each in BOOKS_SENT if each.side is side and each.received_at_us <= at_us),
        key=lambda each: each.received_at_us,
    )


def test_mid_price_at_equal_distances(recording: Store) -> None:
    rows = run("Mid price at equal distances", step_s=60)
    # At the first moment there is no ask yet.
    assert len(rows) == 239
    for n in (1, 100, 239):
        at_us = us(START) + n * 60_000_000
        bid, ask = newest(BookSide.BID, at_us), newest(BookSide.ASK, at_us)
        row = rows[n - 1]
        assert row["mid"] == (bid.prices[0] + ask.prices[0]) / 2
        older_us = min(bid.received_at_us, ask.received_at_us)
        assert row["age_s"] == pytest.approx((at_us - older_us) / 1e6)
        assert row["age_s"] <= BOOK_EVERY_S


def test_effective_spread(recording: Store) -> None:
    rows = run("Effective spread")
    assert len(rows) == 4
    weighted, value_sum = 0.0, 0.0
    for each in (each for each in USDT if hour(each) == 1):
        mid = sum(newest(side, each.received_at_us - 1).prices[0] for side in BookSide) / 2
        value = float(each.price) * amount(each)
        weighted += value * 2 * abs(float(each.price) / mid - 1) * 1e4
        value_sum += value
    assert rows[1]["effective_spread_bps"] == pytest.approx(weighted / value_sum)
    assert 0 < rows[1]["book_age_s"] < BOOK_EVERY_S + 1
    assert sum(int(row["trades"]) for row in rows) >= len(USDT) - 1


def test_excluding_gaps(recording: Store) -> None:
    rows = run("Excluding gaps")
    volumes = [sum(amount(each) for each in USDT if hour(each) == n) for n in (0, 2, 3)]
    assert [row["volume"] for row in rows] == pytest.approx(volumes)
    assert [row["hour"] for row in rows] == [
        f"{START + timedelta(hours=n):%Y-%m-%d %H:%M:%S}" for n in (0, 2, 3)
    ]


def test_volumes_in_toman_and_in_dollars(recording: Store) -> None:
    rows = {row["symbol"]: row for row in run("Volumes in Toman and in dollars")}
    rates = []
    for n in range(4):
        of_hour = [each for each in USDT if hour(each) == n]
        rates.append(
            sum(float(each.price) * amount(each) for each in of_hour) / sum(map(amount, of_hour))
        )
    bitcoin = [each for each in TRADES_SENT if each.symbol == "BTCUSDT"]
    dollars = sum(float(each.price) * amount(each) for each in bitcoin)
    toman = sum(float(each.price) * amount(each) * rates[hour(each)] for each in bitcoin)
    assert rows["BTCUSDT"]["dollars"] == pytest.approx(dollars)
    assert rows["BTCUSDT"]["toman"] == pytest.approx(toman)
    assert rows["USDTTMN"]["dollars"] == pytest.approx(sum(map(amount, USDT)))


def test_exported_files_in_pandas_polars_and_duckdb(recording: Store) -> None:
    (line,) = re.findall(r"^\.venv/bin/radar (export .*)$", PAGE, re.MULTILINE)
    subprocess.run(radar(*shlex.split(line)), capture_output=True, check=True, env=os.environ)
    volumes = [sum(amount(each) for each in USDT if hour(each) == n) for n in range(4)]
    values = [
        sum(float(each.price) * amount(each) for each in USDT if hour(each) == n) for n in range(4)
    ]
    programs = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    pandas, polars, duckdb = (executed(program) for program in programs)
    assert len(pandas["trades"]) == len(USDT)
    assert pandas["volumes"].sum() == pytest.approx(sum(volumes))
    first = pandas["candles"].iloc[0]
    assert first["open"] == first["close"] == float(USDT[0].price)
    by_hour = zip(volumes, values, strict=True)
    wanted = [pytest.approx((volume, value / volume)) for volume, value in by_hour]
    hours = polars["hours"].sort("event_time")
    assert hours.select("volume", "vwap").rows() == wanted
    assert [row[3:] for row in duckdb["hours"]] == wanted
    assert {row[:2] for row in duckdb["hours"]} == {("wallex", "USDTTMN")}


def executed(program: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(program, names)
    return names
