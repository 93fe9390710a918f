"""What the dashboard answers about a market's past, against the views."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

import httpx
import pytest

from cases import others_nightly
from dashboards import serving
from market_data import insert, side, trade
from radar.codec import message_format
from radar.datasets import DEPTH, GAPS, TRADES, WATCHES
from radar.records import BookSide, Gap, GapCause, SessionReport
from radar.settings import Settings
from radar.status.judgement import SILENT_S
from radar.store.client import Store

TODAY = datetime.now(UTC).date()
# A Monday, so that weeks, days and shorter intervals begin then; so young that it is kept.
DAY = TODAY - timedelta(TODAY.weekday() + 7)
BEGIN_S = int(datetime.combine(DAY, time(), UTC).timestamp())
MARKET = "wallex:USDTTMN"


@pytest.fixture
def client(store: Store, store_settings: Settings) -> Iterator[httpx.Client]:
    with serving(store_settings) as client:
        yield client


def get(client: httpx.Client, path: str, **parameters: Any) -> Any:
    return client.get(path, params={"symbol": MARKET} | parameters).raise_for_status().json()


def put_past(store: Store, seconds: int = 600) -> None:
    """Insert a trade and a snapshot of both sides every second, and another market's."""
    trades, sides = [], []
    for n in range(seconds):
        at_us = (BEGIN_S + n) * 1_000_000 + 500_000
        for symbol, price in (("USDTTMN", 1000 + n), ("BTCCTMN", 9)):
            made = trade(at_us // 1000, at_us, f"{price}.5", symbol)
            trades.append(message_format.encode_trade(made, f"{sum(symbol.encode()):08x}{n:024x}"))
            for which, sign in ((BookSide.BID, -1), (BookSide.ASK, 1)):
                levels = [price + sign * (level + 1) for level in range(3)]
                sides.append(message_format.encode_depth(side(which, levels, at_us + sign, symbol)))
    insert(store, TRADES, trades, "past trades")
    insert(store, DEPTH, sides, "past books")


def book_at(store: Store, at_s: float) -> tuple[Any, ...]:
    rows = store.rows(
        "SELECT bid_prices, bid_quantities, ask_prices, ask_quantities, mid, spread FROM"
        " order_book_at(symbol = 'USDTTMN', at = fromUnixTimestamp64Micro({at:Int64}, 'UTC'))"
        " WHERE source = 'wallex'",
        {"at": round(at_s * 1e6)},
    )
    return tuple(rows[0])


def shown(book: dict[str, Any]) -> tuple[Any, ...]:
    bids, asks = book["bids"], book["asks"]
    return (
        [price for price, _ in bids], [quantity for _, quantity in bids],
        [price for price, _ in asks], [quantity for _, quantity in asks],
        book["mid"], book["spread"],
    )  # fmt: skip


def test_moment_shows_the_book_the_trades_and_the_row_of_that_time(
    client: httpx.Client, store: Store
) -> None:
    put_past(store)
    for at_s in (BEGIN_S + 30.5, BEGIN_S + 333.25, BEGIN_S + 9999.0):
        found = get(client, "/api/moment", at_s=at_s, count=5)
        assert shown(found["book"]) == book_at(store, at_s)
        rows = store.rows(
            "SELECT toString(trade_id) FROM trades WHERE symbol = 'USDTTMN' AND event_time <="
            " fromUnixTimestamp64Micro({at:Int64}, 'UTC') ORDER BY event_time DESC LIMIT 5",
            {"at": round(at_s * 1e6)},
        )
        assert [each["id"] for each in found["trades"]] == [name for (name,) in rows]
        assert get(client, "/api/trades", at_s=at_s, count=5)["trades"] == found["trades"]
        assert found["market"]["last_price"] == float(found["trades"][0]["price"])
        assert found["market"]["high_24h"] == found["market"]["last_price"]
    before = get(client, "/api/moment", at_s=BEGIN_S - 5)
    assert (before["market"], before["trades"], before["book"]["bids"]) == (None, [], [])


@pytest.mark.parametrize("interval_s", [1, 60, 300, 86400, 604800])
def test_candles_of_a_moment_end_with_the_one_that_had_grown_so_far(
    client: httpx.Client, store: Store, interval_s: int
) -> None:
    put_past(store)
    at_s = BEGIN_S + 90.75  # after the trade of second 90
    asked = {"interval_s": interval_s, "time_zone": "UTC", "at_s": at_s, "count": 3}
    found = get(client, "/api/candles", **asked)["candles"]
    begin = 90 // interval_s * interval_s
    whole = [BEGIN_S + begin - n * interval_s for n in (2, 1) if begin - n * interval_s >= 0]
    assert [each["time"] for each in found] == [*whole, BEGIN_S + begin]
    last = found[-1]
    assert (last["open"], last["close"]) == (1000.5 + begin, 1090.5)
    assert (last["high"], last["low"], last["trades"]) == (1090.5, 1000.5 + begin, 91 - begin)


def test_days_of_tehran_end_with_the_day_that_had_grown_so_far(
    client: httpx.Client, store: Store
) -> None:
    put_past(store)
    found = get(client, "/api/candles", interval_s=86400, at_s=BEGIN_S + 90.75)["candles"]
    assert [(each["time"], each["trades"]) for each in found] == [(BEGIN_S - 12_600, 91)]


def test_week_begins_on_monday(client: httpx.Client, store: Store) -> None:
    put_past(store, 3)
    (week,) = get(client, "/api/candles", interval_s=604800)["candles"]
    assert (week["time"], week["trades"]) == (BEGIN_S, 3)


@pytest.mark.parametrize(("step_ms", "steps"), others_nightly([(5000, 20), (500, 200), (700, 77)]))
def test_stretch_ends_with_the_book_the_candle_and_the_trades_of_its_end(
    client: httpx.Client, store: Store, step_ms: int, steps: int
) -> None:
    put_past(store)
    from_s = BEGIN_S + 100.25
    asked = {"interval_s": 60, "from_s": from_s, "step_ms": step_ms, "steps": steps}
    found = get(client, "/api/stretch", **asked)
    assert found["from_s"] == from_s
    assert found["to_s"] == pytest.approx(from_s + step_ms * steps / 1000)
    candles: dict[int, Any] = {}
    for frame in found["frames"]:
        assert shown(frame["book"]) == book_at(store, frame["at_s"])
        for each in frame["candles"]:
            candles[each["time"]] = each
        moment = get(client, "/api/candles", interval_s=60, at_s=frame["at_s"], count=1)
        assert moment["candles"] == frame["candles"][-1:]
    told = [each for frame in reversed(found["frames"]) for each in frame["trades"]]
    until = get(client, "/api/trades", at_s=found["to_s"], count=500)["trades"]
    assert told == [each for each in until if each["at_s"] > from_s]
    at_end = get(client, "/api/candles", interval_s=60, at_s=found["to_s"])["candles"]
    assert [candles[begin] for begin in sorted(candles)] == [
        each for each in at_end if each["time"] >= BEGIN_S + 60
    ]


def test_gaps_of_a_market_and_its_coverage_of_the_day(client: httpx.Client, store: Store) -> None:
    at_us = BEGIN_S * 1_000_000
    hour_us = 3_600_000_000
    watch = SessionReport(
        source="wallex", record_kind="trades", connection="0a", symbols=("USDTTMN", "BTCCTMN"),
        began_at_us=at_us, ended_at_us=at_us + 6 * hour_us, end_reason="closed", interval_ms=0,
        received_at_us=at_us,
    )  # fmt: skip
    insert(store, WATCHES, [message_format.encode_session(watch)], "watch")
    gaps = [
        Gap(
            source="wallex", record_kind="trades", cause=GapCause.MUTE, symbols=symbols,
            began_at_us=at_us + hours * hour_us, ended_at_us=at_us + (hours + 1) * hour_us,
            repaired=hours == 1, received_at_us=at_us,
        )
        for hours, symbols in ((1, ("USDTTMN",)), (2, ("BTCCTMN",)), (4, ("USDTTMN", "BTCCTMN")))
    ]  # fmt: skip
    insert(store, GAPS, [message_format.encode_gap(each) for each in gaps], "gaps")
    asked = {"from_s": BEGIN_S, "to_s": BEGIN_S + 6 * 3600, "at_s": BEGIN_S + 60}
    found = get(client, "/api/recorded", **asked)
    assert [
        (gap["began_at_s"] - BEGIN_S, gap["ended_at_s"] - BEGIN_S, gap["cause"], gap["repaired"])
        for gap in found["gaps"]
        if gap["cause"] != "not_recording"
    ] == [(4 * 3600, 5 * 3600, "mute", False), (3600, 7200, "mute", True)]
    assert found["since_s"] == {"trades": BEGIN_S}
    assert found["silent_s"] == SILENT_S
    ((share,),) = store.rows(
        f"SELECT complete_share FROM coverage WHERE symbol = 'USDTTMN' AND day = '{DAY}'"
    )
    assert found["day"]["trades"]["complete_share"] == share
    assert found["day"]["trades"]["day"] == DAY.isoformat()
    early = get(client, "/api/recorded", from_s=BEGIN_S, to_s=BEGIN_S + 5000)["gaps"]
    assert [gap["began_at_s"] for gap in early] == [BEGIN_S + 3600]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/moment", "at_s is missing: give a Unix time in seconds"),
        ("/api/moment?at_s=now", "at_s must be a Unix time in seconds"),
        ("/api/stretch", "from_s is missing"),
        ("/api/stretch?from_s=1&step_ms=0", "step_ms must be from 10 to 60000"),
        ("/api/stretch?from_s=1&steps=401", "steps must be from 1 to 400"),
        ("/api/stretch?from_s=1&interval_s=7", "interval_s must be one of 1, 5, 15, 60"),
        ("/api/recorded?from_s=-1", "from_s must be a Unix time"),
        ("/api/trades?at_s=4102444801", "at_s must be at most"),
    ],
)
def test_wrong_question_about_the_past_is_answered_with_one_line(
    client: httpx.Client, path: str, words: str
) -> None:
    answer = client.get(path, params=httpx.QueryParams(path.partition("?")[2]).set("symbol", "A:B"))
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_market_without_records_has_no_past(client: httpx.Client) -> None:
    for path in ("/api/moment?at_s=1", "/api/stretch?from_s=1", "/api/trades?at_s=1"):
        answer = client.get(f"{path}&symbol=wallex:NOTTHERE")
        assert answer.status_code == 404, path
