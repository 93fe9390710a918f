"""The driver of Kraken: captured frames, checksums, acknowledgements and backfills."""

import contextlib
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar import datasets
from radar.codec import message_format
from radar.errors import ExchangeUnavailable, InvalidFrame
from radar.exchanges.base import (
    Event,
    Goodbye,
    Hello,
    Lost,
    Outcome,
    Refused,
    Send,
    Stream,
    Subscribed,
)
from radar.exchanges.kraken import EXCHANGE, MAX_EMPTY_PAGES, MAX_STEPS_BACK, PAGE
from radar.records import BookSide, DepthSnapshot, GapCause, Market, Trade, TradeSide
from wire_samples import samples

BTC = Market("BTC/USD", "BTC", "USD", "XXBTZUSD")
ETH = Market("ETH/USD", "ETH", "USD", "XETHZUSD")
NOW_US = 1_790_500_000_000_000
TIME = "2026-09-25T17:48:26.844359Z"


def stream(dataset: datasets.Dataset = datasets.DEPTH, *markets: Market) -> Stream:
    return EXCHANGE.stream(dataset, markets or (BTC, ETH), whole_books=False)


def take(of: Stream, frame: str | bytes, now_us: int = NOW_US) -> list[Event]:
    """Take a frame; every record must keep the rules of records."""
    events = list(of.receive(frame.encode() if isinstance(frame, str) else frame, now_us))
    for event in events:
        if isinstance(event, Trade):
            message_format.check_trade(event)
        elif isinstance(event, DepthSnapshot):
            message_format.check_depth(event)
    return events


def sides(events: list[Event]) -> list[DepthSnapshot]:
    return [event for event in events if isinstance(event, DepthSnapshot)]


def crc(*texts: str) -> int:
    """Compute the checksum of prices and quantities, asks first."""
    return zlib.crc32("".join(text.replace(".", "").lstrip("0") for text in texts).encode())


def book(kind: str, bids: list[tuple[str, str]], asks: list[tuple[str, str]], checksum: int) -> str:
    def levels(side: list[tuple[str, str]]) -> str:
        return ",".join(f'{{"price":{price},"qty":{qty}}}' for price, qty in side)

    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"BTC/USD","bids":[{levels(bids)}],'
        f'"asks":[{levels(asks)}],"checksum":{checksum},"timestamp":"{TIME}"}}]}}'
    )


SNAPSHOT = book(
    "snapshot",
    [("10.0", "0.50000000")],
    [("11.0", "1.00000000")],
    crc("11.0", "1.00000000", "10.0", "0.50000000"),
)
UPDATE = book(
    "update",
    [("9.0", "2.00000000")],
    [],
    crc("11.0", "1.00000000", "10.0", "0.50000000", "9.0", "2.0" + "0" * 7),
)
ACK = '{"method":"subscribe","result":{"channel":"book","symbol":"BTC/USD"},"success":true}'


def test_every_captured_book_matches_its_checksum() -> None:
    """One stream takes each source's frames in order; each state must be proved."""
    checked = 0
    streams: dict[str, Stream] = {}
    for sample in samples("kraken"):
        if sample["dir"] != "recv" or sample["frame"].get("channel") != "book":
            continue
        if "trailing zeros" in sample.get("note", ""):
            continue  # the documentation's page has lost the zeros that the checksum needs
        taken = streams.setdefault(sample["source"], stream())
        events = take(taken, sample["bytes"])
        assert len(events) == 2, sample
        for side in sides(events):
            assert side.verified
            assert side.symbol == "BTC/USD"
            assert len(side.prices) == 10
        checked += 1
    assert checked > 200


