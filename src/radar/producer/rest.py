"""REST requests to an exchange: the only module here that imports httpx.

The exchange is not trusted. A request goes to the configured origin and to no other. An answer has
at most one content encoding. Its size, the size of its inflated body and its duration are bounded.
"""

import asyncio
import contextlib
import time
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from radar import tls
from radar.clock import unix_us
from radar.errors import ConfigurationError, ExchangeUnavailable
from radar.exchanges.base import Exchange, brief
from radar.origin import SIMULATED_HEADER
from radar.producer.clock_offset import ClockOffset
from radar.producer.rate_limit import TOO_MANY_REQUESTS, RateLimitGate
from radar.settings import Settings
from radar.text import without_password

# Without a byte for this long, or for the whole request: a slow answer ends as well.
TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 15.0
CLOSE_TIMEOUT_S = 2.0
# The market list is a few hundred kilobytes. Both the sent and the inflated body are bounded.
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_REFUSAL_BYTES = 4096
# The wall clock and the monotonic one differ by less over a request, unless a clock was set.
STEPPED_US = 50_000
# Inflated at once, after which other tasks get their turn.
SLICE_BYTES = 256 * 1024
_GZIP = 16 + zlib.MAX_WBITS  # zlib's number for a gzip header


class Rest:
    """A client for one exchange's REST interface.

    Attributes:
        clock_offset: How far this machine's clock is ahead of the exchange's, as answers bound it.
        says_simulated: Whether an answer said that the exchange is a simulated one.
    """

    def __init__(
        self,
        url: str,
        *,
        proxy: str,
        gate: RateLimitGate | None = None,
        headers: Mapping[str, str] | None = None,
        refusal_wait_s: Callable[[bytes], float | None] = lambda _: None,
    ) -> None:
        """Prepare; no request is sent yet.

        Args:
            url: Address without a trailing slash.
            proxy: Address of a proxy; empty means none, and the environment's proxy is ignored.
            gate: Closed while the exchange wants no requests; None: one for these requests only.
            headers: Headers of every request.
            refusal_wait_s: Returns the wait that the body of a 429 asks for.

        Raises:
            ConfigurationError: An address is not usable.
        """
        self.clock_offset = ClockOffset()
        self.says_simulated = False
        self._url = url.rstrip("/")
        self._gate = gate or RateLimitGate()
        self._refusal_wait_s = refusal_wait_s
        try:
            self._client = httpx.AsyncClient(
                proxy=proxy or None,
                trust_env=False,
                verify=tls.context(),
                timeout=TIMEOUT_S,
                follow_redirects=False,
                headers={"Accept-Encoding": "gzip", **(headers or {})},
                # An exchange could set so many cookies that its own limit refuses our requests.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            )
        except ValueError as error:
            raise ConfigurationError(
                without_password(f"EXCHANGE_PROXY is {proxy!r}: {error}")
            ) from error

    @classmethod
    def of(
        cls, exchange: Exchange, settings: Settings, gate: RateLimitGate | None = None
    ) -> "Rest":
        """Return a client as an exchange's driver and the options want it.

        Raises:
            ConfigurationError: An address is not usable.
        """
        return cls(
            settings.rest_url(exchange.name) or exchange.rest_url,
            proxy=settings.exchange_proxy,
            gate=gate,
            headers=exchange.rest_headers,
            refusal_wait_s=exchange.refusal_wait_s,
        )

    async def get(self, path: str) -> bytes:
        """Return the body of the answer to one GET request; takes up to REQUEST_TIMEOUT_S.

        Before that it waits for as long as the exchange wants no requests.

        Raises:
            ExchangeUnavailable: No complete answer in time, a status that is not 200 (redirects
                are not followed), or a body that is too large, damaged or encoded in another way
                than gzip.
        """
        url = self._url + path
        await self._gate.passed()
        sent_us, sent_s = unix_us(), time.monotonic()
        try:
            async with (
                asyncio.timeout(REQUEST_TIMEOUT_S),
                self._client.stream("GET", url) as response,
            ):
                self._note_date(sent_us, sent_s, response.headers)
                self.says_simulated |= SIMULATED_HEADER in response.headers
                status, answered = response.status_code, response.headers
                self._gate.note_answer(status, answered)
                if status == TOO_MANY_REQUESTS:
                    # Only now: the body may never come.
                    wait_s = self._refusal_wait_s(await _beginning(response))
                    if wait_s is not None:
                        self._gate.note_answer(status, answered, wait_s)
                return await _body(response)
        except TimeoutError as error:
            raise ExchangeUnavailable(
                without_password(f"GET {url}: no complete answer in {REQUEST_TIMEOUT_S:.0f} s")
            ) from error
        except ValueError as error:
            raise ExchangeUnavailable(without_password(f"GET {url}: {error}")) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = brief(str(error) or type(error).__name__)
            raise ExchangeUnavailable(without_password(f"GET {url}: {reason}")) from error

    def _note_date(self, sent_us: int, sent_s: float, headers: httpx.Headers) -> None:
        """Bound the offset of the clocks, unless a cache answered or a clock was set meanwhile."""
        received_us, now_s = unix_us(), time.monotonic()
        passed_us = (now_s - sent_s) * 1e6
        if "Age" not in headers and abs(received_us - sent_us - passed_us) < STEPPED_US:
            self.clock_offset.dated(sent_us, received_us, headers.get("Date", ""), now_s)

    async def close(self) -> None:
        """Close the idle connections; takes up to CLOSE_TIMEOUT_S."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._client.aclose()


async def _beginning(response: httpx.Response) -> bytes:
    """Return the first bytes of a refusal as they came; fewer if it breaks off."""
    body = b""
    with contextlib.suppress(httpx.HTTPError):
        async for part in response.aiter_raw():
            body += part
            if len(body) > MAX_REFUSAL_BYTES:
                break
    return body[:MAX_REFUSAL_BYTES]


async def _body(response: httpx.Response) -> bytes:
    """Return the inflated body of an answer.

    Raises:
        ValueError: The answer breaks a rule, which the error names.
    """
    if response.is_redirect:
        target = brief(response.headers.get("Location", "nowhere"))
        raise ValueError(
            f"redirected to {target}, which is not followed; if the exchange has moved, set"
            " EXCHANGE_REST_URL"
        )
    if response.status_code != httpx.codes.OK:
        raise ValueError(f"status {response.status_code}")
    encodings = response.headers.get_list("Content-Encoding", split_commas=True)
    match [each.strip().lower() for each in encodings]:
        case [] | ["identity"]:
            parts = response.aiter_raw()
        case ["gzip" | "x-gzip"]:
            parts = _inflated(_limited(response.aiter_raw()))
        case _:
            raise ValueError(f"content encoding {brief(', '.join(encodings))} is not gzip or none")
    return b"".join([part async for part in _limited(parts)])


async def _limited(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Pass on the parts of a body.

    Raises:
        ValueError: The body is larger than MAX_BODY_BYTES.
    """
    size_bytes = 0
    async for part in parts:
        size_bytes += len(part)
        if size_bytes > MAX_BODY_BYTES:
            raise ValueError(f"a body of more than {MAX_BODY_BYTES} bytes")
        yield part


async def _inflated(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Inflate gzip in slices of at most SLICE_BYTES; other tasks run between two of them.

    Raises:
        ValueError: The body is not one complete gzip member.
    """
    inflater = zlib.decompressobj(_GZIP)
    try:
        async for part in parts:
            left = part
            while left and not inflater.eof:
                yield inflater.decompress(left, SLICE_BYTES)
                left = inflater.unconsumed_tail
                await asyncio.sleep(0)
            if inflater.unused_data or (left and inflater.eof):
                raise ValueError("bytes follow the gzip body")
    except zlib.error as error:
        raise ValueError(f"damaged gzip: {error}") from error
    while not inflater.eof and (rest := inflater.decompress(b"", SLICE_BYTES)):
        yield rest
    if not inflater.eof:
        raise ValueError("the gzip body is cut off")
