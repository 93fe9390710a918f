"""A model of ClickHouse servers that replicate each other: proxies in front of embedded servers.

The embedded server replicates nothing. The model adds to real servers, with real rows, the parts of
replication on which radar relies:

- Keeper knows the token of each committed block. A replica answers a block with a known token with
  success and stores nothing, whether it has the rows or not.
- A committed insert reaches the other replicas at once, or when the test lets them catch up.
- `clusterAllReplicas` reads the rows of all replicas that are up.
- A statement ON CLUSTER runs on every replica.

Each proxy can fail at chosen points of an insert.
"""

import enum
import gzip
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from embedded_clickhouse import Server

TOKEN = "insert_deduplication_token"
_EVERY_REPLICA = re.compile(r"clusterAllReplicas\('\w+', `(\w+)`, (\w+?)(?:_local)?\)( FINAL)?")
_ON_CLUSTER = re.compile(r" ON CLUSTER `\w+`")
_REPLICATED = re.compile(r"Replicated(\w*MergeTree)\('[^']*', '[^']*'(?:, )?")
_CHANGES = re.compile(r"\s*(INSERT|TRUNCATE)\b", re.IGNORECASE)


class Point(enum.Enum):
    """Where the connection to a replica breaks during an insert of a block."""

    BEFORE_REQUEST = enum.auto()
    IN_BODY = enum.auto()
    AFTER_COMMIT = enum.auto()  # the block is committed, and no byte of the answer is sent
    IN_ANSWER = enum.auto()


@dataclass
class Request:
    """A request as the client sent it."""

    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def sql(self) -> str:
        return self.query.get("query") or self.plain.decode()

    @property
    def plain(self) -> bytes:
        packed = self.headers.get("content-encoding") == "gzip"
        return gzip.decompress(self.body) if packed else self.body

    def with_sql(self, sql: str) -> "Request":
        """Return the request with another statement in its body."""
        headers = {k: v for k, v in self.headers.items() if k != "content-encoding"}
        return Request(self.query, headers, sql.encode())


@dataclass
class Replica:
    """One server and the proxy before it.

    Attributes:
        point: Where it fails during the next insert of a block.
        is_up: Whether it runs, and the other replicas reach it.
        is_reachable: Whether clients reach it.
        pending: Inserts of the others that it has not applied.
    """

    server: Server
    name: str
    point: Point | None = None
    is_up: bool = True
    is_reachable: bool = True
    pending: list[Request] = field(default_factory=list)
    port: int = 0

    def send(self, request: Request) -> httpx.Response:
        with self.server.http() as client:
            return client.post(
                f"/?{urlencode(request.query)}", content=request.body, headers=request.headers
            )

    def query(self, sql: str, **settings: str) -> bytes:
        """Run a statement on the server itself."""
        answer = self.send(Request(settings, {}, sql.encode()))
        assert answer.status_code == 200, answer.text
        return answer.content

    def insert_native(self, table: str, block: bytes) -> None:
        sql = f"INSERT INTO {table} FORMAT Native"
        answer = self.send(Request({"query": sql}, {}, block))
        assert answer.status_code == 200, answer.text


