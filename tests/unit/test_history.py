"""Searches for the first trade of a time, and candles, with made-up answers in documented forms."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from radar import exchanges
from radar.cli.backfill import period_of
from radar.codec import message_format
from radar.errors import ExchangeUnavailable, InvalidMessage, InvalidPeriod, InvalidRequest
from radar.exchanges.base import Candles, Exchange, TradeSearch
from radar.exchanges.common.candles import candle_amount, read_candles
from radar.producer.history import Period, check_offer, trade_message
from radar.producer.trade_ids import content_of, trade_id
from radar.records import ExchangeCandle, Market

NOW_US = 1_790_500_100_000_000
BEGIN_S = 1_790_000_000
# One trade a minute, three of one time each; numbers begin at 5 and lack some.
NUMBERS = [n for n in range(5, 12_000) if n % 977]
MARKETS = {
    "binance": Market("BTCUSDT", "BTC", "USDT"),
    "coinbase": Market("BTC-USD", "BTC", "USD"),
    "kraken": Market("BTC/USD", "BTC", "USD", "XXBTZUSD"),
    "okx": Market("BTC-USDT", "BTC", "USDT"),
}
TOMAN = Market("BTCIRT", "BTC", "TMN")


def second(number: int) -> int:
    return BEGIN_S + number // 3 * 60


def query(path: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}


def binance(path: str) -> Any:
    asked = query(path)
    limit = int(asked["limit"])
    first = int(asked["fromId"]) if "fromId" in asked else 0
    chosen = [n for n in NUMBERS if n >= first][:limit] if first else NUMBERS[-limit:]
    return [
        {"id": n, "price": "1.5", "qty": "2", "quoteQty": "3", "time": second(n) * 1_000_000,
         "isBuyerMaker": True, "isBestMatch": True}
        for n in chosen
    ]  # fmt: skip


def coinbase(path: str) -> Any:
    asked = query(path)
    below = int(asked.get("after", 1 << 60))
    chosen = [n for n in NUMBERS if n < below][-int(asked["limit"]) :]
    return [
        {"trade_id": n, "price": "1.5", "size": "2", "side": "buy",
         "time": f"{datetime.fromtimestamp(second(n), UTC):%Y-%m-%dT%H:%M:%S.000000Z}"}
        for n in reversed(chosen)
    ]  # fmt: skip


def kraken(path: str) -> Any:
    asked = query(path)
    count = int(asked["count"])
    since_ns = int(asked.get("since", 0))
    chosen = [n for n in NUMBERS if second(n) * 10**9 > since_ns]
    chosen = chosen[:count] if "since" in asked else NUMBERS[-count:]
    rows = [["1.5", "2", second(n), "b", "l", "", n] for n in chosen]
    last = second(chosen[-1]) * 10**9 if chosen else since_ns
    return {"error": [], "result": {"XXBTZUSD": rows, "last": str(last)}}


def okx(path: str) -> Any:
    asked = query(path)
    assert asked["type"] == "2"
    chosen = [n for n in NUMBERS if second(n) * 1000 < int(asked["after"])]
    rows = [
        {"instId": "BTC-USDT", "side": "buy", "sz": "2", "px": "1.5", "tradeId": str(n),
         "ts": str(second(n) * 1000)}
        for n in reversed(chosen[-int(asked["limit"]) :])
    ]  # fmt: skip
    return {"code": "0", "msg": "", "data": rows}


ANSWERS: dict[str, Callable[[str], Any]] = {
    "binance": binance,
    "coinbase": coinbase,
    "kraken": kraken,
    "okx": okx,
}


def searched(name: str, at_s: int) -> tuple[TradeSearch, int]:
    """Search for a time; return the search, and how many requests it took."""
    search = exchanges.load(name).find_trade(MARKETS[name], at_s * 1_000_000)
    for requests in range(200):
        if search.found is not None:
            return search, requests
        search.take(json.dumps(ANSWERS[name](search.path)).encode(), NOW_US)
    pytest.fail(f"not found: {search.path}")


@pytest.mark.parametrize("name", MARKETS)
@pytest.mark.parametrize("number", [6, 7, 8, 300, 976, 977, 978, 1_000, 8_888, 11_998, 11_999])
def test_first_trade_of_a_time_is_found(name: str, number: int) -> None:
    for at_s in (second(number), second(number) + 1, second(number) - 59):
        search, requests = searched(name, at_s)
        found = search.found
        assert found is not None
        # Numbers that no trade has may be counted to either side.
        wanted = [n for n in NUMBERS if second(n) >= at_s]
        assert [n for n in NUMBERS if n >= found] == wanted
        assert requests <= (2 if name in ("kraken", "okx") else 30)


@pytest.mark.parametrize("name", MARKETS)
def test_time_after_the_newest_trade_has_the_next_number(name: str) -> None:
    assert searched(name, second(NUMBERS[-1]) + 1)[0].found == NUMBERS[-1] + 1


@pytest.mark.parametrize("name", MARKETS)
def test_time_before_the_oldest_trade_has_its_number_or_1(name: str) -> None:
    assert searched(name, BEGIN_S - 10_000)[0].found in (1, NUMBERS[0])


@pytest.mark.parametrize("name", ["binance", "coinbase"])
def test_market_without_a_trade_begins_at_1(name: str) -> None:
    search = exchanges.load(name).find_trade(MARKETS[name], NOW_US)
    search.take(b"[]", NOW_US)
    assert search.found == 1


@pytest.mark.parametrize("name", MARKETS)
def test_refused_search_says_so_and_goes_on(name: str) -> None:
    search = exchanges.load(name).find_trade(MARKETS[name], NOW_US)
    path = search.path
    with pytest.raises(ExchangeUnavailable):
        search.take(b'{"code":"50011","msg":"Too Many Requests","data":[],"error":["E"]}', NOW_US)
    assert (search.path, search.found) == (path, None)


def test_search_among_billions_of_numbers_needs_few_requests() -> None:
    newest, step_us = 6_000_000_000, 700

    def page(path: str) -> bytes:
        asked = query(path)
        first = int(asked.get("fromId", newest - 999))
        return json.dumps(
            [
                {"id": n, "price": "1", "qty": "1", "time": 1_500_000_000_000_000 + n * step_us,
                 "isBuyerMaker": False}
                for n in range(first, min(newest + 1, first + 1000))
            ]
        ).encode()  # fmt: skip

    wanted = 4_123_456_789
    search = exchanges.load("binance").find_trade(
        MARKETS["binance"], 1_500_000_000_000_000 + wanted * step_us
    )
    requests = 0
    while search.found is None:
        search.take(page(search.path), NOW_US)
        requests += 1
    assert (search.found, requests <= 6) == (wanted, True)


# Candles


def parsed(name: str, market: Market, interval: str, body: object) -> Candles:
    return read(name, market, interval, msgspec.json.encode(body))


def read(name: str, market: Market, interval: str, body: bytes) -> Candles:
    exchange, resolution = offer(name, interval)
    assert exchange.candle_history is not None
    rows, day_zone = exchange.candle_rows(body, market), exchange.candle_history.day_zone
    return read_candles(rows, name, market, resolution, day_zone, NOW_US)


def offer(name: str, interval: str) -> tuple[Exchange, Any]:
    exchange = exchanges.load(name)
    assert exchange.candle_history is not None
    return exchange, exchange.candle_history.resolutions[interval]


def amounts(candle: ExchangeCandle) -> tuple[str, ...]:
    return candle.open, candle.high, candle.low, candle.close, candle.volume


def test_candles_of_wallex_are_in_toman_as_sent() -> None:
    body = {
        "s": "ok", "t": [1733425200, 1733428800],
        "o": ["7286137604.0000000000000000", "7286137605.0000000000000000"],
        "h": ["7296137604.5000000000000000", "7286137605.0000000000000000"],
        "l": ["7276137604.0000000000000000", "7286137605.0000000000000000"],
        "c": ["7286137605.0000000000000000", "7286137605.0000000000000000"],
        "v": ["0.2544820000000000", "0"],
    }  # fmt: skip
    first, second_ = parsed("wallex", TOMAN, "1h", body).candles
    assert amounts(first) == ("7286137604", "7296137604.5", "7276137604", "7286137605", "0.254482")
    assert first.opened_at_us == 1_733_425_200_000_000
    assert (first.interval_s, first.resolution, first.time_zone) == (3600, "60", "")
    assert second_.volume == "0"


def test_candles_of_nobitex_are_in_toman_although_its_trades_are_in_rial() -> None:
    body = (
        b'{"s":"ok","t":[1733430600],"o":[22100000132.0],"h":[22200000000.0],"l":[22000000000],'
        b'"c":[22174000001.0],"v":[1.26e-5]}'
    )
    (candle,) = read("nobitex", TOMAN, "1d", body).candles
    assert amounts(candle) == (
        "22100000132", "22200000000", "22000000000", "22174000001", "0.0000126",
    )  # fmt: skip
    # Midnight in Tehran, exactly as served.
    assert datetime.fromtimestamp(candle.opened_at_us / 1e6, UTC).isoformat() == (
        "2024-12-05T20:30:00+00:00"
    )
    assert (candle.interval_s, candle.resolution, candle.time_zone) == (86400, "D", "Asia/Tehran")


@pytest.mark.parametrize("name", ["wallex", "nobitex"])
def test_udf_without_data_is_empty_and_an_error_is_reported(name: str) -> None:
    assert parsed(name, TOMAN, "1h", {"s": "no_data"}) == Candles([], 0)
    with pytest.raises(ExchangeUnavailable, match="Invalid resolution!"):
        parsed(name, TOMAN, "1h", {"s": "error", "errmsg": "Invalid resolution!"})
    with pytest.raises(ExchangeUnavailable, match="malformed"):
        parsed(name, TOMAN, "1h", {"s": "ok", "t": [1, 2], "o": ["1"]})


def test_malformed_candle_does_not_harm_the_others() -> None:
    body = {
        "s": "ok", "t": [1733425200, 1733428800], "o": ["x", "2"], "h": ["1", "2"],
        "l": ["1", "2"], "c": ["1", "2"], "v": ["1", "1"],
    }  # fmt: skip
    found = parsed("wallex", TOMAN, "1h", body)
    assert ([each.open for each in found.candles], found.invalid) == (["2"], 1)


def test_candles_of_binance_are_read_in_either_unit_of_time() -> None:
    row = ["0.01634790", "0.80000000", "0.01575800", "0.01577100", "148976.11427815"]
    rest = [1499644799999, "2434.19055334", 308, "1756.87402397", "28.46694368", "0"]
    for time in (1_499_040_000_000, 1_499_040_000_000_000):
        (candle,) = parsed("binance", MARKETS["binance"], "1d", [[time, *row, *rest]]).candles
        assert amounts(candle) == ("0.0163479", "0.8", "0.015758", "0.015771", "148976.11427815")
        assert (candle.opened_at_us, candle.time_zone) == (1_499_040_000_000_000, "UTC")


def test_candles_of_kraken_skip_the_average_price() -> None:
    row = [1688671200, "30306.1", "30306.2", "30305.7", "30305.9", "30306.0", "3.39243896", 23]
    body = {"error": [], "result": {"XXBTZUSD": [row], "last": 1688672160}}
    (candle,) = parsed("kraken", MARKETS["kraken"], "1m", body).candles
    assert amounts(candle) == ("30306.1", "30306.2", "30305.7", "30305.9", "3.39243896")


def test_candles_of_okx_are_oldest_first_and_days_are_those_of_utc() -> None:
    rows = [
        ["1597026540000", "3.8", "3.9", "3.7", "3.8", "1", "2", "3", "0"],
        ["1597026480000", "3.721", "3.743", "3.677", "3.708", "8422410", "2", "3", "1"],
    ]
    found = parsed("okx", MARKETS["okx"], "1m", {"code": "0", "msg": "", "data": rows}).candles
    assert [each.open for each in found] == ["3.721", "3.8"]
    assert offer("okx", "1d")[1].code == "1Dutc"


def test_candles_of_coinbase_have_their_low_before_their_high() -> None:
    body = [[1415398768, 0.32, 4.2, 0.35, 4.1, 12.3], ["x", 1, 1, 1, 1, 1]]
    found = parsed("coinbase", MARKETS["coinbase"], "1m", body)
    assert (amounts(found.candles[0]), found.invalid) == (("0.35", "4.2", "0.32", "4.1", "12.3"), 1)
    exchange, resolution = offer("coinbase", "1m")
    path = exchange.candles_path(
        MARKETS["coinbase"], resolution, 1_790_000_000_000_000, 1_790_000_060_000_000
    )
    assert query(path) == {
        "granularity": "60", "start": "2026-09-21T14:13:20Z", "end": "2026-09-21T14:14:19Z",
    }  # fmt: skip
    with pytest.raises(ExchangeUnavailable, match="malformed"):
        parsed("coinbase", MARKETS["coinbase"], "1m", {"message": "NotFound"})


@pytest.mark.parametrize("name", ["binance", "kraken", "nobitex", "okx", "wallex"])
def test_path_of_candles_covers_the_window_without_its_end(name: str) -> None:
    exchange, resolution = offer(name, "1h")
    market = MARKETS.get(name, TOMAN)
    begin_us, end_us = 1_790_000_000_500_000, 1_790_360_000_000_000
    asked = query(exchange.candles_path(market, resolution, begin_us, end_us))
    first, last = {
        "binance": ("startTime", "endTime"),
        "kraken": ("since", ""),
        "okx": ("", "after"),
    }.get(name, ("from", "to"))
    unit = 1000 if name in ("binance", "okx") else 1_000_000
    if first:
        # Kraken excludes the time itself.
        assert int(asked[first]) == -(-begin_us // unit) - (name == "kraken")
    if last:
        assert int(asked[last]) == end_us // unit - (name != "okx")


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        (b"1.26e-5", "0.0000126"),
        (b"0.30000000000000004", "0.30000000000000004"),
        (b'"1.087160998021016446803192218"', "1.087160998021016446"),
        (b"1e-30", "0"),
        (b"0.0", "0"),
    ],
)
def test_amount_of_a_candle_is_cut_after_the_18th_place(literal: bytes, text: str) -> None:
    assert candle_amount(msgspec.Raw(literal)) == text


@pytest.mark.parametrize("literal", [b'"NaN"', b"-1", b'"1_0"', b'""', b"null", b"1e99"])
def test_amount_of_a_candle_that_is_none_is_refused(literal: bytes) -> None:
    with pytest.raises(ValueError, match=r"decimal|fit"):
        candle_amount(msgspec.Raw(literal))


def candle(**changes: Any) -> ExchangeCandle:
    plain = ExchangeCandle(
        "wallex", "BTCTMN", "BTC", "TMN", 60, "1", "", NOW_US - 60_000_000,
        "10", "12", "9", "11", "3", NOW_US,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def test_finished_candle_becomes_a_message_and_back() -> None:
    value = message_format.encode_candle(candle())
    read = message_format.MessageDecoder(message_format.CandleMessage)(value)
    assert (read.opened_at_us, read.high, read.time_zone) == (NOW_US - 60_000_000, "12", "")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"opened_at_us": NOW_US - 59_000_000}, "time"),
        ({"opened_at_us": 5}, "time"),
        ({"low": "0"}, "amount"),
        ({"open": "13"}, "amount"),
        ({"close": "8.9"}, "amount"),
        ({"symbol": "BTC TMN"}, "schema"),
    ],
)
def test_candle_that_is_unfinished_or_contradicts_itself_is_refused(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidMessage) as refused:
        message_format.encode_candle(candle(**changes))
    assert refused.value.reason == reason


# The command


def test_fetched_trade_has_the_id_of_the_recorded_one() -> None:
    driver = exchanges.load("binance")
    body = json.dumps(binance("/api/v3/trades?limit=1")).encode()
    (trade,) = driver.parse_recent_trades(body, MARKETS["binance"], NOW_US).trades
    _, value = trade_message(trade)
    live = msgspec.structs.replace(trade, received_at_us=NOW_US - 5_000_000)
    assert msgspec.json.decode(value)["trade_id"] == trade_id(content_of(live), 1)


def test_period_is_divided_at_midnight_of_utc() -> None:
    day_us = 86_400_000_000
    begin_us = 20_000 * day_us
    parts = list(Period(begin_us + 5, begin_us + 2 * day_us).days())
    assert parts == [
        Period(begin_us + 5, begin_us + day_us),
        Period(begin_us + day_us, begin_us + 2 * day_us),
    ]
    assert list(Period(begin_us, begin_us).days()) == []


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        ("2026-07-02", "2026-07-01", "is not after --from"),
        ("2026-07-02", "2026-07-02", "is not after --from"),
        ("2027-01-01", "", "--from 2027-01-01T00:00:00Z is in the future"),
        ("2026-07-01", "2027-01-01", "--to 2027-01-01T00:00:00Z is in the future"),
        ("2014-01-01", "2016-01-01", "must be 2015-01-01T00:00:00Z or later"),
    ],
)
def test_impossible_period_is_refused(first: str, last: str, words: str) -> None:
    with pytest.raises(InvalidPeriod, match=words):
        period_of(first, last, datetime(2026, 8, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("name", "interval", "words"),
    [
        ("wallex", None, "wallex serves no past trades: it serves candles of 1m, 5m"),
        ("exir", None, "exir serves no past trades: it serves no history"),
        (
            "coinbase",
            "2h",
            r"coinbase serves no candles of 2h: it serves trades \(all\) and candles",
        ),
        ("okx", "2h", r"serves no candles of 2h: it serves trades \(the last 3 months\) and"),
    ],
)
def test_history_that_an_exchange_does_not_serve_is_refused(
    name: str, interval: str | None, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        check_offer(exchanges.load(name), interval)


def test_every_history_has_its_requests() -> None:
    for name in exchanges.names():
        driver = exchanges.load(name)
        market = Market("BTCUSDT", "BTC", "USDT", "CODE")
        if driver.trade_history:
            assert driver.proves_trades
            assert driver.find_trade(market, NOW_US).path.startswith("/")
        if (offered := driver.candle_history) is not None:
            for resolution in offered.resolutions.values():
                path = driver.candles_path(market, resolution, NOW_US - 10**9, NOW_US)
                assert path.startswith("/")
