"""Messages that cannot become rows, kept with the reason, the origin and the payload."""

from collections.abc import Sequence

from radar.consumer.batch import Entry
from radar.errors import BrokerUnavailable, BufferFull, InvalidMessage
from radar.kafka import Publisher
from radar.kinds import Kind
from radar.observe import metrics
from radar.settings import Settings

ACKNOWLEDGE_TIMEOUT_S = 10.0


class DeadLetters:
    """Writes to the dead-letter topic of one kind.

    The key names the origin (topic, partition, offset), so a message that is sent twice, because
    a worker died before it could commit, is recognised as one.
    """

    def __init__(self, settings: Settings, kind: Kind) -> None:
        self._kind = kind
        self._settings = settings
        self._publisher: Publisher | None = None

    def send(self, partition: int, letters: Sequence[tuple[Entry, InvalidMessage]]) -> None:
        """Send messages and wait until Kafka has them; blocks.

        Raises:
            BrokerUnavailable: Not all were acknowledged; send all again.
        """
        if not letters:
            return
        if self._publisher is None:
            self._publisher = Publisher(self._settings, self._kind.dead_letter_topic, linger_ms=0)
        publisher = self._publisher
        failed_before = publisher.failed
        for entry, reason in letters:
            try:
                publisher.publish(
                    f"{self._kind.topic}:{partition}:{entry.offset}".encode(),
                    entry.value or b"",
                    headers={
                        "reason": reason.reason,
                        "detail": str(reason)[:1000],
                        "topic": self._kind.topic,
                        "partition": str(partition),
                        "offset": str(entry.offset),
                        "key": entry.key or b"",
                    },
                )
            except BufferFull as error:
                raise BrokerUnavailable(f"dead letters: {error}") from error
        if publisher.flush(ACKNOWLEDGE_TIMEOUT_S) or publisher.failed > failed_before:
            raise BrokerUnavailable("Kafka did not acknowledge the dead letters")
        for _, reason in letters:
            metrics.DEAD_LETTERS.labels(self._kind.name, reason.reason).inc()
