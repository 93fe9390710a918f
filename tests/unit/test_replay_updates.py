"""Which chain of book updates a replay shows."""

from radar.replay.updates import Chain, Update, UpdateReader
from radar_simulator.recorded import RecordedChange

BID, ASK = (100.0, 1.0), (101.0, 2.0)


def _update(chain: str, place: int, at_us: int, *, whole: bool = False) -> Update:
    bids = ((100.0 - place, 1.0),) if not whole else (BID,)
    change = RecordedChange("BTC/USD", at_us, 0, whole, bids, (ASK,) if whole else ())
    return Update(chain, place, at_us, change)


def test_a_chain_is_shown_from_its_first_whole_book_on() -> None:
    reader = UpdateReader([Chain("BTC/USD", "a", 9)])
    assert reader.take(_update("a", 4, 1)) is None
    assert not reader.covers_book("BTC/USD", 1)
    whole = reader.take(_update("a", 5, 2, whole=True))
    assert whole is not None
    assert whole.is_whole
    assert reader.covers_book("BTC/USD", 9)
    assert not reader.covers_book("BTC/USD", 10), "it has ended"
    after = _update("a", 6, 3)
    assert reader.take(after) == after.change


def test_another_chain_follows_with_its_whole_book_when_the_first_has_ended() -> None:
    reader = UpdateReader([Chain("BTC/USD", "a", 5), Chain("BTC/USD", "b", 9)])
    assert reader.take(_update("a", 0, 1, whole=True)) is not None
    assert reader.take(_update("b", 0, 2, whole=True)) is None
    assert reader.take(_update("b", 1, 4)) is None
    assert reader.take(_update("a", 1, 5)) is not None
    change = reader.take(_update("b", 2, 6))
    assert change is not None
    assert change.is_whole
    assert set(change.bids) == {BID, (99.0, 1.0), (98.0, 1.0)}
    assert change.asks == (ASK,)


def test_a_chain_with_a_hole_is_not_shown_before_its_next_whole_book() -> None:
    reader = UpdateReader([Chain("BTC/USD", "a", 9)])
    assert reader.take(_update("a", 0, 1, whole=True)) is not None
    assert reader.take(_update("a", 2, 2)) is None
    assert not reader.covers_book("BTC/USD", 2)
    assert reader.take(_update("a", 3, 3)) is None
    assert reader.take(_update("a", 4, 4, whole=True)) is not None
