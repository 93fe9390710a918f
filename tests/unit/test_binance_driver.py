"""The driver of Binance: captured frames, joined books, acknowledgements and backfills."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar import datasets
from radar.codec import message_format
from radar.errors import ExchangeUnavailable, InvalidFrame
from radar.exchanges.base import (
    Event,
    Fetch,
    Goodbye,
    Lost,
    Outcome,
    Refused,
    Send,
    Stream,
    Subscribed,
)
from radar.exchanges.binance import EXCHANGE, MAX_EMPTY_PAGES, MAX_WAITING, SNAPSHOT_LEVELS
from radar.records import DepthSnapshot, GapCause, Market, Trade, TradeSide
from wire_samples import samples

BTC = Market("BTCUSDT", "BTC", "USDT")
NOW_US = 1_790_500_000_000_000
ACK = '{"result":null,"id":1}'


def stream(*markets: Market, whole: bool = False, trades: bool = False) -> Stream:
    dataset = datasets.TRADES if trades else datasets.DEPTH
    opened = EXCHANGE.stream(dataset, markets or (BTC,), whole_books=whole)
    list(opened.opened())
    return opened


def check(events: list[Event]) -> list[Event]:
    """Every record must keep the rules of records."""
    for event in events:
        if isinstance(event, Trade):
            message_format.check_trade(event)
        elif isinstance(event, DepthSnapshot):
            message_format.check_depth(event)
    return events


def take(of: Stream, frame: str | bytes, now_us: int = NOW_US) -> list[Event]:
    data = frame.encode() if isinstance(frame, str) else frame
    return check(list(of.receive(data, now_us)))


def sides(events: list[Event]) -> list[DepthSnapshot]:
    return [event for event in events if isinstance(event, DepthSnapshot)]


def fetches(events: list[Event]) -> list[Fetch]:
    return [event for event in events if isinstance(event, Fetch)]


def update(first: int, last: int, bids: str = "[]", asks: str = "[]") -> str:
    return (
        '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1790499999000,"s":"BTCUSDT",'
        f'"U":{first},"u":{last},"b":{bids},"a":{asks}}}}}'
    )


def book(last: int, bids: int = 2, asks: int = 2) -> bytes:
    return json.dumps(
        {
            "lastUpdateId": last,
            "bids": [[f"{1000 - place}.00", "1.00"] for place in range(bids)],
            "asks": [[f"{1001 + place}.00", "1.00"] for place in range(asks)],
        }
    ).encode()


def joined(last: int = 100, bids: int = 2, asks: int = 2) -> tuple[Stream, Fetch]:
    """Return a stream whose book has a snapshot, and the request for it."""
    taken = stream()
    (fetch,) = fetches(take(taken, ACK))
    check(list(taken.fetched(fetch, book(last, bids, asks), NOW_US)))
    return taken, fetch


def test_captured_trades_parse_with_the_takers_side() -> None:
    seen = 0
    for sample in samples("binance"):
        if sample["dir"] != "recv" or sample["channel"] != "trade":
            continue
        data = sample["frame"].get("data", sample["frame"])
        market = Market(data["s"], "X", "Y")
        (trade,) = take(stream(market, trades=True), sample["bytes"])
        assert isinstance(trade, Trade)
        assert trade.side is (TradeSide.SELL if data["m"] else TradeSide.BUY)
        assert (trade.sequence, trade.native_id) == (data["t"], str(data["t"]))
        assert float(trade.price) == float(data["p"])
        assert float(trade.base_amount) == float(data["q"])
        assert (trade.event_time_ms, trade.event_time_us) == (data["T"], 0)
        seen += 1
    assert seen >= 5


@pytest.mark.parametrize("symbol", ["NKNUSDT", "LRCBTC"])
def test_captured_books_join_and_never_break(symbol: str) -> None:
    taken = stream(Market(symbol, "X", "Y"))
    (fetch,) = fetches(take(taken, ACK))
    found = samples("binance")
    (snapshot,) = [s for s in found if symbol in s.get("request", "") and s["channel"] == "depth"]
    updates = [
        s for s in found if s["dir"] == "recv" and s["frame"].get("data", {}).get("s") == symbol
    ]
    updates = [s for s in updates if s["frame"]["data"]["e"] == "depthUpdate"]
    assert len(updates) > 3
    take(taken, updates[0]["bytes"])
    first = sides(check(list(taken.fetched(fetch, snapshot["bytes"], NOW_US))))
    assert len(first) == 2
    assert first[0].prices[0] < first[1].prices[0]
    last = first[0].sequence
    for sample in updates[1:]:
        events = take(taken, sample["bytes"])
        if sample["frame"]["data"]["u"] <= last:
            assert events == []
            continue
        assert [side.verified for side in sides(events)] == [True, True]
        bid, ask = sides(events)
        assert bid.sequence == sample["frame"]["data"]["u"]
        assert bid.prices[0] < ask.prices[0]
        last = bid.sequence


def test_captured_whole_books_are_routed_by_the_stream() -> None:
    seen = 0
    for sample in samples("binance"):
        if sample["channel"] == "depth20" and sample["dir"] == "recv":
            if "stream" not in sample["frame"]:
                continue
            bid, ask = sides(take(stream(whole=True), sample["bytes"]))
            assert bid.sequence == ask.sequence == sample["frame"]["data"]["lastUpdateId"]
            assert not bid.verified
            assert (bid.symbol, bid.event_time_us) == ("BTCUSDT", 0)
            assert bid.prices[0] < ask.prices[0]
            seen += 1
    assert seen


def test_captured_answers_and_notices_parse() -> None:
    seen = set()
    for sample in samples("binance"):
        kind, frame = sample["channel"], sample["bytes"]
        if kind == "exchangeInfo":
            listed = EXCHANGE.parse_markets(frame)
            assert listed.markets == [
                Market("LRCBTC", "LRC", "BTC"),
                Market("NKNUSDT", "NKN", "USDT"),
            ]
            assert listed.malformed == []
        elif kind == "trades":
            (trade,) = EXCHANGE.parse_recent_trades(frame, BTC, NOW_US).trades
            assert (trade.side, trade.price, trade.sequence) == (TradeSide.SELL, "4.000001", 28457)
        elif kind == "serverShutdown":
            assert isinstance(take(stream(), frame)[0], Goodbye)
        elif kind == "error":
            with pytest.raises(ExchangeUnavailable, match=str(sample["frame"]["code"])):
                EXCHANGE.parse_markets(frame)
        elif kind == "control" and sample["dir"] == "recv":
            events = take(stream(), frame)
            is_error = "error" in sample["frame"] or "code" in sample["frame"]
            is_ours = sample["frame"].get("id", 1) == 1
            expected = (Refused if is_error else Subscribed) if is_ours else None
            assert [type(e) for e in events if type(e) is not Fetch] == (
                [expected] if expected else []
            )
        else:
            continue
        seen.add(kind)
    assert seen == {"exchangeInfo", "trades", "serverShutdown", "error", "control"}


def test_it_subscribes_in_frames_of_fifty_with_numbers() -> None:
    markets = [Market(f"A{number}USDT", f"A{number}", "USDT") for number in range(120)]
    taken = EXCHANGE.stream(datasets.TRADES, markets, whole_books=False)
    frames = [json.loads(event.text) for event in taken.opened() if isinstance(event, Send)]
    assert [(len(each["params"]), each["id"]) for each in frames] == [(50, 1), (50, 2), (20, 3)]
    assert frames[0]["params"][0] == "a0usdt@trade"
    assert take(taken, '{"result":null,"id":3}') == [
        Subscribed(tuple(market.symbol for market in markets[100:]))
    ]
    error = '{"error":{"code":4,"msg":"Too many subscriptions"},"id":1}'
    assert take(taken, error) == [
        Refused(tuple(market.symbol for market in markets[:50]), "4: Too many subscriptions")
    ]
    assert take(taken, error) == []


def test_an_error_without_a_request_is_about_all_that_wait() -> None:
    assert take(stream(), '{"code":3,"msg":"Invalid JSON"}') == [
        Refused(("BTCUSDT",), "3: Invalid JSON")
    ]


@pytest.mark.parametrize(
    ("time", "event_time_us"), [(1790499999123, 0), (1790499999123456, 1790499999123456)]
)
def test_times_are_in_milli_or_microseconds(time: int, event_time_us: int) -> None:
    frame = (
        f'{{"e":"trade","E":{time},"s":"BTCUSDT","t":7,"p":"1.50","q":"2.00","T":{time},"m":false,'
        '"M":true}'
    )
    assert take(stream(trades=True), frame) == [
        Trade(
            source="binance",
            symbol="BTCUSDT",
            base="BTC",
            quote="USDT",
            side=TradeSide.BUY,
            price="1.5",
            base_amount="2",
            event_time_ms=1_790_499_999_123,
            received_at_us=NOW_US,
            native_id="7",
            sequence=7,
            event_time_us=event_time_us,
        )
    ]


def test_rest_and_the_socket_send_times_of_one_resolution() -> None:
    assert "timeUnit=MICROSECOND" in EXCHANGE.ws_url
    assert EXCHANGE.rest_headers == {"X-MBX-TIME-UNIT": "MICROSECOND"}
    body = rows(7).replace(b"1790499999000", b"1790499999123456")
    (trade,) = EXCHANGE.parse_recent_trades(body, BTC, NOW_US).trades
    assert (trade.event_time_ms, trade.event_time_us) == (1_790_499_999_123, 1_790_499_999_123_456)


def test_the_snapshot_is_asked_for_after_the_acknowledgement() -> None:
    taken = stream()
    assert take(taken, update(1, 2)) == []
    subscribed, fetch = take(taken, ACK)
    assert subscribed == Subscribed(("BTCUSDT",))
    assert isinstance(fetch, Fetch)
    assert fetch.path == f"/api/v3/depth?symbol=BTCUSDT&limit={SNAPSHOT_LEVELS}"
    assert fetch.cost_s == 0.05


def test_a_book_without_a_snapshot_is_a_loss_until_rest_gives_one() -> None:
    taken = stream()
    assert list(taken.keepalive(NOW_US)[0]) == []
    (fetch,) = fetches(take(taken, ACK))
    events, again_us = taken.keepalive(NOW_US + 20_000_000)
    assert list(events) == []
    late_us = NOW_US + 40_000_000
    assert again_us < late_us
    assert list(taken.keepalive(late_us)[0]) == [Lost("BTCUSDT", GapCause.MUTE, NOW_US)]
    assert list(taken.keepalive(late_us + 40_000_000)[0]) == []
    again, *_ = taken.fetched(fetch, book(100), late_us + 50_000_000)
    assert again == Subscribed(("BTCUSDT",))
    assert list(taken.keepalive(late_us + 90_000_000)[0]) == []


@pytest.mark.parametrize(
    ("first", "last"), [(101, 103), (99, 103), (101, 101)], ids=["next", "inside", "one"]
)
def test_an_update_that_waited_is_joined(first: int, last: int) -> None:
    taken = stream()
    (fetch,) = fetches(take(taken, ACK))
    take(taken, update(90, 95))
    take(taken, update(first, last, bids='[["1000.00","0.00"]]'))
    bid, ask = sides(check(list(taken.fetched(fetch, book(100), NOW_US))))
    assert bid.prices == (999.0,)
    assert ask.prices == (1001.0, 1002.0)
    assert bid.verified
    assert bid.sequence == last
    assert bid.event_time_us == 1_790_499_999_000_000


def test_a_snapshot_alone_is_not_verified_but_the_next_update_is() -> None:
    taken = stream()
    (fetch,) = fetches(take(taken, ACK))
    first = sides(check(list(taken.fetched(fetch, book(100), NOW_US))))
    assert [side.verified for side in first] == [False, False]
    assert take(taken, update(95, 100)) == []
    assert [side.verified for side in sides(take(taken, update(101, 104)))] == [True, True]


def test_a_snapshot_that_is_too_old_is_asked_for_again() -> None:
    taken = stream()
    (fetch,) = fetches(take(taken, ACK))
    take(taken, update(105, 106))
    with pytest.raises(ExchangeUnavailable, match="older"):
        taken.fetched(fetch, book(100), NOW_US)
    assert len(sides(list(taken.fetched(fetch, book(104), NOW_US)))) == 2


def test_a_broken_chain_is_a_loss_and_asks_for_a_new_snapshot() -> None:
    taken, first = joined()
    take(taken, update(101, 102), NOW_US + 5)
    lost, fetch = take(taken, update(105, 106), NOW_US + 9)
    assert lost == Lost("BTCUSDT", GapCause.SEQUENCE, NOW_US + 5, 103, 104)
    assert isinstance(fetch, Fetch)
    assert take(taken, update(107, 107)) == [], "nothing of a lost book is published"
    assert list(taken.fetched(first, book(106), NOW_US)) == [], "the answer to an older request"
    again = list(taken.fetched(fetch, book(106), NOW_US + 20))
    assert again[0] == Subscribed(("BTCUSDT",))
    assert [side.sequence for side in sides(again)] == [107, 107]
    assert len(sides(take(taken, update(108, 108)))) == 2


def test_a_hole_among_waiting_updates_asks_again() -> None:
    taken = stream()
    (fetch,) = fetches(take(taken, ACK))
    take(taken, update(101, 102))
    take(taken, update(105, 106))
    events = list(taken.fetched(fetch, book(100), NOW_US))
    assert events[0] == Lost("BTCUSDT", GapCause.SEQUENCE, NOW_US, 103, 104)
    (fetch,) = fetches(events)
    again = list(taken.fetched(fetch, book(104), NOW_US))
    assert [side.sequence for side in sides(again)] == [106, 106]


def test_a_side_with_few_known_levels_gets_a_new_snapshot() -> None:
    taken, _ = joined(bids=SNAPSHOT_LEVELS, asks=3)
    removed = [[f"{1000 - place}.00", "0.00"] for place in range(SNAPSHOT_LEVELS - 19)]
    events = take(taken, update(101, 101, bids=json.dumps(removed)))
    assert len(sides(events)[0].prices) == 19, "the known levels are still right"
    (fetch,) = fetches(events)
    assert fetches(take(taken, update(102, 102))) == [], "one request is enough"
    with pytest.raises(ExchangeUnavailable, match="older"):
        taken.fetched(fetch, book(100), NOW_US)
    again = list(taken.fetched(fetch, book(101, bids=SNAPSHOT_LEVELS), NOW_US))
    assert [type(event) for event in again] == [DepthSnapshot, DepthSnapshot]
    assert len(sides(again)[0].prices) == 50


def test_a_small_market_needs_no_new_snapshot() -> None:
    taken, _ = joined(bids=3, asks=3)
    assert fetches(take(taken, update(101, 101, bids='[["1000.00","0"]]'))) == []


def test_too_many_waiting_updates_push_out_the_oldest() -> None:
    taken = stream()
    (fetch,) = fetches(take(taken, ACK))
    for number in range(1, MAX_WAITING + 3):
        take(taken, update(number, number))
    with pytest.raises(ExchangeUnavailable, match="older"):
        taken.fetched(fetch, book(1), NOW_US)
    assert sides(list(taken.fetched(fetch, book(2), NOW_US)))[0].sequence == MAX_WAITING + 2


def test_a_malformed_update_changes_nothing() -> None:
    taken, _ = joined()
    with pytest.raises(InvalidFrame):
        take(taken, update(101, 101, bids='[["1000.00","0"]]', asks='[["x","1"]]'))
    assert sides(take(taken, update(101, 101)))[0].prices == (1000.0, 999.0)


def rows(*numbers: int) -> bytes:
    return json.dumps(
        [
            {"id": n, "price": "1.0", "qty": "1.0", "time": 1790499999000, "isBuyerMaker": True}
            for n in numbers
        ]
    ).encode()


def test_a_backfill_reads_upward_by_id() -> None:
    pages = EXCHANGE.backfill(BTC, 5, 8, NOW_US)
    assert pages is not None
    assert pages.path == "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=5&limit=1000"
    assert pages.cost_s == 0.25
    assert [trade.sequence for trade in pages.take(rows(5, 6), NOW_US).trades] == [5, 6]
    assert "fromId=7&" in pages.path
    assert [trade.sequence for trade in pages.take(rows(7, 8, 9), NOW_US).trades] == [7, 8]
    assert pages.outcome is Outcome.COMPLETE


def test_a_backfill_asks_again_some_times() -> None:
    pages = EXCHANGE.backfill(BTC, 5, 8, NOW_US)
    assert pages is not None
    for _ in range(MAX_EMPTY_PAGES - 1):
        with pytest.raises(ExchangeUnavailable, match="behind"):
            pages.take(rows(4), NOW_US)
    assert pages.outcome.value == "running"
    pages.take(rows(), NOW_US)
    assert pages.outcome.value == "partial"


def test_a_page_with_news_grants_new_attempts() -> None:
    pages = EXCHANGE.backfill(BTC, 5, 8, NOW_US)
    assert pages is not None
    for number in range(5, 9):
        for _ in range(MAX_EMPTY_PAGES - 1):
            with pytest.raises(ExchangeUnavailable):
                pages.take(rows(), NOW_US)
        pages.take(rows(number), NOW_US)
    assert pages.outcome is Outcome.COMPLETE


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"\xff", b'{"code":-1003,"msg":"Way too much"}', b"[" * 100_000, b"," * 1_000_000],
)
def test_other_answers_are_unavailable(body: bytes) -> None:
    with pytest.raises(ExchangeUnavailable):
        EXCHANGE.parse_recent_trades(body, BTC, NOW_US)
    with pytest.raises(ExchangeUnavailable):
        EXCHANGE.parse_markets(body)
    taken = stream()
    (fetch,) = fetches(take(taken, ACK))
    with pytest.raises(ExchangeUnavailable):
        taken.fetched(fetch, body, NOW_US)


@pytest.mark.parametrize(
    "frame",
    [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"stream":"btcusdt@trade","data":[]}',
     update(102, 101).encode(), update(1, 1 << 70).encode(),
     update(1, 2, bids='[["1e999","1"]]').encode(), update(1, 2, bids='[["\\ud800","1"]]').encode(),
     update(1, 2).replace('"BTCUSDT"', '"XYZ"').encode()],
)  # fmt: skip
def test_other_frames_are_invalid(frame: bytes) -> None:
    with pytest.raises(InvalidFrame):
        take(stream(), frame)


@given(st.binary(max_size=60), st.integers(0, 200))
def test_no_bytes_raise_anything_else(noise: bytes, place: int) -> None:
    frame = update(101, 102, bids='[["1000.00","0.00"]]').encode()
    taken, fetch = joined()
    for each in (noise, frame[:place] + noise + frame[place + len(noise) :]):
        try:
            taken.receive(each, NOW_US)
        except InvalidFrame:
            continue
    taken = stream()
    (fetch,) = fetches(take(taken, ACK))
    body = book(1)
    try:
        taken.fetched(fetch, body[:place] + noise + body[place + len(noise) :], NOW_US)
    except ExchangeUnavailable:
        return
