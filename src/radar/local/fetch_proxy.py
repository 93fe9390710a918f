"""The fetch proxy in front of the embedded broker: it holds fetches at the end of the log.

Kafka answers a fetch at the end of the log when messages arrive or its waiting time is over. The
embedded broker answers at once. So every idle consumer would fetch ten thousand times a second and
keep one core busy.

The proxy holds an answer that repeats an earlier one, until a message is published. Answers at an
unchanged end of the log repeat, and answers with messages never do. After a held answer the
consumer fetches again. The proxy passes every other answer on unchanged, with one exception: where
an answer holds the broker's own address for clients, the proxy writes its own.

It also keeps the members of a consumer group in step (`group_rounds.py`).

Frames: four bytes of length, then in requests the API key and version (two bytes each) and
in both directions a correlation id (four bytes), see "Kafka protocol guide: Request Header".

The proxy forwards only requests that `kafka_requests.py` knows and has checked. A single request
with a wrong count would end the broker, and lose its unsaved messages. Any other request closes the
client's connection. `client_requests.py` bounds the requests that are not complete yet.
"""

import asyncio
import contextlib
import itertools
import sys
import time
from collections import deque
from types import TracebackType
from typing import NamedTuple, Self

from radar.local import fetch_answers, kafka_requests
from radar.local.client_requests import Client, ClientRequests
from radar.local.group_rounds import GroupRounds
from radar.local.kafka_requests import (
    DESCRIBE_CLUSTER,
    FETCH,
    FIND_COORDINATOR,
    JOIN_GROUP,
    METADATA,
    PRODUCE,
    SYNC_GROUP,
    RequestRefused,
)

HOLD_S = 0.1  # the time that a worker allows a fetch to wait
# An answer is held at least this long, even after a publish. The time is short for a consumer that
# got a few messages since the last held answer. It is longer for one that got many, so that it gets
# even more at once, and for one that got none, because the messages go to others.
SHORT_S, LONG_S = 0.005, 0.02
MANY_BYTES = 2048
REMEMBERED_ANSWERS = 32
REMEMBERED_BYTES = 16_384  # an empty answer is some 40 bytes a partition
MAX_ANSWER_BYTES = 64 * 1024 * 1024
# Each needs a connection to the broker too; radar's own processes need some dozens.
MAX_CONNECTIONS = 500
REPORT_INTERVAL_S = 10.0
CLOSE_TIMEOUT_S = 1.0  # for clients to read the answers that have already come

TELL_ADDRESSES = (METADATA, FIND_COORDINATOR, DESCRIBE_CLUSTER)


class _Asked(NamedTuple):
    """A request that is not answered yet.

    Attributes:
        api_key: Its API.
        version: Its version.
        published: The count of publishes before it.
        number: Tells it from all other requests.
        group: The group of a member that joins or asks for its share, otherwise empty.
    """

    api_key: int
    version: int
    published: int
    number: int
    group: bytes


