"""Snapshots of several connections: each state once, where every one is published."""

import msgspec

from radar.codec.message_format import as_json
from radar.producer.recorders import DepthRecorder, Take
from radar.records import BookSide, DepthSnapshot


def snapshot(price: float, side: BookSide = BookSide.BID) -> DepthSnapshot:
    return DepthSnapshot(
        source="wallex",
        symbol="BTCUSDT",
        base="BTC",
        quote="USDT",
        side=side,
        prices=(price,),
        quantities=(1.0,),
        received_at_us=1_656_242_049_120_345,
    )


def published(take: Take, *snapshots: DepthSnapshot) -> list[float]:
    messages = [message for each in snapshots if (message := take(each)) is not None]
    return [msgspec.json.decode(as_json(value))["prices"][0] for _, value in messages]


def test_depth_recorder_without_an_interval_publishes_a_state_of_two_connections_once() -> None:
    recorder = DepthRecorder("wallex", 0)
    one, other = recorder.taker(), recorder.taker()
    for price in (1.0, 2.0, 1.0):
        assert published(one, snapshot(price)) == [price]
        assert published(other, snapshot(price)) == []
    assert published(other, snapshot(1.0, BookSide.ASK)) == [1.0]


def test_depth_recorder_without_an_interval_publishes_what_one_connection_repeats() -> None:
    one = DepthRecorder("wallex", 0).taker()
    assert published(one, snapshot(1.0), snapshot(1.0)) == [1.0, 1.0]


def test_depth_recorder_with_an_interval_publishes_an_unchanged_book_again() -> None:
    recorder = DepthRecorder("wallex", 3600)
    one, other = recorder.taker(), recorder.taker()
    assert published(one, snapshot(1.0)) == [1.0]
    assert published(other, snapshot(1.0)) == []
    assert len(list(recorder.drain())) == 1


def test_depth_recorder_gives_two_states_of_a_side_two_times() -> None:
    recorder = DepthRecorder("wallex", 0)
    one, other = recorder.taker(), recorder.taker()
    at_us = snapshot(1.0).received_at_us
    set_back = msgspec.structs.replace(snapshot(4.0), received_at_us=at_us - 3_600_000_000)
    sent = [one(snapshot(1.0)), one(snapshot(2.0)), other(snapshot(3.0)), one(set_back)]
    sent.append(one(snapshot(1.0, BookSide.ASK)))
    times = [
        msgspec.json.decode(as_json(each[1]))["received_at_us"] for each in sent if each is not None
    ]
    # A clock that was set back is followed; the other side has times of its own.
    assert times == [at_us, at_us + 1, at_us + 2, at_us - 3_600_000_000, at_us]
