"""The interface of an exchange's driver.

A driver knows addresses, subscriptions and wire formats of one exchange. It opens no socket and
reads no clock: bytes and a time go in, events come out. An `Exchange` has no state. A `Stream`
holds the state of the protocol on one connection.

    opened() ──> Send …            the producer sends these frames
    receive(frame, time) ──> Event …
    keepalive(time) ──> Event …, and when to ask again
    fetched(request, body, time) ──> Event …    the answer to a `Fetch`
"""

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from enum import StrEnum
from typing import ClassVar, NamedTuple, Protocol

import msgspec

from radar.datasets import Dataset
from radar.records import (
    BookSide,
    BookUpdate,
    DepthSnapshot,
    ExchangeCandle,
    GapCause,
    Market,
    Trade,
)

MAX_DETAIL_CHARACTERS = 200
NEVER_US = 1 << 62  # `keepalive` has nothing to send, ever


def brief(text: str) -> str:
    """Return a text of the exchange for an error: bounded, on one line, escaped."""
    shown = repr(text[:MAX_DETAIL_CHARACTERS])[1:-1]
    return f"{shown[:MAX_DETAIL_CHARACTERS]}…" if len(text) > MAX_DETAIL_CHARACTERS else shown


class Send(msgspec.Struct, frozen=True, gc=False):
    """A text frame for the exchange.

    Attributes:
        text: The frame.
        is_pong: It answers a ping; `Limits.max_pongs` counts these.
    """

    text: str
    is_pong: bool = False


class Fetch(msgspec.Struct, frozen=True):
    """A REST request that the stream needs; the answer goes to `Stream.fetched`.

    Attributes:
        path: Path and query of a GET request.
        symbol: The market that it is about.
        tag: The stream's own note, by which it knows the answer to an older request.
        cost_s: The share of the exchange's budget that it takes: for so long no other request is
            sent. At least what `Limits.requests_per_s` gives.
    """

    path: str
    symbol: str
    tag: int = 0
    cost_s: float = 0.0


class Subscribed(msgspec.Struct, frozen=True):
    """The exchange delivers these markets from now on: their coverage begins."""

    symbols: tuple[str, ...]


class Refused(msgspec.Struct, frozen=True):
    """The exchange does not deliver these markets on this connection."""

    symbols: tuple[str, ...]
    reason: str  # printable and bounded, see `brief`


class Lost(msgspec.Struct, frozen=True):
    """Records of a market are missing, as the exchange's numbers or the lack of a book prove.

    Attributes:
        symbol: The market.
        cause: The kind of proof: SEQUENCE or CHECKSUM; MUTE: no snapshot of the book has come.
        since_us: When the newest good record before arrived, Unix time.
        first_id: The first missing number; 0 if the proof has no numbers.
        last_id: The last missing number.
    """

    symbol: str
    cause: GapCause
    since_us: int
    first_id: int = 0
    last_id: int = 0


class Newest(msgspec.Struct, frozen=True):
    """The exchange sends the consecutive number of a market's newest trade.

    So a missing trade shows without a later one.
    """

    symbol: str
    number: int


class UnreadBook(msgspec.Struct, frozen=True, gc=False):
    """Both sides of a book that is parsed only if a side is used.

    Attributes:
        symbol: The market.
        received_at_us: When it counts as received, Unix time.
        size_bytes: Of the data that it keeps in memory.
        read: Returns the snapshots of both sides; raises InvalidFrame.
    """

    symbol: str
    received_at_us: int
    size_bytes: int
    read: Callable[[], Sequence[DepthSnapshot]]


class Goodbye(msgspec.Struct, frozen=True):
    """The exchange will end the connection: open its successor now."""

    reason: str


class Hello(msgspec.Struct, frozen=True, gc=False):
    """The exchange's greeting on a new connection."""

    session: str  # the exchange's ID of the connection, for its support


