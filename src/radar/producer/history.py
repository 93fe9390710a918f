"""History: fetch past trades and candles of a period and publish them like recorded ones.

There is no file of progress. The rows in ClickHouse are the progress: numbers of trades without a
row are fetched, and windows without all their candles. So a command that was killed goes on when it
is run again. It trusts neither its own memory nor a message that Kafka has not acknowledged. See
docs/decisions/025-history.md.

The command has one task. A call that blocks its event loop holds up nothing else.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import structlog

from radar import datasets
from radar.clock import unix_us
from radar.codec import message_format
from radar.datasets import Dataset
from radar.errors import (
    BrokerUnavailable,
    BufferFull,
    ExchangeUnavailable,
    InvalidMessage,
    InvalidRequest,
    UnknownMarket,
)
from radar.exchanges.base import (
    BackfillPages,
    CandleHistory,
    Candles,
    Exchange,
    MarketList,
    Outcome,
    Resolution,
)
from radar.exchanges.common.candles import DAY_S, read_candles
from radar.kafka import Cluster, Publisher
from radar.producer.markets import chosen, storable
from radar.producer.origin import ExchangeOrigin
from radar.producer.pacing import Backoff, Pace
from radar.producer.rate_limit import RateLimitGate
from radar.producer.rest import Rest
from radar.producer.trade_ids import content_of, trade_id
from radar.records import Market, Trade
from radar.settings import Settings
from radar.store.client import Store
from radar.store.history import (
    MissingNumbers,
    Numbers,
    missing_numbers,
    stored_candles,
    stored_numbers,
)

# Producers use the same address, so history takes this share of the exchange's budget.
SHARE = 0.5
# Failed requests in a row after which the command ends; refusals of the rate limit do not count.
MAX_TRIES = 8
MAX_WAIT_S = 20.0
# Ranges of missing numbers that one query returns.
RANGES = 1_000
POLL_S = 0.1
FLUSH_S = 5.0
# Without an acknowledgement of Kafka for so long, the command ends.
KAFKA_SILENT_S = 60.0
# Without progress for so long, no worker stores the dataset now.
WORKERS_SILENT_S = 15.0
ASK_EVERY_S = 0.3
DAY_US = DAY_S * 1_000_000

# Shows the present task, the finished number and the total.
Show = Callable[[str, int, int], None]

_Taken = TypeVar("_Taken")
_HEADERS: dict[str, str | bytes] = {message_format.HISTORY_HEADER: b"1"}
_log = structlog.get_logger()


class Period(NamedTuple):
    """A time, Unix time; the end is not included."""

    begin_us: int
    end_us: int

    def days(self) -> Iterator["Period"]:
        """Yield its parts by UTC day."""
        begin_us = self.begin_us
        while begin_us < self.end_us:
            end_us = min(self.end_us, (begin_us // DAY_US + 1) * DAY_US)
            yield Period(begin_us, end_us)
            begin_us = end_us


class Report(NamedTuple):
    """The result for one market.

    Attributes:
        symbol: The market.
        known: Records that the exchange has in the period.
        published: Records that this run has published.
        invalid: Records of the exchange that break its documentation.
        missing: Numbers of trades that no answer had.
        is_stored: Whether workers have stored all published records.
    """

    symbol: str
    known: int
    published: int
    invalid: int
    missing: int
    is_stored: bool


class Requests:
    """Sends requests at a bounded rate and repeats them; waits while the exchange wants none."""

    def __init__(
        self, rest: Rest, gate: RateLimitGate, pace: Pace, *, tries: int = MAX_TRIES
    ) -> None:
        self._rest, self._gate, self._pace = rest, gate, pace
        self._tries = tries

    async def ask(
        self, path: Callable[[], str], cost_s: float, take: Callable[[bytes, int], _Taken]
    ) -> _Taken:
        """Return the value that `take` makes of the answer.

        Args:
            path: Returns path and query; called for each try.
            cost_s: As in `Fetch`.
            take: Takes the body and the time of its arrival (Unix time, microseconds).

        Raises:
            ExchangeUnavailable: So many requests in a row have failed.
        """
        backoff, tries = Backoff(MAX_WAIT_S), 0
        while True:
            await self._pace.turn(cost_s / SHARE)
            try:
                return take(await self._rest.get(path()), unix_us())
            except ExchangeUnavailable as error:
                if self._gate.left_s:
                    continue  # the next request waits for it
                tries += 1
                if tries == self._tries:
                    raise ExchangeUnavailable(
                        f"{error}: gave up after {tries} tries; run the command again later, it"
                        " goes on where it stopped"
                    ) from error
                delay_s = backoff.next()
                _log.warning("request failed", detail=str(error), retry_s=round(delay_s, 1))
                await asyncio.sleep(delay_s)


class HistoryPublisher:
    """Publishes the records of one dataset, and follows them into ClickHouse."""

    def __init__(self, settings: Settings, dataset: Dataset, cluster: Cluster) -> None:
        self._dataset = dataset
        self._cluster = cluster
        self._publisher = Publisher(
            settings, dataset.topic, retry_refused_s=settings.kafka_retry_refused_seconds
        )

    def publish(self, key: bytes, value: bytes) -> None:
        """Hand over a message; blocks while Kafka's client has no room.

        Raises:
            BrokerUnavailable: Kafka does not take it.
        """
        progress = _Progress(KAFKA_SILENT_S)
        while True:
            try:
                self._publisher.publish(key, value, headers=_HEADERS)
            except BufferFull:
                self._publisher.poll(POLL_S)
                self._check(progress)
            else:
                self._publisher.poll(0)
                return

    def flush(self) -> None:
        """Block until Kafka has acknowledged all messages.

        Raises:
            BrokerUnavailable: It does not, or refuses one.
        """
        progress = _Progress(KAFKA_SILENT_S)
        while self._publisher.flush(FLUSH_S):
            self._check(progress)
        if self._publisher.failed:
            raise BrokerUnavailable(
                f"Kafka has refused {self._publisher.failed:,} messages of {self._dataset.topic}:"
                " see the log, then run the command again"
            )

    def _check(self, progress: "_Progress") -> None:
        if progress.has_stalled(self._publisher.acknowledged):
            reason = self._publisher.trouble or (
                f"Kafka has acknowledged no message for {KAFKA_SILENT_S:.0f} s"
            )
            raise BrokerUnavailable(f"{reason}; run the command again, it goes on where it stopped")

    async def until_stored(self) -> bool:
        """Wait until workers have stored all messages that are in the topic now.

        Returns:
            False if they make no progress for WORKERS_SILENT_S.

        Raises:
            BrokerUnavailable: Kafka does not answer.
        """
        topic, group = self._dataset.topic, self._dataset.group
        lags = self._cluster.lag(topic, group)
        ends = {each.partition: each.end for each in lags}
        progress = _Progress(WORKERS_SILENT_S)
        while True:
            left = sum(
                max(0, ends.get(each.partition, 0) - max(each.start, each.committed or 0))
                for each in lags
            )
            if not left:
                return True
            if progress.has_stalled(-left):
                return False
            await asyncio.sleep(ASK_EVERY_S)
            lags = self._cluster.lag(topic, group)


class _Progress:
    """Knows when a number last rose."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._number: int | None = None
        self._since_s = time.monotonic()

    def has_stalled(self, number: int) -> bool:
        """Take the present number; return whether it has not risen for the given time."""
        if self._number is None or number > self._number:
            self._number, self._since_s = number, time.monotonic()
        return time.monotonic() - self._since_s > self._seconds


