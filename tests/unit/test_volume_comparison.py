"""The exchange's volume of 24 hours against recorded trades, with and without a loss."""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from radar.checks.proof import MINUTE_US, DayVerdict, Span
from radar.checks.volume_comparison import (
    CACHE_US,
    CLOCK_US,
    DAY_US,
    MARGIN_US,
    Reason,
    Volumes,
    compare,
    windows,
)
from radar.exchanges.base import RawDayVolume
from radar.exchanges.common.day_volumes import read_day_volumes
from radar.records import Market

SECOND_US = 1_000_000
ASKED_US = 1_795_000_000_000_000 + 17 * SECOND_US
ANSWERED_US = ASKED_US + SECOND_US // 2
POSSIBLE = windows(ASKED_US, ANSWERED_US)


class Traded(NamedTuple):
    at_us: int
    amount: Decimal


def volume(trades: Iterable[Traded], span: Span) -> Decimal:
    within = (each.amount for each in trades if span.begin_us <= each.at_us < span.end_us)
    return sum(within, Decimal(0))


def recorded(trades: list[Traded]) -> Volumes:
    widest = POSSIBLE.widest
    count = sum(widest.begin_us <= each.at_us < widest.end_us for each in trades)
    return Volumes(
        narrowest=volume(trades, POSSIBLE.narrowest),
        inner=volume(trades, POSSIBLE.inner),
        outer=volume(trades, POSSIBLE.outer),
        widest=volume(trades, widest),
        trades=count,
    )


def shown(amount: Decimal) -> int:
    return max(0, -int(amount.as_tuple().exponent))


