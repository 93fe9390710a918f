"""Keeps the connections of a producer alive and takes what they bring.

The markets are divided into shards. A shard has one connection, its `Session`: when it is lost a
new one is opened after a wait; when it gets old its successor is opened first, and both run side
by side for a while. Redundant connections are several shards with the same markets, which know
nothing of each other. After every opening the shard's markets are handed to the repair, so no
reason for which a connection ended has to be understood to get back what it missed.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import count

import structlog

from radar.errors import BufferFull, FeedLost, InvalidFrame, InvalidMessage
from radar.exchanges.base import MAX_DETAIL_CHARACTERS, Exchange, Hello, Ping
from radar.kinds import Kind
from radar.observe import metrics
from radar.observe.connections import SeenConnection
from radar.producer.clock import RecordingClock
from radar.producer.connection import CLOSE_TIMEOUT_S, Connection
from radar.producer.gap_recorder import GapRecorder
from radar.producer.outlet import Outlet
from radar.producer.pacing import Backoff, Pace, Patience, Silence
from radar.producer.recorders import Message, Recorder
from radar.producer.watch_recorder import WatchRecorder
from radar.records import GapCause, Market
from radar.settings import Settings

# A connection is worn after a random part of what is allowed, so that connections that were
# opened together, redundant ones above all, are not replaced together.
MIN_AGE_PART = 0.85
# Before the exchange stops taking our replies, and with some left for the overlap.
SPARE_REPLIES = 5
# A connection that lived this long and delivered was no failure: the next wait is short again.
HEALTHY_AFTER_S = 2.0
CONNECTS_PER_SECOND = 10.0
# How long an exchange may go on sending after a goodbye.
GOODBYE_TIMEOUT_S = 15.0

# Called with the markets of a connection that has just subscribed, is read again, or was given up
# while it was still sending.
OnSubscribed = Callable[[Iterable[str]], None]

# Reasons for which a connection ended; every other one is a disconnection.
_CAUSES = {"silent": GapCause.SILENT}

_log = structlog.get_logger()
_connection_numbers = count(1)


class Feed:
    """What the shards of one producer share.

    Attributes:
        exchange: The driver.
        kind: What is recorded.
        settings: The options.
        markets: The markets by symbol; some may be added and removed while running.
        recorder: Makes messages of records.
        outlet: Where messages go.
        on_subscribed: Called with the markets of which trades may have been missed: those of a
            connection that has subscribed, is read again, or was given up while it was sending.
        gaps: Is told which connection covers which markets.
        watches: Is told the same, to record it.
        pace: Spaces the attempts to connect.
        frames: Frames received so far.
        frame_bytes: Their size.
        records: Records parsed from them.
        last_frame_us: When the newest arrived, Unix time.
        sessions: The open connections.
        trouble: Why the newest connection ended that was lost or refused.
    """

    def __init__(
        self,
        settings: Settings,
        exchange: Exchange,
        kind: Kind,
        markets: Mapping[str, Market],
        recorder: Recorder,
        outlet: Outlet,
        on_subscribed: OnSubscribed,
        gaps: GapRecorder,
        watches: WatchRecorder,
    ) -> None:
        self.settings = settings
        self.exchange = exchange
        self.kind = kind
        self.markets = markets
        self.recorder = recorder
        self.outlet = outlet
        self.on_subscribed = on_subscribed
        self.gaps = gaps
        self.watches = watches
        self.pace = Pace(CONNECTS_PER_SECOND)
        self.frames = self.frame_bytes = self.records = self.last_frame_us = 0
        self._began_us = time.time_ns() // 1000
        self.clock = RecordingClock()
        self.clock.on_jump = self._jumped
        self.sessions: set[Session] = set()
        self.trouble = ""
        self._mirrored = (0, 0, 0)

    def mirror(self) -> None:
        """Copy the numbers into the metrics; counting them there costs too much per frame."""
        labels = (self.exchange.name, self.kind.name)
        now = (self.frames, self.frame_bytes, self.records)
        counters = (metrics.FRAMES, metrics.FRAME_BYTES, metrics.RECORDS)
        for counter, new, old in zip(counters, now, self._mirrored, strict=True):
            counter.labels(*labels).inc(new - old)
        self._mirrored = now
        if self.last_frame_us:
            metrics.LAST_FRAME_TIME.labels(*labels).set(self.last_frame_us / 1e6)
        opened = min((session.opened for session in self.sessions), default=None)
        age_s = 0.0 if opened is None else time.monotonic() - opened
        metrics.CONNECTION_AGE_SECONDS.labels(*labels).set(age_s)

    def silence(self, now_us: int) -> tuple[float, float]:
        """Return the seconds since the newest frame, and how many frames usually come in them."""
        if not self.last_frame_us:
            return 0.0, 0.0
        silent_us = now_us - self.last_frame_us
        lasted_us = max(1, now_us - self._began_us)
        return silent_us / 1e6, self.frames * silent_us / lasted_us

    def _jumped(self, cause: GapCause) -> None:
        """End what every connection covers at its last frame before the jump, and begin anew."""
        _log.warning("the clock has jumped, or this process stood still", cause=cause.value)
        covering = [session for session in self.sessions if session.covers]
        for session in covering:
            session.covers_no_more(cause)
        now_us = time.time_ns() // 1000
        self.last_frame_us = min(self.last_frame_us, now_us)
        self._began_us = min(self._began_us, now_us)
        for session in self.sessions:
            session.rebase(now_us)
        self.gaps.rebase()
        for session in covering:
            session.covers_again()

    def unconnected(self) -> list[str]:
        """Return the markets that no open connection has subscribed to."""
        connected = {symbol for session in self.sessions for symbol in session.symbols}
        return [symbol for symbol in self.markets if symbol not in connected]


class Session:
    """One connection from its subscriptions to its end.

    Attributes:
        worn: Set when the connection should be replaced although it works.
        reading: The task that ends with the connection.
        symbols: The markets that it has subscribed to.
        opened: When, in monotonic seconds.
    """

    def __init__(
        self, feed: Feed, connection: Connection, symbols: Iterable[str], patience: Patience
    ) -> None:
        """Start reading a connection that has subscribed."""
        self.worn = asyncio.Event()
        self._feed = feed
        self._connection = connection
        self.symbols = tuple(symbols)
        self._patience = patience
        self._reason = ""
        self._name = ""
        self._frames = self._records = self._invalid = self._replies = 0
        self._last_frame_us = 0
        self._read_on = asyncio.Event()  # not set while Kafka takes nothing
        self._read_on.set()
        self.opened = time.monotonic()
        self._number = next(_connection_numbers)
        self._log = _log.bind(connection=self._number)
        worn_part = random.uniform(MIN_AGE_PART, 1)  # noqa: S311 - spreads load, keeps no secret
        age_s = feed.settings.connection_max_age_seconds * worn_part
        self._worn_replies = int((feed.exchange.max_replies - SPARE_REPLIES) * worn_part)
        self._wear = asyncio.get_running_loop().call_later(age_s, self.worn.set)
        feed.sessions.add(self)
        self.reading = asyncio.create_task(self._run())
        self.reading.add_done_callback(lambda _: feed.sessions.discard(self))

    @classmethod
    async def open(cls, feed: Feed, symbols: list[str], patience: Patience) -> "Session":
        """Connect, subscribe and start reading.

        Raises:
            FeedLost: The exchange does not want us now.
            ConfigurationError: An address is not usable.
        """
        settings = feed.settings
        connection = await Connection.open(
            settings.exchange_ws_url or feed.exchange.ws_url,
            proxy=settings.exchange_proxy,
            max_frame_bytes=settings.max_frame_bytes,
        )
        try:
            for frame in feed.exchange.subscriptions(feed.kind, symbols):
                await connection.send(frame)
        except BaseException:
            connection.abort()
            raise
        session = cls(feed, connection, symbols, patience)
        session._log.info("connection opened", markets=len(symbols))
        session.covers_again()
        return session

    @property
    def seen(self) -> SeenConnection:
        """What the connection has done so far."""
        opened_at_s = time.time() - (time.monotonic() - self.opened)
        return SeenConnection(
            name=str(self._number),
            markets=len(self.symbols),
            opened_at_s=opened_at_s,
            last_frame_at_s=self._last_frame_us / 1e6 or None,
            frames=self._frames,
        )

    @property
    def last_frame_us(self) -> int:
        """When the newest frame came, Unix time; 0 before the first."""
        return self._last_frame_us

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.reading.done()

    @property
    def healthy(self) -> bool:
        """Whether the connection has proved that connecting makes sense."""
        return self._records > 0 and time.monotonic() - self.opened >= HEALTHY_AFTER_S

    async def until_ended(self, timeout_s: float | None = None) -> None:
        """Wait until the connection has ended, or until the timeout.

        Raises:
            BrokerUnavailable: It ended because Kafka cannot be used any more.
        """
        await asyncio.wait([self.reading], timeout=timeout_s)
        if self.reading.done():
            self.reading.result()

    async def until_worn_or_ended(self) -> None:
        """Wait until the connection should be replaced.

        Raises:
            BrokerUnavailable: It ended because Kafka cannot be used any more.
        """
        await self._until_set_or_ended(self.worn)
        await self.until_ended(0)

    async def close(self, reason: str, timeout_s: float | None = None) -> None:
        """Close, after everything that arrived has been published, or give that up in the end.

        Waits for Kafka first where it has to: what waits in the socket meanwhile is lost if the
        connection is closed while it is not read.
        """
        self._reason = self._reason or reason
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        await self._until_set_or_ended(self._read_on, timeout_s)
        await self._say_goodbye(
            time.monotonic() + GOODBYE_TIMEOUT_S if deadline is None else deadline
        )
        await self.until_ended(None if deadline is None else max(0, deadline - time.monotonic()))
        if not self.ended:
            self._log.error("gave up received frames: Kafka takes nothing")
            self.reading.cancel()
            await asyncio.wait([self.reading])

    async def _say_goodbye(self, deadline: float) -> None:
        """Close, and read on for as long as frames come that were sent before the answer."""
        closing = asyncio.create_task(self._connection.close())
        seen, silent = -1, 0
        while not closing.done():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                self._log.error("gave up frames that were still coming")
                # REST still tells the trades among them.
                self._feed.on_subscribed(self.symbols)
                break
            if self._read_on.is_set():
                silent = silent + 1 if seen == self._frames else 0
                # Once may be this process, held up with frames that it has not read.
                if silent > 1:
                    break  # nobody is there to answer
                seen = self._frames
            await asyncio.wait([closing], timeout=min(CLOSE_TIMEOUT_S, left_s))
        self._connection.abort()
        await asyncio.wait([closing])

    async def _until_set_or_ended(
        self, event: asyncio.Event, timeout_s: float | None = None
    ) -> None:
        waiting = asyncio.create_task(event.wait())
        try:
            await asyncio.wait(
                [self.reading, waiting], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            waiting.cancel()

    async def _run(self) -> None:
        feed = self._feed
        labels = (feed.exchange.name, feed.kind.name)
        metrics.CONNECTIONS.labels(*labels).inc()
        watching = asyncio.create_task(self._watch())
        detail = ""
        try:
            await self._read()
        except FeedLost as lost:
            self._reason = self._reason or lost.reason
            detail = feed.trouble = str(lost)
        finally:
            watching.cancel()
            self._wear.cancel()
            self._connection.abort()
            cause = _CAUSES.get(self._reason, GapCause.DISCONNECTED)
            feed.gaps.end(self, self.symbols, self._last_frame_us, cause)
            feed.watches.end(self, self._reason or "failed")
            metrics.CONNECTIONS.labels(*labels).dec()
            if self._reason not in {"stopped", "delisted"}:
                metrics.RECONNECTS.labels(*labels, self._reason or "failed").inc()
            self._log.info(
                "connection ended",
                reason=self._reason or "failed",
                detail=detail,
                session=self._name,
                seconds=round(time.monotonic() - self.opened, 1),
                frames=self._frames,
                records=self._records,
                invalid=self._invalid,
            )

    async def _read(self) -> None:
        """Take frame after frame: the hot path, without a task, a log line or a lock per frame."""
        feed, outlet, connection = self._feed, self._feed.outlet, self._connection
        parse, markets = feed.exchange.parse_frame, feed.markets
        take, now_us = feed.recorder.source(), feed.clock.now_us
        while True:
            frame = await connection.receive()
            received_at_us = now_us()  # before the jump of a clock is noted, nothing is counted
            self._frames += 1
            feed.frames += 1
            feed.frame_bytes += len(frame)
            feed.last_frame_us = self._last_frame_us = received_at_us
            try:
                events = parse(frame, received_at_us, markets)
            except InvalidFrame as error:
                self._note_invalid(error)
                continue
            for event in events:
                if isinstance(event, Ping):
                    await self._reply(event)
                elif isinstance(event, Hello):
                    self._name = event.session
                else:
                    try:
                        message = take(event)
                    except InvalidMessage as error:
                        self._note_invalid(error)
                        continue
                    self._records += 1
                    feed.records += 1
                    if message is not None:
                        try:
                            outlet.publish(*message)
                        except BufferFull:
                            await self._publish_when_room(message)

    async def _publish_when_room(self, message: Message) -> None:
        """Wait for Kafka; nothing is read meanwhile, so TCP makes the exchange wait."""
        self.covers_no_more(GapCause.BACKPRESSURE)
        self._read_on.clear()
        await self._feed.outlet.publish_when_room(*message)
        self._read_on.set()
        self.covers_again()

    @property
    def covers(self) -> bool:
        """Whether its markets count as watched: it lives and is read."""
        return not self.ended and self._read_on.is_set()

    def rebase(self, now_us: int) -> None:
        """Let no frame be later than now, after the clock was set back."""
        self._last_frame_us = min(self._last_frame_us, now_us)

    def covers_again(self) -> None:
        """Note that its markets are watched from now on, and fetch what was missed."""
        # A market may have ended while the connection was opened, or was not read.
        symbols = [symbol for symbol in self.symbols if symbol in self._feed.markets]
        self._feed.gaps.begin(self, symbols)
        self._feed.watches.begin(self)
        self._feed.on_subscribed(symbols)

    def covers_no_more(self, cause: GapCause) -> None:
        """Note that its markets are not watched since its newest frame, though it lives."""
        self._feed.gaps.end(self, self.symbols, self._last_frame_us, cause)
        self._feed.watches.pause(self, cause.value)

    async def _reply(self, ping: Ping) -> None:
        # Whoever is slow may find the connection closed already: what came before its end is still
        # to be read, and the end comes behind that.
        with contextlib.suppress(FeedLost):
            await self._connection.send(ping.reply)
        self._replies += 1
        if self._replies >= self._worn_replies:
            self.worn.set()

    def _note_invalid(self, error: InvalidFrame | InvalidMessage) -> None:
        if not self._invalid:
            reason = str(error)[:MAX_DETAIL_CHARACTERS]
            self._log.warning("invalid frame, the first on this connection", reason=reason)
        self._invalid += 1
        metrics.INVALID_FRAMES.labels(self._feed.exchange.name, self._feed.kind.name).inc()

    async def _watch(self) -> None:
        silence = Silence(self._patience)
        while True:
            await asyncio.sleep(self._patience.tick_s)
            # Whoever waits for Kafka does not read, which is not the exchange's silence.
            if not self._feed.outlet.waiting and silence.tick(self._frames):
                self._reason = self._reason or "silent"
                # Nobody is there to answer a close frame.
                self._connection.abort()
                return


class Shard:
    """Some markets and the connection that brings them."""

    def __init__(self, feed: Feed, symbols: Iterable[str]) -> None:
        self.symbols = list(symbols)
        self._feed = feed
        settings = feed.settings
        self._patience = Patience(
            settings.silence_timeout_seconds, settings.connection_max_age_seconds
        )
        self._backoff = Backoff(settings.reconnect_max_seconds)
        self._open: set[Session] = set()

    @property
    def room(self) -> int:
        """How many more markets fit."""
        return self._feed.settings.symbols_per_connection - len(self.symbols)

    def extend(self, symbols: Iterable[str]) -> None:
        """Add markets; the connection is replaced by one that has subscribed to them as well."""
        self.symbols.extend(symbols)
        for session in self._open:
            session.worn.set()

    def remove(self, symbols: Collection[str]) -> None:
        """Remove markets; the connection is replaced by one that has not subscribed to them.

        One that has no market left is not replaced; it is to be closed.
        """
        left = [symbol for symbol in self.symbols if symbol not in symbols]
        if len(left) < len(self.symbols):
            self.symbols = left
            for session in self._open if left else ():
                session.worn.set()

    async def run(self) -> None:
        """Keep connected until cancelled.

        Raises:
            BrokerUnavailable: Kafka cannot be used any more.
            ConfigurationError: An address is not usable.
        """
        session = await self._connect(0)
        while True:
            await session.until_worn_or_ended()
            if session.ended:
                session = await self._reconnect(session)
            else:
                session = await self._replace(session)

    async def close(self, reason: str, timeout_s: float | None = None) -> None:
        """Close what is open, after everything that arrived has been published if in time."""
        await asyncio.gather(*(session.close(reason, timeout_s) for session in self._open))

    async def _reconnect(self, lost: Session) -> Session:
        self._open.discard(lost)
        if lost.healthy:
            self._backoff.reset()
        return await self._connect(self._backoff.next())

    async def _replace(self, old: Session) -> Session:
        """Open a successor and let both run for a while; return the one that goes on."""
        new = await self._connect(0)
        await asyncio.wait(
            [old.reading, new.reading],
            timeout=self._feed.settings.connection_overlap_seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if new.ended and not old.ended:
            await new.until_ended()
            self._open.discard(new)
            await asyncio.sleep(self._backoff.next())
            return old
        await old.close("rotated")
        self._open.discard(old)
        self._patience.reset()
        return new

    async def _connect(self, delay_s: float) -> Session:
        while True:
            await asyncio.sleep(delay_s)
            await self._feed.pace.turn()
            try:
                symbols = list(self.symbols)
                session = await Session.open(self._feed, symbols, self._patience)
            except FeedLost as lost:
                delay_s = self._backoff.next()
                metrics.RECONNECTS.labels(
                    self._feed.exchange.name, self._feed.kind.name, "refused"
                ).inc()
                self._feed.gaps.refuse(self.symbols)
                self._feed.trouble = str(lost)
                _log.warning("cannot connect", detail=str(lost), retry_s=round(delay_s, 2))
            else:
                self._open.add(session)
                if symbols != self.symbols:
                    # Some were added or removed while it was opened.
                    session.worn.set()
                return session


def divide(symbols: list[str], per_shard: int) -> list[list[str]]:
    """Divide markets into as few shards as needed, of sizes as equal as possible."""
    shards = -(-len(symbols) // per_shard)
    return [symbols[number::shards] for number in range(shards)]