def test_captured_trades_parse_with_the_takers_side() -> None:
    found: list[Trade] = []
    for sample in samples("kraken"):
        if sample["dir"] != "recv" or sample["frame"].get("channel") != "trade":
            continue
        markets = (BTC, Market("MATIC/USD", "MATIC", "USD"))
        events = take(stream(datasets.TRADES, *markets), sample["bytes"])
        entries = sample["frame"]["data"]
        assert len(events) == len(entries)
        for event, entry in zip(events, entries, strict=True):
            assert isinstance(event, Trade)
            assert event.side == entry["side"]
            assert event.sequence == entry["trade_id"]
            assert float(event.price) == float(entry["price"])
            assert float(event.base_amount) == float(entry["qty"])
            found.append(event)
    assert any(trade.native_id == "109116693" for trade in found)


def test_captured_answers_parse() -> None:
    counted = 0
    for sample in samples("kraken"):
        if sample["channel"] == "AssetPairs":
            markets = EXCHANGE.parse_markets(sample["bytes"])
            assert BTC in markets.markets
            assert not markets.malformed
            counted += 1
        elif sample["channel"] == "Trades":
            recent = EXCHANGE.parse_recent_trades(sample["bytes"], BTC, NOW_US)
            numbers = [trade.sequence for trade in recent.trades]
            assert recent.invalid == 0
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            counted += 1
        elif sample["dir"] == "rest" and sample["channel"] == "error":
            with pytest.raises(ExchangeUnavailable):
                EXCHANGE.parse_markets(sample["bytes"])
            counted += 1
    assert counted >= 4


def test_it_subscribes_to_ten_levels_in_frames_of_fifty() -> None:
    markets = [Market(f"A{number}/USD", f"A{number}", "USD") for number in range(120)]
    frames = [
        json.loads(e.text) for e in stream(datasets.DEPTH, *markets).opened() if type(e) is Send
    ]
    assert [len(frame["params"]["symbol"]) for frame in frames] == [50, 50, 20]
    assert frames[0]["params"]["depth"] == 10
    assert frames[0]["params"]["channel"] == "book"


def test_trades_come_with_their_newest_fifty() -> None:
    (send,) = stream(datasets.TRADES).opened()
    assert isinstance(send, Send)
    assert json.loads(send.text) == {
        "method": "subscribe",
        "params": {"channel": "trade", "symbol": ["BTC/USD", "ETH/USD"], "snapshot": True},
    }


def test_each_market_is_acknowledged_or_refused() -> None:
    taken = stream()
    assert take(taken, ACK) == [Subscribed(("BTC/USD",))]
    refusal = (
        '{"error":"Currency pair not supported ETH/USD","method":"subscribe","success":false,'
        '"symbol":"ETH/USD"}'
    )
    assert take(taken, refusal) == [Refused(("ETH/USD",), "Currency pair not supported ETH/USD")]


def test_a_refusal_without_a_market_is_about_those_that_wait() -> None:
    taken = stream()
    take(taken, ACK)
    frame = '{"error":"Service unavailable","method":"subscribe","success":false}'
    assert take(taken, frame) == [Refused(("ETH/USD",), "Service unavailable")]


def test_requests_that_came_too_fast_are_sent_again_and_refuse_no_market() -> None:
    taken = stream()
    taken.keepalive(NOW_US)
    take(taken, ACK)
    too_fast = '{"error":"Exceeded msg rate","method":"subscribe","success":false}'
    assert take(taken, too_fast) == []
    events, again_us = taken.keepalive(NOW_US + 1_000_000)
    assert (list(events), again_us) == ([], NOW_US + 3_000_000)
    (again,) = taken.keepalive(again_us)[0]
    assert isinstance(again, Send)
    assert json.loads(again.text)["params"]["symbol"] == ["ETH/USD"]
    assert list(taken.keepalive(again_us + 1_000_000)[0]) == []


def test_the_first_status_is_the_greeting_and_the_end_of_maintenance_a_goodbye() -> None:
    taken = stream()
    frame = (
        '{"channel":"status","type":"update","data":[{"system":"%s",'
        '"connection_id":18125794168470749634,"upcoming_maintenance":[],"emergency":[]}]}'
    )
    assert take(taken, frame % "online") == [Hello("18125794168470749634")]
    assert take(taken, frame % "maintenance") == []
    assert take(taken, frame % "online") == [Goodbye("the exchange's maintenance has ended")]
    assert take(taken, frame % "post_only") == []


