"""Messages that the broker refuses: why, how long to retry, and which ones were given up. Pure.

librdkafka itself retries errors that pass. A refusal is the broker's answer about the message: its
size, its time, the right to write. An operator has to remove the cause. Meanwhile the publisher
sends the message again at intervals, because the broker may take it once the cause is gone.
"""

import math
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import KafkaError

# A message is sent again after these waits in turn, then each time after the last of them.
RETRY_AFTER_S = (1.0, 2.0, 5.0, 10.0)
# How many messages may wait to be sent again, in all.
MAX_MESSAGES = 100_000
LOG_EVERY_S = 60.0
# The refusals are over this long after the last one.
OVER_AFTER_S = 15.0

_REASONS = {
    KafkaError.MSG_SIZE_TOO_LARGE: "too_large",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "not_authorized",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "not_authorized",
    KafkaError.INVALID_TIMESTAMP: "invalid_timestamp",
    KafkaError.POLICY_VIOLATION: "policy",
    KafkaError.INVALID_RECORD: "invalid_record",
    KafkaError.INVALID_MSG: "corrupt",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "no_topic",
    KafkaError._UNKNOWN_TOPIC: "no_topic",  # noqa: SLF001
    KafkaError._UNKNOWN_PARTITION: "no_topic",  # noqa: SLF001
    KafkaError.TOPIC_EXCEPTION: "no_topic",
}
_TOO_LARGE_TOO = 18  # RECORD_LIST_TOO_LARGE, a code that the library does not name
REMEDIES = {
    "too_large": "raise the topic's max.message.bytes to 4 MiB (radar topics shows it)",
    "not_authorized": "allow this user to write to the topic (an ACL is missing)",
    "invalid_timestamp": "synchronise the clocks of this machine and of the broker, or raise the"
    " topic's message.timestamp.after.max.ms",
    # How Apache Kafka refuses a time that its clock finds too early or too late.
    "invalid_record": "synchronise the clocks of this machine and of the broker; if they agree,"
    " look at the topic's options and at the broker's log",
    "policy": "look at the broker's policies and interceptors, and at its log",
    "corrupt": "look at the broker's log; something between radar and the broker changes messages",
    "no_topic": "create the topic again (radar topics)",
    "other": "look at the broker's log",
}
REFUSAL_REASONS = tuple(REMEDIES)


def reason_of(error: KafkaError) -> str:
    """Return why a message was refused: one of the names in REMEDIES."""
    code = error.code()
    return "too_large" if code == _TOO_LARGE_TOO else _REASONS.get(code, "other")


@dataclass
class RefusedMessage:
    """A message that the broker refused."""

    key: bytes
    value: bytes
    headers: dict[str, str | bytes] | None
    reason: str
    first_at_s: float
    attempts: int = 1
    retry_at_s: float = 0.0


class Refusals:
    """The refused messages of one publisher. Times are monotonic seconds.

    Attributes:
        counts: How often the broker refused a message, by reason.
        bytes: Size of the messages that wait to be sent again.
    """

    def __init__(self, retry_for_s: float, max_bytes: int) -> None:
        """Start without a refusal.

        Args:
            retry_for_s: A message is given up this long after its first refusal.
            max_bytes: Above this size of waiting messages, the oldest are given up.
        """
        self.counts: Counter[str] = Counter()
        self.bytes = 0
        self._retry_for_s = retry_for_s
        self._max_bytes = max_bytes
        self._waiting: deque[RefusedMessage] = deque()
        self._given_up: deque[RefusedMessage] = deque()
        self._last_at_s = -math.inf
        self._last_reason = ""
        self._logged: dict[str, tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, refused: RefusedMessage, now_s: float) -> int:
        """Take a refused message; return how many messages are given up because of it."""
        self.counts[refused.reason] += 1
        self._last_at_s, self._last_reason = now_s, refused.reason
        if now_s >= refused.first_at_s + self._retry_for_s:
            self._given_up.append(refused)
            return 1
        pause_s = RETRY_AFTER_S[min(refused.attempts, len(RETRY_AFTER_S)) - 1]
        refused.retry_at_s = now_s + pause_s
        self._waiting.append(refused)
        self.bytes += len(refused.value)
        given_up = 0
        while self.bytes > self._max_bytes or len(self._waiting) > MAX_MESSAGES:
            self._give_up(self._waiting.popleft())
            given_up += 1
        return given_up

    def due(self, now_s: float) -> Iterator[RefusedMessage]:
        """Yield the messages to send again; one that the caller does not take stays."""
        for _ in range(len(self._waiting)):
            refused = self._waiting.popleft()
            if refused.retry_at_s > now_s:
                self._waiting.append(refused)
                continue
            self.bytes -= len(refused.value)
            refused.attempts += 1
            yield refused

    def put_back(self, refused: RefusedMessage) -> None:
        """Take back a message for which there is no room now."""
        refused.attempts -= 1
        self._waiting.append(refused)
        self.bytes += len(refused.value)

    def give_up_all(self) -> int:
        """Give up all waiting messages, because the publisher ends; return how many."""
        count = len(self._waiting)
        while self._waiting:
            self._give_up(self._waiting.popleft())
        return count

    def _give_up(self, refused: RefusedMessage) -> None:
        self.bytes -= len(refused.value)
        self._given_up.append(refused)

    def given_up(self) -> Iterator[RefusedMessage]:
        """Yield each message that was given up, once."""
        while self._given_up:
            yield self._given_up.popleft()

    def trouble(self, now_s: float) -> str:
        """Return why the broker refuses messages now; empty if it does not."""
        if not self._waiting and now_s > self._last_at_s + OVER_AFTER_S:
            return ""
        return self._last_reason

    def to_log(self, reason: str, now_s: float) -> int:
        """Return how many refusals to log now for a reason: one line in LOG_EVERY_S, else 0."""
        logged_at_s, logged = self._logged.get(reason, (-math.inf, 0))
        if now_s < logged_at_s + LOG_EVERY_S:
            return 0
        count = self.counts[reason] - logged
        self._logged[reason] = (now_s, self.counts[reason])
        return count
