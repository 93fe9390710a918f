"""The simulated exchange of a dialect, behind its sockets: connections, market, faults, ledger.

Callers pass the event loop's time in seconds, as for `SimulatedExchange`.
"""

import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from radar_simulator import wire
from radar_simulator.client import Client, ClientConnection
from radar_simulator.dialects import load
from radar_simulator.dialects.common.base import (
    MAINTENANCE,
    Action,
    Answer,
    Close,
    Dialect,
    Outgoing,
    Ping,
    Request,
    Session,
    Subscribe,
    Text,
    Topic,
    TopicKind,
    Unsubscribe,
)
from radar_simulator.dialects.common.markets import BookUpdate, Market, Trade, iso, list_markets
from radar_simulator.faults import Fault, FaultName, garbage
from radar_simulator.ledger import Ledger, LedgerTrade
from radar_simulator.market import MarketModel, MarketSource, SimulatedTrade
from radar_simulator.options import SimulatorOptions

ORDER_STEP_US = 151
"""Time between two orders of one tick."""

IDS_SINCE_MS = 1_700_000_000_000
"""IDs of a run begin at the milliseconds since then, so that two runs share none."""

ALTERED_LOTS = 1
"""How much an altered trade differs."""

BAN_AFTER = 10
"""Requests beyond the budget after which a client is banned."""

BAN_S = 120
"""The length of a ban."""


class DialectClient(Client):
    """A connected client with the state of its protocol.

    Attributes:
        session: That state.
        outbox: Payloads of this tick.
        again: Trades to send once more.
    """

    session: Session

    def __init__(self, number: int, connection: ClientConnection, now: float) -> None:
        super().__init__(number, connection, now, math.inf)
        self.outbox: list[str] = []
        self.again: list[Trade] = []


