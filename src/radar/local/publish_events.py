"""Which fetches wait for messages of which partitions; for one event loop.

At the rate of a real exchange most messages are in other partitions than a worker's own. A worker
that each of them woke would fetch ten times as often.
"""

import asyncio

_ANY = b""  # stands for all partitions


class PublishEvents:
    """The events that a published message sets."""

    def __init__(self) -> None:
        self._events: dict[bytes, set[asyncio.Event]] = {}

    def expect(self, places: frozenset[bytes] | None) -> asyncio.Event:
        """Return an event that the next message in one of some partitions sets; None is any."""
        event = asyncio.Event()
        for place in places or (_ANY,):
            self._events.setdefault(place, set()).add(event)
        return event

    def forget(self, places: frozenset[bytes] | None, event: asyncio.Event) -> None:
        """Let go of an event that `expect` returned for these partitions."""
        for place in places or (_ANY,):
            self._events[place].discard(event)
            if not self._events[place]:
                del self._events[place]

    def published(self, places: frozenset[bytes] | None) -> None:
        """Set the events of some partitions; None is any."""
        for place in self._events if places is None else (*places, _ANY):
            for event in self._events.get(place, ()):
                event.set()
