"""From recorded frames to records, by the same path as in the producer. Pure.

Derivation     the connections of one producer process
  Connection   the stream of one connection, made anew from its first entry
  Trades       identity of trades, counted on each connection
  Books        conflation over all connections of the process
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import msgspec

from radar.codec import message_format
from radar.datasets import TRADES, Dataset
from radar.errors import ExchangeUnavailable, InvalidFrame, InvalidMessage
from radar.exchanges.base import Event, Exchange, Fetch, Stream
from radar.producer.clock import stamped
from radar.producer.recorders import DepthRecorder, Record, Take
from radar.producer.session import LONGEST_SLEEP_S, SHORTEST_SLEEP_S
from radar.producer.trade_ids import Occurrences, content_of, trade_id
from radar.records import DepthSnapshot, FrameKind, Opening, Trade
from radar.reparse.frames import RecordedFrame


class Derived(Protocol):
    """Takes the records of a dataset."""

    def connected(self, connection: str, opening: Opening) -> None:
        """A connection has opened."""

    def advance(self, monotonic_ns: int) -> None:
        """The next records arrived at this time of the monotonic clock."""

    def take(self, connection: str, record: Record) -> None:
        """Take a record of a connection."""

    def finish(self) -> None:
        """No record follows: the process has ended."""


class Delivered(NamedTuple):
    """A trade, and all its deliveries.

    Attributes:
        first: The trade as it was received first.
        times_us: When it was received, Unix time.
    """

    first: Trade
    times_us: set[int]

    def merged(self, other: "Delivered | None") -> "Delivered":
        """Return the deliveries of both."""
        if other is None:
            return self
        first = min(self.first, other.first, key=lambda trade: trade.received_at_us)
        return Delivered(first, self.times_us | other.times_us)


class Trades:
    """The trades of some connections under their IDs.

    Attributes:
        found: The trades that were not taken away.
    """

    def __init__(self) -> None:
        self.found: dict[str, Delivered] = {}
        self._occurrences: dict[str, Occurrences] = {}

    def connected(self, connection: str, opening: Opening) -> None:
        """Count equal trades of this connection from 1."""
        self._occurrences[connection] = Occurrences()

    def advance(self, monotonic_ns: int) -> None:
        """Return at once: trades do not wait."""

    def take(self, connection: str, record: Record) -> None:
        """Take a trade; one that a producer would refuse is left out."""
        if not isinstance(record, Trade):
            return
        with contextlib.suppress(InvalidMessage):
            message_format.check_trade(record)
            content = content_of(record)
            name = trade_id(content, self._occurrences[connection].of(record, content))
            delivered = Delivered(record, {record.received_at_us})
            self.found[name] = delivered.merged(self.found.get(name))

    def finish(self) -> None:
        """Return at once: trades do not wait."""


class _Recorder(DepthRecorder):
    """The producer's recorder, by the clock of the frames; it notes every snapshot."""

    def __init__(self, exchange: str, interval_s: float) -> None:
        self.now_s = 0.0
        self.seen: list[DepthSnapshot] = []
        super().__init__(exchange, interval_s, clock=lambda: self.now_s)

    def _timed(self, snapshot: DepthSnapshot) -> DepthSnapshot:
        timed = super()._timed(snapshot)
        self.seen.append(timed)
        return timed


class Books:
    """The snapshots of some connections.

    Attributes:
        published: Those that are due by conflation, as messages.
        interval_us: At most one snapshot of each side of a book in this time.
    """

    def __init__(self, exchange: str) -> None:
        self._exchange = exchange
        self._recorder = _Recorder(exchange, 0)
        self._takes: dict[str, Take] = {}
        self.published: list[message_format.DepthMessage] = []
        self.interval_us = 0

    @property
    def seen(self) -> list[DepthSnapshot]:
        """Every valid snapshot, with the time at which it counts as received."""
        return self._recorder.seen

    def connected(self, connection: str, opening: Opening) -> None:
        """Take the snapshots of one more connection; a process has one interval."""
        if not self._takes:
            self._recorder = _Recorder(self._exchange, opening.interval_ms / 1000)
            self.interval_us = opening.interval_ms * 1000
        self._takes[connection] = self._recorder.taker()

    def advance(self, monotonic_ns: int) -> None:
        """Publish the snapshots that became due before this time."""
        now_s = monotonic_ns / 1e9
        while (due_s := self._recorder.next_due()) is not None and due_s < now_s:
            self._recorder.now_s = due_s
            self._publish(value for _, value in self._recorder.release())
        self._recorder.now_s = now_s

    def take(self, connection: str, record: Record) -> None:
        """Take a snapshot; one that a producer would refuse is left out."""
        with contextlib.suppress(InvalidMessage):
            message = self._takes[connection](record)
            if message is not None:
                self._publish([message[1]])

    def finish(self) -> None:
        """Publish the snapshots that wait."""
        self._publish(value for _, value in self._recorder.drain())

    def _publish(self, values: Iterable[bytes]) -> None:
        self.published += map(message_format.decode_depth, values)


