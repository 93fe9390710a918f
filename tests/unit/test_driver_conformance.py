"""Rules that every driver keeps, with samples of its own in tests/fixtures/drivers/NAME.json.

A sample holds the market list, recent trades, frames of trades and of whole books of one market,
and the values that they stand for. Frames are JSON, or text where the exact bytes matter.
"""

import contextlib
import json
import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar import datasets, exchanges
from radar.codec import message_format
from radar.errors import ExchangeUnavailable, InvalidFrame
from radar.exchanges.base import Event, Fetch, Send, Stream, UnreadBook
from radar.exchanges.common.day_volumes import read_day_volumes
from radar.exchanges.common.entries import MAX_MARKET_COMMAS
from radar.producer.trade_ids import content_of
from radar.records import BookSide, DepthSnapshot, Market, Trade

FIXTURES = Path(__file__).parents[1] / "fixtures" / "drivers"
NOW_US = 1_790_500_100_000_000
MAX_SENT_BYTES = 64 * 1024
# Of a decoder that has made no object of each entry.
MAX_DECODED_BYTES = 4 * 1024 * 1024
each_driver = pytest.mark.parametrize("name", exchanges.names())


def sample(name: str) -> dict[str, Any]:
    path = FIXTURES / f"{name}.json"
    assert path.is_file(), f"add {path.name} to tests/fixtures/drivers, see another one there"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def raw(document: Any) -> bytes:
    return document.encode() if isinstance(document, str) else json.dumps(document).encode()


def market_of(name: str) -> Market:
    found = sample(name)
    listed = exchanges.load(name).parse_markets(raw(found["markets"]))
    return next(market for market in listed.markets if market.symbol == found["symbol"])


def stream_of(name: str, dataset: datasets.Dataset, *markets: Market) -> Stream:
    chosen = markets or (market_of(name),)
    return exchanges.load(name).stream(dataset, chosen, whole_books=True, memory={})


def taken(name: str, dataset: datasets.Dataset, frames: list[Any]) -> list[Event]:
    """Return the events of a new connection that brings these frames."""
    stream = stream_of(name, dataset)
    list(stream.opened())
    found: list[Event] = []
    for frame in frames:
        found += received(stream, raw(frame), NOW_US)
    return found


def received(stream: Stream, frame: bytes, at_us: int) -> list[Event]:
    """Receive a frame; one that names its snapshot beforehand must be exactly that snapshot."""
    named = stream.snapshot_of(frame)
    events = list(stream.receive(frame, at_us))
    if named is not None:
        (snapshot,) = events
        assert isinstance(snapshot, DepthSnapshot)
        assert named == (snapshot.symbol, snapshot.side)
    return events


def read_late(name: str, frames: list[Any]) -> list[Event]:
    """Return the same events as `taken`, of a stream that leaves books unread."""
    stream = stream_of(name, datasets.DEPTH)
    stream.may_leave_unread = True
    list(stream.opened())
    found: list[Event] = []
    for frame in frames:
        for event in stream.receive(raw(frame), NOW_US):
            found += event.read() if isinstance(event, UnreadBook) else [event]
    return found


def trades_of(events: list[Event]) -> list[Trade]:
    trades = [event for event in events if isinstance(event, Trade)]
    for trade in trades:
        message_format.check_trade(trade)
    return trades


def books_of(events: list[Event]) -> list[DepthSnapshot]:
    books = [event for event in events if isinstance(event, DepthSnapshot)]
    for book in books:
        message_format.check_depth(book)
    return books


@each_driver
def test_driver_lists_its_market_with_unified_names(name: str) -> None:
    expected = sample(name)["expected"]
    market = market_of(name)
    assert (market.base, market.quote) == (expected["base"], expected["quote"])
    assert market.code in ("", sample(name)["code"])
    assert message_format.are_names(market.symbol, market.base, market.quote)


@each_driver
def test_driver_reads_side_and_unit_of_a_trade(name: str) -> None:
    found = sample(name)
    expected = found["expected"]
    if not found["trades"]:
        assert stream_of(name, datasets.TRADES).url == ""  # polled over REST
        return
    (trade,) = trades_of(taken(name, datasets.TRADES, found["trades"]))
    assert (trade.symbol, trade.source) == (found["symbol"], name)
    facts = (trade.side.value, trade.price, trade.base_amount)
    assert facts == (expected["side"], expected["price"], expected["base_amount"])


@each_driver
def test_driver_gives_a_repeated_trade_the_same_identity(name: str) -> None:
    frames = sample(name)["trades"]
    once = trades_of(taken(name, datasets.TRADES, frames))
    twice = trades_of(taken(name, datasets.TRADES, [*frames, *frames]))
    assert {content_of(trade) for trade in once} == {content_of(trade) for trade in twice}


