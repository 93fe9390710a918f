"""The embedded ClickHouse behind an HTTP port, for any ClickHouse HTTP client.

A request waits on the event loop; its statement runs in a worker thread, because the engine blocks.
A result flows through a pipe from the engine to the event loop and on to the client. So a slow
client slows the query, and memory stays bounded.
"""

import asyncio
import errno
import fcntl
import logging
import os
import secrets
import signal
import socket
import string
import sys
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import uvicorn

from bounded_http import connections
from bounded_http.bounds import Bounds
from chdb_server import compression, forms, protocol
from chdb_server.bodies import Bodies
from chdb_server.config import MIB
from chdb_server.engine import Engine, Statistics
from chdb_server.errors import ClientGone, PortInUse, Rejected, from_engine
from chdb_server.job import Job, OtherThread, Outcome
from chdb_server.liveness import LATE_S, Liveness, end_process
from chdb_server.statement import begins_insert

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from chdb_server.engine import Handle
    from chdb_server.protocol import Request

_log = logging.getLogger(__name__)

_PIPE_BYTES = MIB
_HELD_IN_MEMORY_BYTES = 32 * MIB
_MAX_INFLATED_BYTES = 1024 * MIB
_MAX_DRAINED_BYTES = 256 * MIB
_DRAIN_TIMEOUT_S = 20.0
_BODY_IDLE_TIMEOUT_S = 30.0
# Of all results together that the disk holds until they are complete.
_MAX_HELD_BYTES = 8192 * MIB
_INSERT_THREADS = 8
_CANCEL_AGAIN_SECONDS = 0.2
_NO_HANDLE = (
    b"There is no such handle\n\nUse / or /ping for health checks.\n"
    b"Or /replicas_status for more sophisticated health checks.\n\n"
    b"Send queries from your program with POST method or GET /?query=...\n"
)
_HEAD_BYTES = 64
_FOREIGN = b"Requests of web pages are not accepted\n"
_TWICE = b"A header is there twice\n"
# A head may hold a query in its URL; ClickHouse allows as much.
BOUNDS = Bounds(
    head_bytes=MIB,
    headers=200,
    body_timeout_s=600.0,
    # A notebook may work on a part of a result for a while before it reads the next one.
    take_timeout_s=300.0,
)
_TEXT = (b"content-type", b"text/plain; charset=UTF-8")
_PLAIN = [_TEXT, *protocol.SECURITY_HEADERS]


@dataclass(frozen=True)
class ServerOptions:
    """The options of the server.

    Attributes:
        path: Data folder, created if need be.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        user: The only accepted user.
        password: Its password; may be empty.
        threads: How many statements run at once; more wait. Inserts of rows have their own threads.
        memory_limit_bytes: Bound for all queries and merges together.
        shutdown_seconds: How long running requests may take to finish after SIGTERM.
    """

    path: Path
    host: str = "127.0.0.1"
    port: int = 8123
    user: str = "default"
    password: str = ""
    threads: int = 16
    memory_limit_bytes: int = 4096 * MIB
    shutdown_seconds: int = 20


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def serve(options: ServerOptions, config_file: Path) -> int:
    """Serve until SIGTERM or SIGINT; return 0. Blocks; call it from the main thread.

    Prints `listening on http://HOST:PORT` to stdout once requests are answered.

    Args:
        options: The options of the server.
        config_file: The file that `config.prepare` returned for the data folder.

    Raises:
        PortInUse: The address cannot be listened on.
        DataUnavailable: The data folder cannot be opened.
    """
    listener = _listen(options.host, options.port)
    with listener:
        engine = Engine(options.path, config_file, options.memory_limit_bytes)
        try:
            _serve(options, engine, listener)
        finally:
            engine.close()
    return 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        reason = "is in use" if error.errno == errno.EADDRINUSE else str(error.strerror)
        raise PortInUse(f"cannot listen on {_host_port(host, port)}: {reason}") from error
    return listener


