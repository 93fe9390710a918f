"""Whether data is real or simulated, and the rule that the two never mix: pure.

Each store has one mark, which its first writer sets: a message of the topic `radar_origin` in Kafka
(`kafka/origin.py`), a row of the table `store_origin` in ClickHouse (`store/origin.py`).
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import urlsplit

from radar.clock import utc_text
from radar.errors import ConfigurationError

# The simulated exchange sends it with every answer over HTTP.
SIMULATED_HEADER = "X-Radar-Simulated"


class Origin(StrEnum):
    """Whether data is real or simulated."""

    REAL = "real"
    SIMULATED = "simulated"


class OriginMark(NamedTuple):
    """The mark of a store.

    Attributes:
        origin: Real or simulated.
        exchange: REST address of the exchange.
        since_s: When the mark was set, Unix time.
    """

    origin: Origin
    exchange: str
    since_s: float

    @property
    def text(self) -> str:
        """Write it as words: "simulated data (http://…, since 2026-07-01T00:00:00Z)"."""
        return f"{self.origin} data ({self.exchange}, since {utc_text(self.since_s)})"


def origin_of(
    declared: str, given: Iterable[str], own: Iterable[str], *, says_simulated: bool
) -> Origin:
    """Return the origin of an exchange's data.

    Args:
        declared: EXCHANGE_ORIGIN; empty: not declared.
        given: Addresses that the options set; empty ones count as not set.
        own: The exchange's own addresses.
        says_simulated: Whether the exchange itself says that it is simulated.

    Raises:
        ConfigurationError: The exchange contradicts the declared origin.
    """
    if says_simulated:
        if declared == Origin.REAL:
            raise ConfigurationError(
                "EXCHANGE_ORIGIN=real, but the exchange says that it is simulated: unset"
                " EXCHANGE_ORIGIN"
            )
        return Origin.SIMULATED
    if declared:
        return Origin(declared)
    hosts = {urlsplit(url).hostname for url in own}
    is_own = all(urlsplit(url).hostname in hosts for url in given if url)
    return Origin.REAL if is_own else Origin.SIMULATED


def refuse_other(
    mark: OriginMark | None, wanted: Origin, store: str, data: str, remedy: str
) -> None:
    """Refuse to write data into a store that holds data of the other origin.

    Args:
        mark: The store's mark; None if it has none.
        wanted: The origin of the data to write.
        store: Names the store.
        data: Names the data to write.
        remedy: The option that names another store.

    Raises:
        ConfigurationError: The store holds data of the other origin.
    """
    if mark is not None and mark.origin != wanted:
        raise ConfigurationError(
            f"{store} holds {mark.text}, and {data} is {wanted}: set another {remedy}; real and"
            " simulated data never share a store"
        )
