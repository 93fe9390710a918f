"""The bounds of an HTTP connection, which every server on uvicorn shares."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
import uvicorn

from bounded_http import connections
from bounded_http.bounds import Bounds
from bounded_http.connections import BoundedHttp, admit
from hostile_http import Address, answer, drips_s, open_s, sent_bytes
from support import eventually, is_open

MIB = 1 << 20
HEAD_S, BODY_S, TAKE_S = 1.0, 2.0, 1.5
SOON_S = 0.9  # the machine may be busy
BIG = b"x" * (32 * MIB)


class _Http(BoundedHttp):
    bounds = Bounds(
        head_bytes=4096,
        headers=10,
        head_timeout_s=HEAD_S,
        body_timeout_s=BODY_S,
        take_timeout_s=TAKE_S,
        pipelined=4,
        unadmitted=20,
        connections=30,
    )


class App:
    """Answers at once or after the body; `/known` is asked by a client that may come in."""

    def __init__(self) -> None:
        self.headers: list[Any] = []
        self.left = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"].startswith("/known"):
            admit(scope)
        if scope["path"] == "/read":
            while (message := await receive()).get("more_body"):
                pass
            if message["type"] == "http.disconnect":
                self.left.set()
                return
        self.headers = scope["headers"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/pieces":
            for _ in range(32):
                piece = BIG[:MIB]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            self.left.set()
        content = BIG if scope["path"] == "/big" else b"ok"
        await send({"type": "http.response.body", "body": content})


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture(params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest, app: App) -> Iterator[uvicorn.Server]:
    config = uvicorn.Config(
        app, http=_Http, ws="none", loop=request.param, lifespan="off", log_config=None,
        access_log=False, timeout_keep_alive=3, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        eventually(lambda: server.started, "the server serves")
        server.servers_address = listener.getsockname()  # type: ignore[attr-defined]
        yield server
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def address(server: uvicorn.Server) -> Address:
    return server.servers_address  # type: ignore[attr-defined,no-any-return]


def serves(address: Address) -> bool:
    return answer(address, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").endswith(
        b"\r\n2\r\nok\r\n0\r\n\r\n"
    )


@pytest.mark.parametrize(
    "request_",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nab",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;aaa",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
    ],
)
def test_answer_before_the_end_of_its_request_closes_the_connection(
    address: Address, request_: bytes
) -> None:
    assert open_s(address, request_, after=b"c") < 1 + SOON_S
    assert serves(address)


def test_answer_to_a_whole_request_keeps_the_connection(address: Address) -> None:
    request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
    with socket.create_connection(address, 10) as connection:
        for _ in range(3):
            connection.sendall(request)
            received = b""
            while not received.endswith(b"0\r\n\r\n"):
                received += connection.recv(1000)
            assert received.startswith(b"HTTP/1.1 200 ")
            time.sleep(HEAD_S * 1.3)  # idle is not slow


@pytest.mark.parametrize(
    "begin", [b"", b"GET / HTTP/1.1\r\nHost: a\r\nX: a", b"\r\n", b"GET / HTTP/1.1\r\n\r\nGET /"]
)
def test_head_that_does_not_end_is_cut_in_time(address: Address, begin: bytes) -> None:
    assert drips_s(address, begin, b"\r\n" if begin == b"\r\n" else b"a") < HEAD_S + 2 * SOON_S


def test_body_that_does_not_end_is_cut_in_time(address: Address, app: App) -> None:
    head = b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
    assert BODY_S <= drips_s(address, head, b"a") + 0.1 < BODY_S + 2 * SOON_S
    assert app.left.wait(5)


@pytest.mark.parametrize(
    "begin",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
        b"GET / HTTP/1.1\r\nHost: a\r\nX",
        b"GET /?a=",
        b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nGET /?",
    ],
)
def test_bytes_of_no_body_have_a_bound(address: Address, begin: bytes) -> None:
    # Besides the bound, sockets of both sides hold some megabytes.
    assert sent_bytes(address, begin, b"a" * MIB, 64) < 16 * MIB
    assert serves(address)


def test_number_of_headers_has_a_bound(address: Address) -> None:
    head = b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: a\r\n" % n for n in range(11)) + b"\r\n"
    assert answer(address, head).split()[1] == b"400"


def test_body_in_small_chunks_passes(address: Address) -> None:
    chunks = b"1\r\na\r\n" * 20_000
    head = (
        b"POST /read HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert answer(address, head + chunks + b"0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_header_behind_a_body_is_dropped(address: Address, app: App) -> None:
    head = (
        b"POST /read HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert answer(address, head + b"0\r\nHost: b\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert [value for name, value in app.headers if name == b"host"] == [b"a"]


@pytest.mark.parametrize("target", [b"http://evil.example/", b"*", b"evil.example:80"])
def test_target_that_is_no_path_is_refused(address: Address, target: bytes) -> None:
    for method in (b"GET", b"OPTIONS", b"CONNECT"):
        got = answer(address, method + b" " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert got.split()[1] == b"400"


def test_few_requests_wait_for_an_earlier_answer(address: Address) -> None:
    got = answer(address, b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
    assert got.count(b"HTTP/1.1 200 ") <= 1
    assert serves(address)


def _lazy(address: Address, path: bytes, *headers: bytes) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(address)
    head = b"\r\n".join([b"GET " + path + b" HTTP/1.1", b"Host: a", *headers])
    connection.sendall(head + b"\r\n\r\n")
    return connection


@pytest.mark.parametrize("path", [b"/big", b"/pieces"])
@pytest.mark.parametrize("headers", [[], [b"Connection: close"]])
def test_client_that_takes_no_answer_is_cut(
    server: uvicorn.Server, address: Address, app: App, path: bytes, headers: list[bytes]
) -> None:
    with _lazy(address, path, *headers) as connection:
        eventually(lambda: bool(server.server_state.connections), "the connection is there")
        began_s = time.monotonic()
        while server.server_state.connections:  # a byte now and then is no progress
            connection.recv(1)
            time.sleep(0.2)
            assert time.monotonic() - began_s < TAKE_S + 5
    assert path == b"/big" or app.left.wait(5)


def _opened(address: Address, stack: ExitStack, count: int, data: bytes) -> list[socket.socket]:
    made = []
    for _ in range(count):
        made.append(stack.enter_context(socket.create_connection(address, 10)))
        made[-1].sendall(data)
    return made


def test_new_connection_ends_unadmitted_connections_only(address: Address) -> None:
    known = b"GET /known HTTP/1.1\r\nHost: a\r\n\r\n"
    unknown = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    with ExitStack() as stack:
        friends = _opened(address, stack, 5, known)
        eventually(lambda: all(each.recv(10) for each in friends), "they are known")
        others = _opened(address, stack, 60, unknown)
        eventually(
            lambda: sum(map(is_open, others)) <= 20,
            "unadmitted connections are bounded",
            timeout_s=2,
        )
        assert all(map(is_open, friends))
        assert serves(address)


def test_all_connections_have_a_number(address: Address, server: uvicorn.Server) -> None:
    with ExitStack() as stack:
        for _ in range(40):
            friend = stack.enter_context(socket.create_connection(address, 10))
            friend.sendall(b"GET /known HTTP/1.1\r\nHost: a\r\n\r\n")
            with suppress(ConnectionResetError):
                friend.recv(10)
        assert len(server.server_state.connections) <= 30
    eventually(lambda: serves(address), "it serves again")


def test_nothing_of_a_connection_stays(server: uvicorn.Server, address: Address) -> None:
    for _ in range(50):
        assert serves(address)
    eventually(lambda: not server.server_state.connections, "all are gone")
    register = connections._registers[server.server_state]
    assert (register._unadmitted, register._admitted) == ({}, set())


def test_closed_connection_waits_for_no_client(server: uvicorn.Server, address: Address) -> None:
    """Its timer would keep everything of it in memory."""
    with socket.create_connection(address) as client:
        eventually(lambda: bool(server.server_state.connections), "it is open")
        (connection,) = server.server_state.connections
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert serves(address)  # so the loop has done all that follows from the end of the first one
    assert connection not in server.server_state.connections
    assert isinstance(connection, _Http)
    assert connection._take_timer is None
