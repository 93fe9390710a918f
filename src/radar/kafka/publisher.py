"""Publishing to a topic."""

import functools
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from radar.errors import BrokerUnavailable, BufferFull
from radar.kafka.client import client_config, log
from radar.kafka.messages import MAX_MESSAGE_BYTES
from radar.kafka.refused_messages import REMEDIES, Refusals, RefusedMessage, reason_of
from radar.settings import Settings

REPLACE_INTERVAL_S = 1.0
FLUSH_TURN_S = 0.2

# The errors of messages that an unusable client returns.
_UNUSABLE = {
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    KafkaError.UNKNOWN_PRODUCER_ID,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError._FATAL,  # noqa: SLF001
    KafkaError._GAPLESS_GUARANTEE,  # noqa: SLF001
    KafkaError._PURGE_QUEUE,  # noqa: SLF001
    KafkaError._PURGE_INFLIGHT,  # noqa: SLF001
}


class _Outgoing(NamedTuple):
    """A message on its way to Kafka."""

    key: bytes
    value: bytes
    headers: dict[str, str | bytes] | None
    refused: RefusedMessage | None = None  # set if it is sent again after a refusal


class Publisher:
    """Publishes to one topic: idempotent, acknowledged by all replicas, bounded.

    librdkafka retries for ever. So an accepted message is acknowledged, still queued, or refused by
    the broker (too large, not allowed, a time that the broker does not take).

    - A refused message is sent again for `retry_refused_s`. Then it is given up: `given_up` yields
      it, so that the caller can record its loss.
    - A client becomes unusable when the broker lost or forgot messages that it had acknowledged.
      Then the publisher replaces the client and sends the undelivered messages again. Some may
      arrive twice; the IDs of radar's records absorb that.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        *,
        linger_ms: int | None = None,
        retry_refused_s: float = 0.0,
    ) -> None:
        self.topic = topic
        self.acknowledged = 0
        self.failed = 0  # messages that were given up
        self.refusals = Refusals(retry_refused_s, settings.kafka_buffer_bytes)
        self._unusable: str | None = None
        self._replaced_at_s = -math.inf
        self._returned: deque[_Outgoing] = deque()  # from an unusable client, in order
        self._config = client_config(settings) | {
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": settings.kafka_compression,
            "linger.ms": settings.kafka_linger_ms if linger_ms is None else linger_ms,
            "queue.buffering.max.kbytes": settings.kafka_buffer_bytes // 1024,
            "queue.buffering.max.messages": 1_000_000,
            "message.timeout.ms": 0,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "error_cb": self._on_error,
        }
        self._producer = Producer(self._config)

    @property
    def queued(self) -> int:
        """Accepted messages that are neither acknowledged nor refused yet."""
        return len(self._producer) + len(self._returned)

    @property
    def trouble(self) -> str:
        """Why the broker refuses messages now, and the remedy; empty if it takes them."""
        if not (reason := self.refusals.trouble(time.monotonic())):
            return ""
        total = sum(self.refusals.counts.values())
        return (
            f"Kafka refuses messages of {self.topic} ({reason}): {total:,} refusals,"
            f" {len(self.refusals):,} messages wait to be sent again, {self.failed:,} were given"
            f" up; {REMEDIES[reason]}"
        )

    def given_up(self) -> Iterator[RefusedMessage]:
        """Yield each message that the broker refused for good, once."""
        return self.refusals.given_up()

    def give_up(self) -> None:
        """Give up the refused messages that wait to be sent again."""
        self.failed += self.refusals.give_up_all()

    def publish(
        self,
        key: bytes,
        value: bytes,
        *,
        headers: dict[str, str | bytes] | None = None,
    ) -> None:
        """Accept one message; does not block.

        Args:
            key: Messages of one key stay in order.
            value: The message value.
            headers: Message headers.

        Raises:
            BufferFull: There is no room; call `poll` and try again.
            BrokerUnavailable: Kafka does not take it, because the topic is gone for example.
        """
        self._recover()
        if self._returned:
            raise BufferFull(f"{self.queued} messages wait for Kafka")
        self._send(_Outgoing(key, value, headers))

    def poll(self, timeout_s: float = 0) -> None:
        """Serve acknowledgements; blocks up to `timeout_s` for the first one."""
        self._serve(lambda: self._producer.poll(timeout_s))
        self._recover()
        self._retry_refused()

    def flush(self, timeout_s: float) -> int:
        """Wait until all messages are acknowledged; return how many are not."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            self._recover()
            left_s = max(0.0, deadline_s - time.monotonic())
            # In turns: the next client sends the messages that one returns meanwhile.
            turn_s = min(left_s, FLUSH_TURN_S)
            self._serve(functools.partial(self._producer.flush, turn_s))
            if self.queued == 0 or left_s == 0:
                return self.queued

    def _send(self, message: "_Outgoing") -> None:
        def delivered(error: KafkaError | None, _message: Any) -> None:
            if error is None:
                self.acknowledged += 1
            elif error.retriable() or self._unusable or error.code() in _UNUSABLE:
                self._returned.append(message)
            else:
                self._refused(message, error)

        try:
            self._producer.produce(
                self.topic,
                key=message.key,
                value=message.value,
                headers=message.headers,  # type: ignore[arg-type]
                on_delivery=delivered,
            )
        except BufferError as error:
            raise BufferFull(f"{self.queued} messages wait for Kafka") from error
        except KafkaException as error:
            reason = error.args[0]
            if reason.code() in _UNUSABLE:
                self._unusable = reason.str()
                raise BufferFull(f"the Kafka producer is replaced: {reason.str()}") from error
            if reason.code() != KafkaError.MSG_SIZE_TOO_LARGE:
                raise BrokerUnavailable(f"cannot publish: {reason.str()}") from error
            self._refused(message, reason)

    def _recover(self) -> None:
        """Replace an unusable client, and send the returned messages again."""
        if self._unusable is not None:
            self._producer.purge()
            self._serve(lambda: self._producer.poll(0))
            # Only once all messages have returned.
            if len(self._producer) or time.monotonic() < self._replaced_at_s + REPLACE_INTERVAL_S:
                return
            log.error("replacing the Kafka producer: %s", self._unusable)
            self._producer = Producer(self._config)
            self._unusable, self._replaced_at_s = None, time.monotonic()
        while self._returned:
            try:
                self._send(self._returned[0])
            except (BufferFull, BrokerUnavailable):
                return
            self._returned.popleft()

    def _serve(self, action: Callable[[], object]) -> None:
        """Let the library call back; any later call also raises the error that made it unusable."""
        try:
            action()
        except KafkaException as error:
            self._unusable = error.args[0].str()

    def _refused(self, message: _Outgoing, error: KafkaError) -> None:
        now_s, reason = time.monotonic(), reason_of(error)
        refused = message.refused or RefusedMessage(
            message.key, message.value, message.headers, reason, now_s
        )
        refused.reason = reason
        self.failed += self.refusals.add(refused, now_s)
        if count := self.refusals.to_log(reason, now_s):
            log.error(
                "delivery failed: Kafka refused %d messages of %s: %s, the newest with key %r; %s",
                count,
                self.topic,
                error.str(),
                message.key,
                REMEDIES[reason],
            )

    def _retry_refused(self) -> None:
        for refused in self.refusals.due(time.monotonic()):
            try:
                self._send(_Outgoing(refused.key, refused.value, refused.headers, refused))
            except (BufferFull, BrokerUnavailable):
                self.refusals.put_back(refused)
                return

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._unusable = error.str()
