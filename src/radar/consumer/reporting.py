"""The log, the metrics and the health of a worker."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
import structlog

from radar.consumer.batch import InsertBlock
from radar.consumer.chunk import ColumnBlock
from radar.consumer.delivery_gaps import CAUSES
from radar.consumer.partition import AssignedPartition, condition
from radar.datasets import Dataset
from radar.errors import StoreUnavailable
from radar.kafka import TopicDescription
from radar.telemetry import metrics
from radar.telemetry.health import Health
from radar.text import printable

ALARM_INTERVAL_S = 60.0

_log = structlog.get_logger()


class WorkerReporter:
    """Reports the state of one worker's partitions."""

    def __init__(
        self, dataset: Dataset, health: Health, partitions: Mapping[int, AssignedPartition]
    ) -> None:
        """Start without partitions.

        Args:
            dataset: The dataset that the worker stores.
            health: The health of the process.
            partitions: The assigned partitions; the worker changes this mapping.
        """
        self._dataset = dataset
        self._health = health
        self._partitions = partitions
        # Create the counters that alerts look at before they count.
        metrics.INSERT_RETRIES.labels(dataset.name)

    def membership(self, *, joined: bool) -> None:
        """Report whether the group has assigned partitions to the worker."""
        if joined:
            self._health.clear("group")
        else:
            self._health.set("group", f"{self._dataset.group}: waits for its partitions")

    def topic(self, found: TopicDescription) -> None:
        """Report the topic as Kafka describes it; for any thread."""
        name = self._dataset.name
        metrics.TOPIC_PARTITIONS.labels(name).set(found.partitions)
        metrics.TOPIC_OUT_OF_SYNC.labels(name).set(found.out_of_sync)
        metrics.TOPIC_LEADERLESS.labels(name).set(found.leaderless)

    def assigned(self, state: AssignedPartition) -> None:
        """Report a new partition."""
        _log.info(
            "assigned",
            dataset=self._dataset.name,
            partition=state.partition,
            offset=state.committed,
            plan=str(state.commit_metadata.plan)
            if state.commit_metadata and state.commit_metadata.plan
            else None,
        )

    def revoked(self, partitions: Sequence[int]) -> None:
        """Report partitions that went to other workers."""
        for partition in partitions:
            self._health.clear(condition(partition))
        _log.info("revoked", dataset=self._dataset.name, partitions=list(partitions))

    def rebalanced(self) -> None:
        """Count the partitions after a rebalance."""
        metrics.REBALANCES.labels(self._dataset.name).inc()
        metrics.ASSIGNED.labels(self._dataset.name).set(len(self._partitions))
        self._count_halted()
        self._count_floods()
        if not self._partitions:
            for cause in CAUSES:
                metrics.DELIVERY_GAP_OFFSETS.labels(self._dataset.name, cause).set(0)

    def stored(self, state: AssignedPartition, block: InsertBlock, bad: int) -> None:
        """Report a stored and committed block, with its number of bad messages."""
        self._flood(state)
        self._health.clear(state.condition)
        self._count_halted()
        dataset, good = self._dataset.name, block.size - bad
        metrics.BLOCKS.labels(dataset).inc()
        metrics.ROWS.labels(dataset).inc(good)
        metrics.BLOCK_ROWS.labels(dataset).observe(good)
        latency_s = 0.0
        if block.parts:
            latency_s = max(0.0, state.inserted_at_s - _oldest_us(block.parts) / 1e6)
            metrics.LATENCY_SECONDS.labels(dataset).observe(latency_s)
        _log.info(
            "block stored",
            dataset=dataset,
            partition=state.partition,
            lo=block.plan.lo,
            hi=block.plan.hi,
            rows=good,
            dead_letters=bad,
            latency_s=round(latency_s, 3),
            commit_s=round(time.time() - state.inserted_at_s, 4),
        )

    def waits(self, state: AssignedPartition, error: Exception) -> None:
        """Report a block that the worker will try again later."""
        if isinstance(error, StoreUnavailable):
            metrics.INSERT_RETRIES.labels(self._dataset.name).inc()
        self._health.set(
            state.condition,
            f"partition {state.partition}: attempt {state.attempts} to store a block failed:"
            f" {error}",
        )
        _log.warning(
            "block waits",
            dataset=self._dataset.name,
            partition=state.partition,
            step=state.step.name.lower(),
            attempts=state.attempts,
            error=str(error),
        )

    def halted(self, state: AssignedPartition, block: InsertBlock, error: Exception) -> None:
        """Raise the alarm about a partition with too many bad messages."""
        self._count_halted()
        self._health.set(state.condition, f"partition {state.partition} is halted: {error}")
        _log.error(
            "partition halted",
            dataset=self._dataset.name,
            partition=state.partition,
            offset=block.plan.lo,
            error=str(error),
            remedy="correct their publisher or the workers; or restart with MAX_BAD_SHARE=1 and"
            " MAX_CONSECUTIVE_BAD=0 to send them to the dead letters",
        )

    def _flood(self, state: AssignedPartition) -> None:
        """Raise the alarm about one market whose messages are bad; its partition goes on."""
        flood = state.breaker.flood
        now_s = time.monotonic()
        if flood is None:
            state.flood_alarm_at_s = None
        elif state.flood_alarm_at_s is None or now_s >= state.flood_alarm_at_s:
            state.flood_alarm_at_s = now_s + ALARM_INTERVAL_S
            _log.error(
                "one market sends too many bad messages",
                dataset=self._dataset.name,
                partition=state.partition,
                market=printable(flood.market.decode(errors="backslashreplace")),
                bad=flood.bad,
                messages=flood.messages,
                remedy="they go to the dead letters, and the other markets are stored:"
                " look at them with radar dlq list, and correct their publisher",
            )
        self._count_floods()

    def _count_floods(self) -> None:
        floods = sum(state.breaker.flood is not None for state in self._partitions.values())
        metrics.FLOODING.labels(self._dataset.name).set(floods)

    def _count_halted(self) -> None:
        halted = sum(state.halted for state in self._partitions.values())
        metrics.HALTED.labels(self._dataset.name).set(halted)


def _oldest_us(parts: Sequence[ColumnBlock]) -> int:
    """Return when the oldest of some records was received, Unix time in microseconds."""
    columns = (column for part in parts for column in part.columns)
    return min(int(np.min(c.data)) for c in columns if c.name == "received_at")  # type: ignore[arg-type]
