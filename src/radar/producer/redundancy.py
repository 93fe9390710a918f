"""Counts the trades that two connections of a market brought, and those that only one brought.

The trades that each connection missed of the other's estimate how many both missed. Pure; times
are arguments, Unix time in microseconds.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

# Another connection brings the same trade within this time, or not at all.
WAIT_US = 5_000_000
# A further trade makes the oldest one count at once.
MAX_WAITING = 50_000


@dataclass(eq=False)
class Deliveries:
    """The trades of one connection while others delivered the same markets.

    Attributes:
        both: Another connection brought them as well.
        alone: No other connection brought them.
    """

    both: int = 0
    alone: int = 0


@dataclass
class _Waiting:
    first: Deliveries
    symbol: str
    received_at_us: int
    is_shared: bool = False


class Redundancy:
    """Compares the connections of a producer."""

    def __init__(self, connections: Callable[[str], int]) -> None:
        """Start without a trade.

        Args:
            connections: Returns how many connections deliver a market now. A trade that came while
                there was only one proves no loss of another.
        """
        self._connections = connections
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()

    def take(self, identity: str, symbol: str, by: Deliveries, now_us: int) -> None:
        """Take a trade of one connection.

        Args:
            identity: The same for each delivery of a trade.
            symbol: The market.
            by: The counts of the connection.
            now_us: When it arrived.
        """
        self.settle(now_us)
        known = self._waiting.get(identity)
        if known is None:
            self._waiting[identity] = _Waiting(by, symbol, now_us)
        elif known.first is not by:
            if not known.is_shared:
                known.first.both += 1
                known.is_shared = True
            by.both += 1

    def settle(self, now_us: int) -> None:
        """Count the trades that no other connection brings any more."""
        while self._waiting:
            oldest = next(iter(self._waiting.values()))
            # A clock that was set back settles them as well.
            if 0 <= now_us - oldest.received_at_us < WAIT_US and len(self._waiting) < MAX_WAITING:
                return
            self._waiting.popitem(last=False)
            if not oldest.is_shared and self._connections(oldest.symbol) > 1:
                oldest.first.alone += 1
