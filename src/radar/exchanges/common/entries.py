"""Entries of an exchange's lists and frames, each checked by itself.

One malformed entry of a list must not harm the others, and a list without an end harms nothing: the
functions here refuse it before the decoder makes an object of each entry.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

from msgspec import Raw, defstruct
from msgspec.json import Decoder

from radar.errors import ExchangeUnavailable, InvalidFrame
from radar.exchanges.base import MarketList, brief
from radar.exchanges.common.literals import NOT_DECODABLE
from radar.records import Market, Trade

# The decoder needs far more memory for an entry than the entry's text has. So a text with more
# commas than any answer of an exchange has is not even decoded. A market has about 75 of them at
# Binance, and a page of 1,000 trades has 10,000.
MAX_MARKET_COMMAS = 1_000_000
MAX_TRADE_COMMAS = 200_000
# No exchange lists more.
MAX_ENTRIES = 20_000
# Entries that are no market are named up to this number, and then counted.
MAX_MALFORMED = 1_000
MAX_NAME = 40
NAMELESS = "an entry without a name"

_Answer = TypeVar("_Answer")
_Entry = TypeVar("_Entry")


def decoded_markets(decoder: Decoder[_Answer], body: bytes) -> _Answer:
    """Decode an answer that holds the market list.

    Raises:
        ExchangeUnavailable: The answer differs from the documentation, or has too many entries.
    """
    check_market_list(body)
    return _decoded(decoder, body, "the market list is")


def decoded_trades(
    decoder: Decoder[_Answer], body: bytes, market: Market, *, max_commas: int = MAX_TRADE_COMMAS
) -> _Answer:
    """Decode an answer that holds the recent trades of a market.

    Raises:
        ExchangeUnavailable: The answer differs from the documentation, or has too many entries.
    """
    subject = f"the recent trades of {market.symbol} are"
    check_commas(body, max_commas, subject)
    return _decoded(decoder, body, subject)


def decoded_volumes(decoder: Decoder[_Answer], body: bytes) -> _Answer:
    """Decode an answer that holds the volumes of all markets.

    Raises:
        ExchangeUnavailable: The answer differs from the documentation, or has too many entries.
    """
    subject = "the volumes of the day are"
    check_commas(body, MAX_MARKET_COMMAS, subject)
    return _decoded(decoder, body, subject)


def check_market_list(body: bytes) -> None:
    """Refuse a market list that no exchange has, before it is decoded.

    Raises:
        ExchangeUnavailable: It has too many entries.
    """
    check_commas(body, MAX_MARKET_COMMAS, "the market list is")


def check_trades(body: bytes, symbol: str) -> None:
    """Refuse an answer with far more trades than were asked for, before it is decoded.

    Raises:
        ExchangeUnavailable: It has too many entries.
    """
    check_commas(body, MAX_TRADE_COMMAS, f"the trades of {symbol} are")


def check_commas(body: bytes, most: int, subject: str) -> None:
    """Refuse a text with more commas than this.

    Raises:
        ExchangeUnavailable: It has.
    """
    if body.count(b",") > most:
        raise ExchangeUnavailable(f"{subject} malformed: too many entries")


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
    entries: Collection[_Entry],
    parse: Callable[[_Entry], Market | None],
    name: Callable[[_Entry], str] | None = None,
) -> MarketList:
    """Return the markets of a list, and the entries that are none.

    Args:
        entries: The entries of the list.
        parse: Returns the market of an entry, or None for one that does not trade. It raises
            ValueError for an entry that is no market.
        name: Returns the name of an entry for the report; without it that is its place.

    Raises:
        ExchangeUnavailable: The list has more entries than any exchange has markets.
    """
    if len(entries) > MAX_ENTRIES:
        raise ExchangeUnavailable(f"the market list has {len(entries)} entries")
    markets: list[Market] = []
    malformed: list[tuple[str, str]] = []
    more = 0
    for place, entry in enumerate(entries, 1):
        try:
            market = parse(entry)
        except NOT_DECODABLE as error:
            if len(malformed) < MAX_MALFORMED:
                shown = f"entry {place}" if name is None else brief(name(entry))
                malformed.append((shown, brief(str(error))))
            else:
                more += 1
        else:
            markets += [market] if market is not None else []
    return MarketList(markets, malformed, more)


def named_by(field: str) -> Callable[[Raw], str]:
    """Return a function that names an entry by a field, for `read_markets`."""
    decoder = Decoder(defstruct("_Named", [(field, str, "")]))

    def name(entry: Raw) -> str:
        try:
            return getattr(decoder.decode(entry), field)[:MAX_NAME] or NAMELESS
        except NOT_DECODABLE:
            return NAMELESS

    return name


def read_trades(rows: Iterable[Raw], parse: Callable[[Raw], Trade]) -> list[Trade]:
    """Return the trades of a list, in its order, without malformed ones."""
    trades = []
    for row in rows:
        try:
            trades.append(parse(row))
        except NOT_DECODABLE:
            continue
    return trades
