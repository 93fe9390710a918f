"""The simulated exchange's words: the same shapes as the exchange's documentation and captures."""

import json
import re
from decimal import Decimal
from typing import Any

import pytest

from radar_simulator import wire
from radar_simulator.listings import listings
from radar_simulator.market import LEVELS, MarketModel, Side, SimulatedMarket, SimulatedTrade

NOW_S = 1_656_242_049.5  # 2022-06-26T11:14:09Z, the documentation's own sample


@pytest.fixture
def model() -> MarketModel:
    return MarketModel(seed=1, symbols=20, trades_per_s=0, depth_per_s=0, twin_share=0)


@pytest.fixture
def market(model: MarketModel) -> SimulatedMarket:
    list(model.trade(NOW_S, 250, "BTCUSDT"))
    return model.markets["BTCUSDT"]


def _exact(text: str | bytes) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


@pytest.mark.parametrize(
    ("units", "decimals", "text"),
    [
        (6252504, 2, "62525.04"),
        (6220000, 2, "62200"),
        (62530, 1, "6253"),
        (451, 6, "0.000451"),
        (82131, 0, "82131"),
        (100, 0, "100"),
        (5, 12, "0.000000000005"),
    ],
)
def test_number_is_written_as_captured(units: int, decimals: int, text: str) -> None:
    assert wire.number(units, decimals) == text


@pytest.mark.parametrize(
    ("units", "decimals", "text"),
    [
        (705, 0, "705.0000000000000000"),
        (3170400, 2, "31704.0000000000000000"),
        (1, 6, "0.0000010000000000"),
        (1, 16, "0.0000000000000001"),
    ],
)
def test_decimal_has_sixteen_decimals(units: int, decimals: int, text: str) -> None:
    assert wire.decimal(units, decimals) == text


def test_trade_frame_of_the_documented_sample_is_the_documented_frame() -> None:
    listing = listings(1)[0]
    trade = SimulatedTrade(1, listing, int(NOW_S), 31704, 70500, is_buy=False)
    assert wire.trade_frame(trade) == (
        '["USDTTMN@trade",{"isBuyOrder":false,"quantity":"705.0000000000000000",'
        '"price":"31704.0000000000000000","timestamp":"2022-06-26T11:14:09Z"}]'
    )


@pytest.mark.parametrize("side", list(Side))
def test_depth_frame_is_fifty_levels_best_first_with_exact_sums(
    model: MarketModel, side: Side
) -> None:
    for symbol, market in model.markets.items():
        for _ in range(20):
            market.stir(side)
            channel, levels = _exact(wire.depth_frame(market, side))
            assert channel == f"{symbol}@{side.value}"
            prices = [level["price"] for level in levels]
            assert len(prices) == LEVELS
            assert prices == sorted(set(prices), reverse=side is Side.BID)
            assert all(level["sum"] == level["price"] * level["quantity"] for level in levels)


def test_framed_lengths_get_the_header_of_rfc_6455() -> None:
    assert wire.framed("hi") == b"\x81\x02hi"
    assert wire.framed(b"hi") == b"\x82\x02hi"
    assert wire.framed("x" * 126)[:4] == b"\x81\x7e\x00\x7e"
    assert wire.framed("x" * 65_535)[:4] == b"\x81\x7e\xff\xff"
    assert wire.framed("x" * 65_536)[:10] == b"\x81\x7f" + (65_536).to_bytes(8, "big")
    assert wire.framed("بیت")[:2] == b"\x81\x06"


def test_hello_and_ping_have_the_known_keys() -> None:
    assert json.loads(wire.hello_frame("a", 20.0)) == {"sid": "a", "pingInterval": 20000}
    assert json.loads(wire.ping_frame("b")) == {"ping": "b"}


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ('["subscribe",{"channel":"USDTTMN@trade"}]', ("subscribe", "USDTTMN@trade")),
        (b'["unsubscribe",{"channel":"all@price"}]', ("unsubscribe", "all@price")),
        ('["subscribe",{"channel":5}]', None),
        ('["subscribe"]', None),
        ('{"pong":"x"}', None),
        ("[", None),
        (b"\xff", None),
    ],
)
def test_subscription_is_read_or_refused(
    message: str | bytes, wanted: tuple[str, str] | None
) -> None:
    assert wire.subscription(message) == wanted


