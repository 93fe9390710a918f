"""The protocols of other exchanges than Wallex, spoken by the simulated one.

One market model feeds them all. Each module holds a class `Simulated` with one exchange's protocol,
faults included.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from radar_simulator.dialects.common.base import Dialect

NAMES = tuple(sorted(each.name for each in iter_modules(__path__) if not each.ispkg))
"""The exchanges whose protocol the simulator speaks, besides Wallex: the modules here."""


def load(name: str) -> "type[Dialect]":
    """Return the protocol of an exchange.

    Raises:
        KeyError: If there is none of that name.
    """
    if name not in NAMES:
        raise KeyError(name)
    dialect: type[Dialect] = import_module(f"radar_simulator.dialects.{name}").Simulated
    return dialect
