"""Values read block by block come to what they come to one by one."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from column_values import plain
from corpus.bad_messages import BAD_MESSAGES, RECEIVED_AT_US, depth, packed, trade
from generated import snapshots, trades
from radar.codec import batch_decoder, message_format
from radar.codec.byte_grid import Unusual
from radar.datasets import DATASETS, DEPTH, TRADES
from radar.errors import InvalidMessage
from radar.records import DepthSnapshot, Trade

# Messages as producers wrote them before the last four members existed, and before the last one.
OLDER_TRADE, OLDER_DEPTH = (
    dict(list(msgspec.json.decode(value).items())[:-4]) for value in (trade(), depth())
)
OLD_TRADE, OLD_DEPTH = (
    dict(list(msgspec.json.decode(value).items())[:-1]) for value in (trade(), depth())
)


def assert_trades(values: list[bytes]) -> None:
    found, messages = (
        plain(batch_decoder.trade_columns(values)),
        list(map(message_format.decode_trade, values)),
    )
    for name in ("trade_id", "source", "symbol", "base", "quote", "side", "price", "base_amount"):
        assert found[name] == [getattr(message, name) for message in messages]
    assert found["event_time"] == [message.event_time_ms for message in messages]
    assert found["native_id"] == [message.native_id for message in messages]
    assert found["native_sequence"] == [message.sequence for message in messages]
    assert found["event_time_us"] == [message.exact_event_time_us for message in messages]
    assert found["received_at"] == [message.received_at_us for message in messages]
    assert found["set_back_us"] == [message.set_back_us for message in messages]


def assert_snapshots(values: list[bytes]) -> None:
    found, messages = (
        plain(batch_decoder.depth_columns(values)),
        list(map(message_format.decode_depth, values)),
    )
    for name in ("source", "symbol", "base", "quote", "side", "prices", "quantities", "sequence"):
        assert found[name] == [getattr(message, name) for message in messages]
    assert found["event_time"] == [message.event_time_us for message in messages]
    assert found["verified"] == [message.verified for message in messages]
    assert found["received_at"] == [message.received_at_us for message in messages]
    assert found["set_back_us"] == [message.set_back_us for message in messages]


@given(st.lists(trades(), min_size=1, max_size=8))
def test_columns_of_trades_equal_the_messages(made: list[Trade]) -> None:
    assert_trades([message_format.encode_trade(each, f"{n:032x}") for n, each in enumerate(made)])


@given(st.lists(snapshots(), min_size=1, max_size=8))
def test_columns_of_snapshots_equal_the_messages(made: list[DepthSnapshot]) -> None:
    assert_snapshots(list(map(message_format.encode_depth, made)))


def test_columns_of_what_radar_writes_take_the_fast_way() -> None:
    # The slow way gives the same, so that nothing else would tell.
    assert batch_decoder.TradeColumns()._plausible(
        [trade(), trade(price="1", trade_id="ab" * 16, set_back_us=86_400_000_000)]
    )
    read = batch_decoder.DepthColumns()._packed
    assert read(
        [
            packed(),
            packed(set_back_us=0, event_time_us=0),
            packed({"side": "ask"}, prices=[1.0, 2.5]),
            packed(prices=[], quantities=[]),
        ]
    )
    assert read([packed(prices=[], quantities=[])])
    with pytest.raises(Unusual):
        read([packed(), depth()])


@pytest.mark.parametrize(
    "value",
    [
        msgspec.json.format(trade(), indent=2),
        msgspec.json.encode(dict(reversed(msgspec.json.decode(trade()).items()))),
        trade().replace(b"USDTTMN", b"USDT\\u0054MN"),
        trade(price="9" * 20, base_amount="1"),
        trade(sequence=message_format.MAX_NUMBER),
        trade(native_id="", sequence=0),
        trade(event_time_us=0),
        trade(set_back_us=message_format.MAX_TIME_MS * 1000 - 1 - RECEIVED_AT_US),
        msgspec.json.encode(OLDER_TRADE),
        msgspec.json.encode(OLD_TRADE),
    ],
)
def test_columns_of_a_trade_written_otherwise_equal_the_message(value: bytes) -> None:
    assert_trades([trade(), value, trade()])


@pytest.mark.parametrize(
    "value",
    [
        msgspec.json.format(depth(), indent=2),
        msgspec.json.encode(dict(reversed(msgspec.json.decode(depth()).items()))),
        depth().replace(b"BTCUSDT", b"BTCUSD\\u0054"),
        depth(prices=[], quantities=[]),
        depth(prices=[1], quantities=[2]),
        depth(sequence=0, event_time_us=0, verified=False),
        depth(sequence=message_format.MAX_NUMBER),
        depth(set_back_us=message_format.MAX_TIME_MS * 1000 - 1 - RECEIVED_AT_US),
        msgspec.json.encode(OLDER_DEPTH),
        msgspec.json.encode(OLD_DEPTH),
        depth(prices=[3, 3, 1], quantities=[1, 2, 18446744073709551617]),
        packed(),
        packed({"side": "ask"}, prices=[5e-324, 5e-324], quantities=[1.7e308, 1.7e308]),
        packed({"x" * 2000: 1}),
        depth(prices=b"[1E2, 0.1]", quantities=b"[ 1e-7 ,1 ]"),
    ],
)
def test_columns_of_a_snapshot_written_otherwise_equal_the_message(value: bytes) -> None:
    assert_snapshots([value])
    assert_snapshots([depth(), value, depth(side="ask", prices=[1, 2.5]), value])


@pytest.mark.parametrize(
    ("dataset", "case"),
    [
        pytest.param(dataset, case, id=f"{dataset}-{case.name}")
        for dataset, cases in BAD_MESSAGES.items()
        for case in cases
        if case.value is not None
    ],
)
def test_columns_with_a_bad_message_among_good_ones_are_refused(dataset: str, case: Any) -> None:
    read = DATASETS[dataset].read_columns
    for good in (trade(),) if dataset == "trades" else (packed(), depth()):
        assert read([good, good])
        for values in ([case.value], [good, case.value, good], [case.value, good]):
            with pytest.raises(InvalidMessage):
                read(values)
        assert read([good])


@pytest.mark.parametrize(
    "halves",
    [(b"[", b"]"), (trade()[:-9], trade()[-9:]), (trade() + b"," + trade(), b""), (b" ", trade())],
)
def test_columns_of_messages_that_are_whole_only_together_are_refused(
    halves: tuple[bytes, bytes],
) -> None:
    with pytest.raises(InvalidMessage):
        TRADES.read_columns([trade(), *halves])


def test_columns_of_a_snapshot_with_a_known_beginning_and_another_side_behind_are_refused() -> None:
    assert DEPTH.read_columns([depth()])
    value = depth().replace(b'"received_at_us"', b'"side":"ask","received_at_us"')
    with pytest.raises(InvalidMessage):
        DEPTH.read_columns([value])
