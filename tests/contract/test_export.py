"""`radar export`: complete files, each written once."""

import json
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cases import RUNNING
from market_data import insert, insert_market, side, trade, us
from radar.codec import message_format
from radar.datasets import DEPTH, GAPS, TRADES
from radar.errors import ConfigurationError, QueryFailed, UnknownMarket
from radar.reading import destinations, manifest
from radar.reading.export import Exported, ExportRequest, export, is_complete
from radar.reading.formats.base import Day, replacing, save
from radar.reading.query import opened
from radar.records import BookSide, Gap, GapCause
from radar.settings import Settings
from radar.store.client import Store
from support import Process, eventually, radar, run_command

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
PARQUET = ExportRequest("trades", "parquet")


@pytest.fixture
def week(store: Store) -> Store:
    """Provide a trade on each of the last seven days of two markets, and on this one."""
    now_us = time.time_ns() // 1000
    days = [TODAY - timedelta(days=n) for n in range(8)]
    trades = [
        trade(us(day) // 1000, now_us, str(n + 1), symbol)
        for n, day in enumerate(days)
        for symbol in ("USDTTMN", "BTC/a.b")
    ]
    values = [message_format.encode_trade(each, f"{n:032x}") for n, each in enumerate(trades)]
    insert(store, TRADES, values, "week")
    grow_old(store)
    return store


def grow_old(store: Store) -> None:
    """Let everything have been inserted an hour ago."""
    store.command(
        "ALTER TABLE trades_master UPDATE inserted_at = now64(3) - INTERVAL 1 HOUR WHERE 1"
        " SETTINGS mutations_sync = 1"
    )


def files(folder: Path) -> list[str]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != manifest.NAME]
    return sorted(str(path.relative_to(folder)) for path in paths)


