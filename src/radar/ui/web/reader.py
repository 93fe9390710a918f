"""Queries ClickHouse from the event loop: in threads, and equal queries once."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

import structlog

from radar.daemon_threads import settle
from radar.errors import QueryFailed, RadarError
from radar.settings import Settings
from radar.store.client import Store
from radar.telemetry import metrics

THREADS = 4
MAX_WAITING = 100
TIMEOUT_S = 10.0

_Answer = TypeVar("_Answer")

_log = structlog.get_logger()


class QueryRefused(RadarError):
    """ClickHouse refuses a query: the log has the reason; the page shows no SQL."""


class Busy(RadarError):
    """There are more queries than can be answered: try again later."""


class Threads:
    """A few threads for blocking actions. The process ends without waiting for one that hangs."""

    def __init__(self, count: int, name: str, at_end: Callable[[], None] | None = None) -> None:
        """Start them.

        Args:
            count: How many.
            name: Their name.
            at_end: Called in each after its last action.
        """
        self._count = count
        self._at_end = at_end
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        for n in range(count):
            threading.Thread(target=self._work, name=f"{name} {n}", daemon=True).start()

    async def run(self, action: Callable[[], _Answer]) -> _Answer:
        """Run an action in a thread; return its result or raise its error.

        Raises:
            Busy: Too many wait already.
        """
        if self._waiting.qsize() >= MAX_WAITING:
            raise Busy("too much is asked at once: try again")
        future: Future[_Answer] = Future()
        self._waiting.put(partial(settle, future, action))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Let the threads end after the waiting actions. Does not block."""
        for _ in range(self._count):
            self._waiting.put(None)

    def _work(self) -> None:
        while (act := self._waiting.get()) is not None:
            act()
        if self._at_end is not None:
            self._at_end()


class Reader:
    """Queries one database; for use from one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; connects with the first query."""
        self._settings = settings
        self._threads = Threads(THREADS, "reader", self._disconnect)
        self._local = threading.local()
        self._logged = ("", "")
        self._shared: dict[tuple[str, Hashable], tuple[float, asyncio.Task[Any]]] = {}

    async def ask(self, name: str, query: Callable[[Store], _Answer]) -> _Answer:
        """Run a query in a thread.

        Args:
            name: One word of a few, for the metrics.
            query: Gets a connection of its own.

        Raises:
            StoreUnavailable: ClickHouse does not answer.
            QueryRefused: ClickHouse refuses.
            Busy: Too many queries wait.
        """

        def answer() -> _Answer:
            with metrics.DASHBOARD_QUERY_SECONDS.labels(name).time():
                return query(self._store())

        try:
            return await self._threads.run(answer)
        except QueryFailed as error:
            if (name, str(error)) != self._logged:  # pages ask again every second
                self._logged = name, str(error)
                _log.warning("ClickHouse refuses a query", question=name, error=str(error))
            raise QueryRefused(
                f"ClickHouse refuses the query about {name}: the dashboard's log says why;"
                " `radar migrate` creates tables that are missing"
            ) from error

    async def shared(
        self,
        name: str,
        query: Callable[[Store], _Answer],
        *,
        key: Hashable = (),
        fresh_s: float = 0.0,
    ) -> _Answer:
        """Run a query once for all callers of the same query, meanwhile or up to `fresh_s` later.

        Args:
            name: As in `ask`; equal `name` and `key` mean the same query.
            query: As in `ask`.
            key: The query's parameters.
            fresh_s: How old an answer may be, counted from the begin of its query.

        Raises:
            StoreUnavailable: As `ask`, which also raises QueryRefused and Busy.
        """
        now_s = time.monotonic()
        asked_s, task = self._shared.get((name, key), (0.0, None))
        if task is None or (task.done() and now_s - asked_s > fresh_s):
            task = asyncio.create_task(self.ask(name, query))
            task.add_done_callback(lambda task: self._answered((name, key), task, now_s + fresh_s))
            self._shared[name, key] = now_s, task
        # Other callers may wait for it too: the cancellation of this one must not end it.
        answer: _Answer = await asyncio.shield(task)
        return answer

    def close(self) -> None:
        """Close the connections once they are not used. Does not block."""
        self._threads.close()

    def _answered(
        self, key: tuple[str, Hashable], task: "asyncio.Task[Any]", until_s: float
    ) -> None:
        left_s = until_s - time.monotonic()
        if task.cancelled() or task.exception() is not None or left_s <= 0:
            self._forget(key, task)
        else:
            asyncio.get_running_loop().call_later(left_s, self._forget, key, task)

    def _forget(self, key: tuple[str, Hashable], task: "asyncio.Task[Any]") -> None:
        if (asked := self._shared.get(key)) and asked[1] is task:
            del self._shared[key]

    def _store(self) -> Store:
        store: Store | None = getattr(self._local, "store", None)
        if store is None:
            store = self._local.store = Store(self._settings, timeout_s=TIMEOUT_S)
        return store

    def _disconnect(self) -> None:
        store: Store | None = getattr(self._local, "store", None)
        if store is not None:
            store.close()
