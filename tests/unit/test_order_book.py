"""Books that are kept from snapshots and updates: order, bounds, checksums and losses."""

import time
import zlib
from bisect import insort
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar.exchanges.base import Lost, Refused, Send, Subscribed
from radar.exchanges.common import order_book
from radar.exchanges.common.order_book import (
    MAX_KEPT,
    MAX_LOSSES,
    STEADY_UPDATES,
    BookKeeper,
    KeptBook,
    OrderBook,
    Side,
    changes,
    continues,
)
from radar.records import BookSide, DepthSnapshot, GapCause, Market

MARKET = Market("ABC-USD", "ABC", "USD")


def prices(side: Side, count: int = 50) -> list[float]:
    return [level[0] for level in side.best(count)]


def test_sides_are_best_first() -> None:
    book = OrderBook()
    levels = changes([("9", "1"), ("10", "2"), ("9.5", "3")])
    book.replace(levels, levels)
    assert prices(book.bids) == [10.0, 9.5, 9.0]
    assert prices(book.asks) == [9.0, 9.5, 10.0]


def test_a_quantity_is_absolute_and_zero_removes() -> None:
    book = OrderBook()
    book.replace(changes([("10", "1"), ("9", "1")]), [])
    book.apply(changes([("10", "0.00000000"), ("9", "5"), ("8", "0")]), [])
    assert [level[:2] for level in book.bids.best(9)] == [(9.0, 5.0)]


def test_entries_of_one_update_apply_in_order() -> None:
    book = OrderBook()
    book.apply([], changes([("1", "2"), ("1", "0"), ("2", "0"), ("2", "7")]))
    assert [level[:2] for level in book.asks.best(9)] == [(2.0, 7.0)]


def test_one_price_in_two_spellings_is_one_level() -> None:
    book = OrderBook()
    book.apply([], changes([("1.50", "1"), ("1.5", "2")]))
    assert [level[1] for level in book.asks.best(9)] == [2.0]


def test_a_book_of_a_depth_forgets_the_levels_that_fall_out() -> None:
    book = OrderBook(depth=2)
    book.replace(changes([("3", "1"), ("2", "1"), ("1", "1")]), [])
    book.apply(changes([("4", "1")]), [])
    book.apply(changes([("4", "0")]), [])
    assert prices(book.bids) == [3.0]


def test_levels_behind_a_full_snapshot_stay_unknown() -> None:
    book = OrderBook()
    book.replace(changes([("10", "1"), ("9", "1")]), changes([("11", "1")]), full=2)
    book.apply(changes([("8", "1"), ("9.5", "1")]), changes([("99", "1")]))
    assert prices(book.bids) == [10.0, 9.5, 9.0]
    assert not book.bids.is_whole
    assert prices(book.asks) == [11.0, 99.0], "a side that was not full is known as a whole"
    assert book.asks.is_whole


def test_a_side_without_known_levels_is_not_published_as_empty() -> None:
    kept = KeptBook(MARKET)
    kept.book.replace(changes([("10", "1")]), [], full=1)
    kept.book.apply(changes([("10", "0")]), [])
    sides = [each for each in kept.good("x", 1, 0, verified=True) if type(each) is DepthSnapshot]
    assert [(each.side, each.prices) for each in sides] == [(BookSide.ASK, ())]


def test_a_side_never_keeps_more_than_its_bound() -> None:
    side = Side(BookSide.ASK)
    side.apply(changes((str(number), "1") for number in range(1, MAX_KEPT + 2)))
    assert len(side) == MAX_KEPT // 2
    assert not side.is_whole
    side.apply(changes([(str(MAX_KEPT), "1")]))
    assert len(side) == MAX_KEPT // 2


def test_the_cost_of_a_level_does_not_grow_with_the_levels_of_a_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lengths: list[int] = []

    def counted(keys: list[Decimal], key: Decimal) -> None:
        lengths.append(len(keys))
        insort(keys, key)

    monkeypatch.setattr(order_book, "insort", counted)
    worst_first = changes((str(price), "1") for price in range(10 * MAX_KEPT, 0, -1))
    side = Side(BookSide.ASK, keeps_changes=True)
    side.replace(worst_first)
    assert lengths == [], "a snapshot is sorted once"
    assert prices(side, 2) == [1.0, 2.0]
    assert (len(side), side.is_whole) == (MAX_KEPT // 2, False)
    side.apply(changes([("0.5", "1"), (str(9 * MAX_KEPT), "1")]))
    assert (prices(side, 2), len(side)) == ([0.5, 1.0], MAX_KEPT // 2 + 1)
    lengths.clear()
    side.replace([])
    side.apply(worst_first)
    assert len(lengths) == len(worst_first)
    assert max(lengths) <= MAX_KEPT, "an update is cut while it is applied"
    assert prices(side, 2) == [1.0, 2.0]


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 2)), max_size=60))
def test_a_snapshot_equals_its_levels_one_after_the_other(levels: list[tuple[int, int]]) -> None:
    parsed = changes((str(price), str(quantity)) for price, quantity in levels)
    at_once, one_by_one = Side(BookSide.BID), Side(BookSide.BID)
    at_once.replace(parsed)
    for each in parsed:
        one_by_one.apply([each])
    assert at_once.best(60) == one_by_one.best(60)


@pytest.mark.parametrize("text", ["", "-1", "NaN", "Infinity", "1_0", "٣", "1e999", "1" * 50, " 1"])
def test_texts_that_are_no_decimal_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a decimal"):
        changes([(text, "1")])
    with pytest.raises(ValueError, match="not a decimal"):
        changes([("1", text)])