class _Fetcher:
    """The parts by which the history of a market is fetched."""

    def __init__(
        self,
        exchange: Exchange,
        requests: Requests,
        publisher: HistoryPublisher,
        store: Store,
        show: Show,
    ) -> None:
        self._exchange = exchange
        self._requests = requests
        self._publisher = publisher
        self._store = store
        self._show = show


class TradeFetcher(_Fetcher):
    """Fills the holes in the stored numbers of a market, day by day."""

    _published = _invalid = _passed = _total = 0  # of the market that `run` fetches

    async def run(self, market: Market, period: Period) -> Report:
        """Fetch the missing trades of a period.

        Raises:
            ExchangeUnavailable: The exchange does not answer.
            BrokerUnavailable: Kafka does not.
            StoreUnavailable: ClickHouse does not.
        """
        self._published = self._invalid = self._passed = 0
        self._show(market.symbol, 0, 0)
        first = await self._find(market, period.begin_us)
        end = await self._find(market, period.end_us)
        self._total = end - first
        days: list[Numbers] = []
        at = first
        for day in period.days():
            last = day.end_us == period.end_us
            until = end if last else await self._find(market, day.end_us)
            if until > at:
                numbers = Numbers(self._exchange.name, market.symbol, at, until - 1, *day)
                days.append(numbers)
                await self._fill(market, numbers)
            at = max(at, until)
        self._publisher.flush()
        is_stored = await self._publisher.until_stored()
        stored = [stored_numbers(self._store, each) for each in days]
        known = self._known(days, stored)
        # Without workers, the trades of this run are in Kafka and not among the rows.
        have = sum(count for count, _ in stored) + (0 if is_stored else self._published)
        missing = max(0, known - have)
        return Report(market.symbol, known, self._published, self._invalid, missing, is_stored)

    def _known(self, days: list[Numbers], stored: list[tuple[int, int]]) -> int:
        """Return how many trades the exchange has, as its numbers say.

        One that does not offer all has no first number; then the smallest one that came counts.
        """
        if not days:
            return 0
        first = days[0].first
        if first == 1 and self._exchange.trade_history != "all":
            first = min((least for _, least in stored if least), default=days[-1].last + 1)
        return days[-1].last - first + 1

    async def _find(self, market: Market, time_us: int) -> int:
        """Return the number of the first trade at or after a time."""
        search = self._exchange.find_trade(market, time_us)
        while (found := search.found) is None:
            await self._requests.ask(lambda: search.path, search.cost_s, search.take)
        return max(1, found)

    async def _fill(self, market: Market, numbers: Numbers) -> None:
        """Read every hole of a day, the lowest first."""
        at = numbers.first
        while at <= numbers.last:
            holes = missing_numbers(self._store, numbers._replace(first=at), RANGES)
            for hole in holes:
                self._passed += hole.first - at
                await self._read(market, hole)
                at = hole.last + 1
            if len(holes) < RANGES:
                self._passed += numbers.last + 1 - at
                break
        # The rows of this day are the progress, so they must not wait in the client.
        self._publisher.flush()

    async def _read(self, market: Market, hole: MissingNumbers) -> None:
        pages = self._exchange.backfill(market, hole.first, hole.last, hole.since_us)
        if pages is None:
            raise ExchangeUnavailable(f"{self._exchange.name} serves no trades by number")
        passed = self._passed
        while pages.outcome is Outcome.RUNNING:
            count = await self._page(pages)
            self._passed += count
            self._show(market.symbol, self._passed, max(self._total, self._passed))
        self._passed = passed + hole.last - hole.first + 1
        if pages.outcome is Outcome.PARTIAL:
            _log.warning(
                "the exchange has not all of these trades",
                symbol=market.symbol,
                first_id=hole.first,
                last_id=hole.last,
            )

    async def _page(self, pages: BackfillPages) -> int:
        page = await self._requests.ask(lambda: pages.path, pages.cost_s, pages.take)
        self._invalid += page.invalid
        for trade in page.trades:
            try:
                self._publisher.publish(*trade_message(trade))
            except InvalidMessage as error:
                self._invalid += 1
                _log.warning("a trade is invalid", id=trade.native_id, detail=str(error))
            else:
                self._published += 1
        return len(page.trades)


