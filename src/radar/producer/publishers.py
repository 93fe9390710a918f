"""The publishers of one producer: of its records, of book updates and of its reports."""

import asyncio
import math
import time
from collections.abc import Callable

from radar.datasets import BOOK_UPDATES, DEPTH, FRAMES, GAPS, WATCHES, Dataset
from radar.kafka import Publisher
from radar.producer.publish import BufferedPublisher, OnGivenUp
from radar.producer.reports import Reports
from radar.settings import Settings


class Publishers:
    """The publishers of one producer, one for each topic.

    Attributes:
        datasets: The datasets that they publish.
        records: Publishes the records.
        updates: Publishes book updates; None: they are not recorded.
        frames: Publishes frames; None: they are not recorded.
        gaps: Publishes reports of gaps.
        sessions: Publishes reports of sessions.
    """

    def __init__(
        self, settings: Settings, exchange: str, dataset: Dataset, on_given_up: OnGivenUp
    ) -> None:
        """Connect to Kafka in the background.

        Args:
            settings: The options.
            exchange: Name of the exchange.
            dataset: The recorded dataset.
            on_given_up: Called with key and value of a record that Kafka refused for good.
        """
        retry_s = settings.kafka_retry_refused_seconds
        self._main = Publisher(settings, dataset.topic, retry_refused_s=retry_s)
        self.records = BufferedPublisher(self._main, dataset.name, on_given_up)
        self._others: list[Publisher] = []
        self._buffers = [self.records]
        self.datasets = [dataset]

        def add(another: Dataset, retry_refused_s: float) -> BufferedPublisher:
            publisher = Publisher(settings, another.topic, retry_refused_s=retry_refused_s)
            buffer = BufferedPublisher(publisher, another.name)
            self._others.append(publisher)
            self._buffers.append(buffer)
            self.datasets.append(another)
            return buffer

        has_updates = dataset is DEPTH and settings.book_updates
        self.updates = add(BOOK_UPDATES, retry_s) if has_updates else None
        has_frames = settings.record_frames in ("all", dataset.name)
        self.frames = add(FRAMES, retry_s) if has_frames else None
        # A producer's reports have no other copy: their publishers retry for ever.
        self.gaps = Reports(add(GAPS, math.inf), exchange, GAPS)
        self.sessions = Reports(add(WATCHES, math.inf), exchange, WATCHES)

    def poll(self) -> None:
        """Take acknowledgements of records, updates and frames; call it many times a second."""
        self.records.poll()
        for others in (self.updates, self.frames):
            if others is not None:
                others.poll()

    def poll_reports(self) -> None:
        """Publish reports while there is room.

        Raises:
            BrokerUnavailable: Kafka can no longer be used.
        """
        self.gaps.poll()
        self.sessions.poll()

    def update_metrics(self) -> None:
        """Copy the numbers into the metrics."""
        for buffer in self._buffers:
            buffer.update_metrics()

    async def flush_records(self, deadline: float) -> int:
        """Wait until Kafka has all records; return how many are left."""
        left = await _flush(self._main, deadline)
        self.records.hand_over_given_up()
        return left

    async def flush_others(self, deadline: float, before_each: Callable[[], None]) -> int:
        """Wait until Kafka has everything else; return how many messages are left.

        Args:
            deadline: When to give up, by `time.monotonic`.
            before_each: Called before each publisher is flushed.
        """
        left = 0
        for publisher in self._others:
            before_each()
            left += await _flush(publisher, deadline)
        return left + self.gaps.waiting + self.sessions.waiting

    @property
    def abandoned(self) -> int:
        """Records and book updates whose callers were cancelled while they waited for room."""
        return sum(buffer.abandoned for buffer in self._buffers)

    @property
    def acknowledged(self) -> int:
        """Records that Kafka has acknowledged."""
        return self._main.acknowledged

    @property
    def failed(self) -> int:
        """Messages that Kafka refused for good."""
        return sum(publisher.failed for publisher in (self._main, *self._others))

    @property
    def queued(self) -> int:
        """Messages that wait for Kafka."""
        return sum(publisher.queued for publisher in (self._main, *self._others))

    @property
    def stalled_s(self) -> float:
        """The longest time for which a publisher has had no acknowledgement."""
        return max(buffer.stalled_s for buffer in self._buffers)

    @property
    def troubles(self) -> list[str]:
        """Why Kafka refuses messages now, with the remedies."""
        return [trouble for buffer in self._buffers if (trouble := buffer.trouble)]


async def _flush(publisher: Publisher, deadline: float) -> int:
    """Wait until Kafka has all messages of a publisher; return how many are left."""
    remaining_s = max(0.0, deadline - time.monotonic())
    left = await asyncio.to_thread(publisher.flush, remaining_s)
    publisher.give_up()
    return left
