"""The Wallex parsers on frames: the exchange's own samples, variants and rubbish."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar import datasets
from radar.codec import message_format
from radar.errors import InvalidFrame, InvalidMessage
from radar.exchanges.base import Event, Hello, Send, Subscribed
from radar.exchanges.wallex import EXCHANGE
from radar.records import BookSide, DepthSnapshot, Market, Trade, TradeSide

SAMPLES = Path(__file__).parents[1] / "fixtures" / "frames" / "wallex.ndjson"
MARKETS = {
    "USDTTMN": Market("USDTTMN", "USDT", "TMN"),
    "BTCUSDT": Market("BTCUSDT", "BTC", "USDT"),
}
NOW_US = 1_656_242_049_120_345
TRADE = '["USDTTMN@trade",{"isBuyOrder":%s,"quantity":%s,"price":%s,"timestamp":"%s"}]'


def parse(frame: str | bytes) -> tuple[Event, ...]:
    """Parse a frame and apply the rules of records, as producers do."""
    data = frame.encode() if isinstance(frame, str) else frame
    stream = EXCHANGE.stream(datasets.TRADES, MARKETS.values(), whole_books=True)
    events = tuple(stream.receive(data, NOW_US))
    for event in events:
        try:
            if isinstance(event, Trade):
                message_format.check_trade(event)
            elif isinstance(event, DepthSnapshot):
                message_format.check_depth(event)
        except InvalidMessage as error:
            raise InvalidFrame(str(error)) from error
    return events


def trade(
    quantity: str = '"1"',
    price: str = '"2"',
    timestamp: str = "2022-06-26T11:14:09Z",
    is_buy: str = "true",
) -> Trade:
    (event,) = parse(TRADE % (is_buy, quantity, price, timestamp))
    assert isinstance(event, Trade)
    return event


def depth(levels: str, channel: str = "BTCUSDT@buyDepth") -> DepthSnapshot:
    (event,) = parse(f'["{channel}",{levels}]')
    assert isinstance(event, DepthSnapshot)
    return event


def test_wallex_sample_frames_become_the_documented_events() -> None:
    events = [event for line in SAMPLES.read_bytes().splitlines() for event in parse(line)]
    hello, sold, bids, asks, toman_asks, toman_bids, ping = events
    assert hello == Hello("c0ffee00-0000-4000-8000-000000000001")
    assert sold == Trade(
        source="wallex",
        symbol="USDTTMN",
        base="USDT",
        quote="TMN",
        side=TradeSide.SELL,
        price="31704",
        base_amount="705",
        event_time_ms=1_656_242_049_000,
        received_at_us=NOW_US,
    )
    assert bids == DepthSnapshot(
        source="wallex",
        symbol="BTCUSDT",
        base="BTC",
        quote="USDT",
        side=BookSide.BID,
        prices=(62525.04, 62424.28, 62200.0),
        quantities=(0.000451, 0.02624, 0.068493),
        received_at_us=NOW_US,
    )
    assert isinstance(asks, DepthSnapshot)
    assert (asks.side, asks.prices) == (BookSide.ASK, (62579.56, 62619.76, 62634.08))
    # The documentation's sample is worst first.
    assert isinstance(toman_asks, DepthSnapshot)
    assert toman_asks.prices == (82066.0, 82083.0, 82131.0)
    assert toman_asks.quantities == (139.05, 103.07, 255.75)
    assert isinstance(toman_bids, DepthSnapshot)
    assert toman_bids.prices == (82131.0, 82083.0, 82066.0)
    assert ping == Send('{"pong":"5f0d6a1e-3c52-4a44-9b0e-6d8f6a2a7c11"}', is_pong=True)


@pytest.mark.parametrize("line", SAMPLES.read_bytes().splitlines())
def test_wallex_sample_records_become_messages_that_decode(line: bytes) -> None:
    for event in parse(line):
        if isinstance(event, Trade):
            message_format.decode_trade(message_format.encode_trade(event, "0" * 32))
        elif isinstance(event, DepthSnapshot):
            message_format.decode_depth(message_format.encode_depth(event))


@pytest.mark.parametrize(
    ("token", "amount"),
    [
        ('"705.0000000000000000"', "705"),
        ("705.0000000000000000", "705"),
        ("0.1234567890123456", "0.1234567890123456"),
        ('"0.0000010000000000"', "0.000001"),
        ("1e-7", "0.0000001"),
        ("12345678901234567890", "12345678901234567890"),
    ],
)
def test_wallex_trade_amount_as_string_or_number_stays_exact(token: str, amount: str) -> None:
    assert trade(quantity=token).base_amount == amount
    assert trade(price=token).price == amount


@given(st.decimals(min_value="1e-16", max_value="1e15", places=16))
def test_wallex_trade_amount_with_sixteen_places_equals_its_decimal(value: Decimal) -> None:
    text = format(value, "f")
    for token in (text, f'"{text}"'):
        assert Decimal(trade(price=token).price) == value


@pytest.mark.parametrize(
    "token",
    ["-1", '"0"', "0.000", '"NaN"', '"Infinity"', '"1e1000000"', '"۱۲"', '"1_000"', '""', '" 1"',
     "null", "true", "[]", "{}", '"1.0000000000000000001"', '"123456789012345678901"',
     '"\\u0031"'],
)  # fmt: skip
def test_wallex_trade_with_an_amount_that_is_none_is_invalid(token: str) -> None:
    with pytest.raises(InvalidFrame):
        trade(quantity=token)
    with pytest.raises(InvalidFrame):
        trade(price=token)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2022-06-26T11:14:09Z", datetime(2022, 6, 26, 11, 14, 9, tzinfo=UTC)),
        ("2022-06-26T11:14:09.123Z", datetime(2022, 6, 26, 11, 14, 9, 123_000, tzinfo=UTC)),
        ("2022-06-26T11:14:09.123999Z", datetime(2022, 6, 26, 11, 14, 9, 123_000, tzinfo=UTC)),
        ("2022-06-26T14:44:09+03:30", datetime(2022, 6, 26, 11, 14, 9, tzinfo=UTC)),
    ],
)
def test_wallex_trade_time_in_any_rfc_3339_form_is_read_exactly(text: str, time: datetime) -> None:
    assert trade(timestamp=text).event_time_ms == int(time.timestamp() * 1000)


@pytest.mark.parametrize(
    "text",
    ["", "now", "2022-06-26T11:14:09", "2022-13-26T11:14:09Z", "2022-06-26", "1656242049",
     "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z",
     "2099-01-01T00:00:00Z", "2022-06-27T11:24:10Z", "2014-12-31T23:59:59Z"],
)  # fmt: skip
def test_wallex_trade_with_a_time_that_is_none_is_invalid(text: str) -> None:
    with pytest.raises(InvalidFrame):
        trade(timestamp=text)


def test_wallex_trade_of_a_product_that_no_column_holds_is_invalid() -> None:
    with pytest.raises(InvalidFrame):
        trade(price='"99999999999999999000"', quantity='"99999"')


def test_wallex_session_of_any_length_and_content_is_short_and_printable() -> None:
    (hello,) = parse(b'{"sid":"\xc2\x9b31m' + b"a" * 100_000 + b'"}')
    assert isinstance(hello, Hello)
    assert hello.session.isprintable()
    assert len(hello.session) <= 201


def test_wallex_trade_side_is_the_takers() -> None:
    assert trade(is_buy="true").side is TradeSide.BUY
    assert trade(is_buy="false").side is TradeSide.SELL
    with pytest.raises(InvalidFrame):
        trade(is_buy='"yes"')


def test_wallex_depth_numbers_as_strings_are_accepted() -> None:
    snapshot = depth('[{"price":"62525.04","quantity":"0.000451"}]')
    assert (snapshot.prices, snapshot.quantities) == ((62525.04,), (0.000451,))


def test_wallex_depth_level_without_quantity_is_left_out() -> None:
    snapshot = depth('[{"price":3,"quantity":0},{"price":2,"quantity":1},{"price":1,"quantity":0}]')
    assert (snapshot.prices, snapshot.quantities) == ((2.0,), (1.0,))


def test_wallex_depth_levels_of_one_price_all_stay() -> None:
    levels = '[{"price":2,"quantity":1},{"price":3,"quantity":2},{"price":2,"quantity":3}]'
    assert depth(levels).quantities == (2, 1, 3)
    assert depth(levels, "BTCUSDT@sellDepth").quantities == (1, 3, 2)


def test_wallex_depth_empty_side_is_a_snapshot() -> None:
    assert depth("[]").prices == ()


@pytest.mark.parametrize(
    "level",
    [
        '{"price":-1,"quantity":1}',
        '{"price":0,"quantity":1}',
        '{"price":1,"quantity":-1}',
        '{"price":"NaN","quantity":1}',
        '{"price":1,"quantity":"nan"}',
        '{"price":"inf","quantity":1}',
        '{"price":1e999,"quantity":1}',
        '{"price":null,"quantity":1}',
        '{"price":true,"quantity":1}',
        '{"price":1}',
        "[1,1]",
    ],
)
def test_wallex_depth_with_a_level_that_is_none_is_invalid(level: str) -> None:
    with pytest.raises(InvalidFrame):
        depth(f'[{{"price":1,"quantity":1}},{level}]')


def test_wallex_depth_with_more_levels_than_a_message_holds_is_invalid() -> None:
    level = '{"price":1,"quantity":1}'
    assert (
        len(depth(f"[{','.join([level] * message_format.MAX_LEVELS)}]").prices)
        == message_format.MAX_LEVELS
    )
    with pytest.raises(InvalidFrame):
        depth(f"[{','.join([level] * (message_format.MAX_LEVELS + 1))}]")


@given(st.lists(st.tuples(st.floats(1e-9, 1e12), st.floats(0, 1e12)), max_size=60), st.booleans())
def test_wallex_depth_any_order_of_levels_becomes_a_message_that_decodes(
    levels: list[tuple[float, float]], is_bid: bool
) -> None:
    data = msgspec.json.encode([{"price": price, "quantity": size} for price, size in levels])
    snapshot = depth(data.decode(), "BTCUSDT@buyDepth" if is_bid else "BTCUSDT@sellDepth")
    row = message_format.decode_depth(message_format.encode_depth(snapshot))
    kept = zip(row.prices, row.quantities, strict=True)
    assert sorted(kept) == sorted(level for level in levels if level[1])


@pytest.mark.parametrize(
    "frame",
    ['["all@price",{"symbol":"BTCUSDT","price":"1","24h_ch":0.1}]', '["news",null]', '["@",1]'],
)
def test_wallex_frame_of_another_channel_says_nothing(frame: str) -> None:
    assert parse(frame) == ()


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "42",
        "null",
        '"text"',
        "{}",
        "[]",
        "[1,2]",
        '["USDTTMN@trade"]',
        '["NOSUCHCOIN@trade",{"isBuyOrder":true}]',
        '["NOSUCHCOIN@buyDepth",[]]',
        '["USDTTMN@trade",{"price":"1.0"}]',
        '["USDTTMN@trade",{"isBuyOrder":tru',
        '{"error":"no such channel"}',
        '{"ping":"' + "x" * 300 + '"}',
        "[" * 100_000 + "]" * 100_000,
        '{"ping":' * 100_000,
        b"\x00\xff\xfe\x01binary",
        b'["USDTTMN@trade\xff",{}]',
        b'{"ping":"\xff"}',
    ],
)
def test_wallex_frame_that_is_not_documented_is_invalid(frame: str | bytes) -> None:
    with pytest.raises(InvalidFrame):
        parse(frame)


def test_wallex_frame_with_white_space_is_understood() -> None:
    assert parse(' { "ping" : 7 } ') == (Send('{"pong":7}', is_pong=True),)
    assert parse(' [ "BTCUSDT@buyDepth" , [ ] ] ')


_PIECES = st.sampled_from([b'["USDTTMN@trade",', b'["BTCUSDT@buyDepth",', b'{"ping":', b'{"sid":'])


@given(
    st.one_of(
        st.binary(),
        st.builds(bytes.__add__, _PIECES, st.binary()),
        st.builds(lambda line, at, junk: line[:at] + junk + line[at + 1 :],
                  st.sampled_from(SAMPLES.read_bytes().splitlines()),
                  st.integers(0, 300), st.binary(max_size=3)),
    )
)  # fmt: skip
def test_wallex_parser_given_any_bytes_raises_nothing_but_invalid_frame(frame: bytes) -> None:
    try:
        events = parse(frame)
    except InvalidFrame:
        return
    for event in events:
        if isinstance(event, Send):
            msgspec.json.decode(event.text)


def test_wallex_subscriptions_name_every_channel_of_the_dataset() -> None:
    market = MARKETS["USDTTMN"]
    subscribed = Subscribed(("USDTTMN",))
    trades = EXCHANGE.stream(datasets.TRADES, [market], whole_books=True)
    assert list(trades.opened()) == [
        Send('["subscribe",{"channel":"USDTTMN@trade"}]'),
        subscribed,
    ]
    books = EXCHANGE.stream(datasets.DEPTH, [market], whole_books=True)
    assert list(books.opened()) == [
        Send('["subscribe",{"channel":"USDTTMN@buyDepth"}]'),
        Send('["subscribe",{"channel":"USDTTMN@sellDepth"}]'),
        subscribed,
    ]
