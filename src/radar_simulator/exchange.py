"""The simulated exchange behind its sockets: subscriptions, publishing, faults.

It runs in one event loop, and its callers pass the time (the loop's, in seconds). A frame is
encoded once, for all of its subscribers; a client gets all frames of a tick in one write.
"""

import math
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

import msgspec

from radar_simulator import wire
from radar_simulator.client import Client, ClientConnection
from radar_simulator.faults import Fault, FaultName, garbage
from radar_simulator.ledger import Ledger, LedgerTrade
from radar_simulator.market import DepthDue, MarketModel, MarketSource, Side, SimulatedTrade
from radar_simulator.options import SimulatorOptions

_OF_A_MARKET = frozenset({FaultName.DROP, FaultName.ALTER, FaultName.REPEAT})


class SimulatedExchange:
    """Serves any number of clients from one market model and keeps the ledger.

    Attributes:
        market: The markets, and their moves.
        ledger: The record of all sent frames.
        quiet: While true the market stands still; connections stay open and pings go on.
        refuse_until: New connections are refused before this time.
        refuse_status: HTTP status of the refusal, 0 for a cut.
        rest_error_until: REST requests fail before this time.
        rest_hang_until: Answers to REST requests have no end before this time.
        rest_error_status: HTTP status of the failure.
    """

    def __init__(
        self, options: SimulatorOptions, ledger: Ledger, market: MarketSource | None = None
    ) -> None:
        """Open the market.

        Args:
            options: How the exchange behaves.
            ledger: Records the sent frames; the caller closes it.
            market: Moves the markets; None: the market model.
        """
        self.market: MarketSource = market or MarketModel(
            seed=options.seed,
            symbols=options.symbols,
            trades_per_s=options.trades_per_s,
            depth_per_s=options.depth_per_s,
            twin_share=options.twin_share,
            recent_trades=options.recent_trades,
            skew=options.skew,
        )
        self.ledger = ledger
        self.quiet = False
        self.refuse_until = self.rest_error_until = self.rest_hang_until = 0.0
        self.refuse_status = self.rest_error_status = 503
        self._options = options
        self._clients: dict[int, Client] = {}  # by number, so oldest first
        self._connections = 0
        self._subscribers: defaultdict[str, dict[int, Client]] = defaultdict(dict)
        self._resend_count = options.resend_count
        self._pong_timeout_s = options.pong_timeout_s
        self._max_age_s = options.connection_max_age_s
        self._no_ping_until = 0.0
        self._repeating: list[tuple[float, Fault]] = []
        markets = self.market.markets.items()
        self._depth_channels = {
            wire.depth_channel(symbol, side): (market, side)
            for symbol, market in markets
            for side in Side
        }
        self._trade_channels = {wire.trade_channel(symbol): market for symbol, market in markets}
        self._faults: dict[FaultName, Callable[[Fault, float], None]] = {
            FaultName.KICK: self._kick,
            FaultName.STALL: self._stall,
            FaultName.MUTE: self._mute,
            FaultName.HALF_OPEN: self._half_open,
            FaultName.GARBAGE: self._garbage,
            FaultName.RESEND: self._resend,
            FaultName.REFUSE: self._refuse,
            FaultName.REST_ERROR: self._rest_error,
            FaultName.REST_HANG: self._rest_hang,
            FaultName.REQUIRE_PONG: self._require_pong,
            FaultName.NO_PING: self._no_ping,
            FaultName.MAX_AGE: self._max_age,
            FaultName.DROP: self._drop,
            FaultName.ALTER: self._alter,
            FaultName.REPEAT: self._repeat,
            FaultName.CLEAR: self._clear,
        }
        self._dropping: Counter[str] = Counter()  # trades by symbol
        self._altering: Counter[str] = Counter()

    # The market's side

    def tick(self, now: float) -> None:
        """Apply due faults, serve the connections, and let the market move."""
        for entry in [entry for entry in self._repeating if entry[0] <= now]:
            self._repeating.remove(entry)
            self._repeating.append((now + entry[1].every_s, entry[1]))
            self._apply(entry[1], now)
        for client in list(self._clients.values()):
            self._look_after(client, now)
        if not self.quiet:
            self._publish(self.market.advance(self._now_s()), now)

    def remember(self) -> None:
        """Let the trades of the time before the start happen; the ledger has begun already."""
        for at_us, count in self._options.past(int(self._now_s() * 1e6)):
            self._publish(self.market.trade(at_us / 1e6, count), 0.0)

    def trade(self, count: int, symbol: str | None, now: float) -> list[LedgerTrade]:
        """Make trades happen now, besides the regular ones.

        Raises:
            KeyError: If there is no such market.
        """
        return self._publish(self.market.trade(self._now_s(), count, symbol), now)

    def _now_s(self) -> float:
        return time.time() + self._options.clock_ahead_s

    def drained(self) -> bool:
        """Whether every trade handed to a socket that is still open is known to have arrived."""
        return all(client.drained for client in self._clients.values())

    def _publish(
        self, events: Iterable[SimulatedTrade | DepthDue], now: float
    ) -> list[LedgerTrade]:
        trades: list[LedgerTrade] = []
        busy: dict[int, Client] = {}
        for event in events:
            if isinstance(event, SimulatedTrade):
                entry = self.ledger.trade(event)
                trades.append(entry)
                self._send_trade(event, entry, busy, now)
            else:
                channel = wire.depth_channel(event.market.listing.symbol, event.side)
                if targets := self._targets(channel, now):
                    frame = wire.framed(wire.depth_frame(event.market, event.side))
                    for client in targets:
                        client.queue_depth(frame, channel)
                        busy[client.number] = client
        for client in self._targets(wire.PRICE_CHANNEL, now):
            for symbol in {entry.symbol for entry in trades}:
                client.queue(wire.framed(wire.price_frame(self.market.markets[symbol])))
                busy[client.number] = client
        for client in busy.values():
            self._hand_over(client)
        self.ledger.settle(trades)
        return trades

    def _send_trade(
        self, event: SimulatedTrade, entry: LedgerTrade, busy: dict[int, Client], now: float
    ) -> None:
        targets = self._targets(wire.trade_channel(entry.symbol), now)
        if targets and self._dropping[entry.symbol]:
            self._dropping[entry.symbol] -= 1
            return
        frame = wire.framed(wire.trade_frame(self._shown(event))) if targets else b""
        for client in targets:
            client.queue_trade(frame, entry)
            busy[client.number] = client

    def _shown(self, trade: SimulatedTrade) -> SimulatedTrade:
        """Return a trade as it is sent; REST and candles have the true one."""
        if not self._altering[trade.listing.symbol]:
            return trade
        self._altering[trade.listing.symbol] -= 1
        return trade._replace(lots=trade.lots + 1)

    def _targets(self, channel: str, now: float) -> list[Client]:
        subscribers = self._subscribers.get(channel)
        if not subscribers:
            return []
        return [
            client
            for client in subscribers.values()
            if client.live(now) and now >= client.muted_until.get(channel, 0.0)
        ]

    def _hand_over(self, client: Client) -> bool:
        """Write a client's frames, or disconnect it for being slow."""
        if client.hand_over(self.ledger, self._options.send_buffer_bytes):
            return True
        self._close(client, 1008, "too slow")
        return False

    def _look_after(self, client: Client, now: float) -> None:
        """Confirm arrived frames; ping; end overdue connections."""
        client.confirm()
        if client.half_open_until is not None and now >= client.half_open_until:
            self._cut(client, "half_open")
        if not client.live(now):
            return
        if self._max_age_s and now - client.opened >= self._max_age_s:
            self._close(client, 1000, "max_age")
            return
        oldest = next(iter(client.pings.values()), now)
        if self._pong_timeout_s and now - oldest >= self._pong_timeout_s:
            self._close(client, 1008, "no_pong")
            return
        interval_s = self._options.ping_interval_s
        if interval_s and now >= max(client.next_ping, self._no_ping_until):
            client.next_ping = now + interval_s
            ping_id = str(uuid.uuid4())
            client.pings[ping_id] = now
            client.queue(wire.framed(wire.ping_frame(ping_id)))
            self._hand_over(client)

    # The connections' side

    def connect(self, connection: ClientConnection, now: float) -> Client:
        """Accept a new connection and greet it."""
        self._connections += 1
        client = Client(self._connections, connection, now, now + self._options.ping_interval_s)
        self._clients[client.number] = client
        self.ledger.opened(client.number)
        hello = wire.hello_frame(str(uuid.uuid4()), self._options.ping_interval_s)
        client.queue(wire.framed(hello))
        self._hand_over(client)
        return client

    def receive(self, client: Client, message: str | bytes, now: float) -> None:
        """Handle a message: a subscription, its end, or a pong.

        The real exchange's answer to any other message is unknown; this one sends none.
        """
        asked = wire.subscription(message)
        if asked is None:
            answered = wire.pong_id(message)
            if answered is not None:
                client.pings.pop(answered, None)
            return
        verb, channel = asked
        if verb == "unsubscribe":
            client.channels.discard(channel)
            client.muted_until.pop(channel, None)
            self._subscribers[channel].pop(client.number, None)
        elif channel in self._depth_channels or channel in self._trade_channels:
            self._subscribe(client, channel)
            if client.live(now):
                self._greet(client, channel)
        elif channel == wire.PRICE_CHANNEL:
            self._subscribe(client, channel)

    def disconnect(self, client: Client) -> None:
        """Forget a connection that has ended, and settle its frames in the ledger."""
        connection = client.connection
        if not connection.shook_hands:
            for entry in client.unconfirmed():
                self.ledger.uncertain(entry)
        code = connection.close_code
        del self._clients[client.number]
        for channel in client.channels:
            self._subscribers[channel].pop(client.number, None)
        peer = "peer_cut" if code is None else f"peer_{code}"
        self.ledger.closed(client.number, client.reason or peer)

    def shut_down(self) -> None:
        """Refuse new connections, and close the open ones."""
        self.quiet = True
        self.refuse_until, self.refuse_status = math.inf, 503
        for client in list(self._clients.values()):
            if client.half_open_until is not None:
                self._cut(client, "shutdown")
            elif client.reachable():
                self._close(client, 1001, "shutdown")

    def _subscribe(self, client: Client, channel: str) -> None:
        client.channels.add(channel)
        self._subscribers[channel][client.number] = client

    def _greet(self, client: Client, channel: str) -> None:
        """Send the first frames of a new subscription: a snapshot, or the newest trades again."""
        if channel in self._depth_channels:
            market, side = self._depth_channels[channel]
            client.queue_depth(wire.framed(wire.depth_frame(market, side)), channel)
            self._hand_over(client)
        elif self._resend_count:
            tail = list(self._trade_channels[channel].recent)[-self._resend_count :]
            for trade in tail:
                client.queue(wire.framed(wire.trade_frame(trade)))
            if self._hand_over(client):
                for trade in tail:
                    self.ledger.served(trade, "resend")

    def _close(self, client: Client, code: int, reason: str) -> None:
        """Start the closing handshake; no more frames are sent."""
        client.reason = reason
        client.connection.close(code, reason)

    def _cut(self, client: Client, reason: str) -> None:
        """End the TCP connection without a close frame."""
        client.confirm()
        client.reason = reason
        client.connection.transport.abort()

    # Faults

    def fault(self, applied: Fault, now: float) -> None:
        """Apply a fault now, or regularly from `every_s` seconds on if it has that.

        Raises:
            ValueError: If only exchanges of another protocol have it.
        """
        if applied.name not in self._faults:
            raise ValueError(f"wallex has no fault {applied.name}")
        if applied.name in _OF_A_MARKET and applied.symbol not in self.market.markets:
            raise ValueError(f"wallex has no market {applied.symbol!r}: {applied.name} needs one")
        if applied.every_s > 0:
            self._repeating.append((now + applied.every_s, applied))
        else:
            self._apply(applied, now)

    def _apply(self, applied: Fault, now: float) -> None:
        self.ledger.fault(applied.name, msgspec.to_builtins(applied))
        self._faults[applied.name](applied, now)

    def _hit(self, applied: Fault) -> list[Client]:
        reachable = [client for client in self._clients.values() if client.reachable()]
        return reachable[: applied.count] if applied.count else reachable

    def _kick(self, applied: Fault, now: float) -> None:
        for client in self._hit(applied):
            if applied.close_frame:
                self._close(client, applied.code, "kick")
            else:
                self._cut(client, "kick_cut")

    def _stall(self, applied: Fault, now: float) -> None:
        for client in self._hit(applied):
            client.stalled_until = now + applied.seconds
            client.pings.clear()

    def _mute(self, applied: Fault, now: float) -> None:
        channel = wire.trade_channel(applied.symbol)
        for client in self._subscribers.get(channel, {}).values():
            client.muted_until[channel] = now + applied.seconds

    def _drop(self, applied: Fault, now: float) -> None:
        self._dropping[applied.symbol] += max(1, applied.count)

    def _alter(self, applied: Fault, now: float) -> None:
        self._altering[applied.symbol] += max(1, applied.count)

    def _repeat(self, applied: Fault, now: float) -> None:
        """Send the newest trades of a market again, as if they had just happened."""
        newest = list(self.market.markets[applied.symbol].recent)[-max(1, applied.count) :]
        for client in self._targets(wire.trade_channel(applied.symbol), now):
            for trade in newest:
                client.queue(wire.framed(wire.trade_frame(trade)))
            if self._hand_over(client):
                for trade in newest:
                    self.ledger.served(trade, "resend")

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

    def _resend(self, applied: Fault, now: float) -> None:
        self._resend_count = applied.count

    def _refuse(self, applied: Fault, now: float) -> None:
        self.refuse_until, self.refuse_status = now + applied.seconds, applied.status

    def _rest_error(self, applied: Fault, now: float) -> None:
        self.rest_error_until, self.rest_error_status = now + applied.seconds, applied.status

    def _rest_hang(self, applied: Fault, now: float) -> None:
        self.rest_hang_until = now + applied.seconds

    def _require_pong(self, applied: Fault, now: float) -> None:
        self._pong_timeout_s = applied.seconds

    def _no_ping(self, applied: Fault, now: float) -> None:
        self._no_ping_until = now + applied.seconds

    def _max_age(self, applied: Fault, now: float) -> None:
        self._max_age_s = applied.seconds

    def _clear(self, applied: Fault, now: float) -> None:
        self._repeating.clear()
        self._dropping.clear()
        self._altering.clear()
        self._resend_count = self._options.resend_count
        self._pong_timeout_s = self._options.pong_timeout_s
        self._max_age_s = self._options.connection_max_age_s
        self.refuse_until = self.rest_error_until = self._no_ping_until = 0.0
        self.rest_hang_until = 0.0
        for client in self._clients.values():
            client.stalled_until = 0.0
            client.muted_until.clear()
