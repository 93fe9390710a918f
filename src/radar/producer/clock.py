"""The time that records carry, and the moments at which it jumps.

Times of records are Unix time from this machine's clock. That clock can be set, and it goes on
while the machine sleeps. The monotonic clock does neither. So a change of their difference shows an
event between two readings: the clock was set, or the machine slept.

A clock that is set back would give later records earlier times. So records also carry by how much
the clock has been set back since their producer began. Both together never go back: they order the
records of a producer as they arrived, while the time of receipt stays what the clock showed.
"""

import time
from typing import TYPE_CHECKING, TypeVar

import msgspec

from radar.codec.message_format import MAX_TIME_MS
from radar.records import BookUpdate, DepthSnapshot, GapCause, Trade

if TYPE_CHECKING:
    from collections.abc import Callable

# Slewing a clock changes it by less between two readings, which are 20 ms apart.
STEP_NS = 2_000_000_000
# A process that stood still this long did not read: the exchange may have dropped its connections.
STALL_NS = 10_000_000_000

_Record = TypeVar("_Record", bound=Trade | DepthSnapshot | BookUpdate)


class RecordingClock:
    """Gives the time, and calls back before it gives the first one after a jump.

    Attributes:
        on_jump: Called with the cause, before any record carries the new time.
        set_back_us: By how much the clock has been set back since the first reading. A clock that
            is set forward again takes from it.
    """

    def __init__(self) -> None:
        self.on_jump: Callable[[GapCause], None] = _nothing
        self._monotonic_ns, self._sleep_ns = time.monotonic_ns(), _sleep_ns()
        now_ns = time.time_ns()
        self._offset_ns = now_ns - self._monotonic_ns
        self._now_us, self.set_back_us = now_ns // 1000, 0

    def now_us(self) -> int:
        """Return the time, Unix time in microseconds; does not block."""
        monotonic_ns = time.monotonic_ns()
        now_ns = time.time_ns()
        offset_ns = now_ns - monotonic_ns
        step_ns, passed_ns = offset_ns - self._offset_ns, monotonic_ns - self._monotonic_ns
        self._offset_ns, self._monotonic_ns = offset_ns, monotonic_ns
        now_us = now_ns // 1000
        if now_us < self._now_us:
            # Any step, however small: the sum of both rises, so that two readings never tie.
            self._set_back(self.set_back_us + self._now_us - now_us + 1, now_us)
        self._now_us = now_us
        if not -STEP_NS < step_ns < STEP_NS or passed_ns > STALL_NS:
            # The clock has gone on by more than this step, so the sum still rises.
            self._set_back(self.set_back_us - max(0, step_ns // 1000), now_us)
            self.on_jump(self._cause(step_ns, passed_ns))
        return now_us

    def _set_back(self, by_us: int, now_us: int) -> None:
        # A clock of another century gave no valid record that an order could need.
        self.set_back_us = max(0, by_us) if now_us + by_us < MAX_TIME_MS * 1000 else 0

    @property
    def monotonic_ns(self) -> int:
        """The monotonic clock at the newest reading."""
        return self._monotonic_ns

    @property
    def unix_ns(self) -> int:
        """The time of the newest reading, Unix time in nanoseconds."""
        return self._offset_ns + self._monotonic_ns

    def _cause(self, step_ns: int, passed_ns: int) -> GapCause:
        """Distinguish a sleep or a stall from a clock that was set."""
        before_ns, self._sleep_ns = self._sleep_ns, _sleep_ns()
        if passed_ns > STALL_NS:
            return GapCause.SUSPENDED
        slept_ns = self._sleep_ns - before_ns
        return GapCause.SUSPENDED if abs(step_ns - slept_ns) < STEP_NS else GapCause.CLOCK


def stamped(record: _Record, set_back_us: int) -> _Record:
    """Return the record with `RecordingClock.set_back_us` as it was at its receipt."""
    if not set_back_us:
        return record
    return msgspec.structs.replace(record, set_back_us=set_back_us)


def _sleep_ns() -> int:
    """Return how long this machine has slept since its start; 0 where that is unknown."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def _nothing(_cause: GapCause) -> None:
    pass