class Model:
    """The replicas and their Keeper.

    Attributes:
        replicas: All of them.
        stored_by: The one that answered the newest block with success.
        failures: How often a replica failed at its point.
        repeated: How many blocks came again after they were committed.
    """

    def __init__(self, servers: list[Server], *, lag: bool, goes_down: bool) -> None:
        """Start all replicas.

        Args:
            servers: The embedded servers.
            lag: Replicas apply the inserts of the others only in `catch_up`.
            goes_down: No replica reaches the one that failed at its point, until `heal`. Clients
                never reach it until then.
        """
        self.replicas = [Replica(server, f"replica-{n}") for n, server in enumerate(servers)]
        self.stored_by = self.replicas[0]
        self.failures = self.repeated = 0
        self._lag, self._goes_down = lag, goes_down
        self._tokens: set[tuple[bytes, str]] = set()
        self._lock = threading.RLock()

    def catch_up(self) -> None:
        """Let every replica that is up apply the inserts of the others."""
        with self._lock:
            for replica in self.replicas:
                while replica.is_up and replica.pending:
                    answer = replica.send(_replayed(replica.pending[0]))
                    assert answer.status_code == 200, answer.text
                    replica.pending.pop(0)

    def heal(self) -> None:
        """Start all replicas, and let clients reach them."""
        with self._lock:
            for replica in self.replicas:
                replica.is_up = replica.is_reachable = True
            if not self._lag:
                self.catch_up()

    def answer(self, replica: Replica, request: Request) -> httpx.Response | None:
        """Return the answer to a request; None: the replica fails before it has one."""
        with self._lock:
            if TOKEN in request.query:
                return self._insert(replica, request)
            if _ON_CLUSTER.search(request.sql):
                sql = _REPLICATED.sub(r"\1(", _ON_CLUSTER.sub("", request.sql))
                sql = sql.replace(" replicated_ded", " non_replicated_ded")
                sql = re.sub(r",\s*\w+_window_seconds = \d+", "", sql)
                sent = request.with_sql(sql)
                first, *_ = (each.send(sent) for each in self.replicas)
                return first
            sql = self._on_one_server(replica, request.sql)
            sent = request if sql == request.sql else request.with_sql(sql)
            answer = replica.send(sent)
            if _CHANGES.match(sql) and answer.status_code == 200:
                self._replicate(replica, sent)
            return answer

    def _insert(self, replica: Replica, request: Request) -> httpx.Response | None:
        point, replica.point = replica.point, None
        if point is not None:
            self.failures += 1
            replica.is_up, replica.is_reachable = not self._goes_down, False
        if point is Point.BEFORE_REQUEST:
            return None
        if point is Point.IN_BODY:
            _send_half(replica.server, request)
            return None
        # The statement is the first line of the body, and the block follows.
        table = re.split(rb"[(\n]", request.plain, maxsplit=1)[0].strip()
        name = (table, request.query[TOKEN])
        if name in self._tokens:
            self.repeated += 1
            # The server answers, and stores nothing: its rows come by replication.
            answer = replica.send(Request(request.query | {"query": "SELECT 1 WHERE 0"}, {}, b""))
        else:
            answer = replica.send(request)
            if answer.status_code == 200:
                self._tokens.add(name)
                self._replicate(replica, request)
        if point is Point.AFTER_COMMIT:
            return None
        if point is Point.IN_ANSWER:
            answer.headers["x-fails"] = "here"
        elif answer.status_code == 200:
            self.stored_by = replica
        return answer

    def _replicate(self, origin: Replica, request: Request) -> None:
        for replica in self.replicas:
            if replica is not origin:
                replica.pending.append(request)
        if not self._lag:
            self.catch_up()

    def _on_one_server(self, replica: Replica, sql: str) -> str:
        """Return a statement of a cluster in the form that this embedded server runs."""
        sql = sql.replace("hostName()", f"'{replica.name}'")
        sql = sql.replace("SELECT engine FROM", "SELECT concat('Replicated', engine) FROM")

        def union(found: re.Match[str]) -> str:
            database, table, final = found[1], found[2], found[3] or ""
            parts = [f"SELECT * FROM `{database}`.{table}{final}"]
            for other in self.replicas:
                if other is not replica and other.is_up:
                    copied = f"`{database}`.{table}_of_{other.name.replace('-', '_')}"
                    replica.query(f"DROP TABLE IF EXISTS {copied} SYNC")
                    replica.query(f"CREATE TABLE {copied} AS `{database}`.{table} ENGINE = Memory")
                    rows = other.query(f"SELECT * FROM `{database}`.{table}{final} FORMAT Native")
                    if rows:
                        replica.insert_native(copied, rows)
                    parts.append(f"SELECT * FROM {copied}")
            return f"({' UNION ALL '.join(parts)})"

        return _EVERY_REPLICA.sub(union, sql)


def _replayed(request: Request) -> Request:
    """Return an insert as another replica applies it, whenever that one was started."""
    if TOKEN in request.query:
        return request
    return request.with_sql(request.sql.replace("uptime()", "4294967295"))


def _send_half(server: Server, request: Request) -> None:
    """Send a request up to the middle of its body, and cut the connection."""
    head = f"POST /?{urlencode(request.query)} HTTP/1.1\r\nHost: x\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    head += f"Content-Length: {len(request.body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
        connection.sendall(head.encode() + request.body[: len(request.body) // 2])


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Transfer-Encoding") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    chunks = []
    while size := int(request.rfile.readline().split(b";")[0], 16):
        chunks.append(request.rfile.read(size))
        request.rfile.readline()
    request.rfile.readline()
    return b"".join(chunks)


def _handler(model: Model, replica: Replica) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            if not replica.is_reachable:
                return self._cut()
            query = {k: v[-1] for k, v in parse_qs(urlsplit(self.path).query, True).items()}
            kept = {
                *("content-type", "content-encoding", "authorization"),
                *("x-clickhouse-user", "x-clickhouse-key"),
            }
            headers = {k.lower(): v for k, v in self.headers.items() if k.lower() in kept}
            headers["accept-encoding"] = "identity"
            answer = model.answer(replica, Request(query, headers, _body(self)))
            if answer is None:
                return self._cut()
            if "x-fails" in answer.headers:
                self.wfile.write(b"HTTP/1.1 2")
                return self._cut()
            self.send_response_only(answer.status_code)
            for name, value in answer.headers.items():
                if name.startswith(("x-clickhouse", "content-type")):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)
            return None

        do_GET = do_POST  # noqa: N815

        def _cut(self) -> None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def replicated(servers: list[Server], *, lag: bool, goes_down: bool) -> Iterator[Model]:
    """Serve a model for the time of a block; each replica listens on its `port`."""
    model = Model(servers, lag=lag, goes_down=goes_down)
    proxies = []
    try:
        for replica in model.replicas:
            proxy = ThreadingHTTPServer(("127.0.0.1", 0), _handler(model, replica))
            proxy.daemon_threads = True
            replica.port = proxy.server_address[1]
            threading.Thread(target=proxy.serve_forever, daemon=True).start()
            proxies.append(proxy)
        yield model
    finally:
        for proxy in proxies:
            proxy.shutdown()
            proxy.server_close()
