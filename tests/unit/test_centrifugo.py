"""Centrifugo: several documents a frame, offsets that prove losses, recovery, refusals."""

import json
from typing import Any

import pytest

from radar import datasets
from radar.errors import InvalidFrame
from radar.exchanges.base import Event, Goodbye, Lost, Refused, Send, Stream, Subscribed
from radar.exchanges.nobitex import EXCHANGE
from radar.records import DepthSnapshot, GapCause, Market, Trade

NOW_US = 1_790_500_000_000_000
BTC, ETH = Market("BTCIRT", "BTC", "TMN"), Market("ETHIRT", "ETH", "TMN")
CHANNEL = "public:trades-BTCIRT"


def stream(memory: dict[str, object] | None = None) -> Stream:
    return EXCHANGE.stream(datasets.TRADES, [BTC, ETH], whole_books=True, memory=memory)


def push(offset: int | None, price: str = "1010", channel: str = CHANNEL) -> dict[str, Any]:
    data = {"price": price, "time": 1_790_500_000_000, "type": "sell", "volume": "0.01"}
    pub = {"data": data} if offset is None else {"data": data, "offset": offset}
    return {"push": {"channel": channel, "pub": pub}}


def unsubscribe(code: int) -> dict[str, Any]:
    return {"push": {"channel": CHANNEL, "unsubscribe": {"code": code, "reason": "x"}}}


def take(of: Stream, *documents: Any, now_us: int = NOW_US) -> list[Event]:
    frame = "\n".join(json.dumps(each) for each in documents).encode()
    return list(of.receive(frame, now_us))


def commands(events: list[Event]) -> list[dict[str, Any]]:
    sent = [event.text for event in events if isinstance(event, Send)]
    return [json.loads(line) for text in sent for line in text.splitlines()]


def prices(events: list[Event]) -> list[str]:
    return [event.price for event in events if isinstance(event, Trade)]


def losses(events: list[Event]) -> list[Lost]:
    return [event for event in events if isinstance(event, Lost)]


def subscribed(memory: dict[str, object] | None = None, **reply: Any) -> Stream:
    """A stream whose first channel has got this answer, when nothing was read yet."""
    of = stream(memory)
    list(of.opened())
    take(of, {"id": 2, "subscribe": reply})
    return of


def test_connects_first_and_subscribes_with_rising_ids() -> None:
    sent = commands(list(stream().opened()))
    assert sent == [
        {"connect": {}, "id": 1},
        {"id": 2, "subscribe": {"channel": CHANNEL}},
        {"id": 3, "subscribe": {"channel": "public:trades-ETHIRT"}},
    ]


def test_a_frame_may_hold_reply_ping_and_push() -> None:
    of = stream()
    list(of.opened())
    events = take(of, {"id": 2, "subscribe": {}}, {}, push(7))
    assert [type(event) for event in events] == [Subscribed, Send, Trade]
    assert events[1] == Send("{}", is_pong=True)


def test_a_bad_document_does_not_harm_the_others_of_its_frame() -> None:
    frame = b"\n".join((json.dumps(push(1)).encode(), b"{", json.dumps(push(2, "1020")).encode()))
    found: list[Event] = []

    def collect() -> None:
        for event in stream().receive(frame, NOW_US):
            found.append(event)  # noqa: PERF402 - those before the error count

    with pytest.raises(InvalidFrame):
        collect()
    assert prices(found) == ["101", "102"]


def test_an_offset_that_jumps_proves_a_loss_since_the_last_good_one() -> None:
    of = stream()
    take(of, push(7), now_us=NOW_US)
    events = take(of, push(10, "1020"), now_us=NOW_US + 5)
    assert events[0] == Lost("BTCIRT", GapCause.SEQUENCE, NOW_US, 8, 9)
    assert prices(events) == ["102"]


def test_a_repeated_offset_is_dropped() -> None:
    of = stream()
    assert prices(take(of, push(7), push(7), push(6))) == ["101"]


def test_pushes_without_offsets_prove_nothing_and_are_taken() -> None:
    assert prices(take(stream(), push(None), push(None))) == ["101", "101"]


def test_data_may_be_a_text() -> None:
    document = push(1)
    document["push"]["pub"]["data"] = json.dumps(document["push"]["pub"]["data"])
    assert prices(take(stream(), document)) == ["101"]


def test_a_later_connection_recovers_from_the_position_of_the_earlier_one() -> None:
    memory: dict[str, object] = {}
    first = stream(memory)
    list(first.opened())
    take(first, {"id": 2, "subscribe": {"recoverable": True, "epoch": "e", "offset": 6}}, push(7))
    second = stream(memory)
    sent = commands(list(second.opened()))
    assert sent[1]["subscribe"] == {
        "channel": CHANNEL, "recover": True, "epoch": "e", "offset": 7,
    }  # fmt: skip
    publications = [push(n, str(1000 + 10 * n))["push"]["pub"] for n in (8, 9)]
    reply = {
        "recoverable": True, "epoch": "e", "offset": 9, "recovered": True,
        "publications": publications,
    }  # fmt: skip
    events = take(second, {"id": 2, "subscribe": reply})
    assert prices(events) == ["108", "109"]
    assert not [event for event in events if isinstance(event, Lost)]