def test_heartbeats_and_pongs_are_no_events() -> None:
    assert take(stream(), '{"channel":"heartbeat"}') == []
    assert take(stream(), '{"method":"pong","req_id":1,"time_in":"x"}') == []


def test_it_pings_every_thirty_seconds() -> None:
    taken = stream()
    events, again_us = taken.keepalive(NOW_US)
    assert list(events) == [Send('{"method":"ping"}')]
    assert again_us == NOW_US + 30_000_000
    assert list(taken.keepalive(NOW_US + 5_000_000)[0]) == []
    assert list(taken.keepalive(again_us)[0]) == [Send('{"method":"ping"}')]
    assert list(taken.keepalive(NOW_US - 10**12)[0]), "after the clock was set back"


def test_a_wrong_checksum_loses_the_book_until_the_next_snapshot() -> None:
    taken = stream()
    take(taken, ACK, NOW_US)
    assert [s.verified for s in sides(take(taken, SNAPSHOT, NOW_US + 1))] == [True, True]
    lost, unsubscribe, subscribe = take(taken, UPDATE.replace('"qty":2.0', '"qty":2.1'), NOW_US + 9)
    assert lost == Lost("BTC/USD", GapCause.CHECKSUM, NOW_US + 1)
    assert isinstance(unsubscribe, Send)
    assert isinstance(subscribe, Send)
    assert json.loads(unsubscribe.text)["method"] == "unsubscribe"
    assert json.loads(subscribe.text)["params"]["symbol"] == ["BTC/USD"]
    assert take(taken, UPDATE) == [], "nothing of a lost book is published"
    assert take(taken, ACK) == [], "the snapshot ends the loss, not the acknowledgement"
    again = take(taken, SNAPSHOT)
    assert again[0] == Subscribed(("BTC/USD",))
    assert len(sides(again)) == 2
    assert len(sides(take(taken, UPDATE))) == 2


def test_a_malformed_level_changes_nothing() -> None:
    taken = stream()
    take(taken, SNAPSHOT)
    with pytest.raises(InvalidFrame):
        take(taken, book("update", [("10.0", "0.0"), ("5.0", '"x"')], [], 1))
    assert len(sides(take(taken, UPDATE))) == 2


def test_trades_of_one_frame_are_sorted_and_received_one_after_the_other() -> None:
    entry = (
        '{"symbol":"BTC/USD","side":"%s","price":83744.30,"qty":1e-7,"ord_type":"limit",'
        '"trade_id":%d,"timestamp":"' + TIME + '"}'
    )
    frame = '{"channel":"trade","type":"update","data":[%s,%s]}'
    events = take(stream(datasets.TRADES), frame % (entry % ("sell", 8), entry % ("buy", 7)))
    assert events == [
        Trade(
            source="kraken",
            symbol="BTC/USD",
            base="BTC",
            quote="USD",
            side=side,
            price="83744.3",
            base_amount="0.0000001",
            event_time_ms=1_790_358_506_844,
            received_at_us=NOW_US + place,
            native_id=str(number),
            sequence=number,
            event_time_us=1_790_358_506_844_359,
        )
        for place, (number, side) in enumerate([(7, TradeSide.BUY), (8, TradeSide.SELL)])
    ]


