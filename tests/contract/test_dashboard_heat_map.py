"""The depth of a book over time, as the dashboard answers: each cell, and unknown times."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest

from dashboards import serving
from market_data import insert
from radar.codec import message_format
from radar.datasets import DEPTH, GAPS, WATCHES
from radar.records import BookSide, DepthSnapshot, Gap, GapCause, SessionReport
from radar.settings import Settings
from radar.store.client import Store
from radar.ui.web.heat_map import column_length_s, spans_of, without

BEGIN_S = int(datetime.combine(datetime.now(UTC).date() - timedelta(3), time(), UTC).timestamp())
MARKET = "wallex:USDTTMN"
WINDOW: dict[str, Any] = {"from_s": BEGIN_S, "to_s": BEGIN_S + 600, "columns": 10}
Levels = dict[float, float]


@pytest.fixture
def client(store: Store, store_settings: Settings) -> Iterator[httpx.Client]:
    with serving(store_settings) as client:
        yield client


def put(
    store: Store, books: list[tuple[float, BookSide, Levels]], symbol: str = "USDTTMN", n: int = 0
) -> None:
    """Insert sides of a book: seconds after the begin, the side, and quantities by price."""
    snapshots = [
        DepthSnapshot(
            source="wallex", symbol=symbol, base=symbol[:4], quote=symbol[4:], side=side,
            prices=tuple(levels), quantities=tuple(levels.values()),
            received_at_us=_us(second),
        )
        for second, side, levels in books
    ]  # fmt: skip
    values = [message_format.encode_depth(each) for each in snapshots]
    insert(store, DEPTH, values, f"{symbol} heat {n}")


def put_sessions(store: Store, *spans: tuple[float, float]) -> None:
    """Insert that the book was watched in these times after the begin, with a gap between them."""
    sessions = [
        SessionReport(
            source="wallex", record_kind="depth", connection=f"{n:02x}", symbols=("USDTTMN",),
            began_at_us=_us(begin), ended_at_us=_us(end), end_reason="closed", interval_ms=0,
            received_at_us=_us(end),
        )
        for n, (begin, end) in enumerate(spans)
    ]  # fmt: skip
    gaps = [
        Gap(
            source="wallex", record_kind="depth", cause=GapCause.DISCONNECTED,
            symbols=("USDTTMN",), began_at_us=_us(end), ended_at_us=_us(begin), repaired=False,
            received_at_us=_us(begin),
        )
        for (_, end), (begin, _) in pairwise(spans)
    ]  # fmt: skip
    insert(store, WATCHES, [message_format.encode_session(each) for each in sessions], "sessions")
    insert(store, GAPS, [message_format.encode_gap(each) for each in gaps], "gaps")


def _us(second: float) -> int:
    return round((BEGIN_S + second) * 1_000_000)


def ask(client: httpx.Client, **parameters: Any) -> Any:
    asked = {"symbol": MARKET} | WINDOW | parameters
    return client.get("/api/heat-map", params=asked).raise_for_status().json()


def strips(found: Any, side: str) -> list[tuple[list[tuple[float, float]], dict[int, float]]]:
    """Return times after the begin, and quantities by row."""
    return [
        (
            [(begin - BEGIN_S, end - BEGIN_S) for begin, end in each["spans"]],
            dict(zip(each["rows"], each["quantities"], strict=True)),
        )
        for each in found["strips"]
        if each["side"] == side
    ]


def test_cells_are_those_of_the_last_book_of_each_column(
    client: httpx.Client, store: Store
) -> None:
    bid, ask_side = BookSide.BID, BookSide.ASK
    last = (50.0, bid, {99.75: 0.5, 99.5: 0.25, 98.2: 8.0, 97.5: 3.0, 89.5: 16.0})
    put(store, [(10.0, bid, {99.5: 1.0}), last, (70.0, bid, {99.0: 2.0}),
                (-5.0, bid, {95.0: 64.0}), (600.0, bid, {95.0: 64.0})])  # fmt: skip
    put(store, [last], n=1)  # the same once more, as Kafka may deliver it
    put(store, [(55.0, ask_side, {100.0: 1.5, 100.5: 2.5, 103.0: 4.0})], n=2)
    put(store, [(50.0, bid, {99.0: 1e6})], "BTCCTMN")
    found = ask(client, low=90, high=110, rows=10)
    assert (found["column_s"], found["price_step"]) == (60, 2.0)
    assert (found["from_s"], found["to_s"]) == (BEGIN_S, BEGIN_S + 600)
    assert strips(found, "bid") == [
        ([(10, 60)], {49: 8.75, 48: 3.0}),  # 98 to 100, 96 to 98; 89.5 is below the lowest price
        ([(60, 130)], {49: 2.0}),  # until a minute after the last snapshot
    ]
    assert strips(found, "ask") == [([(55, 115)], {50: 4.0, 51: 4.0})]
    # Without prices: all of them.
    assert {row for _, rows in strips(ask(client, rows=10), "bid") for row in rows} == {
        math.floor(price / 2) for price in (99.75, 98.2, 97.5, 89.5)
    }


def test_time_that_was_not_recorded_stays_empty(client: httpx.Client, store: Store) -> None:
    bid = BookSide.BID
    put(store, [(second, bid, {100.0: 1.0 + second}) for second in (30, 90, 235, 275, 290, 570)])
    # The first gap lies in a time for which the book would be held.
    put_sessions(store, (-10, 100), (110, 240), (270, 700))
    found = ask(client, low=99, high=101, rows=10)
    assert [each for each, _ in strips(found, "bid")] == [
        [(30, 60)],
        [(60, 100), (110, 150)],
        [(235, 240)],  # no snapshot from 150 on
        [(270, 350)],  # the snapshots of 275 and of 290 are in one column
        [(570, 600)],
    ]
    assert strips(found, "bid")[3][1] == {500: 291.0}


def test_columns_that_are_shorter_than_the_pause_between_snapshots_hold_the_book(
    client: httpx.Client, store: Store
) -> None:
    put(store, [(7.0 * n, BookSide.ASK, {100.0: 1.0 + n}) for n in range(4)])
    found = ask(client, to_s=BEGIN_S + 20, columns=20)
    assert found["column_s"] == 1
    assert strips(found, "ask") == [
        ([(0, 7)], {100000: 1.0}), ([(7, 14)], {100000: 2.0}), ([(14, 20)], {100000: 3.0}),
    ]  # fmt: skip


def test_prices_that_binary_floats_miss_are_in_their_row(
    client: httpx.Client, store: Store
) -> None:
    prices = [0.3, 0.6, 0.7, 1.1]
    put(store, [(1.0, BookSide.ASK, dict.fromkeys(prices, 1.0))])
    found = ask(client, low="0.2", high="1.2", rows=10)
    assert found["price_step"] == 0.1
    assert [rows for _, rows in strips(found, "ask")] == [dict.fromkeys([3, 6, 7, 11], 1.0)]


def test_empty_book_ends_the_one_before(client: httpx.Client, store: Store) -> None:
    put(store, [(0.0, BookSide.ASK, {5.0: 1.0}), (61.0, BookSide.ASK, {})])
    assert [spans for spans, _ in strips(ask(client), "ask")] == [[(0, 60)]]


def test_market_without_books_has_no_cells(client: httpx.Client, store: Store) -> None:
    put(store, [(-3600.0, BookSide.BID, {5.0: 1.0})])
    found = ask(client)
    assert (found["price_step"], found["strips"]) == (None, [])
    unknown = client.get("/api/heat-map", params=WINDOW | {"symbol": "wallex:NOTTMN"})
    assert unknown.status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"from_s": ""}, {"to_s": BEGIN_S}, {"columns": 9}, {"columns": 481}, {"rows": 9},
        {"rows": 201}, {"low": 1}, {"high": 1}, {"low": 2, "high": 2}, {"low": "x", "high": 3},
        {"low": -1, "high": 3}, {"low": 1, "high": "1e9"},
    ],
)  # fmt: skip
def test_wrong_parameters_are_refused(client: httpx.Client, wrong: dict[str, Any]) -> None:
    asked = {"symbol": MARKET} | WINDOW | wrong
    assert client.get("/api/heat-map", params=asked).status_code == 400


def test_only_the_end_of_a_long_time_is_shown_in_bounded_columns(
    client: httpx.Client, store: Store
) -> None:
    put(store, [(3600.0 * n, BookSide.BID, {5.0: 1.0}) for n in range(48)])
    found = ask(client, from_s=0, to_s=BEGIN_S + 172_800, columns=480)
    assert found["from_s"] == BEGIN_S + 172_800 - 31 * 86_400
    assert found["column_s"] == 7200
    assert len(found["strips"]) == 24


def test_lengths_of_columns_are_round() -> None:
    for time_s, columns, expected in [
        (1, 10, 1),
        (600, 10, 60),
        (601, 10, 120),
        (1e9, 10, 432_000),
    ]:
        assert column_length_s(time_s, columns) == expected


def test_spans_are_cut_at_columns_and_gaps() -> None:
    assert without([(0, 10), (20, 30)], [(25, 40), (2, 3), (5, 22)]) == [(0, 2), (3, 5), (22, 25)]
    assert list(spans_of([0, 2], 10, [(1, 5), (8, 25)])) == [
        (0, [(1, 5), (8, 20)]),
        (2, [(20, 25)]),
    ]
