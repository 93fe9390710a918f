"""REST requests and connections to an exchange that redirects, inflates and never ends."""

import asyncio
import gzip
import itertools
import os
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile_exchange import Answer, HostileExchange, Peer, hostile_exchange
from radar.errors import ExchangeUnavailable, FeedLost
from radar.exchanges import nobitex
from radar.producer import rest as module
from radar.producer.connection import Connection
from radar.producer.rate_limit import RateLimitGate
from radar.producer.rest import MAX_BODY_BYTES, Rest
from support import peak_bytes, reset_peak_bytes

MEGABYTE = 1 << 20
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


def bomb(inflated_bytes: int) -> bytes:
    """Return spaces that are compressed by gzip, as one block again and again, without an end."""
    compressor = zlib.compressobj(9, wbits=31)
    head = compressor.compress(b"") + compressor.flush(zlib.Z_FULL_FLUSH)
    block = compressor.compress(b" " * MEGABYTE) + compressor.flush(zlib.Z_FULL_FLUSH)
    return head + block * (inflated_bytes // MEGABYTE)


def sends(body: bytes, *headers: str, status: str = "200 OK") -> Answer:
    async def answer(peer: Peer, _path: str) -> None:
        await peer.answer(body, *headers, status=status)

    return answer


def never_ends(head: bytes, part: bytes, pause_s: float | None = None) -> Answer:
    """Return an answer without an end, byte by byte or as fast as it is taken."""

    async def answer(peer: Peer, _path: str) -> None:
        await peer.send(head)
        if pause_s is None:
            await peer.flood(part)
        while True:
            await peer.send(part)
            await asyncio.sleep(pause_s or 0)

    return answer


class Attack(NamedTuple):
    """How REST answers, and what the error says."""

    answer: Answer
    error: str


_GIBIBYTE = bomb(1 << 30)
ATTACKS = {
    # Sizes
    "endless": Attack(never_ends(HEAD + b"\r\n", b" "), "a body of more than"),
    "endless chunks": Attack(
        never_ends(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        "more than|no complete answer",
    ),
    "endless chunk header": Attack(
        never_ends(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"), "GET"
    ),
    "endless header": Attack(never_ends(HEAD + b"X: ", b"a"), "GET"),
    "endless headers": Attack(never_ends(HEAD, b"X: a\r\n"), "GET"),
    "endless interim answers": Attack(
        never_ends(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), "no complete answer"
    ),
    # Times
    "slow body": Attack(never_ends(HEAD + b"\r\n", b" ", 0.05), "no complete answer"),
    "slow header": Attack(never_ends(HEAD + b"X: ", b"a", 0.05), "no complete answer"),
    "slow gzip": Attack(
        never_ends(HEAD + b"Content-Encoding: gzip\r\n\r\n" + _GIBIBYTE[:10], b"\0" * 5, 0.05),
        "no complete answer|damaged",
    ),
    # Encodings
    "bomb": Attack(sends(_GIBIBYTE, "Content-Encoding: gzip"), "a body of more than"),
    "bomb in a bomb": Attack(
        sends(gzip.compress(_GIBIBYTE, 9), "Content-Encoding: gzip, gzip"),
        "encoding gzip, gzip is not",
    ),
    "bomb in a bomb, in two headers": Attack(
        sends(gzip.compress(_GIBIBYTE, 9), "Content-Encoding: gzip", "Content-Encoding: gzip"),
        "encoding gzip, gzip is not",
    ),
    "bomb of many members": Attack(
        sends(gzip.compress(b" ") * 100_000, "Content-Encoding: gzip"), "follow the gzip body"
    ),
    "zstd": Attack(sends(b"\x28\xb5\x2f\xfd", "Content-Encoding: zstd"), "encoding zstd is not"),
    "deflate": Attack(sends(zlib.compress(b"{}"), "Content-Encoding: deflate"), "encoding deflate"),
    "brotli": Attack(sends(b"x", "Content-Encoding: br"), "encoding br is not"),
    "escape sequence as encoding": Attack(
        sends(b"x", "Content-Encoding: \x9b31m" + "a" * 5000),
        r"encoding \\x9b31ma+… is not gzip or none$",
    ),
    "no gzip": Attack(sends(b"{}", "Content-Encoding: gzip"), "damaged gzip"),
    "half a gzip": Attack(
        sends(gzip.compress(b"{}" * 1000)[:-9], "Content-Encoding: gzip"), "is cut off"
    ),
    "wrong checksum": Attack(
        sends(gzip.compress(b"{}")[:-8] + bytes(8), "Content-Encoding: gzip"), "damaged gzip"
    ),
    "bytes behind the gzip": Attack(
        sends(gzip.compress(b"{}") + b"x", "Content-Encoding: gzip"), "follow the gzip body"
    ),
    # No answer
    "status": Attack(sends(b"{}", status="503 X"), "status 503"),
    "not modified": Attack(sends(b"", status="304 X"), "redirected to nowhere|status 304"),
    "another protocol": Attack(never_ends(b"SSH-2.0-OpenSSH_9.9\r\n", b"x"), "GET"),
    "illegal header": Attack(sends(b"", "X\0: " + "a" * 5000), "GET"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_request_under_attack_is_one_bounded_error_and_blocks_nobody(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack = ATTACKS[name]
    monkeypatch.setattr(module, "REQUEST_TIMEOUT_S", 1.0)
    longest_s = 0.0

    async def beat() -> None:
        """Measure how long the event loop is held up."""
        nonlocal longest_s
        while True:
            slept = time.monotonic()
            await asyncio.sleep(0.01)
            longest_s = max(longest_s, time.monotonic() - slept)

    async def suffer() -> str:
        async with hostile_exchange(iter(()), attack.answer) as exchange:
            rest = Rest(f"http://127.0.0.1:{exchange.port}", proxy="")
            beating = asyncio.create_task(beat())
            try:
                async with asyncio.timeout(20):
                    with pytest.raises(ExchangeUnavailable, match=attack.error) as error:
                        await rest.get("/markets")
            finally:
                beating.cancel()
                await rest.close()
            return str(error.value)

    before_bytes = reset_peak_bytes(os.getpid())
    said = asyncio.run(suffer())
    assert said.isprintable()
    assert len(said) < 400
    assert peak_bytes(os.getpid()) - before_bytes < 4 * MAX_BODY_BYTES
    assert longest_s < 2  # the machine may be busy; a bomb used to take half a minute


@pytest.mark.parametrize(
    ("body", "least_s"),
    [(b'{"backOff":12}', 12), (b'{"backOff":-1}', 1), (b'{"backOff":1e300}', 3600), (b"<html>", 1)],
)
def test_the_body_of_a_429_may_tell_the_wait(body: bytes, least_s: float) -> None:
    async def ask() -> float:
        gate = RateLimitGate()
        async with hostile_exchange(iter(()), sends(body, status="429 X")) as exchange:
            rest = Rest(
                f"http://127.0.0.1:{exchange.port}",
                proxy="",
                gate=gate,
                refusal_wait_s=nobitex.EXCHANGE.refusal_wait_s,
            )
            with pytest.raises(ExchangeUnavailable, match="status 429"):
                await rest.get("/markets")
            await rest.close()
        return gate.left_s

    assert least_s < asyncio.run(ask()) < least_s + 20


def test_a_429_whose_body_never_comes_is_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_TIMEOUT_S", 1.0)

    async def ask() -> float:
        gate = RateLimitGate()
        head = b"HTTP/1.1 429 X\r\nRetry-After: 30\r\n\r\n"
        async with hostile_exchange(iter(()), never_ends(head, b" ", 0.05)) as exchange:
            rest = Rest(f"http://127.0.0.1:{exchange.port}", proxy="", gate=gate)
            with pytest.raises(ExchangeUnavailable):
                await rest.get("/markets")
            await rest.close()
        return gate.left_s

    assert asyncio.run(ask()) > 20


@given(
    st.binary(max_size=100),
    st.integers(1, 200_000),
    st.lists(st.integers(1, 5000), min_size=1, max_size=9),
)
def test_gzip_in_any_parts_inflates_to_what_was_compressed(
    body: bytes, times: int, sizes: list[int]
) -> None:
    body = body * max(1, min(times, 1_000_000 // (len(body) or 1)))
    packed = gzip.compress(body)

    async def parts() -> AsyncIterator[bytes]:
        start = 0
        for size in itertools.cycle(sizes):
            if start >= len(packed):
                return
            yield packed[start : start + size]
            start += size

    async def inflated() -> bytes:
        return b"".join([part async for part in module._inflated(parts())])

    assert asyncio.run(inflated()) == body


@pytest.mark.parametrize("body", [b"", b"{}", b" " * (MAX_BODY_BYTES - 1)], ids=len)
def test_request_takes_plain_and_compressed_answers(body: bytes) -> None:
    async def ask(answer: Answer) -> bytes:
        async with hostile_exchange(iter(()), answer) as exchange:
            rest = Rest(f"http://127.0.0.1:{exchange.port}", proxy="")
            try:
                return await rest.get("/")
            finally:
                await rest.close()

    for answer in (
        sends(body),
        sends(body, "Content-Encoding: identity"),
        sends(gzip.compress(body), "Content-Encoding: gzip"),
        sends(gzip.compress(body), "Content-Encoding: GZIP "),
    ):
        assert asyncio.run(ask(answer)) == body


def test_cookies_of_the_exchange_are_not_kept() -> None:
    heads: list[bytes] = []

    async def ask() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            await Peer(reader, writer, b"").answer(b"", f"Set-Cookie: c{len(heads)}=x")
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            rest = Rest(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", proxy="")
            for _ in range(2):
                await rest.get("/")
            await rest.close()

    asyncio.run(ask())
    assert not [head for head in heads if b"cookie" in head.lower()]
    assert all(b"\r\nAccept-Encoding: gzip\r\n" in head for head in heads)


# Targets of redirects; {other} is another server, {same} the exchange itself.
TARGETS = {
    "another port": "{scheme}://127.0.0.1:{other}/x",
    "another host": "{scheme}://localhost:{same}/x",
    "another scheme": "{secure}://127.0.0.1:{same}/x",
    "no scheme": "//127.0.0.1:{other}/x",
    "the metadata service": "http://169.254.169.254/latest/meta-data/",
    "a file": "file:///etc/passwd",
    "the same origin": "/y",
    "nothing": "",
    "garbage": "http://[::1",
    "an escape sequence": "/\x9b31m" + "a" * 3000,
}  # fmt: skip
STATUSES = ["301 X", "302 X", "303 X", "307 X", "308 X"]


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("headers", [1, 2])
def test_redirects_are_followed_nowhere_and_name_their_target(name: str, headers: int) -> None:
    async def suffer() -> None:
        status = itertools.cycle(STATUSES)

        async with hostile_exchange(iter(())) as other:
            exchange: HostileExchange

            def location(scheme: str) -> list[str]:
                target = TARGETS[name].format(
                    scheme=scheme, secure=f"{scheme}s", other=other.port, same=exchange.port
                )
                return [f"Location: {target}"] * headers

            async def redirect(peer: Peer, _path: str) -> None:
                await peer.answer(b"", *location("http"), status=next(status))

            async def redirect_socket(peer: Peer) -> None:
                await peer.answer(b"", *location("ws"), status=next(status))

            async with hostile_exchange(itertools.repeat(redirect_socket), redirect) as exchange:
                address = f"127.0.0.1:{exchange.port}"
                rest = Rest(f"http://{address}", proxy="")

                async def open_socket() -> None:
                    await Connection.open(f"ws://{address}", proxy="", max_frame_bytes=1024)

                for _ in STATUSES:
                    await refused(lambda: rest.get("/markets"), ExchangeUnavailable)
                    await refused(open_socket, FeedLost)
                await rest.close()
                assert exchange.asked == ["/markets", "/"] * len(STATUSES)
            assert other.asked == []

    async def refused(ask: Callable[[], Awaitable[object]], error: type[Exception]) -> None:
        with pytest.raises(error, match=r"redirect|Invalid URL|invalid") as caught:
            await ask()
        said = str(caught.value)
        assert said.isprintable()
        assert len(said) < 450
        if isinstance(caught.value, FeedLost):
            assert caught.value.reason == "refused"

    asyncio.run(asyncio.wait_for(suffer(), 30))
