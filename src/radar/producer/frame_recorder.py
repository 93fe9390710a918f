"""Records the traffic of connections, byte for byte (RECORD_FRAMES).

Everything of one connection has consecutive places, from 0, and one key, so Kafka keeps its order.
The first entry says how the connection was opened: it is all that a stream needs to be made again.
"""

import secrets

import msgspec

from radar.codec import message_format
from radar.codec.message_format import message_key
from radar.datasets import Dataset
from radar.exchanges.base import Fetch
from radar.producer.clock import RecordingClock
from radar.producer.publish import BufferedPublisher
from radar.records import Frame, FrameKind, Opening

KeyValue = tuple[bytes, bytes]


class FrameRecorder:
    """The recorded connections of one producer.

    Attributes:
        buffer: The publisher of frames.
    """

    def __init__(
        self, source: str, dataset: Dataset, clock: RecordingClock, buffer: BufferedPublisher
    ) -> None:
        """Start without a connection.

        Args:
            source: Name of the exchange.
            dataset: The recorded dataset.
            clock: Dates the frames; its newest reading is the time of a frame.
            buffer: The publisher of frames.
        """
        self.buffer = buffer
        self._source = source
        self._dataset = dataset
        self._clock = clock
        self._producer = secrets.token_hex(8)

    def connection(self, name: str) -> "ConnectionFrames":
        """Return the frames of a new connection with a random name."""
        return ConnectionFrames(
            Frame(
                source=self._source,
                record_kind=self._dataset.name,
                producer=self._producer,
                connection=name,
                place=0,
                what=FrameKind.OPENED,
                content=b"",
                received_at_ns=0,
                monotonic_ns=0,
            ),
            self._clock,
        )


class ConnectionFrames:
    """Makes messages of the traffic of one connection, dated by the newest reading of the clock."""

    def __init__(self, first: Frame, clock: RecordingClock) -> None:
        self._frame = first
        self._key = message_key(first.source, first.connection)
        self._clock = clock
        self._place = 0

    def opened(self, opening: Opening) -> list[KeyValue]:
        """Return the messages of how the connection was opened."""
        names = (market.symbol for market in opening.markets)
        symbols = tuple(name for name in names if message_format.are_names(name))
        content = msgspec.json.encode(opening)
        return self._messages(FrameKind.OPENED, content, symbols=symbols)

    def received(self, frame: bytes) -> list[KeyValue]:
        """Return the messages of a frame of the exchange."""
        return self._messages(FrameKind.RECEIVED, frame)

    def sent(self, text: str) -> list[KeyValue]:
        """Return the messages of a frame that is sent to the exchange."""
        return self._messages(FrameKind.SENT, text.encode())

    def fetched(self, fetch: Fetch, body: bytes) -> list[KeyValue]:
        """Return the messages of an answer to a REST request of the connection."""
        return self._messages(
            FrameKind.FETCHED,
            body,
            path=fetch.path[: message_format.MAX_PATH_CHARACTERS],
            fetch_symbol=fetch.symbol,
            fetch_tag=fetch.tag,
        )

    def _messages(self, what: FrameKind, content: bytes, **more: object) -> list[KeyValue]:
        frame = msgspec.structs.replace(
            self._frame,
            place=self._place,
            what=what,
            content=content,
            received_at_ns=self._clock.unix_ns,
            monotonic_ns=self._clock.monotonic_ns,
            set_back_us=self._clock.set_back_us,
            **more,
        )
        self._place += 1
        return [(self._key, value) for value in message_format.encode_frame(frame)]
