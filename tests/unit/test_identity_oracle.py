"""Trade identity: deliveries of one trade collapse, identical trades do not."""

from collections import Counter
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from radar.producer.trade_ids import Memory, Occurrences, Published, content_of, trade_id
from radar.records import Trade, TradeSide

TRADE = Trade(
    source="wallex",
    symbol="USDTTMN",
    base="USDT",
    quote="TMN",
    side=TradeSide.SELL,
    price="31704",
    base_amount="705",
    event_time_ms=1_656_242_049_000,
    received_at_us=1_656_242_049_120_345,
)


def test_identity_is_the_hash_of_content_and_occurrence() -> None:
    content = content_of(TRADE)
    assert content == "wallex|USDTTMN|1656242049000|31704|705|sell"
    assert trade_id(content, 2) == sha256(f"{content}|2".encode()).hexdigest()[:32]


# What the exchange traded: few different contents, so that there are many twins.
MARKET = st.lists(st.sampled_from("abc"), max_size=40)
# Each source sees a part: from somewhere (an opening, or a resent tail) to somewhere (its end).
PARTS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=6)


@given(MARKET, PARTS, st.randoms(use_true_random=False))
def test_identity_any_interleaving_of_sources_publishes_the_multiset_oracle(
    market: list[str], parts: list[tuple[int, int]], random: object
) -> None:
    """What is stored of each content is the most that one source saw of it."""
    sources = [market[start:end] for start, end in parts]
    oracle = {
        content: max((source.count(content) for source in sources), default=0)
        for content in set(market)
    }
    # Any interleaving that keeps each source's order.
    turns = [number for number, source in enumerate(sources) for _ in source]
    random.shuffle(turns)  # type: ignore[attr-defined]
    published, ids = Published(), list[str]()
    counters = [Occurrences() for _ in sources]
    positions = [0] * len(sources)
    for time_us, number in enumerate(turns):
        content = sources[number][positions[number]]
        positions[number] += 1
        n = counters[number].count(content, time_us)
        if published.is_new(content, n, time_us):
            ids.append(f"{content}{trade_id(content, n)}")
    assert len(ids) == len(set(ids)), "the process published an identity twice"
    assert Counter(each[0] for each in ids) == Counter(oracle)


@given(MARKET, st.integers(0, 40), st.integers(0, 40))
def test_identity_overlapping_sources_that_cover_a_second_store_it_exactly(
    market: list[str], lost_at: int, reopened_at: int
) -> None:
    """A killed process, a gap, and a new process that reads the whole second."""
    ids = set[str]()
    for source in (market[:lost_at], market[reopened_at:], market):
        occurrences = Occurrences()
        ids |= {content + trade_id(content, occurrences.count(content, 0)) for content in source}
    assert Counter(each[0] for each in ids) == Counter(market)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 3)), max_size=80))
def test_memory_forgets_only_what_is_old_and_beyond_its_size(
    touches: list[tuple[str, int]],
) -> None:
    memory = Memory(min_age_us=5, min_contents=3)
    now_us = 1000
    last: dict[str, tuple[int, int]] = {}
    for number, (content, pause_us) in enumerate(touches, 1):
        now_us += pause_us
        memory.set(content, number, now_us)
        last[content] = (number, now_us)
        for known, (value, at_us) in last.items():
            if now_us - at_us < 5:
                assert memory.get(known) == value
            assert memory.get(known) in (0, value)


def test_memory_of_endless_contents_stays_bounded() -> None:
    memory = Memory(min_age_us=10, min_contents=100)
    sizes = set[int]()
    for number in range(10_000):
        memory.set(str(number), 1, number)
        sizes.add(len(memory))
    assert max(sizes) <= 202
    assert memory.get("9999") == 1
    assert memory.get("0") == 0