class FetchProxy:
    """Listens on one port of a host and forwards connections to another port there.

    It does so while its context lasts. After that, no request reaches the broker and no answer
    reaches a client. So the broker has in memory every message that a client knows to be
    acknowledged.
    """

    def __init__(self, host: str, port: int, broker_port: int) -> None:
        self._host, self._port, self._broker_port = host, port, broker_port
        self._old_address = host.encode() + broker_port.to_bytes(4, "big")
        self._new_address = host.encode() + port.to_bytes(4, "big")

        self._connections: dict[Client, asyncio.Task[None]] = {}
        self._closed = False
        self._published = 0  # answers to requests that publish
        self._news = asyncio.Event()  # set by the next one
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
        dataset: type[BaseException] | None,
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
        # A connection may have been accepted just before the port was closed.
        connection = asyncio.current_task()
        if self._closed or connection is None or len(self._connections) >= MAX_CONNECTIONS:
            to_client.transport.abort()
            return
        client = Client(reader, to_client)
        self._connections[client] = connection
        try:
            await self._connect(client)
        finally:
            del self._connections[client]

    async def _connect(self, client: Client) -> None:
        writers = [client.writer]
        try:
            broker, to_broker = await asyncio.open_connection(self._host, self._broker_port)
            writers.append(to_broker)
            # A broker answers the requests of one connection in their order.
            asked: deque[_Asked] = deque()
            ways = (
                asyncio.ensure_future(self._pass_requests(client, to_broker, asked)),
                asyncio.ensure_future(self._pass_answers(broker, client.writer, asked)),
            )
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                for each in asked:
                    self._settle(each, granted=False)
        except (OSError, asyncio.CancelledError):
            pass  # the broker or the proxy ends: clients see a closed connection
        finally:
            for writer in writers:
                writer.close()
            for writer in writers:
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _pass_requests(
        self, client: Client, to_broker: asyncio.StreamWriter, asked: deque[_Asked]
    ) -> None:
        while True:
            try:
                frame = await self._requests.read(client)
                is_answered = kafka_requests.check(frame)
            except RequestRefused as error:
                self._report(error)
                return
            if is_answered:
                asked.append(await self._ask(frame))
            to_broker.write(frame)
            await to_broker.drain()
            del frame  # while it waits for the next one, which may be long

    async def _ask(self, frame: bytes) -> _Asked:
        api_key, version, group = int.from_bytes(frame[4:6], "big"), frame[7], b""
        if api_key in (JOIN_GROUP, SYNC_GROUP):
            group = kafka_requests.group_of(frame)
        if api_key == JOIN_GROUP:
            await self._rounds.next_round(group)
        asked = _Asked(api_key, version, self._published, next(self._numbers), group)
        if group:
            self._rounds.asked(api_key, group, asked.number)
        return asked

    def _settle(self, asked: _Asked, *, granted: bool) -> None:
        if asked.group:
            self._rounds.answered(asked.api_key, asked.group, asked.number, granted=granted)

    async def _pass_answers(
        self, broker: asyncio.StreamReader, to_client: asyncio.StreamWriter, asked: deque[_Asked]
    ) -> None:
        # Clients fetch their partitions in turning order, and the answers follow it.
        lately: deque[bytes] = deque(maxlen=REMEMBERED_ANSWERS)
        brought_bytes = 0  # by answers since the last held one
        pause_s = SHORT_S
        while True:
            length = int.from_bytes(await broker.readexactly(4), "big")
            request = asked.popleft()
            api_key, version = request.api_key, request.version
            if api_key == FETCH and length > fetch_answers.LONG_BYTES:
                frame = await fetch_answers.shortened(broker, length, version)
            else:
                frame = await _read_answer(broker, length)
            if api_key == PRODUCE:
                self._tell_news()
            elif api_key == FETCH:
                fetched = frame[8:]  # without length and correlation id
                if fetched in lately:
                    if brought_bytes:
                        pause_s = LONG_S if brought_bytes > MANY_BYTES else SHORT_S
                    else:
                        pause_s = min(2 * pause_s, LONG_S)
                    brought_bytes = 0
                    await self._hold(pause_s, request.published)
                else:
                    brought_bytes += len(fetched)
                    if len(fetched) <= REMEMBERED_BYTES:
                        lately.append(fetched)
            elif api_key in TELL_ADDRESSES:
                frame = frame.replace(self._old_address, self._new_address)
            if request.group:
                granted = kafka_requests.is_granted(api_key, version, frame)
                self._settle(request, granted=granted)
            to_client.write(frame)
            await to_client.drain()
            del frame

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

    def _tell_news(self) -> None:
        self._published += 1
        self._news.set()
        self._news = asyncio.Event()

    async def _hold(self, pause_s: float, published: int) -> None:
        """Wait until a message was published since the fetch."""
        await asyncio.sleep(pause_s)
        if self._published == published:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HOLD_S - pause_s):
                    await self._news.wait()


async def _read_answer(reader: asyncio.StreamReader, length: int) -> bytes:
    if not 0 < length <= MAX_ANSWER_BYTES:
        raise ConnectionError(f"not a Kafka frame: {length} bytes")
    return length.to_bytes(4, "big") + await reader.readexactly(length)