def test_a_position_that_could_not_be_recovered_is_a_loss() -> None:
    memory: dict[str, object] = {}
    first = stream(memory)
    list(first.opened())
    take(first, {"id": 2, "subscribe": {"epoch": "e", "offset": 6}}, push(7))
    second = stream(memory)
    list(second.opened())
    events = take(second, {"id": 2, "subscribe": {"epoch": "e", "offset": 9, "recovered": False}})
    assert losses(events) == [Lost("BTCIRT", GapCause.SEQUENCE, NOW_US, 8, 9)]


def test_a_publication_that_cannot_be_read_does_not_harm_the_others_of_a_reply() -> None:
    of = stream()
    list(of.opened())
    bad: list[Any] = [{"offset": 2}, {"data": {}, "offset": 3}, {"data": {}, "offset": 1 << 70}, 5]
    good = [push(n, str(1000 + 10 * n))["push"]["pub"] for n in (1, 4)]
    reply = {"epoch": "e", "offset": 4, "publications": [good[0], *bad, good[1]]}
    found: list[Event] = []
    with pytest.raises(InvalidFrame):
        found.extend(of.receive(json.dumps({"id": 2, "subscribe": reply}).encode(), NOW_US))
    # `extend` keeps what came before the error.
    assert prices(found) == ["101", "104"]
    assert losses(found) == [Lost("BTCIRT", GapCause.SEQUENCE, NOW_US, 2, 2)]


def test_the_first_publications_of_an_epoch_can_be_missing() -> None:
    of = subscribed(epoch="e", offset=0)
    assert losses(take(of, push(3), now_us=NOW_US + 5)) == [
        Lost("BTCIRT", GapCause.SEQUENCE, NOW_US, 1, 2)
    ]


def test_a_reply_tells_of_publications_that_it_does_not_bring() -> None:
    memory: dict[str, object] = {}
    take(subscribed(memory, epoch="e", offset=6), push(7))
    second = stream(memory)
    list(second.opened())
    publications = [push(8)["push"]["pub"]]
    reply = {"epoch": "e", "offset": 10, "publications": publications}
    events = take(second, {"id": 2, "subscribe": reply}, push(11, "1020"))
    assert losses(events) == [Lost("BTCIRT", GapCause.SEQUENCE, NOW_US, 9, 10)]
    assert prices(events) == ["101", "102"]


def test_publications_without_offsets_do_not_move_the_position_of_a_reply() -> None:
    memory: dict[str, object] = {}
    publication = push(None)["push"]["pub"]
    of = stream(memory)
    list(of.opened())
    events = take(
        of,
        {"id": 2, "subscribe": {"epoch": "a", "offset": 5, "publications": [publication]}},
        push(6, "1020"),
    )
    assert prices(events) == ["101", "102"]
    assert losses(events) == []


def test_a_server_that_starts_again_without_epochs_loses_no_trade() -> None:
    memory: dict[str, object] = {}
    take(subscribed(memory, offset=100), push(101))
    second = subscribed(memory)
    assert prices(take(second, push(1, "1020"), push(2, "1030"))) == ["102", "103"]


def test_an_epoch_whose_offsets_went_back_is_read_from_there() -> None:
    memory: dict[str, object] = {}
    take(subscribed(memory, epoch="e", offset=6), push(7))
    second = subscribed(memory, epoch="e", offset=2)
    assert prices(take(second, push(3, "1020"))) == ["102"]


def test_a_new_epoch_on_one_connection_is_a_loss_of_unknown_size() -> None:
    of = subscribed(epoch="e", offset=6)
    take(of, push(7), now_us=NOW_US + 1)
    (again,) = commands(take(of, unsubscribe(2500)))
    events = take(of, {"id": again["id"], "subscribe": {"epoch": "f", "offset": 3}})
    assert losses(events) == [Lost("BTCIRT", GapCause.SEQUENCE, NOW_US + 1)]
    assert losses(take(of, push(4))) == []


def test_a_subscription_that_goes_on_after_an_unsubscription_is_no_loss() -> None:
    of = subscribed(epoch="e", offset=6)
    take(of, push(7))
    events = take(of, unsubscribe(2500))
    assert losses(events) == []
    (again,) = commands(events)
    assert again["subscribe"]["offset"] == 7
    reply = {"epoch": "e", "offset": 8, "publications": [push(8)["push"]["pub"]]}
    assert losses(take(of, {"id": again["id"], "subscribe": reply})) == []


