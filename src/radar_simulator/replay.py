"""Exchanges that show recorded markets again, in the protocol of the simulated ones.

A caller plays events and decides when. No event is dropped: a client that reads slowly shows in
`backlog_bytes`, and the caller waits.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from radar_simulator import wire
from radar_simulator.client import Client
from radar_simulator.dialects.common.base import (
    Answer,
    Dialect,
    Request,
    Session,
    Subscribe,
    Text,
    Topic,
    TopicKind,
)
from radar_simulator.dialects.common.exchange import DialectClient, DialectExchange
from radar_simulator.dialects.common.markets import Book, BookUpdate, Levels, Market, Trade
from radar_simulator.exchange import SimulatedExchange
from radar_simulator.ledger import Ledger, LedgerTrade
from radar_simulator.listings import MarketListing
from radar_simulator.market import DepthDue, SimulatedTrade
from radar_simulator.options import SimulatorOptions
from radar_simulator.recorded import (
    RecordedBook,
    RecordedChange,
    RecordedEvent,
    RecordedFrame,
    RecordedMarkets,
    RecordedRequest,
    RecordedState,
    RecordedTrade,
)

POLL_TRADES = 500
"""Trades of a market that may wait to be polled; the most that one answer holds is 1,000."""

_NO_LIMIT = 10**9


class _RecordedBook(Book):
    """The book of a recorded market: it has the recorded states and numbers."""

    def show(self, book: RecordedBook) -> None:
        """Have a state without an update."""
        self.bids, self.asks = self.levels()
        self.id = book.number or self.id
        self.time_us = book.time_us

    def take(self, owner: Market, book: RecordedBook) -> BookUpdate | None:
        """Go on to a state; None if it is not newer than the present one."""
        if book.number and book.number <= self.id:
            return None
        bids, asks = self.levels()
        changed_bids, changed_asks = self.changes(bids, asks)
        previous = self.id
        self.id = book.number or previous + max(1, len(changed_bids) + len(changed_asks))
        self.bids, self.asks, self.time_us = bids, asks, book.time_us
        return BookUpdate(
            owner, previous + 1, self.id, previous, changed_bids, changed_asks, book.time_us
        )

    def inside(self) -> tuple[int, Levels, Levels]:
        """Return the present state: others are not recorded."""
        return self.id, self.bids, self.asks


class _RecordedMarket(Market):
    """A market whose trades have their recorded IDs."""

    book: _RecordedBook

    def __init__(self, number: int, market: Market) -> None:
        super().__init__(number, market.model, market.first_id, 0, rial=market.factor != 1)
        self.book = _RecordedBook(market.model, 0, 0)

    def take(self, made: SimulatedTrade, trade: RecordedTrade, *, number_is_id: bool) -> Trade:
        """Keep a trade under its ID."""
        native = trade.native_id
        identity = int(native) if number_is_id and native.isascii() and native.isdigit() else 0
        kept = Trade(
            made.number,
            self,
            identity or self.next_id,
            made.number,
            trade.time_us,
            made.ticks,
            made.lots,
            made.is_buy,
            "" if identity else native,
        )
        if self.trades and kept.id <= self.trades[-1].id:
            self._insert(kept)
        else:
            self.trades.append(kept)
        return kept

    def _insert(self, kept: Trade) -> None:
        """Keep a trade that comes after one with a larger ID."""
        later = []
        while self.trades and self.trades[-1].id > kept.id:
            later.append(self.trades.pop())
        self.trades.append(kept)
        self.trades.extend(reversed(later))


class _Forms:
    """The subscriptions of a recorded connection, as its client asked for them.

    Attributes:
        session: The state of its protocol.
        topics: The form of each subscription, by kind and market.
        now_us: A clock of its own, so slow that no limit of messages is reached.
    """

    def __init__(self, request: RecordedRequest) -> None:
        self.now_us = 0
        self.session = Session(0, request.path, dict(request.query), 0, 0.0, 0.0)
        self.topics: dict[tuple[TopicKind, str], Topic] = {}


class ReplayedDialect(DialectExchange):
    """Recorded markets in the protocol of another exchange than Wallex."""

    market: RecordedMarkets

    def __init__(self, options: SimulatorOptions, ledger: Ledger, markets: RecordedMarkets) -> None:
        super().__init__(options, ledger, markets)
        self.quiet = True  # the market does not move by itself
        self.now_us = 0
        self._ahead: set[RecordedBook | RecordedChange] = set()
        self._unpolled: dict[str, int] = {}
        self._forms: dict[str, _Forms] = {}
        self._frames_follow = False

    def list_markets(self, made: type[Dialect]) -> list[Market]:
        """Return new markets without trades."""
        markets = [_RecordedMarket(each.number, each) for each in super().list_markets(made)]
        self._recorded = {market.symbol: market for market in markets}
        return list(markets)

    def load(self, state: RecordedState) -> None:
        """Have the state of a moment; connections that were open before must have ended."""
        self.market.clear()
        self.dialect = type(self.dialect)(self.list_markets(type(self.dialect)))
        self._unpolled.clear()
        self._forms.clear()
        self._frames_follow = bool(state.frames)
        for trade in state.trades:
            self._take_trade(trade)
        for book in (*state.books, *state.ahead):
            if isinstance(book, RecordedChange):
                self.market.change_book(book)
            else:
                self.market.take_book(book)
                self._recorded[book.symbol].book.show(book)
        self._ahead = set(state.ahead) if self.dialect.greets_with_book else set()
        for request in state.requests:
            self._follow(request)
        for frame in reversed(state.frames):
            self.dialect.follow(frame.payload, before=True)

    def play(self, events: Iterable[RecordedEvent], now: float) -> None:
        """Let events happen and send them; `now` is the event loop's time."""
        for event in events:
            if isinstance(event, RecordedTrade):
                self._play_trade(event, now)
            elif isinstance(event, RecordedRequest):
                self._follow(event)
            elif isinstance(event, RecordedFrame):
                self._play_frame(event, now)
            elif event in self._ahead:
                self._ahead.discard(event)
            elif (update := self._take_book(event)) is not None:
                self.dialect.announce(event.symbol)
                self._publish_book(update, now)
        self._flush()

    def _take_book(self, event: RecordedBook | RecordedChange) -> BookUpdate | None:
        """Let a book go on; return the update if someone needs it and it is a new state."""
        market = self._recorded[event.symbol]
        if isinstance(event, RecordedBook):
            self.market.take_book(event)
            return market.book.take(market, event)
        self.market.change_book(event)
        if not self._topics["book", event.symbol]:
            return None  # the levels are made when a client asks for them
        settled = self.market.settle(event.symbol)
        update = market.book.take(market, settled) if settled else None
        if update is None or event.is_whole:
            return update
        # Also levels that were repeated without a change.
        return update._replace(
            bids=self.market.levels(event.bids), asks=self.market.levels(event.asks)
        )

    def _settle(self) -> None:
        """Make the levels of all changed books."""
        for symbol in self.market.changed():
            if (book := self.market.settle(symbol)) is not None:
                self._recorded[symbol].book.show(book)

    def receive(self, client: Client, message: str | bytes, now: float) -> None:
        """Handle a message of a client."""
        self._settle()
        super().receive(client, message, now)

    def _say(self, client: DialectClient, text: Text) -> None:
        """Send a text; a book of which nothing is known yet is left out: its frame follows."""
        if (
            not text.book
            or any(self.dialect.markets[text.book].book.levels())
            or not self._frames_follow
        ):
            super()._say(client, text)

    def _follow(self, request: RecordedRequest) -> None:
        """Learn the forms of a recorded connection from its client's messages."""
        forms = self._forms.setdefault(request.connection, _Forms(request))
        forms.now_us += 1_000_000
        actions = (
            self.dialect.received(forms.session, request.text, forms.now_us)
            if request.text
            else self.dialect.opened(forms.session, forms.now_us)
        )
        for action in actions:
            if isinstance(action, Subscribe):
                forms.topics[action.topic.kind, action.topic.symbol] = action.topic

    def _play_frame(self, event: RecordedFrame, now: float) -> None:
        """Send a frame byte for byte to the clients that want exactly this, rebuilt to others."""
        trades = [self._take_trade(trade) for trade in event.trades]
        entries = [self._entry(trade) for trade in trades]
        for entry in entries:
            self.ledger.add(entry)
        keys: dict[tuple[TopicKind, str], None] = {}
        keys.update(dict.fromkeys(("trades", trade.symbol) for trade in event.trades))
        keys.update(dict.fromkeys(("book", book.symbol) for book in event.books))
        if not keys and (symbol := self.dialect.book_named(event.payload)):
            keys["book", symbol] = None
        forms = self._forms[event.connection].topics if event.connection in self._forms else {}
        topics = [forms.get(key) for key in keys]
        exact = [
            client
            for client in self._clients.values()
            if client.live(now)
            and topics
            and all(topic and client.number in self._subscribers.get(topic, ()) for topic in topics)
        ]
        for client in exact:
            self._send_exactly(client, event, entries)
        served = {client.number for client in exact}
        for symbol in dict.fromkeys(trade.symbol for trade in event.trades):
            some = [trade for trade in trades if trade.market.symbol == symbol]
            market = self._recorded[symbol]
            market.trade_pubs += 1
            market.publications.append((market.trade_pubs, some))
            self._rebuild("trades", symbol, some, entries, served, now)
        for book in event.books:
            if self._others("book", book.symbol, served):
                update = self._take_book(book)
                if update is not None:
                    update.market.book_pubs += 1
                    self._rebuild("book", book.symbol, update, (), served, now)
            elif isinstance(book, RecordedChange):
                self.market.change_book(book)
            else:
                self.market.take_book(book)
                self._recorded[book.symbol].book.show(book)
        self.dialect.follow(event.payload, before=False)

    def _send_exactly(
        self, client: DialectClient, event: RecordedFrame, entries: Sequence[LedgerTrade]
    ) -> None:
        if client.outbox:
            self._hand_over(client)
        client.queue(wire.framed(event.payload))
        for entry in entries:
            client.queue_trade(b"", entry)
        client.session.sent_us = super().clock_us()
        client.hand_over(self.ledger, _NO_LIMIT)

    def _others(self, kind: TopicKind, symbol: str, served: set[int]) -> bool:
        """Return whether a client without the exact frame wants the topic in any form."""
        return any(
            not served.issuperset(self._subscribers[topic]) for topic in self._topics[kind, symbol]
        )

    def _rebuild(
        self,
        kind: TopicKind,
        symbol: str,
        content: Sequence[Trade] | BookUpdate,
        entries: Sequence[LedgerTrade],
        served: set[int],
        now: float,
    ) -> None:
        """Send a frame in the dialect's words to the clients without the exact one."""
        by_number = {entry.seq: entry for entry in entries}
        self.dialect.announce(symbol)
        for topic in list(self._topics[kind, symbol]):
            if isinstance(content, BookUpdate):
                outgoing = list(self.dialect.book(topic, content))
            else:
                outgoing = list(self.dialect.trades(topic, content))
            for client in self._targets(topic, now):
                if client.number not in served:
                    self._queue(client, outgoing, by_number)

    def _play_trade(self, event: RecordedTrade, now: float) -> None:
        trade = self._take_trade(event)
        entry = self._entry(trade)
        self.ledger.add(entry)
        self._publish_trades({event.symbol: [trade]}, [entry], now)
        if event.symbol in self._unpolled:
            self._unpolled[event.symbol] += 1

    def _take_trade(self, trade: RecordedTrade) -> Trade:
        made = self.market.take_trade(trade)
        market = self._recorded[trade.symbol]
        return market.take(made, trade, number_is_id=self.dialect.ids_are_numbers)

    def subscriptions(self) -> int:
        """Return how many subscriptions there are, and how many markets were polled."""
        return sum(map(len, self._subscribers.values())) + len(self._unpolled)

    def backlog_bytes(self) -> int:
        """Return how much the slowest client has not read."""
        return _backlog_bytes(self._clients.values())

    def waits_for_poll(self) -> bool:
        """Whether a polled market has so many new trades that its client must fetch them first."""
        return any(count >= POLL_TRADES for count in self._unpolled.values())

    def clock_us(self) -> int:
        """Return the moment that is shown, Unix time in microseconds."""
        return self.now_us or super().clock_us()

    def rest(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str], now: float
    ) -> Answer:
        """Answer a REST request as of the moment that is shown."""
        self._settle()
        given = super().rest(path, query, headers, now)
        if given.status == 200:
            symbol = self.dialect.polled(Request(path, query, headers, self.clock_us()))
            if symbol:
                self._unpolled[symbol] = 0
        return given

    def end_connections(self) -> None:
        """End all connections, as an exchange does that restarts."""
        for client in list(self._clients.values()):
            if client.reachable():
                self._close(client, *self.dialect.goodbye_code)


