"""Exchanges that show recorded markets again, in the protocol of the simulated ones.

A caller plays events and decides when. Nothing is dropped: a client that reads slowly shows in
`backlog_bytes`, and the caller waits.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from radar_simulator.client import Client
from radar_simulator.dialects.common.base import Answer, Dialect, Request
from radar_simulator.dialects.common.exchange import DialectExchange
from radar_simulator.dialects.common.markets import Book, BookUpdate, Levels, Market, Trade
from radar_simulator.exchange import SimulatedExchange
from radar_simulator.ledger import Ledger
from radar_simulator.listings import MarketListing
from radar_simulator.market import DepthDue, SimulatedTrade
from radar_simulator.options import SimulatorOptions
from radar_simulator.recorded import (
    RecordedBook,
    RecordedEvent,
    RecordedMarkets,
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
            "" if number_is_id else native,
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


class ReplayedDialect(DialectExchange):
    """Recorded markets in the protocol of another exchange than Wallex."""

    market: RecordedMarkets

    def __init__(self, options: SimulatorOptions, ledger: Ledger, markets: RecordedMarkets) -> None:
        super().__init__(options, ledger, markets)
        self.quiet = True  # nothing happens by itself
        self.now_us = 0
        self._ahead: set[RecordedBook] = set()
        self._unpolled: dict[str, int] = {}

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
        for trade in state.trades:
            self._take_trade(trade)
        for book in (*state.books, *state.ahead):
            self.market.take_book(book)
            self._recorded[book.symbol].book.show(book)
        self._ahead = set(state.ahead) if self.dialect.greets_with_book else set()

    def play(self, events: Iterable[RecordedEvent], now: float) -> None:
        """Let events happen and send them; `now` is the event loop's time."""
        for event in events:
            if isinstance(event, RecordedTrade):
                self._play_trade(event, now)
            elif event in self._ahead:
                self._ahead.discard(event)
            else:
                self.market.take_book(event)
                market = self._recorded[event.symbol]
                if (update := market.book.take(market, event)) is not None:
                    self.dialect.announce(event.symbol)
                    self._publish_book(update, now)
        self._flush()

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
        self._ahead: set[RecordedBook] = set()

    def load(self, state: RecordedState) -> None:
        """Have the state of a moment; connections that were open before must have ended."""
        self.market.clear()
        for trade in state.trades:
            self.market.take_trade(trade)
        for book in (*state.books, *state.ahead):
            self.market.take_book(book)
        self._ahead = set(state.ahead)

    def play(self, events: Iterable[RecordedEvent], now: float) -> None:
        """Let events happen and send them; `now` is the event loop's time."""
        self._publish(self._happening(events), now)

    def _greet(self, client: Client, channel: str) -> None:
        """Send the first frames of a subscription; none of a side that is not known yet."""
        market, side = self._depth_channels.get(channel, (None, None))
        if market is None or side is None or market.side(side):
            super()._greet(client, channel)

    def _happening(self, events: Iterable[RecordedEvent]) -> Iterator[SimulatedTrade | DepthDue]:
        for event in events:
            if isinstance(event, RecordedTrade):
                yield self.market.take_trade(event)
            elif event in self._ahead:
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