Event = (
    Trade
    | DepthSnapshot
    | UnreadBook
    | BookUpdate
    | Send
    | Fetch
    | Subscribed
    | Refused
    | Lost
    | Newest
    | Goodbye
    | Hello
)


class Limits(msgspec.Struct, frozen=True):
    """How much an exchange takes, and how it ends connections.

    Attributes:
        lifetime_s: The exchange ends an older connection.
        markets_per_connection: Markets of one dataset that suit one connection.
        sends_per_s: Frames that the exchange takes on one connection.
        connects_per_s: New connections that it takes from one address.
        requests_per_s: REST requests that it takes from one address; heavier ones name their cost.
        max_pongs: Answers to its pings that it takes on one connection.
        max_frame_bytes: The largest frame that it sends, if that is above the option's value.
        subscribe_s: It answers a subscription within this time.
    """

    lifetime_s: float = 86_400.0
    markets_per_connection: int = 100
    sends_per_s: float = 10.0
    connects_per_s: float = 10.0
    requests_per_s: float = 20.0
    max_pongs: int = 1 << 62
    max_frame_bytes: int = 0
    subscribe_s: float = 15.0


class MarketList(NamedTuple):
    """The spot markets as the exchange lists them."""

    markets: list[Market]
    # Name and reason of the first entries that are no market, both printable.
    malformed: list[tuple[str, str]]
    more_malformed: int = 0  # how many others there are


class RecentTrades(NamedTuple):
    """The newest trades of a market from REST."""

    trades: list[Trade]  # oldest first, in the order of the exchange; each received 1 µs later
    invalid: int  # entries that differ from the exchange's documentation


class Outcome(StrEnum):
    """How far a backfill came."""

    RUNNING = "running"
    COMPLETE = "complete"
    PARTIAL = "partial"  # the exchange has no more of it


class BackfillPages(Protocol):
    """Fetches the trades of a hole page by page. Pure: it names requests and takes answers."""

    @property
    def path(self) -> str:
        """Path and query of the next request."""

    @property
    def cost_s(self) -> float:
        """Its share of the exchange's budget, as in `Fetch`."""

    @property
    def outcome(self) -> Outcome:
        """Whether more requests are needed, and how it ended."""

    def take(self, body: bytes, received_at_us: int) -> RecentTrades:
        """Take the answer to the request; return its trades, oldest first.

        Raises:
            ExchangeUnavailable: The answer is not a list of trades.
        """


class TradeSearch(Protocol):
    """Finds the number of the first trade of a time. Pure: it names requests and takes answers."""

    @property
    def path(self) -> str:
        """Path and query of the next request."""

    @property
    def cost_s(self) -> float:
        """Its share of the exchange's budget, as in `Fetch`."""

    @property
    def found(self) -> int | None:
        """The number of the first trade at or after the time; None: more requests are needed.

        It may belong to a trade that has not happened yet. It is 1 if the exchange offers no trade
        before the time.
        """

    def take(self, body: bytes, received_at_us: int) -> None:
        """Take the answer to the request.

        Raises:
            ExchangeUnavailable: The answer is not a list of trades.
        """


class Resolution(NamedTuple):
    """An interval of candles."""

    code: str  # as the exchange writes it: 60
    interval_s: int


class CandleHistory(msgspec.Struct, frozen=True):
    """The past candles that an exchange offers.

    Attributes:
        resolutions: The intervals, by radar's name: 1h.
        page: The most candles of an answer.
        day_zone: The time zone at whose midnight a candle of a day begins.
        cost_s: The share of the budget of a request, as in `Fetch`.
        kept: It offers only so many newest candles of each interval; 0: all.
    """

    resolutions: Mapping[str, Resolution]
    page: int
    day_zone: str
    cost_s: float = 0.0
    kept: int = 0


class RawCandle(msgspec.Struct, frozen=True):
    """A candle as an answer holds it: literals, and when it begins (Unix time)."""

    opened_at_us: int
    open: msgspec.Raw
    high: msgspec.Raw
    low: msgspec.Raw
    close: msgspec.Raw
    volume: msgspec.Raw


