"""The options, the connections and the health that the modules of one worker share."""

from collections.abc import Callable
from dataclasses import dataclass

from radar.consumer.partition import CrashPoint
from radar.datasets import Dataset
from radar.kafka import GroupReader
from radar.settings import Settings
from radar.store.client import CONNECT_TIMEOUT_S, Store
from radar.telemetry.health import Health

# librdkafka gives up a request after this time, and a commit without a coordinator after the
# session timeout; a busy machine needs some time on top.
KAFKA_TIMEOUT_S = 60.0
SPARE_S = 10.0


@dataclass(frozen=True)
class Context:
    """The options, the connections and the health of one worker.

    Attributes:
        settings: The options.
        dataset: The dataset that the worker stores.
        store: The database.
        reader: The worker's membership in the group.
        health: The health of the process.
        reached: Called at each crash point; for tests.
    """

    settings: Settings
    dataset: Dataset
    store: Store
    reader: GroupReader
    health: Health
    reached: Callable[[CrashPoint], None]

    def expect_kafka(self) -> None:
        """Report to the health that the worker lives, before it waits for Kafka."""
        self.health.beat(self._kafka_within_s)

    def expect_store(self) -> None:
        """Report to the health that the worker lives, before it waits for ClickHouse."""
        self.health.beat(self._store_within_s)

    def expect_both(self) -> None:
        """Report to the health that the worker lives, before it waits for both."""
        self.health.beat(self._kafka_within_s + self._store_within_s)

    @property
    def _kafka_within_s(self) -> float:
        return max(KAFKA_TIMEOUT_S, self.reader.session_timeout_s) + SPARE_S

    @property
    def _store_within_s(self) -> float:
        # The client may send a request a second time, on a new connection; a read goes to the next
        # server of a cluster.
        servers = 1 + len(self.settings.clickhouse_replicas)
        return 2 * servers * (CONNECT_TIMEOUT_S + self.settings.insert_timeout_seconds) + SPARE_S
