"""The client for notebooks: exact values, from a running database and from data at rest."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from market_data import MONDAY
from ports import free_port
from radar.client import Radar, utc_text
from radar.errors import (
    InvalidPeriod,
    InvalidRequest,
    QueryFailed,
    StoreUnavailable,
    UnknownMarket,
)
from radar.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = MONDAY - timedelta(seconds=1)


def test_trades_are_exact_and_in_utc(radar: Radar) -> None:
    found = radar.trades("USDTTMN", FIRST, MONDAY + timedelta(minutes=1))
    assert found.schema.field("price").type == pa.decimal128(38, 18)
    assert found.schema.field("event_time").type == pa.timestamp("ms", "UTC")
    assert found.schema.field("received_at").type == pa.timestamp("us", "UTC")
    first, second = found.to_pylist()
    assert first["price"] == Decimal("31704.1234567890123456")
    assert first["event_time"] == FIRST
    assert (first["side"], first["base"], first["quote"]) == ("buy", "USDT", "TMN")
    assert second["trade_id"] == "00000000-0000-0000-0000-000000000002"


def test_trades_as_pandas_keep_decimals(radar: Radar) -> None:
    frame = radar.trades("USDTTMN", "2034-12-31", "2035-01-01").to_pandas()
    assert list(frame.price) == [Decimal("31704.1234567890123456")]
    assert str(frame.event_time.dt.tz) == "UTC"


def test_candles_of_an_interval(radar: Radar) -> None:
    found = radar.candles("USDTTMN", "1m", "2035-01-01", date(2035, 1, 2)).to_pylist()
    assert [each["open_time"] for each in found] == [MONDAY, MONDAY + timedelta(minutes=1)]
    assert [each["close"] for each in found] == [31700, 31800]
    for interval in ("1d", 86400, timedelta(days=1)):
        (day,) = radar.candles("USDTTMN", interval, MONDAY, "2035-01-01T00:00:01Z").to_pylist()
        assert (day["open"], day["high"], day["trades"]) == (31700, 31800, 2)


def test_order_book_of_a_time_and_of_now(radar: Radar) -> None:
    book = radar.order_book("USDTTMN", at=MONDAY + timedelta(hours=1)).to_pylist()
    assert [(each["side"], each["level"], each["price"], each["quantity"]) for each in book] == [
        ("bid", 1, 99.5, 1), ("bid", 2, 99.0, 2), ("ask", 1, 100.5, 1), ("ask", 2, 101.25, 2),
    ]  # fmt: skip
    assert {each["side"] for each in radar.order_book("USDTTMN", at=MONDAY).to_pylist()} == {"bid"}
    assert radar.order_book("USDTTMN", at=FIRST).num_rows == 0
    assert {each["price"] for each in radar.order_book("NOWTMN").to_pylist()} == {5}


def test_market_of_which_nothing_is_recorded_is_an_error_that_names_candidates(
    radar: Radar,
) -> None:
    questions: list[Callable[[], object]] = [
        lambda: radar.trades("usdttmn", FIRST, MONDAY),
        lambda: radar.candles("USDT-TMN", "1m", FIRST, MONDAY),
        lambda: radar.order_book("USTDTMN"),
        lambda: radar.query("SELECT * FROM order_book_at(symbol = 'USDTTM', at = now64(6))"),
        lambda: radar.query(
            "SELECT * FROM book_depth_at(symbol = {s:String}, at = now64(6), bps = 10)", s="USDTTM"
        ),
    ]
    for ask in questions:
        with pytest.raises(UnknownMarket, match=r"use USDTTMN|use .* or USDTTMN"):
            ask()


def test_period_in_which_nothing_can_be_recorded_is_an_error(radar: Radar) -> None:
    with pytest.raises(InvalidPeriod, match="give a later end"):
        radar.trades("USDTTMN", MONDAY, FIRST)
    with pytest.raises(InvalidPeriod, match="give a later end"):
        radar.candles("USDTTMN", "1m", MONDAY, MONDAY)
    with pytest.raises(InvalidPeriod, match="in the future"):
        radar.trades("USDTTMN", MONDAY + timedelta(days=900))
    with pytest.raises(InvalidPeriod, match="in the future"):
        radar.order_book("USDTTMN", at=MONDAY + timedelta(days=900))


def test_query_takes_parameters_of_any_text(radar: Radar) -> None:
    odd = "it's \\ a\ttab\nand a line"
    found = radar.query("SELECT {odd:String} AS odd, {n:UInt8} AS n", odd=odd, n=7).to_pylist()
    assert found == [{"odd": odd, "n": 7}]
    with pytest.raises(UnknownMarket, match="DROP TABLE"):
        radar.trades("'; DROP TABLE trades --", FIRST, MONDAY)


def test_questions_of_many_threads_are_all_answered(radar: Radar) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: radar.query("SELECT {n:UInt8} AS n", n=n), range(16)))
    assert [each.to_pylist() for each in found] == [[{"n": n}] for n in range(16)]


def test_query_that_is_wrong_fails_with_the_servers_words(radar: Radar) -> None:
    with pytest.raises(QueryFailed, match="UNKNOWN_TABLE"):
        radar.query("SELECT * FROM nothing_there")


def test_query_that_fails_half_way_has_no_answer(radar: Radar) -> None:
    with pytest.raises(QueryFailed, match="half way"):
        radar.query("SELECT throwIf(number = 3000000, 'half way') FROM numbers(4000000)")


def test_client_without_any_data_says_what_to_start(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="start `radar up`"):
        Radar(clickhouse_port=free_port()).order_book("USDTTMN")


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        ("2035-01-01", "2035-01-01 00:00:00.000000"),
        (date(2035, 1, 1), "2035-01-01 00:00:00.000000"),
        ("2035-01-01T03:30:00+03:30", "2035-01-01 00:00:00.000000"),
        ("2035-01-01T00:00", "2035-01-01 00:00:00.000000"),
        (datetime(2035, 1, 1, 3, 30, tzinfo=timezone(timedelta(hours=3.5))),
         "2035-01-01 00:00:00.000000"),
        (MONDAY + timedelta(microseconds=5), "2035-01-01 00:00:00.000005"),
    ],
)  # fmt: skip
def test_time_is_written_in_utc(moment: object, text: str) -> None:
    assert utc_text("start", moment) == text


@pytest.mark.parametrize(
    "moment",
    [datetime(2035, 1, 1), "monday", 5, None],  # noqa: DTZ001
)
def test_time_without_a_zone_is_refused_by_name(moment: object) -> None:
    with pytest.raises(InvalidRequest, match="start is"):
        utc_text("start", moment)


@pytest.mark.parametrize("interval", ["1", "m", "0m", 0, -60, timedelta(seconds=0.5), "1y"])
def test_interval_that_is_none_is_refused(interval: Any, radar_of_nothing: Radar) -> None:
    with pytest.raises(InvalidRequest, match="interval is"):
        radar_of_nothing.candles("USDTTMN", interval, FIRST, MONDAY)


@pytest.fixture
def radar_of_nothing() -> Radar:
    return Radar(clickhouse_port=free_port())


def test_client_without_pyarrow_says_how_to_get_it() -> None:
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from radar.client import Radar\n"
        "from radar.errors import RadarError\n"
        "try: Radar()\n"
        "except RadarError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == (
        'radar.client needs pyarrow: in radar\'s folder, run pip install ".[notebook]"\n'
    ), done.stderr


def test_program_that_asks_again_and_again_uses_no_more_files_and_threads(
    at_rest: Settings,
) -> None:
    """An engine in the program itself would leave some of both each time."""

    def used() -> tuple[int, int]:
        with Radar(
            clickhouse_port=at_rest.clickhouse_port, radar_data_dir=at_rest.radar_data_dir
        ) as radar:
            assert radar.query("SELECT 1").to_pandas().shape == (1, 1)
        own = Path("/proc/self")
        return len(list((own / "fd").iterdir())), len(list((own / "task").iterdir()))

    first = used()
    assert [used() for _ in range(3)] == [first] * 3
