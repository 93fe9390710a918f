"""Which markets are recorded."""

import difflib
from collections.abc import Sequence

import stamina
import structlog

from radar import wire
from radar.errors import ConfigurationError, ExchangeUnavailable
from radar.exchanges.base import Exchange
from radar.producer.rest import Rest
from radar.records import Market

_log = structlog.get_logger()


async def read_markets(exchange: Exchange, rest: Rest, *, max_wait_s: float) -> list[Market]:
    """Ask the exchange for its spot markets until it answers, with waits up to `max_wait_s`."""
    async for attempt in stamina.retry_context(
        on=ExchangeUnavailable, attempts=None, timeout=None, wait_initial=0.5, wait_max=max_wait_s
    ):
        with attempt:
            markets = exchange.parse_markets(await rest.get(exchange.markets_path))
            if not markets:
                raise ExchangeUnavailable("the market list has no spot market")
    return _storable(markets)


def selected(markets: Sequence[Market], symbols: Sequence[str]) -> list[Market]:
    """Return the markets of these symbols, or all if there are no symbols.

    Raises:
        ConfigurationError: There is no such market; the message names similar ones.
    """
    if not symbols:
        return list(markets)
    by_symbol = {market.symbol: market for market in markets}
    unknown = [symbol for symbol in symbols if symbol not in by_symbol]
    if unknown:
        raise ConfigurationError(
            "SYMBOLS names markets that the exchange does not have: "
            + "; ".join(_with_similar(symbol, list(by_symbol)) for symbol in unknown)
        )
    return [by_symbol[symbol] for symbol in dict.fromkeys(symbols)]


def _with_similar(symbol: str, known: list[str]) -> str:
    similar = difflib.get_close_matches(symbol.upper(), known, n=3, cutoff=0.5)
    return f"{symbol} (similar: {', '.join(similar)})" if similar else symbol


def _storable(markets: list[Market]) -> list[Market]:
    storable = [
        market
        for market in {market.symbol: market for market in markets}.values()
        if wire.are_names(market.symbol, market.base, market.quote)
    ]
    if len(storable) != len(markets):
        _log.warning(
            "markets left out: repeated or with names that cannot be stored",
            count=len(markets) - len(storable),
        )
    return storable
