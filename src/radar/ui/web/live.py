"""The hub behind server-sent events: it polls each subject once for all viewers.

The hub polls a subject while a page shows it. It queues no events for a viewer. Of each subject it
keeps the state and the newest change, and a viewer takes the events that it lacks. A viewer that is
slower than the changes takes the whole state instead. So the memory does not depend on the speed of
viewers.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
import structlog

from radar.errors import RadarError
from radar.telemetry import metrics

ALIVE_S = 5.0
RETRY_MS = 2000
MAX_VIEWERS = 500
MAX_VIEWERS_OF_A_CLIENT = 50  # a browser opens at most six
REST = 3.0  # a subject rests for this many times the duration of its query

State = TypeVar("State")

_log = structlog.get_logger()


class TooManyViewers(RadarError):
    """More pages look at the dashboard than it serves: close some, or try again later."""


@dataclass(frozen=True)
class Subject(Generic[State]):
    """A set of facts that pages follow.

    Attributes:
        key: Identifies the subject.
        event: The name of its events.
        period_s: The time between two queries.
        ask: Returns its state, given the previous one; raises a RadarError if that fails.
        whole: Makes the content of an event with the whole state, for a new viewer.
        change: Makes the content of an event for a viewer of the previous state; None: no change.
        rest: The subject rests for this many times the duration of its query.
    """

    key: Hashable
    event: str
    period_s: float
    ask: Callable[[State | None], Awaitable[State]]
    whole: Callable[[State], object]
    change: Callable[[State, State], object | None]
    rest: float = REST


class Hub:
    """All subjects that pages follow now."""

    def __init__(self) -> None:
        """Prepare; for use from one event loop."""
        self._feeds: dict[Hashable, _Feed] = {}
        self._viewers: Counter[str] = Counter()  # by client; only the present ones
        self._closed = asyncio.Event()

    def admit(self, client: str) -> None:
        """Count a viewer of a client; each admitted viewer must leave.

        Args:
            client: The viewer's address.

        Raises:
            TooManyViewers: The client, or all clients together, have too many viewers.
        """
        if self._viewers[client] >= MAX_VIEWERS_OF_A_CLIENT:
            raise TooManyViewers(
                f"this address has {MAX_VIEWERS_OF_A_CLIENT} pages open: close some of them"
            )
        if self._viewers.total() >= MAX_VIEWERS:
            raise TooManyViewers(f"{MAX_VIEWERS} pages are open: try again later")
        self._viewers[client] += 1
        metrics.DASHBOARD_VIEWERS.set(self._viewers.total())

    def leave(self, client: str) -> None:
        """Remove a viewer."""
        self._viewers[client] -= 1
        if not self._viewers[client]:
            del self._viewers[client]
        metrics.DASHBOARD_VIEWERS.set(self._viewers.total())

    def close(self) -> None:
        """End all streams."""
        self._closed.set()
        for feed in self._feeds.values():
            feed.wake()

    async def stream(
        self, subjects: Sequence[Subject[Any]], names: Sequence[str] = (), first: bytes = b""
    ) -> AsyncGenerator[bytes, None]:
        """Yield the events for a viewer, as server-sent events, until the hub is closed.

        Args:
            subjects: What the viewer follows.
            names: Names of the subjects, which their events then have as their ID.
            first: Events before all others.
        """
        woken = asyncio.Event()
        feeds = [self._join(subject, woken) for subject in subjects]
        sent = [_Sent() for _ in feeds]
        ids = [b"id: %s\n" % name.encode() for name in names] or [b""] * len(feeds)
        to_all = b"id: *\n" if names else b""
        try:
            yield b"retry: %d\n\n" % RETRY_MS + first
            while not self._closed.is_set():
                woken.clear()
                for feed, known, name in zip(feeds, sent, ids, strict=True):
                    for event in feed.news(known):
                        yield name + event
                try:
                    async with asyncio.timeout(ALIVE_S):
                        await woken.wait()
                except TimeoutError:
                    yield to_all + encode("alive", {"at_s": time.time()})
        finally:
            for feed in feeds:
                self._leave(feed, woken)

    def _join(self, subject: Subject[Any], woken: asyncio.Event) -> "_Feed":
        feed = self._feeds.get(subject.key)
        if feed is None:
            feed = self._feeds[subject.key] = _Feed(subject)
        feed.viewers.add(woken)
        return feed

    def _leave(self, feed: "_Feed", woken: asyncio.Event) -> None:
        feed.viewers.discard(woken)
        if not feed.viewers:
            feed.stop()
            del self._feeds[feed.subject.key]


def encode(event: str, content: object) -> bytes:
    """Write one server-sent event."""
    return b"event: %s\ndata: %s\n\n" % (event.encode(), msgspec.json.encode(content))


@dataclass
class _Sent:
    """The version of a subject that a viewer has."""

    version: int = 0
    problem: int = 0


class _Feed:
    """A subject that at least one page follows."""

    def __init__(self, subject: Subject[Any]) -> None:
        self.subject = subject
        self.viewers: set[asyncio.Event] = set()
        self._version = 0  # of the state; 0: there is none yet
        self._state: Any = None
        self._whole = b""  # the state as an event, once a viewer needs it
        self._change = b""  # from the previous version; empty: there is no such event
        self._problem = ""  # why there is no newer state; empty: there is one
        self._problems = 0  # how many there were
        self._task = asyncio.create_task(self._poll())

    def stop(self) -> None:
        self._task.cancel()

    def wake(self) -> None:
        for viewer in self.viewers:
            viewer.set()

    def news(self, known: _Sent) -> list[bytes]:
        """Return the events that a viewer lacks, and record that it has them."""
        events = []
        if known.version != self._version:
            follows = known.version == self._version - 1 and self._change
            events.append(self._change if follows else self._as_whole())
            known.version = self._version
        if known.problem != self._problems:
            if self._problem:
                events.append(encode("problem", {"text": self._problem}))
            known.problem = self._problems
        return events

    def _as_whole(self) -> bytes:
        if not self._whole:
            self._whole = encode(self.subject.event, self.subject.whole(self._state))
        return self._whole

    async def _poll(self) -> None:
        while True:
            began_s = time.monotonic()
            try:
                state = await self.subject.ask(self._state)
            except RadarError as error:
                self._fail(str(error))
            except Exception:  # noqa: BLE001 - the next round may do better
                # A subject that stands still for ever would look like a quiet one.
                _log.exception("cannot tell", subject=self.subject.event)
                self._fail("the dashboard itself has failed: its log says why")
            else:
                self._take(state)
            took_s = time.monotonic() - began_s
            await asyncio.sleep(max(self.subject.period_s - took_s, took_s * self.subject.rest))

    def _fail(self, text: str) -> None:
        if text != self._problem:
            self._problem = text
            self._problems += 1
            self.wake()

    def _take(self, state: Any) -> None:
        change: object | None = None
        news = not self._version or bool(self._problem)  # then all viewers get the whole state
        if not news:
            change = self.subject.change(self._state, state)
            news = change is not None
        self._state, self._whole, self._problem = state, b"", ""
        if news:
            self._version += 1
            self._change = b"" if change is None else encode(self.subject.event, change)
            self.wake()


class EventStream:
    """An ASGI response that sends a stream until either side ends it."""

    def __init__(
        self,
        hub: Hub,
        subjects: Sequence[Subject[Any]],
        client: str,
        names: Sequence[str] = (),
        first: bytes = b"",
    ) -> None:
        """Prepare the stream of a viewer.

        Args:
            hub: The hub of the dashboard.
            subjects: The subjects of the viewer's page.
            client: The viewer's address.
            names: As in `Hub.stream`.
            first: As in `Hub.stream`.

        Raises:
            TooManyViewers: The hub admits no more of them.
        """
        hub.admit(client)
        self._hub = hub
        self._client = client
        self._events = hub.stream(subjects, names, first)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer the request."""
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),  # nginx passes it on at once
        ]
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            sides = {
                asyncio.create_task(self._send_events(send)),
                asyncio.create_task(_until_gone(receive)),
            }
            try:
                await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for side in sides:
                    side.cancel()
                await asyncio.gather(*sides, return_exceptions=True)
        finally:
            self._hub.leave(self._client)

    async def _send_events(self, send: Any) -> None:
        async with contextlib.aclosing(self._events) as events:
            async for event in events:
                # A client that reads nothing loses its connection: `Bounds.take_timeout_s`.
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _until_gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