def test_a_price_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="price 0"):
        changes([("0.00", "1")])


def test_an_exponent_becomes_an_exact_text() -> None:
    ((price, level),) = changes([("1e-08", "2E+2")])
    assert price == Decimal("0.00000001")
    assert level is not None
    assert level[2:] == ("0.00000001", "200")


@pytest.mark.parametrize(
    ("first", "last", "is_next"), [(11, 12, True), (9, 11, True), (12, 13, False), (8, 10, False)]
)
def test_an_update_continues_a_state(first: int, last: int, is_next: bool) -> None:
    assert continues(first, last, 10) is is_next


def test_the_checksum_takes_ten_levels_without_points_and_leading_zeros() -> None:
    book = OrderBook()
    asks = [(f"{number}.50", "0.00100000") for number in range(21, 32)]
    book.replace(changes([("0.05", "7.0")]), changes(asks))
    text = "".join(f"{number}50100000" for number in range(21, 31)) + "5" + "70"
    assert book.checksum() == zlib.crc32(text.encode())


@given(
    st.lists(
        st.tuples(st.integers(1, 60), st.integers(0, 3)).map(
            lambda each: (str(each[0]), str(each[1]))
        )
    )
)
def test_a_side_equals_a_sorted_dictionary(levels: list[tuple[str, str]]) -> None:
    book = OrderBook()
    for level in levels:
        book.apply(changes([level]), changes([level]))
    left = {price: quantity for price, quantity in dict(levels).items() if quantity != "0"}
    expected = sorted(float(price) for price in left)
    assert prices(book.asks, 60) == expected
    assert prices(book.bids, 60) == expected[::-1]


def test_updates_are_cheap() -> None:
    kept = KeptBook(MARKET)
    levels = [(f"{number / 100:.2f}", "1") for number in range(10_000, 11_000)]
    kept.book.replace(changes(levels), changes(levels))
    started = time.process_time()
    for number in range(1_000):
        change = changes([(levels[number % 990 + place][0], str(number)) for place in range(5)])
        kept.book.apply(change, change)
        kept.good("x", 1, 0, verified=True)
    # A few hundred updates a second may cost a tenth of a core; this leaves room for slow machines.
    assert time.process_time() - started < 1.0


def keeper() -> BookKeeper:
    return BookKeeper(
        "x",
        {MARKET.symbol: MARKET},
        0,
        lambda symbol: [Send(f"subscribe {symbol}")],
        lambda symbol: [Send(f"unsubscribe {symbol}")],
    )


def test_a_loss_is_reported_once_and_ends_with_the_next_good_state() -> None:
    books = keeper()
    kept = books[MARKET.symbol]
    books.good(kept, 5, 0, verified=True)
    again = [Send("unsubscribe ABC-USD"), Send("subscribe ABC-USD")]
    assert books.lose(kept, GapCause.CHECKSUM, 9) == [Lost("ABC-USD", GapCause.CHECKSUM, 5), *again]
    assert not kept.is_known
    assert books.lose(kept, GapCause.CHECKSUM, 10) == again
    assert books.good(kept, 11, 0, verified=True)[0] == Subscribed(("ABC-USD",))
    assert not any(type(each) is Subscribed for each in books.good(kept, 12, 0, verified=True))


def test_a_book_without_a_state_is_lost_since_its_acknowledgement() -> None:
    books = keeper()
    books.acknowledged("ABC-USD", 3)
    (lost, *_) = books.lose(books["ABC-USD"], GapCause.SEQUENCE, 9)
    assert lost == Lost("ABC-USD", GapCause.SEQUENCE, 3)


def test_a_first_snapshot_that_does_not_come_is_a_loss_and_asked_for_again() -> None:
    books = keeper()
    again = [Send("unsubscribe ABC-USD"), Send("subscribe ABC-USD")]
    assert books.overdue(10**15) == [], "nothing was acknowledged"
    books.acknowledged("ABC-USD", 1_000_000)
    assert books.overdue(2_000_000) == []
    assert books.overdue(40_000_000) == [Lost("ABC-USD", GapCause.MUTE, 1_000_000), *again]
    assert books.overdue(80_000_000) == again
    books.acknowledged("ABC-USD", 81_000_000)
    events = books.good(books["ABC-USD"], 82_000_000, 0, verified=True)
    assert events[0] == Subscribed(("ABC-USD",))
    assert books.overdue(10**15) == []


def test_a_book_that_is_lost_again_and_again_is_refused() -> None:
    books = keeper()
    kept = books["ABC-USD"]
    for _ in range(MAX_LOSSES):
        assert not any(type(e) is Refused for e in books.lose(kept, GapCause.CHECKSUM, 1))
        books.good(kept, 2, 0, verified=True)
    *_, refused = books.lose(kept, GapCause.CHECKSUM, 3)
    assert isinstance(refused, Refused)
    assert books.overdue(10**15) == []


def test_a_steady_time_forgives_losses() -> None:
    books = keeper()
    kept = books["ABC-USD"]
    for _ in range(2 * MAX_LOSSES):
        assert not any(type(e) is Refused for e in books.lose(kept, GapCause.CHECKSUM, 1))
        for _ in range(STEADY_UPDATES):
            books.good(kept, 2, 0, verified=True)


def test_a_snapshot_that_does_not_come_is_asked_for_again() -> None:
    books = keeper()
    books.lose(books["ABC-USD"], GapCause.SEQUENCE, 1_000_000)
    assert books.overdue(2_000_000) == []
    assert books.overdue(40_000_000) == [Send("unsubscribe ABC-USD"), Send("subscribe ABC-USD")]
    assert books.overdue(41_000_000) == []
