"""Which listed markets are recorded: bounded, and no longer than they are listed."""

from hypothesis import given
from hypothesis import strategies as st

from radar.producer import markets as module
from radar.producer.markets import ABSENT_LISTS, MAX_NEW_MARKETS, Changes, Listing
from radar.records import Market


def market(symbol: str) -> Market:
    return Market(symbol, "BASE", "TMN")


def markets(*symbols: str) -> list[Market]:
    return [market(symbol) for symbol in symbols]


def test_listing_starts_with_the_first_markets_by_symbol_up_to_the_limit() -> None:
    changes = Listing(2).start(markets("C", "B", "A"))
    assert changes == Changes(markets("A", "B"), [], left_out=1)


def test_listing_ends_a_market_that_enough_lists_in_a_row_lack() -> None:
    listing = Listing(10)
    listing.start(markets("A", "B"))
    for _ in range(3):
        for _ in range(ABSENT_LISTS - 1):
            assert listing.update(markets("A")) == Changes([], [], 0, absent=1)
        # It was a glitch.
        assert listing.update(markets("A", "B")) == Changes([], [], 0)
    for _ in range(ABSENT_LISTS - 1):
        listing.update(markets("A"))
    assert listing.update(markets("A")) == Changes([], ["B"], 0)
    assert listing.update(markets("A")) == Changes([], [], 0)


def test_listing_records_a_market_that_returns_again() -> None:
    listing = Listing(10)
    listing.start(markets("A", "B"))
    for _ in range(ABSENT_LISTS):
        listing.update(markets("A"))
    assert listing.update(markets("A", "B")) == Changes(markets("B"), [], 0)


def test_listing_keeps_recorded_markets_when_others_would_come_before_them() -> None:
    listing = Listing(2)
    listing.start(markets("M", "N"))
    assert listing.update(markets("A", "M", "N")) == Changes([], [], left_out=1)
    for _ in range(ABSENT_LISTS - 1):
        found = listing.update(markets("A", "B", "N"))
        assert found == Changes([], [], left_out=2, absent=1)
    assert listing.update(markets("A", "B", "N")) == Changes(markets("A"), ["M"], left_out=1)


def test_listing_takes_a_bounded_number_of_new_markets_from_one_list() -> None:
    listing = Listing(100_000)
    everything = markets(*(f"M{n:05}" for n in range(3 * MAX_NEW_MARKETS)))
    assert len(listing.start(everything[:1]).new) == 1
    found = [len(listing.update(everything).new) for _ in range(4)]
    assert found == [MAX_NEW_MARKETS, MAX_NEW_MARKETS, MAX_NEW_MARKETS - 1, 0]


def test_listing_that_takes_all_at_the_start_is_bounded_by_its_limit() -> None:
    everything = markets(*(f"M{n:05}" for n in range(3 * MAX_NEW_MARKETS)))
    assert len(Listing(2 * MAX_NEW_MARKETS).start(everything).new) == 2 * MAX_NEW_MARKETS


@given(
    st.integers(1, 6),
    st.lists(st.lists(st.sampled_from("ABCDEFGHIJ"), unique=True), min_size=1, max_size=30),
)
def test_listing_given_any_lists_records_listed_markets_within_the_limit(
    limit: int, lists: list[list[str]]
) -> None:
    listing = Listing(limit)
    recorded: set[str] = set()
    lacking: dict[str, int] = {}
    for number, listed in enumerate(lists):
        update = listing.update if number else listing.start
        changes = update(markets(*listed))
        for symbol in recorded:
            lacking[symbol] = 0 if symbol in listed else lacking.get(symbol, 0) + 1
        assert changes.ended == sorted(s for s in recorded if lacking[s] >= module.ABSENT_LISTS)
        recorded -= set(changes.ended)
        new = [each.symbol for each in changes.new]
        assert recorded.isdisjoint(new)
        assert new == sorted(set(listed) - recorded)[: limit - len(recorded)]
        for symbol in new:
            lacking.pop(symbol, None)
        recorded |= set(new)
        assert len(recorded) <= limit
        assert changes.left_out == len(set(listed) - recorded)
