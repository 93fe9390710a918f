"""Book updates: a book that is rebuilt from them equals the one that was kept."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar.codec import message_format
from radar.datasets import BOOK_UPDATES
from radar.errors import InvalidMessage
from radar.exchanges.common import order_book
from radar.exchanges.common.order_book import KeptBook, changes
from radar.producer.book_updates import BookChains
from radar.records import BookUpdate, DepthSnapshot, GapCause, Market

BTC = Market("BTC/USD", "BTC", "USD")
NOW_US = 1_790_500_000_000_000
Book = dict[str, dict[float, float]]

_levels = st.lists(
    st.tuples(st.integers(1, 12).map(str), st.sampled_from(["0", "1", "2.5"])), max_size=6
)


class Rebuilt:
    """What a reader makes of the published messages."""

    def __init__(self) -> None:
        self._chains = BookChains()
        self.messages: list[message_format.BookUpdateMessage] = []
        self.book: Book = {"bid": {}, "ask": {}}

    def take(self, update: BookUpdate) -> None:
        """Publish an update and read it again."""
        _, value = self._chains.message(update)
        message = BOOK_UPDATES.decode(value)
        self.messages.append(message)
        for side, prices, quantities in (
            ("bid", message.bid_prices, message.bid_quantities),
            ("ask", message.ask_prices, message.ask_quantities),
        ):
            known = {} if message.is_snapshot else self.book[side]
            known |= dict(zip(prices, quantities, strict=True))
            self.book[side] = {price: quantity for price, quantity in known.items() if quantity}


def good(kept: KeptBook) -> tuple[BookUpdate, list[DepthSnapshot]]:
    """The update and the snapshots of a good state."""
    kept.number += 1
    events = kept.good("kraken", NOW_US + kept.number, 0, verified=True)
    (update,) = [event for event in events if isinstance(event, BookUpdate)]
    return update, [event for event in events if isinstance(event, DepthSnapshot)]


def levels_of(snapshots: Sequence[DepthSnapshot]) -> Book:
    return {
        each.side.value: dict(zip(each.prices, each.quantities, strict=True)) for each in snapshots
    }


@given(
    depth=st.sampled_from([0, 3]),
    full=st.sampled_from([0, 2]),
    steps=st.lists(st.tuples(st.sampled_from(["snapshot", "update", "loss"]), _levels, _levels)),
)
def test_a_rebuilt_book_equals_the_kept_one(
    depth: int, full: int, steps: list[tuple[str, Any, Any]]
) -> None:
    kept, rebuilt = KeptBook(BTC, depth, updates=True), Rebuilt()
    for kind, bids, asks in [("snapshot", [("5", "1")], [("6", "1")]), *steps]:
        if kind == "loss":
            # A wrong update reached the book before its checksum showed it.
            kept.book.apply(changes(bids), changes(asks))
            kept.lose(GapCause.CHECKSUM, NOW_US)
            continue
        if kind == "snapshot":
            kept.replace(changes(bids), changes(asks), full)
        elif kept.is_known:
            kept.book.apply(changes(bids), changes(asks))
        else:
            continue
        update, snapshots = good(kept)
        rebuilt.take(update)
        for side, known in levels_of(snapshots).items():
            assert rebuilt.book[side] == known


def test_a_snapshot_begins_a_chain_and_updates_go_on_from_it() -> None:
    kept, rebuilt = KeptBook(BTC, updates=True), Rebuilt()
    for _ in range(2):
        kept.replace(changes([("5", "1")]), [])
        rebuilt.take(good(kept)[0])
        kept.book.apply(changes([("5", "2")]), [])
        rebuilt.take(good(kept)[0])
    assert [(each.place, each.is_snapshot) for each in rebuilt.messages] == [
        (0, True), (1, False), (0, True), (1, False),
    ]  # fmt: skip
    chains = [each.chain for each in rebuilt.messages]
    assert chains[0] == chains[1] != chains[2] == chains[3]


def test_a_whole_book_comes_again_after_many_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_book, "UPDATES_PER_SNAPSHOT", 2)
    kept, rebuilt = KeptBook(BTC, updates=True), Rebuilt()
    kept.replace(changes([("5", "1"), ("4", "1")]), [])
    rebuilt.take(good(kept)[0])
    for quantity in ("2", "3", "4", "5"):
        kept.book.apply(changes([("5", quantity)]), [])
        rebuilt.take(good(kept)[0])
    assert [each.is_snapshot for each in rebuilt.messages] == [True, False, False, True, False]
    assert [each.place for each in rebuilt.messages] == [0, 1, 2, 3, 4]
    assert rebuilt.messages[3].bid_prices == [5.0, 4.0]


def test_an_update_that_cannot_be_published_leaves_its_place_empty() -> None:
    kept, chains = KeptBook(BTC, updates=True), BookChains()
    kept.replace(changes([("5", "1")]), [])
    chains.message(good(kept)[0])
    bad = msgspec.structs.replace(good(kept)[0], bids=((-1.0, 1.0),))
    with pytest.raises(InvalidMessage):
        chains.message(bad)
    assert BOOK_UPDATES.decode(chains.message(good(kept)[0])[1]).place == 2


@pytest.mark.parametrize(
    "levels",
    [((0.0, 1.0),), ((1.0, -1.0),), ((float("nan"), 1.0),), ((1.0, float("inf")),)],
)
def test_a_level_that_is_none_is_refused(levels: tuple[tuple[float, float], ...]) -> None:
    update = msgspec.structs.replace(good(KeptBook(BTC, updates=True))[0], asks=levels)
    with pytest.raises(InvalidMessage):
        message_format.encode_book_update(message_format.book_update(update, "ab", 0))


def test_a_book_yields_no_updates_unless_they_are_wanted() -> None:
    kept = KeptBook(BTC)
    kept.replace(changes([("5", "1")]), [])
    events = kept.good("kraken", NOW_US, 0, verified=True)
    assert not [event for event in events if isinstance(event, BookUpdate)]