def test_the_market_list_has_the_names_of_the_socket() -> None:
    pairs: dict[str, Any] = {
        "XETHXXBT": {"wsname": "ETH/XBT", "status": "online"},
        "XDGUSD": {"wsname": "XDG/USD", "status": "online"},
        "OLDUSD": {"wsname": "OLD/USD", "status": "cancel_only"},
        "SOLUSD": {"wsname": "SOL/USD", "status": "limit_only"},
        "ADAUSD": {"wsname": "ADA/USD", "status": "reduce_only"},
        "DARK.d": {"status": "online"},
        "BAD": {"wsname": 5, "status": "online"},
    }
    listed = EXCHANGE.parse_markets(json.dumps({"error": [], "result": pairs}).encode())
    assert listed.markets == [
        Market("ETH/BTC", "ETH", "BTC", "XETHXXBT"),
        Market("DOGE/USD", "DOGE", "USD", "XDGUSD"),
        Market("SOL/USD", "SOL", "USD", "SOLUSD"),
        Market("ADA/USD", "ADA", "USD", "ADAUSD"),
    ]
    assert [name for name, _ in listed.malformed] == ["BAD"]


def page(numbers: list[int], last_ns: int) -> bytes:
    rows = [["10.0", "1.0", 1790359840.9392912, "s", "l", "", number] for number in numbers]
    return json.dumps({"error": [], "result": {"XXBTZUSD": rows, "last": str(last_ns)}}).encode()


def test_a_row_of_rest_is_read_exactly() -> None:
    (trade,) = EXCHANGE.parse_recent_trades(page([7], 1), BTC, NOW_US).trades
    assert trade.side is TradeSide.SELL
    assert trade.event_time_us == 1_790_359_840_939_291
    assert trade.native_id == "7"


def test_a_backfill_pages_by_time_with_an_overlap() -> None:
    pages = EXCHANGE.backfill(BTC, 5, 8, NOW_US)
    assert pages is not None
    start_ns = NOW_US * 1000 - 10_000_000_000
    assert pages.path == f"/0/public/Trades?pair=XXBTZUSD&since={start_ns}&count={PAGE}"
    assert [t.sequence for t in pages.take(page([3, 4, 5, 6], start_ns + 50), NOW_US).trades] == [
        5,
        6,
    ]
    assert pages.outcome == Outcome.RUNNING.value
    assert f"since={start_ns + 49}&" in pages.path
    assert [t.sequence for t in pages.take(page([6, 7, 8, 9], start_ns + 90), NOW_US).trades] == [
        7,
        8,
    ]
    assert pages.outcome is Outcome.COMPLETE


def test_a_backfill_that_starts_late_steps_back() -> None:
    pages = EXCHANGE.backfill(BTC, 5, 6, NOW_US)
    assert pages is not None
    assert pages.take(page([6, 7], NOW_US * 1000), NOW_US).trades == []
    assert f"since={NOW_US * 1000 - 100_000_000_000}&" in pages.path
    assert [t.sequence for t in pages.take(page([4, 5, 6], NOW_US * 1000), NOW_US).trades] == [5, 6]
    assert pages.outcome is Outcome.COMPLETE


def test_a_backfill_ends_partial_without_the_trades() -> None:
    pages = EXCHANGE.backfill(BTC, 5, 8, NOW_US)
    assert pages is not None
    pages.take(page([4, 5, 8], NOW_US * 1000), NOW_US)
    assert pages.outcome is Outcome.PARTIAL


def test_an_empty_page_steps_back_because_the_exchanges_clock_may_be_behind() -> None:
    pages = EXCHANGE.backfill(BTC, 5, 6, NOW_US)
    assert pages is not None
    pages.take(page([], NOW_US * 1000), NOW_US)
    assert f"since={NOW_US * 1000 - 100_000_000_000}&" in pages.path
    pages.take(page([4, 5, 6], NOW_US * 1000), NOW_US)
    assert pages.outcome is Outcome.COMPLETE


def test_a_backfill_asks_again_some_times_while_rest_is_behind() -> None:
    last_ns = NOW_US * 1000
    pages = EXCHANGE.backfill(BTC, 5, 8, NOW_US)
    assert pages is not None
    pages.take(page([3, 4], last_ns), NOW_US)
    for _ in range(MAX_EMPTY_PAGES - 1):
        with pytest.raises(ExchangeUnavailable, match="behind"):
            pages.take(page([4], last_ns), NOW_US)
    found = pages.take(page([4, 5, 6, 7, 8, 9], last_ns + 90), NOW_US).trades
    assert [trade.sequence for trade in found] == [5, 6, 7, 8]
    assert pages.outcome is Outcome.COMPLETE