class DialectExchange:
    """Serves any number of clients in one exchange's protocol, and keeps the ledger.

    Attributes:
        market: The markets, and their moves.
        ledger: The record of all sent trades.
        dialect: The protocol.
        quiet: While true the market stands still; connections stay open and pings go on.
        rest_hang_until: Answers to REST requests have no end before this time.
    """

    def __init__(
        self, options: SimulatorOptions, ledger: Ledger, market: MarketSource | None = None
    ) -> None:
        """Open the market.

        Args:
            options: How the exchange behaves; `exchange` names the dialect.
            ledger: Records the sent trades; the caller closes it.
            market: Moves the markets; None: the market model.
        """
        made = load(options.exchange)
        self.market: MarketSource = market or MarketModel(
            seed=options.seed,
            symbols=options.symbols,
            trades_per_s=options.trades_per_s,
            depth_per_s=options.depth_per_s,
            twin_share=options.twin_share,
            recent_trades=options.recent_trades,
            skew=options.skew,
            listed=list_markets(
                made.bases, made.quotes, made.spelling, made.price_places, options.symbols
            ),
        )
        self._options = options
        self._last_us = self._now_us() // made.resolution_us * made.resolution_us
        self.dialect = made(self.list_markets(made))
        self.ledger = ledger
        self.quiet = False
        self.rest_hang_until = 0.0
        self._clients: dict[int, DialectClient] = {}
        self._connections = self._orders = 0
        self._subscribers: defaultdict[Topic, dict[int, DialectClient]] = defaultdict(dict)
        self._topics: defaultdict[tuple[TopicKind, str], set[Topic]] = defaultdict(set)
        self._repeating: list[tuple[float, Fault]] = []
        self._dropping: defaultdict[tuple[TopicKind, str], int] = defaultdict(int)
        self._altering: defaultdict[str, int] = defaultdict(int)
        self._leaving: list[tuple[float, DialectClient]] = []
        self._spent: deque[tuple[float, int]] = deque()
        self._beyond = 0
        self._max_age_s = options.connection_max_age_s
        self._orders_at = 0
        self._refuse_until = self._rest_error_until = self._no_ping_until = 0.0
        self._html_until = self._restarting_until = 0.0
        self._banned_until = self._over_until = 0.0
        self._refuse_status = self._rest_error_status = 503
        self._html_status = 502
        self._faults: dict[FaultName, Callable[[Fault, float], None]] = {
            FaultName.KICK: self._kick,
            FaultName.STALL: self._stall,
            FaultName.MUTE: self._mute,
            FaultName.HALF_OPEN: self._half_open,
            FaultName.GARBAGE: self._garbage,
            FaultName.REFUSE: self._refuse,
            FaultName.REST_ERROR: self._rest_error,
            FaultName.REST_HANG: self._rest_hang,
            FaultName.NO_PING: self._no_ping,
            FaultName.MAX_AGE: self._max_age,
            FaultName.CLEAR: self._clear,
            FaultName.DROP: self._drop,
            FaultName.ALTER: self._alter,
            FaultName.CHECKSUM: self._checksum,
            FaultName.HTML: self._html,
            FaultName.BAN: self._ban,
            FaultName.GOODBYE: self._goodbye,
            FaultName.REPEAT: self._repeat,
            FaultName.EPOCH: self._epoch,
        }

    def list_markets(self, made: type[Dialect]) -> list[Market]:
        """Return new markets of a dialect, whose trades have had no ID before."""
        now_us = self._now_us()
        first_id = now_us // 1000 - IDS_SINCE_MS
        return [
            Market(number, model, first_id, now_us, rial=made.rial)
            for number, model in enumerate(self.market.markets.values(), start=1)
        ]

    # The market's side

    def tick(self, now: float) -> None:
        """Apply due faults, serve the connections, and let the market move."""
        for entry in [entry for entry in self._repeating if entry[0] <= now]:
            self._repeating.remove(entry)
            self._repeating.append((now + entry[1].every_s, entry[1]))
            self._apply(entry[1], now)
        now_us = self._now_us()
        for at, client in [entry for entry in self._leaving if entry[0] <= now]:
            self._leaving.remove((at, client))
            self._restarting_until = now + self.dialect.restart_s
            if client.reachable():
                self._close(client, *self.dialect.goodbye_code)
        for client in list(self._clients.values()):
            self._look_after(client, now, now_us)
        if not self.quiet:
            self._publish(self.market.advance(self._now_us() / 1e6), now)
            for symbol in self.dialect.due(now_us):
                market = self.dialect.markets[symbol]
                book = market.book
                update = book.advance(market, now_us) or BookUpdate(
                    market, book.id, book.id, book.id, [], [], now_us
                )
                self._publish_book(update, now)
            self._flush()

    def remember(self) -> None:
        """Let the trades of the time before the start happen; the ledger has begun already."""
        for at_us, count in self._options.past(self._now_us()):
            if at_us < self._last_us and not self._orders:
                self._last_us = 0
            self._publish(self.market.trade(at_us / 1e6, count), 0.0, at_us)

    def trade(self, count: int, symbol: str | None, now: float) -> list[LedgerTrade]:
        """Make trades happen now, besides the regular ones.

        Raises:
            KeyError: If there is no such market.
        """
        return self._publish(self.market.trade(self._now_us() / 1e6, count, symbol), now)

    def _now_us(self) -> int:
        return time.time_ns() // 1000 + int(self._options.clock_ahead_s * 1e6)

    def drained(self) -> bool:
        """Whether every trade handed to a socket that is still open is known to have arrived."""
        return all(client.drained for client in self._clients.values())

    def _publish(
        self, events: Iterable[object], now: float, at_us: int | None = None
    ) -> list[LedgerTrade]:
        """Publish events of the model: all its trades first, then books, each as it is then."""
        now_us = self._now_us() if at_us is None else at_us
        trades: dict[str, list[Trade]] = {}
        entries: list[LedgerTrade] = []
        self._orders_at = self._orders
        previous: tuple[str, bool] | None = None
        published = False
        for event in events:
            if isinstance(event, SimulatedTrade):
                same = (event.listing.symbol, event.is_buy)
                self._orders += same != previous
                previous = same
                made = self._made(event, now_us)
                entry = self._entry(made)
                self.ledger.add(entry)
                entries.append(entry)
                trades.setdefault(made.market.symbol, []).append(made)
                continue
            if not published:
                self._publish_trades(trades, entries, now)
                published = True
            symbol = event.market.listing.symbol  # type: ignore[attr-defined]  # a DepthDue
            market = self.dialect.markets.get(symbol)
            if market is not None and (update := market.book.advance(market, now_us)):
                self._publish_book(update, now)
        if not published:
            self._publish_trades(trades, entries, now)
        self._flush()
        self.ledger.settle(entries)
        return entries

    def _made(self, event: SimulatedTrade, now_us: int) -> Trade:
        """Give a trade its ID and its time; times never go back."""
        step = self.dialect.resolution_us
        ahead = min(9_999, (self._orders - self._orders_at) * ORDER_STEP_US)
        self._last_us = max(self._last_us, (now_us + ahead) // step * step)
        market = self.dialect.markets[event.listing.symbol]
        return market.add(event, self._orders, self._last_us)

    def _entry(self, trade: Trade) -> LedgerTrade:
        places = {1: 6, 1000: 3}.get(self.dialect.resolution_us, 0)
        listing = trade.market.listing
        return LedgerTrade(
            seq=trade.number,
            symbol=trade.market.symbol,
            timestamp=iso(trade.time_us, places),
            price=wire.number(trade.ticks, listing.tick_places),
            quantity=wire.number(trade.lots, listing.lot_places),
            side="buy" if trade.is_buy else "sell",
            native_id=self.dialect.native_id(trade),
        )

    def _publish_trades(
        self, trades: Mapping[str, list[Trade]], entries: Sequence[LedgerTrade], now: float
    ) -> None:
        by_number = {entry.seq: entry for entry in entries}
        for symbol, some in trades.items():
            market = self.dialect.markets[symbol]
            market.trade_pubs += 1
            market.publications.append((market.trade_pubs, some))
            if self._dropped("trades", symbol):
                continue
            shown = self._altered(symbol, some)
            for topic in self._topics["trades", symbol]:
                outgoing = list(self.dialect.trades(topic, shown))
                for client in self._targets(topic, now):
                    self._queue(client, outgoing, by_number)

    def _publish_book(self, update: BookUpdate, now: float) -> None:
        symbol = update.market.symbol
        update.market.book_pubs += 1
        # Encoded even if nobody gets it: a book's state in the dialect moves on all the same.
        frames = {
            topic: list(self.dialect.book(topic, update)) for topic in self._topics["book", symbol]
        }
        if not any(frames.values()) or self._dropped("book", symbol):
            return
        for topic, outgoing in frames.items():
            for client in self._targets(topic, now):
                for each in outgoing:
                    client.outbox.append(each.payload)
                    for channel in _sides(symbol):
                        client.queue_depth(b"", channel)

    def _dropped(self, kind: TopicKind, symbol: str) -> bool:
        """Whether the next publication of a market is to be lost; counts it."""
        if self._dropping[kind, symbol] > 0 and self._topics[kind, symbol]:
            self._dropping[kind, symbol] -= 1
            return True
        return False

    def _altered(self, symbol: str, trades: list[Trade]) -> list[Trade]:
        """Return the trades as they are sent; REST and candles have the true ones."""
        count = min(len(trades), self._altering[symbol])
        if not count or not self._topics["trades", symbol]:
            return trades
        self._altering[symbol] -= count
        wrong = [trade._replace(lots=trade.lots + ALTERED_LOTS) for trade in trades[:count]]
        return [*wrong, *trades[count:]]

    def _targets(self, topic: Topic, now: float) -> list[DialectClient]:
        return [
            client
            for client in self._subscribers[topic].values()
            if client.live(now) and now >= client.muted_until.get(f"{topic.kind}:{topic.symbol}", 0)
        ]

    def _queue(
        self,
        client: DialectClient,
        outgoing: Sequence[Outgoing],
        entries: Mapping[int, LedgerTrade],
    ) -> None:
        for each in outgoing:
            client.outbox.append(each.payload)
            client.again.extend(each.again)
            for trade in each.trades:
                if entry := entries.get(trade.number):
                    client.queue_trade(b"", entry)

    def _flush(self) -> None:
        for client in self._clients.values():
            if client.outbox:
                self._hand_over(client)

    def _hand_over(self, client: DialectClient) -> bool:
        """Write a client's payloads, or disconnect it for being slow."""
        session = client.session
        session.flushes += 1
        session.sent_us = self._now_us()
        for payload in self.dialect.frames(session, client.outbox):
            client.queue(wire.framed(payload))
        client.outbox = []
        again, client.again = client.again, []
        if client.hand_over(self.ledger, self._options.send_buffer_bytes):
            for trade in again:
                self.ledger.served(trade, "resend")
            return True
        self._close(client, 1008, "too slow")
        return False

    def _look_after(self, client: DialectClient, now: float, now_us: int) -> None:
        """Confirm arrived frames; let the protocol ping; end overdue connections."""
        client.confirm()
        if client.half_open_until is not None and now >= client.half_open_until:
            self._cut(client, "half_open")
        if not client.live(now):
            return
        if self._max_age_s and now - client.opened >= self._max_age_s:
            self._close(client, 1000, "max_age")
        elif now >= self._no_ping_until:
            self._act(client, self.dialect.keepalive(client.session, now_us))

    # The clients' side

    def is_socket(self, path: str) -> bool:
        """Whether a path becomes a WebSocket."""
        paths = (self.dialect.path, *self.dialect.paths)
        return path in paths or path.startswith(self.dialect.prefixes)

    def admit(self, now: float) -> Answer | None:
        """Refuse a handshake, or return None; status 0 cuts the connection."""
        if now < self._html_until:
            return self._page()
        if now < self._restarting_until:
            return self.dialect.refusal(self._now_us())
        if now < self._refuse_until:
            return Answer(self._refuse_status, b"")
        return None

    def connect(self, connection: ClientConnection, now: float) -> DialectClient:
        """Accept a new connection and greet it."""
        self._connections += 1
        client = DialectClient(self._connections, connection, now)
        path, query = connection.request
        client.session = Session(
            self._connections,
            path,
            query,
            self._now_us(),
            self._options.ping_interval_s,
            self._options.pong_timeout_s,
        )
        self._clients[client.number] = client
        self.ledger.opened(client.number)
        self._act(client, self.dialect.opened(client.session, self._now_us()))
        return client

    def receive(self, client: Client, message: str | bytes, now: float) -> None:
        """Handle a message of a client."""
        known = self._clients[client.number]
        self._act(known, self.dialect.received(known.session, message, self._now_us()))

    def _act(self, client: DialectClient, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Text():
                    self._say(client, action)
                case Ping():
                    client.connection.ping(action.payload, lambda: self._ponged(client))
                case Subscribe():
                    topic = action.topic
                    self._subscribers[topic][client.number] = client
                    self._topics[topic.kind, topic.symbol].add(topic)
                case Unsubscribe():
                    self._forget(client, action.topic)
                case Close():
                    if client.outbox:
                        self._hand_over(client)
                    self._close(client, action.code, action.reason)
                    return
        if client.outbox and client.reachable():
            self._hand_over(client)

    def _say(self, client: DialectClient, text: Text) -> None:
        client.outbox.append(text.payload)
        client.again.extend(text.trades)
        for channel in _sides(text.book) if text.book else ():
            client.queue_depth(b"", channel)

    def _ponged(self, client: DialectClient) -> None:
        if client.number in self._clients:
            self._act(client, self.dialect.ponged(client.session, self._now_us()))

    def _forget(self, client: DialectClient, topic: Topic) -> None:
        subscribers = self._subscribers[topic]
        subscribers.pop(client.number, None)
        client.muted_until.pop(f"{topic.kind}:{topic.symbol}", None)
        if not subscribers:
            self._topics[topic.kind, topic.symbol].discard(topic)
            del self._subscribers[topic]

    def disconnect(self, client: Client) -> None:
        """Forget a connection that has ended, and settle its frames in the ledger."""
        connection = client.connection
        if not connection.shook_hands:
            for entry in client.unconfirmed():
                self.ledger.uncertain(entry)
        code = connection.close_code
        known = self._clients.pop(client.number)
        for topic in [t for t, some in self._subscribers.items() if client.number in some]:
            self._forget(known, topic)
        peer = "peer_cut" if code is None else f"peer_{code}"
        self.ledger.closed(client.number, client.reason or peer)

    def shut_down(self) -> None:
        """Refuse new connections, and close the open ones."""
        self.quiet = True
        self._refuse_until, self._refuse_status = math.inf, 503
        for client in list(self._clients.values()):
            if client.half_open_until is not None:
                self._cut(client, "shutdown")
            elif client.reachable():
                self._close(client, 1001, "shutdown")

    def _close(self, client: DialectClient, code: int, reason: str) -> None:
        client.reason = reason or f"close_{code}"
        client.connection.close(code, reason)

    def _cut(self, client: DialectClient, reason: str) -> None:
        client.confirm()
        client.reason = reason
        client.connection.transport.abort()

    # REST

    def rest(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str], now: float
    ) -> Answer:
        """Answer a REST request."""
        if now < self._html_until:
            return self._page()
        if now < self._rest_error_until:
            return Answer(self._rest_error_status, b"")
        request = Request(path, query, headers, self.clock_us())
        try:
            if refusal := self._over_budget(request, now):
                return refusal
            given = self.dialect.rest(request)
        except ValueError as error:
            return Answer(400, msgspec.json.encode({"error": f"bad parameter {error}"}))
        for trade in given.trades:
            self.ledger.served(trade, "rest")
        return given

    def clock_us(self) -> int:
        """Return the exchange's time, Unix time in microseconds."""
        return self._now_us()

    def _over_budget(self, request: Request, now: float) -> Answer | None:
        """Refuse with 429, and, if the client goes on asking, with a ban."""
        budget, window_s = self.dialect.budget
        while self._spent and self._spent[0][0] <= now - window_s:
            self._spent.popleft()
        cost = self.dialect.cost(request)
        if now >= max(self._banned_until, self._over_until):
            self._beyond = 0
            if not budget or not cost or sum(each for _, each in self._spent) + cost <= budget:
                if cost:
                    self._spent.append((now, cost))
                return None
            self._over_until = self._spent[0][0] + window_s
        elif not cost and now >= self._banned_until:
            return None  # has no budget
        self._beyond += 1
        if self._beyond == BAN_AFTER + 1:
            self._over_until = now + BAN_S
        wait_s = max(1, math.ceil(max(self._banned_until, self._over_until) - now))
        return self.dialect.throttled(wait_s, request.now_us, banned=self._beyond > BAN_AFTER)

    def _page(self) -> Answer:
        return Answer(self._html_status, MAINTENANCE, content_type="text/html")

    # Faults

    def fault(self, applied: Fault, now: float) -> None:
        """Apply a fault now, or regularly from `every_s` seconds on if it has that.

        Raises:
            ValueError: If the exchange cannot have it.
        """
        if applied.name not in self._faults:
            raise ValueError(f"{self.dialect.name} has no fault {applied.name}")
        if applied.symbol and applied.symbol not in self.dialect.markets:
            raise ValueError(f"{self.dialect.name} has no market {applied.symbol!r}")
        if applied.every_s > 0:
            self._repeating.append((now + applied.every_s, applied))
        else:
            self._apply(applied, now)

    def _apply(self, applied: Fault, now: float) -> None:
        self._faults[applied.name](applied, now)
        self.ledger.fault(applied.name, msgspec.to_builtins(applied))

    def _hit(self, applied: Fault) -> list[DialectClient]:
        reachable = [client for client in self._clients.values() if client.reachable()]
        return reachable[: applied.count] if applied.count else reachable

    def _markets(self, applied: Fault) -> list[str]:
        return [applied.symbol] if applied.symbol else list(self.dialect.markets)

    def _kick(self, applied: Fault, now: float) -> None:
        for client in self._hit(applied):
            if applied.close_frame:
                self._close(client, applied.code, "kick")
            else:
                self._cut(client, "kick_cut")

    def _stall(self, applied: Fault, now: float) -> None:
        for client in self._hit(applied):
            client.stalled_until = now + applied.seconds
            client.session.waiting_us = 0

    def _mute(self, applied: Fault, now: float) -> None:
        for topic in self._topics["trades", applied.symbol]:
            for client in self._subscribers[topic].values():
                client.muted_until[f"trades:{applied.symbol}"] = now + applied.seconds

    def _half_open(self, applied: Fault, now: float) -> None:
        for client in self._hit(applied):
            client.half_open_until = now + applied.seconds
            client.connection.transport.pause_reading()

    def _garbage(self, applied: Fault, now: float) -> None:
        frames = [wire.framed(frame) for frame in garbage(applied)]
        for client in self._hit(applied):
            for frame in frames:
                client.queue(frame)
            if self._hand_over(client):
                self.ledger.garbage(len(frames))

    def _refuse(self, applied: Fault, now: float) -> None:
        self._refuse_until, self._refuse_status = now + applied.seconds, applied.status

    def _rest_error(self, applied: Fault, now: float) -> None:
        self._rest_error_until, self._rest_error_status = now + applied.seconds, applied.status

    def _rest_hang(self, applied: Fault, now: float) -> None:
        self.rest_hang_until = now + applied.seconds

    def _no_ping(self, applied: Fault, now: float) -> None:
        self._no_ping_until = now + applied.seconds

    def _max_age(self, applied: Fault, now: float) -> None:
        self._max_age_s = applied.seconds

    def _drop(self, applied: Fault, now: float) -> None:
        kind: TopicKind = "book" if applied.kind == "book" else "trades"
        for symbol in self._markets(applied):
            self._dropping[kind, symbol] += max(1, applied.count)

    def _alter(self, applied: Fault, now: float) -> None:
        for symbol in self._markets(applied):
            self._altering[symbol] += max(1, applied.count)

    def _checksum(self, applied: Fault, now: float) -> None:
        for symbol in self._markets(applied):
            self.dialect.spoil(symbol)

    def _html(self, applied: Fault, now: float) -> None:
        self._html_until, self._html_status = now + applied.seconds, applied.status or 502

    def _ban(self, applied: Fault, now: float) -> None:
        self._banned_until = now + applied.seconds

    def _goodbye(self, applied: Fault, now: float) -> None:
        """Announce the end of the connections, which comes after `seconds`."""
        for client in self._hit(applied):
            self._act(client, self.dialect.goodbye(client.session, self._now_us()))
            self._leaving.append((now + applied.seconds, client))

    def _repeat(self, applied: Fault, now: float) -> None:
        """Send the newest trades of the markets again, as if they had just happened."""
        for symbol in self._markets(applied):
            some = self.dialect.markets[symbol].newest(max(1, applied.count))
            for topic in list(self._topics["trades", symbol]) if some else ():
                outgoing = list(self.dialect.trades(topic, some))
                for client in self._targets(topic, now):
                    client.outbox.extend(each.payload for each in outgoing)
                    client.again.extend(some)
        self._flush()

    def _epoch(self, applied: Fault, now: float) -> None:
        """Restart the exchange's server: its numbers begin anew."""
        self.dialect.restart()
        for client in list(self._clients.values()) if self.dialect.restart_closes else ():
            if client.reachable():
                self._close(client, *self.dialect.goodbye_code)

    def _clear(self, applied: Fault, now: float) -> None:
        self._repeating.clear()
        self._dropping.clear()
        self._altering.clear()
        self._max_age_s = self._options.connection_max_age_s
        self._refuse_until = self._rest_error_until = self._no_ping_until = 0.0
        self._html_until = self._restarting_until = 0.0
        self._banned_until = self._over_until = 0.0
        self.rest_hang_until = 0.0
        self._beyond = 0
        for client in self._clients.values():
            client.stalled_until = 0.0
            client.muted_until.clear()


def _sides(symbol: str) -> tuple[str, str]:
    return f"{symbol}@bids", f"{symbol}@asks"
