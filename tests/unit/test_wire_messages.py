"""Message values: what goes in comes out, and nothing else does."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generated import snapshots, trades
from radar.codec import message_format
from radar.errors import InvalidMessage
from radar.records import DepthSnapshot, Trade


@given(trades())
def test_wire_trade_comes_out_as_it_went_in(trade: Trade) -> None:
    row = message_format.decode_trade(message_format.encode_trade(trade, "0f" * 16))
    assert (row.source, row.symbol, row.base, row.quote) == (
        trade.source, trade.symbol, trade.base, trade.quote,
    )  # fmt: skip
    assert (row.side, row.price, row.base_amount) == (trade.side, trade.price, trade.base_amount)
    assert (row.event_time_ms, row.received_at_us) == (trade.event_time_ms, trade.received_at_us)
    assert row.trade_id == "0f" * 16


@pytest.mark.parametrize(
    ("price", "amount"),
    [("99999999999999999999.999999999999999999", "1"), ("0.000000000000000001", "9" * 20)],
)
def test_wire_trade_of_the_largest_amounts_is_a_row(price: str, amount: str) -> None:
    change = {"price": price, "base_amount": amount}
    row = message_format.decode_trade(msgspec.json.encode(TRADE | change))
    assert (row.price, row.base_amount) == (price, amount)


@given(snapshots())
def test_wire_depth_comes_out_as_it_went_in(snapshot: DepthSnapshot) -> None:
    row = message_format.decode_depth(message_format.encode_depth(snapshot))
    assert tuple(row.prices) == snapshot.prices
    assert tuple(row.quantities) == snapshot.quantities
    assert (row.symbol, row.side) == (snapshot.symbol, snapshot.side)
    assert row.received_at_us == snapshot.received_at_us


@given(st.binary())
def test_wire_any_bytes_raise_nothing_but_invalid_message(value: bytes) -> None:
    for decode in (message_format.decode_trade, message_format.decode_depth):
        with pytest.raises(InvalidMessage):
            decode(value)


TRADE = {
    "v": 1,
    "kind": "trade",
    "trade_id": "0f" * 16,
    "source": "wallex",
    "symbol": "USDTTMN",
    "base": "USDT",
    "quote": "TMN",
    "side": "sell",
    "price": "31704",
    "base_amount": "705",
    "event_time_ms": 1_656_242_049_000,
    "received_at_us": 1_656_242_049_120_345,
}
DEPTH = {
    "v": 1,
    "kind": "depth",
    "source": "wallex",
    "symbol": "BTCUSDT",
    "base": "BTC",
    "quote": "USDT",
    "side": "bid",
    "prices": [62525.04, 62424.28],
    "quantities": [0.000451, 0.02624],
    "received_at_us": 1_656_242_049_120_345,
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": 2}, "schema"),
        ({"kind": "depth"}, "schema"),
        ({"trade_id": "0F" * 16}, "schema"),
        ({"trade_id": "0f" * 16 + "\n"}, "schema"),
        ({"symbol": ""}, "schema"),
        ({"symbol": "A" * 33}, "schema"),
        ({"side": "bid"}, "schema"),
        ({"price": 31704}, "schema"),
        ({"price": "31704.0"}, "schema"),
        ({"price": "-1"}, "schema"),
        ({"price": "1e3"}, "schema"),
        ({"price": "۱۲"}, "schema"),
        ({"price": "0"}, "amount"),
        ({"base_amount": "0"}, "amount"),
        ({"event_time_ms": 253_402_300_799_000}, "schema"),
        ({"event_time_ms": 1_656_242_049_000 + message_format.MAX_EVENT_AHEAD_MS + 1000}, "time"),
    ],
)
def test_wire_trade_that_is_implausible_is_refused(change: dict[str, object], reason: str) -> None:
    assert message_format.decode_trade(msgspec.json.encode(TRADE))
    with pytest.raises(InvalidMessage) as refused:
        message_format.decode_trade(msgspec.json.encode(TRADE | change))
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": 0}, "schema"),
        ({"side": "sell"}, "schema"),
        ({"prices": [62525.04]}, "levels"),
        ({"prices": [62424.28, 62525.04]}, "levels"),
        ({"prices": [62525.04, 0]}, "amount"),
        ({"quantities": [-1, 1]}, "amount"),
        ({"quantities": ["NaN", 1]}, "schema"),
        ({"prices": [1.0] * 1001, "quantities": [1.0] * 1001}, "schema"),
    ],
)
def test_wire_depth_that_is_implausible_is_refused(change: dict[str, object], reason: str) -> None:
    assert message_format.decode_depth(msgspec.json.encode(DEPTH))
    with pytest.raises(InvalidMessage) as refused:
        message_format.decode_depth(msgspec.json.encode(DEPTH | change))
    assert refused.value.reason == reason


def test_wire_key_is_the_market() -> None:
    assert message_format.message_key("wallex", "USDTTMN") == b"wallex:USDTTMN"