def test_a_backfill_ends_partial_if_rest_never_has_a_trade() -> None:
    pages = EXCHANGE.backfill(BTC, 5, 8, NOW_US)
    assert pages is not None
    for _ in range(MAX_STEPS_BACK):
        pages.take(page([], NOW_US * 1000), NOW_US)
    for _ in range(MAX_EMPTY_PAGES - 1):
        with pytest.raises(ExchangeUnavailable, match="behind"):
            pages.take(page([], NOW_US * 1000), NOW_US)
    assert pages.outcome is Outcome.RUNNING
    pages.take(page([], NOW_US * 1000), NOW_US)
    assert pages.outcome.value == "partial"


def test_a_backfill_ends_when_a_page_brings_it_no_further() -> None:
    pages = EXCHANGE.backfill(BTC, 5, 8, NOW_US)
    assert pages is not None
    for _ in range(9):
        if pages.outcome is not Outcome.RUNNING:
            break
        since_ns = int(pages.path.split("since=")[1].split("&")[0])
        with contextlib.suppress(ExchangeUnavailable):
            pages.take(page([5], since_ns + 1), NOW_US)
    assert pages.outcome is Outcome.PARTIAL


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"error":["EAPI:Rate limit exceeded"]}', b'{"error":[],"result":null}', b"\xff",
     b'{"error":[],"result":{"last":"x","A":[]}}', b"[" * 100_000, b"," * 1_000_000],
)  # fmt: skip
def test_other_answers_are_unavailable(body: bytes) -> None:
    with pytest.raises(ExchangeUnavailable):
        EXCHANGE.parse_recent_trades(body, BTC, NOW_US)
    with pytest.raises(ExchangeUnavailable):
        EXCHANGE.parse_markets(body if b"last" not in body else b"{}")


@pytest.mark.parametrize(
    "frame",
    [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"channel":"trade","data":{}}',
     SNAPSHOT.replace("BTC/USD", "XYZ/USD").encode(), SNAPSHOT.replace("10.0", "NaN").encode(),
     SNAPSHOT.replace("10.0", "1e999").encode(), SNAPSHOT.replace("10.0", '"\\ud800"').encode()],
)  # fmt: skip
def test_other_frames_are_invalid(frame: bytes) -> None:
    for dataset in (datasets.TRADES, datasets.DEPTH):
        with pytest.raises(InvalidFrame):
            take(stream(dataset), frame)


@given(st.binary(max_size=60), st.integers(0, len(SNAPSHOT)))
def test_no_bytes_raise_anything_else(noise: bytes, place: int) -> None:
    frame = SNAPSHOT.encode()
    taken = stream()
    for each in (noise, frame[:place] + noise + frame[place + len(noise) :]):
        try:
            taken.receive(each, NOW_US)
        except InvalidFrame:
            continue


def test_sides_carry_the_exchanges_time() -> None:
    bid, ask = sides(take(stream(), SNAPSHOT))
    assert (bid.side, ask.side) == (BookSide.BID, BookSide.ASK)
    assert (bid.prices, bid.quantities, ask.prices) == ((10.0,), (0.5,), (11.0,))
    assert bid.event_time_us == 1_790_358_506_844_359


def test_a_quiet_trade_channel_is_no_lost_book() -> None:
    taken = stream(datasets.TRADES)
    take(
        taken,
        '{"method":"subscribe","success":true,"result":{"channel":"trade","symbol":"BTC/USD"}}',
    )
    assert list(taken.keepalive(NOW_US + 10**9)[0]) == [Send('{"method":"ping"}')]
