"""The driver of OKX: captured frames, chains of books, refusals and backfills."""

import json

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
from radar.exchanges.okx import EXCHANGE
from radar.records import DepthSnapshot, GapCause, Market, Trade, TradeSide
from wire_samples import samples

BTC = Market("BTC-USDT", "BTC", "USDT")
ETH = Market("ETH-USDT", "ETH", "USDT")
NOW_US = 1_790_500_000_000_000


def stream(*markets: Market, whole: bool = False, trades: bool = False) -> Stream:
    dataset = datasets.TRADES if trades else datasets.DEPTH
    return EXCHANGE.stream(dataset, markets or (BTC, ETH), whole_books=whole)


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


def book(action: str, before: int, number: int, bids: str = "", asks: str = "") -> str:
    return (
        f'{{"arg":{{"channel":"books","instId":"BTC-USDT"}},"action":"{action}","data":[{{'
        f'"asks":[{asks}],"bids":[{bids}],"ts":"1790499999123","checksum":0,'
        f'"prevSeqId":{before},"seqId":{number}}}]}}'
    )


SNAPSHOT = book("snapshot", -1, 10, '["99.5","2","0","1"]', '["100.5","3","0","1"]')
ACK = '{"event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"},"connId":"a4d3ae55"}'


def refusal(text: str, code: str = "60018") -> str:
    return json.dumps({"event": "error", "msg": text, "code": code, "connId": "e1f69f02"})


def test_captured_trades_parse_with_the_takers_side() -> None:
    seen = 0
    for sample in samples("okx"):
        if sample["dir"] != "recv" or sample["channel"] not in ("trades", "trades-all"):
            continue
        entries = sample["frame"]["data"]
        market = Market(entries[0]["instId"], "X", "Y")
        events = take(stream(market, trades=True), sample["bytes"])
        assert len(events) == len(entries)
        for trade, entry in zip(events, entries, strict=True):
            assert isinstance(trade, Trade)
            assert trade.side == entry["side"]
            assert trade.native_id == entry["tradeId"]
            is_one = entry.get("count", "1") == "1"
            assert trade.sequence == (int(entry["tradeId"]) if is_one else 0)
            assert float(trade.price) == float(entry["px"])
            assert float(trade.base_amount) == float(entry["sz"])
            assert trade.event_time_ms == int(entry["ts"])
            seen += 1
    assert seen >= 15


def test_the_captured_updates_keep_their_chain() -> None:
    """The snapshot of this capture is cut; an empty one with its number stands for it."""
    found = [s for s in samples("okx") if s["channel"] == "books" and "tickvault" in s["source"]]
    updates = [s for s in found if s["frame"].get("action") == "update"]
    taken = stream()
    take(taken, book("snapshot", -1, updates[0]["frame"]["data"][0]["prevSeqId"]))
    for sample in updates:
        events = take(taken, sample["bytes"])
        (entry,) = sample["frame"]["data"]
        assert [side.verified for side in sides(events)] == [True, True]
        assert {side.sequence for side in sides(events)} == {entry["seqId"]}
        assert {side.event_time_us for side in sides(events)} == {int(entry["ts"]) * 1000}
    assert len(updates) >= 3


def test_the_documentations_run_of_numbers_is_accepted() -> None:
    """With a sign of life and a number that falls after maintenance."""
    run = [s for s in samples("okx") if "example of the rule" in s["source"]]
    taken = stream()
    for sample in run:
        assert len(sides(take(taken, sample["bytes"]))) == 2, sample
    assert len(run) == 5


def test_captured_snapshots_and_whole_books_parse() -> None:
    seen = set()
    for sample in samples("okx"):
        frame = sample["frame"]
        if sample["dir"] != "recv" or sample["channel"] not in ("books", "books5"):
            continue
        if sample["channel"] == "books" and frame["action"] != "snapshot":
            continue
        market = Market(frame["arg"]["instId"], "X", "Y")
        bid, ask = sides(take(stream(market, whole=True), sample["bytes"]))
        (entry,) = frame["data"]
        assert bid.prices == tuple(float(level[0]) for level in entry["bids"])[:50]
        assert ask.quantities == tuple(float(level[1]) for level in entry["asks"])[:50]
        assert not bid.verified
        seen.add(sample["channel"])
    assert seen == {"books", "books5"}


