"""What a producer tells about itself, beside the data: published when there is room, in order."""

from collections import deque

import structlog

from radar.errors import BufferFull, InvalidMessage
from radar.kinds import Kind
from radar.observe import metrics
from radar.producer.outlet import Outlet

_log = structlog.get_logger()


class Reports:
    """Messages that are never waited for. No method blocks."""

    def __init__(self, outlet: Outlet, exchange: str, kind: Kind) -> None:
        self._outlet = outlet
        self._kind = kind
        self._invalid = metrics.INVALID_FRAMES.labels(exchange, kind.name)
        self._messages: deque[tuple[bytes, bytes]] = deque()  # without room yet

    @property
    def waiting(self) -> int:
        """Messages for which the buffer has had no room yet."""
        return len(self._messages)

    def put(self, key: bytes, value: bytes) -> None:
        """Take a message; `serve` publishes it. One that workers would refuse is left out."""
        try:
            self._kind.decode(value)
        except InvalidMessage as error:
            self._invalid.inc()
            _log.error("report left out", kind=self._kind.name, reason=str(error))
            return
        self._messages.append((key, value))

    def serve(self) -> None:
        """Publish what there is room for; to be called many times a second.

        Raises:
            BrokerUnavailable: Kafka cannot be used any more.
        """
        while self._messages:
            try:
                self._outlet.publish(*self._messages[0])
            except BufferFull:
                break
            self._messages.popleft()
        self._outlet.serve()

    def mirror(self) -> None:
        """Copy the numbers into the metrics."""
        self._outlet.mirror()
