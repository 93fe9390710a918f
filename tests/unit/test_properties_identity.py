"""Trade identity over whole producers: what is stored is the multiset that the exchange traded.

The oracle in `test_identity_oracle.py` is about sources of one process; here whole producers run
side by side, each with a memory of its own, are killed and come back, and every source may miss
whatever it likes. Messages go the real way, from the recorder through the decoder.
"""

from collections import Counter
from random import Random
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from radar.codec import message_format
from radar.producer.recorders import TradeRecorder
from radar.records import Trade, TradeSide

BEGIN_MS = 1_784_000_000_000


class Life(NamedTuple):
    """One life of a producer, from its start to its end."""

    sources: list[list[int]]  # indexes of the trades that each connection or REST read brought
    lost: int  # messages at its end that a kill kept from Kafka


def _trade(second: int, price: int, side: TradeSide) -> Trade:
    return Trade(
        source="wallex",
        symbol="USDTTMN",
        base="USDT",
        quote="TMN",
        side=side,
        price=str(price),
        base_amount="1",
        event_time_ms=BEGIN_MS + second * 1000,
        received_at_us=(BEGIN_MS + second * 1000) * 1000,
    )


# Few different trades within few seconds, so that there are many twins.
MARKETS = st.lists(
    st.builds(_trade, st.integers(0, 2), st.integers(1, 2), st.sampled_from(TradeSide)),
    max_size=30,
).map(lambda trades: sorted(trades, key=lambda each: each.event_time_ms))


@st.composite
def sources(draw: st.DrawFn, trades: int) -> list[int]:
    """Draw what one source brings: all, a part (a lost prefix, an early end), or all but holes."""
    match draw(st.sampled_from(["all", "prefix lost", "part", "holes", "nothing"])):
        case "all":
            return list(range(trades))
        case "prefix lost":
            return list(range(draw(st.integers(0, trades)), trades))
        case "part":
            first = draw(st.integers(0, trades))
            return list(range(first, draw(st.integers(first, trades))))
        case "holes":
            missed = draw(st.sets(st.integers(0, trades)))
            return [each for each in range(trades) if each not in missed]
        case _:
            return []


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[Trade], list[list[Life]]]:
    """Draw a market and two producers, each with one to three lives, one after the other."""
    market = draw(MARKETS)
    lives = st.builds(
        Life, st.lists(sources(len(market)), max_size=4), st.sampled_from([0, 0, 0, 1, 5, 40])
    )
    return market, draw(st.lists(st.lists(lives, min_size=1, max_size=3), min_size=2, max_size=2))


def record(market: list[Trade], life: Life, rng: Random) -> list[bytes]:
    """Return the messages of one life that reached Kafka, its sources interleaved by chance."""
    recorder = TradeRecorder("wallex")
    taking = [(recorder.taker(), iter(indexes)) for indexes in life.sources]
    turns = [number for number, indexes in enumerate(life.sources) for _ in indexes]
    rng.shuffle(turns)
    messages = []
    for number in turns:
        take, indexes = taking[number]
        message = take(market[next(indexes)])
        if message is not None:
            messages.append(message[1])
    return messages[: len(messages) - life.lost] if life.lost else messages


def content(row: message_format.TradeMessage) -> tuple[str, ...]:
    return str(row.event_time_ms), row.price, row.base_amount, row.side


@settings(deadline=None)
@given(runs(), st.randoms(use_true_random=False))
def test_identity_of_two_producers_never_exceeds_the_market_and_equals_it_if_one_saw_all(
    run: tuple[list[Trade], list[list[Life]]], rng: Random
) -> None:
    market, producers = run
    everything = record(market, Life([list(range(len(market)))], 0), rng)
    truth = Counter(content(message_format.decode_trade(each)) for each in everything)
    assert truth.total() == len(market)

    stored: dict[str, tuple[str, ...]] = {}
    some_source_saw_all = False
    for life in (life for lives in producers for life in lives):
        for value in record(market, life, rng):
            row = message_format.decode_trade(value)
            # What collapses under one identity is one trade.
            assert stored.setdefault(row.trade_id, content(row)) == content(row)
        some_source_saw_all |= not life.lost and list(range(len(market))) in life.sources

    visible = Counter(stored.values())
    assert visible <= truth
    if some_source_saw_all:
        assert visible == truth


@settings(deadline=None)
@given(runs(), st.randoms(use_true_random=False))
def test_identity_of_two_producers_stores_the_most_that_one_source_saw(
    run: tuple[list[Trade], list[list[Life]]], rng: Random
) -> None:
    market, producers = run
    lives = [life._replace(lost=0) for each in producers for life in each]
    stored: dict[str, tuple[str, ...]] = {}
    for life in lives:
        for value in record(market, life, rng):
            row = message_format.decode_trade(value)
            stored[row.trade_id] = content(row)
    seen = [
        Counter(
            (str(trade.event_time_ms), trade.price, trade.base_amount, trade.side)
            for trade in (market[each] for each in indexes)
        )
        for life in lives
        for indexes in life.sources
    ]
    oracle: Counter[tuple[str, ...]] = Counter()
    for each in seen:
        oracle |= each
    assert Counter(stored.values()) == oracle
