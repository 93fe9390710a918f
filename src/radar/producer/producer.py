"""A producer from start to stop."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime
from typing import Any

import stamina
import structlog

from radar.clock import unix_us
from radar.codec import message_format
from radar.datasets import TRADES, Dataset
from radar.errors import BrokerUnavailable, BufferFull, InvalidMessage
from radar.exchanges import load
from radar.exchanges.base import RecentTrades
from radar.kafka import Cluster
from radar.producer import backfill
from radar.producer.backfill import Backfill
from radar.producer.clock import RecordingClock
from radar.producer.conditions import ClockConditions, Conditions
from radar.producer.feed import Feed
from radar.producer.freshness import BookFreshness, Retries, TradeFreshness
from radar.producer.gap_recorder import GapRecorder
from radar.producer.gaps import Read
from radar.producer.markets import Changes, Listing, chosen, read_markets
from radar.producer.markets_set_aside import Reason, SetAside
from radar.producer.origin import ExchangeOrigin
from radar.producer.pacing import Pace
from radar.producer.publishers import Publishers
from radar.producer.rate_limit import RateLimitGate
from radar.producer.recorders import DepthRecorder, KeyValue, Recorder, TradeRecorder
from radar.producer.redundancy import Redundancy
from radar.producer.rest import Rest
from radar.producer.session_recorder import SessionRecorder
from radar.producer.shard import Shard, divide
from radar.producer.trade_sequence import TradeSequences
from radar.producer.unpublished import Unpublished
from radar.records import Market
from radar.settings import Settings
from radar.telemetry.connections import Connections
from radar.telemetry.health import Health
from radar.text import some_of

POLL_S = 0.1
# A snapshot that waits is published so late at most, or this part of the interval.
LATE_S, LATE_PART = 0.02, 0.02
METRICS_S = 0.5
# How often to look for evidence: a part of the deadline, within a largest and a smallest interval.
LOOKS_PER_DEADLINE = 60
LONGEST_LOOK_S = 1.0
SHORTEST_LOOK_S = 0.02
# A list that lacks a market is requested again after this part of MARKETS_REFRESH_SECONDS.
ABSENT_REFRESH_PART = 0.1
# A refused market is tried again after this; the wait doubles up to MARKETS_REFRESH_SECONDS.
FIRST_RETRY_S = 30.0
# How long the delivery of all received records to Kafka may take, after a stop.
FINISH_TIMEOUT_S = 20.0
# The last part of it, in which the sockets are no longer read.
FLUSH_TIMEOUT_S = 5.0
# Published trades of each partition that a new process looks at for the newest numbers.
READ_BACK = 20_000


_log = structlog.get_logger()


async def run(
    settings: Settings,
    dataset: Dataset,
    stop: asyncio.Event,
    health: Health | None = None,
    connections: Connections | None = None,
) -> None:
    """Record one dataset of an exchange until the stop event.

    Args:
        settings: The options.
        dataset: The dataset to record.
        stop: Set it to stop. The producer publishes all received records before it returns, which
            takes up to FINISH_TIMEOUT_S.
        health: The health of the process.
        connections: The list of the exchange's connections, for the status.

    Raises:
        ConfigurationError: An option names something that does not exist, or the topics hold data
            of the other origin (real, simulated).
        BrokerUnavailable: Kafka can no longer be used, or has not acknowledged all messages.
    """
    health = health or Health()
    producer = Producer(settings, dataset, health, connections or Connections())
    working = asyncio.create_task(producer.work())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        health.set("stopping", "is stopping")
        await _cancel(working)
        await producer.finish()
    if not working.cancelled():
        working.result()


class Producer:
    """Records one dataset of an exchange: connects, publishes, backfills, reports about itself."""

    def __init__(
        self, settings: Settings, dataset: Dataset, health: Health, connections: Connections
    ) -> None:
        self._health = health
        self._connections = connections
        self._settings = settings
        self._dataset = dataset
        self._exchange = load(settings.own_exchange)
        self._gate = RateLimitGate(self._exchange.name)
        self._rest = Rest.of(self._exchange, settings, self._gate)
        requests_per_s = min(
            settings.repair_requests_per_second, self._exchange.limits.requests_per_s
        )
        self._request_pace = Pace(requests_per_s)
        self._origin = ExchangeOrigin(settings, self._exchange, self._rest)
        self._publishers = Publishers(settings, self._exchange.name, dataset, self._not_published)
        self._buffer = self._publishers.records
        self._unpublished = Unpublished()
        self._publishing = asyncio.Lock()
        self._recorder: Recorder = (
            TradeRecorder(
                self._exchange.name,
                proves_trades=self._exchange.proves_trades,
                redundancy=Redundancy(lambda symbol: self._gaps.connections(symbol))
                if settings.redundant_connections > 1
                else None,
            )
            if dataset is TRADES
            else DepthRecorder(self._exchange.name, settings.depth_interval_seconds)
        )
        self._markets: dict[str, Market] = {}
        self._clock = RecordingClock()
        self._backfill = Backfill(
            self._exchange,
            self._rest,
            self._markets,
            self._recorder,
            self._buffer,
            pace=self._request_pace,
            max_wait_s=settings.reconnect_max_seconds,
            on_read=self._take_read,
            on_check=self._take_check,
            clock=self._clock,
        )
        self._gaps = GapRecorder(
            self._exchange.name,
            dataset,
            self._publishers.gaps,
            self._backfill.request if dataset is TRADES else None,
        )
        interval_s = 0.0 if dataset is TRADES else settings.depth_interval_seconds
        self._session_recorder = SessionRecorder(
            self._exchange.name, dataset, self._publishers.sessions, interval_s
        )
        self._feed = Feed(
            settings=settings,
            exchange=self._exchange,
            dataset=dataset,
            markets=self._markets,
            recorder=self._recorder,
            buffer=self._buffer,
            updates=self._publishers.updates,
            frames=self._publishers.frames,
            on_subscribed=self._backfill.request if dataset is TRADES else _nothing,
            gaps=self._gaps,
            session_recorder=self._session_recorder,
            gate=self._gate,
            rest=self._rest,
            request_pace=self._request_pace,
            on_refused=self._refuse,
            clock=self._clock,
        )
        self._set_aside = SetAside(dataset)
        deadline_s = settings.freshness_seconds
        self._trades = (
            TradeFreshness(deadline_s, self._recorder)
            if isinstance(self._recorder, TradeRecorder)
            else None
        )
        self._books = BookFreshness(deadline_s)
        self._retries = Retries(deadline_s)
        self._unverified: list[str] = []
        self._is_listed = False
        self._conditions = Conditions(
            dataset,
            settings.freshness_seconds,
            health,
            markets=self._markets,
            set_aside=self._set_aside,
            gate=self._gate,
            feed=self._feed,
            backfill=self._backfill,
            publishers=self._publishers,
            clocks=ClockConditions(
                self._exchange.name, health, self._recorder, self._rest.clock_offset
            ),
        )
        # Every market that SYMBOLS names is wanted.
        self._listing = Listing(len(settings.symbols) or settings.max_markets)
        self._retiring: set[Shard] = set()
        self._muted: dict[str, int] = {}  # since when, Unix time
        self._shards: dict[Shard, asyncio.Task[None]] = {}  # and the tasks that keep them connected
        self._groups: list[list[Shard]] = []  # redundant ones, of the same markets
        self._tasks: list[asyncio.Task[None]] = []
        self._polling: asyncio.Task[None] | None = None
        self._releasing: asyncio.Task[None] | None = None
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work(self) -> None:
        """Start, and go on until cancelled or until a part fails.

        Raises:
            ConfigurationError: An option names something that does not exist.
            BrokerUnavailable: Kafka can no longer be used.
        """
        self._health.set("start", "Kafka has not confirmed the topics yet")
        await self._create_topics()
        self._health.set("start", "the exchange has not sent its market list yet")
        await self._go_on_from_published()
        self._polling = self._start(self._poll())
        self._releasing = self._start(self._release())
        self._add((await self._changes(self._listing.start)).new)
        self._is_listed = True
        self._expect_unknown()
        self._conditions.report(self._unverified, is_listed=self._is_listed)
        self._health.clear("start")
        _log.info("recording", markets=len(self._markets), connections=len(self._shards))
        if self._dataset is TRADES:
            for _ in range(backfill.READERS):
                self._start(self._backfill.run())
        self._start(self._follow_markets())
        self._start(self._retry_refused())
        self._start(self._look_for_evidence())
        await self._failure

    async def finish(self) -> None:
        """Stop receiving, publish all received records and wait until Kafka has them.

        Takes up to FINISH_TIMEOUT_S, all steps together.

        Raises:
            BrokerUnavailable: Kafka has not acknowledged all messages in time.
        """
        deadline = time.monotonic() + FINISH_TIMEOUT_S
        for task in list(self._tasks):
            if task is not self._polling and task is not self._releasing:
                await _cancel(task)
        self._gaps.stop()
        take_s = FINISH_TIMEOUT_S - FLUSH_TIMEOUT_S
        closing = (shard.close("stopped", take_s) for shard in self._shards)
        ends = await asyncio.gather(self._backfill.finish(take_s), *closing, return_exceptions=True)
        await self._rest.close()
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await self._publish(self._recorder.drain)
        except TimeoutError:
            _log.error("gave up waiting snapshots: Kafka accepts no messages")
        for part in (self._releasing, self._polling):
            if part is not None:
                await _cancel(part)
        left, failed = await self._flush(deadline)
        self._update_metrics()
        _log.info("stopped", acknowledged=self._publishers.acknowledged, left=left, failed=failed)
        if left or failed:
            raise BrokerUnavailable(
                f"Kafka has not taken everything: {left} messages left, {failed} refused"
            )
        for end in ends:
            if end is not None:
                raise end  # the records in its hands are not published

    async def _flush(self, deadline: float) -> tuple[int, int]:
        """Wait until Kafka has all messages; return how many are left, and how many it refused."""
        left = self._publishers.abandoned
        left += await self._publishers.flush_records(deadline)
        # The gaps of refused records are among the reports.
        self._record_unpublished(finally_=True)
        left += await self._publishers.flush_others(deadline, self._poll_reports)
        return left, self._publishers.failed

    async def _create_topics(self) -> None:
        cluster = Cluster(self._settings)
        names = [
            name
            for dataset in self._publishers.datasets
            for name in (dataset.topic, dataset.dead_letter_topic)
        ]
        await self._until_kafka_answers(lambda: cluster.create_topics(names))

    async def _until_kafka_answers(self, action: Callable[[], object]) -> None:
        async for attempt in stamina.retry_context(
            on=BrokerUnavailable, attempts=None, timeout=None, wait_initial=0.2, wait_max=5.0
        ):
            with attempt:
                try:
                    await asyncio.to_thread(action)
                except BrokerUnavailable as error:
                    self._health.set("waits for kafka", str(error))
                    raise
        self._health.clear("waits for kafka")

    async def _go_on_from_published(self) -> None:
        """Take the newest numbers that an earlier process has published, so that a hole shows."""
        sequences = self._sequences
        if sequences is None:
            return
        cluster = Cluster(self._settings)

        def read() -> None:
            for message in cluster.messages(self._dataset.topic, newest=READ_BACK):
                try:
                    trade = message_format.decode_trade(message.value() or b"")
                except InvalidMessage:
                    continue  # no producer of radar wrote it
                if message_format.HISTORY_HEADER in dict(message.headers() or ()):
                    continue  # the trades between its period and now are no hole
                if trade.source == self._exchange.name and trade.sequence:
                    sequences.begin(trade.symbol, trade.sequence, trade.received_at_us)

        await self._until_kafka_answers(read)

    @property
    def _sequences(self) -> TradeSequences | None:
        return self._recorder.sequences if isinstance(self._recorder, TradeRecorder) else None

    def _look_for_holes(self) -> None:
        """Record the losses that the exchange's numbers prove, and fetch the trades."""
        if (sequences := self._sequences) is None:
            return
        for hole in sequences.found(unix_us()):
            self._gaps.missing(hole)
            self._backfill.request_hole(hole)
        for hole in sequences.filled():
            self._gaps.filled(hole)
        for hole in sequences.given_up():
            self._gaps.give_up(hole)
            self._backfill.drop_hole(hole)

    async def _follow_markets(self) -> None:
        absent = 0
        while True:
            part = ABSENT_REFRESH_PART if absent else 1.0
            await asyncio.sleep(part * self._settings.markets_refresh_seconds)
            changes = await self._changes(self._listing.update)
            absent = changes.absent
            if changes.ended:
                _log.info("markets ended", count=len(changes.ended), symbols=some_of(changes.ended))
                await self._end(changes.ended)
            self._expect_unknown()
            if changes.new:
                symbols = [market.symbol for market in changes.new]
                _log.info("new markets", count=len(symbols), symbols=some_of(symbols))
                self._add(changes.new)

    async def _changes(self, take: Callable[[list[Market]], Changes]) -> Changes:
        """Request the market list; set aside unusable markets, return the changes.

        Raises:
            ConfigurationError: The topics hold data of the other origin.
        """
        listed = await read_markets(
            self._exchange, self._rest, max_wait_s=self._settings.reconnect_max_seconds
        )
        # No record is published before the first list, which shows the origin of the exchange.
        await self._until_kafka_answers(self._origin.check)
        symbols = self._settings.symbols
        # In a thread, because to find similar names in a long list takes a while.
        markets, unknown = await asyncio.to_thread(chosen, listed.markets, symbols)
        # Entries that SYMBOLS does not name are ignored.
        malformed = {
            name: why for name, why in listed.malformed.items() if not symbols or name in symbols
        }
        more = 0 if symbols else listed.more_malformed
        self._set_aside.replace(Reason.MALFORMED, malformed, more)
        self._set_aside.replace(Reason.UNKNOWN, unknown)
        changes = await asyncio.to_thread(take, markets)  # a long list takes a while
        if changes.left_out:
            _log.warning(
                "markets left out: more than MAX_MARKETS, or too many new ones at once",
                count=changes.left_out,
            )
        return changes

    def _expect_unknown(self) -> None:
        """Record gaps for markets that SYMBOLS names and the exchange does not list."""
        missing = [
            symbol
            for symbol in self._settings.symbols
            if symbol not in self._markets and message_format.are_names(symbol)
        ]
        self._gaps.expect(missing)

    def _refuse(self, symbol: str, detail: str) -> None:
        """Set aside a market that the exchange does not deliver."""
        self._set_aside.add(Reason.REFUSED, symbol, detail or "the exchange ends the connection")
        self._feed.refused = self._set_aside.symbols(Reason.REFUSED)
        self._gaps.refuse([symbol])
        for shard in self._shards:
            shard.remove([symbol])
        self._start(self._retire_empty())

    async def _retry_refused(self) -> None:
        """Try refused markets again, slowly; record an accepted one with the others."""
        wait_s = FIRST_RETRY_S
        while True:
            # The first try comes soon, the later ones slowly.
            await asyncio.sleep(min(wait_s, self._settings.markets_refresh_seconds))
            wait_s *= 2
            if not self._feed.refused:
                wait_s = FIRST_RETRY_S
            for symbol in self._set_aside.symbols(Reason.REFUSED):
                if symbol not in self._markets:
                    continue
                trial = await Shard(self._feed, [symbol]).try_alone()
                if trial is None or trial.ended or symbol not in trial.covered:
                    if trial is not None and not trial.ended:
                        await trial.close("refused")
                    continue
                self._take_back(symbol)
                self._place([symbol])
                await trial.until_ended(self._settings.connection_overlap_seconds)
                await trial.close("rotated")

    def _take_back(self, symbol: str) -> None:
        self._set_aside.discard(Reason.REFUSED, symbol)
        self._feed.refused = self._set_aside.symbols(Reason.REFUSED)

    async def _look_for_evidence(self) -> None:
        """Find the markets that are mute on working connections, and those not verified."""
        look_s = self._settings.freshness_seconds / LOOKS_PER_DEADLINE
        while True:
            await asyncio.sleep(max(SHORTEST_LOOK_S, min(LONGEST_LOOK_S, look_s)))
            now, now_us = time.monotonic(), unix_us()
            if self._buffer.waiting and self._trades:
                self._trades.postpone(now)  # no connection is read meanwhile
            elif self._trades:
                await self._look_for_trades(self._trades, now, now_us)
            else:
                self._look_for_books(now, now_us)

    async def _look_for_trades(self, trades: TradeFreshness, now: float, now_us: int) -> None:
        heard = self._feed.heard_us()
        self._backfill.check(trades.check(heard, self._markets.keys(), now, now_us))
        for mute in trades.settle(now):
            await self._backfill.publish(mute.recent)
            if self._gaps.is_covered(mute.symbol):
                self._note_mute(mute.symbol, mute.since_us)
            if self._retries.may(mute.symbol, now):
                self._feed.subscribe_again(mute.symbol)
        for symbol in self._muted.keys() & self._markets.keys():
            if heard.get(symbol, 0) > self._muted[symbol]:
                del self._muted[symbol]
                self._retries.forget(symbol)
                if not self._gaps.is_covered(symbol):
                    self._feed.cover_again(symbol)
        self._unverified = trades.unverified(now)

    def _note_mute(self, symbol: str, since_us: int) -> None:
        self._muted[symbol] = unix_us()
        self._gaps.mute(symbol, since_us)
        _log.warning(
            "market is mute on its connection: REST has trades that it did not bring",
            symbol=symbol,
            since=datetime.fromtimestamp(since_us / 1e6, UTC).isoformat(),
        )

    def _look_for_books(self, now: float, now_us: int) -> None:
        books = self._feed.books()
        for symbol in self._books.check(books, self._feed.alive(), now, now_us):
            if self._retries.may(symbol, now):
                _log.info("a book is quiet for unusually long, subscribing again", symbol=symbol)
                self._feed.subscribe_again(symbol)
        for symbol, began_us, ended_us in self._books.settle(books, self._feed.subscribed_us()):
            self._gaps.note_mute(symbol, began_us, ended_us)
        self._unverified = self._books.unverified(now)

    def _take_read(self, read: Read) -> None:
        sequences = self._sequences
        hole_ended_us = sequences.open_until_us(read.symbol) if sequences is not None else 0
        self._gaps.read(read, hole_ended_us)

    def _take_check(self, symbol: str, started_us: int, recent: RecentTrades) -> None:
        if self._trades is not None:
            self._trades.read(symbol, started_us, recent, time.monotonic())

    def _add(self, markets: list[Market]) -> None:
        symbols = [market.symbol for market in markets]
        self._markets.update(zip(symbols, markets, strict=True))
        self._place(symbols)

    def _place(self, symbols: list[str]) -> None:
        """Divide markets over connections that have room, and new ones."""
        # Open more connections only once all are full. So markets that come and go do not leave
        # ever more connections behind. The emptiest is first: few markets are moved.
        for group in sorted(self._groups, key=lambda group: group[0].room, reverse=True):
            if (room := min(len(symbols), group[0].room)) > 0:
                for shard in group:
                    shard.extend(symbols[:room])
                symbols = symbols[room:]
        parts = divide(symbols, self._feed.markets_per_connection)
        groups: list[list[Shard]] = [[] for _ in parts]
        # Every market gets its first connection before any gets its second.
        for _ in range(self._settings.redundant_connections):
            for group, part in zip(groups, parts, strict=True):
                shard = Shard(self._feed, part)
                group.append(shard)
                self._shards[shard] = self._start(shard.run())
        self._groups += groups

    async def _end(self, symbols: list[str]) -> None:
        """Stop recording markets that the exchange no longer lists."""
        for symbol in symbols:
            del self._markets[symbol]
        self._gaps.forget(symbols)
        self._backfill.forget(symbols)
        gone = frozenset(symbols)
        for shard in self._shards:
            shard.remove(gone)
        for symbol in symbols:
            self._take_back(symbol)
            self._muted.pop(symbol, None)
            self._retries.forget(symbol)
        await self._retire_empty()
        self._feed.forget(symbols)
        await self._publish(lambda: self._recorder.forget(symbols))

    async def _retire_empty(self) -> None:
        empty = [
            shard for shard in self._shards if not shard.symbols and shard not in self._retiring
        ]
        self._groups = [group for group in self._groups if group[0].symbols]
        self._retiring.update(empty)
        await asyncio.gather(*map(self._retire, empty))

    async def _retire(self, shard: Shard) -> None:
        await _cancel(self._shards[shard])
        await shard.close("delisted")
        # Not before: `finish` closes all shards that are still listed.
        del self._shards[shard]
        self._retiring.discard(shard)

    def _start(self, part: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(part)
        task.add_done_callback(self._ended)
        self._tasks.append(task)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Let `work` fail with the first part that fails; no part ends by itself."""
        self._tasks.remove(task)
        if not task.cancelled() and (error := task.exception()) and not self._failure.done():
            self._failure.set_exception(error)

    async def _poll(self) -> None:
        """Take acknowledgements, publish reports, update the metrics."""
        updated = 0.0
        while True:
            self._feed.clock.now_us()  # detects a jump even while no frame arrives
            self._publishers.poll()
            self._poll_reports()
            now = time.monotonic()
            if now - updated >= METRICS_S:
                self._update_metrics()
                updated = now
            await asyncio.sleep(POLL_S)

    def _not_published(self, _key: bytes, value: bytes) -> None:
        """Take a message that Kafka refused for good."""
        message = self._dataset.decode(value)
        self._unpublished.add(message.symbol, message.received_at_us, value, time.monotonic())

    def _record_unpublished(self, *, finally_: bool = False) -> None:
        """Record the gaps of refused messages; once Kafka takes messages again, fetch them."""
        unpublished, takes_again = self._unpublished, not self._buffer.trouble
        for gap in unpublished.gaps(time.monotonic(), finally_=finally_):
            self._gaps.unpublished(gap, may_backfill=takes_again and not finally_)
        if takes_again and unpublished.symbols:
            for value in unpublished.values:
                self._recorder.not_published(value)
            if self._dataset is TRADES:
                self._backfill.request(
                    [each for each in unpublished.symbols if each in self._markets]
                )
            unpublished.values.clear()
            unpublished.symbols.clear()

    def _poll_reports(self) -> None:
        self._record_unpublished()
        self._look_for_holes()
        self._gaps.poll()
        self._session_recorder.poll()
        self._publishers.poll_reports()

    async def _release(self) -> None:
        """Publish the messages that become due by the passing of time."""
        # Only snapshots wait, and only where there is an interval.
        waits = self._dataset is not TRADES and self._settings.depth_interval_seconds
        late_s = max(LATE_S, min(POLL_S, LATE_PART * waits)) if waits else POLL_S
        while True:
            await self._publish(self._recorder.release)
            due = self._recorder.next_due()
            wait_s = late_s if due is None else min(late_s, max(0, due - time.monotonic()))
            await asyncio.sleep(wait_s)

    async def _publish(self, take: Callable[[], Iterable[KeyValue]]) -> None:
        async with self._publishing:
            for message in take():
                try:
                    self._buffer.publish(*message)
                except BufferFull:
                    await self._buffer.publish_when_room(*message)

    def _update_metrics(self) -> None:
        self._publishers.update_metrics()
        self._feed.update_metrics()
        self._connections.show(session.seen for session in self._feed.sessions)
        self._conditions.report(self._unverified, is_listed=self._is_listed)


def _nothing(_symbols: Iterable[str]) -> None:
    pass


async def _cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end; ignore its exception."""
    task.cancel()
    await asyncio.wait([task])
