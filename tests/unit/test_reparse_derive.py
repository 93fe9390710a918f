"""What `radar reparse` derives from the frames of a connection."""

import msgspec
import pytest

from radar.datasets import TRADES
from radar.exchanges import load
from radar.records import FrameKind, Market, Opening
from radar.reparse.derive import Derivation, Trades
from radar.reparse.frames import RecordedFrame

AT_NS = 1_784_000_000_000_000_000
OPENING = Opening("", (Market("USDTTMN", "USDT", "TMN"),), False, False, 0)
TRADE = (
    b'["USDTTMN@trade",{"isBuyOrder":false,"quantity":"705.0","price":"31704.0",'
    b'"timestamp":"2026-07-14T03:33:19Z"}]'
)


def frame(place: int, what: FrameKind, content: bytes, set_back_us: int = 0) -> RecordedFrame:
    return RecordedFrame(
        "aa", "bb", place, what, "", 0, "", AT_NS + place, place, set_back_us, content
    )


@pytest.mark.parametrize("set_back_us", [0, 5_000_000])
def test_trade_has_the_times_of_its_frame(set_back_us: int) -> None:
    derivation = Derivation(load("wallex"), TRADES)
    derivation.take(frame(0, FrameKind.OPENED, msgspec.json.encode(OPENING)))
    derivation.take(frame(1, FrameKind.RECEIVED, TRADE, set_back_us))
    assert isinstance(derivation.derived, Trades)
    (found,) = derivation.derived.found.values()
    assert found.first.received_at_us == AT_NS // 1000
    assert found.first.set_back_us == set_back_us
