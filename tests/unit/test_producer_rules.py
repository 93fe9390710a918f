"""A producer publishes nothing that a worker refuses: one set of rules for both."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from generated import AMOUNTS, NAMES, NUMBERS, snapshots, trades
from radar.codec import message_format
from radar.datasets import GAPS, TRADES, WATCHES
from radar.errors import InvalidFrame, InvalidMessage
from radar.exchanges.base import RecentTrades
from radar.exchanges.wallex import EXCHANGE
from radar.producer.backfill import _without_refused
from radar.producer.recorders import DepthRecorder, TradeRecorder
from radar.producer.reports import Reports
from radar.records import BookSide, DepthSnapshot, Market, Trade, TradeSide

NOW_US = 1_784_000_000_120_345
NOW_MS = NOW_US // 1000
MARKETS = {"HOSTTMN": Market("HOSTTMN", "HOST", "TMN")}
TRADE = Trade(
    source="wallex",
    symbol="HOSTTMN",
    base="HOST",
    quote="TMN",
    side=TradeSide.BUY,
    price="100",
    base_amount="1.5",
    event_time_ms=NOW_MS,
    received_at_us=NOW_US,
)

ANY_NAME = NAMES | st.text(max_size=40) | st.sampled_from(["A" * 33, "A\n", "", "-A", "../A"])
ANY_AMOUNT = (
    AMOUNTS
    | st.text("0123456789.eE-", max_size=45)
    | st.sampled_from(["0", "0.0", "1.", ".1", "01", "1\n", "9" * 20, "9" * 21, "٣", "NaN", "1e5"])
)
LIMITS_MS = [
    message_format.MIN_TIME_MS,
    message_format.MAX_TIME_MS,
    NOW_MS + message_format.MAX_EVENT_AHEAD_MS,
]
ANY_TIME_MS = st.integers(-(2**62), 2**62) | st.builds(
    int.__add__, st.sampled_from(LIMITS_MS), st.integers(-1, 1)
)
ANY_TIME_US = (
    st.just(NOW_US)
    | st.integers(-(2**62), 2**62)
    | st.builds(lambda ms, us: ms * 1000 + us, st.sampled_from(LIMITS_MS), st.integers(-1, 1))
)
ANY_NUMBER = NUMBERS | st.floats() | st.sampled_from([0.0, -0.0, 1e308, 5e-324, float("nan")])


@st.composite
def any_trades(draw: st.DrawFn) -> Trade:
    """Return a trade in which any members are replaced by what a bad driver may yield."""
    made = draw(trades() | st.just(TRADE))
    anything: dict[str, st.SearchStrategy[Any]] = {
        "source": ANY_NAME, "symbol": ANY_NAME, "base": ANY_NAME, "quote": ANY_NAME,
        "price": ANY_AMOUNT, "base_amount": ANY_AMOUNT,
        "event_time_ms": ANY_TIME_MS, "received_at_us": ANY_TIME_US,
    }  # fmt: skip
    names = draw(st.sets(st.sampled_from(sorted(anything)), max_size=3))
    members = {name: getattr(made, name) for name in Trade.__struct_fields__}
    return Trade(**members | {name: draw(anything[name]) for name in sorted(names)})


@st.composite
def any_snapshots(draw: st.DrawFn) -> DepthSnapshot:
    """Return the same of a snapshot."""
    made = draw(snapshots())
    numbers = st.lists(ANY_NUMBER, max_size=4).map(tuple) | st.just(
        (1.0,) * (message_format.MAX_LEVELS + 1)
    )
    anything: dict[str, st.SearchStrategy[Any]] = {
        "source": ANY_NAME, "symbol": ANY_NAME, "base": ANY_NAME, "quote": ANY_NAME,
        "prices": numbers, "quantities": numbers,
        "side": st.sampled_from(BookSide), "received_at_us": ANY_TIME_US,
    }  # fmt: skip
    names = draw(st.sets(st.sampled_from(sorted(anything)), max_size=3))
    members = {name: getattr(made, name) for name in DepthSnapshot.__struct_fields__}
    return DepthSnapshot(**members | {name: draw(anything[name]) for name in sorted(names)})


def accepts(decode: Any, value: bytes) -> bool:
    try:
        decode(value)
    except InvalidMessage:
        return False
    return True


@given(any_trades())
@example(TRADE)
def test_trades_are_published_exactly_if_workers_accept_them(made: Trade) -> None:
    take = TradeRecorder("wallex").taker()
    try:
        value = message_format.encode_trade(made, "0" * 32)
    except UnicodeEncodeError:
        value = b""
    try:
        message = take(made)
    except InvalidMessage:
        assert not accepts(message_format.decode_trade, value)
    else:
        assert message is not None
        row = message_format.decode_trade(message[1])
        assert (row.price, row.event_time_ms) == (made.price, made.event_time_ms)


@given(any_snapshots(), st.sampled_from([0.0, 3600.0]))
def test_snapshots_are_published_exactly_if_workers_accept_them(
    made: DepthSnapshot, interval_s: float
) -> None:
    take = DepthRecorder("wallex", interval_s).taker()
    try:
        message = take(made)
    except InvalidMessage:
        try:
            value = message_format.encode_depth(made)
        except (UnicodeEncodeError, InvalidMessage):
            return
        assert not accepts(message_format.decode_depth, value)
    else:
        assert message is not None
        assert message_format.decode_depth(message[1]).prices == list(made.prices)


HOSTILE_MEMBERS = [
    '"price":1e400', '"price":-0', '"price":"-0"', '"price":"-5"', '"price":1e-400', '"price":NaN',
    '"price":"NaN"', '"price":"Infinity"', f'"price":{"9" * 5000}', '"price":"1e99"',
    '"price":1e+19', '"price":"0.1234567890123456789"', '"price":"١٢٣"', '"price":"1_000"',
    '"price":null', '"price":"7","price":"8"', '"price":"\\u0031"', '"price":"0x10"',
    '"price":"99999999999999999000","quantity":"99999"', '"timestamp":"9999-12-31T23:59:59Z"',
    '"timestamp":"0000-01-01T00:00:00Z"', '"timestamp":"0001-01-01T00:00:00+23:59"',
    '"timestamp":"2026-06-30T23:59:60Z"', '"timestamp":"2099-12-31T23:59:59Z"',
    '"timestamp":"1970-01-01T00:00:00Z"', '"timestamp":1700000000',
]  # fmt: skip
HOSTILE_LEVELS = [
    ("1e400", "1"), ("-0.0", "1"), ("0", "1"), ("5e-324", "1"), ("5", "-0.0"), ("9" * 400, "1"),
    ("1e308", "1e308"), ('"0x10"', "1"), ('"nan"', "1"), ('"inf"', "1"), ("true", "1"),
    ('"1_0"', "1"), ('" 5 "', "1"), ('"١"', "1"), ("1", '"-inf"'),
]  # fmt: skip
HOSTILE_FRAMES = [
    *(
        '["HOSTTMN@trade",{"isBuyOrder":true,"quantity":"1","price":"2",'
        f'"timestamp":"2026-01-01T00:00:00Z",{member}}}]'
        for member in HOSTILE_MEMBERS
    ),
    *(
        f'["HOSTTMN@{side}Depth",[{{"price":1.1e308,"quantity":1}},'
        f'{{"price":{price},"quantity":{quantity}}}]]'
        for price, quantity in HOSTILE_LEVELS
        for side in ("buy", "sell")
    ),
]


@pytest.mark.parametrize("frame", HOSTILE_FRAMES)
def test_hostile_frame_is_refused_or_published_so_that_workers_accept_it(frame: str) -> None:
    takes = [TradeRecorder("wallex").taker(), DepthRecorder("wallex", 0).taker()]
    try:
        stream = EXCHANGE.stream(TRADES, MARKETS.values(), whole_books=True)
        events = stream.receive(frame.encode(), NOW_US)
        messages = [take(event) for event in events for take in takes]  # type: ignore[arg-type]
    except (InvalidFrame, InvalidMessage):
        return
    for _, value in filter(None, messages):
        assert accepts(message_format.decode_trade, value) or accepts(
            message_format.decode_depth, value
        )


def test_a_trade_that_is_refused_now_is_published_once_it_is_valid() -> None:
    take = TradeRecorder("wallex").taker()
    early = {name: getattr(TRADE, name) for name in Trade.__struct_fields__}
    ahead_ms = NOW_MS + message_format.MAX_EVENT_AHEAD_MS + 1000
    with pytest.raises(InvalidMessage, match="future"):
        take(Trade(**early | {"event_time_ms": ahead_ms}))
    later = Trade(**early | {"event_time_ms": ahead_ms, "received_at_us": ahead_ms * 1000})
    assert take(later) is not None


def test_trades_told_by_rest_that_workers_refuse_count_as_invalid() -> None:
    future = Trade(
        **{name: getattr(TRADE, name) for name in Trade.__struct_fields__}
        | {"event_time_ms": message_format.MAX_TIME_MS - 1}
    )
    assert _without_refused(RecentTrades([TRADE, future], 1)) == RecentTrades([TRADE], 2)


class _Kept:
    """Stands in for an buffer; keeps what is published."""

    refused = 0

    def __init__(self) -> None:
        self.values: list[bytes] = []

    def publish(self, _key: bytes, value: bytes) -> None:
        self.values.append(value)

    def poll(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("dataset", [GAPS, WATCHES], ids=lambda dataset: dataset.name)
def test_reports_that_workers_refuse_are_left_out(dataset: Any) -> None:
    members = {
        "v": 1, "kind": dataset.name.removesuffix("s"), "source": "wallex", "record_kind": "trades",
        "symbols": ["HOSTTMN"], "began_at_us": NOW_US, "ended_at_us": NOW_US,
        "received_at_us": NOW_US,
    } | (
        {"cause": "silent", "repaired": False}
        if dataset is GAPS
        else {"connection": "0f", "end_reason": "open", "interval_ms": 0}
    )  # fmt: skip
    if dataset is WATCHES:
        members["kind"] = "watch"
    kept = _Kept()
    reports = Reports(kept, "wallex", dataset)  # type: ignore[arg-type]
    good = message_format._encoder.encode(members)
    changes: list[dict[str, Any]] = [
        {},
        {"symbols": ["A" * 33]},
        {"symbols": []},
        {"ended_at_us": NOW_US - 1},
    ]
    for change in changes:
        reports.put(b"key", message_format._encoder.encode(members | change))
    reports.poll()
    assert kept.values == [good]