def test_captured_answers_and_notices_parse() -> None:
    seen = set()
    for sample in samples("okx"):
        kind, frame = sample["channel"], sample["bytes"]
        if kind == "instruments":
            assert EXCHANGE.parse_markets(frame).markets == [BTC]
        elif sample["dir"] == "rest" and kind in ("trades", "history-trades"):
            trades = EXCHANGE.parse_recent_trades(frame, BTC, NOW_US).trades
            assert len(trades) == len(sample["frame"]["data"])
            assert trades[-1].native_id == sample["frame"]["data"][0]["tradeId"]
        elif sample["dir"] == "rest" and kind == "error":
            with pytest.raises(ExchangeUnavailable, match="51001"):
                EXCHANGE.parse_markets(frame)
        elif kind == "control" and sample["dir"] == "recv":
            events = take(stream(), frame)
            expected = {"subscribe": Subscribed, "error": Refused, "notice": Goodbye}
            assert type(events[-1]) is expected[sample["frame"]["event"]]
        else:
            continue
        seen.add(kind)
    assert seen == {"instruments", "trades", "history-trades", "error", "control"}


def test_trades_come_from_another_address_than_books() -> None:
    assert stream(trades=True).url == "wss://ws.okx.com:8443/ws/v5/business"
    assert stream().url == EXCHANGE.ws_url == "wss://ws.okx.com:8443/ws/v5/public"


@pytest.mark.parametrize(
    ("whole", "trades", "channel"),
    [(False, True, "trades-all"), (False, False, "books"), (True, False, "books5")],
)
def test_it_subscribes_to_one_channel(whole: bool, trades: bool, channel: str) -> None:
    (send,) = stream(whole=whole, trades=trades).opened()
    assert isinstance(send, Send)
    assert json.loads(send.text) == {
        "op": "subscribe",
        "args": [{"channel": channel, "instId": symbol} for symbol in ("BTC-USDT", "ETH-USDT")],
    }


def test_an_acknowledgement_names_the_connection_once() -> None:
    taken = stream()
    assert take(taken, ACK) == [Hello("a4d3ae55"), Subscribed(("BTC-USDT",))]
    assert take(taken, ACK.replace("BTC", "ETH")) == [Subscribed(("ETH-USDT",))]


def test_a_refusal_names_its_market_in_its_text() -> None:
    taken = stream()
    text = "Subscribe failed, wrong URL or channel:books,instId:ETH-USDT doesn't exist."
    assert take(taken, refusal(text)) == [Refused(("ETH-USDT",), f"60018: {text}")]
    assert take(taken, refusal("channel:books,instId:XYZ-USDT doesn't exist.")) == []


def test_a_refusal_of_a_whole_request_is_about_those_that_wait() -> None:
    taken = stream()
    take(taken, ACK)
    assert take(taken, refusal("Too frequent", "60014")) == [
        Refused(("ETH-USDT",), "60014: Too frequent")
    ]


def test_it_pings_as_text_every_twenty_seconds() -> None:
    taken = stream()
    assert taken.keepalive(NOW_US) == ([Send("ping")], NOW_US + 20_000_000)
    assert taken.keepalive(NOW_US + 19_000_000) == ([], NOW_US + 20_000_000)
    assert taken.keepalive(NOW_US + 20_000_000)[0] == [Send("ping")]
    assert take(taken, "pong") == []


def test_a_snapshot_is_not_verified_and_the_chained_update_is() -> None:
    taken = stream()
    assert [side.verified for side in sides(take(taken, SNAPSHOT))] == [False, False]
    update = book("update", 10, 15, '["99.5","0","0","0"],["99","1","0","1"]')
    bid, ask = sides(take(taken, update))
    assert (bid.prices, bid.quantities, ask.prices) == ((99.0,), (1.0,), (100.5,))
    assert bid.verified
    assert ask.verified
    assert (bid.sequence, bid.event_time_us) == (15, 1_790_499_999_123_000)


def test_a_broken_chain_loses_the_book_until_the_next_snapshot() -> None:
    taken = stream()
    take(taken, ACK)
    take(taken, SNAPSHOT, NOW_US + 1)
    lost, unsubscribe, subscribe = take(taken, book("update", 12, 15), NOW_US + 9)
    assert lost == Lost("BTC-USDT", GapCause.SEQUENCE, NOW_US + 1)
    assert isinstance(unsubscribe, Send)
    assert isinstance(subscribe, Send)
    assert json.loads(unsubscribe.text)["op"] == "unsubscribe"
    assert json.loads(subscribe.text)["args"] == [{"channel": "books", "instId": "BTC-USDT"}]
    assert take(taken, book("update", 15, 16)) == []
    assert take(taken, ACK) == []
    again = take(taken, SNAPSHOT)
    assert again[0] == Subscribed(("BTC-USDT",))
    assert len(sides(again)) == 2


def test_another_snapshot_replaces_the_book() -> None:
    taken = stream()
    take(taken, SNAPSHOT)
    bid, _ = sides(take(taken, book("snapshot", -1, 3, '["7","1","0","1"]')))
    assert bid.prices == (7.0,)
    assert len(sides(take(taken, book("update", 3, 4)))) == 2


