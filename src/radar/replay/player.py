"""Plays the events of a period to the clients of an exchange, at a pace that can be changed.

State machine: loading (after the start and each seek), waiting for subscriptions, playing or
paused, ended. Blocking reads happen in a thread of their own.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from enum import StrEnum
from itertools import islice
from typing import NamedTuple, TypeVar

import structlog

from radar.replay.pace import FASTEST, Pace
from radar.replay.records import Moment, Records
from radar_simulator.replay import ReplayedExchange

EVENTS_PER_READ = 2_000
EVENTS_PER_WRITE = 50
BACKLOG_BYTES = 256 * 1024
"""The replay waits while a client has more than this to read."""

POLL_S = 0.02

_Result = TypeVar("_Result")
_log = structlog.get_logger()


class Stage(StrEnum):
    """The states of a replay."""

    LOADING = "loading"
    WAITING = "waiting"  # for subscriptions
    PLAYING = "playing"
    PAUSED = "paused"
    ENDED = "ended"


class Position(NamedTuple):
    """How far a replay is.

    Attributes:
        stage: Its state.
        moment_us: The moment that is shown, Unix time in microseconds.
        speed: Recorded seconds a second; infinite: as fast as the clients read.
        events: Trades and books shown since the start.
        subscriptions: Subscriptions of the connected clients.
        is_held_up: It waits for a client that reads slowly.
        is_paused: A pause was asked for, also while it does something else.
    """

    stage: Stage
    moment_us: int
    speed: float
    events: int
    subscriptions: int
    is_held_up: bool
    is_paused: bool


class Player:
    """Plays a period once, and again from any moment.

    Attributes:
        ready: Set while the exchange has the state of a moment, so that clients may connect.
        ended: Set while the period is over.
    """

    def __init__(
        self,
        records: Records,
        reader: Executor,
        exchange: ReplayedExchange,
        speed: float,
        *,
        settle_s: float,
        paused: bool = False,
    ) -> None:
        """Prepare; `run` plays.

        Args:
            records: The period.
            reader: Runs the reads of the records, one at a time.
            exchange: Shows the events to its clients.
            speed: The speed at first, see `Pace`.
            settle_s: Begin when there has been no new subscription for so long; 0: at once.
            paused: Begin with a pause, which `resume` ends.
        """
        self._records = records
        self._reader = reader
        self._exchange = exchange
        self._settle_s = settle_s
        self._pace = Pace(records.period.begin_us, speed)
        self._is_paused = paused
        self._is_held_up = False
        self._target_us: int | None = records.period.begin_us
        self._stage = Stage.LOADING
        self._events = 0
        self._changed = asyncio.Event()
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()

    @property
    def position(self) -> Position:
        """How far it is."""
        now = asyncio.get_running_loop().time()
        end_us = self._records.period.end_us
        return Position(
            Stage.PAUSED if self._is_paused and self._stage is Stage.PLAYING else self._stage,
            end_us if self._stage is Stage.ENDED else min(end_us, int(self._pace.moment_us(now))),
            self._pace.speed,
            self._events,
            self._exchange.subscriptions(),
            self._is_held_up,
            self._is_paused,
        )

    def pause(self) -> None:
        """Stand still; connections stay open."""
        self._is_paused = True
        self._follow()

    def resume(self) -> None:
        """Go on after a pause."""
        self._is_paused = False
        self._follow()

    def set_speed(self, speed: float) -> None:
        """Go on at another speed."""
        self._pace.set_speed(speed, asyncio.get_running_loop().time())
        self._follow()

    def seek(self, moment_us: int) -> None:
        """Go to a moment of the period. All connections end: their clients begin again there."""
        period = self._records.period
        self._target_us = max(period.begin_us, min(moment_us, period.end_us - 1))
        self.ready.clear()
        self._exchange.end_connections()
        self._changed.set()

    async def run(self) -> None:
        """Play until cancelled; after the end it waits for a seek."""
        while True:
            if self._target_us is None:
                self._changed.clear()
                await self._changed.wait()
                continue
            at_us, self._target_us = self._target_us, None
            self._stage = Stage.LOADING
            self.ended.clear()
            events = await self._load(at_us)
            self._stage = Stage.WAITING
            await self._subscribed()
            if self._seeks():
                continue
            self._stage = Stage.PLAYING
            self._follow()
            await self._play(events)
            if not self._seeks():
                self._stage = Stage.ENDED
                self._pace.stop(asyncio.get_running_loop().time())
                self.ended.set()
                _log.info("replay ended", events=self._events)

    async def _load(self, at_us: int) -> Iterator[Moment]:
        now = asyncio.get_running_loop().time()
        self._pace.stop(now)
        self._pace.seek(at_us, now)
        state, events = await self._read(lambda: self._records.begin(at_us))
        self._exchange.load(state)
        self._exchange.now_us = at_us
        if not self._seeks():
            self.ready.set()
        return events

    async def _subscribed(self) -> None:
        """Wait until there are subscriptions and no new one has come for a while."""
        loop = asyncio.get_running_loop()
        count, since = 0, loop.time()
        while self._settle_s and not self._seeks():
            if (found := self._exchange.subscriptions()) != count:
                count, since = found, loop.time()
            if count and loop.time() - since >= self._settle_s:
                return
            await asyncio.sleep(POLL_S)

    async def _play(self, events: Iterator[Moment]) -> None:
        reading = asyncio.ensure_future(self._read(lambda: _next(events)))
        try:
            while not self._seeks() and (some := await reading):
                reading = asyncio.ensure_future(self._read(lambda: _next(events)))
                await self._show(some)
        finally:
            if not reading.done():
                await asyncio.wait({reading})

    async def _show(self, events: list[Moment]) -> None:
        """Play events, each when it is due; a seek leaves out the rest."""
        loop = asyncio.get_running_loop()
        place = 0
        while place < len(events) and not self._seeks():
            now = loop.time()
            wait_s = self._pace.wait_s(events[place][0], now)
            if wait_s > 0:
                await self._pass(wait_s)
                continue
            some = events[place : place + EVENTS_PER_WRITE]
            due = [event for event in some if self._is_due(event, now)]
            place += len(due)
            self._exchange.now_us = due[-1][0]
            self._exchange.play([event for _, event in due], now)
            self._pace.reached(due[-1][0], now)
            self._events += len(due)
            await self._let_read()

    def _seeks(self) -> bool:
        return self._target_us is not None

    def _is_due(self, event: Moment, now: float) -> bool:
        return self._pace.wait_s(event[0], now) <= 0

    async def _pass(self, wait_s: float) -> None:
        """Wait, or until a command changes the pace."""
        self._changed.clear()
        timeout_s = None if wait_s == FASTEST else wait_s
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _let_read(self) -> None:
        """Wait until every client has read enough, so that nothing has to be dropped."""
        await asyncio.sleep(0)
        exchange = self._exchange
        while not self._seeks() and (
            exchange.backlog_bytes() > BACKLOG_BYTES or exchange.waits_for_poll()
        ):
            self._is_held_up = True
            await asyncio.sleep(POLL_S / 10)
        self._is_held_up = False

    def _follow(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._stage is Stage.PLAYING and not self._is_paused:
            self._pace.run(now)
        else:
            self._pace.stop(now)
        self._changed.set()

    async def _read(self, action: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._reader, action)


def _next(events: Iterator[Moment]) -> list[Moment]:
    return list(islice(events, EVENTS_PER_READ))
