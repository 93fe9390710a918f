"""The examples of README.md, docs/queries.md and docs/exports.md: all of them are answered."""

import json
import os
import re
import shlex
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import object_store
from market_data import insert, side, trade
from radar.codec import message_format
from radar.datasets import BOOK_UPDATES, DEPTH, EXCHANGE_CANDLES, GAPS, TRADES, WATCHES
from radar.producer.book_updates import BookChains
from radar.reading import manifest
from radar.reading.export import FORMATS
from radar.records import BookSide, BookUpdate, ExchangeCandle, Gap, GapCause, SessionReport
from radar.store import day_volumes
from radar.store.client import Store
from radar.store.day_volumes import DayVolumeRow
from radar.store.proofs import ProofRow, save
from support import run_command

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / name).read_text() for name in ("README.md", "docs/queries.md")}


def blocks(language: str) -> list[str]:
    pattern = re.compile(rf"```{language}\n(.*?)```", re.DOTALL)
    return [block for page in PAGES.values() for block in pattern.findall(page)]


EXPORTS = re.findall(
    r"^\.venv/bin/radar (export .*)$", (ROOT / "docs/exports.md").read_text(), re.MULTILINE
)
SQL = blocks("sql") + re.findall(r'radar query "([^"]+)"', "".join(PAGES.values()))


