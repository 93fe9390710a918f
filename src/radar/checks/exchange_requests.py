"""REST requests to an exchange for evidence, at a bounded rate that all kinds of it share."""

import time

from radar.exchanges.base import Exchange
from radar.origin import OriginMark
from radar.producer.history import Requests, listed_markets
from radar.producer.markets import storable
from radar.producer.origin import exchange_origin
from radar.producer.pacing import Pace
from radar.producer.rate_limit import RateLimitGate
from radar.producer.rest import Rest
from radar.records import Market
from radar.settings import Settings

# A failed request is repeated so often; then the exchange counts as away.
TRIES = 2


class ExchangeRequests:
    """Asks one exchange.

    Attributes:
        send: Sends the requests.
        other_origin: Why its answers are no evidence about the stored data; empty: they are.
    """

    def __init__(self, settings: Settings, exchange: Exchange, mark: OriginMark | None) -> None:
        """Prepare; no request is sent yet.

        Args:
            settings: The options.
            exchange: The driver.
            mark: The origin of the stored data; answers of another origin prove nothing.
        """
        self._settings = settings
        self._exchange = exchange
        self._mark = mark
        self._markets: dict[str, Market] | None = None
        gate = RateLimitGate(exchange.name)
        self._rest = Rest.of(exchange, settings, gate)
        per_s = min(settings.reconcile_requests_per_second, exchange.limits.requests_per_s)
        self.send = Requests(self._rest, gate, Pace(per_s), tries=TRIES)
        self.other_origin = ""

    async def markets(self) -> dict[str, Market]:
        """Return the listed markets by symbol; none if the exchange is of another origin.

        Raises:
            ExchangeUnavailable: The exchange does not answer.
        """
        if self._markets is None:
            if self._is_other(says_simulated=False):
                return {}
            listed = storable(await listed_markets(self._exchange, self.send))
            if self._is_other(says_simulated=self._rest.says_simulated):
                return {}
            self._markets = {market.symbol: market for market in listed.markets}
        return self._markets

    def clock_ahead_us(self) -> tuple[int, int]:
        """Return how far this machine's clock is ahead of the exchange's, at least and at most.

        Without an answer that has a time, the clocks count as equal.
        """
        offset = self._rest.clock_offset.estimate(time.monotonic())
        if offset is None:
            return 0, 0
        least_s = offset.seconds - offset.uncertainty_s
        most_s = offset.seconds + offset.uncertainty_s
        return int(least_s * 1e6), int(most_s * 1e6)

    def _is_other(self, *, says_simulated: bool) -> bool:
        origin = exchange_origin(self._settings, self._exchange, says_simulated=says_simulated)
        if self._mark is None or self._mark.origin == origin:
            return False
        self.other_origin = f"the data is {self._mark.origin}, and the exchange is {origin}"
        return True

    async def close(self) -> None:
        """Close the connection."""
        await self._rest.close()
