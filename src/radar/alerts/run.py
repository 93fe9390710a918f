"""The loop that observes the pipeline and sends alerts, and the test of the services."""

import socket
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from radar.alerts import conditions
from radar.alerts.conditions import Judged
from radar.alerts.messages import Message, compose, trial_message
from radar.alerts.outbox import ATTEMPT_TIMEOUT_S, Outbox
from radar.alerts.services import Service
from radar.alerts.tracker import Throttle, Tracker
from radar.daemon_threads import begin
from radar.settings import Settings
from radar.status.collect import Observer
from radar.status.model import Overview
from radar.telemetry import metrics
from radar.telemetry.health import Health

PERIOD_S = 5.0
# An observation waits for slow processes and servers only for a moment.
OBSERVE_WITHIN_S = 60.0
LAST_MESSAGES_S = 5.0
UNDELIVERED = "alerts"

_log = structlog.get_logger()


class Watch:
    """Turns each observation into the message that is due. For one thread."""

    def __init__(self, settings: Settings, machine: str) -> None:
        """Start without any known condition.

        Args:
            settings: The options.
            machine: The name of this machine, for the messages.
        """
        self._machine = machine
        self._retries = conditions.Retries()
        self._tracker = Tracker(settings.alert_repeat_hours * 3600)
        self._throttle = Throttle()
        self._simulated = False

    def take(self, overview: Overview, now_s: float) -> Message | None:
        """Take an observation at a monotonic time; return the message that is due, if one is."""
        self._simulated = overview.simulated
        return self._next(conditions.judge(overview, self._retries), now_s, overview.at_s)

    def take_failure(self, reason: str, now_s: float) -> Message | None:
        """Take that there was no observation."""
        return self._next(conditions.nothing_known(reason), now_s, time.time())

    def _next(self, judged: Judged, now_s: float, at_s: float) -> Message | None:
        events = self._tracker.update(judged, now_s, at_s)
        for event in events:
            key = event.condition.key
            _log.info(
                "condition",
                change=event.change,
                kind=key.kind.name,
                subject=key.subject,
                text=event.condition.text,
            )
        metrics.ALERT_CONDITIONS.set(len(self._tracker.reported))
        self._throttle.add(events, now_s)
        digest = self._throttle.take(now_s)
        if digest is None:
            return None
        return compose(digest, self._machine, simulated=self._simulated)


def follow(
    settings: Settings,
    services: Sequence[Service],
    health: Health,
    stopping: threading.Event,
    *,
    observe: Callable[[], Overview] | None = None,
    period_s: float = PERIOD_S,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Observe and send alerts until a stop; blocks.

    Args:
        settings: The options, which lead to the pipeline.
        services: The services, each of which gets every message.
        health: The health of this process.
        stopping: Set to stop.
        observe: Returns the facts; the default observes the pipeline of the options.
        period_s: The time between two observations.
        clock: Returns monotonic seconds.
    """
    observe = observe or Observer(settings).observe
    watch = Watch(settings, socket.gethostname())
    outboxes = [Outbox(service) for service in services]
    health.clear("start")
    failed = False
    while not stopping.is_set():
        health.beat(OBSERVE_WITHIN_S)
        try:
            message = watch.take(observe(), clock())
            failed = False
        except Exception:  # noqa: BLE001 - see below
            # An alert about the observation itself is better than silence.
            if not failed:
                _log.exception("cannot observe")
            failed = True
            message = watch.take_failure("radar alerts cannot observe it", clock())
        if message is not None:
            for outbox in outboxes:
                outbox.put(message)
        troubles = [outbox.trouble for outbox in outboxes]
        if found := [each for each in troubles if each]:
            health.warn(UNDELIVERED, "; ".join(found))
        else:
            health.clear(UNDELIVERED)
        stopping.wait(period_s)
    for outbox in outboxes:
        outbox.close(LAST_MESSAGES_S / len(outboxes))


def try_services(services: Sequence[Service]) -> list[tuple[str, bool]]:
    """Send one test message to each service; return its name and whether it has taken it.

    Blocks for ATTEMPT_TIMEOUT_S at most.
    """
    message = trial_message(socket.gethostname())
    attempts = [begin(lambda each=each: each.deliver(message), each.name) for each in services]  # type: ignore[misc]
    ends_s = time.monotonic() + ATTEMPT_TIMEOUT_S
    found = []
    for service, attempt in zip(services, attempts, strict=True):
        try:
            taken = attempt.result(max(0.0, ends_s - time.monotonic()))
        except Exception:  # noqa: BLE001 - its words may hold the URL
            taken = False
        found.append((service.name, taken))
    return found
