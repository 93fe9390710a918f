"""`radar export` for other programs: the exact rows of their files, and the manifest."""

import gzip
import hashlib
import json
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from market_data import MONDAY, insert, side, trade, us
from radar import __version__
from radar.codec import message_format
from radar.datasets import BOOK_UPDATES, DEPTH, GAPS, TRADES, WATCHES
from radar.errors import ConfigurationError
from radar.producer.book_updates import BookChains
from radar.reading.export import Exported, ExportRequest, export
from radar.reading.formats.book_updates import Piece, Run, choose
from radar.reading.formats.hftbacktest import EXCHANGE, LOCAL
from radar.records import (
    OPEN,
    BookSide,
    BookUpdate,
    DepthSnapshot,
    Gap,
    GapCause,
    SessionReport,
    Trade,
)
from radar.settings import Settings
from radar.store.client import Store

DAY_US = 86_400_000_000
T0 = us(MONDAY)
DAY = f"{MONDAY:%Y-%m-%d}"
NEXT_DAY = f"{MONDAY + timedelta(days=1):%Y-%m-%d}"


def update(
    at_us: int,
    bids: Sequence[tuple[float, float]],
    asks: Sequence[tuple[float, float]],
    *,
    whole: bool = False,
    begins: bool = False,
    event_time_us: int = 0,
) -> BookUpdate:
    return BookUpdate(
        source="wallex",
        symbol="USDTTMN",
        base="USDT",
        quote="TMN",
        begins=begins,
        is_snapshot=whole or begins,
        bids=tuple(bids),
        asks=tuple(asks),
        received_at_us=at_us,
        event_time_us=event_time_us,
        sequence=0,
        verified=False,
    )


def exact_trade(at_us: int, received_at_us: int, price: str, native_id: str = "") -> Trade:
    return Trade(
        source="wallex",
        symbol="USDTTMN",
        base="USDT",
        quote="TMN",
        side=trade(0, 0, "1").side,
        price=price,
        base_amount="0.000000000000000001",
        event_time_ms=at_us // 1000,
        received_at_us=received_at_us,
        native_id=native_id,
        event_time_us=at_us,
    )


def put_trades(store: Store, trades: Sequence[Trade]) -> None:
    values = [message_format.encode_trade(each, f"{n + 1:032x}") for n, each in enumerate(trades)]
    insert(store, TRADES, values, "trades")


def put_updates(store: Store, updates: Sequence[BookUpdate], name: str = "updates") -> None:
    chains = BookChains()
    insert(store, BOOK_UPDATES, [chains.message(each)[1] for each in updates], name)


