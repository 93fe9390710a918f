"""The interface of an exchange's driver.

A driver knows only addresses, subscriptions and wire formats: it opens no socket and reads no
clock. It turns bytes and a time of receipt into records.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import msgspec

from radar.datasets import Dataset
from radar.records import DepthSnapshot, Market, Trade

MAX_DETAIL_CHARACTERS = 200


def brief(text: str) -> str:
    """Return a text of the exchange for an error: bounded, on one line, escaped."""
    shown = repr(text[:MAX_DETAIL_CHARACTERS])[1:-1]
    return f"{shown[:MAX_DETAIL_CHARACTERS]}…" if len(text) > MAX_DETAIL_CHARACTERS else shown


class Ping(msgspec.Struct, frozen=True, gc=False):
    """The exchange's own ping, a frame that expects an answer."""

    reply: str  # the text frame to send back


class Hello(msgspec.Struct, frozen=True, gc=False):
    """The exchange's greeting on a new connection."""

    session: str  # the exchange's ID of the connection, for its support


Event = Trade | DepthSnapshot | Ping | Hello


class MarketList(NamedTuple):
    """The spot markets as the exchange lists them."""

    markets: list[Market]
    malformed: list[
        tuple[str, str]
    ]  # name and reason of entries that are no market, both printable


class RecentTrades(NamedTuple):
    """The newest trades of a market from REST."""

    trades: list[Trade]  # oldest first, in the order of the exchange; each received 1 µs later
    invalid: int  # entries that differ from the exchange's documentation


class Exchange(Protocol):
    """A driver. Every method is pure and does not block.

    A driver reads the exchange's format. `radar.codec.message_format` has the rules of records;
    producers apply them to every record that a driver returns.

    Attributes:
        name: Name of the exchange, which is the `source` of its records.
        ws_url: Address of the WebSocket.
        rest_url: Address of REST, without a trailing slash.
        markets_path: Path of the market list.
        max_replies: Replies to `Ping` that the exchange takes on one connection.
        recent_trades_full: An answer with fewer trades than this holds all trades of the market.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - above

    @property
    def ws_url(self) -> str: ...  # noqa: D102

    @property
    def rest_url(self) -> str: ...  # noqa: D102

    @property
    def markets_path(self) -> str: ...  # noqa: D102

    @property
    def max_replies(self) -> int: ...  # noqa: D102

    @property
    def recent_trades_full(self) -> int: ...  # noqa: D102

    def parse_markets(self, body: bytes) -> MarketList:
        """Return the spot markets of the market list; a malformed entry does not harm the others.

        Raises:
            ExchangeUnavailable: The answer is not a market list.
        """

    def subscriptions(self, dataset: Dataset, symbols: Iterable[str]) -> list[str]:
        """Return the text frames that subscribe to one dataset of markets."""

    def parse_frame(
        self, frame: bytes, received_at_us: int, markets: Mapping[str, Market]
    ) -> tuple[Event, ...]:
        """Return the events of a frame; none if radar does not use the frame.

        Args:
            frame: A WebSocket message.
            received_at_us: When it arrived, Unix time in microseconds.
            markets: The markets by symbol.

        Raises:
            InvalidFrame: The frame differs from the exchange's documentation.
        """

    def recent_trades_path(self, symbol: str) -> str:
        """Return path and query of the newest trades of a market."""

    def parse_recent_trades(self, body: bytes, market: Market, received_at_us: int) -> RecentTrades:
        """Return the newest trades of a market.

        Raises:
            ExchangeUnavailable: The answer is not a list of trades.
        """
