"""The way out of a producer: publish to Kafka, and wait when Kafka is behind."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from radar.errors import BufferFull
from radar.kafka import REFUSAL_REASONS, Publisher
from radar.telemetry import metrics

_RETRY_S = 0.01

# Called with key and value of a message that Kafka refused for good.
OnGivenUp = Callable[[bytes, bytes], None]


def _nothing(_key: bytes, _value: bytes) -> None:
    pass


class BufferedPublisher:
    """Publishes messages of one dataset and shows its progress in the metrics.

    Attributes:
        waiting: How many callers wait for room; none of them reads the exchange meanwhile.
        abandoned: Messages whose callers were cancelled while they waited.
        stalled_s: How long Kafka has acknowledged no message although messages wait; as of the
            newest `update_metrics`.
    """

    def __init__(
        self, publisher: Publisher, dataset: str, on_given_up: OnGivenUp = _nothing
    ) -> None:
        self.waiting = self.abandoned = 0
        self._on_given_up = on_given_up
        self._refused = Counter[str]()
        self._refusals = {
            reason: metrics.PUBLISH_REFUSED.labels(dataset, reason) for reason in REFUSAL_REASONS
        }
        self.stalled_s = 0.0
        self._progress_at = time.monotonic()
        self._room_at = 0
        self._publisher = publisher
        self._waiting_since = 0.0
        self._acknowledged = 0
        self._failed = 0
        self._published = metrics.PUBLISHED.labels(dataset)
        self._publish_failed = metrics.PUBLISH_FAILED.labels(dataset)
        self._queue = metrics.PUBLISH_QUEUE.labels(dataset)
        self._backpressure = metrics.BACKPRESSURE_SECONDS.labels(dataset)

    def publish(self, key: bytes, value: bytes) -> None:
        """Hand a message to the Kafka client; does not block.

        Raises:
            BufferFull: There is no room; use `publish_when_room`.
            BrokerUnavailable: Kafka does not take it, because the topic is gone for example.
        """
        self._publisher.publish(key, value)

    async def publish_when_room(self, key: bytes, value: bytes) -> None:
        """Hand a message to the Kafka client, once half of a full buffer has been sent.

        It waits for half, so that the caller can then publish for a while without another wait.

        Raises:
            BrokerUnavailable: Kafka does not take it, because the topic is gone for example.
        """
        if not self.waiting:
            self._waiting_since = time.monotonic()
            self._room_at = self._publisher.queued // 2
        self.waiting += 1
        try:
            while self._publisher.queued > self._room_at or not self._try_publish(key, value):
                # Room comes with acknowledgements.
                self._publisher.poll(0)
                await asyncio.sleep(_RETRY_S)
        except asyncio.CancelledError:
            self.abandoned += 1
            raise
        finally:
            self._count_waiting()
            self.waiting -= 1

    def poll(self) -> None:
        """Take acknowledgements; call it many times a second. It does not block."""
        self._publisher.poll(0)
        self.hand_over_given_up()

    def hand_over_given_up(self) -> None:
        """Pass the messages that Kafka refused for good to the callback."""
        for refused in self._publisher.given_up():
            self._on_given_up(refused.key, refused.value)

    @property
    def trouble(self) -> str:
        """Why Kafka refuses messages now, and the remedy; empty if it takes them."""
        return self._publisher.trouble

    @property
    def refused(self) -> int:
        """Refused messages that wait to be sent again."""
        return len(self._publisher.refusals)

    def update_metrics(self) -> None:
        """Copy the numbers into the metrics."""
        acknowledged, failed = self._publisher.acknowledged, self._publisher.failed
        now = time.monotonic()
        if acknowledged > self._acknowledged or not self._publisher.queued:
            self._progress_at = now
        self.stalled_s = now - self._progress_at
        self._published.inc(acknowledged - self._acknowledged)
        self._publish_failed.inc(failed - self._failed)
        self._acknowledged, self._failed = acknowledged, failed
        for reason, count in self._publisher.refusals.counts.items():
            self._refusals[reason].inc(count - self._refused[reason])
            self._refused[reason] = count
        self._queue.set(self._publisher.queued)
        if self.waiting:
            self._count_waiting()

    def _try_publish(self, key: bytes, value: bytes) -> bool:
        try:
            self._publisher.publish(key, value)
        except BufferFull:
            return False
        return True

    def _count_waiting(self) -> None:
        now = time.monotonic()
        self._backpressure.inc(now - self._waiting_since)
        self._waiting_since = now
