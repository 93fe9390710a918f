"""A WebSocket connection to an exchange: the only module here that imports the library."""

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidProxy, InvalidURI, WebSocketException
from websockets.frames import CloseCode

from radar.errors import ConfigurationError, FeedLost

OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
# A socket whose other end is gone without a word is found after at most the sum of both.
PING_INTERVAL_S = 20.0
PING_TIMEOUT_S = 20.0
# Messages that wait for the reader; beyond that, TCP makes the exchange wait.
MAX_QUEUE = 1024


class Connection:
    """An open connection."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    @classmethod
    async def open(cls, url: str, *, proxy: str, max_frame_bytes: int) -> "Connection":
        """Connect; waits up to OPEN_TIMEOUT_S.

        Args:
            url: Address, ws:// or wss://.
            proxy: Address of an HTTP or SOCKS proxy; empty means none, also none of the
                environment's.
            max_frame_bytes: A larger message ends the connection.

        Raises:
            FeedLost: The exchange does not answer or does not want us ("refused").
            ConfigurationError: An address is not usable.
        """
        try:
            socket = await connect(
                url,
                proxy=proxy or None,
                open_timeout=OPEN_TIMEOUT_S,
                close_timeout=CLOSE_TIMEOUT_S,
                ping_interval=PING_INTERVAL_S,
                ping_timeout=PING_TIMEOUT_S,
                max_size=max_frame_bytes,
                max_queue=MAX_QUEUE,
            )
        except (InvalidURI, InvalidProxy) as error:
            raise ConfigurationError(f"cannot connect to {url}: {error}") from error
        except (OSError, TimeoutError, EOFError, WebSocketException) as error:
            raise FeedLost("refused", f"{url}: {error or type(error).__name__}") from error
        return cls(socket)

    async def receive(self) -> bytes:
        """Wait for the next message and return it, text as UTF-8.

        What arrived before the connection ended is still returned.

        Raises:
            FeedLost: The connection has ended ("closed", or "overflow" if a message was larger
                than allowed).
        """
        try:
            return await self._socket.recv(decode=False)
        except ConnectionClosed as closed:
            raise _lost(closed) from closed

    async def send(self, text: str) -> None:
        """Send a text message; waits while the socket's buffer is full.

        Raises:
            FeedLost: The connection has ended.
        """
        try:
            await self._socket.send(text)
        except ConnectionClosed as closed:
            raise _lost(closed) from closed

    async def close(self) -> None:
        """Say goodbye and close; waits up to CLOSE_TIMEOUT_S. Closing again does nothing."""
        await self._socket.close()

    def abort(self) -> None:
        """Cut the connection, when nobody is there to say goodbye to."""
        self._socket.transport.abort()


def _lost(closed: ConnectionClosed) -> FeedLost:
    sent = closed.sent
    too_big = sent is not None and sent.code == CloseCode.MESSAGE_TOO_BIG
    return FeedLost("overflow" if too_big else "closed", str(closed))
