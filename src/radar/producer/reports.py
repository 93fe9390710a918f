"""What a producer tells about itself, beside the data: published when there is room, in order."""

from collections import deque

from radar.errors import BufferFull
from radar.producer.outlet import Outlet


class Reports:
    """Messages that are never waited for. No method blocks."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._messages: deque[tuple[bytes, bytes]] = deque()  # without room yet

    @property
    def waiting(self) -> int:
        """Messages for which the buffer has had no room yet."""
        return len(self._messages)

    def put(self, key: bytes, value: bytes) -> None:
        """Take a message; `serve` publishes it."""
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
