"""The records: trades, sides of books, candles, gaps and sessions, the same for every exchange.

Amounts of trades are exact decimals in canonical text: no exponent, no leading zeros, no trailing
zeros after the point. So no step between the exchange's text and the database's Decimal(38, 18) can
round. Prices and quantities of the order book are IEEE doubles, because exchanges send JSON numbers
there. Their shortest decimal text is exactly the exchange's text.
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


class GapCause(StrEnum):
    """Why records of a market are missing."""

    DISCONNECTED = "disconnected"  # the last connection ended
    SILENT = "silent"  # the connection was given up because no frame came any more
    REFUSED = "refused"  # it ended, and the exchange refused another one
    BACKPRESSURE = "backpressure"  # it was not read, because Kafka took no messages
    MUTE = "mute"  # it lived, but brought no record of this market, or no snapshot of its book
    REFUSED_BY_KAFKA = "refused_by_kafka"  # the records came; Kafka refused the messages for good
    SUSPENDED = "suspended"  # the machine or the producer stood still
    CLOCK = "clock"  # this machine's clock was set; the real duration is not known
    SEQUENCE = "sequence"  # the exchange's numbers prove that records are missing
    CHECKSUM = "checksum"  # the exchange's checksum proves that the book was wrong


class Market(msgspec.Struct, frozen=True):
    """A market of an exchange."""

    symbol: str  # as the exchange writes it: USDTTMN
    base: str  # USDT
    quote: str  # TMN, unified: exchanges also write IRT, RLS or IRR
    code: str = ""  # the exchange's other name of it, where its protocol needs one


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
    native_id: str = ""  # the exchange's ID of the trade; empty: it has none
    sequence: int = 0  # the exchange's consecutive number of it; 0: it has none
    event_time_us: int = (
        0  # as event_time_ms, where the exchange sends microseconds; 0: it does not
    )
    set_back_us: int = 0  # by how much our clock had been set back since this producer began


class ExchangeCandle(msgspec.Struct, frozen=True, gc=False):
    """A finished candle as the exchange computed it; radar's own candles come from trades."""

    source: str  # the exchange: wallex
    symbol: str
    base: str
    quote: str
    interval_s: int  # nominal length: a day has 86,400
    resolution: str  # as the exchange writes it: 60
    time_zone: str  # a candle of a day begins at its midnight; empty: shorter than a day
    opened_at_us: int  # when it begins, as the exchange says, Unix time
    open: str  # canonical decimals, quote units for one base unit
    high: str
    low: str
    close: str
    volume: str  # canonical decimal, base units
    received_at_us: int  # our clock, Unix time


class DepthSnapshot(msgspec.Struct, frozen=True, gc=False):
    """All levels of one side of an order book at one moment, best level first."""

    source: str
    symbol: str
    base: str
    quote: str
    side: BookSide
    prices: tuple[float, ...]
    quantities: tuple[float, ...]  # one for each price
    received_at_us: int
    event_time_us: int = 0  # the exchange's clock, Unix time; 0: the exchange sends none
    sequence: int = 0  # the exchange's number of this state of the book; 0: it has none
    verified: bool = False  # a chain of numbers or a checksum proves the book
    set_back_us: int = 0  # by how much our clock had been set back since this producer began


class BookUpdate(msgspec.Struct, frozen=True, gc=False):
    """How a maintained book has changed, at the depth that the exchange sends.

    The first of a chain holds the whole book. Each later one holds the changed levels, or once in
    a while the whole book again, so that a reader need not begin at the first.
    """

    source: str
    symbol: str
    base: str
    quote: str
    begins: bool  # the first of a chain
    is_snapshot: bool  # the levels are the whole book
    bids: tuple[tuple[float, float], ...]  # price and quantity; the quantity 0 removes the price
    asks: tuple[tuple[float, float], ...]
    received_at_us: int
    event_time_us: int  # the exchange's clock, Unix time; 0: the exchange sends none
    sequence: int  # the exchange's number of the book after it; 0: it has none
    verified: bool  # a chain of numbers or a checksum proves the book after it
    set_back_us: int = 0  # by how much our clock had been set back since this producer began


class Gap(msgspec.Struct, frozen=True):
    """A time in which no connection of a producer covered some markets.

    By our clock: from the last frame before, to the next subscription or to the next read.
    """

    source: str
    record_kind: str  # the dataset: trades or depth
    cause: GapCause
    symbols: tuple[str, ...]
    began_at_us: int
    ended_at_us: int
    repaired: bool  # backfill has filled the gap, for every market
    received_at_us: int  # when this was recorded, our clock
    first_id: int = 0  # the first missing number of the exchange; 0: no numbers prove the loss
    last_id: int = 0
    missing: int = 0  # how many records the numbers prove to be missing


class SessionReport(msgspec.Struct, frozen=True):
    """A session: a time in which one connection delivered some markets.

    A producer publishes it repeatedly while it lasts, each time longer, and a last time at its end.
    """

    source: str
    record_kind: str  # the dataset: trades or depth
    connection: str  # a random name: hexadecimal digits
    symbols: tuple[str, ...]
    began_at_us: int  # subscribed, or read again
    ended_at_us: int  # newest frame so far
    end_reason: str  # one word; OPEN while it goes on
    interval_ms: int  # at most one snapshot of each side of a book in this time; 0: every one
    received_at_us: int  # when this was recorded, our clock
    both: int = 0  # trades that a redundant connection brought as well
    alone: int = 0  # trades that only this connection brought, although another one lived


OPEN = "open"


class FrameKind(StrEnum):
    """The kinds of recorded frames."""

    OPENED = "opened"  # no frame of the exchange: how the connection was opened, as JSON
    RECEIVED = "received"
    SENT = "sent"
    FETCHED = "fetched"  # the answer to a REST request of the connection


class Opening(msgspec.Struct, frozen=True):
    """How a connection was opened: the arguments of `Exchange.stream`, and the interval."""

    url: str  # empty: the connection has no socket, only REST requests
    markets: tuple[Market, ...]
    whole_books: bool
    updates: bool
    interval_ms: int  # at most one snapshot of each side of a book in this time; 0: every snapshot


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A frame of a connection, byte for byte."""

    source: str
    record_kind: str  # the dataset of the connection
    producer: str  # random name of the process
    connection: str  # random name of the connection
    place: int  # on the connection, from 0, without a hole
    what: FrameKind
    content: bytes
    received_at_ns: int  # our clock, Unix time; of a sent frame, when it was sent
    monotonic_ns: int  # the machine's monotonic clock
    set_back_us: int = 0  # by how much our clock had been set back since this producer began
    symbols: tuple[str, ...] = ()  # the markets of the connection; only at place 0
    path: str = ""  # of FETCHED: path and query of the request
    fetch_symbol: str = ""  # of FETCHED: the market that the request is about
    fetch_tag: int = 0  # of FETCHED: the note of the protocol about the request
