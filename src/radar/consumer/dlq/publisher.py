"""Publish messages that cannot become rows, with the reason, the origin and the payload."""

from collections.abc import Sequence

from radar.consumer.chunk import BadMessage
from radar.datasets import Dataset
from radar.errors import BrokerUnavailable, BufferFull
from radar.kafka import MAX_MESSAGE_BYTES, Publisher
from radar.settings import Settings
from radar.telemetry import metrics

ACKNOWLEDGE_TIMEOUT_S = 10.0
# The headers add to a size that the topic accepted once already. And a message that was small when
# it was compressed may be of any size now. Kafka would refuse a larger dead letter for ever.
MAX_PAYLOAD_BYTES = MAX_MESSAGE_BYTES - 65_536
MAX_DETAIL_CHARACTERS = 1000
MAX_DETAIL_BYTES = 4000
MAX_KEY_BYTES = 4096


def origin(topic: str, partition: int, offset: int) -> str:
    """Return the name of a dead letter: topic, partition and offset of its message."""
    return f"{topic}:{partition}:{offset}"


class DeadLetterPublisher:
    """Writes to the dead-letter topic of one dataset.

    The key names the origin (topic, partition, offset). A worker that died before its commit sends
    a message twice; the key shows that both are one dead letter.

    The payload is unchanged, unless it is larger than MAX_PAYLOAD_BYTES. Then it is cut there, and
    the header `bytes` holds the full size.
    """

    def __init__(self, settings: Settings, dataset: Dataset) -> None:
        self._dataset = dataset
        self._settings = settings
        self._publisher: Publisher | None = None

    def send(self, partition: int, bad_messages: Sequence[BadMessage]) -> None:
        """Send messages and wait until Kafka has them; blocks.

        Raises:
            BrokerUnavailable: Not all were acknowledged; send all again.
        """
        if not bad_messages:
            return
        if self._publisher is None:
            self._publisher = Publisher(
                self._settings, self._dataset.dead_letter_topic, linger_ms=0
            )
        publisher = self._publisher
        failed_before = publisher.failed
        for bad in bad_messages:
            value = bad.value or b""
            try:
                publisher.publish(
                    origin(self._dataset.topic, partition, bad.offset).encode(),
                    value[:MAX_PAYLOAD_BYTES],
                    headers={
                        "reason": bad.reason.reason,
                        "detail": _detail(str(bad.reason)),
                        "topic": self._dataset.topic,
                        "partition": str(partition),
                        "offset": str(bad.offset),
                        "key": (bad.key or b"")[:MAX_KEY_BYTES],
                        "bytes": str(len(value)),
                    },
                )
            except BufferFull as error:
                raise BrokerUnavailable(f"dead letters: {error}") from error
        if publisher.flush(ACKNOWLEDGE_TIMEOUT_S) or publisher.failed > failed_before:
            raise BrokerUnavailable("Kafka did not acknowledge the dead letters")
        for bad in bad_messages:
            metrics.DEAD_LETTERS.labels(self._dataset.name, bad.reason.reason).inc()


def _detail(text: str) -> bytes:
    """Return a text for a header; replace lone surrogates, which UTF-8 cannot encode."""
    return text[:MAX_DETAIL_CHARACTERS].encode(errors="backslashreplace")[:MAX_DETAIL_BYTES]
