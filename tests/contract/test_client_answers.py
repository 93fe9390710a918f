"""The client's answers: every kind of record, in parts, as other libraries take them."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from msgspec.structs import replace
from pyarrow import parquet

from market_data import MONDAY, insert, insert_market, trade, us
from radar.client import Answer, Radar
from radar.client.parameters import whole_intervals
from radar.codec import message_format
from radar.datasets import BOOK_UPDATES, GAPS, TRADES, WATCHES
from radar.errors import ConfigurationError, InvalidPeriod, InvalidRequest, RadarError
from radar.producer.book_updates import BookChains
from radar.records import BookUpdate, Gap, GapCause, SessionReport
from radar.store.client import Store

FIRST = MONDAY - timedelta(seconds=1)
END = MONDAY + timedelta(minutes=5)
MARKETS = ["wallex:USDTTMN", "BTC/TMN"]


@pytest.fixture
def running(store: Store) -> Radar:
    insert_market(store)
    return Radar()


def test_several_markets_are_one_answer_in_the_order_of_time(radar: Radar) -> None:
    for market in (MARKETS, "USDTTMN,wallex:BTC/TMN", ("BTC/TMN", "USDTTMN", "wallex:USDTTMN")):
        found = radar.trades(market, FIRST, END)
        assert found["symbol"].to_pylist() == ["USDTTMN", "USDTTMN", "USDTTMN", "BTC/TMN"]
    candles = radar.candles(MARKETS, "1m", FIRST, END).to_pylist()
    assert [(each["symbol"], each["open_time"]) for each in candles] == [
        ("USDTTMN", MONDAY - timedelta(minutes=1)),
        ("USDTTMN", MONDAY),
        ("BTC/TMN", MONDAY + timedelta(minutes=1)),
        ("USDTTMN", MONDAY + timedelta(minutes=1)),
    ]


def test_floats_are_doubles_of_the_same_value(radar: Radar) -> None:
    exact = radar.trades("USDTTMN", FIRST, END).to_arrow()
    doubles = radar.trades("USDTTMN", FIRST, END, floats=True)
    for column in ("price", "base_amount", "quote_amount"):
        assert doubles.schema.field(column).type == pa.float64()
        wanted: list[Any] = exact[column].to_pylist()
        assert doubles[column].to_pylist() == [float(each) for each in wanted]
    candles = radar.candles("USDTTMN", "1m", FIRST, END, floats=True)
    assert {candles.schema.field(name).type for name in ("open", "volume", "vwap")} == {
        pa.float64()
    }
    names = ("clickhouse_port", "clickhouse_db", "radar_data_dir")
    place = {name: getattr(radar._settings, name) for name in names}
    with Radar(floats=True, **place) as of_floats:
        sql = "SELECT price, side FROM trades ORDER BY price DESC"
        assert of_floats.query(sql)["price"].to_pylist()[0] == 31800.0
        assert of_floats.trades("USDTTMN", FIRST, END, floats=False)["price"][0].as_py() == Decimal(
            "31704.1234567890123456"
        )


def test_enums_of_a_query_are_text_and_its_order_stays(radar: Radar) -> None:
    found = radar.query(
        "SELECT side, toNullable(side) AS also, price FROM trades ORDER BY price DESC -- newest"
    )
    assert found["side"].to_pylist() == ["buy"] * 4
    assert found["also"].to_pylist() == ["buy"] * 4
    prices: list[Any] = found["price"].to_pylist()
    assert prices == sorted(prices, reverse=True)


def test_query_takes_lists_tuples_and_times(radar: Radar) -> None:
    odd = ["it's \\ a\ttab", "USDTTMN"]
    (row,) = radar.query(
        "SELECT {odd:Array(String)} AS odd, {n:Array(UInt8)} AS n, {day:Date} AS day,"
        " {pair:Tuple(String, UInt8)} AS pair, {at:DateTime('UTC')} AS at, {yes:Bool} AS yes",
        odd=odd, n=[1, 2], day=MONDAY, pair=("a'b", 3), at="2035-01-01", yes=True,
    ).to_pylist()  # fmt: skip
    assert (row["odd"], row["n"], row["day"]) == (odd, [1, 2], MONDAY.date())
    assert list(row["pair"].values()) == ["a'b", 3]
    assert (row["at"], row["yes"]) == (MONDAY, True)
    count = "SELECT count() AS n FROM trades WHERE symbol IN {symbols:Array(String)}"
    assert radar.query(count, symbols=odd)["n"].to_pylist() == [3]


def test_depth_shows_both_sides_as_they_were_known(radar: Radar) -> None:
    lists = radar.depth("USDTTMN", FIRST, END).to_pylist()
    assert [each["received_at"] for each in lists] == [MONDAY, MONDAY + timedelta(microseconds=5)]
    assert [(each["bid_prices"], each["ask_prices"]) for each in lists] == [
        ([99.5, 99.0], []),
        ([99.5, 99.0], [100.5, 101.25]),
    ]
    assert [each["ask_received_at"] for each in lists] == [None, lists[1]["received_at"]]
    wide = radar.depth("USDTTMN", FIRST, END, levels=3, wide=True).to_pylist()
    assert [
        (each["bid_price_1"], each["bid_quantity_2"], each["ask_price_2"], each["bid_price_3"])
        for each in wide
    ] == [(99.5, 2, None, None), (99.5, 2, 101.25, None)]
    # A part that begins later still knows the other side.
    (late,) = radar.depth("USDTTMN", MONDAY + timedelta(microseconds=1), END, levels=1).to_pylist()
    assert (late["bid_prices"], late["ask_prices"]) == ([99.5], [100.5])


def test_prices_of_books_at_intervals(radar: Radar) -> None:
    (spread,) = radar.spreads("USDTTMN", "1m", MONDAY, END).to_pylist()
    assert (spread["best_bid"], spread["best_ask"], spread["mid"]) == (99.5, 100.5, 100)
    mids = radar.mid_prices(MARKETS, "1m", FIRST, END, max_age="2m").to_pylist()
    assert [(each["time"], each["best_bid"], each["best_ask"], each["mid"]) for each in mids] == [
        (MONDAY, 99.5, None, None),
        (MONDAY + timedelta(minutes=1), 99.5, 100.5, 100),
        (MONDAY + timedelta(minutes=2), 99.5, 100.5, 100),
    ]
    assert mids[1]["age_s"] == 60


def test_candles_of_days_in_a_time_zone(radar: Radar) -> None:
    (day,) = radar.candles("USDTTMN", "1d", FIRST, END, time_zone="Asia/Tehran").to_pylist()
    assert day["open_time"].isoformat() == "2035-01-01T00:00:00+03:30"
    assert day["trades"] == 3
    assert radar.candles("USDTTMN", "1d", FIRST, END).num_rows == 2


def test_coverage_gaps_and_markets(store: Store) -> None:
    now_us = us(datetime.now(UTC))
    session = SessionReport(
        source="wallex", record_kind="trades", connection="0a", symbols=("USDTTMN", "BTC/TMN"),
        began_at_us=now_us - 60_000_000, ended_at_us=now_us, end_reason="open", interval_ms=0,
        received_at_us=now_us,
    )  # fmt: skip
    gap = Gap(
        source="wallex", record_kind="trades", cause=GapCause.SILENT, symbols=("USDTTMN",),
        began_at_us=now_us - 40_000_000, ended_at_us=now_us - 30_000_000, repaired=True,
        received_at_us=now_us,
    )  # fmt: skip
    insert(store, WATCHES, [message_format.encode_session(session)], "sessions")
    insert(store, GAPS, [message_format.encode_gap(gap)], "gaps")
    value = message_format.encode_trade(trade(now_us // 1000 - 5000, now_us, "7"), f"{9:032x}")
    insert(store, TRADES, [value], "now")
    radar = Radar()
    assert {each["symbol"] for each in radar.coverage().to_pylist()} == {"USDTTMN", "BTC/TMN"}
    days = radar.coverage("USDTTMN", "-1d", dataset="trades").to_pylist()
    assert sum(each["gaps"] for each in days) >= 1
    (found,) = radar.gaps("USDTTMN", "-1h").to_pylist()
    assert (found["cause"], found["lasted_s"], found["backfilled"]) == ("silent", 10, True)
    assert radar.gaps("BTC/TMN", timedelta(hours=1)).num_rows == 0
    assert radar.gaps("USDTTMN", "-10s").num_rows == 0
    (market,) = radar.markets(floats=True).to_pylist()
    assert (market["symbol"], market["last_price"]) == ("USDTTMN", 7.0)


def test_book_updates_are_in_their_order(store: Store) -> None:
    chains = BookChains()
    values = []
    for n in range(3):
        update = BookUpdate(
            source="binance", symbol="BTCUSDT", base="BTC", quote="USDT", begins=n == 0,
            is_snapshot=n == 0, bids=((4.9 - n, 1.0),), asks=(), event_time_us=0, sequence=n + 1,
            received_at_us=us(MONDAY) + n, verified=True,
        )  # fmt: skip
        values.append(chains.message(update)[1])
    insert(store, BOOK_UPDATES, values[::-1], "updates")
    traded = replace(trade(us(MONDAY) // 1000, us(MONDAY), "5", "BTCUSDT"), source="binance")
    insert(store, TRADES, [message_format.encode_trade(traded, f"{3:032x}")], "its market")
    found = Radar().book_updates("BTCUSDT", MONDAY, END).to_pylist()
    assert [(each["place"], each["is_snapshot"], each["bid_prices"]) for each in found] == [
        (0, True, [4.9]), (1, False, [3.9000000000000004]), (2, False, [2.9000000000000004]),
    ]  # fmt: skip
    assert {each["event_time"] for each in found} == {None}


def test_answer_says_what_it_is_and_reads_once(running: Radar, store: Store) -> None:
    answer = running.trades("USDTTMN", FIRST, END)
    assert repr(answer) == (
        "<trades of wallex:USDTTMN from 2034-12-31T23:59:59Z to 2035-01-01T00:05:00Z: not read yet>"
    )
    assert len(answer) == 3
    late = message_format.encode_trade(trade(us(MONDAY) // 1000, us(MONDAY), "9"), f"{99:032x}")
    insert(store, TRADES, [late], "late")
    assert answer.to_pandas().shape[0] == 3
    assert repr(answer).endswith(": 3 rows>")
    assert len(running.trades("USDTTMN", FIRST, END)) == 4


def test_client_in_a_block_answers_and_is_closed_afterwards(radar: Radar) -> None:
    assert repr(radar).startswith("<Radar at 127.0.0.1:")
    with radar as inside:
        answer = inside.trades("USDTTMN", FIRST, END)
        rows = 0
        for batch in answer.batches():
            rows += batch.num_rows
            assert inside.query("SELECT 1").num_rows == 1  # while another answer is read
        assert rows == 3
    assert radar.trades("USDTTMN", FIRST, END).num_rows == 3


def test_question_while_an_answer_is_read_does_not_wait_for_it(radar: Radar) -> None:
    for batch in radar.trades("USDTTMN", FIRST, END).batches():
        assert batch.num_rows
        assert radar.query("SELECT 1").num_rows == 1
    streamed = radar.stream("SELECT number, 'a' AS a FROM numbers(200000)")
    for _batch in streamed.batches():
        assert radar.query("SELECT 2 AS n")["n"].to_pylist() == [2]
        break


def test_stream_yields_all_rows_in_batches(radar: Radar) -> None:
    answer = radar.stream("SELECT number AS n FROM numbers({count:UInt32})", count=300_000)
    sizes = [batch.num_rows for batch in answer.batches()]
    assert sum(sizes) == 300_000
    assert len(sizes) > 1
    assert answer.to_arrow()["n"].to_pylist() == list(range(300_000))


def test_parquet_file_has_the_rows_and_types(radar: Radar, tmp_path: Path) -> None:
    path = tmp_path / "new" / "trades.parquet"
    answer = radar.trades(MARKETS, FIRST, END)
    assert answer.to_parquet(path) == 4
    assert parquet.read_table(path).equals(answer.to_arrow())
    assert [each.name for each in path.parent.iterdir()] == ["trades.parquet"]
    empty = radar.trades("USDTTMN", "2020-01-01", "2020-01-02")
    assert empty.to_parquet(tmp_path / "empty.parquet") == 0
    assert parquet.read_table(tmp_path / "empty.parquet").schema == answer.schema
    with pytest.raises(RadarError, match="cannot write"):
        answer.to_parquet(Path("/proc/trades.parquet"))


def test_pandas_resamples_floats(radar: Radar) -> None:
    frame = radar.trades("USDTTMN", FIRST, END, floats=True).to_pandas().set_index("event_time")
    assert list(frame.price.resample("1min").ohlc().close) == [31704.123456789013, 31700, 31800]


def test_polars_takes_an_answer(radar: Radar) -> None:
    polars = pytest.importorskip("polars")
    frame = radar.trades("USDTTMN", FIRST, END, floats=True).to_polars()
    assert frame["price"].to_list() == [31704.123456789013, 31700, 31800]
    assert polars.DataFrame(radar.trades("USDTTMN", FIRST, END)).height == 3
    assert frame.group_by("side").agg(polars.col("base_amount").sum()).height == 1


def test_duckdb_takes_an_answer(radar: Radar) -> None:
    duckdb = pytest.importorskip("duckdb")
    answer = radar.trades("USDTTMN", FIRST, END, floats=True)
    assert len(answer) == 3
    rows = duckdb.sql("SELECT side, sum(price * base_amount) FROM answer GROUP BY side").fetchall()
    assert rows == [("buy", pytest.approx(0.3 * (31704.123456789013 + 31700 + 31800)))]


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda radar: radar.candles("USDTTMN", 1.5, FIRST), InvalidRequest, "interval is 1.5"),
        (lambda radar: radar.candles("USDTTMN", True, FIRST), InvalidRequest, "interval is True"),
        (lambda radar: radar.spreads("USDTTMN", 0, FIRST), InvalidRequest, "interval is 0"),
        (lambda radar: radar.candles("USDTTMN", "400d", FIRST), InvalidRequest, "at most 366d"),
        (lambda radar: radar.candles("USDTTMN", "7s", FIRST, time_zone="Asia/Tehran"),
         InvalidRequest, "divisor of a day"),
        (lambda radar: radar.candles("USDTTMN", "1d", FIRST, time_zone="Asia/Teheran"),
         InvalidRequest, "use Asia/Tehran"),
        (lambda radar: radar.mid_prices("USDTTMN", "1m", FIRST, max_age=0), InvalidRequest,
         "max_age is 0"),
        (lambda radar: radar.trades("USDTTMN", "noon"), InvalidRequest, "start is 'noon'"),
        (lambda radar: radar.trades("USDTTMN", "-1d", "-2d"), InvalidPeriod, "give a later end"),
        (lambda radar: radar.trades([], FIRST), InvalidRequest, "market"),
        (lambda radar: radar.spreads([], "1m", FIRST), InvalidRequest, "market is"),
        (lambda radar: radar.spreads(["USDTTMN", 5], "1m", FIRST), InvalidRequest, "market is"),
        (lambda radar: radar.spreads("USDTTMN,", "1m", FIRST), InvalidRequest, "market is"),
        (lambda radar: radar.depth("USDTTMN", FIRST, levels=0), InvalidRequest, "levels is 0"),
        (lambda radar: radar.depth("USDTTMN", FIRST, levels=900, wide=True), InvalidRequest,
         "at most 500"),
        (lambda radar: radar.coverage(dataset="trade"), InvalidRequest, "use trades"),
        (lambda radar: radar.gaps(dataset="books"), InvalidRequest, "dataset is 'books'"),
        (lambda radar: radar.query("SELECT {n:UInt8}"), InvalidRequest, "a value for n"),
        (lambda radar: radar.query("SELECT {n:UInt8}", n=None), InvalidRequest, "n is None"),
        (lambda radar: Radar(clickhose_host="db"), ConfigurationError, "use clickhouse_host"),
        (lambda radar: Radar(float=True), ConfigurationError, "use floats"),
    ],
)  # fmt: skip
def test_mistake_is_an_error_that_names_the_remedy(
    ask: Any, error: type[RadarError], words: str, running: Radar
) -> None:
    with pytest.raises(error, match=words):
        ask(running)


def test_parts_of_a_period_lie_side_by_side_at_multiples() -> None:
    start, end = MONDAY + timedelta(seconds=7), MONDAY + timedelta(seconds=100)
    parts = list(whole_intervals(start, end, 10, 3))
    assert parts[0] == (start, MONDAY + timedelta(seconds=30))
    assert parts[-1] == (MONDAY + timedelta(seconds=90), end)
    assert [begin for begin, _ in parts[1:]] == [until for _, until in parts[:-1]]
    assert list(whole_intervals(start, start, 10, 3)) == []


ROWS = 2_000_000
# Reads all trades with a small heap of its own, and reports its memory.
CHILD = """
import json, resource, sys
from radar.client import Radar

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