class CandleFetcher(_Fetcher):
    """Reads the candles of a market, window by window."""

    async def run(self, market: Market, period: Period, resolution: Resolution) -> Report:
        """Fetch the candles of a period that are not stored.

        A market without trades has no candle, so only a window that holds all its candles is not
        read again.

        Raises:
            ExchangeUnavailable: The exchange does not answer.
            BrokerUnavailable: Kafka does not.
            StoreUnavailable: ClickHouse does not.
        """
        offered = self._exchange.candle_history
        if offered is None:
            raise ExchangeUnavailable(f"{self._exchange.name} serves no candles")
        interval_us = resolution.interval_s * 1_000_000
        window_us = offered.page * interval_us
        known = published = invalid = 0
        for begin_us in range(period.begin_us, period.end_us, window_us):
            window = Period(begin_us, min(period.end_us, begin_us + window_us))
            self._show(
                market.symbol,
                (begin_us - period.begin_us) // interval_us,
                (period.end_us - period.begin_us) // interval_us,
            )
            have = self._stored(market, resolution, window)
            known += len(have)
            # Days of a time zone with summer time are longer or shorter.
            is_even = resolution.interval_s < DAY_S and window.end_us - begin_us == window_us
            is_gone = offered.kept and window.end_us < unix_us() - offered.kept * interval_us
            if is_gone or (is_even and len(have) == offered.page):
                continue
            page = await candle_window(
                self._requests, self._exchange, offered, market, resolution, window
            )
            invalid += page.invalid
            for candle in page.candles:
                is_wanted = window.begin_us <= candle.opened_at_us < window.end_us
                is_finished = candle.opened_at_us + interval_us <= candle.received_at_us
                if not (is_wanted and is_finished) or candle.opened_at_us in have:
                    continue
                try:
                    value = message_format.encode_candle(candle)
                except InvalidMessage as error:
                    invalid += 1
                    _log.warning("a candle is invalid", symbol=market.symbol, detail=str(error))
                    continue
                key = message_format.message_key(candle.source, candle.symbol)
                self._publisher.publish(key, value)
                have.add(candle.opened_at_us)
                published += 1
        self._publisher.flush()
        is_stored = await self._publisher.until_stored()
        return Report(market.symbol, known + published, published, invalid, 0, is_stored)

    def _stored(self, market: Market, resolution: Resolution, window: Period) -> set[int]:
        return stored_candles(
            self._store, self._exchange.name, market.symbol, resolution.interval_s, *window
        )


