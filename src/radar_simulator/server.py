"""The simulated exchange's sockets: WebSocket, REST and the control endpoints on one port.

`websockets` is imported here and nowhere else in this package.
"""

import asyncio
import contextlib
import errno
import signal
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConcurrencyError, ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State

from bounded_http.bounds import Bounds, ConnectionRegister
from radar_simulator import wire
from radar_simulator.dialects.common.base import Answer
from radar_simulator.dialects.common.exchange import DialectExchange
from radar_simulator.errors import InvalidOption
from radar_simulator.exchange import SimulatedExchange
from radar_simulator.faults import Fault, fault
from radar_simulator.ledger import Ledger, LedgerTrade
from radar_simulator.market import MarketSource
from radar_simulator.options import SimulatorOptions

# Every answer carries it; radar never mixes simulated with real data.
SIMULATED_HEADER = "X-Radar-Simulated"
CLOSE_TIMEOUT_S = 1.0
"""A peer that does not answer a close frame for so long is cut."""

DRAIN_TIMEOUT_S = 10.0
"""Longest wait of `quiesce` for peers to read all sent frames."""

DRAIN_POLL_S = 0.005

LEDGER_FLUSH_S = 0.5

MAX_INCOMING_BYTES = 64 * 1024

DRIP_S = 0.1
"""The time between two bytes of an answer without an end."""

HANDSHAKE_TIMEOUT_S = 300.0
"""Longest answer to a request, so that one without an end can last."""


BOUNDS = Bounds()
"""Of the time for a head, and of connections; the library bounds the size of a head."""