@each_driver
def test_driver_reads_recent_trades_oldest_first(name: str) -> None:
    found = sample(name)
    recent = exchanges.load(name).parse_recent_trades(raw(found["recent"]), market_of(name), NOW_US)
    assert recent.invalid == 0
    times = [trade.event_time_us or trade.event_time_ms * 1000 for trade in recent.trades]
    assert times == sorted(times)
    assert [trade.received_at_us - NOW_US for trade in recent.trades] == list(range(len(times)))
    expected = found["expected"]
    (first, *_) = trades_of(list(recent.trades))
    facts = (first.side.value, first.price, first.base_amount)
    assert facts == (expected["side"], expected["price"], expected["base_amount"])


@each_driver
def test_driver_reads_the_volume_of_24_hours_that_it_offers(name: str) -> None:
    driver = exchanges.load(name)
    found = sample(name)
    assert bool(driver.day_volumes_path) == ("day_volumes" in found)
    if driver.day_volumes_path:
        assert driver.day_volumes_path.startswith("/")
        rows = driver.day_volume_rows(raw(found["day_volumes"]))
        (volume,) = read_day_volumes(rows, [market_of(name)]).volumes
        assert (volume.symbol, volume.amount) == (found["symbol"], Decimal("913.3"))


@each_driver
@given(
    body=st.binary(max_size=60)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["result", "data", "stats", "symbols", "code", "error", "status", "v"]
                ),
                inner,
            )
        ),
        max_leaves=12,
    ).map(lambda document: json.dumps(document).encode())
)
def test_driver_refuses_other_volumes_with_its_own_error(name: str, body: bytes) -> None:
    driver = exchanges.load(name)
    if driver.day_volumes_path:
        with contextlib.suppress(ExchangeUnavailable):
            assert read_day_volumes(driver.day_volume_rows(body), []).volumes == []


@each_driver
def test_driver_gives_a_trade_the_same_identity_on_the_socket_and_over_rest(name: str) -> None:
    found = sample(name)
    recent = exchanges.load(name).parse_recent_trades(raw(found["recent"]), market_of(name), NOW_US)
    over_rest = {content_of(trade) for trade in recent.trades}
    assert {content_of(t) for t in trades_of(taken(name, datasets.TRADES, found["trades"]))} <= (
        over_rest
    )


@each_driver
def test_driver_reads_both_sides_of_a_book_best_first(name: str) -> None:
    found = sample(name)
    books = books_of(taken(name, datasets.DEPTH, found["books"]))
    best = {book.side: book.prices[0] for book in books}
    expected = found["expected"]
    assert best == {BookSide.BID: expected["best_bid"], BookSide.ASK: expected["best_ask"]}
    assert {book.symbol for book in books} == {found["symbol"]}


@each_driver
def test_driver_reads_a_book_late_as_at_once(name: str) -> None:
    frames = sample(name)["books"]
    assert read_late(name, frames) == taken(name, datasets.DEPTH, frames)


@each_driver
@pytest.mark.parametrize("dataset", list(datasets.RECORDED))
def test_driver_does_not_record_a_market_that_it_has_not_subscribed_to(
    name: str, dataset: str
) -> None:
    other = Market("OTHER", "OTHER", "USDT", "999")
    stream = stream_of(name, datasets.DATASETS[dataset], other)
    for frame in sample(name)["trades" if dataset == "trades" else "books"]:
        try:
            events = received(stream, raw(frame), NOW_US)
        except InvalidFrame:
            continue
        assert not [event for event in events if isinstance(event, Trade | DepthSnapshot)]


@each_driver
@pytest.mark.parametrize("dataset", list(datasets.RECORDED))
def test_driver_sends_few_bounded_frames_for_many_markets(name: str, dataset: str) -> None:
    exchange = exchanges.load(name)
    count = exchange.limits.markets_per_connection
    markets = [Market(f"M{n}USDT", f"M{n}", "USDT", str(n)) for n in range(count)]
    sent = [
        event.text
        for event in stream_of(name, datasets.DATASETS[dataset], *markets).opened()
        if isinstance(event, Send)
    ]
    assert all(len(text.encode()) <= MAX_SENT_BYTES for text in sent)
    # So that the exchange's limit of frames does not delay the last subscription too much.
    assert len(sent) / exchange.limits.sends_per_s <= exchange.limits.subscribe_s


@each_driver
@pytest.mark.parametrize("dataset", list(datasets.RECORDED))
def test_driver_asks_for_its_next_keepalive_later_than_now(name: str, dataset: str) -> None:
    stream = stream_of(name, datasets.DATASETS[dataset])
    list(stream.opened())
    now_us = NOW_US
    sent = 0
    for _ in range(100):
        events, again_us = stream.keepalive(now_us)
        sent += len(list(events))
        assert again_us > now_us
        now_us += 10_000
    assert sent <= 3  # in one second


