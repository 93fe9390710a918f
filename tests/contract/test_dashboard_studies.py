"""What the dashboard answers beside the candles, against the views."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pyarrow
import pyarrow.parquet
import pytest

from dashboards import serving
from market_data import insert, side, trade
from radar.codec import message_format
from radar.datasets import DEPTH, TRADES, WATCHES
from radar.records import BookSide, SessionReport, TradeSide
from radar.settings import Settings
from radar.store.client import Store
from radar.ui.web import files
from radar.ui.web.studies import price_step

TODAY = datetime.now(UTC).date()
DAY = TODAY - timedelta(TODAY.weekday() + 7)  # a Monday, so young that it is kept
BEGIN_S = int(datetime.combine(DAY, time(), UTC).timestamp())
MARKET = "wallex:USDTTMN"
MINUTES = 40
END_S = BEGIN_S + MINUTES * 60
HOLE = (20, 25)  # minutes without a record


@pytest.fixture
def client(store: Store, store_settings: Settings) -> Iterator[httpx.Client]:
    put(store)
    with serving(store_settings) as client:
        yield client


def put(store: Store) -> None:
    """Insert some trades and books of each minute, and those of another market."""
    trades, sides = [], []
    for n in range(MINUTES * 6):
        if HOLE[0] <= n // 6 < HOLE[1]:
            continue
        at_us = (BEGIN_S + 10 * n) * 1_000_000 + 500_000
        for symbol, price in (("USDTTMN", 1000 + n * 7 % 83), ("BTCCTMN", 9)):
            taker = TradeSide.BUY if n % 3 else TradeSide.SELL
            made = msgspec.structs.replace(
                trade(at_us // 1000, at_us, f"{price}.5", symbol),
                side=taker,
                base_amount=f"{1 + n % 11}.25",
            )
            trades.append(message_format.encode_trade(made, f"{sum(symbol.encode()):08x}{n:024x}"))
            for which, sign in ((BookSide.BID, -1), (BookSide.ASK, 1)):
                levels = [price + sign * (level + 1 + n % 4) for level in range(3)]
                sides.append(message_format.encode_depth(side(which, levels, at_us + sign, symbol)))
    insert(store, TRADES, trades, "studied trades")
    insert(store, DEPTH, sides, "studied books")


def get(client: httpx.Client, path: str, **parameters: Any) -> Any:
    return client.get(path, params={"symbol": MARKET} | parameters).raise_for_status().json()


def view(store: Store, columns: str, name: str, to_s: int, **parameters: int) -> list[Any]:
    values = "".join(f"{key} = {value}, " for key, value in parameters.items())
    return store.rows(
        f"SELECT toUnixTimestamp(open_time), {columns} FROM {name}({values}"
        f" start = toDateTime64({BEGIN_S}, 3, 'UTC'), end = toDateTime64({to_s}, 3, 'UTC'))"
        " WHERE symbol = 'USDTTMN' ORDER BY open_time"
    )


def averages(closes: list[float], period: int) -> list[float | None]:
    return [
        None if n + 1 < period else sum(closes[n + 1 - period : n + 1]) / period
        for n in range(len(closes))
    ]


@pytest.mark.parametrize("interval_s", [60, 300])
def test_flow_is_that_of_the_views_and_averages_are_those_of_closes(
    client: httpx.Client, store: Store, interval_s: int
) -> None:
    asked = {"interval_s": interval_s, "from_s": BEGIN_S, "fast": 2, "slow": 5, "at_s": END_S}
    found = get(client, "/api/flow", **asked)["flow"]
    flows = view(store, "toFloat64(delta)", "order_flow", END_S, interval_s=interval_s)
    assert [(each["time"], each["delta"]) for each in found] == [tuple(row) for row in flows]
    total = 0.0
    for each in found:
        total += each["delta"]
        assert each["cumulative_delta"] == pytest.approx(total)
    candles = view(store, "toFloat64(close)", "candles", END_S, interval_s=interval_s)
    closes = [close for _, close in candles]
    assert [each["fast"] for each in found] == pytest.approx(averages(closes, 2))
    assert [each["slow"] for each in found] == pytest.approx(averages(closes, 5))
    # A later begin moves no average: the candles before it count.
    later = get(client, "/api/flow", **asked | {"from_s": found[6]["time"]})["flow"]
    assert [(each["time"], each["slow"]) for each in later] == [
        (each["time"], each["slow"]) for each in found[6:]
    ]
    assert later[0]["cumulative_delta"] == found[6]["delta"]


def test_flow_at_a_moment_knows_nothing_later(client: httpx.Client) -> None:
    at_s = BEGIN_S + 615  # in the middle of a minute
    asked = {"interval_s": 60, "from_s": BEGIN_S, "fast": 2, "slow": 3, "at_s": at_s}
    found = get(client, "/api/flow", **asked)["flow"]
    candles = get(client, "/api/candles", interval_s=60, at_s=at_s, count=3)["candles"]
    assert found[-1]["time"] == candles[-1]["time"] == BEGIN_S + 600
    assert found[-1]["slow"] == pytest.approx(sum(each["close"] for each in candles) / 3)
    books = get(client, "/api/spreads", interval_s=60, from_s=BEGIN_S, at_s=at_s)["spreads"]
    assert books[-1]["time"] == BEGIN_S + 540  # the last whole interval


def test_flow_of_days_follows_the_time_zone(client: httpx.Client) -> None:
    for time_zone in ("Asia/Tehran", "UTC"):
        asked = {"interval_s": 86400, "time_zone": time_zone, "from_s": BEGIN_S}
        candles = get(client, "/api/candles", interval_s=86400, time_zone=time_zone)["candles"]
        for path, name in (("/api/flow", "flow"), ("/api/spreads", "spreads")):
            # Spreads reach back 31 days, which these do.
            found = get(client, path, **asked)[name]
            assert [each["time"] for each in found] == [each["time"] for each in candles]


def test_spreads_are_those_of_the_view(client: httpx.Client, store: Store) -> None:
    found = get(client, "/api/spreads", interval_s=60, from_s=BEGIN_S, at_s=END_S)["spreads"]
    rows = view(store, "spread_bps, imbalance", "spreads", END_S, interval_s=60)
    assert [(each["time"], each["spread_bps"], each["imbalance"]) for each in found] == [
        tuple(row) for row in rows
    ]
    assert len(found) == MINUTES - (HOLE[1] - HOLE[0])


def test_profile_holds_all_that_was_traded(client: httpx.Client, store: Store) -> None:
    from_s, to_s = BEGIN_S + 60, BEGIN_S + 1000
    found = get(client, "/api/profile", from_s=from_s, to_s=to_s, rows=20)
    assert found["price_step"] == 5
    rows = store.rows(
        "SELECT toFloat64(price), toFloat64(buy_volume), toFloat64(sell_volume)"
        f" FROM volume_profile(price_step = 5, start = toDateTime64({from_s}, 3, 'UTC'),"
        f" end = toDateTime64({to_s}, 3, 'UTC')) WHERE symbol = 'USDTTMN' ORDER BY price"
    )
    assert [(each["price"], each["buy"], each["sell"]) for each in found["rows"]] == [
        tuple(row) for row in rows
    ]
    traded = view(store, "toFloat64(volume)", "candles", BEGIN_S + 1020, interval_s=60)
    of_time = sum(volume for begin_s, volume in traded if from_s <= begin_s < from_s + 900)
    assert sum(each["buy"] + each["sell"] for each in found["rows"]) >= of_time
    nothing = get(client, "/api/profile", from_s=BEGIN_S - 900, to_s=BEGIN_S)
    assert nothing == {"price_step": None, "rows": []}


def test_large_trades_are_one_of_a_hundred_of_a_day(client: httpx.Client, store: Store) -> None:
    found = get(client, "/api/trade-sizes", at_s=END_S)
    ((trades, large),) = store.rows(
        "SELECT count(), quantileExact(0.99)(toFloat64(base_amount)) FROM trades"
        " WHERE symbol = 'USDTTMN'"
    )
    assert found == {"trades": trades, "large_amount": large}
    few = get(client, "/api/trade-sizes", at_s=BEGIN_S + 60)
    assert few == {"trades": 6, "large_amount": None}


@pytest.mark.parametrize(
    ("lowest", "highest", "step"),
    [("100", "100", "0.001"), ("0", "100", "2"), ("1000", "1009.9", "0.2"), ("0", "1e-17", "1e-18"),
     ("0.0000001", "0.0000002", "0.000000002"), ("99999999", "99999999.5", "1000")],
)  # fmt: skip
def test_price_steps_are_round(lowest: str, highest: str, step: str) -> None:
    assert price_step(Decimal(lowest), Decimal(highest), 50) == Decimal(step)


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("/api/flow", {"interval_s": 60}),
        ("/api/flow", {"interval_s": 60, "from_s": 1, "fast": 1}),
        ("/api/flow", {"interval_s": 60, "from_s": 1, "slow": 401}),
        ("/api/flow", {"interval_s": 7, "from_s": 1}),
        ("/api/spreads", {"interval_s": 60, "from_s": "soon"}),
        ("/api/profile", {"from_s": 1}),
        ("/api/profile", {"from_s": 1, "to_s": 2, "rows": 201}),
        ("/api/trade-sizes", {"at_s": -1}),
    ],
)
def test_wrong_parameters_are_refused(
    client: httpx.Client, path: str, wrong: dict[str, Any]
) -> None:
    assert client.get(path, params={"symbol": MARKET} | wrong).status_code == 400


def parquet(client: httpx.Client, **parameters: Any) -> Any:
    answer = client.get("/api/parquet", params={"symbol": MARKET} | parameters).raise_for_status()
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    return pyarrow.parquet.read_table(pyarrow.BufferReader(answer.content))


def test_parquet_files_hold_the_rows_of_the_views(client: httpx.Client, store: Store) -> None:
    window = {"from_s": BEGIN_S + 60, "to_s": BEGIN_S + 300}
    trades = parquet(client, dataset="trades", **window)
    rows = store.rows(
        "SELECT toString(trade_id), price, base_amount FROM trades WHERE symbol = 'USDTTMN'"
        f" AND event_time >= toDateTime64({window['from_s']}, 3, 'UTC')"
        f" AND event_time < toDateTime64({window['to_s']}, 3, 'UTC') ORDER BY event_time"
    )
    columns = [trades[name].to_pylist() for name in ("trade_id", "price", "base_amount")]
    assert list(zip(*columns, strict=True)) == [tuple(row) for row in rows]
    assert len(rows) == 24
    books = parquet(client, dataset="books", **window)
    assert books["side"].to_pylist().count("bid") == books.num_rows / 2 == 24
    candles = parquet(client, dataset="candles", interval_s=60, **window)
    shown = get(client, "/api/candles", interval_s=60, at_s=BEGIN_S + 299.9, count=4)["candles"]
    assert [float(each) for each in candles["close"].to_pylist()] == [
        each["close"] for each in shown
    ]
    assert set(candles["symbol"].to_pylist()) == {"USDTTMN"}
    days: dict[str, Any] = {"interval_s": 86400, "time_zone": "Asia/Tehran", "dataset": "candles"}
    assert parquet(client, **window | days).num_rows == 1
    nothing = parquet(client, dataset="trades", from_s=BEGIN_S - 60, to_s=BEGIN_S)
    assert (nothing.num_rows, nothing.column_names) == (0, trades.column_names)


def test_files_keep_to_the_limit_of_the_reading_user() -> None:
    users = (Path(__file__).parents[2] / "deploy/clickhouse/users.xml").read_text()
    (allowed,) = re.findall(r"<max_execution_time><max>([0-9]+)</max>", users)
    assert int(allowed) >= files.MAX_S


def test_parquet_file_of_too_many_rows_is_refused(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    window: dict[str, Any] = {"from_s": BEGIN_S, "to_s": END_S}
    monkeypatch.setitem(files.MAX_ROWS, "trades", 209)
    refused = client.get("/api/parquet", params={"symbol": MARKET} | window)
    assert refused.status_code == 400
    assert "shorter time" in refused.json()["error"]
    monkeypatch.setitem(files.MAX_ROWS, "trades", 210)
    assert parquet(client, **window).num_rows == 210
    wrongs: list[dict[str, Any]] = [
        {"dataset": "frames"},
        {"to_s": BEGIN_S},
        {"dataset": "candles", "interval_s": 1, "from_s": 0},
    ]
    for wrong in wrongs:
        answer = client.get("/api/parquet", params={"symbol": MARKET} | window | wrong)
        assert answer.status_code == 400
    unknown = client.get("/api/parquet", params=window | {"symbol": "wallex:NOTTMN"})
    assert unknown.status_code == 404
    # Refused files leave room for others.
    assert parquet(client, **window).num_rows == 210


def test_markets_younger_than_a_day_are_named(client: httpx.Client, store: Store) -> None:
    now_us = int(datetime.now(UTC).timestamp()) * 1_000_000
    sessions = [
        SessionReport(
            source="wallex", record_kind=dataset, connection=f"{n}", symbols=(symbol,),
            began_at_us=now_us - age_s * 1_000_000, ended_at_us=now_us, end_reason="closed",
            interval_ms=0, received_at_us=now_us,
        )
        for n, (dataset, symbol, age_s) in enumerate(
            (("trades", "NEWTMN", 3600), ("trades", "OLDTMN", 90_000), ("depth", "BOOKTMN", 60))
        )
    ]  # fmt: skip
    insert(store, WATCHES, [message_format.encode_session(each) for each in sessions], "young")
    found = client.get("/api/younger-markets").raise_for_status().json()["since_s"]
    assert found == {"wallex:NEWTMN": now_us / 1e6 - 3600}