def test_a_malformed_level_changes_nothing() -> None:
    taken = stream()
    take(taken, SNAPSHOT)
    for level in ('["99.5","0","0","0"],["x","1","0","1"]', '["99.5"]', "[]"):
        with pytest.raises(InvalidFrame):
            take(taken, book("update", 10, 11, level))
    assert sides(take(taken, book("update", 10, 11)))[0].prices == (99.5,)


def test_a_trade_is_read_exactly() -> None:
    frame = (
        '{"arg":{"channel":"trades-all","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT",'
        '"tradeId":"130639474","px":"42219.90","sz":"0.12060306","side":"sell","source":"0",'
        '"ts":"1790499999123"}]}'
    )
    assert take(stream(trades=True), frame) == [
        Trade(
            source="okx",
            symbol="BTC-USDT",
            base="BTC",
            quote="USDT",
            side=TradeSide.SELL,
            price="42219.9",
            base_amount="0.12060306",
            event_time_ms=1_790_499_999_123,
            received_at_us=NOW_US,
            native_id="130639474",
            sequence=130639474,
        )
    ]


def test_only_live_markets_are_listed() -> None:
    entries = [
        {"instId": "BTC-USDT", "baseCcy": "BTC", "quoteCcy": "USDT", "state": "live"},
        {"instId": "OLD-USDT", "baseCcy": "OLD", "quoteCcy": "USDT", "state": "suspend"},
        {"instId": "BAD-USDT", "state": "live"},
    ]
    listed = EXCHANGE.parse_markets(json.dumps({"code": "0", "msg": "", "data": entries}).encode())
    assert listed.markets == [BTC]
    assert [name for name, _ in listed.malformed] == ["BAD-USDT"]


def page(*numbers: int) -> bytes:
    rows = [
        {"tradeId": str(n), "px": "1.0", "sz": "1", "side": "buy", "ts": "1790499999123"}
        for n in numbers
    ]
    return json.dumps({"code": "0", "msg": "", "data": rows}).encode()


def test_recent_trades_are_oldest_first_and_received_one_after_the_other() -> None:
    trades = EXCHANGE.parse_recent_trades(page(9, 8, 7), BTC, NOW_US).trades
    assert [(t.sequence, t.received_at_us - NOW_US) for t in trades] == [(7, 0), (8, 1), (9, 2)]


def test_a_backfill_reads_downward_by_id() -> None:
    pages = EXCHANGE.backfill(BTC, 5, 8, NOW_US)
    assert pages is not None
    start = "/api/v5/market/history-trades?instId=BTC-USDT&type=1&after="
    assert pages.path == f"{start}9&limit=100"
    assert [trade.sequence for trade in pages.take(page(8, 7), NOW_US).trades] == [7, 8]
    assert pages.path == f"{start}7&limit=100"
    assert [trade.sequence for trade in pages.take(page(6, 5, 4), NOW_US).trades] == [5, 6]
    assert pages.outcome is Outcome.COMPLETE


@pytest.mark.parametrize("numbers", [(), (9,), (8, 7, 5)])
def test_a_backfill_without_all_trades_is_partial(numbers: tuple[int, ...]) -> None:
    pages = EXCHANGE.backfill(BTC, 5, 8, NOW_US)
    assert pages is not None
    pages.take(page(*numbers), NOW_US)
    assert pages.outcome is Outcome.PARTIAL


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"\xff", b'{"code":"50011","data":[],"msg":"Too Many Requests"}', b"[" * 100_000,
     b'{"code":"0","data":{}}', b"," * 1_000_000],
)  # fmt: skip
def test_other_answers_are_unavailable(body: bytes) -> None:
    with pytest.raises(ExchangeUnavailable):
        EXCHANGE.parse_recent_trades(body, BTC, NOW_US)
    with pytest.raises(ExchangeUnavailable):
        EXCHANGE.parse_markets(body)


@pytest.mark.parametrize(
    "frame",
    [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b"ping",
     b'{"arg":{"channel":"trades-all","instId":"BTC-USDT"},"data":[{"tradeId":"x"}]}',
     SNAPSHOT.replace("BTC-USDT", "XYZ-USDT").encode(), SNAPSHOT.replace("99.5", "NaN").encode(),
     SNAPSHOT.replace("99.5", "\\ud800").encode(),
     SNAPSHOT.replace('"1790499999123"', '"' + "9" * 5000 + '"').encode()],
)  # fmt: skip
def test_other_frames_are_invalid(frame: bytes) -> None:
    with pytest.raises(InvalidFrame):
        take(stream(), frame)


@given(st.binary(max_size=60), st.integers(0, len(SNAPSHOT)))
def test_no_bytes_raise_anything_else(noise: bytes, place: int) -> None:
    frame = SNAPSHOT.encode()
    taken = stream()
    for each in (noise, frame[:place] + noise + frame[place + len(noise) :]):
        try:
            taken.receive(each, NOW_US)
        except InvalidFrame:
            continue
