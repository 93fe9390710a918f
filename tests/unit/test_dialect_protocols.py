"""The simulated protocols as pure functions: hostile clients, books, names, and the ledger."""

import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radar import exchanges, records
from radar_simulator.dialects import NAMES, load
from radar_simulator.dialects.common.base import Dialect, Request, Session, Subscribe, Text, Topic
from radar_simulator.dialects.common.markets import Market, iso, list_markets, padded
from radar_simulator.market import MarketModel, Side, SimulatedMarket

pytestmark = pytest.mark.sources("src/radar_simulator")

NOW_US = 1_790_000_000_123_456
FIRST_ID = 90_000_000_000

WORDS = (
    "method", "SUBSCRIBE", "params", "id", "op", "args", "subscribe", "channel", "instId",
    "connect", "recover", "epoch", "offset", "symbol", "book", "trade", "depth", "req_id",
    "btcusdt@trade", "BTC/USD", "books", "BTC-USDT", "public:trades-BTCIRT", "trade:btc-irt",
)  # fmt: skip


def _dialect(name: str) -> Dialect:
    made = load(name)
    listed = list_markets(made.bases, made.quotes, made.spelling, made.price_places, 20)
    model = MarketModel(
        seed=1, symbols=1, trades_per_s=0, depth_per_s=0, twin_share=0, listed=listed
    )
    return made(
        [
            Market(number, each, FIRST_ID, NOW_US, rial=made.rial)
            for number, each in enumerate(model.markets.values(), start=1)
        ]
    )


def _session(dialect: Dialect, *, greeted: bool = True) -> Session:
    return Session(1, dialect.path, {}, NOW_US, 20, 30, greeted=greeted)


def _messages() -> st.SearchStrategy[str | bytes]:
    word = st.sampled_from(WORDS)
    leaf = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), word)
    tree = st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(st.one_of(word, st.text()), inner)
        ),
        max_leaves=12,
    )
    return st.one_of(tree.map(json.dumps), st.binary(max_size=50), st.text(max_size=50))


@pytest.mark.parametrize("name", NAMES)
@given(message=_messages(), greeted=st.booleans())
@settings(max_examples=60, deadline=None)
def test_dialects_survive_any_message(name: str, message: str | bytes, greeted: bool) -> None:
    dialect = _dialects[name]
    for action in dialect.received(_session(dialect, greeted=greeted), message, NOW_US):
        if isinstance(action, Text):
            assert "\n" not in action.payload


@pytest.mark.parametrize("name", NAMES)
@given(
    query=st.dictionaries(
        st.sampled_from(("symbol", "limit", "fromId", "pair", "since", "count", "instId", "after")),
        st.one_of(st.text(max_size=8), st.just("9" * 40), st.sampled_from(WORDS)),
    )
)
@settings(max_examples=40, deadline=None)
def test_dialects_answer_any_request_or_refuse_its_parameter(
    name: str, query: dict[str, str]
) -> None:
    dialect = _dialects[name]
    for path in (*_paths(name), "/", "//", "/nosuch/path"):
        request = Request(path, query, {}, NOW_US)
        try:
            given_answer = dialect.rest(request)
            cost = dialect.cost(request)
        except ValueError:
            continue  # the exchange answers 400
        assert 200 <= given_answer.status < 600
        assert 0 <= cost <= 6000


@pytest.mark.parametrize("name", NAMES)
def test_dialects_list_ten_to_twenty_markets_without_doubles(name: str) -> None:
    dialect = _dialect(name)
    symbols = list(dialect.markets)
    assert 10 <= len(symbols) <= 20
    assert len({symbol.upper() for symbol in symbols}) == len(symbols)
    assert all(market.listing.price > 0 for market in dialect.markets.values())


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("binance", "BTCUSDT"),
        ("kraken", "BTC/EUR"),
        ("okx", "ETH-USDT"),
        ("nobitex", "USDTIRT"),
        ("ramzinex", "USDTIRR"),
        ("bitpin", "BTC_IRT"),
        ("exir", "usdt-irt"),
        ("tabdeal", "ETHUSDT"),
    ],
)
def test_dialects_spell_markets_as_their_exchange_does(name: str, symbol: str) -> None:
    assert symbol in _dialect(name).markets


@pytest.mark.parametrize(("name", "symbol"), [("nobitex", "BTCIRT"), ("ramzinex", "BTCIRR")])
def test_dialects_in_rial_send_ten_times_the_price_in_toman(name: str, symbol: str) -> None:
    rial, toman = _dialect(name).markets[symbol], _dialect("bitpin").markets["BTC_IRT"]
    ticks = toman.book.bids[0][0]
    assert int(rial.price(ticks)) == 10 * int(toman.price(ticks))
    usdt = _dialect(name).markets["BTCUSDT"]
    assert Decimal(usdt.price(100)) == Decimal(1)