def _serve(options: ServerOptions, engine: Engine, listener: socket.socket) -> None:
    app = App(options, engine)
    # uvicorn logs here each response that is cut off. This server cuts one off on purpose, so that
    # the client notices the failure; that is no server error.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=_Http,
            ws="none",
            loop="uvloop" if sys.platform != "win32" else "asyncio",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=options.shutdown_seconds,
        )
    )
    # A signal may come before uvicorn has handlers of its own, and it raises the signal again when
    # it has shut down: the first must end this server, and the second must not kill it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    where = _host_port(options.host, listener.getsockname()[1])
    sys.stdout.write(f"listening on http://{where}\n")
    sys.stdout.flush()
    try:
        server.run(sockets=[listener])
    finally:
        app.close()


class _Http(connections.BoundedHttp):
    bounds = BOUNDS


class App:
    """The ASGI application."""

    def __init__(self, options: ServerOptions, engine: Engine) -> None:
        """Read from the engine the facts that every response holds. Blocks for a few ms."""
        self._options = options
        self._engine = engine
        # Long statements never keep an insert waiting.
        self._others = ThreadPoolExecutor(options.threads, thread_name_prefix="statement")
        self._inserts = ThreadPoolExecutor(_INSERT_THREADS, thread_name_prefix="insert")
        self._held_bytes = 0
        self._bodies = Bodies()
        with engine.handle() as handle:
            handle.prepare({}, None)
            self._version = _ask(handle, "SELECT version()")
            self._timezone = _ask(handle, "SELECT timezone()")
            self._compresses = (
                _ask(handle, "SELECT getSetting('enable_http_compression')") == "true"
            )
            types = _ask(handle, "SELECT lower(name), content_type FROM system.formats")
        self._content_types = dict(line.split("\t") for line in types.splitlines())
        self._display_name = socket.gethostname()
        self._liveness = Liveness(self._probe)
        self._liveness.start()

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path = scope["path"]
        nothing_asked = scope["method"] != "POST" and not scope["query_string"]
        if path in ("/ping", "/replicas_status") or (path == "/" and nothing_asked):
            if self._liveness.age_s > LATE_S:
                await _send_all(send, 503, _PLAIN, b"The engine does not answer\n")
            else:
                await _send_all(send, 200, _PLAIN, b"Ok.\n")
        elif path not in ("/", "/query"):
            await _send_all(send, 404, _PLAIN, _NO_HANDLE)
        elif scope["method"] not in ("GET", "HEAD", "POST", "PUT"):
            await _send_all(send, 405, _PLAIN, b"Use GET or POST\n")
        else:
            await self._answer(scope, _Body(receive), send)

    def close(self) -> None:
        """Stop all running statements. Blocks until the threads are done."""
        self._liveness.stop()
        self._engine.cancel_all()
        for threads in (self._others, self._inserts):
            threads.shutdown(wait=True, cancel_futures=True)

    def _probe(self) -> None:
        """Ask the engine for a constant, and end the process if it refuses for good. Blocks."""
        try:
            with self._engine.handle("parse") as handle:
                _ask(handle, "SELECT 1")
        except Rejected as error:
            if error.is_fatal:
                end_process(error.detail)

    async def _answer(self, scope: "Scope", body: "_Body", send: "Send") -> None:
        headers = protocol.headers_of(scope["headers"])
        # A foreign page learns no fact, not even which server this is.
        if headers is None:
            await _send_all(send, 400, _PLAIN, _TWICE)
            return
        if not protocol.is_trusted(headers, self._options.host):
            await _send_all(send, 403, _PLAIN, _FOREIGN)
            return
        response = _Response(send, str(uuid.uuid4()))
        try:
            values = protocol.values_of(scope["query_string"])
            protocol.authenticate(values, headers, self._options.user, self._options.password)
            connections.admit(scope)
            response.show(self._version, self._display_name)
            if forms.is_form(headers):
                form = await body.whole(forms.MAX_FORM_BYTES)
                values |= forms.values_of(headers, form)
            request = protocol.parse_request(
                scope["method"], values, headers, compression_by_default=self._compresses
            )
            if request.query_id:
                response.name(request.query_id)
            accepted = headers.get("accept-encoding", "") if request.compress_response else ""
            response.encoding = compression.choose_encoding(accepted)
            await self._carry_out(request, headers.get("content-encoding", ""), body, response)
        except Rejected as error:
            if error.is_fatal:
                # A client can write such an error itself. The engine's answer to a constant counts.
                await asyncio.to_thread(self._probe)
            await self._refuse(error, body, response)
        except ClientGone:
            pass
        except Exception as error:  # noqa: BLE001 - the last resort: the client gets an answer
            _log.exception("a request failed in the server itself")
            await self._refuse(from_engine(error), body, response)

    async def _carry_out(
        self, request: "Request", encoding: str, body: "_Body", response: "_Response"
    ) -> None:
        async with self._bodies.receive(body) as pieces:
            loop = asyncio.get_running_loop()
            reading: asyncio.Future[tuple[int, str]] = loop.create_future()

            def announce(descriptor: int, result_format: str) -> None:
                loop.call_soon_threadsafe(reading.set_result, (descriptor, result_format))

            chunks = compression.decompress(encoding, pieces, _MAX_INFLATED_BYTES)
            job = Job(self._engine, request, chunks, announce)
            # A guess that costs nothing: compressed bytes do not show what they are.
            inserts = not request.readonly and begins_insert(
                (request.query or body.head)[:_HEAD_BYTES]
            )
            done = asyncio.ensure_future(self._run(job, inserts=inserts))
            # From here on, any end of this task ends the read as well.
            watch = asyncio.ensure_future(_cancel_when_gone(body, job, done))
            try:
                await asyncio.wait((done, reading), return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    descriptor, result_format = reading.result()
                    with _Pipe(descriptor) as pipe:
                        self._describe(response, result_format)
                        await self._stream(request, pipe, done, response)
                else:
                    outcome = await done
                    if outcome.format:
                        self._describe(response, outcome.format)
                    await response.send_whole(outcome.statistics, outcome.result)
            finally:
                if not done.done():
                    await _cancel(job, done)
                watch.cancel()
                with suppress(asyncio.CancelledError):
                    await watch

    async def _run(self, job: Job, *, inserts: bool) -> Outcome:
        """Run a job in the threads of its kind: only rows to insert get into those for inserts.

        Args:
            job: The work.
            inserts: Where to begin; the job itself knows where it belongs.
        """
        loop = asyncio.get_running_loop()
        pools = (self._inserts, self._others) if inserts else (self._others, self._inserts)
        try:
            return await loop.run_in_executor(pools[0], lambda: job.run(inserts=inserts))
        except OtherThread:
            return await loop.run_in_executor(pools[1], lambda: job.run(inserts=not inserts))

    async def _stream(
        self,
        request: "Request",
        pipe: "_Pipe",
        done: "asyncio.Future[Outcome]",
        response: "_Response",
    ) -> None:
        """Pass a result on, holding back its beginning in case the query fails early."""
        held_bytes = 0
        try:
            with tempfile.SpooledTemporaryFile(_HELD_IN_MEMORY_BYTES) as held:
                while chunk := await pipe.read():
                    if held_bytes + len(chunk) > _HELD_IN_MEMORY_BYTES:
                        await asyncio.to_thread(held.write, chunk)
                    else:
                        held.write(chunk)
                    held_bytes += len(chunk)
                    self._held_bytes += len(chunk)
                    if self._held_bytes > _MAX_HELD_BYTES:
                        raise Rejected(
                            protocol.TOO_LARGE_RESULT,
                            "TOO_MANY_ROWS_OR_BYTES",
                            f"Results that wait to be complete have more than {_MAX_HELD_BYTES} "
                            "bytes: ask without wait_end_of_query, or for less",
                        )
                    if not request.wait_for_end and held_bytes >= request.buffer_bytes:
                        break
                if not chunk:
                    outcome = await done
                    await response.send_held(outcome.statistics, held)
                    return
                await response.start(200)
                await response.send_file(held)
        finally:
            self._held_bytes -= held_bytes
        while chunk := await pipe.read():
            await response.send_piece(chunk)
        try:
            await done
        except Rejected as error:
            await response.fail(protocol.error_within_body(error, self._version, response.tag))
            return
        await response.finish()

    async def _refuse(self, error: Rejected, body: "_Body", response: "_Response") -> None:
        if response.started:
            return
        # A client that is still sending reads no response; so receive the rest first.
        with suppress(ClientGone, TimeoutError):
            async with asyncio.timeout(_DRAIN_TIMEOUT_S):
                await body.drain(_MAX_DRAINED_BYTES)
        response.forget()
        response.headers += [
            _TEXT,
            (b"x-clickhouse-exception-code", str(error.code).encode()),
        ]
        if not body.finished:
            response.headers.append((b"connection", b"close"))
        text = protocol.error_text(error, response.version)
        await response.send_whole(None, text, protocol.status_of(error.code))

    def _describe(self, response: "_Response", result_format: str) -> None:
        kind = self._content_types.get(result_format.lower()) or "text/plain; charset=UTF-8"
        response.headers += [
            (b"content-type", kind.encode()),
            (b"x-clickhouse-format", result_format.encode()),
            (b"x-clickhouse-timezone", self._timezone.encode()),
        ]


class _Body:
    """A request's body on the event loop.

    Attributes:
        head: Its first received bytes.
        finished: Whether all of it has arrived.
    """

    def __init__(self, receive: "Receive") -> None:
        self._receive = receive
        self.head = b""
        self.finished = False

    async def next(self) -> bytes:
        """Return the next piece, perhaps empty.

        Raises:
            ClientGone: The client closed the connection before the end.
            Rejected: It has sent no byte for _BODY_IDLE_TIMEOUT_S.
        """
        try:
            async with asyncio.timeout(_BODY_IDLE_TIMEOUT_S):
                message: Message = await self._receive()
        except TimeoutError:
            raise Rejected(
                protocol.TIMEOUT_EXCEEDED, "TIMEOUT_EXCEEDED", "The rest of the body did not come"
            ) from None
        if message["type"] == "http.disconnect":
            raise ClientGone("the client left in the middle of its request")
        self.finished = not message.get("more_body", False)
        piece = bytes(message.get("body", b""))
        self.head = self.head or piece[:_HEAD_BYTES]
        return piece

    async def whole(self, limit: int) -> bytes:
        """Return the rest.

        Raises:
            ClientGone: The client closed the connection before the end.
            Rejected: There are more bytes than the limit.
        """
        content = bytearray()
        while not self.finished:
            content += await self.next()
            if len(content) > limit:
                raise Rejected(
                    protocol.QUERY_IS_TOO_LARGE,
                    "QUERY_IS_TOO_LARGE",
                    f"The form has more than {limit} bytes: send less at once",
                )
        return bytes(content)

    async def drain(self, limit: int) -> None:
        """Read and drop the rest, up to a limit."""
        total = 0
        while not self.finished and total < limit:
            total += len(await self.next())

    async def gone(self) -> None:
        """Wait until the client has closed its connection. The body must be finished."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


class _Pipe:
    """The reading end of a result, without blocking the event loop."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._open = True
        os.set_blocking(descriptor, False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with suppress(OSError):
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def __enter__(self) -> "_Pipe":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def read(self) -> bytes:
        """Return the available bytes, or wait for some; empty at the end."""
        while self._open:
            try:
                return os.read(self._descriptor, _PIPE_BYTES)
            except BlockingIOError:
                await self._readable()
        return b""

    def close(self) -> None:
        """Close the pipe. Later bytes of the engine are lost."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)

    async def _readable(self) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        self._loop.add_reader(self._descriptor, wake)
        try:
            await ready
        finally:
            if self._open:
                self._loop.remove_reader(self._descriptor)


class _Response:
    """One response, whole or piece by piece, compressed or not.

    It names neither the version nor the host until `show`.
    """

    def __init__(self, send: "Send", query_id: str) -> None:
        self._send = send
        self.started = False
        self.version = ""
        self.encoding = ""
        self.tag = "".join(secrets.choice(string.ascii_lowercase) for _ in range(16))
        self._always = [
            *protocol.SECURITY_HEADERS,
            (b"x-clickhouse-exception-tag", self.tag.encode()),
        ]
        self.name(query_id)
        self._compressor: compression.Compressor = compression.compressor("")

    def show(self, version: str, display_name: str) -> None:
        """Name the server to a client that has given the password."""
        self.version = version
        self._always.append((b"x-clickhouse-server-display-name", display_name.encode()))
        self.forget()

    def name(self, query_id: str) -> None:
        """Set the query's id, which must be printable."""
        self._query_id = (b"x-clickhouse-query-id", query_id.encode("ascii"))
        self.forget()

    def forget(self) -> None:
        """Drop the headers of a result that will not come."""
        self.encoding = ""
        self.headers = [self._query_id, *self._always]

    async def send_whole(
        self, statistics: Statistics | None, content: bytes, status: int = 200
    ) -> None:
        """Send the whole response at once, with its length."""
        self.started = True
        self._summarise(statistics)
        if content and self.encoding:
            compressor = self._begin_compression()
            content = compressor.compress(content) + compressor.flush()
        await _send_all(self._send, status, self.headers, content)

    async def send_held(self, statistics: Statistics, held: IO[bytes]) -> None:
        """Send a finished result that was held back."""
        if held.tell() <= MIB:
            held.seek(0)
            await self.send_whole(statistics, held.read())
            return
        self._summarise(statistics)
        await self.start(200)
        await self.send_file(held)
        await self.finish()

    async def start(self, status: int) -> None:
        """Send the headers; the body follows in pieces."""
        self.started = True
        if self.encoding:
            self._compressor = self._begin_compression()
        await self._send({"type": "http.response.start", "status": status, "headers": self.headers})

    async def send_file(self, file: IO[bytes]) -> None:
        """Send a file from its beginning."""
        file.seek(0)
        while piece := await asyncio.to_thread(file.read, MIB):
            await self.send_piece(piece)

    async def send_piece(self, piece: bytes) -> None:
        """Send a piece; waits while the client is slower than this server."""
        if self.encoding:
            # Up to a megabyte: compression would block the event loop for too long.
            piece = await asyncio.to_thread(self._compressor.compress, piece)
        if not piece:
            return
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def finish(self) -> None:
        """Send the end."""
        await self._send({"type": "http.response.body", "body": self._compressor.flush()})

    async def fail(self, content: bytes) -> None:
        """Send a last piece and leave the response without an end.

        The connection then breaks in the middle of the chunked encoding, so that even a client
        that knows nothing of ClickHouse's exception block cannot take it for a whole result.
        """
        content = self._compressor.compress(content) + self._compressor.flush()
        await self._send({"type": "http.response.body", "body": content, "more_body": True})

    def _begin_compression(self) -> compression.Compressor:
        self.headers.append((b"content-encoding", self.encoding.encode()))
        return compression.compressor(self.encoding)

    def _summarise(self, statistics: Statistics | None) -> None:
        if statistics:
            value = protocol.summary(statistics).encode()
            self.headers.append((b"x-clickhouse-summary", value))


async def _cancel_when_gone(body: _Body, job: Job, done: "asyncio.Future[Outcome]") -> None:
    """Stop a read whose client has left; repeat it if the engine had not begun the read."""
    await body.gone()
    await _cancel(job, done)


async def _cancel(job: Job, done: "asyncio.Future[Outcome]") -> None:
    while not done.done():
        await asyncio.to_thread(job.cancel)
        await asyncio.wait((done,), timeout=_CANCEL_AGAIN_SECONDS)
    done.exception()  # no caller waits for it any more


async def _send_all(
    send: "Send", status: int, headers: list[tuple[bytes, bytes]], content: bytes
) -> None:
    length = (b"content-length", str(len(content)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": content})


def _ask(handle: "Handle", sql: str) -> str:
    return handle.query(sql.encode(), "TSVRaw")[0].decode().removesuffix("\n")
