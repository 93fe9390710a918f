"""Coinbase: the maker's side, numbers in heartbeats, books from a snapshot and updates."""

import json
from typing import Any

import pytest

from radar import datasets
from radar.errors import InvalidFrame
from radar.exchanges.base import Event, Lost, Newest, Outcome, Refused, Send, Stream, Subscribed
from radar.exchanges.coinbase import EXCHANGE, MAX_LEVELS
from radar.records import BookUpdate, DepthSnapshot, GapCause, Market, Trade, TradeSide
from wire_samples import samples

NOW_US = 1_790_500_000_000_000
BTC, ETH = Market("BTC-USD", "BTC", "USD"), Market("ETH-USD", "ETH", "USD")


def stream(dataset: datasets.Dataset = datasets.TRADES) -> Stream:
    return EXCHANGE.stream(dataset, [BTC, ETH], whole_books=False, updates=True)


def take(of: Stream, **frame: Any) -> list[Event]:
    return list(of.receive(json.dumps(frame).encode(), NOW_US))


def match(number: int, side: str = "buy", **changes: Any) -> dict[str, Any]:
    facts = {"type": "match", "trade_id": number, "side": side, "size": "0.10", "price": "100.50"}
    return facts | {"product_id": "BTC-USD", "time": "2026-09-02T07:44:10.104422Z"} | changes


@pytest.mark.parametrize(("maker", "taker"), [("buy", TradeSide.SELL), ("sell", TradeSide.BUY)])
def test_the_taker_is_on_the_other_side_of_the_maker(maker: str, taker: TradeSide) -> None:
    (trade,) = take(stream(), **match(7, maker))
    assert isinstance(trade, Trade)
    assert (trade.side, trade.price, trade.base_amount) == (taker, "100.5", "0.1")
    assert (trade.native_id, trade.sequence) == ("7", 7)
    assert trade.event_time_us == 1_788_335_050_104_422


def test_a_heartbeat_tells_the_newest_number() -> None:
    found = take(stream(), type="heartbeat", last_trade_id=20, product_id="BTC-USD", sequence=90)
    assert found == [Newest("BTC-USD", 20)]


@pytest.mark.parametrize(
    "changes",
    [
        {"size": "0.-10000"}, {"time": "0001-01-01T00:00:00"}, {"product_id": "X"},
        {"trade_id": -1}, {"side": "both"},
    ],
)  # fmt: skip
def test_a_trade_that_is_none_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidFrame):
        take(stream(), **match(7, **changes))


def test_markets_count_as_subscribed_when_they_are_acknowledged() -> None:
    of = stream(datasets.DEPTH)
    channels = [{"name": "level2_50", "product_ids": ["BTC-USD"], "account_ids": None}]
    assert take(of, type="subscriptions", channels=channels) == [Subscribed(("BTC-USD",))]
    assert take(of, type="subscriptions", channels=channels) == []
    refused = take(of, type="error", message="Failed to subscribe", reason="no such channel")
    assert refused == [Refused(("ETH-USD",), "Failed to subscribe: no such channel")]


def test_an_error_that_names_a_market_is_about_it_alone() -> None:
    reason = "BTC-USD is not a valid product"
    (refused,) = take(stream(), type="error", message="Failed to subscribe", reason=reason)
    assert isinstance(refused, Refused)
    assert refused.symbols == ("BTC-USD",)


def test_a_book_follows_its_updates_and_is_not_verified() -> None:
    of = stream(datasets.DEPTH)
    update = {"type": "l2update", "product_id": "BTC-USD", "time": "2026-09-02T07:44:10.1Z"}
    assert take(of, **update, changes=[["buy", "99.00", "1"]]) == [], "no snapshot yet"
    sides = {"asks": [["101.00", "1"]], "bids": [["99.00", "1"], ["100.00", "2"]]}
    take(of, type="snapshot", product_id="BTC-USD", **sides)
    changes = [["buy", "100.00", "0.00"], ["sell", "100.50", "3"]]
    events = take(of, **update, changes=changes)
    books = {each.side.value: each for each in events if isinstance(each, DepthSnapshot)}
    assert books["bid"].prices == (99.0,)
    assert books["ask"].prices == (100.5, 101.0)
    assert not any(each.verified for each in books.values())
    assert not [each for each in events if isinstance(each, BookUpdate)]


def test_backfill_reads_a_hole_downward() -> None:
    reading = EXCHANGE.backfill(BTC, 5, 7, NOW_US)
    assert reading is not None
    assert reading.path == "/products/BTC-USD/trades?limit=1000&after=8"
    rows = [match(number) for number in (7, 6)]
    found = reading.take(json.dumps(rows).encode(), NOW_US)
    assert [trade.sequence for trade in found.trades] == [6, 7]
    assert reading.outcome is Outcome.RUNNING
    assert reading.path.endswith("&after=6")
    reading.take(json.dumps([match(5), match(4)]).encode(), NOW_US)
    assert reading.outcome.value == Outcome.COMPLETE.value


def test_captured_frames_are_read() -> None:
    of, read = stream(), 0
    books = stream(datasets.DEPTH)
    for sample in samples("coinbase"):
        if sample.get("venue") != "exchange" or sample["dir"] != "recv":
            continue
        content = json.loads(sample["bytes"])
        if content.get("product_id", "BTC-USD") != "BTC-USD" or not isinstance(content, dict):
            continue
        is_book = content["type"] in ("snapshot", "l2update")
        list((books if is_book else of).receive(sample["bytes"], NOW_US))
        read += 1
    assert read


def test_a_book_whose_snapshot_does_not_come_is_a_loss_and_is_asked_for_again() -> None:
    of = stream(datasets.DEPTH)
    channels = [{"name": "level2_50", "product_ids": ["BTC-USD"], "account_ids": None}]
    take(of, type="subscriptions", channels=channels)
    assert list(of.keepalive(NOW_US + 6_000_000)[0]) == []
    events = list(of.keepalive(NOW_US + 40_000_000)[0])
    assert events[0] == Lost("BTC-USD", GapCause.MUTE, NOW_US)
    sent = [json.loads(each.text)["type"] for each in events if isinstance(each, Send)]
    assert sent == ["unsubscribe", "subscribe"]


def test_a_frame_of_far_more_levels_than_a_book_has_is_refused_before_it_is_decoded() -> None:
    levels = ",".join(['["1","1"]'] * (3 * MAX_LEVELS))
    frame = f'{{"type":"snapshot","product_id":"BTC-USD","bids":[{levels}],"asks":[]}}'
    with pytest.raises(InvalidFrame, match="too many entries"):
        stream(datasets.DEPTH).receive(frame.encode(), NOW_US)