radar = Radar()
radar.trades("USDTTMN", "2035-01-01T00:00", "2035-01-01T00:01").to_parquet("small.parquet")
small = peak_bytes()
answer = radar.trades("USDTTMN", "2035-01-01", "2035-01-03")
written = answer.to_parquet("all.parquet")
of_file = peak_bytes()
rows = size = 0
for batch in answer.batches():
    rows += batch.num_rows
    size += batch.nbytes
print(json.dumps([small, of_file, peak_bytes(), written, rows, size]))
"""


def test_answer_larger_than_memory_is_read_in_portions(store: Store, tmp_path: Path) -> None:
    store.command(
        "INSERT INTO trades_master (trade_id, source, symbol, base, quote, side, price,"
        " base_amount, event_time, received_at, kafka_partition, kafka_offset)"
        " SELECT generateUUIDv4(), 'wallex', 'USDTTMN', 'USDT', 'TMN', 'buy', 5, 1, at, at, 0,"
        " number FROM (SELECT number, toDateTime64('2035-01-01', 3, 'UTC') + number / 20 AS at"
        f" FROM numbers({ROWS}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", CHILD], cwd=tmp_path, env=os.environ, capture_output=True, text=True
    )
    assert not done.stderr, done.stderr
    small, of_file, at_end, written, rows, size = json.loads(done.stdout)
    assert written == rows == ROWS
    assert size > 250 * ROWS * 0.5
    assert of_file - small < size / 2, (small, of_file, at_end, size)
    assert at_end - small < size / 2, (small, of_file, at_end, size)
    assert parquet.ParquetFile(tmp_path / "all.parquet").metadata.num_rows == ROWS


def test_answer_of_a_table_is_in_memory() -> None:
    table = pa.table({"n": [1, 2]})
    answer = Answer.of("numbers", table)
    assert [batch.num_rows for batch in answer.batches()] == [2]
    assert pa.table(answer).equals(table)
    assert repr(answer) == "<numbers: 2 rows>"