@pytest.mark.parametrize("seed", range(20))
def test_dialects_books_follow_the_model_by_their_updates(seed: int) -> None:
    """A client that joined anywhere, inside an update too, ends with the published book."""
    market = _dialect("binance").markets["BTCUSDT"]
    chance = Random(seed)
    clients: list[tuple[int, dict[int, int], dict[int, int]]] = []
    for _ in range(60):
        number, bids, asks = (
            market.book.inside()
            if chance.random() < 0.5
            else (market.book.id, market.book.bids, market.book.asks)
        )
        clients.append((number, dict(bids), dict(asks)))
        market.model.stir(Side.BID if chance.random() < 0.5 else Side.ASK)
        update = market.book.advance(market, NOW_US)
        if update is None:
            continue
        assert update.first_id == update.previous_id + 1 <= update.last_id
        for at, (known, known_bids, known_asks) in enumerate(clients):
            assert update.first_id <= known + 1
            if update.last_id > known:
                _apply(known_bids, update.bids)
                _apply(known_asks, update.asks)
                clients[at] = (update.last_id, known_bids, known_asks)
    caught_up = [each for each in clients if each[0] == market.book.id]
    assert len(caught_up) > 50
    for _, known_bids, known_asks in caught_up:
        assert known_bids == dict(market.book.bids)
        assert known_asks == dict(market.book.asks)


def _apply(side: dict[int, int], changes: Iterable[tuple[int, int]]) -> None:
    for ticks, lots in changes:
        side[ticks] = lots
        if not lots:
            del side[ticks]


def test_dialects_trades_are_found_by_id() -> None:
    market = _dialect("kraken").markets["BTC/USD"]
    model = market.model
    assert isinstance(model, SimulatedMarket)
    for number in range(1, 101):
        ticks, lots, is_buy = next(iter(model.match(1)))
        trade = _simulated(number, market, ticks, lots, is_buy)
        market.add(trade, number, NOW_US)
    ids = [trade.id for trade in market.trades]
    assert ids == list(range(FIRST_ID, FIRST_ID + 100))
    assert [t.id for t in market.from_id(FIRST_ID + 10, 3)] == ids[10:13]
    assert [t.id for t in market.before_id(FIRST_ID + 10, 3)] == ids[7:10]
    assert [t.id for t in market.newest(2)] == ids[-2:]
    assert market.from_id(FIRST_ID + 100, 3) == []
    assert [t.id for t in market.from_id(0, 2)] == ids[:2]


def _simulated(number: int, market: Market, ticks: int, lots: int, is_buy: bool) -> Any:
    from radar_simulator.market import SimulatedTrade

    return SimulatedTrade(number, market.listing, 0, ticks, lots, is_buy)


def test_dialects_write_decimals_and_times_exactly() -> None:
    assert padded(1, 2, 8) == "0.01000000"
    assert padded(12345, 2, 2) == "123.45"
    assert padded(7, 0, 0) == "7"
    assert iso(1_790_000_000_000_001, 6) == "2026-09-21T14:13:20.000001Z"
    assert iso(1_790_000_000_123_456, 3) == "2026-09-21T14:13:20.123Z"
    assert iso(1_790_000_000_123_456, 0) == "2026-09-21T14:13:20Z"


def test_dialects_a_topic_is_the_same_for_clients_with_the_same_wishes() -> None:
    """Frames are encoded once for all of them."""
    dialect = _dialect("binance")
    message = '{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}'
    topics = {
        action.topic
        for _ in range(2)
        for action in dialect.received(_session(dialect), message, NOW_US)
        if isinstance(action, Subscribe)
    }
    assert topics == {Topic("trades", "BTCUSDT", "btcusdt@trade /stream ms")}


def _paths(name: str) -> Iterator[str]:
    driver = exchanges.load(name)
    yield from (
        driver.markets_path,
        driver.recent_trades_path(records.Market("BTCUSDT", "BTC", "USDT")),
    )
    yield from {
        "binance": ("/api/v3/depth", "/api/v3/trades", "/api/v3/historicalTrades"),
        "kraken": ("/0/public/Trades", "/0/public/Depth", "/0/public/AssetPairs"),
        "okx": ("/api/v5/market/books", "/api/v5/market/history-trades"),
        "nobitex": ("/v2/trades/BTCIRT", "/v2/trades/", "/v3/orderbook/all"),
        "ramzinex": ("/exchange/api/v1.0/exchange/orderbooks/2/trades", "/orderbooks/x"),
        "bitpin": ("/api/v1/mth/matches/BTC_IRT/", "/api/v1/mth/matches/BTC_IRT"),
        "exir": ("/v2/trades", "/v2/orderbooks", "/v2/orderbook", "/v2/constants"),
        "tabdeal": ("/r/api/v1/trades", "/r/api/v1/depth", "/r/api/v1/exchangeInfo"),
    }.get(name, ())


_dialects = {name: _dialect(name) for name in NAMES}