class ReplayedWallex(SimulatedExchange):
    """Recorded markets in Wallex's protocol; see `ReplayedDialect` for the methods."""

    market: RecordedMarkets

    def __init__(self, options: SimulatorOptions, ledger: Ledger, markets: RecordedMarkets) -> None:
        super().__init__(options, ledger, markets)
        self.quiet = True
        self.now_us = 0
        self._ahead: set[RecordedBook | RecordedChange] = set()

    def load(self, state: RecordedState) -> None:
        """Have the state of a moment; connections that were open before must have ended."""
        self.market.clear()
        for trade in state.trades:
            self.market.take_trade(trade)
        for book in (*state.books, *state.ahead):
            if isinstance(book, RecordedBook):
                self.market.take_book(book)
        self._ahead = set(state.ahead)

    def play(self, events: Iterable[RecordedEvent], now: float) -> None:
        """Let events happen and send them; `now` is the event loop's time."""
        for is_frame, some in groupby(events, lambda event: isinstance(event, RecordedFrame)):
            if is_frame:
                for event in some:
                    self._play_frame(event, now)
            else:
                self._publish(self._happening(some), now)

    def _play_frame(self, event: RecordedEvent, now: float) -> None:
        """Send a frame byte for byte to the subscribers of its channel."""
        if not isinstance(event, RecordedFrame):
            return
        entries = [self.ledger.trade(self.market.take_trade(trade)) for trade in event.trades]
        channels = [wire.trade_channel(trade.symbol) for trade in event.trades]
        for book in event.books:
            if isinstance(book, RecordedBook):
                due = self.market.take_book(book)
                channels += [wire.depth_channel(book.symbol, each.side) for each in due]
        for channel in dict.fromkeys(channels):
            for client in self._targets(channel, now):
                client.queue(wire.framed(event.payload))
                for entry in entries:
                    client.queue_trade(b"", entry)
                client.hand_over(self.ledger, _NO_LIMIT)

    def _greet(self, client: Client, channel: str) -> None:
        """Send the first frames of a subscription; none of a side that is not known yet."""
        market, side = self._depth_channels.get(channel, (None, None))
        if market is None or side is None or market.side(side):
            super()._greet(client, channel)

    def _happening(self, events: Iterable[RecordedEvent]) -> Iterator[SimulatedTrade | DepthDue]:
        for event in events:
            if isinstance(event, RecordedTrade):
                yield self.market.take_trade(event)
            elif isinstance(event, RecordedBook):
                if event in self._ahead:
                    self._ahead.discard(event)
                else:
                    yield from self.market.take_book(event)

    def subscriptions(self) -> int:
        """Return how many subscriptions there are."""
        return sum(map(len, self._subscribers.values()))

    def backlog_bytes(self) -> int:
        """Return how much the slowest client has not read."""
        return _backlog_bytes(self._clients.values())

    def waits_for_poll(self) -> bool:
        """Return False: all trades are pushed."""
        return False

    def end_connections(self) -> None:
        """End all connections, as an exchange does that restarts."""
        for client in list(self._clients.values()):
            if client.reachable():
                self._close(client, 1001, "seek")


ReplayedExchange = ReplayedDialect | ReplayedWallex


def replayed(
    options: SimulatorOptions, ledger: Ledger, listings: Sequence[MarketListing]
) -> ReplayedExchange:
    """Return an exchange that shows recorded markets.

    Args:
        options: How it behaves; `exchange` names the protocol. A slow client is not disconnected,
            and connections have no age.
        ledger: Records what was sent; the caller closes it.
        listings: The markets, see `recorded_listing`.
    """
    options = replace(options, send_buffer_bytes=_NO_LIMIT, connection_max_age_s=0)
    markets = RecordedMarkets(listings, options.recent_trades)
    made = ReplayedWallex if options.exchange == "wallex" else ReplayedDialect
    return made(options, ledger, markets)


def _backlog_bytes(clients: Iterable[Client]) -> int:
    return max(
        (
            client.connection.transport.get_write_buffer_size()
            for client in clients
            if client.reachable()
        ),
        default=0,
    )