class RawDayVolume(NamedTuple):
    """The volume of the last 24 hours as an answer holds it."""

    name: str  # the market's symbol, or its `code`
    volume: msgspec.Raw  # the literal, in base units


class Candles(NamedTuple):
    """The candles of an answer."""

    candles: list[ExchangeCandle]  # oldest first
    invalid: int  # entries that differ from the exchange's documentation


class Stream:
    """The protocol of one connection for one dataset and some markets. Pure.

    Attributes:
        url: Address of the WebSocket; empty: the exchange has none for this dataset, and the
            stream lives of its fetches.
        headers: More headers of the handshake.
        may_leave_unread: Whether `receive` may return an UnreadBook instead of two snapshots.
    """

    url: str = ""
    headers: Mapping[str, str] = {}
    may_leave_unread: bool = False

    def opened(self) -> Iterable[Event]:
        """Return the frames of a new connection: greeting and subscriptions.

        A protocol without acknowledgements adds `Subscribed` itself.
        """
        raise NotImplementedError

    def receive(self, frame: bytes, received_at_us: int) -> Iterable[Event]:
        """Return the events of a frame; none if radar does not use the frame.

        Args:
            frame: A WebSocket message.
            received_at_us: When it arrived, Unix time in microseconds.

        Raises:
            InvalidFrame: The frame differs from the exchange's documentation. It changes nothing
                in the stream.
        """
        raise NotImplementedError

    def snapshot_of(self, frame: bytes) -> tuple[str, BookSide] | None:
        """Return the market and the side of which a frame is a whole snapshot, without parsing it.

        None: only `receive` shows what the frame is. A frame with such a snapshot may be left out,
        or be received later than others: it changes nothing in the stream, and `receive` returns
        one DepthSnapshot of this market and side for it, or raises InvalidFrame.
        """
        return None

    def keepalive(self, now_us: int) -> tuple[Iterable[Event], int]:
        """Return what to send now, and when to ask again, Unix time in microseconds."""
        return (), NEVER_US

    def fetched(self, fetch: Fetch, body: bytes, received_at_us: int) -> Iterable[Event]:
        """Take the answer to a request.

        Raises:
            ExchangeUnavailable: The answer differs from the documentation; it is asked again.
        """
        raise NotImplementedError


class StreamRequest(NamedTuple):
    """The purpose of a new connection; the arguments of `Exchange.stream`."""

    dataset: Dataset
    markets: tuple[Market, ...]
    whole_books: bool
    memory: MutableMapping[str, object]
    updates: bool


