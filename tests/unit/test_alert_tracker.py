"""A condition is reported once, again only after hours, and once when it is over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radar.alerts import kinds
from radar.alerts.conditions import EVERY, Condition, Judged, Key
from radar.alerts.tracker import (
    CLEAR_S,
    GATHER_S,
    HOUR_S,
    MAX_MESSAGES_PER_HOUR,
    Event,
    Throttle,
    Tracker,
)

REPEAT_S = 4 * HOUR_S
STALL = Key(kinds.STALL, "wallex-trades")
UNIX_S = 1_800_000_000.0


class Followed:
    """A tracker that sees its conditions once each second."""

    def __init__(self) -> None:
        self.tracker = Tracker(REPEAT_S)
        self.now_s = 0.0

    def see(self, seconds: float, *keys: Key, unproven: Key | None = None) -> list[tuple[str, Key]]:
        """Show the same conditions for some seconds; return the events."""
        events: list[Event] = []
        until_s = self.now_s + seconds
        judged = Judged(
            [Condition(key, "text") for key in keys],
            frozenset([unproven] if unproven is not None else ()),
        )
        while self.now_s < until_s:
            events += self.tracker.update(judged, self.now_s, UNIX_S + self.now_s)
            self.now_s += 1.0
        return [(event.change, event.condition.key) for event in events]


def test_condition_is_reported_when_it_has_lasted_long_enough() -> None:
    followed = Followed()
    assert followed.see(kinds.STALL.hold_s, STALL) == []
    assert followed.see(1, STALL) == [("begins", STALL)]


def test_condition_that_ends_early_is_never_reported() -> None:
    followed = Followed()
    assert followed.see(kinds.STALL.hold_s - 1, STALL) == []
    assert followed.see(1) == []
    assert followed.see(kinds.STALL.hold_s, STALL) == []  # counted anew


def test_one_message_while_it_lasts_and_one_when_it_is_over() -> None:
    followed = Followed()
    assert followed.see(REPEAT_S, STALL) == [("begins", STALL)]
    assert followed.tracker.reported == [STALL]
    assert followed.see(CLEAR_S * 2) == [("over", STALL)]
    assert followed.tracker.reported == []


def test_condition_that_lasts_is_reported_again_after_the_repetition() -> None:
    followed = Followed()
    events = followed.see(2 * REPEAT_S + kinds.STALL.hold_s + 2, STALL)
    assert [change for change, _ in events] == ["begins", "lasts", "lasts"]


def test_short_absence_is_not_the_end() -> None:
    followed = Followed()
    followed.see(60, STALL)
    assert followed.see(CLEAR_S - 2) == []
    assert followed.see(60, STALL) == []


def test_condition_without_evidence_is_neither_over_nor_repeated() -> None:
    followed = Followed()
    followed.see(60, STALL)
    silent = Key(kinds.STALL, EVERY)
    assert followed.see(2 * REPEAT_S, unproven=silent) == []
    assert followed.tracker.reported == [STALL]
    assert followed.see(CLEAR_S * 2) == [("over", STALL)]


def test_condition_that_was_not_reported_is_forgotten_without_evidence() -> None:
    followed = Followed()
    followed.see(kinds.STALL.hold_s - 1, STALL)
    followed.see(1, unproven=STALL)
    assert followed.see(kinds.STALL.hold_s, STALL) == []


def test_event_states_since_when_and_how_long() -> None:
    tracker = Tracker(REPEAT_S)
    holds, ends = Judged([Condition(STALL, "newest text")], frozenset()), Judged([], frozenset())
    tracker.update(holds, 100.0, UNIX_S)
    (begins,) = tracker.update(holds, 150.0, UNIX_S + 50)
    assert (begins.since_s, begins.lasted_s) == (UNIX_S, 50.0)
    (over,) = tracker.update(ends, 150.0 + CLEAR_S, UNIX_S + 80)
    # It was seen last at 150.
    assert (over.since_s, over.lasted_s) == (UNIX_S, 50.0)


def test_clock_that_is_set_back_delays_no_alert() -> None:
    tracker = Tracker(REPEAT_S)
    holds = Judged([Condition(STALL, "text")], frozenset())
    tracker.update(holds, 100.0, UNIX_S)
    assert tracker.update(holds, 100.0 + kinds.STALL.hold_s, UNIX_S - 86400)


def event(change: str, key: Key = STALL) -> Event:
    return Event(change, Condition(key, "text"), UNIX_S, 60.0)  # type: ignore[arg-type]


def test_storm_is_one_message() -> None:
    throttle = Throttle()
    storm = [event("begins", Key(kinds.NOT_READY, f"worker-{n}")) for n in range(100)]
    throttle.add(storm[:50], 0.0)
    assert throttle.take(GATHER_S - 1) is None
    throttle.add(storm[50:], GATHER_S - 1)
    digest = throttle.take(GATHER_S)
    assert digest is not None
    assert len(digest.events) == 100
    assert throttle.take(10 * GATHER_S) is None


def test_worst_comes_first() -> None:
    throttle = Throttle()
    warning, critical = Key(kinds.GAP, "trades silent"), Key(kinds.KAFKA, "kafka")
    throttle.add([event("over"), event("begins", warning), event("begins", critical)], 0.0)
    digest = throttle.take(GATHER_S)
    assert digest is not None
    assert [each.condition.key for each in digest.events] == [critical, warning, STALL]


def test_condition_that_comes_and_passes_while_messages_wait_is_only_counted() -> None:
    throttle = Throttle()
    other = Key(kinds.KAFKA, "kafka")
    throttle.add([event("begins"), event("begins", other)], 0.0)
    throttle.add([event("over")], 1.0)
    digest = throttle.take(GATHER_S)
    assert digest is not None
    assert ([each.condition.key for each in digest.events], digest.passed) == ([other], 1)


@given(gaps_s=st.lists(st.floats(0.1, 120), min_size=200, max_size=400))
def test_messages_of_an_hour_are_bounded_and_no_last_state_is_lost(gaps_s: list[float]) -> None:
    throttle = Throttle()
    now_s, sent_s, known = 0.0, [], "over"
    changes = ["begins", "over"]
    last = ""
    for n, gap_s in enumerate(gaps_s):
        now_s += gap_s
        last = changes[n % 2]
        throttle.add([event(last)], now_s)
        if (digest := throttle.take(now_s)) is not None:
            sent_s.append(now_s)
            known = digest.events[-1].change
    for first, beyond in zip(sent_s, sent_s[MAX_MESSAGES_PER_HOUR:], strict=False):
        assert beyond - first >= HOUR_S
    digest = throttle.take(now_s + HOUR_S + GATHER_S)
    assert (digest.events[-1].change if digest else known) == last


@pytest.mark.parametrize("change", ["begins", "lasts", "over"])
def test_nothing_waits_before_the_first_event(change: str) -> None:
    throttle = Throttle()
    assert throttle.take(1e9) is None
    throttle.add([event(change)], 0.0)
    assert throttle.take(GATHER_S) is not None
