"""The fetch proxy in front of the embedded broker: it holds fetches at the end of the log.

Kafka answers a fetch at the end of the log when messages arrive or its waiting time is over. The
embedded broker answers at once. So every idle consumer would fetch ten thousand times a second and
keep one core busy.

The proxy holds an answer that repeats an earlier one, until a message is published in one of its
partitions (`publish_events.py`). Answers at an unchanged end of the log repeat, and answers with
messages never do. After a held answer the consumer fetches again. The proxy passes every other
answer on unchanged, with one exception: where an answer holds the broker's own address for clients,
the proxy writes its own.

It also keeps the members of a consumer group in step (`group_rounds.py`).

Frames: four bytes of length, then in requests the API key and version (two bytes each) and
in both directions a correlation id (four bytes), see "Kafka protocol guide: Request Header".

The proxy forwards only requests that `kafka_requests.py` knows and has checked. A single request
with a wrong count would end the broker, and lose its unsaved messages. Any other request closes the
client's connection. `client_requests.py` bounds what clients hold: connections, time and memory.
"""

import asyncio
import contextlib
import itertools
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Self

from radar.local import fetch_answers, kafka_requests
from radar.local.client_requests import Asked, Client, ClientRequests
from radar.local.kafka_requests import (
    DESCRIBE_CLUSTER,
    FETCH,
    FIND_COORDINATOR,
    JOIN_GROUP,
    METADATA,
    PRODUCE,
    SYNC_GROUP,
    CheckedRequest,
    RequestRefused,
)
from radar.local.publish_events import PublishEvents
from radar.local.rebalance_rounds import GroupRounds

HOLD_S = 0.1  # the time that a worker allows a fetch to wait
# An answer is held at least this long, even after a publish. The time is short for a consumer that
# got a few messages since the last held answer. It is longer for one that got many, so that it gets
# even more at once, and for one that got none, because the messages go to others.
SHORT_S, LONG_S = 0.005, 0.02
MANY_BYTES = 2048
REMEMBERED_ANSWERS = 32
REMEMBERED_BYTES = 16_384  # an empty answer is some 40 bytes a partition
MAX_ANSWER_BYTES = 64 * 1024 * 1024
# So few answers above this size are read from the broker at once; others wait a moment.
LONG_ANSWER_BYTES, LONG_ANSWERS = 8 * 1024 * 1024, 4
# Each needs a connection to the broker too; radar's own processes need some dozens.
MAX_CONNECTIONS = 500
# Within it a client sends its first request; librdkafka does so at once.
FIRST_REQUEST_WITHIN_S = 5.0
REPORT_INTERVAL_S = 10.0
CLOSE_TIMEOUT_S = 1.0  # for clients to read the answers that have already come

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

TELL_ADDRESSES = (METADATA, FIND_COORDINATOR, DESCRIBE_CLUSTER)


class _FetchedAnswers:
    """The last answers to the fetches of one connection: one that repeats brings nothing new."""

    def __init__(self) -> None:
        # Clients fetch their partitions in turning order, and the answers follow it.
        self._lately: deque[bytes] = deque(maxlen=REMEMBERED_ANSWERS)
        self._brought_bytes = 0  # by answers since the last held one
        self._pause_s = SHORT_S

    def pause_s(self, frame: bytes) -> float:
        """Return the least time to hold an answer; 0 if it does not repeat an earlier one."""
        if len(frame) > REMEMBERED_BYTES:
            self._brought_bytes += len(frame)
            return 0.0
        fetched = frame[8:]  # without length and correlation id
        if fetched not in self._lately:
            self._brought_bytes += len(fetched)
            self._lately.append(fetched)
            return 0.0
        if self._brought_bytes:
            self._pause_s = LONG_S if self._brought_bytes > MANY_BYTES else SHORT_S
        else:
            self._pause_s = min(2 * self._pause_s, LONG_S)
        self._brought_bytes = 0
        return self._pause_s


