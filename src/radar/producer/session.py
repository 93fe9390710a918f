"""One connection of a producer, from its subscriptions to its end."""

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Coroutine, Iterable, Iterator
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import structlog

from radar.clock import unix_us
from radar.codec.message_format import check_depth
from radar.datasets import DEPTH, TRADES
from radar.errors import (
    BufferFull,
    ExchangeUnavailable,
    FeedLost,
    InvalidFrame,
    InvalidMessage,
)
from radar.exchanges.base import (
    MAX_DETAIL_CHARACTERS,
    Event,
    Fetch,
    Goodbye,
    Hello,
    Lost,
    Newest,
    Refused,
    Send,
    Stream,
    Subscribed,
    UnreadBook,
)
from radar.producer.book_updates import BookChains
from radar.producer.clock import stamped
from radar.producer.conflation import UnreadSnapshot
from radar.producer.connection import CLOSE_TIMEOUT_S, Connection, NoConnection, stream_url
from radar.producer.feed import Feed
from radar.producer.gaps import Uncovered
from radar.producer.late_sides import LateSides
from radar.producer.pacing import Pace, StallDetector, StallTimeout
from radar.producer.publish import BufferedPublisher
from radar.producer.recorders import KeyValue, Record
from radar.producer.redundancy import Deliveries
from radar.records import BookSide, BookUpdate, DepthSnapshot, GapCause, Market, Opening, Trade
from radar.telemetry import metrics
from radar.telemetry.connections import SeenConnection

if TYPE_CHECKING:
    from radar.producer.frame_recorder import ConnectionFrames

# A connection is replaced after a random part of the allowed time. So connections that were opened
# together, redundant ones above all, are not replaced together.
MIN_AGE_PART = 0.85
# Replace a connection this many pongs before the exchange stops taking them: some are needed
# during the overlap.
SPARE_PONGS = 5
# A connection that lived this long and delivered frames was no failure: the next wait is short.
HEALTHY_AFTER_S = 2.0
# How often a protocol is asked for its keep-alives, at most and at least.
SHORTEST_SLEEP_S = 0.05
LONGEST_SLEEP_S = 5.0
# Acknowledged subscriptions are covered together after this time, or once all are acknowledged.
COVER_EVERY_S = 0.5
# The first wait before a failed fetch is sent again; it doubles.
FETCH_AGAIN_S = 0.5
FETCH_AGAIN_AT_MOST_S = 30.0
# If the exchange ends a connection this soon after the subscription, one of its markets may be the
# cause; see `Shard`.
QUICK_END_S = 2.0
# Other tasks get their turn after this time at the latest, and after the frame that is taken then:
# to receive a frame that waits already does not give way. Within a long frame they get it after
# this many events.
TURN_US = 20_000
EVENTS_AT_ONCE = 500
# A snapshot in a larger frame is parsed at once, so that the memory of those that wait is bounded.
MAX_UNREAD_BYTES = 64 * 1024
# How long an exchange may go on sending after our close frame.
GOODBYE_TIMEOUT_S = 15.0

# Gap causes by reason of a connection's end; every other reason is a disconnection.
_CAUSES = {"silent": GapCause.SILENT}

_log = structlog.get_logger()
_connection_numbers = count(1)


