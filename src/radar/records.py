"""What radar records: a trade and one side of an order book, the same for every exchange.

Amounts of trades are exact decimals in canonical text (no exponent, no leading zeros, no
trailing zeros after the point), so that nothing between the exchange's text and the
database's Decimal(38, 18) can round. Prices and quantities of the order book are IEEE
doubles because that is what exchanges send there (JSON numbers); their shortest decimal
text is exactly the text that was sent.
"""

from enum import StrEnum

import msgspec


class TradeSide(StrEnum):
    """The side of the taker, who caused the trade."""

    BUY = "buy"
    SELL = "sell"


class BookSide(StrEnum):
    """A side of the order book."""

    BID = "bid"
    ASK = "ask"


class Market(msgspec.Struct, frozen=True):
    """A market of an exchange."""

    symbol: str  # as the exchange writes it: USDTTMN
    base: str  # USDT
    quote: str  # TMN


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One trade as an exchange reported it."""

    source: str  # the exchange: wallex
    symbol: str
    base: str
    quote: str
    side: TradeSide
    price: str  # canonical decimal, quote units for one base unit
    base_amount: str  # canonical decimal, base units
    event_time_ms: int  # the exchange's clock, Unix time
    received_at_us: int  # our clock when the frame arrived, Unix time


class DepthSnapshot(msgspec.Struct, frozen=True, gc=False):
    """All levels of one side of an order book at one moment, best level first."""

    source: str
    symbol: str
    base: str
    quote: str
    side: BookSide
    prices: tuple[float, ...]
    quantities: tuple[float, ...]  # as many as prices
    received_at_us: int
