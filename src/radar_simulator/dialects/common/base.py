"""The parts of a simulated exchange's protocol: pure, without sockets and without a clock.

A `Dialect` gets the messages of a connection and returns actions. It encodes trades and books for
a `Topic`, and answers REST requests. The exchange (`exchange.py`) owns connections and subscribers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import msgspec

from radar_simulator.dialects.common.markets import BookUpdate, Market, Trade

Json: TypeAlias = Any
TopicKind: TypeAlias = Literal["trades", "book"]


class Topic(NamedTuple):
    """One kind of frames of one market; all subscribers of a topic get the same frames.

    Attributes:
        kind: Trades, or the book.
        symbol: The market's symbol.
        form: How the dialect encodes it: channel, envelope, unit of time.
    """

    kind: TopicKind
    symbol: str
    form: str = ""


@dataclass(slots=True)
class Session:
    """The state of one connection.

    Attributes:
        number: Position among all connections of the run, from 1.
        path: Path of the request that opened it.
        query: Parameters of that request.
        opened_us: Unix time of opening, in microseconds.
        ping_s: The period of the exchange's pings, in seconds.
        pong_s: The time to answer one, in seconds; 0 waits for ever.
        topics: Its subscriptions, by the name that the client used.
        received_us: Times of the newest messages, for limits.
        next_us: The time of the next ping or heartbeat.
        waiting_us: The time of the oldest unanswered ping, 0 if there is none.
        sent_us: The time of the newest frame to the client.
        greeted: The client has made itself known, where the protocol wants that.
        flushes: Counts the writes, for rare events.
    """

    number: int
    path: str
    query: Mapping[str, str]
    opened_us: int
    ping_s: float
    pong_s: float
    topics: dict[str, Topic | None] = field(default_factory=dict)
    received_us: list[int] = field(default_factory=list)
    next_us: int = 0
    waiting_us: int = 0
    sent_us: int = 0
    greeted: bool = False
    flushes: int = 0

    def too_fast(self, now_us: int, messages: int, window_us: int) -> bool:
        """Count a message and return whether there were more than so many in the window."""
        self.received_us = [at for at in self.received_us if at > now_us - window_us]
        self.received_us.append(now_us)
        return len(self.received_us) > messages


class Text(NamedTuple):
    """Send a text frame.

    Attributes:
        payload: The text.
        trades: Trades in it that were sent before.
        book: The market whose whole book is in it, or empty.
    """

    payload: str
    trades: Sequence[Trade] = ()
    book: str = ""


class Ping(NamedTuple):
    """Send a ping of the WebSocket protocol."""

    payload: bytes


class Close(NamedTuple):
    """Start the closing handshake."""

    code: int
    reason: str


class Subscribe(NamedTuple):
    """From now on send the topic's frames."""

    topic: Topic


class Unsubscribe(NamedTuple):
    """Send no more frames of the topic."""

    topic: Topic


Action: TypeAlias = Text | Ping | Close | Subscribe | Unsubscribe


class Outgoing(NamedTuple):
    """A frame for all subscribers of a topic.

    Attributes:
        payload: The text.
        trades: Trades in it that have just happened.
        again: Trades in it that were sent before.
    """

    payload: str
    trades: Sequence[Trade] = ()
    again: Sequence[Trade] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a REST request.

    Attributes:
        status: HTTP status.
        body: The body.
        headers: Further headers.
        content_type: Type of the body.
        trades: Trades in the body.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    trades: Sequence[Trade] = ()


class Request(NamedTuple):
    """A REST request.

    Attributes:
        path: The path without the query.
        query: The parameters of the query.
        headers: The headers, by lower-case name.
        now_us: Unix time in microseconds.
    """

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    now_us: int

    def number(self, name: str, default: int, most: int) -> int:
        """Return a parameter that is a whole number of at least 0, bounded.

        Raises:
            ValueError: If it is no number.
        """
        text = self.query.get(name, "")
        if not text:
            return default
        if not text.isascii() or not text.isdigit():
            raise ValueError(name)
        return min(int(text), most)


MAINTENANCE = (
    b"<!DOCTYPE html><html><head><title>Maintenance</title></head><body>"
    b"<center><h1>The service is temporarily unavailable</h1></center><hr></body></html>"
)
"""The page that a gateway answers with while the exchange is down."""