class _Connection:
    """The stream of a recorded connection."""

    def __init__(self, stream: Stream, next_place: int) -> None:
        self._stream = stream
        self.next_place = next_place
        self._again_us = 0

    def events(self, frame: RecordedFrame) -> Iterator[Event]:
        """Yield the events of the next frame; a frame that the stream refuses ends them."""
        at_us = frame.received_at_us
        self._keep_alive(at_us)
        with contextlib.suppress(InvalidFrame, ExchangeUnavailable):
            if frame.what is FrameKind.RECEIVED:
                yield from self._stream.receive(frame.content, at_us)
            elif frame.what is FrameKind.FETCHED:
                fetch = Fetch(frame.path, frame.fetch_symbol, frame.fetch_tag)
                # All events or none, as in a session.
                yield from list(self._stream.fetched(fetch, frame.content, at_us))

    def _keep_alive(self, now_us: int) -> None:
        """Ask for keep-alives as often as a session does: they may change the stream's state."""
        self._again_us = self._again_us or now_us
        while self._again_us <= now_us:
            events, again_us = self._stream.keepalive(self._again_us)
            list(events)
            wait_us = again_us - self._again_us
            self._again_us += int(min(LONGEST_SLEEP_S * 1e6, max(SHORTEST_SLEEP_S * 1e6, wait_us)))


class Derivation:
    """The connections of one producer process.

    Attributes:
        derived: What the frames became.
        missing: Frames that were not recorded, as the places show.
        frames: Frames of the exchange that were parsed.
    """

    def __init__(self, exchange: Exchange, dataset: Dataset) -> None:
        self._exchange = exchange
        self._dataset = dataset
        self.derived: Trades | Books = Trades() if dataset is TRADES else Books(exchange.name)
        self._memory: dict[str, object] = {}  # of the streams, as in a producer
        self._connections: dict[str, _Connection] = {}
        self.missing = self.frames = 0

    def knows(self, connection: str) -> bool:
        """Return whether a connection was read from its first entry on."""
        return connection in self._connections

    def take(self, frame: RecordedFrame) -> None:
        """Take the next frame of the process; one of a connection without its begin has no effect.

        Raises:
            InvalidFrame: The first entry of a connection is not readable.
        """
        if frame.what is FrameKind.OPENED:
            self._open(frame)
            return
        connection = self._connections.get(frame.connection)
        if connection is None:
            return
        self.missing += frame.place - connection.next_place
        connection.next_place = frame.place + 1
        if frame.what is FrameKind.SENT:
            return
        self.frames += 1
        self.derived.advance(frame.monotonic_ns)
        for event in connection.events(frame):
            if isinstance(event, Record):
                self.derived.take(frame.connection, stamped(event, frame.set_back_us))

    def _open(self, frame: RecordedFrame) -> None:
        try:
            opening = msgspec.json.decode(frame.content, type=Opening)
        except msgspec.DecodeError as error:
            raise InvalidFrame(f"the begin of connection {frame.connection}: {error}") from error
        stream = self._exchange.stream(
            self._dataset,
            opening.markets,
            whole_books=opening.whole_books,
            memory=self._memory,
            updates=opening.updates,
        )
        list(stream.opened())
        self._connections[frame.connection] = _Connection(stream, frame.place + 1)
        self.derived.connected(frame.connection, opening)
