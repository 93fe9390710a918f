"""Choose the markets to record."""

import asyncio
import difflib
from collections.abc import Collection, Sequence
from typing import NamedTuple

import stamina
import structlog

from radar.codec import message_format
from radar.errors import ExchangeUnavailable
from radar.exchanges.base import Exchange, MarketList, brief
from radar.exchanges.common.entries import MAX_MALFORMED
from radar.producer.rest import Rest
from radar.records import Market

# After this many lists in a row without a market, the market ends. A failing server of the exchange
# may omit markets from one list, and the end of a traded market would lose its trades.
ABSENT_LISTS = 3
# New markets of one list: it bounds the new connections. The others come with the next lists.
MAX_NEW_MARKETS = 500
MAX_SHOWN_NAME = 40

_log = structlog.get_logger()


class Changes(NamedTuple):
    """The changes of the recorded markets that follow from a list.

    Attributes:
        new: To be recorded from now on.
        ended: Symbols to be recorded no more.
        left_out: How many listed markets are beyond a limit.
        absent: How many recorded markets the list lacks, not for long enough to end them.
    """

    new: list[Market]
    ended: list[str]
    left_out: int
    absent: int = 0


class Listed(NamedTuple):
    """A market list of the exchange.

    Attributes:
        markets: Those that can be recorded, each symbol once.
        malformed: The other entries: name and reason, both printable; MAX_MALFORMED at most.
        more_malformed: How many others there are.
    """

    markets: list[Market]
    malformed: dict[str, str]
    more_malformed: int = 0


class Listing:
    """Decides which listed markets are recorded. Pure."""

    def __init__(self, max_markets: int) -> None:
        """Start without a market.

        Args:
            max_markets: The limit of markets at the same time.
        """
        self._max_markets = max_markets
        self._recorded: set[str] = set()
        self._absent: dict[str, int] = {}  # lists in a row that lack a recorded market

    def start(self, markets: Collection[Market]) -> Changes:
        """Take the first list, all of it up to the limit."""
        return self._update(markets, self._max_markets)

    def update(self, markets: Collection[Market]) -> Changes:
        """Take a list.

        Recorded markets keep their places; of the others the first by symbol get the free ones.
        """
        return self._update(markets, MAX_NEW_MARKETS)

    def _update(self, markets: Collection[Market], max_new: int) -> Changes:
        listed = {market.symbol: market for market in markets}
        self._absent = {
            symbol: self._absent.get(symbol, 0) + 1 for symbol in self._recorded - listed.keys()
        }
        ended = sorted(symbol for symbol, lists in self._absent.items() if lists >= ABSENT_LISTS)
        for symbol in ended:
            del self._absent[symbol]
        self._recorded.difference_update(ended)
        unrecorded = sorted(listed.keys() - self._recorded)
        new = unrecorded[: min(max_new, self._max_markets - len(self._recorded))]
        self._recorded.update(new)
        return Changes(
            [listed[symbol] for symbol in new],
            ended,
            len(unrecorded) - len(new),
            len(self._absent),
        )


async def read_markets(exchange: Exchange, rest: Rest, *, max_wait_s: float) -> Listed:
    """Ask the exchange for its spot markets until it answers, with waits up to `max_wait_s`."""
    async for attempt in stamina.retry_context(
        on=ExchangeUnavailable, attempts=None, timeout=None, wait_initial=0.5, wait_max=max_wait_s
    ):
        with attempt:
            listed = await _read(exchange, rest)
    return listed


async def _read(exchange: Exchange, rest: Rest) -> Listed:
    """Ask once, at each path of the list until one answers.

    Raises:
        ExchangeUnavailable: None does; the error is that of the first.
    """
    failure: ExchangeUnavailable | None = None
    for path in (exchange.markets_path, *exchange.other_markets_paths):
        try:
            body = await rest.get(path)
            # In a thread, because a long list takes a second.
            return await asyncio.to_thread(_parsed, exchange, body)
        except ExchangeUnavailable as error:
            failure = failure or error
    raise failure or ExchangeUnavailable("the exchange has no market list")


def chosen(
    markets: Sequence[Market], symbols: Sequence[str]
) -> tuple[list[Market], dict[str, str]]:
    """Return the markets of these symbols, or all if there are no symbols.

    Returns:
        The markets, and the symbols that the exchange does not list, with similar ones.
    """
    if not symbols:
        return list(markets), {}
    by_symbol = {market.symbol: market for market in markets}
    wanted = list(dict.fromkeys(symbols))
    unknown = {
        brief(symbol): _similar(symbol, list(by_symbol))
        for symbol in wanted
        if symbol not in by_symbol
    }
    return [by_symbol[symbol] for symbol in wanted if symbol in by_symbol], unknown


def _similar(symbol: str, known: list[str]) -> str:
    similar = difflib.get_close_matches(symbol.upper(), known, n=3, cutoff=0.5)
    return "not listed" + (f", similar: {', '.join(similar)}" if similar else "")


def _parsed(exchange: Exchange, body: bytes) -> Listed:
    listed = storable(exchange.parse_markets(body))
    if not listed.markets:
        raise ExchangeUnavailable("the market list has no spot market that can be stored")
    return listed


def storable(listed: MarketList) -> Listed:
    """Return the markets whose names messages may carry, each symbol once, and the others."""
    markets: dict[str, Market] = {}
    malformed = dict(listed.malformed)
    more = listed.more_malformed
    for market in listed.markets:
        known = markets.setdefault(market.symbol, market)
        shown = brief(market.symbol[:MAX_SHOWN_NAME]) or "an entry without a name"
        if not message_format.are_names(market.symbol, market.base, market.quote):
            del markets[market.symbol]
            why = "a name that cannot be stored"
        elif known != market:
            why = "listed twice, differently; the first entry counts"
        else:
            continue
        if shown in malformed or len(malformed) < MAX_MALFORMED:
            malformed[shown] = why
        else:
            more += 1
    return Listed(list(markets.values()), malformed, more)
