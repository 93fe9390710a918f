"""Delivers messages to one service, in a thread of its own: a slow service holds up nobody."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import structlog

from radar.alerts.messages import Message
from radar.alerts.services import Service
from radar.daemon_threads import begin
from radar.telemetry import metrics

if TYPE_CHECKING:
    from concurrent.futures import Future

MAX_WAITING = 20
ATTEMPT_TIMEOUT_S = 30.0
FIRST_RETRY_S, MOST_RETRY_S = 5.0, 120.0
# A message that no attempt could deliver for so long is old news.
GIVE_UP_S = 6 * 3600.0

_log = structlog.get_logger()


class _Waiting(NamedTuple):
    message: Message
    since_s: float  # monotonic


class Outbox:
    """The messages that wait for one service, at most MAX_WAITING. Any thread may use it."""

    def __init__(self, service: Service, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the thread.

        Args:
            service: The service.
            clock: Returns monotonic seconds.
        """
        self._service = service
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._attempt: Future[bool] | None = None  # one that has not come back
        self._failed_since_s: float | None = None
        threading.Thread(target=self._run, name=f"alerts {service.name}", daemon=True).start()

    @property
    def trouble(self) -> str | None:
        """Why messages do not arrive; None if the last one did."""
        since_s = self._failed_since_s
        if since_s is None:
            return None
        return f"{self._service.name} has taken no alert for {self._clock() - since_s:.0f} s"

    def put(self, message: Message) -> None:
        """Let a message wait for its delivery; does not block. The oldest makes room."""
        with self._changed:
            if len(self._waiting) == MAX_WAITING:
                self._waiting.popleft()
                self._count("dropped")
            self._waiting.append(_Waiting(message, self._clock()))
            self._changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """End the thread when all messages are delivered, or an attempt has failed.

        Blocks for `timeout_s` at most.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: not self._waiting or self._failed_since_s is not None, timeout_s
            )
            self._closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                oldest = self._waiting[0]
            if self._deliver(oldest.message):
                retry_s = FIRST_RETRY_S
                self._remove(oldest)
                continue
            if self._clock() - oldest.since_s > GIVE_UP_S:
                self._count("dropped")
                self._remove(oldest)
            with self._changed:
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._closed, retry_s)
            retry_s = min(2 * retry_s, MOST_RETRY_S)

    def _remove(self, each: _Waiting) -> None:
        with self._changed:
            if self._waiting and self._waiting[0] is each:
                self._waiting.popleft()
            self._changed.notify_all()

    def _deliver(self, message: Message) -> bool:
        """Make one attempt, which takes ATTEMPT_TIMEOUT_S at most."""
        if self._attempt is not None and not self._attempt.done():
            return self._took(False)  # the attempt before hangs; a second one would as well
        self._attempt = begin(lambda: self._service.deliver(message), "alert")
        try:
            return self._took(self._attempt.result(ATTEMPT_TIMEOUT_S))
        except Exception:  # noqa: BLE001 - a library of many services; its words may hold the URL
            return self._took(False)

    def _took(self, delivered: bool) -> bool:
        self._count("delivered" if delivered else "failed")
        if delivered and self._failed_since_s is not None:
            _log.info("alerts are delivered again", service=self._service.name)
            self._failed_since_s = None
        elif not delivered and self._failed_since_s is None:
            _log.warning("an alert is not delivered, and retried", service=self._service.name)
            self._failed_since_s = self._clock()
        return delivered

    def _count(self, result: str) -> None:
        metrics.ALERT_MESSAGES.labels(self._service.kind, result).inc()
