"""Backfill: fetch trades that no connection delivered, from the exchange's REST interface.

A new connection has missed the trades before its subscription. In the worst case it missed all
since the last message that a killed process got through to Kafka. REST returns the newest trades of
a market, so the backfill reads each market of every new connection. A trade that was published
already has the same ID: it is left out, or ClickHouse merges it.

One immediate read is not enough. A trade's ID counts equal trades within one second of the
exchange. The connection has seen only the end of the second in which it subscribed, so its count is
too low. A read after the end of that second counts right. Hence the backfill repeats a read that
came too early.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import structlog

from radar.clock import unix_us
from radar.codec import message_format
from radar.errors import BufferFull, ExchangeUnavailable, InvalidMessage
from radar.exchanges.base import BackfillPages, Exchange, Outcome, RecentTrades
from radar.producer.clock import RecordingClock, stamped
from radar.producer.gaps import SETTLE_US, Read
from radar.producer.pacing import Backoff, Pace
from radar.producer.publish import BufferedPublisher
from radar.producer.recorders import Recorder
from radar.producer.rest import Rest
from radar.producer.trade_sequence import Hole
from radar.records import Market
from radar.telemetry import metrics

SETTLE_S = SETTLE_US / 1e6
READERS = 4
# Of one hole. The busiest market has about 2,600 pages of 1,000 trades a day, of 100 it has 10,000.
MAX_PAGES = 10_000
# The first wait of a market after a failed read; it doubles up to the longest one.
FIRST_WAIT_S = 0.5
# Other tasks get their turn after this many trades of a long answer.
_TRADES_AT_ONCE = 500
_IDLE_S = 0.05

_log = structlog.get_logger()


# Called with the answer to a check: the market, when it was read (Unix time) and the trades.
OnCheck = Callable[[str, int, RecentTrades], None]


@dataclass(frozen=True)
class _Wanted:
    subscribed: float  # when the market's newest connection had subscribed, monotonic seconds
    not_before: float = 0.0


@dataclass
class _Filling:
    hole: Hole
    pages: BackfillPages | None = None  # None before the first request
    read: int = 0  # trades
    taken: int = 0  # pages


@dataclass
class _Refusals:
    backoff: Backoff
    not_before: float = 0.0  # monotonic seconds


class Backfill:
    """Reads the newest trades of requested markets, at a bounded rate."""

    def __init__(
        self,
        exchange: Exchange,
        rest: Rest,
        markets: Mapping[str, Market],
        recorder: Recorder,
        buffer: BufferedPublisher,
        *,
        pace: Pace,
        max_wait_s: float,
        on_read: Callable[[Read], None],
        on_check: OnCheck,
        clock: RecordingClock | None = None,
    ) -> None:
        self._on_read = on_read
        self._on_check = on_check
        self._clock = clock or RecordingClock()
        self._exchange = exchange
        self._rest = rest
        self._markets = markets
        self._recorder = recorder
        self._buffer = buffer
        self._pace = pace
        self._backoff = Backoff(max_wait_s)
        self._max_wait_s = max_wait_s
        self._wanted: dict[str, _Wanted] = {}
        self._holes: dict[Hole, _Filling] = {}  # in the order of their turns
        self._refusals: dict[str, _Refusals] = {}  # of pages of holes, in a row, by market
        self._checks: dict[str, None] = {}  # markets to compare, in order
        self._failures: dict[str, int] = {}  # failed reads in a row, by market
        self._failed_in_a_row = 0  # over all markets
        self.trouble = ""  # why the newest read failed; empty after one that works
        self._wake = asyncio.Event()
        self._reading = 0
        self._publishing: set[asyncio.Task[None]] = set()
        self._started = 0.0
        self._reads = self._backfilled = 0
        self._invalid_seen = False
        self._invalid = metrics.INVALID_FRAMES.labels(exchange.name, "trades")
        self._backfilled_trades = metrics.REPAIRED_TRADES.labels(exchange.name)

    def request(self, symbols: Iterable[str]) -> None:
        """Request the trades of markets whose connection has just subscribed; does not block."""
        now = time.monotonic()
        if not self._wanted and not self._reading:
            self._started = now
        for symbol in symbols:
            # A market that waits already keeps its place, so that no market starves.
            self._wanted[symbol] = _Wanted(subscribed=now)
        self._wake.set()

    def request_hole(self, hole: Hole) -> None:
        """Request the trades that the exchange's numbers prove to be missing; does not block."""
        if not hole.is_given_up:
            self._holes[hole] = _Filling(hole)
            self._wake.set()

    def drop_hole(self, hole: Hole) -> None:
        """Request the trades of a hole no more."""
        self._holes.pop(hole, None)

    def check(self, symbols: Iterable[str]) -> None:
        """Request the trades of markets only to compare them; after all backfills."""
        self._checks.update(dict.fromkeys(symbols))
        self._wake.set()

    def forget(self, symbols: Iterable[str]) -> None:
        """Drop markets that no longer exist."""
        for symbol in symbols:
            self._wanted.pop(symbol, None)
            self._checks.pop(symbol, None)
            self._failures.pop(symbol, None)
            self._refusals.pop(symbol, None)

    async def run(self) -> None:
        """Read one market after the other until cancelled; READERS of these run at once.

        Raises:
            BrokerUnavailable: Kafka can no longer be used.
        """
        is_turn_of_holes = True
        while True:
            if not self._wanted and not self._checks and not self._holes:
                self._wake.clear()
                await self._wake.wait()
            # In turns, so that holes without an end hold up nothing.
            others_wait = self._next() is not None or bool(self._checks)
            filling = self._next_hole() if is_turn_of_holes or not others_wait else None
            is_turn_of_holes = filling is None
            if filling is not None:
                await self._fill(filling)
                continue
            if self._next() is None and not self._checks:
                await asyncio.sleep(_IDLE_S)  # a turn now would delay the requests of others
                continue
            await self._pace.turn(self._exchange.recent_trades_cost_s)
            if (symbol := self._next()) is not None:
                await self._backfill(symbol)
            elif self._checks:
                await self._compare(next(iter(self._checks)))
            else:
                await asyncio.sleep(_IDLE_S)

    def _next_hole(self) -> _Filling | None:
        """Take the next hole whose market does not wait after a refusal."""
        now = time.monotonic()
        for hole, filling in self._holes.items():
            refusals = self._refusals.get(hole.symbol)
            if refusals is None or refusals.not_before <= now:
                del self._holes[hole]
                return filling
        return None

    async def _fill(self, filling: _Filling) -> None:
        """Read the next page of a hole, which then waits behind the other holes.

        It ends when it is filled, when the exchange has no more of it, or after MAX_PAGES. An
        exchange may refuse the pages of one market for ever, or send pages without an end, and
        must not hold up the others.
        """
        hole = filling.hole
        market = self._markets.get(hole.symbol)
        if market is None or hole.is_filled or hole.is_given_up:
            return
        pages = filling.pages or self._exchange.backfill(
            market, hole.first_id, hole.last_id, hole.began_at_us
        )
        if pages is None:
            self.request([hole.symbol])
            return
        await self._pace.turn(pages.cost_s)
        try:
            body = await self._rest.get(pages.path)
            now_us = self._clock.now_us()
            recent = await asyncio.to_thread(_page, pages, body, now_us, self._clock.set_back_us)
        except ExchangeUnavailable as error:
            if filling.pages is None:
                # The newest trades may hold it as well, and come another way.
                self.request([hole.symbol])
            filling.pages = pages
            self._wait_after(error, hole.symbol)
            self._holes[hole] = filling
            return
        self.trouble = ""
        self._refusals.pop(hole.symbol, None)
        filling.pages = pages
        filling.read += len(recent.trades)
        filling.taken += 1
        await self.publish(recent)
        outcome = pages.outcome
        if outcome is Outcome.RUNNING and filling.taken < MAX_PAGES:
            self._holes[hole] = filling
            return
        _log.info(
            "backfilled",
            symbol=hole.symbol,
            first_id=hole.first_id,
            last_id=hole.last_id,
            read=filling.read,
            missing=hole.missing,
            outcome=(Outcome.PARTIAL if outcome is Outcome.RUNNING else outcome).value,
        )

    def _wait_after(self, error: ExchangeUnavailable, symbol: str) -> None:
        """Let all holes of a market wait after a refusal."""
        self.trouble = str(error)
        refusals = self._refusals.setdefault(symbol, _Refusals(Backoff(self._max_wait_s)))
        delay_s = refusals.backoff.next()
        refusals.not_before = time.monotonic() + delay_s
        _log.warning("cannot backfill", detail=self.trouble, retry_s=round(delay_s, 2))

    async def publish(self, recent: RecentTrades) -> None:
        """Publish the trades of an answer that no connection has brought yet.

        A trade that is taken here is no longer taken from a connection. The caller may be cancelled
        while it waits for Kafka; this trade must still be published. See `finish`.
        """
        publishing = asyncio.create_task(self._publish(recent))
        self._publishing.add(publishing)
        publishing.add_done_callback(self._publishing.discard)
        await asyncio.shield(publishing)

    async def finish(self, timeout_s: float) -> None:
        """Publish the trades that cancelled readers had read, or give them up after the timeout.

        Raises:
            BrokerUnavailable: Kafka can no longer be used.
        """
        if not self._publishing:
            return
        published, late = await asyncio.wait(self._publishing, timeout=timeout_s)
        for publishing in late:
            publishing.cancel()
        if late:
            _log.error(
                "gave up trades that were read: Kafka accepts no messages", markets=len(late)
            )
            await asyncio.wait(late)
        for publishing in published:
            publishing.result()

    def _next(self) -> str | None:
        now = time.monotonic()
        return next((name for name, each in self._wanted.items() if each.not_before <= now), None)

    async def _backfill(self, symbol: str) -> None:
        wanted = self._wanted.pop(symbol)
        self._reading += 1
        try:
            await self._read(symbol, wanted)
        finally:
            self._reading -= 1
        if not self._wanted and not self._reading:
            self._summarize()

    async def _read(self, symbol: str, wanted: _Wanted) -> None:
        started, started_us = time.monotonic(), unix_us()
        if (market := self._markets.get(symbol)) is None:
            return  # delisted since the request
        if (recent := await self._recent(market)) is None:
            # Unless a newer connection has made a request meanwhile.
            not_before = time.monotonic() + self._wait_s(symbol)
            self._wanted.setdefault(symbol, _Wanted(wanted.subscribed, not_before))
            return
        self._reads += 1
        await self.publish(recent)
        self._on_check(symbol, started_us, recent)
        self._on_read(Read(symbol, started_us, self._oldest_us(recent)))
        settled = wanted.subscribed + SETTLE_S
        if started < settled:
            self._wanted.setdefault(symbol, _Wanted(wanted.subscribed, settled))

    async def _compare(self, symbol: str) -> None:
        del self._checks[symbol]
        started_us = unix_us()
        if (market := self._markets.get(symbol)) is None:
            return
        if (recent := await self._recent(market)) is not None:
            self._on_check(symbol, started_us, recent)

    async def _recent(self, market: Market) -> RecentTrades | None:
        """Read the newest trades of a market; record a failure and return None."""
        try:
            body = await self._rest.get(self._exchange.recent_trades_path(market))
            now_us = self._clock.now_us()
            # Beside the event loop: a long answer takes a second.
            recent = await asyncio.to_thread(
                _parsed, self._exchange, body, market, now_us, self._clock.set_back_us
            )
        except ExchangeUnavailable as error:
            self.trouble = str(error)
            self._failures[market.symbol] = self._failures.get(market.symbol, 0) + 1
            self._failed_in_a_row += 1
            delay_s = 0.0
            if self._failed_in_a_row > READERS:
                # The exchange answers no market: this one is not the cause.
                delay_s = self._backoff.next()
            _log.warning(
                "cannot fetch missed trades", detail=self.trouble, retry_s=round(delay_s, 2)
            )
            await asyncio.sleep(delay_s)
            return None
        self._failures.pop(market.symbol, None)
        self._failed_in_a_row = 0
        self.trouble = ""
        self._backoff.reset()
        if recent.invalid:
            if not self._invalid_seen:
                self._invalid_seen = True
                _log.warning("invalid trades, the first from REST", symbol=market.symbol)
            self._invalid.inc(recent.invalid)
        return recent

    def _wait_s(self, symbol: str) -> float:
        """Return how long a market waits after failed reads; other markets do not wait for it."""
        failures = min(self._failures.get(symbol, 1), 16)
        limit_s = min(self._max_wait_s, FIRST_WAIT_S * 2.0 ** (failures - 1))
        return random.uniform(limit_s / 2, limit_s)  # noqa: S311 - spreads load, keeps no secret

    async def _publish(self, recent: RecentTrades) -> None:
        take = self._recorder.taker(history=True)
        for number, trade in enumerate(recent.trades, 1):
            if number % _TRADES_AT_ONCE == 0:
                await asyncio.sleep(0)
            message = take(trade)
            if message is None:
                continue
            try:
                self._buffer.publish(*message)
            except BufferFull:
                await self._buffer.publish_when_room(*message)
            self._backfilled += 1
            self._backfilled_trades.inc()

    def _oldest_us(self, recent: RecentTrades) -> int:
        """Return the time since which an answer is complete; 0: since the first trade."""
        if len(recent.trades) + recent.invalid < self._exchange.recent_trades_full:
            return 0
        return recent.trades[0].event_time_ms * 1000 if recent.trades else unix_us()

    def _summarize(self) -> None:
        _log.info(
            "backfilled",
            reads=self._reads,
            trades=self._backfilled,
            seconds=round(time.monotonic() - self._started, 1),
        )
        self._reads = self._backfilled = 0


def _page(pages: BackfillPages, body: bytes, received_at_us: int, set_back_us: int) -> RecentTrades:
    return _without_refused(pages.take(body, received_at_us), set_back_us)


def _parsed(
    exchange: Exchange, body: bytes, market: Market, received_at_us: int, set_back_us: int
) -> RecentTrades:
    recent = exchange.parse_recent_trades(body, market, received_at_us)
    return _without_refused(recent, set_back_us)


def _without_refused(recent: RecentTrades, set_back_us: int = 0) -> RecentTrades:
    """Count the trades that workers would refuse as invalid; stamp the others."""
    trades = []
    for trade in recent.trades:
        try:
            message_format.check_trade(trade)
        except InvalidMessage:
            continue
        trades.append(stamped(trade, set_back_us))
    return RecentTrades(trades, recent.invalid + len(recent.trades) - len(trades))