def test_export_writes_a_file_a_day_and_only_what_is_missing_again(
    week: Store, store_settings: Settings, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    exported = export(store_settings, PARQUET, tmp_path, lambda *state: seen.append(state))
    assert exported == Exported(written=16, skipped=0)
    assert seen == [(n, 16) for n in range(17)]
    days = [f"{TODAY - timedelta(days=n):%Y-%m-%d}.parquet" for n in reversed(range(8))]
    assert files(tmp_path) == [
        *(f"trades/wallex/BTC%2Fa%2Eb/{day}" for day in days),
        *(f"trades/wallex/USDTTMN/{day}" for day in days),
    ]
    # The day that is not over.
    assert export(store_settings, PARQUET, tmp_path) == Exported(written=2, skipped=14)
    (tmp_path / "trades/wallex/USDTTMN" / days[3]).unlink()
    assert export(store_settings, PARQUET, tmp_path) == Exported(written=3, skipped=13)


def test_export_writes_a_day_again_of_which_something_came_later(
    week: Store, store_settings: Settings, tmp_path: Path
) -> None:
    export(store_settings, PARQUET, tmp_path)
    day = TODAY - timedelta(days=3)
    late = message_format.encode_trade(trade(us(day) // 1000 + 5, us(TODAY), "9"), f"{99:032x}")
    insert(week, TRADES, [late], "late")
    assert export(store_settings, PARQUET, tmp_path) == Exported(written=3, skipped=13)
    path = tmp_path / "trades/wallex/USDTTMN" / f"{day:%Y-%m-%d}.parquet"
    assert pq.read_table(path).num_rows == 2


def test_gaps_of_many_markets_are_known(store: Store, store_settings: Settings) -> None:
    """The names of so many markets are too long for a URL, and for one parameter of a server."""
    symbols = [f"MARKET{n:04d}USDT" for n in range(manifest.MARKETS_AT_ONCE + 1)]
    day = TODAY - timedelta(days=1)
    gaps = [
        Gap(
            source="wallex",
            record_kind="trades",
            cause=GapCause.DISCONNECTED,
            symbols=(symbol,),
            began_at_us=us(day),
            ended_at_us=us(day) + 60_000_000,
            repaired=False,
            received_at_us=us(day),
        )
        for symbol in symbols
    ]
    insert(store, GAPS, [message_format.encode_gap(gap) for gap in gaps], "gaps")
    markets = [("wallex", symbol) for symbol in symbols]
    with opened(store_settings, buffered=True) as ask:
        missing = manifest.missing_of(ask, markets, day.date(), day.date())
    assert [(symbol, len(found.gaps)) for (_, _, symbol, _), found in missing.items()] == [
        (symbol, 1) for symbol in symbols
    ]


def test_export_of_some_days_of_a_market(
    week: Store, store_settings: Settings, tmp_path: Path
) -> None:
    first, last = (TODAY - timedelta(days=3)).date(), (TODAY - timedelta(days=2)).date()
    with pytest.raises(UnknownMarket, match='no market "it\'s" is recorded'):
        export(
            store_settings,
            ExportRequest("trades", "csv", ("USDTTMN", "it's"), first, last),
            tmp_path,
        )
    wanted = ExportRequest("trades", "csv", ("USDTTMN",), first, last)
    assert export(store_settings, wanted, tmp_path) == Exported(written=2, skipped=0)
    text = (tmp_path / f"trades/wallex/USDTTMN/{first}.csv").read_text()
    head, row = text.splitlines()
    assert head.startswith('"trade_id","source","symbol"')
    assert f',"buy",4,0.3,1.2,"{first}T00:00:00.000Z",' in row


@pytest.mark.parametrize("where", [RUNNING, "at rest"])
def test_exported_values_are_exact(
    where: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if where == RUNNING:
        insert_market(request.getfixturevalue("store"))
        compare_export(request.getfixturevalue("store_settings"), tmp_path)
    else:
        compare_export(request.getfixturevalue("copied_at_rest"), tmp_path)


def compare_export(settings: Settings, folder: Path) -> None:
    export(settings, PARQUET, folder)
    (row,) = pq.read_table(folder / "trades/wallex/USDTTMN/2034-12-31.parquet").to_pylist()
    assert row["price"] == Decimal("31704.1234567890123456")
    assert row["event_time"] == datetime(2034, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert (row["side"], row["trade_id"][-2:]) == ("buy", "01")
    export(settings, ExportRequest("depth", "parquet", ("USDTTMN",)), folder)
    books = pq.read_table(folder / "depth/wallex/USDTTMN/2035-01-01.parquet").to_pylist()
    assert [(each["side"], each["prices"], each["quantities"]) for each in books] == [
        ("bid", [99.5, 99.0], [1.0, 2.0]),
        ("ask", [100.5, 101.25], [1.0, 2.0]),
    ]


@pytest.fixture
def two_days(store: Store) -> Store:
    """Provide trades around a midnight of Tehran (20:30 UTC) three days ago, and books."""
    midnight = TODAY - timedelta(days=3) + timedelta(hours=20, minutes=30)
    at_ms = us(midnight) // 1000
    trades = [
        trade(at_ms + offset_s * 1000, at_ms * 1000, price)
        for offset_s, price in ((-90, "4"), (-30, "6.5"), (0, "7"), (61, "8"), (86_399, "9"))
    ]
    values = [message_format.encode_trade(each, f"{n:032x}") for n, each in enumerate(trades)]
    insert(store, TRADES, values, "trades")
    books = [
        side(BookSide.BID, [5.0, 4.0, 3.0], us(midnight)),
        side(BookSide.ASK, [6.0], us(midnight) + 1),
    ]
    insert(store, DEPTH, [message_format.encode_depth(each) for each in books], "books")
    return store


def exported_rows(folder: Path, name: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the day and the rows of each file of a market."""
    paths = sorted((folder / name / "wallex" / "USDTTMN").glob("*.parquet"))
    return [(path.stem, pq.read_table(path).to_pylist()) for path in paths]


def test_exported_candles_have_an_interval_and_days_of_a_time_zone(
    two_days: Store, store_settings: Settings, tmp_path: Path
) -> None:
    first, second = (TODAY - timedelta(days=n) for n in (3, 2))
    wanted = ExportRequest("candles", "parquet")
    assert export(store_settings, wanted, tmp_path) == Exported(2, 0)
    utc = exported_rows(tmp_path, "candles_1m")
    assert [(day, [row["close"] for row in rows]) for day, rows in utc] == [
        (f"{first:%F}", [Decimal(4), Decimal("6.5"), Decimal(7), Decimal(8)]),
        (f"{second:%F}", [Decimal(9)]),
    ]
    tehran = replace(wanted, interval_s=1800, time_zone="Asia/Tehran")
    assert export(store_settings, tehran, tmp_path) == Exported(2, 0)
    local = exported_rows(tmp_path, "candles_30m_Asia%2FTehran")
    assert [(day, [row["close"] for row in rows]) for day, rows in local] == [
        (f"{first:%F}", [Decimal("6.5")]),
        (f"{second:%F}", [Decimal(8), Decimal(9)]),
    ]
    daily = replace(tehran, interval_s=86_400, floats=True)
    assert export(store_settings, daily, tmp_path) == Exported(2, 0)
    days = exported_rows(tmp_path, "candles_1d_Asia%2FTehran_floats")
    assert [(day, [row["high"] for row in rows]) for day, rows in days] == [
        (f"{first:%F}", [6.5]),
        (f"{second:%F}", [9.0]),
    ]
    ((_, (row,)), _) = days
    assert row["open_time"] == first - timedelta(hours=3, minutes=30)
    found = json.loads((tmp_path / "candles_1d_Asia%2FTehran_floats" / manifest.NAME).read_text())
    entry = found["files"][f"wallex/USDTTMN/{first:%F}.parquet"]
    assert (entry["kind"], entry["rows"], entry["coverage"]) == ("candles", 1, {})
    grow_old(two_days)
    assert export(store_settings, replace(daily), tmp_path).written <= 2
    assert export(store_settings, replace(daily), tmp_path) == Exported(0, 2)


def test_exported_books_have_the_best_levels_and_trades_may_be_doubles(
    two_days: Store, store_settings: Settings, tmp_path: Path
) -> None:
    export(store_settings, ExportRequest("depth", "parquet", levels=2), tmp_path)
    ((_, books),) = exported_rows(tmp_path, "depth_2")
    assert [(row["prices"], row["quantities"]) for row in books] == [
        ([5.0, 4.0], [1.0, 2.0]),
        ([6.0], [1.0]),
    ]
    export(store_settings, ExportRequest("trades", "parquet", floats=True), tmp_path)
    ((_, rows), _) = exported_rows(tmp_path, "trades_floats")
    assert [row["price"] for row in rows] == [4.0, 6.5, 7.0, 8.0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["candles", "--interval", "7m"], "--interval must divide a day"),
        (["candles", "--interval", "fast"], "--interval is 'fast'"),
        (["candles", "--time-zone", "Asia/Teheran"], "use Asia/Tehran"),
        (["candles", "--interval", "1h", "--time-zone", "Asia/Tehran"], "such as 15m, or 1d"),
        (["candles", "--format", "tardis"], "has no candles"),
        (["trades", "--time-zone", "Asia/Tehran"], "--time-zone needs candles"),
        (["trades", "--levels", "5"], "--levels needs the dataset depth"),
        (["depth", "--floats"], "--floats needs trades"),
        ([], "name one of trades, depth, book_updates, exchange_candles, candles"),
    ],
)
def test_export_option_that_does_not_apply_is_refused(
    store: Store, tmp_path: Path, options: list[str], words: str
) -> None:
    done = run_command("export", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert not (tmp_path / "export").exists()


def test_export_that_is_killed_leaves_only_whole_files_and_goes_on(
    store: Store, store_settings: Settings, tmp_path: Path
) -> None:
    now_us = time.time_ns() // 1000
    values = [
        message_format.encode_trade(
            trade(us(TODAY - timedelta(days=1 + n % 60)) // 1000, now_us, str(n + 1)), f"{n:032x}"
        )
        for n in range(6000)
    ]
    insert(store, TRADES, values, "all")
    grow_old(store)
    folder = tmp_path / "export"
    process = Process(radar("export", "trades", "--to", str(folder)), tmp_path / "log")
    eventually(lambda: len(list(folder.rglob("2*.parquet"))) > 2, "some files are there")
    process.send(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = list(folder.rglob("2*.parquet"))
    assert all(pq.read_table(path).num_rows == 100 for path in before)
    again = export(store_settings, PARQUET, folder)
    assert again == Exported(written=60 - len(before), skipped=len(before))
    assert not list(folder.rglob("*.part"))
    assert len(destinations.Folder(folder / "trades", manifest.NAME).entries()) == 60
    assert len(list(folder.rglob("2*.parquet"))) == 60


def test_file_whose_query_fails_half_way_is_not_there(tmp_path: Path) -> None:
    def breaking() -> Iterator[bytes]:
        yield b"PAR1 and something"
        raise QueryFailed("memory")

    with pytest.raises(QueryFailed), replacing(tmp_path / "new" / "day.parquet") as place:
        save(breaking(), place)
    assert files(tmp_path) == []


def test_export_beside_another_one_is_refused(
    week: Store, store_settings: Settings, tmp_path: Path
) -> None:
    with (
        destinations._locked(tmp_path / "trades"),
        pytest.raises(ConfigurationError, match="another export writes to"),
    ):
        export(store_settings, PARQUET, tmp_path)


def test_export_command_counts_and_fails_in_one_line(week: Store, tmp_path: Path) -> None:
    command = ["export", "trades", "--symbol", "USDTTMN", "--to", str(tmp_path / "to")]
    done = run_command(*command, check=True)
    assert done.stdout == f"wrote 8 files to {tmp_path}/to\n"
    again = run_command(*command, "--json", check=True)
    assert json.loads(again.stdout) == {
        "version": 1,
        "error": None,
        "folder": f"{tmp_path}/to",
        "written": 1,
        "unchanged": 7,  # today is not over
        "left_out": 0,
    }
    (tmp_path / "file").touch()
    command[-1] = str(tmp_path / "file")
    failed = run_command(*command)
    assert failed.returncode == 2
    assert failed.stderr == f"radar: cannot write to {tmp_path}/file/trades: Not a directory\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--symbol", "usdttmn"], "use USDTTMN"),
        (["--symbol", "USDTTMN", "--symbol", "NONSENSE"], "no market 'NONSENSE' is recorded"),
        (
            ["--first", "2026-01-02", "--last", "2026-01-01"],
            "the last day 2026-01-01 is before the first",
        ),
        (["--first", f"{TODAY + timedelta(days=2):%Y-%m-%d}"], "in the future"),
        (["--market", "USDTTMN,wallex:BTC/a.c"], "no market 'wallex:BTC/a.c' is recorded: use"),
    ],
)
def test_export_of_what_cannot_be_recorded_is_refused_and_leaves_no_file(
    week: Store, tmp_path: Path, options: list[str], words: str
) -> None:
    command = ["export", "trades", *options, "--folder", str(tmp_path / "to")]
    done = run_command(*command)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--from", "{0}", "--to", "{1}T00:00:01"],
        ["--from", "{0}T12:30", "--to", "{2}"],
        ["--first", "{0}", "--last", "{1}"],
    ],
)
def test_export_writes_each_day_that_a_period_touches(
    week: Store, tmp_path: Path, options: list[str]
) -> None:
    days = [f"{TODAY - timedelta(days=n):%Y-%m-%d}" for n in (4, 3, 2)]
    place = tmp_path / "to"
    given = [each.format(*days) for each in options]
    markets = ("--market", "USDTTMN,wallex:BTC/a.b")
    command = ["export", "trades", *markets, *given, "--folder", str(place)]
    run_command(*command, check=True)
    assert files(place) == [
        f"trades/wallex/{market}/{day}.parquet"
        for market in ("BTC%2Fa%2Eb", "USDTTMN")
        for day in days[:2]
    ]


@pytest.mark.parametrize(
    ("written_at", "complete"),
    [
        (None, False),
        (datetime(2026, 11, 16, 23, 59, 59, tzinfo=UTC), False),  # the day was not over
        (datetime(2026, 11, 17, tzinfo=UTC), False),  # the newest row came later
        (datetime(2026, 11, 17, 1, tzinfo=UTC), False),  # or at that moment
        (datetime(2026, 11, 17, 1, 0, 1, tzinfo=UTC), True),
    ],
)
def test_file_is_complete_once_its_day_is_over_and_nothing_came_since(
    written_at: datetime | None, complete: bool
) -> None:
    inserted_at = datetime(2026, 11, 17, 1, tzinfo=UTC)
    day = Day("wallex", "USDTTMN", date(2026, 11, 16), inserted_at)
    assert is_complete(day, written_at) is complete
    early = Day("wallex", "USDTTMN", date(2026, 11, 16), inserted_at - timedelta(hours=9))
    assert is_complete(early, datetime(2026, 11, 16, 23, tzinfo=UTC)) is False