def lines(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def entries(folder: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((folder / "manifest.json").read_text())["files"]
    return found


def test_trades_of_tardis_are_exact_and_ordered_by_receipt(
    store: Store, store_settings: Settings, tmp_path: Path
) -> None:
    put_trades(
        store,
        [
            exact_trade(T0 + 7, T0 + 2_000_000, "31704.1234567890123456", "id:7"),
            # Before midnight by the exchange's clock, after it by ours.
            exact_trade(T0 - 3, T0 + 5, "12345678901234567890"),
            exact_trade(T0 + DAY_US - 1, T0 + DAY_US, "2"),
        ],
    )
    wanted = ExportRequest("trades", "tardis")
    assert export(store_settings, wanted, tmp_path) == Exported(written=2, skipped=0)
    path = tmp_path / f"tardis/wallex_trades_{DAY}_USDTTMN.csv.gz"
    amount = "0.000000000000000001"
    assert lines(path) == [
        "exchange,symbol,timestamp,local_timestamp,id,side,price,amount",
        f"wallex,USDTTMN,{T0 - 3},{T0 + 5},,buy,12345678901234567890,{amount}",
        f"wallex,USDTTMN,{T0 + 7},{T0 + 2_000_000},id:7,buy,31704.1234567890123456,{amount}",
    ]
    next_path = tmp_path / f"tardis/wallex_trades_{NEXT_DAY}_USDTTMN.csv.gz"
    assert lines(next_path)[1:] == [
        f"wallex,USDTTMN,{T0 + DAY_US - 1},{T0 + DAY_US},,buy,2,{amount}"
    ]
    entry = entries(tmp_path / "tardis")[path.name]
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    # The same rows are the same bytes.
    export(store_settings, wanted, tmp_path / "again")
    assert (tmp_path / "again/tardis" / path.name).read_bytes() == path.read_bytes()
    assert (entry["rows"], entry["bytes"]) == (2, path.stat().st_size)
    assert (entry["first"], entry["last"]) == (
        f"{DAY}T00:00:00.000005Z",
        f"{DAY}T00:00:02.000000Z",
    )


def test_book_snapshots_of_tardis_hold_both_sides(
    store: Store, store_settings: Settings, tmp_path: Path
) -> None:
    books = [
        side(BookSide.BID, [99.5, 1e-7], T0),
        side(BookSide.ASK, [100.5 + n for n in range(6)], T0 + 5),
        side(BookSide.BID, [], T0 + 9),
        side(BookSide.BID, [1e22], T0 + 10),
        side(BookSide.ASK, [3e22], T0 + 10),
    ]
    insert(store, DEPTH, [message_format.encode_depth(each) for each in books], "book")
    wanted = ExportRequest("depth", "tardis")
    assert export(store_settings, wanted, tmp_path) == Exported(written=2, skipped=0)
    head, *rows = lines(tmp_path / f"tardis/wallex_book_snapshot_5_{DAY}_USDTTMN.csv.gz")
    levels = "".join(
        f",asks[{n}].price,asks[{n}].amount,bids[{n}].price,bids[{n}].amount" for n in range(5)
    )
    assert head == f"exchange,symbol,timestamp,local_timestamp{levels}"
    asks = ["100.5,1", "101.5,2", "102.5,3", "103.5,4", "104.5,5"]
    whose = "wallex,USDTTMN"
    assert rows == [
        f"{whose},{T0},{T0},,,99.5,1,,,0.0000001,2" + ",,,," * 3,
        f"{whose},{T0 + 5},{T0 + 5},{asks[0]},99.5,1,{asks[1]},0.0000001,2,"
        + ",".join(f"{each},," for each in asks[2:]),
        f"{whose},{T0 + 9},{T0 + 9}," + ",".join(f"{each},," for each in asks),
        f"{whose},{T0 + 10},{T0 + 10},3{'0' * 22},1,1{'0' * 22},1" + ",,,," * 4,
    ]
    whole = lines(tmp_path / f"tardis/wallex_book_snapshot_25_{DAY}_USDTTMN.csv.gz")
    assert len(whole) == 5
    assert {line.count(",") for line in whole} == {3 + 100}
    assert ",105.5,6,," in whole[2]


def test_updates_of_tardis_begin_each_day_with_the_whole_book(
    store: Store, store_settings: Settings, tmp_path: Path
) -> None:
    put_updates(
        store,
        [
            update(T0 + 1, [(99.0, 1.0), (98.0, 2.0)], [(101.0, 1.5)], begins=True),
            update(T0 + 2, [(98.0, 0.0)], [(100.5, 0.25)], event_time_us=T0 + 1),
            update(T0 + DAY_US + 3, [(97.0, 4.0)], []),
        ],
    )
    wanted = ExportRequest("book_updates", "tardis")
    assert export(store_settings, wanted, tmp_path) == Exported(written=2, skipped=0)
    name = "tardis/wallex_incremental_book_L2_{}_USDTTMN.csv.gz"
    assert lines(tmp_path / name.format(DAY)) == [
        "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount",
        f"wallex,USDTTMN,{T0 + 1},{T0 + 1},true,bid,99,1",
        f"wallex,USDTTMN,{T0 + 1},{T0 + 1},true,bid,98,2",
        f"wallex,USDTTMN,{T0 + 1},{T0 + 1},true,ask,101,1.5",
        f"wallex,USDTTMN,{T0 + 1},{T0 + 2},false,bid,98,0",
        f"wallex,USDTTMN,{T0 + 1},{T0 + 2},false,ask,100.5,0.25",
    ]
    midnight = T0 + DAY_US
    assert lines(tmp_path / name.format(NEXT_DAY))[1:] == [
        f"wallex,USDTTMN,{midnight},{midnight},true,bid,99,1",
        f"wallex,USDTTMN,{midnight},{midnight},true,ask,100.5,0.25",
        f"wallex,USDTTMN,{midnight},{midnight},true,ask,101,1.5",
        f"wallex,USDTTMN,{midnight + 3},{midnight + 3},false,bid,97,4",
    ]


def test_updates_after_a_missing_one_wait_for_the_next_whole_book(
    store: Store, store_settings: Settings, tmp_path: Path
) -> None:
    chains = BookChains()
    values = [
        chains.message(each)[1]
        for each in (
            update(T0 + 1, [(99.0, 1.0)], [], begins=True),
            update(T0 + 2, [(98.0, 1.0)], []),
            update(T0 + 3, [(97.0, 1.0)], []),
            update(T0 + 4, [(96.0, 1.0)], [], whole=True),
            update(T0 + 5, [(95.0, 1.0)], []),
        )
    ]
    # A second connection recorded the same book meanwhile.
    put_updates(store, [update(T0 + 2, [(90.0, 1.0)], [], begins=True)], "other")
    insert(store, BOOK_UPDATES, [values[0], *values[2:]], "updates")
    export(store_settings, ExportRequest("book_updates", "tardis"), tmp_path)
    path = tmp_path / f"tardis/wallex_incremental_book_L2_{DAY}_USDTTMN.csv.gz"
    prices = [line.split(",")[6] for line in lines(path)[1:]]
    assert prices == ["99", "90", "96", "95"]


def test_pieces_follow_one_another() -> None:
    first = Run("a", 0, 9, 100, ((10, 0), (60, 6)))
    second = Run("b", 5, 20, 200, ((50, 5), (150, 15)))
    third = Run("c", 0, 1, 150, ((140, 0),))
    assert choose([]) == ()
    assert choose([Run("a", 3, 9, 100, ())]) == ()
    assert choose([second, first]) == (Piece("a", 0, 9), Piece("b", 15, 20))
    assert choose([second, first, third]) == (Piece("a", 0, 9), Piece("c", 0, 1))


def watched(store: Store) -> None:
    """Insert a session of trades with a gap that is not repaired, on both days."""
    session = SessionReport(
        source="wallex",
        record_kind="trades",
        connection="ab",
        symbols=("USDTTMN",),
        began_at_us=T0,
        ended_at_us=T0 + DAY_US * 2,
        end_reason=OPEN,
        interval_ms=0,
        received_at_us=T0 + DAY_US * 2,
    )
    gap = Gap(
        source="wallex",
        record_kind="trades",
        cause=GapCause.MUTE,
        symbols=("USDTTMN",),
        began_at_us=T0 + DAY_US - 1_000_000,
        ended_at_us=T0 + DAY_US + 500_000,
        repaired=False,
        received_at_us=T0 + DAY_US + 1_000_000,
    )
    insert(store, WATCHES, [message_format.encode_session(session)], "watch")
    insert(store, GAPS, [message_format.encode_gap(gap)], "gap")


def test_manifest_holds_what_is_missing_and_keeps_unchanged_files(
    store: Store, store_settings: Settings, tmp_path: Path
) -> None:
    put_trades(store, [exact_trade(T0, T0, "1"), exact_trade(T0 + DAY_US, T0 + DAY_US, "2")])
    watched(store)
    parquet = ExportRequest("trades", "parquet")
    export(store_settings, parquet, tmp_path)
    folder = tmp_path / "trades"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["format_version"], manifest["radar_version"]) == (1, __version__)
    first, second = (manifest["files"][f"wallex/USDTTMN/{day}.parquet"] for day in (DAY, NEXT_DAY))
    assert (first["kind"], first["exchange"], first["symbol"]) == ("trades", "wallex", "USDTTMN")
    assert (first["rows"], first["first"]) == (1, f"{DAY}T00:00:00.000000Z")
    gap = {
        "dataset": "trades",
        "began_at": f"{DAY}T23:59:59.000000Z",
        "ended_at": f"{NEXT_DAY}T00:00:00.500000Z",
        "cause": "mute",
        "repaired": False,
    }
    assert first["gaps"] == second["gaps"] == [gap]
    assert first["coverage"]["trades"]["gaps_s"] == 1
    assert first["coverage"]["trades"]["complete_share"] == pytest.approx(1 - 1 / 86_400)
    assert second["coverage"]["trades"]["gaps_s"] == 0.5

    # Another format of the dataset adds its files; the entries of others stay.
    wanted = ExportRequest("trades", "csv", last=MONDAY.date())
    export(store_settings, wanted, tmp_path)
    both = entries(folder)
    assert sorted(both) == [
        f"wallex/USDTTMN/{DAY}.csv",
        f"wallex/USDTTMN/{DAY}.parquet",
        f"wallex/USDTTMN/{NEXT_DAY}.parquet",
    ]
    assert both[f"wallex/USDTTMN/{DAY}.parquet"] == first
    assert both[f"wallex/USDTTMN/{NEXT_DAY}.parquet"] == second
    for name, entry in both.items():
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert (entry["sha256"], entry["bytes"]) == (digest, (folder / name).stat().st_size)


def test_manifest_that_cannot_be_read_is_not_overwritten(
    store: Store, store_settings: Settings, tmp_path: Path
) -> None:
    put_trades(store, [exact_trade(T0, T0, "1")])
    path = tmp_path / "trades" / "manifest.json"
    path.parent.mkdir()
    for text, words in (
        ("{", "remove it, and export again"),
        ('{"format_version": 2}', "another folder"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigurationError, match=words):
            export(store_settings, ExportRequest("trades", "csv"), tmp_path)
        assert path.read_text() == text


@pytest.mark.parametrize(
    ("dataset", "output_format", "names"),
    [
        ("trades", "csv", ("wallex/AAAAb%2F%2E%2E%2F%2E%2E%2Fc", "wallex/AAAAb%3Ac")),
        ("", "tardis", ("AAAAb%2F%2E%2E%2F%2E%2E%2Fc", "AAAAb%3Ac")),
        ("", "hftbacktest", ("wallex/AAAAb%2F%2E%2E%2F%2E%2E%2Fc", "wallex/AAAAb%3Ac")),
        ("", "nautilus", ("AAAAb....c.WALLEX", "AAAAb_3Ac.WALLEX")),
    ],
)
def test_names_of_markets_lead_to_no_other_folder(
    dataset: str,
    output_format: str,
    names: tuple[str, ...],
    store: Store,
    store_settings: Settings,
    tmp_path: Path,
) -> None:
    symbols = ("AAAAb/../../c", "AAAAb:c")
    put_trades(store, [trade(T0 // 1000, T0, "1", symbol) for symbol in symbols])
    put_book(store, [side(BookSide.BID, [1.0], T0, symbol) for symbol in symbols])
    export(store_settings, ExportRequest(dataset, output_format), tmp_path / "to")
    assert [path.name for path in tmp_path.iterdir()] == ["to"]
    (folder,) = (tmp_path / "to").iterdir()
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert found == {Path("manifest.json"), *map(Path, entries(folder))}
    for name in names:
        assert any(name in str(path) for path in found)


def test_columns_need_a_dataset(store_settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="needs a dataset: name one of trades, depth"):
        export(store_settings, ExportRequest("", "parquet"), tmp_path)
    with pytest.raises(ConfigurationError, match="has no files of gaps"):
        export(store_settings, ExportRequest("gaps", "tardis"), tmp_path)


def put_book(store: Store, books: Sequence[DepthSnapshot]) -> None:
    insert(store, DEPTH, [message_format.encode_depth(each) for each in books], "book")


def events(path: Path) -> list[tuple[Any, ...]]:
    """Return flags, both times in microseconds after T0, price and quantity of each row."""
    return [
        (int(ev), int(exchange) // 1000 - T0, int(local) // 1000 - T0, float(price), float(amount))
        for ev, exchange, local, price, amount, *_rest in np.load(path)["data"].tolist()
    ]


BOTH, BUY, SELL = EXCHANGE | LOCAL, 1 << 29, 1 << 28
TRADED, CHANGED, CLEARED, SNAPSHOT = 2, 1, 3, 4


def test_events_of_hftbacktest_are_trades_and_snapshots(
    store: Store, store_settings: Settings, tmp_path: Path
) -> None:
    put_trades(store, [exact_trade(T0 + 1_000, T0 + 30, "99.1")])
    put_book(
        store,
        [side(BookSide.BID, [99.5, 99.0], T0 + 10), side(BookSide.ASK, [100.5], T0 + 30)],
    )
    wanted = ExportRequest("", "hftbacktest")
    assert export(store_settings, wanted, tmp_path) == Exported(written=1, skipped=0)
    path = tmp_path / f"hftbacktest/wallex/USDTTMN/{DAY}.npz"
    found = events(path)
    shift = 970
    assert [(ev, exch, local, qty) for ev, exch, local, _px, qty in found] == [
        (BOTH | CLEARED | BUY, 10, 10 + shift, 0),
        (BOTH | SNAPSHOT | BUY, 10, 10 + shift, 1),
        (BOTH | SNAPSHOT | BUY, 10, 10 + shift, 2),
        # By the exchange's clock before the trade, by the receipt after it.
        (EXCHANGE | CLEARED | SELL, 30, 30 + shift, 0),
        (EXCHANGE | SNAPSHOT | SELL, 30, 30 + shift, 1),
        (BOTH | TRADED | BUY, 1_000, 30 + shift, 1e-18),
        (LOCAL | CLEARED | SELL, 30, 30 + shift, 0),
        (LOCAL | SNAPSHOT | SELL, 30, 30 + shift, 1),
    ]
    assert [price for *_, price, _qty in found if price == price][-2:] == [99.1, 100.5]
    entry = entries(tmp_path / "hftbacktest")[f"wallex/USDTTMN/{DAY}.npz"]
    assert (entry["trades"], entry["book"], entry["local_time_shift_ns"]) == (
        1,
        "depth",
        shift * 1000,
    )
    assert (entry["tick_size"], entry["lot_size"]) == ("0.1", "0.000000000000000001")


def test_events_of_hftbacktest_are_updates_if_there_are_any(
    store: Store, store_settings: Settings, tmp_path: Path
) -> None:
    put_book(store, [side(BookSide.BID, [1.0], T0 + 1)])
    put_updates(
        store,
        [
            update(T0 + 1, [(99.0, 1.0)], [(101.0, 1.5)], begins=True),
            update(T0 + 5, [(99.0, 0.0)], [(100.5, 0.25)], event_time_us=T0 + 2),
        ],
    )
    export(store_settings, ExportRequest("", "hftbacktest"), tmp_path)
    found = events(tmp_path / f"hftbacktest/wallex/USDTTMN/{DAY}.npz")
    assert [each[:3] for each in found[:2]] == [
        (BOTH | CLEARED | BUY, 1, 1),
        (BOTH | CLEARED | SELL, 1, 1),
    ]
    assert found[2:] == [
        (BOTH | SNAPSHOT | BUY, 1, 1, 99, 1),
        (BOTH | SNAPSHOT | SELL, 1, 1, 101, 1.5),
        (BOTH | CHANGED | BUY, 2, 5, 99, 0),
        (BOTH | CHANGED | SELL, 2, 5, 100.5, 0.25),
    ]


def test_hftbacktest_without_a_book_is_refused(
    store: Store, store_settings: Settings, tmp_path: Path
) -> None:
    put_trades(store, [exact_trade(T0, T0, "1"), exact_trade(T0 + DAY_US, T0 + DAY_US, "2")])
    wanted = ExportRequest("", "hftbacktest")
    with pytest.raises(ConfigurationError, match=f"wallex:USDTTMN has no order book on {DAY}"):
        export(store_settings, wanted, tmp_path)
    assert not list(tmp_path.iterdir())
    put_book(store, [side(BookSide.BID, [1.0], T0 + 1)])
    assert export(store_settings, wanted, tmp_path) == Exported(1, 0, left_out=1)
    with pytest.raises(ConfigurationError, match="merges all datasets: name none"):
        export(store_settings, ExportRequest("depth", "hftbacktest"), tmp_path)
    bookless = trade(T0 // 1000, T0, "1", "BTCTMN")
    insert(store, TRADES, [message_format.encode_trade(bookless, f"{9:032x}")], "bookless")
    named = ExportRequest("", "hftbacktest", ("USDTTMN", "BTCTMN"))
    with pytest.raises(ConfigurationError, match="wallex:BTCTMN has no order book"):
        export(store_settings, named, tmp_path)


def fixed(number: object) -> Decimal:
    """Return the number of 16 bytes of nautilus_trader."""
    assert isinstance(number, bytes)
    return Decimal(int.from_bytes(number, "little", signed=True)).scaleb(-16).normalize()


def catalogue(folder: Path, name: str, day: str = DAY) -> pa.Table:
    end = "23-59-59-999999999Z"
    place = folder / f"nautilus/data/{name}/USDTTMN.WALLEX"
    return pq.read_table(place / f"{day}T00-00-00-000000000Z_{day}T{end}.parquet")


def deltas(folder: Path, day: str = DAY) -> list[tuple[Any, ...]]:
    return [
        (
            *(row["action"], row["side"], fixed(row["price"]), fixed(row["size"]), row["flags"]),
            *(row[name] // 1000 - T0 for name in ("ts_event", "ts_init")),
        )
        for row in catalogue(folder, "order_book_delta", day).to_pylist()
    ]


def instrument(folder: Path) -> dict[str, Any]:
    (path,) = (folder / "nautilus/data/currency_pair/USDTTMN.WALLEX").glob("*.parquet")
    (row,) = pq.read_table(path).to_pylist()
    return dict(row)


def test_trades_of_nautilus_are_exact(
    store: Store, store_settings: Settings, tmp_path: Path
) -> None:
    put_trades(
        store,
        [
            trade(T0 // 1000, T0 + 30, "31704.1234567890123456"),
            replace(trade(T0 // 1000, T0 + 20, "5"), native_id="t:1"),
        ],
    )
    wanted = ExportRequest("", "nautilus")
    assert export(store_settings, wanted, tmp_path) == Exported(written=1, skipped=0)
    table = catalogue(tmp_path, "trade_tick")
    assert table.schema.metadata == {
        b"instrument_id": b"USDTTMN.WALLEX",
        b"price_precision": b"16",
        b"size_precision": b"1",
    }
    first, second = table.to_pylist()
    assert [fixed(row["price"]) for row in (first, second)] == [
        Decimal(5),
        Decimal("31704.1234567890123456"),
    ]
    assert (fixed(first["size"]), first["aggressor_side"]) == (Decimal("0.3"), 1)
    assert (first["trade_id"], second["trade_id"][-2:]) == ("t:1", "01")
    assert (first["ts_event"], first["ts_init"]) == (T0 * 1000, T0 * 1000 + 20_000)
    found = instrument(tmp_path)
    assert (found["id"], found["raw_symbol"]) == ("USDTTMN.WALLEX", "USDTTMN")
    assert (found["base_currency"], found["quote_currency"]) == ("USDT", "TMN")
    assert (found["price_increment"], found["size_increment"]) == ("0.0000000000000001", "0.1")


def test_snapshots_of_nautilus_are_differences(
    store: Store, store_settings: Settings, tmp_path: Path
) -> None:
    put_book(
        store,
        [
            side(BookSide.BID, [99.5, 99.0], T0 + 1),
            side(BookSide.ASK, [100.5], T0 + 1),
            side(BookSide.BID, [99.75, 99.5], T0 + 2),  # the second level has another quantity
            side(BookSide.ASK, [100.5], T0 + 3),
            side(BookSide.ASK, [], T0 + 4),
        ],
    )
    export(store_settings, ExportRequest("", "nautilus"), tmp_path)
    add, change, delete, clear = 1, 2, 3, 4
    buy, sell, last = 1, 2, 128
    assert deltas(tmp_path) == [
        (clear, 0, 0, 0, 0, 1, 1),
        (add, buy, Decimal("99.5"), 1, 0, 1, 1),
        (add, buy, 99, 2, 0, 1, 1),
        (add, sell, Decimal("100.5"), 1, last, 1, 1),
        (delete, buy, 99, 0, 0, 2, 2),
        (add, buy, Decimal("99.75"), 1, 0, 2, 2),
        (change, buy, Decimal("99.5"), 2, last, 2, 2),
        (delete, sell, Decimal("100.5"), 0, last, 4, 4),
    ]


def test_updates_of_nautilus_and_a_precision_that_grows(
    store: Store, store_settings: Settings, tmp_path: Path
) -> None:
    put_updates(
        store,
        [
            update(T0 + 1, [(99.0, 1.0)], [(101.0, 1.5)], begins=True),
            update(T0 + 5, [(99.0, 0.0)], [(100.5, 0.25)], event_time_us=T0 + 2),
            update(T0 + DAY_US + 3, [(97.0625, 4.0)], []),
        ],
    )
    wanted = ExportRequest("", "nautilus", last=MONDAY.date())
    export(store_settings, wanted, tmp_path)
    snapshot, last = 32, 128
    assert deltas(tmp_path) == [
        (4, 0, 0, 0, snapshot, 1, 1),
        (1, 1, 99, 1, snapshot, 1, 1),
        (1, 2, 101, Decimal("1.5"), snapshot + last, 1, 1),
        (3, 1, 99, 0, 0, 2, 5),
        (2, 2, Decimal("100.5"), Decimal("0.25"), last, 2, 5),
    ]
    assert instrument(tmp_path)["price_precision"] == 1
    before = catalogue(tmp_path, "order_book_delta")

    export(store_settings, ExportRequest("", "nautilus"), tmp_path)
    assert instrument(tmp_path)["price_precision"] == 4
    for day in (DAY, NEXT_DAY):
        metadata = catalogue(tmp_path, "order_book_delta", day).schema.metadata
        assert metadata[b"price_precision"] == b"4"
    assert catalogue(tmp_path, "order_book_delta").equals(before)
    midnight = DAY_US
    assert deltas(tmp_path, NEXT_DAY)[:2] == [
        (4, 0, 0, 0, snapshot, midnight, midnight),
        (1, 2, Decimal("100.5"), Decimal("0.25"), snapshot, midnight, midnight),
    ]
    for name, entry in entries(tmp_path / "nautilus").items():
        digest = hashlib.sha256((tmp_path / "nautilus" / name).read_bytes()).hexdigest()
        assert entry["sha256"] == digest


def test_nautilus_refuses_what_it_cannot_hold(
    store: Store, store_settings: Settings, tmp_path: Path
) -> None:
    put_trades(store, [exact_trade(T0, T0, "1")])
    with pytest.raises(ConfigurationError, match="more than 16 decimal places on"):
        export(store_settings, ExportRequest("", "nautilus"), tmp_path)
    put_book(store, [side(BookSide.BID, [1e14], T0, "BTCTMN")])
    with pytest.raises(ConfigurationError, match="wallex:BTCTMN has a price above"):
        export(store_settings, ExportRequest("", "nautilus", ("BTCTMN",)), tmp_path)


def test_markets_of_one_folder_are_refused(
    store: Store, store_settings: Settings, tmp_path: Path
) -> None:
    trades = [trade(T0 // 1000, T0, "1", symbol) for symbol in ("USDTTMN", "USDTT/MN")]
    put_trades(store, [replace(each, base="USDT", quote="TMN") for each in trades])
    with pytest.raises(ConfigurationError, match="have the same place in this format"):
        export(store_settings, ExportRequest("", "nautilus"), tmp_path)
    export(store_settings, ExportRequest("", "nautilus", ("USDTTMN",)), tmp_path)
    with pytest.raises(ConfigurationError, match="holds wallex:USDTTMN: export wallex:USDTT/MN"):
        export(store_settings, ExportRequest("", "nautilus", ("USDTT/MN",)), tmp_path)
