"""The exchange's candles of one minute, asked for as evidence. They are compared and not stored."""

from collections.abc import Mapping

import structlog

from radar.checks.candle_comparison import Minute, compare
from radar.checks.proof import MINUTE_US, CandleVerdict, Span
from radar.clock import unix_us
from radar.errors import ExchangeUnavailable
from radar.exchanges.base import Exchange, Resolution
from radar.origin import OriginMark
from radar.producer.history import Period, Requests, candle_window, listed_markets
from radar.producer.markets import storable
from radar.producer.origin import exchange_origin
from radar.producer.pacing import Pace
from radar.producer.rate_limit import RateLimitGate
from radar.producer.rest import Rest
from radar.records import Market
from radar.settings import Settings

INTERVAL = "1m"
# A failed request is repeated so often; then the exchange counts as away.
TRIES = 2
# The oldest kept candles may be deleted while they are asked for.
MARGIN_MINUTES = 5

_log = structlog.get_logger()


class ExchangeCandles:
    """Asks one exchange at a bounded rate.

    Attributes:
        trouble: Why there are no candles; empty: there are.
    """

    def __init__(self, settings: Settings, exchange: Exchange, mark: OriginMark | None) -> None:
        """Prepare; no request is sent yet.

        Args:
            settings: The options.
            exchange: The driver.
            mark: The origin of the stored data; candles of another origin prove nothing.
        """
        self._settings = settings
        self._exchange = exchange
        self._mark = mark
        self._offered = exchange.candle_history
        self._markets: dict[str, Market] | None = None
        self._gate = RateLimitGate(exchange.name)
        self._rest = Rest(
            settings.rest_url(exchange.name) or exchange.rest_url,
            proxy=settings.exchange_proxy,
            gate=self._gate,
            headers=exchange.rest_headers,
            refusal_wait_s=exchange.refusal_wait_s,
        )
        per_s = min(settings.reconcile_requests_per_second, exchange.limits.requests_per_s)
        self._requests = Requests(self._rest, self._gate, Pace(per_s), tries=TRIES)
        self.trouble = "" if self._resolution else f"{exchange.name} offers no candles of a minute"

    @property
    def _resolution(self) -> Resolution | None:
        return self._offered.resolutions.get(INTERVAL) if self._offered else None

    @property
    def page_minutes(self) -> int:
        """The most minutes of one answer; 0: the exchange offers no candles."""
        return self._offered.page if self._offered and self._resolution else 0

    @property
    def is_offered(self) -> bool:
        """Whether the exchange offers candles of a minute at all."""
        return bool(self.page_minutes)

    def begin(self) -> None:
        """Ask again, although the exchange was away before."""
        if self.is_offered:
            self.trouble = ""

    async def verdicts(
        self, symbol: str, period: Span, recorded: Mapping[int, Minute]
    ) -> dict[int, CandleVerdict]:
        """Return the verdict of each minute of a period that the exchange has candles for.

        An exchange that does not answer gives no verdict, and `trouble` says why. It is not asked
        again before `begin`.

        Args:
            symbol: The market.
            period: Whole minutes, at most `page_minutes`.
            recorded: The recorded trades of its minutes.
        """
        offered, resolution = self._offered, self._resolution
        if self.trouble or offered is None or resolution is None:
            return {}
        if offered.kept:
            oldest_us = unix_us() - (offered.kept - MARGIN_MINUTES) * MINUTE_US
            period = Span(max(period.begin_us, -(-oldest_us // MINUTE_US) * MINUTE_US), period[1])
        if period.begin_us >= period.end_us:
            return {}
        try:
            market = (await self._known()).get(symbol)
            if market is None or self.trouble:
                return {}
            asked_at_us = unix_us()
            answer = await candle_window(
                self._requests, self._exchange, offered, market, resolution, Period(*period)
            )
        except ExchangeUnavailable as error:
            self.trouble = str(error)
            _log.warning("no candles to compare", exchange=self._exchange.name, detail=str(error))
            return {}
        if answer.invalid:
            _log.warning("invalid candles", exchange=self._exchange.name, symbol=symbol)
            return {}
        return compare(answer.candles, recorded, period, asked_at_us)

    async def _known(self) -> dict[str, Market]:
        """Return the listed markets; `trouble` says if they are of another origin than the data.

        Raises:
            ExchangeUnavailable: The exchange does not answer.
        """
        if self._markets is None:
            if self._is_other(says_simulated=False):
                return {}
            listed = storable(await listed_markets(self._exchange, self._requests))
            if self._is_other(says_simulated=self._rest.says_simulated):
                return {}
            self._markets = {market.symbol: market for market in listed.markets}
        return self._markets

    def _is_other(self, *, says_simulated: bool) -> bool:
        origin = exchange_origin(self._settings, self._exchange, says_simulated=says_simulated)
        if self._mark is None or self._mark.origin == origin:
            return False
        self.trouble = f"the data is {self._mark.origin}, and the exchange is {origin}"
        return True

    async def close(self) -> None:
        """Close the connection."""
        await self._rest.close()
