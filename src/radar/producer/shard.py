"""Keeps the connections of a producer alive and takes their frames.

The markets are divided into shards. A shard has one connection, its `Session`. When the connection
is lost, the shard opens a new one after a wait. When the connection gets old, the shard opens its
successor first, and both run side by side for a while. Redundant connections are several shards
with the same markets; they are independent. After every opening the shard requests a backfill of
its markets. So the producer recovers missed trades whatever the reason for the end of a connection.
"""

import asyncio
from collections.abc import Collection, Iterable
from itertools import count

import structlog

from radar.errors import FeedLost
from radar.producer.feed import Feed
from radar.producer.pacing import Backoff, StallTimeout
from radar.producer.session import Session
from radar.telemetry import metrics

# After this many quick ends in a row the shard looks for the market that causes them.
QUICK_ENDS = 2
# A subset of the markets is harmless if its connection lasts this long.
TRIAL_S = 3.0
# After this many divisions without a working connection, no market is the cause.
HOPELESS_LEVELS = 3

_log = structlog.get_logger()


class Shard:
    """Some markets and the connection that delivers them."""

    def __init__(self, feed: Feed, symbols: Iterable[str]) -> None:
        self.symbols = list(symbols)
        self._feed = feed
        settings = feed.settings
        self._stall_timeout = StallTimeout(settings.silence_timeout_seconds, feed.max_age_s)
        self._backoff = Backoff(settings.reconnect_max_seconds)
        self._open: set[Session] = set()
        self._quick_ends = 0  # in a row
        self._trials: list[Session] = []  # connections of subsets of the markets

    @property
    def room(self) -> int:
        """How many more markets fit."""
        return self._feed.markets_per_connection - len(self.symbols)

    def extend(self, symbols: Iterable[str]) -> None:
        """Add markets; a new connection with all of them replaces the present one."""
        self.symbols.extend(symbols)
        for session in self._open:
            session.worn.set()

    def remove(self, symbols: Collection[str]) -> None:
        """Remove markets; a new connection without them replaces one that delivers them.

        A shard without markets keeps its connection until the caller closes the shard.
        """
        left = [symbol for symbol in self.symbols if symbol not in symbols]
        if len(left) < len(self.symbols):
            self.symbols = left
            for session in self._open if left else ():
                if not set(symbols).isdisjoint(session.covered):
                    session.worn.set()

    async def run(self) -> None:
        """Keep connected until cancelled.

        Raises:
            BrokerUnavailable: Kafka can no longer be used.
            ConfigurationError: An address is not usable.
        """
        session = await self._connect(0)
        while True:
            await session.until_worn_or_ended()
            if session.ended:
                session = await self._reconnect(session)
            else:
                session = await self._replace(session)

    async def close(self, reason: str, timeout_s: float | None = None) -> None:
        """Close all open connections; if time allows, publish all received frames first."""
        await asyncio.gather(*(session.close(reason, timeout_s) for session in self._open))

    async def _reconnect(self, lost: Session) -> Session:
        self._open.discard(lost)
        self._note_end(lost)
        if lost.healthy and not lost.ended_quickly:
            self._backoff.reset()
        await self._look_for_blame(lost)
        if not self.symbols:
            await asyncio.Event().wait()  # until the shard is closed
        return await self._connect(self._backoff.next())

    async def _look_for_blame(self, lost: Session) -> None:
        if self._quick_ends < QUICK_ENDS:
            return
        if len(self.symbols) > 1:
            await self._isolate()
        elif any(session.healthy for session in self._feed.sessions - self._open):
            (symbol,) = self.symbols
            self.remove([symbol])
            self._feed.on_refused(symbol, lost.detail)

    def _note_end(self, session: Session) -> None:
        self._quick_ends = self._quick_ends + 1 if session.ended_quickly else 0

    async def _isolate(self) -> None:
        """Find the markets for which the exchange ends the connection; connect with the others.

        The shard connects subsets of its markets side by side. It divides each subset whose
        connection ends at once, down to single markets. The working subsets are recorded meanwhile.
        If the exchange ends every connection, no market is the cause.
        """
        self._quick_ends = 0
        _log.warning(
            "the exchange ends connections at once, looking for the market",
            markets=len(self.symbols),
        )
        before, self._trials = self._trials, []
        taken = self._trials  # these go on until there is one connection for all
        blamed: dict[str, str] = {}
        parts = _halves(self.symbols)
        for level in count():
            if not parts or (level >= HOPELESS_LEVELS and not taken):
                break
            tried = await asyncio.gather(*(self._divide(part, taken, blamed) for part in parts))
            parts = [part for found in tried for part in found]
        if any(not session.ended for session in taken):
            self.remove(blamed)
            for symbol, detail in blamed.items():
                self._feed.on_refused(symbol, detail)
        await self._close(before)

    async def _divide(
        self, part: list[str], taken: list[Session], blamed: dict[str, str]
    ) -> list[list[str]]:
        """Connect a subset of the markets; return its halves if the exchange ends that."""
        session = await self._try(part)
        if session is not None and session.ended and len(part) == 1:
            session = await self._try(part)  # again: the first end may have been chance
        if session is None:
            return []  # not even connected: the exchange is away
        if not session.ended:
            taken.append(session)
        elif len(part) > 1:
            return _halves(part)
        else:
            blamed[part[0]] = session.detail
        return []

    async def try_alone(self) -> Session | None:
        """Connect; return the session, which may have ended, or None if it cannot connect."""
        return await self._try(list(self.symbols))

    async def _try(self, symbols: list[str]) -> Session | None:
        """Connect some markets; wait whether the connection lasts. None: cannot connect."""
        await self._feed.turn()
        try:
            session = await Session.open(self._feed, symbols, self._stall_timeout)
        except FeedLost as lost:
            self._feed.trouble = str(lost)
            return None
        self._open.add(session)
        await session.until_ended(TRIAL_S)
        if session.ended:
            self._open.discard(session)
        return session

    async def _end_trials(self) -> None:
        """Close the connections of subsets, once one connection has subscribed to all."""
        trials, self._trials = self._trials, []
        await self._close(trials)

    async def _close(self, trials: Iterable[Session]) -> None:
        for trial in trials:
            await trial.close("rotated")
            self._open.discard(trial)

    async def _replace(self, old: Session) -> Session:
        """Open a successor and let both run for a while; return the one that goes on."""
        new = await self._connect(0)
        await asyncio.wait(
            [old.reading, new.reading],
            timeout=self._feed.settings.connection_overlap_seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if new.ended and not old.ended:
            await new.until_ended()
            self._open.discard(new)
            self._note_end(new)
            if len(self.symbols) > 1:
                await self._look_for_blame(new)
            await asyncio.sleep(self._backoff.next())
            return old
        await old.close("rotated")
        self._open.discard(old)
        self._stall_timeout.reset()
        return new

    async def _connect(self, delay_s: float) -> Session:
        while True:
            await asyncio.sleep(delay_s)
            await self._feed.turn()
            try:
                symbols = list(self.symbols)
                session = await Session.open(self._feed, symbols, self._stall_timeout)
            except FeedLost as lost:
                delay_s = self._backoff.next()
                metrics.RECONNECTS.labels(
                    self._feed.exchange.name, self._feed.dataset.name, "refused"
                ).inc()
                self._feed.gaps.refuse(self.symbols)
                self._feed.trouble = str(lost)
                _log.warning("cannot connect", detail=str(lost), retry_s=round(delay_s, 2))
            else:
                self._open.add(session)
                if self._trials:
                    await session.until_ended(self._feed.settings.connection_overlap_seconds)
                    if not session.ended:
                        await self._end_trials()
                if symbols != self.symbols:
                    # Some markets were added or removed meanwhile.
                    session.worn.set()
                return session


def _halves(symbols: list[str]) -> list[list[str]]:
    half = len(symbols) // 2
    return [part for part in (symbols[:half], symbols[half:]) if part]


def divide(symbols: list[str], per_shard: int) -> list[list[str]]:
    """Divide markets into the fewest possible shards, of sizes that differ by at most one."""
    shards = -(-len(symbols) // per_shard)
    return [symbols[number::shards] for number in range(shards)]