def test_an_unrecoverable_position_is_a_loss_and_is_not_asked_for_again() -> None:
    memory: dict[str, object] = {}
    take(subscribed(memory, epoch="e", offset=6), push(7))
    second = stream(memory)
    list(second.opened())
    error = {"code": 112, "message": "unrecoverable position"}
    events = take(second, {"id": 2, "error": error})
    assert losses(events) == [Lost("BTCIRT", GapCause.SEQUENCE, NOW_US)]
    (again,) = commands(events)
    assert again["subscribe"] == {"channel": CHANNEL}
    (refused,) = take(second, {"id": again["id"], "error": error})
    assert isinstance(refused, Refused)


def test_a_refused_connection_refuses_all_its_markets() -> None:
    of = stream()
    (refused,) = take(of, {"id": 1, "error": {"code": 101, "message": "unauthorized"}})
    assert refused == Refused(("BTCIRT", "ETHIRT"), "unauthorized")
    assert take(of, {"id": 1, "error": {"code": 111, "message": "busy"}}) == [Goodbye("busy")]


@pytest.mark.parametrize("document", [{"error": {"code": 100}}, {"connect": {}}, {"subscribe": {}}])
def test_an_answer_without_id_is_neither_ping_nor_fine(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidFrame):
        take(stream(), document)


def test_trades_of_one_frame_have_rising_receive_times() -> None:
    of = stream()
    times = [
        event.received_at_us
        for event in take(of, push(1), push(2), push(3))
        if isinstance(event, Trade)
    ]
    assert times == [NOW_US, NOW_US + 1, NOW_US + 2]


def test_two_states_of_a_book_in_one_frame_are_two_times() -> None:
    books = EXCHANGE.stream(datasets.DEPTH, [BTC], whole_books=True, memory={})
    data = {"asks": [["1010", "1"]], "bids": [["1000", "1"]], "lastUpdate": 1_790_500_000_000}
    book = {"push": {"channel": "public:orderbook-BTCIRT", "pub": {"data": data}}}
    events = take(books, book, book)
    times = [each.received_at_us for each in events if isinstance(each, DepthSnapshot)]
    assert times == [NOW_US, NOW_US, NOW_US + 1, NOW_US + 1]


def test_a_new_epoch_starts_the_offsets_anew() -> None:
    memory: dict[str, object] = {}
    first = stream(memory)
    list(first.opened())
    take(first, {"id": 2, "subscribe": {"epoch": "e", "offset": 6}}, push(7))
    second = stream(memory)
    list(second.opened())
    events = take(second, {"id": 2, "subscribe": {"epoch": "f", "offset": 0}}, push(1, "1020"))
    assert not [event for event in events if isinstance(event, Lost)]
    assert prices(events) == ["102"]


def test_the_server_takes_a_subscription_back_and_wants_it_again() -> None:
    of = stream()
    list(of.opened())
    events = take(of, unsubscribe(2500))
    assert isinstance(events[0], Lost)
    (again,) = commands(events)
    assert again["subscribe"]["channel"] == CHANNEL
    assert again["id"] > 3


@pytest.mark.parametrize("code", [101, 102, 103, 106, 107])
def test_a_refusal_names_its_market(code: int) -> None:
    of = stream()
    list(of.opened())
    events = take(of, {"id": 3, "error": {"code": code, "message": "permission\x1b denied"}})
    (refused,) = events
    assert isinstance(refused, Refused)
    assert refused.symbols == ("ETHIRT",)
    assert refused.reason.isprintable()


def test_already_subscribed_is_no_refusal() -> None:
    of = stream()
    list(of.opened())
    assert take(of, {"id": 2, "error": {"code": 105, "message": "already subscribed"}}) == [
        Subscribed(("BTCIRT",))
    ]


def test_a_temporary_error_is_tried_again_after_a_while() -> None:
    of = stream()
    list(of.opened())
    assert take(of, {"id": 2, "error": {"code": 100, "message": "internal"}}) == []
    assert list(of.keepalive(NOW_US)[0]) == []
    (again,) = commands(list(of.keepalive(NOW_US + 6_000_000)[0]))
    assert again["subscribe"]["channel"] == CHANNEL
    assert list(of.keepalive(NOW_US + 7_000_000)[0]) == []


def test_a_disconnect_is_a_goodbye() -> None:
    disconnect = {"code": 3001, "reason": "shutdown"}
    assert take(stream(), {"push": {"disconnect": disconnect}}) == [Goodbye("shutdown")]
    assert take(stream(), {"disconnect": disconnect}) == [Goodbye("shutdown")]


def test_a_missed_book_is_no_loss_because_the_next_is_whole() -> None:
    books = EXCHANGE.stream(datasets.DEPTH, [BTC], whole_books=True, memory={})
    data = {"asks": [["1010", "1"]], "bids": [["1000", "1"]], "lastUpdate": 1_790_500_000_000}

    def book(offset: int) -> dict[str, Any]:
        channel = "public:orderbook-BTCIRT"
        return {"push": {"channel": channel, "pub": {"data": data, "offset": offset}}}

    events = take(books, book(1), book(5))
    assert [type(event) for event in events] == [DepthSnapshot] * 4
