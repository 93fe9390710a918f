"""Conflation: publish the newest snapshot of each side of each book, at most once per interval.

A snapshot that waits need not be parsed: most are replaced before they are due.

Pure; the time is an argument, in seconds of any clock that does not go back.
"""

import heapq
from collections.abc import Callable, Iterable

import msgspec

from radar.records import BookSide, DepthSnapshot

# A busy event loop may release a snapshot late. The next one keeps to the schedule, so that delays
# do not add up, unless less than this part of the interval is left.
MIN_SPACING = 0.9

_Key = tuple[str, BookSide]


class UnreadSnapshot:
    """A snapshot whose frame is parsed only if it is used.

    Attributes:
        symbol: Its market.
        side: Its side of the book.
        received_at_us: When it counts as received, Unix time.
    """

    __slots__ = ("_older", "_parse", "_snapshot", "received_at_us", "side", "symbol")

    def __init__(
        self,
        symbol: str,
        side: BookSide,
        received_at_us: int,
        parse: Callable[[], DepthSnapshot | None],
    ) -> None:
        """Keep a frame.

        Args:
            symbol: Its market.
            side: Its side of the book.
            received_at_us: When it counts as received, Unix time.
            parse: Returns the snapshot; None: the frame is invalid.
        """
        self.symbol, self.side, self.received_at_us = symbol, side, received_at_us
        self._parse: Callable[[], DepthSnapshot | None] | None = parse
        self._snapshot: DepthSnapshot | None = None
        self._older: UnreadSnapshot | DepthSnapshot | None = None

    def read(self) -> DepthSnapshot | None:
        """Return the snapshot; None: the frame is invalid."""
        if self._parse is not None:
            snapshot, self._parse = self._parse(), None
            if snapshot is not None and snapshot.received_at_us != self.received_at_us:
                snapshot = msgspec.structs.replace(snapshot, received_at_us=self.received_at_us)
            self._snapshot = snapshot
        return self._snapshot

    def replace(self, older: "UnreadSnapshot | DepthSnapshot | None") -> None:
        """Stand for an older snapshot, which is used if this one turns out to be invalid."""
        if isinstance(older, UnreadSnapshot):
            older.forget_older()
        self._older = older

    def forget_older(self) -> None:
        """Stand for no other snapshot."""
        self._older = None

    def read_newest(self) -> DepthSnapshot | None:
        """Return this snapshot, or the one that it replaced if this one is invalid."""
        if (snapshot := self.read()) is not None:
            return snapshot
        return read(self._older)


Snapshot = DepthSnapshot | UnreadSnapshot


def read(snapshot: Snapshot | None) -> DepthSnapshot | None:
    """Return the newest valid snapshot that stands behind one."""
    return snapshot.read_newest() if isinstance(snapshot, UnreadSnapshot) else snapshot


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
        self._waiting: dict[_Key, Snapshot] = {}
        self._schedule: list[tuple[float, _Key]] = []  # a heap of the waiting snapshots

    def waits(self, symbol: str, side: BookSide, now: float) -> bool:
        """Return whether a snapshot of a book's side would wait now."""
        due = self._due.get((symbol, side))
        return due is not None and now < due

    def wait(self, snapshot: Snapshot) -> None:
        """Take a snapshot that must wait; it replaces one that waits already."""
        key = (snapshot.symbol, snapshot.side)
        older = self._waiting.get(key)
        if older is None:
            heapq.heappush(self._schedule, (self._due[key], key))
        else:
            self.replaced += 1
        if isinstance(snapshot, UnreadSnapshot):
            snapshot.replace(older)
        self._waiting[key] = snapshot

    def offer(self, snapshot: DepthSnapshot, now: float) -> DepthSnapshot | None:
        """Take a snapshot; return it if it is due at once."""
        if self.waits(snapshot.symbol, snapshot.side, now):
            self.wait(snapshot)
            return None
        key = (snapshot.symbol, snapshot.side)
        self.replaced += self._waiting.pop(key, None) is not None
        self._published(key, self._due.get(key, now), now)
        return snapshot

    def release(self, now: float) -> list[DepthSnapshot]:
        """Return the waiting snapshots that are due, to be published now."""
        released = []
        while self._schedule and self._schedule[0][0] <= now:
            due, key = heapq.heappop(self._schedule)
            # `offer` may have published it since, even if a newer one waits again.
            if due != self._due.get(key):
                continue
            # After an invalid frame the next snapshot is due at once.
            if (snapshot := read(self._waiting.pop(key, None))) is not None:
                self._published(key, due, now)
                released.append(snapshot)
        return released

    def forget(self, symbols: Iterable[str]) -> list[DepthSnapshot]:
        """Forget books; return their waiting snapshots, to be published now."""
        keys = [(symbol, side) for symbol in symbols for side in BookSide]
        for key in keys:
            self._due.pop(key, None)
        return _all_read(self._waiting.pop(key) for key in keys if key in self._waiting)

    def next_due(self) -> float | None:
        """Return when `release` will have a snapshot; None if no snapshot waits."""
        return self._schedule[0][0] if self._schedule else None

    def drain(self) -> list[DepthSnapshot]:
        """Return all waiting snapshots, due or not, to be published before the end."""
        snapshots = _all_read(self._waiting.values())
        self._waiting.clear()
        self._schedule.clear()
        return snapshots

    def _published(self, key: _Key, due: float, now: float) -> None:
        following = due + self._interval_s
        if following - now < MIN_SPACING * self._interval_s:
            following = now + self._interval_s
        self._due[key] = following


def _all_read(snapshots: Iterable[Snapshot]) -> list[DepthSnapshot]:
    return [found for each in snapshots if (found := read(each)) is not None]
