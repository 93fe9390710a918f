"""The Wallex parsers on REST answers."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar.errors import ConfigurationError, ExchangeUnavailable
from radar.exchanges import load, names
from radar.exchanges.base import MarketList
from radar.exchanges.wallex import EXCHANGE
from radar.producer.markets import chosen, storable
from radar.records import Market

BTCUSDT = Market("BTCUSDT", "BTC", "USDT")
NOW_US = 1_655_466_800_000_000
# The documentation's samples, the second market and the second trade added.
MARKETS = """{"success":true,"message":"ok","result":{"markets":[
  {"symbol":"BTCTMN","base_asset":"BTC","quote_asset":"TMN","fa_base_asset":"بیت کوین",
   "price":"7286137604","change_24h":0.1,"volume_24h":"0.1","is_spot":true,"is_otc":true,
   "amount_precision":"6","price_precision":0,"created_at":"…","flags":[]},
  {"symbol":"GOLD18","base_asset":"GOLD","quote_asset":"TMN","is_spot":false}]}}""".encode()
TRADES = b"""{"success":true,"result":{"latestTrades":[
  {"symbol":"BTCUSDT","quantity":"0.0000020000000000","price":21100.5,
   "sum":"0.0211000000000000","isBuyOrder":false,"timestamp":"2022-06-17T11:53:03Z"},
  {"symbol":"BTCUSDT","quantity":"0.0000010000000000","price":"21100.0000000000000000",
   "sum":"0.0211000000000000","isBuyOrder":true,"timestamp":"2022-06-17T11:53:02Z"}]}}"""


def test_wallex_market_list_gives_the_spot_markets() -> None:
    assert EXCHANGE.parse_markets(MARKETS).markets == [Market("BTCTMN", "BTC", "TMN")]
    assert EXCHANGE.parse_markets(MARKETS).malformed == []


def entry(**changes: object) -> dict[str, object]:
    good = {"symbol": "NEWTMN", "base_asset": "NEW", "quote_asset": "TMN", "is_spot": True}
    return good | changes


@pytest.mark.parametrize(
    ("broken", "shown"),
    [
        (entry(base_asset=None), "NEWTMN"),
        (entry(symbol=None), "null"),
        (entry(symbol=7, base_asset={}), "7"),
        (entry(is_spot="perhaps"), "NEWTMN"),
        (entry(quote_asset=["TMN"]), "NEWTMN"),
        ({"symbol": "\x1b[31mTMN"}, r"\\u001b[31mTMN"),
        ({}, "an entry without a name"),
        (None, "an entry without a name"),
        ([], "an entry without a name"),
        ("NEWTMN", "an entry without a name"),
        (entry(symbol="تتر"), "تتر"),
        (entry(symbol=""), "an entry without a name"),
        (entry(symbol="x" * 5000), "x" * 40),
        (entry(symbol="A\nB"), r"A\nB"),
        (entry(symbol="BTCTMN", base_asset="OTHER"), "BTCTMN"),
    ],
    ids=repr,
)
def test_wallex_market_list_with_a_broken_entry_keeps_the_others(
    broken: object, shown: str
) -> None:
    good = entry(symbol="BTCTMN", base_asset="BTC")
    body = msgspec.json.encode({"result": {"markets": [good, broken, good]}})
    listed = storable(EXCHANGE.parse_markets(body))
    assert listed.markets == [Market("BTCTMN", "BTC", "TMN")]
    assert list(listed.malformed) == [shown]


def test_wallex_market_list_names_nothing_that_is_not_for_spot_trading() -> None:
    body = msgspec.json.encode({"result": {"markets": [entry(is_spot=False, base_asset=None)]}})
    assert EXCHANGE.parse_markets(body) == MarketList([], [])


def test_wallex_recent_trades_come_oldest_first_and_exact() -> None:
    recent = EXCHANGE.parse_recent_trades(TRADES, BTCUSDT, NOW_US)
    assert recent.invalid == 0
    assert [(each.price, each.base_amount, each.side) for each in recent.trades] == [
        ("21100", "0.000001", "buy"),
        ("21100.5", "0.000002", "sell"),
    ]
    # Trades of one second are sorted by the times of receipt.
    assert [each.received_at_us for each in recent.trades] == [NOW_US, NOW_US + 1]
    assert recent.trades[0].event_time_ms == 1_655_466_782_000


def test_wallex_recent_trades_with_a_bad_entry_keep_the_others() -> None:
    recent = EXCHANGE.parse_recent_trades(TRADES.replace(b"21100.5", b"-1"), BTCUSDT, NOW_US)
    assert (len(recent.trades), recent.invalid) == (1, 1)


@pytest.mark.parametrize("entries", [100_001, 2_000_000])
def test_wallex_recent_trades_of_endless_number_are_unavailable(entries: int) -> None:
    body = b'{"result":{"latestTrades":[' + b",".join([b"1"] * entries) + b"]}}"
    with pytest.raises(ExchangeUnavailable, match=r"length|too many"):
        EXCHANGE.parse_recent_trades(body, BTCUSDT, NOW_US)


@given(st.one_of(st.binary(), st.sampled_from([b'{"success":false,"result":[]}', b"[]", b"{}"])))
def test_wallex_rest_given_any_other_body_is_unavailable(body: bytes) -> None:
    with pytest.raises(ExchangeUnavailable):
        EXCHANGE.parse_markets(body)
    with pytest.raises(ExchangeUnavailable):
        EXCHANGE.parse_recent_trades(body, BTCUSDT, NOW_US)


def test_exchanges_are_found_by_name() -> None:
    assert {"binance", "kraken", "nobitex", "wallex"} <= set(names())
    assert not {"base", "common"} & set(names())
    assert load("wallex") is EXCHANGE
    with pytest.raises(ConfigurationError, match=r"unknown exchange 'base'; known: .*wallex"):
        load("base")


def test_wallex_symbols_that_do_not_exist_are_named_with_similar_ones() -> None:
    markets = [BTCUSDT, Market("BTCTMN", "BTC", "TMN"), Market("ETHTMN", "ETH", "TMN")]
    assert chosen(markets, []) == (markets, {})
    assert chosen(markets, ["ETHTMN", "BTCUSDT", "ETHTMN"]) == ([markets[2], BTCUSDT], {})
    known, unknown = chosen(markets, ["BTCTMN", "btcusd", "XYZ"])
    assert known == [markets[1]]
    assert unknown["btcusd"].startswith("not listed, similar: BTCUSDT")
    assert unknown["XYZ"] == "not listed"