@pytest.mark.parametrize(
    ("message", "wanted"), [('{"pong":"x"}', "x"), ('{"pong":1}', None), ("[]", None), ("{", None)]
)
def test_pong_is_read_or_refused(message: str, wanted: str | None) -> None:
    assert wire.pong_id(message) == wanted


def test_markets_body_has_the_documented_keys(model: MarketModel) -> None:
    body = json.loads(wire.markets_body(model.markets.values()))
    assert body["success"] is True
    markets = {market["symbol"]: market for market in body["result"]["markets"]}
    assert len(markets) == 22
    assert [symbol for symbol, market in markets.items() if not market["is_spot"]] == [
        "GOLD18TMN",
        "SILVERTMN",
    ]
    bitcoin = markets["BTCUSDT"]
    assert (bitcoin["base_asset"], bitcoin["quote_asset"]) == ("BTC", "USDT")
    assert bitcoin["fa_base_asset"] == "بیت کوین"
    assert bitcoin["price_precision"] == 2
    assert bitcoin["is_usdt_based"] is True
    assert bitcoin["is_tmn_based"] is False
    assert isinstance(bitcoin["price"], str)
    assert isinstance(bitcoin["change_24h"], float)


def test_trades_body_is_the_newest_two_hundred_newest_first(market: SimulatedMarket) -> None:
    latest = json.loads(wire.trades_body(market))["result"]["latestTrades"]
    assert len(latest) == 200
    for sent, trade in zip(latest, reversed(market.recent), strict=True):
        assert sent["symbol"] == "BTCUSDT"
        assert sent["price"] == wire.trade_price(trade)
        assert sent["quantity"] == wire.trade_quantity(trade)
        assert sent["isBuyOrder"] is trade.is_buy
        assert sent["timestamp"] == "2022-06-26T11:14:09Z"
        assert Decimal(sent["sum"]) == Decimal(sent["price"]) * Decimal(sent["quantity"])
        assert re.fullmatch(r"\d+\.\d{16}", sent["sum"])


def test_depth_body_has_numbers_and_a_sum_as_string(market: SimulatedMarket) -> None:
    result = _exact(wire.depth_body(market))["result"]
    assert result["bid"][0]["price"] < result["ask"][0]["price"]
    for level in (*result["bid"], *result["ask"]):
        assert isinstance(level["price"], Decimal)
        assert isinstance(level["sum"], str)
        assert Decimal(level["sum"]) == level["price"] * level["quantity"]


def test_history_body_groups_trades_into_candles(model: MarketModel) -> None:
    minute = 1_790_000_040  # a whole minute, and not a whole hour
    for at in (minute, minute + 60, minute + 60):
        list(model.trade(at, 5, "USDTTMN"))
    market = model.markets["USDTTMN"]
    trades = list(market.recent)

    by_minute = json.loads(wire.history_body(market, "1", 0, 2**40))
    assert by_minute["s"] == "ok"
    assert by_minute["t"] == [minute, minute + 60]
    assert by_minute["o"] == [wire.trade_price(trades[0]), wire.trade_price(trades[5])]
    assert by_minute["c"] == [wire.trade_price(trades[4]), wire.trade_price(trades[14])]

    by_day = json.loads(wire.history_body(market, "D", 0, 2**40))
    volume = sum(Decimal(wire.trade_quantity(trade)) for trade in trades)
    assert [Decimal(text) for text in by_day["v"]] == [volume]
    assert json.loads(wire.history_body(market, "60", 0, 100))["s"] == "no_data"
    with pytest.raises(KeyError):
        wire.history_body(market, "7", 0, 100)


def test_price_frame_tells_the_newest_price(market: SimulatedMarket) -> None:
    channel, body = json.loads(wire.price_frame(market))
    assert channel == "all@price"
    assert body["symbol"] == "BTCUSDT"
    assert body["price"] == wire.trade_price(market.recent[-1])
