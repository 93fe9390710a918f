"""The grammar of markets that every command shares.

A market is `exchange:symbol`, or a symbol alone. Several stand between commas, or the argument or
option is repeated.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, TypeAlias

import typer

from radar.cli.arguments import market_names
from radar.errors import ConfigurationError

FORM = "EXCHANGE:SYMBOL or SYMBOL, several between commas"

MarketOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--market",
        "--symbol",
        help=f"Markets: {FORM}, or repeat it; default: all.",
        autocompletion=market_names,
    ),
]


def market_list(names: Iterable[str]) -> tuple[str, ...]:
    """Return the named markets, each one once.

    Raises:
        ConfigurationError: A name is empty.
    """
    return tuple(dict.fromkeys(_separate(names)))


def symbols_of(exchange: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return the symbols of the named markets, which must be of one exchange.

    Raises:
        ConfigurationError: A name is empty, or is a market of another exchange.
    """
    return tuple(dict.fromkeys(_symbol(exchange, name) for name in _separate(names)))


def _separate(names: Iterable[str]) -> Iterator[str]:
    for text in names:
        for name in map(str.strip, text.split(",")):
            if not name:
                raise ConfigurationError(f"{text!r} names no market (allowed: {FORM})")
            yield name


def _symbol(exchange: str, name: str) -> str:
    from radar.exchanges import names

    before, _, symbol = name.partition(":")
    if symbol and before == exchange:
        return symbol
    if symbol and before in names():
        raise ConfigurationError(f"{name} is no market of {exchange}: use {exchange}:{symbol}")
    return name