async def candle_window(
    requests: Requests,
    exchange: Exchange,
    offered: CandleHistory,
    market: Market,
    resolution: Resolution,
    window: Period,
) -> Candles:
    """Return the candles of a time with one request, at most a page of them.

    Raises:
        ExchangeUnavailable: The exchange does not answer.
    """
    return await requests.ask(
        lambda: exchange.candles_path(market, resolution, *window),
        offered.cost_s,
        lambda body, now_us: read_candles(
            exchange.candle_rows(body, market),
            exchange.name,
            market,
            resolution,
            offered.day_zone,
            now_us,
        ),
    )


def trade_message(trade: Trade) -> tuple[bytes, bytes]:
    """Return key and value of the message of a trade with a number: as a producer publishes it.

    Raises:
        InvalidMessage: It breaks a rule.
    """
    message_format.check_trade(trade)
    return (
        message_format.message_key(trade.source, trade.symbol),
        message_format.encode_trade(trade, trade_id(content_of(trade), 1)),
    )


def check_offer(exchange: Exchange, interval: str | None) -> Resolution | None:
    """Return the offered resolution of an interval; None for trades (`interval` is None).

    Raises:
        InvalidRequest: It does not; the message lists its offers.
    """
    candles = exchange.candle_history
    intervals = ", ".join(candles.resolutions) if candles else ""
    if interval is None and exchange.trade_history:
        return None
    if interval is not None and candles and interval in candles.resolutions:
        return candles.resolutions[interval]
    offers = [
        *([f"trades ({exchange.trade_history})"] if exchange.trade_history else []),
        *([f"candles of {intervals} (--dataset candles --interval)"] if intervals else []),
    ]
    wanted = "past trades" if interval is None else f"candles of {interval}"
    raise InvalidRequest(
        f"{exchange.name} serves no {wanted}: it serves {' and '.join(offers) or 'no history'}"
    )


