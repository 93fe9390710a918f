"""Conditions over time: one event when each begins, rarely again while it lasts, one when it ends.

Pure. All spans are in seconds of a monotonic clock, so that a clock that is set hides no condition.
"""

from collections import deque
from dataclasses import dataclass
from typing import Literal, NamedTuple

from radar.alerts.conditions import Condition, Judged, Key

# A condition is over when it has been absent, on evidence, for this long: it may come right back.
CLEAR_S = 30.0
# Events wait this long for others: what breaks together becomes one message.
GATHER_S = 15.0
# More messages than this within an hour wait, and become one.
MAX_MESSAGES_PER_HOUR = 12
HOUR_S = 3600.0

Change = Literal["begins", "lasts", "over"]


class Event(NamedTuple):
    """A change of a condition that a person should know.

    Attributes:
        change: The change.
        condition: The condition with its newest text.
        since_s: When the condition began, Unix time.
        lasted_s: How long it has lasted.
    """

    change: Change
    condition: Condition
    since_s: float
    lasted_s: float


@dataclass
class _Lasting:
    """A condition that holds, or held a moment ago."""

    condition: Condition
    since_s: float  # Unix time
    began_s: float
    seen_s: float
    reported_s: float | None = None  # None: not reported yet


class Tracker:
    """Follows all conditions. It keeps no more of them than one overview can have."""

    def __init__(self, repeat_s: float) -> None:
        """Start without any condition.

        Args:
            repeat_s: Report a condition that lasts again after this time.
        """
        self._repeat_s = repeat_s
        self._lasting: dict[Key, _Lasting] = {}

    @property
    def reported(self) -> list[Key]:
        """The conditions that were reported and are not over."""
        return [key for key, each in self._lasting.items() if each.reported_s is not None]

    def update(self, judged: Judged, now_s: float, at_s: float) -> list[Event]:
        """Take the newest judgement; return the events that follow.

        Args:
            judged: The judgement.
            now_s: Monotonic time.
            at_s: Unix time, to show.
        """
        for condition in judged.conditions:
            each = self._lasting.get(condition.key)
            if each is None:
                self._lasting[condition.key] = _Lasting(condition, at_s, now_s, now_s)
            else:
                each.condition, each.seen_s = condition, now_s
        events: list[Event] = []
        for key, each in list(self._lasting.items()):
            if judged.is_unproven(key):
                # No evidence: it counts as neither lasting longer nor absent.
                each.seen_s = now_s
                if each.reported_s is None:
                    del self._lasting[key]
                continue
            if each.seen_s == now_s:
                events += self._present(each, now_s)
            elif each.reported_s is None:
                del self._lasting[key]  # it has not lasted long enough
            elif now_s - each.seen_s >= CLEAR_S:
                del self._lasting[key]
                events.append(
                    Event("over", each.condition, each.since_s, each.seen_s - each.began_s)
                )
        return events

    def _present(self, each: _Lasting, now_s: float) -> list[Event]:
        lasted_s = now_s - each.began_s
        if each.reported_s is None and lasted_s >= each.condition.key.kind.hold_s:
            change: Change = "begins"
        elif each.reported_s is not None and now_s - each.reported_s >= self._repeat_s:
            change = "lasts"
        else:
            return []
        each.reported_s = now_s
        return [Event(change, each.condition, each.since_s, lasted_s)]


class Digest(NamedTuple):
    """The content of one message.

    Attributes:
        events: The changes, the worst first.
        passed: Conditions that began and ended while messages waited.
    """

    events: list[Event]
    passed: int


class Throttle:
    """Makes one message of all events that wait, and not too many messages."""

    def __init__(self) -> None:
        """Start with nothing that waits."""
        self._waiting: dict[Key, Event] = {}
        self._waiting_since_s = 0.0
        self._passed = 0
        self._sent_s: deque[float] = deque(maxlen=MAX_MESSAGES_PER_HOUR)

    def add(self, events: list[Event], now_s: float) -> None:
        """Let events wait for the next message from a monotonic time on; one of each condition."""
        if events and not self._waiting:
            self._waiting_since_s = now_s
        for event in events:
            key = event.condition.key
            before = self._waiting.pop(key, None)
            if before is not None and before.change == "begins" and event.change == "over":
                self._passed += 1  # nobody has heard of it
            else:
                self._waiting[key] = event

    def take(self, now_s: float) -> Digest | None:
        """Return the content of a message that is due at a monotonic time; None: none is."""
        if not self._waiting or now_s - self._waiting_since_s < GATHER_S:
            return None
        if len(self._sent_s) == MAX_MESSAGES_PER_HOUR and now_s - self._sent_s[0] < HOUR_S:
            return None
        self._sent_s.append(now_s)
        digest = Digest(sorted(self._waiting.values(), key=_worst_first), self._passed)
        self._waiting, self._passed = {}, 0
        return digest


def _worst_first(event: Event) -> tuple[bool, bool]:
    return event.change == "over", not event.condition.key.kind.critical
