"""The state that the shards and the connections of one producer share."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import structlog

from radar.clock import unix_us
from radar.datasets import Dataset
from radar.exchanges.base import Exchange
from radar.producer.clock import RecordingClock
from radar.producer.conflation import Snapshot, UnreadSnapshot
from radar.producer.frame_recorder import FrameRecorder
from radar.producer.freshness import MarketBook
from radar.producer.gap_recorder import GapRecorder
from radar.producer.pacing import Pace
from radar.producer.publish import BufferedPublisher
from radar.producer.rate_limit import RateLimitGate
from radar.producer.recorders import Record, Recorder
from radar.producer.rest import Rest
from radar.producer.session_recorder import SessionRecorder
from radar.producer.trade_sequence import MAX_VANISHED
from radar.records import BookSide, GapCause, Market, TradeSide
from radar.settings import Settings
from radar.telemetry import metrics

if TYPE_CHECKING:
    from radar.producer.session import Session

# A connection is replaced before the exchange ends it.
AGE_PART = 5 / 6
# A connection whose newest frame is younger works.
ALIVE_S = 10.0

# Called with the markets of a connection that has just subscribed, is read again, or was given up
# while it was still sending.
OnSubscribed = Callable[[Iterable[str]], None]
# Called with a market that the exchange does not deliver, and with the exchange's words.
OnRefused = Callable[[str, str], None]

_log = structlog.get_logger()


class Feed:
    """The state that the shards of one producer share.

    Attributes:
        exchange: The driver.
        dataset: The recorded dataset.
        settings: The options.
        markets: The markets by symbol; some may be added and removed while running.
        recorder: Makes messages of records.
        buffer: The publisher of these messages.
        updates: The publisher of book updates; None: they are not recorded.
        frame_recorder: Records the frames; None: they are not recorded.
        on_subscribed: Called with the markets of which trades may have been missed: those of a
            connection that has subscribed, is read again, or was given up while it was sending.
        gaps: Records which markets no connection covered.
        session_recorder: Records the sessions.
        request_pace: Spaces the requests of streams and of backfill.
        pace: Spaces the attempts to connect.
        max_age_s: A connection is replaced at this age at the latest.
        markets_per_connection: How many markets share a connection.
        frames: Frames received so far.
        frame_bytes: Their size.
        records: Records in them, parsed or not.
        last_frame_us: When the newest arrived, Unix time.
        clock: Dates the frames, and reports when the machine's clock was set.
        sessions: The open connections.
        trouble: Why the newest lost or refused connection ended.
        gate: Closed while the exchange wants no requests.
        rest: Sends the requests of streams.
        on_refused: Called with a market that the exchange does not deliver.
        refused: Those markets; they are set aside.
        memory: Facts that streams keep for the connections after them, by symbol.
        latest: The newest record of each market by side, of all connections.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        exchange: Exchange,
        dataset: Dataset,
        markets: Mapping[str, Market],
        recorder: Recorder,
        buffer: BufferedPublisher,
        updates: BufferedPublisher | None,
        frames: BufferedPublisher | None,
        on_subscribed: OnSubscribed,
        gaps: GapRecorder,
        session_recorder: SessionRecorder,
        gate: RateLimitGate,
        rest: Rest,
        request_pace: Pace,
        on_refused: OnRefused,
        clock: RecordingClock,
    ) -> None:
        self.settings = settings
        self.exchange = exchange
        self.dataset = dataset
        self.markets = markets
        self.recorder = recorder
        self.buffer = buffer
        self.updates = updates
        self.on_subscribed = on_subscribed
        self.gaps = gaps
        self.session_recorder = session_recorder
        self.gate = gate
        self.rest = rest
        self.request_pace = request_pace
        self.on_refused = on_refused
        self.refused: frozenset[str] = frozenset()
        self.latest: dict[TradeSide | BookSide, dict[str, Record | UnreadSnapshot]] = {
            side: {} for side in (*TradeSide, *BookSide)
        }
        limits = exchange.limits
        self.pace = Pace(limits.connects_per_s)
        self.max_age_s = settings.connection_max_age_seconds or AGE_PART * limits.lifetime_s
        self.markets_per_connection = (
            settings.symbols_per_connection or limits.markets_per_connection
        )
        self.frames = self.frame_bytes = self.records = self.last_frame_us = 0
        self._began_us = unix_us()
        self.clock = clock
        self.clock.on_jump = self._jumped
        self.frame_recorder: FrameRecorder | None = None
        if frames is not None:
            self.frame_recorder = FrameRecorder(exchange.name, dataset, self.clock, frames)
        self.sessions: set[Session] = set()
        self.memory: dict[str, object] = {}
        self._vanished: dict[str, None] = {}  # markets whose facts may still be in the memory
        self.trouble = ""
        self._counted = (0, 0, 0)

    @property
    def waits(self) -> bool:
        """Whether a session waits for room at Kafka."""
        buffers = [self.buffer, self.updates]
        if self.frame_recorder is not None:
            buffers.append(self.frame_recorder.buffer)
        return any(buffer.waiting for buffer in buffers if buffer is not None)

    def update_metrics(self) -> None:
        """Copy the numbers into the metrics; counting them there costs too much per frame."""
        labels = (self.exchange.name, self.dataset.name)
        now = (self.frames, self.frame_bytes, self.records)
        counters = (metrics.FRAMES, metrics.FRAME_BYTES, metrics.RECORDS)
        for counter, new, old in zip(counters, now, self._counted, strict=True):
            counter.labels(*labels).inc(new - old)
        self._counted = now
        if self.last_frame_us:
            metrics.LAST_FRAME_TIME.labels(*labels).set(self.last_frame_us / 1e6)
        opened = min((session.opened for session in self.sessions), default=None)
        age_s = 0.0 if opened is None else time.monotonic() - opened
        metrics.CONNECTION_AGE_SECONDS.labels(*labels).set(age_s)

    def silence(self, now_us: int) -> tuple[float, float]:
        """Return the seconds since the newest frame, and how many frames usually arrive in them."""
        if not self.last_frame_us:
            return 0.0, 0.0
        silent_us = now_us - self.last_frame_us
        lasted_us = max(1, now_us - self._began_us)
        return silent_us / 1e6, self.frames * silent_us / lasted_us

    def heard_us(self) -> dict[str, int]:
        """Return when the newest record of each market arrived, Unix time."""
        heard: dict[str, int] = {}
        for records in self.latest.values():
            for symbol, record in records.items():
                heard[symbol] = max(heard.get(symbol, 0), record.received_at_us)
        return heard

    def books(self) -> dict[str, MarketBook]:
        """Return the newest snapshots of each market."""

        def newest(side: BookSide, symbol: str) -> Snapshot | None:
            record = self.latest[side].get(symbol)
            return record if isinstance(record, Snapshot) else None

        return {
            symbol: MarketBook(newest(BookSide.BID, symbol), newest(BookSide.ASK, symbol))
            for symbol in self.markets
        }

    def forget(self, symbols: Iterable[str]) -> None:
        """Drop markets that no longer exist.

        What streams know of them stays up to a number of markets: a market may come back after a
        pause.
        """
        for symbol in symbols:
            for records in self.latest.values():
                records.pop(symbol, None)
            self._vanished.pop(symbol, None)
            self._vanished[symbol] = None
        while len(self._vanished) > MAX_VANISHED:
            oldest = next(iter(self._vanished))
            del self._vanished[oldest]
            if oldest not in self.markets:
                self.memory.pop(oldest, None)

    def subscribed_us(self) -> dict[str, int]:
        """Return when the newest connection of each market had subscribed, Unix time."""
        subscribed: dict[str, int] = {}
        for session in self.sessions:
            for symbol in session.covered:
                subscribed[symbol] = max(subscribed.get(symbol, 0), session.subscribed_us)
        return subscribed

    def alive(self) -> set[str]:
        """Return the markets whose connections delivered a frame within ALIVE_S."""
        newer_us = unix_us() - int(ALIVE_S * 1e6)
        return {
            symbol
            for session in self.sessions
            if session.last_frame_us >= newer_us
            for symbol in session.covered
        }

    def subscribe_again(self, symbol: str) -> None:
        """Replace the connections that have subscribed to a market."""
        for session in self.sessions:
            if symbol in session.symbols:
                session.worn.set()

    def cover_again(self, symbol: str) -> None:
        """Count a market as covered again by its connections."""
        for session in self.sessions:
            if symbol in session.covered and not session.ended:
                self.gaps.begin(session, [symbol])

    async def turn(self) -> None:
        """Wait for the turn to connect, and for as long as the exchange wants no requests."""
        while True:
            await self.gate.passed()
            await self.pace.turn()
            if not self.gate.left_s:
                return

    def _jumped(self, cause: GapCause) -> None:
        """End every connection's coverage at its last frame before the jump, and begin anew."""
        _log.warning("the clock has jumped, or this process stood still", cause=cause.value)
        covering = [session for session in self.sessions if session.covers]
        for session in covering:
            session.covers_no_more(cause)
        now_us = unix_us()
        self.last_frame_us = min(self.last_frame_us, now_us)
        self._began_us = min(self._began_us, now_us)
        for session in self.sessions:
            session.rebase(now_us)
        self.gaps.rebase()
        self.rest.clock_offset.clear(time.monotonic())
        for session in covering:
            session.covers_again()

    def unconnected(self) -> list[str]:
        """Return the markets without an open connection, except refused ones."""
        connected = {symbol for session in self.sessions for symbol in session.covered}
        connected |= self.refused
        return [symbol for symbol in self.markets if symbol not in connected]