class Session:
    """One connection from its subscriptions to its end.

    Attributes:
        worn: Set when the connection should be replaced although it works.
        reading: The task that ends with the connection.
        connection_name: Its random name in sessions and recorded frames.
        symbols: The markets that it wants.
        covered: Those of them that the exchange delivers, as far as it has said so.
        refused: Those that it does not deliver.
        opened: When it opened, in monotonic seconds.
        subscribed_us: When it had subscribed, Unix time.
        detail: Why it ended.
        deliveries: How many of its trades redundant connections brought as well.
    """

    def __init__(
        self,
        feed: Feed,
        connection: Connection | NoConnection,
        stream: Stream,
        symbols: Iterable[str],
        stall_timeout: StallTimeout,
    ) -> None:
        """Take a connection that is open; `begin` subscribes and starts to read."""
        self.worn = asyncio.Event()
        self._feed = feed
        self._connection = connection
        self._stream = stream
        stream.may_leave_unread = feed.dataset is DEPTH
        self.connection_name = secrets.token_hex(8)
        self._recorded: ConnectionFrames | None = None
        if feed.frame_recorder is not None:
            self._recorded = feed.frame_recorder.connection(self.connection_name)
        self.symbols = tuple(symbols)
        self.covered: tuple[str, ...] = ()
        self.refused: dict[str, str] = {}  # and why
        self._acknowledged: set[str] = set()  # and not covered yet
        self._cover_soon: asyncio.TimerHandle | None = None
        self._beside: set[asyncio.Task[None]] = set()  # that run besides the reading one
        self._failure: BaseException | None = None  # of one of them
        self._stall_timeout = stall_timeout
        self._reason = ""
        self._lasted_s = 0.0
        self._name = ""
        self._frames = self._records = self._invalid = self._pongs = 0
        self._last_frame_us = self._set_back_us = 0  # when the newest frame arrived
        self._read_on = asyncio.Event()  # not set while Kafka accepts no messages
        self._read_on.set()
        self.opened = time.monotonic()
        self.subscribed_us = unix_us()
        self.detail = ""
        self._number = next(_connection_numbers)
        self._log = _log.bind(connection=self._number)
        worn_part = random.uniform(MIN_AGE_PART, 1)  # noqa: S311 - spreads load, keeps no secret
        limits = feed.exchange.limits
        age_s = feed.max_age_s * worn_part
        self._worn_pongs = int((limits.max_pongs - SPARE_PONGS) * worn_part)
        self._sends = Pace(limits.sends_per_s)
        loop = asyncio.get_running_loop()
        self._wear = loop.call_later(age_s, self.worn.set)
        self._answer_due = loop.call_later(limits.subscribe_s, self._refuse_unanswered)
        self.deliveries = Deliveries()
        self._take = feed.recorder.taker(deliveries=self.deliveries)
        self._chains = BookChains()
        self._is_read = False
        self.reading: asyncio.Task[None]

    @classmethod
    async def open(cls, feed: Feed, symbols: list[str], stall_timeout: StallTimeout) -> "Session":
        """Connect, subscribe and start to read.

        Raises:
            FeedLost: The exchange refuses or does not answer.
            ConfigurationError: An address is not usable.
        """
        settings, exchange = feed.settings, feed.exchange
        markets = [feed.markets[symbol] for symbol in symbols if symbol in feed.markets]
        stream = exchange.stream(
            feed.dataset,
            markets,
            whole_books=settings.books == "whole",
            memory=feed.memory,
            updates=feed.updates is not None,
        )
        connection: Connection | NoConnection = NoConnection()
        if stream.url:
            connection = await Connection.open(
                stream_url(settings.ws_url(exchange.name), exchange.ws_url, stream.url),
                proxy=settings.exchange_proxy,
                max_frame_bytes=max(settings.max_frame_bytes, exchange.limits.max_frame_bytes),
                headers=stream.headers,
                gate=feed.gate,
            )
        session = cls(feed, connection, stream, symbols, stall_timeout)
        try:
            # An exchange that ends the connection meanwhile has ended a session: the reader finds
            # the end, and the shard may look for the market that is the cause.
            with contextlib.suppress(FeedLost):
                await session._keep_opening(markets)
                for event in stream.opened():
                    await session._handle(event)
        except BaseException:
            session._stop_timers()
            connection.abort()
            raise
        session._log.info("connection opened", markets=len(symbols))
        session._start()
        return session

    def _start(self) -> None:
        """Read from now on; a protocol without acknowledgements is covered at once."""
        self._feed.sessions.add(self)
        self._is_read = True
        self.reading = asyncio.create_task(self._run())
        self.reading.add_done_callback(lambda _: self._feed.sessions.discard(self))
        self._cover()

    @property
    def seen(self) -> SeenConnection:
        """The facts about the connection so far, for the status."""
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
        """When the newest frame arrived, Unix time; 0 before the first."""
        return self._last_frame_us

    @property
    def ended(self) -> bool:
        """Whether the connection has ended and all its frames were read."""
        return self.reading.done()

    @property
    def healthy(self) -> bool:
        """Whether the connection worked long enough for an immediate reconnection."""
        return self._records > 0 and time.monotonic() - self.opened >= HEALTHY_AFTER_S

    @property
    def ended_quickly(self) -> bool:
        """Whether the exchange ended it soon after the subscription."""
        return self.ended and self._reason == "closed" and self._lasted_s < QUICK_END_S

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
        """Close the connection once all frames that arrived were published, or at the timeout.

        If the producer waits for Kafka, this waits first: a socket that is closed unread loses its
        bytes.
        """
        self._reason = self._reason or reason
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        await self._until_set_or_ended(self._read_on, timeout_s)
        await self._say_goodbye(
            time.monotonic() + GOODBYE_TIMEOUT_S if deadline is None else deadline
        )
        await self.until_ended(None if deadline is None else max(0, deadline - time.monotonic()))
        if not self.ended:
            self._log.error("gave up received frames: Kafka accepts no messages")
            self.reading.cancel()
            await asyncio.wait([self.reading])

    async def _say_goodbye(self, deadline: float) -> None:
        """Send a close frame, and read on while frames arrive that were sent before the answer."""
        closing = asyncio.create_task(self._connection.close())
        seen, silent = -1, 0
        while not closing.done():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                self._log.error("gave up frames that were still coming")
                # REST still has the trades among them.
                self._feed.on_subscribed(self.symbols)
                break
            if self._read_on.is_set():
                silent = silent + 1 if seen == self._frames else 0
                # One silent wait may be the fault of this process, if frames wait unread.
                if silent > 1:
                    break  # the exchange is gone and will not answer
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
        labels = (feed.exchange.name, feed.dataset.name)
        metrics.CONNECTIONS.labels(*labels).inc()
        self._start_beside(self._end_when_silent())
        self._start_beside(self._keep_alive())
        try:
            await self._read()
        except FeedLost as lost:
            failure = self._failure or lost
            if not isinstance(failure, FeedLost):
                raise failure from lost
            self._reason = self._reason or failure.reason
            self.detail = feed.trouble = str(failure)
        finally:
            self._lasted_s = time.monotonic() - self.opened
            for task in self._beside:
                task.cancel()
            self._stop_timers()
            self._connection.abort()
            cause = _CAUSES.get(self._reason, GapCause.DISCONNECTED)
            feed.gaps.end(self, self.covered, self._last_frame_us, cause)
            feed.session_recorder.end(self, self._reason or "failed")
            metrics.CONNECTIONS.labels(*labels).dec()
            if self._reason not in {"stopped", "delisted"}:
                metrics.RECONNECTS.labels(*labels, self._reason or "failed").inc()
            self._log.info(
                "connection ended",
                reason=self._reason or "failed",
                detail=self.detail,
                session=self._name,
                seconds=round(time.monotonic() - self.opened, 1),
                frames=self._frames,
                records=self._records,
                invalid=self._invalid,
            )

    def _start_beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a task besides the reading one; its failure ends the session like one of reading."""
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._ended_beside)

    def _ended_beside(self, task: asyncio.Task[None]) -> None:
        self._beside.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failure = self._failure or failure
            self._connection.abort()

    async def _read(self) -> None:
        """Take frame after frame: the hot path, without a task, a log line or a lock per frame."""
        feed, connection = self._feed, self._connection
        receive, record = self._stream.receive, self._record
        clock, recorded = feed.clock, self._recorded
        now_us, may_wait = clock.now_us, feed.dataset is DEPTH
        turn_ends_us = 0
        while True:
            frame = await connection.receive()
            received_at_us = now_us()  # first: it reports a jump of the clock before we count
            self._frames += 1
            feed.frames += 1
            feed.frame_bytes += len(frame)
            feed.last_frame_us = self._last_frame_us = received_at_us
            self._set_back_us = clock.set_back_us
            if recorded is not None:
                await self._keep(recorded.received(frame))
            left = EVENTS_AT_ONCE
            try:
                waits = may_wait and self._waits(frame, received_at_us)
                for event in () if waits else receive(frame, received_at_us):
                    left -= 1
                    if not left:
                        left = EVENTS_AT_ONCE
                        await asyncio.sleep(0)
                    if isinstance(event, Record):
                        message = record(event)
                        if message is not None:
                            await self._publish_when_room(message, feed.buffer)
                    else:
                        await self._handle(event)
            except InvalidFrame as error:
                self._note_invalid(error)
            # The clock may have been set back.
            if not turn_ends_us - TURN_US <= received_at_us < turn_ends_us:
                turn_ends_us = received_at_us + TURN_US
                await asyncio.sleep(0)

    def _waits(self, frame: bytes, received_at_us: int) -> bool:
        """Let a snapshot wait without parsing it, if it is not due; return whether it waits."""
        book = self._stream.snapshot_of(frame)
        if book is None or len(frame) > MAX_UNREAD_BYTES:
            return False
        feed, (symbol, side) = self._feed, book
        if symbol not in feed.markets:
            return False
        parse = partial(self._parse_late, frame, received_at_us, self._set_back_us)
        return self._side_waits(UnreadSnapshot(symbol, side, received_at_us, parse))

    def _side_waits(self, snapshot: UnreadSnapshot) -> bool:
        feed = self._feed
        if not feed.recorder.wait(snapshot):
            return False
        self._records += 1
        feed.records += 1
        feed.latest[snapshot.side][snapshot.symbol] = snapshot
        return True

    def _due_sides(self, book: UnreadBook) -> Iterator[DepthSnapshot]:
        """Let the sides of a book wait without parsing them, and yield those that are due."""
        if book.symbol not in self._feed.markets:
            return  # delisted since the subscription
        sides = LateSides(book, self._set_back_us, self._note_invalid)
        for side in BookSide:
            parse = partial(sides.checked, side)
            snapshot = UnreadSnapshot(book.symbol, side, book.received_at_us, parse)
            if book.size_bytes <= MAX_UNREAD_BYTES and self._side_waits(snapshot):
                continue
            if (found := sides.parsed.get(side)) is not None:
                yield found

    def _parse_late(
        self, frame: bytes, received_at_us: int, set_back_us: int
    ) -> DepthSnapshot | None:
        """Parse a frame that has waited; None: it is invalid."""
        try:
            (snapshot,) = self._stream.receive(frame, received_at_us)
            if not isinstance(snapshot, DepthSnapshot):
                raise InvalidFrame("no snapshot")
            check_depth(snapshot := stamped(snapshot, set_back_us))
        except (InvalidFrame, InvalidMessage) as error:
            self._note_invalid(error)
            return None
        return snapshot

    async def _keep_opening(self, markets: Iterable[Market]) -> None:
        """Record how the connection was opened."""
        if self._recorded is None:
            return
        feed, settings = self._feed, self._feed.settings
        feed.clock.now_us()
        interval_s = 0.0 if feed.dataset is TRADES else settings.depth_interval_seconds
        opening = Opening(
            self._stream.url,
            tuple(markets),
            settings.books == "whole",
            feed.updates is not None,
            round(interval_s * 1000),
        )
        await self._keep(self._recorded.opened(opening))

    async def _keep(self, messages: Iterable[KeyValue]) -> None:
        """Publish the messages of a recorded frame."""
        recorder = self._feed.frame_recorder
        if recorder is None:
            return
        for message in messages:
            try:
                recorder.buffer.publish(*message)
            except BufferFull:
                await self._publish_when_room(message, recorder.buffer)

    def _record(self, record: Record) -> KeyValue | None:
        """Publish a record; return its message if it must wait for room."""
        feed = self._feed
        if record.symbol not in feed.markets:
            return None  # delisted since the subscription
        record = stamped(record, self._set_back_us)
        try:
            message = self._take(record)
        except InvalidMessage as error:
            self._note_invalid(error)
            return None
        self._records += 1
        feed.records += 1
        feed.latest[record.side][record.symbol] = record
        if message is not None:
            try:
                feed.buffer.publish(*message)
            except BufferFull:
                return message
        return None

    async def _handle(self, event: Event) -> None:
        """Take any event of the stream."""
        match event:
            case Trade() | DepthSnapshot():
                if (message := self._record(event)) is not None:
                    await self._publish_when_room(message, self._feed.buffer)
            case UnreadBook():
                for snapshot in self._due_sides(event):
                    if (message := self._record(snapshot)) is not None:
                        await self._publish_when_room(message, self._feed.buffer)
            case BookUpdate():
                await self._publish_update(event)
            case Send():
                await self._send(event)
            case Fetch():
                self._start_beside(self._fetch(event))
            case _:
                self._note(event)

    def _note(self, event: Subscribed | Refused | Lost | Newest | Goodbye | Hello) -> None:
        """Take an event that says something about the connection or its markets."""
        match event:
            case Subscribed():
                self._acknowledge(event.symbols)
            case Refused():
                self._refuse(event.symbols, event.reason)
            case Lost():
                self._lose(event)
            case Newest():
                self._feed.recorder.expect(event.symbol, event.number)
            case Goodbye():
                self._log.info("the exchange will end the connection", reason=event.reason)
                self.worn.set()
            case Hello():
                self._name = event.session

    def _lose(self, lost: Lost) -> None:
        """Record a proven loss: trades go on coming, a book counts again from its new snapshot."""
        gaps = self._feed.gaps
        if self._feed.dataset is not TRADES:
            gaps.end(self, [lost.symbol], lost.since_us, lost.cause)
            return
        numbers = (lost.first_id, lost.last_id) if lost.first_id else None
        now_us = max(lost.since_us, unix_us())
        gaps.lost(Uncovered(lost.since_us, now_us, lost.cause, (lost.symbol,), numbers))

    async def _keep_alive(self) -> None:
        """Send what the protocol wants from the client from time to time."""
        while True:
            events, again_us = self._stream.keepalive(unix_us())
            for event in events:
                await self._handle(event)
            wait_s = (again_us - unix_us()) / 1e6
            await asyncio.sleep(min(LONGEST_SLEEP_S, max(SHORTEST_SLEEP_S, wait_s)))

    async def _fetch(self, fetch: Fetch) -> None:
        """Send a request of the stream until it is answered; hand the answer over like a frame."""
        feed = self._feed
        wait_s = FETCH_AGAIN_S
        while True:
            await feed.request_pace.turn(fetch.cost_s)
            try:
                body = await feed.rest.get(fetch.path)
                received_at_us = feed.clock.now_us()
                if self._recorded is not None:
                    await self._keep(self._recorded.fetched(fetch, body))
                events = list(self._stream.fetched(fetch, body, received_at_us))
            except ExchangeUnavailable as error:
                self._log.warning("a request failed", detail=str(error), retry_s=wait_s)
                await asyncio.sleep(wait_s)
                wait_s = min(FETCH_AGAIN_AT_MOST_S, 2 * wait_s)
                continue
            self._frames += 1
            feed.last_frame_us = self._last_frame_us = received_at_us
            self._set_back_us = feed.clock.set_back_us
            for event in events:
                await self._handle(event)
            return

    def _acknowledge(self, symbols: Iterable[str]) -> None:
        """Cover the markets soon, together with others that are acknowledged meanwhile."""
        self._acknowledged.update(symbols)
        waits = set(self.symbols) - self._acknowledged - set(self.covered) - self.refused.keys()
        if not waits and self._is_read:
            self._cover()
        elif self._cover_soon is None:
            loop = asyncio.get_running_loop()
            self._cover_soon = loop.call_later(COVER_EVERY_S, self._cover)

    def _cover(self) -> None:
        """Begin the coverage of the acknowledged markets."""
        if self._cover_soon is not None:
            self._cover_soon.cancel()
            self._cover_soon = None
        known = self._feed.markets
        new = [symbol for symbol in self.symbols if symbol in self._acknowledged]
        self._acknowledged.clear()
        new = [symbol for symbol in new if symbol in known]
        if not new or not self._read_on.is_set():
            self.covered += tuple(symbol for symbol in new if symbol not in self.covered)
            return
        self.subscribed_us = unix_us()
        self._feed.gaps.begin(self, new)
        if added := tuple(symbol for symbol in new if symbol not in self.covered):
            self._feed.session_recorder.pause(self, "extended")
            self.covered += added
            self._feed.session_recorder.begin(self)
        self._feed.on_subscribed(new)

    def _refuse(self, symbols: Iterable[str], reason: str) -> None:
        """Take markets that the exchange does not deliver; they are tried again later, alone."""
        new = [each for each in symbols if each in self.symbols and each not in self.refused]
        self.refused.update(dict.fromkeys(new, reason))
        for symbol in new:
            self._log.warning("the exchange refuses a market", symbol=symbol, reason=reason)
            self._feed.on_refused(symbol, reason)
        if len(self.refused) == len(self.symbols):
            self._reason, self.detail = self._reason or "refused", reason
            self._connection.abort()

    def _refuse_unanswered(self) -> None:
        silent = set(self.symbols) - self._acknowledged - set(self.covered) - self.refused.keys()
        known = [symbol for symbol in self.symbols if symbol in silent & self._feed.markets.keys()]
        if known:
            self._refuse(known, "the exchange does not answer the subscription")

    def _stop_timers(self) -> None:
        self._wear.cancel()
        self._answer_due.cancel()
        if self._cover_soon is not None:
            self._cover_soon.cancel()

    async def _publish_update(self, update: BookUpdate) -> None:
        updates = self._feed.updates
        if updates is None or update.symbol not in self._feed.markets:
            return
        try:
            message = self._chains.message(stamped(update, self._set_back_us))
        except InvalidMessage as error:
            self._note_invalid(error)
            return
        try:
            updates.publish(*message)
        except BufferFull:
            await self._publish_when_room(message, updates)

    async def _publish_when_room(self, message: KeyValue, buffer: BufferedPublisher) -> None:
        """Wait for Kafka; meanwhile no frame is read, so TCP makes the exchange wait."""
        if not self._is_read:
            await buffer.publish_when_room(*message)
            return
        self.covers_no_more(GapCause.BACKPRESSURE)
        self._read_on.clear()
        await buffer.publish_when_room(*message)
        self._read_on.set()
        self.covers_again()

    @property
    def covers(self) -> bool:
        """Whether its markets count as covered: the connection lives and is read."""
        return not self.ended and self._read_on.is_set()

    def rebase(self, now_us: int) -> None:
        """Move the time of the newest frame to now if it is later, after the clock was set back."""
        self._last_frame_us = min(self._last_frame_us, now_us)

    def covers_again(self) -> None:
        """Count its markets as covered from now on, and request the missed trades."""
        # A market may have been delisted while the connection was opened, or was not read.
        symbols = [symbol for symbol in self.covered if symbol in self._feed.markets]
        self._feed.gaps.begin(self, symbols)
        self._feed.session_recorder.begin(self)
        self._feed.on_subscribed(symbols)

    def covers_no_more(self, cause: GapCause) -> None:
        """Count its markets as uncovered since its newest frame, though the connection lives."""
        self._feed.gaps.end(self, self.covered, self._last_frame_us, cause)
        self._feed.session_recorder.pause(self, cause.value)

    async def _send(self, frame: Send) -> None:
        if not frame.is_pong:
            await self._sends.turn()
        if self._recorded is not None:
            self._feed.clock.now_us()
            await self._keep(self._recorded.sent(frame.text))
        if not self._is_read:
            await self._connection.send(frame.text)
            return
        # The exchange may have closed the connection already. Frames from before the end are still
        # to be read, and the reader finds the end behind them.
        with contextlib.suppress(FeedLost):
            await self._connection.send(frame.text)
        if frame.is_pong:
            self._pongs += 1
            if self._pongs >= self._worn_pongs:
                self.worn.set()

    def _note_invalid(self, error: InvalidFrame | InvalidMessage) -> None:
        if not self._invalid:
            reason = str(error)[:MAX_DETAIL_CHARACTERS]
            self._log.warning("invalid frame, the first on this connection", reason=reason)
        self._invalid += 1
        metrics.INVALID_FRAMES.labels(self._feed.exchange.name, self._feed.dataset.name).inc()

    async def _end_when_silent(self) -> None:
        stall_detector = StallDetector(self._stall_timeout)
        while True:
            await asyncio.sleep(self._stall_timeout.tick_s)
            # A session that waits for Kafka does not read: that is no silence of the exchange.
            if not self._feed.waits and stall_detector.tick(self._frames):
                self._reason = self._reason or "silent"
                # The exchange is gone and would not answer a close frame.
                self._connection.abort()
                return