@each_driver
@pytest.mark.parametrize("dataset", list(datasets.RECORDED))
@given(data=st.data())
def test_driver_given_any_bytes_raises_nothing_but_invalid_frame(
    name: str, dataset: str, data: st.DataObject
) -> None:
    frames = sample(name)["trades" if dataset == "trades" else "books"]
    stream = stream_of(name, datasets.DATASETS[dataset])
    list(stream.opened())
    for frame in [*frames, b""]:
        try:
            changed = _changed(raw(frame) if frame else b"", data)
            for event in received(stream, changed, NOW_US):
                if isinstance(event, Send):
                    event.text.encode()
        except InvalidFrame as error:
            str(error).encode()


@each_driver
@given(data=st.data())
def test_driver_given_any_answer_raises_nothing_but_unavailable(
    name: str, data: st.DataObject
) -> None:
    exchange, found = exchanges.load(name), sample(name)
    market = market_of(name)
    for parse in (
        lambda body: exchange.parse_markets(body),
        lambda body: exchange.parse_recent_trades(body, market, NOW_US),
    ):
        for document in (found["markets"], found["recent"]):
            try:
                parse(_changed(raw(document), data))
            except ExchangeUnavailable as error:
                str(error).encode()


def _changed(body: bytes, data: st.DataObject) -> bytes:
    """Return a body that is cut, or has other bytes somewhere."""
    noise = data.draw(
        st.sampled_from(
            [b"", b"null", b"[]", b"{}", b'"x"', b"-1", b"1e400", b"NaN", b"\xff", b'"\\ud800"',
             b"9" * 400, b"[" * 600, b"\n"]
        )
        | st.binary(max_size=8)
    )  # fmt: skip
    first = data.draw(st.integers(0, len(body)))
    length = data.draw(st.integers(0, 12))
    return body[:first] + noise + body[first + length :]


@each_driver
def test_driver_names_paths_of_any_market_safely(name: str) -> None:
    exchange = exchanges.load(name)
    path = exchange.recent_trades_path(Market("A/B?c=d&e#f", "A", "B", "1/../2"))
    assert path.startswith("/")
    assert "c=d" not in path
    assert "#" not in path
    assert ".." not in path.replace("%2F..%2F", "")


@each_driver
def test_driver_polls_markets_without_a_socket_one_by_one(name: str) -> None:
    stream = stream_of(name, datasets.TRADES)
    if stream.url:
        return
    events, _ = stream.keepalive(NOW_US)
    (fetch,) = [event for event in events if isinstance(event, Fetch)]
    answered = list(stream.fetched(fetch, raw(sample(name)["recent"]), NOW_US))
    assert len(trades_of(answered)) == 2
    events, _ = stream.keepalive(NOW_US + 10_000_000)
    (fetch,) = [event for event in events if isinstance(event, Fetch)]
    again = list(stream.fetched(fetch, raw(sample(name)["recent"]), NOW_US))
    assert trades_of(again) == []


def test_frames_of_drivers_are_what_json_says() -> None:
    for name in exchanges.names():
        for frame in (*sample(name)["trades"], *sample(name)["books"]):
            msgspec.json.decode(raw(frame))


@lru_cache
def endless(kind: type) -> str:
    """Return a list or an object with more members than any exchange sends."""
    count = MAX_MARKET_COMMAS + 2
    if kind is list:
        return "[" + "1," * (count - 1) + "1]"
    return "{" + ",".join(f'"{number:x}":1' for number in range(count)) + "}"


def with_an_endless_part(document: Any) -> Iterator[bytes]:
    """Yield a document once for each list and object in it, with an endless one in its place."""
    hole = "a part without an end"

    def copies(part: Any) -> Iterator[tuple[Any, type]]:
        if isinstance(part, list):
            yield hole, list
            for place, each in enumerate(part):
                yield from (
                    ([*part[:place], copy, *part[place + 1 :]], kind) for copy, kind in copies(each)
                )
        elif isinstance(part, dict):
            yield hole, dict
            for name, each in part.items():
                yield from ((part | {name: copy}, kind) for copy, kind in copies(each))

    for copy, kind in copies(document):
        yield json.dumps(copy).replace(f'"{hole}"', endless(kind)).encode()


@each_driver
@pytest.mark.parametrize("part", ["markets", "recent"])
def test_driver_refuses_an_endless_answer_before_it_is_decoded(name: str, part: str) -> None:
    exchange, market = exchanges.load(name), market_of(name)
    for body in with_an_endless_part(sample(name)[part]):
        tracemalloc.start()
        try:
            with pytest.raises(ExchangeUnavailable):
                _ = (
                    exchange.parse_markets(body)
                    if part == "markets"
                    else exchange.parse_recent_trades(body, market, NOW_US)
                )
            assert tracemalloc.get_traced_memory()[1] < MAX_DECODED_BYTES
        finally:
            tracemalloc.stop()
