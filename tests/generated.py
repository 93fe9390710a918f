"""Records of all sorts, for property tests."""

from hypothesis import strategies as st

from radar.codec import message_format
from radar.decimals import canonical
from radar.records import BookSide, DepthSnapshot, Trade, TradeSide

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,31}", fullmatch=True)
# The product of two must fit as well.
AMOUNTS = st.decimals("1e-18", "9999999999", places=18).map(
    lambda value: canonical(format(value, "f"))
)
TIMES_US = st.integers(message_format.MIN_TIME_MS * 1000, message_format.MAX_TIME_MS * 1000 - 1)
NUMBERS = st.floats(0, exclude_min=True, allow_infinity=False)


def set_back(received_at_us: int) -> st.SearchStrategy[int]:
    """Return by how much the clock may have been set back before a receipt."""
    return st.just(0) | st.integers(0, message_format.MAX_TIME_MS * 1000 - 1 - received_at_us)


@st.composite
def trades(draw: st.DrawFn) -> Trade:
    received_at_us = draw(TIMES_US)
    event_time_us = draw(st.integers(message_format.MIN_TIME_MS * 1000, received_at_us))
    return Trade(
        source=draw(NAMES),
        symbol=draw(NAMES),
        base=draw(NAMES),
        quote=draw(NAMES),
        side=draw(st.sampled_from(TradeSide)),
        price=draw(AMOUNTS),
        base_amount=draw(AMOUNTS),
        event_time_ms=event_time_us // 1000,
        received_at_us=received_at_us,
        native_id=draw(st.from_regex(message_format.NATIVE_ID_PATTERN)),
        sequence=draw(st.integers(0, message_format.MAX_NUMBER)),
        event_time_us=draw(st.sampled_from((0, event_time_us))),
        set_back_us=draw(set_back(received_at_us)),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> DepthSnapshot:
    side = draw(st.sampled_from(BookSide))
    levels = draw(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=60))
    received_at_us = draw(TIMES_US)
    levels.sort(key=lambda level: level[0], reverse=side is BookSide.BID)
    return DepthSnapshot(
        source=draw(NAMES),
        symbol=draw(NAMES),
        base=draw(NAMES),
        quote=draw(NAMES),
        side=side,
        prices=tuple(price for price, _ in levels),
        quantities=tuple(quantity for _, quantity in levels),
        received_at_us=received_at_us,
        event_time_us=draw(st.just(0) | TIMES_US),
        sequence=draw(st.integers(0, message_format.MAX_NUMBER)),
        verified=draw(st.booleans()),
        set_back_us=draw(set_back(received_at_us)),
    )
