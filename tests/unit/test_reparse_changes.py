"""Which rows `radar reparse` judges, and how it corrects them."""

import msgspec
import pytest

from radar.codec import message_format
from radar.producer.trade_ids import content_of, trade_id
from radar.records import BookSide, DepthSnapshot, Trade, TradeSide
from radar.reparse.changes import (
    Kind,
    Origins,
    Snapshots,
    TradeRow,
    changes_of_trades,
    content_of_trade,
    row_of_snapshot,
    unstored,
    wrong_trades,
)
from radar.reparse.derive import Delivered

AT_US = 1_784_000_000_000_000
TRADE = Trade(
    source="wallex", symbol="USDTTMN", base="USDT", quote="TMN", side=TradeSide.SELL,
    price="31704.5", base_amount="7", event_time_ms=AT_US // 1000, received_at_us=AT_US,
)  # fmt: skip
BOOK = DepthSnapshot(
    source="wallex", symbol="USDTTMN", base="USDT", quote="TMN", side=BookSide.BID,
    prices=(1.0,), quantities=(2.0,), received_at_us=AT_US,
)  # fmt: skip


def name_of(trade: Trade) -> str:
    return trade_id(content_of(trade), 1)


def stored(trade: Trade, name: str = "") -> TradeRow:
    symbol, *rest = content_of_trade(trade)
    values = (name or name_of(trade), symbol, trade.received_at_us, *rest)
    return msgspec.convert(values, TradeRow)


def derived(*trades: Trade) -> dict[str, Delivered]:
    return {name_of(each): Delivered(each, {each.received_at_us}) for each in trades}


def origins(*frames: tuple[int, int]) -> Origins:
    found = Origins()
    for frame in frames:
        found.add(*frame)
    return found


def test_rows_of_a_frame_count_up_from_its_time() -> None:
    found = origins((AT_US, 200), (AT_US + 1000, 100))
    assert [at for at in range(AT_US - 2, AT_US + 1010) if at in found] == [
        *(AT_US, AT_US + 1, AT_US + 2, AT_US + 3),
        *(AT_US + 1000, AT_US + 1001),
    ]
    found.forget_before(AT_US + 1000)
    assert AT_US not in found
    assert AT_US + 1000 in found


def test_row_of_rest_backfill_is_not_judged() -> None:
    fetched = stored(msgspec.structs.replace(TRADE, received_at_us=AT_US + 500))
    assert wrong_trades({}, [fetched], origins((AT_US, 100))) == []
    assert wrong_trades({}, [stored(TRADE)], origins((AT_US, 100))) == [stored(TRADE)]


def test_trade_of_the_frames_stays_and_one_with_another_time_does_not() -> None:
    found = origins((AT_US, 100))
    assert wrong_trades(derived(TRADE), [stored(TRADE)], found) == []
    late = msgspec.structs.replace(TRADE, received_at_us=AT_US + 1)
    assert wrong_trades(derived(TRADE), [stored(late)], found) == [stored(late)]


def test_trade_with_another_identity_is_removed_and_the_right_one_added() -> None:
    wrong = stored(msgspec.structs.replace(TRADE, price="317045"))
    trades = derived(TRADE)
    missing = unstored(trades, [])
    found = changes_of_trades(trades, [wrong], missing, [])
    assert [(each.kind, bool(each.message), bool(each.deleted)) for each in found] == [
        (Kind.ADDED, True, False),
        (Kind.REMOVED, False, True),
    ]


def test_trade_with_a_native_id_is_changed() -> None:
    native = msgspec.structs.replace(TRADE, native_id="17")
    wrong = stored(msgspec.structs.replace(native, side=TradeSide.BUY))
    trades = derived(native)
    found = changes_of_trades(trades, [wrong], unstored(trades, []), [wrong])
    assert {each.kind for each in found} == {Kind.CHANGED}
    assert {each.row_key for each in found} == {found[0].row_key}
    assert message_format.decode_trade(found[0].message or b"").side is TradeSide.SELL


@pytest.mark.parametrize(("later_us", "kinds"), [(5, {Kind.CHANGED}), (-5, set())])
def test_trade_that_rest_brought_gets_its_earliest_time(later_us: int, kinds: set[Kind]) -> None:
    fetched = stored(msgspec.structs.replace(TRADE, received_at_us=AT_US + later_us))
    trades = derived(TRADE)
    found = changes_of_trades(trades, [], unstored(trades, []), [fetched])
    assert {each.kind for each in found} == kinds


def test_row_of_another_origin_with_the_same_id_stays() -> None:
    native = msgspec.structs.replace(TRADE, native_id="17")
    fetched = stored(msgspec.structs.replace(native, price="1", received_at_us=AT_US + 900))
    trades = derived(native)
    assert changes_of_trades(trades, [], unstored(trades, []), [fetched]) == []


def book(at_us: int, price: float = 1.0) -> DepthSnapshot:
    return msgspec.structs.replace(BOOK, received_at_us=at_us, prices=(price,))


def due(snapshot: DepthSnapshot) -> message_format.DepthMessage:
    return message_format.decode_depth(message_format.encode_depth(snapshot))


def test_due_snapshot_is_added_only_where_none_is_near() -> None:
    snapshots = Snapshots("wallex")
    snapshots.take_stored([row_of_snapshot(book(AT_US))])
    seen = [book(AT_US + n * 100) for n in range(30)]
    snapshots.take_derived(seen, [due(seen[5]), due(seen[15])])
    found = snapshots.changes(AT_US + 10_000, 1_000, origins())
    assert [(each.kind, each.received_at_us) for each in found] == [(Kind.ADDED, AT_US + 1_500)]


def test_stored_snapshot_is_corrected_kept_or_removed() -> None:
    snapshots = Snapshots("wallex")
    snapshots.take_stored(row_of_snapshot(book(AT_US + n)) for n in (0, 100, 200, 300))
    snapshots.take_derived([book(AT_US), book(AT_US + 100, 3.0)], [])
    # No recorded frame is near the last one.
    found = snapshots.changes(AT_US + 1_000, 0, origins((AT_US, 1), (AT_US + 200, 1)))
    assert [(each.kind, each.received_at_us) for each in found] == [
        (Kind.CHANGED, AT_US + 100),
        (Kind.REMOVED, AT_US + 200),
    ]
    assert snapshots.changes(AT_US + 1_000, 0, origins()) == []
