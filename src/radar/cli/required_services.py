"""Check at the start of a command whether the services that it needs answer."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from radar.errors import BrokerUnavailable, RadarError, StoreUnavailable

if TYPE_CHECKING:
    from radar.settings import Settings


def require(settings: "Settings", *, kafka: bool = False, clickhouse: bool = False) -> None:
    """Return once the services answer; blocks for two seconds at most.

    Raises:
        BrokerUnavailable: Kafka does not answer.
        StoreUnavailable: ClickHouse does not answer, and Kafka does or is not needed.
    """
    silent = silences(settings, kafka=kafka, clickhouse=clickhouse)
    if not silent:
        return
    words = "; ".join(map(str, silent))
    raise (BrokerUnavailable if isinstance(silent[0], BrokerUnavailable) else StoreUnavailable)(
        words
    )


def silences(
    settings: "Settings", *, kafka: bool = False, clickhouse: bool = False
) -> list[RadarError]:
    """Return an error for each service that does not answer; blocks for two seconds at most."""
    asked: list[Callable[[], None]] = []
    if kafka:
        from radar.kafka import check_answer as check_kafka

        asked.append(lambda: check_kafka(settings))
    if clickhouse:
        from radar.store.client import check_answer as check_store

        asked.append(lambda: check_store(settings))
    with ThreadPoolExecutor(len(asked)) as threads:
        return [error for error in threads.map(_error_of, asked) if error is not None]


def _error_of(check: Callable[[], None]) -> RadarError | None:
    try:
        check()
    except (BrokerUnavailable, StoreUnavailable) as error:
        return error
    return None
