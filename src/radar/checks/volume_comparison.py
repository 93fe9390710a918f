"""Compares an exchange's volume of the last 24 hours with the recorded trades. Pure.

The exchange does not say from when to when its 24 hours last. The answer may come from a cache of
a minute, and the 24 hours may begin with a whole minute. So there are several possible windows:

                 outer_begin  inner_begin                              inner_end  outer_end
    ─────┴────────────┴───────────┴────────────────────────────────────────┴──────────┴─────
     wide_begin       │           └───────── in every possible window ─────┘          │
         │            └─────────────── no possible window is longer ──────────────────┘
         └─ an unknown rule of the exchange may begin this much earlier

Trades outside of the inner window raise the recorded volume only. If the volume of the inner window
alone is already the exchange's, no trade of that window is missing. If that of the widest window is
less, some trade is missing, whichever window is meant. Everything between is unknown.
"""

from decimal import Decimal, localcontext
from enum import StrEnum
from typing import NamedTuple

from radar.checks.candle_comparison import DIGITS, DOUBLE_NOISE, LEAST_PLACES, is_equal, places_of
from radar.checks.proof import MINUTE_US, DayVerdict, Span

DAY_US = 86_400_000_000
# So much earlier than the answer the 24 hours may have ended.
CACHE_US = 60_000_000
# The clock of the exchange may be so much ahead.
CLOCK_US = 5_000_000
# Before a volume counts as too small or too large, the windows are so much wider or narrower.
MARGIN_US = 300_000_000


class Reason(StrEnum):
    """Why a comparison proves nothing."""

    NONE = ""
    WAITING = "waiting"  # the newest trades may still be on their way
    YOUNG = "recorded_less_than_a_day"
    EDGES = "edges"  # trades at the edges of the possible windows decide
    DECIMALS = "few_decimals"
    EXPLAINED = "explained"  # known gaps or losses explain the missing volume
    CONTRADICTED = "contradicted"  # the volume is equal, although a loss is proven


class Windows(NamedTuple):
    """The possible windows of an answer; see the picture above."""

    inner: Span
    outer: Span

    @property
    def widest(self) -> Span:
        """The longest window under any rule."""
        return self.outer._replace(begin_us=self.outer.begin_us - MARGIN_US)

    @property
    def narrowest(self) -> Span:
        """The shortest window under any rule."""
        return Span(self.inner.begin_us + MARGIN_US, self.inner.end_us - MARGIN_US)


class Volumes(NamedTuple):
    """The recorded volumes of the windows, and the number of trades in the widest."""

    narrowest: Decimal = Decimal(0)
    inner: Decimal = Decimal(0)
    outer: Decimal = Decimal(0)
    widest: Decimal = Decimal(0)
    trades: int = 0


def windows(asked_at_us: int, answered_at_us: int) -> Windows:
    """Return the possible windows of an answer.

    Args:
        asked_at_us: When the request was sent, Unix time.
        answered_at_us: When the answer had arrived.
    """
    first_end_us, last_end_us = asked_at_us - CACHE_US, answered_at_us + CLOCK_US
    first_us, last_us = first_end_us - DAY_US, last_end_us - DAY_US
    return Windows(
        inner=Span(-(-last_us // MINUTE_US) * MINUTE_US, first_end_us),
        outer=Span(first_us // MINUTE_US * MINUTE_US, last_end_us),
    )


def compare(claimed: Decimal, places: int, recorded: Volumes) -> tuple[DayVerdict | None, Reason]:
    """Return the verdict, and why there is none.

    Args:
        claimed: The exchange's volume.
        places: How many decimals it shows.
        recorded: The recorded volumes.
    """
    if is_equal(recorded.inner, claimed, places):
        return DayVerdict.EQUAL, Reason.NONE
    with localcontext() as exact:
        exact.prec = DIGITS
        rounding = _rounding(claimed, places, recorded)
        if claimed - recorded.widest > rounding:
            return DayVerdict.SHORT, Reason.NONE
        if recorded.narrowest - claimed > rounding:
            return DayVerdict.DIFFERENT, Reason.NONE
        is_rounded = places < LEAST_PLACES and abs(claimed - recorded.inner) <= rounding
    return None, Reason.DECIMALS if is_rounded else Reason.EDGES


def _rounding(claimed: Decimal, places: int, recorded: Volumes) -> Decimal:
    """Return by how much a volume may differ from that of the same trades.

    An exchange may round the sum. Or it adds up more decimals than its trades show, so that each
    trade may differ by a unit.
    """
    shown = places_of(recorded.widest)
    of_trades = Decimal(1).scaleb(-shown)
    noise = DOUBLE_NOISE * claimed
    if places > shown and abs(claimed - round(claimed, shown)) > noise:
        return recorded.trades * of_trades
    return max(Decimal(1).scaleb(-places), noise)
