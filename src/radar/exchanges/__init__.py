"""Exchanges, one file each, found by name. `common` has the parts that several share."""

import importlib
import pkgutil

from radar.errors import ConfigurationError
from radar.exchanges.base import Exchange


def names() -> list[str]:
    """Return the names of all exchanges that radar knows."""
    found = pkgutil.iter_modules(__path__)
    return sorted(each.name for each in found if not each.ispkg and each.name != "base")


def load(name: str) -> Exchange:
    """Return the driver of an exchange: the `EXCHANGE` of the module of that name.

    Raises:
        ConfigurationError: There is no such exchange.
    """
    if name not in names():
        raise ConfigurationError(f"unknown exchange {name!r}; known: {', '.join(names())}")
    exchange: Exchange = importlib.import_module(f"{__name__}.{name}").EXCHANGE
    return exchange
