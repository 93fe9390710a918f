"""Iranian drivers: captured frames have the values, units and sides that the facts state."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar import datasets, exchanges
from radar.exchanges import exir
from radar.exchanges.base import Event, Lost, MarketList
from radar.records import BookSide, DepthSnapshot, Market, Trade, TradeSide
from wire_samples import samples

NOW_US = 1_800_000_000_000_000
MARKETS = {
    "nobitex": [Market("BTCIRT", "BTC", "TMN"), Market("BTCUSDT", "BTC", "USDT")],
    "bitpin": [Market("BTC_IRT", "BTC", "TMN"), Market("BTC_USDT", "BTC", "USDT")],
    "ramzinex": [
        Market("BTCIRR", "BTC", "TMN", "2"), Market("USDTIRR", "USDT", "TMN", "11"),
        Market("BTCUSDT", "BTC", "USDT", "12"), Market("GOLDIRR", "GOLD", "TMN", "17"),
    ],
    "exir": [Market("btc-irt", "BTC", "TMN"), Market("ltc-usdt", "LTC", "USDT")],
    "tabdeal": [Market("USDTIRT", "USDT", "TMN"), Market("BTCIRT", "BTC", "TMN")],
}  # fmt: skip


def sample(name: str, channel: str) -> bytes:
    found = [each["bytes"] for each in samples(name) if each["channel"].startswith(channel)]
    assert found, f"no sample {channel}"
    content: bytes = found[0]
    return content


def taken(name: str, channel: str) -> list[Event]:
    is_book = "order" in channel or "depth" in channel
    dataset = datasets.DEPTH if is_book else datasets.TRADES
    stream = exchanges.load(name).stream(dataset, MARKETS[name], whole_books=True, memory={})
    return list(stream.receive(sample(name, channel), NOW_US))


@pytest.mark.parametrize(
    ("name", "channel", "first"),
    [
        # Rial on the wire: a tenth of it is Toman.
        ("nobitex", "REST GET /v2/trades/BTCIRT", ("sell", "22193002043", "0.000074")),
        ("ramzinex", "REST GET /exchange/api/v1.0/exchange/orderbooks/2/trades",
         ("buy", "22155000000", "0.0007649")),
        # Toman on the wire, though three of them say IRT.
        ("bitpin", "REST GET /api/v1/mth/matches", ("sell", "22209169774", "0.00075615")),
        ("exir", "REST GET /v2/trades", ("buy", "21965900000", "0.000911")),
        # True is a buyer that was the maker, so the taker sold.
        ("tabdeal", "REST GET /r/api/v1/trades?symbol=BTCIRT",
         ("sell", "22143642921", "0.0001458")),
    ],
)  # fmt: skip
def test_oldest_trade_of_a_captured_answer(
    name: str, channel: str, first: tuple[str, str, str]
) -> None:
    exchange = exchanges.load(name)
    market = next(each for each in MARKETS[name] if each.base == "BTC" and each.quote == "TMN")
    recent = exchange.parse_recent_trades(sample(name, channel), market, NOW_US)
    assert (len(recent.trades), recent.invalid) == (8, 0)
    trade = recent.trades[0]
    assert (trade.side.value, trade.price, trade.base_amount) == first
    # All were captured within minutes: in one unit they agree.
    assert 21_900_000_000 < float(trade.price) < 22_300_000_000


@pytest.mark.parametrize(
    ("name", "channel", "bid", "ask"),
    [
        ("nobitex", "public:orderbook-BTCIRT", 3502008008.0, 3507790999.0),
        ("nobitex", "public:orderbook-BTCUSDT", 62669.0, 62678.0),
        ("bitpin", "orderbook:BTC_USDT", 62672.3, 62714.5),
        # The best ask is the last of `sells`.
        ("ramzinex", "orderbook:12", 62423.72, 62616.58),
        ("ramzinex", "orderbook:11", 63100.0, 63500.0),
        ("exir", "orderbook:ltc-usdt", 104.29, 104.81),
        ("tabdeal", "usdtirt@depth", 32290.0, 32311.0),
    ],
)
def test_best_prices_of_a_captured_book(name: str, channel: str, bid: float, ask: float) -> None:
    books = [event for event in taken(name, channel) if isinstance(event, DepthSnapshot)]
    assert {book.side: book.prices[0] for book in books} == {
        BookSide.BID: bid, BookSide.ASK: ask,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "channel", "trades"),
    [
        ("nobitex", "public:trades-BTCIRT", [("sell", "12000000000", "0.000003")]),
        ("bitpin", "matches:BTC_IRT",
         [("sell", "22198449579", "0.00077096"), ("sell", "22190000000", "0.00030788")]),
        ("exir", "trade:btc-irt, live",
         [("sell", "22129350000", "0.000811"), ("sell", "22114350000", "0.001983")]),
    ],
)  # fmt: skip
def test_trades_of_a_pushed_frame(name: str, channel: str, trades: list[Any]) -> None:
    found = [event for event in taken(name, channel) if isinstance(event, Trade)]
    assert [(t.side.value, t.price, t.base_amount) for t in found][-len(trades) :] == trades


@pytest.mark.parametrize(("ended", "expected"), [("0", 1), ("false", 1), ("1", 0), ("true", 0)])
def test_ramzinex_tells_a_delisted_market_by_number_or_boolean(ended: str, expected: int) -> None:
    body = (
        '{"status":0,"data":[{"pair_id":2,"base_currency_symbol":{"en":"btc"},'
        f'"quote_currency_symbol":{{"en":"irr"}},"is_delist":{ended}}}]}}'
    )
    listed = exchanges.load("ramzinex").parse_markets(body.encode())
    assert len(listed.markets) == expected
    assert not listed.malformed


def test_ramzinex_emits_the_new_trades_of_each_list_once() -> None:
    stream = exchanges.load("ramzinex").stream(
        datasets.TRADES, MARKETS["ramzinex"], whole_books=True, memory={}
    )

    def push(first: int, count: int) -> list[Event]:
        rows = ",".join(
            f'[1010,0.1,"2026-09-27 09:06:40","sell",{1_790_500_000 + n},"{n:032x}"]'
            for n in reversed(range(first, first + count))
        )
        frame = f'{{"push":{{"channel":"last-trades:2","pub":{{"data":[{rows}],"offset":1}}}}}}'
        return list(stream.receive(frame.replace('"offset":1', f'"offset":{first}').encode(), 7))

    assert [int(t.native_id, 16) for t in push(1, 5) if isinstance(t, Trade)] == [1, 2, 3, 4, 5]
    assert [int(t.native_id, 16) for t in push(3, 5) if isinstance(t, Trade)] == [6, 7]
    events = push(20, 5)
    assert isinstance(events[0], Lost)
    assert len([event for event in events if isinstance(event, Trade)]) == 5


def test_exir_takes_a_second_partial_behind_what_it_had() -> None:
    stream = exchanges.load("exir").stream(datasets.TRADES, MARKETS["exir"], whole_books=True)

    def partial(*numbers: int) -> list[Event]:
        rows = ",".join(
            f'{{"size":0.1,"price":{100 + n},"side":"buy",'
            f'"timestamp":"2026-09-27T09:06:{10 + n}.000Z"}}'
            for n in reversed(numbers)
        )
        frame = f'{{"topic":"trade","action":"partial","symbol":"btc-irt","data":[{rows}]}}'
        return list(stream.receive(frame.encode(), 7))

    def prices(events: list[Event]) -> list[str]:
        return [event.price for event in events if isinstance(event, Trade)]

    assert prices(partial(1, 2, 3)) == ["101", "102", "103"]
    assert prices(partial(2, 3, 4)) == ["104"]
    events = partial(7, 8)
    assert isinstance(events[0], Lost)
    assert prices(events) == ["107", "108"]


def test_nobitex_lists_its_markets_by_statistics_as_well() -> None:
    exchange = exchanges.load("nobitex")
    listed = exchange.parse_markets(sample("nobitex", "REST GET /market/stats"))
    assert Market("BTCIRT", "BTC", "TMN") in listed.markets
    assert exchange.parse_markets(b'{"stats":{"eth-usdt":{},"x":{}}}') == MarketList(
        [Market("ETHUSDT", "ETH", "USDT")],
        [("X", "a symbol without a known quote currency")],
    )


@given(st.lists(st.sampled_from("ab"), max_size=12), st.lists(st.sampled_from("ab"), max_size=12))
def test_exir_finds_the_longest_overlap_of_two_lists(before: list[str], listed: list[str]) -> None:
    def trades(sides: list[str]) -> list[Trade]:
        return [
            Trade("exir", "A", "A", "B", TradeSide.BUY, "1" if side == "a" else "2", "1", 1, place)
            for place, side in enumerate(sides)
        ]

    lengths = range(min(len(before), len(listed)), 0, -1)
    longest = next((n for n in lengths if before[-n:] == listed[:n]), 0)
    new = trades(listed)
    assert exir._behind(trades(before), new) == (new[longest:] if longest else None)


def test_exir_compares_a_list_with_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0

    class Content(tuple[object, ...]):
        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return super().__eq__(other)

        __hash__ = tuple.__hash__

        def __ne__(self, other: object) -> bool:
            return not self == other

    monkeypatch.setattr(exir, "_content", lambda trade: Content((trade,)))
    before = [1] * exir.MAX_TRADES
    exir._behind(before, [1] * (exir.MAX_TRADES - 1) + [2])  # type: ignore[arg-type]
    assert compared <= 10 * exir.MAX_TRADES