class Dialect:
    """Base of the protocols; the defaults are those of an exchange without the feature.

    Attributes:
        markets: The markets by symbol.
    """

    name: ClassVar[str]
    """Name of the exchange."""
    path: ClassVar[str]
    """Path of the WebSocket."""
    paths: ClassVar[tuple[str, ...]] = ()
    """Further paths of WebSockets."""
    prefixes: ClassVar[tuple[str, ...]] = ()
    """Beginnings of further paths."""
    resolution_us: ClassVar[int] = 1000
    """Trades carry times of this resolution."""
    quotes: ClassVar[Sequence[tuple[str, str]]]
    """Quotes: the model's name, TMN or USDT, and the exchange's."""
    bases: ClassVar[tuple[str, ...]]
    """Base assets, the busiest first."""
    spelling: ClassVar[str] = "{base}{quote}"
    """How a symbol is made of base and quote."""
    rial: ClassVar[bool] = False
    """Prices in TMN are sent in Rial."""
    price_places: ClassVar[int] = 8
    """The most decimals of a price."""
    ids_are_numbers: ClassVar[bool] = True
    """`native_id` is the plain number of a trade in its market."""
    greets_with_book: ClassVar[bool] = False
    """A subscription to a book begins with the whole book."""
    budget: ClassVar[tuple[int, float]] = (0, 60.0)
    """Cost of REST requests within so many seconds; 0 has no limit."""

    def __init__(self, markets: Sequence[Market]) -> None:
        self.markets: Mapping[str, Market] = {market.symbol: market for market in markets}

    # Connections

    def opened(self, session: Session, now_us: int) -> Iterable[Action]:
        """Greet a new connection."""
        return ()

    def received(self, session: Session, message: str | bytes, now_us: int) -> Iterable[Action]:
        """Handle a message."""
        raise NotImplementedError

    def ponged(self, session: Session, now_us: int) -> Iterable[Action]:
        """Handle the answer to a ping of the protocol."""
        session.waiting_us = 0
        return ()

    def keepalive(self, session: Session, now_us: int) -> Iterable[Action]:
        """Send what is due: pings, heartbeats, the end of a silent connection."""
        return ()

    def frames(self, session: Session, payloads: list[str]) -> list[str]:
        """Put the payloads of one write into frames."""
        return payloads

    # The market

    def native_id(self, trade: Trade) -> str:
        """Return a trade's ID as the exchange writes it, empty if it has none."""
        return trade.native or str(trade.id)

    def trades(self, topic: Topic, trades: Sequence[Trade]) -> Iterable[Outgoing]:
        """Encode new trades of the topic's market, oldest first."""
        raise NotImplementedError

    def book(self, topic: Topic, update: BookUpdate) -> Iterable[Outgoing]:
        """Encode a changed book."""
        raise NotImplementedError

    def due(self, now_us: int) -> Iterable[str]:
        """Yield the markets whose book is to be sent now, changed or not."""
        return ()

    def announce(self, symbol: str) -> None:
        """Send the next change of a market's book at once, whatever the dialect's schedule."""

    def book_named(self, payload: str | bytes) -> str:
        """Return the market of a recorded change of a book, if only its text shows it."""
        return ""

    def follow(self, payload: str | bytes, *, before: bool) -> None:
        """Take over the numbers of a recorded frame: the next ones follow it, or lead to it.

        Args:
            payload: The frame.
            before: It is still to come.
        """

    def polled(self, request: Request) -> str:
        """Return the market whose trades a request polls, if there is no channel of trades."""
        return ""

    # Faults

    def goodbye(self, session: Session, now_us: int) -> Iterable[Action]:
        """Announce a planned end, where the protocol can."""
        return ()

    goodbye_code: ClassVar[tuple[int, str]] = (1001, "")
    """Code and reason of the close frame of a planned end."""
    restart_s: ClassVar[float] = 0.0
    """Handshakes are refused for so long after a planned end."""

    def refusal(self, now_us: int) -> Answer:
        """Answer a handshake while the exchange restarts."""
        return Answer(503, b"")

    def spoil(self, symbol: str) -> None:
        """Send one wrong checksum, where the protocol has checksums.

        Raises:
            ValueError: If it has none.
        """
        raise ValueError(f"{self.name} has no checksums")

    def restart(self) -> None:
        """Begin a new epoch, where the protocol's numbers can begin anew.

        Raises:
            ValueError: If it has none.
        """
        raise ValueError(f"{self.name} has no epochs")

    restart_closes: ClassVar[bool] = True
    """A new epoch ends all connections."""

    # REST

    def rest(self, request: Request) -> Answer:
        """Answer a REST request."""
        raise NotImplementedError

    def cost(self, request: Request) -> int:
        """Return the cost of a request in the exchange's budget."""
        return 1

    def throttled(self, retry_s: int, now_us: int, *, banned: bool) -> Answer:
        """Refuse a request beyond the budget, or of a banned client."""
        headers = {"Retry-After": str(retry_s)}
        return Answer(418 if banned else 429, b"", headers, "text/plain")


def encode(value: Json) -> str:
    """Write JSON as a text without spaces."""
    return msgspec.json.encode(value).decode()


def answer(value: Json, trades: Sequence[Trade] = (), status: int = 200) -> Answer:
    """Answer with JSON."""
    return Answer(status, msgspec.json.encode(value), trades=trades)


def decoded(message: str | bytes) -> Json:
    """Read a message's JSON; None if it is none."""
    try:
        return msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def shortest(text: str) -> msgspec.Raw:
    """Put a decimal into JSON as a program with doubles writes it: `1e-05`."""
    return raw(repr(float(text)) if text.startswith("0.0000") else text)


def raw(text: str) -> msgspec.Raw:
    """Put a number's literal into JSON as it is."""
    return msgspec.Raw(text.encode())
