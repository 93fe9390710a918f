"""Entries of an exchange's lists and frames, each checked by itself.

One malformed entry of a list must not harm the others.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from msgspec import Raw
from msgspec.json import Decoder

from radar.errors import ExchangeUnavailable, InvalidFrame
from radar.exchanges.base import MarketList, brief
from radar.exchanges.common.literals import NOT_DECODABLE
from radar.records import Market, Trade

_Answer = TypeVar("_Answer")


def decoded_markets(decoder: Decoder[_Answer], body: bytes) -> _Answer:
    """Decode an answer that holds the market list.

    Raises:
        ExchangeUnavailable: The answer differs from the documentation.
    """
    return _decoded(decoder, body, "the market list is")


def decoded_trades(decoder: Decoder[_Answer], body: bytes, market: Market) -> _Answer:
    """Decode an answer that holds the recent trades of a market.

    Raises:
        ExchangeUnavailable: The answer differs from the documentation.
    """
    return _decoded(decoder, body, f"the recent trades of {market.symbol} are")


def _decoded(decoder: Decoder[_Answer], body: bytes, subject: str) -> _Answer:
    try:
        return decoder.decode(body)
    except NOT_DECODABLE as error:
        raise ExchangeUnavailable(f"{subject} malformed: {brief(str(error))}") from error


def known_market(markets: Mapping[str, Market], symbol: str) -> Market:
    """Return the market that a frame names.

    Raises:
        InvalidFrame: The connection has no such market.
    """
    market = markets.get(symbol)
    if market is None:
        raise InvalidFrame(f"unknown market {brief(symbol)}")
    return market


def read_markets(
    entries: Iterable[tuple[str, Raw]], parse: Callable[[Raw], Market | None]
) -> MarketList:
    """Return the markets of a list, and the entries that are none.

    Args:
        entries: Each with a name for the report.
        parse: Returns the market of an entry, or None for one that does not trade. It raises
            ValueError for an entry that is no market.
    """
    markets: list[Market] = []
    malformed: list[tuple[str, str]] = []
    for name, entry in entries:
        try:
            market = parse(entry)
        except NOT_DECODABLE as error:
            malformed.append((brief(name), brief(str(error))))
        else:
            markets += [market] if market is not None else []
    return MarketList(markets, malformed)


def numbered(entries: Iterable[Raw]) -> list[tuple[str, Raw]]:
    """Name the entries of a list without names by their place."""
    return [(f"entry {place}", entry) for place, entry in enumerate(entries, 1)]


def read_trades(rows: Iterable[Raw], parse: Callable[[Raw], Trade]) -> list[Trade]:
    """Return the trades of a list, in its order, without malformed ones."""
    trades = []
    for row in rows:
        try:
            trades.append(parse(row))
        except NOT_DECODABLE:
            continue
    return trades