class Exchange:
    """A driver. Every method is pure and does not block.

    A driver reads the exchange's format. `radar.codec.message_format` has the rules of records;
    producers apply them to every record that a driver returns.

    Attributes:
        name: Name of the exchange, which is the `source` of its records.
        ws_url: Address of the WebSocket.
        rest_url: Address of REST, without a trailing slash.
        rest_headers: Headers of every REST request.
        limits: How much the exchange takes.
        markets_path: Path and query of the market list.
        other_markets_paths: Where the markets are listed as well, if that path fails.
        recent_trades_full: An answer with fewer trades than this holds all trades of the market.
        recent_trades_cost_s: The share of the budget of a request for them, as in `Fetch`.
        proves_trades: Its trades carry consecutive numbers, so a hole proves a loss.
        trade_history: How far back `find_trade` and `backfill` lead, in words; empty: nowhere.
        candle_history: The past candles that it offers; None: none.
        day_volumes_path: Path and query of the volume of the last 24 hours of all markets; empty:
            it offers none that is documented.
        day_volumes_cost_s: The share of the budget of that request, as in `Fetch`.
    """

    name: ClassVar[str]
    ws_url: ClassVar[str]
    rest_url: ClassVar[str]
    rest_headers: ClassVar[Mapping[str, str]] = {}
    limits: ClassVar[Limits] = Limits()
    markets_path: ClassVar[str]
    other_markets_paths: ClassVar[tuple[str, ...]] = ()
    recent_trades_full: ClassVar[int]
    recent_trades_cost_s: ClassVar[float] = 0.0
    proves_trades: ClassVar[bool] = False
    trade_history: ClassVar[str] = ""
    candle_history: ClassVar[CandleHistory | None] = None
    day_volumes_path: ClassVar[str] = ""
    day_volumes_cost_s: ClassVar[float] = 0.0

    def parse_markets(self, body: bytes) -> MarketList:
        """Return the spot markets of the market list; a malformed entry does not harm the others.

        Raises:
            ExchangeUnavailable: The answer is not a market list.
        """
        raise NotImplementedError

    def stream(
        self,
        dataset: Dataset,
        markets: Iterable[Market],
        *,
        whole_books: bool,
        memory: MutableMapping[str, object] | None = None,
        updates: bool = False,
    ) -> Stream:
        """Return the protocol of a new connection.

        Args:
            dataset: The dataset to subscribe to.
            markets: The markets to subscribe to.
            whole_books: Prefer the channel that sends whole books, if there is one, to a book
                that is kept from updates.
            memory: Facts of earlier connections of the dataset, which streams keep in it by the
                symbol of a market.
            updates: Yield the updates of maintained books besides their snapshots.
        """
        memory = {} if memory is None else memory
        return self.open_stream(
            StreamRequest(dataset, tuple(markets), whole_books, memory, updates)
        )

    def open_stream(self, request: StreamRequest) -> Stream:
        """Return the protocol of a new connection; see `stream`."""
        raise NotImplementedError

    def recent_trades_path(self, market: Market) -> str:
        """Return path and query of the newest trades of a market."""
        raise NotImplementedError

    def parse_recent_trades(self, body: bytes, market: Market, received_at_us: int) -> RecentTrades:
        """Return the newest trades of a market.

        Raises:
            ExchangeUnavailable: The answer is not a list of trades.
        """
        raise NotImplementedError

    def refusal_wait_s(self, body: bytes) -> float | None:
        """Return the wait that the body of a 429 asks for; None if it asks for none.

        Only needed where the exchange does not send it as Retry-After.
        """
        return None

    def backfill(
        self, market: Market, first_id: int, last_id: int, since_us: int
    ) -> BackfillPages | None:
        """Return the requests for the trades of a hole; None if only the newest ones are offered.

        Args:
            market: The market.
            first_id: The first missing number.
            last_id: The last missing number.
            since_us: When the newest trade before the hole arrived, Unix time.
        """
        return None

    def find_trade(self, market: Market, time_us: int) -> TradeSearch:
        """Return the requests that find the first trade at or after a time (Unix time).

        Only an exchange with a `trade_history` has them.
        """
        raise NotImplementedError

    def candles_path(
        self, market: Market, resolution: Resolution, first_us: int, end_us: int
    ) -> str:
        """Return path and query of the candles that begin in a time (Unix time).

        Args:
            market: The market.
            resolution: One of `candle_history`.
            first_us: The beginning of the time.
            end_us: Its end, not included: at most a page of candles later.
        """
        raise NotImplementedError

    def candle_rows(self, body: bytes, market: Market) -> Iterable[RawCandle | None]:
        """Return the candles of an answer in any order, None for an entry that is none.

        Other candles than those of the time may be among them.

        Raises:
            ExchangeUnavailable: The answer is not a list of candles.
        """
        raise NotImplementedError

    def day_volume_rows(self, body: bytes) -> Iterable[RawDayVolume | None]:
        """Return the volumes of the last 24 hours, None for an entry that has none.

        Other markets than those of the market list may be among them.

        Raises:
            ExchangeUnavailable: The answer holds no volumes.
        """
        raise NotImplementedError
