"""The origin rule of a producer: it publishes no simulated data beside real data."""

import structlog

from radar.exchanges.base import Exchange
from radar.kafka import origin as kafka_origin
from radar.origin import Origin, origin_of, refuse_other
from radar.producer.rest import Rest
from radar.settings import Settings

_log = structlog.get_logger()


class ExchangeOrigin:
    """Compares the origin of the exchange with the origin of the topics' messages."""

    def __init__(self, settings: Settings, exchange: Exchange, rest: Rest) -> None:
        self._settings = settings
        self._exchange = exchange
        self._rest = rest
        self._allowed: Origin | None = None  # the topics take data of this origin

    def check(self) -> None:
        """Return if the exchange's data may be published; blocks. Call it after an answer of REST.

        The first producer sets the topics' mark.

        Raises:
            ConfigurationError: The topics hold data of the other origin, or the exchange
                contradicts EXCHANGE_ORIGIN.
            BrokerUnavailable: Kafka does not answer.
        """
        origin = exchange_origin(
            self._settings, self._exchange, says_simulated=self._rest.says_simulated
        )
        if origin is self._allowed:
            return
        address = self._settings.rest_url(self._exchange.name) or self._exchange.rest_url
        mark = kafka_origin.claim(self._settings, origin, address)
        refuse_other(
            mark,
            origin,
            f"Kafka at {self._settings.kafka_broker}",
            f"the exchange at {address}",
            "KAFKA_BROKER",
        )
        _log.info("topics hold data of this origin", origin=str(origin), exchange=mark.exchange)
        self._allowed = origin


def exchange_origin(
    settings: Settings, exchange: Exchange, *, says_simulated: bool = False
) -> Origin:
    """Return the origin of the exchange at the configured addresses.

    Args:
        settings: The options.
        exchange: The driver.
        says_simulated: Whether the exchange itself has said that it is simulated.

    Raises:
        ConfigurationError: The exchange contradicts EXCHANGE_ORIGIN.
    """
    return origin_of(
        settings.exchange_origin,
        (settings.rest_url(exchange.name), settings.ws_url(exchange.name)),
        (exchange.rest_url, exchange.ws_url),
        says_simulated=says_simulated,
    )