async def backfill(
    settings: Settings,
    exchange: Exchange,
    symbols: tuple[str, ...],
    period: Period,
    interval: str | None,
    show: Show,
) -> list[Report]:
    """Fetch the history of markets, one after the other.

    Args:
        settings: The options.
        exchange: The driver.
        symbols: The markets.
        period: The time to fetch.
        interval: The interval of candles; None: fetch trades.
        show: Shows the progress.

    Raises:
        ConfigurationError: The topics hold data of the other origin (real, simulated).
        InvalidRequest: The exchange does not offer it, or does not list a market.
        ExchangeUnavailable: The exchange does not answer.
        BrokerUnavailable: Kafka does not.
        StoreUnavailable: ClickHouse does not.
    """
    resolution = check_offer(exchange, interval)
    dataset = datasets.TRADES if resolution is None else datasets.EXCHANGE_CANDLES
    gate = RateLimitGate(exchange.name)
    rest = Rest.of(exchange, settings, gate)
    per_s = min(settings.repair_requests_per_second, exchange.limits.requests_per_s) * SHARE
    requests = Requests(rest, gate, Pace(per_s))
    store = Store(settings)
    try:
        show(f"{exchange.name}: markets", 0, 0)
        markets = await _markets(exchange, requests, symbols)
        ExchangeOrigin(settings, exchange, rest).check()
        cluster = Cluster(settings)
        cluster.create_topics([dataset.topic, dataset.dead_letter_topic])
        publisher = HistoryPublisher(settings, dataset, cluster)
        show("waits for the workers", 0, 0)
        # Messages of a killed run may wait there: without this they would be fetched again.
        if not await publisher.until_stored():
            _log.warning("no worker stores now", dataset=dataset.name)
        parts = (exchange, requests, publisher, store, show)
        if resolution is None:
            trades = TradeFetcher(*parts)
            return [await trades.run(market, period) for market in markets]
        candles = CandleFetcher(*parts)
        return [await candles.run(market, period, resolution) for market in markets]
    finally:
        store.close()
        await rest.close()


async def _markets(
    exchange: Exchange, requests: Requests, symbols: tuple[str, ...]
) -> list[Market]:
    """Return the markets of these symbols.

    Raises:
        UnknownMarket: The exchange does not list one; the message names similar ones.
        ExchangeUnavailable: It does not answer.
    """
    listed = storable(await listed_markets(exchange, requests))
    found, unknown = chosen(listed.markets, symbols)
    if unknown:
        raise UnknownMarket(
            "; ".join(
                f"{exchange.name} has no market {symbol}: {why}" for symbol, why in unknown.items()
            )
        )
    return found


async def listed_markets(exchange: Exchange, requests: Requests) -> MarketList:
    """Return the market list of an exchange.

    Raises:
        ExchangeUnavailable: It does not answer.
    """
    paths = (exchange.markets_path, *exchange.other_markets_paths)
    tries = -1

    def path() -> str:
        nonlocal tries
        tries += 1
        return paths[tries % len(paths)]

    def take(body: bytes, _now_us: int) -> MarketList:
        return exchange.parse_markets(body)

    return await requests.ask(path, 0.0, take)
