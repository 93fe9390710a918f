"""The origin rule of a worker: it stores no simulated messages beside real ones."""

import structlog

from radar.errors import QueryFailed, StoreUnavailable
from radar.kafka import Cluster
from radar.kafka import origin as kafka_origin
from radar.origin import OriginMark, refuse_other
from radar.settings import Settings
from radar.store import origin as store_origin
from radar.store.client import Store
from radar.text import host_port

_log = structlog.get_logger()


class SameOrigin:
    """Compares the origin of the topics' messages with the origin of the database's rows."""

    def __init__(self, settings: Settings, cluster: Cluster, store: Store) -> None:
        self._settings = settings
        self._cluster = cluster
        self._store = store
        self._is_known = False

    def check(self, *, again: bool = False) -> None:
        """Return if the worker may store messages of the topics; blocks.

        The first writer sets the database's mark. An earlier version wrote topics without a mark;
        the next call looks at them again.

        Args:
            again: Compare even if an earlier call found that the origins agree.

        Raises:
            ConfigurationError: Kafka and ClickHouse hold data of different origins.
            BrokerUnavailable: Kafka does not answer.
            StoreUnavailable: ClickHouse does not answer, or refuses this query.
        """
        if self._is_known and not again:
            return
        topics = kafka_origin.read(self._cluster)
        if topics is None:
            self._is_known = False
            return
        try:
            before = store_origin.read(self._store)
        except QueryFailed as error:
            raise StoreUnavailable(f"table {store_origin.TABLE}: {error}") from error
        mark = before or store_origin.claim(self._store, topics.origin, topics.exchange)
        if before is None:
            _log.info("database marked", origin=str(mark.origin), exchange=mark.exchange)
        refuse(self._settings, topics, mark)
        self._is_known = True


def refuse(settings: Settings, topics: OriginMark, database: OriginMark) -> None:
    """Refuse to store messages into a database of the other origin.

    Raises:
        ConfigurationError: The marks differ.
    """
    address = host_port(settings.clickhouse_host, settings.clickhouse_port)
    refuse_other(
        database,
        topics.origin,
        f"database {settings.clickhouse_db} at {address}",
        f"the data of Kafka at {settings.kafka_broker}",
        "CLICKHOUSE_DB or KAFKA_BROKER",
    )