@pytest.fixture
def market(store: Store) -> Store:
    """Provide two markets that trade, now and a day ago, with books."""
    now_us = time.time_ns() // 1000
    trades = [
        trade((now_us - ago_s * 1_000_000) // 1000, now_us, "5", symbol)
        for symbol in ("USDTTMN", "BTC_TMN")
        for ago_s in (2, 90, 86_400 + 60)
    ]
    books = [
        side(which, [price], now_us - ago_s * 1_000_000)
        for ago_s in (2, 90)
        for which, price in ((BookSide.BID, 4.9), (BookSide.ASK, 5.1))
    ]
    values = [message_format.encode_trade(each, f"{n:032x}") for n, each in enumerate(trades)]
    insert(store, TRADES, values, "trades")
    insert(store, DEPTH, [message_format.encode_depth(each) for each in books], "books")
    update = BookUpdate(
        source="binance",
        symbol="BTCUSDT",
        base="BTC",
        quote="USDT",
        begins=True,
        is_snapshot=True,
        bids=((4.9, 1.0),),
        asks=((5.1, 2.0),),
        received_at_us=now_us - 2_000_000,
        event_time_us=0,
        sequence=1,
        verified=False,
    )
    _, value = BookChains().message(update)
    insert(store, BOOK_UPDATES, [value], "updates")
    day_us = 86_400_000_000
    candle = ExchangeCandle(
        source="wallex",
        symbol="BTC_TMN",
        base="BTC",
        quote="TMN",
        interval_s=86_400,
        resolution="D",
        time_zone="Asia/Tehran",
        opened_at_us=now_us // day_us * day_us - day_us - 12_600_000_000,
        open="5",
        high="6",
        low="4",
        close="5",
        volume="7",
        received_at_us=now_us,
    )
    insert(store, EXCHANGE_CANDLES, [message_format.encode_candle(candle)], "candles")
    session = SessionReport(
        source="binance", record_kind="trades", connection="0a", symbols=("BTCUSDT",),
        began_at_us=now_us - 60_000_000, ended_at_us=now_us, end_reason="open", interval_ms=0,
        received_at_us=now_us, both=90, alone=3,
    )  # fmt: skip
    insert(store, WATCHES, [message_format.encode_session(session)], "sessions")
    gap = Gap(
        source="binance", record_kind="trades", cause=GapCause.SILENT, symbols=("BTCUSDT",),
        began_at_us=now_us - 40_000_000, ended_at_us=now_us - 30_000_000, repaired=True,
        received_at_us=now_us,
    )  # fmt: skip
    insert(store, GAPS, [message_format.encode_gap(gap)], "gaps")
    begin_us = now_us // day_us * day_us
    proof = ProofRow(
        "binance", "trades", "BTCUSDT", begin_us // 1_000_000, [begin_us], [begin_us + 1],
        ["unverifiable"], ["not_recording"], ["sessions"], [0],
    )  # fmt: skip
    save(store, [proof], now_us)
    hours = (now_us - day_us, now_us)
    short = DayVolumeRow(
        "BTCUSDT", now_us, hours, hours, Decimal(5), 8, Decimal(4), Decimal(4), "short", ""
    )
    day_volumes.save(store, "binance", [short], now_us)
    return store


@pytest.mark.parametrize("sql", SQL)
def test_documented_query_has_an_answer(sql: str, market: Store) -> None:
    assert market.rows(sql.replace("BTCTMN", "BTC_TMN"))


@pytest.mark.parametrize("program", blocks("python"))
def test_documented_program_has_answers(program: str, market: Store) -> None:
    names: dict[str, Any] = {}
    password = Path(".radar/clickhouse.password")
    password.parent.mkdir(mode=0o700)
    password.touch(0o600)
    password.write_text("any, because the test's database needs none")
    place = os.environ["CLICKHOUSE_PORT"], os.environ["CLICKHOUSE_DB"]
    program = program.replace("8123", place[0]).replace("BTCTMN", "BTC_TMN")
    program = program.replace('database="radar"', f'database="{place[1]}"')
    exec(program, names)
    tables = [value for value in names.values() if hasattr(value, "num_rows")]
    assert all(table.num_rows for table in tables)
    assert len(names["frame"])


@pytest.mark.parametrize("line", [line for line in EXPORTS if "s3://" not in line])
def test_documented_export_writes_files(line: str, market: Store, tmp_path: Path) -> None:
    done = run_command(*shlex.split(line))
    assert (done.returncode, done.stderr) == (0, "")
    name = manifest.HIVE_NAME if "--layout hive" in line else manifest.NAME
    (written,) = (tmp_path / "export").glob(f"*/{name}")
    assert json.loads(written.read_text())["files"]


@pytest.mark.parametrize("line", [line for line in EXPORTS if "s3://" in line])
def test_documented_export_writes_to_object_storage(
    line: str, market: Store, tmp_path: Path
) -> None:
    with object_store.running(tmp_path) as objects:
        bucket = objects.bucket("documented")
        there = object_store.CREDENTIALS | {"S3_ENDPOINT_URL": objects.endpoint}
        done = run_command(*shlex.split(line.replace("BUCKET", bucket)), environment=there)
        assert (done.returncode, done.stderr) == (0, "")
        (written,) = (key for key in objects.keys(bucket) if key.endswith(manifest.NAME))
        assert json.loads(objects.read(bucket, written))["files"]


def test_an_export_of_each_format_is_documented() -> None:
    documented = {line.partition("--format ")[2].split(" ")[0] for line in EXPORTS}
    assert documented == {"", *FORMATS} - {"parquet"}


def test_every_view_is_documented(store: Store) -> None:
    rows = store.rows("SELECT name FROM system.tables WHERE database = currentDatabase()")
    missing = [name for (name,) in rows if f"`{name}`" not in "".join(PAGES.values())]
    assert missing == ["schema_migrations"]


def test_every_column_of_a_view_is_documented(store: Store) -> None:
    rows = store.rows(
        "SELECT DISTINCT name FROM system.columns WHERE database = currentDatabase()"
        " AND table IN ('candles', 'vwap', 'usdt_tmn', 'markets_at', 'book_depth_at', 'coverage',"
        " 'covered_candles', 'effective_spreads', 'interval_coverage', 'local_candles',"
        " 'mid_prices', 'order_flow', 'realised_volatility', 'symbol_gaps', 'trades_with_book',"
        " 'volume_profile')"
    )
    words = set(re.findall(r"\w+", PAGES["docs/queries.md"]))
    assert [name for (name,) in rows if name not in words] == []