# Quantities in units of the sixth decimal, at any time from a day and ten minutes before.
traded = st.builds(
    Traded,
    st.integers(ASKED_US - DAY_US - 600 * SECOND_US, ANSWERED_US + CLOCK_US - 1)
    # Many of them near the edges of the 24 hours.
    | st.integers(ASKED_US - DAY_US - 200 * SECOND_US, ASKED_US - DAY_US + 200 * SECOND_US)
    | st.integers(ASKED_US - 200 * SECOND_US, ANSWERED_US),
    st.integers(1, 10**9).map(lambda units: Decimal(units).scaleb(-6)),
)
# The windows that are allowed: the end lies some seconds back, the begin is cut or not.
ends = st.integers(ASKED_US - CACHE_US, ANSWERED_US + CLOCK_US)
cuts = st.sampled_from(
    [
        lambda begin_us: begin_us,
        lambda begin_us: begin_us // MINUTE_US * MINUTE_US,
        lambda begin_us: -(-begin_us // MINUTE_US) * MINUTE_US,
    ]
)


@given(st.lists(traded, max_size=40), ends, cuts)
def test_complete_recording_is_never_called_short_or_different(
    trades: list[Traded], end_us: int, cut: object
) -> None:
    assert callable(cut)
    claimed = volume(trades, Span(cut(end_us - DAY_US), end_us))
    verdict, _ = compare(claimed, 8, recorded(trades))
    assert verdict in (None, DayVerdict.EQUAL)


@given(st.lists(traded, max_size=40), ends, cuts, st.data())
def test_recording_with_a_loss_is_never_called_equal(
    trades: list[Traded], end_us: int, cut: object, data: st.DataObject
) -> None:
    assert callable(cut)
    window = Span(cut(end_us - DAY_US), end_us)
    lost = [
        each for each in trades if POSSIBLE.inner.begin_us <= each.at_us < POSSIBLE.inner.end_us
    ]
    assume(lost)
    lost = data.draw(st.lists(st.sampled_from(lost), min_size=1, unique=True))
    # Another trade of the same content is not lost with it.
    kept = list(trades)
    for each in lost:
        kept.remove(each)
    verdict, _ = compare(volume(trades, window), 8, recorded(kept))
    assert verdict in (None, DayVerdict.SHORT)


@given(ends, cuts)
def test_every_allowed_window_lies_between_the_inner_and_the_outer_one(
    end_us: int, cut: object
) -> None:
    assert callable(cut)
    begin_us = cut(end_us - DAY_US)
    assert POSSIBLE.outer.covers(begin_us, end_us)
    assert begin_us <= POSSIBLE.inner.begin_us < POSSIBLE.inner.end_us <= end_us


def middle(*amounts: str) -> list[Traded]:
    """Return trades of the middle of the 24 hours."""
    return [Traded(ASKED_US - DAY_US // 2, Decimal(each)) for each in amounts]


@pytest.mark.parametrize(
    ("claimed", "amounts", "result"),
    [
        ("3.5", ("1.25", "2.25"), "equal"),
        ("3.5000000000000000", ("1.25", "2.25"), "equal"),
        ("3.499", ("1.25", "2.2499"), "equal"),  # three decimals, cut
        ("3.500", ("1.25", "2.2499"), "equal"),  # three decimals, rounded
        ("3.5", ("1.25", "2.2499"), "few_decimals"),
        ("3", ("1.25", "2.2"), "few_decimals"),
        ("0", (), "equal"),
        ("0.30000000000000004", ("0.1", "0.2"), "equal"),  # a sum of doubles
        ("3.5", ("1.25",), "short"),
        ("3.5", ("1.25", "2.25", "1.25"), "different"),
        # More decimals than the trades show: each of them may be cut.
        ("3.490001", ("1.25", "2.24"), "edges"),
        ("3.590001", ("1.25", "2.24"), "short"),
    ],
)
def test_volumes_are_compared_in_the_decimals_that_the_exchange_shows(
    claimed: str, amounts: tuple[str, ...], result: str
) -> None:
    amount = Decimal(claimed)
    verdict, reason = compare(amount, shown(amount), recorded(middle(*amounts)))
    assert str(verdict or reason) == result


def test_trades_at_the_edges_leave_the_result_open() -> None:
    """The loss of a trade could be hidden by another one of the same quantity at an edge."""
    edge = Traded(ASKED_US - CACHE_US // 2, Decimal("1.25"))
    trades = [*middle("2.25"), edge]
    assert compare(Decimal("3.5"), 8, recorded(trades)) == (None, Reason.EDGES)
    # Without the trade at the edge the volume is equal, whichever window is meant.
    assert compare(Decimal("2.25"), 8, recorded(trades)) == (DayVerdict.EQUAL, Reason.NONE)


def test_trades_of_some_minutes_before_do_not_make_a_volume_short() -> None:
    begin_us = POSSIBLE.outer.begin_us
    early = Traded(begin_us - MARGIN_US + SECOND_US, Decimal(1))
    assert compare(Decimal("3.25"), 8, recorded([*middle("2.25"), early])) == (None, Reason.EDGES)
    earlier = early._replace(at_us=begin_us - MARGIN_US - SECOND_US)
    found = compare(Decimal("3.25"), 8, recorded([*middle("2.25"), earlier]))
    assert found == (DayVerdict.SHORT, Reason.NONE)


MARKETS = [Market("BTC/USD", "BTC", "USD", "XXBTZUSD"), Market("ETHUSD", "ETH", "USD")]


def rows(*volumes: tuple[str, bytes]) -> list[RawDayVolume]:
    return [RawDayVolume(name, msgspec.Raw(literal)) for name, literal in volumes]


def test_volume_is_read_exactly_by_symbol_or_code() -> None:
    found = read_day_volumes(
        rows(("XXBTZUSD", b'"117.0326564000000000"'), ("OTHER", b"1")), MARKETS
    )
    assert found.invalid == 0
    assert found.volumes == [("BTC/USD", Decimal("117.0326564000000000"), 16)]
    (small,) = read_day_volumes(rows(("ETHUSD", b"1.4e-05")), MARKETS).volumes
    assert (small.amount, small.places) == (Decimal("0.000014"), 6)


@pytest.mark.parametrize(
    "literal", [b'"-"', b"null", b"-1", b'"1e400"', b'"NaN"', b"1" * 30, b"[1]", b'"1_0"']
)
def test_volume_that_is_none_is_counted_and_does_not_harm_the_others(literal: bytes) -> None:
    found = read_day_volumes(rows(("ETHUSD", literal), ("BTC/USD", b"2")), MARKETS)
    assert (found.invalid, [each.symbol for each in found.volumes]) == (1, ["BTC/USD"])


def test_second_volume_of_a_market_is_invalid() -> None:
    found = read_day_volumes(rows(("BTC/USD", b"2"), ("XXBTZUSD", b"3")), MARKETS)
    assert (found.invalid, [each.amount for each in found.volumes]) == (1, [Decimal(2)])
