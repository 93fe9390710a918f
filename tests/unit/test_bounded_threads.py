"""The bounds of the servers of metrics and health."""

import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from bounded_http.threads import BoundedThreads
from hostile_http import Address, answer, drips_s, open_s, sent_bytes
from radar.telemetry.endpoints import application
from radar.telemetry.health import Health
from support import eventually

MIB = 1 << 20
HEAD_S = TAKE_S = 1.0
LIMIT_S = HEAD_S + 1.5  # the machine may be busy
NAME = "bounded"


class _Server(BoundedThreads):
    bounds = replace(
        BoundedThreads.bounds, head_timeout_s=HEAD_S, take_timeout_s=TAKE_S, unadmitted=20
    )


@pytest.fixture
def address() -> Iterator[Address]:
    endpoints = application(Health())

    def answered(environ: Any, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/big":
            start_response("200 OK", [])
            return [b"x" * (32 * MIB)]
        return endpoints(environ, start_response)

    with _Server("127.0.0.1", 0, answered) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield "127.0.0.1", server.server_port
        server.shutdown()
        thread.join()
    assert server._register._unadmitted == {}


def get(address: Address, target: bytes = b"/healthz", more: bytes = b"") -> bytes:
    return answer(address, b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n" + more + b"\r\n")


@pytest.mark.parametrize("begin", [b"", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: a"])
def test_head_that_does_not_end_is_cut_in_time(address: Address, begin: bytes) -> None:
    assert drips_s(address, begin, b"a") < LIMIT_S
    assert open_s(address, begin) < LIMIT_S


@pytest.mark.parametrize("begin", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\nX"])
@pytest.mark.parametrize("piece", [b"a" * MIB, b"a: b\r\n" * 100_000])
def test_endless_head_is_cut_at_once(address: Address, begin: bytes, piece: bytes) -> None:
    assert sent_bytes(address, begin, piece, 64) < 16 * MIB
    assert b" 200 " in get(address)


def test_body_is_not_waited_for(address: Address) -> None:
    head = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nab"
    assert open_s(address, head, after=b"c") < 1 + LIMIT_S


def test_silent_connections_keep_nobody_away_and_have_a_number(address: Address) -> None:
    with ExitStack() as opened:
        for _ in range(100):
            opened.enter_context(socket.create_connection(address, 10)).sendall(b"GET /")
        assert b" 200 " in get(address)
        eventually(lambda: _threads() <= 21, "the threads have a number", timeout_s=5)
    eventually(lambda: not _threads(), "the threads end", timeout_s=5)


def _threads() -> int:
    return sum("process_request_thread" in each.name for each in threading.enumerate())


def test_client_that_takes_no_answer_holds_no_thread(
    address: Address, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(address, 10) as connection:
        connection.sendall(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n")
        eventually(lambda: _threads() == 1, "it is answered", timeout_s=5)
        began_s = time.monotonic()
        while _threads():  # a byte now and then is no progress
            connection.recv(1)
            time.sleep(0.1)
            assert time.monotonic() - began_s < TAKE_S + 5
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("target", [b"http://evil.example/metrics", b"*", b"localhost:80"])
def test_target_that_is_no_path_is_refused(address: Address, target: bytes) -> None:
    assert get(address, target).split()[1] == b"400"


@pytest.mark.parametrize(
    "query",
    [b"?name[]=python_info", b"?name%5B%5D=python_info", b"?name[]=" + b"a" * 8000,
     b"?name[]=a" * 1000, b"?" + b"name[]=a&" * 1000 + b"name[]=python_info", b"?name[]=%00%ff"],
)  # fmt: skip
def test_metrics_by_name_are_some_of_all(address: Address, query: bytes) -> None:
    everything = get(address, b"/metrics").partition(b"\r\n\r\n")[2]
    head, _, some = get(address, b"/metrics" + query).partition(b"\r\n\r\n")
    assert head.split()[1] == b"200"
    assert {line for line in some.splitlines() if b"info" in line} <= set(everything.splitlines())
    assert len(some) < len(everything) / 2


def test_http_1_0_without_a_host_is_refused(address: Address) -> None:
    assert answer(address, b"GET /metrics HTTP/1.0\r\n\r\n").split()[1] == b"403"
    assert answer(address, b"GET /metrics\r\n\r\n").find(b"python_info") == -1
    got = answer(address, b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert got.split()[1] == b"200"
