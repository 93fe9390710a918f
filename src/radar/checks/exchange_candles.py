"""The exchange's candles of one minute, asked for as evidence. They are compared and not stored."""

from collections.abc import Mapping

import structlog

from radar.checks.candle_comparison import Minute, compare
from radar.checks.exchange_requests import ExchangeRequests
from radar.checks.proof import MINUTE_US, CandleVerdict, Span
from radar.clock import unix_us
from radar.errors import ExchangeUnavailable
from radar.exchanges.base import Exchange, Resolution
from radar.producer.history import Period, candle_window

INTERVAL = "1m"
# The oldest kept candles may be deleted while they are asked for.
MARGIN_MINUTES = 5

_log = structlog.get_logger()


class ExchangeCandles:
    """Asks one exchange.

    Attributes:
        trouble: Why there are no candles; empty: there are.
    """

    def __init__(self, exchange: Exchange, requests: ExchangeRequests) -> None:
        """Prepare; no request is sent yet.

        Args:
            exchange: The driver.
            requests: Sends the requests.
        """
        self._exchange = exchange
        self._offered = exchange.candle_history
        self._requests = requests
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
            market = (await self._requests.markets()).get(symbol)
            self.trouble = self._requests.other_origin
            if market is None or self.trouble:
                return {}
            asked_at_us = unix_us()
            answer = await candle_window(
                self._requests.send, self._exchange, offered, market, resolution, Period(*period)
            )
        except ExchangeUnavailable as error:
            self.trouble = str(error)
            _log.warning("no candles to compare", exchange=self._exchange.name, detail=str(error))
            return {}
        if answer.invalid:
            _log.warning("invalid candles", exchange=self._exchange.name, symbol=symbol)
            return {}
        return compare(answer.candles, recorded, period, asked_at_us)
