"""REST requests to an exchange: the only module here that imports httpx."""

import httpx

from radar.errors import ConfigurationError, ExchangeUnavailable
from radar.settings import without_password

TIMEOUT_S = 10.0
# The market list is a few hundred kilobytes.
MAX_BODY_BYTES = 16 * 1024 * 1024


class Rest:
    """A client for one exchange's REST interface.

    Attributes:
        date: What the newest answer gave as its time, as HTTP writes it; empty if nothing.
    """

    def __init__(self, url: str, *, proxy: str) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: Address without a trailing slash.
            proxy: Address of a proxy; empty means none, also none of the environment's.

        Raises:
            ConfigurationError: An address is not usable.
        """
        self.date = ""
        self._url = url.rstrip("/")
        try:
            self._client = httpx.AsyncClient(
                proxy=proxy or None, trust_env=False, timeout=TIMEOUT_S, follow_redirects=True
            )
        except ValueError as error:
            raise ConfigurationError(
                without_password(f"EXCHANGE_PROXY is {proxy!r}: {error}")
            ) from error

    async def get(self, path: str) -> bytes:
        """Return the body of the answer to one GET request.

        Raises:
            ExchangeUnavailable: No answer within TIMEOUT_S between its parts, a status that is
                not 200, or a body that is too large.
        """
        url = self._url + path
        body = bytearray()
        try:
            async with self._client.stream("GET", url) as response:
                self.date = response.headers.get("Date", "")
                if response.status_code != httpx.codes.OK:
                    raise ExchangeUnavailable(f"GET {url}: status {response.status_code}")
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        raise ExchangeUnavailable(f"GET {url}: more than {MAX_BODY_BYTES} bytes")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise ExchangeUnavailable(without_password(f"GET {url}: {reason}")) from error
        return bytes(body)

    async def close(self) -> None:
        """Close the connections that were kept."""
        await self._client.aclose()