class FetchProxy:
    """Listens on one port of a host and forwards connections to another port there.

    It does so while its context lasts. After that, no request reaches the broker and no answer
    reaches a client. So the broker has in memory every message that a client knows to be
    acknowledged.
    """

    def __init__(
        self, host: str, port: int, broker_port: int, connect: Connect | None = None
    ) -> None:
        """Prepare it; `connect` opens a connection to the broker, by default to its port."""
        self._host, self._port = host, port
        self._connect_broker = connect or partial(asyncio.open_connection, host, broker_port)
        self._old_address = host.encode() + broker_port.to_bytes(4, "big")
        self._new_address = host.encode() + port.to_bytes(4, "big")

        self._connections: dict[Client, asyncio.Task[None]] = {}
        self._closed = False
        self._events = PublishEvents()
        self._long_answers = asyncio.Semaphore(LONG_ANSWERS)
        self._rounds = GroupRounds()
        self._numbers = itertools.count()
        self._refused = 0  # requests, since the last reported one
        self._reported_at_s = -REPORT_INTERVAL_S

    async def __aenter__(self) -> Self:
        """Start to listen.

        Raises:
            OSError: The port is taken.
        """
        self._requests = ClientRequests(self._report)
        self._server = await asyncio.start_server(self._serve, self._host, self._port)
        self._checking = asyncio.ensure_future(self._requests.check(self._connections.keys()))
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the listening port and every connection."""
        self._closed = True
        self._server.close()
        self._checking.cancel()
        connections = list(self._connections.values())
        for connection in connections:
            connection.cancel()
        if connections:
            await asyncio.wait(connections, timeout=CLOSE_TIMEOUT_S)

    async def _serve(self, reader: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        # A connection may have been accepted just before the port was closed.
        if self._closed or connection is None or not self._has_room():
            to_client.transport.abort()
            return
        client = Client(reader, to_client)
        self._connections[client] = connection
        try:
            await self._connect(client)
        finally:
            self._connections.pop(client, None)

    def _has_room(self) -> bool:
        """Make room for another connection, if need be by closing the one that is idle longest."""
        if len(self._connections) < MAX_CONNECTIONS:
            return True
        idle = self._requests.close_longest_idle(self._connections)
        if idle is None:
            return False
        del self._connections[idle]
        return True

    async def _connect(self, client: Client) -> None:
        writers = [client.writer]
        try:
            # Only a client that has sent a valid request gets a connection to the broker.
            async with asyncio.timeout(FIRST_REQUEST_WITHIN_S):
                request = await self._next_request(client)
            broker, to_broker = await self._connect_broker()
            writers.append(to_broker)
            await self._pass_request(client, to_broker, *request)
            del request  # it may be long, and the connection may be idle
            ways = (
                asyncio.ensure_future(self._pass_requests(client, to_broker)),
                asyncio.ensure_future(self._pass_answers(broker, client)),
            )
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, EOFError, RequestRefused, asyncio.CancelledError):
            pass  # the client, the broker or the proxy ends: clients see a closed connection
        finally:
            for each in client.unanswered:
                self._settle(each, granted=False)
            for writer in writers:
                writer.close()
            for writer in writers:
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _pass_requests(self, client: Client, to_broker: asyncio.StreamWriter) -> None:
        while True:
            await self._pass_request(client, to_broker, *await self._next_request(client))

    async def _next_request(self, client: Client) -> tuple[bytes, CheckedRequest]:
        """Return a request that the broker may get."""
        try:
            frame = await self._requests.read(client)
            return frame, kafka_requests.check(frame)
        except RequestRefused as error:
            self._report(error)
            raise

    async def _pass_request(
        self, client: Client, to_broker: asyncio.StreamWriter, frame: bytes, says: CheckedRequest
    ) -> None:
        # A broker answers the requests of one connection in their order.
        if says.is_answered:
            client.unanswered.append(await self._ask(frame, says.places))
        to_broker.write(frame)
        await to_broker.drain()

    async def _ask(self, frame: bytes, places: frozenset[bytes] | None) -> Asked:
        api_key, version, group = int.from_bytes(frame[4:6], "big"), frame[7], b""
        if api_key in (JOIN_GROUP, SYNC_GROUP):
            group = kafka_requests.group_of(frame)
        if api_key == JOIN_GROUP:
            await self._rounds.next_round(group)
        event = self._events.expect(places) if api_key == FETCH else None
        asked = Asked(api_key, version, next(self._numbers), group, places, event)
        if group:
            self._rounds.asked(api_key, group, asked.number)
        return asked

    def _settle(self, asked: Asked, *, granted: bool) -> None:
        if asked.published is not None:
            self._events.forget(asked.places, asked.published)
        if asked.group:
            self._rounds.answered(asked.api_key, asked.group, asked.number, granted=granted)

    async def _pass_answers(self, broker: asyncio.StreamReader, client: Client) -> None:
        fetched = _FetchedAnswers()
        while True:
            length = int.from_bytes(await broker.readexactly(4), "big")
            request = client.unanswered[0]
            api_key, version = request.api_key, request.version
            if length <= LONG_ANSWER_BYTES:
                frame = await _read_answer(broker, length)
            else:
                frame = await self._read_long_answer(broker, length, request)
            if api_key == PRODUCE:
                self._events.published(request.places)
            elif request.published is not None:
                if pause_s := fetched.pause_s(frame):
                    await _hold(pause_s, request.published)
            elif api_key in TELL_ADDRESSES:
                frame = frame.replace(self._old_address, self._new_address)
            granted = bool(request.group) and kafka_requests.is_granted(api_key, version, frame)
            self._settle(client.unanswered.popleft(), granted=granted)
            client.writer.write(frame)
            await client.writer.drain()
            del frame  # while it waits for the next one, which may be long

    async def _read_long_answer(
        self, broker: asyncio.StreamReader, length: int, request: Asked
    ) -> bytes:
        async with self._long_answers:
            if request.api_key == FETCH and length > fetch_answers.LONG_BYTES:
                return await fetch_answers.shortened(broker, length, request.version)
            return await _read_answer(broker, length)

    def _report(self, error: RequestRefused) -> None:
        """Log a refused request; the next ones within REPORT_INTERVAL_S are only counted."""
        self._refused += 1
        now_s = time.monotonic()
        if now_s >= self._reported_at_s + REPORT_INTERVAL_S:
            print(  # noqa: T201 - this process's log
                f"kafka: refused {self._refused} requests and closed their connections,"
                f" the last: {error}",
                file=sys.stderr,
                flush=True,
            )
            self._refused, self._reported_at_s = 0, now_s


async def _hold(pause_s: float, published: asyncio.Event) -> None:
    """Wait until a message was published since the fetch."""
    await asyncio.sleep(pause_s)
    if not published.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HOLD_S - pause_s):
                await published.wait()


async def _read_answer(reader: asyncio.StreamReader, length: int) -> bytes:
    if not 0 < length <= MAX_ANSWER_BYTES:
        raise ConnectionError(f"not a Kafka frame: {length} bytes")
    return length.to_bytes(4, "big") + await reader.readexactly(length)