class _BoundedConnection(ServerConnection):
    """A connection whose request must arrive in time: the library's limit is that of an answer."""

    def __init__(self, register: ConnectionRegister, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._register = register
        self._deadline: asyncio.TimerHandle
        self.request_rcvd.add_done_callback(self._admit)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._deadline = self.loop.call_later(BOUNDS.head_timeout_s, self.transport.abort)
        self._register.add(self, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        self._register.remove(self)
        super().connection_lost(exc)

    def _admit(self, _: object) -> None:
        self._deadline.cancel()
        self._register.admit(self)


class _Connection:
    """Adapts a connection of the library to the interface of `client`."""

    def __init__(self, connection: ServerConnection, background: set[asyncio.Task[None]]) -> None:
        self._connection = connection
        self._background = background
        self._pinging: set[asyncio.Task[None]] = set()

    @property
    def transport(self) -> asyncio.Transport:
        return self._connection.transport

    @property
    def is_open(self) -> bool:
        return self._connection.state is State.OPEN

    @property
    def shook_hands(self) -> bool:
        # None until both close frames are known, True if the peer's came first.
        return self._connection.protocol.close_rcvd_then_sent is False

    @property
    def close_code(self) -> int | None:
        received = self._connection.protocol.close_rcvd
        return None if received is None else received.code

    @property
    def request(self) -> tuple[str, Mapping[str, str]]:
        url = urlsplit(self._connection.request.path if self._connection.request else "")
        return url.path, dict(parse_qsl(url.query))

    def ping(self, payload: bytes, answered: Callable[[], None]) -> None:
        task = asyncio.get_running_loop().create_task(self._await_pong(payload, answered))
        self._pinging.add(task)
        task.add_done_callback(self._pinging.discard)

    async def _await_pong(self, payload: bytes, answered: Callable[[], None]) -> None:
        # A closed connection answers no more, nor does one with the same ping under way.
        with contextlib.suppress(ConnectionClosed, ConcurrencyError):
            await (await self._connection.ping(payload))
            answered()

    def close(self, code: int, reason: str) -> None:
        loop = asyncio.get_running_loop()
        # The library's own timeout begins after the close frame has left. It never leaves if the
        # peer reads no data.
        deadline = loop.call_later(CLOSE_TIMEOUT_S, self.transport.abort)
        task = loop.create_task(self._connection.close(code, reason))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(lambda _: deadline.cancel())


class Control(NamedTuple):
    """Further requests that a server answers, under a path of no exchange.

    Attributes:
        prefix: Beginning of their paths, with a slash at both ends.
        answer: Answers the rest of a path and its parameters; does not block.
        headers: Added to every answer, the handshake included.
        ready: Requests of the exchange's own wait for it.
    """

    prefix: str
    answer: Callable[[str, Mapping[str, str]], Answer]
    headers: Mapping[str, str]
    ready: asyncio.Event


class Simulator:
    """A running simulated exchange; get one from `simulator` or `serving`.

    Attributes:
        ws_url: Address of the WebSocket.
        rest_url: Address of REST and of the control endpoints, without a trailing slash.
        options: How it behaves.
        control: Further requests that it answers; None: none.
    """

    def __init__(
        self,
        exchange: SimulatedExchange | DialectExchange,
        options: SimulatorOptions,
        control: Control | None = None,
    ) -> None:
        self.options = options
        self.control = control
        self.ws_url = self.rest_url = ""
        self._exchange = exchange
        self._closing: set[asyncio.Task[None]] = set()
        self._ticking: asyncio.Task[None]
        self._stopping = False

    @property
    def ledger(self) -> Ledger:
        """The record of all sent frames."""
        return self._exchange.ledger

    @property
    def path(self) -> str:
        """Path of the WebSocket."""
        exchange = self._exchange
        return exchange.dialect.path if isinstance(exchange, DialectExchange) else "/ws"

    @property
    def market(self) -> MarketSource:
        """The markets, and their moves."""
        return self._exchange.market

    def fault(self, name: str | Fault, **parameters: object) -> None:
        """Apply a fault now, or regularly if it has `every_s`. Does not block.

        Args:
            name: Name of the fault, or the fault itself.
            parameters: Attributes of `Fault`.

        Raises:
            ValueError: If the fault or a parameter is unknown.
        """
        applied = name if isinstance(name, Fault) else fault(name, parameters)
        self._exchange.fault(applied, _now())

    async def quiesce(self) -> bool:
        """Stop trading and publishing, and wait until the peers have all sent frames.

        Connections stay open, pings go on, and `resume` starts the market again.

        Returns:
            False if a peer did not read its frames within ten seconds.
        """
        self._exchange.quiet = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                # Only the kernel knows what has arrived, and it sends no notification.
                while not self._exchange.drained():  # noqa: ASYNC110
                    await asyncio.sleep(DRAIN_POLL_S)
        self.ledger.flush()
        return self._exchange.drained()

    def resume(self) -> None:
        """Let the market go on after `quiesce`."""
        self._exchange.quiet = False

    def trade(self, count: int, symbol: str | None = None) -> list[LedgerTrade]:
        """Make trades happen now, besides the regular ones and also when quiesced.

        Args:
            count: Number of trades.
            symbol: The market; None draws the markets.

        Returns:
            The trades as they stand in the ledger.

        Raises:
            KeyError: If there is no such market.
        """
        return self._exchange.trade(count, symbol, _now())

    def remember(self) -> None:
        """Let the trades of the time before the start happen."""
        self._exchange.remember()

    def start(self) -> asyncio.Task[None]:
        """Start the market; `shut_down` stops it."""
        self._ticking = asyncio.create_task(self._tick())
        return self._ticking

    async def wait(self, stop: asyncio.Event) -> None:
        """Wait for the stop event, or until the market has failed."""
        asked = asyncio.create_task(stop.wait())
        await asyncio.wait({asked, self._ticking}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()

    async def _tick(self) -> None:
        period_s = self.options.tick_ms / 1000.0
        next_flush = _now()
        while not self._stopping:
            started = _now()
            self._exchange.tick(started)
            if started >= next_flush:
                self.ledger.flush()
                next_flush = started + LEDGER_FLUSH_S
            # Yield at least once, so that a rate beyond the machine's starves no other task.
            await asyncio.sleep(max(0.0, period_s - (_now() - started)))

    async def handle(self, connection: ServerConnection) -> None:
        """Serve one WebSocket connection until it ends."""
        client = self._exchange.connect(_Connection(connection, self._closing), _now())
        try:
            async for message in connection:
                self._exchange.receive(client, message, _now())
        except ConnectionClosed:
            pass  # the ledger records how it ended
        finally:
            self._exchange.disconnect(client)

    async def respond(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer an HTTP request, or return None to let `/ws` become a WebSocket.

        The library reads no request bodies: parameters come in the query, with GET or POST.
        """
        response = await self._respond(connection, request)
        if response is None:
            return None
        now_s = time.time() + self.options.clock_ahead_s
        response.headers["Date"] = formatdate(now_s, usegmt=True)
        return self.mark(connection, request, response)

    def mark(self, connection: ServerConnection, request: Request, response: Response) -> Response:
        """Add the headers of the control to an answer or a handshake."""
        for name, value in self.control.headers.items() if self.control else ():
            if name not in response.headers:
                response.headers[name] = value
        return response

    async def _respond(self, connection: ServerConnection, request: Request) -> Response | None:
        url = urlsplit(request.path)
        query = dict(parse_qsl(url.query))
        if self.control and url.path.startswith(self.control.prefix):
            path = url.path.removeprefix(self.control.prefix)
            return _answered(self.control.answer(path, query))
        if self.control:
            await self.control.ready.wait()
        if url.path.startswith("/simulator/"):
            return await self._control(url.path.removeprefix("/simulator/"), query)
        if isinstance(self._exchange, DialectExchange):
            return await self._respond_as(self._exchange, connection, request)
        if url.path == "/ws":
            return self._admit(connection, self._exchange)
        if _now() < self._exchange.rest_hang_until:
            await self._answer_without_end(connection)
        exchange = self._exchange
        if _now() < exchange.rest_error_until:
            return _response(exchange.rest_error_status, wire.error_body("try again later"))
        return self._rest(url.path, query)

    async def _respond_as(
        self, exchange: DialectExchange, connection: ServerConnection, request: Request
    ) -> Response | None:
        """Answer a request in another exchange's protocol."""
        url = urlsplit(request.path)
        if exchange.is_socket(url.path):
            refused = exchange.admit(_now())
            if refused is None:
                return None
            if not refused.status:
                connection.transport.abort()
            return _answered(refused)
        if _now() < exchange.rest_hang_until:
            await self._answer_without_end(connection)
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        query = dict(parse_qsl(url.query))
        return _answered(exchange.rest(unquote(url.path), query, headers, _now()))

    async def _answer_without_end(self, connection: ServerConnection) -> None:
        """Send a byte at intervals, until the peer leaves or the fault is over."""
        transport = connection.transport
        transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
        transport.write(b"Content-Length: 1000000\r\nConnection: close\r\n\r\n")
        while _now() < self._exchange.rest_hang_until and not transport.is_closing():
            transport.write(b" ")
            await asyncio.sleep(DRIP_S)
        transport.abort()

    def _admit(self, connection: ServerConnection, exchange: SimulatedExchange) -> Response | None:
        if _now() >= exchange.refuse_until:
            return None
        status = exchange.refuse_status
        if not status:
            connection.transport.abort()  # the peer reads no answer any more
        return _response(status or HTTPStatus.SERVICE_UNAVAILABLE, wire.error_body("refused"))

    def _rest(self, path: str, query: dict[str, str]) -> Response:
        if path == "/hector/web/v1/markets":
            return _response(HTTPStatus.OK, wire.markets_body(self.market.markets.values()))
        if path == "/v1/markets":
            now_s = time.time() + self.options.clock_ahead_s
            body = wire.statistics_body(self.market.markets.values(), now_s)
            return _response(HTTPStatus.OK, body)
        if path not in ("/v1/trades", "/v1/depth", "/v1/udf/history"):
            return _response(HTTPStatus.NOT_FOUND, wire.error_body("no such path"))
        market = self.market.markets.get(query.get("symbol", ""))
        if market is None:
            return _response(HTTPStatus.BAD_REQUEST, wire.error_body("unknown symbol"))
        if path == "/v1/depth":
            return _response(HTTPStatus.OK, wire.depth_body(market))
        if path == "/v1/trades":
            for trade in market.recent:
                self.ledger.served(trade, "rest")
            return _response(HTTPStatus.OK, wire.trades_body(market))
        try:
            from_s, to_s = int(query["from"]), int(query["to"])
            body = wire.history_body(market, query["resolution"], from_s, to_s)
        except (KeyError, ValueError) as error:
            return _response(HTTPStatus.BAD_REQUEST, wire.error_body(f"bad parameter: {error}"))
        return _response(HTTPStatus.OK, body)

    async def _control(self, path: str, query: dict[str, str]) -> Response:
        match path:
            case "faults":
                try:
                    self.fault(query.pop("fault", ""), **query)
                except (TypeError, ValueError) as error:
                    return _response(HTTPStatus.BAD_REQUEST, wire.error_body(str(error)))
            case "quiesce":
                await self.quiesce()
            case "resume":
                self.resume()
            case "ledger":
                pass
            case "ledger/trades":
                every = query.get("all") == "1"
                chosen = (entry for entry in self.ledger.trades() if entry.sent or every)
                lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in chosen)
                return _response(HTTPStatus.OK, lines, "application/x-ndjson")
            case _:
                return _response(HTTPStatus.NOT_FOUND, wire.error_body("no such path"))
        summary = self.ledger.summary(quiet=self._exchange.quiet, drained=self._exchange.drained())
        return _response(HTTPStatus.OK, msgspec.json.encode(summary))

    async def shut_down(self) -> None:
        """Stop the market and close all connections, within about a second."""
        self._stopping = True
        await asyncio.wait({self._ticking})
        self._exchange.shut_down()
        if self._closing:
            await asyncio.wait(self._closing)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _answered(answer: Answer) -> Response:
    response = _response(answer.status or 503, answer.body, answer.content_type)
    for name, value in answer.headers.items():
        response.headers[name] = value
    return response


def _response(status: int, body: bytes, content_type: str = "application/json") -> Response:
    headers = Headers()
    headers["Content-Type"] = content_type
    headers["Content-Length"] = str(len(body))
    headers["Connection"] = "close"
    headers[SIMULATED_HEADER] = "1"
    return Response(status, HTTPStatus(status).phrase, headers, body)


@contextlib.asynccontextmanager
async def simulator(options: SimulatorOptions) -> AsyncIterator[Simulator]:
    """Run the simulated exchange in this event loop for as long as the context lasts.

    Args:
        options: How it behaves.

    Yields:
        The exchange, accepting connections.

    Raises:
        InvalidOption: If the port is taken or the ledger's file cannot be opened.
        OSError: On leaving, if the ledger's disk failed meanwhile.
    """
    try:
        ledger = Ledger(options.ledger_path, options.ledger_memory_trades)
    except OSError as error:
        raise InvalidOption(f"cannot write the ledger: {error}") from error
    with ledger:
        made = SimulatedExchange if options.exchange == "wallex" else DialectExchange
        async with serving(Simulator(made(options, ledger), options)) as running:
            yield running


@contextlib.asynccontextmanager
async def serving(running: Simulator) -> AsyncIterator[Simulator]:
    """Serve an exchange in this event loop for as long as the context lasts.

    Args:
        running: The exchange. The caller owns its ledger.

    Yields:
        The same, accepting connections.

    Raises:
        InvalidOption: If the port is taken.
    """
    options, ledger = running.options, running.ledger
    try:
        server = await serve(
            running.handle,
            options.host,
            options.port,
            process_request=running.respond,
            process_response=running.mark,
            create_connection=cast(
                "type[ServerConnection]",
                partial(_BoundedConnection, ConnectionRegister(BOUNDS)),
            ),
            compression=None,  # one encoded frame serves all connections
            ping_interval=None,  # the exchange pings in its own way
            close_timeout=CLOSE_TIMEOUT_S,
            open_timeout=HANDSHAKE_TIMEOUT_S,
            max_size=MAX_INCOMING_BYTES,
        )
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        address = f"{_host_port(options.host, options.port)}"
        raise InvalidOption(f"cannot listen on {address}: {error}") from error
    port = server.sockets[0].getsockname()[1]
    running.ws_url = f"ws://{_host_port(options.host, port)}{running.path}"
    running.rest_url = f"http://{_host_port(options.host, port)}"
    ledger.start(
        exchange=options.exchange,
        at=time.time(),
        port=port,
        seed=options.seed,
        symbols=options.symbols,
    )
    running.remember()
    for applied in options.faults:
        running.fault(applied)
    ticking = running.start()
    try:
        yield running
    finally:
        await running.shut_down()
        server.close()
        await server.wait_closed()
    await ticking  # raises the error that ended it early


async def run(
    options: SimulatorOptions,
    stop: asyncio.Event,
    ready: Callable[[str, int], None] | None = None,
) -> None:
    """Run the simulated exchange until the stop event.

    Args:
        options: How it behaves.
        stop: Set it to stop; connections are closed and the ledger is complete on return.
        ready: Called once with host and port when connections are accepted.

    Raises:
        InvalidOption: As `simulator`.
        OSError: As `simulator`.
    """
    async with simulator(options) as running:
        if ready is not None:
            ready(options.host, urlsplit(running.rest_url).port or 0)
        await running.wait(stop)


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def main(
    options: SimulatorOptions,
    ready: Callable[[str, int], None] | None = None,
    signals: Collection[signal.Signals] = (signal.SIGTERM, signal.SIGINT),
) -> None:
    """Run the simulated exchange until a signal; blocks.

    Args:
        options: How it behaves.
        ready: Called once with host and port when connections are accepted.
        signals: Each of them ends it.

    Raises:
        InvalidOption: As `simulator`.
        OSError: As `simulator`.
    """

    async def until_signal() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in signals:
            loop.add_signal_handler(number, stop.set)
        await run(options, stop, ready)

    asyncio.run(until_signal())
