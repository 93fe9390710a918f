"""Every driver's requests and connections against answers that lead away, mark, ban and close."""

import asyncio
import itertools
import struct

import pytest

from cases import exchange_cases
from hostile_exchange import CLOSE, Answer, Peer, Script, frame, hostile_exchange
from radar import exchanges
from radar.errors import ExchangeUnavailable, FeedLost
from radar.exchanges.base import Exchange
from radar.producer.connection import Connection, stream_url
from radar.producer.rate_limit import (
    LONGEST_GUESS_S,
    MARGIN_S,
    MAX_MARGIN_S,
    MAX_WAIT_S,
    RateLimitGate,
)
from radar.producer.rest import Rest

each_exchange = pytest.mark.parametrize("name", exchanges.names())
COOKIE = "Set-Cookie: session=marked; Path=/; Max-Age=99999999"
MAX_FRAME_BYTES = 1 << 20
WAITS = [
    "1" + "0" * 12, "9" * 5_000, "-1", "-" + "9" * 30, "soon", "", "1e999", "NaN", "٣", "0x10",
    "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 99 Foo 99999 99:99:99",
    "Fri, 31 Dec 9999 23:59:59 +9999", "\x1b[31m",
]  # fmt: skip
BODIES = [b"", b'{"backOff":1e308}', b'{"backOff":-5}', b'{"backOff":1e999}', b'{"backOff":"x"}',
          b'{"backOff":' + b"9" * 4_000 + b"}", b"[" * 4_000, b"\xff"]  # fmt: skip
CODES = [0, 999, 1000, 1001, 1002, 1004, 1005, 1006, 1008, 1011, 1012, 1013, 1015, 2999, 3000, 4000,
         4999, 5000, 65_535]  # fmt: skip
REASONS = [b"", b"bye", b"\xff\xfe", b"\x1b]0;x\x07", b"a" * 123]


def rest_of(exchange: Exchange, port: int, gate: RateLimitGate) -> Rest:
    return Rest(
        f"http://127.0.0.1:{port}",
        proxy="",
        gate=gate,
        headers=exchange.rest_headers,
        refusal_wait_s=exchange.refusal_wait_s,
    )


async def connect(exchange: Exchange, port: int, gate: RateLimitGate) -> Connection:
    url = stream_url(f"ws://127.0.0.1:{port}", exchange.ws_url, exchange.ws_url)
    return await Connection.open(url, proxy="", max_frame_bytes=MAX_FRAME_BYTES, gate=gate)


def refuses(status: str, *headers: str, body: bytes = b"") -> tuple[Script, Answer]:
    """Return the same answer for a WebSocket and for REST."""

    async def script(peer: Peer) -> None:
        await peer.answer(body, *headers, status=status)

    async def answer(peer: Peer, _path: str) -> None:
        await peer.answer(body, *headers, status=status)

    return script, answer


@each_exchange
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_no_redirect_leads_to_another_origin_and_no_cookie_comes_back(
    name: str, status: str
) -> None:
    exchange, gate = exchanges.load(name), RateLimitGate()

    async def lead_away() -> None:
        async with hostile_exchange(itertools.repeat(refuses("200 OK")[0])) as other:
            location = f"Location: http://localhost:{other.port}/x"
            script, answer = refuses(status, location, COOKIE)
            async with hostile_exchange(itertools.repeat(script), answer) as served:
                rest = rest_of(exchange, served.port, gate)
                for _ in range(2):
                    for path in (exchange.markets_path, *exchange.other_markets_paths):
                        with pytest.raises(ExchangeUnavailable, match="not followed"):
                            await rest.get(path)
                    with pytest.raises(FeedLost, match="not followed"):
                        await connect(exchange, served.port, gate)
                await rest.close()
                assert len(served.heads) >= 4
                assert not any(b"cookie" in head.lower() for head in served.heads)
            assert other.asked == []

    asyncio.run(lead_away())


@pytest.mark.parametrize("name", exchange_cases(exchanges.names()))
def test_no_wait_that_an_exchange_asks_for_is_longer_than_the_longest(name: str) -> None:
    exchange = exchanges.load(name)

    async def ban() -> None:
        for status, (wait, body) in itertools.product(
            ("429 Too Many Requests", "418 Banned", "503 Unavailable"),
            zip(WAITS, itertools.chain(BODIES, itertools.repeat(b"")), strict=False),
        ):
            header = f"Retry-After: {wait.encode().decode('latin-1')}"
            script, answer = refuses(status, header, body=body)
            async with hostile_exchange(itertools.repeat(script), answer) as served:
                for is_rest in (True, False):
                    gate = RateLimitGate()
                    rest = rest_of(exchange, served.port, gate)
                    if is_rest:
                        with pytest.raises(ExchangeUnavailable):
                            await rest.get(exchange.markets_path)
                    else:
                        with pytest.raises(FeedLost):
                            await connect(exchange, served.port, gate)
                    await rest.close()
                    longest_s = max(MAX_WAIT_S, LONGEST_GUESS_S) + MARGIN_S + MAX_MARGIN_S
                    assert 0 <= gate.left_s <= longest_s
                    assert "\x1b" not in gate.reason
                    # A ban without a usable time is a ban, but the library refuses some headers.
                    is_read = is_rest or wait.isprintable()
                    assert gate.left_s > 0 or status.startswith("503") or not is_read

    asyncio.run(ban())


def test_every_close_code_ends_a_connection_as_lost() -> None:
    exchange = exchanges.load("wallex")
    ends = [struct.pack("!H", code) + b"bye" for code in CODES]
    ends += [struct.pack("!H", 4000) + reason for reason in REASONS]
    ends += [b"", b"\x03"]

    async def close() -> None:
        async def script(peer: Peer) -> None:
            await peer.upgrade()
            await peer.send(frame(next(left), CLOSE))

        left = iter(ends)
        async with hostile_exchange(itertools.repeat(script)) as served:
            for _ in ends:
                opened = await connect(exchange, served.port, RateLimitGate())
                with pytest.raises(FeedLost) as lost:
                    await opened.receive()
                assert "\x1b" not in str(lost.value)
                opened.abort()

    asyncio.run(close())
