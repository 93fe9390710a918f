"""Conflation: publish the newest snapshot of each side of each book, at most once per interval.

Pure; the time is an argument, in seconds of any clock that does not go back.
"""

import heapq
from collections.abc import Iterable

from radar.records import BookSide, DepthSnapshot

# A busy event loop may release a snapshot late. The next one keeps to the schedule, so that delays
# do not add up, unless less than this part of the interval is left.
MIN_SPACING = 0.9

_Key = tuple[str, BookSide]


class Conflation:
    """Decides which snapshots are published, and when.

    The first snapshot of a side is due at once; each next one is due an interval later. A snapshot
    that comes before its time waits, and replaces one that waits already. One that comes later is
    due at once.
    """

    def __init__(self, interval_s: float) -> None:
        self.replaced = 0
        self._interval_s = interval_s
        self._due: dict[_Key, float] = {}
        self._waiting: dict[_Key, DepthSnapshot] = {}
        self._schedule: list[tuple[float, _Key]] = []  # a heap of the waiting snapshots

    def offer(self, snapshot: DepthSnapshot, now: float) -> DepthSnapshot | None:
        """Take a snapshot; return it if it is due at once."""
        key = (snapshot.symbol, snapshot.side)
        waiting = key in self._waiting
        self.replaced += waiting
        due = self._due.get(key, now)
        if now < due:
            self._waiting[key] = snapshot
            if not waiting:
                heapq.heappush(self._schedule, (due, key))
            return None
        self._waiting.pop(key, None)
        self._published(key, due, now)
        return snapshot

    def release(self, now: float) -> list[DepthSnapshot]:
        """Return the waiting snapshots that are due, to be published now."""
        released = []
        while self._schedule and self._schedule[0][0] <= now:
            due, key = heapq.heappop(self._schedule)
            # `offer` may have published it since, even if a newer one waits again.
            if due == self._due.get(key) and (snapshot := self._waiting.pop(key, None)) is not None:
                self._published(key, due, now)
                released.append(snapshot)
        return released

    def forget(self, symbols: Iterable[str]) -> list[DepthSnapshot]:
        """Forget books; return their waiting snapshots, to be published now."""
        keys = [(symbol, side) for symbol in symbols for side in BookSide]
        for key in keys:
            self._due.pop(key, None)
        return [self._waiting.pop(key) for key in keys if key in self._waiting]

    def next_due(self) -> float | None:
        """Return when `release` will have a snapshot; None if no snapshot waits."""
        return self._schedule[0][0] if self._schedule else None

    def drain(self) -> list[DepthSnapshot]:
        """Return all waiting snapshots, due or not, to be published before the end."""
        snapshots = list(self._waiting.values())
        self._waiting.clear()
        self._schedule.clear()
        return snapshots

    def _published(self, key: _Key, due: float, now: float) -> None:
        following = due + self._interval_s
        if following - now < MIN_SPACING * self._interval_s:
            following = now + self._interval_s
        self._due[key] = following
