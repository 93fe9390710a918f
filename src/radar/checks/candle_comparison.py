"""Compares the exchange's candles of a minute with the recorded trades. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal, localcontext
from typing import NamedTuple

from radar.checks.proof import MINUTE_US, CandleVerdict, Span
from radar.records import ExchangeCandle

# Exchanges that show fewer decimals of a volume are compared exactly or not at all: such a rounding
# would hide lost trades.
LEAST_PLACES = 3
# Some add volumes up as doubles.
DOUBLE_NOISE = Decimal("1e-12")
NOTHING = Decimal(0)
# More than amounts of Decimal(38, 18) have, also when they are added up.
DIGITS = 60


class Minute(NamedTuple):
    """The recorded trades of a minute."""

    volume: Decimal
    high: Decimal
    low: Decimal


NO_TRADES = Minute(NOTHING, NOTHING, NOTHING)


def compare(
    candles: Sequence[ExchangeCandle], recorded: Mapping[int, Minute], asked: Span, asked_at_us: int
) -> dict[int, CandleVerdict]:
    """Return the verdict of each finished minute, by its beginning.

    A minute without a candle has no trades, as the exchange says. Exchanges may date a trade at the
    edge of a minute differently in a candle. So neighbours whose volumes differ, but not their sum,
    count as equal.

    Args:
        candles: The answer of the exchange.
        recorded: The trades, by the beginning of their minute.
        asked: The time that the answer is about, in whole minutes.
        asked_at_us: When the exchange was asked, Unix time.
    """
    by_minute = {each.opened_at_us: each for each in candles}
    places = max((_places(each.volume) for each in candles), default=0)
    verdicts: dict[int, CandleVerdict] = {}
    differing: list[int] = []
    for minute_us in range(asked.begin_us, asked.end_us, MINUTE_US):
        if minute_us + MINUTE_US > asked_at_us:
            break
        minute = recorded.get(minute_us, NO_TRADES)
        verdict = _verdict(by_minute.get(minute_us), minute, places)
        verdicts[minute_us] = verdict
        if is_equal(minute.volume, _volume(by_minute.get(minute_us)), places):
            differing.clear()
            continue
        differing.append(minute_us)
        claimed = _sum(_volume(by_minute.get(each)) for each in differing)
        have = _sum(recorded.get(each, NO_TRADES).volume for each in differing)
        if len(differing) > 1 and have and is_equal(have, claimed, places):
            verdicts.update(dict.fromkeys(differing, CandleVerdict.EQUAL))
            differing.clear()
    return verdicts


def _verdict(candle: ExchangeCandle | None, minute: Minute, places: int) -> CandleVerdict:
    claimed = _volume(candle)
    if not is_equal(minute.volume, claimed, places):
        return CandleVerdict.SHORT if minute.volume < claimed else CandleVerdict.DIFFERENT
    if candle is None or not minute.volume:
        return CandleVerdict.EQUAL
    same = (Decimal(candle.high), Decimal(candle.low)) == (minute.high, minute.low)
    return CandleVerdict.EQUAL if same else CandleVerdict.DIFFERENT


def _volume(candle: ExchangeCandle | None) -> Decimal:
    return NOTHING if candle is None else Decimal(candle.volume)


def _sum(volumes: Iterable[Decimal]) -> Decimal:
    with localcontext() as exact:
        exact.prec = DIGITS
        return sum(volumes, NOTHING)


def _places(text: str) -> int:
    return len(text.partition(".")[2])


def places_of(volume: Decimal) -> int:
    """Return how many decimals a volume has, without zeros at its end."""
    text = format(volume, "f")
    return len(text.partition(".")[2].rstrip("0"))


def is_equal(recorded: Decimal, claimed: Decimal, places: int) -> bool:
    """Return whether two volumes are equal, as far as the exchange shows decimals.

    Args:
        recorded: That of the recorded trades.
        claimed: The exchange's.
        places: How many decimals it shows.
    """
    with localcontext() as exact:
        exact.prec = DIGITS
        if abs(recorded - claimed) <= DOUBLE_NOISE * max(recorded, claimed):
            return True
        if places < LEAST_PLACES:
            return False
        unit = Decimal(1).scaleb(-places)
        shown = (recorded.quantize(unit, each) for each in (ROUND_DOWN, ROUND_HALF_EVEN))
        return claimed in shown
