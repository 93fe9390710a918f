"""Asks ClickHouse from the event loop: in threads, and the same question once."""

import asyncio
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from radar.errors import RadarError
from radar.observe import metrics
from radar.settings import Settings
from radar.store.client import Store

THREADS = 4
MAX_WAITING = 100
TIMEOUT_S = 10.0

_Answer = TypeVar("_Answer")


class Busy(RadarError):
    """More is asked than can be answered: ask later."""


class Threads:
    """A few threads for what blocks. The process ends without waiting for one that hangs."""

    def __init__(self, count: int, name: str) -> None:
        """Start them."""
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        for n in range(count):
            threading.Thread(target=self._work, name=f"{name} {n}", daemon=True).start()

    async def run(self, action: Callable[[], _Answer]) -> _Answer:
        """Return what an action returns or raise what it raises.

        Raises:
            Busy: Too many wait already.
        """
        if self._waiting.qsize() >= MAX_WAITING:
            raise Busy("too much is asked at once: try again")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Answer] = loop.create_future()

        def act() -> None:
            try:
                answer = action()
            except Exception as error:  # noqa: BLE001 - whoever asked gets it
                _tell(loop, future, future.set_exception, error)
            else:
                _tell(loop, future, future.set_result, answer)

        self._waiting.put(act)
        return await future

    def _work(self) -> None:
        while True:
            self._waiting.get()()


def _tell(
    loop: asyncio.AbstractEventLoop,
    future: "asyncio.Future[Any]",
    tell: Callable[[Any], None],
    what: object,
) -> None:
    def if_awaited() -> None:
        if not future.done():
            tell(what)

    # The loop may be closed: the process ends.
    if not loop.is_closed():
        loop.call_soon_threadsafe(if_awaited)


class Reader:
    """Asks one database; for use from one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; connects with the first question."""
        self._settings = settings
        self._threads = Threads(THREADS, "reader")
        self._local = threading.local()
        self._shared: dict[tuple[str, Hashable], tuple[float, asyncio.Task[Any]]] = {}

    async def ask(self, name: str, question: Callable[[Store], _Answer]) -> _Answer:
        """Ask in a thread.

        Args:
            name: One word of a few, for the metrics.
            question: Is given a connection of its own.

        Raises:
            StoreUnavailable: ClickHouse does not answer.
            QueryFailed: It refuses.
            Busy: Too many questions wait.
        """

        def answer() -> _Answer:
            with metrics.DASHBOARD_QUESTION_SECONDS.labels(name).time():
                return question(self._store())

        return await self._threads.run(answer)

    async def shared(
        self,
        name: str,
        question: Callable[[Store], _Answer],
        *,
        key: Hashable = (),
        fresh_s: float = 0.0,
    ) -> _Answer:
        """Ask once for all who ask the same meanwhile, or up to `fresh_s` later.

        Args:
            name: As in `ask`; with `key` it says what is the same.
            question: As in `ask`.
            key: The question's parameters.
            fresh_s: How old an answer may be, counted from when it was asked for.

        Raises:
            StoreUnavailable: As `ask`; so do QueryFailed and Busy.
        """
        now_s = time.monotonic()
        asked = self._shared.get((name, key))
        if asked is None or (asked[1].done() and now_s - asked[0] > fresh_s):
            task = asyncio.create_task(self.ask(name, question))
            asked = self._shared[name, key] = now_s, task
            task.add_done_callback(lambda _: self._answered((name, key), fresh_s))
        return await _unshared(asked[1])

    def _answered(self, key: tuple[str, Hashable], fresh_s: float) -> None:
        asked_s, task = self._shared[key]
        if task.cancelled() or task.exception() is not None:
            fresh_s = 0.0
        left_s = asked_s + fresh_s - time.monotonic()
        if left_s <= 0:
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


async def _unshared(task: "asyncio.Task[_Answer]") -> _Answer:
    """Wait for a task that others wait for, who are not to lose it when this one is cancelled."""
    waiting: Awaitable[_Answer] = asyncio.shield(task)
    return await waiting
