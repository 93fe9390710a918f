"""Whole books, as many exchanges send them: both sides of one frame."""

from collections.abc import Iterable

from radar.exchanges.base import Event
from radar.records import BookSide, DepthSnapshot, Market

MAX_PUBLISHED = 50


def both_sides(
    exchange: str,
    market: Market,
    bids: Iterable[tuple[str, str]],
    asks: Iterable[tuple[str, str]],
    received_at_us: int,
    *,
    event_time_us: int = 0,
    sequence: int = 0,
) -> list[Event]:
    """Return the snapshots of both sides, best level first, without empty levels.

    Args:
        exchange: Name of the exchange.
        market: The market.
        bids: Price and quantity as decimal texts, in any order.
        asks: The same.
        received_at_us: When the frame arrived, Unix time.
        event_time_us: The exchange's clock, Unix time; 0: it sends none.
        sequence: The exchange's number of this book; 0: it has none.
    """
    return [
        _side(exchange, market, side, levels, received_at_us, event_time_us, sequence)
        for side, levels in ((BookSide.BID, bids), (BookSide.ASK, asks))
    ]


def _side(
    exchange: str,
    market: Market,
    side: BookSide,
    levels: Iterable[tuple[str, str]],
    received_at_us: int,
    event_time_us: int,
    sequence: int,
) -> DepthSnapshot:
    numbers = [(float(price), float(quantity)) for price, quantity in levels]
    numbers = [level for level in numbers if level[1]]
    # Stable: two levels of one price stay in the order of the frame.
    numbers.sort(key=lambda level: level[0], reverse=side is BookSide.BID)
    best = numbers[:MAX_PUBLISHED]
    return DepthSnapshot(
        source=exchange,
        symbol=market.symbol,
        base=market.base,
        quote=market.quote,
        side=side,
        prices=tuple(price for price, _ in best),
        quantities=tuple(quantity for _, quantity in best),
        received_at_us=received_at_us,
        event_time_us=event_time_us,
        sequence=sequence,
    )
