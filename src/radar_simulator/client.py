"""One WebSocket connection as the exchange sees it, and which of its frames have arrived.

It uses the connection through a small interface, so that only `server` imports the library.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from radar_simulator.ledger import Ledger, LedgerTrade

if sys.platform == "linux":
    import fcntl
    import termios


class ClientConnection(Protocol):
    """The part of a WebSocket connection that the exchange uses."""

    @property
    def transport(self) -> asyncio.Transport:
        """The TCP connection below it."""

    @property
    def is_open(self) -> bool:
        """Whether neither end has started to close it."""

    @property
    def shook_hands(self) -> bool:
        """Whether the peer answered our close frame, and so has read all earlier frames."""

    @property
    def close_code(self) -> int | None:
        """The peer's close code, None if it sent no close frame."""

    @property
    def request(self) -> tuple[str, Mapping[str, str]]:
        """Path and query of the request that opened it."""

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake; does not block."""

    def ping(self, payload: bytes, answered: Callable[[], None]) -> None:
        """Send a ping of the protocol, and call back once it is answered; does not block."""


class Client:
    """A connected client.

    Attributes:
        number: Position among all connections of the run, from 1.
        connection: The connection.
        opened: Time of connecting; all times are the event loop's, in seconds.
        channels: Subscribed channels.
        stalled_until: No frame is sent before this time.
        muted_until: By channel: no frame of it is sent before this time.
        half_open_until: Neither sent nor read until then; None if it is not half-open.
        next_ping: Time of the exchange's next ping.
        pings: Unanswered pings, by id, with the time they were sent, oldest first.
        reason: Why the exchange is closing it; empty while it is not.
    """

    def __init__(
        self, number: int, connection: ClientConnection, now: float, next_ping: float
    ) -> None:
        self.number = number
        self.connection = connection
        self.opened = now
        self.channels: set[str] = set()
        self.stalled_until = 0.0
        self.muted_until: dict[str, float] = {}
        self.half_open_until: float | None = None
        self.next_ping = next_ping
        self.pings: dict[str, float] = {}
        self.reason = ""
        # The frames of this tick, and those of them for the ledger.
        self._frames: list[bytes] = []
        self._trades: list[LedgerTrade] = []
        self._depths: list[str] = []
        # Bytes written so far, and the unconfirmed trades below each mark of it.
        self._written = 0
        self._unconfirmed: deque[tuple[int, list[LedgerTrade]]] = deque()

    def reachable(self) -> bool:
        """Whether the connection is open and not being ended."""
        return self.connection.is_open and not self.reason and self.half_open_until is None

    def live(self, now: float) -> bool:
        """Whether a frame that is queued now would be sent."""
        return self.reachable() and now >= self.stalled_until

    def queue(self, frame: bytes) -> None:
        """Put a frame into this tick's write."""
        self._frames.append(frame)

    def queue_trade(self, frame: bytes, entry: LedgerTrade) -> None:
        """Put the frame of a trade that has just happened into this tick's write."""
        self._frames.append(frame)
        self._trades.append(entry)

    def queue_depth(self, frame: bytes, channel: str) -> None:
        """Put a depth frame into this tick's write."""
        self._frames.append(frame)
        self._depths.append(channel)

    def hand_over(self, ledger: Ledger, limit_bytes: int) -> bool:
        """Write this tick's frames to the socket in one go and enter them into the ledger.

        Args:
            ledger: The ledger.
            limit_bytes: The most that may wait in this process for the peer to read it.

        Returns:
            False if the peer is too slow: then no frame was written or entered.
        """
        data, trades, depths = b"".join(self._frames), self._trades, self._depths
        self._frames, self._trades, self._depths = [], [], []
        transport = self.connection.transport
        if transport.get_write_buffer_size() + len(data) > limit_bytes:
            return False
        transport.write(data)
        self._written += len(data)
        for entry in trades:
            ledger.handed(entry)
        ledger.depth(depths)
        if trades:
            self._unconfirmed.append((self._written, trades))
        return True

    def confirm(self) -> None:
        """Forget the trades whose bytes the peer's kernel has acknowledged."""
        transport = self.connection.transport
        if not self._unconfirmed or transport.is_closing():
            return
        # The protocol's own frames are in the buffers but do not count as written. So an error, if
        # any, makes a trade unconfirmed.
        arrived = self._written - transport.get_write_buffer_size() - _unacknowledged(transport)
        while self._unconfirmed and self._unconfirmed[0][0] <= arrived:
            self._unconfirmed.popleft()

    def unconfirmed(self) -> Iterable[LedgerTrade]:
        """Trades handed to the socket whose arrival is not known."""
        return (entry for _, entries in self._unconfirmed for entry in entries)

    @property
    def drained(self) -> bool:
        """Whether no trade waits for confirmation."""
        return not self._unconfirmed


def _unacknowledged(transport: asyncio.Transport) -> int:
    """Bytes in the kernel's send queue that the peer has not acknowledged; known on Linux."""
    if sys.platform != "linux":
        return 0
    try:
        descriptor = transport.get_extra_info("socket").fileno()
        raw = fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0\0\0\0")
    except OSError:
        return 0  # closed meanwhile: `connection_lost` handles its end
    return int.from_bytes(raw, sys.byteorder)
