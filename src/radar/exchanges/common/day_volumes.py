"""The volume of the last 24 hours, as exchanges list it for all markets. Pure."""

from collections.abc import Callable, Collection, Iterable, Iterator
from decimal import Decimal
from typing import NamedTuple, TypeVar

from radar.decimals import MAX_FRACTION_DIGITS
from radar.errors import ExchangeUnavailable
from radar.exchanges.base import RawDayVolume
from radar.exchanges.common.entries import MAX_ENTRIES
from radar.exchanges.common.literals import NOT_DECODABLE, plain, text_of
from radar.records import Market

_Entry = TypeVar("_Entry")


class DayVolume(NamedTuple):
    """The volume of the last 24 hours of a market, in base units.

    Attributes:
        symbol: The market.
        amount: The volume; digits after the 18th place are cut, because trades have none.
        places: How many decimals the exchange shows.
    """

    symbol: str
    amount: Decimal
    places: int


class DayVolumes(NamedTuple):
    """The volumes of an answer."""

    volumes: list[DayVolume]
    invalid: int  # entries that differ from the exchange's documentation


def volume_rows(
    entries: Collection[_Entry], parse: Callable[[_Entry], RawDayVolume]
) -> Iterator[RawDayVolume | None]:
    """Yield the volume of each entry, None for one that has none.

    Raises:
        ExchangeUnavailable: There are more entries than any exchange has markets.
    """
    if len(entries) > MAX_ENTRIES:
        raise ExchangeUnavailable(f"the volumes of the day have {len(entries)} entries")
    for entry in entries:
        try:
            yield parse(entry)
        except NOT_DECODABLE:
            yield None


def read_day_volumes(rows: Iterable[RawDayVolume | None], markets: Iterable[Market]) -> DayVolumes:
    """Return the volumes of the listed markets; a malformed one does not harm the others.

    Args:
        rows: The entries of an answer.
        markets: The listed markets. An entry of another one is ignored.
    """
    symbols: dict[str, str] = {}
    for market in markets:
        symbols[market.code or market.symbol] = symbols[market.symbol] = market.symbol
    found: dict[str, DayVolume] = {}
    invalid = 0
    for row in rows:
        symbol = symbols.get(row.name) if row is not None else ""
        if symbol is None:
            continue
        try:
            if row is None or symbol in found:
                raise ValueError("no volume, or a second one")
            found[symbol] = _volume(symbol, plain(text_of(row.volume)))
        except NOT_DECODABLE:
            invalid += 1
    return DayVolumes(list(found.values()), invalid)


def _volume(symbol: str, text: str) -> DayVolume:
    whole, _, fraction = text.partition(".")
    shown = fraction[:MAX_FRACTION_DIGITS]
    return DayVolume(symbol, Decimal(f"{whole}.{shown}" if shown else whole), len(shown))
